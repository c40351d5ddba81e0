"""ACE: the image in segments, each as important as the concept that it is nearest to.

Idea: concepts are clusters of segments that many images of a class share, in the network's own feature space; their
score is the share of images whose class score grows in their direction (TCAV).

    method = ACE(segments=(15, 50, 80)).fit(target, reference, rng)
    maps = method.explain(target, batch, rng).heatmaps              # (n, h, w), 0 and larger: one level per segment

Theory: ``benchmark.shared.concepts``, for each class that F predicts on the reference images; random sets are segments
of all of them. A new image is cut likewise, and its outlying segments are removed. The others take the TCAV of their
nearest concept among those of the image's predicted class, and a pixel that of its best segment: "iteratively select
the most important segments until more than 20 % pixels are kept" (RI) is a threshold. The concept maps are the segments
of the five best concepts of the class. There is no explanation of an image whose class has no concept, or of which no
segment is left.

Reference: Ghorbani, Wexler, Zou, Kim. Towards Automatic Concept-based Explanations. NeurIPS 2019, arXiv:1902.03129.
Reuse on new images: Lam et al., Finding Representative Interpretations, ICCV 2021, arXiv:2108.06384, Sec. 6.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.shared import concepts
from benchmark.shared.concepts import (
    RESOLUTIONS,
    Concepts,
    discover,
    embed,
    gradients,
    show,
)

SHOWN = 5  # concept maps per image, as many as XNN has x-features


@dataclass
class ACE:
    """ACE at ``layer`` (default: the target's own): ``segments`` at each resolution, ``images`` of each class,
    ``clusters`` of their segments."""

    layer: str | None = None
    segments: tuple[int, ...] = RESOLUTIONS
    images: int = 50
    clusters: int = 25
    _concepts: dict[int, Concepts] = field(default_factory=dict, init=False, repr=False)
    name = "ACE"
    kind = "baseline"
    offers = ("heatmaps", "concept_maps")

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Concepts of each predicted class. Raises NotApplicable for a layer without channels and positions."""
        segments = embed(target, reference, self.layer, self.segments)
        acts = [one.acts for one in segments]
        pool = torch.cat(acts)
        psi = target.features(reference, self.layer)
        predicted = target(reference).argmax(dim=1).cpu().numpy()
        for c in np.unique(predicted).tolist():
            rows = rng.permutation(np.flatnonzero(predicted == c))[: self.images]
            g = gradients(target, psi[rows], c, self.layer)  # (n, K)
            self._concepts[c] = discover(
                [acts[i] for i in rows], pool, g, clusters=self.clusters, rng=rng
            )
        return self

    def work(self, facts):
        """psi of each segment, and linear classifiers of clusters against random segments."""
        return concepts.work(
            facts, self.layer, self.images, self.segments, self.clusters
        )

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """The score of the best segment that a pixel lies in, and the segments of each concept."""
        n, _, h, w = batch.x.shape
        maps = np.zeros((n, h, w), np.float32)
        concept_maps = np.zeros((n, SHOWN, h, w), np.float32)
        applies = np.zeros(n, bool)
        predicted = target(batch).argmax(dim=1).tolist()
        segments = embed(target, batch, self.layer, self.segments)
        for i, c in enumerate(predicted):
            shown = (
                show(self._concepts[c], segments[i]) if c in self._concepts else None
            )
            if shown is None:
                continue
            applies[i] = True
            maps[i] = shown.heatmap
            best = shown.concept_maps[:SHOWN]
            concept_maps[i, : len(best)] = best
        return Explanation(heatmaps=maps, concept_maps=concept_maps, applies=applies)
