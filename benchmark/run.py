"""Joins target, method and metric. The only place where the three meet.

Four steps, each resumable cell by cell: ``train`` (a target and a seed), ``explain`` (a target, a seed and a method),
``score`` (the same, all metrics), ``collect`` (rows and the values of single images). A cell is a file with a key, the
hash of all that it depends on: a file with the right key is never made again, one with another key always is. A cell that
fails is a file that says why; it never stops another.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from benchmark import data, engine, registry, store, times, zoo
from benchmark.api import Batch, Explanation, MetricSpec, NotApplicable, Target
from benchmark.cells import (
    Cell,
    describe,
    describe_here,
    explain_key,
    finished,
    forget,
    load_batch,
    load_reference,
    load_target,
    names,
    read_cell,
    read_explanation,
    remove_others,
    score_key,
    sources,
    who,
    write_explanation,
)  # fmt: skip
from benchmark.engine import Done, Unit
from benchmark.names import UnknownName
from benchmark.registry import MethodRef
from benchmark.seeds import generator
from benchmark.zoo.recipe import mapping_of

if TYPE_CHECKING:  # workers import this module, and need no profile
    from benchmark.profile import Profile

ORDER = 6  # images that a stranger's method explains again, backwards
ROUNDING = (
    0.02  # mean difference between two explanations of an image, as a share of their size, that rounding may make
)
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
    for done in times.run(paths, "train", dataset, units):
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
    return zoo.train_many(data.load(data_path), jobs, device=engine.device())


# --------------------------------------------------------------------------------------------- explain


def explain(profile: Profile, dataset: str) -> Iterator[Done]:
    """Explain the sampled test images by every method; each Done's result is the cell's meta. A stranger's method has a
    process of its own, under the limits that ``explain: limits:`` sets."""
    todo = cells(profile, dataset)
    limits = profile.explain.limits
    remove_others(made(profile).explanations(dataset), {cell.explanation for cell in todo})
    with tempfile.TemporaryDirectory(prefix=store.scratch()) as apart:
        units = [explain_unit(cell) for cell in todo if cell.method.own]
        for i, cell in enumerate(cell for cell in todo if not cell.method.own and not is_explained(cell)):
            folder = Path(apart, str(i))
            folder.mkdir()
            units.append(Unit(cell.name, explain_apart, (cell,), limits, folder))
        for done in times.run(made(profile), "explain", dataset, units):
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
    methods = [file for ref in (cell.method, *cell.method.named) for file in sources(ref.path)]
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
    explanation, meta = Explanation(), {"status": "failed", "reason": done.error, "seconds": 0.0}
    if not done.error:
        try:
            explanation, meta = read_explanation(done.unit.folder / _APART)
        except Exception as error:  # the method wrote over it
            meta["reason"] = engine.one_line(error)
    with contextlib.suppress(OSError):
        write_explanation(cell.explanation, explanation, meta | who(cell) | {"key": explain_key(cell)})


def attempt(cell: Cell, *, stranger: bool = False) -> tuple[Explanation, dict[str, Any]]:
    """Fit and explain, under guard: the explanation, and status, reason and seconds. A stranger is asked for more."""
    meta: dict[str, Any] = {"status": "ok", "reason": "", "seconds": 0.0}
    try:
        target, batch = load_target(cell), load_batch(cell)
        if stranger:
            describe_here(cell.method)  # is its name one?
        method = cell.method.build()
        reference = load_reference(cell)
        start = time.perf_counter()
        with _guard(target), strict(batch, reference) if stranger else contextlib.nullcontext():
            method = method.fit(target, reference, generator("fit", *names(cell)))
            explanation = method.explain(target, batch, generator("explain", *names(cell)))
        meta["seconds"] = time.perf_counter() - start
        check_explanation(explanation, target, batch)
        if stranger:
            with _guard(target):
                check_order(method, explanation, target, batch, *names(cell))
        return explanation, meta | {"ids": batch.ids.tolist()}
    except NotApplicable as reason:
        return Explanation(), meta | {"status": "not applicable", "reason": " ".join(str(reason).split())}
    except Exception as error:
        forget()
        return Explanation(), meta | {"status": "failed", "reason": engine.one_line(error)}


def check_explanation(e: Any, target: Target, batch: Batch) -> None:
    """What the contract asks beyond the types.

    Raises:
        ValueError: no Explanation, nothing in it, the wrong number of images or the wrong resolution.
    """
    if not isinstance(e, Explanation):
        raise ValueError(f"explain returned {type(e).__name__}, not an Explanation")
    if not e.offers():
        raise ValueError("the explanation is empty: it offers no field")
    for name in e.offers() - {"size"}:
        value = getattr(e, name)
        if len(value) != len(batch):
            raise ValueError(f"{name} explains {len(value)} images of {len(batch)}")
        if name in ("heatmaps", "concept_maps", "decoded", "reference") and value.shape[-2:] != batch.x.shape[-2:]:
            raise ValueError(f"{name} is {value.shape[-2]}x{value.shape[-1]}, images {batch.x.shape[-2]}x{batch.x.shape[-1]}")  # fmt: skip
        if name == "labels" and (value.min() < -1 or value.max() >= len(target.classes)):
            raise ValueError(f"labels hold {value.min()}..{value.max()}; there are {len(target.classes)} classes")


def check_order(method: Any, e: Explanation, target: Target, batch: Batch, *name: object) -> None:
    """An image's explanation is its own: some images, backwards, get the same again. A method that answers otherwise to
    another seed is let off, and so is one whose maps were made before.

    Raises:
        ValueError: the fields differ by more than rounding.
    """
    if getattr(method, "precomputed", False) or len(batch) < 2:
        return
    rows = torch.arange(min(len(batch), ORDER)).flip(0)
    rng = [generator("explain", *name, *again) for again in ((), (), ("other",))]
    again, forth, other = (method.explain(target, batch[r.to(batch.x.device)], g)
                           for r, g in zip((rows, rows.flip(0), rows.flip(0)), rng, strict=True))  # fmt: skip
    for field in sorted(e.offers() - {"size"}):
        value = getattr(e, field)[rows.numpy()]
        if apart(getattr(forth, field), getattr(other, field)) > ROUNDING:
            continue
        if apart(value, getattr(again, field)) > ROUNDING:
            raise ValueError(f"{field} of an image depend on the images beside it, or on its place in the batch")


def apart(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """How far two fields are apart: mean difference as a share of the mean size."""
    if a is None or b is None or a.shape != b.shape:
        return np.inf
    scale = np.abs(a).mean() + np.abs(b).mean()
    return float(np.abs(a - b).mean() / scale) if scale else 0.0


@contextlib.contextmanager
def strict(*batches: Batch) -> Iterator[None]:
    """What a stranger may not do beyond what ``_guard`` refuses: change the images, and return what ``Explanation``
    would put right without a word (a tensor on a graph, complex numbers, text)."""
    before, taken = [batch.x.clone() for batch in batches], Explanation.__post_init__
    Explanation.__post_init__ = lambda e: (_plain(e), taken(e))[1]
    try:
        yield
    finally:
        Explanation.__post_init__ = taken
    if not all(torch.equal(batch.x, x) for batch, x in zip(batches, before, strict=True)):
        raise ValueError("the method changed the images in place; clone them first")


def _plain(e: Explanation) -> None:
    for field in fields(e):
        value = getattr(e, field.name)
        if isinstance(value, torch.Tensor) and value.requires_grad:
            raise ValueError(f"{field.name} is a tensor on a graph; return {field.name}.detach()")
        if value is not None and field.name != "size":
            kind = np.asarray(value.cpu() if isinstance(value, torch.Tensor) else value).dtype
            if kind.kind not in ("biu" if field.name == "labels" else "biuf"):
                raise ValueError(
                    f"{field.name} is of type {kind}, which holds no {'class' if field.name == 'labels' else 'plain number'}"
                )


class _guard:
    """Refuses a method that changes the target or a global random state; the states are restored."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def __enter__(self) -> None:
        self.before = self.target.fingerprint()
        self.states = torch.get_rng_state(), np.random.get_state(), random.getstate()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        changed = [name for name, same in (
            ("torch", torch.equal(torch.get_rng_state(), self.states[0])),
            ("numpy", np.array_equal(np.random.get_state()[1], self.states[1][1]) and np.random.get_state()[2:] == self.states[1][2:]),
            ("random", random.getstate() == self.states[2]),
        ) if not same]  # fmt: skip
        torch.set_rng_state(self.states[0])
        np.random.set_state(self.states[1])
        random.setstate(self.states[2])
        if error is None and self.target.fingerprint() != self.before:
            raise ValueError("the method changed the target (weights, modes, hooks or requires_grad)")
        if error is None and changed:
            raise ValueError(
                f"the method used the global random state of {' and '.join(changed)}; draw from rng instead"
            )


# --------------------------------------------------------------------------------------------- score


def score(profile: Profile, dataset: str) -> Iterator[Done]:
    """Score every explanation by every metric, and the networks by their own accuracy."""
    todo = cells(profile, dataset)
    networks = [Cell(profile.name, dataset, name, seed, evaluation=profile.evaluation)
                for name, seed, _ in profile.trainings(dataset)]  # fmt: skip
    remove_others(made(profile).scores(dataset), {cell.scores for cell in todo + networks})
    for cell in networks:
        write_network_rows(cell)
    for done in times.run(made(profile), "score", dataset, [score_unit(cell) for cell in todo]):
        cell = done.unit.arguments[0]
        if done.error and not _failed_rows(cell):  # its worker died, or the disk is full
            meta = read_cell(cell)[1]
            rows = [_row(cell, meta, spec, setting, status="failed", reason=done.error)
                    for spec in registry.metrics().values() for setting in spec.settings]  # fmt: skip
            with contextlib.suppress(OSError):
                _write_cell_scores(cell, rows, [np.empty(0)] * len(rows), [], key="")
        yield done


def score_unit(cell: Cell) -> Unit:
    return Unit(cell.name, score_cell, (cell,), reads=(*network_files(cell), cell.explanation), writes=(cell.scores,))


def score_cell(cell: Cell) -> str | None:
    """All metrics of one explanation; each metric's failure is its own rows' alone."""
    key = score_key(cell)
    with contextlib.suppress(store.StoreError):
        if store.read_key(cell.scores) == key and "failed" not in set(store.read_scores(cell.scores)[0]["status"]):
            return engine.KEPT
    explanation, meta = read_cell(cell)
    rows, values = [], []
    batch = load_batch(cell)
    for spec in registry.metrics().values():
        for setting in spec.settings:
            row, value = _score(cell, meta, spec, setting, explanation, batch)
            rows.append(row)
            values.append(value)
    batch.memo.pop("explanations", None)  # what hangs on images and network alone stays for the other methods
    _write_cell_scores(cell, rows, values, batch.ids.tolist(), key)
    if reasons := _failed_rows(cell):
        raise engine.Failed(f"{len(reasons)} of {len(rows)} rows: {reasons[0]}")
    return None


def _failed_rows(cell: Cell) -> list[str]:
    """The reasons of the failed rows of a cell that was scored."""
    with contextlib.suppress(store.StoreError):
        rows = store.read_scores(cell.scores)[0]
        return rows.reason[rows.status == "failed"].tolist()
    return []


def _score(
    cell: Cell, meta: Mapping[str, Any], spec: MetricSpec, setting: Mapping[str, Any], e: Explanation, batch: Batch
) -> tuple[dict[str, Any], np.ndarray]:
    nothing = np.empty(0)
    if meta["status"] != "ok":
        return _row(cell, meta, spec, setting, status=meta["status"], reason=meta["reason"]), nothing
    if missing := sorted(spec.offered - e.offers()):
        return _row(
            cell, meta, spec, setting, status="not applicable", reason=f"offers no {', '.join(missing)}"
        ), nothing
    if missing := sorted(spec.annotations - batch.annotations()):
        return _row(cell, meta, spec, setting, status="not applicable", reason=f"images have no {', '.join(missing)}"), nothing  # fmt: skip
    try:
        value = np.asarray(spec(e, load_target(cell), batch, generator("score", spec.name, *names(cell)), **setting), np.float64)  # fmt: skip
        if value.shape != (len(batch),):
            raise ValueError(f"{spec.name} returned shape {value.shape} for {len(batch)} images")
        bad = ~np.isfinite(value)
        if np.isinf(value).any() or (bad.any() and not spec.partial):
            raise ValueError(f"{spec.name} is NaN or infinite for {int(bad.sum())} of {len(batch)} images")
    except NotApplicable as reason:
        return _row(cell, meta, spec, setting, status="not applicable", reason=" ".join(str(reason).split())), nothing
    except Exception as error:
        return _row(cell, meta, spec, setting, status="failed", reason=engine.one_line(error)), nothing
    if bad.all():
        return _row(cell, meta, spec, setting, status="not applicable", reason="to none of the images"), nothing
    return _row(cell, meta, spec, setting, value=float(np.nanmean(value)), n=int((~bad).sum())), value


def write_network_rows(cell: Cell) -> None:
    """Rows of track ``target``: how good the network itself is."""
    card = store.read_json(cell.weights.with_suffix(".json"))
    base = {"profile": cell.profile, "track": "target", "paper": "", "dataset": cell.dataset, "target": cell.target,
            "method": "network", "setting": "", "seed": cell.seed, "better": "higher", "unit": "percent",
            "metric_version": 1}  # fmt: skip
    rows = []
    for metric, split in (("test_accuracy", "test"), ("train_accuracy", "train")):
        row = base | {"metric": metric, "value": np.nan, "n": 0, "status": "failed", "reason": card.get("failed", ""), "seconds": 0.0}  # fmt: skip
        if "failed" not in card:
            row |= {"value": 100 * card[metric], "n": card["images"][split], "status": "ok", "seconds": card["seconds"]}
        rows.append(row)
    _write_cell_scores(cell, rows, [np.empty(0)] * len(rows), [], key="")


def _row(cell: Cell, meta: Mapping[str, Any], spec: MetricSpec, setting: Mapping[str, Any], *, value: float = np.nan,
         n: int = 0, status: str = "ok", reason: str = "") -> dict[str, Any]:  # fmt: skip
    pairs = dict(pair.split("=", 1) for pair in meta["setting"].split(";") if pair) | dict(setting)
    return {
        "profile": cell.profile, "track": spec.track, "paper": meta["paper"], "dataset": cell.dataset,
        "target": cell.target, "method": meta["method"], "setting": store.setting_text(pairs),
        "metric": spec.name, "seed": cell.seed, "value": value, "n": n, "better": spec.better, "unit": spec.unit,
        "metric_version": spec.version, "status": status, "reason": reason, "seconds": meta["seconds"],
    }  # fmt: skip


def _write_cell_scores(
    cell: Cell, rows: list[dict[str, Any]], values: list[np.ndarray], ids: list[int], key: str
) -> None:
    frame = pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))
    store.write_scores(cell.scores, frame, values, ids=ids, key=key)


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
