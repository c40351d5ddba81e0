"""Binary data with planted rules, and how many of them were found (Sec. 3.1, Fig. 2 top).

    data = planted(rng, m=50)                              # mutually exclusive head items
    data = planted(rng, m=50, heads="conjunctive", noise=0.03)
    model = mine(data.heads, data.tails, theta=0.2, mu=4)
    score(model, data)                                     # exact and soft precision and recall

The text: n = 10,000 rows of zeros; m rules with up to 5 items in head and tail; each rule active in a share U(.02, .08)
of the rows, its tail with confidence U(.5, 1); 5 noise items of the same frequency; then a share of all cells is
flipped. Where it is silent, our choices are: |X| and |Y| are uniform on 1..5; items of different rules are disjoint; in
a row where the rule is active either one head item, chosen uniformly, is set ("exclusive") or all are ("conjunctive");
the tail is set as a whole; noise items are tail items, for any item that is in no rule's head can only be one.

``alone`` adds rows in which a single head item occurs without the rest. Without them one item of a conjunctive head
says as much as all of them, so the planted rule costs more bits than one with a smaller head, and no method that
minimises L(D, M) returns it.
"""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.random import Generator

from benchmark.api import Array
from benchmark.papers.explainn.mdl import ROBUST, Encoding, Rule
from benchmark.papers.explainn.miner import Model, fitted

Heads = Literal["exclusive", "conjunctive"]
HEADS = get_args(Heads)


@dataclass(frozen=True)
class Planted:
    """Data of two layers, and the rules that generated it (l and k as planted)."""

    heads: Array  # (n, p) bool
    tails: Array  # (n, q) bool
    rules: tuple[Rule, ...]  # tail item j is column p + j
    noise_items: tuple[int, ...]  # columns, as in the rules

    def length(self, encoding: Encoding = ROBUST) -> float:
        """L(D, M) of the planted rules, each with its cheapest l and k, bits."""
        return fitted(self.heads, self.tails, self.rules, encoding).bits


def planted(
    rng: Generator,
    *,
    m: int,
    n: int = 10_000,
    heads: Heads = "exclusive",
    noise: float = 0.001,
    largest: int = 5,
    frequency: tuple[float, float] = (0.02, 0.08),
    confidence: tuple[float, float] = (0.5, 1.0),
    noise_items: int = 5,
    alone: bool = False,
) -> Planted:
    """Data with m planted rules.

    Args:
        heads: ``exclusive`` or ``conjunctive``.
        noise: share of cells that are flipped.
        largest: maximum number of items in a head or a tail.
        frequency: range of the share of rows in which a rule is active.
        confidence: range of the share of these in which its tail is set.
        alone: head items also occur on their own, each in as many rows as its rule.

    Raises:
        ValueError: an unknown kind of heads, or numbers out of range.
    """
    if heads not in HEADS:
        raise ValueError(f"heads is {' or '.join(HEADS)}, not {heads!r}")
    if m < 1 or n < 1 or largest < 1 or not 0 <= noise <= 1:
        raise ValueError(
            f"m = {m}, n = {n} and largest = {largest} must be at least 1, "
            f"noise = {noise} within [0, 1]"
        )
    x_sizes, y_sizes = rng.integers(1, largest + 1, (2, m))
    p = int(x_sizes.sum())
    q = int(y_sizes.sum()) + noise_items
    H = np.zeros((n, p), bool)
    T = np.zeros((n, q), bool)
    rules = []
    x = y = 0  # items used so far
    for size_x, size_y in zip(x_sizes, y_sizes, strict=True):
        X = np.arange(x, x + size_x)
        Y = np.arange(y, y + size_y)
        x += size_x
        y += size_y
        share = rng.uniform(*frequency)
        rows = np.flatnonzero(rng.random(n) < share)
        _set_head(rng, H, rows, X, heads)
        if alone:
            for item in X:
                H[rng.random(n) < share, item] = True
        draws = rng.random(len(rows))
        with_tail = rows[draws < rng.uniform(*confidence)]
        T[np.ix_(with_tail, Y)] = True
        l = 1 if heads == "exclusive" else size_x
        rules.append(Rule(X, Y + p, l))
    for j in range(q - noise_items, q):
        draws = rng.random(n)
        T[:, j] = draws < rng.uniform(*frequency)
    for table in (H, T):
        table ^= rng.random(table.shape, np.float32) < noise
    noise_columns = range(p + q - noise_items, p + q)
    return Planted(H, T, tuple(rules), tuple(noise_columns))


def _set_head(
    rng: Generator,
    H: Array,
    rows: Array,
    X: Array,
    heads: Heads,
) -> None:
    """Sets one item of the head, or all of them, in the rows where the rule is active."""
    if heads == "exclusive":
        H[rows, rng.choice(X, len(rows))] = True
    else:
        H[np.ix_(rows, X)] = True


def score(model: Model, data: Planted) -> dict[str, float]:
    """How well the found rules match the planted ones.

    Returns:
        precision, recall: shares of found and of planted rules whose head and tail are exactly those of a rule of the
            other set.
        soft_precision, soft_recall: means of each rule's best product of Jaccard(heads) and Jaccard(tails).
        n_found: number of rules found; noise_rules: number of those with a noise item.
    """
    found, truth = sides(model.rules), sides(data.rules)
    exact = len(set(found) & set(truth))
    soft_precision = soft_recall = 0.0
    if found:
        jaccard = overlap(found, truth)  # (found, planted)
        soft_precision = float(jaccard.max(1).mean())
        soft_recall = float(jaccard.max(0).mean())
    noise = set(data.noise_items)
    with_noise = [Y for _, Y in found if noise & set(Y)]
    return {
        "precision": exact / max(len(found), 1),
        "recall": exact / len(truth),
        "soft_precision": soft_precision,
        "soft_recall": soft_recall,
        "n_found": len(found),
        "noise_rules": len(with_noise),
    }


Sides = tuple[tuple[int, ...], tuple[int, ...]]  # head and tail of a rule


def sides(rules: Sequence[Rule]) -> list[Sides]:
    return [(rule.X, rule.Y) for rule in rules]


def overlap(a: list[Sides], b: list[Sides]) -> Array:
    """Jaccard(heads) times Jaccard(tails) of all pairs of rules, (len(a), len(b))."""
    product = np.ones((len(a), len(b)))
    for side in (0, 1):
        items_a = [rule[side] for rule in a]
        items_b = [rule[side] for rule in b]
        used = sorted(set().union(*items_a, *items_b))
        columns = {item: column for column, item in enumerate(used)}
        A = _member(items_a, columns)
        B = _member(items_b, columns)
        common = A @ B.T
        sizes_a, sizes_b = A.sum(1), B.sum(1)
        either = sizes_a[:, None] + sizes_b - common
        product *= common / np.maximum(either, 1)
    return product


def _member(sets: list[tuple[int, ...]], columns: dict[int, int]) -> Array:
    """(sets, columns) float32, 1 where the item is in the set."""
    out = np.zeros((len(sets), len(columns)), np.float32)
    for row, items in zip(out, sets, strict=True):
        members = [columns[item] for item in items]
        row[members] = 1
    return out
