"""Row: the disk refuses one call of a save, takes half of a write, or is full from one call on."""
import errno
import re

from save_run import STEPS, SaveRun, checkpoints, read_log

NEED_SPACE = ('create', 'write', 'allocate', 'sync', 'rename', 'mkdir', 'symlink')
REMOVALS = ('unlink', 'rmdir', 'open', 'close')  # those that removing a folder makes


def scenarios(bench):
    modes = (False, True) if bench.has_async else (False,)
    runs = [SaveRun(bench, 'expert2', asynchronous) for asynchronous in modes]
    return {run.name: run for run in runs}


def points(bench):
    """Names like `expert2-sync/123/errno-28`."""
    names = []
    for run in scenarios(bench).values():
        for call in run.calls():
            actions = [f'errno-{errno.EIO}']
            if call.name in NEED_SPACE:
                actions += [f'errno-{errno.ENOSPC}', f'errno-{errno.EDQUOT}', f'full-{errno.ENOSPC}']
            if call.name == 'write':
                actions.append('short')
            names += [f'{run.name}/{call.number}/{action}' for action in actions]
    return names


def run(bench, point):
    name, number, action = point.split('/')
    scenario = scenarios(bench)[name]
    folder = scenario.start()
    answer = scenario.run(folder, f'folder={checkpoints(folder)};log={folder}/log;at={number};do={action}')
    output = (folder / 'output').read_text()
    failed_calls = [call.words[0] for call in read_log(folder / 'log') if call.name == 'failed']
    if action == 'short':
        problem = None if answer == {'exit': 0} and 'warning: no checkpoint' not in output else 'a short write failed a save'
    else:
        problem = problem_of_run(scenario, folder, answer, output, failed_calls, action.startswith('full'))
    return problem or scenario.problem_of_resuming(folder)


def problem_of_run(scenario, folder, answer, output, failed_calls, disk_is_full):
    if not failed_calls:
        return 'no call failed'
    if answer not in ({'exit': 0}, {'exit': 74}):
        return f'ended with {answer}: {output[-500:]}'
    metrics = folder / 'run/metrics.jsonl'
    steps = metrics.read_text().count('\n') if metrics.exists() else 0
    if steps == 0:  # the folder could not be made or looked at
        return None if answer == {'exit': 74} and 'switchyard: error: ' in output else f'did not begin: {output[-500:]}'
    if steps != STEPS:
        return f'trained {steps} steps: {output[-500:]}'
    failed = {int(step) for step in re.findall(r'warning: no checkpoint at step (\d+)', output)}
    if answer == {'exit': 74}:
        failed.add(STEPS)
    found = scenario.read(folder)
    half = [step for step in found['states'] if int(step) in failed]
    if half:
        return f'step {half} is there although its save failed: {output[-500:]}'
    problem = scenario.problem_of(found, at_least=max(set(range(1, STEPS + 1)) - failed, default=0))
    # Where removing failed, the next save removes; so it does where the disk is full from the middle of a deletion on.
    left = [path for path in found['others'] if not disk_is_full or step_of(path) in {None, *failed}]
    if problem is None and left and not set(failed_calls) & set(REMOVALS):
        problem = f'left behind: {left}'
    return problem


def step_of(path):
    """Of a folder named step-00000003.partial, or None."""
    match = re.search(r'step-(\d+)\.partial$', path)
    return int(match[1]) if match else None
