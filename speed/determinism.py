"""How closely the same commit reproduces its numbers: repeated, on more threads, in other batches, on a GPU.

    python speed/determinism.py [PROFILE] [--methods NAME ...]

For one network of each data set of the profile, all its methods are explained and scored, in a process of its own for
each way to compute (data and networks are made where they are missing). For each method and way, the table has the
largest difference of a map (or another field of the explanation) from the first run, as a fraction of that field's
largest value; how many rows differ in their seven digits; and the largest difference of a row, as a fraction of its
size. The exit code is 1 if a way exceeds its tolerance.

Theory. Floating-point sums depend on their order: other threads and other batches add in another order, and so does a
GPU. Where a method thresholds, ranks or trains, rounding may lead to a different result altogether. TOLERANCE is for
the median method; the table shows which methods exceed it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmark import data, engine, store
from benchmark.api import Batch
from benchmark.cli import commands
from benchmark.methods import describe
from benchmark.pipeline import cells, explain, prerequisites, score
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile
from benchmark.utils import devices
from benchmark.utils.temporary import scratch

WAYS: dict[str, dict[str, Any]] = {
    "first": {},
    "again": {},
    "2 threads": {"threads": 2},
    "batches of 16": {"chunk": 16},
    "GPU": {"device": devices.available()},
}
# Of the median method's maps.
TOLERANCE = {"again": 0.0, "2 threads": 1e-4, "batches of 16": 1e-4, "GPU": 1e-3}


def networks(profile: Profile, methods: Sequence[str]) -> list[Cell]:
    """Every method on the first explained network of each data set."""
    found = []
    for dataset in profile.datasets:
        every = [
            c
            for c in cells.cells(profile, dataset)
            if not methods or c.method.stem in methods
        ]
        for cell in every:
            if (cell.target, cell.seed) == (every[0].target, every[0].seed):
                found.append(cell)
    return found


def compute(
    root: Path, way: Mapping[str, Any], profile: Profile, methods: Sequence[str]
) -> None:
    """Explain and score in this process, in the given way; files go below ``root``."""
    engine.single_thread()
    torch.set_num_threads(way.get("threads", 1))
    if "chunk" in way:
        original = data.Dataset.batch

        def in_chunks(self: data.Dataset, *args: Any, **settings: Any) -> Batch:
            return original(self, *args, **settings | {"chunk": way["chunk"]})

        data.Dataset.batch = in_chunks
    for cell in networks(profile, methods):
        for step in (explain.explain_cell, score.score_cell):
            try:
                step(replace(cell, root=root))
            except engine.Failed as reason:
                print(f"{cell.name}: {reason}", file=sys.stderr)


def apart(a: Path, b: Path) -> float:
    """Largest difference of two explanations over their fields, as a fraction of the field's largest value."""
    (one, _), (other, _) = cells.read_explanation(a), cells.read_explanation(b)
    found = [0.0]
    for field in fields(one):
        x, y = getattr(one, field.name), getattr(other, field.name)
        if field.name == "size" or x is None:
            continue
        if y is None or x.shape != y.shape:
            return np.inf
        largest = max(float(np.nanmax(np.abs(x))), 1e-12)
        found.append(float(np.nanmax(np.abs(x - y)) / largest))
    return max(found)


def rows_apart(a: Path, b: Path) -> tuple[int, int, float]:
    """Compare two files of scores.

    Returns:
        rows that differ in their seven digits, rows, largest difference as a fraction of the size.
    """
    one, _ = store.read_scores(a)
    other, _ = store.read_scores(b)
    ok = (one.status == "ok").to_numpy()
    x = one.value.to_numpy()[ok]
    y = other.value.to_numpy()[ok]
    digits = [store.format_value(value) for value in x]
    others = [store.format_value(value) for value in y]
    differ = np.array(digits, object) != np.array(others, object)
    size = np.abs(x) + np.abs(y)
    size = np.maximum(size, 1e-12) / 2
    apart = np.abs(x - y) / size
    largest = apart[differ].max(initial=0.0)
    return int(differ.sum()), len(x), float(largest)


class Line(NamedTuple):
    """A line of the table: one way and method, over the data sets."""

    way: str
    method: str
    maps: float  # largest difference
    differ: int  # rows
    rows: int
    largest: float  # difference of a row


def table(found: Mapping[str, Path], todo: Sequence[Cell]) -> Iterator[Line]:
    """Each way but the first against the first; ``found``: the folder of each way."""
    for way in found.keys() - {"first"}:
        for slug in dict.fromkeys(c.method.slug for c in todo):
            mine = [c for c in todo if c.method.slug == slug]
            maps, rows = [], []
            for cell in mine:
                a = replace(cell, root=found["first"])
                b = replace(cell, root=found[way])
                maps.append(apart(a.explanation, b.explanation))
                rows.append(rows_apart(a.scores, b.scores))
            name = " ".join(filter(None, describe.describe(mine[0].method)[::2]))
            differ, number, largest = zip(*rows, strict=True)
            yield Line(
                way,
                name,
                maps=max(maps),
                differ=sum(differ),
                rows=sum(number),
                largest=max(largest),
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", nargs="?", default="offline")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[],
        help="file names without .py (a paper's: its folder)",
    )
    parser.add_argument(
        "--compute", nargs=2, help=argparse.SUPPRESS
    )  # a child: root, way
    options = parser.parse_args()
    profile = commands.load_profile(options.profile)
    if options.compute:
        compute(
            Path(options.compute[0]),
            json.loads(options.compute[1]),
            profile,
            options.methods,
        )
        return 0
    for dataset in profile.datasets:
        prerequisites.make_ready(profile.with_networks([]), dataset)
    todo, found = networks(profile, options.methods), {}
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        for way, how in WAYS.items():
            if how.get("device") == "cpu":
                print("no GPU: CPU against GPU is not measured")
                continue
            found[way] = Path(folder) / way.replace(" ", "-")
            copy_inputs(todo, found[way])
            compute_elsewhere(found[way], how, options.profile, options.methods)
        order = list(WAYS)
        lines = sorted(
            table(found, todo), key=lambda line: (order.index(line.way), line.maps)
        )
    print(f"{'way':<14} {'method':<48} {'maps':>8} {'rows':>9} {'largest':>8}")
    for line in lines:
        rows = f"{line.differ}/{line.rows}"
        print(
            f"{line.way:<14} {line.method[:48]:<48} {line.maps:>8.1g} {rows:>9} "
            f"{line.largest:>8.1g}"
        )
    wrong = False
    for way in found:
        if way != "first":
            wrong |= exceeds(way, [line for line in lines if line.way == way])
    return int(wrong)


def copy_inputs(todo: Sequence[Cell], root: Path) -> None:
    """Copy the data and networks of the cells below ``root``."""
    files = set()
    for cell in todo:
        files |= {
            cell.paths.data(cell.dataset),
            cell.weights,
            cell.weights.with_suffix(".json"),
        }
    for file in files:
        there = root / file.relative_to(store.ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, there)


def compute_elsewhere(
    root: Path, way: Mapping[str, Any], profile: str, methods: Sequence[str]
) -> None:
    """``compute`` in a process of its own."""
    command = [
        sys.executable,
        __file__,
        profile,
        "--compute",
        str(root),
        json.dumps(way),
    ]
    if methods:
        command += ["--methods", *methods]
    environment = os.environ | {"GLASSBENCH_DEVICE": way.get("device", "cpu")}
    subprocess.run(command, check=True, env=environment)


def exceeds(way: str, lines: Sequence[Line]) -> bool:
    """Print the summary of one way; does it exceed its tolerance?"""
    maps = [line.maps for line in lines]
    median, most = np.median(maps), max(maps)
    differ, rows = sum(line.differ for line in lines), sum(line.rows for line in lines)
    tolerance = TOLERANCE[way]
    bad = median > tolerance or (not tolerance and (most > 0 or differ > 0))
    print(
        f"{way}: maps differ by {median:.1g} in the median method and {most:.1g} in the worst, "
        f"{differ} of {rows} rows in their seven digits; tolerance {tolerance:g}: "
        f"{'EXCEEDED' if bad else 'kept'}"
    )
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
