"""Occlusion: does hiding what a map calls relevant hurt more than hiding what it calls irrelevant?

Idea: sixteen squares of 12 x 12 pixels, upper left corners {0, 6, 12, 20}^2 of a 32 x 32 image (in proportion on
others), are ranked by the map's sum in each, or by the explanation's own scores for them (``squares``). One copy of the
image has its least relevant square hidden, another its most relevant one; with a good map the network is right on the
first and wrong on the second.

Weaknesses:
- It sees sixteen squares, each a seventh of the image: detail inside a square is worth nothing.
- A grey square is off the data manifold, most of all on a black background, where it looks like a stroke: a map of the
  dark background then finds squares that hurt. The paper says so of its own results on MNIST.
- A flat map scores exactly 0, and so does a random choice in the mean; a map may score below 0.

Reference: J. Schneider, M. Vlachos, Explaining classifiers by constructing familiar concepts, Machine Learning 2022,
Sec. 6.6.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics.masking import heatmaps

FAMILY = "faithfulness"

ROUNDING = 1e-6  # of float32 scores, relative to an image's largest: closer ones tie
SQUARE, CORNERS, SIDE = 12, (0, 6, 12, 20), 32  # at 32 x 32
TIE = 1e-4  # of sums of values in [0, 1]: more than their float32 rounding, less than a thousandth of a pixel


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=2,
    source="ClaDec Sec. 6.6, Delta Acc; ties: expected value",
)
def occlusion_delta_accuracy(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    fill: float | None = None,
) -> Array:
    """Accuracy lost to occlusion. Does hiding the map's most relevant square hurt more than its least relevant one?

    [F(X_O,min) right] - [F(X_O,max) right], (n,) in [-1, 1]: the squares of least and most relevance R(O) hidden,
    R(O) = sum_{i in O} S_i, S the map min-max scaled to [0, 1]; where the explanation scores the squares itself
    (``squares``, row by row), R is these scores: its map, spread over pixels and summed again, would blur them.

    The paper draws uniformly among tied squares; this is the expected value of that draw, so a flat map scores 0.
    Hidden pixels take one grey for all channels, the mean training pixel (0.5 where a network of one's own takes plain
    pixels and does not say), or ``fill``.

    Range: -1 to 1.
    Weakness: Sixteen squares are all it sees, and a grey square on a black background looks like a stroke.

    Raises:
        ValueError: ``squares`` holds scores of other than 16 regions.
    """
    places = squares(*batch.x.shape[2:])
    if e.squares is None:
        r, tie = relevance(heatmaps(e, batch), places), TIE  # (n, 16)
    else:
        r = _own_scores(e.squares, batch)
        tie = ROUNDING * np.abs(r).max(1, keepdims=True)
    grey = fill
    if grey is None:
        known = target.pixel_mean is not None
        grey = float(target.pixel_mean.mean()) if known else 0.5
    least = r <= r.min(1, keepdims=True) + tie
    most = r >= r.max(1, keepdims=True) - tie
    right = _right_without(target, batch, places, least | most, grey)
    return _mean(right, least) - _mean(right, most)


def _own_scores(scores: Array, batch: Batch) -> Array:
    """The explanation's own R of the squares, (n, 16) float64."""
    expected = (len(batch), len(CORNERS) ** 2)
    if scores.shape != expected:
        raise ValueError(
            f"squares has shape {scores.shape}, expected {expected}: "
            "score the squares of benchmark.metrics.occlusion.squares, or leave it out"
        )
    return scores.astype(np.float64)


@torch.no_grad()
def _right_without(
    target: Target,
    batch: Batch,
    places: list[tuple[slice, slice]],
    hidden: Array,
    grey: float,
) -> Array:
    """[F right], (n, 16), with a square hidden, for the pairs ``hidden`` (n, 16) of image and square; 0 elsewhere."""
    right = np.zeros(hidden.shape)
    pairs = torch.from_numpy(np.argwhere(hidden)).to(batch.x.device)  # (m, 2)
    for part in pairs.split(batch.chunk):
        image, square = part.T
        x = batch.x[image].clone()
        for i, k in enumerate(square.tolist()):
            rows, columns = places[k]
            x[i, :, rows, columns] = grey
        known = target(x).argmax(1) == batch.y[image]
        right[image.cpu().numpy(), square.cpu().numpy()] = known.cpu().numpy()
    return right


def squares(h: int, w: int) -> list[tuple[slice, slice]]:
    """The 16 squares (rows, columns) of an image of h x w, row by row; the last ones end at its border."""
    return list(product(_cuts(h), _cuts(w)))


def _cuts(side: int) -> list[slice]:
    size = max(1, round(SQUARE * side / SIDE))
    cuts = []
    for corner in CORNERS:
        start = min(round(corner * side / SIDE), side - size)
        cuts.append(slice(start, start + size))
    return cuts


def relevance(maps: Array, places: list[tuple[slice, slice]]) -> Array:
    """R(O) of each square, (n, h, w) -> (n, 16); 0 for a flat map."""
    s = maps.astype(np.float64)
    low = s.min((1, 2), keepdims=True)
    high = s.max((1, 2), keepdims=True)
    largest = np.abs(s).max((1, 2), keepdims=True)
    flat = high - low <= 1e-6 * largest
    scaled = (s - low) / np.where(flat, 1, high - low)
    scaled = np.where(flat, 0, scaled)
    sums = []
    for rows, columns in places:
        inside = scaled[:, rows, columns]
        sums.append(inside.sum((1, 2)))
    return np.stack(sums, axis=1)


def _mean(right: Array, where: Array) -> Array:
    """Mean (n,) over the squares ``where`` (n, 16)."""
    return (right * where).sum(1) / where.sum(1)
