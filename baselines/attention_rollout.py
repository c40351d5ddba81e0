"""Attention Rollout: how much of each patch reaches the class token, if attention alone moved information.

Idea: in each layer a token becomes a mixture of tokens, by its attention weights and, through the way around the
attention, of itself. Multiplied over the layers these mixtures say which patches a token is made of.

    method = AttentionRollout().fit(target, reference, rng)
    maps = method.explain(target, batch, rng).heatmaps              # (n, h, w), 0 and larger

Theory, with W_l the weights (t, t) of layer l, of t tokens, averaged over heads (the paper's Sec. 3):

    A_l = 0.5 W_l + 0.5 I
    R = A_L ... A_1,    R_ij the share of token j of the first layer in token i of the last

The map is the row of the class token, over the patches; where there is none, and the network averages over its tokens,
the mean of the rows. It does not depend on the class: read it as a control of methods that do. Values are shares, and
sum to at most 1 over patches. ``heads`` min or max in place of the mean are variants of later implementations.

Reference: Abnar, Zuidema. Quantifying Attention Flow in Transformers. ACL 2020, arXiv:2005.00928.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.shared import feature_maps
from benchmark.shared.attention_weights import Attention
from benchmark.shared.choices import check_choices


@dataclass
class AttentionRollout:
    """R of the class token, or of all where there is none."""

    heads: Literal["mean", "min", "max"] = "mean"
    name = "Attention Rollout"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of what the network attends to. Raises NotApplicable for one without attention among all patches."""
        maps = [self._map(target, part.x) for part in batch]
        return Explanation(heatmaps=torch.cat(maps))  # (n, h, w)

    def work(self, facts):
        """F, and a product of t x t matrices for each layer, which is small beside it."""
        return facts.images * facts.logits

    def _map(self, target: Target, x: Tensor) -> Tensor:
        with torch.no_grad(), Attention() as attention:
            target(x)
        if not attention.weights:
            raise NotApplicable(f"{target.name} has no attention among its tokens")
        t = attention.weights[0].shape[-1]
        fold = self._fold(target, t)
        shapes = {W.shape[-2:] for W in attention.weights}
        rows = {len(W) for W in attention.weights if W.ndim == 4}
        in_windows = not rows <= {len(x)}
        if fold is None or shapes != {(t, t)} or in_windows:
            raise NotApplicable(
                f"not every attention of {target.name} is one of all patches to all"
            )
        R = self._rollout(attention.weights, len(x), t)
        row = R[:, 0] if fold.leading else R.mean(1)  # (n, t)
        patches = row[:, fold.leading :].view(-1, fold.h, fold.w)
        return feature_maps.upsampled(patches, x.shape[-2:])

    def _rollout(self, weights: list[Tensor], n: int, t: int) -> Tensor:
        """R, (n, t, t)."""
        R = own = torch.eye(t, device=weights[0].device)
        for W in weights:
            W = W.reshape(n, -1, t, t)  # (n, heads, t, t)
            W = W.mean(1) if self.heads == "mean" else getattr(W, f"a{self.heads}")(1)
            A = 0.5 * W + 0.5 * own
            R = A / A.sum(-1, keepdim=True) @ R
        return R

    def _fold(self, target: Target, t: int):
        """How t tokens become a map; None where no layer of the network gives them."""
        for layer in (target.layer, *reversed(target.layers[:-1])):
            try:
                fold = target.fold(layer) if layer else None
            except ValueError:  # part of the network goes past it
                continue
            if fold is not None and fold.leading + fold.h * fold.w == t:
                return fold
        return None
