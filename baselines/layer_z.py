"""Layer Z: single units of a dense layer, each shown by where walkers end that start at it.

Idea: before units are squeezed into a few concepts (XNN), look at those few units that add most to a class's score.

    maps = LayerZ(n=5).fit(target, reference, rng).explain(target, batch, rng).concept_maps     # (m, n, h, w), 0 and larger

Theory: with Z the dense layer and y^c the logit of the class that F predicts, the units with the largest mean of

    Z_u dy^c / dZ_u                                                 what unit u adds to y^c, where G is linear
over the reference images that F puts into class c (over all where there is none). The map of a unit is its c-MWP, contrasted
at the inputs of Z's weights (``benchmark.shared.excitation_backprop``); plain MWP where Z has none (an average, a flattened map). Z is
``layer``, else the first dense layer with weights, else the last without positions, else the average over positions of the
layer that the target is explained at, as XNN chooses it. XNN's own "Z" averages over 4,096 units, most of which are silent or
speak for other classes; n is XNN's number of x-features, so that overlaps of n maps are compared with each other.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021 (Table 1, Z).
Zhang, Lin, Brandt, Shen, Sclaroff. Top-down Neural Attention by Excitation Backprop. ECCV 2016, arXiv:1608.00507.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.shared.excitation_backprop import contrast, unit_maps


@dataclass
class LayerZ:
    """The ``n`` units of ``layer`` that add most to each class, followed down to ``to`` (as Excitation Backprop)."""

    n: int = 5
    layer: str | None = None
    to: str | None = None
    name = "Layer Z"
    kind = "baseline"
    offers = ("concept_maps",)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """The units of each class, (C, n). Raises NotApplicable for a network without a layer below its logits."""
        self._at = self.layer or _first_dense(target, reference.x[:1])
        Z, y = target.features(reference, self._at), target(reference)
        units = []
        for c in range(y.shape[1]):
            mine = y.argmax(1) == c
            z = Z[mine if mine.any() else slice(None)].clone().requires_grad_()
            (g,) = torch.autograd.grad(target.head(z, self._at)[:, c].sum(), z)
            added = (z * g).detach().mean(0)  # (d,) or (d, u, v)
            added = added.sum((1, 2)) if added.ndim == 3 else added
            units.append(added.topk(min(self.n, len(added))).indices)
        self._units = torch.stack(units)
        return self

    def work(self, facts):
        """Reference images: Z, F, and G with a gradient. Images: F, and the way back down from n units."""
        self._at = at = self.layer or _first_dense(facts.target, facts.x(1))
        units = torch.empty(min(self.n, facts.size(at)[0]), dtype=torch.int64, device="meta")
        maps = facts.each(self._maps, facts.target, facts.x(facts.chunk), units)
        fit = facts.forward(at) + facts.logits + facts.gradient(at)
        return facts.reference * fit + facts.images * (facts.logits + maps)

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the units of the predicted class. Raises NotApplicable for a network with a layer that has no rule."""
        found = target(batch).argmax(1)
        maps = batch.x.new_zeros(len(batch), self._units.shape[1], *batch.x.shape[2:])
        try:
            for c in found.unique():
                for rows in (found == c).nonzero()[:, 0].split(batch.chunk):
                    maps[rows] = self._maps(target, batch.x[rows], self._units[c]).movedim(0, 1)
        except TypeError as error:
            raise NotApplicable(str(error)) from None
        return Explanation(concept_maps=maps)

    def _maps(self, target: Target, x: Tensor, units: Tensor) -> Tensor:
        """(n, m, h, w)"""
        linear = [m for m in getattr(target.net, self._at).modules() if isinstance(m, nn.Linear)]
        below = target.layers[max(0, target.layers.index(self._at) - 1)]
        if linear and below != self._at:
            a = target.features(x, below)
            P = contrast(linear[-1].weight[units], a.flatten(1)).view(len(units), *a.shape)
            return unit_maps(target, x, P, below, to=self.to)
        z = target.features(x, self._at)
        pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if z.ndim == 4 else None
        P = torch.eye(z.shape[1], device=x.device)[units][:, None].expand(
            -1, len(x), -1
        )  # (n, m, d)
        return unit_maps(target, x, P, self._at, pool, self.to)


def _first_dense(target: Target, x: Tensor) -> str:
    """The layer that XNN explains: see above."""
    dense = [name for name in target.layers[:-1] if target.features(x, name).ndim == 2]
    weighted = [
        name
        for name in dense
        if any(isinstance(m, nn.Linear) for m in getattr(target.net, name).modules())
    ]
    if not dense and target.layer is None:
        raise NotApplicable(f"{target.name} has no layer below its logits with units to look at")
    return (weighted or dense[-1:] or [target.layer])[0]
