"""ACE: the image in segments, each as important as the concept that it is nearest to.

Idea: concepts are clusters of segments that many images of a class share, in the network's own feature space; their
score is the share of images whose class score grows in their direction (TCAV).

    method = ACE(segments=(15, 50, 80)).fit(target, reference, rng)
    maps = method.explain(target, batch, rng).heatmaps              # (n, h, w), 0 and larger: one level per segment

Theory: ``benchmark.shared.concepts``, for each class that F predicts on the reference images. A new image is segmented
likewise; a segment takes the TCAV of its nearest concept among those of the image's predicted class, and a pixel that
of its best segment. Segments of equal score are ordered by their distance to the concept (by less than 0.001), so that
the pixels above a level are always whole segments: "iteratively select the most important segments until more than 20
% pixels are kept" (RI) is a threshold. The concept maps are the segments of the five best concepts of the class. An
image whose class has no concept, and a concept that no segment is nearest to, have maps of zeros.

Reference: Ghorbani, Wexler, Zou, Kim. Towards Automatic Concept-based Explanations. NeurIPS 2019, arXiv:1902.03129.
Reuse on new images: Lam et al., Finding Representative Interpretations, ICCV 2021, arXiv:2108.06384, Sec. 6.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target
from benchmark.shared import concepts
from benchmark.shared.concepts import RESOLUTIONS, Concepts, discover, embed, gradients

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
        predicted = target(reference).argmax(dim=1).cpu().numpy()
        chosen, acts, pool = {}, {}, []
        for c in np.unique(predicted).tolist():
            rows = np.flatnonzero(predicted == c)
            chosen[c] = rng.permutation(rows)[: self.images]
        for c, rows in chosen.items():
            images = reference.x[rows]
            acts[c] = [embed(target, x, self.layer, self.segments)[1] for x in images]
            pool += acts[c]
        pool = torch.cat(pool)
        for c, rows in chosen.items():
            psi = target.features(reference, self.layer)[rows]
            g = gradients(target, psi, c, self.layer)  # (n, K)
            self._concepts[c] = discover(
                acts[c], pool, g, clusters=self.clusters, rng=rng
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
        predicted = target(batch).argmax(dim=1).tolist()
        for i, c in enumerate(predicted):
            found = self._concepts.get(c)
            if found is None or not len(found.scores):
                continue
            masks, acts = embed(target, batch.x[i], self.layer, self.segments)
            maps[i], shown = _show(found, masks, acts)
            concept_maps[i, : len(shown)] = shown
        return Explanation(heatmaps=maps, concept_maps=concept_maps)


def _show(found: Concepts, masks: Array, acts: Tensor) -> tuple[Array, Array]:
    """The map (h, w) and the maps of the best concepts (k, h, w) of an image with segments ``masks`` (s, h, w)."""
    distance, nearest = torch.cdist(acts, found.centres).min(dim=1)  # (s,)
    order = distance.argsort(stable=True).argsort()
    score = found.scores[nearest]
    level = score + 1e-3 * (1 - order / len(order))
    levels = masks * level.cpu().numpy()[:, None, None]
    best = found.scores.argsort(descending=True, stable=True)
    shown = []
    for concept in best[:SHOWN]:
        own = (nearest == concept).cpu().numpy()
        shown.append(masks[own].any(axis=0))
    return levels.max(axis=0), np.stack(shown)
