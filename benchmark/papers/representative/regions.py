"""Representative interpretations: decision regions, their heat maps and their nearest images (RI, Sec. 4 and 5).

    (found,) = regions(sampled, psi, classes, psi_x, classes_x)   # a Region for each of m inputs
    found[0].covers(psi_new), found[0].heat_maps(psi_new, (h, w)), found[0].distances(psi_x[0], psi)

Theory: P(x), a few of the sampled boundaries, is a convex polytope around psi(x) that holds no (or few) reference
images of other classes. Each of its boundaries, turned so that psi(x) lies on its positive side, is shown as a heat
map:

    alpha_k = 1/Z sum_ij W_ij^k,   raw = ReLU(sum_k alpha_k psi^k(x')),   upsampled, min-max scaled                Eq. 5

and P(x) by their mean. The same alpha serve every image that P(x) covers: that is what makes it reusable. Covered
images are ranked by

    Dist(x, x') = sum_h |<W_h, psi(x)> - <W_h, psi(x')>|                                                          Eq. 6

with W as it is (the authors' code); ``unit=True`` divides it by its length ("normal vectors", as the text has it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import Array
from benchmark.papers.representative.boundaries import Boundaries
from benchmark.papers.representative.cover import count, greedy, pack, prune
from benchmark.shared.feature_maps import min_max_scaled

MAPS = 2**25  # pixels of boundary maps held at a time


@dataclass(frozen=True, eq=False)
class Region:
    """P(x), the class it predicts and how many reference images it covers."""

    P: Boundaries  # p of them
    side: Tensor  # (p,) bool: the side of each that psi(x) lies on
    label: int  # Class(x)
    representativeness: int  # |P(x) n R|

    def __len__(self) -> int:
        return len(self.P)

    def covers(self, psi: Tensor) -> Tensor:
        """(n,) bool: whether feature maps (n, K, u, v) lie in the polytope."""
        return (self.P.sides(psi) == self.side).all(dim=1)

    def channel_weights(self) -> Tensor:
        """alpha (p, K) of each boundary, turned towards x.                                              Eq. 5"""
        alpha = self.P.W.mean(dim=(2, 3))
        sign = torch.where(self.side, 1.0, -1.0)
        return alpha * sign[:, None]

    def heat_maps(self, psi: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (n, h, w) in [0, 1] of feature maps (n, K, u, v). A region without boundaries has nothing to show: 0."""
        alpha = self.channel_weights()
        if not len(alpha):
            return psi.new_zeros(len(psi), *size)
        pixels = len(alpha) * size[0] * size[1]
        parts = psi.split(max(1, MAPS // pixels))
        means = [self._maps(alpha, part, size).mean(dim=1) for part in parts]
        return torch.cat(means)

    def boundary_maps(self, psi: Tensor, size: tuple[int, int], most: int) -> Tensor:
        """The maps (n, most, h, w) that ``heat_maps`` is the mean of, of the first boundaries that the greedy chose; 0
        where there are fewer."""
        maps = psi.new_zeros(len(psi), most, *size)
        alpha = self.channel_weights()[:most]
        if len(alpha):
            maps[:, : len(alpha)] = self._maps(alpha, psi, size)
        return maps

    @staticmethod
    def _maps(alpha: Tensor, psi: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (n, p, h, w) of each boundary, scaled to [0, 1].                                         Eq. 5"""
        raw = torch.einsum("pk,nkuv->npuv", alpha, psi)
        raw = raw.relu()  # (n, p, u, v)
        maps = F.interpolate(
            raw, size, mode="bilinear", align_corners=False
        )  # (n, p, h, w)
        return min_max_scaled(maps)

    def distances(self, psi_x: Tensor, psi: Tensor, *, unit: bool = False) -> Tensor:
        """Dist(x, x') (n,) of feature maps (n, K, u, v) from psi(x) (K, u, v).                          Eq. 6"""
        W = self.P.W.flatten(1)
        if unit:
            W = F.normalize(W, dim=1)
        gap = psi.flatten(1) @ W.T - psi_x.flatten() @ W.T  # (n, p)
        return gap.abs().sum(dim=1)


def regions(
    sampled: Iterable[Boundaries],
    psi: Tensor,
    classes: Tensor,
    psi_x: Tensor,
    classes_x: Tensor,
    *,
    sizes: Sequence[int | None] = (None,),
    pruned: bool = True,
    delta: int | None = None,
) -> list[list[Region]]:
    """P(x) for each of m inputs and each size of Q: for each size a list of m.

    All reference images are compared with all boundaries of a sample in one matrix product, kept as bits; a sample that
    inputs share (the same object) is compared once. Samples are processed one at a time, and only the boundaries that
    are chosen are kept: a thousand inputs of 100,352 dimensions fit.

    Args:
        sampled: m samples Q (``boundaries.sample``).
        psi, classes: (n, K, u, v) and (n,): the reference images, as the network predicts them.
        psi_x, classes_x: (m, K, u, v) and (m,): the inputs.
        sizes: use only the first so many boundaries of each sample; None: all.
        pruned: drop boundaries that the others make redundant, as the authors' later code does.
        delta: reference images of other classes that a region may hold; None: as few as Q allows (``cover.greedy``).
    """
    known = classes.cpu().numpy()
    everything = _packed(np.ones(len(known), bool))
    of_class = {}  # (words,) by class
    for c in np.unique(np.append(known, classes_x.cpu().numpy())):
        of_class[c] = _packed(known == c)
    found: list[list[Region]] = [[] for _ in sizes]
    last, bits = None, None
    for Q, x, c in zip(sampled, psi_x, classes_x.tolist()):
        if Q is not last:
            last, bits = Q, pack(Q.sides(psi).cpu().numpy())  # (q, words)
        side = Q.sides(x[None])[0]  # (q,)
        positive = side.cpu().numpy()[:, None]
        inside = np.where(positive, bits, bits ^ everything)
        for out, size in zip(found, sizes):
            P = greedy(inside[:size], of_class[c], everything ^ of_class[c], delta)
            if pruned:
                P = prune(P, inside)
            covered = np.bitwise_and.reduce(inside[P], axis=0) & everything
            out.append(Region(Q[P], side[P], c, int(count(covered))))
    return found


def _packed(images: Array) -> Array:
    """(n,) bool -> (words,)"""
    return pack(images[:, None])[0]


def coverage(found: Sequence[Region], psi: Tensor) -> Array:
    """(n, m) bool: which of m regions cover each of n feature maps; one matrix product for all their boundaries."""
    sizes = [len(region) for region in found]
    if not sum(sizes):
        return np.ones((len(psi), len(found)), bool)
    W = torch.cat([region.P.W for region in found])
    b = torch.cat([region.P.b for region in found])
    side = torch.cat([region.side for region in found])
    agree = Boundaries(W, b).sides(psi) == side  # (n, sum of sizes)
    covered = []
    for part in agree.split(sizes, dim=1):
        covered.append(part.all(dim=1))
    return torch.stack(covered, dim=1).cpu().numpy()


def assign(
    found: Sequence[Region], covered: Array, nearest: Array
) -> tuple[Array, Array]:
    """Which interpretation explains each image, (n,), and the class that it predicts, (n,), -1 where none covers it.

    Where several cover an image, the one with most reference images (App. D), then the lower index; where none does,
    the one whose cluster centre is nearest (Sec. 6.4), ``nearest`` (n,).
    """
    size = np.array([region.representativeness for region in found])
    label = np.array([region.label for region in found])
    best = np.where(covered, size, -1).argmax(1)
    known = covered.any(1)
    chosen = np.where(known, best, nearest)
    return chosen, np.where(known, label[chosen], -1)


def by_interpretation(chosen: Array) -> Iterator[tuple[int, Tensor]]:
    """Each interpretation that is used, with the rows of its images."""
    for v in np.unique(chosen):
        yield int(v), torch.from_numpy(np.flatnonzero(chosen == v))
