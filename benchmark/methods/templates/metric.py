"""My metric: how much of a heat map's mass lies in its largest pixels. (First line: the idea.)

Range: 0 to 1. A random map scores little more than ``share``; a map of one pixel 1. It cannot see whether the
pixels are the ones that the network uses.
"""

import numpy as np

from benchmark.api import bounds, metric


@metric(
    needs={"heatmaps"},  # fields of the explanation; also boxes, parts, part_importance
    track="heatmap",  # concept, surrogate, reconstruction
    better="higher",
    unit="fraction",
    version=1,  # raise it when the numbers change their meaning
    source="me",
    settings=({"share": 0.1}, {"share": 0.3}),  # a row for each
)
@bounds(0, 1)
def my_metric(e, target, batch, rng, *, share):
    """One number per image, (n,); e.heatmaps is (n, h, w), batch.x (n, c, h, w) in [0, 1]."""
    n = len(batch)
    mass = np.abs(e.heatmaps)
    mass = mass.reshape(n, -1)  # (n, h w)
    mass = np.sort(mass, axis=1)
    count = round(share * mass.shape[1])
    largest = mass[:, -count:].sum(axis=1)
    total = mass.sum(axis=1)
    total[total == 0] = 1  # a map without any mass scores 0
    return largest / total
