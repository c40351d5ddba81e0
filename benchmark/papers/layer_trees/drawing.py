"""A tree as a picture (Figs. 5 and 6): which nodes it tests, and which samples pass.

The root is on the left. A split shows the number of the layer's node; a solid green path leads on where it is ON, a
dashed red one where it is OFF. On each path stands the mean heat map of the samples for which all states so far hold. A
leaf is a disc with its class, and beside it the number of samples that end there and, if not all of them are of that
class, the share that is. Each heat map is scaled by its own maximum.

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

GREEN, RED, PINK = plot_style.PALETTE[2:5]  # colour-blind palette
LINE = 0.44  # inches from leaf to leaf
STEP = 1.15  # inches from split to split
SIDE = 0.36  # inches, side of a heat map
DASHES = (0, (4, 2))  # of a path where the node is OFF
WIDEST = 40  # the deepest tree that is drawn, in splits from the root


def layout(tree: Tree) -> tuple[Array, Array]:
    """(m,) column and (m,) line of each place: its depth, and for a leaf its number from the top (OFF above ON); a
    split stands in the middle of its two children.
    """
    m = len(tree.node)
    splits = np.flatnonzero(tree.node >= 0)  # parents before their children
    leaves_below = np.ones(m, int)  # leaves under each place
    for place in splits[::-1]:
        leaves_below[place] = (
            leaves_below[tree.on[place]] + leaves_below[tree.off[place]]
        )

    column = np.zeros(m)
    first = np.zeros(m, int)  # the first line under each place
    for place in splits:
        on, off = tree.on[place], tree.off[place]
        column[on] = column[off] = column[place] + 1
        first[off] = first[place]
        first[on] = first[place] + leaves_below[off]

    line = first.astype(float)
    for place in splits[::-1]:
        line[place] = (line[tree.on[place]] + line[tree.off[place]]) / 2
    return column, line


@mpl.rc_context(plot_style.STYLE)
def draw(
    tree: Tree,
    mean: Array,
    members: Array,
    classes: Sequence[str],
) -> Figure:
    """The picture of a tree.

    Args:
        mean: (m, h, w) heat map of each place (``trees.passing``), NaN where no sample passes.
        members: (m, C) samples of each class at each leaf.

    Raises:
        ValueError: the tree is empty, or deeper than a page is wide.
    """
    if not tree.leaves:
        raise ValueError("an empty tree has nothing to draw")
    column, line = layout(tree)
    if column.max() > WIDEST:
        raise ValueError(
            f"the tree is {column.max():.0f} splits deep; draw one of at most {WIDEST}, "
            "with a higher threshold"
        )
    axes = _canvas(
        width=STEP * (column.max() + 1) + 0.5, height=LINE * tree.leaves + 0.55
    )
    at = np.stack([STEP * column, LINE * line], axis=1)  # (m, 2)
    for place in np.flatnonzero(tree.node >= 0):
        on, off = tree.on[place], tree.off[place]
        for child, colour, style in ((on, GREEN, "-"), (off, RED, DASHES)):
            _path(axes, at[place], at[child], mean[child], colour, style)
        _split(axes, at[place], tree.node[place])
    for leaf in np.flatnonzero(tree.node < 0):
        label = int(tree.label[leaf])
        _leaf(axes, at[leaf], classes[label], members[leaf], label)
    key = [
        Line2D([], [], color=GREEN, linewidth=1.6, label="ON"),
        Line2D([], [], color=RED, linewidth=1.6, linestyle=DASHES, label="OFF"),
    ]
    axes.legend(handles=key, loc="lower left", ncols=2, fontsize=8, borderaxespad=0.1)
    return axes.figure


def _canvas(width: float, height: float) -> Axes:
    """Axes in inches that fill a new figure, y downwards."""
    axes = Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    axes.set(
        xlim=(-0.45 * STEP, width - 0.45 * STEP),
        ylim=(height - 0.55 * LINE, -0.55 * LINE),
    )
    axes.axis("off")
    return axes


def _path(
    axes: Axes,
    start: Array,
    end: Array,
    mean: Array,
    colour: str,
    style: str | tuple,
) -> None:
    """The path from a split to its child, with the heat map of the samples that take it."""
    (x, y), (u, v) = start, end
    axes.plot(
        [x, x + 0.3 * STEP, u],
        [y, v, v],
        color=colour,
        linestyle=style,
        linewidth=1.6,
        zorder=1,
    )
    if np.isfinite(mean).all():  # some sample passes
        _heat(axes, (x + 0.58 * STEP, v), np.asarray(mean, np.float32), colour)


def _heat(
    axes: Axes,
    at: tuple[float, float],
    image: Array,
    colour: str,
) -> None:
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


def _split(axes: Axes, at: Array, node: int) -> None:
    box = {
        "boxstyle": "round,pad=0.3",
        "facecolor": "white",
        "edgecolor": plot_style.INK,
        "linewidth": 0.8,
    }
    axes.annotate(
        str(node), at, ha="center", va="center", fontsize=8.5, zorder=4, bbox=box
    )


def _leaf(
    axes: Axes,
    at: Array,
    name: str,
    members: Array,
    label: int,
) -> None:
    x, y = at
    disc = {
        "boxstyle": "round,pad=0.3,rounding_size=0.8",
        "facecolor": PINK,
        "edgecolor": "none",
        "alpha": 0.9,
    }
    axes.annotate(
        plot_style.plain(name),
        (x, y),
        ha="left",
        va="center",
        fontsize=8.5,
        zorder=4,
        bbox=disc,
        color="black",
    )
    total = int(members.sum())
    text = f"{total:,}"
    if members[label] < total:
        text += f", {members[label] / total:.1%}"
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
    """The picture of the arrays that ``replicate.drawing`` returned."""
    tree = Tree.read(dict(arrays))
    classes = [str(c) for c in arrays["classes"]]
    return draw(tree, arrays["mean"], arrays["members"], classes)
