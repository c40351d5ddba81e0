"""My method: rebuild an image from what a layer kept of it. (First line: the idea.)

Starts as ridge regression from the activations of a layer to the pixels. The reference rebuilds the image from as many
principal components of the pixels as the layer has activations: it shows what is lost by compression alone.
"""

from dataclasses import dataclass

import torch

from benchmark.api import Explanation


@dataclass
class MyMethod:
    ridge: float = (
        1.0  # the fields of the class are its settings: mine.py:MyMethod?ridge=0.1
    )
    name = "My decoder"

    def fit(self, target, reference, rng):
        """Learn the decoder from training images."""
        z = target.features(reference).flatten(1)  # (n, w)
        x = reference.x.flatten(1)  # (n, c h w)
        self.z_mean = z.mean(dim=0)
        self.x_mean = x.mean(dim=0)
        z = z - self.z_mean
        x = x - self.x_mean
        ridge = self.ridge * torch.eye(len(z), device=z.device)
        gram = z @ z.T + ridge  # (n, n): there are fewer images than activations
        self.weights = z.T @ torch.linalg.solve(gram, x)  # (w, c h w)
        directions = torch.linalg.svd(x, full_matrices=False).Vh
        self.components = directions[: z.shape[1]]  # (k, c h w)
        return self

    def explain(self, target, batch, rng):
        """Images in [0, 1]: rebuilt from the layer, and the reference."""
        z = target.features(batch).flatten(1)
        x = batch.x.flatten(1)
        decoded = self.x_mean + (z - self.z_mean) @ self.weights
        reference = (
            self.x_mean + (x - self.x_mean) @ self.components.T @ self.components
        )
        shape = batch.x.shape
        return Explanation(
            decoded=decoded.clamp(0, 1).view(shape),
            reference=reference.clamp(0, 1).view(shape),
        )
