"""The paper's pictures: the log penalty (Fig. 2), x-features and what they add (Figs. 8, 10), parts (Fig. 7),
degeneration (Fig. .12), and its tables.

``a`` are the arrays of a unit, as ``replicate`` returns them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.papers.xnn.verdicts import by_depth
from benchmark.utils import plot_style

Array = np.ndarray
Arrays = Mapping[str, Array]

METHODS = (
    "SRAE",
    "SRAE without restarts",
    "NN",
    "SAE",
    "CAE",
    "Lasso",
    "1-Heatmap",
    "Z",
)
PANELS = (
    ("F_reg_test", "F_reg on test images (logits)"),
    ("O1", "O1"),
    ("silent_share", "share of silent x-features or units"),
    ("mean_correlation", "correlation of live maps"),
    ("locality", "locality (nats)"),
    ("class_part_share", "share on class-defining parts"),
)
PHOTOS = ("cub", "asirra")
TICKS = [
    float(f"{digit}e{exponent}") for exponent in range(-4, 4) for digit in (1, 2, 5)
]


def pictures(found: Found) -> Iterator[Picture]:
    """Every picture that the profile's experiments allow."""
    rows = found.rows[(found.rows.paper == "xnn") & (found.rows.track == "replication")]
    with mpl.rc_context(plot_style.STYLE):
        for (dataset, target), group in rows.groupby(["dataset", "target"]):
            slug = plot_style.file_name(dataset, target)
            yield from _tables(group, f"{dataset}, {target}", slug)
        if any(unit.experiment == "table1" for unit in found.units):
            yield Picture(
                "fig2-log-penalty",
                "The log penalty (Fig. 2b, c)",
                "log(1 + q r^2) for an error r of one dimension of Z: the larger q, the sooner it is given up. 1 and "
                "10 are the paper's, 100 is the authors' code's.",
                _penalty(),
            )
        for unit in _first_seeds(found.units):
            slug = plot_style.file_name(unit.dataset, unit.target)
            yield from _of_unit(unit, f"{unit.dataset}, {unit.target}", slug)


def _tables(rows: pd.DataFrame, where: str, slug: str) -> Iterator[Picture]:
    """Tables 1, 3 and .4 as plots, for one network."""
    if (rows.metric == "O1").any():
        yield Picture(
            f"table1-{slug}",
            f"Table 1 on {where}",
            "Mean over classes, one dot per seed of the network; lower is better except for the last. Every x-feature "
            "has a map on every image, also where it is silent (0).",
            _table1(rows),
        )
    lasso = _lasso_rows(rows)
    if lasso is not None:
        yield Picture(
            f"table4-{slug}",
            f"Table .4 on {where}: the Lasso needs many units",
            "F_reg on test images against the mean number of selected units of Z, seeds as lines; the square is SRAE "
            "with 5 x-features.",
            _lasso(lasso, rows),
        )
    if rows.setting.str.fullmatch("x-features=.*").any():
        yield Picture(
            f"counts-{slug}",
            f"How many x-features, {where} (Sec. 4.1)",
            "Left: mean F_reg over classes on test images, with its 95 % interval, first seed. Right: x-features with "
            "weight in v_i E_i on images of the class; dashed: all of them.",
            _counts(rows),
        )
    if (rows.metric == "F_reg_validation").any():
        yield Picture(
            f"tuning-{slug}",
            f"The weights of reconstruction and pull-away, {where}",
            "Left: mean F_reg over classes on the fold that SRAE was not trained on, with its 95 % interval, for each "
            "beta and eta, first seed. Right: how alike its x-features are there.",
            _tuning(rows),
        )
    if rows.setting.str.fullmatch("layer=.*").any():
        yield Picture(
            f"table3-{slug}",
            f"Table 3 on {where}: faithfulness by layer",
            "Mean F_reg over classes of the convolutional XNN, and of the dense one at the last layer shown.",
            _layers(rows),
        )


def _of_unit(unit: FoundUnit, where: str, slug: str) -> Iterator[Picture]:
    """Figs. 7, 8, 10 and .12 of one unit, where it has their arrays."""
    a = unit.arrays
    if "shown_image" in a:
        yield from _classes(a, where, slug, unit.dataset in PHOTOS)
    if "conv_image" in a:
        yield Picture(
            f"fig10-{slug}",
            f"Convolutional x-features on {where} (Fig. 10)",
            "Three images of the class and three of others; x-features in the order of their mean contribution to the "
            "class, followed down to the pixels.",
            _convolutional(a),
            raster=True,
        )
    if "bars" in a:
        yield Picture(
            f"fig7-{slug}",
            f"Where x-features look, {where} (Fig. 7)",
            "Left: share of the map at the pixel of each part, the mean over images. Right: Voronoi histograms over "
            "the parts and the context. One row per x-feature; circles mark the parts that define the class.",
            _parts(a),
        )
    if "cosines_SRAE" in a:
        yield Picture(
            f"fig12-{slug}",
            f"Degeneration with three x-features, {where} (Fig. .12)",
            "Left: |cosine| of the activations of two x-features over the test images, all pairs and classes, sorted. "
            "Right: how many x-features speak for their class.",
            _degeneration(a),
        )


def _classes(a: Arrays, where: str, slug: str, photo: bool) -> Iterator[Picture]:
    """Fig. 8: an image of each of the first classes on the page, and a picture of each class beside it."""
    names = a["shown_name"]
    _, first = np.unique(names, return_index=True)
    first = np.sort(first)  # a row of each class, in the order of classes
    text = (
        "the 1-Heatmap, and the x-features in the order of their contribution v_i E_i, which is written above each. Of "
        "an x-feature that is silent on an image (0) the map shows what would excite it."
    )
    yield Picture(
        f"fig8-{slug}",
        f"x-features on {where} (Fig. 8)",
        f"A test image of each of {min(8, len(first))} classes, {text}",
        _rows(a, first[:8]),
        raster=True,
        photo=photo,
    )
    for c, row in enumerate(first):
        name = names[row]
        f_reg, o1 = a["class_F_reg_test"][0, c], a["class_O1"][0, c]
        figure = _rows(a, np.flatnonzero(names == name))
        title = plot_style.plain(f"{name}: F_reg {f_reg:.3g}, O1 {o1:.3g}")
        figure.suptitle(title, fontsize=8)
        yield Picture(
            f"class-{slug}-{c:03d}",
            str(name),
            f"Test images of the class, {text}",
            figure,
            raster=True,
            photo=photo,
            apart=True,
        )


def _rows(a: Arrays, rows: Array) -> Figure:
    """Fig. 8 for some of the images."""
    contributions = a["shown_contribution"][rows]
    return _grid(
        a["shown_image"][rows],
        a["shown_maps"][rows] / 255,
        contributions,
        np.argsort(-contributions, axis=1),
        a["shown_name"][rows],
        a["shown_heat"][rows] / 255,
        a["shown_logit"][rows],
    )


def _convolutional(a: Arrays) -> Figure:
    """Fig. 10: x-features in the order of their mean contribution on the images of the class, the first three."""
    images, contributions = a["conv_image"], a["conv_contribution"]
    mean = contributions[:3].mean(0)
    ranked = np.argsort(-mean)
    order = np.tile(ranked, (len(images), 1))
    c = int(a["conv_class"])
    names = [f"class {c}"] * 3 + ["another"] * 3
    return _grid(images, a["conv_maps"], contributions, order, names)


def _first_seeds(units: Sequence[FoundUnit]) -> Iterator[FoundUnit]:
    """The first unit of each experiment and network."""
    seen = set()
    for unit in units:
        key = (unit.experiment, unit.dataset, unit.target)
        if key not in seen:
            seen.add(key)
            yield unit


def _table1(rows: pd.DataFrame) -> Figure:
    other = rows.setting.str.contains("layer=|class=|x-features=")
    of_table4 = rows.setting.str.fullmatch("alpha=[^;]*")
    rows = rows[~other & ~of_table4]
    panels = [panel for panel in PANELS if (rows.metric == panel[0]).any()]
    figure = Figure((2.15 * len(panels) + 1.2, 2.5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (metric, label) in zip(axes, panels, strict=True):
        part = rows[rows.metric == metric]
        _dots(axis, part)
        if metric == "F_reg_test":
            _logarithmic(axis, "x", part.value)
        axis.set_xlabel(label)
        axis.grid(axis="x")
        _plain(axis)
    axes[0].set_yticks(range(len(METHODS)), METHODS)
    axes[0].set_ylim(len(METHODS) - 0.5, -0.5)
    return figure


def _dots(axis: Axes, rows: pd.DataFrame) -> None:
    """A row of dots, one per seed, and a bar at their mean for each method."""
    names = rows.method.map(lambda method: "Z" if method.startswith("Z (") else method)
    for method, values in rows.groupby(names).value:
        if method not in METHODS:
            continue
        y = METHODS.index(method)
        colour = plot_style.PALETTE[0 if method.startswith("SRAE") else 1]
        axis.plot(values, [y] * len(values), "o", ms=4, color=colour, alpha=0.8)
        axis.plot(values.mean(), y, "|", ms=12, color=plot_style.INK)


def _lasso_rows(rows: pd.DataFrame) -> pd.DataFrame | None:
    """Number of features and F_reg of the Lasso by seed and alpha; None where there are fewer than two."""
    at = rows[(rows.method == "Lasso") & rows.setting.str.fullmatch("alpha=[^;]*")]
    table = at.pivot_table(index=["seed", "setting"], columns="metric", values="value")
    table = table.reset_index()
    if "n_features" in table:
        table = table[
            table.n_features > 0
        ]  # none selected has no place on a logarithmic axis
    if not {"n_features", "F_reg_test"} <= set(table) or len(table) < 2:
        return None
    return table.dropna()


def _lasso(table: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    figure = Figure((4.2, 2.8), layout="constrained")
    axis = figure.subplots()
    blue, orange = plot_style.PALETTE[:2]
    for _, line in table.groupby("seed"):
        line = line.sort_values("n_features")
        axis.plot(line.n_features, line.F_reg_test, "o-", color=orange, ms=4, lw=1)
    axis.plot([], [], "o-", color=orange, ms=4, lw=1, label="Lasso")
    of_srae = (rows.method == "SRAE") & (rows.metric == "F_reg_test")
    srae = rows[of_srae & rows.setting.str.fullmatch("n=.*")]
    if len(srae):
        n = [float(setting.removeprefix("n=")) for setting in srae.setting]
        axis.plot(n, srae.value, "s", color=blue, ms=5, label="SRAE", ls="none")
    _logarithmic(axis, "x", [*table.n_features, 5])
    _logarithmic(axis, "y", [*table.F_reg_test, *srae.value])
    axis.set(xlabel="features", ylabel="F_reg on test images (logits)")
    axis.grid()
    axis.legend()
    _plain(axis)
    return figure


def _counts(rows: pd.DataFrame) -> Figure:
    """F_reg and the number of x-features with weight, over their number; first seed."""
    at = rows[
        rows.setting.str.fullmatch("x-features=.*") & (rows.seed == rows.seed.min())
    ]
    table = at.pivot_table(index="setting", columns="metric", values="value")
    n = np.array([int(text.removeprefix("x-features=")) for text in table.index])
    order = np.argsort(n)
    n, table = n[order], table.iloc[order]
    figure = Figure((6.2, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    half = table.get("F_reg_test_ci95", 0.0)
    left.errorbar(n, table.F_reg_test, half, fmt="o-", ms=4, lw=1, capsize=2)
    left.set(xlabel="x-features", ylabel="F_reg (logits)", ylim=(0, None))
    right.plot(n, table.n_weighted, "o-", ms=4, lw=1)
    right.plot(n, n, "--", color=plot_style.MUTED, lw=1)
    right.set(xlabel="x-features", ylabel="with weight", ylim=(0, None))
    for axis in (left, right):
        axis.grid()
        _plain(axis)
    return figure


def _tuning(rows: pd.DataFrame) -> Figure:
    """F_reg and the mean |cos| of x-features over beta, a line for each eta; first seed."""
    at = rows[
        rows.setting.str.fullmatch("beta=.*;eta=.*") & (rows.seed == rows.seed.min())
    ]
    pairs = at.setting.str.extract("beta=(?P<beta>.*);eta=(?P<eta>.*)").astype(float)
    table = at.join(pairs).pivot(
        index=["eta", "beta"], columns="metric", values="value"
    )
    figure = Figure((6.2, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for eta, part in table.groupby(level="eta"):
        beta = part.index.get_level_values("beta")
        half = part["F_reg_validation_ci95"]
        name = f"$\\eta$ = {eta:g}"
        left.errorbar(
            beta, part.F_reg_validation, half, fmt="o-", ms=4, lw=1, capsize=2
        )
        right.plot(beta, part.mean_cosine, "o-", ms=4, lw=1, label=name)
    left.set(xlabel="$\\beta$", ylabel="F_reg (logits)", ylim=(0, None))
    right.set(xlabel="$\\beta$", ylabel="mean |cos| of x-features", ylim=(0, 1))
    right.legend(frameon=False)
    for axis in (left, right):
        axis.grid()
        _plain(axis)
    return figure


def _layers(rows: pd.DataFrame) -> Figure:
    at = rows[rows.setting.str.fullmatch("layer=.*")]
    settings = []
    for method in ("conv SRAE", "SRAE"):
        names = set(at[at.method == method].setting)
        settings += sorted(names, key=by_depth)
    places = range(len(settings))
    figure = Figure((4.2, 2.8), layout="constrained")
    axis = figure.subplots()
    for split, mark, colour in (("train", "o--", 1), ("test", "s-", 0)):
        means = at[at.metric == f"F_reg_{split}"].groupby("setting").value.mean()
        values = [means[setting] for setting in settings]
        colour = plot_style.PALETTE[colour]
        axis.plot(places, values, mark, ms=4, lw=1, label=split, color=colour)
    axis.set_xticks(places, [setting.removeprefix("layer=") for setting in settings])
    axis.set(ylabel="F_reg (logits)", ylim=(0, None))
    axis.grid(axis="y")
    axis.legend()
    _plain(axis)
    return figure


def _grid(
    images: Array,
    maps: Array,
    contributions: Array,
    order: Array,
    names: Sequence[str],
    heats: Array | None = None,
    logits: Array | None = None,
) -> Figure:
    """A row per image: the image, the 1-Heatmap if there is one, and its x-features over a pale copy of the image.

    Args:
        images: (m, c, h, w) levels from 0 to 255; maps: (m, n, h, w) in [0, 1]; contributions: (m, n).
        order: (m, n) of the x-features; names: above the images; heats: (m, h, w) in [0, 1]; logits: (m,).
    """
    m, n = maps.shape[:2]
    columns = n + 1 + (heats is not None)
    figure = Figure((1.05 * columns, 1.2 * m + 0.2), layout="constrained")
    axes = figure.subplots(m, columns, squeeze=False)
    for i, row in enumerate(axes):
        image = np.moveaxis(images[i], 0, -1) / 255
        pale = 0.55 + 0.45 * image.mean(-1)
        shown = [(image, None, f"{names[i]!s:.18}")]
        if heats is not None:
            shown.append((pale, heats[i], f"logit {float(logits[i]):.1f}"))
        for k in order[i]:
            shown.append((pale, maps[i, k], f"{contributions[i, k]:+.2f}"))
        for axis, (back, heat, title) in zip(row, shown, strict=True):
            _panel(axis, back, heat, title)
    return figure


def _panel(axis: Axes, back: Array, heat: Array | None, title: str) -> None:
    """An image (h, w) or (h, w, c), and a map over it."""
    colour = back.ndim == 3 and back.shape[2] == 3
    axis.imshow(back if colour else np.squeeze(back), cmap="gray", vmin=0, vmax=1)
    if heat is not None:
        heat = heat.astype(np.float32)
        axis.imshow(heat, cmap="inferno", alpha=0.85 * np.sqrt(heat), vmin=0, vmax=1)
    axis.set_title(plot_style.plain(title), fontsize=6.5, pad=2)
    axis.set_axis_off()


def _parts(a: Arrays) -> Figure:
    """Fig. 7 for the first four classes: at the parts' pixels, and in their Voronoi cells."""
    bars, at_parts, importance = (
        a[key][:4] for key in ("bars", "bars_at_parts", "importance")
    )
    K, n, _ = bars.shape
    names = [str(name) for name in a["part_names"]]
    figure = Figure((10.5, 0.16 * K * n + 1.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    _part_bars(left, at_parts, importance, names, "share at the part's pixel")
    _part_bars(right, bars, importance, [*names, "context"], "share in the cell")
    middles = [c * n + (n - 1) / 2 for c in range(K)]
    left.set_yticks(middles, [f"class {c}" for c in range(K)])
    return figure


def _part_bars(
    axis: Axes, bars: Array, importance: Array, names: Sequence[str], label: str
) -> None:
    """A row for each x-feature, bars (K, n, p); circles at parts with importance (K, p)."""
    K, n, p = bars.shape
    shown = axis.imshow(bars.reshape(K * n, p), cmap="Blues", vmin=0, aspect="auto")
    circle = {"ms": 4, "mfc": "none", "mec": plot_style.PALETTE[1]}
    for c in range(K):
        rows = np.arange(n) + c * n
        important = np.flatnonzero(importance[c] > 0)
        for part in important:
            axis.plot([part] * n, rows, "o", **circle)
        if c:
            axis.axhline(c * n - 0.5, color=plot_style.MUTED, lw=0.8)
    axis.set_xticks(range(p), names, rotation=60, ha="right")
    axis.tick_params(length=0)
    axis.figure.colorbar(shown, ax=axis, label=label)


def _penalty() -> Figure:
    """Fig. 2b and c."""
    figure = Figure((4.2, 2.8), layout="constrained")
    axis = figure.subplots()
    r = np.linspace(-3, 3, 301)
    for q, colour in zip((1, 10, 100), plot_style.PALETTE, strict=False):
        axis.plot(r, np.log1p(q * r**2), color=colour, lw=1.5, label=f"q = {q}")
    axis.set(xlabel="r", ylabel="log(1 + q r$^2$)", ylim=(0, None))
    axis.grid()
    axis.legend()
    _plain(axis)
    return figure


def _degeneration(a: Arrays) -> Figure:
    """Fig. .12."""
    figure = Figure((6.2, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    for i, name in enumerate(("SRAE", "NN")):
        colour = plot_style.PALETTE[i]
        cosines = a[f"cosines_{name}"]
        n = cosines.shape[1]
        pairs = np.sort(cosines[:, *np.triu_indices(n, 1)].ravel())
        left.plot(
            np.linspace(0, 1, len(pairs)), pairs, color=colour, lw=1.5, label=name
        )
        counts = np.bincount(a[f"speak_{name}"], minlength=n + 1)
        places = np.arange(n + 1) + 0.4 * i - 0.2
        right.bar(places, counts, 0.4, color=colour, label=name)
    left.set(xlabel="share of the pairs", ylabel="|cosine|", ylim=(-0.02, 1.02))
    right.set(xlabel="x-features with v E > 0", ylabel="classes", xticks=range(n + 1))
    left.legend()
    for axis in (left, right):
        axis.grid(axis="y")
        _plain(axis)
    return figure


def _logarithmic(axis: Axes, which: str, values: Sequence[float]) -> None:
    """Make the axis ``which`` (x or y) logarithmic, with plain numbers at 1, 2 and 5."""
    low, high = min(values), max(values)
    ticks = [tick for tick in TICKS if low / 1.6 <= tick <= high * 1.6]
    labels = [f"{tick:g}" for tick in ticks]
    limits = low / 1.25, high * 1.25
    if which == "x":
        axis.set(xscale="log", xticks=ticks)
        axis.set(xticklabels=labels)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set(xlim=limits)
    else:
        axis.set(yscale="log", yticks=ticks)
        axis.set(yticklabels=labels)
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set(ylim=limits)


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)
