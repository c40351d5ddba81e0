"""Raises in explain."""

from benchmark.api import Explanation


class Mine:
    name = "raises in explain"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        raise RuntimeError("no luck")
        return Explanation(heatmaps=batch.x.mean(dim=1))
