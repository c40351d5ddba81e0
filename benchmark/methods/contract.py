"""What a method must keep to, beyond the types of ``benchmark.api``: shapes, order, and no side effects."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from benchmark.api import Batch, Explanation, Target
from benchmark.utils.seeds import generator

ORDER = 6  # images that a stranger's method explains again, backwards
ROUNDING = 0.02  # mean difference between two explanations of an image, as a share of their size, that rounding may make


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
        if (
            name in ("heatmaps", "concept_maps", "decoded", "reference")
            and value.shape[-2:] != batch.x.shape[-2:]
        ):
            raise ValueError(
                f"{name} is {value.shape[-2]}x{value.shape[-1]}, images {batch.x.shape[-2]}x{batch.x.shape[-1]}"
            )
        if name == "labels" and (value.min() < -1 or value.max() >= len(target.classes)):
            raise ValueError(
                f"labels hold {value.min()}..{value.max()}; there are {len(target.classes)} classes"
            )


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
    again, forth, other = (
        method.explain(target, batch[r.to(batch.x.device)], g)
        for r, g in zip((rows, rows.flip(0), rows.flip(0)), rng, strict=True)
    )
    for field in sorted(e.offers() - {"size"}):
        value = getattr(e, field)[rows.numpy()]
        if apart(getattr(forth, field), getattr(other, field)) > ROUNDING:
            continue
        if apart(value, getattr(again, field)) > ROUNDING:
            raise ValueError(
                f"{field} of an image depend on the images beside it, or on its place in the batch"
            )


def apart(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """How far two fields are apart: mean difference as a share of the mean size."""
    if a is None or b is None or a.shape != b.shape:
        return np.inf
    scale = np.abs(a).mean() + np.abs(b).mean()
    return float(np.abs(a - b).mean() / scale) if scale else 0.0


@contextlib.contextmanager
def strict(*batches: Batch) -> Iterator[None]:
    """Refuses more of an external method than ``guard`` does: to change the images, and to return what ``Explanation``
    would convert silently (a tensor on a graph, complex numbers, text)."""
    before = [batch.x.clone() for batch in batches]
    Explanation.strict = True
    try:
        yield
    finally:
        Explanation.strict = False
    for batch, x in zip(batches, before, strict=True):
        if not torch.equal(batch.x, x):
            raise ValueError("the method changed the images in place; clone them first")


@contextlib.contextmanager
def guard(target: Target) -> Iterator[None]:
    """Refuses a method that changes the target or a global random state; the states are restored.

    Raises:
        ValueError: what it changed.
    """
    fingerprint, states = target.fingerprint(), _random_states()
    changed: list[str] = []
    try:
        yield
        changed = _changed(states)
    finally:
        torch.set_rng_state(states["torch"])
        np.random.set_state(states["numpy"])
        random.setstate(states["random"])
    if target.fingerprint() != fingerprint:
        raise ValueError("the method changed the target (weights, modes, hooks or requires_grad)")
    if changed:
        raise ValueError(
            f"the method used the global random state of {' and '.join(changed)}; draw from rng instead"
        )


def _random_states() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),
        "random": random.getstate(),
    }


def _changed(before: Mapping[str, Any]) -> list[str]:
    """The libraries whose global random state is another one by now."""
    now = _random_states()
    _, words, *rest = before["numpy"]
    _, words_now, *rest_now = now["numpy"]
    same = {
        "torch": torch.equal(now["torch"], before["torch"]),
        "numpy": np.array_equal(words_now, words) and rest_now == rest,
        "random": now["random"] == before["random"],
    }
    return [name for name, is_same in same.items() if not is_same]
