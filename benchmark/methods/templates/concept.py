"""My method: which concepts are inside the network, and where in an image they are. (First line: the idea.)

Starts as k-means over the activations of a layer: a concept is a direction, its map the positive part of the cosine
with it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmark.api import Explanation, NotApplicable, torch_rng


@dataclass
class MyMethod:
    concepts: int = (
        5  # the fields of the class are its settings: mine.py:MyMethod?concepts=8
    )
    name = "My concepts"

    def fit(self, target, reference, rng):
        """Find the concepts among the activations of training images; all randomness comes from rng."""
        z = target.features(
            reference
        )  # (n, K, u, v), of the layer that the target suggests
        if z.ndim != 4:
            raise NotApplicable(
                f"{target.layer} of {target.name} has no channels and positions"
            )
        points = F.normalize(z.permute(0, 2, 3, 1).flatten(0, 2), dim=1)  # (n u v, K)
        order = torch.randperm(len(points), generator=torch_rng(rng))
        drawn = order[: self.concepts].to(points.device)
        self.directions = points[drawn]  # (k, K)
        for _ in range(10):
            nearest = (points @ self.directions.T).argmax(dim=1)
            for k in nearest.unique():
                mean = points[nearest == k].mean(dim=0)
                self.directions[k] = F.normalize(mean, dim=0)
        return self

    def explain(self, target, batch, rng):
        """One map per concept, and their maximum as a heat map."""
        z = F.normalize(target.features(batch), dim=1)  # (n, K, u, v)
        cosines = torch.einsum("nKuv,kK->nkuv", z, self.directions)
        size = batch.x.shape[-2:]
        maps = F.interpolate(cosines.relu(), size, mode="bilinear", align_corners=False)
        return Explanation(
            concept_maps=maps, heatmaps=maps.amax(dim=1)
        )  # (n, k, h, w), (n, h, w)
