"""Figures of the board, as SVG and PNG with the same bytes for the same input.

    places-<track>            place of each method with its interval
    board-<track>-<d>-<t>     one network, a panel per metric: mean and interval of each method
    agreement-<track>         how far the metrics rank the methods alike (Kendall's tau)
    critical-<track>          which average ranks differ, from 6 data sets on (plots_ranks)
    duels-<track>             who wins against whom, with fewer data sets     (plots_ranks)
    settings-<track>          what a metric's setting does to its ranking  (plots_ranks)

Agreement and settings are not drawn for an evaluation: they say nothing of its methods.

Colours: seaborn's colour-blind palette. Blue: best; light blue: the same; orange: undecided; dark: worse; pink:
without a rival; grey: controls that are worse.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path

from benchmark.leaderboard import places, rankings, tables
from benchmark.leaderboard.render import markdown, plots_ranks
from benchmark.utils.plot_style import (
    GRID,
    INK,
    MUTED,
    NEW,
    PALETTE,
    STYLE,
    file_name,
    plain,
    shortened,
)

COLOURS = {
    "best": PALETTE[0],
    "same": PALETTE[9],
    "undecided": PALETTE[1],
    "": INK,
    "alone": PALETTE[4],
    "control": "#a6a6a6",
}
WORDS = {
    "best": "best mean",
    "same": "the same",
    "undecided": "undecided",
    "": "worse",
    "alone": "alone",
    "control": "control, worse",
}
COLUMNS = 5  # panels side by side at most
_TITLE = 26  # letters of a panel's title that fit beside the next panel's


def figures(
    frame: pd.DataFrame, placed: pd.DataFrame, new: Collection[str] = ()
) -> Iterator[tuple[str, Figure]]:
    """(file name without ending, figure) of the whole board and its ``places``; ``new``: labels that are marked."""
    for name, draw in drawings(frame, placed, new):
        yield name, draw()


def drawings(
    frame: pd.DataFrame, placed: pd.DataFrame, new: Collection[str] = ()
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """As ``figures``, with what draws a figure, in any process, in place of the figure.

    What says nothing of the methods in ``new`` is left out: agreement and settings of metrics.
    """
    for track in tables.tracks(frame):
        part = frame[frame["track"] == track]  # all that a process is given
        rivals = places.of(placed, track)["place"].notna().sum()
        if rivals > 1:
            yield f"places-{track}", partial(places_figure, placed, track, new)
        if not new and len(agreement := metric_agreement(part, track)) > 1:
            yield f"agreement-{track}", partial(heat, agreement)
        if rivals > 1:
            if len(rankings.rankings(part, track)) >= rankings.ENOUGH:
                draw = partial(plots_ranks.critical_difference, part, track, new)
                yield f"critical-{track}", draw
            else:
                draw = partial(plots_ranks.duels, part, placed, track, new)
                yield f"duels-{track}", draw
            if not new and len(rankings.sensitivity(part, track)):
                draw = partial(plots_ranks.settings, part, placed, track)
                yield f"settings-{track}", draw
        for dataset, target in tables.boards(part, track):
            lines = tables.on_board(part, track, dataset, target)
            draw = partial(board, lines, placed, track, dataset, target, new)
            yield file_name("board", track, dataset, target), draw


# --------------------------------------------------------------------------------------------- places


@mpl.rc_context(STYLE)
def places_figure(
    placed: pd.DataFrame, track: str, new: Collection[str] = ()
) -> Figure:
    """A diamond per method at its place, with the interval of the place."""
    lines = places.of(placed, track)
    height = 0.9 + 0.32 * len(lines)
    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.add_subplot()
    for y, line in enumerate(lines.itertuples()):
        colour = COLOURS["control" if line.control else "best"]
        if line.label in new:
            colour = NEW
        if pd.isna(line.place):
            _note(axes, 0.03, y, "alone", transform=axes.get_yaxis_transform())
            continue
        if np.isfinite(line.low):
            axes.hlines(y, line.low, line.high, color=colour, linewidth=1.6)
        axes.plot([line.place], [y], "D", color=colour, markersize=6)
    _method_axis(axes, list(lines["label"]), list(lines["control"]), new)
    axes.set_xlim(0.5, max(len(lines), 2) + 0.5)
    axes.set_xticks(range(1, len(lines) + 1))
    axes.set_xlabel("place, with its 95 % interval")
    _finish(axes)
    return figure


# --------------------------------------------------------------------------------------------- one network


@mpl.rc_context(STYLE)
def board(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    track: str,
    dataset: str,
    target: str,
    new: Collection[str] = (),
) -> Figure:
    """A panel per metric: mean and interval of each method, the methods in the same order in all panels.

    All panels are drawn on one pair of axes, in inches: axes and ticks of their own would take ten times as long.
    """
    part = tables.shown(frame, track, dataset, target)
    methods = markdown.order(placed, part, track)
    kinds = map(_kind, part["mark"], part["control"])
    part = part[_DRAWN].assign(kind=list(kinds))
    panels = list(part.groupby(["metric", "metric_setting"], sort=False))
    titles = [_heading(*key, lines) for key, lines in panels]
    columns = _panel_columns(len(panels))
    heads = _heads(titles, columns)
    heights = heads + _STEP * max(len(methods), 1) + _FOOT  # of rows of panels
    widths = [_width(label, label in new) for label, _ in methods]
    left = 0.1 + max(widths, default=0.0)
    figure, axes = _sheet(left + _PITCH * columns, _LEGEND + heights.sum())
    first = _LEGEND + heights.cumsum() - heights + heads + _STEP / 2
    for top in first:
        _names(axes, methods, new, left, top, columns)
    dots, grid, feet = [], [], []
    for i, ((_, lines), title) in enumerate(zip(panels, titles, strict=True)):
        x = left + _PITCH * (i % columns)
        y = first[i // columns]
        end = y + _STEP * (len(methods) - 0.4)
        axes.text(x, y - _STEP, title, va="bottom", fontsize=9)
        known = lines[lines["status"] == "ok"]
        scale = _Scale.of(known[["mean", "low", "high"]].to_numpy(float))
        dots += _marks(axes, lines, methods, scale, x, y)
        for at in _numbers(axes, scale, x, end):
            grid.append((x + at, y - 0.6 * _STEP, end))
        feet.append((end, x, x + _WIDTH))
    _draw(axes, dots, grid, feet)
    used = set(part["kind"])
    figure.legend(
        handles=[_legend_line(kind) for kind in COLOURS if kind in used],
        loc="upper center",
        ncols=len(COLOURS),
        fontsize=8,
    )
    return figure


_DRAWN = [
    *("label", "metric", "metric_setting", "status", "mean", "low", "high"),
    *("better", "unit"),
]
# In inches:
_PITCH = 2.05  # from panel to panel
_WIDTH = 1.83  # of a panel
_STEP = 0.24  # from method to method
_FOOT = 0.34  # the room for numbers
_LEGEND = 0.4
_LINE = 0.15  # of text


class _Scale(NamedTuple):
    """Where a panel shows a value: inches from its left."""

    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> _Scale:
        """That of a panel of these values, NaN where there is none."""
        known = values[np.isfinite(values)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        low, high = mpl.ticker.MaxNLocator().nonsingular(low, high)
        margin = 0.08 * (high - low)
        return cls(low - margin, high + margin)

    def at(self, value: Any) -> Any:
        return _WIDTH * (value - self.low) / (self.high - self.low)

    def ticks(self) -> tuple[np.ndarray, list[str], str]:
        """Round values, about four of them, as text, and what all of them are to be multiplied by or added to."""
        ticks = mpl.ticker.MaxNLocator(4).tick_values(self.low, self.high)
        ticks = ticks[(self.low <= ticks) & (ticks <= self.high)]
        formatter = mpl.ticker.ScalarFormatter()
        formatter.create_dummy_axis()
        formatter.axis.set_view_interval(self.low, self.high)
        return ticks, formatter.format_ticks(ticks), formatter.get_offset()


def _heads(titles: Sequence[str], columns: int) -> np.ndarray:
    """The room for titles above each row of panels, in inches."""
    lines = [title.count("\n") + 1 for title in titles]
    starts = range(0, max(len(titles), 1), columns)
    most = []
    for start in starts:
        of_row = lines[start : start + columns]
        most.append(max(of_row, default=1))
    return 0.15 + _LINE * np.array(most)


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes in inches, from its upper left corner."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def _width(label: str, bold: bool) -> float:
    """Inches that the name of a method takes."""
    weight = "bold" if bold else "normal"
    font = FontProperties(size=9, weight=weight)
    name = shortened(label)
    width, *_ = text_to_path.get_text_width_height_descent(name, font, False)
    return width / 72


def _names(
    axes: Axes,
    methods: Sequence[tuple[str, bool]],
    new: Collection[str],
    left: float,
    top: float,
    columns: int,
) -> None:
    """The methods at the left of a row of panels; a band marks those that are new."""
    for i, (label, control) in enumerate(methods):
        y, look = top + _STEP * i, {}
        if label in new:
            look = {"color": NEW, "weight": "bold"}
            starts = left + _PITCH * np.arange(columns)
            thick = {"color": NEW, "alpha": 0.08, "linewidth": 72 * _STEP, "zorder": 0}
            axes.hlines(np.full(columns, y), starts, starts + _WIDTH, **thick)
        elif control:
            look = {"color": MUTED, "style": "italic"}
        name = plain(shortened(label))
        axes.text(left - 0.06, y, name, ha="right", va="center", fontsize=9, **look)


def _marks(
    axes: Axes,
    lines: pd.DataFrame,
    methods: Sequence[tuple[str, bool]],
    scale: _Scale,
    left: float,
    top: float,
) -> list[tuple[float, float, float, float, str]]:
    """(mean, y, low, high, colour) of each value of a panel, in inches; writes the words of those without."""
    found = {line.label: line for line in lines.itertuples()}
    marks = []
    for i, (label, _) in enumerate(methods):
        y, line = top + _STEP * i, found.get(label)
        if line is None:
            continue
        if line.status != "ok":
            word = "failed" if line.status == "failed" else "not applicable"
            _note(axes, left + 0.03 * _WIDTH, y, word)
            continue
        mean = left + scale.at(line.mean)
        low = left + scale.at(line.low)
        high = left + scale.at(line.high)
        marks.append((mean, y, low, high, COLOURS[line.kind]))
    return marks


def _numbers(axes: Axes, scale: _Scale, left: float, y: float) -> np.ndarray:
    """Write the numbers below a panel; returns where they stand, in inches from its left."""
    ticks, texts, factor = scale.ticks()
    places = scale.at(ticks)
    for at, text in zip(places, texts, strict=True):
        axes.text(left + at, y + 0.05, text, ha="center", va="top", fontsize=8)
    if factor:
        edge = left + _WIDTH, y + 0.19
        axes.text(*edge, factor, ha="right", va="top", fontsize=8)
    return places


def _draw(
    axes: Axes,
    dots: Sequence[tuple[float, float, float, float, str]],
    grid: Sequence[tuple[float, float, float]],
    feet: Sequence[tuple[float, float, float]],
) -> None:
    """The dots, bars and lines of all panels, an artist each: one by one they would take seconds."""
    table = pd.DataFrame(dots, columns=["mean", "y", "low", "high", "colour"])
    axes.scatter("mean", "y", s=25, c="colour", data=table, linewidths=1, zorder=3)
    bars = table.dropna(subset="low")
    axes.hlines("y", "low", "high", "colour", data=bars, linewidth=1.6, zorder=2)
    upright = pd.DataFrame(grid, columns=["x", "top", "end"])
    axes.vlines("x", "top", "end", GRID, data=upright, linewidth=0.7, zorder=1)
    flat = pd.DataFrame(feet, columns=["y", "left", "right"])
    axes.hlines("y", "left", "right", MUTED, data=flat, linewidth=0.6, zorder=1)


def _panel_columns(panels: int) -> int:
    """As few rows as possible, and they as even as possible."""
    rows = math.ceil(panels / COLUMNS) or 1
    return math.ceil(panels / rows) or 1


def _legend_line(kind: str) -> Line2D:
    return Line2D(
        [],
        [],
        color=COLOURS[kind],
        marker="o",
        markersize=5,
        linewidth=1.6,
        label=WORDS[kind],
    )


def _note(axes: Axes, x: float, y: float, word: str, **options: Any) -> None:
    """A word at the left of a panel, in the place of a value."""
    axes.text(
        x,
        y,
        word,
        va="center",
        fontsize=7.5,
        color=MUTED,
        style="italic",
        **options,
    )


def _kind(mark: str, control: bool) -> str:
    """A key of ``COLOURS``."""
    if mark in COLOURS and mark:
        return mark
    return "control" if control else ""


def _heading(metric: str, metric_setting: str, lines: pd.DataFrame) -> str:
    first_line = lines.iloc[0]
    title = (
        f"{tables.title(metric)}\N{NO-BREAK SPACE}{tables.arrow(first_line['better'])}"
    )
    title = textwrap.fill(title, _TITLE)
    notes = metric_setting.split(";")
    if first_line["unit"] != "fraction":
        notes.insert(0, first_line["unit"])
    notes = textwrap.fill(", ".join(filter(None, notes)), _TITLE)
    return plain(f"{title}\n{notes}")


# --------------------------------------------------------------------------------------------- metrics beside metrics


def metric_agreement(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """Kendall's tau-b between the metrics' rankings of the methods, averaged over the networks; metrics x metrics.

    1: the two metrics order the methods alike. Pairs that share no network with three ranked methods are NaN; metrics
    without any pair are left out.
    """
    part = frame[(frame["track"] == track) & frame["rank"].notna()]
    pairs = zip(part["metric"], part["metric_setting"], strict=True)
    titles = [tables.title(metric, setting) for metric, setting in pairs]
    part = part.assign(name=titles)
    names = list(dict.fromkeys(titles))
    total = np.zeros((len(names), len(names)))
    networks = np.zeros((len(names), len(names)))
    for _, group in part.groupby(["dataset", "target"]):
        wide = group.pivot_table(index="label", columns="name", values="rank")
        tau = _kendall(wide.reindex(columns=names).to_numpy().T)
        total += np.nan_to_num(tau)
        networks += ~np.isnan(tau)
    with np.errstate(invalid="ignore"):
        mean = pd.DataFrame(total / networks, index=names, columns=names)
    known = mean.notna()
    return mean.loc[known.any(axis=1), known.any(axis=0)]


def _kendall(x: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of the rows of ``x`` (k, m) over what both have, (k, k); NaN where that is fewer than three
    values, or one of the two has them equal: (concordant - discordant pairs) / sqrt(pairs that x does not tie, and
    those that y does not)."""
    known = ~np.isnan(x)
    i, j = np.triu_indices(x.shape[1], 1)
    apart = x[:, i] - x[:, j]  # (k, pairs)
    order = np.sign(np.nan_to_num(apart))
    both = (known[:, i] & known[:, j]).astype(float)
    concordant = order @ order.T  # less the discordant
    untied = np.abs(order) @ both.T
    shared = known.astype(float) @ known.T
    with np.errstate(invalid="ignore", divide="ignore"):
        tau = concordant / np.sqrt(untied) / np.sqrt(untied.T)
    tau = np.tril(np.clip(tau, -1, 1), -1)
    tau += tau.T + np.eye(len(tau))
    some = (shared >= 3) & (untied > 0) & (untied.T > 0)
    return np.where(some, tau, np.nan)


@mpl.rc_context(STYLE)
def heat(agreement: pd.DataFrame) -> Figure:
    """The agreement of metrics as a lower triangle."""
    names = [plain(name) for name in agreement.index]
    lower = np.tril(np.ones(agreement.shape, bool))
    digits = 2 if len(names) <= plots_ranks.MANY else 1
    rounded = agreement.to_numpy().round(digits) + 0.0  # no -0.0
    values = np.where(lower, rounded, np.nan)
    return plots_ranks.matrix(
        values,
        names,
        "Kendall's tau",
        limits=(-1, 1),
        form=f".{digits}f",
    )


# --------------------------------------------------------------------------------------------- shared


def _method_axis(
    axes: Axes, labels: list[str], controls: list[bool], new: Collection[str]
) -> None:
    axes.set_ylim(len(labels) - 0.4, -0.6)
    names = [plain(shortened(label)) for label in labels]
    axes.set_yticks(range(len(labels)), names)
    ticks = zip(axes.get_yticklabels(), labels, controls, strict=True)
    for y, (tick, label, control) in enumerate(ticks):
        if label in new:
            tick.set(color=NEW, weight="bold")
            axes.axhspan(y - 0.5, y + 0.5, color=NEW, alpha=0.08, linewidth=0)
        elif control:
            tick.set(color=MUTED, style="italic")
    axes.set_ylabel("")


def _finish(axes: Axes) -> None:
    axes.grid(axis="x", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    sns.despine(ax=axes, left=True)
