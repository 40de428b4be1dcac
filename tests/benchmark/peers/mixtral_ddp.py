"""Trains Hugging Face's Mixtral, unmodified, under PyTorch DDP over gloo on random tokens, and prints one JSON line.

    pip install torch==2.11.0 transformers
    torchrun --nproc_per_node 2 tests/benchmark/peers/mixtral_ddp.py --precision bf16 --steps 8

The model is the 63 M shape of configs/bench_63m.yaml. Each rank uses OMP_NUM_THREADS threads.
"""

import argparse
import json
import os
import resource
import statistics
import time

import torch
import torch.distributed as dist
import transformers
from torch.nn.parallel import DistributedDataParallel


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--precision", choices=["bf16", "fp32"], required=True)
    arguments.add_argument("--steps", type=int, default=8)
    arguments.add_argument("--warmup", type=int, default=2)
    arguments = arguments.parse_args()

    dist.init_process_group("gloo")
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    torch.manual_seed(1234)
    config = transformers.MixtralConfig(
        vocab_size=8192, hidden_size=512, intermediate_size=512, num_hidden_layers=4, num_attention_heads=8,
        num_key_value_heads=8, num_local_experts=16, num_experts_per_tok=4, max_position_embeddings=512,
        output_router_logits=True, router_aux_loss_coef=0.01, use_cache=False, sliding_window=None)
    model = transformers.MixtralForCausalLM(config)
    parameters = sum(p.numel() for p in model.parameters())
    model = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)
    generator = torch.Generator().manual_seed(dist.get_rank())
    seconds = []
    for step in range(arguments.warmup + arguments.steps):
        tokens = torch.randint(0, 8192, (4, 512), generator=generator)
        dist.barrier()
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        dist.barrier()
        if step >= arguments.warmup:
            seconds.append(time.perf_counter() - start)
    peak = torch.tensor([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0])
    dist.all_reduce(peak, dist.ReduceOp.MAX)
    if dist.get_rank() == 0:
        step_seconds = statistics.median(seconds)
        print(json.dumps({
            "what": "mixtral_ddp", "precision": arguments.precision, "ranks": dist.get_world_size(),
            "threads": threads, "parameters": parameters, "step_seconds": step_seconds,
            "tokens_per_second": 2048 * dist.get_world_size() / step_seconds, "peak_bytes": peak.item(),
            "torch": torch.__version__, "transformers": transformers.__version__}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
