"""Cost: how often must the network be run to explain an image?

Idea: the method explains the images once more, the multiply-adds of its products and convolutions are counted, and
divided by those of the network's forward pass. One pass back to the layer that is explained costs up to as much as one
forward, one to the image about as much, and one to the weights too. A count is the same on every machine, seconds are
not.

Weakness: a low cost is no virtue by itself. A random map has 0, an edge map 0.01 (two convolutions). What a method
learns before it explains is not counted, nor are sorting, clustering and trees, which run no product: ACE and
Representative Interpretations pay most of their seconds there.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Array, Batch, Explain, Explanation, Target, calling_metric
from benchmark.metrics.again import like
from benchmark.shared.meter import Meter

FAMILY = "cost"


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=1,
    track="heatmap",
    better="lower",
    unit="forward passes",
    version=1,
    source="glassbench: multiply-adds of an explanation, in forward passes",
    settings=({},),
    partial=True,
)
def passes_per_image(
    e: Explanation, target: Target, batch: Batch, rng: Generator, explain: Explain
) -> Array:
    """Cost. How many forward passes of the network does the explanation of an image take?

    multiply-adds of explaining n images / multiply-adds of F on n images, (n,), 0 or more, the same for all n.

    Counted in products and convolutions, forward and backward. What a method learns before it explains is not counted.

    Range: 0 and more.
    Weakness: A random map costs nothing, an edge map a hundredth, and work without products (clustering, trees) is not
        seen.
    """
    again = like(batch, batch.x)  # another object: nothing is remembered of it
    with Meter() as explaining:
        explain(again)
    with Meter() as answering, torch.no_grad():
        target(batch.x)
    return np.full(len(batch), explaining.passes / answering.passes)
