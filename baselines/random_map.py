"""Random map: the control that knows nothing. A method that does not beat it explains nothing.

Idea: every pixel's importance is drawn at random, the same for every network and image.

    maps = RandomMap().fit(target, reference, rng).explain(target, batch, rng).heatmaps     # (n, h, w) in [0, 1)

Theory: U(0, 1) per pixel, independent, from ``rng`` alone, in the order of the images. In expectation it finds a part
at chance level, and masking by it hides a random set of pixels.

Reference: Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim. Sanity Checks for Saliency Maps. NeurIPS 2018,
arXiv:1810.03292 (why a control is needed).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target


@dataclass
class RandomMap:
    """Uniform noise; no settings."""

    name = "Random map"
    kind = "control"
    offers = ("heatmaps",)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """A number for each pixel."""
        return facts.work(fits=facts.images * facts.shape[1] * facts.shape[2])

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Noise for the images of ``batch``; target and pixels are ignored."""
        n, _, h, w = batch.x.shape
        noise = rng.random((n, h, w), dtype=np.float32)
        return Explanation(heatmaps=noise)
