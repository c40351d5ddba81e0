"""ROAD: does the network still know an image of which the pixels that a map names were removed without leaving a trace?

Idea: a hole of one colour has a shape, and the shape may tell the class. Here each removed pixel becomes the weighted
mean of its eight neighbours, removed ones included, plus a little noise, so that the mask cannot be read off the image.
The pixels are removed most important first (MoRF: the accuracy should fall at once) or least important first (LeRF: it
should stay).

Theory, with R the removed pixels of an image and w_ij = 1/6 for direct and 1/12 for diagonal neighbours within it:

    sum_j w_ij (x_i - x_j) = 0  for i in R, j over all neighbours:   (D_RR - W_RR) x_R = W_RK x_K

The matrix is symmetric, positive definite as long as a pixel is kept, and zero farther from its diagonal than a row of
removed pixels is long, so that a banded Cholesky factorisation solves it: memory and time grow with the number of
pixels times this width (once and squared). Removed pixels are numbered without gaps, so the band is narrow where few
are removed.

MEASURED

Reference: Rong, Leemann, Borisov, Kasneci, Kasneci, A consistent and efficient evaluation strategy for attribution
methods, ICML 2022, and its code (imputations.py).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.random import Generator
from scipy.linalg import solveh_banded

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics.masking import ranks
from benchmark.metrics.sampling import on_share
from benchmark.utils.seeds import generator

FAMILY = "faithfulness"

# (rows down, columns right): weight, of the neighbours after a pixel; those before it mirror them
NEIGHBOURS = {(0, 1): 1 / 6, (1, -1): 1 / 12, (1, 0): 1 / 6, (1, 1): 1 / 12}


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="fraction",
    version=1,
    partial=True,
    source="Rong et al. 2022, MoRF with noisy linear imputation",
    settings=({"steps": 4, "images": 0.25},),
)
def road_morf(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    steps: int = 4,
    images: float = 0.25,
    noise: float = 0.01,
) -> Array:
    """Share of [argmax F(x') = true class] over ``steps`` images x', (n,) in [0, 1]: of x' a share k / (steps + 1),
    k = 1 ... steps, of the pixels is removed, most important first (9 steps: the paper's 10 % to 90 %).

    ``noise`` is the standard deviation of what is added to removed pixels (those of [0, 1]; nothing is clipped). It is
    drawn once for all images, maps and steps. Ties go to the lower index, so the stated share is removed exactly.

    Raises:
        ValueError: fewer than one step, or a negative noise.
    """
    return _accuracy(e, target, batch, steps, images, noise, most_first=True)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Rong et al. 2022, LeRF with noisy linear imputation",
    settings=({"steps": 4, "images": 0.25},),
)
def road_lerf(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    steps: int = 4,
    images: float = 0.25,
    noise: float = 0.01,
) -> Array:
    """As ``road_morf``, least important first, (n,) in [0, 1]."""
    return _accuracy(e, target, batch, steps, images, noise, most_first=False)


def _accuracy(
    e: Explanation,
    target: Target,
    batch: Batch,
    steps: int,
    images: float,
    noise: float,
    most_first: bool,
) -> Array:
    if steps < 1 or noise < 0:
        raise ValueError(f"steps={steps} must be at least 1, noise={noise} at least 0")

    def score(e: Explanation, batch: Batch) -> Array:
        rank = ranks(e, batch).cpu().numpy()  # (n, hw)
        if not most_first:
            rank = rank.shape[1] - 1 - rank
        shares = np.arange(1, steps + 1) / (steps + 1)
        counts = np.round(shares * rank.shape[1]).astype(int)
        return _right(target, batch, rank, counts, noise).mean(1)

    return on_share(score, e, batch, images)


@torch.no_grad()
def _right(
    target: Target, batch: Batch, rank: Array, counts: Array, noise: float
) -> Array:
    """[argmax F(x') = true class], (n, steps), without the pixels of ranks below each of the counts."""
    n, steps, shape = len(batch), len(counts), batch.x.shape[1:]
    pictures = batch.x.detach().cpu().numpy().reshape(n, shape[0], -1)
    drawn = generator("road", *shape).standard_normal((shape[0], rank.shape[1]))
    right = []
    for pairs in torch.arange(n * steps).split(batch.chunk):
        filled = []
        for i, k in np.transpose(np.divmod(pairs.numpy(), steps)):
            hidden = rank[i] < counts[k]
            filled.append(imputed(pictures[i], hidden, shape[1:], noise * drawn))
        x = torch.from_numpy(np.stack(filled).astype(np.float32)).view(-1, *shape)
        y = batch.y[(pairs // steps).to(batch.y.device)]
        right.append(target(x.to(batch.x.device)).argmax(1) == y)
    return torch.cat(right).view(n, steps).double().cpu().numpy()


def imputed(x: Array, hidden: Array, shape: tuple[int, int], noise: Array) -> Array:
    """The image (c, h*w) with the pixels ``hidden`` (h*w,) bool replaced, float64; ``noise`` (c, h*w) is added there.

    Raises:
        ValueError: no pixel is kept.
    """
    x = x.astype(np.float64)
    if not hidden.any():
        return x
    if hidden.all():
        raise ValueError("no pixel is kept: there is nothing to fill the others from")
    removed, number = np.flatnonzero(hidden), np.cumsum(hidden) - 1
    i, j, weight = _neighbours(*shape)  # i is removed
    here = hidden[i]
    i, j, weight = number[i[here]], j[here], weight[here]
    m, kept, after = len(removed), ~hidden[j], hidden[j] & (number[j] > i)
    # the lower triangle by its diagonals, (distance from the main one, column)
    bands = np.zeros((shape[1] + 2, m))
    bands[0] = np.bincount(i, weight, m)
    bands[number[j[after]] - i[after], i[after]] = -weight[after]
    width = np.flatnonzero(bands.any(1))[-1] + 1
    known = []  # W_RK x_K of each channel
    for channel in x:
        from_kept = weight[kept] * channel[j[kept]]
        known.append(np.bincount(i[kept], from_kept, m))
    found = solveh_banded(bands[:width], np.transpose(known), lower=True)
    x[:, removed] = found.T + noise[:, removed]
    return x


@functools.lru_cache(maxsize=4)
def _neighbours(h: int, w: int) -> tuple[Array, Array, Array]:
    """All pairs of a pixel and a neighbour, as their indices, and the weight w_ij."""
    index, pairs = np.arange(h * w).reshape(h, w), []
    for (down, right), weight in NEIGHBOURS.items():
        first = index[: h - down, max(0, -right) : w - max(0, right)].ravel()
        second = first + down * w + right
        weights = np.full(len(first), weight)
        pairs += [(first, second, weights), (second, first, weights)]
    i, j, weight = zip(*pairs)
    return np.concatenate(i), np.concatenate(j), np.concatenate(weight)
