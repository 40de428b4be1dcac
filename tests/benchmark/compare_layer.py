"""One MoE layer against PyTorch + gloo and DeepSpeed-MoE, and how its overhead grows.

    python3 -m venv VENV && VENV/bin/pip install torch==2.11.0 numpy wheel setuptools
    DS_BUILD_OPS=0 VENV/bin/pip install --no-build-isolation deepspeed
    VENV/bin/python tests/benchmark/compare_layer.py [--rounds 3] [--repeats 11] [--only layers|shapes|growth]

On 2 ranks of one thread. `layers`: forward and backward of a coarse and a fine layer and of the peers' same, taken in
turn; medians over rounds. `shapes`: per cent of peak with SwiGLU and with experts drawn by Zipf's law, beside ReLU.
`growth`: the time above the products, per routed row, over tokens and over experts. Nothing else should run meanwhile.
"""

import argparse
import json
import os
import statistics
import sys

from commands import last_record, run

COARSE = {"tokens": 4096, "width": 512, "expert-width": 2048, "experts": 8, "experts-per-token": 2}
FINE = {"tokens": 4096, "width": 512, "expert-width": 256, "experts": 64, "experts-per-token": 8}
PARTS = ("route", "permute", "wire", "activation", "combine")


def print_row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def flags(shape):
    return [word for name, value in shape.items() for word in (f"--{name}", str(value))]


def ours(shape, precision, activation="relu", *more):
    out = run(["mpirun", "-n", "2", "--bind-to", "none", "build/cpu-release/switchyard", "bench", "layer", "--json",
               "--threads", "1", "--precision", precision, "--activation", activation, *flags(shape), *more])
    return json.loads(out[out.index("{"):])


def theirs(peer, shape, precision):
    out = run([os.path.join(os.path.dirname(sys.executable), "torchrun"), "--nproc_per_node", "2",
               "tests/benchmark/peers/moe_layer.py", "--peer", peer, "--precision", precision, *flags(shape)],
              DS_ACCELERATOR="cpu")
    found = last_record(out)
    print(f"{peer} {found['version']}: {found['ms']:.0f} ms", file=sys.stderr, flush=True)
    return found["ms"]


def compare_layers(rounds, repeats):
    print_row("layer", "ms", "% of peak", "% of products' speed", "PyTorch + gloo, ms", "ratio", "DeepSpeed-MoE, ms",
              "ratio")
    print_row(*["---"] * 8)
    for name, shape, precision in (("coarse", COARSE, "bf16"), ("coarse", COARSE, "fp32"), ("fine", FINE, "bf16")):
        shape = {**shape, "repeats": repeats}
        mine, gloo, deepspeed = [], [], []
        for _ in range(rounds):
            mine.append(ours(shape, precision))
            gloo.append(theirs("gloo", shape, precision))
            deepspeed.append(theirs("deepspeed", shape, precision))
        middle = {key: statistics.median(r[key] for r in mine) for key in ("ms", "percent_of_peak", "percent_of_floor")}
        a, b = statistics.median(gloo), statistics.median(deepspeed)
        print_row(f"{name} {precision}", *(f"{value:.0f}" for value in middle.values()), f"{a:.0f}",
                  f"{a / middle['ms']:.2f}", f"{b:.0f}", f"{b / middle['ms']:.2f}")


def compare_shapes(rounds):
    print_row("layer, bf16", "% of peak", "% of products' speed")
    print_row(*["---"] * 3)
    cases = {"coarse ReLU": (COARSE, "relu"), "coarse SwiGLU": (COARSE, "swiglu"), "fine ReLU": (FINE, "relu"),
             "fine SwiGLU": (FINE, "swiglu"), "fine ReLU, zipf:1.2": (FINE, "relu", "--skew", "zipf:1.2")}
    results = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (shape, activation, *more) in cases.items():
            results[name].append(ours(shape, "bf16", activation, *more))
    for name, found in results.items():
        print_row(name, *(f"{statistics.median(r[key] for r in found):.0f}"
                          for key in ("percent_of_peak", "percent_of_floor")))


def show_growth():
    print_row("tokens a rank", "experts", "rows a rank", "ms", "above the products, ns a row", *PARTS)
    print_row(*["---"] * (5 + len(PARTS)))
    shapes = [{**FINE, "tokens": tokens} for tokens in (256, 1024, 4096, 16384, 65536)]
    shapes += [{**FINE, "experts": experts} for experts in (8, 32, 128, 512)]
    for shape in shapes:
        found = ours(shape, "bf16", "relu", "--repeats", "3" if shape["tokens"] > 20000 else "11")
        rows = shape["tokens"] * shape["experts-per-token"]
        above = 1e6 * (found["ms"] - found["floor_ms"]) / rows
        print_row(shape["tokens"], shape["experts"], rows, f"{found['ms']:.1f}", f"{above:.0f}",
                  *(f"{1e6 * found['split_ms'][part] / rows:.0f}" for part in PARTS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=11, help="of each layer's, a peer's or ours, in a round")
    parser.add_argument("--only", choices=["layers", "shapes", "growth"])
    arguments = parser.parse_args()
    if arguments.only in (None, "layers"):
        compare_layers(arguments.rounds, arguments.repeats)
    if arguments.only in (None, "shapes"):
        compare_shapes(arguments.rounds)
    if arguments.only in (None, "growth"):
        show_growth()


if __name__ == "__main__":
    main()
