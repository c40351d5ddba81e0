"""Joins target, method and metric. The only place where the three meet.

Four steps, each resumable cell by cell: ``train`` (a target and a seed), ``explain`` (a target, a seed and a method),
``score`` (the same, all metrics), ``collect`` (rows and the values of single images). A cell is a file with a key, the
hash of all that it depends on: a file with the right key is never made again, one with another key always is. A cell that
fails is a file that says why; it never stops another.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark import data, engine, store, zoo
from benchmark.api import Explanation, MetricSpec
from benchmark.engine import Done, Unit
from benchmark.methods import registry
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import unit_times
from benchmark.pipeline.cells import (
    Cell,
    describe,
    finished,
    known_offers,
    read_cell,
    read_explanation,
    remove_others,
    who,
    write_explanation,
)
from benchmark.pipeline.inputs import load_batch
from benchmark.pipeline.keys import explain_key, method_files_of, score_keys, step_hash
from benchmark.pipeline.protocol import attempt, measure, summary
from benchmark.utils.near_names import UnknownName
from benchmark.utils.temporary import scratch
from benchmark.zoo.recipe import mapping_of

if TYPE_CHECKING:  # workers import this module, and need no profile
    from benchmark.pipeline.profile import Profile

_APART = "cell.npz"  # in the working directory of a stranger's process

# --------------------------------------------------------------------------------------------- what there is to do


def made(profile: Profile) -> store.Paths:
    """Where explanations and scores of a profile, or of an evaluation on its data and networks, lie."""
    return store.Paths(profile.evaluation or profile.name)


def cells(profile: Profile, dataset: str) -> list[Cell]:
    """Every (target, seed, method) of a data set that the profile asks for."""
    wanted = profile.explained(dataset)
    named: dict[tuple[str, str], MethodRef] = {}
    for ref in wanted.methods:  # a wrong class or setting, or a name that is taken, is said before any work
        name, _, setting = describe(ref)
        if (other := named.setdefault((name, setting), ref)) is not ref:
            raise UnknownName(f"two methods are called {name!r} with the same settings: {other.file} and {ref.file}")
    return [
        Cell(profile.name, dataset, target, seed, ref, wanted.images, wanted.reference, evaluation=profile.evaluation)
        for target, seed, recipe in profile.trainings(dataset)
        if recipe.explain
        for ref in wanted.methods
    ]  # fmt: skip


# --------------------------------------------------------------------------------------------- train


def train(profile: Profile, dataset: str) -> Iterator[Done]:
    """Train the targets of a data set that are not there yet. A failed training leaves a card that says why."""
    paths = store.Paths(profile.name)
    units = train_units(profile, dataset)
    remove_others(paths.targets(dataset), {path for unit in units for path in unit.writes})
    for done in unit_times.run(paths, "train", dataset, units):
        if done.error and len(done.unit.writes) == 2:
            path, card = done.unit.writes
            path.unlink(missing_ok=True)
            store.write_json(card, {"failed": done.error})
        yield done


def train_units(profile: Profile, dataset: str, gpu: bool | None = None) -> list[Unit]:
    """A unit a network; on a GPU (default: where units will run) the seeds of a recipe train as one, and are one unit."""
    paths = store.Paths(profile.name)
    groups: dict[str, list[tuple[dict[str, Any], int, Path]]] = {}
    together = engine.workers_device() != "cpu" if gpu is None else gpu
    for name, seed, recipe in profile.trainings(dataset):
        path = paths.target(dataset, name, seed)
        groups.setdefault(f"{dataset}/{name if together else path.stem}", []).append((mapping_of(recipe), seed, path))
    return [
        Unit(name, _train, (paths.data(dataset), jobs), reads=(paths.data(dataset),),
             writes=tuple(file for *_, path in jobs for file in (path, path.with_suffix(".json"))))
        for name, jobs in groups.items()
    ]  # fmt: skip


def _train(data_path: Path, jobs: list[tuple[dict[str, Any], int, Path]]) -> list[dict[str, Any]]:
    return zoo.train_many(data.load(data_path), jobs, device=engine.device(), code=step_hash("train"))


# --------------------------------------------------------------------------------------------- explain


def explain(profile: Profile, dataset: str) -> Iterator[Done]:
    """Explain the sampled test images by every method; each Done's result is the cell's meta. A stranger's method has a
    process of its own, under the limits that ``explain: limits:`` sets."""
    todo = cells(profile, dataset)
    limits = profile.explain.limits
    remove_others(made(profile).explanations(dataset), {cell.explanation for cell in todo})
    with tempfile.TemporaryDirectory(prefix=scratch()) as apart:
        units = [explain_unit(cell) for cell in todo if cell.method.own]
        for i, cell in enumerate(cell for cell in todo if not cell.method.own and not is_explained(cell)):
            folder = Path(apart, str(i))
            folder.mkdir()
            units.append(Unit(cell.name, explain_apart, (cell,), limits, folder))
        for done in unit_times.run(made(profile), "explain", dataset, units):
            cell = done.unit.arguments[0]
            if done.unit.limits:
                _take_home(cell, done)
            meta = read_cell(cell)[1]
            if (
                done.error and meta["reason"] != done.error
            ):  # the cell could not say so: its worker died, or the disk is full
                cell.explanation.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    meta = who(cell) | {"status": "failed", "reason": done.error, "key": ""}
                    write_explanation(cell.explanation, Explanation(), meta)
                meta = read_cell(cell)[1]
            yield Done(done.unit, meta, done.error)


def explain_unit(cell: Cell) -> Unit:
    methods = method_files_of(cell.method)
    return Unit(cell.name, explain_cell, (cell,), reads=(*network_files(cell), *methods), writes=(cell.explanation,))


def network_files(cell: Cell) -> tuple[Path, ...]:
    """What a cell reads of its network and data set."""
    network = (cell.weights, cell.weights.with_suffix(".json")) if cell.target else ()
    return (*((cell.paths.data(cell.dataset),) if cell.dataset else ()), *network)


def is_explained(cell: Cell) -> bool:
    """Is its explanation there, made of all that it depends on as that is now?"""
    there = finished(cell.explanation)
    return there.get("key") == explain_key(cell) and there["status"] != "failed"


def explain_cell(cell: Cell) -> str | None:
    """Fit and explain, under guard; writes the explanation, or the reason why there is none."""
    if is_explained(cell):
        return engine.KEPT
    explanation, meta = attempt(cell)
    write_explanation(cell.explanation, explanation, who(cell) | {"key": explain_key(cell)} | meta)
    if meta["status"] == "failed":
        raise engine.Failed(meta["reason"])
    return None


def explain_apart(cell: Cell) -> None:
    """A stranger's cell: writes what ``explain_cell`` would into the working directory."""
    explanation, meta = attempt(cell, stranger=True)
    write_explanation(Path(_APART), explanation, meta)
    if meta["status"] == "failed":
        raise engine.Failed(meta["reason"])


def _take_home(cell: Cell, done: Done) -> None:
    """Put the explanation of a stranger's cell in its place; one that ended badly leaves its reason there."""
    explanation, meta = Explanation(), {"status": "failed", "reason": done.error}
    if not done.error:
        try:
            explanation, meta = read_explanation(done.unit.folder / _APART)
        except Exception as error:  # the method wrote over it
            meta["reason"] = engine.one_line(error)
    with contextlib.suppress(OSError):
        write_explanation(cell.explanation, explanation, meta | who(cell) | {"key": explain_key(cell)})


# --------------------------------------------------------------------------------------------- score

Scored = tuple[dict[str, Any], np.ndarray]  # a row, and the values per image that it is the mean of


def score(profile: Profile, dataset: str) -> Iterator[Done]:
    """Score every explanation by every metric, and the networks by their own accuracy."""
    todo = cells(profile, dataset)
    networks = [Cell(profile.name, dataset, name, seed, evaluation=profile.evaluation)
                for name, seed, _ in profile.trainings(dataset)]  # fmt: skip
    remove_others(made(profile).scores(dataset), {cell.scores for cell in todo + networks})
    for cell in networks:
        write_network_rows(cell)
    for done in unit_times.run(made(profile), "score", dataset, [score_unit(cell) for cell in todo]):
        cell = done.unit.arguments[0]
        if done.error and not _failures(cell):  # its worker died, or the disk is full
            meta = read_cell(cell)[1] | {"status": "failed", "reason": done.error}
            with contextlib.suppress(OSError):
                _write_scores(cell, _without_values(cell, meta), [], {})
        yield done


def score_unit(cell: Cell) -> Unit:
    return Unit(cell.name, score_cell, (cell,), reads=(*network_files(cell), cell.explanation), writes=(cell.scores,))


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
    if reasons := _failures(cell):
        raise engine.Failed(f"{len(reasons)} of {len(scored)} rows: {reasons[0]}")
    return None


def _wanted() -> set[tuple[str, str]]:
    """(metric, its setting) of every row."""
    return {
        (spec.name, store.setting_text(setting)) for spec in registry.metrics().values() for setting in spec.settings
    }


def _kept(cell: Cell, keys: Mapping[str, str]) -> dict[tuple[str, str], Scored]:
    """The scores that are there under the keys of today, by metric and its setting."""
    try:
        rows, values, _ = store.read_scores(cell.scores)
        there = store.read_keys(cell.scores)
    except store.StoreError:
        return {}
    return {
        (row["metric"], row["metric_setting"]): (row, value)
        for row, value, key in zip(rows.to_dict("records"), values, there, strict=True)
        if key == keys.get(row["metric"]) and row["status"] != "failed"
    }


def _measured(
    cell: Cell, meta: Mapping[str, Any], e: Explanation, kept: Mapping[tuple[str, str], Scored]
) -> tuple[list[Scored], list[int]]:
    """Every metric with every setting, those in ``kept`` as they are; and the images."""
    batch, scored = load_batch(cell), []
    for spec in registry.metrics().values():
        for setting in spec.settings:
            name = spec.name, store.setting_text(setting)
            scored.append(kept.get(name) or _scored(cell, meta, spec, setting, measure(cell, spec, setting, e, batch)))
    batch.memo.pop("explanations", None)  # what depends on images and network alone stays for the other methods
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
    specs = [spec for spec in registry.metrics().values() if offers is None or spec.offered <= offers]
    rows = [_row(cell, meta, spec, setting) | why for spec in specs for setting in spec.settings]
    return [(row, np.empty(0)) for row in rows or [_unknown(cell, meta) | why]]


def _failures(cell: Cell) -> list[str]:
    """The reasons of the failed rows of a cell that was scored."""
    with contextlib.suppress(store.StoreError):
        rows = store.read_scores(cell.scores)[0]
        return rows.reason[rows.status == "failed"].tolist()
    return []


def write_network_rows(cell: Cell) -> None:
    """Rows of track ``target``: how good the network itself is."""
    card = store.read_json(cell.weights.with_suffix(".json"))
    scored = []
    for metric, split in (("test_accuracy", "test"), ("train_accuracy", "train")):
        row = _base(cell, {"method": "network", "paper": "", "setting": ""})
        row |= {"track": "target", "metric": metric, "better": "higher", "unit": "percent"}
        if "failed" in card:
            row |= {"status": "failed", "reason": card["failed"]}
        else:
            row |= {"value": 100 * card[metric], "n": card["images"][split]}
        scored.append((row, np.empty(0)))
    _write_scores(cell, scored, [], {})


def _base(cell: Cell, meta: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a row that says of which method on which network it is, without a value yet."""
    return {
        "profile": cell.profile, "dataset": cell.dataset, "target": cell.target, "seed": cell.seed,
        "paper": meta["paper"], "method": meta["method"], "setting": meta["setting"],
        "metric_setting": "", "value": np.nan, "n": 0, "metric_version": 1, "status": "ok", "reason": "",
    }  # fmt: skip


def _row(cell: Cell, meta: Mapping[str, Any], spec: MetricSpec, setting: Mapping[str, Any]) -> dict[str, Any]:
    declared = {"track": spec.track, "metric": spec.name, "better": spec.better, "unit": spec.unit}
    return (
        _base(cell, meta) | declared | {"metric_setting": store.setting_text(setting), "metric_version": spec.version}
    )


def _unknown(cell: Cell, meta: Mapping[str, Any]) -> dict[str, Any]:
    return _base(cell, meta) | {"track": "unknown", "metric": "explanation", "better": "higher", "unit": ""}


def _write_scores(cell: Cell, scored: Sequence[Scored], ids: Sequence[int], keys: Mapping[str, str]) -> None:
    rows = pd.DataFrame([row for row, _ in scored], columns=list(store.ROW_COLUMNS))
    by_row = [keys.get(metric, "") for metric in rows["metric"]]
    store.write_scores(cell.scores, rows, [values for _, values in scored], ids=ids, keys=by_row)


# --------------------------------------------------------------------------------------------- collect


def collect(profile: Profile) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, instances): all rows of a profile, and the values of single images that they are means of."""
    paths = [path for dataset in profile.datasets for path in sorted(made(profile).scores(dataset).rglob("*.npz"))]
    if not paths:
        raise store.StoreError(f"profile {profile.name!r} has no scores; run `dvc repro`")
    return gather(paths)


def gather(paths: Iterable[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, instances) of files of scores."""
    frames, instances = (
        [pd.DataFrame(columns=list(store.ROW_COLUMNS))],
        [pd.DataFrame(columns=[*store.ROW_KEYS, "image", "value"])],
    )
    for path in paths:
        rows, values, ids = store.read_scores(path)
        frames.append(rows)
        for row, value in zip(rows.to_dict("records"), values, strict=True):
            if len(value):
                instances.append(pd.DataFrame({k: row[k] for k in store.ROW_KEYS} | {"image": ids, "value": value}))
    rows, instances = (pd.concat(part[min(1, len(part) - 1) :], ignore_index=True) for part in (frames, instances))
    return store.tidy_rows(rows), instances
