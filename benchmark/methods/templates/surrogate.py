"""My method: a simple model that answers like the network. (First line: the idea.)

Starts as the nearest mean: an image gets the class whose mean activations at a layer are nearest to its own.
"""

from dataclasses import dataclass

import torch

from benchmark.api import Explanation


@dataclass
class MyMethod:
    # The fields of the class are its settings: mine.py:MyMethod?layer=conv3
    layer: str | None = None
    name = "My surrogate"

    def fit(self, target, reference, rng):
        """Learn from training images and the classes that the network predicts for them."""
        z = self._features(target, reference)  # (n, w)
        predicted = target(reference).argmax(dim=1)  # (n,)
        self.classes = predicted.unique()
        means = [z[predicted == c].mean(dim=0) for c in self.classes]
        self.means = torch.stack(means)  # (k, w)
        return self

    def explain(self, target, batch, rng):
        """The class that the surrogate predicts for each image; -1 would mean that it does not apply."""
        z = self._features(target, batch)
        distance = (z[:, None] - self.means).square().mean(dim=2)  # (n, k)
        nearest = distance.argmin(dim=1)
        labels = self.classes[nearest]
        return Explanation(labels=labels, size={"means": len(self.means)})  # (n,)

    def _features(self, target, batch):
        layer = self.layer or target.below_logits
        return target.features(batch, layer).flatten(1)
