"""The 63 M shape against Hugging Face Mixtral under DDP: same machine, equal ranks and threads, runs taken in turn.

    python3 -m venv VENV && VENV/bin/pip install torch==2.11.0 transformers
    VENV/bin/python tests/benchmark/compare_63m.py [--ranks 2] [--rounds 3] [--steps 6] [--precisions bf16 fp32]

Prints for each precision each side's median tokens/s and peak memory a rank, and the ratios of the medians. Nothing
else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile

from commands import last_record, run


def switchyard(ranks, precision, steps):
    with tempfile.TemporaryDirectory() as folder:
        run(["mpirun", "-n", str(ranks), "--bind-to", "none", "build/cpu-release/switchyard", "train",
             "configs/bench_63m.yaml", f"train.steps={steps + 2}", f"train.precision={precision}",
             f"train.global_batch={4 * ranks}", f"parallel.expert={ranks}", "run.threads=1", f"run.dir={folder}"])
        with open(os.path.join(folder, "metrics.jsonl")) as file:
            records = [json.loads(line) for line in file][2:]  # the peer warms up for two steps as well
    seconds = statistics.median(r["step_seconds"] for r in records)
    return 2048 * ranks / seconds, max(r["memory_bytes"] for r in records)


def mixtral(ranks, precision, steps):
    out = run([sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(ranks),
               "tests/benchmark/peers/mixtral_ddp.py", "--precision", precision, "--steps", str(steps)])
    record = last_record(out)
    return record["tokens_per_second"], record["peak_bytes"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--ranks", type=int, default=2)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=6)
    arguments.add_argument("--precisions", nargs="+", choices=["bf16", "fp32"], default=["bf16", "fp32"])
    arguments = arguments.parse_args()
    print("precision | switchyard tokens/s | mixtral tokens/s | ratio | switchyard GiB | mixtral GiB | ratio")
    for precision in arguments.precisions:
        sides = {switchyard: [], mixtral: []}
        for _ in range(arguments.rounds):
            for side, results in sides.items():
                results.append(side(arguments.ranks, precision, arguments.steps))
        (ours, our_bytes), (theirs, their_bytes) = (
            [statistics.median(column) for column in zip(*results)] for results in sides.values())
        print(f"{precision} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} | {our_bytes / 2**30:.2f} | "
              f"{their_bytes / 2**30:.2f} | {our_bytes / their_bytes:.2f}", flush=True)


if __name__ == "__main__":
    main()
