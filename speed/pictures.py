"""The pictures of ``results/benchmarks.csv``: ratios against their goals, and growth curves."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmark.utils.plot_style import INK, MUTED, PALETTE, STYLE, plain

YES, NO, NONE = PALETTE[2], PALETTE[3], PALETTE[0]
_RATIOS = ("ratio", "floor", "limit")


def ratios(table: pd.DataFrame) -> Figure | None:
    """One line a pair: the median ratio with its quartiles on a logarithmic axis, and what was to be reached."""
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
            colour = NONE if pd.isna(row.goal) else YES if row.reached == "yes" else NO
            axes.plot(
                [row.lo, row.hi], [at, at], color=colour, linewidth=2.5, solid_capstyle="round"
            )
            axes.plot(
                row.ratio, at, "o" if row.kind == "ratio" else "D", color=colour, markersize=4.5
            )
            if not pd.isna(row.goal):
                axes.plot(row.goal, at, "|", color=INK, markersize=9)
            axes.annotate(
                f"{row.ratio:.3g}",
                (1.01, at),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=7,
            )
        axes.set_yticks(
            y,
            [plain(f"{r.name} ({r.size}) / {r.peer}") for r in rows.itertuples(index=False)],
            fontsize=6.5,
        )
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(axis="x")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("times as fast as the peer; diamonds: floor / ours, or allowed / taken")
        handles = [
            mpl.lines.Line2D([], [], marker=m, color=c, linestyle="")
            for c, m in ((YES, "o"), (NO, "o"), (NONE, "o"), (INK, "|"))
        ]
        figure.legend(
            handles,
            ["goal reached", "goal missed", "no goal set", "goal"],
            loc="outside upper center",
            ncols=4,
        )
        figure.text(0.005, 0.002, plain(wrapped(table)), fontsize=5.5, color=MUTED, va="bottom")
        figure.get_layout_engine().set(rect=(0, 0.04, 1, 0.96))
    return figure


def growth(table: pd.DataFrame) -> Figure | None:
    """A small panel for each curve: seconds over size, the slope, and a line that is linear."""
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
            x, seconds = here["ratio"].to_numpy(float), here["seconds"].to_numpy(float)
            axes.loglog(x, seconds[-1] * x / x[-1], color=MUTED, linewidth=0.8, linestyle="--")
            axes.loglog(x, seconds, "o-", color=YES if row.reached == "yes" else NO, markersize=4)
            axes.set_title(plain(f"{row.name}: slope {row.ratio:.2f}"), fontsize=8)
            axes.set_xlabel(plain(unit))
            axes.set_xticks(x, [f"{v:,.0f}" for v in x], minor=False)
            axes.set_xticks([], minor=True)
            axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda v, _: f"{v:g}"))
            axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
            axes.grid()
            axes.spines[["top", "right"]].set_visible(False)
        for axes in panels[::columns]:
            axes.set_ylabel("CPU-seconds")
    return figure


def wrapped(table: pd.DataFrame, width: int = 190) -> str:
    import textwrap

    return "\n".join(textwrap.wrap("; ".join(sorted(set(table["machine"]))), width))
