"""Names itself in markup."""

from benchmark.api import Explanation


class Mine:
    name = "<script>alert(1)</script>"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=batch.x.mean(dim=1))
