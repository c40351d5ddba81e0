"""Score-CAM: channels weighed by the score of the image seen through them, without gradients.

Idea: upsample each channel to the image, scale it to [0, 1], mask the image with it; the network's score is its weight.

    maps = ScoreCAM().fit(target, reference, rng).explain(target, batch, rng).heatmaps      # (n, h, w), 0 and larger

Theory, with A = psi(x) of shape (K, u, v), c the class that F predicts on x, and X_b the image that shows nothing:

    H^k = s(Up(A^k)),  s(A) = (A - min A) / (max A - min A)         Eq. 7, 8
    C(A^k) = f^c(x o H^k) - f^c(X_b)                                Eq. 6
    alpha_k = C(A^k),  L = ReLU(sum_k alpha_k A^k)                  Eq. 10, 9

Algorithm 1 of the paper contradicts its Eq. 10 (alpha: softmax of the logits over channels). The authors' code follows neither:
    authors   f^c is the probability of c, no softmax; flat channels are skipped; L = ReLU(Up(sum_k alpha_k A^k)).
    library   pytorch-grad-cam: Algorithm 1; Up aligns corners; L = Up(ReLU(sum_k alpha_k A^k)). (Its 1e-8 is left out.)

Masked is the normalised image with X_b = 0 (``fill="mean"``) or the pixels ("black"). Equal channels share a forward pass.

Reference: Wang et al. Score-CAM: Score-Weighted Visual Explanations for CNNs. CVPR Workshops 2020, arXiv:1910.01279.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, NotApplicable, Target


@dataclass
class ScoreCAM:
    """Score-CAM at ``layer`` (default: the target's own); ``variant`` authors or library, ``fill`` mean or black."""

    layer: str | None = None
    variant: str = "authors"
    fill: str = "mean"
    channels: int | None = None  # only the most active are scored, the others are flat; None: all
    name = "Score-CAM"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        if self.variant not in ("authors", "library") or self.fill not in ("mean", "black"):
            raise ValueError(
                f"Score-CAM: variant is authors or library, fill is mean or black; not {self}"
            )

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        return self  # nothing to learn

    @torch.no_grad()
    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class. Raises NotApplicable for a layer without channels and positions."""
        alpha, A = self.channel_weights(target, batch), target.features(batch, self.layer)
        L = torch.einsum("nk,nkuv->nuv", alpha, A)[
            :, None
        ]  # (n, 1, u, v)                                   Eq. 9
        L = L.relu() if self.variant == "library" else L
        return Explanation(
            heatmaps=F.interpolate(L, batch.x.shape[-2:], mode="bilinear")[:, 0].relu()
        )  # (n, h, w)

    def work(self, facts):
        """psi and F of each image, and F again for each channel that is scored."""
        K, masks = (
            facts.size(self.layer)[0],
            facts.chunk * facts.units(self.layer),
        )  # masks: of a chunk
        once = facts.forward(self.layer) + (1 + min(self.channels or K, K)) * facts.logits
        return facts.images * once.beside(32 * masks)

    @torch.no_grad()
    def channel_weights(self, target: Target, batch: Batch) -> Tensor:
        """alpha, (n, K)."""
        psi = target.features(batch, self.layer)  # (n, K, u, v)
        if psi.ndim != 4:
            raise NotApplicable(
                f"{self.layer or target.layer} of {target.name} has no channels and positions"
            )
        if self.channels:
            active = psi.mean((2, 3), keepdim=True)  # (n, K, 1, 1)
            psi = psi.where(
                active >= active.topk(min(self.channels, psi.shape[1]), dim=1).values[:, -1:], 0
            )
        parts = (t.split(batch.chunk) for t in (psi, batch.x, target(batch).argmax(dim=1)))
        return torch.cat([self._weights(target, batch.chunk, *part) for part in zip(*parts)])

    def _weights(self, target: Target, chunk: int, A: Tensor, x: Tensor, c: Tensor) -> Tensor:
        n, K, u, v = A.shape
        image = torch.arange(n, device=A.device).repeat_interleave(K)[:, None]  # (n K, 1)
        masks, same = torch.cat([image, _s(A).reshape(n * K, u * v)], dim=1).unique(
            dim=0, return_inverse=True
        )
        C, X_b, corners = (
            [],
            target.mean * (self.fill == "mean"),
            self.variant == "library",
        )  # X_b: (1, c, 1, 1)
        for many in masks.split(4 * chunk):  # G takes more at once than psi: deep maps are small
            z, image = [], many[:, 0].long()
            for i, H in zip(image.split(chunk), many[:, 1:].reshape(-1, 1, u, v).split(chunk)):
                H = _s(
                    F.interpolate(H, x.shape[-2:], mode="bilinear", align_corners=corners)
                )  #                Eq. 7
                z.append(target.features(X_b + (x[i] - X_b) * H, self.layer))
            f = target.head(torch.cat(z), self.layer)  # (m, C)
            C.append(
                (f if self.variant == "library" else f.softmax(dim=1)).gather(1, c[image, None])[
                    :, 0
                ]
            )  # Eq. 6
        alpha = torch.cat(C)[same].view(n, K)
        return (
            alpha.softmax(dim=1)
            if self.variant == "library"
            else alpha * (A.amax((2, 3)) > A.amin((2, 3)))
        )


def _s(A: Tensor) -> Tensor:
    """Each map of A (..., u, v) scaled to [0, 1]; a flat map to 0. Eq. 8"""
    low, high = A.amin((-2, -1), keepdim=True), A.amax((-2, -1), keepdim=True)
    return (A - low) / (high - low).where(high > low, 1)
