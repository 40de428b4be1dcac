"""Row: libFuzzer on what reads files of others; see fuzz/."""
import os
import re
import subprocess

from bench import HERE

TARGETS = ('safetensors', 'manifest', 'config', 'idx')
SHARDS = 100
INPUTS_A_SHARD = 100_000
LONG_EVERY = 10  # a shard in so many tries inputs of up to 64 KiB, the others of up to 2 KiB, many more a second


def program(bench, target):
    return bench.build / f'tests/integration/crash/fuzz/fuzz_{target}'


def why_not(bench):
    missing = [target for target in TARGETS if not program(bench, target).exists()]
    return f'no clang with libFuzzer built {", ".join(missing)}' if missing else None


def points(bench):
    """Names like `manifest/7`: the seed of a shard."""
    return [f'{target}/{shard}' for shard in range(1, SHARDS + 1) for target in TARGETS]


def target_of(point):
    return point.split('/')[0]


def count(bench, point):
    return INPUTS_A_SHARD


def run(bench, point):
    target, seed = point.split('/')
    folder = bench.folder()
    found = bench.work / f'found-{target}'  # inputs that reached new code; the next shard starts from them, too
    found.mkdir(exist_ok=True)
    result = subprocess.run([HERE / 'fuzz/run.sh', program(bench, target), str(INPUTS_A_SHARD), seed, found],
                            cwd=folder, capture_output=True, text=True,
                            env={**os.environ, 'MAX_LENGTH': '65536' if int(seed) % LONG_EVERY == 0 else '2048'})
    if result.returncode != 0:
        return f'{target}: {result.stderr[-1500:]}'
    done = re.search(r'Done (\d+) runs', result.stderr)
    return None if done and int(done[1]) >= INPUTS_A_SHARD else f'{target}: {result.stderr[-500:]}'
