"""Gradient x input: what each pixel adds to the class score, if the network were linear.

Idea: a pixel matters if the score depends on it and it differs from a pixel that says nothing.

    maps = GradientXInput().fit(target, reference, rng).explain(target, batch, rng).heatmaps    # (n, h, w), signed

Theory, with y^c the logit of the class that F predicts on the image x, and x' an image that says nothing:

    a = (x - x') dy^c / dx,  summed over channels                   Sec. 3.5 (x' = 0)

For a linear F the map adds up to y^c(x) - y^c(x'). ``fill`` mean: x' has the colour that the network takes for 0, so
that x - x' is the input that the network sees (libraries that are given normalised images compute this); black: x' = 0.

Reference: Shrikumar, Greenside, Shcherbina, Kundaje. Not Just a Black Box: Learning Important Features Through
Propagating Activation Differences. 2016, arXiv:1605.01713.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.shared.choices import check_choices
from benchmark.shared.pixels import blank, gradient, pooled, with_classes


@dataclass
class GradientXInput:
    """The gradient of the predicted class times the input; ``fill`` mean or black."""

    fill: Literal["mean", "black"] = "mean"
    name = "Gradient x input"
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
        maps = []
        for x, c in with_classes(target, batch):
            difference = x - blank(target, x, self.fill)
            a = difference * gradient(target, x, c)  # (m, c, h, w)
            maps.append(pooled(a, "sum"))
        return Explanation(heatmaps=torch.cat(maps))
