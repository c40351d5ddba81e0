"""The rows of a cell's scores: kept from an earlier run, made of what was measured, or without a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import engine, store
from benchmark.api import MetricSpec
from benchmark.pipeline.cells import Cell, known_offers
from benchmark.pipeline.protocol import summary

Scored = tuple[
    dict[str, Any], np.ndarray
]  # a row, and the values per image that it is the mean of


def raise_failed(scored: Sequence[Scored]) -> None:
    """
    Raises:
        Failed: there are failed rows.
    """
    if reasons := [row["reason"] for row, _ in scored if row["status"] == "failed"]:
        raise engine.Failed(f"{len(reasons)} of {len(scored)} rows: {reasons[0]}")


def wanted(specs: Iterable[MetricSpec]) -> set[tuple[str, str]]:
    """(metric, its setting) of every row."""
    found = set()
    for spec in specs:
        found |= {(spec.name, store.setting_text(setting)) for setting in spec.settings}
    return found


def kept_scores(path: Path, keys: Mapping[str, str]) -> dict[tuple[str, str], Scored]:
    """The scores that exist under the current keys, by metric and its setting."""
    try:
        rows, values, _, old_keys = store.read_keyed_scores(path)
    except store.StoreError:
        return {}
    found = {}
    for row, value, key in zip(rows.to_dict("records"), values, old_keys, strict=True):
        if key == keys.get(row["metric"]) and row["status"] != "failed":
            found[row["metric"], row["metric_setting"]] = row, value
    return found


def has_scores(
    path: Path, keys: Mapping[str, str], specs: Iterable[MetricSpec]
) -> bool:
    """Are there scores by all these metrics under the current keys, in a file that is undamaged?"""
    try:
        rows = store.read_score_keys(path)
    except store.StoreError:
        return False
    found = set()
    for metric, setting, status, key in rows:
        if key == keys.get(metric) and status != "failed":
            found.add((metric, setting))
    return wanted(specs) <= found and store.is_whole(path)


def _scored(
    cell: Cell,
    meta: Mapping[str, Any],
    spec: MetricSpec,
    setting: Mapping[str, Any],
    found: tuple[str, str, np.ndarray],
) -> Scored:
    status, reason, values = found
    row = _row(cell, meta, spec, setting) | {"status": status, "reason": reason}
    if status == "ok":
        row["value"], row["n"] = summary(values)
        row["reason"] = meta.get("reason", "")  # a note on the method
    return row, values


def without_values(
    cell: Cell, meta: Mapping[str, Any], specs: Iterable[MetricSpec]
) -> list[Scored]:
    """Rows of a cell that has no explanation; one that failed is only on the tracks that its kind of explanation
    enters, if its kind is known."""
    if meta["status"] == "failed":
        offers = known_offers(cell)
        specs = [spec for spec in specs if spec.offered <= offers]
    rows = []
    for spec in specs:
        rows += [_row(cell, meta, spec, setting) for setting in spec.settings]
    return [_lost(row, meta) for row in rows]


def unknown(cell: Cell, meta: Mapping[str, Any]) -> Scored:
    """The only row of a cell that failed before its kind was known, of track ``unknown``."""
    return _lost(_unknown(cell, meta), meta)


def _lost(row: Mapping[str, Any], meta: Mapping[str, Any]) -> Scored:
    why = {"status": meta["status"], "reason": meta["reason"]}
    return {**row, **why}, np.empty(0)


def _base(cell: Cell, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a row that names its method and network, without a value yet."""
    return {
        "profile": cell.profile,
        "dataset": cell.dataset,
        "target": cell.target,
        "seed": cell.seed,
        "paper": meta["paper"],
        "method": meta["method"],
        "setting": meta["setting"],
        "metric_setting": "",
        "value": np.nan,
        "n": 0,
        "metric_version": 1,
        "status": "ok",
        "reason": "",
    }


def _row(
    cell: Cell, meta: Mapping[str, Any], spec: MetricSpec, setting: Mapping[str, Any]
) -> dict[str, Any]:
    """The row of a metric with one of its settings, without a value yet."""
    return _base(cell, meta) | {
        "track": spec.track,
        "metric": spec.name,
        "metric_setting": store.setting_text(setting),
        "metric_version": spec.version,
        "better": spec.better,
        "unit": spec.unit,
    }


def _unknown(cell: Cell, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The only row of a method that failed before it was known what it explains."""
    return _base(cell, meta) | {
        "track": "unknown",
        "metric": "explanation",
        "better": "higher",
        "unit": "",
    }


def write_scores(
    path: Path, scored: Sequence[Scored], ids: Sequence[int], keys: Mapping[str, str]
) -> None:
    """Write rows with their values per image; ``keys``: by metric."""
    rows = [row for row, _ in scored]
    values = [values for _, values in scored]
    row_keys = [keys.get(row["metric"], "") for row in rows]
    table = pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))
    store.write_scores(path, table, values, ids=ids, keys=row_keys)
