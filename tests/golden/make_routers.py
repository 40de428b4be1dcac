"""Writes the golden values of the router tests from plain PyTorch in fp64, one process, autograd for every gradient.

    pip install torch==2.11.0 safetensors numpy
    python tests/golden/make_routers.py tests/golden

Every case routes the same tokens by a formula of its paper and gives: the weights as a dense [T,E] with zeros where
an expert was not chosen, each loss before its coefficient, the gradients of sum(weights·g) + losses by the input and
by every parameter, and the router's buffers after the step. tests/layers/moe/router/golden_test.cpp has the same cases by name.
"""

import math
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

T, D, E, K, SEQUENCE = 24, 8, 6, 2, 6
SEED, STEP, PART, PARTS = 7, 3, 1, 2
NAME = "moe.router"
MASK = (1 << 64) - 1

tensors = {}


# The counter-based generator of runtime/numerics/random.h.
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


def uniforms(use, n):
    s, first = stream(f"{NAME}.{use}#{STEP}"), PART * T * n
    values = [(philox(first + i, s)[0] >> 11) * 2.0**-53 for i in range(T * n)]
    return torch.tensor(values).view(T, n)


def coarse_uniforms(use, n):
    s, first = (stream(f"{NAME}.{use}#{STEP}") + 2**32) & MASK, PART * T * n

    def value(i):
        low, high = philox(i // 8, s)
        return ((high << 64 | low) >> 16 * (i % 8) & 0xFFFF) * 2.0**-16

    return torch.tensor([value(first + i) for i in range(T * n)]).view(T, n)


def normal(s, i):
    a, b = philox(i // 2, (s + 1) & MASK)
    radius = math.sqrt(-2 * math.log(2 - (1 + (a >> 12) * 2.0**-52)))
    angle = ((b >> 12) * 2.0**-52 - 0.5) * math.pi / 2
    x, y = radius * math.cos(angle) * (-1 if a & 1 else 1), radius * math.sin(angle)
    return ((y, x) if b & 1 else (x, y))[i % 2]


def normals(use, n):
    s, first = stream(f"{NAME}.{use}#{STEP}"), PART * T * n
    return torch.tensor([normal(s, first + i) for i in range(T * n)]).view(T, n)


def values_of(use, n):
    return [normal(stream(f"{NAME}.{use}"), i) for i in range(n)]


def below(n, use, index):
    subindex = 2
    while True:
        product = philox(index, (stream(f"{NAME}.{use}") + subindex) & MASK)[0] * n
        if product & MASK >= (1 << 64) % n:
            return product >> 64
        subindex += 1


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


def z_loss(logits):
    return logits.exp().sum(1).log().square().mean()


def variation(values):
    return values.var(unbiased=False) / values.mean() ** 2


def linear(x, p):
    return x @ p["moe.router"].t()


def write(name, parameters, route):
    x = X.clone().requires_grad_()
    p = {key: value.clone().requires_grad_() for key, value in parameters.items()}
    weights, losses = route(x, p)
    total = (weights * G).sum() + sum(coefficient * loss for coefficient, loss in losses.values()) / PARTS
    total.backward()
    tensors[f"{name}.weights"] = weights.detach().clone()
    tensors[f"{name}.dx"] = x.grad if x.grad is not None else torch.zeros_like(x)
    for key, (_, loss) in losses.items():
        tensors[f"{name}.loss.{key}"] = loss.detach().reshape(1)
    for key, value in p.items():
        tensors[f"{name}.parameter.{key}"] = value.detach()
        tensors[f"{name}.gradient.{key}"] = value.grad


GATE = {"moe.router": wave(E, D, speed=2.1, scale=0.5)}
MLP = {"moe.router.up": wave(5, D, speed=1.7, scale=0.6), "moe.router.down": wave(E, 5, speed=0.9, scale=0.8)}


def mlp(x, p):
    return F.gelu(x @ p["moe.router.up"].t()) @ p["moe.router.down"].t()


def softmax(x, p):
    logits = linear(x, p)
    probabilities, mask = logits.softmax(1), chosen_mask(logits)
    return weigh(probabilities, mask), {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0.25, z_loss(logits))}


def softmax_scaled(x, p):
    logits = linear(x, p)
    probabilities, mask = logits.softmax(1), chosen_mask(logits)
    weights = weigh(probabilities, mask, renormalise=False, scale=2.5)
    entropy = -(probabilities * probabilities.log()).sum(1).mean()
    return weights, {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits)),
                     "importance_loss": (0.3, variation(weights.sum(0))), "entropy_loss": (0.2, entropy)}


def softmax_mlp(x, p):
    logits = mlp(x, p)
    probabilities, mask = logits.softmax(1), chosen_mask(logits)
    weights = logits.masked_fill(~mask, -math.inf).softmax(1)  # top-k first, then softmax
    return weights, {"aux_loss": (0.5, load_balance_by_sequence(probabilities, mask)), "z_loss": (0, z_loss(logits))}


def softmax_jitter(x, p):
    logits = linear(x * (0.9 + 0.2 * coarse_uniforms("jitter", D)), p)
    probabilities, mask = logits.softmax(1), chosen_mask(logits)
    return weigh(probabilities, mask), {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits))}


BIAS = torch.tensor([0.3, -0.2, 0.1, 0.25, -0.3, 0.0])


def sigmoid(x, p):
    logits = linear(x, p)
    scores = logits.sigmoid()
    biased = (scores + BIAS).detach()
    mask = torch.zeros(T, E, dtype=torch.bool)
    for t in range(T):  # three groups of two, two groups a token, three experts a token
        groups = sorted(range(3), key=lambda g: -(biased[t, 2 * g] + biased[t, 2 * g + 1]))[:2]
        allowed = [e for e in range(E) if e // 2 in groups]
        for e in sorted(allowed, key=lambda e: -biased[t, e])[:3]:
            mask[t, e] = True
    probabilities = scores / scores.sum(1, keepdim=True)
    load = mask.sum(0).double()
    tensors["sigmoid.after.moe.router.bias"] = BIAS + 0.1 * (load.mean() - load).sign()
    return weigh(scores, mask, scale=2.5), {"aux_loss": (0.5, load_balance_by_sequence(probabilities, mask)),
                                            "z_loss": (0, z_loss(logits))}


def noisy_top_k(x, p):
    clean, spread = linear(x, p), F.softplus(x @ p["moe.router.noise"].t()) + 1e-2
    noisy = clean + spread * normals("noise", E)
    mask = chosen_mask(noisy)
    weights = noisy.masked_fill(~mask, -math.inf).softmax(1)
    thresholds = torch.stack([
        torch.stack([torch.cat([noisy[t, :e], noisy[t, e + 1:]]).sort(descending=True).values[K - 1] for e in range(E)])
        for t in range(T)])
    load = torch.distributions.Normal(0.0, 1.0).cdf((clean - thresholds) / spread).sum(0)
    return weights, {"aux_loss": (0, load_balance(noisy.softmax(1), mask)), "z_loss": (0, z_loss(clean)),
                     "importance_loss": (0.3, variation(weights.sum(0))), "load_loss": (0.4, variation(load))}


def top_p(x, p):
    logits = linear(x, p)
    probabilities = logits.softmax(1)
    mask = torch.zeros(T, E, dtype=torch.bool)
    for t in range(T):
        total = 0.0
        for e in probabilities[t].detach().sort(descending=True).indices[:4]:
            if total >= 0.6:
                break
            mask[t, e] = True
            total += probabilities[t, e].item()
    return weigh(probabilities, mask), {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits))}


def expert_choice(x, p):
    logits = linear(x, p)
    probabilities = logits.softmax(1)
    mask = torch.zeros(T, E, dtype=torch.bool)
    mask.scatter_(0, probabilities.detach().topk(T * K // E, dim=0).indices, True)
    return weigh(probabilities, mask, renormalise=False), {"aux_loss": (0, load_balance(probabilities, mask)),
                                                           "z_loss": (0.25, z_loss(logits))}


def sinkhorn(x, p):
    logits = linear(x, p)
    cost, d1 = logits.detach().exp(), torch.ones(E)
    for _ in range(5):
        d0 = 1 / T / (cost @ d1)
        d1 = 1 / E / (d0 @ cost)
    mask = chosen_mask(d1 * cost * d0[:, None])
    probabilities = logits.softmax(1)
    return weigh(probabilities, mask, renormalise=False), {"aux_loss": (0, load_balance(probabilities, mask)),
                                                           "z_loss": (0, z_loss(logits))}


def hashed(first):
    mask = torch.zeros(T, E, dtype=torch.bool)
    for t in range(T):
        for j in range(K):
            mask[t, (first(TOKENS[t].item()) + j) % E] = True
    return mask * 1.0 / K


def supervised(x, p):
    weights, losses = softmax(x, p)
    probabilities = linear(x, p).softmax(1)
    labelled = [t for t in range(T) if TAGS[t] >= 0]  # label l of three owns experts 2l and 2l+1
    loss = -torch.stack([probabilities[t, 2 * TAGS[t]: 2 * TAGS[t] + 2].sum().log() for t in labelled]).mean()
    right = sum(probabilities[t].argmax().item() // 2 == TAGS[t].item() for t in labelled)
    tensors["supervised.accuracy"] = torch.tensor([right / len(labelled)])
    return weights, losses | {"label_loss": (0.7, loss)}


def with_capacity(priority):
    def route(x, p):
        logits = linear(x, p)
        probabilities, mask = logits.softmax(1), chosen_mask(logits)
        weights = weigh(probabilities, mask)
        kept = torch.zeros(T, E, dtype=torch.bool)
        for e in range(E):
            taken = [t for t in range(T) if mask[t, e]]
            for t in sorted(taken, key=lambda t: (-priority(weights)[t, e].item(), t))[: T * K // E]:
                kept[t, e] = True
        return weights * kept, {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits))}
    return route


def dense(gate):
    def route(x, p):
        weights = gate(x, p).softmax(1)
        even = load_balance(weights, torch.ones(T, E))
        return weights, {"aux_loss": (0, even), "z_loss": (0.25, z_loss(gate(x, p)))}
    return route


# The belief about two clusters, moved off the prior, and the upper bound of each chance.
CLUSTERS = 2
COUNTS = 1 + torch.arange(2.0 * CLUSTERS * E).mul(3.7).remainder(5.0).view(2, CLUSTERS, E)


def bayesian(x, p):
    projection = torch.tensor(values_of("clusters", CLUSTERS * D)).view(CLUSTERS, D)
    cluster = (x.detach() @ projection.t()).argmax(1)
    good, bad = COUNTS
    total = good + bad
    mean = good / total
    bound = mean + 1.5 * (good * bad / (total**2 * (total + 1))).sqrt()
    logits = linear(x, p)
    probabilities = logits.softmax(1)
    mask = chosen_mask(probabilities * bound[cluster])
    weights = weigh(probabilities * mean[cluster], mask)
    # An outcome is good where a larger weight would lower the loss.
    outcomes = torch.zeros(2, CLUSTERS, E)
    for t, e in mask.nonzero().tolist():
        outcomes[0 if G[t, e] < 0 else 1, cluster[t], e] += 1
    tensors["bayesian.after.moe.router.posterior"] = 1 + 0.9 * (COUNTS - 1) + outcomes
    return weights, {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits))}


write("softmax", GATE, softmax)
write("softmax_scaled", GATE, softmax_scaled)
write("softmax_mlp", MLP, softmax_mlp)
write("softmax_jitter", GATE, softmax_jitter)
write("sigmoid", GATE, sigmoid)
write("noisy_top_k", GATE | {"moe.router.noise": wave(E, D, speed=0.4, scale=0.3)}, noisy_top_k)
write("top_p", GATE, top_p)
write("expert_choice", GATE, expert_choice)
write("sinkhorn", GATE, sinkhorn)
tensors["hash.weights"] = hashed(lambda token: token % E * K)
tensors["hash_random.weights"] = hashed(lambda token: below(E, "table", token))
write("supervised", GATE, supervised)
write("bayesian", GATE, bayesian)
tensors["bayesian.counts"] = COUNTS
write("capacity_score", GATE, with_capacity(lambda weights: weights))
write("capacity_position", GATE, with_capacity(torch.zeros_like))
drawn = uniforms("drop", E)
write("capacity_random", GATE, with_capacity(lambda weights: drawn))
write("dense", GATE, dense(linear))
write("dense_neural", MLP, dense(mlp))
write("dense_linear", {"moe.router.coefficients": wave(E, 1, speed=1.1)},
      lambda x, p: ((p["moe.router.coefficients"].t() / E).expand(T, E), {}))

tensors |= {"x": X, "g": G, "tokens": TOKENS, "tags": TAGS}
save_file({k: v.contiguous() for k, v in tensors.items()}, f"{sys.argv[1]}/routers.safetensors",
          metadata={"torch": torch.__version__})
