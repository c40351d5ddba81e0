"""Photographs as squares of 8-bit RGB, whatever depth, orientation or transparency they were saved with.

    photo = read_photo(raw, 224, "crop")      # None: it is not an image that can be read
    photo.pixels                              # (3, 224, 224) uint8
    photo.notes                               # what was done to it besides, in words: "16 bits scaled to 8", ...
    ids, pixels, frames, notes = read_photos(archive, names, 224, "crop")

Pillow's own conversion to RGB clips: every 16-bit value above 255 is white, floats in 0..1 are black, and transparent
pixels show the colour hidden below them. Here integers are scaled by their depth, floats by their range, transparent
pixels are laid on white, and the camera's orientation (EXIF) is applied unless coordinates refer to the pixels as
stored. The data card counts such files.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.data.archives import members

MAX_PIXELS = 50_000_000
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # one channel of more than 8 bits
_MAX_SAMPLE_VALUE = 281  # TIFF tag: the largest value that the samples may take
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {  # by the tag's value; 1 is upright as stored
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED = "turned upright (EXIF)"
NOT_TURNED = "left as stored, although EXIF would turn them"
ON_WHITE = "transparency laid on white"
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Photo:
    """A decoded image as a square, and the map of its coordinates: new = old * scale - shift, for x and y."""

    pixels: np.ndarray  # (3, size, size) uint8
    scale: np.ndarray  # (2,) float64
    shift: np.ndarray  # (2,) float64, in pixels of the square
    notes: tuple[str, ...] = ()  # what was done besides resizing


def read_photo(
    raw: bytes, size: int, fit: str, *, upright: bool = True
) -> Photo | None:
    """An encoded image as RGB; None if it cannot be decoded, is too large, or holds values that are not finite.

    Args:
        size: the sides of the square, in pixels.
        fit: ``"squash"`` scales both sides to ``size``; ``"crop"`` scales the shorter side to it and keeps the centre.
            Bilinear with antialiasing (the filter's support grows with the reduction).
        upright: turn the image as its EXIF orientation says. False where boxes or parts are given in stored pixels
            (except TIFF, which Pillow turns while it decodes).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken EXIF
            image = Image.open(io.BytesIO(raw))
            if image.width * image.height > MAX_PIXELS:
                return None
            turned = _orientation(image) in _UPRIGHT  # TIFF: before it is decoded
            image.load()
            if upright and (way := _UPRIGHT.get(_orientation(image))) is not None:
                image = image.transpose(way)
            image, notes = to_rgb(image)
    except _UNREADABLE:
        return None
    old = np.array(image.size, np.float64)  # w, h
    side = old if fit == "squash" else np.full(2, old.min())
    corner = (old - side) / 2  # left and upper corner of what is kept
    square = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(*corner, *(corner + side))
    )
    pixels = np.asarray(square).transpose(2, 0, 1)  # (3, size, size)
    if turned:
        notes = (TURNED if upright else NOT_TURNED, *notes)
    return Photo(np.ascontiguousarray(pixels), size / side, corner * size / side, notes)


def read_photos(
    path: Path, names: Sequence[str], size: int, fit: str, *, upright: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Counter[str]]:
    """The images ``names`` of an archive: those that it has and that decode, in the order of ``names``.

    Returns:
        ids (n,): which of ``names``; pixels (n, 3, size, size) uint8; frames (n, 2, 2) float64: scale and shift; and
        how many images have each note.
    """
    row = {name: i for i, name in enumerate(names)}
    found = np.zeros(len(names), bool)
    pixels = np.zeros((len(names), 3, size, size), np.uint8)
    frames = np.zeros((len(names), 2, 2))
    notes: Counter[str] = Counter()
    for name, raw in members(path, row.__contains__):
        photo = read_photo(raw, size, fit, upright=upright)
        if photo:
            i = row[name]
            found[i] = True
            pixels[i] = photo.pixels
            frames[i] = photo.scale, photo.shift
            notes.update(photo.notes)
    if not found.all():  # else without a copy
        pixels = pixels[found]
    return np.flatnonzero(found), pixels, frames[found], notes


def of_card(skipped: Sequence[str], notes: Mapping[str, int]) -> dict[str, Any]:
    """What a data card says of its photographs: the files left out, and how many were converted, where any were."""
    card: dict[str, Any] = {"skipped": len(skipped), "skipped_files": list(skipped)}
    if notes:
        card["converted"] = dict(notes)
    return card


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """An image as 8-bit RGB, and what was done to it that a reader of the data set should know.

    Raises:
        ValueError: values that are not finite.
    """
    if image.mode in _DEEP:
        return _to_8_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB"), ()
    layers = image.convert("RGBA")
    *_, (least_opaque, _) = layers.getextrema()
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, layers).convert("RGB")
    return flat, (ON_WHITE,) if least_opaque < 255 else ()


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of an image; 1, as stored, where it has none that can be read."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except _UNREADABLE:
        return 1


def _to_8_bits(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """An image of one deep channel as 8-bit RGB."""
    values = np.asarray(image).astype(np.float64)  # (h, w)
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite")
    low, high, note = _range(image, values)
    span = max(high - low, np.finfo(np.float64).tiny)
    share = (values - low) / span
    levels = np.rint(255 * share.clip(0, 1)).astype(np.uint8)
    grey = Image.fromarray(levels)
    return grey.convert("RGB"), (note,)


def _range(image: Image.Image, values: np.ndarray) -> tuple[float, float, str]:
    """(value shown black, value shown white, note) of an image with one deep channel."""
    low, high = values.min(), values.max()
    if image.mode == "F" and low >= 0 and high <= 1:
        return 0, 1, "floats 0..1 scaled to 8 bits"
    if image.mode == "F":
        return low, high, "floats scaled by the range of each file"
    tags = getattr(image, "tag_v2", {})
    if largest := tags.get(_MAX_SAMPLE_VALUE):
        return 0, float(np.max(largest)), f"0..{int(np.max(largest))} scaled to 8 bits"
    if low < 0 or high > 65535:  # 32 bits: a depth that no camera fills
        return low, high, "32 bits scaled by the range of each file"
    if 0 < high < 4096:
        return (
            0,
            65535,
            "16 bits scaled to 8, none above 4095: dark if these are 12 bits",
        )
    return 0, 65535, "16 bits scaled to 8"
