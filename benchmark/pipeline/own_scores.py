"""Scores by metrics that are not of this project: those that ``explain: metrics:`` of a profile names.

Each cell and metric has a process of its own under the limits of ``explain: limits:``, and a file of its own beside
those of the cells. A metric that fails, hangs or crashes loses its rows alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark import engine, store
from benchmark.api import CallingSpec, MetricSpec
from benchmark.engine import Done, Unit
from benchmark.methods.metric_contract import guarded
from benchmark.methods.metric_refs import MetricRef, declared, refuse_taken_names
from benchmark.pipeline import unit_times
from benchmark.pipeline.again import Outcome, own_outcomes
from benchmark.pipeline.cells import (
    Cell,
    cell_meta,
    cells,
    known_offers,
    made,
    read_explanation,
)
from benchmark.pipeline.inputs import forget, load_batch
from benchmark.pipeline.keys import own_score_key
from benchmark.pipeline.protocol import measure
from benchmark.pipeline.score import score_explanations
from benchmark.pipeline.score_rows import Scored, _scored
from benchmark.utils.temporary import scratch

if TYPE_CHECKING:
    from benchmark.pipeline.profile import Profile

Brought = Mapping[Path, tuple[Cell, MetricRef]]  # by the file of its scores
_APART = "values.npz"  # in the working directory of a metric's process
_ENDLESS = "took longer than"  # of the error of a unit that reached its time limit


def score_all(
    profile: Profile, *datasets: str, others: Sequence[Cell] = ()
) -> Iterator[Done]:
    """Score every explanation of data sets by the metrics of this project, and by those that the profile names.

    Args:
        others: further cells, whose explanations exist, for the metrics that the profile names.
    """
    refuse_taken_names(profile.explain.metrics)
    mine = [cell for dataset in datasets for cell in cells(profile, dataset)]
    brought = files(profile, [*mine, *others])
    yield from score_explanations(profile, *datasets, keep=brought)
    what = unit_times.part(datasets, profile.datasets)
    yield from _score(profile, what, brought)


def files(profile: Profile, todo: Sequence[Cell]) -> Brought:
    """The files of the scores of cells by the metrics that the profile names."""
    paths, found = made(profile), {}
    for cell in todo:
        for ref in profile.explain.metrics:
            if _calls(ref) and not cell.again:
                continue
            name = f"{cell.method.slug}+{ref.slug}"
            path = paths.score(cell.dataset, cell.target, cell.seed, name)
            found[path] = cell, ref
    return found


def _calls(ref: MetricRef) -> bool:
    """Does the metric call the method again?"""
    return isinstance(declared(ref).spec, CallingSpec)


def _key(cell: Cell, ref: MetricRef) -> str:
    return own_score_key(cell, ref, calls=_calls(ref))


def _score(profile: Profile, what: str, brought: Brought) -> Iterator[Done]:
    """Compute the scores that are missing, those of one cell by each metric first."""
    waiting = {}
    for path, (cell, ref) in brought.items():
        if _is_kept(path, _key(cell, ref)):
            continue
        meta = cell_meta(cell)
        if meta["status"] == "ok" and not (missing := _missing(meta, ref)):
            waiting[path] = cell, ref
            continue
        if meta["status"] == "ok":
            why = f"offers no {', '.join(missing)}"
            meta |= {"status": "not applicable", "reason": why}
        if meta["status"] != "failed" or _would_offer(cell, ref):
            _write(path, cell, ref, _without_values(cell, ref, meta), [])
    first = {ref.slug: path for path, (_, ref) in reversed(waiting.items())}.values()
    rest = [path for path in waiting if path not in first]
    endless: dict[str, str] = {}  # by the slug of a metric, what is said of the rest
    for paths in (first, rest):
        todo = {path: waiting[path] for path in paths}
        for path, (cell, ref) in list(todo.items()):
            if ref.slug in endless:
                del todo[path]
                meta = cell_meta(cell) | {
                    "status": "failed",
                    "reason": endless[ref.slug],
                }
                _write(path, cell, ref, _without_values(cell, ref, meta), [])
        for done in _computed(profile, what, todo):
            _, ref, _ = done.unit.arguments
            # Of a metric that calls the method, the method may be what takes so long.
            if done.error and _ENDLESS in done.error and not _calls(ref):
                endless[ref.slug] = f"not tried: it {done.error} on {done.unit.name}"
            yield done


def _missing(meta: Mapping[str, Any], ref: MetricRef) -> list[str]:
    """What the metric needs and the explanation with this meta does not offer."""
    return sorted(declared(ref).spec.offered - set(meta["offers"]))


def _would_offer(cell: Cell, ref: MetricRef) -> bool:
    """Would the explanation of a cell that failed have had what the metric needs, as far as known?"""
    return declared(ref).spec.offered <= known_offers(cell)


def _is_kept(path: Path, key: str) -> bool:
    """Are its rows there under this key, and none of them failed?"""
    try:
        rows, _, _, keys = store.read_keyed_scores(path)
    except store.StoreError:
        return False
    return set(keys) == {key} and not (rows["status"] == "failed").any()


def _computed(profile: Profile, what: str, todo: Brought) -> Iterator[Done]:
    with tempfile.TemporaryDirectory(prefix=scratch()) as apart:
        units = []
        for i, (path, (cell, ref)) in enumerate(todo.items()):
            folder = Path(apart, str(i))
            folder.mkdir()
            units.append(replace(own_unit(profile, path, cell, ref), folder=folder))
        for done in unit_times.run(made(profile), "metric", what, units):
            _collect(done)
            yield done


def own_unit(profile: Profile, path: Path, cell: Cell, ref: MetricRef) -> Unit:
    """Scores a cell by a metric that the profile names."""
    setting = store.setting_text(ref.settings)
    name = f"{cell.name} {ref.label} {setting}".rstrip()
    return Unit(name, score_apart, (cell, ref, path), profile.explain.limits)


def score_apart(cell: Cell, ref: MetricRef, path: Path) -> None:
    """Score one cell; the outcome of each setting is written into the working directory at once, so that those before a
    crash stay."""
    spec = guarded(ref.load())
    calls = isinstance(spec, CallingSpec)
    found = own_outcomes(cell, spec) if calls else _outcomes(cell, spec)
    outcomes: dict[str, Any] = {}
    failed = []
    for i, ((status, reason, values), ids) in enumerate(found):
        if status == "failed":
            failed.append(reason)
        outcomes |= {
            f"{i}/status": status,
            f"{i}/reason": reason,
            f"{i}/values": values,
        }
        outcomes["ids"] = np.asarray(ids)
        store.write_npz(Path(_APART), outcomes)
    if failed:
        raise engine.Failed(failed[0])


def _outcomes(cell: Cell, spec: MetricSpec) -> Iterator[tuple[Outcome, list[int]]]:
    """The outcome of each setting of a metric that sees the finished explanation, and the ids of the images."""
    for setting in spec.settings:
        e, _ = read_explanation(cell.explanation)
        batch = load_batch(cell)
        outcome = measure(cell, spec, setting, e, batch)
        yield outcome, batch.ids.tolist()
        status, _, _ = outcome
        if status == "failed":
            forget()  # the metric may have changed the network or the images


def _collect(done: Done) -> None:
    """Write the rows of what a process has found, before it ended or failed."""
    cell, ref, path = done.unit.arguments
    found = declared(ref)
    try:
        outcomes = store.read_npz(done.unit.folder / _APART)
    except store.StoreError:  # it failed before that, or the metric removed the file
        outcomes = {}
    meta = cell_meta(cell)
    scored = []
    for i, text in enumerate(found.settings):
        outcome = "failed", done.error or "its process left no result", np.empty(0)
        if f"{i}/status" in outcomes:
            parts = (outcomes[f"{i}/{part}"] for part in ("status", "reason", "values"))
            status, reason, values = parts
            outcome = str(status), str(reason), values
        scored.append(_row(cell, ref, meta, text, outcome))
    _write(path, cell, ref, scored, outcomes.get("ids", []))


def _row(
    cell: Cell,
    ref: MetricRef,
    meta: Mapping[str, Any],
    setting: str,
    outcome: tuple[str, str, np.ndarray],
) -> Scored:
    row, values = _scored(cell, meta, declared(ref).spec, {}, outcome)
    return row | {"metric_setting": setting}, values


def _without_values(
    cell: Cell, ref: MetricRef, meta: Mapping[str, Any]
) -> list[Scored]:
    """The rows of a cell that is not scored, for the reason that ``meta`` gives."""
    outcome = meta["status"], meta["reason"], np.empty(0)
    texts = declared(ref).settings
    return [_row(cell, ref, meta, text, outcome) for text in texts]


def _write(
    path: Path, cell: Cell, ref: MetricRef, scored: Sequence[Scored], ids: Sequence[int]
) -> None:
    rows = [row for row, _ in scored]
    values = [values for _, values in scored]
    keys = [_key(cell, ref)] * len(scored)
    table = pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))
    store.write_scores(path, table, values, ids=ids, keys=keys)
