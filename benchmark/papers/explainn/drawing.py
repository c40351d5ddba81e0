"""Draws the paper's pictures from what the experiments found; ``figures.py`` says which there are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from benchmark.api import Array
from benchmark.papers import FoundUnit
from benchmark.utils import plot_style

BLUE, ORANGE, GREEN, RED, PURPLE, BROWN, PINK, _, YELLOW, SKY = plot_style.PALETTE
COLOURS = (ORANGE, BLUE, GREEN, PURPLE, RED, SKY, BROWN, PINK, YELLOW)
OTHER = to_rgb("#e9dfc3")  # pixels of rules that have no colour of their own
MEASURES = {
    "precision": (BLUE, "exact precision"),
    "recall": (SKY, "exact recall"),
    "soft_precision": (ORANGE, "soft precision"),
    "soft_recall": (YELLOW, "soft recall"),
}
LINES = ("o-", "s--", "^:")  # one mu each
RULES = 60  # the largest number of bars in a picture

Arrays = Mapping[str, Array]

# --------------------------------------------------------------------------------------------- planted rules


@mpl.rc_context(plot_style.STYLE)
def planted(rows: pd.DataFrame) -> Figure:
    """Box plots of the scores, a panel for each kind of heads.

    Args:
        rows: with the columns kind, noise, m, metric, value.
    """
    panels = [
        ("exclusive", "mutually exclusive heads", "m", "planted rules"),
        ("together", "co-occurring heads", "noise", "flipped cells"),
        ("also alone", "co-occurring, also alone", "noise", "flipped cells"),
    ]
    panels = [panel for panel in panels if (rows["kind"] == panel[0]).any()]
    figure = Figure(figsize=(1.0 + 3.2 * len(panels), 2.9), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (kind, title, column, label) in zip(grid, panels, strict=True):
        _boxes(axes, rows[rows["kind"] == kind], column)
        axes.set_xlabel(label)
        axes.set_title(title, loc="left")
        axes.set_ylim(0, 1.03)
        _finish(axes)
    handles = []
    for colour, text in MEASURES.values():
        patch = Patch(
            facecolor=colour, edgecolor=plot_style.INK, linewidth=0.5, label=text
        )
        handles.append(patch)
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


def _boxes(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    """A box for each value of ``column`` and each measure."""
    values = sorted(rows[column].unique())
    for i, (metric, (colour, _)) in enumerate(MEASURES.items()):
        of_metric = rows[rows["metric"] == metric]
        boxes = [of_metric[of_metric[column] == v]["value"].to_numpy() for v in values]
        places = np.arange(len(values)) + 0.19 * (i - 1.5)
        axes.boxplot(
            boxes,
            positions=places,
            widths=0.15,
            patch_artist=True,
            manage_ticks=False,
            boxprops={
                "facecolor": colour,
                "edgecolor": plot_style.INK,
                "linewidth": 0.5,
            },
            medianprops={"color": plot_style.INK, "linewidth": 1.2},
            whiskerprops={"color": plot_style.INK, "linewidth": 0.6},
            capprops={"color": plot_style.INK, "linewidth": 0.6},
            flierprops={
                "marker": ".",
                "markersize": 3,
                "markeredgecolor": plot_style.MUTED,
            },
        )
    form = "{:g}" if column == "m" else "{:.1%}"
    axes.set_xticks(range(len(values)), [form.format(v) for v in values])


@mpl.rc_context(plot_style.STYLE)
def search(rows: pd.DataFrame) -> Figure:
    """A column for each kind of heads and noise; above the soft score, below the bits, against theta, a line a mu.

    Args:
        rows: with the columns kind, noise, theta, mu, metric, value, seed.
    """
    groups = list(rows.groupby(["kind", "noise"]))
    size = 1.0 + 3.2 * len(groups), 4.4
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(2, len(groups), squeeze=False, sharex=True, sharey="row")
    for (above, below), ((kind, noise), of_group) in zip(grid.T, groups, strict=True):
        run = ["theta", "mu", "seed"]
        wide = of_group.pivot_table(index=run, columns="metric", values="value")
        wide["soft"] = wide[["soft_precision", "soft_recall"]].min(axis=1)
        means = wide.groupby(["theta", "mu"]).mean().reset_index()
        for (mu, line), style in zip(means.groupby("mu"), LINES, strict=False):
            for axes, y in ((above, "soft"), (below, "planted_minus_found_bits")):
                axes.plot(line["theta"], line[y], style, label=f"mu = {mu:g}")
        above.set_title(f"{kind}, {noise:.1%} flipped", loc="left")
        below.set_xlabel("theta")
        below.axhline(0, color=plot_style.INK, linewidth=0.6)
        _finish(above)
        _finish(below)
    grid[0, 0].set_ylim(0, 1.03)
    grid[0, 0].set_ylabel("soft score")
    grid[1, 0].set_ylabel("bits, planted - found")
    grid[0, 0].legend(fontsize=8)
    return figure


# --------------------------------------------------------------------------------------------- interventions


@mpl.rc_context(plot_style.STYLE)
def intervention(unit: FoundUnit) -> Figure:
    a = unit.arrays
    judged = np.flatnonzero(~np.isnan(a["after"]))
    by_accuracy = np.argsort(a["after"][judged], kind="stable")
    order = judged[by_accuracy][:RULES]
    n = len(order)
    width = 1.2 + (0.36 if n < 20 else 0.24) * n  # labels have two lines
    classes = names(a)
    labels = [classes[c][:26] for c in order]
    for i, d in enumerate(a["instead"][order]):
        if d >= 0 and len(classes) > 2:
            labels[i] += f"\n→ {classes[d][:26]}"
    longest = max(len(line) for label in labels for line in label.split("\n"))
    upright = n > 12 or longest > 6
    height = 2.4 + 0.055 * longest * upright
    figure = Figure(figsize=(max(4.0, width), height), layout="constrained")
    axes = figure.add_subplot()
    x = np.arange(n)
    axes.bar(x, a["before"][order], 0.8, color="#ecd06f", label="before")
    axes.bar(x, a["after"][order], 0.8, color=BLUE, label="after")
    axes.hlines(
        a["q90"][order],
        x - 0.42,
        x + 0.42,
        color=RED,
        linewidth=1.6,
        label="random, 90 % quantile",
    )
    _class_ticks(axes, labels, upright)
    axes.set_ylabel("accuracy of the class")
    axes.set_ylim(0, 1.02)
    _finish(axes)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


def _class_ticks(axes: Axes, labels: list[str], upright: bool) -> None:
    axes.set_xticks(
        np.arange(len(labels)),
        labels,
        rotation=90 if upright else 0,
        fontsize=6.5 if upright else 8,
    )
    axes.set_xlim(-0.6, len(labels) - 0.4)


# --------------------------------------------------------------------------------------------- rules on filters


@mpl.rc_context(plot_style.STYLE)
def filters(unit: FoundUnit, layer: str) -> Figure:
    """Activations of filters and their pixels in rules.

    A row for each filter, its prototype and a column for each class, at most 3 x 10.
    """
    mean = unit.arrays[f"{layer}.mean"]  # (F, C, u, v)
    rule = unit.arrays[f"{layer}.rule"]  # (F, C, u, v)
    number = unit.arrays[f"{layer}.filter"]
    light = unit.arrays[f"{layer}.light"]
    F = min(len(mean), 3)
    C = min(mean.shape[1], 10)
    figure = Figure(figsize=(1.5 + 0.95 * C, 1.15 * F + 0.2), layout="constrained")
    grid = figure.subplots(F, C + 1, squeeze=False)
    for f in range(F):
        shades = mean[f] / max(float(mean[f].max()), 1e-9)
        colours = _rule_colours(rule[f])
        first, *of_classes = grid[f]
        _framed(first, unit.arrays[f"{layer}.prototype"][f], plot_style.MUTED)
        first.set_ylabel(f"filter {number[f]}\nr = {light[f]:.2f}", fontsize=7.5)
        for c, axes in enumerate(of_classes):
            image = _coloured(shades[c], rule[f, c], colours)
            axes.imshow(image, interpolation="nearest")
            _bare(axes)
    grid[0, 0].set_title("prototype", loc="center")
    for axes, name in zip(grid[0, 1:], unit.arrays["classes"], strict=False):
        axes.set_title(str(name)[:14], loc="center")
    return figure


def _rule_colours(rule: Array) -> dict[int, tuple[float, ...]]:
    """The colour of each rule on a filter: the rules with most pixels, over all classes, have one of their own.

    Args:
        rule: (C, u, v) rule of each pixel, or -1.
    """
    numbers, pixels = np.unique(rule[rule >= 0], return_counts=True)
    most = np.argsort(-pixels, kind="stable")
    colours = {int(r): OTHER for r in numbers}
    for r, colour in zip(numbers[most], COLOURS, strict=False):
        colours[int(r)] = to_rgb(colour)
    return colours


def _coloured(
    shade: Array, rule: Array, colours: Mapping[int, tuple[float, ...]]
) -> Array:
    """(u, v, 3) the activation of a filter in grey, and its pixels in rules in their colours."""
    image = np.repeat(1 - 0.75 * shade[..., None], 3, axis=2)
    for r, colour in colours.items():
        here = rule == r
        faded = 0.25 * image[here]
        image[here] = faded + 0.75 * np.array(colour)
    return image


# --------------------------------------------------------------------------------------------- flow and prototypes


@mpl.rc_context(plot_style.STYLE)
def flow(unit: FoundUnit) -> Figure:
    """A tree from the class (left) to the units of the last layer (right); a leaf has a line of its own."""
    nodes = json.loads(str(unit.arrays["nodes"]))
    layers = {node["level"]: node["layer"] for node in nodes}
    levels = len(layers)
    y = _lines(nodes)
    height = int(max(y)) + 1  # leaves
    figure = Figure(figsize=(1.6 + 1.9 * levels, 0.5 + 0.95 * height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.75, levels + 0.55)
    axes.set_ylim(height - 0.35, -0.85)
    axes.axis("off")
    root = float(np.mean([y[i] for i, node in enumerate(nodes) if node["level"] == 1]))
    for node, line in zip(nodes, y, strict=True):
        level, parent = node["level"], node["parent"]
        start = 0.0, root
        if parent >= 0:
            start = level - 1 + 0.3, y[parent]
        _edge(axes, start, (level - 0.3, line))
    name = str(unit.arrays["class"])
    axes.text(-0.05, root, f"class\n{name}", ha="right", va="center", fontsize=10)
    for level, layer in layers.items():
        axes.text(level, -0.65, layer, ha="center", va="center", color=plot_style.MUTED)
    classes = [str(c) for c in unit.arrays["classes"]]
    images = unit.arrays["prototypes"]
    for node, line, image in zip(nodes, y, images, strict=True):
        inner = _inner_axes(figure, node["level"], line, levels, height)
        _show(inner, image)
        _outline(inner, node, image.shape[1:])
        inner.set_xlabel(_node_text(node, classes, name), fontsize=6, labelpad=1.5)
    return figure


def _outline(axes: Axes, node: Mapping[str, Any], side: tuple[int, int]) -> None:
    """Frames the places of a node's units on its image of ``side`` pixels."""
    if "places" not in node:
        return
    rows, columns = node["map"]
    h = side[0] / rows
    w = side[1] / columns
    for row, column in node["places"]:
        x = column * w - 0.5
        y = row * h - 0.5
        cell = Rectangle((x, y), w, h, fill=False, edgecolor=ORANGE, linewidth=0.7)
        axes.add_patch(cell)


def _lines(nodes: list[dict[str, Any]]) -> list[float]:
    """The line of each node from the top: leaves one below the other, a parent in the middle of its children."""
    children: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        if node["parent"] >= 0:
            children[node["parent"]].append(i)
    y = [0.0] * len(nodes)
    leaves = [i for i, below in enumerate(children) if not below]
    for line, i in enumerate(leaves):
        y[i] = float(line)
    for i in reversed(range(len(nodes))):
        if children[i]:
            y[i] = float(np.mean([y[k] for k in children[i]]))
    return y


def _edge(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        end,
        start,
        zorder=0,
        arrowprops={
            "arrowstyle": "-",
            "color": plot_style.MUTED,
            "linewidth": 1.0,
            "connectionstyle": "arc3,rad=0",
        },
    )


def _inner_axes(
    figure: Figure, level: int, line: float, levels: int, height: int
) -> Axes:
    """Square axes for the prototype of a node."""
    width_inches, height_inches = figure.get_size_inches()
    x_unit, y_unit = (
        1 / (levels + 1.3),
        1 / (height + 0.5),
    )  # of a level and a line, in the figure
    side = 0.62 * min(width_inches * x_unit, height_inches * y_unit)
    x = (level + 0.75) * x_unit
    y = 1 - (line + 0.85) * y_unit
    return figure.add_axes(
        (
            x - side / width_inches / 2,
            y - side / height_inches / 2,
            side / width_inches,
            side / height_inches,
        )
    )


def _node_text(node: Mapping[str, Any], classes: list[str], name: str) -> str:
    text = f"n={node['units']}, k={node['k']}"
    if len(node.get("filters", ())) == 1:
        text = f"filter {node['filters'][0]}: n={node['units']}"
    others = [classes[c] for c in node["head"] if classes[c] != name]
    if others:
        also = f"\nalso {', '.join(others)}"
        text += also[:28]
    return text


@mpl.rc_context(plot_style.STYLE)
def prototypes(unit: FoundUnit) -> Figure:
    """A row for each rule: the prototype of its tail, then those of its units."""
    a, count = unit.arrays, int(unit.arrays["count"])
    columns = max(len(a[f"images{i}"]) for i in range(count))
    figure = Figure(
        figsize=(1.3 + 1.15 * columns, 1.42 * count + 0.1), layout="constrained"
    )
    grid = figure.subplots(count, columns, squeeze=False)
    for i in range(count):
        titles = ["whole tail"] + [f"unit {number}" for number in a[f"units{i}"]]
        for axes in grid[i, len(titles) :]:
            axes.set_visible(False)
        for axes, image, title, reached in zip(
            grid[i], a[f"images{i}"], titles, a[f"reached{i}"], strict=False
        ):
            _show(axes, image)
            axes.set_title(title, loc="center", fontsize=8)
            axes.set_xlabel(f"{reached:.1f}", fontsize=8)
        classes = [str(a["classes"][c]) for c in a[f"head{i}"]]
        label = ", ".join(classes[:4])
        if len(classes) > 4:
            label += " …"
        grid[i, 0].set_ylabel(label[:26], fontsize=7.5)
    return figure


# --------------------------------------------------------------------------------------------- traits, fine-tuning


def names(a: Arrays) -> list[str]:
    """The classes, readable."""
    return [str(name).replace("_", " ") for name in a["classes"]]


def _rule_text(
    head: Array, names: list[str], units: int, first: tuple[int, ...] = ()
) -> str:
    """Lines: up to three classes of a head, ``first`` before the others, how many more, and the tail's size."""
    order = [k for k in first if head[k]]
    order += [k for k in np.flatnonzero(head) if k not in first]
    words = [_short(names[k]) for k in order[:3]]
    if len(order) > 3:
        words.append(f"+ {len(order) - 3}")
    lines = words
    if sum(map(len, words)) < 20:
        lines = [", ".join(words)]
    size = f"{units} unit" if units == 1 else f"{units} units"
    return "\n".join([*lines, size])


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"


@mpl.rc_context(plot_style.STYLE)
def kinds(heads: Array, tails: Array, names: list[str]) -> Figure:
    """A column for each rule: its tail's size above, its classes below."""
    own_first = np.lexsort((heads.argmax(1), heads.sum(1)))
    order = own_first[:RULES]
    total, shown = len(heads), len(order)
    heads, tails = heads[order], tails[order]
    used = np.flatnonzero(heads.any(0))
    size = max(3.5, 1.8 + 0.13 * shown), 1.2 + 0.15 * len(used)
    figure = Figure(figsize=size, layout="constrained")
    ratios = {"height_ratios": [1, 0.22 * len(used)]}
    above, below = figure.subplots(2, 1, sharex=True, gridspec_kw=ratios)
    shared = heads.sum(1, keepdims=True) > 1
    colours = np.where(shared, to_rgb(ORANGE), to_rgb(BLUE))  # (rules, 3)
    above.bar(np.arange(shown), tails, 0.8, color=colours)
    above.set_ylabel("units")
    cells = np.where(heads.T[used][..., None], colours, 1.0)  # (classes, rules, 3)
    below.imshow(cells, aspect="auto", interpolation="nearest")
    below.set_yticks(range(len(used)), [_short(names[k]) for k in used], fontsize=6.5)
    label = "rules"
    if shown < total:
        label = f"{shown} of {total} rules, those of fewest classes"
    below.set_xlabel(label)
    below.set_xticks([])
    _finish(above)
    below.tick_params(length=0)
    handles = [
        Patch(color=BLUE, label="one class's own"),
        Patch(color=ORANGE, label="shared by several"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=8)
    return figure


@mpl.rc_context(plot_style.STYLE)
def pair(a: Arrays) -> Figure:
    """Images of two classes, and the prototypes of what each has alone and both share."""
    c, d = map(int, a["pair"])
    classes = names(a)
    one, other = _short(classes[c]), _short(classes[d])
    figure = Figure(figsize=(8.4, 3.1), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.25, 3])
    images = list(a["pair.examples"])
    frames = YELLOW, YELLOW, RED, RED
    labels = one, one, other, other
    grid = left.subplots(2, 2)
    for axes, image, frame, label in zip(
        grid.flat, images, frames, labels, strict=False
    ):
        _framed(axes, image, frame)
        axes.set_xlabel(label, fontsize=5.5, labelpad=1.5)
    titles = (
        f"{one},\nnot {other}",
        f"{one}\nand {other}",
        f"{other},\nnot {one}",
    )
    frames = YELLOW, ORANGE, RED
    for i, axes in enumerate(right.subplots(1, 3)):
        _framed(axes, a["pair.images"][i], frames[i])
        axes.set_title(titles[i], loc="center", fontsize=8)
        units = int(a["pair.units"][i])
        text = _rule_text(a["pair.heads"][i], classes, units, (c, d))
        axes.set_xlabel(text, fontsize=6.5)
    return figure


@mpl.rc_context(plot_style.STYLE)
def within(a: Arrays) -> Figure:
    """The prototype of a class, and images and prototypes of its rules."""
    classes = names(a)
    count, c = len(a["within.images"]), int(a["within"])
    figure = Figure(figsize=(2.2 + 1.5 * count, 3.8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.4, count])
    one = left.subplots()
    _framed(one, a["within.class"][0], plot_style.MUTED)
    one.set_title(_short(classes[c]), loc="center", fontsize=8)
    grid = right.subplots(2, count, squeeze=False)
    for i in range(count):
        above, below = grid[:, i]
        _framed(above, a["within.examples"][i], plot_style.MUTED)
        _framed(below, a["within.images"][i], BLUE)
        units = int(a["within.units"][i])
        text = _rule_text(a["within.heads"][i], classes, units, (c,))
        below.set_xlabel(text, fontsize=6.5)
    grid[0, 0].set_ylabel("image", fontsize=8)
    grid[1, 0].set_ylabel("rule", fontsize=8)
    return figure


@mpl.rc_context(plot_style.STYLE)
def gallery(a: Arrays) -> Figure:
    """Prototypes of tails, a row for rules of one class, of two and of more."""
    classes = names(a)
    per_rule = a["gallery.heads"].sum(1)
    kinds = {"one class": per_rule == 1, "two": per_rule == 2, "more": per_rule > 2}
    rows = {label: np.flatnonzero(kind) for label, kind in kinds.items() if kind.any()}
    columns = max(map(len, rows.values()))
    size = 0.5 + 1.6 * columns, 0.2 + 2.1 * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, rules) in zip(grid, rows.items(), strict=True):
        line[0].set_ylabel(label, fontsize=8)
        for axes in line[len(rules) :]:
            axes.set_visible(False)
        for axes, r in zip(line, rules, strict=False):
            _framed(axes, a["gallery.images"][r], plot_style.MUTED)
            units = int(a["gallery.units"][r])
            text = _rule_text(a["gallery.heads"][r], classes, units)
            axes.set_xlabel(text, fontsize=6.5)
    return figure


@mpl.rc_context(plot_style.STYLE)
def changed(a: Arrays) -> Figure:
    """Bars for each class: rules kept, new, and lost."""
    kept, new, lost = a["kept"], a["new"], a["lost"]
    most_first = np.lexsort((-kept, -kept - new))
    total = kept + new + lost
    order = [c for c in most_first if total[c]][:RULES]
    width = max(4.0, 1.2 + 0.16 * len(order))
    figure = Figure(figsize=(width, 3.2), layout="constrained")
    axes = figure.add_subplot()
    x = np.arange(len(order))
    axes.bar(x, kept[order], 0.8, color=plot_style.MUTED, label="kept")
    axes.bar(x, new[order], 0.8, bottom=kept[order], color=GREEN, label="new")
    axes.bar(x, -lost[order], 0.8, color=RED, label="lost")
    axes.axhline(0, color=plot_style.INK, linewidth=0.8)
    classes = names(a)
    labels = [_short(classes[c]) for c in order]
    _class_ticks(axes, labels, upright=len(order) > 12)
    axes.set_ylabel("rules with the class")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda y, _: f"{abs(y):.0f}")
    _finish(axes)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


@mpl.rc_context(plot_style.STYLE)
def before_after(a: Arrays) -> Figure:
    """A column for each rule: its prototype after and before fine-tuning, and an image."""
    classes, count = names(a), len(a["examples"])
    figure = Figure(figsize=(0.6 + 1.6 * count, 4.4), layout="constrained")
    grid = figure.subplots(3, count, squeeze=False)
    for i in range(count):
        title, frame = "new", GREEN
        if a["is_kept"][i]:
            title, frame = "kept", plot_style.INK
        above, middle, below = grid[:, i]
        _framed(above, a["images.after"][i], frame)
        _framed(middle, a["images.before"][i], frame)
        _framed(below, a["examples"][i], plot_style.MUTED)
        above.set_title(title, loc="center", fontsize=8)
        text = _rule_text(a["heads"][i], classes, int(a["units"][i]))
        below.set_xlabel(text, fontsize=6.5)
    for axes, text in zip(grid[:, 0], ("after", "before", "image"), strict=True):
        axes.set_ylabel(text, fontsize=8)
    return figure


# --------------------------------------------------------------------------------------------- axes


def _framed(axes: Axes, image: Array, colour: str) -> None:
    """An image of bytes (c, h, w) in a frame."""
    _show(axes, image / 255)
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.6)


def _show(axes: Axes, image: Array) -> None:
    """An image (c, h, w) in [0, 1]."""
    if len(image) == 1:
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        colours = np.clip(image.transpose(1, 2, 0), 0, 1)
        axes.imshow(colours, interpolation="nearest")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def _finish(axes: Axes) -> None:
    axes.grid(axis="y", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
