"""The same images under every method, in one picture: a row per image, a column per method.

Each map is scaled from its own minimum to its own maximum, so that a picture shows where a map looks, never how much.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

from benchmark.utils.plot_style import INK, MUTED, NEW, STYLE, plain

Array = np.ndarray

COLOURMAP = mpl.colormaps["inferno"]  # perceptually uniform
STRENGTH = 0.6  # of the map over the grey image
_SIDE = 1.01  # inches, the width of a picture
_STEP = 1.05  # from one picture to the next
_LEFT, _TOP = 1.15, 0.4  # room for captions and titles
_LINES = 0.75  # the height of the longest caption, of six lines
_RIM = withStroke(linewidth=1.9, foreground="black")  # a white box is seen on white too


def figure(entry: Mapping[str, Any], new: Collection[str] = ()) -> Figure:
    """The picture of one (dataset, target).

    Args:
        entry: images (m, c, h, w) uint8, ids (m,), true and predicted class names (m,), maps {label: (m, h, w)}, and
            optionally boxes (m, 4) in pixels: x0, y0, x1, y1.
        new: labels that are marked.

    Raises:
        ValueError: arrays that do not belong together.
    """
    images, maps = np.asarray(entry["images"]), entry["maps"]
    _check(images, maps)
    m, _, h, w = images.shape
    boxes = entry.get("boxes")
    columns = ["input", *maps]
    tall = _SIDE * h / w
    row = max(tall, _LINES)
    lines = _TOP + (row + _STEP - _SIDE) * np.arange(m + 1)  # upper edges
    size = (_LEFT + _STEP * len(columns), float(lines[-1]))
    with mpl.rc_context(STYLE):
        out = Figure(figsize=size)
        axes = out.add_axes((0, 0, 1, 1))  # one for all, in inches: fast to draw
        axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
        axes.set_axis_off()
        for j, label in enumerate(columns):
            _title(axes, label, _LEFT + _STEP * j, label in new)
        for i, y in enumerate(lines[:-1]):
            pictures = [rgb(images[i])]
            for array in maps.values():
                pictures.append(overlay(images[i], np.asarray(array)[i]))
            for j, picture in enumerate(pictures):
                x, top = _LEFT + _STEP * j, y + (row - tall) / 2
                extent = (x, x + _SIDE, top + tall, top)
                axes.imshow(
                    picture, aspect="auto", extent=extent, interpolation="nearest"
                )
                if boxes is not None and np.isfinite(boxes[i]).all():
                    _draw_box(axes, boxes[i] * _SIDE / w, x, top)
            _caption(axes, entry, i, y + row / 2)
    return out


def beside(left: bytes, right: bytes) -> bytes:
    """Two pictures (PNG) side by side, their lower edges on one line."""
    first, second = (Image.open(io.BytesIO(png)) for png in (left, right))
    height = max(first.height, second.height)
    out = Image.new("RGB", (first.width + second.width, height), "white")
    out.paste(first, (0, height - first.height))
    out.paste(second, (first.width, height - second.height))
    buffer = io.BytesIO()
    out.save(buffer, "png")
    return buffer.getvalue()


def _check(images: Array, maps: Mapping[str, Array]) -> None:
    if images.dtype != np.uint8:
        raise ValueError(f"gallery images are {images.dtype}, not uint8")
    m, _, h, w = images.shape
    for label, array in maps.items():
        if np.shape(array) != (m, h, w):
            raise ValueError(
                f"gallery maps of {label} have shape {np.shape(array)}; the images want {(m, h, w)}"
            )


def _title(axes: mpl.axes.Axes, label: str, x: float, is_new: bool) -> None:
    """Above a column."""
    axes.text(
        x + _SIDE / 2,
        _TOP - 0.05,
        plain(_wrap(label)),
        ha="center",
        va="bottom",
        fontsize=7.5,
        color=NEW if is_new else INK,
        weight="bold" if is_new else "normal",
    )


def _draw_box(axes: mpl.axes.Axes, box: Array, x: float, y: float) -> None:
    """A box, in inches, in the picture whose upper left corner is at (x, y)."""
    x0, y0, x1, y1 = box
    axes.add_artist(  # the limits stay as they are
        Rectangle(
            (x + x0, y + y0),
            x1 - x0,
            y1 - y0,
            fill=False,
            edgecolor="white",
            linewidth=0.9,
            path_effects=[_RIM],
        )
    )


def _caption(axes: mpl.axes.Axes, entry: Mapping[str, Any], i: int, y: float) -> None:
    """Beside a row: the true class, the predicted one where it differs, and the image's id."""
    true = str(entry["true"][i])
    predicted = str(entry["predicted"][i])
    text = _wrap(true)
    if true != predicted:
        text += f"\nseen as\n{_wrap(predicted)}"
    axes.text(
        _LEFT - 0.06,
        y,
        plain(f"{text}\n#{entry['ids'][i]}"),
        ha="right",
        va="center",
        fontsize=7,
        color=INK if true == predicted else MUTED,
    )


def overlay(image: Array, heatmap: Array) -> Array:
    """A map (h, w), scaled to its own range, over the grey image (c, h, w) uint8: (h, w, 3) in [0, 1]; without a map
    (NaN) the grey image, faded."""
    grey = rgb(image).mean(axis=2, keepdims=True)
    if np.isnan(heatmap).any():
        faded = STRENGTH + (1 - STRENGTH) * grey
        return np.repeat(faded, 3, axis=2)
    low, high = float(heatmap.min()), float(heatmap.max())
    scaled = np.zeros_like(heatmap)
    if high > low:
        scaled = (heatmap - low) / (high - low)
    colour = COLOURMAP(scaled)[:, :, :3]
    return (1 - STRENGTH) * grey + STRENGTH * colour


def rgb(image: Array) -> Array:
    """(c, h, w) uint8, c = 1 or 3 -> (h, w, 3) in [0, 1]."""
    pixels = np.moveaxis(image.astype(np.float64) / 255, 0, 2)
    if pixels.shape[2] == 1:
        return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return pixels[:, :, :3]


def _wrap(text: str, width: int = 14) -> str:
    """Two lines at most, broken at a space if there is one."""
    text = text.replace("_", " ")
    if len(text) <= width:
        return text
    at = text.rfind(" ", 0, width + 1)
    if at > 0:
        first, rest = text[:at], text[at + 1 :]
    else:
        first, rest = text[:width], text[width:]
    if len(rest) > width + 2:
        rest = f"{rest[:width]}…"
    return f"{first}\n{rest}"
