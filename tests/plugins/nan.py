"""NaN in one pixel."""

from benchmark.api import Explanation


class Mine:
    name = "nan"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        maps = batch.x.mean(dim=1)
        maps[0, 0, 0] = float("nan")
        return Explanation(heatmaps=maps)
