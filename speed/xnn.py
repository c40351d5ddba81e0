"""Training 50 one-vs-all SRAEs at once against one by one, in the same run.

Example:
    python speed/xnn.py                     # Z of 64, 256 and 4,096 units, 260 examples a class

Three ways do the same steps on the same examples from the same weights, without early stopping:
    at once      srae.fit: weights stacked (K, in, out), one bmm for all classes
    one by one   srae.fit for each class alone: the same code, and the same Adam in one pass over memory
    modules      as one would write it: nn.Sequential, torch.optim.Adam and a DataLoader for each class
One by one must give the same weights to 1e-3 in the mean, or nothing is timed. Data are random: a sparse non-negative Z
and logits that are sums of its units. ``its products`` are the matrix products of all steps and nothing else: the
floor.

Each pair is timed twice: CPU-seconds on one thread, as a worker of the pipeline computes, and wall time on all cores,
where the other ways may have one thread or all. Freed memory stays with the process, as it does in the workers.

What is saved is the cost of a step beside its arithmetic, so that small layers gain most. At CUB's size in quick (256
units, hidden 128-32) a step of one class is 22 million operations, 0.33 ms at the 70 GFLOP/s of MKL's products on this
machine, whichever way asks for them; a class alone spends 0.8 ms beside them, the stack 0.2. On two cores the stack's
products run side by side, while those of one class are too small to share. At the paper's size (4,096 units, 800-100)
a class alone fills the core, so that nothing is left to save, and weights, gradients and moments of 8 classes (860 MB)
would exceed the cache: ``srae`` trains them in parts.
"""

from __future__ import annotations

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
from benchmark.papers.xnn import network, srae
from speed import frame
from speed.frame import Row

# units of Z: hidden, classes, epochs
SIZES = {
    64: ([16, 8], 50, 6),
    256: ([128, 32], 50, 6),
    4096: ([800, 100], 8, 1),
}


def rows(small: bool = False) -> Iterator[Row]:
    engine.keep_memory()
    for units in list(SIZES)[:1] if small else SIZES:
        hidden, classes, epochs = SIZES[units]
        if small:
            classes = 5
        yield from compare(units, hidden, classes, epochs, n=1 if small else 5)


def compare(
    units: int, hidden: list[int], classes: int, epochs: int, n: int
) -> Iterator[Row]:
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
    seeds = torch.arange(classes)

    def train(of: srae.Examples, seeds: Tensor) -> srae.Params:
        ones = torch.ones(len(seeds))
        beta = setting.beta * ones
        eta = setting.eta * ones
        params, *_ = srae._train(of, setting, seeds, 0, beta, eta, None)
        return params

    def at_once() -> srae.Params:
        return train(data, seeds)

    def one_by_one() -> list[srae.Params]:
        found = []
        for k in range(classes):
            mine = seeds[[k]]
            found.append(train(data.of(mine), mine))
        return found

    stacked = at_once()
    for k, alone in enumerate(one_by_one()):
        for name, tensor in alone.items():
            if (stacked[name][[k]] - tensor).abs().mean() > 1e-3:
                sys.exit("the ways train other weights; nothing was timed")
    name = "XNN's auto-encoders at once"
    size = f"{classes} classes, Z of {units}, hidden {hidden[0]}-{hidden[1]}"
    bound = "what a step costs beside its products"
    if units > 64:
        bound = "arithmetic: the products of a step are as many, and large enough alone"
    goal = 5 if classes == 50 else None
    ways = {"one by one": one_by_one, "modules": lambda: modules(data, setting)}
    peers = {way: (work, goal, bound, "ratio") for way, work in ways.items()}
    peers["its products"] = (products(data, setting, stacked), None, "", "floor")
    yield from frame.many(name, size, at_once, peers, n=n)
    cores = frame.cores()
    if cores == 1:
        return
    peers = {}
    for way, work in ways.items():
        peers[f"{way}, one thread"] = (on(1, work), goal, bound, "ratio")
        peers[f"{way}, {cores} threads"] = (on(cores, work), goal, bound, "ratio")
    size += f"; wall time on {cores} cores"
    yield from frame.many(
        name, size, on(cores, at_once), peers, n=n, clock=time.perf_counter
    )


def on(threads: int, way: frame.Work) -> frame.Work:
    """The same work on so many threads."""

    def work() -> object:
        torch.set_num_threads(threads)
        try:
            return way()
        finally:
            torch.set_num_threads(1)

    return work


def products(
    data: srae.Examples, setting: srae.Setting, params: srae.Params
) -> frame.Work:
    """The matrix products of all steps and nothing else, into existing memory: forward, for weights, for inputs."""
    M = data.rows.shape[1] - held_out(data)
    batches = [len(columns) for columns in torch.arange(M).split(setting.batch)]
    steps = []
    for name, W in params.items():
        if name[0] not in "WU":
            continue
        slope = W.clone()
        for B in batches:
            x = torch.ones(len(W), B, W.shape[1])
            z = torch.ones(len(W), B, W.shape[2])
            steps.append((x, W, z.clone()))
            steps.append((x.mT, z, slope))
            if name != "W0":
                steps.append((z, W.mT, x.clone()))

    def work() -> None:
        for _ in range(setting.epochs):
            for a, b, out in steps:
                torch.bmm(a, b, out=out)

    return work


def held_out(data: srae.Examples) -> int:
    """How many examples of each class are not trained on."""
    return max(2, round(srae.HELD_OUT * data.rows.shape[1]))


def examples(
    units: int, classes: int, images: int = 1500, negatives: int = 230
) -> srae.Examples:
    """Random examples of ``images`` images.

    Z is sparse and non-negative; the logits are sums of its units.
    """
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(images, units))
    Z = torch.from_numpy(np.maximum(Z, 0)).float()
    weights = rng.normal(size=(units, classes)) / units**0.5
    y = Z @ torch.from_numpy(weights).float()
    labels = torch.arange(images) % classes
    return srae.examples(Z, y, labels, negatives, rng)


def modules(data: srae.Examples, setting: srae.Setting) -> list[nn.Module]:
    """The same objective with torch's own parts, class by class."""
    out = []
    d, held = data.Z(data.rows[:1, :1]).shape[-1], held_out(data)
    sizes = [d, *setting.hidden, setting.n]
    for k in range(len(data.rows)):
        net = nn.ModuleList([half(sizes), half(sizes[::-1]), nn.Linear(setting.n, 1)])
        optimiser = torch.optim.Adam(
            net.parameters(), lr=setting.lr, weight_decay=setting.weight_decay
        )
        rows = data.rows[k, held:]
        Z = data.Z(rows[None])[0, :, 0]
        kept = TensorDataset(Z, data.y[k, held:], data.weights[k, held:])
        loader = DataLoader(kept, setting.batch, shuffle=True)
        for _ in range(setting.epochs):
            for Z, y, w in loader:
                optimiser.zero_grad()
                objective(net, Z, y, w, setting).backward()
                optimiser.step()
        out.append(net)
    return out


def half(sizes: list[int]) -> nn.Sequential:
    """An encoder or decoder: dense ReLU layers."""
    layers = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers)


def objective(
    net: nn.ModuleList, Z: Tensor, y: Tensor, w: Tensor, setting: srae.Setting
) -> Tensor:
    """The loss of ``srae`` in plain torch: faithfulness, sparse reconstruction, pull-away."""
    encoder, decoder, head = net
    E = encoder(Z)
    error = (head(E) - y) ** 2
    faithful = (w * error[:, 0]).mean()
    rebuilt = ((decoder(E) - Z) ** 2).mean(0)
    sparse = torch.log1p(setting.q * rebuilt).mean()
    length = E.norm(dim=0, keepdim=True).clamp(min=network.TINY)
    unit = E / length
    cosines = unit.T @ unit
    cosines = cosines**2
    others = cosines.sum() - cosines.diagonal().sum()
    apart = others / (setting.n * (setting.n - 1))
    return faithful + setting.beta * sparse + setting.eta * apart


if __name__ == "__main__":
    frame.alone(__doc__, rows)
