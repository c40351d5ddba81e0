"""Edge map: the control that knows the image but not the network.

Idea: edges look like an explanation to the eye, and objects have them; a method must beat this to say anything about F.

    maps = EdgeMap().fit(target, reference, rng).explain(target, batch, rng).heatmaps       # (n, h, w), 0 and larger

Theory: the magnitude sqrt(gx^2 + gy^2) of the Sobel gradient of the grey image (the mean of the channels), with

    gx = [-1 0 1; -2 0 2; -1 0 1] * grey / 8,  gy = its transpose * grey / 8,

in units of pixel value per pixel, at the image's own resolution; the border is reflected without repeating its pixels.

Reference: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim. Sanity Checks for Saliency Maps. NeurIPS 2018,
arXiv:1810.03292 (edge detectors as a control). Operator: Sobel, Feldman. An Isotropic 3x3 Image Gradient Operator,
1968.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target


@dataclass
class EdgeMap:
    """Sobel magnitude; no settings."""

    name = "Edge map (Sobel)"
    kind = "control"
    offers = ("heatmaps",)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """Two kernels of 3 x 3 at each pixel."""
        return facts.images * facts.work(passes=18 * facts.shape[1] * facts.shape[2])

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Edges of the images of ``batch``; the target is ignored."""
        grey = batch.x.mean(dim=1, keepdim=True)  # (n, 1, h, w)
        rows = [[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]
        sobel = torch.tensor(rows, device=grey.device) / 8
        kernels = torch.stack([sobel, sobel.T])[:, None]  # (2, 1, 3, 3)
        padded = F.pad(grey, (1, 1, 1, 1), mode="reflect")
        gx_gy = F.conv2d(padded, kernels)  # (n, 2, h, w)
        magnitude = gx_gy.square().sum(dim=1).sqrt()
        return Explanation(heatmaps=magnitude)  # (n, h, w)
