"""A tree as a picture (Figs. 5 and 6): which nodes are asked, and what passes.

The root is on the left. A split shows the number of the layer's node; a solid green way leads on where it is ON, a dashed
red one where it is OFF. On each way stands the mean heat map of the samples for which all states so far hold. A leaf is a
disc with its class, and beside it how many samples end there and, if not all are of that class, what share is. Each heat
map is scaled by its own maximum.

Every leaf has a line of its own, so a tree of 80 splits is tall, not crowded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from benchmark.api import Array
from benchmark.papers.layer_trees.trees import Tree
from benchmark.utils import plot_style

GREEN, RED, PINK = (
    plot_style.PALETTE[2],
    plot_style.PALETTE[3],
    plot_style.PALETTE[4],
)  # of the colour-blind palette
LINE, STEP, SIDE = (
    0.44,
    1.15,
    0.36,
)  # inches: from leaf to leaf, from split to split, side of a heat map
WIDEST = 40  # splits from the root to the farthest leaf that are drawn


def layout(tree: Tree) -> tuple[Array, Array]:
    """(m,) column and (m,) line of each place: its depth, and for a leaf its number from the top (OFF above ON); a split
    stands in the middle of its two children.
    """
    column, line = np.zeros(len(tree.node)), np.zeros(len(tree.node))
    below = np.zeros(len(tree.node), int)  # leaves under each place
    for place in np.arange(len(tree.node))[::-1]:
        split = tree.node[place] >= 0
        below[place] = below[tree.on[place]] + below[tree.off[place]] if split else 1
    first = np.zeros(len(tree.node), int)  # the first line of each place
    for place in np.flatnonzero(tree.node >= 0):
        for child, start in ((tree.off[place], 0), (tree.on[place], below[tree.off[place]])):
            first[child], column[child] = first[place] + start, column[place] + 1
    for place in np.arange(len(tree.node))[::-1]:
        split = tree.node[place] >= 0
        line[place] = (line[tree.on[place]] + line[tree.off[place]]) / 2 if split else first[place]
    return column, line


@mpl.rc_context(plot_style.STYLE)
def draw(tree: Tree, mean: Array, members: Array, classes: Sequence[str]) -> Figure:
    """The picture of a tree.

    Args:
        mean: (m, h, w) heat map of each place (``trees.passing``), NaN where no sample passes.
        members: (m, C) samples of each class at each leaf.

    Raises:
        ValueError: an empty tree, or one deeper than a page is wide.
    """
    if not tree.leaves:
        raise ValueError("an empty tree has nothing to draw")
    column, line = layout(tree)
    if column.max() > WIDEST:
        raise ValueError(
            f"the tree is {column.max():.0f} splits deep; draw one of at most {WIDEST}, by a higher threshold"
        )
    width, height = STEP * (column.max() + 1) + 0.5, LINE * tree.leaves + 0.55
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(
        xlim=(-0.45 * STEP, width - 0.45 * STEP), ylim=(height - 0.55 * LINE, -0.55 * LINE)
    )  # inches, downwards
    axes.axis("off")
    at = np.stack([STEP * column, LINE * line], axis=1)  # (m, 2)
    for place in np.flatnonzero(tree.node >= 0):
        for child, colour, dashes in (
            (tree.on[place], GREEN, "-"),
            (tree.off[place], RED, (0, (4, 2))),
        ):
            (x, y), (u, v) = at[place], at[child]
            axes.plot(
                [x, x + 0.3 * STEP, u],
                [y, v, v],
                color=colour,
                linestyle=dashes,
                linewidth=1.6,
                zorder=1,
            )
            if np.isfinite(mean[child]).all():  # some sample passes
                _heat(axes, (x + 0.58 * STEP, v), np.asarray(mean[child], np.float32), colour)
        axes.annotate(
            str(tree.node[place]),
            at[place],
            ha="center",
            va="center",
            fontsize=8.5,
            zorder=4,
            bbox={
                "boxstyle": "round,pad=0.3",
                "facecolor": "white",
                "edgecolor": plot_style.INK,
                "linewidth": 0.8,
            },
        )
    for leaf in np.flatnonzero(tree.node < 0):
        _leaf(axes, at[leaf], classes[tree.label[leaf]], members[leaf], int(tree.label[leaf]))
    ways = [
        Line2D([], [], color=GREEN, linewidth=1.6, label="ON"),
        Line2D([], [], color=RED, linewidth=1.6, linestyle=(0, (4, 2)), label="OFF"),
    ]
    axes.legend(handles=ways, loc="lower left", ncols=2, fontsize=8, borderaxespad=0.1)
    return figure


def _heat(axes: Axes, at: tuple[float, float], image: Array, colour: str) -> None:
    points = 72 * SIDE
    picture = OffsetImage(
        image,
        zoom=points / max(image.shape),
        cmap="gray",
        interpolation="nearest",
        norm=mpl.colors.Normalize(0, image.max()),
    )
    frame = {"edgecolor": colour, "linewidth": 1.0, "boxstyle": "square,pad=0"}
    axes.add_artist(AnnotationBbox(picture, at, pad=0, bboxprops=frame, zorder=3))


def _leaf(axes: Axes, at: Array, name: str, members: Array, label: int) -> None:
    x, y = at
    total = int(members.sum())
    text = f"{total:,}" + (
        "" if not total else f", {members[label] / total:.1%}" if members[label] < total else ""
    )
    axes.annotate(
        plot_style.plain(name),
        (x, y),
        ha="left",
        va="center",
        fontsize=8.5,
        zorder=4,
        bbox={
            "boxstyle": "round,pad=0.3,rounding_size=0.8",
            "facecolor": PINK,
            "edgecolor": "none",
            "alpha": 0.9,
        },
        color="black",
    )
    axes.annotate(
        text,
        (x, y),
        (14 + 5.2 * len(name), 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=8,
        color=plot_style.INK,
        zorder=4,
    )


def from_arrays(arrays: Mapping[str, Array]) -> Figure:
    """The picture of what ``replicate.drawing`` kept."""
    return draw(
        Tree.read(dict(arrays)),
        arrays["mean"],
        arrays["members"],
        [str(c) for c in arrays["classes"]],
    )
