"""Faithfulness as agreement: do regions of which a map says more move the answer more?

Idea: hide regions that were drawn without looking at the map, and hold the fall of the answer, f(x) - f(x_S), against
what the map says about the region, the sum of its values in it. Infidelity asks for equality up to one factor for each
image, the correlations for a line through any point. f is the logit of the predicted class, and a hidden pixel takes
the image's mean colour: the papers set normalised pixels to 0, which is the mean of the training images.

On a linear network the map w (x - x_0) has infidelity 0 and correlations of 1: these metrics reward maps that are
additive, which the answers of deep networks are not.

Weaknesses, with means over 64 test images of small networks (digits and toybirds: two networks of 98 to 100 % accuracy
on them; CIFAR-10: one of 55 %), in the order digits / toybirds / CIFAR-10:
- Values are small. Faithfulness correlation of Grad-CAM: 0.16 / 0.17 / -0.01; of integrated gradients: 0.23 / 0.36 /
  0.08; of a random map -0.01 / -0.01 / 0.00, of an edge map -0.02 / 0.04 / -0.06. Sensitivity-n is much the same.
- Infidelity, even with the best factor, likes any map without negative values: larger squares have larger sums and
  larger falls. As a share of mean(D^2), a flat map has 0.45 / 0.71, a random one 0.46 / 0.71 / 0.73, a zero map 1.
  Edges (0.40 / 0.54 / 0.68) do about as well as Grad-CAM (0.37 / 0.54 / 0.71), and integrated gradients do worse than
  a random map on digits and CIFAR-10 (0.47, 0.77).
- All depend on the fill. A map that explains the difference from black says nothing of black pixels, which matter once
  they take the mean colour: on digits, integrated gradients from black suffer from that.

References: Yeh et al., On the (in)fidelity and sensitivity of explanations, NeurIPS 2019; Ancona et al., Towards better
understanding of gradient-based attribution methods, ICLR 2018; Bhatt, Weller, Moura, Evaluating and aggregating
feature-based model explanations, IJCAI 2020.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics import regions
from benchmark.metrics.regions import (
    answers,
    at_least,
    falls,
    pearson,
    scaled,
    sums,
    without_rounding,
)
from benchmark.metrics.sampling import on_share

FAMILY = "faithfulness"


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="squared logits",
    version=1,
    partial=True,
    source="Yeh et al. 2019, Def. 2.1, squares, optimal scale",
    settings=({"draws": 32, "images": 0.25},),
)
def infidelity(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    draws: int = 32,
    images: float = 0.25,
    scale: str = "optimal",
    fill: str = "mean",
    output: str = "logit",
) -> Array:
    """Infidelity. How far, on its best scale, is the map on random squares from what the answer loses without them?

    mean_S (beta s_S - D_S)^2, (n,) >= 0, over random squares S: s_S is the map's sum in S, D_S = f(x) - f(x_S), and
    beta = mean(D s) / mean(s^2) the factor that fits best (Sec. 2 and the authors' code), so a map's scale is free.

    The squares have sides of 1 to 10 pixels of 28 x 28, as in the authors' code, which goes through all of them
    (``pert="Square"``, with weights of 1). A flat zero map has mean(D^2), the largest value that there is.

    Variants: ``scale="none"`` has beta = 1, as captum's default and Quantus do; it is a test of a map's units rather
    than of its places (a map times 100 scores 10^4 times as much). ``scale="relative"`` divides by mean(D^2): in
    [0, 1], and comparable between networks.

    Range: 0 and more.
    Weakness: In squared logits, which differ from network to network; a zero map scores no worse than one whose values
        say nothing.

    Raises:
        ValueError: an unknown scale, fill or output, or fewer than one draw.
    """
    at_least(draws, 1)
    if scale not in ("optimal", "none", "relative"):
        raise ValueError(f"scale {scale!r} is not one of optimal, none, relative")

    def score(e: Explanation, batch: Batch) -> Array:
        squares = regions.squares(draws, batch)
        d = falls(target, batch, squares, ("squares", draws), fill, output)
        s = sums(e, batch, squares)  # (n, draws)
        if scale == "none":
            return ((s - d) ** 2).mean(1)
        missed = _residual(s, d)
        if scale == "optimal":
            return missed
        most = (d**2).mean(1)
        return missed / np.where(most > 0, most, 1)

    return on_share(score, e, batch, images)


def _residual(s: Array, d: Array) -> Array:
    """min over beta of mean (beta s - d)^2, (n,), of s and d (n, k)."""
    s = scaled(s)
    square = (s**2).mean(1)
    product = (d * s).mean(1)
    beta = product / np.where(square > 0, square, 1)
    missed = beta[:, None] * s - d
    return (missed**2).mean(1)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="correlation",
    version=1,
    partial=True,
    source="Ancona et al. 2018, Sensitivity-n",
    settings=({"sizes": 3, "draws": 32, "images": 0.25},),
)
def sensitivity_n(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    sizes: int = 3,
    draws: int = 32,
    images: float = 0.25,
    fill: str = "mean",
    output: str = "logit",
) -> Array:
    """Sensitivity-n. Is what the map has on random sets of pixels, small and large, what the answer loses without them?

    mean_n corr_S (sum of the map in S, f(x) - f(x_S)), (n,) in [-1, 1]: Pearson's correlation over random sets S of
    n pixels, for ``sizes`` values of n from 1 % to 80 % of the pixels in equal ratios (the paper: 1 to 80 % and 100
    sets each).

    An image whose answer no set changes, and a flat map, have 0. Of single pixels (n = 1) the fall is mostly float32
    rounding, so that sizes begin at 1 %.

    Range: -1 to 1.
    Weakness: Random sets of scattered pixels take an image off its data, and large sets hardly differ in what they
        hold.

    Raises:
        ValueError: an unknown fill or output, fewer than one size or two draws.
    """
    at_least(sizes, 1, "sizes")
    at_least(draws, 2)

    def score(e: Explanation, batch: Batch) -> Array:
        pixels = batch.x[0, 0].numel()
        found = []
        for share in np.geomspace(0.01, 0.8, sizes):
            n = max(1, round(share * pixels))
            found.append(_correlation(e, target, batch, n, draws, fill, output))
        return np.mean(found, axis=0)

    return on_share(score, e, batch, images)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="correlation",
    version=1,
    partial=True,
    source="Bhatt et al. 2020, faithfulness",
    settings=({"size": 0.1, "draws": 32, "images": 0.25},),
)
def faithfulness_correlation(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    size: float = 0.1,
    draws: int = 32,
    images: float = 0.25,
    fill: str = "mean",
    output: str = "logit",
) -> Array:
    """Faithfulness correlation. Is what the map has on random pixels what the answer loses without them?

    corr_S (sum of the map in S, f(x) - f(x_S)), (n,) in [-1, 1], over random sets S of the share ``size`` of the
    pixels: ``sensitivity_n`` with one n.

    Range: -1 to 1.
    Weakness: Random sets of scattered pixels take an image off its data, and sets of one size hardly differ in what
        they hold.

    Raises:
        ValueError: a size outside (0, 1], an unknown fill or output, or fewer than two draws.
    """
    at_least(draws, 2)
    if not 0 < size <= 1:
        raise ValueError(f"size={size}: a share of the pixels must lie in (0, 1]")

    def score(e: Explanation, batch: Batch) -> Array:
        n = max(1, round(size * batch.x[0, 0].numel()))
        return _correlation(e, target, batch, n, draws, fill, output)

    return on_share(score, e, batch, images)


def _correlation(
    e: Explanation,
    target: Target,
    batch: Batch,
    n: int,
    draws: int,
    fill: str,
    output: str,
) -> Array:
    """Pearson's correlation (n,) over random sets of n pixels."""
    sets = regions.subsets(n, draws, batch)
    d = falls(target, batch, sets, ("subsets", n, draws), fill, output)
    f = answers(target(batch), target, batch, output)
    spread = d - d.mean(1, keepdims=True)
    return pearson(sums(e, batch, sets), without_rounding(spread, f))
