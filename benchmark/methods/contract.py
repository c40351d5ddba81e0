"""The contract of a method beyond the types of ``benchmark.api``: shapes, order, and no side effects."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.utils.seeds import generator

ORDER = 6  # images that an external method explains again, in reverse order
ALONE = 3  # images that it explains again one by one
ROUNDING = 0.02  # mean difference of two explanations of an image, relative to their size, that rounding may cause
_IMAGES = (
    "heatmaps",
    "concept_maps",
    "decoded",
    "reference",
)  # fields of the images' height and width


_ANNOTATIONS = frozenset(
    {"boxes", "parts", "part_visible", "part_masks", "part_importance"}
)


class PixelBatch(Batch):
    """Images as an external method gets them: without annotations, and without the true classes if ``y`` is None.

    Raises:
        AttributeError: the method asks for a field that is withheld.
    """

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor | None, ids: torch.Tensor, chunk: int
    ) -> None:
        self.x = x
        self.ids = ids
        self.chunk = chunk
        self.memo = {}
        if y is not None:
            self.y = y

    def __getattribute__(self, name: str) -> Any:
        if name in _ANNOTATIONS:  # for which the class has a default, None
            return self.__getattr__(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        if name == "y":
            raise AttributeError(
                'batch.y is withheld: a class with needs = {"labels"} gets the true classes, and the board says so'
            )
        if name in _ANNOTATIONS:
            raise AttributeError(
                f"batch.{name} is withheld: methods get pixels, not annotations"
            )
        raise AttributeError(f"a batch has no {name}")

    def __getitem__(self, rows: slice | Sequence[int] | torch.Tensor) -> PixelBatch:
        y = self.y[rows] if "y" in vars(self) else None
        return PixelBatch(self.x[rows], y, self.ids[rows], self.chunk)

    def __repr__(self) -> str:
        return f"{len(self)} images {tuple(self.x.shape[1:])}"

    def annotations(self) -> frozenset[str]:
        """None."""
        return frozenset()


def pixels(batch: Batch, method: Any) -> PixelBatch:
    """The part of a batch that an external method gets: pixels, and labels if it declares that it needs them.

    Raises:
        ValueError: it declares another need.
    """
    y = batch.y if needs_labels(method) else None
    return PixelBatch(batch.x, y, batch.ids, batch.chunk)


def needs_labels(method: Any) -> bool:
    """Does a method declare ``needs = {"labels"}``?

    Raises:
        ValueError: it declares another need.
    """
    needs = getattr(method, "needs", ())
    needs = {needs} if isinstance(needs, str) else set(needs)
    if others := needs - {"labels"}:
        listed = ", ".join(sorted(map(str, others)))
        raise ValueError(f'it needs {listed}; a method may need {{"labels"}} only')
    return bool(needs)


class PixelsOnly:
    """An external method in a paper's experiment: it gets pixels, as on the board, and must leave target, images and
    global random states alone.

    Raises:
        ValueError: it does not, or its explanation does not fit the images.
    """

    def __init__(self, method: Any) -> None:
        self.method = method
        self.name = method.name

    def fit(self, target: Target, reference: Batch, rng: Generator) -> PixelsOnly:
        """As the method's own, on the pixels of ``reference``."""
        seen = pixels(reference, self.method)
        with guard(target), strict(seen):
            return PixelsOnly(self.method.fit(target, seen, rng))

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """As the method's own, on the pixels of ``batch``."""
        seen = pixels(batch, self.method)
        with guard(target), strict(seen):
            e = self.method.explain(target, seen, rng)
        check_explanation(e, target, batch)
        return e


def check_explanation(e: Any, target: Target, batch: Batch) -> None:
    """Check that an explanation fits its images and its target.

    Raises:
        ValueError: not an Explanation, an empty one, or the wrong number of images, resolution or classes.
    """
    if not isinstance(e, Explanation):
        raise ValueError(f"explain returned {type(e).__name__}, not an Explanation")
    if not e.offers():
        raise ValueError("the explanation is empty: it offers no field")
    for name in e.offers() - {"size"}:
        value = getattr(e, name)
        if len(value) != len(batch):
            raise ValueError(f"{name} explains {len(value)} images of {len(batch)}")
        if name in _IMAGES:
            h, w = value.shape[-2:]
            height, width = batch.x.shape[-2:]
            if (h, w) != (height, width):
                raise ValueError(f"{name} is {h}x{w}, images {height}x{width}")
        if name == "labels":
            low, high, classes = value.min(), value.max(), len(target.classes)
            if low < -1 or high >= classes:
                raise ValueError(
                    f"labels hold {low}..{high}; there are {classes} classes"
                )


def check_order(
    method: Any, e: Explanation, target: Target, batch: Batch, *name: object
) -> None:
    """Check that an image's explanation does not depend on the images beside it: a few images, explained in reverse
    order and one by one, must get the same explanations. Exempt are precomputed maps, and methods whose explanations
    differ from seed to seed.

    Raises:
        ValueError: a field differs by more than rounding.
    """
    if getattr(method, "precomputed", False) or len(batch) < 2:
        return
    rows = torch.arange(min(len(batch), ORDER), device=batch.x.device)
    backward = rows.flip(0)

    def explained(images: Batch, *seed: str) -> Explanation:
        return method.explain(target, images, generator("explain", *name, *seed))

    forward = explained(batch[rows])
    reseeded = explained(batch[rows], "other")
    reverse = explained(batch[backward])
    alone = [explained(batch[i : i + 1]) for i in range(min(len(batch), ALONE))]
    for field in sorted(e.offers() - {"size"}):
        if apart(getattr(forward, field), getattr(reseeded, field)) > ROUNDING:
            continue  # another seed gives another explanation
        value = getattr(e, field)
        backwards = value[backward.cpu().numpy()]
        singly = np.concatenate([getattr(one, field) for one in alone])
        if (
            apart(backwards, getattr(reverse, field)) > ROUNDING
            or apart(value[: len(alone)], singly) > ROUNDING
        ):
            raise ValueError(
                f"{field} of an image depend on the images beside it, or on its place in the batch"
            )


def apart(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """The mean difference of two fields, relative to their mean size; infinite if a field or its shape differs."""
    if a is None or b is None or a.shape != b.shape:
        return np.inf
    scale = np.abs(a).mean() + np.abs(b).mean()
    if not scale:
        return 0.0
    return float(np.abs(a - b).mean() / scale)


@contextlib.contextmanager
def strict(*batches: Batch) -> Iterator[None]:
    """Refuses what an external method must not do beyond what ``guard`` refuses.

    Raises:
        ValueError: it changed the images, or gave values that ``Explanation`` would convert silently (a tensor on a
            graph, complex numbers, text).
    """
    before = [batch.x.clone() for batch in batches]
    Explanation.strict = True
    try:
        yield
    finally:
        Explanation.strict = False
    for batch, images in zip(batches, before, strict=True):
        if not torch.equal(batch.x, images):
            raise ValueError("the method changed the images in place; clone them first")


@contextlib.contextmanager
def guard(target: Target) -> Iterator[None]:
    """Refuses a method that changes the target or uses a global random state; the states are restored.

    On a Dask worker Python's own random state is not watched: threads of Dask draw from it meanwhile.

    Raises:
        ValueError: it did.
    """
    fingerprint = target.fingerprint()
    states = _random_states()
    changed: list[str] = []
    try:
        yield
        changed = _changed(states)
    finally:
        torch.set_rng_state(states["torch"])
        np.random.set_state(states["numpy"])
        if "random" in states:
            random.setstate(states["random"])
    if target.fingerprint() != fingerprint:
        raise ValueError(
            "the method changed the target (weights, modes, hooks or requires_grad)"
        )
    if changed:
        raise ValueError(
            f"the method used the global random state of {' and '.join(changed)}; draw from rng instead"
        )


def _random_states() -> dict[str, Any]:
    states = {"torch": torch.get_rng_state(), "numpy": np.random.get_state()}
    if not _on_dask_worker():
        states["random"] = random.getstate()
    return states


def _on_dask_worker() -> bool:
    """Does a task of a Dask worker call this?"""
    distributed = sys.modules.get("distributed")
    try:
        return distributed is not None and distributed.get_worker() is not None
    except ValueError:
        return False


def _changed(before: Mapping[str, Any]) -> list[str]:
    """The libraries whose global random state differs from ``before``."""
    now = _random_states()
    _, words, *rest = before["numpy"]
    _, words_now, *rest_now = now["numpy"]
    same = {
        "torch": torch.equal(now["torch"], before["torch"]),
        "numpy": np.array_equal(words_now, words) and rest_now == rest,
        "random": now.get("random") == before.get("random"),
    }
    return [name for name, is_same in same.items() if not is_same]
