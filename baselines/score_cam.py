"""Score-CAM: channels weighted by the score of the image seen through them, without gradients.

Idea: upsample each channel to the image, scale it to [0, 1], mask the image with it; the network's score is its weight.

    maps = ScoreCAM().fit(target, reference, rng).explain(target, batch, rng).heatmaps      # (n, h, w), 0 and larger

Theory, with A = psi(x) of shape (K, u, v), c the class that F predicts on x, and X_b an image that shows nothing:
    H^k = s(Up(A^k)),  s(A) = (A - min A) / (max A - min A)         Eq. 7, 8
    alpha_k = C(A^k) = f^c(x o H^k) - f^c(X_b)                      Eq. 6, 10
    L = ReLU(sum_k alpha_k A^k)                                     Eq. 9
Algorithm 1 contradicts Eq. 10 (alpha: softmax of the logits over channels); the authors' code follows neither:
    authors   f^c is the probability of c, f^c(X_b) and flat channels are left out; L = ReLU(Up(sum_k alpha_k A^k)).
    library   pytorch-grad-cam: Algorithm 1; Up aligns corners; L = Up(ReLU(sum_k alpha_k A^k)). (No 1e-8 is added.)

Reference: Wang et al. Score-CAM: Score-Weighted Visual Explanations for CNNs. CVPR Workshops 2020, arXiv:1910.01279.
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
class ScoreCAM:
    """Score-CAM at ``layer`` (default: the target's own); ``variant`` authors or library, ``fill`` mean or black."""

    layer: str | None = None
    variant: Literal["authors", "library"] = "authors"
    # "mean" masks the normalised image, X_b = 0; "black" the pixels
    fill: Literal["mean", "black"] = "mean"
    channels: int | None = (
        None  # only the most active are scored, the others count as flat
    )
    name = "Score-CAM"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        return self  # nothing to learn

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class. Raises NotApplicable for a layer without channels and positions."""
        alpha = self.channel_weights(target, batch)
        L = torch.einsum(
            "nk,nkuv->nuv", alpha, target.features(batch, self.layer)
        )  #         Eq. 9
        if self.variant == "library":
            L = L.relu()
        return Explanation(
            heatmaps=feature_maps.upsampled(L, batch.x.shape[-2:]).relu()
        )

    def work(self, facts):
        """psi and F of each image, and F again for each channel that is scored; masks of a chunk."""
        K = facts.size(self.layer)[0]
        scored = min(self.channels or K, K)
        once = facts.forward(self.layer) + (1 + scored) * facts.logits
        masks = facts.chunk * facts.units(self.layer)
        return facts.images * once.beside(32 * masks)

    @torch.no_grad()
    def channel_weights(self, target: Target, batch: Batch) -> Tensor:
        """alpha, (n, K)."""
        psi = feature_maps.at(target, batch, self.layer)  # (n, K, u, v)
        if self.channels:
            psi = feature_maps.most_active(psi, self.channels)
        classes = target(batch).argmax(dim=1)
        parts = [t.split(batch.chunk) for t in (psi, batch.x, classes)]
        weights = [self._weights(target, batch.chunk, *part) for part in zip(*parts)]
        return torch.cat(weights)

    def _weights(
        self, target: Target, chunk: int, A: Tensor, x: Tensor, c: Tensor
    ) -> Tensor:
        """alpha, (n, K), of A (n, K, u, v), images x and their classes c (n,)."""
        scaled = feature_maps.min_max_scaled(A)
        every, image, same = feature_maps.distinct(
            scaled
        )  # equal channels share a pass
        scores = []
        for H, i in zip(
            every.split(4 * chunk), image.split(4 * chunk)
        ):  # deep maps are small
            pairs = zip(i.split(chunk), H.split(chunk))
            z = [self._seen(target, x[rows], masks) for rows, masks in pairs]
            f = target.head(torch.cat(z), self.layer)  # (m, C)
            if self.variant == "authors":
                f = f.softmax(dim=1)
            scores.append(
                f.gather(1, c[i, None])[:, 0]
            )  #                                    Eq. 6
        alpha = torch.cat(scores)[same]
        if self.variant == "library":
            return alpha.softmax(dim=1)
        varies = A.amax((2, 3)) > A.amin((2, 3))
        return alpha * varies

    def _seen(self, target: Target, x: Tensor, H: Tensor) -> Tensor:
        corners = self.variant == "library"
        H = feature_maps.upsampled(H, x.shape[-2:], align_corners=corners)
        H = feature_maps.min_max_scaled(H)[
            :, None
        ]  #                                         Eq. 7
        X_b = target.mean if self.fill == "mean" else 0
        seen = X_b + (x - X_b) * H
        return target.features(seen, self.layer)
