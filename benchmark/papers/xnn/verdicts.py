"""The paper's claims, held against the rows of a profile: one check for each network, seed and pair of methods.

XN1  F_reg on test images of SRAE, NN and SAE is at most a tenth of Lasso's and of CAE's
XN2  O1 and O2 of SRAE are below those of NN, SAE and Lasso
XN3  locality of SRAE is below that of NN, SAE, Lasso, CAE and the 1-Heatmap, and within 5 % of that of Z
XN4  F_reg on test images of the convolutional XNN falls from layer to layer, and lies above that of the dense one
XN5  F_reg of the Lasso falls with the number of its features
XN6  accuracy on inpainted images is at least as high with XNN's pixels as with those of the 1-Heatmap (Table .5, and the
     board's rows)
XN7  with three x-features, SRAE's are less alike (|cosine| of their activations) than NN's, and as many speak for the class

A difference between methods comes with its 95 % interval over classes (``delta_*`` rows).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pandas as pd

from benchmark.papers import Check
from benchmark.store import setting_pairs


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """A Check for every claim that the rows can judge."""
    rows = rows[rows.status == "ok"]
    mine = rows[(rows.paper == "xnn") & (rows.track == "replication")]
    for (dataset, target, seed), unit in mine.groupby(["dataset", "target", "seed"]):
        for claim, holds, evidence in (
            *_table1(unit),
            *_layers(unit),
            *_lasso(unit),
            *_table5(unit),
            *_degeneration(unit),
        ):
            yield Check(claim, bool(holds), evidence, dataset, target, int(seed))
    yield from _masking(rows)


def _table1(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    freg = _by_method(unit, "F_reg_test")
    for theirs in ("Lasso", "CAE"):
        for ours in ("SRAE", "NN", "SAE"):
            if ours in freg and theirs in freg:
                yield (
                    "XN1",
                    freg[ours] <= freg[theirs] / 10,
                    f"F_reg {ours} {freg[ours]:.3g}, {theirs} {freg[theirs]:.3g}",
                )
    for metric in ("O1", "O2"):
        yield from _below(unit, "XN2", metric, ("NN", "SAE", "Lasso"))
    yield from _below(unit, "XN3", "locality", ("NN", "SAE", "Lasso", "CAE", "1-Heatmap"))
    locality = _by_method(unit, "locality")
    for z in (name for name in locality if name.startswith("Z (")):
        yield (
            "XN3",
            abs(locality["SRAE"] / locality[z] - 1) <= 0.05,
            f"locality SRAE {locality['SRAE']:.3f}, Z {locality[z]:.3f}",
        )


def _below(
    unit: pd.DataFrame, claim: str, metric: str, others: tuple[str, ...]
) -> Iterator[tuple[str, bool, str]]:
    value, gap, ci = (
        _by_method(unit, name) for name in (metric, f"delta_{metric}", f"delta_{metric}_ci95")
    )
    for other in others:
        if "SRAE" in value and other in value:
            pair = f"{other}-SRAE"
            interval = (
                f", {pair} {gap[pair]:+.3f} +- {ci[pair]:.3f} over classes"
                if pair in gap and pair in ci
                else ""
            )
            words = f"{metric} SRAE {value['SRAE']:.3f}, {other} {value[other]:.3f}{interval}"
            yield claim, value["SRAE"] < value[other], words


def _layers(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    """Rows keep the order of depth: pool1, pool2 ... sort by their names."""
    at = unit[(unit.metric == "F_reg_test") & unit.setting.str.fullmatch("layer=.*")]
    conv = {
        r.setting[6:]: r.value
        for r in at[at.method == "conv SRAE"].sort_values("setting").itertuples()
    }
    dense = {r.setting[6:]: r.value for r in at[at.method == "SRAE"].itertuples()}
    for (low, a), (high, b) in pairwise(conv.items()):
        yield "XN4", b < a, f"F_reg {low} {a:.3g}, {high} {b:.3g}"
    for name, value in conv.items():
        for fc, best in dense.items():
            yield "XN4", value > best, f"F_reg {name} {value:.3g}, {fc} {best:.3g}"


def _lasso(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    at = unit[(unit.method == "Lasso") & unit.setting.str.fullmatch("alpha=[^;]*")]
    table = at.pivot_table(index="setting", columns="metric", values="value")
    if len(table) > 1 and {"n_features", "F_reg_test"} <= set(table):
        table = table.sort_values("n_features")
        values = ", ".join(
            f"{r.F_reg_test:.3g} with {r.n_features:.0f}" for r in table.itertuples()
        )
        yield "XN5", table.F_reg_test.is_monotonic_decreasing, f"F_reg {values} features"


def _table5(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    at = unit[unit.setting.str.fullmatch("pixels kept=.*")]
    for kept, rows in at.groupby("setting", sort=False):
        value = {(r.method, r.metric): r.value for r in rows.itertuples()}
        ours, theirs = (value[f"mask by {m}", "accuracy"] for m in ("x-features", "1-Heatmap"))
        gap, half = (value["x-features-1-Heatmap", f"delta_accuracy{end}"] for end in ("", "_ci95"))
        pixels = setting_pairs(kept)["pixels kept"]
        words = f"{pixels} pixels kept: accuracy x-features {ours:.3f}, 1-Heatmap {theirs:.3f}"
        yield "XN6", ours >= theirs, f"{words}, {gap:+.3f} +- {half:.3f} over classes"


def _degeneration(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    value = {(r.method, r.metric): r.value for r in unit[unit.setting == "n=3"].itertuples()}
    if ("SRAE", "mean_cosine") in value and ("NN", "mean_cosine") in value:
        ours, theirs = (value[name, "mean_cosine"] for name in ("SRAE", "NN"))
        gap, half = (value["NN-SRAE", f"delta_mean_cosine{end}"] for end in ("", "_ci95"))
        yield (
            "XN7",
            ours < theirs,
            f"mean |cosine| SRAE {ours:.3f}, NN {theirs:.3f}, NN-SRAE {gap:+.3f} +- {half:.3f} over classes",
        )
        ours, theirs = (value[name, "n_speaking"] for name in ("SRAE", "NN"))
        yield (
            "XN7",
            ours >= theirs,
            f"x-features that speak for the class: SRAE {ours:.2f}, NN {theirs:.2f}",
        )


def _masking(rows: pd.DataFrame) -> Iterator[Check]:
    at = rows[
        (rows.metric == "accuracy_top_pixels") & rows.method.isin(["XNN", "Excitation Backprop"])
    ]
    variant = at.setting.map(setting_pairs).str.get("variant")
    at = at[variant.isna() | variant.isin(["SRAE", "contrastive"])]
    for (dataset, target, seed, kept), pair in at.groupby(
        ["dataset", "target", "seed", "metric_setting"]
    ):
        value = pair.groupby("method").value.first()
        if len(value) == 2:
            ours, theirs = value["XNN"], value["Excitation Backprop"]
            words = f"{kept.replace('=', ' ')}: accuracy XNN {ours:.3f}, 1-Heatmap {theirs:.3f}"
            yield Check("XN6", bool(ours >= theirs), words, dataset, target, int(seed))


def _by_method(unit: pd.DataFrame, metric: str) -> dict[str, float]:
    """One value a method, of Table 1 (rows without a layer or alone with an alpha left out)."""
    at = unit[
        (unit.metric == metric)
        & ~unit.setting.str.contains("layer=|class=")
        & ~unit.setting.str.fullmatch("alpha=[^;]*")
    ]
    return dict(zip(at.method, at.value, strict=True))
