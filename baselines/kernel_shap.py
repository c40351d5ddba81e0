"""KernelSHAP: the Shapley value of each segment, by a weighted linear regression.

Idea: what a segment adds to the answer depends on which others are there; the Shapley value is its mean over all
orders in which segments can appear, and the only fair share that adds up to the whole answer.

    maps = KernelSHAP(segments=50).fit(target, reference, rng).explain(target, batch, rng).heatmaps # (n, h, w), signed

Theory, with f the answer (``output`` logit or probability) for the class that F predicts on the image x, z' in {0, 1}^M
the M segments that are there and h_x(z') that image:

    phi = argmin sum_z' pi(z') (f(h_x(z')) - g(z'))^2,  g(z') = phi_0 + sum_i phi_i z'_i        Eqs. 2, 3
    pi(z') = (M - 1) / (C(M, |z'|) |z'| (M - |z'|))                 Theorem 2
    phi_0 = f(h_x(0)),  sum_i phi_i = f(x) - f(h_x(0))              where pi is infinite

All 2^M - 2 other z' are taken where these are no more than ``samples``, and phi is exact. Otherwise z' are drawn with
probability pi, each with its complement 1 - z' (Covert and Lee), and weigh the same. Segments are SLIC's, hidden by the
mean colour, black or each by its own mean colour (``fill``). A pixel has the value of its segment.

Reference: Lundberg, Lee. A Unified Approach to Interpreting Model Predictions. NeurIPS 2017, arXiv:1705.07874. Pairs:
Covert, Lee. Improving KernelSHAP. AISTATS 2021, arXiv:2012.01536.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal, Self

import numpy as np
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target
from benchmark.shared.choices import check_at_least, check_choices
from benchmark.shared.segments import answers, filled, one_by_one, spread, superpixels


@dataclass
class KernelSHAP:
    """``samples`` of an image in about ``segments`` SLIC segments; ``fill`` mean, black or segment."""

    segments: int = 50
    samples: int = 500
    fill: Literal["mean", "black", "segment"] = "mean"
    output: Literal["logit", "probability"] = "logit"
    name = "KernelSHAP"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(2, samples=self.samples)
        check_at_least(1, segments=self.segments)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        return self  # nothing to learn

    def work(self, facts):
        """F of each image, of its samples, of all and of none of its segments, and a linear fit."""
        each = (3 + self.samples) * facts.logits
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
        M = int(segments.max()) + 1
        z, pi = self.coalitions(M, rng)
        ends = np.repeat([[False], [True]], M, axis=1)
        every = np.concatenate([ends, z])
        f = answers(target, x, hidden, segments, every, c, self.output)
        return spread(self.values(z, pi, f), segments)

    def coalitions(self, M: int, rng: Generator) -> tuple[Array, Array]:
        """z' (N, M) bool, neither empty nor full, and their weights (N,)."""
        size = np.arange(1, M)
        mass = (M - 1) / (size * (M - size))  # of all z' of a size: C(M, size) pi
        if self.samples >= 2**M - 2:
            every = product([False, True], repeat=M)
            z = np.array(list(every)[1:-1], bool)
            z = z.reshape(-1, M)
            count = z.sum(axis=1)
            each = [math.comb(M, k) for k in size]
            pi = mass / each
            return z, pi[count - 1]
        share = mass / mass.sum()
        sizes = rng.choice(size, size=self.samples // 2, p=share)
        order = rng.random((len(sizes), M)).argsort(axis=1)
        place = order.argsort(axis=1)  # of each segment in a random order
        z = place < sizes[:, None]
        z = np.concatenate([z, ~z])
        return z, np.ones(len(z))

    def values(self, z: Array, pi: Array, f: Array) -> Array:
        """phi (M,) of z' (N, M), their weights (N,), and the answers (2 + N,) to none, all, and each of them."""
        whole = f[1] - f[0]
        z = z.astype(float)
        # phi_M = whole - sum of the others
        last = z[:, -1:]
        rest = z[:, :-1] - last
        y = f[2:, None] - f[0] - last * whole
        root = np.sqrt(pi)[:, None]
        phi, *_ = np.linalg.lstsq(root * rest, root * y)
        return np.append(phi, whole - phi.sum())
