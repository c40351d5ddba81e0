"""LIME: a linear model of the network's answers to the image with some of its segments hidden.

Idea: close to the image, where few segments are hidden, the answer is nearly a sum over the segments that are there;
a segment is as important as its weight in that sum.

    maps = LIME(segments=50).fit(target, reference, rng).explain(target, batch, rng).heatmaps   # (n, h, w), signed

Theory, with f the softmax probability of the class that F predicts on the image x, z' in {0, 1}^d drawn by coins and z
the image with the segments where z' = 0 hidden:

    xi(x) = argmin_g L(f, g, pi_x) + Omega(g)                       Eq. 1
    L = sum_z pi_x(z) (f(z) - g(z'))^2,  g(z') = w . z' + b         Eq. 2
    pi_x(z) = exp(-D^2 / sigma^2)^(1/2),  D = 1 - cos(1, z')        the authors' code, sigma = ``width`` = 0.25
    Omega = ``ridge`` |w|^2                                         the authors' code, 1

The first sample is the image itself. Segments are SLIC's (the authors' default is quickshift); they are hidden by their
own mean colour (``fill`` segment, the authors'), the mean colour or black.

Reference: Ribeiro, Singh, Guestrin. "Why Should I Trust You?": Explaining the Predictions of Any Classifier. KDD 2016,
arXiv:1602.04938.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target
from benchmark.shared.choices import check_at_least, check_choices
from benchmark.shared.segments import answers, filled, one_by_one, spread, superpixels


@dataclass
class LIME:
    """``samples`` of an image in about ``segments`` SLIC segments; ``fill`` segment, mean or black."""

    segments: int = 50
    samples: int = 500
    width: float = 0.25
    ridge: float = 1.0
    fill: Literal["segment", "mean", "black"] = "segment"
    output: Literal["probability", "logit"] = "probability"
    name = "LIME"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(2, samples=self.samples)
        check_at_least(1, segments=self.segments)
        check_at_least(0, ridge=self.ridge)
        check_at_least(0.01, width=self.width)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """F of each image and of its samples, and a linear fit."""
        each = (1 + self.samples) * facts.logits
        each += facts.work(fits=self.samples * self.segments**2)
        return facts.images * each

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class; each image's samples are drawn from the same seed."""
        maps = [self._map(target, *one) for one in one_by_one(target, batch, rng)]
        return Explanation(heatmaps=np.stack(maps))

    def _map(self, target: Target, x: Tensor, c: Tensor, rng: Generator) -> Array:
        """(h, w) of an image (c, h, w) and its class."""
        segments = superpixels(x, self.segments)
        hidden = filled(target, x, segments, self.fill)
        z = rng.random((self.samples, int(segments.max()) + 1)) < 0.5  # (N, d)
        z[0] = True
        f = answers(target, x, hidden, segments, z, c, self.output)
        return spread(self.weights(z, f), segments)

    def weights(self, z: Array, f: Array) -> Array:
        """w (d,) of samples z' (N, d) bool and the answers to them (N,)."""
        D = 1 - np.sqrt(z.mean(axis=1))  # cos(1, z') = |z'| / sqrt(|z'| d)
        pi = np.exp(-(D**2) / (2 * self.width**2))
        # b is not penalised: it is the mean of what w leaves
        z = z - np.average(z, axis=0, weights=pi)
        f = f - np.average(f, weights=pi)
        weighted = z.T * pi  # (d, N)
        penalty = self.ridge * np.eye(len(weighted))
        gram = weighted @ z + penalty
        w, *_ = np.linalg.lstsq(gram, weighted @ f)
        return w
