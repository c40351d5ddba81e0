"""The contract of a metric that is not of this project: one plain number per image, and nothing changed.

spec = guarded(ref.load())
spec(e, target, batch, rng, **setting)           # raises engine.Failed, whose text is the reason in one line
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch

from benchmark import engine
from benchmark.api import Batch, Explanation, MetricSpec, Target, array_of
from benchmark.methods.line_trace import PARTS, probes


def guarded(spec: MetricSpec) -> MetricSpec:
    """The same metric; calling it also checks the contract, and returns (n,) float64."""

    @functools.wraps(spec.function)
    def function(
        e: Explanation, target: Target, batch: Batch, *rest: Any, **setting: Any
    ) -> np.ndarray:
        watched = inputs(e, target, batch)
        before = {name: probe() for name, probe in watched.items()}
        found = spec.function(e, target, batch, *rest, **setting)
        for name, probe in watched.items():
            if probe() != before[name]:
                raise engine.Failed(f"{spec.name} {changes(name)}")
        return values(spec, found, len(batch))

    return replace(spec, function=function)


def changes(name: str) -> str:
    """What a metric has done that changed a probe of ``inputs``, in words."""
    if "random state" in name:
        return f"uses {name}; draw from rng instead"
    whose = "the target's " if name in PARTS else ""
    return f"changes {whose}{name} in place; copy first"


def inputs(
    e: Explanation, target: Target, batch: Batch
) -> dict[str, Callable[[], Any]]:
    """What a metric must leave alone, as functions whose values change when it does."""
    found = probes(target)
    del found["images"]  # those of no batch
    for letter, part in (("e", e), ("batch", batch)):
        for name in _arrays(part):
            found[f"{letter}.{name}"] = functools.partial(_digest, part, name)
    return found


def _arrays(part: Explanation | Batch) -> Iterator[str]:
    """The names of the fields that hold an array or a tensor."""
    assert is_dataclass(part)
    for each in fields(part):
        if isinstance(getattr(part, each.name), (np.ndarray, torch.Tensor)):
            yield each.name


def _digest(part: Explanation | Batch, name: str) -> str:
    value = np.ascontiguousarray(array_of(getattr(part, name)))
    return f"{value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"


def values(spec: MetricSpec, found: Any, n: int) -> np.ndarray:
    """What a metric returned, as (n,) float64.

    Raises:
        engine.Failed: not one plain number per image, or NaN and infinities that its declaration does not allow.
    """
    if isinstance(found, torch.Tensor) and found.requires_grad:
        raise engine.Failed(f"{spec.name} returns a tensor on a graph; detach it")
    try:
        array = array_of(found)
    except ValueError:  # sequences of different lengths
        raise engine.Failed(
            f"{spec.name} returns {_what(found)}, {_wanted(n)}"
        ) from None
    if array.dtype.kind not in "biuf" or array.shape != (n,):
        raise engine.Failed(f"{spec.name} returns {_what(array)}, {_wanted(n)}")
    array = array.astype(np.float64)
    refused = np.isinf(array) if spec.partial else ~np.isfinite(array)
    if refused.any():
        advice = (
            "" if spec.partial else "; partial=True allows NaN where it does not apply"
        )
        raise engine.Failed(
            f"{spec.name} is NaN or infinite for {int(refused.sum())} of {n} images{advice}"
        )
    return array


def _wanted(n: int) -> str:
    return f"not one number for each of {n} images"


def _what(found: Any) -> str:
    if not isinstance(found, np.ndarray):
        return f"a {type(found).__name__}"
    if found.dtype.kind == "O" and found.ndim == 0:
        return f"a {type(found.item()).__name__}"
    if found.dtype.kind not in "biuf":
        return f"values of type {found.dtype}"
    return f"shape {found.shape}"
