"""The paper's claims, checked against the rows of a profile: one check for each network, seed and layer (or setting).

CD1  Rec(ClaDec) > Rec(RefAE) at layers -1 to -4
CD2  Delta Acc > 0 below the last layer
CD3  Rec and Delta Rec rise towards the output
CD4  alpha > 0 raises Rec, and raises Acc(C_eval)
CD5  Rec against the classifier's epochs is an inverted U; Delta Acc goes from below to above 0; with three seeds or
     more, Rec at neighbouring epochs differs (two-sided Welch t-test, p < 0.01)
CD6  more units, lower Rec
CD7  hiding the most relevant square hurts more than hiding the least relevant; on VGG most so at the last layer, and
     Grad-CAM at 1x1 maps tells nothing (within three standard errors of 0)
CD8  Delta Acc of ClaDec's squares exceeds that of Grad-CAM's, on networks without residual connections
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

from benchmark.papers import Check
from benchmark.store import setting_pairs

Values = dict[float, float]  # by layer, alpha, epochs ...
Runs = list[Values]  # one per seed
Looks = Iterator[tuple[str, bool, str]]  # claim, holds, evidence
GAP = "ClaDec-RefAE"


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """A Check for every claim that the rows can judge."""
    replicated = (rows.track == "replication") & (rows.status == "ok")
    mine = rows[(rows.paper == "cladec") & replicated]
    for (dataset, target), group in mine.groupby(["dataset", "target"]):
        for seed, rows_of_seed in group.groupby("seed"):
            unit = _Unit(rows_of_seed, group, target)
            for claim, holds, evidence in unit.looks():
                yield Check(claim, bool(holds), evidence, dataset, target, int(seed))
        yield from _t_tests(group, dataset, target)


@dataclass(frozen=True, eq=False)
class _Unit:
    """The rows of one network and seed. Evidence is the mean and standard deviation over all seeds."""

    rows: pd.DataFrame
    group: pd.DataFrame  # the same network, all seeds
    target: str

    @property
    def vgg(self) -> bool:
        return self.target.startswith("vgg")

    def looks(self) -> Looks:
        """All checks of this network and seed."""
        yield from self.layers()
        yield from self.alphas()
        yield from self.epochs()
        yield from self.units()
        yield from self.occlusion()

    def of_seed(self, metric: str, method: str = "ClaDec", by: str = "layer") -> Values:
        """Values of this seed, by one key of the setting."""
        return _values(self.rows, metric, method, by)

    def of_all(self, metric: str, method: str = "ClaDec", by: str = "layer") -> Runs:
        """Values of all seeds, by one key of the setting."""
        return [
            _values(rows, metric, method, by) for _, rows in self.group.groupby("seed")
        ]

    def layers(self) -> Looks:
        """CD1 to CD3."""
        rec, recs = self.of_seed("rec_loss"), self.of_all("rec_loss")
        gap, gaps = self.of_seed("delta_rec", GAP), self.of_all("delta_rec", GAP)
        for k, value in gap.items():
            if k >= -4:
                words = _mean(gaps, k, "+.3g")
                yield "CD1", value > 0, f"layer {k:g}: Delta Rec {words}"

        acc, accs = self.of_seed("delta_acc", GAP), self.of_all("delta_acc", GAP)
        for k, value in acc.items():
            if k <= -2:
                words = _mean(accs, k, "+.4f")
                yield "CD2", value > 0, f"layer {k:g}: Delta Acc {words}"

        for words, values, runs in (("Rec", rec, recs), ("Delta Rec", gap, gaps)):
            if len(values) > 1:
                yield "CD3", _rises(values), f"{words} {_listed(runs, 'layer')}"

    def alphas(self) -> Looks:
        """CD4."""
        loss, acc = (
            self.of_seed("rec_loss_sum", by="alpha"),
            self.of_seed("acc_eval", by="alpha"),
        )
        if len(loss) < 2:
            return
        losses = self.of_all("rec_loss_sum", by="alpha")
        yield "CD4", _rises(loss), f"Rec (sum) {_listed(losses, 'alpha')}"
        if 0 not in acc:
            return
        accs = self.of_all("acc_eval", by="alpha")
        at_0 = _mean(accs, 0, ".4f")
        for alpha, value in acc.items():
            if alpha > 0:
                words = (
                    f"Acc {_mean(accs, alpha, '.4f')} at alpha {alpha:g}, {at_0} at 0"
                )
                yield "CD4", value > acc[0], words

    def epochs(self) -> Looks:
        """CD5, but for the t-tests."""
        by = "classifier epochs"
        loss, gap = (
            self.of_seed("rec_loss_sum", by=by),
            self.of_seed("delta_acc", GAP, by),
        )
        if len(loss) < 3:
            return
        first, *inner, last = loss.values()
        losses = self.of_all("rec_loss_sum", by=by)
        yield (
            "CD5",
            max(inner) > max(first, last),
            f"Rec (sum) {_listed(losses, 'epochs')}",
        )
        first, *_, last = gap.values()
        gaps = self.of_all("delta_acc", GAP, by)
        yield "CD5", first < 0 < last, f"Delta Acc {_listed(gaps, 'epochs')}"

    def units(self) -> Looks:
        """CD6."""
        loss = self.of_seed("rec_loss", by="units")
        if len(loss) > 1:
            falls = _rises({-k: value for k, value in loss.items()})
            losses = self.of_all("rec_loss", by="units")
            yield "CD6", falls, f"Rec {_listed(losses, 'units')}"

    def occlusion(self) -> Looks:
        """CD7 and CD8."""
        name = "delta_acc_occl"
        hidden, cam = self.of_seed(name), self.of_seed(name, "GradCAM")
        hiddens, cams = self.of_all(name), self.of_all(name, "GradCAM")
        for k, value in hidden.items():
            words = f"layer {k:g}: Delta Acc {_mean(hiddens, k, '+.3f')}"
            yield "CD7", value > 0, words
            if not self.target.startswith("resnet"):
                words += f", Grad-CAM {_mean(cams, k, '+.3f')}"
                yield "CD8", value > cam[k], words

        if self.vgg and len(hidden) > 1:
            last, first = hidden[max(hidden)], hidden[min(hidden)]
            yield "CD7", last > first, f"Delta Acc {_listed(hiddens, 'layer')}"
        if self.vgg and -1 in cam:
            bound = 3 * self._standard_error()
            words = f"Grad-CAM at 1x1: Delta Acc {_mean(cams, -1, '+.4f')}"
            words += f", three standard errors {bound:.4f}"
            yield "CD7", abs(cam[-1]) <= bound, words

    def _standard_error(self) -> float:
        """Of the difference of two accuracies with a square hidden by Grad-CAM at layer -1."""
        metric = "acc_occl_min"
        p = self.of_seed(metric, "GradCAM")[-1]
        n = self.rows[self.rows.metric == metric].n.iloc[0]
        return np.sqrt(2 * p * (1 - p) / n)


def _t_tests(group: pd.DataFrame, dataset: str, target: str) -> Iterator[Check]:
    """Table 6: do the losses at neighbouring epochs differ?"""
    seeds = []
    for _, rows in group.groupby("seed"):
        values = _values(rows, "rec_loss_sum", "ClaDec", "classifier epochs")
        if values:
            seeds.append(values)
    if len(seeds) < 3:
        return
    for a, b in pairwise(seeds[0]):
        before, after = [values[a] for values in seeds], [values[b] for values in seeds]
        p = float(ttest_ind(before, after, equal_var=False).pvalue)
        words = f"epochs {a:g} and {b:g}: p = {p:.2g} over {len(seeds)} seeds"
        yield Check("CD5", p < 0.01, words, dataset, target)


def _values(unit: pd.DataFrame, metric: str, method: str, by: str) -> Values:
    """Values by one key of the setting, in rising order of it."""
    rows = unit[(unit.metric == metric) & (unit.method == method)]
    found = {}
    for setting, value in zip(rows.setting, rows.value, strict=True):
        key = value_of(setting, by)
        if key is not None:
            found[key] = value
    return dict(sorted(found.items()))


def value_of(setting: str, key: str) -> float | None:
    """The value of a setting that has this key alone: ``layer=-1`` -> -1."""
    pairs = setting_pairs(setting)
    return float(pairs[key]) if list(pairs) == [key] else None


def _rises(values: Values) -> bool:
    """Do the values rise with their keys?"""
    in_order = [values[key] for key in sorted(values)]
    return all(before < after for before, after in pairwise(in_order))


def _mean(runs: Runs, key: float, digits: str = ".4g") -> str:
    """Mean, standard deviation and number of runs: ``+0.0211 ± 0.0077 (3 runs)``."""
    values = [run[key] for run in runs if key in run]
    mean = f"{np.mean(values):{digits}}"
    if len(values) < 2:
        return mean
    spread = format(np.std(values, ddof=1), digits.removeprefix("+"))
    return f"{mean} ± {spread} ({len(values)} runs)"


def _listed(runs: Runs, key: str) -> str:
    """The means at all keys, one after the other."""
    found = set()
    for run in runs:
        found |= run.keys()
    return ", ".join(f"{_mean(runs, k)} at {key} {k:g}" for k in sorted(found))
