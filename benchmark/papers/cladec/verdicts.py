"""The paper's claims, checked against the rows of a profile: one check for each network and layer (or setting).

CD1  Rec(ClaDec) > Rec(RefAE) at layers -1 to -4
CD2  Delta Acc > 0 below the last layer
CD3  Rec and Delta Rec rise towards the output, from layer -5 to -3 to -1. (In Tables 2 and 3 the layers between are out
     of order on three of six networks, and Delta Rec falls on CIFAR-100 with VGG-11: there only Rec is judged.)
CD4  alpha > 0 raises Rec, and raises Acc(C_eval)
CD5  Rec against the classifier's epochs is an inverted U; Delta Acc goes from below to above 0; with three seeds or
     more, Rec at neighbouring epochs differs (two-sided Welch t-test, p < 0.01)
CD6  more units, lower Rec
CD7  hiding the most relevant square hurts more than hiding the least relevant; on VGG most so at the last layer, and
     Grad-CAM at 1x1 maps tells nothing (within three standard errors of 0)
CD8  Delta Acc of ClaDec's squares exceeds that of Grad-CAM's, on networks without residual connections
CD9  linear encoders and decoders: RefAE rebuilds what PCA's projection does (their distance is at most 1 % of the
     variance); ClaDec of a linear model loses more of the image, and less of the model's output

A claim about a difference holds if the difference's 95 % interval lies on the claimed side of 0, does not hold if it
lies on the other, and is undecided otherwise. The check is of the mean over seeds and is listed once for each.

Theory: the test images are the same for all seeds, trainings are not. So half the interval is the root of two squares:
1.96 standard errors over the images (rows ``<metric>_se``; without them, those of independent binomials for accuracies)
and, with two seeds or more, Student's t interval of the mean over seeds. One seed says nothing about other trainings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.stats import t as student
from scipy.stats import ttest_ind

from benchmark.papers import Check
from benchmark.store import setting_pairs

NORMAL = 1.96  # half a 95 % interval in standard errors
GAP = "ClaDec-RefAE"
# The accuracies whose difference a number is: (metric, method) of each.
PARTS = {
    ("delta_acc", GAP): [("acc_eval", "ClaDec"), ("acc_eval", "RefAE")],
    ("delta_acc_occl", "ClaDec"): [
        ("acc_occl_min", "ClaDec"),
        ("acc_occl_max", "ClaDec"),
    ],
    ("delta_acc_occl", "GradCAM"): [
        ("acc_occl_min", "GradCAM"),
        ("acc_occl_max", "GradCAM"),
    ],
}


@dataclass(frozen=True, eq=False)
class Estimate:
    """A number of one network: its values by seed, and its standard error over the test images."""

    runs: pd.Series
    error: float

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference, as if the images were others: too wide where they are the same."""
        difference = (self.runs - other.runs).dropna()
        return Estimate(difference, float(np.hypot(self.error, other.error)))

    @property
    def mean(self) -> float:
        return float(self.runs.mean())

    @property
    def half(self) -> float:
        """Half the 95 % interval."""
        seeds, trainings = len(self.runs), 0.0
        if seeds > 1:
            quantile = student.ppf(0.975, seeds - 1)
            trainings = quantile * self.runs.std() / np.sqrt(seeds)
        return float(np.hypot(NORMAL * self.error, trainings))

    @property
    def positive(self) -> bool | None:
        """Is the number above 0? None: its interval holds 0."""
        if abs(self.mean) <= self.half:
            return None
        return self.mean > 0

    def text(self, form: str = ".4g") -> str:
        """``+0.021 [0.0134, 0.0288], 3 seeds``."""
        words = format(self.mean, form)
        if self.half > 0:
            low = format(self.mean - self.half, form)
            high = format(self.mean + self.half, form)
            words += f" [{low}, {high}]"
        if len(self.runs) > 1:
            words += f", {len(self.runs)} seeds"
        return words


Estimates = dict[float, Estimate]  # by layer, alpha, epochs ..., in rising order


@dataclass(frozen=True, eq=False)
class Look:
    """One look at a claim; ``seeds`` are those that it rests on."""

    claim: str
    holds: bool | None
    evidence: str
    seeds: Iterable[int]


Looks = Iterator[Look]


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """A Check for every claim that the rows can judge."""
    replicated = (rows.track == "replication") & (rows.status == "ok")
    mine = rows[(rows.paper == "cladec") & replicated]
    for (dataset, target), group in mine.groupby(["dataset", "target"]):
        for look in _Network(_keyed(group), dataset, target).looks():
            for seed in look.seeds:
                where = dataset, target, int(seed)
                yield Check(look.claim, look.holds, look.evidence, *where)


def _keyed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose setting has one key alone: with the key, ``by``, and its value, ``at``."""
    keep, by, at = [], [], []
    for setting in rows.setting:
        pairs = setting_pairs(setting)
        keep.append(len(pairs) == 1)
        if keep[-1]:
            by += pairs.keys()
            at += map(float, pairs.values())
    return rows[keep].assign(by=by, at=at)


@dataclass(frozen=True, eq=False)
class _Network:
    """The rows of one network, all seeds, from ``_keyed``."""

    rows: pd.DataFrame
    dataset: str
    target: str

    @property
    def vgg(self) -> bool:
        return self.target.startswith("vgg")

    def looks(self) -> Looks:
        """All looks at claims."""
        yield from self.layers()
        yield from self.alphas()
        yield from self.epochs()
        yield from self.units()
        yield from self.occlusion()
        yield from self.linear()

    def of(self, metric: str, method: str = "ClaDec", by: str = "layer") -> Estimates:
        """A metric's estimates by one key of the setting."""
        errors = self._runs(f"{metric}_se", method, by)
        found = {}
        for at, runs in self._runs(metric, method, by).items():
            error = errors.get(at, self._binomial(metric, method, by, at))
            mean_square = float(np.square(error).mean())
            found[at] = Estimate(runs, np.sqrt(mean_square))
        return found

    def _runs(self, metric: str, method: str, by: str) -> dict[float, pd.Series]:
        """Values by seed, by one key of the setting in rising order of it."""
        rows = self.rows
        mine = (rows.metric == metric) & (rows.method == method) & (rows.by == by)
        found = {}
        for at, part in rows[mine].groupby("at"):
            found[float(at)] = part.set_index("seed").value
        return found

    def _binomial(self, metric: str, method: str, by: str, at: float) -> float:
        """The standard error of a difference of accuracies as if of different images; 0 of other numbers."""
        variance = 0.0
        for part, of in PARTS.get((metric, method), []):
            p = self._runs(part, of, by).get(at)
            if p is not None:
                n = self.rows[self.rows.metric == part].n.min()
                variance += float((p * (1 - p)).mean() / n)
        return np.sqrt(variance)

    def layers(self) -> Looks:
        """CD1 to CD3."""
        gap = self.of("delta_rec", GAP)
        for k, delta in gap.items():
            if k >= -4:
                words = f"layer {k:g}: Delta Rec {delta.text('+.3g')}"
                yield Look("CD1", delta.positive, words, delta.runs.index)
        for k, delta in self.of("delta_acc", GAP).items():
            if k <= -2:
                words = f"layer {k:g}: Delta Acc {delta.text('+.4f')}"
                yield Look("CD2", delta.positive, words, delta.runs.index)
        rising = {"Rec": self.of("rec_loss"), "Delta Rec": gap}
        if self.vgg and self.dataset == "cifar100":
            del rising["Delta Rec"]
        for words, estimates in rising.items():
            found = {k: estimates[k] for k in (-5.0, -3.0, -1.0) if k in estimates}
            if len(found) > 1:
                evidence = f"{words} {_listed(found, 'layer')}"
                yield Look("CD3", _rise(found), evidence, _seeds(found))

    def alphas(self) -> Looks:
        """CD4."""
        loss = self.of("rec_loss_sum", by="alpha")
        if len(loss) < 2:
            return
        rises = self.of("rec_rise_sum", by="alpha")
        steps = rises.values() if rises else _steps(loss)
        holds = _all([step.positive for step in steps])
        words = f"Rec (sum) {_listed(loss, 'alpha')}"
        yield Look("CD4", holds, words, _seeds(loss))
        for alpha, gain in self._gains().items():
            words = f"Acc at alpha {alpha:g} minus at 0: {gain.text('+.4f')}"
            yield Look("CD4", gain.positive, words, gain.runs.index)

    def _gains(self) -> Estimates:
        """Acc(C_eval) at each alpha above 0 minus that at 0: on the same images, or as if on different ones."""
        gains = self.of("acc_gain", by="alpha")
        acc = self._runs("acc_eval", "ClaDec", "alpha")
        if gains or 0 not in acc:
            return gains
        n = self.rows[self.rows.metric == "acc_eval"].n.min()
        found = {}
        for alpha, values in acc.items():
            p = Estimate(values, np.sqrt((values * (1 - values)).mean() / n))
            found[alpha] = p
        zero = found.pop(0.0)
        return {alpha: p - zero for alpha, p in found.items()}

    def epochs(self) -> Looks:
        """CD5."""
        by = "classifier epochs"
        loss, gap = self.of("rec_loss_sum", by=by), self.of("delta_acc", GAP, by)
        if len(loss) < 3:
            return
        first, *inner, last = loss.values()
        top = max(inner, key=lambda estimate: estimate.mean)
        holds = _all([(top - first).positive, (top - last).positive])
        words = f"Rec (sum) {_listed(loss, 'epochs')}"
        yield Look("CD5", holds, words, _seeds(loss))
        first, *_, last = gap.values()
        holds = _all([_not(first.positive), last.positive])
        words = f"Delta Acc {_listed(gap, 'epochs', '+.4f')}"
        yield Look("CD5", holds, words, _seeds(gap))
        yield from _t_tests(loss)

    def units(self) -> Looks:
        """CD6."""
        loss = self.of("rec_loss", by="units")
        if len(loss) > 1:
            falling = {-k: estimate for k, estimate in loss.items()}
            words = f"Rec {_listed(loss, 'units')}"
            yield Look("CD6", _rise(falling), words, _seeds(loss))

    def occlusion(self) -> Looks:
        """CD7 and CD8."""
        name = "delta_acc_occl"
        hidden, cam = self.of(name), self.of(name, "GradCAM")
        ahead = self.of(name, "ClaDec-GradCAM")
        for k, delta in hidden.items():
            words = f"layer {k:g}: Delta Acc {delta.text('+.3f')}"
            yield Look("CD7", delta.positive, words, delta.runs.index)
            if not self.target.startswith("resnet"):
                gain = ahead.get(k, delta - cam[k])
                words = f"layer {k:g}: Delta Acc {delta.mean:+.3f}, Grad-CAM's "
                words += f"{cam[k].mean:+.3f}, difference {gain.text('+.3f')}"
                yield Look("CD8", gain.positive, words, gain.runs.index)
        if self.vgg and len(hidden) > 1:
            first, *_, last = hidden.values()
            words = f"Delta Acc {_listed(hidden, 'layer', '+.3f')}"
            yield Look("CD7", (last - first).positive, words, _seeds(hidden))
        if self.vgg and -1 in cam:
            delta = cam[-1]
            words = f"Grad-CAM at 1x1: Delta Acc {delta.text('+.4f')}"
            holds = abs(delta.mean) <= 3 / NORMAL * delta.half
            yield Look("CD7", holds, words, delta.runs.index)

    def linear(self) -> Looks:
        """CD9."""
        by = "hidden units"
        for k, apart in self.of("distance_to_pca", "RefAE", by).items():
            words = (
                f"{k:g} hidden units: RefAE to PCA {apart.text('.2g')} of the variance"
            )
            yield Look("CD9", apart.mean <= 0.01, words, apart.runs.index)
        for k, gap in self.of("variance_lost", GAP, by).items():
            words = f"{k:g} hidden units: variance lost by ClaDec minus by RefAE "
            words += gap.text("+.3f")
            yield Look("CD9", gap.positive, words, gap.runs.index)
        for k, gap in self.of("output_lost", GAP, by).items():
            words = f"{k:g} hidden units: output lost by ClaDec minus by RefAE "
            words += gap.text("+.3f")
            yield Look("CD9", _not(gap.positive), words, gap.runs.index)


def _t_tests(loss: Estimates) -> Looks:
    """Table 6: do the losses at neighbouring epochs differ?"""
    if len(_seeds(loss)) < 3:
        return
    for (a, before), (b, after) in pairwise(loss.items()):
        p = float(ttest_ind(before.runs, after.runs, equal_var=False).pvalue)
        words = f"epochs {a:g} and {b:g}: p = {p:.2g}, {len(before.runs)} seeds"
        yield Look("CD5", p < 0.01 or None, words, before.runs.index)


def value_of(setting: str, key: str) -> float | None:
    """The value of a setting that has this key alone: ``layer=-1`` -> -1."""
    pairs = setting_pairs(setting)
    return float(pairs[key]) if list(pairs) == [key] else None


def _steps(found: Estimates) -> list[Estimate]:
    """From each estimate to the next, in rising order of their keys."""
    in_order = [found[key] for key in sorted(found)]
    return [after - before for before, after in pairwise(in_order)]


def _rise(found: Estimates) -> bool | None:
    """Do the numbers rise with their keys?"""
    return _all([step.positive for step in _steps(found)])


def _all(holds: Sequence[bool | None]) -> bool | None:
    """False if one does not hold, else None if one is undecided."""
    if False in holds:
        return False
    return None if None in holds else True


def _not(holds: bool | None) -> bool | None:
    return None if holds is None else not holds


def _seeds(found: Estimates) -> pd.Index:
    """The seeds of the first estimate."""
    return next(iter(found.values())).runs.index


def _listed(found: Estimates, key: str, form: str = ".4g") -> str:
    """All estimates, one after the other."""
    each = [f"{estimate.text(form)} at {key} {at:g}" for at, estimate in found.items()]
    return "; ".join(each)
