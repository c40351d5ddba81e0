"""The paper's pictures: x-features and what they add (Figs. 8, 10), parts (Fig. 7), degeneration (Fig. .12), and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.utils import plot_style

METHODS = ("SRAE", "SRAE without restarts", "NN", "SAE", "CAE", "Lasso", "1-Heatmap", "Z")
PANELS = (
    ("F_reg_test", "F_reg on test images (logits)"),
    ("O1", "O1"),
    ("mean_correlation", "correlation of live maps"),
    ("locality", "locality (nats)"),
    ("class_part_share", "share on class-defining parts"),
)
PHOTOS = ("cub", "asirra")


def pictures(found: Found) -> Iterator[Picture]:
    with mpl.rc_context(plot_style.STYLE):
        rows = found.rows[(found.rows.paper == "xnn") & (found.rows.track == "replication")]
        for (dataset, target), group in rows.groupby(["dataset", "target"]):
            where, slug = f"{dataset}, {target}", plot_style.file_name(dataset, target)
            if (group.metric == "O1").any():
                yield Picture(
                    f"table1-{slug}",
                    f"Table 1 on {where}",
                    "Mean over classes, one dot a seed; lower is better but for the "
                    "last. Dead x-features count as uncorrelated in O1; the correlation of live maps leaves them out.",
                    _table1(group),
                )
            if (lasso := _lasso_rows(group)) is not None:
                yield Picture(
                    f"table4-{slug}",
                    f"Table .4 on {where}: the Lasso needs many units",
                    "F_reg on test images against the mean number of selected units of Z, seeds as lines; the square is SRAE "
                    "with 5 x-features.",
                    _lasso(lasso, group),
                )
            if group.setting.str.fullmatch("layer=.*").any():
                yield Picture(
                    f"table3-{slug}",
                    f"Table 3 on {where}: faithfulness by layer",
                    "Mean F_reg over classes of the convolutional XNN, and of the dense one at the last layer shown.",
                    _layers(group),
                )
        for unit in _first_seeds(found.units):
            where, slug = (
                f"{unit.dataset}, {unit.target}",
                plot_style.file_name(unit.dataset, unit.target),
            )
            a = unit.arrays
            if "shown_image" in a:
                yield from _classes(a, where, slug, unit.dataset in PHOTOS)
            if "conv_image" in a:
                order = np.tile(
                    np.argsort(-a["conv_contribution"][:3].mean(0)), (len(a["conv_image"]), 1)
                )
                names = [f"class {int(a['conv_class'])}"] * 3 + ["another"] * 3
                yield Picture(
                    f"fig10-{slug}",
                    f"Convolutional x-features on {where} (Fig. 10)",
                    "Three images of the class and three of others; x-features in the order of their mean contribution to the "
                    "class, down to the pixels.",
                    _grid(a["conv_image"], a["conv_maps"], a["conv_contribution"], order, names),
                    raster=True,
                )
            if "bars" in a:
                yield Picture(
                    f"fig7-{slug}",
                    f"Where x-features look, {where} (Fig. 7)",
                    "Voronoi histograms over the parts and the context, a row an x-feature; circles mark the parts that define "
                    "the class.",
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


def _classes(a, where: str, slug: str, photo: bool) -> Iterator[Picture]:
    """Fig. 8: an image of each of the first classes on the page, and a picture of each class beside it."""
    names = a["shown_name"]
    first = np.sort(
        np.unique(names, return_index=True)[1]
    )  # a row of each class, in the order of classes
    text = (
        "the 1-Heatmap, and the x-features in the order of their contribution v_i E_i, which is written above each. An "
        "x-feature that is silent on an image has no map."
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
        rows = np.flatnonzero(names == names[row])
        values = [
            f"{metric} {a[f'class_{key}'][0, c]:.3g}"
            for metric, key in (("F_reg", "F_reg_test"), ("O1", "O1"))
        ]
        figure = _rows(a, rows)
        figure.suptitle(plot_style.plain(f"{names[row]}: {', '.join(values)}"), fontsize=8)
        yield Picture(
            f"class-{slug}-{c:03d}",
            str(names[row]),
            f"Test images of the class, {text}",
            figure,
            raster=True,
            photo=photo,
            apart=True,
        )


def _rows(a, rows) -> Figure:
    order = np.argsort(-a["shown_contribution"][rows], axis=1)
    names, heats, logits = (a[f"shown_{key}"][rows] for key in ("name", "heat", "logit"))
    return _grid(
        a["shown_image"][rows],
        a["shown_maps"][rows] / 255,
        a["shown_contribution"][rows],
        order,
        names,
        heats / 255,
        logits,
    )


def _first_seeds(units: Sequence[FoundUnit]) -> Iterator[FoundUnit]:
    seen = set()
    for unit in units:
        if (key := (unit.experiment, unit.dataset, unit.target)) not in seen:
            seen.add(key)
            yield unit


def _table1(rows: pd.DataFrame) -> Figure:
    rows = rows[
        ~rows.setting.str.contains("layer=|class=") & ~rows.setting.str.fullmatch("alpha=[^;]*")
    ]
    names = {m: "Z" if m.startswith("Z (") else m for m in rows.method.unique()}
    panels = [p for p in PANELS if (rows.metric == p[0]).any()]
    figure = Figure((2.15 * len(panels) + 1.2, 2.5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (metric, label) in zip(axes, panels, strict=True):
        part = rows[rows.metric == metric]
        for method, values in part.groupby(part.method.map(names)).value:
            if method in METHODS:
                colour = (
                    plot_style.PALETTE[0] if method.startswith("SRAE") else plot_style.PALETTE[1]
                )
                axis.plot(
                    values,
                    [METHODS.index(method)] * len(values),
                    "o",
                    ms=4,
                    color=colour,
                    alpha=0.8,
                )
                axis.plot(values.mean(), METHODS.index(method), "|", ms=12, color=plot_style.INK)
        if metric == "F_reg_test":
            _logarithmic(axis, "x", part.value)
        axis.set_xlabel(label)
        axis.grid(axis="x")
        _plain(axis)
    axes[0].set_yticks(range(len(METHODS)), METHODS)
    axes[0].set_ylim(len(METHODS) - 0.5, -0.5)
    return figure


def _lasso_rows(rows: pd.DataFrame) -> pd.DataFrame | None:
    at = rows[(rows.method == "Lasso") & rows.setting.str.fullmatch("alpha=[^;]*")]
    table = at.pivot_table(
        index=["seed", "setting"], columns="metric", values="value"
    ).reset_index()
    table = (
        table[table.n_features > 0] if "n_features" in table else table
    )  # none selected has no place on a log axis
    return table.dropna() if {"n_features", "F_reg_test"} <= set(table) and len(table) > 1 else None


def _lasso(table: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    figure = Figure((4.2, 2.8), layout="constrained")
    axis = figure.subplots()
    for _, line in table.groupby("seed"):
        line = line.sort_values("n_features")
        axis.plot(line.n_features, line.F_reg_test, "o-", color=plot_style.PALETTE[1], ms=4, lw=1)
    axis.plot([], [], "o-", color=plot_style.PALETTE[1], ms=4, lw=1, label="Lasso")
    srae = rows[
        (rows.method == "SRAE") & (rows.metric == "F_reg_test") & rows.setting.str.fullmatch("n=.*")
    ]
    if len(srae):
        axis.plot(
            [float(s[2:]) for s in srae.setting],
            srae.value,
            "s",
            color=plot_style.PALETTE[0],
            ms=5,
            label="SRAE",
            ls="none",
        )
    _logarithmic(axis, "x", [*table.n_features, 5])
    _logarithmic(axis, "y", [*table.F_reg_test, *srae.value])
    axis.set(xlabel="features", ylabel="F_reg on test images (logits)")
    axis.grid()
    axis.legend()
    _plain(axis)
    return figure


def _layers(rows: pd.DataFrame) -> Figure:
    at = rows[rows.setting.str.fullmatch("layer=.*")]
    names = [
        *sorted(set(at[at.method == "conv SRAE"].setting)),
        *sorted(set(at[at.method == "SRAE"].setting)),
    ]
    figure = Figure((4.2, 2.8), layout="constrained")
    axis = figure.subplots()
    for metric, label, mark in (("F_reg_train", "train", "o--"), ("F_reg_test", "test", "s-")):
        means = at[at.metric == metric].groupby("setting").value.mean()
        axis.plot(
            range(len(names)),
            [means[name] for name in names],
            mark,
            ms=4,
            lw=1,
            label=label,
            color=plot_style.PALETTE[0 if label == "test" else 1],
        )
    axis.set_xticks(range(len(names)), [name.removeprefix("layer=") for name in names])
    axis.set(ylabel="F_reg (logits)", ylim=(0, None))
    axis.grid(axis="y")
    axis.legend()
    _plain(axis)
    return figure


def _grid(images, maps, contributions, order, names, heats=None, logits=None) -> Figure:
    """A row an image: the image, the 1-Heatmap if there is one, and its x-features over a pale copy of the image."""
    m, n = maps.shape[:2]
    columns = n + 1 + (heats is not None)
    figure = Figure((1.05 * columns, 1.2 * m + 0.2), layout="constrained")
    axes = figure.subplots(m, columns, squeeze=False)
    for i in range(m):
        image = np.moveaxis(images[i], 0, -1) / 255
        grey = 0.55 + 0.45 * image.mean(-1)
        shown = [(image, None, f"{names[i]!s:.18}")]
        if heats is not None:
            shown.append((grey, heats[i], f"logit {float(logits[i]):.1f}"))
        shown += [(grey, maps[i, k], f"{contributions[i, k]:+.2f}") for k in order[i]]
        for axis, (back, heat, title) in zip(axes[i], shown, strict=True):
            axis.imshow(
                back if back.ndim == 3 and back.shape[2] == 3 else np.squeeze(back),
                cmap="gray",
                vmin=0,
                vmax=1,
            )
            if heat is not None:
                heat = heat.astype(np.float32)
                axis.imshow(heat, cmap="inferno", alpha=0.85 * np.sqrt(heat), vmin=0, vmax=1)
            axis.set_title(plot_style.plain(title), fontsize=6.5, pad=2)
            axis.set_axis_off()
    return figure


def _parts(a) -> Figure:
    bars, importance = a["bars"][:4], a["importance"][:4]
    K, n, p = bars.shape
    figure = Figure((6.6, 0.16 * K * n + 1.6), layout="constrained")
    axis = figure.subplots()
    shown = axis.imshow(bars.reshape(K * n, p), cmap="Blues", vmin=0, aspect="auto")
    for c in range(K):
        for part in np.flatnonzero(importance[c] > 0):
            axis.plot(
                [part] * n, np.arange(n) + c * n, "o", ms=4, mfc="none", mec=plot_style.PALETTE[1]
            )
        if c:
            axis.axhline(c * n - 0.5, color=plot_style.MUTED, lw=0.8)
    axis.set_xticks(range(p), [*map(str, a["part_names"]), "context"], rotation=60, ha="right")
    axis.set_yticks([c * n + (n - 1) / 2 for c in range(K)], [f"class {c}" for c in range(K)])
    axis.tick_params(length=0)
    figure.colorbar(shown, ax=axis, label="share of the map")
    return figure


def _degeneration(a) -> Figure:
    figure = Figure((6.2, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    for i, name in enumerate(("SRAE", "NN")):
        cosines = a[f"cosines_{name}"]
        n = cosines.shape[1]
        pairs = np.sort(cosines[:, *np.triu_indices(n, 1)].ravel())
        left.plot(
            np.linspace(0, 1, len(pairs)), pairs, color=plot_style.PALETTE[i], lw=1.5, label=name
        )
        counts = np.bincount(a[f"speak_{name}"], minlength=n + 1)
        right.bar(
            np.arange(n + 1) + 0.4 * i - 0.2, counts, 0.4, color=plot_style.PALETTE[i], label=name
        )
    left.set(xlabel="share of the pairs", ylabel="|cosine|", ylim=(-0.02, 1.02))
    right.set(xlabel="x-features with v E > 0", ylabel="classes", xticks=range(n + 1))
    left.legend()
    for axis in (left, right):
        axis.grid(axis="y")
        _plain(axis)
    return figure


def _logarithmic(axis: Axes, which: str, values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers at 1, 2 and 5."""
    steps = [float(f"{k}e{e}") for e in range(-4, 4) for k in (1, 2, 5)]
    ticks = [t for t in steps if min(values) / 1.6 <= t <= max(values) * 1.6]
    axis.set(**{f"{which}scale": "log", f"{which}ticks": ticks})
    axis.set(**{f"{which}ticklabels": [f"{t:g}" for t in ticks]})
    getattr(axis, f"{which}axis").set_minor_locator(NullLocator())
    axis.set(**{f"{which}lim": (min(values) / 1.25, max(values) * 1.25)})


def _plain(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)
