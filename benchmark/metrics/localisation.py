"""Localisation: does the map point at the object, and at the parts that make its class?

Idea: compare the map with the annotations (or with what the renderer knows): a box around the object, the places of
its parts, and, for rendered images, which parts truly define the class. Needs no network.

Weaknesses:
- A box holds the whole object and background as well: a map may lie in it for the wrong reason. The chance level is
  the box's share of the image, often above a half; compare with a constant map, which scores exactly that share.
- A faithful map of a network that looks at the background scores low. Localisation judges network and map together.
- Edge maps lie on the object wherever the background is smooth, whatever the network does: on toybirds (48 x 48, a
  network of 53 % test accuracy) the edge map hits the box always (Grad-CAM 78 %, random 67 %, the box's share of the
  image) and has more energy on the class's parts than any method that was tried.
- Discs overlap where parts lie close together. On toybirds a map made of the true importances (spots of 1.5 pixels)
  still ranks 0.99 of the pairs of parts right and has 96 % of its energy on the class's parts, at the default radius.
- Part importance is that of the rendered class, not of the trained network, which may use only some of these parts.

Negative values do not count as evidence: masses are sums of max(map, 0). A map without positive mass has energy 0
everywhere; the pointing game still takes its maximum, so that a constant map, of any sign, scores chance.

References: J. Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016 (pointing game);
H. Wang et al., Score-CAM, CVPRW 2020 (energy-based pointing game);
F. Harrell et al., Evaluating the yield of medical tests, JAMA 1982 (concordance).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, NotApplicable, Target, metric
from benchmark.metrics.masking import chunks


@metric(
    needs={"heatmaps", "boxes"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="Zhang et al. 2016; ties: expected hit",
    settings=({"tolerance": 0},),
)
def pointing_game(
    e: Explanation, target: Target, batch: Batch, rng: Generator, tolerance: float = 0
) -> Array:
    """Pointing game. Is the map's largest pixel on the object?

    Probability that a maximum of the map, drawn uniformly among tied ones, hits the box, (n,) in [0, 1].

    A hit lies in the box or less than ``tolerance`` pixels from it (in pixels of an image of side 224; Zhang et al.:
    15).

    Range: 0 to 1.
    Weakness: Chance is the box's share of the image, often above a half; an edge map hits a bird on a smooth background
        always.
    """
    slack = tolerance * max(batch.x.shape[2:]) / 224
    values = [
        _hit_chance(maps, _distance_to_box(part), slack)
        for maps, part in chunks(e, batch)
    ]
    return np.concatenate(values)


def _hit_chance(maps: Array, distance: Array, slack: float) -> Array:
    """Share (n,) of the largest pixels of maps (n, h, w) that hit the box, at ``distance`` (n, h, w) from it."""
    top = maps == maps.max((1, 2), keepdims=True)
    near = (distance == 0) | (distance < slack)
    return (top & near).sum((1, 2)) / top.sum((1, 2))


@metric(
    needs={"heatmaps", "boxes"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="Wang et al. 2020 (Score-CAM), energy-based pointing game",
)
def energy_in_box(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Energy in the box. How much of the map's positive mass lies on the object?

    Share of the map's positive mass that lies in the box, (n,) in [0, 1].

    Range: 0 to 1.
    Weakness: The box holds background too, a constant map scores the box's share, and edge maps score high without a
        network.
    """
    values = []
    for maps, part in chunks(e, batch):
        inside = _distance_to_box(part) == 0
        values.append(_share(maps, inside))
    return np.concatenate(values)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Zhang et al. 2016, on masks; ties: expected hit",
)
def pointing_game_mask(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Pointing game on objects. Is the map's largest pixel on an object of the image's class?

    Probability that a maximum of the map, drawn uniformly among tied ones, lies on an object, (n,) in [0, 1].

    The mask is of all objects of the image's class, each by its outline or its box. NaN where it is empty. Not
    applicable where the data set has a box for each image (``pointing_game``), or no objects.

    Range: 0 to 1.
    Weakness: Chance is the objects' share of the image; one pixel decides.
    """
    values = []
    for maps, part in chunks(e, batch):
        mask = _object_mask(part)
        top = maps == maps.max((1, 2), keepdims=True)
        share = (top & mask).sum((1, 2)) / top.sum((1, 2))
        values.append(np.where(mask.any((1, 2)), share, np.nan))
    return np.concatenate(values)


def _object_mask(batch: Batch) -> Array:
    """The pixels (n, h, w) bool of the objects, where the data set has masks of objects, which are no parts.

    Raises:
        NotApplicable: it has none.
    """
    if batch.part_masks is None or batch.parts is not None:
        raise NotApplicable("images have no masks of objects")
    return _numpy(batch.part_masks) == 0


@metric(
    needs={"heatmaps", "parts"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="glassbench: energy-based pointing game on parts",
    settings=({"radius": 0.08},),
)
def energy_on_parts(
    e: Explanation, target: Target, batch: Batch, rng: Generator, radius: float = 0.08
) -> Array:
    """Energy on parts. How much of the map's positive mass lies on the object's parts?

    Share of the positive mass within ``radius`` (in sides of the image) of any visible part, (n,) in [0, 1].

    NaN where no part is visible.

    Range: 0 to 1.
    Weakness: Discs overlap where parts are close, and edge maps score high without a network.
    """
    values = []
    for maps, part in chunks(e, batch):
        values.append(_share_on(maps, part, visible_parts(part), radius))
    return np.concatenate(values)


@metric(
    needs={"heatmaps", "parts", "part_importance"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="glassbench: energy-based pointing game on the parts that define the class",
    settings=({"radius": 0.08},),
)
def energy_on_class_parts(
    e: Explanation, target: Target, batch: Batch, rng: Generator, radius: float = 0.08
) -> Array:
    """Energy on the class's parts. How much of the map's positive mass lies on the parts that define the class?

    As ``energy_on_parts``, for the visible parts whose true importance for the image's class is above 0.

    NaN where no such part is visible.

    Range: 0 to 1.
    Weakness: The parts are those of the rendered class; the trained network may use only some of them.
    """

    values = []
    for maps, part in chunks(e, batch):
        chosen = visible_parts(part) & (_numpy(part.part_importance) > 0)
        values.append(_share_on(maps, part, chosen, radius))
    return np.concatenate(values)


@metric(
    needs={"heatmaps", "parts", "part_importance"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="glassbench: concordance (Harrell et al. 1982) of the map with the true part importance",
    settings=({"radius": 0.08},),
)
def part_ranking(
    e: Explanation, target: Target, batch: Batch, rng: Generator, radius: float = 0.08
) -> Array:
    """Ranking of parts. Does the map put more on the parts that truly matter more?

    Does the map put more on the parts that matter more? (n,) in [0, 1]; 0.5 is chance, and a constant map.

    Among all pairs of visible parts of different true importance, the share where the more important part has the
    larger mean positive value within ``radius`` (in sides of the image); equal values count half. With two levels of
    importance this is the area under the ROC curve. NaN where all visible parts matter alike.

    Range: 0 to 1.
    Weakness: Discs overlap where parts are close: a map made of the true importances ranks 0.99 of the pairs right, not
        all.
    """
    values = [_concordance(maps, part, radius) for maps, part in chunks(e, batch)]
    return np.concatenate(values)


def _concordance(maps: Array, batch: Batch, radius: float) -> Array:
    """``part_ranking`` of maps (n, h, w), (n,)."""
    near = discs(batch, radius)  # (n, p, h, w)
    mass = np.einsum("nhw,nphw->np", _positive(maps), near)
    mean = mass / np.maximum(near.sum((2, 3)), 1)  # (n, p)
    importance = _numpy(batch.part_importance)
    visible = visible_parts(batch)
    # pairs (n, p, p) of visible parts, the first of which matters more
    pairs = importance[:, :, None] > importance[:, None]
    pairs &= visible[:, :, None] & visible[:, None]
    gap = mean[:, :, None] - mean[:, None]
    won = (gap > 0) + 0.5 * (gap == 0)
    points = (pairs * won).sum((1, 2))
    count = pairs.sum((1, 2))
    return np.where(count > 0, points / np.maximum(count, 1), np.nan)


def _numpy(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy()


def _positive(maps: Array) -> Array:
    return np.maximum(maps, 0, dtype=np.float64)


def _share(maps: Array, region: Array) -> Array:
    """Share (n,) of the positive mass of maps (n, h, w) in a region (n, h, w) bool; 0 without positive mass."""
    mass = _positive(maps)
    inside = (mass * region).sum((1, 2))
    outside = (mass * ~region).sum((1, 2))
    return inside / np.where(inside > 0, inside + outside, 1)


def _share_on(maps: Array, batch: Batch, chosen: Array, radius: float) -> Array:
    """Share (n,) of the positive mass on the discs of the ``chosen`` (n, p) parts; NaN without any."""
    near = discs(batch, radius) & chosen[:, :, None, None]  # (n, p, h, w)
    share = _share(maps, near.any(1))
    return np.where(chosen.any(1), share, np.nan)


def _distance_to_box(batch: Batch) -> Array:
    """Distance (n, h, w) in pixels from each pixel's centre to the nearest one that the box holds; 0 inside.

    Raises:
        ValueError: a box that holds no pixel.
    """
    h, w = batch.x.shape[2:]
    x0, y0, x1, y1 = _numpy(batch.boxes).astype(np.float64).T
    rows, columns = _pixels_held(y0, y1, h), _pixels_held(x0, x1, w)
    for first, last in (rows, columns):
        empty = ~(first <= last)  # also where a corner is NaN
        if empty.any():
            box = _numpy(batch.boxes)[empty][0].tolist()
            raise ValueError(f"the box {box} holds no pixel of its {h} x {w} image")
    away_y, away_x = _distance_to_range(*rows, h), _distance_to_range(*columns, w)
    return np.hypot(away_y[:, :, None], away_x[:, None])


def _pixels_held(low: Array, high: Array, side: int) -> tuple[Array, Array]:
    """The first and last pixel i, (n,) each, with low <= i + 0.5 < high."""
    first = np.ceil(low - 0.5).clip(0)
    last = (np.ceil(high - 0.5) - 1).clip(max=side - 1)
    return first, last


def _distance_to_range(first: Array, last: Array, side: int) -> Array:
    """Distance (n, side) of each pixel of a side from the pixels first to last (n,)."""
    i = np.arange(side)
    return np.maximum(first[:, None] - i, i - last[:, None]).clip(0)


def visible_parts(batch: Batch) -> Array:
    """Visible parts, (n, p) bool: all of them where the data set does not say."""
    if batch.part_visible is None:
        return np.ones(batch.parts.shape[:2], bool)
    return _numpy(batch.part_visible)


def discs(batch: Batch, radius: float) -> Array:
    """Pixels whose centre lies within ``radius * max(h, w)`` of each part, (n, p, h, w) bool; at least the pixel that
    the part lies in."""
    h, w = batch.x.shape[2:]
    places = _numpy(batch.parts).astype(np.float64)  # (n, p, 2)
    dx = np.arange(w) + 0.5 - places[..., :1]  # (n, p, w)
    dy = np.arange(h) + 0.5 - places[..., 1:]  # (n, p, h)
    square = dy[..., None] ** 2 + dx[:, :, None] ** 2
    reach = max(radius * max(h, w), 0.7072)
    return square <= reach**2


def in_box(batch: Batch) -> Array:
    """The pixels that each image's box holds, (n, h, w) bool.

    Raises:
        ValueError: a box that holds no pixel.
    """
    return _distance_to_box(batch) == 0
