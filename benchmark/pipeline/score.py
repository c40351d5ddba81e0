"""The third step: score every explanation by every metric, and the networks by their accuracy.

A cell has one file of scores. Each of its rows has a key of its own, so that a metric that is new or has changed is
computed by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
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


def score_explanations(
    profile: Profile, dataset: str, keep: Iterable[Path] = ()
) -> Iterator[Done]:
    """Score every explanation by every metric, and the networks by their own accuracy.

    Args:
        keep: further files in the folder of scores, which stay.
    """
    todo = cells(profile, dataset)
    networks = []
    for name, seed, _ in profile.trainings(dataset):
        networks.append(
            Cell(profile.name, dataset, name, seed, evaluation=profile.evaluation)
        )
    folder = made(profile).scores(dataset)
    remove_others(
        folder,
        keep={cell.scores for cell in todo} | set(keep),
        besides={cell.scores for cell in networks},
    )
    for cell in networks:
        write_network_rows(cell)
    units = [score_unit(cell) for cell in todo]
    for done in unit_times.run(made(profile), "score", dataset, units):
        cell = done.unit.arguments[0]
        if done.error and not _says_why(cell):  # its worker died, or the disk is full
            meta = cell_meta(cell) | {"status": "failed", "reason": done.error}
            with contextlib.suppress(OSError):
                _write_scores(cell, _without_values(cell, meta), [], {})
        yield done


def score_unit(cell: Cell) -> Unit:
    """The unit that scores a cell."""
    reads = (*network_files(cell), cell.explanation)
    return Unit(cell.name, score_cell, (cell,), reads=reads, writes=(cell.scores,))


def is_scored(cell: Cell) -> bool:
    """Do its scores by all metrics exist, made from all that they depend on now?"""
    return _wanted() <= _kept(cell, score_keys(cell)).keys()


def score_cell(cell: Cell) -> str | None:
    """Score an explanation by the metrics that lack a score; a metric that fails fails only its own rows."""
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
    found = set()
    for spec in registry.metrics().values():
        found |= {(spec.name, store.setting_text(setting)) for setting in spec.settings}
    return found


def _kept(cell: Cell, keys: Mapping[str, str]) -> dict[tuple[str, str], Scored]:
    """The scores that exist under the current keys, by metric and its setting."""
    try:
        rows, values, _, old_keys = store.read_keyed_scores(cell.scores)
    except store.StoreError:
        return {}
    found = {}
    for row, value, key in zip(rows.to_dict("records"), values, old_keys, strict=True):
        if key == keys.get(row["metric"]) and row["status"] != "failed":
            found[row["metric"], row["metric_setting"]] = row, value
    return found


def _measured(
    cell: Cell,
    meta: Mapping[str, Any],
    e: Explanation,
    kept: Mapping[tuple[str, str], Scored],
) -> tuple[list[Scored], list[int]]:
    """The scores by every metric with every setting, those in ``kept`` as they are; and the images' ids."""
    batch, scored = load_batch(cell), []
    for spec in registry.metrics().values():
        for setting in spec.settings:
            one = kept.get((spec.name, store.setting_text(setting)))
            if one is None:
                found = measure(cell, spec, setting, e, batch)
                one = _scored(cell, meta, spec, setting, found)
            scored.append(one)
    # What depends on the images and the network alone stays for the other methods.
    batch.memo.pop("explanations", None)
    batch.memo.pop("explained", None)
    return scored, batch.ids.tolist()


def scored_row(
    cell: Cell,
    meta: Mapping[str, Any],
    spec: MetricSpec,
    setting: Mapping[str, Any],
    found: tuple[str, str, np.ndarray],
) -> Scored:
    """The row of what ``protocol.measure`` found, with the values per image."""
    return _scored(cell, meta, spec, setting, found)


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


def _without_values(cell: Cell, meta: Mapping[str, Any]) -> list[Scored]:
    """Rows of a cell that has no explanation.

    One that failed is only on the tracks that its kind of explanation enters; if its kind is not known, it has a single
    row, of track ``unknown``.
    """
    specs = list(registry.metrics().values())
    if meta["status"] == "failed":
        offers = known_offers(cell)
        specs = [spec for spec in specs if spec.offered <= offers]
    rows = []
    for spec in specs:
        rows += [_row(cell, meta, spec, setting) for setting in spec.settings]
    why = {"status": meta["status"], "reason": meta["reason"]}
    return [(row | why, np.empty(0)) for row in rows or [_unknown(cell, meta)]]


def _says_why(cell: Cell) -> bool:
    """Does the file of its scores have a failed row, which gives a reason?"""
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


def _write_scores(
    cell: Cell, scored: Sequence[Scored], ids: Sequence[int], keys: Mapping[str, str]
) -> None:
    rows = [row for row, _ in scored]
    values = [values for _, values in scored]
    row_keys = [keys.get(row["metric"], "") for row in rows]
    table = pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))
    store.write_scores(cell.scores, table, values, ids=ids, keys=row_keys)
