"""The paper's pictures: encodings by layer (Figs. 1 and 2), accuracy and size of the trees (Figs. 3 and 4), what thresholds
do (Tables 3 and 4), kinds of duplicates (Table 2), and trees (Figs. 5 and 6).

A panel is a data set and a width, as in the paper. Depth is a shade; where a network has several seeds, a point is their
mean and the bar is the standard error s / sqrt(seeds).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.papers.layer_trees import drawing
from benchmark.papers.layer_trees.duplicates import KINDS
from benchmark.papers.layer_trees.verdicts import Network, read
from benchmark.utils import plot_style

GREEN, RED, BLUE = plot_style.PALETTE[2], plot_style.PALETTE[3], plot_style.PALETTE[0]
MOST_RULES = 12  # that a caption quotes

Panels = dict[
    tuple[str, int], dict[int, list[Network]]
]  # (data set, width) -> depth -> networks of all seeds


def pictures(found: Found) -> Iterator[Picture]:
    """Every picture that the profile's experiments allow."""
    panels: Panels = {}
    networks = list(read(found.rows))
    for net in networks:
        if net.activation == "relu":
            panels.setdefault((net.dataset, net.width), {}).setdefault(net.depth, []).append(net)
    panels = dict(sorted(panels.items(), key=lambda item: (-item[0][1], item[0][0])))
    if panels:
        yield from _curves(panels)
    yield from _other_activations(networks)
    for unit in found.units:
        if unit.experiment == "duplicates":
            yield _table_2(unit)
        if unit.experiment == "drawing":
            yield _tree(unit)


def _curves(panels: Panels) -> Iterator[Picture]:
    deepest = {key: nets[max(nets)] for key, nets in panels.items()}
    yield Picture(
        "fig1-unique-encodings",
        "Unique encodings by layer (Fig. 1)",
        "How many different ON/OFF encodings the training images have in each layer; a line for each depth, darker = deeper. "
        "The dotted line is the number of images. Bars: standard error over seeds.",
        _grid(
            panels,
            lambda axes, key: _by_depth(axes, panels[key], "u", samples=True),
            "unique encodings",
            legend=True,
        ),
    )
    yield Picture(
        "fig2-duplicate-encodings",
        "Duplicate encodings by layer (Fig. 2)",
        "How many encodings are shared by images of more than one class. The paper finds none in MNIST-100. Bars: standard error over seeds.",
        _grid(
            panels,
            lambda axes, key: _by_depth(axes, panels[key], "dup"),
            "duplicate encodings",
            legend=True,
        ),
    )
    yield Picture(
        "fig3-tree-accuracy",
        "Accuracy of each layer's tree (Fig. 3)",
        "Trees of the deepest networks, no encoding left out: green on training, red on test images; the blue line is the "
        f"network on test images. Bars: standard error over seeds. {_interpolation(panels)}",
        _grid(panels, lambda axes, key: _accuracy(axes, deepest[key]), "accuracy, %", legend=True),
    )
    yield Picture(
        "fig4-split-nodes",
        "Size of each layer's tree (Fig. 4)",
        "Split nodes of the same trees (logarithmic); the dotted line is the width of the layer. Bars: standard error over seeds.",
        _grid(panels, lambda axes, key: _size(axes, deepest[key]), "split nodes"),
    )
    pruned = {key: nets for key, nets in deepest.items() if len({t for _, t in nets[0].left}) > 1}
    if pruned:
        yield Picture(
            "tables-3-4-thresholds",
            "What a threshold does (Tables 3 and 4)",
            "Only encodings that at least so many training images have are kept. Upper row: split nodes, lower row: accuracy on "
            "test images; 0 where no encoding is left. The blue line is the network.",
            _thresholds(pruned),
        )


def _interpolation(panels: Panels) -> str:
    """Which networks classify all their training images, as the paper's do."""
    reached, short = [], []
    for (dataset, width), depths in panels.items():
        for depth, nets in sorted(depths.items()):
            low = min(net.train for net in nets)
            name = f"{dataset} {width}x{depth}"
            reached.append(name) if low == 100 else short.append(f"{name} ({low:.2f} %)")
    words = f"All training images are classified by every seed of: {', '.join(reached) or 'none'}"
    return words + (f"; not by (lowest seed): {', '.join(short)}." if short else ".")


# --------------------------------------------------------------------------------------------- curves


@mpl.rc_context(plot_style.STYLE)
def _grid(
    panels: Panels, draw: Callable[[Axes, tuple[str, int]], None], ylabel: str, legend: bool = False
) -> Figure:
    figure = Figure(
        figsize=(2.0 + 2.5 * min(len(panels), 2), 2.6 * -(-len(panels) // 2) + 0.3),
        layout="constrained",
    )
    columns = min(len(panels), 2)
    grid = figure.subplots(-(-len(panels) // columns), columns, squeeze=False)
    for axes, key in zip(grid.flat, panels, strict=False):
        draw(axes, key)
        axes.set_title(f"{key[0]}, width {key[1]}", loc="left")
        _finish(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel(ylabel)
    if legend:
        handles, labels = max(
            (axes.get_legend_handles_labels() for axes in grid.flat),
            key=lambda found: len(found[1]),
        )
        figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=8)
    return figure


def _by_depth(axes: Axes, nets: dict[int, list[Network]], what: str, samples: bool = False) -> None:
    """A line for each depth: u or dup, the mean over seeds."""
    shades = sns.color_palette("crest", n_colors=10)
    for depth, mine in sorted(nets.items()):
        layers = sorted(getattr(mine[0], what))
        values = np.array(
            [[getattr(net, what)[k] for k in layers] for net in mine]
        )  # (seeds, layers)
        axes.errorbar(
            layers,
            values.mean(axis=0),
            _standard_error(values),
            color=shades[depth - 1],
            marker="o",
            markersize=3,
            linewidth=1.3,
            capsize=2,
            label=f"depth {depth}",
        )
    if samples:
        axes.axhline(mine[0].n, color=plot_style.MUTED, linewidth=0.8, linestyle=":")
    top = max(axes.get_ylim()[1], 1)
    axes.set_ylim(-0.03 * top, top)


def _standard_error(values: np.ndarray) -> np.ndarray:
    """s / sqrt(seeds) of values (seeds, layers); 0 for one seed."""
    return (
        values.std(axis=0, ddof=1) / np.sqrt(len(values))
        if len(values) > 1
        else np.zeros(values.shape[1])
    )


def _mean(
    nets: list[Network], what: str, threshold: int = 0
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """(layers, mean, standard error) over seeds."""
    layers = sorted({layer for layer, _ in getattr(nets[0], what)})
    values = np.array(
        [[getattr(net, what)[k, threshold] for k in layers] for net in nets]
    )  # (seeds, layers)
    return layers, values.mean(axis=0), _standard_error(values)


def _accuracy(axes: Axes, nets: list[Network]) -> None:
    for what, colour, label in (
        ("tree_train", GREEN, "tree, training images"),
        ("tree_test", RED, "tree, test images"),
    ):
        layers, mean, error = _mean(nets, what)
        marker = "o" if what == "tree_train" else "s"
        axes.errorbar(
            layers,
            mean,
            error,
            color=colour,
            marker=marker,
            markersize=3,
            linewidth=1.3,
            capsize=2,
            label=label,
        )
    axes.axhline(
        np.mean([net.test for net in nets]), color=BLUE, linewidth=1.0, label="network, test images"
    )


def _size(axes: Axes, nets: list[Network]) -> None:
    layers, mean, error = _mean(nets, "splits")
    axes.errorbar(
        layers,
        mean,
        error,
        color=plot_style.INK,
        marker="o",
        markersize=3,
        linewidth=1.3,
        capsize=2,
    )
    axes.axhline(nets[0].width, color=plot_style.MUTED, linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(*_decades(mean))


@mpl.rc_context(plot_style.STYLE)
def _thresholds(nets: dict[tuple[str, int], list[Network]]) -> Figure:
    figure = Figure(figsize=(1.6 + 2.2 * len(nets), 4.6), layout="constrained")
    grid = figure.subplots(2, len(nets), squeeze=False, sharex="col")
    for (key, mine), (above, below) in zip(nets.items(), grid.T, strict=True):
        thresholds = sorted({t for _, t in mine[0].left})
        for axes, what in ((above, "splits"), (below, "tree_test")):
            for colour, marker, t in zip(plot_style.PALETTE[1:], "osD^v", thresholds, strict=False):
                layers, mean, error = _mean(mine, what, t)
                axes.errorbar(
                    layers,
                    mean,
                    error,
                    color=colour,
                    marker=marker,
                    markersize=3,
                    linewidth=1.3,
                    capsize=2,
                    label=f"threshold {t:,}",
                )
        above.set_yscale("symlog", linthresh=10)
        above.set_ylim(bottom=-0.5)
        for axes in (above, below):
            _finish(axes)
        below.axhline(
            np.mean([net.test for net in mine]), color=BLUE, linewidth=1.0, label="network"
        )
        above.set_xlabel("")
        above.set_title(f"{key[0]}, width {key[1]}", loc="left")
    grid[0, 0].set_ylabel("split nodes")
    grid[1, 0].set_ylabel("test accuracy, %")
    handles, labels = grid[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _other_activations(networks: list[Network]) -> Iterator[Picture]:
    """Networks of one data set and shape that differ in their activation, where there are any."""
    shapes = {(net.dataset, net.width, net.depth) for net in networks if net.activation != "relu"}
    for dataset, width, depth in sorted(shapes):
        by: dict[str, list[Network]] = {}
        for net in networks:
            if (net.dataset, net.width, net.depth) == (dataset, width, depth):
                by.setdefault(net.activation, []).append(net)
        yield Picture(
            f"activations-{plot_style.file_name(dataset, f'{width}x{depth}')}",
            f"Other activations: {dataset}, width {width}, depth {depth} (the paper's future work)",
            "A node is ON where its activation function's input is positive. Left: unique encodings in each layer; right: accuracy "
            "of the layer's tree on test images, and of the network (dotted). Bars: standard error over seeds.",
            _activations(by),
        )


@mpl.rc_context(plot_style.STYLE)
def _activations(by: dict[str, list[Network]]) -> Figure:
    figure = Figure(figsize=(7.0, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (activation, nets), colour, marker in zip(
        sorted(by.items()), plot_style.PALETTE, "osD^v", strict=False
    ):
        line = {"color": colour, "marker": marker, "markersize": 3, "linewidth": 1.3, "capsize": 2}
        u = np.array([list(net.u.values()) for net in nets])  # (seeds, layers)
        left.errorbar(
            list(nets[0].u), u.mean(0), u.std(0, ddof=len(u) > 1) / np.sqrt(len(u)), **line
        )
        right.errorbar(*_mean(nets, "tree_test"), label=activation.replace("_", " "), **line)
        right.axhline(
            np.mean([net.test for net in nets]), color=colour, linewidth=0.8, linestyle=":"
        )
    left.set_ylabel("unique encodings")
    left.set_ylim(0)
    right.set_ylabel("test accuracy, %")
    for axes in (left, right):
        _finish(axes)
    figure.legend(loc="outside lower center", ncols=len(by), fontsize=8)
    return figure


def _decades(values: np.ndarray) -> tuple[float, float]:
    """Whole powers of ten around counts."""
    return 10.0 ** np.floor(np.log10(max(values.min(), 1))), 10.0 ** np.ceil(
        np.log10(values.max() + 1)
    )


def _finish(axes: Axes) -> None:
    axes.set_xlabel("layer")
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: f"{y:,.4g}" if abs(y) < 1000 else f"{y:,.0f}")
    )
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
    arrays, classes = unit.arrays, [str(c) for c in unit.arrays["classes"]]
    here = [k for k in range(len(KINDS)) if f"images_{k}" in arrays]
    figure = Figure(figsize=(7.6, 0.95 * max(len(here), 1) + 0.1))
    rows = figure.subfigures(max(len(here), 1), 1, squeeze=False)[:, 0]
    for k, row in zip(here, rows, strict=False):
        images, of, counts = arrays[f"images_{k}"], arrays[f"of_{k}"], arrays[f"counts_{k}"]
        groups = [
            f"{counts[c]:,} of {classes[c]}"
            for c in np.argsort(-counts, kind="stable")
            if counts[c]
        ]
        more = f" and {len(groups) - 3} more" if len(groups) > 3 else ""
        row.text(
            0.01,
            0.92,
            f"{KINDS[k]}: {' with '.join(groups[:3])}{more}",
            fontsize=8.5,
            va="top",
            color=plot_style.INK,
        )
        for i, (image, c) in enumerate(zip(images, of, strict=True)):
            axes = row.add_axes(
                (0.01 + 0.052 * i + 0.012 * len(set(of[: i + 1])), 0.05, 0.05, 0.58)
            )
            axes.imshow(
                image.transpose(1, 2, 0).squeeze(),
                cmap="gray",
                interpolation="nearest",
                vmin=0,
                vmax=1,
            )
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(color=GREEN if c == counts.argmax() else RED, linewidth=1.6)
    return Picture(
        f"table2-{plot_style.file_name(unit.dataset, unit.target, str(unit.seed))}",
        f"Kinds of duplicate encodings: {unit.dataset}, {unit.target}, {unit.settings['layer']} (Table 2)",
        "Images that the layer does not tell apart although their classes differ; for each kind the encoding with the most "
        "images. Green frames: the class of most of them, red: the others; up to six images a class.",
        figure,
        raster=True,
    )


def _tree(unit: FoundUnit) -> Picture:
    layer, threshold, maps = (
        unit.settings.get(k, d) for k, d in (("layer", ""), ("threshold", 0), ("maps", "image"))
    )
    named = maps.rpartition(":")[2]  # of a method: its class
    shown = {"image": "mean image", "gradient": "mean share of |image x gradient|"}.get(
        maps, f"mean heat map of {named}"
    )
    sentences = unit.arrays["rules"].tolist()
    quoted = f" Rules: {'; '.join(sentences)}." if len(sentences) <= MOST_RULES else ""
    parts = [
        unit.dataset,
        unit.target,
        str(unit.seed),
        layer,
        f"t{threshold}",
        *([named] if maps != "image" else []),
    ]
    return Picture(
        f"tree-{plot_style.file_name(*parts)}",
        f"The tree of {layer}: {unit.dataset}, {unit.target}"
        + (f", encodings of at least {threshold} images" if threshold else "")
        + " (Figs. 5 and 6)",
        f"Boxes: nodes of the layer; solid green: ON, dashed red: OFF; on each way the {shown} of the training images that "
        f"pass it; discs: classes, with the number of images that end there and, where others are among them, the share of "
        f"the class.{quoted}",
        drawing.from_arrays(unit.arrays),
    )
