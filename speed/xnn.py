"""Training 50 one-vs-all SRAEs at once against one by one, in the same run.

Example:
    python speed/xnn.py                     # Z of 64, 256 and 4,096 units, 260 examples a class

Three ways do the same steps on the same examples from the same weights, without early stopping:
    at once      srae.fit: weights stacked (K, in, out), one bmm for all classes
    one by one   srae.fit for each class alone: the same code, and the same Adam in one pass over memory
    modules      as one would write it: nn.Sequential, torch.optim.Adam and a DataLoader for each class
One by one must give the same weights to 1e-3 in the mean, or nothing is timed. Data are random: a sparse non-negative Z and
logits that are sums of its units. ``its products`` are the matrix products of all steps and nothing else: the floor.

Each pair is timed twice: CPU-seconds on one thread, as a worker of the pipeline computes, and wall time on all cores, where the
others may have one thread or all. Freed memory stays with the process, as it does in the workers.

What is saved is what a step costs beside its arithmetic, so that small layers gain most. At CUB's size in quick (256 units,
hidden 128-32) a step of one class is 22 million operations, .33 ms at the 70 GFLOP/s of MKL's products on this machine, whoever
asks for them; a class alone spends .8 ms beside them, the stack .2. On two cores the stack's products run side by side, while
those of one class are too small to share. At the paper's size (4,096 units, 800-100) a class alone fills the core, so that
nothing is left to save, and weights, gradients and moments of 8 classes (860 MB) would leave the cache: ``srae`` trains them in parts.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark import engine
from benchmark.papers.xnn import srae
from speed import frame
from speed.frame import Row

SIZES = {
    64: ([16, 8], 50, 6),
    256: ([128, 32], 50, 6),
    4096: ([800, 100], 8, 1),
}  # units of Z: hidden, classes, epochs


def rows(small: bool = False) -> Iterator[Row]:
    engine.keep_memory()
    for units in list(SIZES)[:1] if small else SIZES:
        hidden, classes, epochs = SIZES[units]
        yield from compare(
            units, hidden, classes=5 if small else classes, epochs=epochs, n=1 if small else 5
        )


def compare(units: int, hidden: list[int], classes: int, epochs: int, n: int) -> Iterator[Row]:
    setting = srae.Setting(
        hidden=hidden,
        beta=1.0,
        q=10.0,
        eta=5.0,
        batch=64,
        epochs=epochs,
        pretrain=0,
        patience=10**6,
        restarts=0,
    )
    data = examples(units, classes)
    seeds, weight = torch.arange(classes), torch.ones(classes)

    def train(of: srae.Examples, seeds: Tensor) -> srae.Params:
        ones = weight[: len(seeds)]
        return srae._train(of, setting, seeds, 0, setting.beta * ones, setting.eta * ones, None)[0]

    def at_once() -> srae.Params:
        return train(data, seeds)

    def one_by_one() -> list[srae.Params]:
        return [train(data.of(seeds[[k]]), seeds[[k]]) for k in range(classes)]

    stacked, alone = at_once(), one_by_one()
    if any(
        (stacked[name][[k]] - tensor).abs().mean() > 1e-3
        for k, params in enumerate(alone)
        for name, tensor in params.items()
    ):
        sys.exit("the ways train other weights; nothing was timed")
    size = f"{classes} classes, Z of {units}, hidden {hidden[0]}-{hidden[1]}"
    bound = (
        "arithmetic: the products of a step are as many, and large enough alone"
        if units > 64
        else "what a step costs beside its products"
    )
    goal, cores = 5 if classes == 50 else None, len(os.sched_getaffinity(0))
    each = {"one by one": one_by_one, "modules": lambda: modules(data, setting)}
    peers = {name: (way, goal, bound, "ratio") for name, way in each.items()}
    floor = {"its products": (products(data, setting, stacked), None, "", "floor")}
    yield from frame.many("XNN's auto-encoders at once", size, at_once, peers | floor, n=n)
    if cores > 1:
        shared = {
            f"{name}, {'one thread' if threads == 1 else f'{threads} threads'}": (
                on(threads, way),
                goal,
                bound,
                "ratio",
            )
            for name, way in each.items()
            for threads in (1, cores)
        }
        yield from frame.many(
            "XNN's auto-encoders at once",
            f"{size}; wall time on {cores} cores",
            on(cores, at_once),
            shared,
            n=n,
            clock=time.perf_counter,
        )


def on(threads: int, way: frame.Work) -> frame.Work:
    """The same on so many threads."""

    def work() -> object:
        torch.set_num_threads(threads)
        try:
            return way()
        finally:
            torch.set_num_threads(1)

    return work


def products(data: srae.Examples, setting: srae.Setting, params: srae.Params) -> frame.Work:
    """The matrix products of all steps and nothing else, into memory that is there: forward, for the weights, for the inputs."""
    M = data.rows.shape[1] - max(2, round(srae.HELD_OUT * data.rows.shape[1]))
    batches = [len(columns) for columns in torch.arange(M).split(setting.batch)]
    steps = []
    for name, W in params.items():
        if name[0] in "WU":
            slope = W.clone()
            for B in batches:
                x, z = torch.ones(len(W), B, W.shape[1]), torch.ones(len(W), B, W.shape[2])
                steps += [
                    (x, W, z.clone()),
                    (x.mT, z, slope),
                    *([(z, W.mT, x.clone())] if name != "W0" else []),
                ]

    def work() -> None:
        for _ in range(setting.epochs):
            for a, b, out in steps:
                torch.bmm(a, b, out=out)

    return work


def examples(units: int, classes: int, images: int = 1500, negatives: int = 230) -> srae.Examples:
    rng = np.random.default_rng(0)
    Z = torch.from_numpy(np.maximum(rng.normal(size=(images, units)), 0)).float()
    y = Z @ torch.from_numpy(rng.normal(size=(units, classes)) / units**0.5).float()
    return srae.examples(Z, y, torch.arange(images) % classes, negatives, rng)


def modules(data: srae.Examples, setting: srae.Setting) -> list[nn.Module]:
    """The same objective with torch's own parts, class by class."""
    out = []
    d, held = data.Z(data.rows[:1, :1]).shape[-1], max(2, round(srae.HELD_OUT * data.rows.shape[1]))
    for k in range(len(data.rows)):
        sizes = [d, *setting.hidden, setting.n]
        half = lambda s: nn.Sequential(
            *(m for a, b in pairwise(s) for m in (nn.Linear(a, b), nn.ReLU()))
        )
        net = nn.ModuleList([half(sizes), half(sizes[::-1]), nn.Linear(setting.n, 1)])
        optimiser = torch.optim.Adam(
            net.parameters(), lr=setting.lr, weight_decay=setting.weight_decay
        )
        rows = data.rows[k, held:]
        loader = DataLoader(
            TensorDataset(data.Z(rows[None])[0, :, 0], data.y[k, held:], data.weights[k, held:]),
            setting.batch,
            shuffle=True,
        )
        for _ in range(setting.epochs):
            for Z, y, w in loader:
                optimiser.zero_grad()
                objective(net, Z, y, w, setting).backward()
                optimiser.step()
        out.append(net)
    return out


def objective(net: nn.ModuleList, Z: Tensor, y: Tensor, w: Tensor, setting: srae.Setting) -> Tensor:
    encoder, decoder, head = net
    E = encoder(Z)
    faithful = (w * ((head(E) - y) ** 2)[:, 0]).mean()
    sparse = torch.log1p(setting.q * ((decoder(E) - Z) ** 2).mean(0)).mean()
    unit = E / E.norm(dim=0, keepdim=True).clamp(min=srae.TINY)
    cosines = (unit.T @ unit) ** 2
    apart = (cosines.sum() - cosines.diagonal().sum()) / (setting.n * (setting.n - 1))
    return faithful + setting.beta * sparse + setting.eta * apart


if __name__ == "__main__":
    frame.alone(__doc__, rows)
