"""Where an object lies in an image: boxes, polygons, run lengths and masks, moved as the pixels are.

    frame = Frame(photo.scale, photo.shift, 64)
    Box(10, 20, 50, 80).drawn(frame)          # (64, 64) bool: the pixels whose centre it holds
    union([box, polygons], frame)             # of all objects of an image

Idea: coordinates x, y are continuous: pixel (row i, column j) is the square [j, j + 1) x [i, i + 1), and a region holds
a pixel if it holds its centre. The map of the pixels, new = old * scale - shift, moves regions as well. An object that
is left in the square but has become too small to hold a centre keeps the pixel that its middle lies in.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

Array = np.ndarray
VOID = (
    255  # in masks of class numbers, as Pascal VOC's: a border that belongs to nothing
)


class RegionError(Exception):
    """A region that cannot be drawn: one line with the reason."""


@dataclass(frozen=True)
class Frame:
    """The square of an image, side ``size``: new = old * scale - shift, for x and y."""

    scale: Array  # (2,)
    shift: Array  # (2,)
    size: int

    def image_side(self) -> tuple[int, int]:
        """Width and height of the image."""
        side = (self.size + 2 * self.shift) / self.scale
        w, h = map(round, side.tolist())
        return w, h

    def moved(self, points: Array) -> Array:
        """Points (k, 2) of the image in pixels of the square."""
        return points * self.scale - self.shift

    def pixel(self, middle: Array) -> Array:
        """(size, size) bool: the pixel that a point (2,) of the square lies in; none if it lies outside."""
        held = np.zeros((self.size, self.size), bool)
        column, row = np.floor(middle).astype(int)
        if 0 <= column < self.size and 0 <= row < self.size:
            held[row, column] = True
        return held


class Region(Protocol):
    """A part of an image."""

    @property
    def area(self) -> float:
        """In pixels of the image."""
        ...

    def drawn(self, frame: Frame) -> Array:
        """The pixels (size, size) bool of the square that it holds."""
        ...


def union(regions: Sequence[Region], frame: Frame) -> Array:
    """The pixels (size, size) bool of any of the regions."""
    nothing = np.zeros((frame.size, frame.size), bool)
    return reduce(np.logical_or, (region.drawn(frame) for region in regions), nothing)


@dataclass(frozen=True)
class Box:
    """x0 <= x < x1, y0 <= y < y1 in pixels of the image."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def area(self) -> float:
        return max(self.x1 - self.x0, 0) * max(self.y1 - self.y0, 0)

    def corners(self, frame: Frame) -> Array | None:
        """x0, y0, x1, y1 (4,) in the square, cut at its sides; None if nothing of it is left.

        Between two centres, it is widened to the pixel that its middle lies in.
        """
        found = frame.moved(np.array([(self.x0, self.y0), (self.x1, self.y1)]))
        low, high = found.clip(0, frame.size)  # (2,) each
        if (low >= high).any():
            return None
        thin = np.ceil(low - 0.5) > np.ceil(high - 0.5) - 1
        pixel = np.floor((low + high) / 2)
        low = np.where(thin, pixel, low)
        high = np.where(thin, pixel + 1, high)
        return np.concatenate([low, high])

    def drawn(self, frame: Frame) -> Array:
        corners = self.corners(frame)
        if corners is None:
            return np.zeros((frame.size, frame.size), bool)
        centres = np.arange(frame.size) + 0.5
        x0, y0, x1, y1 = corners
        columns = (x0 <= centres) & (centres < x1)
        rows = (y0 <= centres) & (centres < y1)
        return rows[:, None] & columns

    def reaches_beyond(self, side: tuple[int, int], slack: float = 1) -> bool:
        """Does it leave an image of this width and height, by more than ``slack`` pixels?"""
        w, h = side
        left = min(self.x0, self.y0)
        right = max(self.x1 - w, self.y1 - h)
        return max(-left, right) > slack


@dataclass(frozen=True)
class Polygons:
    """All that any of the rings x0, y0, x1, y1, ... encloses, in pixels of the image."""

    rings: tuple[tuple[float, ...], ...]

    @property
    def area(self) -> float:
        return sum(map(_enclosed, self._points()))

    def _points(self) -> list[Array]:
        """(k, 2) x, y of each ring."""
        return [np.array(ring, np.float64).reshape(-1, 2) for ring in self.rings]

    def drawn(self, frame: Frame) -> Array:
        from skimage.draw import polygon  # slow to import

        held = np.zeros((frame.size, frame.size), bool)
        for points in self._points():
            x, y = frame.moved(points).T - 0.5  # centres at whole numbers
            rows, columns = polygon(y, x, held.shape)
            if len(rows):
                held[rows, columns] = True
            else:
                held |= frame.pixel(np.array([x.mean(), y.mean()]) + 0.5)
        return held


def _enclosed(points: Array) -> float:
    """The area that a ring (k, 2) encloses (shoelace formula)."""
    x, y = points.T
    following = np.roll(points, -1, axis=0)
    twice = x @ following[:, 1] - y @ following[:, 0]
    return abs(twice) / 2


@dataclass(frozen=True)
class Runs:
    """COCO's run lengths of a mask (height, width), column by column, the first run outside the object."""

    counts: tuple[int, ...] | str  # a string where they are compressed
    side: tuple[int, int]  # height, width

    @property
    def area(self) -> float:
        return float(self._mask().sum())

    def image_side(self) -> tuple[int, int]:
        """Width and height of the image."""
        h, w = self.side
        return w, h

    def _mask(self) -> Array:
        h, w = self.side
        if isinstance(self.counts, str):
            return self._decompressed()
        if sum(self.counts) != h * w:
            raise RegionError(
                f"its run lengths sum to {sum(self.counts)}, not to {h} x {w} pixels"
            )
        inside = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(inside, self.counts).reshape(w, h).T

    def _decompressed(self) -> Array:
        try:
            from pycocotools import mask
        except ImportError:
            raise RegionError(
                "its mask is compressed (RLE): pip install pycocotools, which reads it"
            ) from None
        text = self.counts.encode()
        return mask.decode({"size": list(self.side), "counts": text}).astype(bool)

    def drawn(self, frame: Frame) -> Array:
        return _sampled(self._mask(), frame)


@dataclass(frozen=True)
class MaskFile:
    """An image of the same width and height, in which the background is 0."""

    file: Path

    @property
    def area(self) -> float:
        return float(read_mask(self.file).sum())

    def image_side(self) -> tuple[int, int]:
        """Width and height of the image.

        Raises:
            RegionError: the mask cannot be read.
        """
        try:
            with Image.open(self.file) as image:
                return image.size
        except (UnidentifiedImageError, OSError):
            raise _unreadable(self.file) from None

    def drawn(self, frame: Frame) -> Array:
        return _sampled(read_mask(self.file), frame)


def _sampled(mask: Array, frame: Frame) -> Array:
    """A mask (h, w) at the centres of the square's pixels."""
    h, w = mask.shape
    centres = np.arange(frame.size)[:, None] + 0.5
    old = (centres + frame.shift) / frame.scale  # (size, 2): x, y
    columns, rows = np.floor(old).astype(int).T
    rows = rows.clip(0, h - 1)
    columns = columns.clip(0, w - 1)
    held = mask[rows[:, None], columns]
    if held.any() or not mask.any():
        return held
    places = np.argwhere(mask)[:, ::-1]  # x, y
    points = frame.moved(places + 0.5)
    inside = (points >= 0) & (points < frame.size)
    left = points[inside.all(1)]
    return frame.pixel(left.mean(0)) if len(left) else held


def _unreadable(file: Path) -> RegionError:
    return RegionError(f"the mask {file.name} is no image that can be read")


def read_mask(file: Path) -> Array:
    """The object (h, w) bool in an image of a mask, as its file has the pixels.

    Two values: the object is what is not 0. Greys up to 255: from 128 on (masks with soft edges). Numbers of objects or
    classes: all but 0 and ``VOID``. Colours: all but black. Transparent pixels are background.

    Raises:
        RegionError: it cannot be read, or has no background.
    """
    try:
        with Image.open(file) as image:
            values = np.asarray(image).astype(np.int64)
            kind = image.mode
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise _unreadable(file) from None
    if kind in ("RGBA", "LA", "PA"):
        opaque = values[..., -1:] > 0
        values = values[..., :-1] * opaque
    if values.ndim == 3:
        values = values.max(-1)
    levels = np.unique(values)
    if len(levels) > 1 and levels[0] > 0:
        shown = ", ".join(map(str, levels[:4]))
        raise RegionError(
            f"the mask {file.name} has no background: its values are {shown}, and 0 is the background"
        )
    if len(levels) < 3 or levels[-1] != VOID:
        return values > 0
    numbers = kind == "P"
    return (values > 0) & (values != VOID) if numbers else values > VOID // 2


def region_of_coco(annotation: dict) -> Region | None:
    """The region of an annotation of COCO: its segmentation, else its box; None if it has neither.

    Raises:
        RegionError: it is not written as COCO's are.
    """
    shape, box = annotation.get("segmentation"), annotation.get("bbox")
    try:
        if isinstance(shape, dict):
            counts, (h, w) = shape["counts"], shape["size"]
            runs = counts if isinstance(counts, str) else tuple(map(int, counts))
            return Runs(runs, (int(h), int(w)))
        if shape:
            rings = [tuple(map(float, ring)) for ring in shape]
            if any(len(ring) < 6 or len(ring) % 2 for ring in rings):
                raise ValueError("a polygon of fewer than three points")
            return Polygons(tuple(rings))
        if box:
            x, y, w, h = map(float, box)
            return Box(x, y, x + w, y + h)
    except (TypeError, ValueError, KeyError) as error:
        text = json.dumps(annotation)[:80]
        raise RegionError(f"{error} in {text}") from None
    return None
