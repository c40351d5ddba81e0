"""The rest of the third step: metrics that call the method again, on other images, networks or classes.

A cell's method is fitted as in the second step, from the same seeds, in the process that scores it; an external one in
its sandbox, under the limits of ``explain: limits:``. Of the explained images the first ``explain: again: images:`` are
scored. These scores have a file and keys of their own, so that explanations and the other scores do not depend on them.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import engine, store
from benchmark.api import (
    Batch,
    CallingSpec,
    Explain,
    Explanation,
    NotApplicable,
    Target,
)
from benchmark.engine import Done, Unit
from benchmark.methods import registry
from benchmark.methods.contract import check_explanation, guard, pixels, strict
from benchmark.pipeline import followed, unit_times
from benchmark.pipeline.cells import (
    Cell,
    cell_meta,
    in_turn,
    made,
    network_files,
)
from benchmark.pipeline.inputs import forget, load_batch, load_reference, load_target
from benchmark.pipeline.keys import again_keys, method_files_of
from benchmark.pipeline.protocol import explained, names
from benchmark.pipeline.score_rows import (
    Scored,
    _scored,
    has_scores,
    kept_scores,
    raise_failed,
    wanted,
    without_values,
    write_scores,
)
from benchmark.utils.seeds import generator
from benchmark.utils.temporary import scratch

if TYPE_CHECKING:  # workers import this module, and need no profile
    from benchmark.engine.sandbox import Limits
    from benchmark.pipeline.profile import Profile

_APART = "again.npz"  # in the working directory of an external method's process
Outcome = tuple[str, str, np.ndarray]  # status, reason, values, as ``protocol.measure``
_PRECOMPUTED = "its maps were made elsewhere: it cannot be called again"


# --------------------------------------------------------------------------------------------- what is computed


class Fitted:
    """A cell's method, fitted, as metrics call it again.

    External methods see pixels (and labels if they declare that they need them); every call is guarded and its outcome
    checked. A call has the seed of the explanations of the second step, so that what a method draws is the same for
    each: explanations differ by what they are asked about, not by luck. The same question is asked once.
    """

    def __init__(
        self,
        cell: Cell,
        target: Target,
        build: Callable[[], Any],
        reference: Callable[[], Batch],
        *,
        external: bool,
        see: Callable[[Target], Target] | None = None,
    ) -> None:
        """
        Args:
            build: the method, not fitted yet; a new one each time.
            reference: the images to fit it on.
            see: a network as the method sees it (default: as it is).
        """
        self.cell = cell
        self.target = target
        self.build = build
        self.reference = reference
        self.external = external
        self._see = see
        self._seen: dict[Target, Target] = {}
        self._methods: dict[Target, Any] = {}
        self._learns = False
        self._answers: dict[tuple[Any, ...], Explanation] = {}
        self._batches: list[Batch] = []  # whose ids are in ``_answers``

    @property
    def learns(self) -> bool:
        """Does the method keep anything of what it is fitted on?"""
        self._method(self.target)
        return self._learns

    def _method(self, target: Target) -> Any:
        """The method, fitted on this network."""
        if target not in self._methods:
            fitted = self._fitted(target)
            if target is self.target:  # before it explains anything
                self._learns = _learns(self.build(), fitted)
            self._methods[target] = fitted
        return self._methods[target]

    def _fitted(self, target: Target) -> Any:
        method, reference = self.build(), self.reference()
        watch: Any = contextlib.nullcontext()
        if self.external:
            reference = pixels(reference, method)
            watch = strict(reference)
        seen = self._as_seen(target)
        with guard(seen), watch:
            rng = generator("fit", *names(self.cell))
            return method.fit(seen, reference, rng)

    def _as_seen(self, target: Target) -> Target:
        """The network as the method sees it; the same object each time."""
        if not self._see:
            return target
        if target not in self._seen:
            self._seen[target] = self._see(target)
        return self._seen[target]

    def explain(
        self, batch: Batch, target: Target | None = None, fit: Target | None = None
    ) -> Explanation:
        """See ``benchmark.api.Explain``."""
        question = id(batch), target or self.target, fit or self.target
        if question not in self._answers:
            self._batches.append(batch)
            self._answers[question] = self._explained(batch, *question[1:])
        return self._answers[question]

    def _explained(self, batch: Batch, target: Target, fit: Target) -> Explanation:
        method = self._method(fit)
        images, watch = batch, contextlib.nullcontext()
        if self.external:
            images = pixels(batch, method)
            watch = strict(images)
        seen = self._as_seen(target)
        with guard(seen), watch:
            rng = generator("explain", *names(self.cell))
            found = method.explain(seen, images, rng)
        check_explanation(found, target, batch)
        return found

    def counted(self, spec: CallingSpec, images: int) -> Explain:
        """``explain`` for a metric on so many images: it may ask for as many explanations as it declares, and have a
        method that learns fitted on as many other networks as the cell allows."""
        left, fits = spec.calls * images, {self.target}

        def explain(
            batch: Batch, target: Target | None = None, fit: Target | None = None
        ) -> Explanation:
            nonlocal left
            left -= len(batch)
            if left < 0:
                raise ValueError(
                    f"{spec.name} asks for more explanations than the {spec.calls} per image that it declares"
                )
            fits.add(fit or self.target)
            if self.learns and len(fits) > self.cell.refits + 1:
                raise NotApplicable(
                    f"it learns from each network, and may learn from {self.cell.refits} others here "
                    "(explain: again: refits:)"
                )
            return self.explain(batch, target, fit)

        return explain


def _learns(fresh: Any, fitted: Any) -> bool:
    """Does a method keep anything of what it is fitted on?"""
    before, after = getattr(fresh, "__dict__", None), getattr(fitted, "__dict__", None)
    if before is None or after is None or before.keys() != after.keys():
        return True
    return any(not _same(before[key], after[key]) for key in before)


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    plain = (bool, int, float, str, tuple, list, type(None))
    return type(a) is type(b) and isinstance(a, plain) and a == b


def measure_again(
    fitted: Fitted, batch: Batch, kept: Mapping[tuple[str, str], Any]
) -> dict[tuple[str, str], Outcome]:
    """The metrics that call a cell's method again and are not in ``kept``.

    Args:
        batch: all images of the cell.

    Returns:
        (metric, its setting) -> status, reason and values, as ``protocol.measure`` returns them, NaN for the images
        that were not explained again.

    Raises:
        NotApplicable, Exception: as the method does when it is fitted.
    """
    images = _first(batch, fitted.cell.again)
    e = fitted.explain(images)
    found = {}
    for spec in registry.calling_metrics().values():
        for setting in spec.settings:
            key = spec.name, store.setting_text(setting)
            if key not in kept:
                found[key] = _outcome(fitted, spec, setting, e, images, len(batch))
    images.memo.pop("explained", None)
    return found


def own_outcomes(cell: Cell, spec: CallingSpec) -> Iterator[tuple[Outcome, list[int]]]:
    """The outcome of each setting of a metric that is not of this project, as in ``measure_again``, and the ids of all
    images. After one that failed, which may have changed what it saw, all is loaded and fitted again."""
    fitted = None
    for setting in spec.settings:
        batch = load_batch(cell)
        images = _first(batch, cell.again)
        try:
            fitted = fitted or fitted_again(cell)
            e = fitted.explain(images)
            outcome = _outcome(fitted, spec, setting, e, images, len(batch))
        except NotApplicable as reason:
            outcome = "not applicable", " ".join(str(reason).split()), np.empty(0)
        except Exception as error:
            outcome = "failed", engine.one_line(error), np.empty(0)
        yield outcome, batch.ids.tolist()
        status, _, _ = outcome
        if status == "failed":
            fitted = None
            forget()


def fitted_again(cell: Cell) -> Fitted:
    """The method of a cell as metrics call it again. It is fitted when it is called first.

    Raises:
        NotApplicable: its maps were made elsewhere.
    """
    if getattr(cell.method.build(), "precomputed", False):
        raise NotApplicable(_PRECOMPUTED)
    return Fitted(
        cell,
        load_target(cell),
        cell.method.build,
        functools.partial(load_reference, cell),
        external=not cell.method.own,
        see=followed.seen_by_its_method(cell),
    )


def _first(batch: Batch, n: int) -> Batch:
    """The first n images, the same object for all methods of a network, which share results by it."""
    return batch.memo.setdefault(("again", n), batch[:n])


def _outcome(
    fitted: Fitted,
    spec: CallingSpec,
    setting: Mapping[str, Any],
    e: Explanation,
    images: Batch,
    n: int,
) -> Outcome:
    nothing = np.empty(0)
    missing = sorted(spec.offered - e.offers())
    if missing:
        return "not applicable", f"offers no {', '.join(missing)}", nothing
    missing = sorted(spec.annotations - images.annotations())
    if missing:
        return "not applicable", f"images have no {', '.join(missing)}", nothing
    try:
        values = _values(fitted, spec, setting, e, images)
    except NotApplicable as reason:
        return "not applicable", " ".join(str(reason).split()), nothing
    except Exception as error:
        return "failed", engine.one_line(error), nothing
    if np.isnan(values).all():
        return "not applicable", "to none of the images", nothing
    return "ok", "", np.concatenate([values, np.full(n - len(values), np.nan)])


def _values(
    fitted: Fitted,
    spec: CallingSpec,
    setting: Mapping[str, Any],
    e: Explanation,
    images: Batch,
) -> np.ndarray:
    """The values (n,) of a metric, NaN for images without an explanation.

    Raises:
        NotApplicable: there is an explanation of none of the images.
        ValueError: not one value per image, or values that are NaN or infinite where the metric does not say so.
    """
    rows, e, part = explained(e, images)
    if not len(part):
        raise NotApplicable("explains none of the images")
    if not spec.annotations:
        part = _bare(part)
    # The same for all metrics and methods, which then draw the same images and networks.
    rng = generator("again", fitted.cell.dataset, fitted.cell.target, fitted.cell.seed)
    explain = fitted.counted(spec, len(part))
    found = spec(e, fitted.target, part, rng, explain=explain, **setting)
    found = np.asarray(found, np.float64)
    if found.shape != (len(part),):
        raise ValueError(
            f"{spec.name} returned shape {found.shape} for {len(part)} images"
        )
    bad = np.isinf(found) if spec.partial else ~np.isfinite(found)
    if bad.any():
        raise ValueError(
            f"{spec.name} is NaN or infinite for {bad.sum()} of {len(part)} images"
        )
    values = np.full(len(images), np.nan)
    values[rows] = found
    return values


def _bare(batch: Batch) -> Batch:
    """The images without their annotations; the same object each time."""
    if not batch.annotations() and batch.part_masks is None:
        return batch
    if "bare" not in batch.memo:
        batch.memo["bare"] = Batch(batch.x, batch.y, batch.ids, chunk=batch.chunk)
    return batch.memo["bare"]


# --------------------------------------------------------------------------------------------- cells


def again_unit(cell: Cell) -> Unit:
    """The unit that scores a cell by a method of this project."""
    reads = (*network_files(cell), cell.explanation, *method_files_of(cell.method))
    files = {"reads": reads, "writes": (cell.again_scores,)}
    return Unit(cell.name, again_cell, (cell,), **files, title=cell.title)


def is_scored_again(cell: Cell) -> bool:
    """Do its scores by all metrics that call again exist, made from all that they depend on now?"""
    specs = registry.calling_metrics().values()
    return has_scores(cell.again_scores, again_keys(cell), specs)


def _wanted() -> set[tuple[str, str]]:
    return wanted(registry.calling_metrics().values())


def again_cell(cell: Cell) -> str | None:
    """Score a cell by the metrics that call its method again and lack a score; writes its file."""
    keys = again_keys(cell)
    kept = kept_scores(cell.again_scores, keys)
    if _wanted() <= kept.keys():
        return engine.KEPT
    scored, ids = _cell_scores(cell, kept)
    write_scores(cell.again_scores, scored, ids, keys)
    raise_failed(scored)
    return None


def again_apart(cell: Cell) -> None:
    """For an external method: writes what ``again_cell`` would into the working directory."""
    keys = again_keys(cell)
    scored, ids = _cell_scores(cell, {})
    write_scores(Path(_APART), scored, ids, keys)
    raise_failed(scored)


def _cell_scores(
    cell: Cell, kept: Mapping[tuple[str, str], Scored]
) -> tuple[list[Scored], list[int]]:
    """The scores of a cell, those in ``kept`` as they are; and the images' ids."""
    specs, meta = registry.calling_metrics().values(), cell_meta(cell)
    why: dict[str, Any] = {}
    if meta["status"] != "ok":
        return without_values(cell, meta, specs), []
    if reason := _not_worth_a_fit(cell, meta, specs):
        why = {"status": "not applicable", "reason": reason}
        return without_values(cell, meta | why, specs), []
    try:
        batch = load_batch(cell)
        found = measure_again(fitted_again(cell), batch, kept)
    except NotApplicable as reason:
        why = {"status": "not applicable", "reason": " ".join(str(reason).split())}
    except Exception as error:
        why = {"status": "failed", "reason": engine.one_line(error)}
    if why:
        forget()  # the method may have changed the network before it failed
        return without_values(cell, meta | why, specs), []
    return _rows(cell, meta, kept, found), batch.ids.tolist()


def _not_worth_a_fit(
    cell: Cell, meta: Mapping[str, Any], specs: Iterable[CallingSpec]
) -> str:
    """Why no metric can apply to a method, as far as is known before it is fitted; empty if one may."""
    if getattr(cell.method.build(), "precomputed", False):
        return _PRECOMPUTED
    lacking = [spec.offered - set(meta["offers"]) for spec in specs]
    if all(lacking):
        return f"offers no {', '.join(sorted(set().union(*lacking)))}"
    return ""


def _rows(
    cell: Cell,
    meta: Mapping[str, Any],
    kept: Mapping[tuple[str, str], Scored],
    found: Mapping[tuple[str, str], Outcome],
) -> list[Scored]:
    """The rows of all metrics: those in ``kept``, and of what was found now."""
    scored = []
    for spec in registry.calling_metrics().values():
        for setting in spec.settings:
            key = spec.name, store.setting_text(setting)
            one = kept.get(key) or _scored(cell, meta, spec, setting, found[key])
            scored.append(one)
    return scored


# --------------------------------------------------------------------------------------------- a data set


def score_again(profile: Profile, what: str, todo: Sequence[Cell]) -> Iterator[Done]:
    """Score the cells among these that are called again; an external method has a process of its own.

    Args:
        what: a name for them, in the file of times.
    """
    todo = [cell for cell in todo if cell.again] if _wanted() else []
    with tempfile.TemporaryDirectory(prefix=scratch()) as apart:
        units = [again_unit(cell) for cell in todo if cell.method.own]
        external = [cell for cell in todo if not cell.method.own]
        units += _external_units(external, profile.explain.limits, Path(apart))
        for done in unit_times.run(made(profile), "again", what, in_turn(units)):
            cell = done.unit.arguments[0]
            if done.unit.limits:
                _collect_external(cell, done)
            if done.error and not _says_why(cell):  # its worker died
                why = {"status": "failed", "reason": done.error}
                _write_lost(cell, cell_meta(cell) | why)
            yield done


def _external_units(todo: Sequence[Cell], limits: Limits, root: Path) -> list[Unit]:
    """A unit for each cell that lacks scores and has an explanation, with a working directory of its own below
    ``root``; the rows of the others are written here."""
    units = []
    for i, cell in enumerate(todo):
        meta = cell_meta(cell)
        if meta["status"] != "ok":
            _write_lost(cell, meta)
        elif not is_scored_again(cell):
            folder = root / str(i)
            folder.mkdir()
            given = (cell.name, again_apart, (cell,), limits, folder)
            units.append(Unit(*given, title=cell.title))
    return units


def _collect_external(cell: Cell, done: Done) -> None:
    """Move what an external method's process measured to its place; nothing if it wrote nothing."""
    keys, meta = again_keys(cell), cell_meta(cell)
    try:
        rows, values, ids = store.read_scores(done.unit.folder / _APART)
    except store.StoreError:
        return
    found = {}
    for row, value in zip(rows.to_dict("records"), values, strict=True):
        key = row["metric"], row["metric_setting"]
        found[key] = row["status"], row["reason"], value
    if _wanted() <= found.keys():
        scored = _rows(cell, meta, {}, found)
    else:  # it was not fitted
        specs = registry.calling_metrics().values()
        why = {key: rows[key].iloc[0] for key in ("status", "reason")}
        scored = without_values(cell, meta | why, specs)
    with contextlib.suppress(OSError):
        write_scores(cell.again_scores, scored, ids.tolist(), keys)


def _says_why(cell: Cell) -> bool:
    """Has the file of its scores a failed row of this code and network, which gives a reason?"""
    keys = set(again_keys(cell).values())
    try:
        rows, _, _, found = store.read_keyed_scores(cell.again_scores)
    except store.StoreError:
        return False
    return bool(keys & set(found)) and bool((rows.status == "failed").any())


def _write_lost(cell: Cell, meta: Mapping[str, Any]) -> None:
    """Write rows without values, which say why, as far as the disk allows."""
    specs = registry.calling_metrics().values()
    with contextlib.suppress(OSError):
        write_scores(cell.again_scores, without_values(cell, meta, specs), [], {})
