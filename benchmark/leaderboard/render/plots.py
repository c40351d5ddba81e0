"""Figures of the board, as SVG and PNG with the same bytes for the same input.

    places-<track>            place of each method with its interval
    board-<track>-<d>-<t>     one network, a panel per metric: mean and interval of each method
    agreement-<track>         how far the metrics rank the methods alike (Kendall's tau)
    critical-<track>          which average ranks differ, from 6 data sets on (plots_ranks)
    duels-<track>             who wins against whom, with fewer data sets     (plots_ranks)
    settings-<track>          what a metric's setting does to its ranking  (plots_ranks)

Colours: seaborn's colour-blind palette. Blue: best; light blue: the same; orange: undecided; dark: worse; pink:
without a rival; grey: controls that are worse.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterator
from functools import partial

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmark.leaderboard import places, rankings, tables
from benchmark.leaderboard.render import markdown, plots_ranks
from benchmark.utils.plot_style import (
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
COLUMNS = (
    4,
    5,
    3,
)  # panels side by side: whichever leaves the fewest gaps, the first of equals
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
    """As ``figures``, with what draws a figure, in any process, in place of the figure."""
    for track in tables.tracks(frame):
        part = frame[frame["track"] == track]  # all that a process is given
        rivals = places.of(placed, track)["place"].notna().sum()
        if rivals > 1:
            yield f"places-{track}", partial(places_figure, placed, track, new)
        agreement = metric_agreement(part, track)
        if len(agreement) > 1:
            yield f"agreement-{track}", partial(heat, agreement)
        if rivals > 1:
            if len(rankings.rankings(part, track)) >= rankings.ENOUGH:
                draw = partial(plots_ranks.critical_difference, part, track, new)
                yield f"critical-{track}", draw
            else:
                draw = partial(plots_ranks.duels, part, placed, track, new)
                yield f"duels-{track}", draw
            if len(rankings.sensitivity(part, track)):
                draw = partial(plots_ranks.settings, part, placed, track, new)
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
            _note(axes, y, "alone")
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
    """A panel per metric: mean and interval of each method, the methods in the same order in all panels."""
    part = tables.shown(frame, track, dataset, target)
    methods = markdown.order(placed, part, track)
    panels = list(part.groupby(["metric", "metric_setting"], sort=False))
    columns = _panel_columns(len(panels))
    rows = -(-max(len(panels), 1) // columns)
    height = 0.75 + 0.24 * max(len(methods), 1)  # of a panel
    size = (1.9 + 2.05 * columns, rows * height + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, ((metric, metric_setting), lines) in zip(grid.flat, panels, strict=False):
        _panel(axes, methods, lines, new)
        axes.set_title(_heading(metric, metric_setting, lines), loc="left")
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    used = {_kind(line) for line in part.itertuples()}
    figure.legend(
        handles=[_legend_line(kind) for kind in COLOURS if kind in used],
        loc="outside upper center",
        ncols=len(COLOURS),
        fontsize=8,
    )
    return figure


def _panel_columns(panels: int) -> int:
    if panels <= 5:
        return max(panels, 1)
    return min(COLUMNS, key=lambda columns: -panels % columns)


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


def _panel(
    axes: Axes,
    methods: list[tuple[str, bool]],
    lines: pd.DataFrame,
    new: Collection[str],
) -> None:
    found = {line.label: line for line in lines.itertuples()}
    measured = []
    for y, (label, _) in enumerate(methods):
        line = found.get(label)
        if line is None:
            continue
        if line.status != "ok":
            _note(axes, y, "failed" if line.status == "failed" else "not applicable")
            continue
        measured.append((y, line.mean, line.low, line.high, COLOURS[_kind(line)]))
    # few artists: the layout asks each for its size
    dots = pd.DataFrame(measured, columns=["y", "mean", "low", "high", "colour"])
    axes.scatter("mean", "y", s=25, c="colour", data=dots, linewidths=1, zorder=3)
    bars = dots.dropna(subset="low")
    axes.hlines("y", "low", "high", "colour", data=bars, linewidth=1.6, zorder=2)
    labels = [label for label, _ in methods]
    controls = [control for _, control in methods]
    _method_axis(axes, labels, controls, new)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.margins(x=0.08)
    _finish(axes)


def _note(axes: Axes, y: int, word: str) -> None:
    """A word at the left of a panel, in the place of a value."""
    axes.text(
        0.03,
        y,
        word,
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=7.5,
        color=MUTED,
        style="italic",
    )


def _kind(line) -> str:
    """A key of ``COLOURS``."""
    if line.mark in COLOURS and line.mark:
        return line.mark
    return "control" if line.control else ""


def _heading(metric: str, metric_setting: str, lines: pd.DataFrame) -> str:
    first_line = lines.iloc[0]
    title = f"{tables.title(metric)} {tables.arrow(first_line['better'])}"
    title = textwrap.fill(title, _TITLE)
    notes = metric_setting.split(";")
    if first_line["unit"] != "fraction":
        notes.insert(0, first_line["unit"])
    notes = ", ".join(filter(None, notes))
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
    n = len(agreement)
    size = (3.4 + 0.46 * n, 1.9 + 0.36 * n)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    labels = [plain(name) for name in agreement.index]
    upper = np.triu(np.ones((n, n), bool), 1)
    sns.heatmap(
        agreement.to_numpy(),
        mask=upper | agreement.isna().to_numpy(),
        ax=axes,
        vmin=-1,
        vmax=1,
        cmap=sns.color_palette("vlag_r", as_cmap=True),
        annot=True,
        fmt=".2f",
        annot_kws={"fontsize": 7},
        square=False,
        linewidths=1,
        linecolor="white",
        xticklabels=labels,
        yticklabels=labels,
        cbar_kws={"label": "Kendall's tau", "shrink": 0.6},
    )
    axes.set_xticklabels(labels, rotation=40, ha="right")
    axes.tick_params(length=0)
    return figure


# --------------------------------------------------------------------------------------------- shared


def _method_axis(
    axes: Axes, labels: list[str], controls: list[bool], new: Collection[str]
) -> None:
    axes.set_ylim(len(labels) - 0.4, -0.6)
    names = [plain(shortened(label)) for label in labels]
    axes.set_yticks(range(len(labels)), names)
    ticks = axes.get_yticklabels()  # none on inner panels
    for tick, label, control in zip(ticks, labels, controls, strict=False):
        if label in new:
            tick.set(color=NEW, weight="bold")
        elif control:
            tick.set(color=MUTED, style="italic")
    for y, label in enumerate(labels):
        if label in new:
            axes.axhspan(y - 0.5, y + 0.5, color=NEW, alpha=0.08, linewidth=0)
    axes.set_ylabel("")


def _finish(axes: Axes) -> None:
    axes.grid(axis="x", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    sns.despine(ax=axes, left=True)
