"""Every router on one real corpus beside a dense model of equal active parameters: equal steps, several seeds.

    python3 tests/benchmark/compare_routers.py [--seeds 3] [--steps 1000] [--jobs 2] [--only KIND ...]
    python3 tests/benchmark/compare_routers.py --table

Trains each of configs/routers, shrunk to some 50 seconds of one core, on the manual of LibreOffice in four languages
(manual_texts.py), and prints a Markdown table of means over seeds ± half the range. Losses below the dense model's are
taken seed by seed, since a seed decides the order of the data too. What routing did is averaged over layers and, where it
is training's, over the last 100 steps. A run that is complete in --work is not run again; --only trains these alone, and
the table, alone with --table, shows what there is.

Beside the kinds --only knows some with one thing changed, to find out why a kind stands where it does: they have a table
of their own.
"""

import argparse
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys

from commands import environment

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAST = 100  # steps that training's figures are averaged over

# Two experts of 256 a token beside a dense width of 512: equal active parameters, but for the router's.
MODEL = {
    "model.width": 128, "model.layers": 2, "model.attention.heads": 4, "model.attention.kv_heads": 4,
    "model.attention.head_width": 32, "model.feed_forward.width": 512, "model.moe.first_dense": 0,
    "model.moe.expert_width": 256,
}
EXPERTS = {"model.moe.experts": 16, "model.moe.experts_per_token": 2}
EXPERTS_OF = {
    "none": {},
    "dense": {"model.moe.experts": 16, "model.moe.experts_per_token": 16},
    "top_p": {"model.moe.experts": 16, "model.moe.experts_per_token": 4},
    # All experts are open to a token, as they are to those of other kinds.
    "sigmoid": {**EXPERTS, "model.moe.router.groups": 1, "model.moe.router.groups_per_token": 1},
}
# Of a kind: what is changed, below model.moe.router.
CHANGED = {
    "supervised_0.01": ("supervised", {"label_loss": 0.01}),
    "supervised_0.001": ("supervised", {"label_loss": 0.001}),
    "sinkhorn_aux_loss": ("sinkhorn", {"aux_loss": 0.01}),
    "sigmoid_aux_loss": ("sigmoid", {"aux_loss": 0.01, "balance.over": "population", "balance.bias_rate": 0}),
    "sigmoid_z_loss": ("sigmoid", {"z_loss": 0.001}),
    "softmax_bias": ("softmax", {"aux_loss": 0.0001, "balance.over": "sequence", "balance.bias_rate": 0.001}),
}
RUN = {
    "data.sequence": 128, "data.validation_sequences": "all", "train.global_batch": 8, "optimizer.lr": 3e-3,
    "optimizer.schedule.warmup": 100, "optimizer.schedule.min_lr": 2e-4, "parallel.expert": 1, "run.threads": 1,
    "checkpoint.every": "never",
}


def prepare_data(binary, work):
    prefix = work / "data" / "text"
    if not prefix.with_suffix(".json").exists():
        texts = work / "texts"
        subprocess.run([sys.executable, ROOT / "tests/benchmark/manual_texts.py", texts], check=True)
        subprocess.run([binary, "prepare", "--input", texts, "--tag-by", "folder", "--output", prefix, "--vocab-size",
                        "1024", "--validation-fraction", "0.02"], check=True, env=environment())
    return {"data.tokenizer": f"{prefix}.model", "data.train": prefix, "data.validation": f"{prefix}.validation"}


def records_of(folder):
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]
    except (OSError, ValueError):
        return []


def is_complete(folder, steps):
    records = records_of(folder)
    return bool(records) and records[-1]["step"] == steps and "validation_loss" in records[-1]


def train(binary, kind, seed, steps, data, folder):
    if is_complete(folder, steps):
        return f"{folder.name}: complete already"
    kind, changes = CHANGED.get(kind, (kind, {}))
    settings = {**MODEL, **EXPERTS_OF.get(kind, EXPERTS), **RUN, **data, "run.seed": seed, "run.dir": folder,
                "train.steps": steps, "train.validate_every": steps,
                **{f"model.moe.router.{key}": value for key, value in changes.items()}}
    command = [binary, "train", f"configs/routers/{kind}.yaml", *(f"{key}={value}" for key, value in settings.items())]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "console.txt", "w") as console:
        done = subprocess.run(command, cwd=ROOT, env=environment(), stdout=console, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        return f"{folder.name}: failed with {done.returncode}, see {folder / 'console.txt'}"
    return f"{folder.name}: validation loss {records_of(folder)[-1]['validation_loss']:.4f}"


def figures_of(records):
    """Of one run; None where it has none."""
    training = [layer for record in records[-LAST:] for layer in record.get("moe", {}).get("layers", [])]
    held_out = records[-1].get("validation_moe", {}).get("layers", [])

    def mean(name, layers=training):
        values = [layer[name] for layer in layers if name in layer]
        return statistics.fmean(values) if values else None

    return {"loss": records[-1]["validation_loss"], "cv": mean("load_cv"), "held_out_cv": mean("load_cv", held_out),
            "dropped": mean("drop_rate"), "experts": mean("experts_per_token"),
            "accuracy": mean("routing_accuracy", held_out), "calibration": mean("calibration_error")}


def cell(values, form):
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    spread = f" ± {(max(values) - min(values)) / 2:{form}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def print_table(work, kinds, steps, seeds):
    """`kinds` begins with the dense model."""
    print("| router | validation loss | below dense | load CV, training | held out | drop rate | experts a token | seeds |")
    print("|---|---|---|---|---|---|---|---|")
    figures = {}
    for kind in kinds:
        folders = {seed: work / f"{kind}-seed{seed}" for seed in range(1, seeds + 1)}
        figures[kind] = {seed: figures_of(records_of(folder)) for seed, folder in folders.items()
                         if is_complete(folder, steps)}
    dense = {seed: run["loss"] for seed, run in figures["none"].items()}
    trained = [kind for kind in kinds if figures[kind]]
    below = {kind: [dense[seed] - run["loss"] for seed, run in figures[kind].items() if seed in dense]
             for kind in trained}
    for kind in sorted(trained, key=lambda kind: -statistics.fmean(below[kind] or [0])):
        def of(name):
            return [run[name] for run in figures[kind].values()]

        print(f"| {'(dense model)' if kind == 'none' else kind} | {cell(of('loss'), '.3f')} | "
              f"{cell(below[kind] if kind != 'none' else [], '.3f')} | {cell(of('cv'), '.2f')} | "
              f"{cell(of('held_out_cv'), '.2f')} | {cell(of('dropped'), '.3f')} | {cell(of('experts'), '.2f')} | "
              f"{len(figures[kind])} |")
    for kind, name, what in (("supervised", "accuracy", "held-out routing accuracy"),
                             ("bayesian", "calibration", "calibration error")):
        if figures.get(kind):
            print(f"\n{kind}: {what} {cell([run[name] for run in figures[kind].values()], '.3f')}")


def print_tables(work, kinds, steps, seeds):
    print_table(work, kinds, steps, seeds)
    if any(next(work.glob(f"{name}-seed*"), None) for name in CHANGED):
        print()
        print_table(work, ["none", *CHANGED], steps, seeds)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--work", type=pathlib.Path, default=ROOT / "runs/compare_routers")
    arguments.add_argument("--binary", type=pathlib.Path, default=ROOT / "build/cpu-release/switchyard")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=1000)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--only", nargs="*", default=[], metavar="KIND")
    arguments.add_argument("--table", action="store_true")
    arguments = arguments.parse_args()
    work, binary = arguments.work.resolve(), arguments.binary.resolve()
    kinds = sorted((path.stem for path in (ROOT / "configs/routers").glob("*.yaml")),
                   key=lambda kind: (kind not in ("none", "softmax"), kind))
    if arguments.table:
        print_tables(work, kinds, arguments.steps, arguments.seeds)
        return
    data = prepare_data(binary, work)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        runs = [pool.submit(train, binary, kind, seed, arguments.steps, data, work / f"{kind}-seed{seed}")
                for seed in range(1, arguments.seeds + 1) for kind in arguments.only or kinds]
        for run in concurrent.futures.as_completed(runs):
            print(run.result(), flush=True)
    print_tables(work, kinds, arguments.steps, arguments.seeds)


if __name__ == "__main__":
    main()
