"""Localisation: how much of a map's relevance lies on the object, and do its strongest pixels?

Idea: relevance mass accuracy is the share of the positive relevance that lies on the object; relevance rank accuracy
the share of the K most relevant pixels that do, K the object's size. The object is its own pixels where the data set
knows them (``part_masks``: toybirds, objects with outlines), else its box; with a box the mass is ``energy_in_box``.

Both have the object's share of the image as their level of chance: rank accuracy exactly so for a map without positive
values, since tied pixels share their places, and both for a flat positive map.

Weakness: edges lie on the object, whatever the network does. On toybirds, whose birds fill 0.19 of the image, a random
map has 0.19 and 0.19 (mass, rank), an edge map 0.44 and 0.50, Grad-CAM 0.33 and 0.44, integrated gradients 0.51 and
0.37. A network that looks at the background has no good map.

Reference: Arras, Osman, Samek, CLEVR-XAI: a benchmark dataset for the ground truth evaluation of neural network
explanations, Information Fusion 2022.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, NotApplicable, Target, metric
from benchmark.metrics.localisation import _positive, _share, in_box
from benchmark.metrics.masking import chunks

FAMILY = "localisation"


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Arras et al. 2022, relevance mass accuracy",
)
def relevance_mass_accuracy(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Relevance mass accuracy. How much of the positive relevance lies on the object?

    Share of the positive relevance on the object, (n,) in [0, 1]; 0 without positive relevance (Quantus sums signed
    values, which may give any number). NaN where no pixel shows the object.

    Range: 0 to 1.
    Weakness: A constant map scores the object's share of the image, and edge maps score high without a network.
    """
    values = []
    for maps, part in chunks(e, batch):
        pixels = _object(part)
        here = _share(maps, pixels)
        values.append(np.where(pixels.any((1, 2)), here, np.nan))
    return np.concatenate(values)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Arras et al. 2022, relevance rank accuracy; ties: expected value",
)
def relevance_rank_accuracy(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Relevance rank accuracy. How many of the map's top pixels, as many as the object has, lie on the object?

    Share of the K pixels of the largest positive relevance that lie on the object of K pixels, (n,) in [0, 1].

    Where pixels tie for the last places, this is the expected value of a draw among them (elsewhere the first pixels of
    the image win, and a zero map scores 1 or 0 by where the object lies). NaN where no pixel shows the object.

    Range: 0 to 1.
    Weakness: Chance is the object's share of the image, and edge maps score high without a network.
    """
    values = [_rank_accuracy(maps, _object(part)) for maps, part in chunks(e, batch)]
    return np.concatenate(values)


def _rank_accuracy(maps: Array, pixels: Array) -> Array:
    """Of maps (n, h, w) and objects (n, h, w) bool: (n,)."""
    a = _positive(maps).reshape(len(maps), -1)  # (n, hw)
    inside = pixels.reshape(len(maps), -1)
    k = inside.sum(1)
    falling = -np.sort(-a, axis=1)
    last = np.take_along_axis(falling, np.maximum(k - 1, 0)[:, None], axis=1)
    above = a > last
    tied = a == last
    places = k - above.sum(1)  # that are left for tied pixels
    chance = (tied & inside).sum(1) / tied.sum(1)
    hits = (above & inside).sum(1) + places * chance
    share = hits / np.maximum(k, 1)
    return np.where(k > 0, share, np.nan)


def _object(batch: Batch) -> Array:
    """The object's pixels, (n, h, w) bool.

    Raises:
        NotApplicable: the data set knows neither its pixels nor its box.
    """
    if batch.part_masks is not None:
        return batch.part_masks.cpu().numpy() >= 0
    if batch.boxes is None:
        raise NotApplicable("images have no boxes and no masks")
    return in_box(batch)
