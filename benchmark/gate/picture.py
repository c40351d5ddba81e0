"""The differences between two runs as a picture."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.gate.diff import CELL
from benchmark.gate.show import name
from benchmark.utils.plot_style import INK, MUTED, PALETTE, STYLE, plain

COLOURS = {"regression": PALETTE[3], "improvement": PALETTE[0], "unchanged": MUTED}
_TICKS = (0, 5, 10, 30, 100, 300, 1000)  # of a logarithmic axis


@mpl.rc_context(STYLE)
def figure(found: pd.DataFrame, *, limit: int = 24) -> Figure:
    """What moved, in standard errors: a dot per cell, better to the right; a grey bar shows its tolerance.

    Of the ``limit`` cells that moved most; the figure says so where none was tested.
    """
    tested = found[found["errors"].notna()]
    by_size = tested["errors"].abs().sort_values(ascending=False, kind="stable")
    lines = tested.reindex(by_size.index)[:limit]
    lines = lines.sort_values(["errors", *CELL], kind="stable")
    bands = _tolerances(lines)
    height = 1.2 + 0.21 * max(len(lines), 2)
    out = Figure(figsize=(7.2, height), layout="constrained")
    axes = out.add_subplot()
    names = []
    for y, (line, band) in enumerate(zip(lines.itertuples(), bands, strict=True)):
        axes.hlines(y, -band, band, color="#80808055", linewidth=5, zorder=1)
        axes.plot(line.errors, y, "o", color=COLOURS[line.kind], markersize=5, zorder=3)
        names.append(plain(name(line)))
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=2)
    axes.set_yticks(range(len(lines)), names, fontsize=7)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel("worse   < standard errors >   better")
    if len(lines):
        _scale(axes, max(lines["errors"].abs().max(), bands.max()))
    else:
        axes.text(
            0.5,
            0.5,
            "no cell moved",
            ha="center",
            va="center",
            transform=axes.transAxes,
            color=INK,
        )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x", linewidth=0.6)
    return out


def _tolerances(lines: pd.DataFrame) -> np.ndarray:
    """The tolerance of each line in standard errors."""
    size = (lines["new"] - lines["old"]).abs()
    per_unit = size.where(size > 0, 1.0)
    tolerances = lines["tolerance"] * lines["errors"].abs() / per_unit
    return np.where(size > 0, tolerances, 0.0)


def _scale(axes: Axes, width: float) -> None:
    """An axis of standard errors from -width to width; beyond 25 its outer parts are logarithmic."""
    if width > 25:
        axes.set_xscale("symlog", linthresh=5)
        sizes = [size for size in _TICKS if size < width]
        ticks = [sign * size for size in sizes for sign in (-1, 1)]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlim(-1.1 * width, 1.1 * width)
