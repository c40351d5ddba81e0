"""Figures of rankings: which average ranks differ (critical difference), and what a metric's setting does to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.leaderboard import places, rankings, stats, tables
from benchmark.utils.plot_style import INK, MUTED, NEW, PALETTE, STYLE, plain, shortened

HUES = PALETTE[:7] + PALETTE[8:]  # without grey, which is for controls
MARKERS = "osD^v"  # with 9 hues they tell 45 lines apart
MANY = 30  # rows of a matrix whose cells are small
_TICKS = 12  # of an axis of ranks that has a number at each
_BAR, _ROW = 0.22, 0.3  # heights of a bar and of a label


@mpl.rc_context(STYLE)
def critical_difference(
    frame: pd.DataFrame, track: str, new: Collection[str] = ()
) -> Figure:
    """Demsar's diagram: methods at their average rank over data sets; a bar joins those that cannot be told apart.

    Wilcoxon signed-rank over data sets, Holm over all pairs (``rankings.differ``).
    """
    table = rankings.rankings(frame, track)
    average = rankings.average(frame, table)
    bars = rankings.cliques(rankings.differ(table))
    m, ranks = len(average), average["average_rank"].to_numpy()
    left = -(-m // 2)  # the better half is named on the left
    low = np.floor(ranks.min() - 0.05)
    high = np.ceil(ranks.max() + 0.05)
    width = high - low
    top = _BAR * len(bars) + 0.35  # the bars hang between axis and labels
    height = _ROW * left + top
    figure = Figure(figsize=(7.2, 0.9 + 0.62 * height), layout="constrained")
    axes = figure.add_subplot()
    _rank_axis(axes, low, high)
    margin = 0.04 * width
    for i, line in enumerate(average.itertuples()):
        on_left = i < left
        row = i if on_left else m - 1 - i
        end = low - margin if on_left else high + margin
        y = -top - _ROW * row
        _name_method(axes, line, y, end, on_left=on_left, new=line.label in new)
    for k, (first, last) in enumerate(bars):
        y = -0.2 - _BAR * k
        start = ranks[first] - 0.02 * width
        end = ranks[last] + 0.02 * width
        axes.hlines(y, start, end, color=PALETTE[0], linewidth=3.5)
    axes.set_xlim(low - 0.75 * width, high + 0.75 * width)
    axes.set_ylim(-top - _ROW * left, 0.6)
    axes.axis("off")
    title = (
        f"average rank over {len(table)} data sets; "
        f"joined: no significant difference at {stats.ALPHA:g}"
    )
    p = rankings.friedman(table)
    if np.isfinite(p):
        title += f"; Friedman p = {p:.1g}"
    axes.set_title(title, fontsize=8.5)
    return figure


def _rank_axis(axes: Axes, low: float, high: float) -> None:
    axes.hlines(0, low, high, color=INK, linewidth=1)
    ticks = np.arange(low, high + 1)
    axes.vlines(ticks, 0, 0.12, color=INK, linewidth=1)
    apart = 1 if len(ticks) <= _TICKS else 5
    for tick in ticks[ticks % apart == 0]:
        axes.text(
            tick,
            0.2,
            f"{tick:g}",
            ha="center",
            va="bottom",
            fontsize=8,
        )


def _name_method(
    axes: Axes, line, y: float, end: float, *, on_left: bool, new: bool
) -> None:
    """A method's name at (end, y), joined with its average rank on the axis."""
    rank, name = line.average_rank, shortened(line.label)
    colour = NEW if new else MUTED if line.control else INK
    axes.plot([rank, rank, end], [0, y, y], color=colour, linewidth=0.8)
    axes.text(
        end,
        y,
        plain(f" {name}  {rank:.2f} " if on_left else f" {rank:.2f}  {name} "),
        ha="right" if on_left else "left",
        va="center",
        fontsize=8.5,
        color=colour,
        style="italic" if line.control else "normal",
        weight="bold" if new else "normal",
    )


@mpl.rc_context(STYLE)
def duels(
    frame: pd.DataFrame, placed: pd.DataFrame, track: str, new: Collection[str] = ()
) -> Figure:
    """The share of duels that the row's method wins against the column's."""
    won = places.duels(frame, track)
    rivals = places.of(placed, track).dropna(subset="place")["label"]
    won = won.loc[rivals, rivals]
    names = [plain(shortened(label)) for label in won.index]
    said = "duels won by the row, %"
    figure = matrix(100 * won.to_numpy(), names, said, limits=(0, 100), form=".0f")
    axes = figure.axes[0]
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        for tick, label in zip(ticks, won.index, strict=True):
            if label in new:
                tick.set(color=NEW, weight="bold")
    return figure


def matrix(
    values: np.ndarray,
    names: Sequence[str],
    said: str,
    *,
    limits: tuple[float, float],
    form: str,
) -> Figure:
    """A square table of numbers, coloured; empty where they are NaN.

    Args:
        said: beside the bar of colours.
        limits: the numbers at its ends.
        form: how numbers are written.
    """
    n = len(names)
    wide, high = 0.46, 0.36  # inches of a cell
    font = 7
    if n > MANY:
        wide, high = 0.25, 0.2
        font = 6
    size = (3.4 + wide * n, 1.9 + high * n)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    sns.heatmap(
        values,
        mask=np.isnan(values),
        ax=axes,
        vmin=limits[0],
        vmax=limits[1],
        cmap=sns.color_palette("vlag_r", as_cmap=True),
        annot=True,
        fmt=form,
        annot_kws={"fontsize": font, "in_layout": False},
        linewidths=1,
        linecolor="white",
        # Labels of seaborn are drawn once each, to see whether they overlap.
        xticklabels=False,
        yticklabels=False,
        cbar_kws={"label": said, "shrink": 0.6},
    )
    middle = np.arange(n) + 0.5
    axes.set_xticks(middle, names, rotation=40, ha="right")
    axes.set_yticks(middle, names)
    axes.tick_params(length=0)
    return figure


@mpl.rc_context(STYLE)
def settings(frame: pd.DataFrame, placed: pd.DataFrame, track: str) -> Figure:
    """A panel per metric with several settings: each method's average rank under each of them."""
    table = rankings.by_setting(frame, track)
    lines = places.of(placed, track)
    methods = list(zip(lines["label"], lines["control"].astype(bool), strict=True))
    taus = rankings.sensitivity(frame, track).set_index("metric")["tau"]
    columns = min(3, len(taus))
    rows = -(-len(taus) // columns)
    height = 1.1 + 0.2 * len(methods)  # of a panel
    size = (2.2 + 2.4 * columns, rows * height)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (metric, tau) in zip(grid.flat, taus.items(), strict=False):
        lines = table[table["metric"] == metric]
        _settings_panel(axes, lines, methods)
        title = f"{tables.title(metric)}\nKendall's tau {tau:.2f}"
        axes.set_title(plain(title), loc="left")
    unused = grid.flat[len(taus) :]
    for axes in unused:
        axes.set_visible(False)
    grid[0, 0].set_ylabel("average rank, 1 = best")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    return figure


def _settings_panel(
    axes: Axes,
    lines: pd.DataFrame,
    methods: list[tuple[str, bool]],
) -> None:
    """One metric; ``lines``: of ``rankings.by_setting``."""
    names = list(dict.fromkeys(lines["metric_setting"]))
    wide = lines.pivot_table(
        index="label", columns="metric_setting", values="average_rank"
    )
    wide = wide[names].dropna()
    for i, (label, control) in enumerate(methods):
        if label not in wide.index:
            continue
        axes.plot(
            range(len(names)),
            wide.loc[label],
            marker=MARKERS[i % len(MARKERS)],
            markersize=4,
            linewidth=1.4,
            linestyle=":" if control else "-",
            color=MUTED if control else HUES[i % len(HUES)],
            label=plain(shortened(label)),
        )
    key, _, _ = names[0].partition("=")
    is_one = [name.startswith(f"{key}=") and ";" not in name for name in names]
    if all(is_one):
        axes.set_xlabel(plain(key))
        names = [name.removeprefix(f"{key}=") for name in names]
    labels = [plain(name.replace(";", "\n")) for name in names]
    axes.set_xticks(range(len(names)), labels)
    axes.set_xlim(-0.2, len(names) - 0.8)
    axes.set_ylim(max(len(methods), 2) + 0.4, 0.6)
    axes.set_yticks(range(1, len(methods) + 1))
    axes.grid(axis="y", linewidth=0.6)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
