"""Occlusion: by how much the class score falls when a grey square hides a part of the image.

Idea: what the network needs is where covering the image hurts.

    maps = Occlusion().fit(target, reference, rng).explain(target, batch, rng).heatmaps     # (n, h, w), signed

Theory, with f^c the logit of the class that F predicts on the image x, and x_W the image with the window W filled:

    a_ij = mean over the windows W that hold (i, j) of f^c(x) - f^c(x_W)        Sec. 4.2

Windows are ``window`` of a side wide and high and move by ``stride`` of it, from the top left corner; the last ones are
cut off at the border. The paper draws the score of the occluded image at the window's centre (one value per
position); the mean over windows, as in captum, gives every pixel one. ``fill`` mean: the colour that the network takes
for 0, a grey square where images are normalised; or black. ``output`` logit or probability.

Reference: Zeiler, Fergus. Visualizing and Understanding Convolutional Networks. ECCV 2014, arXiv:1311.2901.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal, Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, Target
from benchmark.shared.choices import check_choices, check_share
from benchmark.shared.pixels import answer, blank, with_classes


@dataclass
class Occlusion:
    """Windows of ``window`` of a side, ``stride`` apart; ``fill`` mean or black, ``output`` logit or probability."""

    window: float = 0.2
    stride: float = 0.1
    fill: Literal["mean", "black"] = "mean"
    output: Literal["logit", "probability"] = "logit"
    name = "Occlusion"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)
        check_share(window=self.window, stride=self.stride)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """F of each image, twice, and of it with each window filled."""
        _, h, w = facts.shape
        windows = len(self._spans(h)) * len(self._spans(w))
        return facts.images * ((2 + windows) * facts.logits)

    @torch.no_grad()
    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class."""
        chunks = with_classes(target, batch)
        maps = [self._map(target, x, c) for x, c in chunks]
        return Explanation(heatmaps=torch.cat(maps))

    def _map(self, target: Target, x: Tensor, c: Tensor) -> Tensor:
        """a (n, h, w) of images (n, c, h, w) and their classes (n,)."""
        h, w = x.shape[-2:]
        f = answer(target, x, c, self.output)
        blank_x = blank(target, x, self.fill)
        falls = torch.zeros_like(x[:, 0])
        windows = torch.zeros_like(x[0, 0])
        places = product(self._spans(h), self._spans(w))
        for rows, columns in places:
            hidden = x.clone()
            hidden[..., rows, columns] = blank_x[..., rows, columns]
            fall = f - answer(target, hidden, c, self.output)
            falls[:, rows, columns] += fall[:, None, None]
            windows[rows, columns] += 1
        return falls / windows

    def _spans(self, side: int) -> list[slice]:
        """Where windows lie along a side of that many pixels; strides wider than windows would leave gaps."""
        window = max(1, round(self.window * side))
        stride = max(1, round(self.stride * side))
        stride = min(stride, window)
        last = math.ceil((side - window) / stride) * stride
        starts = range(0, last + 1, stride)
        return [slice(start, start + window) for start in starts]
