"""CPU-seconds of ExplaiNN's miner against a plain numpy loop that finds the same rules, and its growth in n, items and rules.

Example:
    python benchmarks/explainn.py                   # about a minute
    python benchmarks/explainn.py --growth          # also n = 1,000 to 100,000 and 500 to 5,000 items

The loop (tests/explainn_twin.py) recounts each candidate on boolean tables for every l and k, and keeps what it learnt of a
pair; the two must find the same rules, item for item. The floor is the time that counting the set bits takes of the words
that a merge has to read: each head once, and each tail item and each "at least k of the tail" once for every l. All on one
thread; compiling is not counted. Memory is the miner's own: the most that it held in a fork of this process beyond what was
there before, so that libraries and the table itself do not count.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import sys
from functools import partial
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


def held(work) -> float:
    """MiB that ``work`` holds at its peak beyond what the process holds before: counted in a fork, which is thrown away."""
    inlet, outlet = os.pipe()
    if (child := os.fork()) == 0:
        try:
            ctypes.CDLL(None).malloc_trim(0)  # free memory that is kept would hide what is taken
            Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
            before = _status("VmRSS")
            work()
            os.write(outlet, str(_status("VmHWM") - before).encode())
        finally:
            os._exit(0)
    os.close(outlet)
    with open(inlet) as file:
        kib = file.read()
    os.waitpid(child, 0)
    if not kib:
        raise RuntimeError("the miner was killed: not enough memory")
    return int(kib) / 1024


def _status(key: str) -> int:
    """KiB."""
    return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def growth() -> None:
    """Seconds and MiB over each size alone, and the slopes on log-log axes (1: linear). With m grow heads and tails, so the
    candidates, each head with each tail, grow as m^2."""
    cases = {
        "images n": [(n, {"m": 100, "n": n}) for n in (1_000, 10_000, 100_000)],
        "rules and items m": [(m, {"m": m}) for m in (80, 160, 320, 640)],
        "items alone": [(q, {"m": 100, "extra": q}) for q in (0, 1_000, 3_000)],
    }
    for axis, sizes in cases.items():
        found = []
        for _, options in sizes:
            options, rng = dict(options), np.random.default_rng(0)
            extra = options.pop("extra", 0)
            data = planted(rng, **options)
            tails = np.concatenate([data.tails, rng.random((len(data.tails), extra)) < 0.05], axis=1)  # in no rule
            work = partial(mine, data.heads, tails, theta=0.2, mu=4, memory=16, allow=("duplicates",))
            seconds, model = timed(work)
            items = data.heads.shape[1] + tails.shape[1]
            found.append((len(tails), items, len(model.rules), seconds, held(work)))
            print(f"{axis:18} n={len(tails):7,} {items:6,} items {len(model.rules):4} rules {model.candidates:9,} candidates "
                  f"{seconds:7.2f} s {found[-1][-1]:8.1f} MiB", flush=True)  # fmt: skip
        size = [f[1] if axis == "items alone" else s for f, (s, _) in zip(found, sizes, strict=True)]
        time, memory = (np.polyfit(np.log(size), np.log([f[k] for f in found]), 1)[0] for k in (3, 4))
        print(f"{axis:18} slopes: time {time:.2f}, memory {memory:.2f}")


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
