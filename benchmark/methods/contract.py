"""What a method must keep to, beyond the types of ``benchmark.api``: shapes, order, and no side effects."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import fields
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
        changed = [
            name
            for name, same in (
                ("torch", torch.equal(torch.get_rng_state(), self.states[0])),
                (
                    "numpy",
                    np.array_equal(np.random.get_state()[1], self.states[1][1])
                    and np.random.get_state()[2:] == self.states[1][2:],
                ),
                ("random", random.getstate() == self.states[2]),
            )
            if not same
        ]
        torch.set_rng_state(self.states[0])
        np.random.set_state(self.states[1])
        random.setstate(self.states[2])
        if error is None and self.target.fingerprint() != self.before:
            raise ValueError(
                "the method changed the target (weights, modes, hooks or requires_grad)"
            )
        if error is None and changed:
            raise ValueError(
                f"the method used the global random state of {' and '.join(changed)}; draw from rng instead"
            )
