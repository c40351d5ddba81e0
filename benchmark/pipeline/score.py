"""TODO."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark import engine, store
from benchmark.api import Explanation, MetricSpec
from benchmark.engine import Done, Unit
from benchmark.methods import registry
from benchmark.pipeline import unit_times
from benchmark.pipeline.cells import (
    Cell,
    cell_meta,
    cells,
    known_offers,
    made,
    network_files,
    read_cell,
    remove_others,
)
from benchmark.pipeline.inputs import load_batch
from benchmark.pipeline.keys import score_keys
from benchmark.pipeline.protocol import measure, summary

if TYPE_CHECKING:
    from benchmark.pipeline.profile import Profile

Scored = tuple[
    dict[str, Any], np.ndarray
]  # a row, and the values per image that it is the mean of


def score_explanations(profile: Profile, dataset: str) -> Iterator[Done]:
    """Score every explanation by every metric, and the networks by their own accuracy."""
    todo = cells(profile, dataset)
    networks = [
        Cell(profile.name, dataset, name, seed, evaluation=profile.evaluation)
        for name, seed, _ in profile.trainings(dataset)
    ]
    remove_others(
        made(profile).scores(dataset), {cell.scores for cell in todo + networks}
    )
    for cell in networks:
        write_network_rows(cell)
    for done in unit_times.run(
        made(profile), "score", dataset, [score_unit(cell) for cell in todo]
    ):
        cell = done.unit.arguments[0]
        if done.error and not _says_why(cell):  # its worker died, or the disk is full
            meta = cell_meta(cell) | {"status": "failed", "reason": done.error}
            with contextlib.suppress(OSError):
                _write_scores(cell, _without_values(cell, meta), [], {})
        yield done


def score_unit(cell: Cell) -> Unit:
    return Unit(
        cell.name,
        score_cell,
        (cell,),
        reads=(*network_files(cell), cell.explanation),
        writes=(cell.scores,),
    )


def is_scored(cell: Cell) -> bool:
    """Are its scores by all metrics there, made of all that they depend on as that is now?"""
    return _wanted() <= _kept(cell, score_keys(cell)).keys()


def score_cell(cell: Cell) -> str | None:
    """All metrics of one explanation that are not there yet; each metric's failure is its own rows' alone."""
    keys = score_keys(cell)
    kept = _kept(cell, keys)
    if _wanted() <= kept.keys():
        return engine.KEPT
    explanation, meta = read_cell(cell)
    if meta["status"] == "ok":
        scored, ids = _measured(cell, meta, explanation, kept)
    else:
        scored, ids = _without_values(cell, meta), []
    _write_scores(cell, scored, ids, keys)
    if reasons := [row["reason"] for row, _ in scored if row["status"] == "failed"]:
        raise engine.Failed(f"{len(reasons)} of {len(scored)} rows: {reasons[0]}")
    return None


def _wanted() -> set[tuple[str, str]]:
    """(metric, its setting) of every row."""
    return {
        (spec.name, store.setting_text(setting))
        for spec in registry.metrics().values()
        for setting in spec.settings
    }


def _kept(cell: Cell, keys: Mapping[str, str]) -> dict[tuple[str, str], Scored]:
    """The scores that are there under the keys of today, by metric and its setting."""
    try:
        rows, values, _, there = store.read_keyed_scores(cell.scores)
    except store.StoreError:
        return {}
    return {
        (row["metric"], row["metric_setting"]): (row, value)
        for row, value, key in zip(rows.to_dict("records"), values, there, strict=True)
        if key == keys.get(row["metric"]) and row["status"] != "failed"
    }


def _measured(
    cell: Cell,
    meta: Mapping[str, Any],
    e: Explanation,
    kept: Mapping[tuple[str, str], Scored],
) -> tuple[list[Scored], list[int]]:
    """Every metric with every setting, those in ``kept`` as they are; and the images."""
    batch, scored = load_batch(cell), []
    for spec in registry.metrics().values():
        for setting in spec.settings:
            name = spec.name, store.setting_text(setting)
            scored.append(
                kept.get(name)
                or _scored(
                    cell, meta, spec, setting, measure(cell, spec, setting, e, batch)
                )
            )
    batch.memo.pop(
        "explanations", None
    )  # what depends on images and network alone stays for the other methods
    return scored, batch.ids.tolist()


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
        row |= dict(zip(("value", "n"), summary(values), strict=True))
    return row, values


def _without_values(cell: Cell, meta: Mapping[str, Any]) -> list[Scored]:
    """Rows of a cell that has no explanation. One that failed stands on the tracks that its kind of explanation enters
    only; where nothing is known of its kind, it is one row of track ``unknown``."""
    why = {"status": meta["status"], "reason": meta["reason"]}
    offers = known_offers(cell) if meta["status"] == "failed" else None
    specs = [
        spec
        for spec in registry.metrics().values()
        if offers is None or spec.offered <= offers
    ]
    rows = [
        _row(cell, meta, spec, setting) | why
        for spec in specs
        for setting in spec.settings
    ]
    return [(row, np.empty(0)) for row in rows or [_unknown(cell, meta) | why]]


def _says_why(cell: Cell) -> bool:
    """Does the file of its scores have a failed row, which gives the reason?"""
    try:
        rows, _, _ = store.read_scores(cell.scores)
    except store.StoreError:
        return False
    return bool((rows.status == "failed").any())


def write_network_rows(cell: Cell) -> None:
    """Rows of track ``target``: how good the network itself is."""
    card = store.read_json(cell.weights.with_suffix(".json"))
    scored = []
    for metric, split in (("test_accuracy", "test"), ("train_accuracy", "train")):
        row = _base(cell, {"method": "network", "paper": "", "setting": ""})
        row |= {
            "track": "target",
            "metric": metric,
            "better": "higher",
            "unit": "percent",
        }
        if "failed" in card:
            row |= {"status": "failed", "reason": card["failed"]}
        else:
            row |= {"value": 100 * card[metric], "n": card["images"][split]}
        scored.append((row, np.empty(0)))
    _write_scores(cell, scored, [], {})


def _base(cell: Cell, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a row that says of which method on which network it is, without a value yet."""
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
    declared = {
        "track": spec.track,
        "metric": spec.name,
        "better": spec.better,
        "unit": spec.unit,
    }
    return (
        _base(cell, meta)
        | declared
        | {
            "metric_setting": store.setting_text(setting),
            "metric_version": spec.version,
        }
    )


def _unknown(cell: Cell, meta: Mapping[str, Any]) -> dict[str, Any]:
    return _base(cell, meta) | {
        "track": "unknown",
        "metric": "explanation",
        "better": "higher",
        "unit": "",
    }


def _write_scores(
    cell: Cell, scored: Sequence[Scored], ids: Sequence[int], keys: Mapping[str, str]
) -> None:
    rows = pd.DataFrame([row for row, _ in scored], columns=list(store.ROW_COLUMNS))
    by_row = [keys.get(metric, "") for metric in rows["metric"]]
    store.write_scores(
        cell.scores, rows, [values for _, values in scored], ids=ids, keys=by_row
    )
