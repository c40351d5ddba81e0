"""Layer Z: single units of a dense layer, each shown by where walkers end that start at it.

Idea: before units are compressed into a few concepts (XNN), look at those few units that add most to a class's score.

    maps = LayerZ(n=5).fit(target, reference, rng).explain(target, batch, rng).concept_maps     # (m, n, h, w) >= 0

Theory: with Z the dense layer and y^c the logit of the class that F predicts, the units with the largest mean of
    Z_u dy^c / dZ_u                                                 what unit u adds to y^c, where G is linear
over the reference images that F puts into class c (over all where there is none). The map of a unit is its c-MWP,
contrasted at the inputs of Z's weights (``benchmark.shared.excitation_backprop``); plain MWP where Z has none (an
average, a flattened map). Z is ``layer``, else the first dense layer with weights, else the last without positions,
else the average over positions of the layer that the target is explained at, as XNN chooses it. XNN's own "Z" averages
over 4,096 units, most of which are silent or support other classes; n is XNN's number of x-features, so that overlaps
of n maps compare.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021 (Table 1,
Z). Zhang, Lin, Brandt, Shen, Sclaroff. Top-down Neural Attention by Excitation Backprop. ECCV 2016, arXiv:1608.00507.
"""

from dataclasses import dataclass
from typing import Self

import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.shared.excitation_backprop import first_dense, maps_of_units


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
        self._at = self.layer or first_dense(target, reference.x[:1])
        Z = target.features(reference, self._at)
        y = target(reference)
        predicted = y.argmax(1)
        units = []
        for c in range(y.shape[1]):
            mine = predicted == c
            z = (Z[mine] if mine.any() else Z).clone().requires_grad_()
            logit = target.head(z, self._at)[:, c]
            (g,) = torch.autograd.grad(logit.sum(), z)
            added = (z * g).detach().mean(0)  # (d,) or (d, u, v)
            if added.ndim == 3:
                added = added.sum((1, 2))
            units.append(added.topk(min(self.n, len(added))).indices)
        self._units = torch.stack(units)
        return self

    def work(self, facts):
        """Reference images: Z, F, and G with a gradient. Images: F, and the way back down from n units."""
        target = facts.target
        self._at = self.layer or first_dense(target, facts.x(1))
        all_units, *_ = facts.size(self._at)
        n = min(self.n, all_units)
        units = torch.empty(n, dtype=torch.int64, device="meta")
        x = facts.x(facts.chunk)
        maps = facts.each(maps_of_units, target, x, units, self._at, self.to)
        fit = facts.forward(self._at) + facts.logits
        fit += facts.gradient(self._at)
        explained = facts.logits + maps
        return facts.reference * fit + facts.images * explained

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the units of the predicted class. Raises NotApplicable for a network with a layer that has no
        rule."""
        predicted = target(batch).argmax(1)
        maps = batch.x.new_zeros(len(batch), self._units.shape[1], *batch.x.shape[2:])
        try:
            for c in predicted.unique():
                units = self._units[c]
                for rows in (predicted == c).nonzero()[:, 0].split(batch.chunk):
                    found = maps_of_units(
                        target, batch.x[rows], units, self._at, self.to
                    )
                    maps[rows] = found.movedim(0, 1)
        except TypeError as error:
            raise NotApplicable(str(error)) from None
        return Explanation(concept_maps=maps)
