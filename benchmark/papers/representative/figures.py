"""Pictures of the paper's experiments: Table 1, Figs. 2, 4, 5, 6 and 8."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.api import Array
from benchmark.papers import Found, FoundUnit, Picture
from benchmark.utils.plot_style import (
    INK,
    MUTED,
    PALETTE,
    STYLE,
    file_name,
    plain,
)

COLOURS = {
    "RI": PALETTE[0],
    "RI (reference)": PALETTE[9],
    "Grad-CAM": PALETTE[1],
    "Grad-CAM++": PALETTE[2],
    "Score-CAM": PALETTE[4],
    "ACE": PALETTE[3],
    "Random map": MUTED,
}
MARKS = {
    "RI": "o",
    "RI (reference)": "s",
    "Grad-CAM": "^",
    "Grad-CAM++": "v",
    "Score-CAM": "D",
    "ACE": "P",
    "Random map": "x",
}
NAMES = {"boundary": "RI", "reference": "RI (reference)"}
PHOTOGRAPHS = ("asirra", "cub")  # may not be passed on


def pictures(found: Found) -> Iterator[Picture]:
    """One of each kind for every network; seeds are drawn together, and the case study of the first."""
    groups: dict[tuple[str, str, str], list[FoundUnit]] = {}
    for unit in found.units:
        groups.setdefault((unit.experiment, unit.dataset, unit.target), []).append(unit)
    for (experiment, dataset, target), units in sorted(groups.items()):
        name, where = file_name(dataset, target), f"{dataset}, {target}"
        if experiment == "unseen":
            yield Picture(
                f"table1-{name}", f"Unseen images ({where})", _TABLE_1, table_1(units)
            )
            with_ri = [unit for unit in units if len(unit.arrays["ways"])]
            if with_ri:
                yield Picture(
                    f"fig5-6-{name}",
                    f"Size of the sample Q ({where})",
                    _FIG_5,
                    sweep(with_ri),
                )
        elif experiment == "similar":
            yield Picture(
                f"fig4-{name}",
                f"Similar reference images ({where})",
                _FIG_4,
                curves(units),
            )
            text = f"{_FIG_2} Class: {units[0].arrays['case_class']}."
            yield Picture(
                f"fig2-{name}",
                f"A case study ({where})",
                text,
                case_study(units[0]),
                raster=True,
                photo=dataset in PHOTOGRAPHS,
            )
            yield Picture(
                f"fig8-{name}",
                f"Representative interpretations ({where})",
                _FIG_8,
                gallery(units[0]),
                raster=True,
                photo=dataset in PHOTOGRAPHS,
            )


_TABLE_1 = (
    "Average drop (left, lower is better) and average increase (right, higher is better) of the class score when "
    "only the top 20 % of an unseen image are kept, by interpretations of reference images. One dot per run and "
    "seed; bars are means. An image that ACE has no concept for is left out of its numbers."
)
_FIG_5 = (
    "How often regions agree with the true class (ACU-GT) and with the network (ACU-MD) on the images they cover, "
    "and how many they cover (CVR), against the number of sampled boundaries. Mean over runs and seeds, the whole "
    "range shaded."
)
_FIG_4 = (
    "Average drop (left) and increase (right) over the K reference images most similar to the one that is "
    "interpreted, itself the first. Mean over inputs and seeds."
)
_FIG_2 = (
    "Rows 1 and 3: an input (left) and its most similar reference images, by region (RI) and by Euclidean "
    "distance. The other rows: each method's heat map with the input's interpretation reused. Numbers: class "
    "score of the image, or of its top 20 %; none where ACE has no concept for an image."
)
_FIG_8 = (
    "Two inputs of each class (left) with the four reference images that are most similar to each by its region, and "
    "the region's heat map on all of them: one set of channel weights serves a row."
)


@mpl.rc_context(STYLE)
def table_1(units: Sequence[FoundUnit]) -> Figure:
    """A panel for mAD and one for mAI; dots are runs, bars means."""
    values: dict[str, list[Array]] = {}
    for unit in units:
        for name, runs in zip(
            unit.arrays["methods"], unit.arrays["drops"], strict=True
        ):  # runs (r, 2)
            explained = runs[~np.isnan(runs[:, 0])]
            values.setdefault(str(name), []).extend(explained)
    values = {name: runs for name, runs in values.items() if runs}
    names = sorted(
        values, key=lambda name: np.mean([v[0] for v in values[name]]), reverse=True
    )
    figure = Figure(figsize=(7.2, 0.9 + 0.3 * len(names)), layout="constrained")
    for j, (axes, title) in enumerate(
        zip(figure.subplots(1, 2, sharey=True), ("mAD (%)", "mAI (%)"))
    ):
        for y, name in enumerate(names):
            points = np.array(values[name])[:, j]
            axes.barh(
                y,
                points.mean(),
                0.55,
                color=COLOURS.get(name, INK),
                alpha=0.35,
                linewidth=0,
            )
            axes.plot(
                points,
                np.full(len(points), y),
                MARKS.get(name, "o"),
                ms=4,
                color=COLOURS.get(name, INK),
            )
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel(title)
        _plain(axes)
        axes.grid(axis="x")
    return figure


@mpl.rc_context(STYLE)
def sweep(units: Sequence[FoundUnit]) -> Figure:
    """Figs. 5 and 6 with the coverage: rows reference and unseen images, columns ACU-GT, ACU-MD, CVR."""
    ways, sizes = [str(w) for w in units[0].arrays["ways"]], units[0].arrays["sizes"]
    rates = np.concatenate(
        [unit.arrays["rates"] for unit in units]
    )  # (runs, ways, 2, sizes, 3)
    figure = Figure(figsize=(7.2, 3.9), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for i, where in enumerate(("reference", "unseen")):
        for j, rate in enumerate(("ACU-GT", "ACU-MD", "CVR")):
            axes = panels[i, j]
            for w, way in enumerate(ways):
                line, name = rates[:, w, i, :, j], NAMES[way]  # (runs, sizes)
                axes.fill_between(
                    sizes,
                    line.min(0),
                    line.max(0),
                    color=COLOURS[name],
                    alpha=0.2,
                    linewidth=0,
                )
                axes.plot(
                    sizes,
                    line.mean(0),
                    MARKS[name] + "-",
                    ms=3.5,
                    lw=1.2,
                    color=COLOURS[name],
                    label=name,
                )
            axes.set_title(f"{rate}, {where}")
            axes.grid(True)
            _plain(axes)
    for axes in panels[1]:
        axes.set_xlabel("|Q|")
    for axes in panels[:, 0]:
        axes.set_ylabel("%")
    panels[0, 0].legend(loc="lower right", fontsize=8)
    return figure


@mpl.rc_context(STYLE)
def curves(units: Sequence[FoundUnit]) -> Figure:
    """Fig. 4: mAD and mAI over the first K similar images, for every K."""
    names = [str(name) for name in units[0].arrays["methods"]]
    each = np.mean(
        [unit.arrays["curves"] for unit in units], axis=0
    )  # (methods, top, 2): means over the first K
    K = np.arange(1, each.shape[1] + 1)
    figure = Figure(figsize=(7.2, 2.9), layout="constrained")
    for j, (axes, title) in enumerate(
        zip(figure.subplots(1, 2), ("mAD (%)", "mAI (%)"))
    ):
        for name, line in zip(names, each[:, :, j]):
            marks = np.unique(np.geomspace(1, len(K), 7).astype(int)) - 1
            axes.plot(
                K,
                line,
                MARKS.get(name, "o") + "-",
                ms=4,
                lw=1.2,
                color=COLOURS.get(name, INK),
                label=name,
                markevery=list(marks),
            )
        axes.set_xscale("log")
        axes.set_xticks(
            [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= len(K)],
            minor=False,
        )
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_xlabel("K similar images")
        axes.set_ylabel(title)
        axes.grid(True)
        _plain(axes)
    axes.legend(fontsize=7.5, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@mpl.rc_context(STYLE)
def case_study(unit: FoundUnit) -> Figure:
    """Fig. 2: images and maps in a grid; by region first, by distance below."""
    names = [str(name) for name in unit.arrays["methods"]]
    images, maps, whole, kept = (
        unit.arrays[key] for key in ("images", "maps", "whole", "kept")
    )
    rows: list[
        tuple[str, int, bool]
    ] = []  # label, method, whether the images themselves
    for m, name in enumerate(names):
        if m in (0, 1):
            rows.append(("by region" if m == 0 else "by distance", m, True))
        rows.append((name, m, False))
    columns = images.shape[1]
    figure = Figure(
        figsize=(1.15 * columns + 0.6, 1.3 * len(rows)), layout="constrained"
    )
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, (label, m, itself) in zip(grid, rows):
        for k, axes in enumerate(axes_row):
            score = (whole if itself else kept)[m, k]
            missing = np.isnan(score)
            _draw(axes, images[m, k], None if itself or missing else maps[m, k])
            words = "none" if missing else f"{score:.2f}"
            axes.set_xlabel(words, fontsize=8, labelpad=1)
        axes_row[0].set_ylabel(label, fontsize=8)
    return figure


@mpl.rc_context(STYLE)
def gallery(unit: FoundUnit) -> Figure:
    """Fig. 8: a row for each input, pairs of an image and its map."""
    classes = unit.arrays["gallery_classes"]
    images = unit.arrays["gallery_images"]
    maps = unit.arrays["gallery_maps"]
    rows, columns = images.shape[:2]
    figure = Figure(figsize=(1.7 * columns + 0.6, rows), layout="constrained")
    grid = figure.subplots(rows, 2 * columns, squeeze=False)
    for r, axes_row in enumerate(grid):
        for k in range(columns):
            image, heatmap = images[r, k], maps[r, k]
            _draw(axes_row[2 * k], image)
            _draw(axes_row[2 * k + 1], image, heatmap)
        axes_row[0].set_ylabel(plain(str(classes[r])), fontsize=8)
    return figure


def _draw(axes: Axes, image: Array, heatmap: Array | None = None) -> None:
    """An image (c, h, w) uint8, under its map (h, w)."""
    picture = image.transpose(1, 2, 0)
    grey = picture.shape[2] != 3
    axes.imshow(picture[..., 0] if grey else picture, cmap="gray", vmin=0, vmax=255)
    if heatmap is not None:
        axes.imshow(_scaled(heatmap), cmap="inferno", alpha=0.6)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _scaled(a: Array) -> Array:
    a = a.astype(np.float32)
    span = max(float(np.ptp(a)), 1e-12)
    return (a - a.min()) / span


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
