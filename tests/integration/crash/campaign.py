#!/usr/bin/env python3
"""The crash campaign: every way of losing a checkpoint that we could think of, tried on the real writer.

  campaign.py run                 all rows in full, as far as the log does not have them on this commit
  campaign.py run --short         a sample of each row that CI runs
  campaign.py run --rows kill,power
  campaign.py report              the report of this commit, from the log
  campaign.py rows                the rows, and how many points each has

It needs a build (cmake --build --preset cpu-release --target switchyard crash_driver crash_io_shim). What it finds goes to
the log, a line a point; stopped and started again it goes on. Exit code: 0 where nothing failed, else 1."""
import argparse
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import errors
import flips
import fuzzing
import jobs
import kills
import power
import report
from bench import SOURCE, Bench, commit_of
from log import Log


@dataclass
class Row:
    title: str
    how: str
    target: str
    points: object            # bench → names
    run: object               # bench, name → what is wrong, or None
    short: int                # points of the short form, spread over all
    needed: dict = field(default_factory=dict)          # unit → how many the target asks for
    count: object = lambda bench, point: 1              # of units in a point
    unit_of: object = lambda point: 'points'
    skip: object = lambda bench: None                   # why the row cannot be run here, or None


ROWS = {
    'kill': Row('kill at every call of a save', 'LD_PRELOAD shim; between calls, and in writes after 0, ⅓, n−1 bytes',
                '≥ 2,000 points: the newest committed checkpoint loads, none is half accepted',
                kills.points, kills.run, 40, {'points': 2000}),
    'rank': Row('kill a random rank under mpirun', 'shipped program, 4 ranks, real data; half of the kills within a save',
                '200 kills: the final state is bitwise that of an undisturbed run',
                jobs.rank_points, jobs.run_rank_kills, 0, {'kills': 200}, jobs.count_kills, lambda _: 'kills'),
    'power': Row('power loss', 'logged calls replayed, unsynced ones lost, torn or reordered (ALICE)',
                 '≥ 1,000 states, 0 lost', power.points, power.run, 60, {'states': 1000},
                 unit_of=lambda _: 'states'),
    'errors': Row('EIO, ENOSPC, EDQUOT, short writes at each call, a full disk', 'LD_PRELOAD shim',
                  '≥ 500: the job warns and goes on, old checkpoints are intact, partial files removed',
                  errors.points, errors.run, 60, {'points': 500}),
    'disk': Row('a small disk that fills up', 'shipped program, 2 ranks, tmpfs of 8 MiB',
                'as above', jobs.disk_points, jobs.run_on_small_disk, 0, {'runs': 5}, unit_of=lambda _: 'runs',
                skip=jobs.why_no_small_disk),
    'flips': Row('bit flips', 'every manifest byte, random data bits, resumed runs',
                 '100 % detected and named, fallback automatic', flips.points, flips.run, 8,
                 {'data bits': flips.DATA_BITS, 'runs': flips.FALLBACKS}, flips.count,
                 lambda point: flips.COUNT_OF[point.split('/')[0]]),
    'fuzz': Row('fuzzing of safetensors headers, manifests, configs, .idx', 'libFuzzer under ASan and UBSan',
                '10⁷ inputs each, 0 crashes, 0 hangs, memory ≤ input + 64 MiB',
                fuzzing.points, fuzzing.run, 0, {name: 10_000_000 for name in fuzzing.TARGETS}, fuzzing.count,
                fuzzing.target_of, skip=fuzzing.why_not),
    'resume': Row('resume', 'shipped program, 2 ranks, real data, random stop step', '20 seeds, bitwise',
                  jobs.resume_points, jobs.run_resume, 0, {'seeds': 20}, unit_of=lambda _: 'seeds'),
    'signals': Row('SIGUSR1 to mpirun, SIGINT and SIGTERM to launch/train.sh', 'shipped program, random moments',
                   '50 of 50 saved and ended with 75 in time', jobs.signal_points, jobs.run_signal, 0, {'signals': 50},
                   unit_of=lambda _: 'signals'),
    'mpirun': Row('SIGTERM and SIGKILL to mpirun itself', 'shipped program, random moments',
                  '50: last checkpoint intact, no orphans, nothing left in /dev/shm',
                  jobs.mpirun_points, jobs.run_mpirun_kill, 0, {'signals': 50}, unit_of=lambda _: 'signals'),
}


def spread(points, count):
    """`count` of the points, evenly."""
    count = min(count, len(points))
    return [points[(2 * i + 1) * len(points) // (2 * count)] for i in range(count)]


def progress(name, done, total, failed, start):
    left = (time.monotonic() - start) / done * (total - done)
    text = f'{name}: {done}/{total}, {failed} failed, about {left / 60:.1f} min left'
    if sys.stderr.isatty():
        print('\r\x1b[K' + text, end='' if done < total else '\n', file=sys.stderr, flush=True)
    elif done == total or done % max(1, total // 10) == 0:
        print(text, file=sys.stderr, flush=True)


def run_row(bench, log, name, short):
    """How many of its points failed."""
    row = ROWS[name]
    if reason := row.skip(bench):
        print(f'{name}: skipped: {reason}', file=sys.stderr)
        log.add(name, 'all', 0, 0, skipped=reason)
        return 0
    points = row.points(bench)
    if short:
        points = spread(points, row.short)
    else:
        done = log.done(name)
        points = [point for point in points if point not in done]
    failed, start = 0, time.monotonic()
    for i, point in enumerate(points):
        begin = time.monotonic()
        problem = row.run(bench, point)
        log.add(name, point, row.count(bench, point), time.monotonic() - begin, problem)
        if problem:
            failed += 1
            print(f'{name}: {point}: {problem}', file=sys.stderr)
        progress(name, i + 1, len(points), failed, start)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('action', choices=['run', 'report', 'rows'])
    parser.add_argument('--rows', help='some of ' + ','.join(ROWS) + '; default all')
    parser.add_argument('--short', action='store_true', help='a sample of the rows that take no mpirun')
    parser.add_argument('--build', type=Path, default=SOURCE / 'build/cpu-release')
    parser.add_argument('--log', type=Path, help='default BUILD/crash-campaign.jsonl')
    parser.add_argument('--commit', help='what the log calls the code; default: the commit that is checked out')
    parser.add_argument('--work', help='folder for scratch files; default: memory where there is enough of it')
    options = parser.parse_args()
    # A shell starts what runs in its background with SIGINT ignored, and every job of ours would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log_path = options.log or options.build / 'crash-campaign.jsonl'
    commit = options.commit or commit_of(SOURCE)
    if options.action == 'report':
        print(report.make(log_path, commit, ROWS), end='')
        return 0
    names = options.rows.split(',') if options.rows else [name for name in ROWS if not options.short or ROWS[name].short]
    if unknown := set(names) - set(ROWS):
        parser.error(f'no rows {unknown}')
    try:
        bench = Bench(options.build, options.work)
    except OSError as problem:
        sys.exit(f'campaign.py: nothing is built in {options.build} ({problem}): build switchyard, crash_driver and '
                 'crash_io_shim there')
    try:
        if options.action == 'rows':
            for name in names:
                print(f'{name:8} {len(ROWS[name].points(bench)):6}  {ROWS[name].title}')
            return 0
        log = Log(log_path, commit)
        return 1 if sum([run_row(bench, log, name, options.short) for name in names]) else 0
    finally:
        bench.close()


if __name__ == '__main__':
    sys.exit(main())
