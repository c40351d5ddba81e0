"""LayerCAM: where the feature maps that the class score grows with are active, position by position.

Idea: Grad-CAM has one weight for a whole channel, which is too coarse for early layers; here every position has its
own, and counts only where more activation would raise the score.

    maps = LayerCAM(layer="conv2").fit(target, reference, rng).explain(target, batch, rng).heatmaps # (n, h, w) >= 0

Theory, with A = psi(x) of shape (K, u, v), c the class that F predicts, and g^k_ij = dy^c / dA^k_ij:

    w^k_ij = ReLU(g^k_ij)                                           Eq. 5
    M = ReLU(sum_k w^k_ij A^k_ij)                                   Eqs. 6, 7

y^c is the logit. M is upsampled bilinearly (pixel centres aligned, edges repeated) and keeps its scale. Where the paper
fuses the maps of several layers it scales those of early ones by tanh; a single layer needs none.

Reference: Jiang, Zhang, Hou, Cheng, Wei. LayerCAM: Exploring Hierarchical Class Activation Maps for Localization. IEEE
Transactions on Image Processing 30, 2021, doi:10.1109/TIP.2021.3089943.
"""

from dataclasses import dataclass
from typing import Self

import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.shared import feature_maps


@dataclass
class LayerCAM:
    """LayerCAM at ``layer`` (default: the target's own choice)."""

    layer: str | None = None
    name = "LayerCAM"
    kind = "baseline"
    offers = ("heatmaps",)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """psi, then G with a gradient, for each image."""
        return facts.images * (facts.forward(self.layer) + facts.gradient(self.layer))

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class. Raises NotApplicable for a layer without channels and positions."""
        psi = feature_maps.at(target, batch, self.layer)  # (n, K, u, v)
        maps = []
        for A in psi.split(batch.chunk):
            A = A.detach().requires_grad_()
            y = target.head(A, self.layer)  # (m, C)
            (g,) = torch.autograd.grad(y.amax(dim=1).sum(), A)
            w = g.relu()  # (m, K, u, v)                                          Eq. 5
            maps.append((w * A.detach()).sum(dim=1).relu())  #                 Eqs. 6, 7
        M = torch.cat(maps)
        return Explanation(heatmaps=feature_maps.upsampled(M, batch.x.shape[-2:]))
