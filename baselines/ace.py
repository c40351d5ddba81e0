"""ACE: the image in segments, each as important as the concept that it is nearest to.

Idea: concepts are clusters of segments that many images of a class share, in the network's own feature space; their score
is the share of images whose class score grows in their direction (TCAV).

    method = ACE(segments=(15, 50, 80)).fit(target, reference, rng)
    maps = method.explain(target, batch, rng).heatmaps              # (n, h, w): 0 and larger, a level a segment

Theory: ``benchmark.shared.concepts``, for each class that F predicts on the reference images. A new image is cut up likewise; a
segment takes the TCAV of its nearest concept among those of the image's predicted class, and a pixel that of its best
segment. Segments of equal score are ordered by their distance to the concept (by less than .001), so that the pixels above
a level are always whole segments: "iteratively select the most important segments until more than 20 % pixels are kept"
(RI) is a threshold. An image whose class has no concept gets a map of zeros. The concept maps are the segments of the five
best concepts of the image's predicted class; a concept that no segment of the image is nearest to has a map of zeros.

Reference: Ghorbani, Wexler, Zou, Kim. Towards Automatic Concept-based Explanations. NeurIPS 2019, arXiv:1902.03129.
Reuse on new images: Lam et al., Finding Representative Interpretations, ICCV 2021, arXiv:2108.06384, Sec. 6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.shared.concepts import RESOLUTIONS, Concepts, discover, embed, gradients

SHOWN = 5  # concept maps of an image, as many as XNN has x-features


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
        found = target(reference).argmax(dim=1).cpu().numpy()
        rows = {
            int(c): rng.permutation(np.flatnonzero(found == c))[: self.images]
            for c in np.unique(found)
        }
        acts = {
            c: [embed(target, x, self.layer, self.segments)[1] for x in reference.x[rows[c]]]
            for c in rows
        }
        pool = torch.cat([a for c in rows for a in acts[c]])
        for c in rows:
            leaning = gradients(
                target, target.features(reference, self.layer)[rows[c]], c, self.layer
            )  # (n, K)
            self._concepts[c] = discover(acts[c], pool, leaning, clusters=self.clusters, rng=rng)
        return self

    def work(self, facts):
        """psi of each segment; CAVs of about half of the clusters, K x K products over 80 segments for each of 20 sets."""
        n, K = min(facts.reference, self.images * facts.classes), facts.size(self.layer)[0]
        segments, pixels = sum(self.segments), facts.shape[1] * facts.shape[2]
        psi, y, G = facts.forward(self.layer), facts.logits, facts.gradient(self.layer)
        fit = (
            facts.reference * (psi + y)
            + n * G
            + (n + facts.images) * segments * psi
            + facts.images * y
        )
        cavs = facts.work(passes=facts.classes * (1 + self.clusters / 2) * 20 * 80 * K**2)
        return (
            fit
            + cavs
            + facts.work(fits=(n + facts.images) * segments * pixels, bytes=8 * segments * pixels)
        )

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """The score of the best segment that a pixel lies in, and the segments of each concept; 0 for a class without any."""
        maps = np.zeros((len(batch), *batch.x.shape[2:]), np.float32)
        each = np.zeros((len(batch), SHOWN, *batch.x.shape[2:]), np.float32)
        for i, c in enumerate(target(batch).argmax(dim=1).tolist()):
            concepts = self._concepts.get(c)
            if concepts is not None and len(concepts.scores):
                masks, acts = embed(target, batch.x[i], self.layer, self.segments)
                distance, nearest = torch.cdist(acts, concepts.centres).min(dim=1)  # (s,)
                order = distance.argsort(stable=True).argsort()
                level = concepts.scores[nearest] + 1e-3 * (1 - order / len(order))
                maps[i] = (masks * level.cpu().numpy()[:, None, None]).max(axis=0)
                best = concepts.scores.argsort(descending=True, stable=True)[:SHOWN]
                for k, concept in enumerate(best):
                    each[i, k] = masks[(nearest == concept).cpu().numpy()].any(axis=0)
        return Explanation(heatmaps=maps, concept_maps=each)
