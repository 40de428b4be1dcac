"""A small run of the driver that saves after each of its three steps, and what must hold of its checkpoints."""
import re
import shutil
from collections import namedtuple

from bench import HERE

STEPS = 3
LAYOUTS = {
    'one': (1, []),
    'expert2': (2, ['parallel.expert=2']),
    'expert2-tensor2': (4, ['parallel.tensor=2', 'parallel.expert=2', 'parallel.expert_tensor=2']),
}
SHUT_TIME = 60  # seconds; a run takes a tenth of one

Call = namedtuple('Call', 'number name words')


class SaveRun:
    """`replaces`: it starts where step 3 is damaged, so that it is made again from step 2 and takes the place of the
    damaged one."""

    def __init__(self, bench, layout, asynchronous=False, replaces=False):
        self.bench = bench
        self.layout = layout
        self.asynchronous = asynchronous
        self.replaces = replaces
        self.name = f'{layout}-{"async" if asynchronous else "sync"}{"-replace" if replaces else ""}'

    def run(self, folder, shim='', overrides=()):
        ranks, layout = LAYOUTS[self.layout]
        mode = ['checkpoint.async=true' if self.asynchronous else 'checkpoint.async=false'] if self.bench.has_async else []
        return self.bench.driver.ask(do='run', config=HERE / 'small.yaml', ranks=ranks, output=folder / 'output',
                                     overrides=[f'run.dir={folder}/run', *layout, *mode, *overrides],
                                     shim=shim, seconds=SHUT_TIME)

    def start(self, name='point'):
        """A folder in which run() finds what it starts from."""
        folder = self.bench.folder(name)
        if self.replaces:
            shutil.copytree(self.bench.once(self.name, self._make_start) / 'run', folder / 'run', symlinks=True)
        return folder

    def _make_start(self, folder):
        self.run(folder, overrides=['checkpoint.keep=2'])
        manifest = checkpoints(folder) / f'step-{STEPS:08}' / 'manifest.json'
        manifest.write_bytes(manifest.read_bytes()[:-1])
        return folder

    def digests(self):
        """step → digest of an undisturbed run."""
        def make(folder):
            answer = self.run(folder, overrides=['checkpoint.keep=all'])
            states = self.bench.driver.ask(do='read', folder=checkpoints(folder))['states']
            if answer != {'exit': 0} or len(states) != STEPS:
                raise RuntimeError(f'an undisturbed run failed: {answer} {(folder / "output").read_text()}')
            return {int(step): state['digest'] for step, state in states.items()}
        return self.bench.once('digests-' + self.layout, make)

    def calls(self):
        """The calls of an undisturbed run on its checkpoints folder."""
        def make(_):
            folder = self.start('kept/log-' + self.name)
            self.run(folder, shim=f'folder={checkpoints(folder)};log={folder}/log')
            return read_log(folder / 'log')
        return self.bench.once('calls-' + self.name, make)

    def read(self, folder):
        return self.bench.driver.ask(do='read', folder=checkpoints(folder))

    def problem_of(self, found, at_least, damaged=()):
        """What is wrong with the checkpoints that `found` (read_all of the driver) tells of, or None: the newest must
        be of a step from `at_least` on, and every one must hold the bits of the undisturbed run. `damaged`: steps that
        may be refused."""
        digests = self.digests()
        for step, state in found['states'].items():
            if 'error' in state and int(step) not in damaged:
                return f'step {step} cannot be read: {state["error"]}'
            if 'digest' in state and state['digest'] != digests.get(int(step)):
                return f'step {step} is accepted with other bits'
        newest = found['newest']
        if isinstance(newest, str):
            return f'no newest checkpoint: {newest}'
        if (newest or 0) < at_least:
            return f'the newest checkpoint is of step {newest}, and {at_least} was committed'
        return None

    def problem_of_resuming(self, folder, damaged=()):
        """The same command once more must end in the state of an undisturbed run, and leave nothing half-made."""
        saves = self.read(folder)['newest'] != STEPS  # else there is no save that clears what an earlier one left
        answer = self.run(folder)
        if answer != {'exit': 0}:
            return f'the next run ended with {answer}: {(folder / "output").read_text()[-500:]}'
        found = self.read(folder)
        problem = self.problem_of(found, STEPS, set(damaged) - {STEPS})
        if problem is None and saves and found['others']:
            problem = f'left behind: {found["others"]}'
        return problem and 'after the next run: ' + problem


def checkpoints(folder):
    return folder / 'run/checkpoints'


def read_log(path):
    """The shim's log without the bytes of writes."""
    calls = []
    for line in path.read_text().splitlines():
        number, name, *words = line.split(' ')
        calls.append(Call(int(number), name, words))
    return calls


def committed_step(call):
    """The step whose checkpoint this call gives its name, or None."""
    match = re.fullmatch(r'step-(\d+)(/manifest\.json)?', call.words[1]) if call.name == 'rename' else None
    return int(match[1]) if match else None
