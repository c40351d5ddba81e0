"""Occlusion: does hiding what a map calls relevant hurt more than hiding what it calls irrelevant?

Idea: sixteen squares of 12 x 12 pixels, upper left corners {0, 6, 12, 20}^2 of a 32 x 32 image (in proportion on others), are
ranked by the map's sum in each. One image gets its least relevant square hidden, another its most relevant one; a good map
keeps the network right on the first and makes it wrong on the second.

Weaknesses:
- It sees sixteen squares, each a seventh of the image: detail inside a square is worth nothing.
- A grey square is off the data manifold, most of all on a black background, where it looks like a stroke: a map of the dark
  background then finds squares that hurt. The paper says so of its own results on MNIST.
- A flat map scores exactly 0, and so does a random choice in the mean; a map may score below 0.

Reference: J. Schneider, M. Vlachos, Explaining classifiers by constructing familiar concepts, Machine Learning 2022, Sec. 6.6.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics.masking import heatmaps

SQUARE, CORNERS, SIDE = 12, (0, 6, 12, 20), 32  # at 32 x 32
TIE = 1e-4  # of sums of values in [0, 1]: more than their float32 rounding, less than a thousandth of a pixel


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="ClaDec Sec. 6.6, Delta Acc; ties: expected value",
)
def occlusion_delta_accuracy(
    e: Explanation, target: Target, batch: Batch, rng: Generator, fill: float | None = None
) -> Array:
    """[F(X_O,min) right] - [F(X_O,max) right], (n,) in [-1, 1]: the squares of least and most relevance R(O) hidden,
    R(O) = sum_{i in O} S_i, S the map min-max scaled to [0, 1].

    The paper draws uniformly among tied squares; here is the expected value of that draw, so a flat map scores 0. Hidden
    pixels take one grey for all channels, the mean training pixel (the mean that the network normalises by; .5 where it takes
    plain pixels), or ``fill``.
    """
    maps, places = heatmaps(e, batch), squares(*batch.x.shape[2:])
    r = relevance(maps, places)  # (n, 16)
    grey = fill if fill is not None else float(target.mean.mean()) or 0.5
    least, most = r <= r.min(1, keepdims=True) + TIE, r >= r.max(1, keepdims=True) - TIE
    right = np.zeros(r.shape)
    pairs = torch.from_numpy(np.argwhere(least | most)).to(batch.x.device)  # (m, 2): image, square
    for part in pairs.split(batch.chunk):
        with torch.no_grad():
            x = batch.x[part[:, 0]].clone()
            for i, k in enumerate(part[:, 1].tolist()):
                x[i, :, places[k][0], places[k][1]] = grey
            known = target(x).argmax(1) == batch.y[part[:, 0]]
        right[tuple(part.T.cpu().numpy())] = known.cpu().numpy()
    return _mean(right, least) - _mean(right, most)


def squares(h: int, w: int) -> list[tuple[slice, slice]]:
    """The 16 squares (rows, columns) of an image of h x w, row by row; the last ones end at its border."""

    def cuts(side: int) -> list[slice]:
        size = max(1, round(SQUARE * side / SIDE))
        starts = [min(round(corner * side / SIDE), side - size) for corner in CORNERS]
        return [slice(start, start + size) for start in starts]

    return list(product(cuts(h), cuts(w)))


def relevance(maps: Array, places: list[tuple[slice, slice]]) -> Array:
    """R(O) of each square, (n, h, w) -> (n, 16); 0 for a flat map."""
    s = maps.astype(np.float64)
    low, high = s.min((1, 2), keepdims=True), s.max((1, 2), keepdims=True)
    flat = high - low <= 1e-6 * np.abs(s).max((1, 2), keepdims=True)
    s = np.where(flat, 0, (s - low) / np.where(flat, 1, high - low))
    return np.stack([s[:, rows, columns].sum((1, 2)) for rows, columns in places], axis=1)


def _mean(right: Array, where: Array) -> Array:
    return (right * where).sum(1) / where.sum(1)
