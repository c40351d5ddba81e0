"""TODO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark import store
from benchmark.leaderboard import tables
from benchmark.methods import describe
from benchmark.pipeline import provenance
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile


def _values_of(profile: Profile, means: pd.DataFrame) -> pd.DataFrame:
    """The values of single images behind committed rows; none where the file is not there or is of other rows."""
    try:
        values = store.read_values(store.Paths(profile.name).values)
    except store.StoreError:
        return pd.DataFrame()
    ok, keys = means[means.status == "ok"], list(store.ROW_KEYS)
    values = values.merge(ok[keys], on=keys)
    check = ok.set_index(keys)["value"] - values.groupby(keys)["value"].mean()
    return (
        values
        if check.abs().le(1e-5 * (1 + ok.set_index(keys)["value"].abs())).all()
        else pd.DataFrame()
    )


def _committed(profile: Profile, todo: Sequence[Cell]) -> tuple[pd.DataFrame, Counter, Counter]:
    """(rows, why not, metrics without): those of ``todo`` in ``results/<profile>/rows.csv`` that were made of what is
    here."""
    paths, refs = (
        store.Paths(profile.name),
        {cell.method.slug: cell.method for cell in todo}.values(),
    )
    try:
        rows, then = store.read_rows(paths.rows), store.read_json(paths.results / "provenance.json")
    except store.StoreError as error:
        return pd.DataFrame(), Counter({str(error): len(todo)}), Counter()
    now = provenance.provenance(profile.with_methods(list(refs)))
    same = [
        name for name, code in now["metrics"].items() if then.get("metrics", {}).get(name) == code
    ]
    rows = rows[rows.track.isin(set(tables.TRACKS) - set(tables.UNRANKED))]
    found, left_out = [], Counter()
    for cell in todo:
        if reason := _other(cell, then, now):
            left_out[reason] += 1
            continue
        name, paper, setting = describe.describe(cell.method)
        mine = rows[
            (rows.method == name)
            & (rows.paper == paper)
            & (rows.setting == setting)
            & (rows.dataset == cell.dataset)
            & (rows.target == cell.target)
            & (rows.seed == cell.seed)
        ]
        found.append(mine[mine.metric.isin(same)]) if len(mine) else left_out.update(
            ["it has no rows yet"]
        )
    without = Counter({name: len(found) for name in now["metrics"] if name not in same and found})
    return pd.concat(found) if found else pd.DataFrame(), left_out, without


def _other(cell: Cell, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Why a committed row of this cell was made of something else than what is here; empty if it was not."""
    parts = [
        ("data", "data", cell.dataset),
        ("network", "weights", f"{cell.dataset}/{cell.weights.stem}"),
        ("method", "methods", f"{cell.method.file}:{cell.method.cls}"),
        ("code that explains:", "steps", "explain"),
        ("code that scores:", "steps", "score"),
    ]
    for what, part, key in parts:
        if then.get(part, {}).get(key) != now[part].get(key):
            return f"the {what} {key} is not what the committed rows were made of"
    return ""
