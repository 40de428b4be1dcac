"""One mixture-of-experts layer of a peer, forward and backward, experts spread over ranks; prints one JSON line.

    OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 tests/benchmark/peers/moe_layer.py --peer gloo --precision bf16 \
        --tokens 4096 --width 512 --expert-width 2048 --experts 8 --experts-per-token 2

`gloo`: what one writes in PyTorch 2.11 with all_to_all_single, dropless, sorted by expert, a product an expert.
`deepspeed`: deepspeed.moe.layer.MoE, unmodified, without dropping tokens (pip install deepspeed). Experts are two
matrices with ReLU between them. Times are from barrier to barrier, medians over --repeats after two more.
"""

import argparse
import json
import os
import statistics
import time

import torch
import torch.distributed as dist


class AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, received, sent):
        ctx.splits = received, sent
        result = rows.new_empty((sum(received), rows.size(1)))
        dist.all_to_all_single(result, rows.contiguous(), received, sent)
        return result

    @staticmethod
    def backward(ctx, gradient):
        received, sent = ctx.splits
        result = gradient.new_empty((sum(sent), gradient.size(1)))
        dist.all_to_all_single(result, gradient.contiguous(), sent, received)
        return result, None, None


class Expert(torch.nn.Module):
    def __init__(self, width, expert_width, dtype):
        super().__init__()
        self.up = torch.nn.Linear(width, expert_width, bias=False, dtype=dtype)
        self.down = torch.nn.Linear(expert_width, width, bias=False, dtype=dtype)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


class GlooLayer(torch.nn.Module):
    def __init__(self, arguments, dtype):
        super().__init__()
        self.ranks = dist.get_world_size()
        self.all, self.k = arguments.experts, arguments.experts_per_token
        self.gate = torch.nn.Linear(arguments.width, arguments.experts, bias=False)
        self.experts = torch.nn.ModuleList(
            Expert(arguments.width, arguments.expert_width, dtype) for _ in range(arguments.experts // self.ranks))

    def forward(self, x):
        weights, ids = torch.topk(torch.softmax(self.gate(x.float()), dim=1), self.k, dim=1)
        weights = weights / weights.sum(1, keepdim=True)
        order = torch.argsort(ids.flatten(), stable=True)
        tokens = order // self.k
        counts = torch.bincount(ids.flatten(), minlength=self.all)
        arriving = torch.empty_like(counts)
        dist.all_to_all_single(arriving, counts)
        sent = counts.view(self.ranks, -1).sum(1).tolist()
        received = arriving.view(self.ranks, -1).sum(1).tolist()

        rows = AllToAll.apply(x.index_select(0, tokens), received, sent)
        experts = torch.arange(len(self.experts)).repeat(self.ranks).repeat_interleave(arriving)
        by_expert = torch.argsort(experts, stable=True)
        parts = rows.index_select(0, by_expert).split(arriving.view(self.ranks, -1).sum(0).tolist())
        y = torch.cat([expert(part) for expert, part in zip(self.experts, parts)])
        y = AllToAll.apply(y.index_select(0, torch.argsort(by_expert)), sent, received)
        weighted = y * weights.flatten().index_select(0, order).unsqueeze(1).to(y.dtype)
        return torch.zeros_like(x).index_add(0, tokens, weighted)


class FirstOutput(torch.nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, x):
        return self.module(x)[0]


def deepspeed_layer(arguments, dtype):
    import deepspeed
    from deepspeed.moe.layer import MoE

    deepspeed.init_distributed("gloo")
    layer = MoE(arguments.width, Expert(arguments.width, arguments.expert_width, dtype),
                num_experts=arguments.experts, ep_size=dist.get_world_size(), k=arguments.experts_per_token,
                drop_tokens=False, use_rts=False, top2_2nd_expert_sampling=False)
    layer.set_deepspeed_parallelism()
    return FirstOutput(layer), deepspeed.__version__


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", choices=["gloo", "deepspeed"], required=True)
    parser.add_argument("--precision", choices=["bf16", "fp32"], required=True)
    for name in ("tokens", "width", "expert-width", "experts", "experts-per-token"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--repeats", type=int, default=11)
    arguments = parser.parse_args()

    dist.init_process_group("gloo")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(1234 + dist.get_rank())
    dtype = torch.bfloat16 if arguments.precision == "bf16" else torch.float32
    version = torch.__version__
    if arguments.peer == "gloo":
        layer = GlooLayer(arguments, dtype)
    else:
        layer, version = deepspeed_layer(arguments, dtype)
    x = torch.randn(arguments.tokens, arguments.width, dtype=dtype).requires_grad_()
    g = torch.randn(arguments.tokens, arguments.width, dtype=dtype)
    seconds = []
    for _ in range(arguments.repeats + 2):
        x.grad = None
        for parameter in layer.parameters():
            parameter.grad = None
        dist.barrier()
        start = time.perf_counter()
        layer(x).backward(g)
        dist.barrier()
        seconds.append(time.perf_counter() - start)
    if dist.get_rank() == 0:
        print(json.dumps({"ms": 1e3 * statistics.median(seconds[2:]), "version": version}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
