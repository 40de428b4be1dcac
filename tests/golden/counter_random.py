"""The numbers that routers draw, by runtime/numerics/random.h: a Philox generator keyed by seed and stream."""

import math

SEED = 7
MASK = (1 << 64) - 1


def philox(low, high):
    c = [low & 0xFFFFFFFF, low >> 32, high & 0xFFFFFFFF, high >> 32]
    k = [SEED & 0xFFFFFFFF, SEED >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k[1], p0 & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[1] << 32 | c[0], c[3] << 32 | c[2]


def stream(name):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & MASK
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & MASK
    return h ^ (h >> 33)


def uniform(s, i):
    return (philox(i, s)[0] >> 11) * 2.0**-53


def coarse_uniform(s, i):
    low, high = philox(i // 8, (s + 2**32) & MASK)
    return ((high << 64 | low) >> 16 * (i % 8) & 0xFFFF) * 2.0**-16


def normal(s, i):
    a, b = philox(i // 2, (s + 1) & MASK)
    radius = math.sqrt(-2 * math.log(2 - (1 + (a >> 12) * 2.0**-52)))
    angle = ((b >> 12) * 2.0**-52 - 0.5) * math.pi / 2
    x, y = radius * math.cos(angle) * (-1 if a & 1 else 1), radius * math.sin(angle)
    return ((y, x) if b & 1 else (x, y))[i % 2]


# Gamma(shape, 1) as Marsaglia and Tsang (2000) draw it, each cell from 256 numbers of its own, the first of them for
# shapes below 1.
def gamma(s, cell, shape):
    d = (shape if shape >= 1 else shape + 1) - 1 / 3
    factor = 1.0 if shape >= 1 else (1 - uniform(s, 256 * cell)) ** (1 / shape)
    for i in range(256 * cell + 1, 256 * (cell + 1)):
        x = normal(s, i)
        v = (1 + x / math.sqrt(9 * d)) ** 3
        if v > 0 and math.log(1 - uniform(s, i)) < x * x / 2 + d * (1 - v + math.log(v)):
            return factor * d * v


def below(n, s, index):
    subindex = 2
    while True:
        product = philox(index, (s + subindex) & MASK)[0] * n
        if product & MASK >= (1 << 64) % n:
            return product >> 64
        subindex += 1
