"""All speed comparisons, one after the other in one process on one thread: ``make bench``.

About ten minutes on a free machine.

    python -m speed                     # writes results/benchmarks.csv, pictures, and the words in docs/numbers.md
    python -m speed --turns 3           # each at most three times: half as long
    python -m speed --only cams xnn     # these only; the rows of the others stay as they are
    python -m speed --words             # measures nothing: docs/numbers.md from what was measured
    python -m speed --list

Whole boards take longer: ``python speed/boards.py PROFILE`` measures one, and its last figures
(``results/boards.csv``) become rows here.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from benchmark import store
from benchmark.utils import plot_style
from speed import frame, pictures, words
from speed.frame import Row

SUITE = (
    "cams",
    "excitation",
    "metrics",
    "field_metrics",
    "again",
    "explainn",
    "layer_trees",
    "representative",
    "cladec",
    "xnn",
    "zoo",
    "growth",
    "builds",
    "boards",
)
RESULTS = store.ROOT / "results"
LIMITS = {"offline": 300, "quick": 3600}  # seconds of wall time
DVC = 0.05  # share of the wall time


def main(arguments: list[str] | None = None) -> None:
    flags = argparse.ArgumentParser(
        prog="speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_argument(
        "--only",
        nargs="+",
        choices=SUITE,
        default=SUITE,
        metavar="NAME",
        help="run only these",
    )
    flags.add_argument("--list", action="store_true", help="list the comparisons")
    flags.add_argument(
        "--turns", type=int, metavar="N", help="of each comparison at most N"
    )
    flags.add_argument(
        "--words", action="store_true", help="only rewrite docs/numbers.md"
    )
    flags.add_argument(
        "--small", action="store_true", help="the smallest sizes: does everything run?"
    )
    flags.add_argument(
        "--out",
        type=Path,
        default=RESULTS,
        help="a folder; default: %(default)s",
    )
    options = flags.parse_args(arguments)
    if options.list:
        for name in SUITE:
            module = importlib.import_module(f"speed.{name}")
            print(f"{name:12} {module.__doc__.splitlines()[0]}")
        return
    if not options.words:
        frame.one_thread()
        frame.MOST_TURNS = options.turns
        rows = progress(options.only, options.small, options.out)
        write(frame.table(rows), options.only, options.out)
    if options.out == RESULTS:
        words.write(options.out)


def progress(names: Iterable[str], small: bool, out: Path) -> Iterator[Row]:
    """Rows as they are measured, with a progress bar; each is printed."""
    console, names = Console(stderr=True), list(names)
    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ]
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("bench", total=len(names))
        for name in names:
            bar.update(task, description=name)
            for row in measured(name, small, out):
                text = f"{name}: {frame.line(row)}"
                bar.console.print(text, highlight=False, soft_wrap=True, markup=False)
                yield replace(row, suite=name)
            bar.advance(task)


def measured(name: str, small: bool, out: Path) -> Iterator[Row]:
    """The rows of one comparison."""
    if name == "boards":
        return boards(out / "boards.csv")
    return importlib.import_module(f"speed.{name}").rows(small)


def boards(path: Path) -> Iterator[Row]:
    """The last figures of ``boards.py`` against what is allowed."""
    if not path.exists():
        return
    table = pd.read_csv(path, keep_default_na=False)
    for profile, part in table.groupby("profile"):
        once = part[part["kind"].isin(["wall", "dvc"])].set_index("kind")
        seconds = once["value"].astype(float)
        wall, dvc = seconds["wall"], seconds["dvc"]
        stages = part[part["kind"] == "stage"].groupby("step")["value"].sum()
        stages = stages.astype(float).sort_values(ascending=False)
        shares = []
        for step, taken in stages.items():
            shares.append(f"{step} {taken / wall:.0%}")
        cores, commit = part["cores"].iloc[0], part["commit"].iloc[0]
        size = f"{cores} cores, commit {commit}"
        where = ", ".join(shares)
        goal = 1.0 if profile in LIMITS else None
        board = LIMITS.get(profile, 0) / wall
        yield limit(f"Board {profile}", size, board, goal, where, wall)
        share = DVC / max(dvc / wall, 1e-9)
        yield limit(f"DVC's share of {profile}", size, share, 1.0, where, dvc)


def limit(
    name: str, size: str, ratio: float, goal: float | None, bound: str, seconds: float
) -> Row:
    """What is allowed / what was taken."""
    return Row(
        name=name,
        peer="what is allowed",
        size=size,
        ratio=ratio,
        lo=ratio,
        hi=ratio,
        goal=goal,
        bound=bound,
        n=1,
        seconds=seconds,
        kind="limit",
    )


def write(table: pd.DataFrame, names: Iterable[str], out: Path) -> None:
    """The table with the rows of other suites kept, and its pictures."""
    path = out / "benchmarks.csv"
    if path.exists():
        old = pd.read_csv(path, dtype=str, keep_default_na=False)
        others = old[~old["suite"].isin(list(names))]
        table = pd.concat([others, table.astype(str)], ignore_index=True)
        order = table["suite"].map({name: i for i, name in enumerate(SUITE)})
        table = table.iloc[order.argsort(kind="stable")]
    store.write_text(path, table.to_csv(index=False, lineterminator="\n"))
    read = pd.read_csv(path)
    figures = {"benchmarks": pictures.ratios(read), "growth": pictures.growth(read)}
    for name, figure in figures.items():
        if figure is None:
            continue
        for kind in ("svg", "png"):
            with store.atomic(out / f"{name}.{kind}") as file:
                file.write(plot_style.save(figure, kind))
    print(f"written: {path}")


if __name__ == "__main__":
    main()
