"""The paper's claims, checked against the rows of a profile: one check for each network, seed and pair of methods.

XN1  F_reg on test images of SRAE, NN and SAE is at most a tenth of Lasso's and of CAE's XN2  O1 and O2 of SRAE are
below those of NN, SAE and Lasso XN3  locality of SRAE is below that of NN, SAE, Lasso, CAE and the 1-Heatmap, and
within 5 % of that of Z XN4  F_reg on test images of the convolutional XNN falls from layer to layer, and lies above
that of the dense one XN5  F_reg of the Lasso falls with the number of its features XN6  accuracy on inpainted
images is at least as high with XNN's pixels as with those of the 1-Heatmap (Table .5, and the
     rows of the leaderboard)
XN7  with three x-features, SRAE's are less alike (|cosine| of their activations) than NN's, and at least as many speak
     for the class (have v_i E_i above 0 in the mean)

A difference between methods comes with its 95 % interval over classes (``delta_*`` rows).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pandas as pd

from benchmark.papers import Check
from benchmark.store import setting_pairs

Found = Iterator[tuple[str, bool, str]]  # claim, holds, evidence


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """A Check for every claim that the rows can judge."""
    rows = rows[rows.status == "ok"]
    mine = rows[(rows.paper == "xnn") & (rows.track == "replication")]
    for (dataset, target, seed), unit in mine.groupby(["dataset", "target", "seed"]):
        for found in (_table1, _layers, _lasso, _table5, _degeneration):
            for claim, holds, evidence in found(unit):
                yield Check(claim, bool(holds), evidence, dataset, target, int(seed))
    yield from _masking(rows)


def _table1(unit: pd.DataFrame) -> Found:
    freg = _by_method(unit, "F_reg_test")
    for theirs in ("Lasso", "CAE"):
        for ours in ("SRAE", "NN", "SAE"):
            if ours in freg and theirs in freg:
                words = f"F_reg {ours} {freg[ours]:.3g}, {theirs} {freg[theirs]:.3g}"
                yield "XN1", freg[ours] <= freg[theirs] / 10, words
    for metric in ("O1", "O2"):
        yield from _below(unit, "XN2", metric, ("NN", "SAE", "Lasso"))
    yield from _below(
        unit, "XN3", "locality", ("NN", "SAE", "Lasso", "CAE", "1-Heatmap")
    )
    locality = _by_method(unit, "locality")
    for name, of_z in locality.items():
        if name.startswith("Z ("):
            ours = locality["SRAE"]
            words = f"locality SRAE {ours:.3f}, Z {of_z:.3f}"
            yield "XN3", abs(ours / of_z - 1) <= 0.05, words


def _below(
    unit: pd.DataFrame, claim: str, metric: str, others: tuple[str, ...]
) -> Found:
    value = _by_method(unit, metric)
    gap = _by_method(unit, f"delta_{metric}")
    half = _by_method(unit, f"delta_{metric}_ci95")
    ours = value.get("SRAE")
    for other in others:
        theirs = value.get(other)
        if ours is None or theirs is None:
            continue
        words = f"{metric} SRAE {ours:.3f}, {other} {theirs:.3f}"
        pair = f"{other}-SRAE"
        if pair in gap and pair in half:
            words += f", {pair} {gap[pair]:+.3f} +- {half[pair]:.3f} over classes"
        yield claim, ours < theirs, words


def _layers(unit: pd.DataFrame) -> Found:
    """F_reg by layer, in the order of depth: pool1, pool2 ... sort by their names."""
    is_layer = unit.setting.str.fullmatch("layer=.*")
    at = unit[(unit.metric == "F_reg_test") & is_layer].sort_values("setting")
    conv = _by_layer(at, "conv SRAE")
    dense = _by_layer(at, "SRAE")
    for (low, a), (high, b) in pairwise(conv.items()):
        yield "XN4", b < a, f"F_reg {low} {a:.3g}, {high} {b:.3g}"

    for name, value in conv.items():
        for fc, best in dense.items():
            words = f"F_reg {name} {value:.3g}, {fc} {best:.3g}"
            yield "XN4", value > best, words


def _by_layer(rows: pd.DataFrame, method: str) -> dict[str, float]:
    """Values of a method by the names of layers."""
    mine = rows[rows.method == method]
    names = [setting.removeprefix("layer=") for setting in mine.setting]
    return dict(zip(names, mine.value, strict=True))


def _lasso(unit: pd.DataFrame) -> Found:
    at = unit[(unit.method == "Lasso") & unit.setting.str.fullmatch("alpha=[^;]*")]
    table = at.pivot_table(index="setting", columns="metric", values="value")
    if len(table) < 2 or not {"n_features", "F_reg_test"} <= set(table):
        return
    table = table.sort_values("n_features")
    pairs = zip(table.F_reg_test, table.n_features, strict=True)
    values = ", ".join(f"{f_reg:.3g} with {count:.0f}" for f_reg, count in pairs)
    falls = table.F_reg_test.is_monotonic_decreasing
    yield "XN5", falls, f"F_reg {values} features"


def _table5(unit: pd.DataFrame) -> Found:
    at = unit[unit.setting.str.fullmatch("pixels kept=.*")]
    for kept, rows in at.groupby("setting", sort=False):
        value = _by_method_and_metric(rows)
        ours = value["mask by x-features", "accuracy"]
        theirs = value["mask by 1-Heatmap", "accuracy"]
        gap = value["x-features-1-Heatmap", "delta_accuracy"]
        half = value["x-features-1-Heatmap", "delta_accuracy_ci95"]
        pixels = setting_pairs(kept)["pixels kept"]
        words = f"{pixels} pixels kept: accuracy x-features {ours:.3f}, 1-Heatmap {theirs:.3f}"
        yield "XN6", ours >= theirs, f"{words}, {gap:+.3f} +- {half:.3f} over classes"


def _degeneration(unit: pd.DataFrame) -> Found:
    value = _by_method_and_metric(unit[unit.setting == "n=3"])
    ours = value.get(("SRAE", "mean_cosine"))
    theirs = value.get(("NN", "mean_cosine"))
    if ours is None or theirs is None:
        return
    gap = value["NN-SRAE", "delta_mean_cosine"]
    half = value["NN-SRAE", "delta_mean_cosine_ci95"]
    words = f"mean |cosine| SRAE {ours:.3f}, NN {theirs:.3f}"
    words += f", NN-SRAE {gap:+.3f} +- {half:.3f} over classes"
    yield "XN7", ours < theirs, words

    ours = value["SRAE", "n_speaking"]
    theirs = value["NN", "n_speaking"]
    words = f"x-features that speak for the class: SRAE {ours:.2f}, NN {theirs:.2f}"
    yield "XN7", ours >= theirs, words


def _masking(rows: pd.DataFrame) -> Iterator[Check]:
    """Rows of the leaderboard: XNN beside the 1-Heatmap, which is contrastive Excitation Backprop."""
    compared = rows.method.isin(["XNN", "Excitation Backprop"])
    at = rows[(rows.metric == "accuracy_top_pixels") & compared]
    variant = at.setting.map(setting_pairs).str.get("variant")
    at = at[variant.isna() | variant.isin(["SRAE", "contrastive"])]
    keys = ["dataset", "target", "seed", "metric_setting"]
    for (dataset, target, seed, kept), pair in at.groupby(keys):
        value = pair.groupby("method").value.first()
        if len(value) < 2:
            continue
        ours, theirs = value["XNN"], value["Excitation Backprop"]
        kept = kept.replace("=", " ")
        words = f"{kept}: accuracy XNN {ours:.3f}, 1-Heatmap {theirs:.3f}"
        holds = bool(ours >= theirs)
        yield Check("XN6", holds, words, dataset, target, int(seed))


def _by_method(unit: pd.DataFrame, metric: str) -> dict[str, float]:
    """One value per method, of Table 1.

    Rows with a layer or a class, or with an alpha alone, are left out.
    """
    other = unit.setting.str.contains("layer=|class=")
    of_table4 = unit.setting.str.fullmatch("alpha=[^;]*")
    at = unit[(unit.metric == metric) & ~other & ~of_table4]
    return dict(zip(at.method, at.value, strict=True))


def _by_method_and_metric(rows: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Values by (method, metric)."""
    keys = zip(rows.method, rows.metric, strict=True)
    return dict(zip(keys, rows.value, strict=True))
