"""The paper's pictures: encodings by layer (Figs. 1 and 2), accuracy and size of the trees (Figs. 3 and 4), the effect
of thresholds (Tables 3 and 4), kinds of duplicates (Table 2), and trees (Figs. 5 and 6).

A panel is a data set and a width, as in the paper. Depth is shown by shade; where a network has several seeds, a point
is their mean and the bar is the standard error s / sqrt(seeds).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.papers.layer_trees import drawing
from benchmark.papers.layer_trees.duplicates import KINDS
from benchmark.papers.layer_trees.verdicts import Network, read
from benchmark.utils import plot_style

GREEN, RED, BLUE = plot_style.PALETTE[2], plot_style.PALETTE[3], plot_style.PALETTE[0]
MOST_RULES = 12  # a caption quotes at most so many
LINE = {  # style of a curve with error bars
    "markersize": 3,
    "linewidth": 1.3,
    "capsize": 2,
}

Panel = tuple[str, int]  # data set, width
Panels = dict[
    Panel, dict[int, list[Network]]
]  # panel -> depth -> networks of all seeds


def pictures(found: Found) -> Iterator[Picture]:
    """Every picture that the profile's experiments allow."""
    networks = list(read(found.rows))
    panels = _panels(networks)
    if panels:
        yield from _curves(panels)
    yield from _other_activations(networks)
    for unit in found.units:
        if unit.experiment == "duplicates":
            yield _table_2(unit)
        if unit.experiment == "drawing":
            yield _tree(unit)


def _panels(networks: list[Network]) -> Panels:
    """The ReLU networks by panel, wide ones first."""
    panels: Panels = {}
    for net in networks:
        if net.activation == "relu":
            depths = panels.setdefault((net.dataset, net.width), {})
            depths.setdefault(net.depth, []).append(net)
    order = sorted(panels, key=lambda panel: (-panel[1], panel[0]))
    return {panel: panels[panel] for panel in order}


def _curves(panels: Panels) -> Iterator[Picture]:
    deepest = {panel: nets[max(nets)] for panel, nets in panels.items()}

    def unique(axes: Axes, panel: Panel) -> None:
        _by_depth(axes, panels[panel], "u", samples=True)

    def duplicate(axes: Axes, panel: Panel) -> None:
        _by_depth(axes, panels[panel], "dup")

    def accuracy(axes: Axes, panel: Panel) -> None:
        _accuracy(axes, deepest[panel])

    def size(axes: Axes, panel: Panel) -> None:
        _size(axes, deepest[panel])

    yield Picture(
        "fig1-unique-encodings",
        "Unique encodings by layer (Fig. 1)",
        "The number of different ON/OFF encodings of the training images in each layer; a line for each depth, from "
        "green to blue the deeper. The dotted line is the number of images. Bars: standard error over seeds.",
        _grid(panels, unique, "unique encodings", legend=True),
    )
    yield Picture(
        "fig2-duplicate-encodings",
        "Duplicate encodings by layer (Fig. 2)",
        "The number of encodings shared by images of more than one class. The paper finds none in MNIST-100. Bars: "
        "standard error over seeds.",
        _grid(panels, duplicate, "duplicate encodings", legend=True),
    )
    yield Picture(
        "fig3-tree-accuracy",
        "Accuracy of each layer's tree (Fig. 3)",
        "Trees of the deepest networks, no encoding left out: green on training, red on test images; the blue line is "
        f"the network on test images. Bars: standard error over seeds. {_interpolation(panels)}",
        _grid(panels, accuracy, "accuracy, %", legend=True),
    )
    yield Picture(
        "fig4-split-nodes",
        "Size of each layer's tree (Fig. 4)",
        "Split nodes of the same trees (logarithmic); the dotted line is the width of the layer. Bars: standard error "
        "over seeds.",
        _grid(panels, size, "split nodes"),
    )
    pruned = {
        panel: nets
        for panel, nets in deepest.items()
        if len(_threshold_values(nets)) > 1
    }
    if pruned:
        yield Picture(
            "tables-3-4-thresholds",
            "The effect of a threshold (Tables 3 and 4)",
            "Only encodings that at least so many training images have are kept. Upper row: split nodes, lower row: "
            "accuracy on test images; 0 where no encoding is left. The blue line is the network.",
            _thresholds(pruned),
        )


def _interpolation(panels: Panels) -> str:
    """Which networks classify all their training images correctly, as the paper's do."""
    reached, short = [], []
    for (dataset, width), depths in panels.items():
        for depth, nets in sorted(depths.items()):
            low = min(net.train for net in nets)
            name = f"{dataset} {width}x{depth}"
            if low == 100:
                reached.append(name)
            else:
                short.append(f"{name} ({low:.2f} %)")
    every = ", ".join(reached) or "none"
    words = f"All training images are classified correctly by every seed of: {every}"
    if short:
        words += f"; not by (lowest seed): {', '.join(short)}"
    return f"{words}."


# --------------------------------------------------------------------------------------------- curves


@mpl.rc_context(plot_style.STYLE)
def _grid(
    panels: Panels,
    draw: Callable[[Axes, Panel], None],
    ylabel: str,
    legend: bool = False,
) -> Figure:
    """A panel for each data set and width, two in a row."""
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(
        figsize=(2.0 + 2.5 * columns, 2.6 * rows + 0.3), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        draw(axes, panel)
        _title(axes, panel)
        _finish(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(ylabel)
    if legend:
        legends = [axes.get_legend_handles_labels() for axes in grid.flat]
        handles, labels = max(legends, key=lambda found: len(found[1]))
        _legend(figure, handles, labels)
    return figure


def _legend(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Below the panels, as many entries side by side as fit."""
    inches = 0.6 + 0.07 * max(map(len, labels))  # of an entry
    columns = max(int(figure.get_figwidth() / inches), 1)
    place = {"loc": "outside lower center", "ncols": columns, "fontsize": 8}
    figure.legend(handles, labels, **place)


def _title(axes: Axes, panel: Panel) -> None:
    dataset, width = panel
    axes.set_title(f"{dataset}, width {width}", loc="left")


def _by_depth(
    axes: Axes,
    nets: dict[int, list[Network]],
    what: str,
    samples: bool = False,
) -> None:
    """A line for each depth: u or dup, the mean over seeds."""
    shades = sns.color_palette("crest", n_colors=10)
    for depth, seeds in sorted(nets.items()):
        layers = sorted(getattr(seeds[0], what))
        values = _values(seeds, what, layers)
        axes.errorbar(
            layers,
            values.mean(axis=0),
            _standard_error(values),
            color=shades[depth - 1],
            marker="o",
            label=f"depth {depth}",
            **LINE,
        )
    if samples:
        axes.axhline(seeds[0].n, color=plot_style.MUTED, linewidth=0.8, linestyle=":")
    top = max(axes.get_ylim()[1], 1)
    axes.set_ylim(-0.03 * top, top)


def _values(nets: list[Network], what: str, keys: list) -> np.ndarray:
    """The numbers ``what`` of each seed at each key, (seeds, keys)."""
    rows = []
    for net in nets:
        by_key = getattr(net, what)
        rows.append([by_key[key] for key in keys])
    return np.array(rows)


def _standard_error(values: np.ndarray) -> np.ndarray:
    """s / sqrt(seeds) of values (seeds, layers); 0 for one seed."""
    if len(values) == 1:
        return np.zeros(values.shape[1])
    return values.std(axis=0, ddof=1) / np.sqrt(len(values))


def _mean(
    nets: list[Network], what: str, threshold: int = 0
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """(layers, mean, standard error) over seeds."""
    layers = sorted({layer for layer, _ in getattr(nets[0], what)})
    values = _values(nets, what, [(layer, threshold) for layer in layers])
    return layers, values.mean(axis=0), _standard_error(values)


def _network_line(axes: Axes, nets: list[Network], label: str) -> None:
    """The test accuracy of the network itself."""
    test = np.mean([net.test for net in nets])
    axes.axhline(test, color=BLUE, linewidth=1.0, label=label)


def _accuracy(axes: Axes, nets: list[Network]) -> None:
    axes.errorbar(
        *_mean(nets, "tree_train"),
        color=GREEN,
        marker="o",
        label="tree, training images",
        **LINE,
    )
    axes.errorbar(
        *_mean(nets, "tree_test"),
        color=RED,
        marker="s",
        label="tree, test images",
        **LINE,
    )
    _network_line(axes, nets, "network, test images")


def _size(axes: Axes, nets: list[Network]) -> None:
    layers, mean, error = _mean(nets, "splits")
    axes.errorbar(
        layers,
        mean,
        error,
        color=plot_style.INK,
        marker="o",
        **LINE,
    )
    axes.axhline(nets[0].width, color=plot_style.MUTED, linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(*_decades(mean))


def _threshold_values(nets: list[Network]) -> list[int]:
    return sorted({threshold for _, threshold in nets[0].left})


@mpl.rc_context(plot_style.STYLE)
def _thresholds(panels: dict[Panel, list[Network]]) -> Figure:
    figure = Figure(figsize=(1.6 + 2.2 * len(panels), 4.6), layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col")
    for (panel, nets), (above, below) in zip(panels.items(), grid.T, strict=True):
        _by_threshold(above, nets, "splits")
        _by_threshold(below, nets, "tree_test")
        above.set_yscale("symlog", linthresh=10)
        above.set_ylim(bottom=-0.5)
        for axes in (above, below):
            _finish(axes)
        _network_line(below, nets, "network")
        above.set_xlabel("")
        _title(above, panel)
    grid[0, 0].set_ylabel("split nodes")
    grid[1, 0].set_ylabel("test accuracy, %")
    handles, labels = grid[1, 0].get_legend_handles_labels()
    _legend(figure, handles, labels)
    return figure


def _by_threshold(axes: Axes, nets: list[Network], what: str) -> None:
    """A line for each threshold: split nodes or accuracy of the trees."""
    thresholds = _threshold_values(nets)
    for colour, marker, t in zip(
        plot_style.PALETTE[1:], "osD^v", thresholds, strict=False
    ):
        axes.errorbar(
            *_mean(nets, what, t),
            color=colour,
            marker=marker,
            label=f"threshold {t:,}",
            **LINE,
        )


def _other_activations(networks: list[Network]) -> Iterator[Picture]:
    """Networks of one data set and shape that differ in their activation, where there are any."""
    shapes = {
        (net.dataset, net.width, net.depth)
        for net in networks
        if net.activation != "relu"
    }
    for dataset, width, depth in sorted(shapes):
        by_activation: dict[str, list[Network]] = {}
        for net in networks:
            if (net.dataset, net.width, net.depth) == (dataset, width, depth):
                by_activation.setdefault(net.activation, []).append(net)
        yield Picture(
            f"activations-{plot_style.file_name(dataset, f'{width}x{depth}')}",
            f"Other activations: {dataset}, width {width}, depth {depth} (the paper's future work)",
            "A node is ON where its activation function's input is positive. Left: unique encodings in each layer; "
            "right: accuracy of the layer's tree on test images, and of the network (dotted). Bars: standard error "
            "over seeds.",
            _activations(by_activation),
        )


@mpl.rc_context(plot_style.STYLE)
def _activations(by_activation: dict[str, list[Network]]) -> Figure:
    figure = Figure(figsize=(7.0, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    styles = zip(plot_style.PALETTE, "osD^v", strict=False)
    for (activation, nets), (colour, marker) in zip(
        sorted(by_activation.items()), styles, strict=False
    ):
        line = {
            "color": colour,
            "marker": marker,
            **LINE,
        }
        layers = list(nets[0].u)
        u = _values(nets, "u", layers)
        left.errorbar(layers, u.mean(0), _standard_error(u), **line)
        right.errorbar(
            *_mean(nets, "tree_test"), label=activation.replace("_", " "), **line
        )
        test = np.mean([net.test for net in nets])
        right.axhline(test, color=colour, linewidth=0.8, linestyle=":")
    left.set_ylabel("unique encodings")
    left.set_ylim(0)
    right.set_ylabel("test accuracy, %")
    for axes in (left, right):
        _finish(axes)
    figure.legend(loc="outside lower center", ncols=len(by_activation), fontsize=8)
    return figure


def _decades(values: np.ndarray) -> tuple[float, float]:
    """Whole powers of ten around counts."""
    low = np.floor(np.log10(max(values.min(), 1)))
    high = np.ceil(np.log10(values.max() + 1))
    return 10.0**low, 10.0**high


def _number(y: float, _: int) -> str:
    return f"{y:,.4g}" if abs(y) < 1000 else f"{y:,.0f}"


def _finish(axes: Axes) -> None:
    axes.set_xlabel("layer")
    axes.yaxis.set_major_formatter(FuncFormatter(_number))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    axes.grid(axis="y", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    sns.despine(ax=axes)


# --------------------------------------------------------------------------------------------- pictures of units


@mpl.rc_context(plot_style.STYLE)
def _table_2(unit: FoundUnit) -> Picture:
    """A line for each kind: the images of the largest class, then those of the others."""
    arrays = unit.arrays
    classes = [str(c) for c in arrays["classes"]]
    present = [k for k in range(len(KINDS)) if f"images_{k}" in arrays]
    lines = max(len(present), 1)
    figure = Figure(figsize=(7.6, 0.95 * lines + 0.1))
    rows = figure.subfigures(lines, 1, squeeze=False)[:, 0]
    for k, row in zip(present, rows, strict=False):
        counts = arrays[f"counts_{k}"]
        title = f"{KINDS[k]}: {_groups(counts, classes)}"
        row.text(0.01, 0.92, title, fontsize=8.5, va="top", color=plot_style.INK)
        _strip(row, arrays[f"images_{k}"], arrays[f"of_{k}"], int(counts.argmax()))
    return Picture(
        f"table2-{plot_style.file_name(unit.dataset, unit.target, str(unit.seed))}",
        f"Kinds of duplicate encodings: {unit.dataset}, {unit.target}, {unit.settings['layer']} (Table 2)",
        "Images that the layer does not tell apart although their classes differ; for each kind the encoding with the "
        "most images. Green frames: the class of most of them, red: the others; up to six images per class.",
        figure,
        raster=True,
    )


def _groups(counts: np.ndarray, classes: list[str]) -> str:
    """The largest three classes of an encoding: ``5,421 of 3 with 2 of 5``."""
    groups = []
    for c in np.argsort(-counts, kind="stable"):
        if counts[c]:
            groups.append(f"{counts[c]:,} of {classes[c]}")
    text = " with ".join(groups[:3])
    if len(groups) > 3:
        text += f" and {len(groups) - 3} more"
    return text


def _strip(
    row: SubFigure,
    images: np.ndarray,
    labels: np.ndarray,
    largest: int,
) -> None:
    """Images side by side, a gap between classes."""
    for i, (image, c) in enumerate(zip(images, labels, strict=True)):
        gaps = len(set(labels[: i + 1]))
        left = 0.01 + 0.052 * i + 0.012 * gaps
        axes = row.add_axes((left, 0.05, 0.05, 0.58))
        axes.imshow(
            image.transpose(1, 2, 0).squeeze(),
            cmap="gray",
            interpolation="nearest",
            vmin=0,
            vmax=1,
        )
        axes.set(xticks=[], yticks=[])
        colour = GREEN if c == largest else RED
        for spine in axes.spines.values():
            spine.set(color=colour, linewidth=1.6)


def _tree(unit: FoundUnit) -> Picture:
    layer = unit.settings.get("layer", "")
    threshold = unit.settings.get("threshold", 0)
    maps = unit.settings.get("maps", "image")
    named = maps.rpartition(":")[2]  # of a method: its class
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", named)
    known = {"image": "mean image", "gradient": "mean share of |image x gradient|"}
    shown = known.get(maps, f"mean heat map of {words}")
    sentences = unit.arrays["rules"].tolist()
    quoted = f" Rules: {'; '.join(sentences)}." if len(sentences) <= MOST_RULES else ""
    parts = [unit.dataset, unit.target, str(unit.seed), layer, f"t{threshold}"]
    if maps != "image":
        parts.append(named)
    kept = f", encodings of at least {threshold} images" if threshold else ""
    return Picture(
        f"tree-{plot_style.file_name(*parts)}",
        f"The tree of {layer}: {unit.dataset}, {unit.target}{kept} (Figs. 5 and 6)",
        f"Boxes: nodes of the layer; solid green: ON, dashed red: OFF; on each path the {shown} of the training images "
        "that pass it; discs: classes, with the number of images that end there and, where others are among them, the "
        f"share of the class.{quoted}",
        drawing.from_arrays(unit.arrays),
    )
