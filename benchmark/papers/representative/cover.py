"""The greedy algorithm that picks P(x) from Q (RI, Alg. 1, Eq. 4), on packed bits.

Idea: a boundary removes the reference images on its other side. Find few that remove the images of other classes and as
few as possible of x's own: a submodular cost submodular cover problem, NP-hard, solved greedily.

    inside = pack((Q.sides(psi) == Q.sides(psi_x)).numpy())  # (q, words): who is on x's side of each boundary
    chosen = greedy(inside, same, other)                     # indices into Q, in the order in which they were chosen

Theory:     max |P n R|   such that   |P n D(x)| <= delta = tau(x)                                            Eq. 3
            D(x): images of R of another class than x;  tau(x): those on x's side of all of Q, which none can remove
            next h: the least  lost(R) / lost(D(x))  among those with lost(D(x)) > 0                          Eq. 4

As printed the tie rule ("numerator equal to zero: the largest denominator") cannot be met: D(x) is part of R, so the
numerator is never below the denominator and a zero numerator makes 0/0. The authors' code counts the images of x's own
class in the numerator. The two ratios differ by exactly 1, so the choice is the same and the rule makes sense: ties go
to the boundary that removes more images of other classes, then to the lower index.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.api import Array


def pack(inside: Array) -> Array:
    """(n, q) bool -> (q, ceil(n / 64)) uint64, bit by bit; the bits beyond n are 0."""
    n, q = inside.shape
    bits = np.zeros((q, -(-n // 64) * 64), np.uint8)
    bits[:, :n] = inside.T
    return np.packbits(bits, axis=1).view(np.uint64)


def count(bits: Array) -> Array:
    """Number of set bits along the last axis."""
    return np.bitwise_count(bits).sum(-1, dtype=np.int64)


def greedy(
    inside: Array, same: Array, other: Array, delta: int | None = None
) -> list[int]:
    """Alg. 1: P(x) as indices into Q, in the order of choice; empty where no boundary removes an image of D(x).

    Args:
        inside: (q, words) packed: reference images on x's side of each boundary.
        same, other: (words,) packed: reference images of x's class, and D(x).
        delta: how many images of D(x) may stay, where that is more than tau(x), the least possible; None: tau(x).
    """
    tau = count(np.bitwise_and.reduce(inside, axis=0) & other)
    most = tau if delta is None else max(delta, tau)
    P: list[int] = []
    while count(other) > most:
        lost_same = count(same & ~inside)  # (q,)
        lost_other = count(other & ~inside)
        useless = np.full(len(inside), np.inf)
        # Eq. 4, minus 1
        ratio = np.divide(lost_same, lost_other, out=useless, where=lost_other > 0)
        h = int(
            np.lexsort((-lost_other, ratio))[0]
        )  # a stable sort: ties to the lower index
        P.append(h)
        same, other = same & inside[h], other & inside[h]
    return P


def prune(P: Sequence[int], inside: Array) -> list[int]:
    """P without the boundaries that the others make redundant, dropped in the order of their index (the authors' later
    code): the covered images stay the same, the mean heat map does not."""
    kept = list(P)
    for h in sorted(P):
        rest = [i for i in kept if i != h]
        if rest and np.array_equal(_common(inside[rest]), _common(inside[kept])):
            kept = rest
    return kept


def _common(bits: Array) -> Array:
    """The images that all rows (p, words) share, (words,)."""
    return np.bitwise_and.reduce(bits)
