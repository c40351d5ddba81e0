"""Drawings of rankings: which average ranks differ (critical difference), and what a metric's setting does to them."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmark.leaderboard import rankings, stats, tables
from benchmark.utils.plot_style import INK, MUTED, PALETTE, STYLE, plain

HUES = (
    PALETTE[:7] + PALETTE[8:]
)  # grey is for controls; 9 of them and 5 markers tell 45 lines apart


@mpl.rc_context(STYLE)
def critical_difference(frame: pd.DataFrame, track: str) -> Figure:
    """Demsar's drawing: methods at their average rank; a bar joins those that cannot be told apart.

    Wilcoxon signed-rank over (network, metric), Holm over all pairs (``rankings.differ``).
    """
    average = tables.average_ranks(frame, track)
    table = rankings.rankings(frame, track)
    bars = rankings.cliques(rankings.differ(table))
    m, x = len(average), average["average_rank"].to_numpy()
    left = -(-m // 2)  # the better half is named on the left
    low, high = np.floor(x.min() - 0.05), np.ceil(x.max() + 0.05)
    step, top = 0.3, 0.22 * len(bars) + 0.35  # the bars hang between axis and labels
    figure = Figure(figsize=(7.2, 0.9 + 0.62 * (step * left + top)), layout="constrained")
    axes = figure.add_subplot()
    axes.hlines(0, low, high, color=INK, linewidth=1)
    for tick in np.arange(low, high + 1):
        axes.vlines(tick, 0, 0.12, color=INK, linewidth=1)
        axes.text(tick, 0.2, f"{tick:g}", ha="center", va="bottom", fontsize=8)
    margin = 0.04 * (high - low)
    for i, line in enumerate(average.itertuples()):
        on_left = i < left
        y = -top - step * (i if on_left else m - 1 - i)
        end = low - margin if on_left else high + margin
        colour = MUTED if line.control else INK
        axes.plot(
            [line.average_rank, line.average_rank, end], [0, y, y], color=colour, linewidth=0.8
        )
        axes.text(
            end,
            y,
            plain(
                f" {_short(line.label)}  {line.average_rank:.2f} "
                if on_left
                else f" {line.average_rank:.2f}  {_short(line.label)} "
            ),
            ha="right" if on_left else "left",
            va="center",
            fontsize=8.5,
            color=colour,
            style="italic" if line.control else "normal",
        )
    for k, (first, last) in enumerate(bars):
        y = -0.2 - 0.22 * k
        axes.hlines(
            y,
            x[first] - 0.02 * (high - low),
            x[last] + 0.02 * (high - low),
            color=PALETTE[0],
            linewidth=3.5,
        )
    axes.set_xlim(low - 0.75 * (high - low), high + 0.75 * (high - low))
    axes.set_ylim(-top - step * left, 0.6)
    axes.axis("off")
    p = rankings.friedman(table)
    alike = f"; Friedman p = {p:.1g}" if np.isfinite(p) else ""
    axes.set_title(
        f"average rank over {len(table)} rankings; joined: no significant difference at {stats.ALPHA:g}{alike}",
        fontsize=8.5,
    )
    return figure


@mpl.rc_context(STYLE)
def settings(frame: pd.DataFrame, track: str) -> Figure:
    """A panel a metric with several settings: each method's average rank under each of them."""
    table = rankings.by_setting(frame, track)
    order = list(tables.average_ranks(frame, track)["label"])
    how = rankings.sensitivity(frame, track).set_index("metric")
    metrics = list(how.index)
    columns = min(3, len(metrics))
    rows = -(-len(metrics) // columns)
    figure = Figure(
        figsize=(2.2 + 2.4 * columns, rows * (1.1 + 0.2 * len(order))), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, metric in zip(grid.flat, metrics, strict=False):
        lines = table[table["metric"] == metric]
        names = list(dict.fromkeys(lines["metric_setting"]))
        wide = lines.pivot_table(index="label", columns="metric_setting", values="average_rank")[
            names
        ].dropna()
        for i, label in enumerate(order):
            if label not in wide.index:
                continue
            control = bool(lines.loc[lines["label"] == label, "control"].iloc[0])
            axes.plot(
                range(len(names)),
                wide.loc[label],
                marker="osD^v"[i % 5],
                markersize=4,
                linewidth=1.4,
                linestyle=":" if control else "-",
                color=MUTED if control else HUES[i % len(HUES)],
                label=plain(_short(label)),
            )
        axes.set_xticks(range(len(names)), [plain(name.replace(";", "\n")) for name in names])
        axes.set_xlim(-0.2, len(names) - 0.8)
        axes.set_ylim(max(len(order), 2) + 0.4, 0.6)
        axes.set_yticks(range(1, len(order) + 1))
        axes.set_title(
            plain(f"{tables.title(metric)}\nKendall's tau {how.loc[metric, 'tau']:.2f}"), loc="left"
        )
        axes.grid(axis="y", linewidth=0.6)
        axes.tick_params(length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    for axes in grid.flat[len(metrics) :]:
        axes.set_visible(False)
    grid[0, 0].set_ylabel("average rank, 1 = best")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    return figure


def _short(label: str, limit: int = 28) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"
