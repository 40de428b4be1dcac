#!/usr/bin/env python3
"""Writes adamw.json: five steps of PyTorch's AdamW, in fp32 and fp64, with and without weight decay.

Run: python3 make_adamw.py > adamw.json      (needs torch; the file names the version that made it)
"""

import json

import torch

SHAPE = (5, 7)
BETAS, EPSILON, WEIGHT_DECAY = (0.9, 0.95), 1e-8, 0.1
RATES = [1e-3, 2e-3, 3e-3, 2.5e-3, 1e-3]


def steps(dtype):
    generator = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    decayed, kept = (torch.nn.Parameter(draw().to(dtype)) for _ in range(2))
    groups = [{"params": [decayed], "weight_decay": WEIGHT_DECAY}, {"params": [kept], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1.0, betas=BETAS, eps=EPSILON, foreach=False, fused=False)
    flat = lambda tensor: tensor.detach().double().flatten().tolist()
    result = {"initial": [flat(decayed), flat(kept)], "gradients": [], "values": []}
    for step, rate in enumerate(RATES):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for parameter in (decayed, kept):
            # Sizes from 1e-6 to 1, and exact zeros.
            gradient = draw() * 10.0 ** torch.randint(-6, 1, SHAPE, generator=generator)
            gradient[step % SHAPE[0]] = 0
            parameter.grad = gradient.to(dtype)
        result["gradients"].append([flat(decayed.grad), flat(kept.grad)])
        optimizer.step()
        result["values"].append([flat(decayed), flat(kept)])
    moments = [optimizer.state[parameter] for parameter in (decayed, kept)]
    result["m"] = [flat(state["exp_avg"]) for state in moments]
    result["v"] = [flat(state["exp_avg_sq"]) for state in moments]
    return result


print(json.dumps({
    "made_by": f"torch {torch.__version__}", "shape": SHAPE, "betas": BETAS, "epsilon": EPSILON,
    "weight_decay": WEIGHT_DECAY, "rates": RATES,
    "fp32": steps(torch.float32), "fp64": steps(torch.float64),
}))
