"""Seeds the generator that everybody shares."""

import torch

from benchmark.api import Explanation


class Mine:
    name = "global seed"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        torch.manual_seed(0)
        return Explanation(heatmaps=batch.x.mean(dim=1))
