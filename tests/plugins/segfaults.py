"""Reads where nothing is."""

import ctypes

from benchmark.api import Explanation


class Mine:
    name = "segfaults"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        ctypes.string_at(0)
        return Explanation(heatmaps=batch.x.mean(dim=1))
