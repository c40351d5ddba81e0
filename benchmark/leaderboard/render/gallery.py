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

COLOURMAP = "inferno"  # perceptually uniform
STRENGTH = 0.6  # of the map over the grey image
_CELL = 1.05  # inches
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
    width = 1.1 + _CELL * len(columns)
    height = 0.62 + _CELL * h / w * m
    with mpl.rc_context(STYLE):
        out = Figure(figsize=(width, height), layout="constrained")
        out.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
        grid = out.subplots(m, len(columns), squeeze=False)
        for axes, label in zip(grid[0], columns, strict=True):
            title = axes.set_title(plain(_wrap(label)), fontsize=7.5, color=INK, pad=3)
            if label in new:
                title.set(color=NEW, weight="bold")
        for i, row in enumerate(grid):
            pictures = [rgb(images[i])]
            for array in maps.values():
                pictures.append(overlay(images[i], np.asarray(array)[i]))
            for axes, picture in zip(row, pictures, strict=True):
                _draw(axes, picture)
                if boxes is not None and np.isfinite(boxes[i]).all():
                    _draw_box(axes, boxes[i])
            _caption(row[0], entry, i)
    return out


def beside(left: bytes, right: bytes) -> bytes:
    """Two pictures (PNG) side by side, their lower edges on one line."""
    first, second = (Image.open(io.BytesIO(png)) for png in (left, right))
    height = max(first.height, second.height)
    out = Image.new("RGB", (first.width + second.width, height), "white")
    out.paste(first, (0, height - first.height))
    out.paste(second, (first.width, height - second.height))
    buffer = io.BytesIO()
    out.save(buffer, "png", optimize=True)
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


def _draw(axes: mpl.axes.Axes, picture: Array) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_box(axes: mpl.axes.Axes, box: Array) -> None:
    # pixel (i, j) is drawn around (j, i); its centre is (j + 0.5, i + 0.5)
    x0, y0, x1, y1 = box - 0.5
    axes.add_patch(
        Rectangle(
            (x0, y0),
            x1 - x0,
            y1 - y0,
            fill=False,
            edgecolor="white",
            linewidth=0.9,
            path_effects=[_RIM],
        )
    )


def _caption(axes: mpl.axes.Axes, entry: Mapping[str, Any], i: int) -> None:
    """Beside a row: the true class, the predicted one where it differs, and the image's id."""
    true = str(entry["true"][i])
    predicted = str(entry["predicted"][i])
    text = _wrap(true)
    if true != predicted:
        text += f"\nseen as\n{_wrap(predicted)}"
    axes.set_ylabel(
        plain(f"{text}\n#{entry['ids'][i]}"),
        rotation=0,
        ha="right",
        va="center",
        fontsize=7,
        color=INK if true == predicted else MUTED,
        labelpad=4,
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
    colour = mpl.colormaps[COLOURMAP](scaled)[:, :, :3]
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
