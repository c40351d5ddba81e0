"""One image too few."""

from benchmark.api import Explanation


class Mine:
    name = "wrong count"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=batch.x.mean(dim=1)[:-1])
