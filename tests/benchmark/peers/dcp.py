"""Saves or loads the tensors of benchmark_checkpoint_io with torch.distributed.checkpoint, and prints one JSON line.

    pip install torch==2.11.0 numpy
    torchrun --nproc_per_node 2 tests/benchmark/peers/dcp.py save FOLDER MIB ROUNDS
    torchrun --nproc_per_node 2 tests/benchmark/peers/dcp.py load FOLDER MIB ROUNDS

Saved are rows spread over ranks, loaded columns. Files are synced, as DCP does by default. Seconds are from a barrier
to the end of the slowest rank.
"""

import json
import os
import shutil
import sys
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

SIDE = 2048


def state_of(tensors, dimension, mesh):
    rank, ranks = dist.get_rank(), dist.get_world_size()
    shape = [SIDE, SIDE]
    shape[dimension] //= ranks
    return {f"layers.{i}.weight": DTensor.from_local(torch.full(shape, float(i * ranks + rank)), mesh,
                                                     [Shard(dimension)], run_check=False) for i in range(tensors)}


def timed(body):
    dist.barrier()
    start = time.perf_counter()
    body()
    seconds = torch.tensor([time.perf_counter() - start])
    dist.all_reduce(seconds, dist.ReduceOp.MAX)
    return seconds.item()


def main():
    mode, folder, mib, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    dist.init_process_group("gloo")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    state = state_of(max(1, mib // 16), 0 if mode == "save" else 1, mesh)
    # Imports and first uses are not what is measured.
    small = {"w": DTensor.from_local(torch.zeros(4, 4), mesh, [Shard(0)], run_check=False)}
    warm = folder + ".warm"
    dcp.save(small, checkpoint_id=warm)
    dcp.load(small, checkpoint_id=warm)
    seconds = []
    for _ in range(rounds):
        if mode == "save":
            if dist.get_rank() == 0:
                shutil.rmtree(folder, ignore_errors=True)
            seconds.append(timed(lambda: dcp.save(state, checkpoint_id=folder)))
        else:
            seconds.append(timed(lambda: dcp.load(state, checkpoint_id=folder)))
    dist.barrier()
    if dist.get_rank() == 0:
        shutil.rmtree(warm, ignore_errors=True)
        print(json.dumps({"what": mode, "seconds": seconds, "torch": torch.__version__}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
