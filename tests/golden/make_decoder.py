"""Writes the golden values of the decoder test from a plain PyTorch implementation in fp64.

    pip install torch==2.11.0 safetensors numpy
    python tests/golden/make_decoder.py tests/golden

One process, no parallelism, autograd for every gradient and torch.optim.AdamW for the updates. Three files:
decoder_initial (parameters, tokens, targets, positions, piece starts), decoder_first_step (logits and losses of the
parts, gradients before clipping, gradient norm) and decoder_final (parameters after five AdamW steps, loss of each).
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)

VOCAB, WIDTH, LAYERS, HEADS, KV_HEADS, HEAD = 61, 32, 3, 4, 2, 8
FEED_FORWARD, EXPERTS, TOP_K, EXPERT_WIDTH, FIRST_DENSE = 48, 6, 2, 24, 1
SHARED = 1  # shared experts, each of EXPERT_WIDTH
SEQUENCE, BATCH, PARTS, STEPS = 12, 4, 2, 5
AUX_LOSS, Z_LOSS, EPSILON, THETA = 0.01, 0.001, 1e-5, 10000.0
LR, BETAS, WEIGHT_DECAY, CLIP = [1e-3, 3e-3, 3e-3, 2e-3, 1e-3], (0.9, 0.95), 0.1, 0.5


def make_parameters(generator):
    def normal(*shape, std=0.3):
        return torch.from_numpy(generator.normal(0.0, std, shape))

    def gain():
        return 1.0 + normal(WIDTH, std=0.1)

    p = {"embedding": normal(VOCAB, WIDTH, std=0.5)}
    for i in range(LAYERS):
        n = f"layers.{i}"
        p[f"{n}.attention_norm"] = gain()
        p[f"{n}.attention.q"] = normal(HEADS * HEAD, WIDTH)
        p[f"{n}.attention.k"] = normal(KV_HEADS * HEAD, WIDTH)
        p[f"{n}.attention.v"] = normal(KV_HEADS * HEAD, WIDTH)
        p[f"{n}.attention.o"] = normal(WIDTH, HEADS * HEAD)
        p[f"{n}.feed_forward_norm"] = gain()
        if i < FIRST_DENSE:
            blocks = {f"{n}.feed_forward": FEED_FORWARD}
        else:
            p[f"{n}.moe.router"] = normal(EXPERTS, WIDTH, std=0.5)
            blocks = {f"{n}.moe.experts.{e}": EXPERT_WIDTH for e in range(EXPERTS)}
            blocks[f"{n}.moe.shared"] = SHARED * EXPERT_WIDTH
        for name, hidden in blocks.items():
            p[f"{name}.gate"] = normal(hidden, WIDTH)
            p[f"{name}.up"] = normal(hidden, WIDTH)
            p[f"{name}.down"] = normal(WIDTH, hidden)
    p["norm"] = gain()
    p["head"] = normal(VOCAB, WIDTH)
    return p


def rms_norm(x, weight):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPSILON) * weight


def rotate(x, positions):  # x [T,H,C]; pairs (c, c + C/2)
    half = HEAD // 2
    angle = positions[:, None] * THETA ** (-torch.arange(half) * 2.0 / HEAD)[None, :]
    cos, sin = angle.cos()[:, None, :], angle.sin()[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention(p, n, x, positions, allowed):
    q = rotate((x @ p[f"{n}.q"].T).view(-1, HEADS, HEAD), positions)
    k = rotate((x @ p[f"{n}.k"].T).view(-1, KV_HEADS, HEAD), positions)
    v = (x @ p[f"{n}.v"].T).view(-1, KV_HEADS, HEAD)
    k, v = (t.repeat_interleave(HEADS // KV_HEADS, 1) for t in (k, v))
    scores = torch.einsum("thc,shc->hts", q, k) / HEAD**0.5
    weights = scores.masked_fill(~allowed, float("-inf")).softmax(-1)
    return torch.einsum("hts,shc->thc", weights, v).reshape(-1, HEADS * HEAD) @ p[f"{n}.o"].T


def swiglu(p, n, x):
    return (F.silu(x @ p[f"{n}.gate"].T) * (x @ p[f"{n}.up"].T)) @ p[f"{n}.down"].T


def mixture(p, n, x):
    logits = x @ p[f"{n}.router"].T
    probabilities = logits.softmax(-1)
    top, chosen = probabilities.topk(TOP_K, -1)
    top = top / top.sum(-1, keepdim=True)
    weight = torch.zeros_like(probabilities).scatter(1, chosen, top)
    y = sum(weight[:, e : e + 1] * swiglu(p, f"{n}.experts.{e}", x) for e in range(EXPERTS))
    y = y + swiglu(p, f"{n}.shared", x)
    share = torch.zeros_like(probabilities).scatter(1, chosen, 1.0).sum(0) / (len(x) * TOP_K)
    auxiliary = AUX_LOSS * EXPERTS * (share.detach() * probabilities.mean(0)).sum()
    return y, auxiliary + Z_LOSS * (torch.logsumexp(logits, -1) ** 2).mean()


def forward(p, tokens, positions, piece):
    index = torch.arange(len(tokens))
    allowed = (piece[:, None] == piece[None, :]) & (index[None, :] <= index[:, None])
    x, auxiliary = p["embedding"][tokens], torch.zeros(())
    for i in range(LAYERS):
        n = f"layers.{i}"
        x = x + attention(p, f"{n}.attention", rms_norm(x, p[f"{n}.attention_norm"]), positions, allowed)
        h = rms_norm(x, p[f"{n}.feed_forward_norm"])
        if i < FIRST_DENSE:
            x = x + swiglu(p, f"{n}.feed_forward", h)
        else:
            y, extra = mixture(p, f"{n}.moe", h)
            x, auxiliary = x + y, auxiliary + extra
    return rms_norm(x, p["norm"]) @ p["head"].T, auxiliary


def make_batches(generator):
    """[STEPS, BATCH*SEQUENCE] tokens, targets, positions, and the piece that each token belongs to."""
    shape = (STEPS, BATCH * SEQUENCE)
    tokens = generator.integers(0, VOCAB, shape)
    targets = generator.integers(0, VOCAB, shape)
    starts = (generator.random(shape) < 0.15) | (np.arange(shape[1]) % SEQUENCE == 0)[None, :]
    piece = starts.cumsum(1) - 1
    positions = np.zeros(shape, np.int64)
    for s in range(STEPS):
        for t in range(shape[1]):
            positions[s, t] = 0 if starts[s, t] else positions[s, t - 1] + 1
    # A document's last token has no target; the end of a sequence is not the end of its document.
    ends = np.roll(starts, -1, 1) & (np.arange(shape[1]) % SEQUENCE != SEQUENCE - 1)[None, :]
    targets[ends] = -1
    return {k: torch.from_numpy(np.ascontiguousarray(v).astype(np.int64))
            for k, v in dict(tokens=tokens, targets=targets, positions=positions, piece=piece).items()}


def main(folder):
    generator = np.random.default_rng(2026)
    initial = make_parameters(generator)
    batches = make_batches(generator)
    versions = {"made_by": f"make_decoder.py, torch {torch.__version__}, numpy {np.__version__}"}
    save_file({**initial, **{f"batch.{k}": v for k, v in batches.items()}}, f"{folder}/decoder_initial.safetensors",
              versions)

    p = {k: v.clone().requires_grad_() for k, v in initial.items()}
    norms = [v for k, v in p.items() if v.ndim == 1]
    matrices = [v for k, v in p.items() if v.ndim == 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": WEIGHT_DECAY},
                                   {"params": norms, "weight_decay": 0.0}], betas=BETAS, eps=1e-8, foreach=False)
    first, losses, auxiliaries, grad_norms = {}, [], [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        counted = (batches["targets"][step] >= 0).sum()
        loss_sum, auxiliary_sum, logits_of_parts = 0.0, 0.0, []
        for part in range(PARTS):
            rows = slice(part * BATCH * SEQUENCE // PARTS, (part + 1) * BATCH * SEQUENCE // PARTS)
            get = lambda k: batches[k][step, rows]
            logits, auxiliary = forward(p, get("tokens"), get("positions"), get("piece"))
            loss = F.cross_entropy(logits, get("targets"), ignore_index=-1, reduction="sum") / counted
            (loss + auxiliary / PARTS).backward()
            loss_sum, auxiliary_sum = loss_sum + loss.item(), auxiliary_sum + auxiliary.item() / PARTS
            logits_of_parts.append(logits.detach())
        if step == 0:
            first = {f"gradient.{k}": v.grad.clone() for k, v in p.items()}
            first["logits"] = torch.cat(logits_of_parts)
        grad_norm = torch.sqrt(sum((v.grad**2).sum() for v in p.values()))
        for v in p.values():
            v.grad *= min(1.0, CLIP / (grad_norm.item() + 1e-6))
        for group in optimizer.param_groups:
            group["lr"] = LR[step]
        optimizer.step()
        losses.append(loss_sum)
        auxiliaries.append(auxiliary_sum)
        grad_norms.append(grad_norm.item())
    scalars = {k: torch.tensor(v) for k, v in dict(loss=losses, auxiliary_loss=auxiliaries,
                                                   grad_norm=grad_norms).items()}
    save_file(first, f"{folder}/decoder_first_step.safetensors", versions)
    save_file({**{k: v.detach().clone() for k, v in p.items()}, **scalars}, f"{folder}/decoder_final.safetensors",
              versions)
    print("loss", losses, "auxiliary", auxiliaries, "norm", grad_norms)


if __name__ == "__main__":
    main(sys.argv[1])
