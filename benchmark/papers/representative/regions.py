"""Representative interpretations: decision regions, their heat maps and their nearest images (RI, Sec. 4 and 5).

    (found,) = regions(sampled, psi, classes, psi_x, classes_x)   # a Region for each of m inputs
    found[0].covers(psi_new), found[0].heat_maps(psi_new, (h, w)), found[0].distances(psi_x[0], psi)

Theory: P(x), a few of the sampled boundaries, is a convex polytope around psi(x) that holds no (or few) reference images
of other classes. Each of its boundaries, turned so that psi(x) lies on its positive side, is shown as a heat map:

    alpha_k = 1/Z sum_ij W_ij^k,   raw = ReLU(sum_k alpha_k psi^k(x')),   brought to the image's size, min-max scaled   Eq. 5

and P(x) by their mean. The same alpha serve every image that P(x) covers: that is what makes it reusable. Covered images
are ranked by

    Dist(x, x') = sum_h |<W_h, psi(x)> - <W_h, psi(x')>|                                                             Eq. 6

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
        return self.P.W.mean(dim=(2, 3)) * torch.where(self.side, 1.0, -1.0)[:, None]

    def heat_maps(self, psi: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps (n, h, w) in [0, 1] of feature maps (n, K, u, v). A region without boundaries has nothing to show: 0."""
        alpha = self.channel_weights()
        if not len(alpha):
            return psi.new_zeros(len(psi), *size)
        chunk = max(1, MAPS // (len(alpha) * size[0] * size[1]))
        return torch.cat([self._maps(alpha, part, size).mean(dim=1) for part in psi.split(chunk)])

    def boundary_maps(self, psi: Tensor, size: tuple[int, int], most: int) -> Tensor:
        """The maps (n, most, h, w) that ``heat_maps`` is the mean of, of the first boundaries that the greedy chose; 0 where
        there are fewer."""
        maps = psi.new_zeros(len(psi), most, *size)
        alpha = self.channel_weights()[:most]
        if len(alpha):
            maps[:, : len(alpha)] = self._maps(alpha, psi, size)
        return maps

    @staticmethod
    def _maps(alpha: Tensor, psi: Tensor, size: tuple[int, int]) -> Tensor:
        raw = torch.einsum("pk,nkuv->npuv", alpha, psi).relu()  # (n, p, u, v)
        maps = F.interpolate(raw, size, mode="bilinear", align_corners=False)  # (n, p, h, w)
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        return (maps - low) / (high - low).where(high > low, 1)

    def distances(self, psi_x: Tensor, psi: Tensor, *, unit: bool = False) -> Tensor:
        """Dist(x, x') (n,) of feature maps (n, K, u, v) from psi(x) (K, u, v).                          Eq. 6"""
        W = self.P.W.flatten(1)
        W = F.normalize(W, dim=1) if unit else W
        return (psi.flatten(1) @ W.T - psi_x.flatten() @ W.T).abs().sum(dim=1)


def regions(
    sampled: Iterable[Boundaries],
    psi: Tensor,
    classes: Tensor,
    psi_x: Tensor,
    classes_x: Tensor,
    *,
    sizes: Sequence[int | None] = (None,),
    pruned: bool = True,
) -> list[list[Region]]:
    """P(x) for each of m inputs and each size of Q: for each size a list of m.

    All reference images are held against all boundaries of a sample in one matrix product, kept as bits; a sample that
    inputs share (the same object) is compared once. One sample is looked at at a time, and only the boundaries that are
    chosen are kept: a thousand inputs of 100,352 dimensions fit.

    Args:
        sampled: m samples Q (``boundaries.sample``).
        psi, classes: (n, K, u, v) and (n,): the reference images, as the network predicts them.
        psi_x, classes_x: (m, K, u, v) and (m,): the inputs.
        sizes: use only the first so many boundaries of each sample; None: all.
        pruned: drop boundaries that the others make redundant, as the authors' later code does.
    """
    known = classes.cpu().numpy()
    of_class = {
        c: pack((known == c)[:, None])[0]
        for c in np.unique(np.append(known, classes_x.cpu().numpy()))
    }
    everything = pack(np.ones((len(known), 1), bool))[0]
    found: list[list[Region]] = [[] for _ in sizes]
    last, bits = None, None
    for Q, x, c in zip(sampled, psi_x, classes_x.tolist()):
        if Q is not last:
            last, bits = Q, pack(Q.sides(psi).cpu().numpy())  # (q, words)
        side = Q.sides(x[None])[0]  # (q,)
        inside = np.where(side.cpu().numpy()[:, None], bits, bits ^ everything)
        for out, size in zip(found, sizes):
            P = greedy(inside[:size], of_class[c], everything ^ of_class[c])
            P = prune(P, inside) if pruned else P
            covered = count(np.bitwise_and.reduce(inside[P], axis=0) & everything)
            out.append(Region(Q[P], side[P], c, int(covered)))
    return found


def coverage(found: Sequence[Region], psi: Tensor) -> Array:
    """(n, m) bool: which of m regions cover each of n feature maps; one matrix product for all their boundaries."""
    sizes = [len(region) for region in found]
    if not sum(sizes):
        return np.ones((len(psi), len(found)), bool)
    every = Boundaries(torch.cat([r.P.W for r in found]), torch.cat([r.P.b for r in found]))
    agree = every.sides(psi) == torch.cat([r.side for r in found])  # (n, sum of sizes)
    return torch.stack([part.all(dim=1) for part in agree.split(sizes, dim=1)], dim=1).cpu().numpy()


def assign(found: Sequence[Region], covered: Array, nearest: Array) -> tuple[Array, Array]:
    """Which interpretation explains each image: (m,) index, and the class that it predicts, -1 where none covers.

    Several cover it: the one with most reference images (App. D), then the lower index. None: the one whose cluster centre
    is nearest (Sec. 6.4), ``nearest`` (n,).
    """
    size = np.array([r.representativeness for r in found])
    best = np.where(covered, size, -1).argmax(1)
    chosen = np.where(covered.any(1), best, nearest)
    return chosen, np.where(covered.any(1), np.array([r.label for r in found])[chosen], -1)


def by_interpretation(chosen: Array) -> Iterator[tuple[int, Tensor]]:
    """Each interpretation that is used, with the rows of its images."""
    for v in np.unique(chosen):
        yield int(v), torch.from_numpy(np.flatnonzero(chosen == v))
