"""The reuse protocol of Representative Interpretations, for any method with channel weights.

Idea: how well does an explanation of one image explain others? Take the channel weights of a few reference images and
explain every new image with those of the nearest one, in place of its own.

    {use: benchmark/papers/representative/reuse.py:Reused, of: baselines/grad_cam.py:GradCAM}       # in a profile
    Reused(of=GradCAM()).fit(target, reference, rng).explain(target, batch, rng)

Theory (RI, Sec. 6.1 and 6.4): k-means on psi of the reference images; the image closest to each of the |V| = 10 x
classes centres gives its channel weights, for its own predicted class. A new image takes those of its nearest centre
in Omega and goes through "the same heat map producing steps" of the method. A plug-in joins by offering
``channel_weights(target, batch) -> (n, K)`` and by using them in its own ``explain``.

Reference: Lam, Chu, Torgonskiy, Pei, Zhang, Wang. Finding Representative Interpretations on Convolutional Neural
Networks. ICCV 2021, arXiv:2108.06384.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, Method, Target
from benchmark.papers.representative.clusters import Clusters, cluster


@dataclass
class Reused:
    """The method ``of`` with the channel weights of another image."""

    of: Method
    per_class: int = 10
    _V: Clusters | None = field(default=None, init=False, repr=False)
    _weights: Tensor | None = field(default=None, init=False, repr=False)  # (V, K)
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        self.name = f"{self.of.name} (reused)"
        if not callable(getattr(self.of, "channel_weights", None)):
            raise ValueError(
                f"{self.of.name} offers no channel_weights(target, batch), so none can be reused"
            )

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Channel weights of the reference image nearest to each centre.

        Raises:
            NotApplicable: as the method itself does.
        """
        self.of = self.of.fit(target, reference, rng)
        psi = psi_of(self.of, target, reference)
        self._V = cluster(psi, self.per_class * len(target.classes), rng)
        inputs = reference[torch.from_numpy(self._V.seeds)]
        self._weights = self.of.channel_weights(target, inputs)
        return self

    def work(self, facts):
        """See ``benchmark.shared.work``."""
        from benchmark.papers.representative import work

        return work.reused(facts, self)

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """What the method explains with the weights of the nearest centre's image."""
        psi = psi_of(self.of, target, batch)
        nearest = torch.from_numpy(self._V.nearest(psi))
        reused = with_weights(self.of, self._weights[nearest])
        return reused.explain(target, batch, rng)


def psi_of(method: Method, target: Target, batch: Batch) -> Tensor:
    """The feature maps that a method weighs, (n, K, u, v)."""
    return target.features(batch, getattr(method, "layer", None))


def with_weights(method: Method, weights: Tensor) -> Method:
    """The method with ``weights`` (n, K) for the n images it is going to explain."""
    reused = copy.copy(method)
    reused.channel_weights = lambda target, batch: weights
    return reused
