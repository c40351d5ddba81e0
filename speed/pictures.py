"""The pictures of ``results/benchmarks.csv``: ratios against their goals, and growth curves."""

from __future__ import annotations

import textwrap
from typing import Any

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.utils.plot_style import INK, MUTED, PALETTE, STYLE, plain

YES, NO, NONE = PALETTE[2], PALETTE[3], PALETTE[0]
_RATIOS = ("ratio", "floor", "limit")


def ratios(table: pd.DataFrame) -> Figure | None:
    """One line per pair: the median ratio with its quartiles on a logarithmic axis, and the goal."""
    rows = table[table["kind"].isin(_RATIOS)].reset_index(drop=True)
    if not len(rows):
        return None
    y = np.arange(len(rows))[::-1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 1.3 + 0.21 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.set_xscale("log")
        axes.axvline(1, color=MUTED, linewidth=0.8)
        for at, row in zip(y, rows.itertuples(), strict=True):
            _draw_pair(axes, at, row)
        names = [
            plain(f"{r.name} ({r.size}) / {r.peer}")
            for r in rows.itertuples(index=False)
        ]
        axes.set_yticks(y, names, fontsize=6.5)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(axis="x")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel(
            "times as fast as the peer; diamonds: floor / ours, or allowed / taken"
        )
        handles = []
        for colour, marker in ((YES, "o"), (NO, "o"), (NONE, "o"), (INK, "|")):
            handles.append(
                mpl.lines.Line2D([], [], marker=marker, color=colour, linestyle="")
            )
        figure.legend(
            handles,
            ["goal reached", "goal missed", "no goal set", "goal"],
            loc="outside upper center",
            ncols=4,
        )
        figure.text(
            0.005, 0.002, plain(wrapped(table)), fontsize=5.5, color=MUTED, va="bottom"
        )
        figure.get_layout_engine().set(rect=(0, 0.04, 1, 0.96))
    return figure


def _draw_pair(axes: Axes, at: float, row: Any) -> None:
    """One line of ``ratios``, at this height."""
    has_goal = not pd.isna(row.goal)
    colour = NONE
    if has_goal:
        colour = YES if row.reached == "yes" else NO
    marker = "o" if row.kind == "ratio" else "D"
    axes.plot(
        [row.lo, row.hi], [at, at], color=colour, linewidth=2.5, solid_capstyle="round"
    )
    axes.plot(row.ratio, at, marker, color=colour, markersize=4.5)
    if has_goal:
        axes.plot(row.goal, at, "|", color=INK, markersize=9)
    axes.annotate(
        f"{row.ratio:.3g}",
        (1.01, at),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=7,
    )


def growth(table: pd.DataFrame) -> Figure | None:
    """One small panel per curve: seconds over size, the slope, and a linear line for comparison."""
    slopes = table[table["kind"] == "slope"].reset_index(drop=True)
    if not len(slopes):
        return None
    points, columns = table[table["kind"] == "point"], 3
    with mpl.rc_context(STYLE):
        lines = -(-len(slopes) // columns)
        figure = Figure(figsize=(9, 2.4 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels[len(slopes) :]:
            axes.set_visible(False)
        for axes, row in zip(panels, slopes.itertuples()):
            unit = row.size.split(":")[0]
            here = points[(points["name"] == row.name) & (points["size"] == unit)]
            _draw_curve(axes, here, row, unit)
        for axes in panels[::columns]:
            axes.set_ylabel("CPU-seconds")
    return figure


def _draw_curve(axes: Axes, points: pd.DataFrame, row: Any, unit: str) -> None:
    """One panel of ``growth``: the points of a curve, and the row of its slope."""
    x = points["ratio"].to_numpy(float)
    seconds = points["seconds"].to_numpy(float)
    colour = YES if row.reached == "yes" else NO
    linear = seconds[-1] * x / x[-1]
    axes.loglog(x, linear, color=MUTED, linewidth=0.8, linestyle="--")
    axes.loglog(x, seconds, "o-", color=colour, markersize=4)
    axes.set_title(plain(f"{row.name}: slope {row.ratio:.2f}"), fontsize=8)
    axes.set_xlabel(plain(unit))
    labels = [f"{value:,.0f}" for value in x]
    axes.set_xticks(x, labels, minor=False)
    axes.set_xticks([], minor=True)
    ticker = mpl.ticker
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid()
    axes.spines[["top", "right"]].set_visible(False)


def wrapped(table: pd.DataFrame, width: int = 190) -> str:
    """The machines of a table, as lines of text."""
    machines = sorted(set(table["machine"]))
    return "\n".join(textwrap.wrap("; ".join(machines), width))
