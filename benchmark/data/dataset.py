"""Prepared data sets: one npz each, uint8 images, and a card.

Arrays, for split in {train, test}:
    x_<split>             (N, c, h, w) uint8
    y_<split>             (N,) int64
    boxes_<split>         (N, 4) float32       x0, y0, x1, y1 in pixels of the processed image (optional)
    parts_<split>         (N, p, 2) float32    x, y (optional)
    part_visible_<split>  (N, p) bool          (with parts)
    part_masks_<split>    (N, h, w) int8       the part that each pixel shows, -1 where none (optional, with parts)
and once: classes (C,), part_names (p,), part_importance (C, p) float32 (true importance of each part for each class,
by construction), card (JSON text). Scripts in ``datasets/`` write them through ``save``; everyone else loads them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import store
from benchmark.utils.seeds import generator

if TYPE_CHECKING:  # preparing data needs no torch
    import torch

    from benchmark.api import Batch

SPLITS = ("train", "test")
_REQUIRED = {"x_train", "y_train", "x_test", "y_test", "classes"}
_ANNOTATIONS = ("boxes", "parts", "part_visible", "part_masks")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set in memory."""

    name: str
    arrays: dict[str, np.ndarray]
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, self.arrays["classes"]))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return tuple(self.arrays["x_train"].shape[1:])

    def size(self, split: str) -> int:
        return len(self.arrays[f"y_{split}"])

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel of the training images, for pixels in [0, 1]."""
        channels = self.arrays["x_train"].swapaxes(0, 1)  # (c, N, h, w)
        # (c, 256): how often each value occurs
        counts = np.stack(
            [np.bincount(channel.ravel(), minlength=256) for channel in channels]
        )
        n = counts.sum(1)
        levels = np.arange(256) / 255.0
        mean = counts @ levels / n
        variance = counts @ levels**2 / n - mean**2
        std = np.maximum(np.sqrt(variance), 1e-6)
        return mean.tolist(), std.tolist()

    def batch(
        self,
        split: str,
        ids: np.ndarray | None = None,
        device: torch.device | str = "cpu",
        chunk: int = 64,
    ) -> Batch:
        """The images ``ids`` of a split (default: all) as float32 in [0, 1], with their annotations."""
        import torch

        from benchmark.api import Batch

        ids = np.arange(self.size(split)) if ids is None else np.asarray(ids)
        y = self.arrays[f"y_{split}"][ids]

        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        annotations = {}
        for key in _ANNOTATIONS:
            values = self.arrays.get(f"{key}_{split}")
            if values is not None:
                annotations[key] = tensor(values[ids])
        if "part_importance" in self.arrays:
            annotations["part_importance"] = tensor(self.arrays["part_importance"][y])
        x = tensor(self.arrays[f"x_{split}"][ids]).float() / 255
        return Batch(
            x=x, y=tensor(y).long(), ids=tensor(ids).long(), chunk=chunk, **annotations
        )

    def sample(self, split: str, n: int, *name: object) -> np.ndarray:
        """Sorted indices of n images drawn by the seed of the name, with class sizes as equal as possible."""
        y = self.arrays[f"y_{split}"]
        rng = generator("sample", self.name, split, *name)
        order = rng.permutation(len(y))
        # How many images of the same class come before, in the drawn order.
        rank = np.empty(len(y), np.int64)
        for c in np.unique(y):
            mine = order[y[order] == c]
            rank[mine] = np.arange(len(mine))
        position = np.argsort(order)
        by_rank = np.lexsort((position, rank))
        return np.sort(by_rank[: min(n, len(y))])


def save(path: Path, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> None:
    """Check and write a prepared data set, uncompressed: images are read far more often than written.

    Raises:
        ValueError: an array is missing, or has the wrong type or shape.
    """
    missing = _REQUIRED - arrays.keys()
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(sorted(missing))}")
    classes = np.asarray(arrays["classes"], dtype=np.str_)
    for split in SPLITS:
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype != np.uint8 or x.ndim != 4 or len(x) != len(y) or not len(x):
            raise ValueError(
                f"{path}: x_{split} is {x.dtype} {x.shape} for {len(y)} labels; "
                "expected uint8 (N, c, h, w)"
            )
        if y.dtype != np.int64 or y.min() < 0 or y.max() >= len(classes):
            raise ValueError(
                f"{path}: y_{split} must be int64 within the {len(classes)} classes"
            )
        for key in _ANNOTATIONS:
            value = arrays.get(f"{key}_{split}")
            if value is not None and len(value) != len(y):
                raise ValueError(
                    f"{path}: {key}_{split} has {len(value)} entries for {len(y)} images"
                )
    text = json.dumps(card, sort_keys=True)
    store.write_npz(
        path, {**arrays, "classes": classes, "card": np.array(text)}, compress=False
    )


def load(path: Path, name: str | None = None) -> Dataset:
    """Read a prepared data set.

    Raises:
        StoreError: the file is missing or damaged; the message has the command that makes it.
    """
    path = Path(path)
    name = name or path.stem
    if not path.exists():
        raise store.StoreError(f"{path} is missing; run `glassbench prepare {name}`")
    arrays = store.read_npz(path)
    missing = (_REQUIRED | {"card"}) - arrays.keys()
    if missing:
        raise store.StoreError(
            f"{path} lacks {', '.join(sorted(missing))}; run `glassbench prepare {name}`"
        )
    card = json.loads(str(arrays.pop("card")))
    return Dataset(name, arrays, card)


def load_card(path: Path) -> dict[str, Any]:
    """The card alone, without the images."""
    arrays = store.read_npz(path, ["card"])
    if "card" not in arrays:
        raise store.StoreError(
            f"{path} has no card; run `glassbench prepare {Path(path).stem}`"
        )
    return json.loads(str(arrays["card"]))
