"""Complexity: how few pixels carry a map?

Idea: a short explanation is easier to read. The Gini index of the absolute map is 0 where all pixels weigh the same and
1 - 1/(h w) where one pixel has all the weight.

Weakness: it looks at the map alone, at neither network nor image, so it says nothing about truth. A map of one random
pixel is nearly perfect; uniform noise scores 1/3, edge maps 0.5 to 0.7 and Grad-CAM 0.5 to 0.6 on small images. Read it
beside faithfulness.

Reference: P. Chalasani et al., Concise explanations of neural networks using adversarial training, ICML 2020;
N. Hurley, S. Rickard, Comparing measures of sparsity, IEEE Trans. Information Theory 2009.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, Target, metric
from benchmark.metrics.masking import chunks


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="higher",
    unit="fraction",
    version=1,
    source="Chalasani et al. 2020; Hurley and Rickard 2009",
)
def gini(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Sparseness (Gini index). How few pixels carry the map?

    sum_k (2k - d - 1) a_(k) / (d sum_k a_(k)), (n,) in [0, 1), with a = |map| in ascending order and d = h w; 0 for
    a zero map.

    Range: 0 to 1.
    Weakness: Looks at the map alone: one random pixel is nearly perfect, uniform noise scores a third.
    """
    values = [_gini(maps) for maps, _ in chunks(e, batch)]
    return np.concatenate(values)


def _gini(maps: Array) -> Array:
    """The index (n,) of maps (n, h, w)."""
    flat = maps.reshape(len(maps), -1)
    a = np.sort(np.abs(flat, dtype=np.float64), axis=1)  # (n, d)
    d = a.shape[1]
    weights = 2.0 * np.arange(1, d + 1) - d - 1
    weighted = np.maximum((a * weights).sum(1), 0)
    total = a.sum(1)
    return weighted / (d * np.where(total > 0, total, 1))
