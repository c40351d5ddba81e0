"""Photographs as squares of 8-bit RGB, whatever depth, orientation or transparency they were saved with.

    photo = read_photo(raw, 224, "crop")      # None: it is not an image that can be read
    photo.pixels                              # (3, 224, 224) uint8
    photo.notes                               # what was done to it besides: "16-bit", "upright", "on white", ...

Pillow's own conversion to RGB clips: every 16-bit value above 255 is white, floats in 0..1 are black, and transparent
pixels show the colour hidden below them. Here integers are scaled by their depth, floats by their range, transparent
pixels are laid on white, and the camera's orientation (EXIF) is applied unless coordinates refer to the pixels as
stored.
"""

from __future__ import annotations

import io
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

MAX_PIXELS = 50_000_000
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # one channel of more than 8 bits
_MAX_SAMPLE_VALUE = 281  # TIFF tag: the largest value that the samples may take
_ORIENTATION = 0x0112  # EXIF tag
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
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
        upright: turn the image as its EXIF orientation says. False where boxes or parts are given in stored pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # broken EXIF
            image = Image.open(io.BytesIO(raw))
            if image.width * image.height > MAX_PIXELS:
                return None
            image.load()
            image, turned = _turned(image, upright)
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
    return Photo(
        np.ascontiguousarray(pixels),
        size / side,
        corner * size / side,
        (*turned, *notes),
    )


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
    return flat, ("on white",) if least_opaque < 255 else ()


def _turned(image: Image.Image, upright: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """The image as its EXIF orientation says (1 is as stored), and whether it was turned."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    if not upright or orientation not in range(2, 9):
        return image, ()
    return ImageOps.exif_transpose(image), ("upright",)


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
        return 0, 1, "float 0..1"
    if image.mode == "F":
        return low, high, "float, scaled by its own range"
    tags = getattr(image, "tag_v2", {})
    if largest := tags.get(_MAX_SAMPLE_VALUE):
        return 0, float(np.max(largest)), f"integers up to {int(np.max(largest))}"
    if low < 0 or high > 65535:  # 32 bits: a depth that no camera fills
        return low, high, "32-bit, scaled by its own range"
    if 0 < high < 4096:
        return 0, 65535, "16-bit, none above 4095: are they 12 bits? It is dark"
    return 0, 65535, "16-bit"
