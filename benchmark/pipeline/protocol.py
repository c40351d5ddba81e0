"""What is done with a cell, and nothing of where it runs or how it is stored: fit, explain, measure.

Everything here decides numbers; the keys of cells hang on it (``benchmark.pipeline.keys``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmark import engine
from benchmark.api import Batch, Explanation, MetricSpec, NotApplicable
from benchmark.methods.contract import check_explanation, check_order, guard, strict
from benchmark.methods.describe import describe_here
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.inputs import forget, load_batch, load_reference, load_target
from benchmark.utils.seeds import generator


def names(cell: Cell) -> tuple[object, ...]:
    return cell.dataset, cell.target, cell.seed, cell.method.slug


def attempt(
    cell: Cell, *, stranger: bool = False
) -> tuple[Explanation, dict[str, Any]]:
    """Fit and explain, under guard: the explanation, and status and reason. A stranger is asked for more."""
    meta: dict[str, Any] = {"status": "ok", "reason": ""}
    try:
        target, batch = load_target(cell), load_batch(cell)
        if stranger:
            describe_here(cell.method)  # is its name one?
        method = cell.method.build()
        reference = load_reference(cell)
        with (
            guard(target),
            strict(batch, reference) if stranger else contextlib.nullcontext(),
        ):
            method = method.fit(target, reference, generator("fit", *names(cell)))
            explanation = method.explain(
                target, batch, generator("explain", *names(cell))
            )
        check_explanation(explanation, target, batch)
        if stranger:
            with guard(target):
                check_order(method, explanation, target, batch, *names(cell))
        return explanation, meta | {"ids": batch.ids.tolist()}
    except NotApplicable as reason:
        return Explanation(), meta | {
            "status": "not applicable",
            "reason": " ".join(str(reason).split()),
        }
    except Exception as error:
        forget()
        return Explanation(), meta | {
            "status": "failed",
            "reason": engine.one_line(error),
        }


def measure(
    cell: Cell,
    spec: MetricSpec,
    setting: Mapping[str, Any],
    e: Explanation,
    batch: Batch,
) -> tuple[str, str, np.ndarray]:
    """One metric with one setting on an explanation.

    Returns:
        status (ok, failed, not applicable), the reason where it is not ok, and the values, (n,) float64, NaN for an image
        that the metric does not apply to; (0,) where it is not ok.
    """
    nothing = np.empty(0)
    if missing := sorted(spec.offered - e.offers()):
        return "not applicable", f"offers no {', '.join(missing)}", nothing
    if missing := sorted(spec.annotations - batch.annotations()):
        return "not applicable", f"images have no {', '.join(missing)}", nothing
    rng = generator("score", spec.name, *names(cell))
    try:
        values = np.asarray(
            spec(e, load_target(cell), batch, rng, **setting), np.float64
        )
        _check_values(spec, values, len(batch))
    except NotApplicable as reason:
        return "not applicable", " ".join(str(reason).split()), nothing
    except Exception as error:
        return "failed", engine.one_line(error), nothing
    if np.isnan(values).all():
        return "not applicable", "to none of the images", nothing
    return "ok", "", values


def summary(values: np.ndarray) -> tuple[float, int]:
    """What a row shows of values per image: their mean, and over how many images."""
    known = ~np.isnan(values)
    return float(np.nanmean(values)), int(known.sum())


def _check_values(spec: MetricSpec, values: np.ndarray, n: int) -> None:
    """
    Raises:
        ValueError: not one value per image, or values that are NaN or infinite where the metric does not say so.
    """
    if values.shape != (n,):
        raise ValueError(f"{spec.name} returned shape {values.shape} for {n} images")
    bad = ~np.isfinite(values)
    if np.isinf(values).any() or (bad.any() and not spec.partial):
        raise ValueError(
            f"{spec.name} is NaN or infinite for {int(bad.sum())} of {n} images"
        )
