"""CPU-seconds of ExplaiNN's miner against a plain numpy loop that finds the same rules, and its growth in n, items and rules.

Example:
    python benchmarks/explainn.py                   # about a minute
    python benchmarks/explainn.py --growth          # also n = 1,000 to 100,000 and 500 to 5,000 items

The loop (tests/explainn_twin.py) recounts each candidate on boolean tables for every l and k, and keeps what it learnt of a
pair; the two must find the same rules, item for item. The floor is the time that counting the set bits takes of the words
that a merge has to read: each head once, and each tail item and each "at least k of the tail" once for every l. All on one
thread; compiling is not counted. Memory is the largest that the process held, with torch and the table itself.
"""

from __future__ import annotations

import argparse
import resource
import sys
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
from numba import njit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark.papers.explainn import kernel
from benchmark.papers.explainn.mdl import ROBUST
from benchmark.papers.explainn.miner import _database, mine
from benchmark.papers.explainn.planted import planted
from tests.explainn_twin import Plain


def timed(work):
    start = process_time()
    result = work()
    return process_time() - start, result


def against_the_loop(m: int, n: int, heads: str, theta: float, mu: int) -> None:
    data = planted(np.random.default_rng(0), m=m, n=n, heads=heads)
    fast, model = min(
        (timed(lambda: mine(data.heads, data.tails, theta=theta, mu=mu)) for _ in range(3)), key=lambda t: t[0]
    )
    slow, rules = timed(Plain(data.heads, data.tails, theta, mu).mine)
    same = rules == sorted((r.X, tuple(model.tails(r)), r.l, r.k) for r in model.rules)
    print(f"m={m:4} n={n:6,} {heads:11} theta={theta} mu={mu}: {len(rules):4} rules, "
          f"{'the same' if same else 'NOT THE SAME'}; loop {slow:8.2f} s, miner {fast:7.4f} s, {slow / fast:7.0f} times")  # fmt: skip
    if not same:
        sys.exit("the two do not find the same rules")


@njit(nogil=True)
def count_words(table, words, times):
    total = 0
    for i in range(times):
        row = table[i % len(table)]
        for w in range(words):
            total += kernel.popcount(row[w] & table[0, w])
    return total


def against_the_floor(n: int, size: int, pairs: int = 20_000) -> None:
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
    work = lambda: kernel.merges(db, which, X, ragged, order, ragged, *none, 2 * size)
    work()
    words = len(db.heads[0])
    reads = size * (size + 1) // 2 + size * (2 * size) + (2 * size) * (2 * size + 1) // 2 + size * 2 * size + size
    count_words(db.heads, words, 10)
    ours = median(timed(work)[0] for _ in range(5)) / pairs
    floor = median(timed(lambda: count_words(db.heads, words, reads * pairs))[0] for _ in range(5)) / pairs
    print(f"n={n:6,}, |X|={size}, |Y|={2 * size}: {1e6 * ours:6.2f} us a merge with every l and k, floor {1e6 * floor:6.2f} us "
          f"({reads} rows of {words} words), {ours / floor:4.1f} times the floor")  # fmt: skip


def growth() -> None:
    def line(name, data):
        seconds, model = timed(lambda: mine(data.heads, data.tails, theta=0.2, mu=4, memory=16, allow=("duplicates",)))
        gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        p, q = data.heads.shape[1], data.tails.shape[1]
        print(
            f"{name:26} {p:5}+{q:5} items {len(model.rules):5} rules {model.candidates:9,} candidates {seconds:7.2f} s {gib:5.2f} GiB"
        )

    for n in (1_000, 10_000, 100_000):
        line(f"n={n:,}, m=100", planted(np.random.default_rng(0), m=100, n=n))
    for m in (80, 160, 320, 800):
        line(f"n=10,000, m={m}", planted(np.random.default_rng(0), m=m))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--growth", action="store_true", help="time and memory in n, items and rules")
    args = parser.parse_args()
    mine(
        *np.random.default_rng(0).random((2, 50, 3)).round().astype(bool), allow=("constant", "duplicates")
    )  # compiles
    against_the_loop(50, 10_000, "exclusive", 0.2, 4)
    against_the_loop(30, 10_000, "conjunctive", 0.2, 4)
    for n, size in ((10_000, 1), (10_000, 2), (10_000, 4), (100_000, 2)):
        against_the_floor(n, size)
    if args.growth:
        growth()


if __name__ == "__main__":
    main()
