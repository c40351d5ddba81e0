"""Integrated gradients: what each pixel adds to the class score on the way from an image that says nothing.

Idea: gradients along a straight line of images, from a blank one to the one that is explained, add up to the difference
of the scores at its ends.

    maps = IntegratedGradients().fit(target, reference, rng).explain(target, batch, rng).heatmaps   # (n, h, w), signed

Theory, with F^c the logit of the class that F predicts on the image x, and x' the blank image:

    IG = (x - x') int_0^1 dF^c(x' + alpha (x - x')) / dx dalpha     Eq. 1
       ~ (x - x') 1/m sum_k dF^c(x' + k/m (x - x')) / dx            Eq. 3, k = 1 ... m
    sum IG = F^c(x) - F^c(x')                                       Prop. 1, completeness

Channels are summed, which keeps completeness. ``rule`` right: Eq. 3, as printed; middle: at (k - 0.5)/m, whose error
falls with 1/m^2 where F is smooth, not with 1/m. ``fill`` black, as in the paper, or mean, the colour that the network
takes for 0: a pixel of the blank image's colour gets 0, whatever it means.

Reference: Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017, arXiv:1703.01365.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, Target
from benchmark.shared.choices import check_at_least, check_choices
from benchmark.shared.pixels import blank, gradient, pooled, with_classes


@dataclass
class IntegratedGradients:
    """Gradients at ``steps`` images from a ``fill`` (black or mean) one; ``rule`` right or middle."""

    steps: int = 50
    rule: Literal["right", "middle"] = "right"
    fill: Literal["black", "mean"] = "black"
    name = "Integrated gradients"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, steps=self.steps)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """F, and F with a gradient at each step, for each image."""
        return facts.images * (facts.logits + self.steps * facts.pixel_gradient())

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class."""
        chunks = with_classes(target, batch)
        maps = [self._map(target, x, c) for x, c in chunks]
        return Explanation(heatmaps=torch.cat(maps))

    def _map(self, target: Target, x: Tensor, c: Tensor) -> Tensor:
        """IG (n, h, w) of images (n, c, h, w) and their classes (n,)."""
        before = 0.5 if self.rule == "middle" else 0
        blank_x = blank(target, x, self.fill)
        total = torch.zeros_like(x)
        for k in range(1, self.steps + 1):
            alpha = (k - before) / self.steps
            total += gradient(target, blank_x + alpha * (x - blank_x), c)
        return pooled((x - blank_x) * total / self.steps, "sum")  #               Eq. 3
