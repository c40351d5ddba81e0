"""What the methods that work on pixels share: gradients at the pixels, pixels that say nothing, channels as one map."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmark.api import Batch, Target


def with_classes(target: Target, batch: Batch) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (m, c, h, w) and the classes (m,) that F predicts on them, a chunk at a time."""
    classes = target(batch).argmax(dim=1).split(batch.chunk)
    for part, c in zip(batch, classes, strict=True):
        yield part.x, c


def gradient(target: Target, x: Tensor, c: Tensor) -> Tensor:
    """dy^c / dx, (n, c, h, w), of the logit of one class (n,) per image; x in [0, 1]."""
    x = x.detach().requires_grad_()
    y = target(x).gather(1, c[:, None])
    (g,) = torch.autograd.grad(y.sum(), x)
    return g


def answer(target: Target, x: Tensor, c: Tensor, output: str) -> Tensor:
    """f^c(x), (n,): the "logit" or the softmax "probability" of one class (n,) per image."""
    y = target(x)
    if output == "probability":
        y = y.softmax(dim=1)
    return y.gather(1, c[:, None])[:, 0]


def blank(target: Target, x: Tensor, fill: str) -> Tensor:
    """Images (n, c, h, w) that say nothing: "black", or of the "mean" colour, which is 0 to the network."""
    if fill == "black":
        return torch.zeros_like(x)
    return target.mean.expand_as(x)


def pooled(values: Tensor, channels: str) -> Tensor:
    """Values of colours (n, c, h, w) as values of pixels (n, h, w): their "sum", the sum of their absolute values
    ("sum_abs"), or the largest absolute value ("max_abs")."""
    if channels == "sum":
        return values.sum(dim=1)
    if channels == "sum_abs":
        return values.abs().sum(dim=1)
    return values.abs().amax(dim=1)
