"""Row: the process dies at every call that a save makes, between two calls or within a write."""
from save_run import STEPS, SaveRun, checkpoints, committed_step, read_log

WITHIN_A_WRITE = ('torn-none', 'torn-third', 'torn-last')


def scenarios(bench):
    modes = (False, True) if bench.has_async else (False,)
    runs = [SaveRun(bench, 'expert2-tensor2', asynchronous) for asynchronous in modes]
    runs += [SaveRun(bench, 'expert2', asynchronous, replaces=True) for asynchronous in modes]
    return {run.name: run for run in runs}


def points(bench):
    """Names like `expert2-tensor2-sync/412/torn-third`."""
    names = []
    for run in scenarios(bench).values():
        for call in run.calls():
            names.append(f'{run.name}/{call.number}/kill')
            if call.name == 'write':
                names += [f'{run.name}/{call.number}/{cut}' for cut in WITHIN_A_WRITE[1:]]
    return names


def run(bench, point):
    name, number, action = point.split('/')
    scenario = scenarios(bench)[name]
    folder = scenario.start()
    answer = scenario.run(folder, f'folder={checkpoints(folder)};log={folder}/log;at={number};do={action}')
    calls = read_log(folder / 'log')
    if answer != {'signal': 9}:
        return f'not killed but {answer}: {(folder / "output").read_text()[-500:]}'
    committed = [committed_step(call) for call in calls]
    at_least = max([step for step in committed if step], default=2 if scenario.replaces else 0)
    # Until a new one takes its place, what was damaged is still there, and still refused.
    damaged = {STEPS} if scenario.replaces and at_least < STEPS else ()
    return (scenario.problem_of(scenario.read(folder), at_least, damaged) or scenario.problem_of_resuming(folder))
