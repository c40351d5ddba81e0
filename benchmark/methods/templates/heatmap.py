"""My method: which pixels the network looked at. (First line: the idea.)

Starts as gradient times input: the class score's gradient, times how far a pixel is from the network's mean colour.
"""

from dataclasses import dataclass

import torch

from benchmark.api import Explanation


@dataclass
class MyMethod:
    power: float = (
        1.0  # the fields of the class are its settings: mine.py:MyMethod?power=2
    )
    name = "My method"

    def fit(self, target, reference, rng):
        """Learn from training images; here nothing."""
        return self

    def explain(self, target, batch, rng):
        """One map per image, larger = more important; batch.x is (n, c, h, w) in [0, 1]."""
        maps = []
        for part in batch:  # chunks that fit the device
            x = part.x.clone().requires_grad_()
            # Scores of the predicted classes; each image's gradient depends on its own score only.
            score = target(x).amax(dim=1).sum()
            (gradient,) = torch.autograd.grad(score, x)
            importance = (gradient * (part.x - target.mean)).sum(dim=1)
            maps.append(importance.abs() ** self.power)
        return Explanation(heatmaps=torch.cat(maps))  # (n, h, w)
