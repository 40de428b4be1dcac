"""Jobs on the hosts of hosts.py, and what their runs leave behind."""
import json
import os
import re
import signal
import subprocess
import time

import hosts

CONFIG = hosts.HERE.parent / 'crash/small.yaml'
LAYOUT = ['parallel.tensor=2', 'parallel.expert=2', 'parallel.expert_tensor=2']
STEPS = 200
PATIENCE = 180  # seconds for a job
TIMES = {'tokens_per_second', 'step_seconds', 'memory_bytes', 'mfu'}


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


class Job:
    """A command on the first host."""

    def __init__(self, machines, words):
        self.process = machines.start(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def wait(self):
        """Exit code and output."""
        try:
            output, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise Failed(f'no end after {PATIENCE} s: {self._said()[-2000:]}') from None
        return self.process.returncode, output

    def _said(self):
        try:
            return self.process.communicate(timeout=10)[0]
        except subprocess.TimeoutExpired:  # other hosts' daemons still hold the output
            return '(its output is still open)'

    def expect(self, code):
        found, output = self.wait()
        if found != code:
            raise Failed(f'ended with {found} and not {code}: {output[-2000:]}')
        return output


class Bench:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def training(self, run, *overrides):
        """What follows `train`."""
        return [CONFIG, f'run.dir={self.folder / run}', f'train.steps={STEPS}', 'checkpoint.keep=1',
                'checkpoint.every=100', *LAYOUT, *overrides]

    def train(self, machines, ranks_a_host, run, *overrides):
        return Job(machines, machines.mpirun(ranks_a_host, [self.program, 'train', *self.training(run, *overrides)]))

    def stop(self, machines, ranks_a_host, run):
        """A run that is told to stop, and saves."""
        job = self.train(machines, ranks_a_host, run)
        self.reach(run, 20, job)
        os.kill(job.process.pid, signal.SIGUSR1)
        job.expect(75)

    def records(self, run):
        """Metrics without times, whole lines only."""
        path = self.folder / run / 'metrics.jsonl'
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        records = [json.loads(line) for line in lines if line.endswith('\n')]
        return [{key: value for key, value in record.items() if key not in TIMES} for record in records]

    def reach(self, run, step, job=None, log=None):
        """Waits for a step of a job or, where it was not started here, of the one that prints to `log`."""
        deadline = time.monotonic() + PATIENCE
        while len(self.records(run)) < step:
            if time.monotonic() > deadline or job and job.process.poll() is not None:
                if job:
                    os.killpg(job.process.pid, signal.SIGKILL)
                said = job.process.communicate()[0] if job else log.read_text() if log.exists() else 'no log'
                raise Failed(f'never came to step {step}: {said[-2000:]}')
            time.sleep(0.01)

    def diff(self, run, other, tolerance):
        """What `checkpoint diff` prints of two final states, which must agree."""
        done = subprocess.run([self.program, 'checkpoint', 'diff', self.folder / run, self.folder / other, '--tolerance',
                               str(tolerance)], capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f'{run} and {other} end in different states: {done.stdout[:1000]}… {done.stderr}')
        return done.stdout

    def expect_same(self, run, other):
        if not self.records(run) or self.records(run) != self.records(other):
            raise Failed(f'{run} and {other} have different metrics')
        if not (said := self.diff(run, other, 0)).startswith('0 of '):
            raise Failed(f'{run} and {other} end in different states: {said[-1000:]}')

    def expect_near(self, run, other, tolerance=1e-9):
        """Losses of all steps and final states agree, to the ninth digit."""
        losses = [abs(a['loss'] - b['loss']) for a, b in zip(self.records(run), self.records(other), strict=True)]
        wrong = [gap for gap in losses if not gap <= tolerance]
        if wrong or not losses:
            raise Failed(f'{len(wrong)} of {len(losses)} losses of {run} and {other} differ, first by {wrong[:1]}')
        states = re.findall(r' deviates by at most (\S+): ', self.diff(run, other, tolerance))
        print(f'  {run} and {other}: losses of {len(losses)} steps differ by at most {max(losses):.1e}, final states by '
              f'{max(map(float, states), default=0):.1e}')

    def on_one_host(self):
        """An undisturbed run of as many ranks on one host."""
        if not (self.folder / 'one').exists():
            with hosts.Hosts(1) as machines:
                self.train(machines, 4, 'one').expect(0)
        return 'one'
