"""The paper's pictures: reconstructions by layer (Figs. 5-9), of two networks (Fig. 10), by alpha (Fig. 11), of an
untrained network (Fig. 12), by units (Figs. 13, 14), beside prototypes (Fig. 15), with squares hidden (Fig. 16); and
its tables as curves (2-3, 4-5, 6, 7-8).

Images are of the first seed. Differences are signed as in Fig. 7, in colours that are safe for colour-blind
readers: orange where RefAE is brighter, blue where ClaDec is. Curves: one point per seed, a line through their
means.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.papers.cladec.verdicts import value_of
from benchmark.utils import plot_style

BLUE, ORANGE, GREEN = plot_style.PALETTE[:3]
COLOURS = {
    "ClaDec": BLUE,
    "RefAE": ORANGE,
    "GradCAM": GREEN,
    "random": plot_style.MUTED,
    "ClaDec-RefAE": plot_style.INK,
    "classifier": GREEN,
}
GAP = 3  # pixels between images
HIDDEN = {  # arrays of a layer in Fig. 16, and what is written above them
    "decoded": "rebuilt",
    "least_hidden": "least",
    "least_decoded": "rebuilt",
    "most_hidden": "most",
    "most_decoded": "rebuilt",
}
Array = np.ndarray
Image = Array  # (h, w, 3) uint8
Mosaic = list[list[Image | None]]


def pictures(found: Found) -> Iterator[Picture]:
    """Every picture that the profile's experiments allow."""
    rows = found.rows[
        (found.rows.paper == "cladec") & (found.rows.track == "replication")
    ]
    by_layer: dict[
        str, dict[str, dict[str, Array]]
    ] = {}  # data set -> target -> arrays
    for (dataset, target), units in _first_seeds(found.units).items():
        where, name = f"{dataset}, {target}", plot_style.file_name(dataset, target)
        arrays = _by_experiment(units)
        if "layers" in arrays:
            by_layer.setdefault(dataset, {})[target] = arrays["layers"]
            yield _layers(arrays["layers"], name, where)
            yield from _hidden(arrays["layers"], name, where)
        if "alphas" in arrays:
            yield _alphas(arrays["alphas"], name, where)
        if "epochs" in arrays:
            yield _ages(arrays["epochs"], name, where)
        if "subsets" in arrays:
            yield from _subsets(arrays["subsets"], name, where)
        if "prototypes" in arrays:
            yield _prototypes(arrays["prototypes"], name, where)
    for dataset, networks in by_layer.items():
        yield from _networks(networks, dataset)
    yield from _curves(rows)


def _first_seeds(units: Sequence[FoundUnit]) -> dict[tuple[str, str], list[FoundUnit]]:
    """(data set, target) -> its units with arrays, of the lowest seed of each experiment."""
    lowest: dict[tuple[str, str, str], int] = {}
    for unit in units:
        key = (unit.dataset, unit.target, unit.experiment)
        before = lowest.get(key, unit.seed)
        lowest[key] = min(unit.seed, before)

    found: dict[tuple[str, str], list[FoundUnit]] = {}
    for unit in units:
        place = (unit.dataset, unit.target)
        first = lowest[*place, unit.experiment]
        if unit.seed == first and unit.arrays:
            found.setdefault(place, []).append(unit)
    return dict(sorted(found.items()))


def _by_experiment(units: Sequence[FoundUnit]) -> dict[str, dict[str, Array]]:
    """The arrays of all units of an experiment, together."""
    arrays: dict[str, dict[str, Array]] = {}
    for unit in units:
        arrays.setdefault(unit.experiment, {}).update(unit.arrays)
    return arrays


# --------------------------------------------------------------------------------------------- images


def _layers(arrays: Mapping[str, Array], name: str, where: str) -> Picture:
    """For each image four rows (RefAE, ClaDec, difference, Grad-CAM), one column per layer; images side by side."""
    n, ks = len(arrays["x"]), _keys(arrays, "decoded")
    across = max(1, 15 // (len(ks) + 2))  # images side by side
    tiles: Mosaic = []
    for start in range(0, n, across):
        rows: Mosaic = [[], [], [], []]
        for i in range(start, min(start + across, n)):
            for row, images in zip(rows, _four_rows(arrays, ks, i), strict=True):
                row += [*images, None]
        tiles += [row[:-1] for row in rows]
    head = ["X", *(f"layer {k}" for k in ks), ""] * across
    side = ["RefAE", "ClaDec", "difference", "Grad-CAM"] * (len(tiles) // 4)
    return Picture(
        f"fig8-layers-{name}",
        f"What each layer keeps: {where} (Figs. 5-9)",
        "The image X, and rebuilt from each layer (-1: the logits): by the reference autoencoder, by ClaDec, and their "
        "difference (orange: RefAE is brighter, blue: ClaDec is). What RefAE shows and ClaDec does not, the classifier "
        "discarded. Below, Grad-CAM of the class that the classifier gives X, at the layer or the last one before it "
        "that has maps. The last images are ones that the classifier gets wrong.",
        _mosaic(tiles, head[:-1], side),
        raster=True,
    )


def _four_rows(arrays: Mapping[str, Array], ks: Sequence[int], i: int) -> Mosaic:
    """Image i, rebuilt from each layer by RefAE, by ClaDec, their difference, and Grad-CAM on the image.

    X stands before the first row.
    """
    reference: list[Image | None] = [_rgb(arrays["x"][i])]
    decoded: list[Image | None] = [None]
    difference: list[Image | None] = [None]
    cams: list[Image | None] = [None]
    for k in ks:
        a, b = arrays[f"reference{k}"][i], arrays[f"decoded{k}"][i]
        reference.append(_rgb(a))
        decoded.append(_rgb(b))
        difference.append(_difference(a, b))
        cams.append(_overlaid(arrays["x"][i], arrays[f"cam{k}"][i]))
    return [reference, decoded, difference, cams]


def _networks(
    networks: Mapping[str, Mapping[str, Array]], dataset: str
) -> Iterator[Picture]:
    """Fig. 10: images that all networks of a data set were shown, rebuilt by each of them."""
    ids = [arrays["ids"].tolist() for arrays in networks.values()]
    layers = [_keys(arrays, "decoded") for arrays in networks.values()]
    sizes = {arrays["x"].shape[1:] for arrays in networks.values()}
    shared = [i for i in ids[0] if all(i in others for others in ids)]
    ks = [k for k in layers[0] if all(k in others for others in layers)]
    if len(networks) < 2 or len(sizes) > 1 or not shared or not ks:
        return
    tiles, side = [], []
    for one in shared[:5]:
        for target, arrays in networks.items():
            i = arrays["ids"].tolist().index(one)
            reference, decoded, *_ = _four_rows(arrays, ks, i)
            tiles += [reference, decoded]
            side += [f"RefAE\n{target}", f"ClaDec\n{target}"]
    listed = " and ".join(networks)
    yield Picture(
        f"fig10-networks-{plot_style.file_name(dataset, *networks)}",
        f"What each layer of different networks keeps: {dataset} (Fig. 10)",
        f"The image X, and rebuilt from each layer (-1: the logits) of {listed}: by a reference autoencoder of the "
        "same layers, and by ClaDec.",
        _mosaic(tiles, ["X", *(f"layer {k}" for k in ks)], side),
        raster=True,
    )


def _ages(arrays: Mapping[str, Array], name: str, where: str) -> Picture:
    """Fig. 12: rebuilt from the untrained classifier, and after epochs of its training."""
    tiles: Mosaic = [list(map(_rgb, arrays["x"])), list(map(_rgb, arrays["reference"]))]
    side = ["X", "RefAE"]
    for age in arrays["ages"].tolist():
        decoded = arrays[f"decoded{age}"]
        pairs = zip(arrays["reference"], decoded, strict=True)
        tiles.append(list(map(_rgb, decoded)))
        tiles.append([_difference(a, b) for a, b in pairs])
        side += [f"epoch {age}" if age else "untrained", "difference"]
    return Picture(
        f"fig12-untrained-{name}",
        f"From an untrained classifier, and while it is trained: {where} (Fig. 12, Table 6)",
        "The image X, rebuilt by the reference autoencoder, and by ClaDec from a classifier that was not trained at "
        "all, then after epochs of its training; below each the difference to RefAE (orange: RefAE is brighter, blue: "
        "ClaDec is).",
        _mosaic(tiles, [], side),
        raster=True,
    )


def _hidden(arrays: Mapping[str, Array], name: str, where: str) -> Iterator[Picture]:
    """Fig. 16: X, X_E, the least and the most relevant square hidden, and their reconstructions."""
    ks = _keys(arrays, "least_hidden")
    if not ks:
        return
    shown = min(5, len(arrays["x"]))
    tiles: Mosaic = []
    for i in range(shown):
        row: list[Image | None] = []
        for k in ks:
            names = ["x"] + [f"{stem}{k}" for stem in HIDDEN]
            row += [_rgb(arrays[key][i]) for key in names]
            row.append(None)
        tiles.append(row[:-1])
    head = []
    for k in ks:
        head += [f"{k}: X", *HIDDEN.values(), ""]
    listed = ", ".join(map(str, ks))
    yield Picture(
        f"fig16-hidden-{name}",
        f"The most and the least relevant square hidden: {where} (Fig. 16)",
        f"For each of the layers {listed}, left to right: the image and what ClaDec rebuilds from the layer; "
        "the same with the square hidden that changes the reconstruction least, and with the one that changes it most.",
        _mosaic(tiles, head[:-1], [""] * shown),
        raster=True,
    )


def _alphas(arrays: Mapping[str, Array], name: str, where: str) -> Picture:
    strips = [("X", arrays["x"])]
    for j, alpha in enumerate(arrays["alphas"]):
        strips.append((f"alpha = {alpha:g}", arrays[f"decoded{j}"]))
    return Picture(
        f"fig11-alphas-{name}",
        f"From the classifier's to the input's image: {where} (Fig. 11)",
        "Rebuilt with the loss of Eq. 1: alpha = 1 asks only that the classifier gives the image its class, 0 only "
        "that it is close to the input.",
        _strips(strips),
        raster=True,
    )


def _subsets(arrays: Mapping[str, Array], name: str, where: str) -> Iterator[Picture]:
    """Figs. 13 and 14."""
    nested = _unit_strips(arrays, "nested")
    if nested:
        yield Picture(
            f"fig13-units-{name}",
            f"From few units: {where} (Fig. 13)",
            "Rebuilt from the first units of a layer alone.",
            _strips(nested),
            raster=True,
        )
    disjoint = _unit_strips(arrays, "disjoint")
    if disjoint:
        yield Picture(
            f"fig14-units-{name}",
            f"From other units: {where} (Fig. 14)",
            "Rebuilt from units that no other row uses: what they do not tell apart becomes a blend.",
            _strips(disjoint),
            raster=True,
        )


def _unit_strips(arrays: Mapping[str, Array], kind: str) -> list[tuple[str, Array]]:
    """X, then a row for each array ``kind first k``, rebuilt from k units; empty if there is no such array."""
    ranges = []
    for key in arrays:
        if key.startswith(f"{kind} "):
            _, first, k = key.split()
            ranges.append((int(first), int(k), key))
    if not ranges:
        return []
    strips = [("X", arrays["x"])]
    for first, k, key in sorted(ranges):
        label = f"{first}-{first + k - 1}"
        if kind == "nested":
            label = "1 unit" if k == 1 else f"{k} units"
        strips.append((label, arrays[key]))
    return strips


def _prototypes(arrays: Mapping[str, Array], name: str, where: str) -> Picture:
    strips = [
        ("prototype", arrays["prototypes"]),
        ("nearest image", arrays["nearest"]),
        ("ClaDec of it", arrays["decoded"]),
    ]
    return Picture(
        f"fig15-prototypes-{name}",
        f"Beside learnt prototypes: {where} (Fig. 15)",
        "Prototypes of the network of Li et al. 2018, the training image nearest to each, and what ClaDec rebuilds "
        "from that image.",
        _strips(strips),
        raster=True,
    )


def _keys(arrays: Mapping[str, Array], stem: str) -> list[int]:
    """The layers of ``stem-1``, ``stem-3`` ..., from the input's side to the output's."""
    found = []
    for key in arrays:
        if key.startswith(f"{stem}-"):
            found.append(int(key.removeprefix(stem)))
    return sorted(found)


def _rgb(image: Array) -> Image:
    """(c, h, w) -> (h, w, 3)."""
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)


def _difference(reference: Array, decoded: Array) -> Image:
    """(h, w, 3): orange where the reference is brighter, blue where the decoded image is, white where they agree.

    Args:
        reference, decoded: (c, h, w) levels from 0 to 255.
    """
    orange, blue = mpl.colors.to_rgb(ORANGE), mpl.colors.to_rgb(BLUE)
    d = (reference.astype(float) - decoded).mean(0)
    d = d[..., None] / 255  # (h, w, 1)
    ink = np.where(d > 0, orange, blue)
    strength = np.minimum(1, 2 * np.abs(d))
    levels = 255 * (1 + strength * (ink - 1))
    return np.rint(levels).astype(np.uint8)


def _overlaid(image: Array, cam: Array) -> Image:
    """(h, w, 3): a heat map (1, h, w) in viridis over the image (c, h, w), half each; levels from 0 to 255."""
    colours = mpl.colormaps["viridis"](cam[0])[..., :3]  # (h, w, 3) in [0, 1]
    levels = 0.5 * _rgb(image) + 0.5 * 255 * colours
    return np.rint(levels).astype(np.uint8)


def _strips(strips: Sequence[tuple[str, Array]]) -> Figure:
    """A row of images (n, c, h, w) for each name."""
    tiles: Mosaic = []
    for _, images in strips:
        tiles.append([_rgb(image) for image in images])
    return _mosaic(tiles, [], [name for name, _ in strips])


@mpl.rc_context(plot_style.STYLE)
def _mosaic(tiles: Mosaic, head: Sequence[str], side: Sequence[str]) -> Figure:
    """Images in rows and columns, with words above and to the left; None leaves a place empty."""
    h, w = _tile_size(tiles)
    canvas = _canvas(tiles)
    rows, columns, _ = canvas.shape
    across = max(map(len, tiles))
    inches = min(9.0 - 1.0, 0.62 * across)  # of the canvas
    tall = inches * rows / columns
    left = 1.0 if any(side) else 0.1
    top = 0.25 if head else 0.05
    figure = Figure(figsize=(inches + left, tall + top))
    place = (left / (inches + left), 0, inches / (inches + left), tall / (tall + top))
    axes = figure.add_axes(place)
    axes.imshow(canvas, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for j, text in enumerate(head[:across]):
        middle = j * (w + GAP) + w / 2
        axes.text(middle, -2, text, ha="center", va="bottom", fontsize=7)
    for i, text in enumerate(side):
        middle = i * (h + GAP) + h / 2
        axes.text(-3, middle, text, ha="right", va="center", fontsize=7)
    return figure


def _canvas(tiles: Mosaic) -> Array:
    """All images as one, with an opacity channel: (rows, columns, 4) uint8."""
    h, w = _tile_size(tiles)
    across = max(map(len, tiles))
    canvas = np.full((len(tiles) * (h + GAP), across * (w + GAP), 4), 0, np.uint8)
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            if tile is None:
                continue
            top, left = i * (h + GAP), j * (w + GAP)
            place = canvas[top : top + h, left : left + w]
            place[..., :3] = tile
            place[..., 3] = 255
    return canvas


def _tile_size(tiles: Mosaic) -> tuple[int, int]:
    """(h, w) of the images."""
    images = [tile for row in tiles for tile in row if tile is not None]
    h, w, _ = images[0].shape
    return h, w


# --------------------------------------------------------------------------------------------- tables as curves


Lines = Sequence[tuple[str, str]]  # (metric, method)
Panels = Mapping[str, Lines]  # by their titles


@dataclass(frozen=True)
class _Curves:
    """Tables as a picture of panels, over the key ``by`` of the setting."""

    name: str
    by: str
    title: str
    caption: str
    panels: Panels


CURVES = (
    _Curves(
        "tables2-3-layers",
        "layer",
        "Loss and accuracy by layer (Tables 2 and 3)",
        "Left: mean squared error of the rebuilt test images, standardised. Right: accuracy of a new classifier "
        "trained on rebuilt images. The paper: ClaDec's loss is larger, its accuracy higher except at the last layer.",
        {
            "reconstruction loss": [("rec_loss", "ClaDec"), ("rec_loss", "RefAE")],
            "accuracy of C_eval": [("acc_eval", "ClaDec"), ("acc_eval", "RefAE")],
        },
    ),
    _Curves(
        "tables7-8-occlusion",
        "layer",
        "A square hidden (Tables 7 and 8)",
        "Accuracy with the least relevant square hidden minus that with the most relevant one hidden, by layer.",
        {
            "Delta Acc": [
                ("delta_acc_occl", "ClaDec"),
                ("delta_acc_occl", "GradCAM"),
                ("delta_acc_occl", "random"),
            ]
        },
    ),
    _Curves(
        "tables4-5-alphas",
        "alpha",
        "The trade-off of Eq. 1 (Tables 4 and 5)",
        "Squared error per image (standardised), and accuracy of a new classifier, against alpha (equally spaced).",
        {
            "squared error per image": [("rec_loss_sum", "ClaDec")],
            "accuracy of C_eval": [("acc_eval", "ClaDec")],
        },
    ),
    _Curves(
        "table6-epochs",
        "classifier epochs",
        "How long the classifier was trained (Table 6)",
        "Squared error per image (standardised), and accuracies, against the epochs of the decoded classifier (equally "
        "spaced).",
        {
            "squared error per image": [
                ("rec_loss_sum", "ClaDec"),
                ("rec_loss_sum", "RefAE"),
            ],
            "accuracy of C_eval": [("acc_eval", "ClaDec"), ("acc_eval", "RefAE")],
            "accuracy": [("accuracy", "classifier")],
        },
    ),
)


def _curves(rows: pd.DataFrame) -> Iterator[Picture]:
    """The pictures for which there are rows."""
    for curves in CURVES:
        wanted = set()
        for lines in curves.panels.values():
            wanted |= {metric for metric, _ in lines}
        keys = [value_of(setting, curves.by) for setting in rows.setting]
        keyed = rows.assign(at=keys).dropna(subset="at")
        mine = keyed[keyed.metric.isin(wanted)]
        if len(mine):
            figure = _grid(mine, curves.panels, curves.by)
            yield Picture(curves.name, curves.title, curves.caption, figure)


@mpl.rc_context(plot_style.STYLE)
def _grid(rows: pd.DataFrame, panels: Panels, by: str) -> Figure:
    """A row of panels for each data set and network.

    Args:
        rows: with the column ``at``, the value of the key ``by`` of their setting.
    """
    places = list(rows.groupby(["dataset", "target"]))
    down, across = len(places), len(panels)
    size = (3.2 * across + 0.4, 2.3 * down + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(down, across, squeeze=False)
    for line, ((dataset, target), unit) in zip(axes, places, strict=True):
        for axis, (label, drawn) in zip(line, panels.items(), strict=True):
            _lines(axis, unit, drawn, by)
            title = f"{dataset}, {target}: {label}"
            axis.set_title(title)
    axes[0, 0].legend(fontsize=8)
    return figure


def _lines(axes: Axes, rows: pd.DataFrame, drawn: Lines, by: str) -> None:
    """A line for each (metric, method) through the means over seeds, and a point for each seed; equally spaced."""
    ticks = sorted(rows["at"].unique())
    for metric, method in drawn:
        mine = rows[(rows.metric == metric) & (rows.method == method)]
        if not len(mine):
            continue
        colour = COLOURS[method]
        mean = mine.groupby("at").value.mean()
        places = [ticks.index(key) for key in mean.index]
        axes.plot(places, mean, color=colour, label=method, lw=1.2)
        places = [ticks.index(key) for key in mine["at"]]
        axes.plot(places, mine.value, "o", color=colour, ms=3, alpha=0.7)
    axes.xaxis.set_major_locator(FixedLocator(range(len(ticks))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{key:g}" for key in ticks])
    axes.set_xlabel("layer (-1: logits)" if by == "layer" else by)
    axes.grid(axis="y")
    for edge in ("top", "right"):
        axes.spines[edge].set_visible(False)
