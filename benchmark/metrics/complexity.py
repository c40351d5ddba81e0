"""Complexity: how few pixels carry a map?

Idea: a short explanation is easier to read. The Gini index of the absolute map is 0 where all pixels weigh the same and
1 - 1/(h w) where one pixel has all the weight; the entropy of the absolute map as a distribution is log(h w) and 0.

Weakness: both look at the map alone, at neither network nor image, so they say nothing about truth. A map of one random
pixel is nearly perfect; uniform noise scores 1/3, edge maps 0.5 to 0.7 and Grad-CAM 0.5 to 0.6 on small images (Gini).
Entropy of uniform noise is log(h w) - 0.19 nats, of Grad-CAM log(h w) - 0.2 to 0.4, of edges log(h w) - 0.4 to 0.7.
Read them beside faithfulness. Both say much the same: entropy looks at how many pixels have any weight, Gini at how
unequal they are.

References: P. Chalasani et al., Concise explanations of neural networks using adversarial training, ICML 2020;
N. Hurley, S. Rickard, Comparing measures of sparsity, IEEE Trans. Information Theory 2009; U. Bhatt, A. Weller,
J. Moura, Evaluating and aggregating feature-based model explanations, IJCAI 2020.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.special import entr

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


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="nats",
    version=1,
    source="Bhatt et al. 2020, complexity",
)
def entropy(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Complexity (entropy). Over how many pixels is the map spread?

    - sum_i p_i log p_i with p_i = |a_i| / sum_j |a_j|, (n,) in [0, log(h w)]; log(h w), as of a flat map, for a zero
    map, which singles out no pixel either.

    Range: 0 to the logarithm of the number of pixels.
    Weakness: Looks at the map alone: one random pixel is perfect.
    """
    values = [_entropy(maps) for maps, _ in chunks(e, batch)]
    return np.concatenate(values)


def _entropy(maps: Array) -> Array:
    """The entropy (n,) of maps (n, h, w)."""
    a = np.abs(maps.reshape(len(maps), -1), dtype=np.float64)  # (n, d)
    total = a.sum(1, keepdims=True)
    known = total > 0
    p = a / np.where(known, total, 1)
    flat = 1 / a.shape[1]
    return entr(np.where(known, p, flat)).sum(1)
