"""My method: which concepts are inside the network, and where in an image they are. (First line: the idea.)

Starts as k-means over the activations of a layer: a concept is a direction, its map the cosine with it, where positive.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from benchmark.api import Explanation, NotApplicable, torch_rng


@dataclass
class MyMethod:
    concepts: int = 5  # the fields of the class are its settings: mine.py:MyMethod?concepts=8
    name = "My concepts"

    def fit(self, target, reference, rng):
        """Find the concepts among the activations of training images; all randomness comes from rng."""
        z = target.features(reference)  # (n, K, u, v), of the layer that the target suggests
        if z.ndim != 4:
            raise NotApplicable(f"{target.layer} of {target.name} has no channels and positions")
        points = F.normalize(z.permute(0, 2, 3, 1).flatten(0, 2), dim=1)  # (n u v, K)
        drawn = torch.randperm(len(points), generator=torch_rng(rng))[: self.concepts].to(
            points.device
        )
        self.directions = points[drawn]  # (k, K)
        for _ in range(10):
            nearest = (points @ self.directions.T).argmax(dim=1)
            for k in nearest.unique():
                self.directions[k] = F.normalize(points[nearest == k].mean(dim=0), dim=0)
        return self

    def explain(self, target, batch, rng):
        """A map for each concept, and all of them as one heat map."""
        z = F.normalize(target.features(batch), dim=1)  # (n, K, u, v)
        maps = torch.einsum("nKuv,kK->nkuv", z, self.directions).relu()
        maps = F.interpolate(maps, batch.x.shape[-2:], mode="bilinear", align_corners=False)
        return Explanation(concept_maps=maps, heatmaps=maps.amax(dim=1))  # (n, k, h, w), (n, h, w)
