"""ExplaiNN: finds the set of robust rules between two layers that compresses their activations best.

Idea: begin with the best one-item rule for each tail item, then merge rules of like heads as long as that saves bits.

    model = mine(heads, tails, theta=0.4, mu=1)         # (n, p) and (n, q), 0 and 1
    model.rules                                         # Rule(X=(3,), Y=(12, 14), l=1, k=2), best first; columns p.. are tails
    model.bits, model.baseline                          # L(D, M) and L(D, M_ind)

Theory (Sec. 2.3, App. A.5).
    Algorithm 1  For a tail item y take the head items with sigma = |T_x and T_y| / |T_x| > theta, by decreasing sigma, and of
                 all their first t with every l the head that gains most. Line 10 prints the sign of its gain the wrong way
                 round; the gain is L(D, M) - L(D, M').
    Algorithm 2  For two rules whose heads differ in at most mu items: the intersection and the union of the heads with the
                 union of the tails, and every l and k.
    Algorithm 3  Merges by decreasing gain; all that touch different tail items are applied in one sweep, for they do not
                 change each other's gain. (Printed: the tail is not a *subset* of those changed; independence needs it disjoint
                 from them.) Sweeps until nothing gains.
Tails never overlap, so L(D, M) is the baseline plus one term a rule, and a merge changes the terms of its two rules only:
a sweep looks at pairs with a new rule, and what it learnt of others stays true.

Cost: n / 64 words an item; Algorithm 1 reads |H_y|^2 / 2 planes an item y, a merge |X||Y| of them. theta and mu, which the
paper gives nowhere, only restrict the search; so does ``blocks``, for layers of more than some ten thousand units.

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Sec. 2.3, App. A.5.
"""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.api import Array
from benchmark.papers.explainn import kernel
from benchmark.papers.explainn.mdl import (
    ROBUST,
    Encoding,
    Rule,
    check,
    description_length,
    lpc,
    universal,
)

_BLOCK = (
    4096  # tail items or pairs that a thread takes at once; between blocks a run can be interrupted
)


@dataclass(frozen=True)
class Model:
    """A set of rules over p head and q tail columns; tail item j is column p + j."""

    rules: tuple[Rule, ...]
    gains: tuple[float, ...]  # bits that each rule saves, decreasing
    baseline: float  # L(D, M_ind), bits
    bits: float  # L(D, M)
    p: int
    finished: bool = True  # False: interrupted; the rules are the best so far
    candidates: int = 0  # rules whose cost was computed, all their l and k counted as one
    seconds: float = 0.0

    @property
    def size(self) -> dict[str, float]:
        return {
            "rules": len(self.rules),
            "literals": sum(r.literals for r in self.rules),
            "bits": self.bits,
        }

    def tails(self, rule: Rule) -> list[int]:
        """The tail items as columns of the tails alone."""
        return [y - self.p for y in rule.Y]


@dataclass
class _State:
    """The rules of a run: items as sorted arrays, and what each costs in bits."""

    X: list[Array] = field(default_factory=list)
    Y: list[Array] = field(default_factory=list)
    l: list[int] = field(default_factory=list)
    k: list[int] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)
    counts: list[Array | None] = field(
        default_factory=list
    )  # (n,) uint16 tail items a row, of large tails

    def add(
        self, X: Array, Y: Array, l: int, k: int, bits: float, counts: Array | None = None
    ) -> None:
        for name, value in zip(
            ("X", "Y", "l", "k", "bits", "counts"), (X, Y, l, k, bits, counts), strict=True
        ):
            getattr(self, name).append(value)

    def keep(self, alive: Array) -> None:
        for name in ("X", "Y", "l", "k", "bits", "counts"):
            setattr(self, name, [v for v, a in zip(getattr(self, name), alive, strict=True) if a])


def mine(
    heads: Array,
    tails: Array,
    *,
    theta: float = 0.4,
    mu: int = 1,
    encoding: Encoding = ROBUST,
    disjunctive: bool = False,
    groups: Sequence[Sequence[int]] | None = None,
    blocks: Array | None = None,
    allow: Sequence[str] = (),
    memory: float = 4.0,
    threads: int = 1,
    progress: Callable[[str, int, int], Any] | None = None,
) -> Model:
    """Algorithm 3.

    Args:
        heads, tails: (n, p) and (n, q), 0 and 1: the activations of two layers for the same n samples.
        theta: head candidates of y have confidence above it.
        mu: heads that differ in at most so many items are merged.
        disjunctive: l = 1 only, for heads of output units, of which one is active.
        groups: the only heads allowed (a cascade: tails of the layer above); merges then join equal heads.
        blocks: (q,) integers; merges join tail items of one block only (say a filter). None: one block.
        allow: of ``constant`` and ``duplicates``: columns that are let through (``mdl.check``); never active ones get no rule.
        memory: GiB that the run may use.
        threads: the kernels run on so many.
        progress: called with (what, done, of); ``progress_bar`` draws it. An exception in it, KeyboardInterrupt above all,
            ends the run, and the model so far is returned with ``finished`` False.

    Raises:
        ValueError: bad tables (``mdl.check``), theta outside [0, 1), mu < 0, threads < 1, or too little memory.
    """
    start = time.perf_counter()
    heads, tails = check(heads, "heads", allow), check(tails, "tails", allow)
    (n, p), q = heads.shape, tails.shape[1]
    if len(tails) != n:
        raise ValueError(f"heads have {n} rows, tails {len(tails)}")
    if not 0 <= theta < 1 or mu < 0 or threads < 1:
        raise ValueError(
            f"theta = {theta} must lie in [0, 1), mu = {mu} be at least 0 and threads = {threads} at least 1"
        )
    blocks = np.zeros(q, np.int64) if blocks is None else np.asarray(blocks)
    if blocks.shape != (q,) or np.bincount(np.unique(blocks, return_inverse=True)[1]).max() > 65535:
        raise ValueError(
            f"blocks has shape {blocks.shape}; expected ({q},), a block of at most 65,535 items"
        )
    need = _memory(n, p, q)
    if need > memory:
        raise ValueError(
            f"n = {n:,} with {p:,} heads and {q:,} tails needs about {need:.1f} GiB, more than memory = {memory}"
        )

    db, head_margins, baseline = _database(heads, tails, encoding, disjunctive)
    state, run = _State(), _Run(threads, progress)
    try:
        _first_rules(db, head_margins, theta, groups, state, run)
        _merge(db, blocks, 0 if groups is not None else mu, memory - need, state, run)
        finished = True
    except KeyboardInterrupt:
        finished = False
    return _model(
        db, state, encoding, baseline, p, finished, run.candidates, time.perf_counter() - start
    )


def fitted(heads: Array, tails: Array, rules: Sequence[Rule], encoding: Encoding = ROBUST) -> Model:
    """The model of given heads and tails (no tail item in two of them), each with the l and k that cost it least.

    A rule may cost more than it saves; then its gain is negative.
    """
    allow = ("constant", "duplicates")
    heads, tails = check(heads, "heads", allow), check(tails, "tails", allow)
    db, _, baseline = _database(heads, tails, encoding, False)
    state, p, words = _State(), heads.shape[1], len(db.heads[0])
    for rule in rules:
        X, Y = np.array(rule.X), np.array(rule.Y) - p
        counts = _counts(db, Y)
        scratch = np.empty((len(X), words), np.uint64), np.empty((kernel.PLANES, words), np.uint64)
        bits, l, k = kernel.cheapest(
            db, X, Y, np.zeros(0, np.uint16) if counts is None else counts, *scratch
        )
        state.add(X, Y, l, k, bits)
    return _model(db, state, encoding, baseline, p)


def _database(
    heads: Array, tails: Array, encoding: Encoding, disjunctive: bool
) -> tuple[kernel.Packed, Array, float]:
    """The packed tables, |T_x| of the heads, and L(D, M_ind)."""
    (n, p), margins = heads.shape, np.concatenate([heads.sum(0), tails.sum(0)])
    prefix = -np.log2(np.maximum(margins, 1) / max(margins.sum(), 1))
    single, factorials, complexities = kernel.tables(n)
    db = kernel.Packed(
        kernel.pack(heads),
        kernel.pack(tails),
        margins[p:],
        prefix[:p],
        prefix[p:],
        single,
        factorials,
        complexities,
        n,
        disjunctive,
        encoding.robust,
        encoding.robust and encoding.drop == "holds",
    )
    return db, margins[:p], float(len(margins) * lpc(n) + single[margins].sum())


def _model(
    db: kernel.Packed,
    state: _State,
    encoding: Encoding,
    baseline: float,
    p: int,
    finished: bool = True,
    candidates: int = 0,
    seconds: float = 0.0,
) -> Model:
    order = sorted(
        range(len(state.bits)), key=lambda r: (-round(_gain(db, state, r), 6), tuple(state.Y[r]))
    )
    rules = tuple(Rule(state.X[r], state.Y[r] + p, state.l[r], state.k[r]) for r in order)
    gains = tuple(_gain(db, state, r) for r in order)
    counted = universal(len(rules)) if encoding.count_rules and rules else 0.0
    return Model(
        rules, gains, baseline, baseline - sum(gains) + counted, p, finished, candidates, seconds
    )


def _memory(n: int, p: int, q: int) -> float:
    """GiB of the packed and the unpacked tables, the co-occurrences and the counts of large tails."""
    words = -(-n // 64)
    return ((p + q) * (n + 8 * words) + 16 * p * q + q / kernel.PLANES * 2 * n) / 2**30


def _gain(db: kernel.Packed, state: _State, r: int) -> float:
    """Bits that rule r saves over the singletons of its tail."""
    return float(db.single[db.margins[state.Y[r]]].sum() - state.bits[r])


class _Run:
    """Runs kernels over blocks: threads, progress, and how many candidates were looked at."""

    def __init__(self, threads: int, progress: Callable[[str, int, int], Any] | None) -> None:
        self.threads, self.progress, self.candidates = threads, progress, 0

    def __call__(
        self, what: str, work: Callable[[slice], Any], total: int, block: int
    ) -> Iterator[Any]:
        """work(rows) for all blocks of rows, results in order."""
        rows = [slice(i, min(i + block, total)) for i in range(0, total, block)]
        with ThreadPoolExecutor(self.threads) if self.threads > 1 else _Inline() as pool:
            for done, result in zip(rows, pool.map(work, rows), strict=True):
                if self.progress:
                    self.progress(what, done.stop, total)
                yield result


class _Inline:
    """An executor that works at once, in this thread."""

    map = staticmethod(map)

    def __enter__(self) -> _Inline:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _first_rules(
    db: kernel.Packed,
    head_margins: Array,
    theta: float,
    groups: Sequence[Sequence[int]] | None,
    state: _State,
    run: _Run,
) -> None:
    """Algorithm 1 for every tail item; rules that gain are added to ``state``."""
    active = np.flatnonzero(db.margins)
    if groups is not None:
        groups = [np.array(sorted(set(map(int, g))), np.int64) for g in groups]
        if any(
            len(g) == 0 or g[0] < 0 or g[-1] >= len(head_margins) or not head_margins[g].all()
            for g in groups
        ):
            raise ValueError(
                "a group of heads is empty or names a column that is none or is never active"
            )
    if not len(active) or (groups is not None and not groups):
        return

    def from_groups(rows: slice) -> Any:
        ys = active[rows]
        bits, g, l = kernel.group_rules(db, ys, *_ragged(groups), max(map(len, groups)))
        return ys, bits, [groups[i] for i in g], l

    def from_items(rows: slice) -> Any:
        ys = active[rows]
        sigma = (
            kernel.co_occurrence(db.heads, db.tails[ys]) / np.maximum(head_margins, 1)[:, None]
        )  # (p, rows)
        lists = [
            np.lexsort((np.arange(len(s)), -s))[: int((s > theta).sum())] for s in sigma.T
        ]  # H_y
        bits, t, l = kernel.new_rules(db, ys, *_ragged(lists), max(map(len, lists)))
        return ys, bits, [np.sort(H[:size]) for H, size in zip(lists, t, strict=True)], l

    work = from_items if groups is None else from_groups
    for ys, bits, X, l in run("new rules", work, len(active), 256):
        run.candidates += len(ys)
        for y, cost, head, least in zip(ys, bits, X, l, strict=True):
            if cost < db.single[db.margins[y]] - kernel.EPS:
                state.add(
                    head, np.array([y]), int(least), 1, float(cost), _counts(db, np.array([y]))
                )


def _merge(
    db: kernel.Packed, blocks: Array, mu: int, memory: float, state: _State, run: _Run
) -> None:
    """Algorithm 2 and 3: sweeps of merges until nothing gains."""
    fresh = 0  # rules from here on are new
    pairs, found = (
        np.empty((0, 2), np.int64),
        np.empty((0, 5)),
    )  # found: gain, is it a union, bits, l, k
    while len(state.bits) > 1:
        more = list(_candidates(db, blocks, mu, fresh, memory, state, run))
        pairs, found = (
            np.concatenate([pairs, *(m[0] for m in more)]),
            np.concatenate([found, *(m[1] for m in more)]),
        )
        order = np.lexsort((found[:, 1], pairs[:, 1], pairs[:, 0], -np.round(found[:, 0], 6)))
        pairs, found = pairs[order], found[order]
        taken = np.zeros(len(state.bits), bool)
        chosen = np.flatnonzero(kernel.independent(pairs, taken))
        if not len(chosen):
            return
        before = len(state.bits)
        for (r, s), (_, union, bits, l, k) in zip(pairs[chosen], found[chosen], strict=True):
            X = kernel.merge(state.X[r], state.X[s], bool(union))
            Y = kernel.merge(state.Y[r], state.Y[s], True)
            state.add(X, Y, int(l), int(k), float(bits), _counts(db, Y))
        alive = np.concatenate([~taken, np.ones(len(chosen), bool)])
        state.keep(alive)
        still = ~taken[pairs].any(1)
        renumber = np.cumsum(alive[:before]) - 1
        pairs, found, fresh = renumber[pairs[still]], found[still], int(alive[:before].sum())


def _candidates(
    db: kernel.Packed, blocks: Array, mu: int, fresh: int, memory: float, state: _State, run: _Run
) -> Iterator[tuple[Array, Array]]:
    """The merges that gain, of pairs with at least one rule from ``fresh`` on: (m, 2) rules, (m, 5) as in ``_merge``."""
    X, Y = _ragged(state.X), _ragged(state.Y)
    sizes, cost = np.array([len(x) for x in state.X]), np.array(state.bits)
    large = [i for i, c in enumerate(state.counts) if c is not None]
    slot = np.full(len(cost), -1)
    slot[large] = np.arange(len(large))
    counts = np.stack([state.counts[i] for i in large]) if large else np.zeros((0, db.n), np.uint16)
    member = np.zeros((len(cost), len(db.heads)), np.float32)
    for r, x in enumerate(state.X):
        member[r, x] = 1
    block, held = blocks[[y[0] for y in state.Y]], 0
    for first in range(fresh, len(cost), 512):
        rows = np.arange(first, min(first + 512, len(cost)))
        pairs = kernel.near_pairs(sizes, member[rows] @ member.T, rows, block, mu)
        longest = 2 * int(sizes.max())

        def work(part: slice, pairs: Array = pairs, longest: int = longest) -> Any:
            return kernel.merges(db, pairs[part], *X, *Y, slot, counts, longest)

        for i, (bits, l, k) in enumerate(
            run(f"merges of {len(cost)} rules", work, len(pairs), _BLOCK)
        ):
            mine = pairs[i * _BLOCK : (i + 1) * _BLOCK]
            run.candidates += int(np.isfinite(bits).sum())
            gain = cost[mine].sum(1)[:, None] - bits
            which, union = np.nonzero(gain > kernel.EPS)
            if len(which):
                held += 56 * len(which)
                if held / 2**30 > memory:
                    raise ValueError(
                        f"the gains of {held // 56:,} merges need more than the {memory:.1f} GiB left of memory; "
                        "raise it or theta, or mine in blocks"
                    )
                at = which, union
                yield mine[which], np.column_stack([gain[at], union, bits[at], l[at], k[at]])


def _counts(db: kernel.Packed, Y: Array) -> Array | None:
    """Tail items a row, kept for tails too large for planes."""
    if len(Y) <= kernel.PLANES // 2 and not db.drop_holds:
        return None
    counts = np.zeros(db.n, np.uint16)
    kernel.tail_counts(db, Y, counts)
    return counts


def _ragged(lists: Sequence[Array]) -> tuple[Array, Array]:
    """Lists one after the other, and where each begins."""
    start = np.concatenate([[0], np.cumsum([len(x) for x in lists])]).astype(np.int64)
    return np.concatenate([np.asarray(x, np.int64) for x in lists]) if len(lists) else np.empty(
        0, np.int64
    ), start


def progress_bar() -> Callable[[str, int, int], None]:
    """A progress callback that draws a bar on the terminal; silent where there is none."""
    from rich.progress import Progress

    bar = Progress(transient=True)
    tasks: dict[str, Any] = {}

    def show(what: str, done: int, of: int) -> None:
        if what not in tasks:
            for task in tasks.values():
                bar.remove_task(task)
            tasks.clear()
            tasks[what] = bar.add_task(what, total=of)
            bar.start()
        bar.update(tasks[what], completed=done, total=of)
        if done >= of:
            bar.stop()

    return show


def verify(model: Model, heads: Array, tails: Array, encoding: Encoding = ROBUST) -> float:
    """L(D, M) counted anew by ``mdl.description_length``, bits; equal to ``model.bits``."""
    D = np.concatenate([np.asarray(heads, bool), np.asarray(tails, bool)], axis=1)
    return description_length(D, model.rules, encoding, allow=("constant", "duplicates")).total
