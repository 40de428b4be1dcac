"""Checkpoints beside PyTorch's torch.distributed.checkpoint: same tensors, 2 ranks of one thread, runs taken in turn.

    python3 -m venv VENV && VENV/bin/pip install torch==2.11.0 numpy
    VENV/bin/python tests/benchmark/compare_dcp.py [--mib 1024] [--rounds 3] [--disk FOLDER] [--memory /dev/shm]

Prints the median seconds of saving rows and of loading columns, on a tmpfs and on a disk, beside `dd` with fsync there.
On the disk the pages of the files are dropped from memory before every load; on the tmpfs they are always there. Nothing
else should run meanwhile. Build the target benchmark_checkpoint_io first.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time

from commands import ROOT, last_record, run

OURS = ["mpirun", "-n", "2", "--bind-to", "none", "build/cpu-release/tests/benchmark/benchmark_checkpoint_io"]
THEIRS = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "tests/benchmark/peers/dcp.py"]


def seconds_of(command):
    return last_record(run(command))["seconds"]


def drop_pages(folder):
    """Of all files under the folder, which have been synced."""
    for path, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(os.path.join(path, name), os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def dd(folder, mib):
    path = os.path.join(folder, "dd")
    start = time.perf_counter()
    subprocess.run(["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mib}", "conv=fsync"], check=True,
                   capture_output=True)
    seconds = time.perf_counter() - start
    os.remove(path)
    return seconds


def measure(place, folder, mib, rounds, on_disk):
    results = {name: [] for name in ("our save", "their save", "our load", "their load", "dd")}
    repeats = "1" if on_disk else "3"
    for _ in range(rounds):
        os.makedirs(folder, exist_ok=True)
        ours, theirs = os.path.join(folder, "ours"), os.path.join(folder, "theirs")
        results["our save"] += seconds_of([*OURS, "save", ours, str(mib), repeats])
        results["their save"] += seconds_of([*THEIRS, "save", theirs, str(mib), repeats])
        results["dd"].append(dd(folder, mib))
        if on_disk:
            drop_pages(folder)
        results["our load"] += seconds_of([*OURS, "load", ours, repeats])
        if on_disk:
            drop_pages(folder)
        results["their load"] += seconds_of([*THEIRS, "load", theirs, str(mib), repeats])
        shutil.rmtree(folder)
    median = {name: statistics.median(seconds) for name, seconds in results.items()}
    for what in ("save", "load"):
        ours, theirs = median[f"our {what}"], median[f"their {what}"]
        print(f"{place} | {what} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.2f} | "
              f"{median['dd'] / ours if what == 'save' else float('nan'):.2f}", flush=True)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mib", type=int, default=1024)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--memory", default="/dev/shm", help="a folder on a tmpfs")
    arguments.add_argument("--disk", default=os.path.join(ROOT, "build"), help="a folder on a disk")
    arguments = arguments.parse_args()
    print("where | what | switchyard s | DCP s | DCP / switchyard | dd with fsync / switchyard")
    name = f"compare_dcp_{os.getpid()}"
    measure("tmpfs", os.path.join(arguments.memory, name), arguments.mib, arguments.rounds, False)
    measure("disk", os.path.join(arguments.disk, name), arguments.mib, arguments.rounds, True)


if __name__ == "__main__":
    main()
