"""Saliency: how much the class score would change with each pixel.

Idea: the network is linear in a small neighbourhood of the image; its weights there are the gradient of the class
score.

    maps = Saliency().fit(target, reference, rng).explain(target, batch, rng).heatmaps      # (n, h, w), 0 and larger

Theory, with S_c the logit of the class c that F predicts on the image I_0:

    w = dS_c / dI at I_0                                            Eq. 4
    M_ij = max over channels of |w|                                 Sec. 3.1

``channels`` max_abs (the paper's); sum_abs adds the absolute values, sum the signed ones, whose sign says whether a
brighter pixel raises the score. In units of logits per pixel value.

Reference: Simonyan, Vedaldi, Zisserman. Deep Inside Convolutional Networks: Visualising Image Classification Models and
Saliency Maps. ICLR workshops 2014, arXiv:1312.6034.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.shared.choices import check_choices
from benchmark.shared.pixels import gradient, pooled, with_classes


@dataclass
class Saliency:
    """The gradient of the predicted class at the pixels; ``channels`` max_abs, sum_abs or sum."""

    channels: Literal["max_abs", "sum_abs", "sum"] = "max_abs"
    name = "Saliency"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """F, and F with a gradient, for each image."""
        return facts.images * (facts.logits + facts.pixel_gradient())

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class."""
        chunks = with_classes(target, batch)
        w = [gradient(target, x, c) for x, c in chunks]  # (m, c, h, w)           Eq. 4
        return Explanation(heatmaps=pooled(torch.cat(w), self.channels))
