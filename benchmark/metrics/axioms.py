"""Axioms: do the values of a map add up to what they claim to explain?

Idea: a map is complete, with respect to an image x_0 without content, if its values sum to f(x) - f(x_0), f the logit
of the predicted class. Integrated gradients, LRP (f(x_0) = 0), DeepLIFT and Shapley values claim this; Grad-CAM, an
edge map or a saliency map do not, and a bad score of theirs is no fault. Read the rows of methods that make the claim,
at the baseline that they make it for.

Weakness: it says nothing about where the values are. f(x) - f(x_0) spread evenly over the image is perfectly complete.
A residual after the best common factor would not be completeness: any map with a sum other than 0 is complete up to a
factor of its own. So the map's own scale counts here, unlike in the other metrics.

Over 64 test images of small networks on digits, toybirds and CIFAR-10, with black as the baseline: integrated gradients
with 32 steps 0.005 / 0.022 / 0.029, gradient x input 0.45 / 0.61 / 0.77; a random map, edges, Grad-CAM and Score-CAM
0.99 to 1.00. At another baseline than their own, integrated gradients have 0.24 to 0.69.

References: Sundararajan, Taly, Yan, Axiomatic attribution for deep networks, ICML 2017, Prop. 1; Bach et al., On
pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation, PLoS ONE 2015, Eq. 2.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics.masking import heatmaps, logits_at
from benchmark.metrics.regions import answers


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="fraction",
    version=1,
    source="Sundararajan et al. 2017, Prop. 1; relative residual, at most 1",
    settings=({"baseline": "black"}, {"baseline": "mean"}, {"baseline": "none"}),
)
def completeness(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    baseline: str = "black",
    cap: float = 1.0,
) -> Array:
    """Completeness. Do the map's values add up to the answer that they claim to explain?

    |sum of the map - (f(x) - f(x_0))| / |f(x) - f(x_0)|, (n,) in [0, 1]; ``cap`` where it is larger, since one image
    with f(x) close to f(x_0) would outweigh all others. A zero map has exactly 1, as bad as any.

    x_0 is the image filled with ``baseline`` (black, blur or mean, ``benchmark.metrics.masking``); with none, f(x_0) is
    0, which is what LRP keeps. An image with f(x) = f(x_0) has 0 where the map's sum is 0, too.

    Range: 0 to 1.
    Weakness: Only methods that claim it can pass, and the answer spread evenly over the image is perfectly complete.

    Raises:
        ValueError: an unknown baseline.
    """
    total = heatmaps(e, batch).sum((1, 2), dtype=np.float64)
    f = answers(target(batch), target, batch, "logit")
    if baseline != "none":
        bare = logits_at(e, target, batch, [0], baseline)[0]
        f = f - answers(bare, target, batch, "logit")
    missed = np.abs(total - f)
    nothing = np.where(missed > 0, np.inf, 0)
    residual = np.divide(missed, np.abs(f), out=nothing, where=f != 0)
    return np.minimum(residual, cap)
