"""ExplaiNN's miner against a plain numpy loop that finds the same rules, and against the time that counting bits takes.

Example:
    python speed/explainn.py                   # about a minute; growth in samples and rules: speed/growth.py

The loop (tests/helpers/explainn_twin.py) recounts each candidate on boolean tables for every l and k, and keeps what it
learnt about a pair; the two must find the same rules, item for item. The floor is the time to count the set bits of the
words that a merge has to read: each head once, and each tail item and each "at least k of the tail" once for every l.
All on one thread; compiling is not counted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numba import njit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark.papers.explainn import kernel
from benchmark.papers.explainn.mdl import ROBUST
from benchmark.papers.explainn.miner import _database, mine
from benchmark.papers.explainn.planted import planted
from speed import frame
from speed.frame import Row
from tests.helpers.explainn_twin import Plain


def against_the_loop(m: int, n: int, heads: str, turns: int, goal: float = 100) -> Row:
    data = planted(np.random.default_rng(0), m=m, n=n, heads=heads)
    allow = ("constant", "duplicates")
    model = mine(data.heads, data.tails, theta=0.2, mu=4, allow=allow)
    rules = Plain(data.heads, data.tails, 0.2, 4).mine()
    ours = sorted((r.X, tuple(model.tails(r)), r.l, r.k) for r in model.rules)
    if rules != ours:
        sys.exit("the two do not find the same rules; nothing was timed")
    return frame.against(
        "ExplaiNN's miner",
        "numpy recount",
        f"{n:,} samples, {m} planted, {heads}",
        lambda: mine(data.heads, data.tails, theta=0.2, mu=4, allow=allow),
        lambda: Plain(data.heads, data.tails, 0.2, 4).mine(),
        goal=goal,
        n=turns,
        warm=True,
        bound="a small table: what is done once per run",
    )


@njit(nogil=True)
def count_words(table, words, times):
    """Count the set bits of ``times`` rows of so many words."""
    total = 0
    for i in range(times):
        row = table[i % len(table)]
        for w in range(words):
            total += kernel.popcount(row[w] & table[0, w])
    return total


def against_the_floor(n: int, size: int, pairs: int = 20_000, turns: int = 7) -> Row:
    """Merges of rules with one head of ``size`` items and tails of ``size`` items each."""
    rng = np.random.default_rng(0)
    heads, tails = rng.random((n, 64)) < 0.1, rng.random((n, 256)) < 0.1
    db = _database(heads, tails, ROBUST, False)[0]
    ragged = np.arange(0, 64 * size + 1, size)
    X = np.tile(np.arange(size), 64)
    Y = np.arange(64 * size) % 256
    which = np.stack([np.arange(pairs) % 32, 32 + np.arange(pairs) % 31], axis=1)
    order = np.concatenate([np.sort(Y[a:b]) for a, b in pairwise(ragged)])
    none = np.full(64, -1), np.zeros((0, n), np.uint16)
    words = len(db.heads[0])
    reads = (
        size * (size + 1) // 2
        + size * (2 * size)
        + (2 * size) * (2 * size + 1) // 2
        + size * 2 * size
        + size
    )
    return frame.against(
        "ExplaiNN's merges",
        "popcount",
        f"{n:,} samples, |X| = {size}, |Y| = {2 * size}",
        lambda: kernel.merges(db, which, X, ragged, order, ragged, *none, 2 * size),
        lambda: count_words(db.heads, words, reads * pairs),
        goal=1 / 3,
        kind="floor",
        n=turns,
        bound=f"{reads} rows of {words} words a merge; the rest is the code lengths of every l and k",
    )


def rows(small: bool = False) -> Iterator[Row]:
    heads, tails = np.random.default_rng(0).random((2, 50, 3)).round().astype(bool)
    mine(heads, tails, allow=("constant", "duplicates"))  # compiles
    if small:
        yield against_the_loop(4, 500, "exclusive", 1)
        yield against_the_floor(1_000, 1, 100, 1)
        return
    yield against_the_loop(50, 10_000, "exclusive", 2)
    yield against_the_loop(30, 10_000, "conjunctive", 2)
    for n, size in ((10_000, 1), (10_000, 2), (10_000, 4), (100_000, 2)):
        yield against_the_floor(n, size)


if __name__ == "__main__":
    frame.alone(__doc__, rows)
