"""The shipped program on real data under mpirun, as a process that a row watches, signals and kills."""
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

from bench import HERE, SOURCE

STEPS = 300
LAYOUTS = {2: ['parallel.expert=2'],
           4: ['parallel.tensor=2', 'parallel.expert=2', 'parallel.expert_tensor=2']}
PATIENCE = 180  # seconds for anything


def data(bench):
    """This project's own sources, as text that somebody wrote, prepared by the program."""
    def make(folder):
        texts = folder / 'texts'
        texts.mkdir()
        for i, path in enumerate(sorted([*SOURCE.rglob('*.h'), SOURCE / 'README.md'])):
            if 'build' not in path.parts:
                (texts / f'{i:04}.txt').write_text(path.read_text())
        subprocess.run([bench.program, 'prepare', '--input', texts, '--output', folder / 'text', '--vocab-size', '512'],
                       check=True, capture_output=True)
        return [f'data.train={folder}/text', f'data.tokenizer={next(folder.glob("*.model"))}']
    return bench.once('real-data', make)


class Job:
    """`environment`: of the ranks; with `script`, launch/train.sh starts it."""

    def __init__(self, bench, folder, ranks=2, overrides=(), environment=None, script=False):
        self.folder = folder
        words = [HERE / 'real.yaml', f'run.dir={folder}/run', *data(bench), *LAYOUTS[ranks], *overrides]
        if script:
            command = [SOURCE / 'launch/train.sh', '-n', str(ranks), '--no-setup', *words]
        else:
            command = [SOURCE / 'tests/support/mpirun.sh', str(ranks), bench.program, 'train', *words]
        self._output = open(folder / 'output', 'w')
        self.process = subprocess.Popen(command, stdout=self._output, stderr=self._output, start_new_session=True,
                                        env={**os.environ, 'OMP_NUM_THREADS': '1', **(environment or {})})

    def output(self):
        return (self.folder / 'output').read_text()

    def steps(self):
        """Steps that are on record, in order."""
        path = self.folder / 'run/metrics.jsonl'
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line)['step'] for line in lines if line.endswith('\n')]

    def reaches(self, step):
        """False where the job ended first."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            steps = self.steps()
            if steps and steps[-1] >= step:
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.005)
        raise RuntimeError(f'no step {step} after {PATIENCE} s: {self.output()[-500:]}')

    def wait(self):
        """The exit code as a shell gives it, or None where it does not end; it is ended then."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.end()
            return None
        finally:
            self._output.close()
        return code if code >= 0 else 128 - code

    def end(self):
        for process in [*self.ranks(), self.process.pid]:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def ranks(self):
        """Processes of the program below the one that was started."""
        children = {}
        for stat in Path('/proc').glob('[0-9]*/stat'):
            try:
                text = stat.read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            name = text[text.index('(') + 1:text.rindex(')')]
            children.setdefault(int(text[text.rindex(')') + 4:].split()[0]), []).append((int(stat.parent.name), name))
        found, open_ends = [], [self.process.pid]
        while open_ends:
            for process, name in children.get(open_ends.pop(), []):
                open_ends.append(process)
                if name == 'switchyard':
                    found.append(process)
        return sorted(found)


def is_running(process):
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(') ')[2][0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return False


def pause(dice, most):
    time.sleep(dice.uniform(0, most))


def digests(bench, ranks, overrides=()):
    """step → digest of an undisturbed run that keeps every step's checkpoint."""
    def make(folder):
        job = Job(bench, folder, ranks, ['checkpoint.every=1', 'checkpoint.keep=all', *overrides])
        if job.wait() != 0:
            raise RuntimeError(f'an undisturbed run failed: {job.output()}')
        states = bench.driver.ask(do='read', folder=folder / 'run/checkpoints')['states']
        return {int(step): state['digest'] for step, state in states.items()}
    return bench.once(f'job-digests-{ranks}-{"-".join(overrides)}', make)


def problem_of_checkpoints(bench, folder, expected, newest=None):
    """What is wrong with the checkpoints of a job that may have been killed, or None."""
    found = bench.driver.ask(do='read', folder=folder / 'run/checkpoints')
    for step, state in found['states'].items():
        if state.get('digest') != expected[int(step)]:
            return f'step {step} is not that of an undisturbed run: {state}'
    if newest is not None and found['newest'] != newest:
        return f'the newest checkpoint is of step {found["newest"]} and not {newest}'
    return None
