"""Excitation Backprop: where walkers end that step from the class score down to the units that excite it.

Idea: a unit wins the attention of the one above it with a probability in proportion to how much it excites that one.
The map is the probability of each position to be the last winner; the contrastive map subtracts that of the dual
score, with negated weights, so that what supports every class cancels.

    method = ExcitationBackprop().fit(target, reference, rng)
    maps = method.explain(target, batch, rng).heatmaps              # (n, h, w), 0 and larger

Theory, with a_j >= 0 the inputs of a layer with weights w_ij, and P_i the marginal winning probability (MWP) of output
i:

    P_j = sum_i P_i w+_ij a_j / sum_j' w+_ij' a_j'                  Eqs. 5, 10
    c-MWP = P - P of the dual unit (-w), taken at the inputs of the last weights, followed down, cut off at 0

from the logit of the class that F predicts. ``variant`` contrastive (default; what XNN calls the 1-Heatmap) or plain.
The rules for pooling, concatenation, sums and batch norm are in ``benchmark.shared.excitation_backprop``, which XNN
shares. The map is taken at the first pooling layer (``to``), summed over channels and upsampled (bicubic), as the
authors' demo does; it keeps its scale, a share of 1, before the upsampling. The plain map hardly depends on the class:
read it as a control.

Reference: Zhang, Lin, Brandt, Shen, Sclaroff. Top-down Neural Attention by Excitation Backprop. ECCV 2016,
arXiv:1608.00507.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.shared.choices import check_choices
from benchmark.shared.excitation_backprop import class_maps


@dataclass
class ExcitationBackprop:
    """MWP of the predicted class, down to the layer ``to`` (default: the first that pools; ``pixels``: the image)."""

    variant: Literal["contrastive", "plain"] = "contrastive"
    to: str | None = None
    name = "Excitation Backprop"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """F and the way back down, for each image."""
        x = facts.x(facts.chunk)
        try:
            maps = facts.each(self._maps, facts.target, x)
        except TypeError as error:
            raise NotApplicable(str(error)) from None
        return facts.images * maps

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class. Raises NotApplicable for a network with a layer that has no rule."""
        classes = target(batch).argmax(1).split(batch.chunk)
        try:
            pairs = zip(batch, classes, strict=True)
            maps = [self._maps(target, part.x, c) for part, c in pairs]
        except TypeError as error:
            raise NotApplicable(str(error)) from None
        return Explanation(heatmaps=torch.cat(maps))  # (n, h, w)

    def _maps(self, target: Target, x: Tensor, classes: Tensor | None = None) -> Tensor:
        if classes is None:
            classes = target(x).argmax(1)
        contrastive = self.variant == "contrastive"
        return class_maps(target, x, classes, to=self.to, contrastive=contrastive)
