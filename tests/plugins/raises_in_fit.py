"""Raises in fit, over two lines."""

from benchmark.api import Explanation


class Mine:
    name = "raises in fit"

    def fit(self, target, reference, rng):
        raise RuntimeError("no\nluck")
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=batch.x.mean(dim=1))
