"""My method: rebuild an image from what a layer kept of it. (First line: the idea.)

Starts as ridge regression from the activations of a layer to the pixels; the reference is the same from the pixels' own
principal components, as many as the layer has activations: what is lost by compression alone.
"""

from dataclasses import dataclass

import torch

from benchmark.api import Explanation


@dataclass
class MyMethod:
    ridge: float = 1.0  # the fields of the class are its settings: mine.py:MyMethod?ridge=0.1
    name = "My decoder"

    def fit(self, target, reference, rng):
        """Learn the decoder from training images."""
        z, x = target.features(reference).flatten(1), reference.x.flatten(1)  # (n, w), (n, c h w)
        self.z_mean, self.x_mean = z.mean(dim=0), x.mean(dim=0)
        z, x = z - self.z_mean, x - self.x_mean
        gram = z @ z.T + self.ridge * torch.eye(
            len(z), device=z.device
        )  # (n, n): fewer images than activations
        self.weights = z.T @ torch.linalg.solve(gram, x)  # (w, c h w)
        self.components = torch.linalg.svd(x, full_matrices=False).Vh[: z.shape[1]]  # (k, c h w)
        return self

    def explain(self, target, batch, rng):
        """Rebuilt images in [0, 1]: from the layer, and the reference."""
        z, x = target.features(batch).flatten(1), batch.x.flatten(1)
        decoded = self.x_mean + (z - self.z_mean) @ self.weights
        reference = self.x_mean + (x - self.x_mean) @ self.components.T @ self.components
        shape = batch.x.shape
        return Explanation(
            decoded=decoded.clamp(0, 1).view(shape), reference=reference.clamp(0, 1).view(shape)
        )
