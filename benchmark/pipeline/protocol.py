"""What is computed for a cell, regardless of where it runs and how it is stored: fit, explain, measure.

Everything here decides numbers, so the keys of cells depend on it (``benchmark.pipeline.keys``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmark import engine
from benchmark.api import Batch, Explanation, MetricSpec, NotApplicable, Target
from benchmark.methods.contract import (
    check_explanation,
    check_order,
    guard,
    needs_labels,
    pixels,
    strict,
)
from benchmark.methods.describe import describe_here
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.inputs import forget, load_batch, load_reference, load_target
from benchmark.utils.seeds import generator


def names(cell: Cell) -> tuple[object, ...]:
    """The names that seed the random numbers of a cell."""
    return cell.dataset, cell.target, cell.seed, cell.method.slug


def attempt(
    cell: Cell, *, external: bool = False
) -> tuple[Explanation, dict[str, Any]]:
    """Fit and explain, guarded: the explanation (an empty one if there is none), and a meta with status and reason.

    An external method gets pixels, and labels if it declares that it needs them, which the reason then notes. It must
    also have a plain name, leave the images unchanged, return plain arrays and explain each image by itself.
    """
    try:
        target, batch = load_target(cell), load_batch(cell)
        explanation, note = _explained(cell, target, batch, external)
        ids = batch.ids.tolist()
    except NotApplicable as reason:
        return Explanation(), {
            "status": "not applicable",
            "reason": _on_one_line(reason),
        }
    except Exception as error:
        forget()
        return Explanation(), {"status": "failed", "reason": engine.one_line(error)}
    return explanation, {"status": "ok", "reason": note, "ids": ids}


def _explained(
    cell: Cell, target: Target, batch: Batch, external: bool
) -> tuple[Explanation, str]:
    """The explanation, and what a reader of its rows should know."""
    if external:
        describe_here(cell.method)  # raises if its name cannot be shown
    method = cell.method.build()
    reference = load_reference(cell)
    watch = contextlib.nullcontext()
    if external:
        batch, reference = pixels(batch, method), pixels(reference, method)
        watch = strict(batch, reference)
    with guard(target), watch:
        method = method.fit(target, reference, generator("fit", *names(cell)))
        explanation = method.explain(target, batch, generator("explain", *names(cell)))
    check_explanation(explanation, target, batch)
    if external:
        with guard(target):
            check_order(method, explanation, target, batch, *names(cell))
    return explanation, "; ".join(_notes(method, explanation, external))


def _notes(method: Any, e: Explanation, external: bool) -> list[str]:
    """
    Raises:
        NotApplicable: there is an explanation of no image.
    """
    notes = []
    if external and needs_labels(method):
        notes.append("was given the true classes")
    if e.applies is not None and not e.applies.all():
        if not e.applies.any():
            raise NotApplicable("explains none of the images")
        notes.append(f"explains {e.applies.sum()} of {len(e.applies)} images")
    return notes


def _on_one_line(reason: NotApplicable) -> str:
    return " ".join(str(reason).split())


def measure(
    cell: Cell,
    spec: MetricSpec,
    setting: Mapping[str, Any],
    e: Explanation,
    batch: Batch,
) -> tuple[str, str, np.ndarray]:
    """One metric with one setting on an explanation.

    Returns:
        status (ok, failed, not applicable); the reason where it is not ok; the values, (n,) float64 with NaN for an
        image that the metric does not apply to or that has no explanation, or (0,) where it is not ok.
    """
    nothing = np.empty(0)
    missing = sorted(spec.offered - e.offers())
    if missing:
        return "not applicable", f"offers no {', '.join(missing)}", nothing
    missing = sorted(spec.annotations - batch.annotations())
    if missing:
        return "not applicable", f"images have no {', '.join(missing)}", nothing
    rng = generator("score", spec.name, *names(cell))
    try:
        rows, part, images = explained(e, batch)
        found = spec(part, load_target(cell), images, rng, **setting)
        found = np.asarray(found, np.float64)
        _check_values(spec, found, len(images))
        values = np.full(len(batch), np.nan)
        values[rows] = found
    except NotApplicable as reason:
        return "not applicable", _on_one_line(reason), nothing
    except Exception as error:
        return "failed", engine.one_line(error), nothing
    if np.isnan(values).all():
        return "not applicable", "to none of the images", nothing
    return "ok", "", values


def explained(
    e: Explanation, batch: Batch
) -> tuple[slice | np.ndarray, Explanation, Batch]:
    """The images that there is an explanation of: their rows, explanation and batch; the same objects for each metric,
    which share results by them."""
    if e.applies is None or e.applies.all():
        return slice(None), e, batch
    known = batch.memo.get("explained", (None,))
    if known[0] is not e:
        rows = np.flatnonzero(e.applies)
        known = e, rows, e[rows], batch[rows.tolist()]
        batch.memo["explained"] = known
    return known[1:]


def summary(values: np.ndarray) -> tuple[float, int]:
    """What a row shows of values per image: their mean, and the number of images that it is over."""
    known = ~np.isnan(values)
    return float(np.nanmean(values)), int(known.sum())


def _check_values(spec: MetricSpec, values: np.ndarray, n: int) -> None:
    """
    Raises:
        ValueError: not one value per image, or values that are NaN or infinite where the metric does not say so.
    """
    if values.shape != (n,):
        raise ValueError(f"{spec.name} returned shape {values.shape} for {n} images")
    infinite, bad = np.isinf(values), ~np.isfinite(values)
    refused = infinite if spec.partial else bad
    if refused.any():
        count = int(bad.sum())
        raise ValueError(f"{spec.name} is NaN or infinite for {count} of {n} images")
