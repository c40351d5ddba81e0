"""All benchmarks, one after the other in one process on one thread: ``make bench``, about ten minutes on a free machine.

    python -m speed                     # writes results/benchmarks.{csv,svg,png} and results/growth.{svg,png}
    python -m speed --only cams xnn     # these; the others' rows stay as they are
    python -m speed --list

Whole boards take longer than that: ``python speed/boards.py PROFILE`` measures one, and its last figures
(``results/boards.csv``) are rows here.
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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark import store
from benchmark.utils import plot_style
from speed import frame, pictures
from speed.frame import Row

SUITE = (
    "cams",
    "excitation",
    "metrics",
    "explainn",
    "layer_trees",
    "representative",
    "cladec",
    "xnn",
    "zoo",
    "growth",
    "boards",
)
LIMITS = {"offline": 300, "quick": 3600}  # seconds of wall time
DVC = 0.05  # share of the wall time


def main(arguments: list[str] | None = None) -> None:
    flags = argparse.ArgumentParser(
        prog="speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument(
        "--only", nargs="+", choices=SUITE, default=SUITE, metavar="NAME", help="run only these"
    )
    flags.add_argument("--list", action="store_true", help="say what there is")
    flags.add_argument(
        "--small", action="store_true", help="the smallest sizes: does everything run?"
    )
    flags.add_argument(
        "--out", type=Path, default=store.ROOT / "results", help="a folder; default: %(default)s"
    )
    options = flags.parse_args(arguments)
    if options.list:
        for name in SUITE:
            print(
                f"{name:12} {(importlib.import_module(f'speed.{name}').__doc__ or '').splitlines()[0]}"
            )
        return
    frame.one_thread()
    write(
        frame.table(progress(options.only, options.small, options.out)), options.only, options.out
    )


def progress(names: Iterable[str], small: bool, out: Path) -> Iterator[Row]:
    """Rows as they are measured, behind a bar; each is printed."""
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
            for row in (
                boards(out / "boards.csv")
                if name == "boards"
                else importlib.import_module(f"speed.{name}").rows(small)
            ):
                bar.console.print(
                    f"{name}: {frame.line(row)}", highlight=False, soft_wrap=True, markup=False
                )
                yield replace(row, suite=name)
            bar.advance(task)


def boards(path: Path) -> Iterator[Row]:
    """What ``boards.py`` measured last, held against what is allowed."""
    if not path.exists():
        return
    table = pd.read_csv(path, keep_default_na=False)
    for profile, part in table.groupby("profile"):
        one = part[part["kind"].isin(["wall", "dvc"])].set_index("kind")["value"].astype(float)
        size = f"{part['cores'].iloc[0]} cores, commit {part['commit'].iloc[0]}"
        stages = (
            part[part["kind"] == "stage"]
            .groupby("step")["value"]
            .sum()
            .astype(float)
            .sort_values(ascending=False)
        )
        where = ", ".join(f"{step} {seconds / one['wall']:.0%}" for step, seconds in stages.items())
        for name, ratio, goal in (
            (
                f"Board {profile}",
                LIMITS.get(profile, 0) / one["wall"],
                1.0 if profile in LIMITS else None,
            ),
            (f"DVC's share of {profile}", DVC / max(one["dvc"] / one["wall"], 1e-9), 1.0),
        ):
            seconds = one["wall"] if goal is None or name.startswith("Board") else one["dvc"]
            yield Row(
                name,
                "what is allowed",
                size,
                ratio,
                ratio,
                ratio,
                goal,
                where,
                1,
                seconds,
                kind="limit",
            )


def write(table: pd.DataFrame, names: Iterable[str], out: Path) -> None:
    """The table with the rows of other suites kept, and its pictures."""
    path = out / "benchmarks.csv"
    if path.exists():
        others = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = pd.concat(
            [others[~others["suite"].isin(list(names))], table.astype(str)], ignore_index=True
        )
        table = table.iloc[
            table["suite"].map({name: i for i, name in enumerate(SUITE)}).argsort(kind="stable")
        ]
    store.write_text(path, table.to_csv(index=False, lineterminator="\n"))
    read = pd.read_csv(path)
    for name, figure in (("benchmarks", pictures.ratios(read)), ("growth", pictures.growth(read))):
        for kind in ("svg", "png") if figure else ():
            with store.atomic(out / f"{name}.{kind}") as file:
                file.write(plot_style.save(figure, kind))
    print(f"written: {path}")


if __name__ == "__main__":
    main()
