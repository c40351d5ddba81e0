"""Training 50 one-vs-all SRAEs at once against one by one, in the same run.

Example:
    python benchmarks/xnn.py                                   # 50 classes, Z of 512 units, hidden 128-32, 260 examples each
    python benchmarks/xnn.py --classes 10 --hidden 64 32 --repeats 5

Three ways do the same steps on the same examples from the same weights, without early stopping:
    at once      srae.fit: weights stacked (K, in, out), one bmm for all classes
    one by one   srae.fit for each class alone
    modules      as one would write it: nn.Sequential, torch.optim.Adam and a DataLoader for each class
They take turns; a ratio is theirs / ours of neighbouring turns. One by one must give the same weights to 1e-3 in the mean, or nothing
is reported. Data are random: a sparse non-negative Z and logits that are sums of its units. Wall clock, ``--threads`` threads.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark.papers.xnn import srae


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--classes", type=int, default=50)
    flags.add_argument("--units", type=int, default=512)
    flags.add_argument("--hidden", type=int, nargs="+", default=[128, 32])
    flags.add_argument("--images", type=int, default=1500)
    flags.add_argument("--negatives", type=int, default=230)
    flags.add_argument("--batch", type=int, default=64)
    flags.add_argument("--epochs", type=int, default=3)
    flags.add_argument("--repeats", type=int, default=3)
    flags.add_argument("--threads", type=int, default=2)
    options = flags.parse_args()
    torch.set_num_threads(options.threads)
    setting = srae.Setting(hidden=options.hidden, beta=1.0, q=10.0, eta=5.0, batch=options.batch, epochs=options.epochs,
                           pretrain=0, patience=10**6, restarts=0)  # fmt: skip
    data = examples(options)
    K = options.classes
    seeds, weight = torch.arange(K), torch.ones(K)

    def at_once() -> srae.Params:
        return srae._train(data, setting, seeds, 0, setting.beta * weight, setting.eta * weight, None)[0]

    def one_by_one() -> list[srae.Params]:
        return [srae._train(data.of(seeds[[k]]), setting, seeds[[k]], 0, setting.beta * weight[:1], setting.eta * weight[:1], None)[0]
                for k in range(K)]  # fmt: skip

    stacked, alone = at_once(), one_by_one()
    for k, params in enumerate(alone):
        for name, tensor in params.items():
            assert (stacked[name][[k]] - tensor).abs().mean() < 1e-3, (k, name)
    ways = {"at once": at_once, "one by one": one_by_one, "modules": lambda: modules(data, setting)}
    for way in ways.values():
        way()
    turns: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            start = perf_counter()
            way()
            turns[name].append(perf_counter() - start)
    print(f"{K} classes, Z of {options.units}, hidden {options.hidden}, {data.rows.shape[1]} examples each, batch {options.batch}, "
          f"{options.epochs} epochs, {options.threads} threads, torch {torch.__version__}")  # fmt: skip
    for name, seconds in turns.items():
        ratios = np.array(seconds) / np.array(turns["at once"])
        print(
            f"{name:12} {np.median(seconds):8.2f} s   {np.median(ratios):6.2f} x  [{ratios.min():.2f}, {ratios.max():.2f}]"
        )


def examples(options: argparse.Namespace) -> srae.Examples:
    rng = np.random.default_rng(0)
    labels = torch.arange(options.images) % options.classes
    Z = torch.from_numpy(np.maximum(rng.normal(size=(options.images, options.units)), 0)).float()
    y = Z @ torch.from_numpy(rng.normal(size=(options.units, options.classes)) / options.units**0.5).float()
    return srae.examples(Z, y, labels, options.negatives, rng)


def modules(data: srae.Examples, setting: srae.Setting) -> list[nn.Module]:
    """The same objective with torch's own parts, class by class."""
    out = []
    d, held = data.Z(data.rows[:1, :1]).shape[-1], max(2, round(srae.HELD_OUT * data.rows.shape[1]))
    for k in range(len(data.rows)):
        sizes = [d, *setting.hidden, setting.n]
        half = lambda s: nn.Sequential(*(m for a, b in pairwise(s) for m in (nn.Linear(a, b), nn.ReLU())))
        net = nn.ModuleList([half(sizes), half(sizes[::-1]), nn.Linear(setting.n, 1)])
        optimiser = torch.optim.Adam(net.parameters(), lr=setting.lr, weight_decay=setting.weight_decay)
        rows = data.rows[k, held:]
        loader = DataLoader(TensorDataset(data.Z(rows[None])[0, :, 0], data.y[k, held:], data.weights[k, held:]), setting.batch, shuffle=True)  # fmt: skip
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
    main()
