"""What all speed comparisons share: contenders that take turns, and rows of results.

Two contenders run A B A B ... in one process on one thread; a ratio is theirs / ours of neighbouring turns, so that a
busy machine slows both. A row gives the median of the ratios, their quartiles, and the goal:

    ratio   theirs / ours, larger is better              goal: at least
    floor   least possible / ours, 1 is the best         goal: at least
    slope   of log seconds on log size, 1 is linear      goal: at most (ratio, lo and hi are the slope's)
    point   seconds at one size of a slope (ratio: the size)
    limit   seconds allowed / seconds taken, or shares   goal: at least
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from benchmark import store

_LIBRARIES = (
    "torch",
    "numpy",
    "numba",
    "scikit-learn",
    "grad-cam",
    "captum",
    "quantus",
    "zennit",
)
Work = Callable[[], object]
MOST_TURNS: int | None = None  # of any comparison; None: as many as each asks for


@dataclass(frozen=True)
class Row:
    """One result, as ``results/benchmarks.csv`` holds it."""

    name: str
    peer: str
    size: str
    ratio: float
    lo: float
    hi: float
    goal: float | None  # None: measured for its own sake
    bound: str  # what bounds it, in words
    n: int  # turns
    seconds: float  # ours, median
    kind: str = "ratio"
    suite: str = ""

    @property
    def reached(self) -> str:
        if self.goal is None:
            return ""
        below, above = self.ratio <= self.goal, self.ratio >= self.goal
        good = below if self.kind == "slope" else above
        return "yes" if good else "no"


def seconds(
    work: Work, inner: int = 1, clock: Callable[[], float] = time.process_time
) -> float:
    """Seconds of one call: the mean of ``inner`` calls."""
    start = clock()
    for _ in range(inner):
        work()
    return (clock() - start) / inner


def at_most(n: int) -> int:
    """How many turns a comparison takes that asks for n."""
    return n if MOST_TURNS is None else min(n, MOST_TURNS)


def turns(
    ways: Sequence[Work],
    n: int,
    inner: int = 1,
    clock: Callable[[], float] = time.process_time,
    warm: bool = False,
) -> np.ndarray:
    """Seconds (n, ways): in each turn all ways once. Unless they are ``warm``, a first turn is not counted."""
    if not warm:
        for way in ways:
            way()
    taken = []
    for _ in range(at_most(n)):
        taken.append([seconds(way, inner, clock) for way in ways])
    return np.array(taken)


def quartiles(ratios: np.ndarray) -> dict[str, float]:
    """The median and both quartiles, as the fields of a row."""
    lo, ratio, hi = np.quantile(ratios, (0.25, 0.5, 0.75))
    return {
        "ratio": float(ratio),
        "lo": float(lo),
        "hi": float(hi),
    }


def against(
    name: str,
    peer: str,
    size: str,
    ours: Work,
    theirs: Work,
    *,
    goal: float | None,
    bound: str = "",
    n: int = 7,
    inner: int = 1,
    kind: str = "ratio",
    clock: Callable[[], float] = time.process_time,
    warm: bool = False,
) -> Row:
    """One pair."""
    (row,) = many(
        name,
        size,
        ours,
        {peer: (theirs, goal, bound, kind)},
        n=n,
        inner=inner,
        clock=clock,
        warm=warm,
    )
    return row


def many(
    name: str,
    size: str,
    ours: Work,
    peers: dict[str, tuple[Work, float | None, str, str]],
    *,
    n: int = 7,
    inner: int = 1,
    clock: Callable[[], float] = time.process_time,
    warm: bool = False,
) -> Iterator[Row]:
    """Ours against several peers in the same turns; ``peers``: name -> (work, goal, bound, kind)."""
    ways = [ours, *(work for work, *_ in peers.values())]
    taken = turns(ways, n, inner, clock, warm)  # (n, 1 + peers)
    for k, (peer, (_, goal, bound, kind)) in enumerate(peers.items(), start=1):
        ratios = quartiles(taken[:, k] / taken[:, 0])
        yield Row(
            name,
            peer,
            size,
            **ratios,
            goal=goal,
            bound=bound,
            n=len(taken),
            seconds=float(np.median(taken[:, 0])),
            kind=kind,
        )


def growth(
    name: str,
    unit: str,
    sizes: Sequence[int],
    work: Callable[[int], Work],
    *,
    goal: float = 1.1,
    bound: str = "",
    n: int = 3,
) -> Iterator[Row]:
    """Seconds over sizes, in each turn all sizes once, and the slope on logarithmic axes.

    The slope is the median over turns, with its quartiles.

    Args:
        work: a size -> what is timed (prepared before, untimed).
    """
    taken = turns([work(size) for size in sizes], n)  # (n, sizes)
    for size, column in zip(sizes, taken.T, strict=True):
        middle = float(np.median(column))
        yield Row(
            name, "", unit, size, size, size, None, "", len(taken), middle, kind="point"
        )
    slopes = []
    for row in taken:
        slope, _ = np.polyfit(np.log(sizes), np.log(row), 1)
        slopes.append(slope)
    yield Row(
        name,
        "linear",
        f"{unit}: {sizes[0]:,} to {sizes[-1]:,}",
        **quartiles(np.array(slopes)),
        goal=goal,
        bound=bound,
        n=len(taken),
        seconds=float(np.median(taken[:, -1])),
        kind="slope",
    )


# --------------------------------------------------------------------------------------------- showing


def line(row: Row) -> str:
    """One row as text."""
    if row.kind == "point":
        return f"    {row.size} {int(row.ratio):>9,} {row.seconds:9.4f} s"
    goal = ""
    if row.goal is not None:
        sign = "<=" if row.kind == "slope" else ">="
        goal = f"goal {sign} {row.goal:g}: {row.reached}"
    kind = "" if row.kind == "ratio" else f"{row.kind} "
    return (
        f"{row.name} ({row.size}) {kind}against {row.peer}: {row.ratio:.3g} "
        f"[{row.lo:.3g}, {row.hi:.3g}] {goal}  {row.seconds:.4g} s"
    )


def alone(doc: str, rows: Callable[[bool], Iterable[Row]]) -> None:
    """The command line of one script: print its rows."""
    flags = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument(
        "--small", action="store_true", help="the smallest sizes: does it run?"
    )
    small = flags.parse_args().small
    one_thread()
    for row in rows(small):
        print(line(row), flush=True)
    print(f"\nCPU-seconds, medians [quartiles]. {machine()}")


def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as they are written."""
    names = [field.name for field in fields(Row)]
    names.remove("suite")
    columns = ["suite", *names, "reached"]
    plain = [asdict(row) | {"reached": row.reached} for row in rows]
    found = pd.DataFrame(plain, columns=columns)
    for column in ("ratio", "lo", "hi", "seconds"):
        values = found[column]
        found[column] = [f"{value:.4g}" for value in values]
    goals = found["goal"]
    found["goal"] = ["" if pd.isna(goal) else f"{goal:.4g}" for goal in goals]
    return found.assign(machine=machine())


def machine() -> str:
    """Processor, threads, system, versions and commit, on one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [text.split(":")[1].strip() for text in lines if "model name" in text]
    cpu = models[0] if models else platform.processor()
    return (
        f"{cpu}, one thread, {platform.system()}; Python {platform.python_version()}, "
        f"{libraries()}; commit {commit()}"
    )


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def libraries() -> str:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", store.ROOT, "rev-parse", "--short=10", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
