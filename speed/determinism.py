"""How far the same commit gives the same numbers: again, on more threads, in other batches, on a GPU.

    python speed/determinism.py [PROFILE] [--methods NAME ...]

One network of each data set of the profile (data and networks are made where they are missing), all its methods: explained
and scored in a process of its own for each way to compute. Printed for each method and way: the largest difference of a map
(or another field of the explanation) from the first run, as a share of that field's largest value, and how many rows differ
in their seven digits, with the largest difference of a row, as a share of its size. Exit code 1 where a way exceeds its
tolerance.

Theory. Floating-point sums depend on their order: other threads and other batches add in another order, a GPU multiplies in
another one. Where a method thresholds, ranks or trains, rounding may turn into another result altogether; TOLERANCE is what
the median method keeps to, and the table says which do not.
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
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmark import data, engine, store
from benchmark.cli import commands
from benchmark.methods import describe
from benchmark.pipeline import cells, explain, prerequisites, score
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile
from benchmark.utils.temporary import scratch

WAYS: dict[str, dict[str, Any]] = {
    "first": {},
    "again": {},
    "2 threads": {"threads": 2},
    "batches of 16": {"chunk": 16},
    "GPU": {"device": "cuda"},
}
TOLERANCE = {
    "again": 0.0,
    "2 threads": 1e-4,
    "batches of 16": 1e-4,
    "GPU": 1e-3,
}  # of the median method's maps


def networks(profile: Profile, methods: Sequence[str]) -> list[Cell]:
    """Every method on the first explained network of each data set."""
    found = []
    for dataset in profile.datasets:
        every = [
            c for c in cells.cells(profile, dataset) if not methods or c.method.stem in methods
        ]
        found += [c for c in every if (c.target, c.seed) == (every[0].target, every[0].seed)]
    return found


def compute(root: Path, way: Mapping[str, Any], profile: Profile, methods: Sequence[str]) -> None:
    """Explain and score in this process, the way that ``way`` says; files below ``root``."""
    engine.single_thread()
    torch.set_num_threads(way.get("threads", 1))
    if "chunk" in way:
        whole = data.Dataset.batch
        data.Dataset.batch = lambda self, *a, **k: whole(self, *a, **(k | {"chunk": way["chunk"]}))
    for cell in networks(profile, methods):
        for step in (explain.explain_cell, score.score_cell):
            try:
                step(replace(cell, root=root))
            except engine.Failed as reason:
                print(f"{cell.name}: {reason}", file=sys.stderr)


def apart(a: Path, b: Path) -> float:
    """Largest difference of two explanations over their fields, as a share of the field's largest value."""
    (one, _), (other, _) = cells.read_explanation(a), cells.read_explanation(b)
    found = [0.0]
    for field in fields(one):
        x, y = getattr(one, field.name), getattr(other, field.name)
        if field.name == "size" or x is None:
            continue
        if y is None or x.shape != y.shape:
            return np.inf
        found.append(float(np.nanmax(np.abs(x - y)) / max(float(np.nanmax(np.abs(x))), 1e-12)))
    return max(found)


def rows_apart(a: Path, b: Path) -> tuple[int, int, float]:
    """(rows that differ in their seven digits, rows, largest difference as a share of the size)."""
    one, other = (store.read_scores(p)[0] for p in (a, b))
    ok = (one.status == "ok").to_numpy()
    x, y = one.value.to_numpy()[ok], other.value.to_numpy()[ok]
    differ = np.array(
        [store.format_value(v) != store.format_value(w) for v, w in zip(x, y, strict=True)], bool
    )
    size = np.maximum(np.abs(x) + np.abs(y), 1e-12) / 2
    return int(differ.sum()), int(ok.sum()), float((np.abs(x - y) / size)[differ].max(initial=0.0))


def table(
    found: Mapping[str, Path], todo: Sequence[Cell]
) -> Iterator[tuple[str, str, float, int, int, float]]:
    """(way, method, maps, rows that differ, rows, largest) over the data sets."""
    for way in found.keys() - {"first"}:
        for slug in dict.fromkeys(c.method.slug for c in todo):
            mine = [c for c in todo if c.method.slug == slug]
            pairs = [[replace(c, root=found[w]) for w in ("first", way)] for c in mine]
            maps = max(apart(a.explanation, b.explanation) for a, b in pairs)
            rows = [rows_apart(a.scores, b.scores) for a, b in pairs]
            name = " ".join(filter(None, describe.describe(mine[0].method)[::2]))
            yield (
                way,
                name,
                maps,
                sum(r[0] for r in rows),
                sum(r[1] for r in rows),
                max(r[2] for r in rows),
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("profile", nargs="?", default="offline")
    parser.add_argument(
        "--methods", nargs="+", default=[], help="file names without .py (a paper's: its folder)"
    )
    parser.add_argument("--compute", nargs=2, help=argparse.SUPPRESS)  # a child: root, way
    options = parser.parse_args()
    profile = commands.load_profile(options.profile)
    if options.compute:
        compute(Path(options.compute[0]), json.loads(options.compute[1]), profile, options.methods)
        return 0
    for dataset in profile.datasets:
        prerequisites.make_ready(profile.with_networks([]), dataset)
    todo, found = networks(profile, options.methods), {}
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        for way, how in WAYS.items():
            if how.get("device") == "cuda" and not torch.cuda.is_available():
                print("no GPU: CPU against GPU is not measured")
                continue
            found[way] = root = Path(folder) / way.replace(" ", "-")
            for file in {
                f
                for c in todo
                for f in (c.paths.data(c.dataset), c.weights, c.weights.with_suffix(".json"))
            }:
                there = root / file.relative_to(store.ROOT)
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, there)
            command = [
                sys.executable,
                __file__,
                options.profile,
                "--compute",
                str(root),
                json.dumps(how),
            ]
            command += ["--methods", *options.methods] if options.methods else []
            environment = os.environ | {"GLASSBENCH_DEVICE": how.get("device", "cpu")}
            subprocess.run(command, check=True, env=environment)
        lines = sorted(table(found, todo), key=lambda line: (list(WAYS).index(line[0]), line[2]))
    print(f"{'way':<14} {'method':<48} {'maps':>8} {'rows':>9} {'largest':>8}")
    for way, name, maps, differ, rows, largest in lines:
        print(f"{way:<14} {name[:48]:<48} {maps:>8.1g} {f'{differ}/{rows}':>9} {largest:>8.1g}")
    wrong = False
    for way in (w for w in WAYS if w in found and w != "first"):
        mine = [line for line in lines if line[0] == way]
        median, most = np.median([line[2] for line in mine]), max(line[2] for line in mine)
        differ, rows = sum(line[3] for line in mine), sum(line[4] for line in mine)
        bad = median > TOLERANCE[way] or (not TOLERANCE[way] and (most > 0 or differ > 0))
        wrong |= bad
        print(
            f"{way}: maps differ by {median:.1g} in the median method and {most:.1g} in the worst, {differ} of {rows} rows "
            f"in their seven digits; tolerance {TOLERANCE[way]:g}: {'EXCEEDED' if bad else 'kept'}"
        )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
