"""RISE: a pixel is as important as the images are recognised in which a random mask shows it.

Idea: look at the image through thousands of random masks; the mean of the masks, weighted by the class score behind
each, is the map. The network is a black box.

    maps = RISE(masks=500).fit(target, reference, rng).explain(target, batch, rng).heatmaps     # (n, h, w) >= 0

Theory, with f the softmax probability of the class that F predicts on the image I, and lambda a pixel:

    M_i = a grid of ``grid`` x ``grid`` cells, each 1 with probability p, bilinearly upsampled to one cell more than the
          image and cropped to it at a place drawn by chance         Sec. 3.2
    S(lambda) = 1 / (E[M] N) sum_i f(I o M_i) M_i(lambda)            Eq. 6, E[M] = p

All images are seen through the same N masks, as in the authors' code (N = 4,000 for VGG-16 and 8,000 for ResNet-50).
Pixels are masked after normalisation, so that hidden ones have the mean colour (``fill``; or black).

Reference: Petsiuk, Das, Saenko. RISE: Randomized Input Sampling for Explanation of Black-box Models. BMVC 2018,
arXiv:1806.07421.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, Target
from benchmark.shared.choices import check_at_least, check_choices, check_share
from benchmark.shared.feature_maps import upsampled
from benchmark.shared.pixels import answer, blank, with_classes


@dataclass
class RISE:
    """``masks`` of ``grid`` x ``grid`` cells, each open with probability ``p``; ``fill`` mean or black."""

    masks: int = 500
    grid: int = 7
    p: float = 0.5
    fill: Literal["mean", "black"] = "mean"
    name = "RISE"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, masks=self.masks, grid=self.grid)
        check_share(p=self.p)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """F of each image and of it behind each mask."""
        return facts.images * ((1 + self.masks) * facts.logits)

    @torch.no_grad()
    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class."""
        total = torch.zeros_like(batch.x[:, 0])
        for M in self._masks(batch.x, rng):
            chunks = with_classes(target, batch)
            parts = [self._seen(target, x, c, M) for x, c in chunks]
            f = torch.cat(parts)
            total += f[:, None, None] * M
        return Explanation(heatmaps=total / (self.p * self.masks))  #             Eq. 6

    def _masks(self, x: Tensor, rng: Generator) -> Iterator[Tensor]:
        """M (h, w) in [0, 1], one after the other, for images x."""
        *_, h, w = x.shape
        # a cell, in pixels
        cell = math.ceil(h / self.grid), math.ceil(w / self.grid)
        large = [(self.grid + 1) * side for side in cell]
        shape = self.masks, self.grid, self.grid
        draws = rng.random(shape)
        corners = rng.integers(cell, size=(self.masks, 2))
        cells = torch.from_numpy(draws < self.p)
        cells = cells.to(x)
        for each, corner in zip(cells, corners, strict=True):
            (M,) = upsampled(each[None], large)
            top, left = corner
            below = M[top:, left:]
            yield below[:h, :w]

    def _seen(self, target: Target, x: Tensor, c: Tensor, M: Tensor) -> Tensor:
        """f(I o M), (n,)."""
        blank_x = blank(target, x, self.fill)
        return answer(target, blank_x + M * (x - blank_x), c, "probability")
