"""The compiled inner loops of the miner: the cheapest l and k of a rule, from row sets packed 64 to a word.

Idea: a rule's cost depends only on |T_X^l|, |T_X^l and T_y| and |T_X^l and {|Y and t| >= k}|, and each is a count of
set bits. Row sets "at least l of X" are built as planes, item by item: P[l] |= P[l - 1] & T_x from the top down. The
miner's rules never share a tail item, so the cost of a rule does not depend on the other rules:

    cost(X -> Y) = min over l, k of  L(X -> Y) + log C(|T_X|, |T_{Y|X}|) + errors + sum_{y in Y} log C(n, |T'_y|)

Packed row sets are (W,) uint64, one bit per row. The kernels release the GIL; the miner runs them over blocks, in as
many threads as it is given.
"""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic

from benchmark.api import Array
from benchmark.papers.explainn.compiled import compiled
from benchmark.papers.explainn.mdl import log2_binomial, log2_factorial, lpc, universal

PLANES = 8  # tails up to this size are counted as planes, larger ones row by row
EPS = 1e-9  # a smaller gain is rounding


class Packed(NamedTuple):
    """The data in the form that the kernels read. An item's column is a row here: W = ceil(n / 64) words."""

    heads: Array  # (p, W) uint64
    tails: Array  # (q, W) uint64
    margins: Array  # (q,) |T_y|
    head_bits: Array  # (p,) -log2 |T_x| / sum_I |T_I|
    tail_bits: Array  # (q,)
    single: Array  # (n + 1,) log2 C(n, m), what a singleton with m rows costs
    factorials: (
        Array  # log2 i! for i up to PLANES n: a look-up is cheaper than a logarithm
    )
    complexities: Array  # Lpc(i) for the same i
    n: int
    disjunctive: bool  # l = 1 only
    robust: bool
    drop_holds: bool


def pack(columns: Array) -> Array:
    """(n, m) bool -> (m, W) uint64, row r of the data in bit r % 64 of word r // 64."""
    n, m = columns.shape
    words = -(-n // 64)
    out = np.zeros((m, words * 8), np.uint8)
    by_item = np.ascontiguousarray(columns.T)
    packed = np.packbits(by_item, axis=1, bitorder="little")
    out[:, : packed.shape[1]] = packed
    return out.view(np.uint64)


@intrinsic
def popcount(typing, word):
    """The number of set bits of a 64-bit word: one machine instruction."""

    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@compiled
def lowest_bit(word):
    """The word with its lowest set bit alone."""
    return word & (~word + np.uint64(1))


@compiled
def bit_number(bit):
    """The place of the one set bit, 0 ... 63."""
    return popcount(bit - np.uint64(1))


@compiled
def both(a, b):
    """|a and b| of two row sets."""
    count = 0
    for w in range(a.size):
        count += popcount(a[w] & b[w])
    return count


@compiled
def co_occurrence(heads, tails):
    """|T_x and T_y|, (p, q)."""
    out = np.empty((heads.shape[0], tails.shape[0]), np.int64)
    for x in range(heads.shape[0]):
        for y in range(tails.shape[0]):
            out[x, y] = both(heads[x], tails[y])
    return out


@compiled
def add_item(planes, column, top, size):
    """Adds an item to the planes P[l - 1] = {t : at least l items}; returns how many of them are not empty, <= size."""
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


@compiled
def fill_planes(planes, columns, items):
    """Planes P[l - 1] = {t : at least l of ``items``} of the row sets ``columns``; returns how many are not empty."""
    planes[:] = 0
    top = 0
    for item in items:
        top = add_item(planes, columns[item], top, len(planes))
    return top


@compiled
def tables(n):
    """``single``, ``factorials`` and ``complexities`` of a database of n rows."""
    size = PLANES * n + 1
    factorials = np.empty(size)
    complexities = np.empty(size)
    for i in range(size):
        factorials[i] = log2_factorial(i)
        complexities[i] = lpc(i)
    single = np.empty(n + 1)
    for m in range(n + 1):
        single[m] = log2_binomial(n, m)
    return single, factorials, complexities


@compiled
def choose(db, n, k):
    """log2 C(n, k)."""
    if n < db.factorials.size:
        return db.factorials[n] - db.factorials[k] - db.factorials[n - k]
    return log2_binomial(n, k)


@compiled
def complexity(db, n):
    """Lpc(n)."""
    if n < db.complexities.size:
        return db.complexities[n]
    return lpc(n)


@compiled
def exceptions(db, applies, holds, missing, present, Y):
    """Bits for the rows where the rule holds and, if robust, for the errors X- and X+ with their complexities.

    Args:
        applies, holds: |T_X| and |T_{Y|X}|.
        missing, present: |X-| and |X+|.
        Y: number of tail items.
    """
    bits = choose(db, applies, holds)
    if db.robust:
        a = holds * Y  # cells of X-
        b = (applies - holds) * Y  # cells of X+
        errors = choose(db, a, missing) + choose(db, b, present)
        errors += complexity(db, a)
        errors += complexity(db, b)
        bits += errors
    return bits


@compiled
def best_head(db, order, y, scratch):
    """Algorithm 1 for tail item y: the head order[:t] and the l that cost least; (bits, t, l). No rule: bits = inf."""
    best, best_t, best_l = np.inf, 0, 0
    levels = len(order)
    if db.disjunctive:
        levels = min(levels, 1)
    planes = scratch[:levels]
    planes[:] = 0
    column = db.tails[y]
    margin = db.margins[y]
    top = 0
    items = 0.0
    for t in range(1, len(order) + 1):
        x = order[t - 1]
        top = add_item(planes, db.heads[x], top, levels)
        items += db.head_bits[x]
        fixed = universal(t) + universal(1) + items + db.tail_bits[y]
        for l in range(1, top + 1):
            T = planes[l - 1]
            applies = both(T, T)
            holds = both(T, column)
            bits = fixed + complexity(db, applies)
            bits += exceptions(db, applies, holds, 0, 0, 1)
            bits += db.single[margin - holds]
            if db.robust:
                bits += universal(l)
            if bits < best - EPS:
                best, best_t, best_l = bits, t, l
    return best, best_t, best_l


@compiled
def tail_counts(db, Y, out):
    """Adds to ``out`` (n,) uint16 how many items of Y each row has."""
    for y in Y:
        for w in range(db.tails.shape[1]):
            word = db.tails[y, w]
            row = w * 64
            while word:
                low = lowest_bit(word)
                out[row + bit_number(low)] += np.uint16(1)
                word ^= low


@compiled
def at_least_by_row(db, T, Y, counts, at_least, inside):
    """Row by row, for tails of any size: at_least[k] = |T and {|Y and t| >= k}| and inside[i, k] = the same with Y[i].

    Args:
        counts: (n,) uint16, tail items of each row.
        at_least: (|Y| + 2,); inside: (|Y| or 0, |Y| + 2); both int64, written from k = 1 on.
    """
    size = len(Y)
    inside[:] = 0
    for w in range(T.size):
        word = T[w]
        row = w * 64
        while word:
            low = lowest_bit(word)
            count = counts[row + bit_number(low)]
            if count:
                at_least[count] += 1
                for i in range(len(inside)):
                    if db.tails[Y[i], w] & low:
                        inside[i, count] += 1
            word ^= low
    for k in range(size - 1, 0, -1):  # from exactly k to at least k
        at_least[k] += at_least[k + 1]
        for i in range(len(inside)):
            inside[i, k] += inside[i, k + 1]


@compiled
def singles_outside(db, Y, T):
    """Bits of the singletons of Y in the rows outside T."""
    bits = 0.0
    for y in Y:
        bits += db.single[db.margins[y] - both(T, db.tails[y])]
    return bits


@compiled
def singles_left(db, Y, holds, inside, k):
    """Bits of the singletons of Y in the rows where the rule does not hold."""
    bits = 0.0
    for i in range(len(Y)):
        covered = inside[i, k] if db.drop_holds else holds
        bits += db.single[db.margins[Y[i]] - covered]
    return bits


@compiled
def cheapest_k(db, Y, at_least, inside, model, outside, best):
    """The k of least cost at one l, if it costs less than ``best`` bits; (bits, k), k = 0 if none does.

    Args:
        model: bits of L(X -> Y), but for the exceptions.
        outside: ``singles_outside`` of T_X, for the encoding that needs it.
    """
    size = len(Y)
    chosen = 0
    applies = at_least[0]
    total = at_least[1 : size + 1].sum()  # ones of D[T_X, Y]
    higher = 0  # sum of at_least[j], j > k
    smallest = 1 if db.robust else size
    for k in range(size, smallest - 1, -1):
        holds = at_least[k]
        ones = k * holds + higher  # of D[T_{Y|X}, Y]
        bits = model + exceptions(
            db, applies, holds, size * holds - ones, total - ones, size
        )
        if db.robust and not db.drop_holds:
            bits += outside
        else:
            bits += singles_left(db, Y, holds, inside, k)
        if bits < best - EPS:
            best, chosen = bits, k
        higher += holds
    return best, chosen


@compiled
def cheapest(db, X, Y, counts, head_planes, tail_planes):
    """The l and k of least cost for X -> Y; (bits, l, k).

    Args:
        counts: (n,) uint16, tail items of each row, used where |Y| > PLANES or ``drop_holds``.
        head_planes, tail_planes: scratch, (>= |X|, W) and (>= PLANES, W) uint64.
    """
    size = len(Y)
    by_planes = size <= PLANES and not db.drop_holds
    fixed = universal(len(X)) + universal(size)
    for x in X:
        fixed += db.head_bits[x]
    for y in Y:
        fixed += db.tail_bits[y]

    levels = 1 if db.disjunctive else len(X)
    H = head_planes[:levels]
    top = fill_planes(H, db.heads, X)
    K = tail_planes[: size if by_planes else 0]
    filled = fill_planes(K, db.tails, Y) if by_planes else 0

    best, best_l, best_k = np.inf, 0, 0
    at_least = np.zeros(size + 2, np.int64)  # rows of T_X with at least k items of Y
    inside = np.zeros(
        (size if db.drop_holds else 0, size + 2), np.int64
    )  # those with Y[i] among them
    for l in range(1, top + 1):
        T = H[l - 1]
        at_least[:] = 0
        at_least[0] = both(T, T)
        if by_planes:
            for k in range(1, filled + 1):
                at_least[k] = both(T, K[k - 1])
        else:
            at_least_by_row(db, T, Y, counts, at_least, inside)
        model = fixed + complexity(db, at_least[0])
        outside = 0.0
        if db.robust:
            model += universal(l)
            if not db.drop_holds:
                outside = singles_outside(db, Y, T)
        bits, k = cheapest_k(db, Y, at_least, inside, model, outside, best)
        if k:
            best, best_l, best_k = bits, l, k
    return best, best_l, best_k


# --------------------------------------------------------------------------------------------- blocks of work


@compiled
def list_at(items, start, i):
    """The i-th of several lists that lie one after the other in ``items``."""
    return items[start[i] : start[i + 1]]


@compiled
def new_rules(db, ys, order, start, longest):
    """``best_head`` of the tail items ``ys``; order[start[i]:start[i + 1]] is H_y of the i-th. (m,) bits, t, l."""
    m = len(ys)
    bits = np.empty(m)
    t = np.empty(m, np.int64)
    l = np.empty(m, np.int64)
    words = db.tails.shape[1]
    scratch = np.empty((max(longest, 1), words), np.uint64)
    for i in range(m):
        head = list_at(order, start, i)
        bits[i], t[i], l[i] = best_head(db, head, ys[i], scratch)
    return bits, t, l


@compiled
def group_rules(db, ys, items, start, longest):
    """Algorithm 1 with given heads: for each y of ``ys`` the best of the groups items[start[g]:start[g + 1]], and l."""
    m = len(ys)
    bits = np.full(m, np.inf)
    best = np.zeros(m, np.int64)
    l = np.zeros(m, np.int64)
    words = db.tails.shape[1]
    H = np.empty((longest, words), np.uint64)
    K = np.empty((PLANES, words), np.uint64)
    counts = np.zeros(db.n, np.uint16)
    for i in range(m):
        tail = ys[i : i + 1]
        if db.drop_holds:
            counts[:] = 0
            tail_counts(db, tail, counts)
        for g in range(len(start) - 1):
            head = list_at(items, start, g)
            cost, least, _ = cheapest(db, head, tail, counts, H, K)
            if cost < bits[i] - EPS:
                bits[i], best[i], l[i] = cost, g, least
    return bits, best, l


@compiled
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
            m += 1
            i += 1
            j += 1
    return out[:m]


@compiled
def merges(db, pairs, X, X_start, Y, Y_start, slot, counts, longest):
    """Algorithm 2 for pairs of rules: cost, l and k of (X1 and X2 -> Y1 or Y2) and of (X1 or X2 -> Y1 or Y2).

    Args:
        pairs: (m, 2) rule numbers; X[X_start[r]:X_start[r + 1]] is the head of rule r, Y the same.
        slot: (rules,) row of ``counts`` with the tail counts of the rule, or -1.

    Returns:
        (m, 2) bits (inf: no such rule, or the same as the one before), l, k; columns intersection, union.
    """
    m = len(pairs)
    bits = np.full((m, 2), np.inf)
    l = np.zeros((m, 2), np.int64)
    k = np.zeros((m, 2), np.int64)
    words = db.tails.shape[1]
    H = np.empty((longest, words), np.uint64)
    K = np.empty((PLANES, words), np.uint64)
    both_counts = np.zeros(db.n, np.uint16)
    for i in range(m):
        r, s = pairs[i]
        X1, X2 = list_at(X, X_start, r), list_at(X, X_start, s)
        Y1, Y2 = list_at(Y, Y_start, r), list_at(Y, Y_start, s)
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
            size = len(head)
            equal_heads = size == len(X1) and size == len(X2)
            if size == 0 or (u == 1 and equal_heads):
                continue  # no head, or X1 = X2: the union is the intersection
            bits[i, u], l[i, u], k[i, u] = cheapest(db, head, tail, both_counts, H, K)
    return bits, l, k


@compiled
def independent(pairs, taken):
    """Which of the pairs, best first, share no rule with a pair chosen earlier; marks the rules in ``taken``."""
    chosen = np.zeros(len(pairs), np.bool_)
    for i in range(len(pairs)):
        r, s = pairs[i]
        if not (taken[r] or taken[s]):
            chosen[i] = taken[r] = taken[s] = True
    return chosen


@compiled
def near_pairs(sizes, overlap, first, block, mu):
    """(m, 2): pairs (s, r), s < r = first[i], of one block with |X_r symdiff X_s| <= mu.

    Args:
        overlap: (rows, rules) |X_r and X_s| for the rules r = first[i].
    """
    count = 0
    for fill in range(2):
        out = np.empty((count, 2), np.int64)
        count = 0
        for i in range(overlap.shape[0]):
            r = first[i]
            for s in range(r):
                differing = sizes[r] + sizes[s] - 2 * overlap[i, s]
                if block[r] == block[s] and differing <= mu:
                    if fill:
                        out[count, 0] = s
                        out[count, 1] = r
                    count += 1
    return out
