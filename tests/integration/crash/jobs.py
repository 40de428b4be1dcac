"""Rows that kill, stop and fill the disk of the shipped program under mpirun. Points are numbers: seeds."""
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

from mpi_job import STEPS, Job, digests, is_running, pause, problem_of_checkpoints

KILLS_A_RUN = 10
CALLS_OF_A_SAVE = 100  # about, of a rank
RESUMED_STEPS = 300     # of which the first half takes longer than it does to tell a job to stop
SPREAD = 1.5           # seconds over which moments are drawn: about as long as the job trains


def modes(bench):
    return (['checkpoint.async=false'], ['checkpoint.async=true']) if bench.has_async else ([],)


def rank_points(bench):
    return [str(seed) for seed in range(200 // KILLS_A_RUN)]


def count_kills(bench, point):
    return KILLS_A_RUN


def run_rank_kills(bench, point):
    """One run, killed KILLS_A_RUN times and started again each time, then left to end."""
    seed = int(point)
    dice = random.Random(seed)
    mode = modes(bench)[seed % len(modes(bench))]
    expected = digests(bench, 4)
    folder = bench.folder()
    overrides = ['checkpoint.every=1', *mode]
    for kill in range(KILLS_A_RUN):
        environment = {}
        if kill % 2 == 1:  # within a save, where it would strike seldom by chance
            environment = {'LD_PRELOAD': str(bench.shim),
                           'CRASH_SHIM': f'folder={folder}/run/checkpoints;rank={dice.randrange(4)};do=kill;'
                                         f'at={dice.randrange(1, 3 * CALLS_OF_A_SAVE)}'}
        job = Job(bench, folder, 4, overrides, environment)
        if not environment and job.reaches((job.steps() or [0])[-1] + 1):
            pause(dice, SPREAD / 3)
            ranks = job.ranks()
            if ranks:
                os.kill(dice.choice(ranks), signal.SIGKILL)
        code = job.wait()
        if code == 0:
            return f'ended before kill {kill}'
        if code != 137:
            return f'kill {kill} ended it with {code}: {job.output()[-500:]}'
        if problem := problem_of_checkpoints(bench, folder, expected):
            return f'after kill {kill}: {problem}'
    job = Job(bench, folder, 4, overrides)
    if (code := job.wait()) != 0:
        return f'the last start ended with {code}: {job.output()[-500:]}'
    return problem_of_checkpoints(bench, folder, expected, newest=STEPS)


def resume_points(bench):
    return [str(seed) for seed in range(1, 21)]


def run_resume(bench, point):
    dice = random.Random(int(point))
    overrides = [f'run.seed={point}', f'train.steps={RESUMED_STEPS}']
    whole = bench.folder('whole')
    job = Job(bench, whole, 2, [*overrides, f'checkpoint.every={RESUMED_STEPS}'])
    if job.wait() != 0:
        return f'an undisturbed run failed: {job.output()[-500:]}'
    folder = bench.folder()
    job = Job(bench, folder, 2, [*overrides, 'checkpoint.every=1000'])
    if not job.reaches(dice.randrange(1, RESUMED_STEPS // 2)):
        return f'ended too early: {job.output()[-500:]}'
    os.kill(job.process.pid, signal.SIGUSR1)
    if (code := job.wait()) != 75:
        return f'stopped with {code}: {job.output()[-500:]}'
    job = Job(bench, folder, 2, [*overrides, 'checkpoint.every=1000'])
    if job.wait() != 0 or job.steps() != list(range(1, RESUMED_STEPS + 1)):
        return f'resumed: {job.output()[-500:]}'
    states = [bench.driver.ask(do='read', folder=run / 'run/checkpoints')['states'][str(RESUMED_STEPS)]
              for run in (whole, folder)]
    return None if states[0] == states[1] else f'the last states differ: {states}'


def signal_points(bench):
    return [str(seed) for seed in range(50)]


def run_signal(bench, point):
    """Any signal that asks for a stop, at a random moment of training."""
    seed = int(point)
    dice = random.Random(1000 + seed)
    how = ('USR1 to mpirun', 'INT to train.sh', 'TERM to train.sh')[seed % 3]
    folder = bench.folder()
    mode = modes(bench)[seed // 3 % len(modes(bench))]
    job = Job(bench, folder, 2, mode, script='train.sh' in how)
    if not job.reaches(1):
        return f'ended before its first step: {job.output()[-500:]}'
    pause(dice, SPREAD / 2)
    begin = time.monotonic()
    os.kill(job.process.pid, {'USR1': signal.SIGUSR1, 'INT': signal.SIGINT, 'TERM': signal.SIGTERM}[how.split()[0]])
    code = job.wait()
    seconds = time.monotonic() - begin
    stopped = re.search(r'stopped by a signal after step (\d+) of', job.output())
    if code != 75 or stopped is None or seconds > 30:
        return f'{how}: ended with {code} after {seconds:.1f} s: {job.output()[-500:]}'
    return problem_of_checkpoints(bench, folder, digests(bench, 2), newest=int(stopped[1]))


def mpirun_points(bench):
    return [str(seed) for seed in range(50)]


def run_mpirun_kill(bench, point):
    seed = int(point)
    dice = random.Random(2000 + seed)
    folder = bench.folder()
    job = Job(bench, folder, 4, ['checkpoint.every=1', *modes(bench)[seed // 2 % len(modes(bench))]])
    if not job.reaches(2):
        return f'ended before its second step: {job.output()[-500:]}'
    pause(dice, SPREAD / 2)
    ranks, shared = job.ranks(), shared_memory_of(job.ranks(), besides=bench.work)
    os.kill(job.process.pid, (signal.SIGTERM, signal.SIGKILL)[seed % 2])
    code = job.wait()
    if code == 0:
        return 'ended before the signal'
    deadline = time.monotonic() + 30
    while (orphans := [rank for rank in ranks if is_running(rank)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for rank in orphans:
        os.kill(rank, signal.SIGKILL)
    if orphans:
        return f'{len(orphans)} of {len(ranks)} ranks were still there after 30 s'
    left = sorted(path for path in shared if Path(path).exists())
    for path in left:
        os.unlink(path)
    if left:
        return f'left in /dev/shm: {left}'
    return problem_of_checkpoints(bench, folder, digests(bench, 4))


def shared_memory_of(processes, besides):
    """Files in /dev/shm that the processes have mapped, without those in the folder `besides`."""
    found = set()
    for process in processes:
        try:
            maps = Path(f'/proc/{process}/maps').read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found |= set(re.findall(r'(/dev/shm/\S+)$', maps, re.MULTILINE))
    return {path for path in found if not path.startswith(f'{besides}/')}


def disk_points(bench):
    return [f'{mode}-{keep}' for mode in range(len(modes(bench))) for keep in ('1', '2', '3', 'all', 'all-again')]


def why_no_small_disk(bench):
    folder = bench.folder()
    probe = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'none', folder], capture_output=True, text=True)
    if probe.returncode != 0:
        return 'this machine does not let us mount a file system'
    subprocess.run(['umount', folder], check=True)
    return None


def run_on_small_disk(bench, point):
    """Checkpoints of about 3 MiB: two fit, the third only where an old one is deleted before, which never happens."""
    mode, keep, *again = point.split('-')
    big = ['model.width=128', 'model.feed_forward.width=256', 'model.moe.expert_width=32', 'train.steps=20',
           'checkpoint.every=2']
    overrides = [*big, f'checkpoint.keep={keep}', *modes(bench)[int(mode)]]
    expected = digests(bench, 2, tuple(big[:4]))
    folder = bench.folder()
    disk = folder / 'run/checkpoints'
    disk.mkdir(parents=True)
    subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'none', disk], check=True)
    try:
        for _ in range(2 if again else 1):
            job = Job(bench, folder, 2, overrides)
            code, output = job.wait(), job.output()
            full = 'training goes on' in output or 'No space left on device' in output
            if keep == '1' and (code != 0 or full):
                return f'does not fit, with {code}: {output[-500:]}'
            if keep != '1' and code not in (0, 74):
                return f'ended with {code}: {output[-500:]}'
            if keep == 'all' and not (code == 74 and full):
                return f'the disk did not fill: {code}: {output[-500:]}'
            if job.steps()[-1] != 20:
                return f'trained {job.steps()[-1]} steps of 20: {output[-500:]}'
            found = bench.driver.ask(do='read', folder=disk)
            if found['others'] or not found['newest']:
                return f'left: {found}'
            if problem := problem_of_checkpoints(bench, folder, expected):
                return problem
    finally:
        subprocess.run(['umount', disk], check=True)
    return None
