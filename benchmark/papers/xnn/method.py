"""XNN as a method: an SRAE for each class on a dense layer; its x-features are the concept maps.

    method = XNN(hidden=(64, 32)).fit(target, reference, rng)         # reference: training images of every class
    e = method.explain(target, batch, rng)
    e.concept_maps                                                    # (m, n, h, w) of the predicted class's x-features
    e.heatmaps                                                        # their sum, weighted by the contributions above 0
    e.scores, e.labels                                                # y~ of all classes, and the largest

Maps are c-MWP, normalised per x-feature and image. ``size``: the mean over classes of live x-features and of trainings,
and the share of the maps whose x-feature is silent on the image (``silent``, see ``maps``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.papers.xnn import maps, srae
from benchmark.shared.choices import check_choices


@dataclass
class XNN:
    """SRAE at ``layer`` (default: the first dense layer, see ``maps.find``) with the settings of ``network.Setting``.

    ``variant`` is SRAE, NN, SAE or CAE; maps are taken at the layer ``to`` (default: the first that pools).
    """

    variant: Literal["SRAE", "NN", "SAE", "CAE"] = "SRAE"
    n: int = 5
    hidden: Sequence[int] = (128, 32)
    beta: float = 1.0
    q: float = 10.0
    eta: float = 5.0
    restarts: int = 2
    epochs: int = 60
    batch: int = 64
    layer: str | None = None
    to: str | None = None
    silent: Literal["map", "zero"] = "map"
    name = "XNN"
    paper = "xnn"
    offers = ("concept_maps", "heatmaps", "scores", "labels", "size")

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Train one network per class.

        Raises:
            ValueError: a class without reference images, or a layer that is not dense.
            NotApplicable: there is no layer below the logits.
        """
        keys = ("n", "hidden", "beta", "q", "eta", "restarts", "epochs", "batch")
        setting = srae.settings_for(
            self.variant, {key: getattr(self, key) for key in keys}
        )
        self._layer = maps.find(target, reference.x, self.layer)
        Z, y = self._layer(target, reference), target(reference)
        data = srae.examples(Z, y, reference.y, None, rng, target.classes)
        self._xnn = srae.fit(data, setting, rng)
        self._live = [self._xnn.live(Z, c) for c in range(y.shape[1])]
        return self

    def work(self, facts):
        """See ``benchmark.shared.work``."""
        from benchmark.papers.xnn import work

        return work.method(facts, self)

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Concept maps of the predicted class, (m, n, h, w), the surrogate's logits and class."""
        Z, c = self._layer(target, batch), target(batch).argmax(1)
        scores = self._xnn.predict(Z)[..., 0]  # (m, C)
        S = Z.new_zeros(len(batch), self.n, *batch.x.shape[2:])
        weight = Z.new_zeros(len(batch), self.n)  # max(v_i E_i, 0)
        is_silent = torch.zeros_like(weight, dtype=torch.bool)
        for k in c.unique().tolist():
            for rows in (c == k).nonzero()[:, 0].split(batch.chunk):
                walkers = maps.walkers(self._xnn, Z[rows], k, self._layer, self.silent)
                found = maps.down(target, batch.x[rows], walkers, self._layer, self.to)
                S[rows] = maps.normalised(found).movedim(0, 1)
                weight[rows] = self._xnn.contributions(Z[rows], k).clamp(min=0)
                is_silent[rows] = self._xnn.silent(Z[rows], k)
        heat = torch.einsum("mn,mnhw->mhw", weight, S)
        size = {
            "x-features": float(self.n),
            "live x-features": float(np.mean(self._live)),
            "trainings": float(self._xnn.trained.double().mean()),
            "silent share": float(is_silent.double().mean()),
        }
        return Explanation(
            concept_maps=S,
            heatmaps=heat,
            scores=scores,
            labels=scores.argmax(1),
            size=size,
        )
