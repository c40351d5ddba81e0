"""Networks, images and maps for the tests of metrics that mask images, and the slow twin in float64."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn

from benchmark.api import Batch, Explanation, Target


class Counting(nn.Module):
    """Passes images on and counts them."""

    seen = 0

    def forward(self, x):
        self.seen += len(x)
        return x


def linear_target(weights, mean=0.0, std=1.0) -> Target:
    """Grey images of the shape of ``weights``; logits (sum of weights * pixels, 0), so Y_0 is a sigmoid."""
    weights = torch.tensor(weights, dtype=torch.float32)
    layer = nn.Linear(weights.numel(), 2, bias=False)
    layer.weight.data = torch.stack([weights.flatten(), torch.zeros(weights.numel())])
    net = nn.Sequential(nn.Flatten(), layer)
    return Target(
        net,
        name="linear",
        classes="ab",
        input_shape=(1, *weights.shape),
        mean=[mean],
        std=[std],
    )


def conv_target(c: int, classes: int = 4, seed: int = 0, side: int = 8) -> Target:
    torch_rng = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        Counting(),
        nn.Conv2d(c, 6, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * side * side, classes),
    )
    for p in net.parameters():
        p.data = (
            0.5
            * torch.randn(p.shape, generator=torch_rng)
            / math.sqrt(max(1, p[0].numel() / 9))
        )
    mean, std = [0.4] * c, [0.3] * c
    return Target(
        net,
        name="conv",
        classes="abcdefgh"[:classes],
        input_shape=(c, side, side),
        mean=mean,
        std=std,
    )


def problem(
    c: int = 3, n: int = 5, side: int = 8, chunk: int = 64, kind: str = "random"
):
    rng = np.random.default_rng(c)
    x = torch.from_numpy(rng.random((n, c, side, side), np.float32))
    maps = {
        "random": rng.standard_normal((n, side, side)),
        "ties": rng.integers(-1, 2, (n, side, side)),
        "constant": np.full((n, side, side), 0.7),
        "zero": np.zeros((n, side, side)),
        "one-hot": np.eye(side * side)[rng.integers(0, side * side, n)].reshape(
            n, side, side
        ),
    }[kind]
    batch = Batch(x=x, y=torch.from_numpy(rng.integers(0, 4, n)), chunk=chunk)
    return conv_target(c, side=side), batch, Explanation(heatmaps=maps)


def single(x, y=0) -> Batch:
    return Batch(
        x=torch.tensor(x, dtype=torch.float32)[None, None], y=torch.tensor([y])
    )


def doubled(target: Target) -> Target:
    """The same network in float64."""
    twin = copy.copy(target)
    twin.net = copy.deepcopy(target.net).double()
    return twin


def slow_order(heatmap) -> list[int]:
    return sorted(range(heatmap.size), key=lambda i: (-float(heatmap.flat[i]), i))


def slow_fill(x, kept, fill):
    """The image (c, h, w) with the pixels outside the set ``kept`` of (row, column) filled, loop by loop."""
    c, h, w = x.shape
    out = x.clone()
    for i in range(h):
        for j in range(w):
            if (i, j) in kept:
                continue
            for k in range(c):
                if fill == "black":
                    out[k, i, j] = 0
                    continue
                over = (
                    kept
                    if fill == "inpaint"
                    else [
                        (a, b)
                        for a in range(h)
                        for b in range(w)
                        if abs(a - i) <= 5 and abs(b - j) <= 5
                    ]
                )
                sigma = max(h, w) / 16 if fill == "inpaint" else 5
                tiny = 1e-6 if fill == "inpaint" else 0
                weights = [
                    math.exp(-((a - i) ** 2 + (b - j) ** 2) / (2 * sigma**2))
                    for a, b in over
                ]
                values = [float(x[k, a, b]) for a, b in over]
                mean = sum(values) / max(len(values), 1)
                out[k, i, j] = (
                    sum(map(float.__mul__, weights, values)) + tiny * mean
                ) / (sum(weights) + tiny)
    return out


def slow_logits(target, x, order, count, fill, delete=False):
    kept = {divmod(p, x.shape[2]) for p in (order[count:] if delete else order[:count])}
    return target(slow_fill(x, kept, fill)[None])[0]


def slow_probability(logits, c: int) -> float:
    exps = [math.exp(float(z)) for z in logits]
    return exps[c] / sum(exps)
