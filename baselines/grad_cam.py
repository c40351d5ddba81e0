"""Grad-CAM: where the channels that the class score depends on are active.

Idea: weigh each channel of a convolutional layer by the mean gradient of the class score and add the channels up.

    method = GradCAM(layer="conv4a").fit(target, reference, rng)
    maps = method.explain(target, batch, rng).heatmaps              # (n, h, w), 0 and larger

Theory, with F = G o psi split at the layer, A = psi(x) of shape (K, u, v), Z = u v, and c the class that F predicts:

    alpha_k = 1/Z sum_ij dy^c / dA^k_ij                             Eq. 1
    L = ReLU(sum_k alpha_k A^k)                                     Eq. 2

y^c is the logit, before the softmax. Only G is run and differentiated: psi(x) is shared by all methods on a batch. L is
upsampled bilinearly (pixel centres aligned, edges repeated) and keeps the scale of the logits: no min-max scaling.
pytorch-grad-cam computes the same up to that scaling, so there is no variant.

Reference: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra. Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization. ICCV 2017, arXiv:1610.02391.
"""

from dataclasses import dataclass
from typing import Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, Target
from benchmark.shared import feature_maps


@dataclass
class GradCAM:
    """Grad-CAM at ``layer`` (default: the target's own choice)."""

    layer: str | None = None
    name = "Grad-CAM"
    kind = "baseline"
    offers = ("heatmaps",)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class. Raises NotApplicable for a layer without channels and positions."""
        alpha = self.channel_weights(target, batch)
        A = target.features(batch, self.layer)
        L = torch.einsum(
            "nk,nkuv->nuv", alpha, A
        ).relu()  # (n, u, v)                       Eq. 2
        return Explanation(
            heatmaps=feature_maps.upsampled(L, batch.x.shape[-2:])
        )  # (n, h, w)

    def work(self, facts):
        """psi, then G with a gradient, for each image."""
        return facts.images * (facts.forward(self.layer) + facts.gradient(self.layer))

    def channel_weights(self, target: Target, batch: Batch) -> Tensor:
        """alpha, (n, K), logits per unit of activation."""
        psi = feature_maps.at(target, batch, self.layer)  # (n, K, u, v)
        weights = []
        for A in psi.split(batch.chunk):
            A = A.detach().requires_grad_()
            y = target.head(A, self.layer)  # (m, C)
            (gradient,) = torch.autograd.grad(y.amax(dim=1).sum(), A)
            weights.append(
                gradient.mean(dim=(2, 3))
            )  # (m, K)                              Eq. 1
        return torch.cat(weights)
