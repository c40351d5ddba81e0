"""ExplaiNN: finds the set of robust rules between two layers that compresses their activations best.

Idea: begin with the best rule for each single tail item, then merge rules of similar heads as long as that saves bits.

    model = mine(heads, tails, theta=0.4, mu=1)         # (n, p) and (n, q), 0 and 1
    model.rules                                         # Rule(X=(3,), Y=(12, 14), l=1, k=2), best first; tails: p + j
    model.bits, model.baseline                          # L(D, M) and L(D, M_ind)

Theory (Sec. 2.3, App. A.5).
    Algorithm 1  For a tail item y take the head items with sigma = |T_x and T_y| / |T_x| > theta, by decreasing sigma;
                 of the heads made of the first t of them, with every l, take the one that gains most. Line 10 prints
                 the sign of the gain the wrong way round; the gain is L(D, M) - L(D, M').
    Algorithm 2  For two rules whose heads differ in at most mu items: the intersection and the union of the heads with
                 the union of the tails, and every l and k.
    Algorithm 3  Merges by decreasing gain; all that touch different tail items are applied in one sweep, for they do
                 not change each other's gain. (Printed: the tail is not a *subset* of those changed; independence
                 needs it to be disjoint from them.) Sweeps until nothing gains.
Tails never overlap, so L(D, M) is the baseline plus one term per rule, and a merge changes only the terms of its two
rules: a sweep computes the merges of pairs with a new rule, and the gains of earlier pairs remain valid.

Cost: n / 64 words per item; Algorithm 1 reads |H_y|^2 / 2 planes per item y, a merge |X||Y| of them. theta and mu,
which the paper does not state, only restrict the search; so does ``blocks``, for layers of more than some ten thousand
units.

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Sec. 2.3, App. A.5.
"""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.api import Array
from benchmark.papers.explainn import kernel, search
from benchmark.papers.explainn.mdl import (
    ROBUST,
    Encoding,
    Rule,
    check,
    description_length,
    lpc,
    universal,
)

_ALL_COLUMNS = ("constant", "duplicates")


@dataclass(frozen=True)
class Model:
    """A set of rules over p head and q tail columns; tail item j is column p + j."""

    rules: tuple[Rule, ...]
    gains: tuple[float, ...]  # bits that each rule saves, decreasing
    baseline: float  # L(D, M_ind), bits
    bits: float  # L(D, M)
    p: int
    finished: bool = True  # False: interrupted; the rules are the best so far
    candidates: int = (
        0  # rules whose cost was computed; all l and k of a rule count as one
    )
    seconds: float = 0.0

    @property
    def size(self) -> dict[str, float]:
        return {
            "rules": len(self.rules),
            "literals": sum(rule.literals for rule in self.rules),
            "bits": self.bits,
        }

    @property
    def saved_share(self) -> float:
        """The share of bits that the rules save."""
        return 1 - self.bits / self.baseline

    def tails(self, rule: Rule) -> list[int]:
        """The tail items of a rule as columns of the tail table."""
        return [y - self.p for y in rule.Y]


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
        allow: ``constant``, ``duplicates`` or both: columns that are accepted (``mdl.check``); columns that are never
            active get no rule.
        memory: GiB that the run may use.
        threads: number of threads that the kernels run in.
        progress: called with (what, done, of); ``progress_bar`` makes one that draws a bar. A KeyboardInterrupt in it
            ends the run, and the model so far is returned with ``finished`` False.

    Raises:
        ValueError: bad tables (``mdl.check``), theta outside [0, 1), mu < 0, threads < 1, bad blocks or groups, or too
            little memory.
    """
    start = time.perf_counter()
    heads = check(heads, "heads", allow)
    tails = check(tails, "tails", allow)
    n, p = heads.shape
    q = tails.shape[1]
    if len(tails) != n:
        raise ValueError(f"heads have {n} rows, tails {len(tails)}")
    if not 0 <= theta < 1 or mu < 0 or threads < 1:
        raise ValueError(
            f"theta = {theta} must lie in [0, 1), mu = {mu} be at least 0 "
            f"and threads = {threads} at least 1"
        )
    blocks = _checked_blocks(blocks, q)
    need = _memory(n, p, q)
    if need > memory:
        raise ValueError(
            f"n = {n:,} with {p:,} heads and {q:,} tails needs about {need:.1f} GiB, "
            f"more than memory = {memory}"
        )
    db, head_margins, baseline = _database(heads, tails, encoding, disjunctive)
    if groups is not None:
        groups, mu = _checked_groups(groups, head_margins), 0
    state = search.State()
    run = search.Run(threads, progress)
    finished = False
    try:
        search.first_rules(db, head_margins, theta, groups, state, run)
        search.merge_rules(db, blocks, mu, memory - need, state, run)
        finished = True
    except KeyboardInterrupt:
        pass
    rules, gains, bits = _by_gain(db, state, encoding, baseline, p)
    seconds = time.perf_counter() - start
    return Model(rules, gains, baseline, bits, p, finished, run.candidates, seconds)


def fitted(
    heads: Array,
    tails: Array,
    rules: Sequence[Rule],
    encoding: Encoding = ROBUST,
) -> Model:
    """The model of given heads and tails (no tail item in two rules), each rule with its cheapest l and k.

    A rule may cost more than it saves; then its gain is negative.
    """
    heads = check(heads, "heads", _ALL_COLUMNS)
    tails = check(tails, "tails", _ALL_COLUMNS)
    db, _, baseline = _database(heads, tails, encoding, False)
    state = search.State()
    p, words = heads.shape[1], len(db.heads[0])
    tail_planes = np.empty((kernel.PLANES, words), np.uint64)
    for rule in rules:
        X = np.array(rule.X)
        Y = np.array(rule.Y) - p
        counts = search.tail_counts(db, Y)
        if counts is None:
            counts = np.zeros(0, np.uint16)
        head_planes = np.empty((len(X), words), np.uint64)
        bits, l, k = kernel.cheapest(db, X, Y, counts, head_planes, tail_planes)
        state.add(X, Y, l, k, bits)
    rules, gains, bits = _by_gain(db, state, encoding, baseline, p)
    return Model(rules, gains, baseline, bits, p)


def _checked_blocks(blocks: Array | None, q: int) -> Array:
    """The block of each of q tail items; without ``blocks`` they are all in one."""
    blocks = np.zeros(q, np.int64) if blocks is None else np.asarray(blocks)
    fits = blocks.shape == (q,)
    if fits:
        _, sizes = np.unique(blocks, return_counts=True)
        fits = sizes.max() <= 65535
    if not fits:
        raise ValueError(
            f"blocks has shape {blocks.shape}; expected ({q},), a block of at most 65,535 items"
        )
    return blocks


def _checked_groups(
    groups: Sequence[Sequence[int]], head_margins: Array
) -> list[Array]:
    """The groups of head items, sorted, as arrays."""
    checked = []
    for group in groups:
        items = np.array(sorted(set(map(int, group))), np.int64)
        exist = len(items) > 0 and items[0] >= 0 and items[-1] < len(head_margins)
        if not exist or not head_margins[items].all():
            raise ValueError(
                "a group of heads is empty, or names a column that does not exist or is never active"
            )
        checked.append(items)
    return checked


def _database(
    heads: Array,
    tails: Array,
    encoding: Encoding,
    disjunctive: bool,
) -> tuple[kernel.Packed, Array, float]:
    """The packed tables, |T_x| of the heads, and L(D, M_ind)."""
    n, p = heads.shape
    margins = np.concatenate([heads.sum(0), tails.sum(0)])  # |T_I|
    everything = max(margins.sum(), 1)
    item_bits = -np.log2(
        np.maximum(margins, 1) / everything
    )  # the prefix code of items
    single, factorials, complexities = kernel.tables(n)
    db = kernel.Packed(
        heads=kernel.pack(heads),
        tails=kernel.pack(tails),
        margins=margins[p:],
        head_bits=item_bits[:p],
        tail_bits=item_bits[p:],
        single=single,
        factorials=factorials,
        complexities=complexities,
        n=n,
        disjunctive=disjunctive,
        robust=encoding.robust,
        drop_holds=encoding.drops_where_held,
    )
    baseline = len(margins) * lpc(n) + single[margins].sum()
    return db, margins[:p], float(baseline)


def _by_gain(
    db: kernel.Packed,
    state: search.State,
    encoding: Encoding,
    baseline: float,
    p: int,
) -> tuple[tuple[Rule, ...], tuple[float, ...], float]:
    """The rules of a run, best first, the bits that each saves, and L(D, M)."""

    def key(r: int) -> tuple:
        return -round(_gain(db, state, r), 6), tuple(state.Y[r])

    order = sorted(range(len(state)), key=key)
    rules = tuple(
        Rule(state.X[r], state.Y[r] + p, state.l[r], state.k[r]) for r in order
    )
    gains = tuple(_gain(db, state, r) for r in order)
    counted = 0.0
    if encoding.count_rules and rules:
        counted = universal(len(rules))
    return rules, gains, baseline - sum(gains) + counted


def _memory(n: int, p: int, q: int) -> float:
    """GiB of the packed and the unpacked tables, the co-occurrences and the counts of large tails."""
    words = -(-n // 64)
    tables = (p + q) * (n + 8 * words)
    together = 16 * p * q
    counts = q / kernel.PLANES * 2 * n
    return (tables + together + counts) / 2**30


def _gain(db: kernel.Packed, state: search.State, r: int) -> float:
    """Bits that rule r saves over the singletons of its tail."""
    margins = db.margins[state.Y[r]]
    singletons = db.single[margins]
    return float(singletons.sum() - state.bits[r])


def progress_bar() -> Callable[[str, int, int], None]:
    """A progress callback that draws a bar on the terminal; silent without a terminal."""
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


def verify(
    model: Model,
    heads: Array,
    tails: Array,
    encoding: Encoding = ROBUST,
) -> float:
    """L(D, M) recomputed by ``mdl.description_length``, bits; equal to ``model.bits``."""
    tables = np.asarray(heads, bool), np.asarray(tails, bool)
    D = np.concatenate(tables, axis=1)
    length = description_length(D, model.rules, encoding, allow=_ALL_COLUMNS)
    return length.total
