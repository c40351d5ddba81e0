"""Faithfulness: does the network answer as the map says when pixels are hidden?

Idea: keep (or hide) the pixels that a map ranks highest and watch the softmax probability Y_c of the class c that the
network predicts on the whole image; one value per image. Only the order of pixels matters: adding a constant to a map
or multiplying it by a positive number changes nothing. Ties go to the lower index. ``patch_correlation`` hides the
patches of a grid one by one instead, whatever the map says, and asks whether the map knows which of them the answer
depends on.

Weaknesses, to be read with every score; figures are means over 100-200 test images of small networks trained for the
purpose (digits: test accuracy 97 %, Fashion-MNIST 81 %, CIFAR-10 42 %; 32 x 32 and 28 x 28):
- Hidden pixels leave the data manifold. Black pixels form shapes of their own and a network may answer to those; the
  class that it gives an all-black image scores for nothing. On images with a black background a map of the bright
  pixels does well whatever the network does (average drop on digits: brightness 30, Grad-CAM 74, random 90).
- Deletion favours scattered pixels, which destroy texture, wherever images have no black background. On CIFAR-10 a
  random map (0.151) beats Grad-CAM (0.195); on digits it does not (0.498 against 0.400).
- Insertion starts from an image that may be recognised already: Y_c of the blurred image was 0.77 on digits, 0.37 on
  Fashion-MNIST and 0.29 on CIFAR-10. Scores then differ little, and a random map (0.906) beats Grad-CAM (0.893) on
  digits.
- Accuracy after inpainting favours scattered pixels most of all, since they sample the whole image, which inpainting
  then restores. With 1000 of 224^2 pixels the random map comes first on digits (0.56; Grad-CAM 0.29, edges 0.10),
  Fashion-MNIST (0.43; 0.12, 0.15) and CIFAR-10 (0.31; 0.13, 0.21). It compares only maps that are equally scattered.
- A patch alone matters little where others say the same: on CIFAR-10 no method's ``patch_correlation`` exceeds 0.11, on
  photographs (ASIRRA) Grad-CAM has 0.53 and an edge map 0.23. It sees nothing smaller than a patch. It does not reward
  scattered pixels: a random map has 0 everywhere.
- A high score says that these pixels suffice (or are needed) for the network, not that they lie on the object.

References: Lam et al., Finding representative interpretations on convolutional neural networks, ICCV 2021 (RI);
Petsiuk et al., RISE, BMVC 2018; Qi, Khorram, Fuxin, Embedding deep networks into visual explanations, 2021 (XNN);
Alvarez-Melis, Jaakkola, Towards robust interpretability with self-explaining neural networks, NeurIPS 2018.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.special import expit

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics import masking
from benchmark.metrics.masking import (
    chunks,
    log_odds,
    logits_at,
    pixels_of,
    predicted,
    probability,
    steps_of,
)
from benchmark.metrics.regions import spearman

NOISE = 1e-4  # the log-odds of an image depend on its batch by float32 rounding: a smaller rise does not count


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="percent",
    version=1,
    source="RI Eq. 7",
    settings=({"keep": 0.1}, {"keep": 0.2}, {"keep": 0.3}),
)
def average_drop(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    keep: float = 0.2,
    fill: str = "black",
) -> Array:
    """Average drop. How much of its answer does the network lose when it sees the map's top pixels alone?

    100 max(0, Y_c(x) - Y_c(x')) / Y_c(x), (n,) percent: x' keeps the top floor(keep h w) pixels, others are
    black.

    Range: 0 to 100.
    Weakness: Hidden pixels are black, and black shapes are off the data: on digits a map of the bright pixels does
        better (30) than Grad-CAM (74).
    """
    odds, odds_kept = _log_odds(e, target, batch, keep, fill)
    y, y_kept = expit(odds), expit(odds_kept)
    return 100 * np.maximum(0, y - y_kept) / y


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="percent",
    version=1,
    source="RI Eq. 8",
    settings=({"keep": 0.1}, {"keep": 0.2}, {"keep": 0.3}),
)
def average_increase(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    keep: float = 0.2,
    fill: str = "black",
) -> Array:
    """Average increase. How often does the network become surer when it sees the map's top pixels alone?

    100 [Y_c(x) < Y_c(x')], (n,) percent, 0 or 100: x' as in ``average_drop``.

    Compared as log-odds, which do not saturate; a rise by 1e-4 or less is rounding and does not count.

    Range: 0 or 100 per image.
    Weakness: Says nothing of how much surer, and hides pixels as average drop does.
    """
    odds, odds_kept = _log_odds(e, target, batch, keep, fill)
    return 100.0 * (odds_kept - odds > NOISE)


def _log_odds(
    e: Explanation, target: Target, batch: Batch, keep: float, fill: str
) -> tuple[Array, Array]:
    """log Y_c / (1 - Y_c) of x and of x', both (n,)."""
    c = predicted(target, batch)
    kept = logits_at(e, target, batch, [pixels_of(keep, batch)], fill)[0]  # (n, C)
    return log_odds(target(batch), c), log_odds(kept, c)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="XNN Table .5",
    settings=({"pixels": 300}, {"pixels": 500}, {"pixels": 1000}),
)
def accuracy_top_pixels(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    pixels: int = 1000,
    fill: str = "inpaint",
) -> Array:
    """Accuracy from top pixels. How often is the network right when all but the map's top pixels are painted over?

    [argmax F(x') = true class], (n,), 0 or 1: x' keeps the top pixels and inpaints the others from them.

    ``pixels`` counts at the paper's 224 x 224; an image of h x w keeps the same share, max(1, round(pixels h w /
    224^2)): 6, 10 and 20 of 32 x 32 for 300, 500 and 1000. The paper blackens the rest and recovers the image by an
    inpainting algorithm that it does not name; here a hidden pixel is the Gaussian-weighted mean of the kept ones,
    which invents no texture, so expect less than the paper's accuracy. ``fill="black"`` skips the inpainting.

    Range: 0 or 1 per image.
    Weakness: Scattered pixels sample the whole image, so a random map comes first on small images; compare maps that
        are equally scattered.

    Raises:
        ValueError: ``pixels`` outside 1..224^2.
    """
    if not 1 <= pixels <= 224**2:
        raise ValueError(
            f"pixels={pixels} must lie within 1..{224**2}: it counts at 224 x 224"
        )
    count = max(1, round(pixels * batch.x[0, 0].numel() / 224**2))
    z = logits_at(e, target, batch, [count], fill)[0]  # (n, C)
    return (z.argmax(1) == batch.y).double().cpu().numpy()


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="RISE, Petsiuk et al. 2018",
    settings=({"steps": 17},),
)
def insertion_auc(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    steps: int = 17,
    fill: str = "blur",
) -> Array:
    """Insertion. How soon does the network know the image as top pixels are put back into a blurred copy?

    Area under Y_c against the share of pixels put back into the blurred image, most important first, (n,) in [0, 1].

    ``steps`` evenly spaced points, both ends included. RISE puts back a row's worth of pixels at a time, 33 points of a
    32 x 32 image; with 17, half the passes, a difference between two methods of profile offline or of CIFAR-10 moves by
    0.1 of its standard error (median; at most 0.4, 1.4 on toybirds). RISE blurs normalised pixels with zero padding;
    see ``masking.blur`` for the kernel here.

    Range: 0 to 1.
    Weakness: A blurred small image may be known from the start: on digits a random map (0.906) beats Grad-CAM (0.893).
    """
    return _area(e, target, batch, steps, fill, delete=False)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="fraction",
    version=1,
    source="RISE, Petsiuk et al. 2018",
    settings=({"steps": 17},),
)
def deletion_auc(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    steps: int = 17,
    fill: str = "black",
) -> Array:
    """Deletion. How soon does the network lose the image as top pixels are blackened?

    Area under Y_c against the share of pixels deleted, most important first, (n,) in [0, 1].

    Deleted pixels are black before normalisation; RISE's code sets normalised pixels to 0, that is the mean colour.

    Range: 0 to 1.
    Weakness: Scattered pixels destroy texture: on CIFAR-10 a random map (0.151) beats Grad-CAM (0.195).
    """
    return _area(e, target, batch, steps, fill, delete=True)


def _area(
    e: Explanation, target: Target, batch: Batch, steps: int, fill: str, delete: bool
) -> Array:
    """Trapezoid rule over the share of pixels, (n,)."""
    counts = steps_of(steps, batch)
    logits = logits_at(e, target, batch, counts, fill, delete)
    curve = probability(logits, predicted(target, batch))  # (steps, n)
    return np.trapezoid(curve, np.array(counts) / counts[-1], axis=0)


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="correlation",
    version=1,
    source="after Alvarez-Melis and Jaakkola 2018",
    settings=({"grid": 6},),
)
def patch_correlation(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    grid: int = 6,
    fill: str = "mean",
) -> Array:
    """Patch correlation. Does the map put more on those patches whose loss the network feels more?

    Spearman's correlation, over the patches of an image, between the map's mean in a patch and what the answer loses
    without that patch, (n,) in [-1, 1].

    ``grid`` x ``grid`` patches cut the image; the loss is the fall of log Y_c / (1 - Y_c) when a patch takes the
    image's mean colour. A map that is flat over the patches has 0, and so has an image whose answer no patch changes.
    Falls are compared in steps of 1e-4, below which they are rounding. The paper's faithfulness is the correlation of
    relevances with the falls of Y_c, feature by feature; here the features are patches, and only the order of log-odds
    counts.

    Range: -1 to 1.
    Weakness: A patch alone matters little where others say the same (on CIFAR-10 no method exceeds 0.11), and nothing
        smaller than a patch is seen.

    Raises:
        ValueError: fewer than two patches a side, or an unknown fill.
    """
    inside = masking.patches(grid, batch).cpu().numpy().astype(float)  # (p, hw)
    means = []
    for maps, _ in chunks(e, batch):
        flat = maps.reshape(len(maps), -1)
        means.append(flat @ inside.T / inside.sum(1))
    falls = masking.lost(target, batch, grid, fill) / NOISE
    return spearman(np.concatenate(means), falls.round())
