"""Layerwise decision trees: unique encodings, encodings of all layers, and a tree's prediction, against plain ways.

    python benchmarks/layer_trees.py                            # 55,000 samples, width 100 and 1,000
    python benchmarks/layer_trees.py --samples 10000 --widths 100 --repeat 5

    unique    packed rows sorted as bytes (ours) | numpy.unique(axis=0) over 0/1 rows | a dictionary of strings of 0 and 1
    layers    all ten layers in one pass (ours) | one pass a layer
    predict   level by level over packed bits (ours) | scikit-learn's predict, which takes 32-bit floats

Each repetition runs all ways in turn; printed are the median seconds, the median of the ratios to ours within a repetition
(above 1: ours is faster), and the peak memory that each way takes from Python (numpy included, torch not). All ways must agree.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.tree import DecisionTreeClassifier

from benchmark.api import Batch, Target
from benchmark.papers.layer_trees.encodings import encode_layers, unique
from benchmark.papers.layer_trees.trees import grow
from benchmark.zoo import nets

Ways = dict[str, Callable[[], Any]]  # name -> what it computes, in a form that can be compared


def problem(samples: int, width: int, rng: np.random.Generator) -> tuple[Target, Batch]:
    """An untrained network of ten layers and noisy images of ten classes, so that encodings are shared in deep layers."""
    net = nets.build("mlp", (1, 28, 28), 10, {"width": width, "depth": 10}, seed=0)
    target = Target(net, name="mlp", classes="0123456789", input_shape=(1, 28, 28))
    y = rng.integers(10, size=samples)
    x = rng.random((10, 1, 28, 28), np.float32)[y] + 0.3 * rng.random((samples, 1, 28, 28), np.float32)
    return target, Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), chunk=1000)


def by_strings(states: np.ndarray) -> int:
    found: dict[str, int] = {}
    for row in states:
        found.setdefault("".join("1" if s else "0" for s in row), len(found))
    return len(found)


def ways(target: Target, batch: Batch) -> dict[str, Ways]:
    names = [f"fc{k}" for k in range(1, 11)]
    y = batch.y.numpy()
    bits = encode_layers(target, batch, names)["fc2"]
    states = bits.states()
    encodings = unique(bits, y, 10)
    tree = grow(encodings, 0, np.random.default_rng(0))
    seed = int(np.random.default_rng(0).integers(2**31))
    cart = DecisionTreeClassifier(class_weight="balanced", random_state=seed).fit(
        encodings.bits.states(), encodings.labels
    )
    return {
        "unique": {"ours": lambda: len(unique(bits, y, 10)), "numpy axis=0": lambda: len(np.unique(states, axis=0)),
                   "strings": lambda: by_strings(states)},
        "layers": {"ours": lambda: sum(int(b.packed.sum()) for b in encode_layers(target, batch, names).values()),
                   "one by one": lambda: sum(int(encode_layers(target, batch, [n])[n].packed.sum()) for n in names)},
        "predict": {"ours": lambda: int(tree.predict(bits).sum()), "scikit-learn": lambda: int(cart.predict(states).sum())},
    }  # fmt: skip


def seconds(way: Callable[[], Any]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def peak(way: Callable[[], Any]) -> float:
    """MB beyond what is there before."""
    tracemalloc.start()
    way()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=55_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{args.samples:,} samples, {args.repeat} repetitions, numpy {np.__version__}, torch {torch.__version__}\n")
    print(f"{'width':>5} {'what':8} {'way':13} {'seconds':>8} {'ratio':>6} {'MB':>7}")
    for width in args.widths:
        for what, each in ways(*problem(args.samples, width, np.random.default_rng(1))).items():
            results = {name: way() for name, way in each.items()}  # a warm-up, too
            if len(set(results.values())) > 1:
                sys.exit(f"{what}: the ways disagree: {results}")
            times: dict[str, list[float]] = {name: [] for name in each}
            for _ in range(args.repeat):
                for name, way in each.items():
                    times[name].append(seconds(way))
            for name, way in each.items():
                ratio = statistics.median(b / a for a, b in zip(times["ours"], times[name], strict=True))
                print(
                    f"{width:5} {what:8} {name:13} {statistics.median(times[name]):8.3f} {ratio:6.1f} {peak(way):7.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
