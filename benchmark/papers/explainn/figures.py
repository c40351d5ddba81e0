"""The paper's pictures: planted rules found (Fig. 2 top), interventions (Fig. 2 bottom), rules on filters (Figs. 3, 10,
11), the flow of a class through the layers (Fig. 5), prototypes of tails beside those of single units (Fig. 14), rules
that classes share or have alone (Figs. 4, 13 and 15), and what fine-tuning changed (App. B.3, Fig. 17).

``drawing.py`` draws them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmark.papers import Found, FoundUnit, Picture
from benchmark.papers.explainn import drawing
from benchmark.store import setting_pairs

PHOTOGRAPHS = ("asirra", "cub")  # data sets that may not be redistributed


def pictures(found: Found) -> Iterator[Picture]:
    """Every picture that the profile's experiments allow."""
    rows = found.rows
    rows = rows[(rows["track"] == "replication") & (rows["paper"] == "explainn")]
    synthetic = _synthetic(rows)
    if len(synthetic):
        yield Picture(
            "fig2-planted-rules",
            "Planted rules that were found (Fig. 2 top)",
            "Left: mutually exclusive heads, by the number of planted rules. Right: heads whose items occur together, "
            "by the share of flipped cells; with the items also alone where that was run. Exact: head and tail are "
            "those of a planted rule. Soft: best product of the Jaccard indices of heads and tails. Boxes: data sets "
            "with their own seeds. The largest search space (theta, mu) that was run.",
            drawing.planted(_widest(synthetic)),
        )
        swept = _swept(synthetic)
        if len(swept):
            yield Picture(
                "fig2-search",
                "What theta and mu leave out (Fig. 2 top right)",
                "Co-occurring heads with as many flipped cells as the titles say: the smaller of soft precision and "
                "recall, and bits that the planted rules need more than those found (below 0: the planted ones are "
                "shorter), by the least confidence theta of a head item and the number mu of items in which heads "
                "that are merged may differ. Means over data sets.",
                drawing.search(swept),
            )
    of_experiment = {
        "intervention": _intervention,
        "rules": _rules,
        "flow": _flow,
        "prototypes": _prototypes,
        "traits": _traits,
        "fine_tuning": _fine_tuning,
    }
    for unit in found.units:
        if (
            unit.seed == 0 and unit.experiment in of_experiment
        ):  # one network of each kind
            yield from of_experiment[unit.experiment](
                unit, f"{unit.dataset}-{unit.target}"
            )


def _synthetic(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of planted rules, of the robust encoding, with the columns kind, noise, theta, mu, m."""
    rows = rows[rows["dataset"].str.startswith("synthetic")]
    settings = [setting_pairs(text) for text in rows["setting"]]
    robust = np.array(["encoding" not in setting for setting in settings], bool)
    numbers = {
        key: np.array([float(setting[key]) for setting in settings])[robust]
        for key in ("noise", "theta", "mu")
    }
    rows = rows[robust]
    kinds = [_kind(target) for target in rows["target"]]
    return rows.assign(kind=kinds, m=rows["n"].astype(int), **numbers)


def _widest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of each data set with the lowest theta and, of these, the largest mu."""
    data_set = ["kind", "m", "noise"]
    rows = rows[rows["theta"] == rows.groupby(data_set)["theta"].transform("min")]
    return rows[rows["mu"] == rows.groupby(data_set)["mu"].transform("max")]


def _swept(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of co-occurring heads at a noise for which several thetas were run."""
    rows = rows[rows["kind"] != "exclusive"]
    thetas = rows.groupby(["kind", "m", "noise"])["theta"].transform("nunique")
    return rows[thetas > 1]


def _kind(target: str) -> str:
    """The kind of heads that a data set's name tells."""
    if "exclusive" in target:
        return "exclusive"
    return "also alone" if "alone" in target else "together"


def _intervention(unit: FoundUnit, name: str) -> Iterator[Picture]:
    yield Picture(
        f"fig2-intervention-{name}",
        f"A class without its rules' weights: {unit.dataset} (Fig. 2 bottom)",
        "Test accuracy of each class before (yellow) and after (blue) the weights from its rules' units to its logit "
        "are zeroed, and the 90 % quantile of 100 times as many random ones (red). Behind the arrow: the class that "
        "most of its images are then answered as.",
        drawing.intervention(unit),
    )


def _rules(unit: FoundUnit, name: str) -> Iterator[Picture]:
    layers = [key.removesuffix(".rule") for key in unit.arrays if key.endswith(".rule")]
    for layer in sorted(layers):
        yield Picture(
            f"fig3-filters-{name}-{layer}",
            f"Rules on the filters of {layer}: {unit.dataset} (Figs. 3, 9, 10, 11)",
            "Left: the image that activates a whole filter most. Grey: mean activation of the filter over the images "
            "of a class. Coloured: its pixels in the tails of rules with that class in the head; pixels of one colour "
            "belong to one rule, which several classes may share (the nine rules of a filter with most pixels; pale: "
            "pixels of other rules). r: correlation of the filter with brightness; below 0 it responds to background.",
            drawing.filters(unit, layer),
            raster=True,
        )


def _flow(unit: FoundUnit, name: str) -> Iterator[Picture]:
    if "nodes" not in unit.arrays:
        return
    yield Picture(
        f"fig5-flow-{name}",
        f"How a class is put together: {unit.dataset} (Figs. 5, 16)",
        "Rules chained from a class towards the input: the units of a tail are the head of the next rule. Each picture "
        "is the prototype of a whole tail, or of its units in one filter of the last layer; n: its units, k: how many "
        "must be active. Framed: where on the layer's map they are.",
        drawing.flow(unit),
        raster=True,
    )


def _prototypes(unit: FoundUnit, name: str) -> Iterator[Picture]:
    yield Picture(
        f"fig14-prototypes-{name}",
        f"A rule's whole tail and its single units: {unit.dataset} (Fig. 14)",
        "The image that activates all units of a tail most (left), and those of its units one by one. Below: the mean "
        "activation of the whole tail, 1 = as in the images in which its units are ON.",
        drawing.prototypes(unit),
        raster=True,
    )


def _traits(unit: FoundUnit, name: str) -> Iterator[Picture]:
    arrays, photo = unit.arrays, unit.dataset in PHOTOGRAPHS
    classes = drawing.names(arrays)
    yield Picture(
        f"fig13-kinds-{name}",
        f"Heads and tails by kind: {unit.dataset} (Fig. 13)",
        "A column is a rule from the classes to the last hidden layer: its classes (orange where several share it, "
        "blue where one has it alone), and above, the number of units in its tail.",
        drawing.kinds(arrays["heads"], arrays["tails"], classes),
    )
    if "pair" in arrays:
        c, d = (classes[k] for k in arrays["pair"])
        yield Picture(
            f"fig4-shared-{name}",
            f"What {c} and {d} share, and what each has alone: {unit.dataset} (Fig. 4)",
            "Left: two images of each class. Then prototypes of the tails of three rules: with the first class and not "
            "the second, with both, with the second and not the first; below, the classes of the rule's head and the "
            "units of its tail.",
            drawing.pair(arrays),
            raster=True,
            photo=photo,
        )
    if "gallery.heads" in arrays:
        yield Picture(
            f"fig18-gallery-{name}",
            f"What single classes and several have: {unit.dataset} (Figs. 13, 18, 19)",
            "Prototypes of the tails of rules of one class, of two and of more, of each kind those with most units in "
            "the tail (two or more); below, the classes of the rule's head and the units of its tail.",
            drawing.gallery(arrays),
            raster=True,
        )
    if "within" in arrays:
        yield Picture(
            f"fig15-within-{name}",
            f"The different rules of {classes[int(arrays['within'])]}: {unit.dataset} (Fig. 15)",
            "Left: the prototype of the class's logit. Right: rules with the class in the head, the prototype of each "
            "tail and above it the image of the class that has most of this tail's units ON and least of the others'.",
            drawing.within(arrays),
            raster=True,
            photo=photo,
        )


def _fine_tuning(unit: FoundUnit, name: str) -> Iterator[Picture]:
    arrays = unit.arrays
    if "kept" not in arrays:
        return
    yield Picture(
        f"b3-rules-{name}",
        f"Rules kept, new and lost by fine-tuning: {unit.dataset} (App. B.3)",
        "For each class the rules with it in the head, from the classes to the last hidden layer: those of the "
        "fine-tuned network that the network before had too (heads and tails overlap by half or more), those that are "
        "new, and, downwards, those that were lost.",
        drawing.changed(arrays),
    )
    if "examples" in arrays:
        yield Picture(
            f"fig17-before-after-{name}",
            f"The same units after and before fine-tuning: {unit.dataset} (Fig. 17)",
            "For rules of the fine-tuned network: the prototype of the tail in it, the prototype of the same units in "
            "the network before, and an image of a class in the rule's head.",
            drawing.before_after(arrays),
            raster=True,
            photo=unit.dataset in PHOTOGRAPHS,
        )
