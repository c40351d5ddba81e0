"""Monotonicity: do the patches of which a map says more move the answer more, in either direction?

Idea: other pixels are put into one patch after the other, whatever the map says, and the mean square of what the answer
moves by is ranked beside the map's absolute mean in the patch. Only orders count, and no signs.

Weaknesses, with means over 64 test images of small networks on digits / toybirds / CIFAR-10: it rewards what lies on
the object, whatever the network does. Edges have 0.26 / 0.37 / 0.15, Grad-CAM 0.43 / 0.43 / 0.15, integrated gradients
0.33 / 0.34 / 0.21, a random map -0.01 / 0.00 / 0.00. It sees nothing smaller than a patch.

Reference: Nguyen, Martínez, On quantitative aspects of model interpretability, 2020.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import rankdata
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics import masking
from benchmark.metrics.regions import (
    answers,
    at_least,
    falls,
    falls_of,
    pearson,
    scaled,
    sums,
    without_rounding,
)
from benchmark.metrics.sampling import on_share
from benchmark.utils.seeds import generator

FAMILY = "faithfulness"


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="correlation",
    version=1,
    partial=True,
    source="Nguyen and Martínez 2020, monotonicity",
    settings=({"grid": 4, "draws": 4, "images": 0.25},),
)
def monotonicity_correlation(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    grid: int = 4,
    draws: int = 4,
    images: float = 0.25,
    fill: str = "noise",
    output: str = "probability",
) -> Array:
    """Monotonicity correlation. Does the map put more, of either sign, on patches whose change moves the answer more?

    Spearman's correlation of |a_i| with E (f(x) - f(x_i))^2 / f(x)^2, (n,) in [-1, 1], over the patches i of a
    ``grid`` x ``grid``: a_i is the map's mean in patch i, x_i the image with other pixels there.

    The other pixels are drawn ``draws`` times from [0, 1]; any other ``fill`` is not random and takes one draw. The
    paper's features are single pixels: ``grid`` = the image's side. f(x) divides all of an image's values alike, so
    that it changes nothing. Quantus divides by f(x) to the power of 2, too, and sums |a| over the pixels of a step.

    Range: -1 to 1.
    Weakness: Blind to signs, and to all that is smaller than a patch.

    Raises:
        ValueError: fewer than two patches a side or one draw, or an unknown fill or output.
    """
    at_least(draws, 1)
    if fill not in ("noise", *masking.FILLS):
        raise ValueError(
            f"fill {fill!r} is not one of noise, {', '.join(masking.FILLS)}"
        )

    def score(e: Explanation, batch: Batch) -> Array:
        patches = masking.patches(grid, batch).cpu().numpy()  # (p, hw)
        size = patches.sum(1)
        means = sums(e, batch, patches) / size
        a = scaled(np.abs(means)).round(9)
        if fill == "noise":
            d = _noise_falls(target, batch, patches, (grid, draws), output)
        else:
            d = falls(target, batch, patches, ("patches", grid), fill, output)
        f = answers(target(batch), target, batch, output)
        d = without_rounding(d, f).reshape(len(a), -1, len(patches))
        moved = (d**2).mean(1)  # (n, p)
        return pearson(rankdata(a, axis=1), rankdata(moved, axis=1))

    return on_share(score, e, batch, images)


def _noise_falls(
    target: Target, batch: Batch, patches: Array, name: tuple[int, int], output: str
) -> Array:
    """f(x) - f(x_i), (n, draws * p), with noise in each of the patches (p, h*w), all of them for one draw after the
    other."""
    key = ("noise falls", target, *name, output)
    if key in batch.memo:
        return batch.memo[key]
    p, draws, shape = len(patches), name[1], batch.x.shape[1:]
    rng = generator("noise", *name, *shape)
    drawn = rng.random((draws, *shape), np.float32)
    noise = torch.from_numpy(drawn).to(batch.x.device)
    inside = torch.from_numpy(patches).to(batch.x.device)
    inside = inside.view(p, 1, *shape[1:])

    def filled(image: Tensor, copy: Tensor) -> Tensor:
        return torch.where(inside[copy % p], noise[copy // p], batch.x[image])

    batch.memo[key] = falls_of(target, batch, draws * p, filled, output)
    return batch.memo[key]
