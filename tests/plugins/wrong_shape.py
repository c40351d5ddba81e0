"""One column too many."""

import numpy as np

from benchmark.api import Explanation


class Mine:
    name = "wrong shape"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        n, _, h, w = batch.x.shape
        return Explanation(heatmaps=np.ones((n, h, w + 1)))
