"""SmoothGrad: the mean gradient of the class score over noisy copies of the image.

Idea: gradients change abruptly from image to image; their mean in a neighbourhood does not.

    maps = SmoothGrad().fit(target, reference, rng).explain(target, batch, rng).heatmaps    # (n, h, w), 0 and larger

Theory, with M_c(x) = dS_c / dx the gradient of the logit of the class c that F predicts on the image x itself:

    M^_c(x) = 1/n sum M_c(x + N(0, sigma^2))                        Sec. 3
    sigma = ``noise`` (max x - min x)                               Sec. 3.2, 10 to 20 % are recommended, n = 50

All images get the same n draws of the noise, so that an image's map does not depend on those beside it. Noisy pixels
may leave [0, 1], as in the authors' code. ``channels`` sum_abs is how the authors' code shows the mean gradient;
max_abs, as for saliency; sum keeps the sign.

Reference: Smilkov, Thorat, Kim, Viegas, Wattenberg. SmoothGrad: removing noise by adding noise. 2017, arXiv:1706.03825.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, Target
from benchmark.shared.choices import check_at_least, check_choices
from benchmark.shared.pixels import gradient, pooled, with_classes


@dataclass
class SmoothGrad:
    """Gradients at ``samples`` noisy images, ``noise`` in units of the image's range; ``channels`` as in Saliency."""

    samples: int = 50
    noise: float = 0.15
    channels: Literal["sum_abs", "max_abs", "sum"] = "sum_abs"
    name = "SmoothGrad"
    kind = "baseline"
    offers = ("heatmaps",)

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, samples=self.samples)
        check_at_least(0, noise=self.noise)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def work(self, facts):
        """F, and F with a gradient at each sample, for each image."""
        each = facts.logits + self.samples * facts.pixel_gradient()
        return facts.images * each.beside(4 * self.samples * facts.pixels)

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Maps of the predicted class."""
        shape = self.samples, *batch.x.shape[1:]
        draws = rng.standard_normal(shape, dtype=np.float32)
        draws = torch.from_numpy(draws)  # (samples, c, h, w)
        draws = draws.to(batch.x.device)
        chunks = with_classes(target, batch)
        parts = [self._mean(target, x, c, draws) for x, c in chunks]
        mean = torch.cat(parts)  # (n, c, h, w)
        return Explanation(heatmaps=pooled(mean, self.channels))

    def _mean(self, target: Target, x: Tensor, c: Tensor, draws: Tensor) -> Tensor:
        """M^_c (n, c, h, w) of images (n, c, h, w) and their classes (n,)."""
        span = x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True)
        sigma = self.noise * span
        total = torch.zeros_like(x)
        for draw in draws:
            total += gradient(target, x + sigma * draw, c)
        return total / len(draws)
