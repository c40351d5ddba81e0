"""The paper's pictures: reconstructions by layer (Figs. 5-10), by alpha (Fig. 11), by units (Figs. 13, 14), beside prototypes
(Fig. 15), with squares hidden (Fig. 16); and its tables as curves (2-3, 4-5, 6, 7-8).

Images are of the first seed. Differences are signed as in Fig. 7, in colours that more eyes tell apart: orange where RefAE
is brighter, blue where ClaDec is. Curves: a point a seed, a line through their means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.papers.cladec.verdicts import value_of
from benchmark.utils import plot_style

BLUE, ORANGE, GREEN = (plot_style.PALETTE[k] for k in (0, 1, 2))
COLOURS = {
    "ClaDec": BLUE,
    "RefAE": ORANGE,
    "GradCAM": GREEN,
    "random": plot_style.MUTED,
    "ClaDec-RefAE": plot_style.INK,
    "classifier": GREEN,
}
GAP = 3  # pixels between images
Array = np.ndarray
Image = Array  # (h, w, 3) uint8
Mosaic = list[list[Image | None]]


def pictures(found: Found) -> Iterator[Picture]:
    """Every picture that the profile's experiments allow."""
    rows = found.rows[(found.rows.paper == "cladec") & (found.rows.track == "replication")]
    for (dataset, target), units in _first_seeds(found.units).items():
        where, name = f"{dataset}, {target}", plot_style.file_name(dataset, target)
        arrays = {
            experiment: dict(_merged(units, experiment))
            for experiment in {u.experiment for u in units}
        }
        if "layers" in arrays:
            yield _layers(arrays["layers"], name, where)
            yield from _hidden(arrays["layers"], name, where)
        if "alphas" in arrays:
            yield _alphas(arrays["alphas"], name, where)
        if "subsets" in arrays:
            yield from _subsets(arrays["subsets"], name, where)
        if "prototypes" in arrays:
            yield _prototypes(arrays["prototypes"], name, where)
    yield from _curves(rows)


def _first_seeds(units: Sequence[FoundUnit]) -> dict[tuple[str, str], list[FoundUnit]]:
    """(data set, target) -> its units of the lowest seed of each experiment."""
    lowest: dict[tuple[str, str, str], int] = {}
    for u in units:
        key = (u.dataset, u.target, u.experiment)
        lowest[key] = min(u.seed, lowest.get(key, u.seed))
    out: dict[tuple[str, str], list[FoundUnit]] = {}
    for u in units:
        if u.seed == lowest[u.dataset, u.target, u.experiment] and u.arrays:
            out.setdefault((u.dataset, u.target), []).append(u)
    return dict(sorted(out.items()))


def _merged(units: Sequence[FoundUnit], experiment: str) -> Iterator[tuple[str, Array]]:
    for u in units:
        if u.experiment == experiment:
            yield from u.arrays.items()


# --------------------------------------------------------------------------------------------- images


def _layers(arrays: Mapping[str, Array], name: str, where: str) -> Picture:
    """For each image three rows (RefAE, ClaDec, difference) and a column a layer; images side by side."""
    x, ks = arrays["x"], _keys(arrays, "decoded")
    across = max(1, 15 // (len(ks) + 2))  # images side by side
    tiles: Mosaic = []
    for start in range(0, len(x), across):
        block: Mosaic = [[], [], []]
        for i in range(start, min(start + across, len(x))):
            block[0] += [_rgb(x[i])]
            block[1] += [None]
            block[2] += [None]
            for k in ks:
                a, b = arrays[f"reference{k}"][i], arrays[f"decoded{k}"][i]
                for row, image in zip(block, (_rgb(a), _rgb(b), _difference(a, b)), strict=True):
                    row.append(image)
            for row in block:
                row.append(None)
        tiles += [row[:-1] for row in block]
    head = (["X", *(f"layer {k}" for k in ks), ""] * across)[:-1]
    side = ["RefAE", "ClaDec", "difference"] * (len(tiles) // 3)
    return Picture(
        f"fig8-layers-{name}",
        f"What each layer keeps: {where} (Figs. 5-9)",
        "The image X, and rebuilt from each layer (-1: the logits): by the reference auto-encoder, by ClaDec, and their difference "
        "(orange: RefAE is brighter, blue: ClaDec is). What RefAE shows and ClaDec does not, the classifier threw away. The last "
        "images are ones that the classifier gets wrong.",
        _mosaic(tiles, head, side),
        raster=True,
    )


def _hidden(arrays: Mapping[str, Array], name: str, where: str) -> Iterator[Picture]:
    """Fig. 16: X, X_E, the least and the most relevant square hidden, and their reconstructions."""
    if not (ks := _keys(arrays, "least_hidden")):
        return
    shown = min(5, len(arrays["x"]))
    columns = [
        ("x", "X"),
        ("decoded{}", "rebuilt"),
        ("least_hidden{}", "least"),
        ("least_decoded{}", "rebuilt"),
        ("most_hidden{}", "most"),
        ("most_decoded{}", "rebuilt"),
    ]
    tiles: Mosaic = []
    for i in range(shown):
        row: list[Image | None] = []
        for k in ks:
            row += [_rgb(arrays[key.format(k)][i]) for key, _ in columns] + [None]
        tiles.append(row[:-1])
    head = [word for k in ks for word in (f"{k}: X", *(label for _, label in columns[1:]), "")]
    yield Picture(
        f"fig16-hidden-{name}",
        f"The most and the least relevant square hidden: {where} (Fig. 16)",
        f"For each of the layers {', '.join(map(str, ks))}, left to right: the image and what ClaDec rebuilds from the layer; "
        "the same with the square hidden that changes the reconstruction least, and with the one that changes it most.",
        _mosaic(tiles, head[:-1], [""] * shown),
        raster=True,
    )


def _alphas(arrays: Mapping[str, Array], name: str, where: str) -> Picture:
    names = [f"alpha = {alpha:g}" for alpha in arrays["alphas"]]
    return Picture(
        f"fig11-alphas-{name}",
        f"From the classifier's to the input's image: {where} (Fig. 11)",
        "Rebuilt with the loss of Eq. 1: alpha = 1 asks only that the classifier gives the image its class, 0 only that it is "
        "close to the input.",
        _strips([("X", arrays["x"]), *((n, arrays[f"decoded{j}"]) for j, n in enumerate(names))]),
        raster=True,
    )


def _subsets(arrays: Mapping[str, Array], name: str, where: str) -> Iterator[Picture]:
    for kind, figure, words in (
        ("nested", "fig13", "Rebuilt from the first units of a layer alone."),
        (
            "disjoint",
            "fig14",
            "Rebuilt from units that no other row uses: what they do not tell apart becomes a blend.",
        ),
    ):
        keys = [
            (int(first), int(k), key)
            for key in arrays
            if (kind_of := key.split())[0] == kind
            for first, k in [kind_of[1:]]
        ]
        if not keys:
            continue
        label = lambda first, k, kind=kind: (
            f"{k} unit{'s' * (k > 1)}" if kind == "nested" else f"{first}-{first + k - 1}"
        )
        strips = [
            ("X", arrays["x"]),
            *((label(first, k), arrays[key]) for first, k, key in sorted(keys)),
        ]
        yield Picture(
            f"{figure}-units-{name}",
            f"From {'few' if kind == 'nested' else 'other'} units: {where} ({figure.replace('fig', 'Fig. ')})",
            words,
            _strips(strips),
            raster=True,
        )


def _prototypes(arrays: Mapping[str, Array], name: str, where: str) -> Picture:
    strips = [
        ("prototype", arrays["prototypes"]),
        ("nearest image", arrays["nearest"]),
        ("ClaDec of it", arrays["decoded"]),
    ]
    return Picture(
        f"fig15-prototypes-{name}",
        f"Beside learnt prototypes: {where} (Fig. 15)",
        "Prototypes of the network of Li et al. 2018, the training image nearest to each, and what ClaDec rebuilds of that.",
        _strips(strips),
        raster=True,
    )


def _keys(arrays: Mapping[str, Array], stem: str) -> list[int]:
    """The layers of ``stem-1``, ``stem-3`` ..., from the input's side to the output's."""
    return sorted(int(key.removeprefix(stem)) for key in arrays if key.startswith(f"{stem}-"))


def _rgb(image: Array) -> Image:
    """(c, h, w) -> (h, w, 3)."""
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)


def _difference(reference: Array, decoded: Array) -> Image:
    """Orange where the reference is brighter, blue where the decoded image is; white where they agree, (h, w, 3)."""
    d = (reference.astype(float) - decoded).mean(0)[..., None] / 255  # (h, w, 1)
    ink = np.where(d > 0, mpl.colors.to_rgb(ORANGE), mpl.colors.to_rgb(BLUE))
    return np.rint(255 * (1 + np.minimum(1, 2 * np.abs(d)) * (ink - 1))).astype(np.uint8)


def _strips(strips: Sequence[tuple[str, Array]]) -> Figure:
    """A row of images (n, c, h, w) for each name."""
    return _mosaic(
        [[_rgb(image) for image in images] for _, images in strips],
        [],
        [name for name, _ in strips],
    )


@mpl.rc_context(plot_style.STYLE)
def _mosaic(tiles: Mosaic, head: Sequence[str], side: Sequence[str]) -> Figure:
    """Images in rows and columns, with words above and to the left; None leaves a place empty."""
    h, w, _ = next(t for row in tiles for t in row if t is not None).shape
    width = max(map(len, tiles))
    canvas = np.full((len(tiles) * (h + GAP), width * (w + GAP), 4), 0, np.uint8)
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            if tile is not None:
                place = canvas[i * (h + GAP) : i * (h + GAP) + h, j * (w + GAP) : j * (w + GAP) + w]
                place[..., :3], place[..., 3] = tile, 255
    inches, left = min(9.0 - 1.0, 0.62 * width), 1.0 if any(side) else 0.1
    tall, top = inches * canvas.shape[0] / canvas.shape[1], 0.25 if head else 0.05
    figure = Figure(figsize=(inches + left, tall + top))
    axes = figure.add_axes(
        (left / (inches + left), 0, inches / (inches + left), tall / (tall + top))
    )
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for j, text in enumerate(head[:width]):
        axes.text(j * (w + GAP) + w / 2, -2, text, ha="center", va="bottom", fontsize=7)
    for i, text in enumerate(side):
        axes.text(-3, i * (h + GAP) + h / 2, text, ha="right", va="center", fontsize=7)
    return figure


# --------------------------------------------------------------------------------------------- tables as curves


def _curves(rows: pd.DataFrame) -> Iterator[Picture]:
    for name, by, title, caption, panels in (
        (
            "tables2-3-layers",
            "layer",
            "Loss and accuracy by layer (Tables 2 and 3)",
            "Left: mean squared error of the rebuilt test images, standardised. Right: accuracy of a new classifier trained on "
            "rebuilt images. The paper: ClaDec's loss is larger, its accuracy higher but at the last layer.",
            {
                "reconstruction loss": [("rec_loss", "ClaDec"), ("rec_loss", "RefAE")],
                "accuracy of C_eval": [("acc_eval", "ClaDec"), ("acc_eval", "RefAE")],
            },
        ),
        (
            "tables7-8-occlusion",
            "layer",
            "A square hidden (Tables 7 and 8)",
            "Accuracy with the least relevant square hidden less that with the most relevant one, by layer.",
            {"Delta Acc": [("delta_acc_occl", m) for m in ("ClaDec", "GradCAM", "random")]},
        ),
        (
            "tables4-5-alphas",
            "alpha",
            "The trade-off of Eq. 1 (Tables 4 and 5)",
            "Squared error an image (standardised), and accuracy of a new classifier, against alpha (equally spaced).",
            {
                "squared error an image": [("rec_loss_sum", "ClaDec")],
                "accuracy of C_eval": [("acc_eval", "ClaDec")],
            },
        ),
        (
            "table6-epochs",
            "classifier epochs",
            "How long the classifier was trained (Table 6)",
            "Squared error an image (standardised), and accuracies, against the epochs of the decoded classifier (equally spaced).",
            {
                "squared error an image": [("rec_loss_sum", "ClaDec"), ("rec_loss_sum", "RefAE")],
                "accuracy of C_eval": [("acc_eval", "ClaDec"), ("acc_eval", "RefAE")],
                "accuracy": [("accuracy", "classifier")],
            },
        ),
    ):
        wanted = {m for lines in panels.values() for m, _ in lines}
        keyed = rows.assign(at=[value_of(s, by) for s in rows.setting]).dropna(subset="at")
        mine = keyed[keyed.metric.isin(wanted)]
        if len(mine):
            yield Picture(name, title, caption, _grid(mine, panels, by))


@mpl.rc_context(plot_style.STYLE)
def _grid(rows: pd.DataFrame, panels: Mapping[str, Sequence[tuple[str, str]]], by: str) -> Figure:
    """A row of panels for each data set and network."""
    places = list(rows.groupby(["dataset", "target"]))
    figure = Figure(
        figsize=(3.2 * len(panels) + 0.4, 2.3 * len(places) + 0.2), layout="constrained"
    )
    axes = figure.subplots(len(places), len(panels), squeeze=False)
    for line, ((dataset, target), unit) in zip(axes, places, strict=True):
        for a, (label, drawn) in zip(line, panels.items(), strict=True):
            _lines(a, unit, drawn, by)
            a.set_title(f"{dataset}, {target}: {label}")
    axes[0, 0].legend(fontsize=8)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, drawn: Sequence[tuple[str, str]], by: str) -> None:
    ticks = sorted(rows["at"].unique())
    place: Callable[[float], int] = ticks.index
    for metric, method in drawn:
        mine = rows[(rows.metric == metric) & (rows.method == method)]
        if not len(mine):
            continue
        mean = mine.groupby("at").value.mean()
        axes.plot([place(k) for k in mean.index], mean, color=COLOURS[method], label=method, lw=1.2)
        axes.plot(
            [place(k) for k in mine["at"]], mine.value, "o", color=COLOURS[method], ms=3, alpha=0.7
        )
    axes.xaxis.set_major_locator(FixedLocator(range(len(ticks))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{k:g}" for k in ticks])
    axes.set_xlabel({"layer": "layer (-1: logits)"}.get(by, by))
    axes.grid(axis="y")
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
