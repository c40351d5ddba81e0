"""The committed rows that still hold: those made of the data, networks, methods and code that are here.

    found = committed_rows(profile, cells)
    values = values_per_image(profile, found.rows)

Rows come from ``results/<profile>/rows.csv``; ``provenance.json`` beside it has the hashes of what they were made of. A
cell whose hashes differ from those of today is left out, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from benchmark import store
from benchmark.leaderboard import tables
from benchmark.methods import describe
from benchmark.methods.registry import calling_metrics
from benchmark.pipeline import provenance
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile

_TOLERANCE = 1e-5  # relative, of a mean over float32 values


@dataclass(frozen=True)
class Committed:
    """Rows that hold, and what is missing.

    Attributes:
        left_out: the reasons why cells have no rows here, and how many cells.
        without: metrics whose code is new or has changed, and how many cells lack their rows.
    """

    rows: pd.DataFrame = field(default_factory=pd.DataFrame)
    left_out: Counter[str] = field(default_factory=Counter)
    without: Counter[str] = field(default_factory=Counter)


def committed_rows(profile: Profile, wanted: Sequence[Cell]) -> Committed:
    """The rows of the wanted cells that were made of what is here."""
    paths = store.Paths(profile.name).committed
    try:
        rows = store.read_rows(paths.rows)
        then = store.read_json(paths.results / "provenance.json")
    except store.StoreError as error:
        return Committed(left_out=Counter({str(error): len(wanted)}))
    methods = {cell.method.slug: cell.method for cell in wanted}
    now = provenance.provenance(profile.with_methods(list(methods.values())))
    known = then.get("metrics", {})
    unchanged = [
        name for name, code in now["metrics"].items() if known.get(name) == code
    ]
    if then.get("steps", {}).get("again") != now["steps"]["again"]:
        unchanged = [name for name in unchanged if name not in calling_metrics()]
    rows = rows[rows.track.isin(set(tables.TRACKS) - set(tables.UNRANKED))]
    found: list[pd.DataFrame] = []
    left_out: Counter[str] = Counter()
    places = rows.groupby(_CELL, sort=False).indices
    for cell in wanted:
        reason = _what_changed(cell, then, now)
        if not reason:
            mine = rows.iloc[places.get(_key(cell), [])]
            if len(mine):
                found.append(mine[mine.metric.isin(unchanged)])
            else:
                reason = "it has no rows yet"
        if reason:
            left_out[reason] += 1
    if not found:
        return Committed(left_out=left_out)
    changed = [name for name in now["metrics"] if name not in unchanged]
    return Committed(
        pd.concat(found), left_out, Counter(dict.fromkeys(changed, len(found)))
    )


_CELL = ["method", "paper", "setting", "dataset", "target", "seed"]


def _key(cell: Cell) -> tuple[str | int, ...]:
    """The values of ``_CELL``."""
    return *describe.describe(cell.method), cell.dataset, cell.target, cell.seed


def _what_changed(cell: Cell, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What the committed rows of a cell were made of that differs from what is here; empty if nothing does."""
    parts = [
        ("data", "data", cell.dataset),
        ("network", "weights", f"{cell.dataset}/{cell.weights.stem}"),
        ("method", "methods", cell.method.use),
        ("code that explains:", "steps", "explain"),
        ("code that scores:", "steps", "score"),
    ]
    for what, part, key in parts:
        if then.get(part, {}).get(key) != now[part].get(key):
            return f"the {what} {key} is not what the committed rows were made of"
    return ""


def values_per_image(profile: Profile, rows: pd.DataFrame) -> pd.DataFrame:
    """The values per image behind committed rows; empty if the file is missing or belongs to other rows."""
    try:
        values = store.read_values(store.Paths(profile.name).committed.values)
    except store.StoreError:
        return pd.DataFrame()
    keys = list(store.ROW_KEYS)
    ok = rows[rows.status == "ok"]
    values = values.merge(ok[keys], on=keys)
    wanted = ok.set_index(keys)["value"]
    difference = (wanted - values.groupby(keys)["value"].mean()).abs()
    if difference.le(_TOLERANCE * (1 + wanted.abs())).all():
        return values
    return pd.DataFrame()
