"""Writes the golden values of the router tests from plain PyTorch in fp64, one process, autograd for every gradient.

    pip install torch==2.11.0 safetensors numpy
    python tests/golden/make_routers.py tests/golden

Every case routes the same tokens by a formula of its paper and gives: the weights as a dense [T,E] with zeros where
an expert was not chosen, each loss before its coefficient, the gradients of sum(weights·g) + losses by the input and
by every parameter, and the router's buffers after the step; `.evaluation.` has the weights and losses outside training
where a kind does something else there. tests/layers/moe/router/golden_test.cpp has the same cases by name.
"""

import math
import sys

import torch
import torch.nn.functional as F
from counter_random import below, gamma, stream
from router_formulas import (NAME, PART, PARTS, STEP, TAGS, TOKENS, D, E, G, K, T, X, chosen_mask, coarse_uniforms,
                             entropy, load_balance, load_balance_by_sequence, normals, uniforms, values_of, variation,
                             wave, weigh, z_loss)
from safetensors.torch import save_file

tensors = {}


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


def evaluate(name, parameters, route):
    weights, losses = route(X, parameters)
    tensors[f"{name}.evaluation.weights"] = weights
    for key, (_, loss) in losses.items():
        tensors[f"{name}.evaluation.loss.{key}"] = loss.reshape(1)


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
    return weights, {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits)),
                     "importance_loss": (0.3, variation(weights.sum(0))), "entropy_loss": (0.2, entropy(probabilities))}


def softmax_mlp(x, p):
    logits = mlp(x, p)
    probabilities, mask = logits.softmax(1), chosen_mask(logits)
    weights = logits.masked_fill(~mask, -math.inf).softmax(1)  # top-k first, then softmax
    return weights, {"aux_loss": (0.5, load_balance_by_sequence(probabilities, mask)), "z_loss": (0, z_loss(logits))}


def softmax_jitter(x, p):
    return softmax(x * (0.9 + 0.2 * coarse_uniforms("jitter", D)), p)


# The slots of the step's earlier part, of the input −X, count too.
def softmax_running(x, p):
    logits = linear(x, p)
    probabilities, mask = logits.softmax(1), chosen_mask(logits)
    slots = mask.sum(0) + chosen_mask(linear(-X, p)).sum(0)
    balance = E * (slots / (2 * T * K) * probabilities.mean(0)).sum()
    return weigh(probabilities, mask), {"aux_loss": (0.5, balance), "z_loss": (0, z_loss(logits))}


BIAS = torch.tensor([0.3, -0.2, 0.1, 0.25, -0.3, 0.0])


def bias_after(mask):
    load = mask.sum(0).double()
    return BIAS + 0.1 * (load.mean() - load).sign()


def softmax_bias(x, p):
    logits = linear(x, p)
    probabilities = logits.softmax(1)
    mask = chosen_mask(probabilities + BIAS)
    tensors["softmax_bias.after.moe.router.bias"] = bias_after(mask)
    return weigh(probabilities, mask), {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits))}


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
    tensors["sigmoid.after.moe.router.bias"] = bias_after(mask)
    return weigh(scores, mask, scale=2.5), {"aux_loss": (0.5, load_balance_by_sequence(probabilities, mask)),
                                            "z_loss": (0, z_loss(logits)), "entropy_loss": (0.2, entropy(probabilities))}


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
                     "importance_loss": (0.3, variation(weights.sum(0))), "load_loss": (0.4, variation(load)),
                     "entropy_loss": (0.2, entropy(noisy.softmax(1)))}


def noisy_top_k_in_evaluation(x, p):
    logits = linear(x, p)
    probabilities, mask = logits.softmax(1), chosen_mask(logits)
    weights = weigh(probabilities, mask)
    return weights, {"aux_loss": (0, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits)),
                     "importance_loss": (0.3, variation(weights.sum(0))),
                     "load_loss": (0.4, variation(mask.sum(0).double())), "entropy_loss": (0.2, entropy(probabilities))}


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
    return sinkhorn_by(d1 * cost * d0[:, None], logits)


def sinkhorn_by(scores, logits):
    mask, probabilities = chosen_mask(scores), logits.softmax(1)
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


MEAN = COUNTS[0] / COUNTS.sum(0)


def clusters(x):
    projection = torch.tensor(values_of("clusters", CLUSTERS * D)).view(CLUSTERS, D)
    return (x.detach() @ projection.t()).argmax(1)


def upper_bounds():
    good, bad = COUNTS
    total = good + bad
    return MEAN + 1.5 * (good * bad / (total**2 * (total + 1))).sqrt()


# Of each cluster and expert one draw from its Beta distribution, made of two Gamma draws.
def thompson_draws():
    s = stream(f"{NAME}.thompson#{STEP}#{PART}")
    good, bad = (torch.tensor([gamma(s, 2 * cell + which, count) for cell, count in enumerate(COUNTS[which].view(-1))])
                 for which in (0, 1))
    return (good / (good + bad)).view(CLUSTERS, E)


def bayesian(chances, name=None):
    def route(x, p):
        cluster = clusters(x)
        logits = linear(x, p)
        probabilities = logits.softmax(1)
        mask = chosen_mask(probabilities * chances[cluster])
        weights = weigh(probabilities * MEAN[cluster], mask)
        if name:
            observe(name, mask, cluster)
        return weights, {"aux_loss": (0.5, load_balance(probabilities, mask)), "z_loss": (0, z_loss(logits))}
    return route


# An outcome is good where a larger weight would lower the loss, and was expected with the mean chance.
def observe(name, mask, cluster):
    outcomes, bins = torch.zeros(2, CLUSTERS, E), {}
    for t, e in mask.nonzero().tolist():
        good, expected = (G[t, e] < 0).item(), MEAN[cluster[t], e].item()
        outcomes[0 if good else 1, cluster[t], e] += 1
        bins.setdefault(int(10 * expected), []).append(expected - good)
    tensors[f"{name}.after.moe.router.posterior"] = 1 + 0.9 * (COUNTS - 1) + outcomes
    error = sum(abs(sum(gaps)) for gaps in bins.values()) / mask.sum().item()
    tensors[f"{name}.calibration_error"] = torch.tensor([error])


write("softmax", GATE, softmax)
write("softmax_scaled", GATE, softmax_scaled)
write("softmax_mlp", MLP, softmax_mlp)
write("softmax_jitter", GATE, softmax_jitter)
evaluate("softmax_jitter", GATE, softmax)
write("softmax_running", GATE, softmax_running)
evaluate("softmax_running", GATE, softmax)
write("softmax_bias", {"moe.router": 10 * GATE["moe.router"]}, softmax_bias)  # so that the bias is not all
write("sigmoid", GATE, sigmoid)
write("noisy_top_k", GATE | {"moe.router.noise": wave(E, D, speed=0.4, scale=0.3)}, noisy_top_k)
evaluate("noisy_top_k", GATE, noisy_top_k_in_evaluation)
write("top_p", GATE, top_p)
write("expert_choice", GATE, expert_choice)
write("sinkhorn", GATE, sinkhorn)
evaluate("sinkhorn", GATE, lambda x, p: sinkhorn_by(linear(x, p), linear(x, p)))
tensors["hash.weights"] = hashed(lambda token: token % E * K)
tensors["hash_random.weights"] = hashed(lambda token: below(E, stream(f"{NAME}.table"), token))
write("supervised", GATE, supervised)
write("bayesian", GATE, bayesian(upper_bounds(), "bayesian"))
evaluate("bayesian", GATE, bayesian(MEAN))
write("bayesian_thompson", GATE, bayesian(thompson_draws(), "bayesian_thompson"))
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
