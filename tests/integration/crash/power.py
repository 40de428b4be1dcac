"""Row: the power fails after any call of a run's saves, and what was not synced is lost, torn or reordered."""
import re

from disk_model import VARIANTS, Disk, fingerprint, parse_log, read_folder, write_folder
from save_run import STEPS, SaveRun

RESUME_EVERY = 8  # a state in so many is also trained on from


def scenarios(bench):
    modes = (False, True) if bench.has_async else (False,)
    runs = [SaveRun(bench, 'expert2', asynchronous) for asynchronous in modes]
    runs += [SaveRun(bench, 'expert2', asynchronous, replaces=True) for asynchronous in modes]
    return {run.name: run for run in runs}


def disk_of(bench, scenario):
    def make(_):
        folder = scenario.start('kept/power-' + scenario.name)
        before = read_folder(folder)
        log = bench.work / f'kept/power-{scenario.name}.log'
        scenario.run(folder, f'folder={folder};log={log};data=1')
        return Disk(parse_log(log.read_bytes()), before)
    return bench.once('disk-' + scenario.name, make)


def points(bench):
    """Names like `expert2-sync/123/zeros`, one for each state of the disk and of what was promised that
    differs from all others of its scenario."""
    names = []
    for scenario in scenarios(bench).values():
        disk, seen = disk_of(bench, scenario), set()
        for operations in range(len(disk.changes) + 1):
            for variant in VARIANTS:
                state = fingerprint(disk.after(operations, variant)), len(disk.durable_commits(operations))
                if state not in seen:
                    seen.add(state)
                    names.append(f'{scenario.name}/{operations}/{variant}')
    return names


def run(bench, point):
    name, operations, variant = point.split('/')
    scenario, operations = scenarios(bench)[name], int(operations)
    disk = disk_of(bench, scenario)
    folder = bench.folder()
    write_folder(folder, disk.after(operations, variant))
    steps = [int(match[1]) for name in disk.durable_commits(operations)
             if (match := re.fullmatch(r'run/checkpoints/step-(\d+)(/manifest\.json)?', name))]
    at_least = max(steps, default=2 if scenario.replaces else 0)
    found = scenario.read(folder)
    # Older ones may be half deleted, and newer ones half there, as long as they are refused.
    refused = {int(step) for step, state in found['states'].items() if 'error' in state} - {found['newest']}
    problem = scenario.problem_of(found, at_least, refused)
    if problem is None and operations % RESUME_EVERY == 0:
        problem = scenario.problem_of_resuming(folder, refused)
    return problem
