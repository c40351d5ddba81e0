"""How time grows: with images, methods, seeds, references, items, rules, samples, rows.

Example:
    python speed/growth.py            # seconds at each size, and the slope on logarithmic axes: 1 is linear

Sizes double, so that a slope can be read; all sizes of a curve take turns. A fixed cost (a first call, a table's head)
bends a curve down at its small end, never up.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark import store
from benchmark.api import METRICS, Batch, Explanation, Target
from benchmark.gate import diff
from benchmark.leaderboard.board import Board
from benchmark.leaderboard.render import markdown
from benchmark.methods.registry import load_module
from benchmark.papers.explainn.miner import mine
from benchmark.papers.explainn.planted import planted
from benchmark.papers.layer_trees.encodings import encode_layers, unique
from benchmark.papers.representative.boundaries import sample
from benchmark.papers.representative.clusters import cluster
from benchmark.papers.representative.regions import regions
from benchmark.zoo import nets
from speed import frame, representative
from speed.frame import Row, Work


def rows(small: bool = False) -> Iterator[Row]:
    d = 16 if small else 1  # sizes shrink, so that a test can run them
    n = 1 if small else 3
    yield from images(d, n, small)
    yield from board_sizes(n, small)
    for name, way in (
        ("RI at references", "reference"),
        ("RI at the boundary", "boundary"),
    ):
        yield from frame.growth(
            name,
            "|R|",
            [300, 600] if small else [500, 1000, 2000, 4000],
            lambda R, way=way: interpretations(way, R),
            n=n,
            bound="nine tenths are k-means (scikit-learn, ten starts), whose steps to convergence "
            "grow with |R|; the rest is linear",
        )
    heads, tails = np.random.default_rng(0).random((2, 50, 3)).round().astype(bool)
    mine(heads, tails, allow=("constant", "duplicates"))  # compiles
    yield from frame.growth(
        "ExplaiNN's miner",
        "samples",
        [1000, 2000] if small else [5_000, 10_000, 20_000, 40_000],
        lambda samples: miner(100 // d, samples),
        n=n,
    )
    yield from frame.growth(
        "ExplaiNN's miner",
        "rules planted",
        [4, 8] if small else [20, 40, 80, 160],
        lambda rules: miner(rules, 10_000 // d),
        goal=2.1,
        bound="all pairs of items and of rules are candidates: quadratic",
        n=n,
    )
    yield from frame.growth(
        "unique encodings",
        "samples",
        [500, 1000] if small else [10_000, 20_000, 40_000, 80_000],
        encodings,
        n=n,
    )


def images(d: int, n: int, small: bool) -> Iterator[Row]:
    """A method and two metrics over more images; sizes are divided by d."""
    target = vgg()
    maps = np.random.default_rng(0).standard_normal((512, 32, 32)).astype(np.float32)
    x = torch.rand(512, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    sizes = [64 // d, 128 // d, 256 // d, 512 // d]
    grad_cam = load_module(store.ROOT / "baselines" / "grad_cam.py").GradCAM()

    def batch(size: int) -> Batch:
        y = torch.zeros(size, dtype=torch.int64)
        return Batch(x=x[:size], y=y)

    def explain(size: int) -> Work:
        return lambda: grad_cam.explain(target, batch(size), None)

    def delete_and_insert(size: int) -> Work:
        return lambda: scores(target, batch(size), Explanation(heatmaps=maps[:size]))

    yield from frame.growth("Grad-CAM", "images", sizes, explain, n=n)
    few = sizes[:2] if small else sizes[:3]
    yield from frame.growth(
        "deletion and insertion", "images", few, delete_and_insert, n=n
    )


def board_sizes(n: int, small: bool) -> Iterator[Row]:
    """A board and the comparison of two over more methods and seeds."""
    methods = [4, 8] if small else [4, 8, 16, 32]
    seeds = [2, 4] if small else [2, 4, 8, 16]

    def of_methods(number: int) -> Work:
        return board(number, 3)

    def of_seeds(number: int) -> Work:
        return board(8, number)

    yield from frame.growth("board", "methods", methods, of_methods, n=n)
    yield from frame.growth("board", "seeds", seeds, of_seeds, n=n)
    yield from frame.growth("diff of two boards", "methods", methods, two_boards, n=n)


@cache
def vgg() -> Target:
    shape = (1, 32, 32)
    net = nets.build("vgg11", shape, 10, {"width": 0.5}, seed=0)
    net = nets.fold_norm(net)
    return Target(
        net, name="vgg11", classes="0123456789", input_shape=shape, layer="conv3a"
    )


def scores(target: Target, batch: Batch, e: Explanation) -> None:
    """Score one explanation by deletion and insertion."""
    for name in ("deletion_auc", "insertion_auc"):
        METRICS[name](e, target, batch, np.random.default_rng(0))


def synthetic(
    methods: int, seeds: int, images: int = 64
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, instances) of 8 metrics on 2 networks."""
    rng, lines, values = np.random.default_rng(0), [], []
    cells = product(("cnn", "vgg11"), range(methods), range(8), range(seeds))
    for target, method, metric, seed in cells:
        v = rng.normal(method / 10, 1, images)
        key = (
            "offline",
            "heatmap",
            "",
            "digits",
            target,
            f"method {method}",
            "",
            f"metric_{metric}",
            "",
            seed,
        )
        lines.append((*key, v.mean(), images, "higher", "fraction", 1, "ok", ""))
        names = dict(zip(store.ROW_KEYS, key, strict=True))
        values.append(pd.DataFrame(names | {"image": np.arange(images), "value": v}))
    rows = pd.DataFrame(lines, columns=list(store.ROW_COLUMNS))
    return store.tidy_rows(rows), pd.concat(values, ignore_index=True)


def board(methods: int, seeds: int) -> Work:
    rows, instances = synthetic(methods, seeds)

    def work() -> None:
        _, frame, placed = Board.of(rows, instances)
        markdown.render(frame, placed, "offline")

    return work


def two_boards(methods: int) -> Work:
    old, _ = synthetic(methods, 3)
    shift = np.random.default_rng(1).normal(0, 0.01, len(old))
    new = old.assign(value=old.value + shift)
    return lambda: diff.compare(old, new)


@cache
def regional() -> tuple[Target, Callable[[int, int], Tensor]]:
    """A network for Representative Interpretations, d = 256, and a way to draw feature maps."""
    options = argparse.Namespace(maps=16, side=4, hidden=64, classes=8)
    return representative.synthetic(options)


def interpretations(way: str, R: int, Q: int = 50, V: int = 40) -> Work:
    """Fit V interpretations on R references."""
    target, draw = regional()
    psi = draw(R, 1)
    with torch.no_grad():
        classes = target.head(psi).argmax(1)

    def work() -> None:
        rng = np.random.default_rng(0)
        seeds = cluster(psi, V, rng).seeds
        x = torch.from_numpy(seeds)
        known = {"classes": classes, "classes_x": classes[x]}
        sampled = sample(target, psi, psi[x], way, Q, rng, **known)
        for _ in regions(sampled, psi, classes, psi[x], classes[x]):
            pass

    return work


def miner(m: int, n: int) -> Work:
    data = planted(np.random.default_rng(0), m=max(2, m), n=n)
    return lambda: mine(
        data.heads,
        data.tails,
        theta=0.2,
        mu=4,
        memory=16,
        allow=("duplicates", "constant"),
    )


def encodings(n: int) -> Work:
    shape = (1, 28, 28)
    net = nets.build("mlp", shape, 10, {"width": 100, "depth": 2}, seed=0)
    target = Target(net, name="mlp", classes="0123456789", input_shape=shape)
    rng = np.random.default_rng(1)
    y = rng.integers(10, size=n)
    means = rng.random((10, *shape), np.float32)
    noise = rng.random((n, *shape), np.float32)
    x = means[y] + 0.3 * noise
    batch = Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), chunk=1000)
    bits = encode_layers(target, batch, ["fc2"])["fc2"]
    return lambda: unique(bits, y, 10)


if __name__ == "__main__":
    frame.alone(__doc__, rows)
