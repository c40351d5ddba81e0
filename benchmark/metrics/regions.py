"""Regions of an image that are hidden whatever a map says, and by how much the network's answer falls without each.

Idea: regions are drawn once, from their own description (random sets of 10 % of 32 x 32 pixels, 50 of them), so every
image, method, network and seed has the same ones; the copies of an image without each of them go through the network
once for all methods of a batch.

    S = subsets(103, 50, batch)                    # (k, h*w) bool: 50 random sets of 103 pixels
    D = falls(target, batch, S, ("subsets", 103, 50))    # (n, k): f(x) - f(x without S)
    s = sums(e, batch, S)                          # (n, k): what the map says about S

The answer f is the logit of the class that the network predicts for the whole image, or its softmax probability. All
channels of a pixel are hidden together; the fills are those of ``benchmark.metrics.masking``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target
from benchmark.metrics.masking import FILLS, chunks, masked, predicted, probability
from benchmark.utils.seeds import generator

OUTPUTS = ("logit", "probability")
ROUNDING = 1e-6  # of a float32 answer, relative to it: smaller falls are none
LARGEST = 10 / 28  # side of the largest square, in sides of the image


def subsets(size: int, draws: int, batch: Batch) -> Array:
    """Random sets of ``size`` pixels, (draws, h*w) bool."""
    return _subsets(size, draws, batch.x[0, 0].numel())


@functools.lru_cache(maxsize=32)
def _subsets(size: int, draws: int, pixels: int) -> Array:
    rng = generator("subsets", size, draws, pixels)
    drawn = rng.random((draws, pixels))
    order = drawn.argsort(axis=1)
    rank = order.argsort(axis=1)
    return rank < size


def squares(draws: int, batch: Batch) -> Array:
    """Random squares, (draws, h*w) bool, drawn uniformly from all positions of all sides from 1 to 10 pixels of an
    image of 28 x 28, in proportion on others."""
    return _squares(draws, *batch.x.shape[2:])


@functools.lru_cache(maxsize=32)
def _squares(draws: int, h: int, w: int) -> Array:
    places = _places(h, w)
    rng = generator("squares", draws, h, w)
    drawn = rng.integers(len(places), size=draws)
    chosen = places[drawn].T
    side, row, column = chosen[:, :, None]  # (draws, 1) each
    in_rows = _within(row, side, h)
    in_columns = _within(column, side, w)
    inside = in_rows[:, :, None] & in_columns[:, None]
    return inside.reshape(draws, h * w)


def _places(h: int, w: int) -> Array:
    """(side, row, column) of all squares, (s, 3)."""
    found = []
    largest = max(1, round(LARGEST * min(h, w)))
    for side in range(1, largest + 1):
        free = h - side + 1, w - side + 1
        corners = np.indices(free).reshape(2, -1).T
        found.append(np.insert(corners, 0, side, axis=1))
    return np.concatenate(found)


def _within(start: Array, size: Array, length: int) -> Array:
    """Which of ``length`` places lie in the ``size`` from ``start`` on, both (k, 1): (k, length) bool."""
    place = np.arange(length)
    return (place >= start) & (place < start + size)


@torch.no_grad()
def falls(
    target: Target,
    batch: Batch,
    regions: Array,
    name: Hashable,
    fill: str = "mean",
    output: str = "logit",
) -> Array:
    """f(x) - f(x_S), (n, k) float64: how far the answer falls when each of the regions (k, h*w) is filled.

    Args:
        name: what the regions are drawn from; the falls are remembered by it.

    Raises:
        ValueError: an unknown fill or output.
    """
    check_fill(fill)
    key = ("falls", target, name, fill, output)
    if key not in batch.memo:
        kept = torch.from_numpy(~regions).to(batch.x.device)
        kept = kept.view(len(kept), 1, *batch.x.shape[2:])

        def filled(image: Tensor, region: Tensor) -> Tensor:
            return masked(batch, image, kept[region], fill)

        batch.memo[key] = falls_of(target, batch, len(kept), filled, output)
    return batch.memo[key]


@torch.no_grad()
def falls_of(
    target: Target,
    batch: Batch,
    k: int,
    filled: Callable[[Tensor, Tensor], Tensor],
    output: str,
) -> Array:
    """f(x) - f(x'), (n, k) float64, of k changed copies of each image.

    Args:
        filled: image (m,) and copy (m,) to the changed images (m, c, h, w).
    """
    n, device, logits = len(batch), batch.x.device, []
    for pairs in torch.arange(n * k, device=device).split(batch.chunk):
        logits.append(target(filled(pairs // k, pairs % k)))
    changed = torch.cat(logits).view(n, k, -1).transpose(0, 1)  # (k, n, C)
    return (
        answers(target(batch), target, batch, output)
        - answers(changed, target, batch, output)
    ).T


def check_fill(fill: str) -> None:
    """
    Raises:
        ValueError: an unknown fill.
    """
    if fill not in FILLS:
        raise ValueError(f"fill {fill!r} is not one of {', '.join(FILLS)}")


def at_least(number: int, least: int, name: str = "draws") -> None:
    """
    Raises:
        ValueError: a number below the least.
    """
    if number < least:
        raise ValueError(f"{name}={number}: at least {least}")


def answers(logits: Tensor, target: Target, batch: Batch, output: str) -> Array:
    """f, (..., n) float64: the logit, or the probability, of the class predicted for the whole image.

    Raises:
        ValueError: an unknown output.
    """
    if output not in OUTPUTS:
        raise ValueError(f"output {output!r} is not one of {', '.join(OUTPUTS)}")
    c = predicted(target, batch)
    if output == "probability":
        return probability(logits, c)
    index = c.expand(logits.shape[:-1])[..., None]
    own = logits.double().gather(-1, index)[..., 0]
    return own.cpu().numpy()


def sums(e: Explanation, batch: Batch, regions: Array) -> Array:
    """The map's sum in each region, (n, k) float64."""
    inside = regions.T.astype(np.float64)  # (hw, k)
    found = [maps.reshape(len(maps), -1) @ inside for maps, _ in chunks(e, batch)]
    return np.concatenate(found)


def without_rounding(values: Array, scale: Array) -> Array:
    """Values (n, k) with 0 for those that are only rounding of a number of size ``scale`` (n,)."""
    least = ROUNDING * np.maximum(np.abs(scale), 1)[:, None]
    return np.where(np.abs(values) <= least, 0, values)


def pearson(a: Array, b: Array) -> Array:
    """Correlation of each row of a with that of b, both (n, k): (n,) in [-1, 1]; 0 where one of the two is constant."""
    a, b = _standardised(a), _standardised(b)
    return (a * b).sum(1).clip(-1, 1)


def spearman(a: Array, b: Array) -> Array:
    """Rank correlation (..., n) of rows a (n, k) with rows b (..., n, k); 0 where one of the two is constant."""
    u = _centred_ranks(a)
    v = _centred_ranks(b)
    covariance = (u * v).sum(-1)
    squares = (u**2).sum(-1) * (v**2).sum(-1)
    size = np.sqrt(squares)
    return covariance / np.where(size > 0, size, 1)


def _centred_ranks(values: Array) -> Array:
    """Ranks (..., k) along the last axis, ties at their mean, less their mean."""
    mean_rank = (values.shape[-1] + 1) / 2
    return rankdata(values, axis=-1) - mean_rank


def _standardised(values: Array) -> Array:
    """Rows (n, k) of mean 0 and length 1, 0 where they are constant up to rounding."""
    values = scaled(values)
    centred = values - values.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    constant = length <= 1e-9 * math.sqrt(values.shape[1])
    found = centred / np.where(constant, 1, length)
    return np.where(constant, 0, found)


def scaled(values: Array) -> Array:
    """Rows (n, k) with a largest absolute value of 1; those of zeros as they are."""
    largest = np.abs(values).max(1, keepdims=True)
    return values / np.where(largest > 0, largest, 1)
