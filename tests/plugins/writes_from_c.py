"""Writes beside the data, by C++ code that no audit hook sees."""

from pathlib import Path

import torch

from benchmark.api import Explanation


class Mine:
    name = "writes from c"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        torch.save(batch.x, str(Path(__file__).parent / "results" / "mine.pt"))
        return Explanation(heatmaps=batch.x.mean(dim=1))
