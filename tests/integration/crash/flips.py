"""Row: one bit of a checkpoint is flipped: every byte of the manifest, random bits of all files, and what a run then
does."""
import random

from save_run import STEPS, SaveRun, checkpoints

BLOCK = 200  # flips a point
DATA_BITS = 10_000
FALLBACKS = 50
COUNT_OF = {'manifest': 'manifest bytes', 'data': 'data bits', 'fallback': 'runs'}


def saved(bench):
    """A finished run with all its checkpoints."""
    run = SaveRun(bench, 'expert2-tensor2')

    def make(folder):
        run.run(folder, overrides=['checkpoint.keep=all'])
        return folder
    return run, bench.once('saved-for-flips', make)


def newest(folder):
    return checkpoints(folder) / f'step-{STEPS:08}'


def random_bits(bench):
    """[(file, bit)] over all bytes of the newest checkpoint's data files."""
    _, folder = saved(bench)
    sizes = {path.name: path.stat().st_size for path in sorted(newest(folder).glob('*.safetensors'))}
    dice = random.Random(5)
    found = []
    for _ in range(DATA_BITS):
        at = dice.randrange(sum(sizes.values()) * 8)
        for name, size in sizes.items():
            if at < size * 8:
                found.append((name, at))
                break
            at -= size * 8
    return found


def points(bench):
    """Names like `manifest/400`, `data/2000` and `fallback/17`."""
    _, folder = saved(bench)
    size = (newest(folder) / 'manifest.json').stat().st_size
    return ([f'manifest/{begin}' for begin in range(0, size, BLOCK)] +
            [f'data/{begin}' for begin in range(0, DATA_BITS, BLOCK)] + [f'fallback/{i}' for i in range(FALLBACKS)])


def count(bench, point):
    kind, begin = point.split('/')
    return len(block(bench, kind, int(begin)))


def block(bench, kind, begin):
    """[(file, bit)] that a point flips."""
    if kind == 'fallback':
        return random_bits(bench)[begin::DATA_BITS]
    if kind == 'data':
        return random_bits(bench)[begin:begin + BLOCK]
    size = (newest(saved(bench)[1]) / 'manifest.json').stat().st_size
    return [('manifest.json', byte * 8 + random.Random(byte).randrange(8)) for byte in
            range(begin, min(begin + BLOCK, size))]


def run(bench, point):
    kind, begin = point.split('/')
    bits = block(bench, kind, int(begin))
    if kind == 'fallback':
        return problem_of_fallback(bench, *bits[0])
    _, folder = saved(bench)
    for name in sorted({name for name, _ in bits}):
        found = bench.driver.ask(do='flip', folder=checkpoints(folder), step=STEPS, file=name,
                                 bits=[bit for file, bit in bits if file == name])
        for what, hits in found.items():
            if hits:
                return f'{name}: {what}: {len(hits)}, the first {hits[0]}'
    return None


def problem_of_fallback(bench, name, bit):
    """A run that finds its newest checkpoint damaged says so, goes on from the one before, and ends in the same state."""
    scenario = SaveRun(bench, 'expert2-tensor2')
    folder = scenario.start()
    scenario.run(folder, overrides=['checkpoint.keep=all'])
    file = newest(folder) / name
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    answer = scenario.run(folder)
    output = (folder / 'output').read_text()
    if answer != {'exit': 0}:
        return f'no fallback: {answer}: {output[-400:]}'
    if str(file) not in output or f'resumed from {checkpoints(folder)}/step-{STEPS - 1:08}' not in output:
        return f'the damage is not named: {output}'
    return scenario.problem_of(scenario.read(folder), at_least=STEPS)
