"""What changed between two sets of rows: what CI stops at.

Idea: on the same kind of machine the same commit gives the same bytes, so any difference is a change (``exact``). On
another kind of machine networks train to slightly other weights; then the means over the seeds of a cell are compared,
within a tolerance.

Theory: the tolerance is the larger of a floor, by unit, and 4 standard errors over the seeds (the larger of the old
and the new standard deviation, divided by the root of the number of seeds). For seeds that are redrawn altogether this
is 2.8 standard deviations of the difference of two means; machines differ by less than that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store

COLUMNS = ["key", "kind", "old", "new", "tolerance"]
KINDS = {  # kind -> what it means
    "lost": "was there and is not",
    "status": "ok, failed or not applicable, and was another",
    "shifted": "another value, number of images, unit or direction",
    "re-baselined": "the metric's version changed: old and new are not compared",
    "new": "was not there",
}
FAILS = ("lost", "status", "shifted")
FLOORS = {"percent": 2.0, "fraction": 0.02, "correlation": 0.05}  # by unit: differences that no machine is held to
RELATIVE_FLOOR = 0.1  # of the old value, for other units
STANDARD_ERRORS = 4


def compare(old_rows: pd.DataFrame, new_rows: pd.DataFrame, *, exact: bool) -> pd.DataFrame:
    """The differences, sorted by kind (as in ``KINDS``) and key; empty if there are none. ``seconds`` never counts.

    Returns:
        key (``profile/track/...``; the seed is ``all`` where means over seeds are compared), kind, old, new (texts),
        tolerance (NaN where it is exact or no value is compared).
    """
    old, new = _indexed(old_rows), _indexed(new_rows)
    out = [(key, "lost", _text(old[key]), "", np.nan) for key in old.keys() - new.keys()]
    out += [(key, "new", "", _text(new[key]), np.nan) for key in new.keys() - old.keys()]
    compared = []
    for key in old.keys() & new.keys():
        a, b = old[key], new[key]
        if a["metric_version"] != b["metric_version"]:
            versions = [f"{_text(row)} (version {row['metric_version']})" for row in (a, b)]
            out.append((key, "re-baselined", *versions, np.nan))
        elif a["status"] != b["status"]:
            out.append((key, "status", _text(a), _text(b), np.nan))
        elif (facts := [(r["n"], r["unit"], r["better"]) for r in (a, b)])[0] != facts[1]:
            texts = [f"{_text(r)} (n={r['n']}, {r['unit']}, {r['better']} is better)" for r in (a, b)]
            out.append((key, "shifted", *texts, np.nan))
        elif a["status"] == "ok":
            compared.append(key)
    out += _exact(old, new, compared) if exact else _tolerant(old, new, compared)
    order = {kind: i for i, kind in enumerate(KINDS)}
    out.sort(key=lambda line: (order[line[1]], line[0]))
    return pd.DataFrame([("/".join(map(str, key)), *rest) for key, *rest in out], columns=COLUMNS)


def _indexed(rows: pd.DataFrame) -> dict[tuple, dict[str, Any]]:
    keys = list(store.ROW_KEYS)
    return {tuple(row[k] for k in keys): row for row in store.tidy_rows(rows).to_dict("records")}


def _text(row: Mapping[str, Any]) -> str:
    return store.format_value(row["value"]) if row["status"] == "ok" else f"{row['status']}: {row['reason']}"


def _exact(old: Mapping, new: Mapping, keys: list[tuple]) -> list[tuple]:
    return [(k, "shifted", _text(old[k]), _text(new[k]), np.nan) for k in keys if _text(old[k]) != _text(new[k])]


def _tolerant(old: Mapping, new: Mapping, keys: list[tuple]) -> list[tuple]:
    cells: dict[tuple, list[tuple]] = {}
    for key in keys:
        cells.setdefault(key[:-1], []).append(key)  # the seed is the last part of a key
    out = []
    for cell, members in cells.items():
        a, b = (np.array([rows[key]["value"] for key in members], np.float64) for rows in (old, new))
        limit = tolerance(a, b, old[members[0]]["unit"])
        if not abs(a.mean() - b.mean()) <= limit:
            means = (store.format_value(values.mean()) for values in (a, b))
            out.append(((*cell, "all"), "shifted", *means, limit))
    return out


def tolerance(old: np.ndarray, new: np.ndarray, unit: str) -> float:
    """How far the means of a cell's S old and new values, (S,) each, may lie apart, in ``unit``."""
    floor = FLOORS.get(unit, RELATIVE_FLOOR * abs(old.mean()))
    if len(old) < 2:
        return float(floor)
    error = max(old.std(ddof=1), new.std(ddof=1)) / np.sqrt(len(old))
    return float(max(floor, STANDARD_ERRORS * error))


def fails(difference: pd.DataFrame) -> bool:
    """Whether there is a difference that CI stops at."""
    return bool(difference["kind"].isin(FAILS).any())


def summary(difference: pd.DataFrame, *, limit: int = 20) -> str:
    """A few lines to read: counts, then the first ``limit`` differences of each kind."""
    if not len(difference):
        return "no differences"
    lines = []
    for kind, group in difference.groupby("kind", sort=False):
        lines.append(f"{len(group)} {kind} ({KINDS[kind]})")
        for r in group.head(limit).itertuples():
            within = f" (tolerance {r.tolerance:.3g})" if np.isfinite(r.tolerance) else ""
            lines.append(f"  {r.key}: {r.old or 'nothing'} -> {r.new or 'nothing'}{within}")
        if len(group) > limit:
            lines.append(f"  and {len(group) - limit} more")
    return "\n".join(lines)


def same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two provenances name the same kind of machine (their ``machine``: cpu, libraries, platform)."""
    return bool(a.get("machine")) and a.get("machine") == b.get("machine")
