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

Weaknesses, with means over 64 test images of small networks (digits and toybirds: two networks of 98 to 100 % accuracy
on them; CIFAR-10: one of 55 %), in the order digits / toybirds / CIFAR-10:
- MoRF (lower is better): a random map has 0.98 / 0.82 / 0.49, edges 0.76 / 0.57 / 0.41, Grad-CAM 0.47 / 0.30 / 0.29,
  Score-CAM 0.37 / 0.14 / 0.19. Scattered pixels are restored from what is around them, so fine maps score as random
  ones do however faithful they are (integrated gradients on digits 0.97, on CIFAR-10 0.44).
- LeRF (higher is better): random 0.98 / 0.82 / 0.43, edges 0.85 / 0.91 / 0.50, Grad-CAM 0.84 / 0.87 / 0.38, Score-CAM
  0.89 / 0.94 / 0.48: on digits nothing beats the random map, whose scattered pixels are enough to restore an image.
- A flat map removes the image from the top or the bottom and is far from the random one (MoRF 0.63 / 0.45).

Reference: Rong, Leemann, Borisov, Kasneci, Kasneci, A consistent and efficient evaluation strategy for attribution
methods, ICML 2022, and its code (imputations.py).
"""

from __future__ import annotations

import functools
from itertools import product

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
    """ROAD, most relevant first. How soon is the network wrong as top pixels are blended into their neighbours?

    Share of [argmax F(x') = true class] over ``steps`` images x', (n,) in [0, 1]: of x' a share k / (steps + 1),
    k = 1 ... steps, of the pixels is removed, most important first (9 steps: the paper's 10 % to 90 %).

    ``noise`` is the standard deviation of what is added to removed pixels (those of [0, 1]; nothing is clipped). It is
    drawn once for all images, maps and steps. Ties go to the lower index, so the stated share is removed exactly.

    Range: 0 to 1.
    Weakness: Blending leaves scattered pixels recognisable, so a compact map does better than a scattered one that
        knows as much.

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
    """ROAD, least relevant first. How long is it right as the lowest pixels are blended into their neighbours?

    As ``road_morf``, least important first, (n,) in [0, 1].

    Range: 0 to 1.
    Weakness: Blending leaves scattered pixels recognisable, so a scattered map loses less than one with a compact
        region.
    """
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
        pixels = rank.shape[1]
        if not most_first:
            rank = pixels - 1 - rank
        counts = []
        for k in range(1, steps + 1):
            counts.append(round(pixels * k / (steps + 1)))
        right = _right(target, batch, rank, counts, noise)
        return right.mean(1)

    return on_share(score, e, batch, images)


@torch.no_grad()
def _right(
    target: Target, batch: Batch, rank: Array, counts: list[int], noise: float
) -> Array:
    """[argmax F(x') = true class], (n, steps), without the pixels of ranks below each of the counts.

    Args:
        rank: of each pixel, 0 is removed first, (n, h*w).
    """
    shape = batch.x.shape[1:]
    pictures = batch.x.detach().flatten(2).cpu().numpy()  # (n, c, hw)
    rng = generator("road", *shape)
    added = noise * rng.standard_normal(pictures.shape[1:])
    labels = batch.y.cpu().numpy()
    pairs, right = list(product(range(len(batch)), counts)), []
    for start in range(0, len(pairs), batch.chunk):
        part = pairs[start : start + batch.chunk]
        filled = []
        for i, count in part:
            hidden = rank[i] < count
            filled.append(imputed(pictures[i], hidden, shape[1:], added))
        x = torch.tensor(np.stack(filled), dtype=torch.float32)
        z = target(x.view(-1, *shape).to(batch.x.device))
        true = labels[[i for i, _ in part]]
        right.append(z.argmax(1).cpu().numpy() == true)
    return np.concatenate(right).reshape(-1, len(counts)).astype(np.float64)


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
    """All pairs of a pixel and a neighbour within the image.

    Returns:
        their indices, and their weight w_ij, (k,) each.
    """
    index = np.arange(h * w).reshape(h, w)
    pairs = []
    for (down, right), weight in NEIGHBOURS.items():
        left = max(0, -right)
        stop = w - max(0, right)
        first = index[: h - down, left:stop].ravel()
        second = first + down * w + right
        weights = np.full(len(first), weight)
        pairs.append((first, second, weights))
        pairs.append((second, first, weights))
    i, j, weight = map(np.concatenate, zip(*pairs))
    return i, j, weight
