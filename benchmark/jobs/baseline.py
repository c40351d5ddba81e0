"""Is an evaluated method better or worse than it was? ``glassbench evaluate --baseline rows.csv --fail-under better``.

    before = sources.load("main/", paths)        # rows.csv of an earlier evaluation, with its provenance.json
    against = compare(before, found, paths)
    level(against.cells)                         # "worse", "same" or "better"

The rows of the evaluated methods alone are compared, by ``gate.diff``; a method with another setting is found again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from benchmark import store
from benchmark.gate import diff, sources
from benchmark.gate.sources import Source
from benchmark.jobs.evaluate import Evaluation
from benchmark.utils.near_names import near

LEVELS = {  # from the lowest
    "worse": "a cell is worse, lost, or cannot be judged",
    "same": "no cell is",
    "better": "no cell is, and one is better",
}


@dataclass(frozen=True)
class Against:
    """What changed: the cells as of ``diff.compare``, and what was compared."""

    cells: pd.DataFrame
    base: Source
    head: Source


def compare(before: Source, found: Evaluation, paths: store.Paths) -> Against:
    """The evaluated methods against their rows in ``before``.

    Raises:
        UnknownName: it has no rows of one of them.
    """
    names = sorted(found.rows["method"].unique())
    known = before.rows["method"].unique()
    for name in names:
        if name not in known:
            raise near(name, known, f"method in {before.name}:")
    rows = before.rows[before.rows["method"].isin(names)]
    facts = store.read_json(found.folder / "provenance.json")
    base = replace(before, rows=rows)
    head = Source(", ".join(names), found.rows, facts)
    cells = sources.compare(base, head, paths, match="method")
    return Against(cells, base, head)


def level(cells: pd.DataFrame, fail_on: Sequence[str] = diff.FAIL_ON) -> str:
    """One of ``LEVELS``."""
    if diff.fails(cells, fail_on):
        return "worse"
    return "better" if (cells["kind"] == "improvement").any() else "same"


def is_under(reached: str, wanted: str) -> bool:
    """Is a level below another?"""
    order = list(LEVELS)
    return order.index(reached) < order.index(wanted)
