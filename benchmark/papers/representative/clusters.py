"""Which images are interpreted: k-means on the reference images' feature maps (RI, Sec. 6.4).

    V = cluster(psi, 10 * len(target.classes), rng)    # V.seeds: an input image a cluster; V.nearest(psi_new)

Theory: |V| = 10 x the number of classes; the reference image closest to each centre is an input image. k-means sees
distances only, and n points have the same distances in the n coordinates of a Cholesky factor of their Gram matrix
psi psi^T: 5,000 images of 100,352 dimensions are clustered in 5,000, exactly, without the projection that others use.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from benchmark.api import Array


@dataclass(frozen=True, eq=False)
class Clusters:
    """V centres in Omega and the reference images they stand for."""

    centres: Tensor  # (V, d)
    labels: Array  # (n,) cluster of each reference image
    seeds: Array  # (V,) reference image nearest to each centre

    def __len__(self) -> int:
        return len(self.centres)

    def nearest(self, psi: Tensor) -> Array:
        """(n,) the nearest centre of each feature map (n, K, u, v), ties to the lower index."""
        return _squared(psi.flatten(1), self.centres).argmin(dim=1).cpu().numpy()


def cluster(psi: Tensor, k: int, rng: Generator, *, restarts: int = 10) -> Clusters:
    """Lloyd's k-means with k-means++ and ``restarts`` starts on feature maps (n, K, u, v).

    There are fewer than k clusters where fewer than k images differ.

    Raises:
        ValueError: no images.
    """
    x = psi.flatten(1)  # (n, d)
    if not len(x):
        raise ValueError("there are no reference images to cluster")
    k = min(k, len(x))
    points = x
    if x.shape[1] > len(x):
        points = _isometric(x - x.mean(dim=0))
    means = KMeans(k, n_init=restarts, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        # fewer different images than clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = means.fit(points.double().cpu().numpy()).labels_
    labels = np.unique(found, return_inverse=True)[1]
    one_hot = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    member = torch.from_numpy(one_hot).to(x.device)  # (n, V)
    centres = member.T @ x / member.sum(dim=0)[:, None]  # (V, d)
    # term by term: the products of _squared lose what tells the nearest two apart
    seeds = [int((x - c).square().sum(dim=1).argmin()) for c in centres]
    return Clusters(centres, labels, np.array(seeds))


def _isometric(x: Tensor) -> Tensor:
    """(n, n) points with the distances of x (n, d): L of x x^T = L L^T.

    A little is added to the diagonal, for products in float32 and equal images leave eigenvalues around 0. It moves
    each point by the same amount in a direction of its own, which adds the same to the inertia of all clusterings into
    k.
    """
    gram = (x @ x.T).double()
    tiny = 1e-4 * gram.diagonal().mean().clamp(min=1e-12)
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(gram + tiny * identity)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2 - |a_i|^2, (n, m): the second term does not matter to a comparison over j."""
    return b.square().sum(dim=1) - 2 * a @ b.T
