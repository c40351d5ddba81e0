"""Randomisation: does the map change when what the network learned is taken away, or when another class is asked for?

Idea: draw weights anew, layer after layer, and compare the map with that of the trained network; or ask for another
class. A method whose map stays explains something else, for example the edges of the image. The class that is explained
stays the one that the trained network predicts (``shared.variants.asking``); a method that learns is fitted on each
network. All methods meet the same randomised networks.

Weaknesses, to be read with every score:
- It is a test that a map can fail, not a sign of truth: noise that depends on the weights passes it best.
- The order matters (Binder et al. 2023): from the top down, all that is below the drawn layers still filters the image,
  so that a faithful map may keep its shape; from the bottom up nothing of the image is left after the first layer.
- Similarity of ranks depends on how noisy a map is, beside the network (Hedstrom et al.): hence the two newer tests.
  The efficient one compares no maps: any map that becomes noisier passes.
- Weights as PyTorch initialises them shrink activations from layer to layer; a map of a dead network is flat, and a
  flat map counts as similarity 0.
- Both controls ignore the network: they score 1 in ``mprt``, ``smooth_mprt`` and ``random_logit``, 0 in
  ``efficient_mprt``, the worst values. This is what the family is for.

Figures, on networks of profile offline (digits, toybirds; seed 0, four images): both controls have 1 in all, 0 in
``efficient_mprt``. Grad-CAM: top down 0.09 and 0.09, bottom up 0.07 and 0.09, smooth -0.08 and 0.05, random logit 0.03
and 0.03, efficient -0.24 and 0.00. Grad-CAM++: top down 0.79 and 0.88, bottom up 0.56 and 0.48, random logit 0.82 and
0.80: it hardly looks at the class.

References: Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018 (arXiv:1810.03292); Hedstrom et al., Sanity
checks revisited, XAI in Action workshop at NeurIPS 2023 (arXiv:2401.06465); Sixt, Granz, Landgraf, When explanations
lie, ICML 2020 (arXiv:1912.09818); Binder et al., Shortcomings of top-down randomization-based sanity checks, CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.random import Generator
from skimage.metrics import structural_similarity
from torch import Tensor

from benchmark.api import (
    Array,
    Batch,
    Explain,
    Explanation,
    NotApplicable,
    Target,
    calling_metric,
)
from benchmark.metrics.again import asked, by_class, drawn, like, maps_of, seed_of
from benchmark.metrics.regions import spearman
from benchmark.shared.variants import modules_with_weights, randomised

Order = Literal["top", "bottom"]
STEPS = 6  # randomised networks of a cascade, at most


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=7,
    track="heatmap",
    better="lower",
    unit="correlation",
    version=1,
    source="Adebayo et al. 2018, Sec. 3",
    settings=({"order": "top"}, {"order": "bottom"}),
    partial=True,
)
def mprt(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    *,
    order: Order = "top",
    absolute: bool = False,
) -> Array:
    """Model parameter randomisation (MPRT). Does the map stay as it was when the network's weights are drawn anew?

    Spearman's correlation of Phi(F) and Phi(F'), (n,) in [-1, 1]: the mean over networks F' in which more and more
    layers are drawn anew, from the logits down or from the image up. The trained network is not in the mean.

    Layers are drawn in at most six steps of as many layers each, so that deep networks cost no more. ``absolute``: of
    |Phi|, the authors' other variant. A flat map of F' has correlation 0; of F: NaN.

    Range: -1 to 1.
    Weakness: A random map passes, and an edge map fails by construction: it says that a method looks at the weights,
        not that it is right.
    """
    seed, found = seed_of(rng), np.full(len(batch), np.nan)
    for c, rows, images in by_class(batch, target(batch).argmax(1)):
        before = maps_of(explain(images))
        maps = []
        for network in cascade(target, batch, seed, order):
            other = asked(network, [images], c)
            maps.append(maps_of(explain(images, other, fit=network)))
        found[rows] = similarity(before, np.stack(maps), absolute).mean(0)
    return found


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=10,
    track="heatmap",
    better="lower",
    unit="correlation",
    version=1,
    source="Hedstrom et al. 2023, Sec. 4.1",
    settings=({"noisy": 5},),
    partial=True,
)
def smooth_mprt(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    *,
    noisy: int = 50,
    noise: float = 0.1,
    absolute: bool = False,
) -> Array:
    """Smooth MPRT. Does the map, averaged over noisy images, stay as it was when the network's weights are drawn anew?

    ``mprt`` of the network that is drawn anew as a whole, with maps that are means over ``noisy`` images, (n,) in
    [-1, 1]: x + N(0, s^2), s = noise (max x - min x). The paper: 50 noisy images.

    Both maps are smoothed. Quantus 0.6.0 compares the plain map of F with a smoothed one of F', and explains by
    captum's gradient whatever method it is given.

    Range: -1 to 1.
    Weakness: A random map passes: it says that a method looks at the weights, not that it is right.
    """
    seed, found = seed_of(rng), np.full(len(batch), np.nan)
    for c, rows, images in by_class(batch, target(batch).argmax(1)):
        network = whole(target, batch, seed)
        parts = noisy_images(images, seed, noisy, noise)
        same, other = asked(target, parts, c), asked(network, parts, c)
        before, after = [], []
        for part in parts:
            before.append(maps_of(explain(part, same)))
            after.append(maps_of(explain(part, other, fit=network)))
        found[rows] = similarity(np.mean(before, 0), np.mean(after, 0), absolute)
    return found


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=2,
    track="heatmap",
    better="higher",
    unit="ratio",
    version=1,
    source="Hedstrom et al. 2023, Sec. 4.2",
    partial=True,
)
def efficient_mprt(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    *,
    bins: int = 100,
) -> Array:
    """Efficient MPRT. How much more complex is the map of a network with random weights?

    (H(Phi(F')) - H(Phi(F))) / H(Phi(F)), (n,), -1 or more: how much the entropy of the histogram of a map rises when
    all weights are drawn anew. NaN where H(Phi(F)) is 0, as for a flat map.

    H is in nats, of ``bins`` bins of equal width from the map's least to its largest value.

    Range: -1 and more.
    Weakness: Looks at the entropy of the map's histogram alone: a map that became simpler for good reasons counts as a
        failure.
    """
    seed, found = seed_of(rng), np.full(len(batch), np.nan)
    for c, rows, images in by_class(batch, target(batch).argmax(1)):
        network = whole(target, batch, seed)
        other = asked(network, [images], c)
        before = entropy(maps_of(explain(images)), bins)
        after = entropy(maps_of(explain(images, other, fit=network)), bins)
        found[rows] = (after - before) / np.where(before > 0, before, np.nan)
    return found


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=2,
    track="heatmap",
    better="lower",
    unit="fraction",
    version=1,
    source="Sixt et al. 2020, Sec. 5",
    partial=True,
)
def random_logit(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
) -> Array:
    """Random logit. Does the map stay as it was when another class is asked for?

    SSIM(Phi_y, Phi_y'), (n,), at most 1: y the class that the network predicts, y' another one, drawn for each
    image.

    Maps are divided by their largest absolute value; SSIM has windows of 7 x 7 and the range of both maps. Identical
    flat maps have 1.

    Range: -1 to 1.
    Weakness: A map that ignores the class cannot be asked, and what two classes share rightly stays.
    """
    z = target(batch)
    C = z.shape[1]
    if C < 2:
        raise NotApplicable(f"{target.name} has one class")
    steps = drawn(batch, rng, ("step",), lambda rng: rng.integers(1, C, 1), _only)
    y_other = (z.argmax(1) + steps) % C  # uniform over the other classes
    found = np.full(len(batch), np.nan)
    for c, rows, images in by_class(batch, y_other):
        before = maps_of(explain(images))
        after = maps_of(explain(images, asked(target, [images], c)))
        found[rows] = [ssim(a, b) for a, b in zip(before, after, strict=True)]
    return found


def _only(_: Batch, values: Tensor) -> Tensor:
    return values[0]


# --------------------------------------------------------------------------------------------- networks and images


def cascade(target: Target, batch: Batch, seed: int, order: Order) -> Iterator[Target]:
    """Networks in which more and more layers are drawn anew, at most ``STEPS``; the one with all of them first."""
    layers = modules_with_weights(target)
    if order == "top":
        layers = layers[::-1]
    parts = np.array_split(layers, min(STEPS, len(layers)))
    ends = np.cumsum([len(part) for part in parts])
    for end in ends[::-1]:
        drawn_layers = frozenset(layers[:end])
        yield _kept(target, batch, drawn_layers, seed)


def whole(target: Target, batch: Batch, seed: int) -> Target:
    """The network with all layers drawn anew."""
    return _kept(target, batch, frozenset(modules_with_weights(target)), seed)


def _kept(target: Target, batch: Batch, layers: frozenset[str], seed: int) -> Target:
    """The randomised network, made once for all methods and metrics that have this batch."""
    key = "randomised", target, layers, seed
    if key not in batch.memo:
        batch.memo[key] = randomised(target, sorted(layers), seed)
    return batch.memo[key]


def noisy_images(batch: Batch, seed: int, noisy: int, noise: float) -> list[Batch]:
    """x + N(0, s^2) with s = noise (max x - min x), ``noisy`` times."""

    def normal(rng: Generator) -> Array:
        return rng.standard_normal((noisy, *batch.x.shape[1:]), np.float32)

    def added(batch: Batch, values: Tensor) -> list[Batch]:
        axes = (1, 2, 3)
        high = batch.x.amax(axes, keepdim=True)
        low = batch.x.amin(axes, keepdim=True)
        s = noise * (high - low)
        return [like(batch, batch.x + s * one) for one in values]

    rng = np.random.default_rng(seed)
    return drawn(batch, rng, ("noisy", noisy, noise), normal, added)


# --------------------------------------------------------------------------------------------- similarity


def similarity(a: Array, b: Array, absolute: bool = False) -> Array:
    """Rank correlation (..., n) of maps ``a`` (n, h, w) and ``b`` (..., n, h, w): 0 where only the one of ``b`` is
    flat, NaN where that of ``a`` is."""
    if absolute:
        a, b = np.abs(a), np.abs(b)
    u, v = _rows(a), _rows(b)
    flat = u.min(-1) == u.max(-1)
    unknown = flat | np.isnan(u).any(-1) | np.isnan(v).any(-1)
    rho = spearman(u, v).clip(-1, 1)
    return np.where(unknown, np.nan, rho)


def _rows(maps: Array) -> Array:
    """(..., h, w) -> (..., h w)."""
    return maps.reshape(*maps.shape[:-2], -1)


def _has_nan(maps: Array) -> Array:
    return np.isnan(maps).any((-2, -1))


def entropy(maps: Array, bins: int) -> Array:
    """Of the histogram of each map (n, h, w) in nats, (n,); NaN of a map with NaN."""
    found = np.full(len(maps), np.nan)
    for i, one in enumerate(maps):
        if np.isfinite(one).all():
            counts, _ = np.histogram(one, bins)
            p = counts[counts > 0] / counts.sum()
            found[i] = -(p * np.log(p)).sum()
    return found


def ssim(a: Array, b: Array) -> float:
    """The mean structural similarity of two maps (h, w), each divided by its largest absolute value."""
    if _has_nan(a) or _has_nan(b):
        return float("nan")
    a = a / (np.abs(a).max() or 1)
    b = b / (np.abs(b).max() or 1)
    high = max(a.max(), b.max())
    low = min(a.min(), b.min())
    span = high - low or 1
    found = structural_similarity(a, b, win_size=7, data_range=span)
    return float(found)
