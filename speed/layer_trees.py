"""Layerwise decision trees: unique encodings, encodings of all layers, and a tree's prediction, against plain ways.

    python speed/layer_trees.py                            # width 100 (55,000 samples) and 1,000 (10,000)

    unique    packed rows sorted as bytes (ours) | numpy.unique(axis=0) over 0/1 rows | a dictionary of 0/1 strings
    layers    all ten layers in one pass (ours) | one pass a layer
    predict   level by level over packed bits (ours) | scikit-learn's predict, which takes 32-bit floats

All ways must agree before any is timed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
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
from speed import frame
from speed.frame import Row

Ways = dict[
    str, Callable[[], Any]
]  # name -> a way to compute something; the results can be compared


def problem(samples: int, width: int, rng: np.random.Generator) -> tuple[Target, Batch]:
    """An untrained network of ten layers, and images.

    They are noisy images of ten classes, so that images share encodings in deep layers.
    """
    shape = (1, 28, 28)
    net = nets.build("mlp", shape, 10, {"width": width, "depth": 10}, seed=0)
    target = Target(net, name="mlp", classes="0123456789", input_shape=shape)
    y = rng.integers(10, size=samples)
    means = rng.random((10, *shape), np.float32)
    noise = rng.random((samples, *shape), np.float32)
    x = means[y] + 0.3 * noise
    batch = Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), chunk=1000)
    return target, batch


def by_strings(states: np.ndarray) -> int:
    """The number of unique rows, each as text."""
    found: dict[str, int] = {}
    for row in states:
        text = "".join("1" if state else "0" for state in row)
        found.setdefault(text, len(found))
    return len(found)


def ways(target: Target, batch: Batch) -> dict[str, Ways]:
    """For each task, ours and the plain ways."""
    names = [f"fc{k}" for k in range(1, 11)]
    y = batch.y.numpy()
    bits = encode_layers(target, batch, names)["fc2"]
    states = bits.states()
    encodings = unique(bits, y, 10)
    tree = grow(encodings, 0, np.random.default_rng(0))
    seed = int(np.random.default_rng(0).integers(2**31))
    cart = DecisionTreeClassifier(class_weight="balanced", random_state=seed)
    cart.fit(encodings.bits.states(), encodings.labels)

    def at_once() -> int:
        found = encode_layers(target, batch, names)
        return sum(int(bits.packed.sum()) for bits in found.values())

    def one_by_one() -> int:
        found = [encode_layers(target, batch, [name])[name] for name in names]
        return sum(int(bits.packed.sum()) for bits in found)

    return {
        "unique": {
            "ours": lambda: len(unique(bits, y, 10)),
            "numpy axis=0": lambda: len(np.unique(states, axis=0)),
            "strings": lambda: by_strings(states),
        },
        "layers": {"ours": at_once, "one by one": one_by_one},
        "predict": {
            "ours": lambda: int(tree.predict(bits).sum()),
            "scikit-learn": lambda: int(cart.predict(states).sum()),
        },
    }


WHAT = {
    "unique": (
        "Unique encodings",
        1,
        "sorting packed rows; at width 1,000 reading them",
    ),
    "layers": (
        "Encodings of ten layers",
        None,
        "one forward pass instead of ten; the widest layer is the first",
    ),
    "predict": ("A tree's predictions", None, "gathering one bit per sample and level"),
}


def rows(small: bool = False) -> Iterator[Row]:
    sizes = ((20, 500),) if small else ((100, 55_000), (1000, 10_000))
    n = 1 if small else 3
    for width, samples in sizes:
        target, batch = problem(samples, width, np.random.default_rng(1))
        size = f"{samples:,} samples, width {width}"
        for what, each in ways(target, batch).items():
            results = {name: way() for name, way in each.items()}
            if len(set(results.values())) > 1:
                sys.exit(f"{what}: the ways disagree: {results}")
            name, goal, bound = WHAT[what]
            ours = each.pop("ours")
            peers = {}
            for peer, way in each.items():
                peers[peer] = (
                    way,
                    goal if peer == "numpy axis=0" else None,
                    bound,
                    "ratio",
                )
            yield from frame.many(
                name, size, ours, peers, n=n, clock=perf_counter, warm=True
            )


if __name__ == "__main__":
    frame.alone(__doc__, rows)
