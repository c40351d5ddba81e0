"""My method: a simple model that answers like the network. (First line: the idea.)

Starts as the nearest mean: of the activations of a layer, an image gets the class whose mean is nearest.
"""

from dataclasses import dataclass

import torch

from benchmark.api import Explanation


@dataclass
class MyMethod:
    layer: str | None = (
        None  # the fields of the class are its settings: mine.py:MyMethod?layer=conv3
    )
    name = "My surrogate"

    def fit(self, target, reference, rng):
        """Learn from training images, and from what the network says of them."""
        z, answers = (
            self._features(target, reference),
            target(reference).argmax(dim=1),
        )  # (n, w), (n,)
        self.classes = answers.unique()  # those that the network gives
        self.means = torch.stack([z[answers == c].mean(dim=0) for c in self.classes])  # (k, w)
        return self

    def explain(self, target, batch, rng):
        """The class that the surrogate alone gives each image; -1 would say that it does not apply."""
        z = self._features(target, batch)
        distance = (z[:, None] - self.means).square().mean(dim=2)  # (n, k)
        labels = self.classes[distance.argmin(dim=1)]
        return Explanation(labels=labels, size={"means": len(self.means)})  # (n,)

    def _features(self, target, batch):
        return target.features(batch, self.layer or target.layers[-2]).flatten(1)
