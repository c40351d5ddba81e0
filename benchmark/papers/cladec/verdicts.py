"""The paper's claims, held against the rows of a profile: one check for each network, seed and layer (or setting).

CD1  Rec(ClaDec) > Rec(RefAE) at layers -1 to -4
CD2  Delta Acc > 0 below the last layer
CD3  Rec and Delta Rec rise towards the output
CD4  alpha > 0 raises Rec, and raises Acc(C_eval)
CD5  Rec against the classifier's epochs is an inverted U; Delta Acc goes from below to above 0; with three seeds or
     more, Rec of neighbouring ages differs (two-sided Welch t-test, p < .01)
CD6  more units, lower Rec
CD7  hiding the most relevant square hurts more than the least relevant; on VGG most so at the last layer, and Grad-CAM
     at 1x1 maps tells nothing (within three standard errors of 0)
CD8  Delta Acc of ClaDec's squares exceeds that of Grad-CAM's, on networks without residual connections
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from benchmark.papers import Check
from benchmark.store import setting_pairs

Values = dict[float, float]  # by layer, alpha, age ...
Runs = list[Values]  # one a seed


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """A Check for every claim that the rows can judge."""
    mine = rows[(rows.paper == "cladec") & (rows.track == "replication") & (rows.status == "ok")]
    for (dataset, target), group in mine.groupby(["dataset", "target"]):
        for seed, unit in group.groupby("seed"):
            for claim, holds, evidence in _unit(unit, group, target):
                yield Check(claim, bool(holds), evidence, dataset, target, int(seed))
        yield from _t_tests(group, dataset, target)


def _unit(unit: pd.DataFrame, group: pd.DataFrame, target: str) -> Iterator[tuple[str, bool, str]]:
    """(claim, holds, evidence) of one network and seed; the evidence is mean and standard deviation over all seeds."""
    at = lambda metric, method="ClaDec", by="layer": _values(unit, metric, method, by)
    over = lambda metric, method="ClaDec", by="layer": [
        _values(u, metric, method, by) for _, u in group.groupby("seed")
    ]
    vgg, residual = target.startswith("vgg"), target.startswith("resnet")
    rec, gap = at("rec_loss"), at("delta_rec", "ClaDec-RefAE")
    gaps = over("delta_rec", "ClaDec-RefAE")
    for k, value in gap.items():
        if k >= -4:
            yield "CD1", value > 0, f"layer {k:g}: Delta Rec {_mean(gaps, k, '+.3g')}"
    for k, value in at("delta_acc", "ClaDec-RefAE").items():
        if k <= -2:
            yield (
                "CD2",
                value > 0,
                f"layer {k:g}: Delta Acc {_mean(over('delta_acc', 'ClaDec-RefAE'), k, '+.4f')}",
            )
    for words, values, runs in (("Rec", rec, over("rec_loss")), ("Delta Rec", gap, gaps)):
        if len(values) > 1:
            yield "CD3", _rises(values), f"{words} {_listed(runs, 'layer')}"

    loss, acc = at("rec_loss_sum", by="alpha"), at("acc_eval", by="alpha")
    if len(loss) > 1:
        accs = over("acc_eval", by="alpha")
        yield "CD4", _rises(loss), f"Rec (sum) {_listed(over('rec_loss_sum', by='alpha'), 'alpha')}"
        for alpha, value in acc.items():
            if alpha > 0 and 0 in acc:
                yield (
                    "CD4",
                    value > acc[0],
                    f"Acc {_mean(accs, alpha, '.4f')} at alpha {alpha:g}, {_mean(accs, 0, '.4f')} at 0",
                )

    age, change = (
        at("rec_loss_sum", by="classifier epochs"),
        at("delta_acc", "ClaDec-RefAE", "classifier epochs"),
    )
    if len(age) > 2:
        first, *inner, last = age.values()
        ages = over("rec_loss_sum", by="classifier epochs")
        yield "CD5", max(inner) > max(first, last), f"Rec (sum) {_listed(ages, 'epochs')}"
        first, *_, last = change.values()
        yield (
            "CD5",
            first < 0 < last,
            f"Delta Acc {_listed(over('delta_acc', 'ClaDec-RefAE', 'classifier epochs'), 'epochs')}",
        )

    size = at("rec_loss", by="units")
    if len(size) > 1:
        yield (
            "CD6",
            _rises({-k: v for k, v in size.items()}),
            f"Rec {_listed(over('rec_loss', by='units'), 'units')}",
        )

    hidden, cam = at("delta_acc_occl"), at("delta_acc_occl", "GradCAM")
    hiddens, cams = over("delta_acc_occl"), over("delta_acc_occl", "GradCAM")
    for k, value in hidden.items():
        yield "CD7", value > 0, f"layer {k:g}: Delta Acc {_mean(hiddens, k, '+.3f')}"
        if not residual:
            words = f"layer {k:g}: Delta Acc {_mean(hiddens, k, '+.3f')}, Grad-CAM {_mean(cams, k, '+.3f')}"
            yield "CD8", value > cam[k], words
    if vgg and len(hidden) > 1:
        yield (
            "CD7",
            hidden[max(hidden)] > hidden[min(hidden)],
            f"Delta Acc {_listed(hiddens, 'layer')}",
        )
    if vgg and -1 in cam:
        p, n = at("acc_occl_min", "GradCAM")[-1], unit[unit.metric == "acc_occl_min"].n.iloc[0]
        bound = 3 * np.sqrt(2 * p * (1 - p) / n)
        words = f"Grad-CAM at 1x1: Delta Acc {_mean(cams, -1, '+.4f')}, three standard errors {bound:.4f}"
        yield "CD7", abs(cam[-1]) <= bound, words


def _t_tests(group: pd.DataFrame, dataset: str, target: str) -> Iterator[Check]:
    """Table 6: do the losses of neighbouring ages differ?"""
    seeds = [
        _values(unit, "rec_loss_sum", "ClaDec", "classifier epochs")
        for _, unit in group.groupby("seed")
    ]
    seeds = [values for values in seeds if values]
    if len(seeds) < 3:
        return
    for a, b in pairwise(seeds[0]):
        p = float(ttest_ind([v[a] for v in seeds], [v[b] for v in seeds], equal_var=False).pvalue)
        yield Check(
            "CD5",
            p < 0.01,
            f"epochs {a:g} and {b:g}: p = {p:.2g} over {len(seeds)} seeds",
            dataset,
            target,
        )


def _values(unit: pd.DataFrame, metric: str, method: str, by: str) -> Values:
    """Values by one key of the setting, in rising order of it."""
    rows = unit[(unit.metric == metric) & (unit.method == method)]
    found = {value_of(s, by): v for s, v in zip(rows.setting, rows.value, strict=True)}
    return dict(sorted((k, v) for k, v in found.items() if k is not None))


def value_of(setting: str, key: str) -> float | None:
    """The value of a setting that has this key alone: ``layer=-1`` -> -1."""
    pairs = setting_pairs(setting)
    return float(pairs[key]) if list(pairs) == [key] else None


def _rises(values: Values) -> bool:
    return all(values[a] < values[b] for a, b in pairwise(sorted(values)))


def _mean(runs: Runs, key: float, digits: str = ".4g") -> str:
    """Mean, standard deviation and number of runs: ``+0.0211 ± 0.0077 (3 runs)``."""
    values = [run[key] for run in runs if key in run]
    spread = (
        f" ± {np.std(values, ddof=1):{digits.lstrip('+')}} ({len(values)} runs)"
        if len(values) > 1
        else ""
    )
    return f"{np.mean(values):{digits}}{spread}"


def _listed(runs: Runs, key: str) -> str:
    found = sorted({k for run in runs for k in run})
    return ", ".join(f"{_mean(runs, k)} at {key} {k:g}" for k in found)
