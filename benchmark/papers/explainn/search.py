"""The search for rules: Algorithms 1 to 3 on packed tables. ``miner.py`` has the theory, the checks and the result."""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.api import Array
from benchmark.papers.explainn import kernel

_BLOCK = (
    4096  # pairs that a thread takes at once; a run can be interrupted between blocks
)
_ITEMS = 256  # the same for tail items
_ROWS = 512  # new rules whose pairs are listed at once
_MERGE_BYTES = 56  # of a merge that gains: its pair, and five numbers
_FIELDS = ("X", "Y", "l", "k", "bits", "counts")  # of State


@dataclass
class State:
    """The rules of a run: items as sorted arrays, and the cost of each rule in bits."""

    X: list[Array] = field(default_factory=list)
    Y: list[Array] = field(default_factory=list)
    l: list[int] = field(default_factory=list)
    k: list[int] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)
    # (n,) uint16 tail items of each row, for large tails
    counts: list[Array | None] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.bits)

    def add(
        self,
        X: Array,
        Y: Array,
        l: int,
        k: int,
        bits: float,
        counts: Array | None = None,
    ) -> None:
        values = X, Y, l, k, bits, counts
        for name, value in zip(_FIELDS, values, strict=True):
            getattr(self, name).append(value)

    def keep(self, alive: Array) -> None:
        """Drops the rules that are not ``alive`` (rules,) bool."""
        rows = np.flatnonzero(alive)
        for name in _FIELDS:
            values = getattr(self, name)
            setattr(self, name, [values[r] for r in rows])


class Run:
    """Runs kernels over blocks: threads, progress, and the number of candidates so far."""

    def __init__(
        self, threads: int, progress: Callable[[str, int, int], Any] | None
    ) -> None:
        self.threads = threads
        self.progress = progress
        self.candidates = 0

    def __call__(
        self,
        what: str,
        work: Callable[[slice], Any],
        total: int,
        block: int,
    ) -> Iterator[Any]:
        """work(rows) for all blocks of rows, results in order."""
        rows = [
            slice(start, min(start + block, total)) for start in range(0, total, block)
        ]
        executor = ThreadPoolExecutor(self.threads) if self.threads > 1 else _Inline()
        with executor as pool:
            results = pool.map(work, rows)
            for done, result in zip(rows, results, strict=True):
                if self.progress:
                    self.progress(what, done.stop, total)
                yield result


class _Inline:
    """An executor that works immediately, in the calling thread."""

    map = staticmethod(map)

    def __enter__(self) -> _Inline:
        return self

    def __exit__(self, *_: object) -> None:
        pass


# --------------------------------------------------------------------------------------------- Algorithm 1


def first_rules(
    db: kernel.Packed,
    head_margins: Array,
    theta: float,
    groups: list[Array] | None,
    state: State,
    run: Run,
) -> None:
    """Algorithm 1 for every tail item; rules that gain are added to ``state``."""
    active = np.flatnonzero(db.margins)
    if not len(active) or (groups is not None and not groups):
        return

    def work(rows: slice) -> tuple:
        ys = active[rows]
        if groups is not None:
            return ys, *_best_groups(db, ys, groups)
        return ys, *_best_heads(db, ys, head_margins, theta)

    for ys, bits, X, l in run("new rules", work, len(active), _ITEMS):
        run.candidates += len(ys)
        for y, cost, head, least in zip(ys, bits, X, l, strict=True):
            if cost < db.single[db.margins[y]] - kernel.EPS:
                Y = np.array([y])
                state.add(head, Y, int(least), 1, float(cost), tail_counts(db, Y))


def _best_heads(
    db: kernel.Packed,
    ys: Array,
    head_margins: Array,
    theta: float,
) -> tuple[Array, list[Array], Array]:
    """For each tail item the bits, the head and the l of its cheapest rule."""
    together = kernel.co_occurrence(db.heads, db.tails[ys])  # (p, rows) |T_x and T_y|
    margins = np.maximum(head_margins, 1)
    sigma = together / margins[:, None]
    candidates = [_by_confidence(of_item, theta) for of_item in sigma.T]
    longest = max(map(len, candidates))
    bits, t, l = kernel.new_rules(db, ys, *_ragged(candidates), longest)
    heads = [np.sort(H[:size]) for H, size in zip(candidates, t, strict=True)]
    return bits, heads, l


def _by_confidence(sigma: Array, theta: float) -> Array:
    """H_y: the head items with sigma > theta, by decreasing sigma."""
    order = np.lexsort((np.arange(len(sigma)), -sigma))
    return order[: int((sigma > theta).sum())]


def _best_groups(
    db: kernel.Packed, ys: Array, groups: list[Array]
) -> tuple[Array, list[Array], Array]:
    """The same, where only the heads ``groups`` are allowed."""
    longest = max(map(len, groups))
    bits, chosen, l = kernel.group_rules(db, ys, *_ragged(groups), longest)
    return bits, [groups[g] for g in chosen], l


# --------------------------------------------------------------------------------------------- Algorithms 2 and 3


def merge_rules(
    db: kernel.Packed,
    blocks: Array,
    mu: int,
    memory: float,
    state: State,
    run: Run,
) -> None:
    """Sweeps of merges until nothing gains, on the rules in ``state``."""
    fresh = 0  # rules from here on are new
    pairs = np.empty((0, 2), np.int64)
    found = np.empty((0, 5))  # of each pair: gain, is it a union, bits, l, k
    while len(state) > 1:
        new = list(_candidates(db, blocks, mu, fresh, memory, state, run))
        pairs = np.concatenate([pairs, *[new_pairs for new_pairs, _ in new]])
        found = np.concatenate([found, *[new_found for _, new_found in new]])
        rounded_gain = np.round(found[:, 0], 6)
        order = np.lexsort((found[:, 1], pairs[:, 1], pairs[:, 0], -rounded_gain))
        pairs, found = pairs[order], found[order]
        before = len(state)
        taken = np.zeros(before, bool)
        chosen = np.flatnonzero(kernel.independent(pairs, taken))
        if not len(chosen):
            return
        for pair, merged in zip(pairs[chosen], found[chosen], strict=True):
            _apply(db, pair, merged, state)
        alive = np.concatenate([~taken, np.ones(len(chosen), bool)])
        state.keep(alive)
        still = ~taken[pairs].any(1)
        renumbered = np.cumsum(alive[:before]) - 1
        pairs, found = renumbered[pairs[still]], found[still]
        fresh = int(alive[:before].sum())


def _apply(
    db: kernel.Packed,
    pair: Array,
    merged: Array,
    state: State,
) -> None:
    """Adds the rule that a merge makes of two."""
    r, s = pair
    _, union, bits, l, k = merged
    X = kernel.merge(state.X[r], state.X[s], bool(union))
    Y = kernel.merge(state.Y[r], state.Y[s], True)
    counts = tail_counts(db, Y)
    state.add(
        X,
        Y,
        int(l),
        int(k),
        float(bits),
        counts,
    )


def _candidates(
    db: kernel.Packed,
    blocks: Array,
    mu: int,
    fresh: int,
    memory: float,
    state: State,
    run: Run,
) -> Iterator[tuple[Array, Array]]:
    """The merges that gain, of pairs with a rule from ``fresh`` on: (m, 2) rules, (m, 5) as in ``merge_rules``."""
    X, Y = _ragged(state.X), _ragged(state.Y)
    sizes = np.array([len(x) for x in state.X])
    longest = 2 * int(sizes.max())
    cost = np.array(state.bits)
    slot, counts = _kept_counts(db, state)
    member = np.zeros(
        (len(cost), len(db.heads)), np.float32
    )  # (rules, p) is the item in the head?
    for r, x in enumerate(state.X):
        member[r, x] = 1
    block = blocks[[y[0] for y in state.Y]]
    what = f"merges of {len(cost)} rules"
    held = 0
    for first in range(fresh, len(cost), _ROWS):
        rows = np.arange(first, min(first + _ROWS, len(cost)))
        overlap = member[rows] @ member.T
        pairs = kernel.near_pairs(sizes, overlap, rows, block, mu)

        def work(part: slice, pairs: Array = pairs) -> tuple:
            return pairs[part], *kernel.merges(
                db, pairs[part], *X, *Y, slot, counts, longest
            )

        for mine, bits, l, k in run(what, work, len(pairs), _BLOCK):
            run.candidates += int(np.isfinite(bits).sum())
            gain = cost[mine].sum(1)[:, None] - bits  # (m, 2)
            which, union = np.nonzero(gain > kernel.EPS)
            if not len(which):
                continue
            held += len(which)
            if held * _MERGE_BYTES / 2**30 > memory:
                raise ValueError(
                    f"the gains of {held:,} merges need more than the {memory:.1f} GiB "
                    "left of memory; raise it or theta, or mine in blocks"
                )
            at = which, union
            yield (
                mine[which],
                np.column_stack([gain[at], union, bits[at], l[at], k[at]]),
            )


def _kept_counts(db: kernel.Packed, state: State) -> tuple[Array, Array]:
    """(rules,) the row of a rule's tail counts, or -1, and these counts, (large rules, n) uint16."""
    slot = np.full(len(state), -1)
    kept = []
    for r, counts in enumerate(state.counts):
        if counts is not None:
            slot[r] = len(kept)
            kept.append(counts)
    if not kept:
        return slot, np.zeros((0, db.n), np.uint16)
    return slot, np.stack(kept)


def tail_counts(db: kernel.Packed, Y: Array) -> Array | None:
    """(n,) tail items of each row, kept for tails too large for planes."""
    if len(Y) <= kernel.PLANES // 2 and not db.drop_holds:
        return None
    counts = np.zeros(db.n, np.uint16)
    kernel.tail_counts(db, Y, counts)
    return counts


def _ragged(lists: Sequence[Array]) -> tuple[Array, Array]:
    """Lists one after the other, and where each begins."""
    start = np.zeros(len(lists) + 1, np.int64)
    if not len(lists):
        return np.empty(0, np.int64), start
    start[1:] = np.cumsum([len(items) for items in lists])
    arrays = [np.asarray(items, np.int64) for items in lists]
    return np.concatenate(arrays), start
