"""Faithfulness by what is removed in the order of a map: groups one by one, from both ends, and by segments.

Idea: SaCo removes each tenth of the ranking by itself and asks, of every pair, whether the group of which the map says
more matters more. SRG removes pixels from both ends of the ranking and compares the two curves, so that what any hidden
pixel does to the network cancels. IROF removes segments of the image, largest mean first. Y_c is the softmax
probability of the predicted class c; removed pixels take the image's mean colour.

Weaknesses, with means over 64 test images of small networks (digits and toybirds: two networks of 98 to 100 % accuracy
on them; CIFAR-10: one of 55 %), in the order digits / toybirds / CIFAR-10:
- SaCo: a random map has about 0 (-0.03 / -0.03 / -0.08), edges -0.04 / 0.31 / -0.29, Grad-CAM 0.58 / 0.51 / 0.22. It
  counts ties as agreement, so it means nothing for a network whose answer does not move.
- SRG: random 0.01 / -0.01 / 0.00, edges -0.06 / 0.17 / 0.04, Grad-CAM 0.30 / 0.50 / 0.13. A flat map, which goes
  through the image row by row, has -0.02 / 0.17: birds do not fill their image.
- IROF sees no sign of a method's own: removing segments in any order loses the class. On the convolutional networks of
  profile offline, digits / toybirds, a random map has 0.47 / 0.50, edges 0.46 / 0.82, Grad-CAM 0.63 / 0.77: on toybirds
  edges beat Grad-CAM. Compare with the random map of the same board, never between data sets.

References: Wu, Kang, Tang, Hong, Yan, On the faithfulness of vision transformer explanations, CVPR 2024 (SaCo);
Blücher, Vielhaben, Strodthoff, Decoupling pixel flipping and occlusion strategy for consistent XAI benchmarks, TMLR
2024 (SRG); Rieger, Hansen, IROF: a low resource evaluation metric for explanation methods, 2020.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics.masking import (
    heatmaps,
    log_odds,
    logits_at,
    masked,
    predicted,
    probability,
    ranks,
    steps_of,
)
from benchmark.metrics.regions import check_fill, scaled
from benchmark.metrics.sampling import on_share
from benchmark.shared.segments import superpixels

FAMILY = "faithfulness"

NOISE = 1e-4  # log-odds that are closer than this differ by float32 rounding


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Wu et al. 2024, Algorithm 1 (SaCo)",
    settings=({"groups": 10, "images": 0.25},),
)
def saco(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    groups: int = 10,
    images: float = 0.25,
    fill: str = "mean",
) -> Array:
    """Salience-guided faithfulness (SaCo). Do groups of pixels that the map puts higher matter more to the answer?

    sum_{i<j} +-(s_i - s_j) / sum_{i<j} (s_i - s_j), (n,) in [-1, 1]: the pixels, in the order of the map, are cut
    into ``groups`` G_1 ... G_K; + where d_i >= d_j with d_i = Y_c(x) - Y_c(x without G_i), - where not.

    s_i is the map's mean in G_i (the paper: its sum; the same where K divides the number of pixels). A tie of the d
    counts for the map, as printed: a network whose answer never changes gives 1 to every map that is not flat. A flat
    map has 0.

    Range: -1 to 1.
    Weakness: Ties count for the map: a network whose answer nothing changes gives the best value to every map that is
        not flat.

    Raises:
        ValueError: fewer than two groups, more than pixels, or an unknown fill.
    """
    pixels = batch.x[0, 0].numel()
    if not 2 <= groups <= pixels:
        raise ValueError(f"groups={groups} must lie within 2..{pixels}, the pixels")
    check_fill(fill)

    def score(e: Explanation, batch: Batch) -> Array:
        group = ranks(e, batch) * groups // pixels  # (n, hw), 0: most important
        odds = _log_odds_without(target, batch, group, groups, fill)
        s = _group_means(e, batch, group.cpu().numpy(), groups)
        return _coefficient(s, odds)

    return on_share(score, e, batch, images)


def _coefficient(s: Array, odds: Array) -> Array:
    """F of Algorithm 1, (n,).

    Args:
        s: means of the groups, (n, K), falling.
        odds: log-odds without each group, (n, K).
    """
    pairs = combinations(range(s.shape[1]), 2)
    i, j = np.array(list(pairs)).T
    gap = s[:, i] - s[:, j]
    as_said = odds[:, i] <= odds[:, j] + NOISE  # d_i >= d_j
    gained = np.where(as_said, gap, -gap).sum(1)
    total = gap.sum(1)
    return gained / np.where(total > 0, total, 1)


@torch.no_grad()
def _log_odds_without(
    target: Target, batch: Batch, group: Tensor, groups: int, fill: str
) -> Array:
    """log Y_c / (1 - Y_c) of each image without each of its groups, (n, K)."""
    n, _, h, w = batch.x.shape
    out, pairs = [], torch.arange(n * groups, device=batch.x.device)
    for part in pairs.split(batch.chunk):
        image, k = part // groups, part % groups
        kept = group[image] != k[:, None]
        images = masked(batch, image, kept.view(-1, 1, h, w), fill)
        out.append(target(images))
    logits = torch.cat(out).view(n, groups, -1)
    odds = log_odds(logits.transpose(0, 1), predicted(target, batch))
    return odds.T


def _group_means(e: Explanation, batch: Batch, group: Array, groups: int) -> Array:
    """The map's mean in each group, (n, K), of maps scaled to a largest value of 1."""
    maps = heatmaps(e, batch).reshape(len(group), -1)
    maps = scaled(maps.astype(np.float64))
    means = []
    for k in range(groups):
        inside = group == k
        means.append((maps * inside).sum(1) / inside.sum(1))
    return np.stack(means, axis=1).round(12)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Blücher et al. 2024 (SRG)",
    settings=({"steps": 7, "images": 0.25},),
)
def symmetric_relevance_gain(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    steps: int = 7,
    images: float = 0.25,
    fill: str = "mean",
) -> Array:
    """Symmetric relevance gain. How much later is the image lost with the lowest pixels removed first?

    AUC(least important first) - AUC(most important first), (n,) in [-1, 1]: areas under Y_c against the share of
    pixels removed, at ``steps`` evenly spaced points with both ends.

    A random map has 0 in the mean, whatever the fill does to the network, and a flat one scores by the order of ties
    alone (lower index first).

    Range: -1 to 1.
    Weakness: Both orders take the image off its data; the gain cancels only what is the same in both.

    Raises:
        ValueError: fewer than two steps, or an unknown fill.
    """

    def score(e: Explanation, batch: Batch) -> Array:
        removed = steps_of(steps, batch)
        pixels = removed[-1]
        left = [pixels - k for k in removed]
        most = logits_at(e, target, batch, removed, fill, delete=True)
        least = logits_at(e, target, batch, left, fill)
        c = predicted(target, batch)
        gain = probability(least, c) - probability(most, c)  # (steps, n)
        shares = np.array(removed) / pixels
        return np.trapezoid(gain, shares, axis=0)

    return on_share(score, e, batch, images)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="Rieger and Hansen 2020 (IROF)",
    settings=({"segments": 16, "images": 0.25},),
)
def irof(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    segments: int = 16,
    images: float = 0.25,
    fill: str = "mean",
) -> Array:
    """Removal of segments (IROF). How soon does the network lose the image as segments are removed, top ones first?

    Area over Y_c(x_l) / Y_c(x_0), l = 0 ... L, divided by L, (n,) up to 1: x_l lacks the l segments of the image of
    which the map has the largest mean. 1 - C at worst, with C classes.

    SLIC cuts each image into about ``segments`` (the paper: as many as 300 of 224 x 224), which are the same for all
    maps; equal means go by the segment's number. Trapezoid rule.

    Range: up to 1.
    Weakness: Sees segments, not pixels, and a removed segment is off the data.

    Raises:
        ValueError: fewer than two segments, or an unknown fill.
    """
    if segments < 2:
        raise ValueError(f"segments={segments}: at least 2")
    check_fill(fill)

    def score(e: Explanation, batch: Batch) -> Array:
        labels = _segments(batch, segments)  # (n, hw)
        maps = heatmaps(e, batch).reshape(labels.shape)
        place = torch.from_numpy(_places(maps, labels))
        counts = labels.max(1) + 1  # L, (n,)
        curve = _curve(target, batch, place, counts, fill)
        ends, area = np.cumsum(counts + 1), []
        for y in np.split(curve, ends[:-1]):
            over = 1 - y / y[0]
            area.append(np.trapezoid(over) / (len(y) - 1))
        return np.array(area)

    return on_share(score, e, batch, images)


def _segments(batch: Batch, segments: int) -> Array:
    """The number of the segment of each pixel, (n, h*w) int, from 0 without gaps."""
    key = ("segments", segments)
    if key not in batch.memo:
        found = [
            superpixels(x, segments).cpu().numpy().ravel() for x in batch.x.detach()
        ]
        batch.memo[key] = np.stack(found)
    return batch.memo[key]


def _places(maps: Array, labels: Array) -> Array:
    """The place of each pixel's segment in the order of removal, (n, h*w): 0 first."""
    places = []
    for values, segment in zip(maps.astype(np.float64), labels):
        mean = np.bincount(segment, values) / np.bincount(segment)
        largest = np.abs(mean).max() or 1
        order = np.argsort(-(mean / largest).round(9), kind="stable")
        places.append(np.argsort(order)[segment])
    return np.stack(places)


@torch.no_grad()
def _curve(
    target: Target, batch: Batch, place: Tensor, counts: Array, fill: str
) -> Array:
    """Y_c of x_0 ... x_L of each image, one image after the other, (sum of L + 1,)."""
    h, w = batch.x.shape[2:]
    pairs = []  # (image, segments removed)
    for i, count in enumerate(counts.tolist()):
        pairs += [(i, step) for step in range(count + 1)]
    pairs, device, out = torch.tensor(pairs), batch.x.device, []
    for part in pairs.split(batch.chunk):
        image, step = part.T
        kept = place[image] >= step[:, None]
        kept = kept.view(-1, 1, h, w).to(device)
        images = masked(batch, image.to(device), kept, fill)
        out.append(target(images))
    classes = predicted(target, batch)
    return probability(torch.cat(out), classes[pairs[:, 0].to(device)])
