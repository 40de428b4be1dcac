"""The tokens that every kind of router is given, and the formulas that several kinds have in common."""

import math

import torch
from counter_random import coarse_uniform, normal, stream, uniform

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

T, D, E, K, SEQUENCE = 24, 8, 6, 2, 6
STEP, PART, PARTS = 3, 1, 2
NAME = "moe.router"


# n numbers a token, keyed by the layer, the use, the step and the token's place in it.
def drawn(of, use, n):
    s, first = stream(f"{NAME}.{use}#{STEP}"), PART * T * n
    return torch.tensor([of(s, first + i) for i in range(T * n)]).view(T, n)


def uniforms(use, n):
    return drawn(uniform, use, n)


def coarse_uniforms(use, n):
    return drawn(coarse_uniform, use, n)


def normals(use, n):
    return drawn(normal, use, n)


def values_of(use, n):
    return [normal(stream(f"{NAME}.{use}"), i) for i in range(n)]


def wave(*shape, speed, scale=1.0):
    n = math.prod(shape)
    return scale * torch.sin(torch.arange(n, dtype=torch.float64) * speed + speed).view(shape)


X = wave(T, D, speed=1.3, scale=2.0)
G = wave(T, E, speed=0.7)
TOKENS = (torch.arange(T) * 7) % 61
TAGS = torch.arange(T) % 4 - 1  # -1: none


def chosen_mask(scores, k=K):
    mask = torch.zeros(T, E, dtype=torch.bool)
    return mask.scatter(1, scores.detach().topk(k, dim=1).indices, True)


def weigh(values, mask, renormalise=True, scale=1.0):
    w = values * mask
    return scale * (w / w.sum(1, keepdim=True).clamp_min(1e-30) if renormalise else w)


def load_balance(p, mask):
    return E * ((mask.sum(0) / mask.sum()) * p.mean(0)).sum()


def load_balance_by_sequence(p, mask):
    parts = zip(p.split(SEQUENCE), mask.split(SEQUENCE))
    return torch.stack([load_balance(a, b) for a, b in parts]).mean()


def entropy(p):
    return -(p * p.log()).sum(1).mean()


def z_loss(logits):
    return logits.exp().sum(1).log().square().mean()


def variation(values):
    return values.var(unbiased=False) / values.mean() ** 2
