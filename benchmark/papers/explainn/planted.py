"""Binary data with planted rules, and how many of them were found (Sec. 3.1, Fig. 2 top).

    data = planted(rng, m=50)                              # mutually exclusive head items
    data = planted(rng, m=50, heads="conjunctive", noise=0.03)
    model = mine(data.heads, data.tails, theta=0.2, mu=4)
    score(model, data)                                     # exact and soft precision and recall

The text: n = 10,000 rows of zeros; m rules with up to 5 items in head and tail; each rule active in a share U(.02, .08) of
the rows, its tail with confidence U(.5, 1); 5 noise items of the same frequency; then a share of all cells is flipped. Where it
is silent: |X| and |Y| are uniform on 1..5; items of different rules are disjoint; in a row where the rule is active either
one head item, chosen uniformly, is set ("exclusive") or all are ("conjunctive"); the tail is set as a whole; noise items are
tail items, for every item that no rule has in its head can only be one.

``alone`` adds rows in which a single head item occurs without the rest: without them one item of a conjunctive head says as
much as all, so that the planted rule costs more bits than one with a smaller head, and no method that minimises L(D, M)
returns it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from benchmark.api import Array
from benchmark.papers.explainn.mdl import ROBUST, Encoding, Rule
from benchmark.papers.explainn.miner import Model, fitted

HEADS = ("exclusive", "conjunctive")


@dataclass(frozen=True)
class Planted:
    """Data of two layers, and the rules that made it (l and k as planted)."""

    heads: Array  # (n, p) bool
    tails: Array  # (n, q) bool
    rules: tuple[Rule, ...]  # tail item j is column p + j
    noise_items: tuple[int, ...]  # columns, as in the rules

    def length(self, encoding: Encoding = ROBUST) -> float:
        """L(D, M) of the planted rules, each with the l and k that suit it best, bits."""
        return fitted(self.heads, self.tails, self.rules, encoding).bits


def planted(
    rng: Generator,
    *,
    m: int,
    n: int = 10_000,
    heads: str = "exclusive",
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
        largest: items in a head or a tail, at most.
        alone: head items also occur on their own, each in as many rows as its rule.

    Raises:
        ValueError: an unknown kind of heads, or numbers out of range.
    """
    if heads not in HEADS:
        raise ValueError(f"heads is {' or '.join(HEADS)}, not {heads!r}")
    if m < 1 or n < 1 or largest < 1 or not 0 <= noise <= 1:
        raise ValueError(
            f"m = {m}, n = {n} and largest = {largest} must be at least 1, noise = {noise} within [0, 1]"
        )
    x_sizes, y_sizes = rng.integers(1, largest + 1, (2, m))
    p, q = int(x_sizes.sum()), int(y_sizes.sum()) + noise_items
    H, T = np.zeros((n, p), bool), np.zeros((n, q), bool)
    rules, x, y = [], 0, 0
    for size_x, size_y in zip(x_sizes, y_sizes, strict=True):
        X, Y = np.arange(x, x + size_x), np.arange(y, y + size_y)
        x, y = x + size_x, y + size_y
        share = rng.uniform(*frequency)
        rows = np.flatnonzero(rng.random(n) < share)
        if heads == "exclusive":
            H[rows, rng.choice(X, len(rows))] = True
        else:
            H[np.ix_(rows, X)] = True
        if alone:
            for item in X:
                H[rng.random(n) < share, item] = True
        T[np.ix_(rows[rng.random(len(rows)) < rng.uniform(*confidence)], Y)] = True
        rules.append(Rule(X, Y + p, 1 if heads == "exclusive" else size_x))
    for j in range(q - noise_items, q):
        T[:, j] = rng.random(n) < rng.uniform(*frequency)
    for table in (H, T):
        table ^= rng.random(table.shape, np.float32) < noise
    return Planted(H, T, tuple(rules), tuple(range(p + q - noise_items, p + q)))


def score(model: Model, data: Planted) -> dict[str, float]:
    """How well the found rules are the planted ones.

    Returns:
        precision, recall: shares of found and of planted rules whose head and tail are exactly those of one of the others.
        soft_precision, soft_recall: means of each rule's best product of Jaccard(heads) and Jaccard(tails).
        n_found: rules; noise_rules: those with a noise item.
    """
    found, truth = [(r.X, r.Y) for r in model.rules], [(r.X, r.Y) for r in data.rules]
    exact = len(set(found) & set(truth))
    jaccard = overlap(found, truth)  # (found, planted)
    noise = set(data.noise_items)
    return {
        "precision": exact / max(len(found), 1),
        "recall": exact / len(truth),
        "soft_precision": float(jaccard.max(1).mean()) if len(found) else 0.0,
        "soft_recall": float(jaccard.max(0).mean()) if len(found) else 0.0,
        "n_found": len(found),
        "noise_rules": sum(bool(noise & set(Y)) for _, Y in found),
    }


def overlap(a: list[tuple], b: list[tuple]) -> Array:
    """Jaccard(heads) times Jaccard(tails) of all pairs of rules, (len(a), len(b))."""
    product = np.ones((len(a), len(b)))
    for side in (0, 1):
        items = {
            item: i for i, item in enumerate(sorted({i for rule in [*a, *b] for i in rule[side]}))
        }
        A, B = (
            np.zeros((len(a), len(items)), np.float32),
            np.zeros((len(b), len(items)), np.float32),
        )
        for matrix, rules in ((A, a), (B, b)):
            for r, rule in enumerate(rules):
                matrix[r, [items[i] for i in rule[side]]] = 1
        common = A @ B.T
        product *= common / np.maximum(A.sum(1)[:, None] + B.sum(1) - common, 1)
    return product
