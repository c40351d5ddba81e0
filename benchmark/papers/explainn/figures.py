"""The paper's pictures: planted rules found (Fig. 2 top), interventions (Fig. 2 bottom), rules on filters (Figs. 3, 10, 11),
the flow of a class through the layers (Fig. 5), prototypes of tails beside those of single units (Fig. 14), rules that classes
share or have alone (Figs. 4, 13 and 15), and what fine-tuning changed (App. B.3, Fig. 17)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.store import setting_pairs
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
RULES = 60  # bars of a picture, at most
PHOTOGRAPHS = ("asirra", "cub")  # not ours to pass on


def pictures(found: Found) -> Iterator[Picture]:
    """Every picture that the profile's experiments allow."""
    rows = found.rows
    rows = rows[(rows["track"] == "replication") & (rows["paper"] == "explainn")]
    synthetic = _synthetic(rows)
    if len(synthetic):
        yield Picture(
            "fig2-planted-rules",
            "Planted rules that were found (Fig. 2 top)",
            "Left: mutually exclusive heads, by the number of planted rules. Right: heads whose items occur together, by the share "
            "of flipped cells; with the items also alone where that was run. Exact: head and tail are those of a planted rule. "
            "Soft: best product of the Jaccard indices of heads and tails. Boxes: data sets with their own seeds.",
            _planted(synthetic),
        )
    for unit in found.units:
        name = f"{unit.dataset}-{unit.target}"
        if unit.seed:
            continue  # one network of each kind is drawn
        if unit.experiment == "intervention":
            yield Picture(
                f"fig2-intervention-{name}",
                f"A class without its rules' weights: {unit.dataset} (Fig. 2 bottom)",
                "Test accuracy of each class before (yellow) and after (blue) the weights from its rules' units to its logit are "
                "zeroed, and the 90 % quantile of 100 times as many random ones (red).",
                _intervention(unit),
            )
        if unit.experiment == "rules":
            for layer in sorted(
                k.removesuffix(".rule") for k in unit.arrays if k.endswith(".rule")
            ):
                yield Picture(
                    f"fig3-filters-{name}-{layer}",
                    f"Rules on the filters of {layer}: {unit.dataset} (Figs. 3, 10, 11)",
                    "Grey: mean activation of a filter over the images of a class. Coloured: its pixels in the tails of rules with "
                    "that class in the head; pixels of one colour belong to one rule, which several classes may share (nine a "
                    "filter, those with most; pale: pixels of other rules). r: correlation of the filter with brightness; below 0 it answers to background.",
                    _filters(unit, layer),
                    raster=True,
                )
        if unit.experiment == "flow" and "nodes" in unit.arrays:
            yield Picture(
                f"fig5-flow-{name}",
                f"How a class is put together: {unit.dataset} (Fig. 5)",
                "Rules chained from a class towards the input: the units of a tail are the head of the next rule. Each picture is "
                "the prototype of a whole tail; n: its units, k: how many must be active.",
                _flow(unit),
                raster=True,
            )
        if unit.experiment == "prototypes":
            yield Picture(
                f"fig14-prototypes-{name}",
                f"A rule's whole tail and its single units: {unit.dataset} (Fig. 14)",
                "The image that activates all units of a tail most (left), and those of its units one by one. Below: the mean "
                "activation of the whole tail, 1 = as in the images in which its units are ON.",
                _prototypes(unit),
                raster=True,
            )
        if unit.experiment == "traits":
            yield from _traits(unit, name)
        if unit.experiment == "fine_tuning" and "kept" in unit.arrays:
            yield from _fine_tuning(unit, name)


# --------------------------------------------------------------------------------------------- planted rules


def _synthetic(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of planted rules with the columns kind, noise, m."""
    rows = rows[rows["dataset"].str.startswith("synthetic") & rows["metric"].isin(list(MEASURES))]
    pairs = [setting_pairs(text) for text in rows["setting"]]
    keep = np.array([p.get("encoding") is None for p in pairs], bool)
    rows, pairs = rows[keep], [p for p, k in zip(pairs, keep, strict=True) if k]
    kind = [
        "exclusive" if "exclusive" in t else "also alone" if "alone" in t else "together"
        for t in rows["target"]
    ]
    return rows.assign(kind=kind, noise=[float(p["noise"]) for p in pairs], m=rows["n"].astype(int))


@mpl.rc_context(plot_style.STYLE)
def _planted(rows: pd.DataFrame) -> Figure:
    panels = [
        ("exclusive", "m", "planted rules"),
        ("together", "noise", "flipped cells"),
        ("also alone", "noise", "flipped cells"),
    ]
    panels = [p for p in panels if (rows["kind"] == p[0]).any()]
    figure = Figure(figsize=(1.0 + 3.2 * len(panels), 2.9), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    titles = {
        "exclusive": "mutually exclusive heads",
        "together": "co-occurring heads",
        "also alone": "co-occurring, also alone",
    }
    for axes, (kind, column, label) in zip(grid, panels, strict=True):
        mine = rows[rows["kind"] == kind]
        values = sorted(mine[column].unique())
        for i, (metric, (colour, _)) in enumerate(MEASURES.items()):
            boxes = [
                mine[(mine["metric"] == metric) & (mine[column] == v)]["value"].to_numpy()
                for v in values
            ]
            places = np.arange(len(values)) + 0.19 * (i - 1.5)
            axes.boxplot(
                boxes,
                positions=places,
                widths=0.15,
                patch_artist=True,
                manage_ticks=False,
                boxprops={"facecolor": colour, "edgecolor": plot_style.INK, "linewidth": 0.5},
                medianprops={"color": plot_style.INK, "linewidth": 1.2},
                whiskerprops={"color": plot_style.INK, "linewidth": 0.6},
                capprops={"color": plot_style.INK, "linewidth": 0.6},
                flierprops={"marker": ".", "markersize": 3, "markeredgecolor": plot_style.MUTED},
            )
        axes.set_xticks(
            range(len(values)), [f"{v:g}" if column == "m" else f"{v:.1%}" for v in values]
        )
        axes.set_xlabel(label)
        axes.set_title(titles[kind], loc="left")
        axes.set_ylim(0, 1.03)
        _finish(axes, "y")
    handles = [
        Patch(facecolor=c, edgecolor=plot_style.INK, linewidth=0.5, label=text)
        for c, text in MEASURES.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return figure


# --------------------------------------------------------------------------------------------- interventions


@mpl.rc_context(plot_style.STYLE)
def _intervention(unit: FoundUnit) -> Figure:
    a = unit.arrays
    judged = np.flatnonzero(~np.isnan(a["after"]))
    order = judged[np.argsort(a["after"][judged], kind="stable")][:RULES]
    figure = Figure(
        figsize=(max(4.0, 1.2 + 0.16 * len(order) + 0.2 * (len(order) < 20) * len(order)), 3.0),
        layout="constrained",
    )
    axes = figure.add_subplot()
    x = np.arange(len(order))
    axes.bar(x, a["before"][order], 0.8, color="#ecd06f", label="before")
    axes.bar(x, a["after"][order], 0.8, color=BLUE, label="after")
    axes.hlines(
        a["q90"][order], x - 0.42, x + 0.42, color=RED, linewidth=1.6, label="random, 90 % quantile"
    )
    labels = [str(c).replace("_", " ")[:26] for c in a["classes"][order]]
    upright = len(order) > 12 or max(map(len, labels)) > 6
    axes.set_xticks(x, labels, rotation=90 if upright else 0, fontsize=6.5 if upright else 8)
    axes.set_ylabel("accuracy of the class")
    axes.set_ylim(0, 1.02)
    axes.set_xlim(-0.6, len(order) - 0.4)
    _finish(axes, "y")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


# --------------------------------------------------------------------------------------------- rules on filters


@mpl.rc_context(plot_style.STYLE)
def _filters(unit: FoundUnit, layer: str) -> Figure:
    mean, rule = unit.arrays[f"{layer}.mean"], unit.arrays[f"{layer}.rule"]  # (F, C, u, v)
    number, light = unit.arrays[f"{layer}.filter"], unit.arrays[f"{layer}.light"]
    F, C = min(len(mean), 3), min(mean.shape[1], 10)
    figure = Figure(figsize=(0.5 + 0.95 * C, 1.15 * F + 0.2), layout="constrained")
    grid = figure.subplots(F, C, squeeze=False)
    for f in range(F):
        shades = mean[f] / max(float(mean[f].max()), 1e-9)
        shared = [r for r in np.unique(rule[f]) if r >= 0]
        order = sorted(
            shared, key=lambda r: (-int((rule[f] == r).sum()), int(r))
        )  # by pixels, over all classes
        colour = {r: to_rgb(c) for r, c in zip(order, COLOURS, strict=False)}
        for c in range(C):
            image = np.repeat(1 - 0.75 * shades[c][..., None], 3, axis=2)
            for r in shared:
                here = rule[f, c] == r
                image[here] = 0.25 * image[here] + 0.75 * np.array(colour.get(r, OTHER))
            axes = grid[f, c]
            axes.imshow(image, interpolation="nearest")
            _bare(axes)
            if f == 0:
                axes.set_title(str(unit.arrays["classes"][c])[:14], loc="center")
        grid[f, 0].set_ylabel(f"filter {number[f]}\nr = {light[f]:.2f}", fontsize=7.5)
    return figure


# --------------------------------------------------------------------------------------------- flow and prototypes


@mpl.rc_context(plot_style.STYLE)
def _flow(unit: FoundUnit) -> Figure:
    nodes = json.loads(str(unit.arrays["nodes"]))
    images, classes = unit.arrays["prototypes"], unit.arrays["classes"]
    levels = max(n["level"] for n in nodes)
    leaves = [i for i, n in enumerate(nodes) if not any(m["parent"] == i for m in nodes)]
    y: dict[int, float] = {i: float(k) for k, i in enumerate(leaves)}
    for i in reversed(range(len(nodes))):  # a parent stands in the middle of its children
        if i not in y:
            y[i] = float(np.mean([y[k] for k, m in enumerate(nodes) if m["parent"] == i]))
    height = len(leaves)
    figure = Figure(figsize=(1.6 + 1.9 * levels, 0.5 + 0.95 * height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.75, levels + 0.55)
    axes.set_ylim(height - 0.35, -0.85)
    axes.axis("off")
    root = float(np.mean([y[i] for i, n in enumerate(nodes) if n["parent"] < 0]))
    for i, node in enumerate(nodes):
        start = (0.0, root) if node["parent"] < 0 else (node["level"] - 1 + 0.3, y[node["parent"]])
        axes.annotate(
            "",
            (node["level"] - 0.3, y[i]),
            start,
            zorder=0,
            arrowprops={
                "arrowstyle": "-",
                "color": plot_style.MUTED,
                "linewidth": 1.0,
                "connectionstyle": "arc3,rad=0",
            },
        )
    axes.text(-0.05, root, f"class\n{unit.arrays['class']!s}", ha="right", va="center", fontsize=10)
    for level in range(1, levels + 1):
        axes.text(
            level,
            -0.65,
            next(n["layer"] for n in nodes if n["level"] == level),
            ha="center",
            va="center",
            color=plot_style.MUTED,
        )
    fig_w, fig_h = figure.get_size_inches()
    x_unit, y_unit = 1 / (levels + 1.3), 1 / (height + 0.5)
    side = 0.62 * min(fig_w * x_unit, fig_h * y_unit)
    for i, node in enumerate(nodes):
        x0, y0 = (node["level"] + 0.75) * x_unit, 1 - (y[i] + 0.85) * y_unit
        inner = figure.add_axes(
            (x0 - side / fig_w / 2, y0 - side / fig_h / 2, side / fig_w, side / fig_h)
        )
        _show(inner, images[i])
        others = [
            str(classes[c]) for c in node["head"] if str(classes[c]) != str(unit.arrays["class"])
        ]
        text = f"n={node['units']}, k={node['k']}" + (
            f"\nalso {', '.join(others)}"[:28] if others else ""
        )
        inner.set_xlabel(text, fontsize=6, labelpad=1.5)
    return figure


@mpl.rc_context(plot_style.STYLE)
def _prototypes(unit: FoundUnit) -> Figure:
    count = int(unit.arrays["count"])
    columns = max(len(unit.arrays[f"images{i}"]) for i in range(count))
    figure = Figure(figsize=(1.3 + 1.15 * columns, 1.42 * count + 0.1), layout="constrained")
    grid = figure.subplots(count, columns, squeeze=False)
    for i in range(count):
        classes = [str(unit.arrays["classes"][c]) for c in unit.arrays[f"head{i}"]]
        for j in range(columns):
            axes = grid[i, j]
            if j >= len(unit.arrays[f"images{i}"]):
                axes.set_visible(False)
                continue
            _show(axes, unit.arrays[f"images{i}"][j])
            axes.set_title(
                "whole tail" if j == 0 else f"unit {unit.arrays[f'units{i}'][j - 1]}",
                loc="center",
                fontsize=8,
            )
            axes.set_xlabel(f"{unit.arrays[f'reached{i}'][j]:.1f}", fontsize=8)
        names = ", ".join(classes[:4]) + (" …" if len(classes) > 4 else "")
        grid[i, 0].set_ylabel(names[:26], fontsize=7.5)
    return figure


# --------------------------------------------------------------------------------------------- shared, own, and before tuning


def _traits(unit: FoundUnit, name: str) -> Iterator[Picture]:
    a, photo = unit.arrays, unit.dataset in PHOTOGRAPHS
    yield Picture(
        f"fig13-kinds-{name}",
        f"Heads and tails by kind: {unit.dataset} (Fig. 13)",
        "A column is a rule from the classes to the last hidden layer: its classes (orange where several share it, blue where one "
        "has it alone), and above, how many units its tail has.",
        _heads(a["heads"], a["tails"], _names(a)),
    )
    if "pair" in a:
        c, d = (_names(a)[k] for k in a["pair"])
        yield Picture(
            f"fig4-shared-{name}",
            f"What {c} and {d} share, and what each has alone: {unit.dataset} (Fig. 4)",
            "Left: two images of each class. Then prototypes of the tails of three rules: with the first class and not the second, "
            "with both, with the second and not the first; below, the classes of the rule's head and the units of its tail.",
            _pair(a),
            raster=True,
            photo=photo,
        )
    if "within" in a:
        yield Picture(
            f"fig15-within-{name}",
            f"The different rules of {_names(a)[int(a['within'])]}: {unit.dataset} (Fig. 15)",
            "Left: the prototype of the class's logit. Right: rules with the class in the head, the prototype of each tail and above it "
            "the image of the class that has most of this tail's units ON and least of the others'.",
            _within(a),
            raster=True,
            photo=photo,
        )


def _names(a: Mapping[str, np.ndarray]) -> list[str]:
    return [str(c).replace("_", " ") for c in a["classes"]]


def _of(head: np.ndarray, names: list[str], units: int, first: tuple[int, ...] = ()) -> str:
    """Three classes of a head, ``first`` of them before the others, how many more, and the tail's size: in lines."""
    order = [k for k in first if head[k]] + [k for k in np.flatnonzero(head) if k not in first]
    words = [_short(names[k]) for k in order[:3]] + [f"+ {len(order) - 3}"] * (len(order) > 3)
    lines = [", ".join(words)] if sum(map(len, words)) < 20 else words
    return "\n".join([*lines, f"{units} unit{'s' * (units > 1)}"])


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"


@mpl.rc_context(plot_style.STYLE)
def _heads(heads: np.ndarray, tails: np.ndarray, names: list[str]) -> Figure:
    order = np.lexsort((heads.argmax(1), heads.sum(1)))[:RULES]  # own rules first
    all_rules, heads, tails = len(heads), heads[order], tails[order]
    used = np.flatnonzero(heads.any(0))
    figure = Figure(
        figsize=(max(3.5, 1.8 + 0.13 * len(order)), 1.2 + 0.15 * len(used)), layout="constrained"
    )
    above, below = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": [1, 0.22 * len(used)]}
    )
    colours = np.where(heads.sum(1, keepdims=True) > 1, to_rgb(ORANGE), to_rgb(BLUE))  # (rules, 3)
    above.bar(np.arange(len(order)), tails, 0.8, color=colours)
    above.set_ylabel("units")
    below.imshow(
        np.where(heads.T[used][..., None], colours, 1.0), aspect="auto", interpolation="nearest"
    )
    below.set_yticks(range(len(used)), [_short(names[k]) for k in used], fontsize=6.5)
    below.set_xlabel(
        "rules"
        if all_rules == len(order)
        else f"{len(order)} of {all_rules} rules, those of fewest classes"
    )
    below.set_xticks([])
    _finish(above, "y")
    below.tick_params(length=0)
    handles = [
        Patch(color=BLUE, label="one class's own"),
        Patch(color=ORANGE, label="shared by several"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=8)
    return figure


@mpl.rc_context(plot_style.STYLE)
def _pair(a: Mapping[str, np.ndarray]) -> Figure:
    c, d = map(int, a["pair"])
    names, shots = _names(a), list(a["pair.examples"])
    figure = Figure(figsize=(8.4, 3.1), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.25, 3])
    for axes, image, frame, k in zip(
        left.subplots(2, 2).flat, shots, (YELLOW, YELLOW, RED, RED), (c, c, d, d), strict=False
    ):
        _framed(axes, image, frame)
        axes.set_xlabel(_short(names[k]), fontsize=5.5, labelpad=1.5)
    one, other = _short(names[c]), _short(names[d])
    titles = f"{one},\nnot {other}", f"{one}\nand {other}", f"{other},\nnot {one}"
    for i, (axes, title, frame) in enumerate(
        zip(right.subplots(1, 3), titles, (YELLOW, ORANGE, RED), strict=True)
    ):
        _framed(axes, a["pair.images"][i], frame)
        axes.set_title(title, loc="center", fontsize=8)
        axes.set_xlabel(
            _of(a["pair.heads"][i], names, int(a["pair.units"][i]), (c, d)), fontsize=6.5
        )
    return figure


@mpl.rc_context(plot_style.STYLE)
def _within(a: Mapping[str, np.ndarray]) -> Figure:
    names, count, c = _names(a), len(a["within.images"]), int(a["within"])
    figure = Figure(figsize=(2.2 + 1.5 * count, 3.8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.4, count])
    one = left.subplots()
    _framed(one, a["within.class"][0], plot_style.MUTED)
    one.set_title(_short(names[c]), loc="center", fontsize=8)
    grid = right.subplots(2, count, squeeze=False)
    for i in range(count):
        _framed(grid[0, i], a["within.examples"][i], plot_style.MUTED)
        _framed(grid[1, i], a["within.images"][i], BLUE)
        grid[1, i].set_xlabel(
            _of(a["within.heads"][i], names, int(a["within.units"][i]), (c,)), fontsize=6.5
        )
    grid[0, 0].set_ylabel("image", fontsize=8)
    grid[1, 0].set_ylabel("rule", fontsize=8)
    return figure


def _fine_tuning(unit: FoundUnit, name: str) -> Iterator[Picture]:
    a = unit.arrays
    yield Picture(
        f"b3-rules-{name}",
        f"Rules kept, new and lost by fine-tuning: {unit.dataset} (App. B.3)",
        "For each class the rules with it in the head, from the classes to the last hidden layer: those of the fine-tuned network that "
        "the network before had too (heads and tails overlap by half or more), those that are new, and, downwards, those that went.",
        _changed(a),
    )
    if "examples" in a:
        yield Picture(
            f"fig17-before-after-{name}",
            f"The same units after and before fine-tuning: {unit.dataset} (Fig. 17)",
            "For rules of the fine-tuned network: the prototype of the tail in it, the prototype of the same units in the network before, "
            "and an image of a class in the rule's head.",
            _before_after(a),
            raster=True,
            photo=unit.dataset in PHOTOGRAPHS,
        )


@mpl.rc_context(plot_style.STYLE)
def _changed(a: Mapping[str, np.ndarray]) -> Figure:
    names, total = _names(a), a["kept"] + a["new"] + a["lost"]
    order = [c for c in np.lexsort((-a["kept"], -a["kept"] - a["new"])) if total[c]][:RULES]
    figure = Figure(figsize=(max(4.0, 1.2 + 0.16 * len(order)), 3.2), layout="constrained")
    axes, x = figure.add_subplot(), np.arange(len(order))
    axes.bar(x, a["kept"][order], 0.8, color=plot_style.MUTED, label="kept")
    axes.bar(x, a["new"][order], 0.8, bottom=a["kept"][order], color=GREEN, label="new")
    axes.bar(x, -a["lost"][order], 0.8, color=RED, label="lost")
    axes.axhline(0, color=plot_style.INK, linewidth=0.8)
    upright = len(order) > 12
    axes.set_xticks(
        x,
        [_short(names[c]) for c in order],
        rotation=90 if upright else 0,
        fontsize=6.5 if upright else 8,
    )
    axes.set_ylabel("rules with the class")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(lambda y, _: f"{abs(y):.0f}")
    axes.set_xlim(-0.6, len(order) - 0.4)
    _finish(axes, "y")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    return figure


@mpl.rc_context(plot_style.STYLE)
def _before_after(a: Mapping[str, np.ndarray]) -> Figure:
    names, count = _names(a), len(a["examples"])
    figure = Figure(figsize=(0.6 + 1.6 * count, 4.4), layout="constrained")
    grid = figure.subplots(3, count, squeeze=False)
    for i in range(count):
        kept = bool(a["is_kept"][i])
        for row, key in enumerate(("images.after", "images.before", "examples")):
            _framed(
                grid[row, i],
                a[key][i],
                plot_style.MUTED if row == 2 else plot_style.INK if kept else GREEN,
            )
        grid[0, i].set_title("kept" if kept else "new", loc="center", fontsize=8)
        grid[2, i].set_xlabel(_of(a["heads"][i], names, int(a["units"][i])), fontsize=6.5)
    for axes, text in zip(grid[:, 0], ("after", "before", "image"), strict=True):
        axes.set_ylabel(text, fontsize=8)
    return figure


def _framed(axes: Axes, image: np.ndarray, colour: str) -> None:
    """An image of bytes (c, h, w) in a frame."""
    _show(axes, image / 255)
    for spine in axes.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.6)


def _show(axes: Axes, image: np.ndarray) -> None:
    """An image (c, h, w) in [0, 1]."""
    if len(image) == 1:
        axes.imshow(image[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(np.clip(image.transpose(1, 2, 0), 0, 1), interpolation="nearest")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


def _finish(axes: Axes, grid: str) -> None:
    axes.grid(axis=grid, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
