"""Grad-CAM++: Grad-CAM with a weight for each position, so that several or large objects of a class count in full.

Idea: a channel's weight is a weighted sum of its positive gradients; the weights come from higher derivatives.

    method = GradCAMPlusPlus(variant="authors").fit(target, reference, rng)
    maps = method.explain(target, batch, rng).heatmaps              # (n, h, w), 0 and larger

Theory, with F = G o psi split at the layer, A = psi(x) of shape (K, u, v), c the class that F predicts and
Y = exp(y^c), so that for a piecewise linear G the derivatives of Y are powers of g = dy^c / dA times Y, which cancels:

    alpha^k_ij = g^2 / (2 g^2 + sum_ab A^k_ab g^3)                  Eq. 19
    w_k = sum_ij alpha^k_ij ReLU(dY / dA^k_ij)
    L = ReLU(sum_k w_k A^k)

Y scales a whole map; it is left out here. The paper and the implementations differ:

    authors   a zero denominator becomes 1; alpha is divided by its sum over the positions where g > 0 (a zero sum
              becomes 1). Eq. 19 does not have this normalisation: where g is constant over positions (a head that
              averages) it turns w into ReLU(g), while Eq. 19 alone gives Z g / (2 + g sum A).
    library   pytorch-grad-cam: Eq. 19 as printed, with 1e-6 added to the denominator. Where g is below about 1e-3
              the 1e-6 outweighs 2 g^2, so that w falls with g^3: its maps depend on the unit of the logits.

L is upsampled bilinearly (pixel centres aligned, edges repeated), without min-max scaling.

Reference: Chattopadhay, Sarkar, Howlader, Balasubramanian. Grad-CAM++: Generalized Gradient-based Visual Explanations
for Deep Convolutional Networks. WACV 2018, arXiv:1710.11063 (whose equation number this is).
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, Target
from benchmark.shared import feature_maps
from benchmark.shared.choices import check_choices


@dataclass
class GradCAMPlusPlus:
    """Grad-CAM++ at ``layer`` (default: the target's own choice); ``variant`` is authors or library."""

    layer: str | None = None
    variant: Literal["authors", "library"] = "authors"
    name = "Grad-CAM++"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class. Raises NotApplicable for a layer without channels and positions."""
        w = self.channel_weights(target, batch)
        A = target.features(batch, self.layer)
        L = torch.einsum("nk,nkuv->nuv", w, A).relu()  # (n, u, v)
        return Explanation(
            heatmaps=feature_maps.upsampled(L, batch.x.shape[-2:])
        )  # (n, h, w)

    def work(self, facts):
        """psi, then G with a gradient, for each image."""
        return facts.images * (facts.forward(self.layer) + facts.gradient(self.layer))

    def channel_weights(self, target: Target, batch: Batch) -> Tensor:
        """w, (n, K), 0 and larger wherever A is."""
        psi = feature_maps.at(target, batch, self.layer)  # (n, K, u, v)
        weights = [self._weights(target, A) for A in psi.split(batch.chunk)]
        return torch.cat(weights)

    def _weights(self, target: Target, A: Tensor) -> Tensor:
        """w, (m, K), of A (m, K, u, v)."""
        A = A.detach().requires_grad_()
        y = target.head(A, self.layer)  # (m, C)
        (g,) = torch.autograd.grad(y.amax(dim=1).sum(), A)
        total = A.detach().sum(dim=(2, 3), keepdim=True)
        positive = g.relu()
        below = 2 * g**2 + total * g**3
        if self.variant == "library":
            alpha = g**2 / (below + 1e-6)
            return (alpha * positive).sum(dim=(2, 3))
        alpha = g**2 / below.where(
            below != 0, 1
        )  #                                         Eq. 19
        norm = alpha.where(g > 0, 0).sum(dim=(2, 3))
        norm = norm.where(norm != 0, 1)
        return (alpha * positive).sum(dim=(2, 3)) / norm
