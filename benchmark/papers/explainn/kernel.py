"""The compiled inner loops of the miner: the cheapest l and k of a rule, from transaction sets packed 64 to a word.

Idea: |T_X^l|, |T_X^l and T_y| and |T_X^l and {|Y and t| >= k}| are all that a rule's cost depends on, and each is a count of
set bits. Row sets "at least l of X" are built as planes, item by item: P[l] |= P[l - 1] & T_x from the top down. Rules of
the miner never share a tail item, so the cost of a rule is its own, whatever the other rules are:

    cost(X -> Y) = min over l, k of  L(X -> Y) + log C(|T_X|, |T_{Y|X}|) + errors + sum_{y in Y} log C(n, |T'_y|)

The kernels release the GIL; the miner runs them over blocks, on as many threads as it is given.
"""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from benchmark.api import Array
from benchmark.papers.explainn.mdl import log2_binomial, log2_factorial, lpc, universal

PLANES = 8  # tails up to this size are counted as planes, larger ones row by row
EPS = 1e-9  # a gain below is rounding


class Packed(NamedTuple):
    """A database for the kernels. Item columns are rows here: W = ceil(n / 64) words each."""

    heads: Array  # (p, W) uint64
    tails: Array  # (q, W) uint64
    margins: Array  # (q,) |T_y|
    head_bits: Array  # (p,) -log2 |T_x| / sum_I |T_I|
    tail_bits: Array  # (q,)
    single: Array  # (n + 1,) log2 C(n, m), what a singleton with m rows costs
    factorials: Array  # log2 i! for i up to PLANES n, looked up where a logarithm would cost more
    complexities: Array  # Lpc(i), as many
    n: int
    disjunctive: bool  # l = 1 only
    robust: bool
    drop_holds: bool


def pack(columns: Array) -> Array:
    """(n, m) bool -> (m, W) uint64, row r of the data in bit r % 64 of word r // 64."""
    n, m = columns.shape
    out = np.zeros((m, -(-n // 64) * 8), np.uint8)
    packed = np.packbits(np.ascontiguousarray(columns.T), axis=1, bitorder="little")
    out[:, : packed.shape[1]] = packed
    return out.view(np.uint64)


@intrinsic
def popcount(typing, word):
    """Set bits of a 64-bit word: one machine instruction."""
    return types.int64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(
        arguments[0]
    )


@njit(cache=True, nogil=True)
def both(a, b):
    """|a and b| of two row sets."""
    count = 0
    for w in range(a.size):
        count += popcount(a[w] & b[w])
    return count


@njit(cache=True, nogil=True)
def co_occurrence(heads, tails):
    """|T_x and T_y|, (p, q)."""
    out = np.empty((heads.shape[0], tails.shape[0]), np.int64)
    for x in range(heads.shape[0]):
        for y in range(tails.shape[0]):
            out[x, y] = both(heads[x], tails[y])
    return out


@njit(cache=True, nogil=True)
def add_item(planes, column, top, size):
    """One more item for the planes P[l - 1] = {t : at least l items}; returns how many of them are not empty, <= size."""
    words = column.size
    for level in range(min(top, size - 1), 0, -1):
        for w in range(words):
            planes[level, w] |= planes[level - 1, w] & column[w]
    for w in range(words):
        planes[0, w] |= column[w]
    if top < size:
        some = np.uint64(0)
        for w in range(words):
            some |= planes[top, w]
        top += some != 0
    return top


@njit(cache=True, nogil=True)
def tables(n):
    """``single``, ``factorials`` and ``complexities`` of a database of n rows."""
    factorials, complexities, single = (
        np.empty(PLANES * n + 1),
        np.empty(PLANES * n + 1),
        np.empty(n + 1),
    )
    for i in range(PLANES * n + 1):
        factorials[i], complexities[i] = log2_factorial(i), lpc(i)
    for m in range(n + 1):
        single[m] = log2_binomial(n, m)
    return single, factorials, complexities


@njit(cache=True, nogil=True)
def choose(db, n, k):
    """log2 C(n, k)."""
    if n < db.factorials.size:
        return db.factorials[n] - db.factorials[k] - db.factorials[n - k]
    return log2_binomial(n, k)


@njit(cache=True, nogil=True)
def complexity(db, n):
    """Lpc(n)."""
    return db.complexities[n] if n < db.complexities.size else lpc(n)


@njit(cache=True, nogil=True)
def exceptions(db, applies, holds, missing, present, Y):
    """Bits of where the rule holds and, if robust, of X- and X+ with their complexities."""
    bits = choose(db, applies, holds)
    if db.robust:
        a, b = holds * Y, (applies - holds) * Y
        bits += (
            choose(db, a, missing) + choose(db, b, present) + complexity(db, a) + complexity(db, b)
        )
    return bits


@njit(cache=True, nogil=True)
def best_head(db, order, y, scratch):
    """Algorithm 1 for tail item y: the head order[:t] and the l that cost least; (bits, t, l). No rule: bits = inf."""
    best, best_t, best_l = np.inf, 0, 0
    planes = scratch[: min(len(order), 1 if db.disjunctive else len(order))]
    planes[:] = 0
    column, margin, top, items = db.tails[y], db.margins[y], 0, 0.0
    for t in range(1, len(order) + 1):
        top = add_item(planes, db.heads[order[t - 1]], top, len(planes))
        items += db.head_bits[order[t - 1]]
        fixed = universal(t) + universal(1) + items + db.tail_bits[y]
        for l in range(1, top + 1):
            applies, holds = both(planes[l - 1], planes[l - 1]), both(planes[l - 1], column)
            bits = (
                fixed
                + complexity(db, applies)
                + exceptions(db, applies, holds, 0, 0, 1)
                + db.single[margin - holds]
            )
            if db.robust:
                bits += universal(l)
            if bits < best - EPS:
                best, best_t, best_l = bits, t, l
    return best, best_t, best_l


@njit(cache=True, nogil=True)
def tail_counts(db, Y, out):
    """How many items of Y each row has, added to ``out`` (n,) uint16."""
    for y in Y:
        for w in range(db.tails.shape[1]):
            word, row = db.tails[y, w], w * 64
            while word:
                low = word & (~word + np.uint64(1))
                out[row + popcount(low - np.uint64(1))] += np.uint16(1)
                word ^= low


@njit(cache=True, nogil=True)
def cheapest(db, X, Y, counts, head_planes, tail_planes):
    """The l and k of least cost for X -> Y; (bits, l, k).

    Args:
        counts: (n,) uint16, tail items a row, used where |Y| > PLANES or ``drop_holds``.
        head_planes, tail_planes: scratch, (>= |X|, W) and (>= PLANES, W) uint64.
    """
    size, words = len(Y), db.tails.shape[1]
    by_planes = size <= PLANES and not db.drop_holds
    fixed = universal(len(X)) + universal(size)
    for x in X:
        fixed += db.head_bits[x]
    for y in Y:
        fixed += db.tail_bits[y]

    H = head_planes[: 1 if db.disjunctive else len(X)]
    H[:] = 0
    top = 0
    for x in X:
        top = add_item(H, db.heads[x], top, len(H))
    K = tail_planes[: size if by_planes else 0]
    if by_planes:
        K[:] = 0
        filled = 0
        for y in Y:
            filled = add_item(K, db.tails[y], filled, size)

    best, best_l, best_k = np.inf, 0, 0
    at_least = np.zeros(size + 2, np.int64)  # rows of T_X with at least k items of Y
    inside = np.zeros(
        (size if db.drop_holds else 0, size + 2), np.int64
    )  # the same, and y among them
    for l in range(1, top + 1):
        T = H[l - 1]
        applies = both(T, T)
        at_least[:] = 0
        at_least[0] = applies
        if by_planes:
            for k in range(1, filled + 1):
                at_least[k] = both(T, K[k - 1])
        else:
            inside[:] = 0
            for w in range(words):
                word, row = T[w], w * 64
                while word:
                    low = word & (~word + np.uint64(1))
                    bit = popcount(low - np.uint64(1))
                    count = counts[row + bit]
                    if count:
                        at_least[count] += 1
                        for i in range(len(inside)):
                            if db.tails[Y[i], w] & low:
                                inside[i, count] += 1
                    word ^= low
            for k in range(size - 1, 0, -1):
                at_least[k] += at_least[k + 1]
                for i in range(len(inside)):
                    inside[i, k] += inside[i, k + 1]
        left = 0.0  # the singletons of Y outside T_X
        if db.robust and not db.drop_holds:
            for y in Y:
                left += db.single[db.margins[y] - both(T, db.tails[y])]
        model = fixed + complexity(db, applies) + (universal(l) if db.robust else 0.0)
        higher = 0  # sum of at_least[j], j > k
        total = at_least[1 : size + 1].sum()  # ones of D[T_X, Y]
        for k in range(size, 0, -1) if db.robust else range(size, size - 1, -1):
            holds = at_least[k]
            ones = k * holds + higher  # of D[T_{Y|X}, Y]
            bits = model + exceptions(db, applies, holds, size * holds - ones, total - ones, size)
            if db.drop_holds:
                left = 0.0
                for i in range(size):
                    left += db.single[db.margins[Y[i]] - inside[i, k]]
            elif not db.robust:
                left = 0.0
                for y in Y:
                    left += db.single[db.margins[y] - holds]
            bits += left
            if bits < best - EPS:
                best, best_l, best_k = bits, l, k
            higher += holds
    return best, best_l, best_k


# --------------------------------------------------------------------------------------------- blocks of work


@njit(cache=True, nogil=True)
def new_rules(db, ys, order, start, longest):
    """``best_head`` of the tail items ``ys``; order[start[i]:start[i + 1]] is H_y of the i-th. (m,) bits, t, l."""
    bits, t, l = np.empty(len(ys)), np.empty(len(ys), np.int64), np.empty(len(ys), np.int64)
    scratch = np.empty((max(longest, 1), db.tails.shape[1]), np.uint64)
    for i in range(len(ys)):
        bits[i], t[i], l[i] = best_head(db, order[start[i] : start[i + 1]], ys[i], scratch)
    return bits, t, l


@njit(cache=True, nogil=True)
def group_rules(db, ys, items, start, longest):
    """Algorithm 1 with given heads: for each y of ``ys`` the best of the groups items[start[g]:start[g + 1]], with its l."""
    bits, best, l = (
        np.full(len(ys), np.inf),
        np.zeros(len(ys), np.int64),
        np.zeros(len(ys), np.int64),
    )
    H, K = (
        np.empty((longest, db.tails.shape[1]), np.uint64),
        np.empty((PLANES, db.tails.shape[1]), np.uint64),
    )
    counts = np.zeros(db.n, np.uint16)
    for i in range(len(ys)):
        if db.drop_holds:
            counts[:] = 0
            tail_counts(db, ys[i : i + 1], counts)
        for g in range(len(start) - 1):
            cost, least, _ = cheapest(
                db, items[start[g] : start[g + 1]], ys[i : i + 1], counts, H, K
            )
            if cost < bits[i] - EPS:
                bits[i], best[i], l[i] = cost, g, least
    return bits, best, l


@njit(cache=True, nogil=True)
def merge(a, b, union):
    """The union or the intersection of two sorted item lists, sorted."""
    out = np.empty(len(a) + len(b), a.dtype)
    i = j = m = 0
    while i < len(a) or j < len(b):
        if j == len(b) or (i < len(a) and a[i] < b[j]):
            if union:
                out[m] = a[i]
                m += 1
            i += 1
        elif i == len(a) or b[j] < a[i]:
            if union:
                out[m] = b[j]
                m += 1
            j += 1
        else:
            out[m] = a[i]
            m, i, j = m + 1, i + 1, j + 1
    return out[:m]


@njit(cache=True, nogil=True)
def merges(db, pairs, X, X_start, Y, Y_start, slot, counts, longest):
    """Algorithm 2 for pairs of rules: cost, l and k of (X1 and X2 -> Y1 or Y2) and of (X1 or X2 -> Y1 or Y2).

    Args:
        pairs: (m, 2) rule numbers; X[X_start[r]:X_start[r + 1]] is the head of rule r, Y the same.
        slot: (rules,) row of ``counts`` that holds the rule's tail counts, or -1.

    Returns:
        (m, 2) bits (inf: no such rule, or the same as the one before), l, k; columns intersection, union.
    """
    bits = np.full((len(pairs), 2), np.inf)
    l, k = np.zeros((len(pairs), 2), np.int64), np.zeros((len(pairs), 2), np.int64)
    H, K = (
        np.empty((longest, db.tails.shape[1]), np.uint64),
        np.empty((PLANES, db.tails.shape[1]), np.uint64),
    )
    both_counts = np.zeros(db.n, np.uint16)
    for i in range(len(pairs)):
        r, s = pairs[i]
        X1, X2 = X[X_start[r] : X_start[r + 1]], X[X_start[s] : X_start[s + 1]]
        Y1, Y2 = Y[Y_start[r] : Y_start[r + 1]], Y[Y_start[s] : Y_start[s + 1]]
        tail = merge(Y1, Y2, True)
        if len(tail) > PLANES or db.drop_holds:
            both_counts[:] = 0
            for rule, items in ((r, Y1), (s, Y2)):
                if slot[rule] >= 0:
                    both_counts += counts[slot[rule]]
                else:
                    tail_counts(db, items, both_counts)
        for u in range(2):
            head = merge(X1, X2, u == 1)
            if len(head) == 0 or (u == 1 and len(head) == len(X1) and len(head) == len(X2)):
                continue  # no head, or X1 = X2: the union is the intersection
            bits[i, u], l[i, u], k[i, u] = cheapest(db, head, tail, both_counts, H, K)
    return bits, l, k


@njit(cache=True, nogil=True)
def independent(pairs, taken):
    """Which of the pairs, best first, share no rule with an earlier chosen one; marks the rules in ``taken``."""
    chosen = np.zeros(len(pairs), np.bool_)
    for i in range(len(pairs)):
        r, s = pairs[i]
        if not (taken[r] or taken[s]):
            chosen[i] = taken[r] = taken[s] = True
    return chosen


@njit(cache=True, nogil=True)
def near_pairs(sizes, overlap, first, block, mu):
    """(m, 2): pairs (r, s), s < r = first + i, of one block with |X_r symdiff X_s| = |X_r| + |X_s| - 2 overlap <= mu."""
    count = 0
    for fill in range(2):
        out = np.empty((count, 2), np.int64)
        count = 0
        for i in range(overlap.shape[0]):
            r = first[i]
            for s in range(r):
                if block[r] == block[s] and sizes[r] + sizes[s] - 2 * overlap[i, s] <= mu:
                    if fill:
                        out[count, 0], out[count, 1] = s, r
                    count += 1
    return out
