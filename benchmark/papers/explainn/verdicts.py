"""The paper's claims (results/reported/claims.csv, EX1-EX15), judged on the rows of ``replicate``.

EX1  App. A.1           every term, to the last digit that the exact recomputation has
EX2  Fig. 2 left        exclusive heads: exact precision and recall at least 0.9 (the figure's axis begins at 0.85)
EX3  Fig. 2 right       co-occurring heads, noise up to 10 %, which the paper calls more noise than signal, with the
                        whole search space (theta = 0, mu >= 10, "best" in Sec. 2.3): the smaller of soft precision and
                        recall keeps at least 0.8 of what it is at the lowest noise
EX4  Sec. 3.1           exclusive heads: as many rules as were planted, within 5 %, none on a noise item
EX5  Fig. 2 bottom      most classes fall below the 90 % quantile of random interventions, and most to 5 % or less
EX6  Figs. 3, 10, 11    some rules have several classes; a rule's pixels touch more often than by chance; some filters
                        respond to background (correlation with brightness below -0.1)
EX7  Sec. 3             hundreds up to 3,000 rules: no layer of a network has more
EX8  Sec. 3.2           in most of the classes that lose images the commonest answer instead is among the nearest tenth
                        of the other classes, and, where names tell, ends in the same word more often than by chance
EX9  Fig. 4             two classes with a rule of both and one of each alone, whose tails hold where they should
EX10 Fig. 13            some rules have several classes and several units
EX11 Fig. 14            most whole tails are activated more by their own image than by that of any of their units
EX12 App. B.4           most whole tails have a sharper image than their units have on average
EX13 Fig. 15            the rules of one class hold in different images of it: correlation below 0
EX14 Fig. 17            before fine-tuning, the image of a tail activates it at least half as much and more than images
                        of other tails; most have less intense colours; units keep their states, most rules are new
EX15 Figs. 5, 16        pixels of a chain's tails touch more often than by chance

EX11, EX12 and the colours of EX14 look at a few rules; undecided where Wilson's 95 % interval includes a half.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
from scipy.stats import binomtest

from benchmark.papers import Check
from benchmark.papers.evidence import Evidence, Said, above, over_seeds
from benchmark.store import format_value, setting_pairs

EXACT = {  # App. A.1, recomputed with exact integers, base 2
    "L(D,M_ind)_bits": 375.9427364074,
    "L(D|M)_bits": 256.4238799230,
    "L(M)_bits": 28.0212251708,
    "L(D,M)_bits": 284.4451050938,
    "Lpc(40)_bits": 3.1058646117,
    "log2_C(100,40)": 93.4730230956,
    "log2_C(100,35)": 89.8230779054,
    "log2_C(100,33)": 87.9293404538,
    "log2_C(40,30)": 29.6589113675,
    "log2_C(100,5)": 26.1659074013,
    "log2_C(100,3)": 17.3029601532,
    "L_N(1)": 1.5185673664,
    "L_N(2)": 2.5185673664,
    "-log2(40/143)": 1.8379432419,
    "-log2(35/143)": 2.0305883198,
    "-log2(33/143)": 2.1154772174,
}
NOISE = 0.1  # EX3 is checked up to this noise
LARGEST = 5  # items of a planted head, at most


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """Every check that the rows allow."""
    rows = rows[(rows["track"] == "replication") & (rows["paper"] == "explainn")]
    yield from over_seeds(_looks(rows))


def _looks(rows: pd.DataFrame) -> Iterator[Said]:
    synthetic = rows["dataset"].str.startswith("synthetic")
    yield from _worked_example(rows[rows["method"] == "ExplaiNN encoding"])
    yield from _planted(rows[synthetic])
    networks = rows[~synthetic & (rows["dataset"] != "toy n=100")]
    for (dataset, target, seed), lines in networks.groupby(
        ["dataset", "target", "seed"]
    ):
        say = Evidence(dataset, target, int(seed))
        yield from _prototypes(lines[lines["method"] != "ExplaiNN"], say)
        of_network = lines[lines["method"] == "ExplaiNN"]
        for setting, lines in of_network.groupby("setting"):
            found = _by_metric(lines)
            layer = setting_pairs(setting).get("layer", "")
            yield from _intervention(found, say)
            yield from _instead(found, say)
            yield from _places(found, layer, say)
            yield from _shared_and_own(found, say)
            yield from _within(lines, say)
            yield from _fine_tuning(found, say)
            yield from _chains(found, setting_pairs(setting), say)


def _by_metric(rows: pd.DataFrame) -> dict[str, float]:
    return dict(zip(rows["metric"], rows["value"], strict=True))


# --------------------------------------------------------------------------------------------- App. A.1: EX1


def _worked_example(rows: pd.DataFrame) -> Iterator[Said]:
    if not len(rows):
        return
    found = _by_metric(rows)
    wrong = []
    for metric, exact in EXACT.items():
        kept = float(format_value(exact))  # the digits of rows.csv
        apart = [abs(found.get(metric, math.inf) - value) for value in (exact, kept)]
        if min(apart) > 1e-9:
            wrong.append(metric)
    words = f"{len(EXACT) - len(wrong)} of {len(EXACT)} code lengths to 1e-9 bits"
    if wrong:
        words += f"; not {', '.join(wrong)}"
    first = rows.iloc[0]
    say = Evidence(first["dataset"], first["target"], 0)
    yield say("EX1", not wrong, words)


# --------------------------------------------------------------------------------------------- Fig. 2 top: EX2-EX4


@dataclass(frozen=True)
class DataSet:
    """The numbers of one data set with planted rules."""

    dataset: str
    target: str  # the number of planted rules and the kind of heads, in words
    seed: int
    setting: Mapping[str, str]  # without the noise
    noise: float
    m: int  # planted rules
    number: Mapping[str, float]  # metric -> value

    @property
    def series(self) -> tuple:
        """Equal for data sets that differ in their noise alone."""
        return self.dataset, self.target, self.seed, tuple(sorted(self.setting.items()))

    @property
    def whole_search(self) -> bool:
        """Whether theta and mu left nothing out."""
        theta, mu = float(self.setting["theta"]), int(self.setting["mu"])
        return theta == 0 and mu >= 2 * LARGEST

    @property
    def soft(self) -> float:
        return min(self.number["soft_precision"], self.number["soft_recall"])


def _planted(rows: pd.DataFrame) -> Iterator[Said]:
    data_sets = list(_data_sets(rows))
    cleanest: dict[
        tuple, DataSet
    ] = {}  # of each series the data set with the lowest noise
    for found in data_sets:
        known = cleanest.get(found.series)
        if known is None or found.noise < known.noise:
            cleanest[found.series] = found
    for found in data_sets:
        if "encoding" in found.setting:
            continue  # the simple encoding serves for comparison only
        if "exclusive" in found.target:
            yield from _exclusive(found)
        elif found.whole_search and found.noise <= NOISE + 1e-12:
            yield from _under_noise(found, cleanest[found.series])


def _data_sets(rows: pd.DataFrame) -> Iterator[DataSet]:
    columns = ["dataset", "target", "seed", "setting"]
    for (dataset, target, seed, text), lines in rows.groupby(columns):
        setting = setting_pairs(text)
        noise = float(setting.pop("noise"))
        m = int(lines["n"].iloc[0])
        yield DataSet(dataset, target, int(seed), setting, noise, m, _by_metric(lines))


def _exclusive(found: DataSet) -> Iterator[Said]:
    say = Evidence(found.dataset, found.target, found.seed)
    number = found.number
    p, r = number["precision"], number["recall"]
    words = "exact precision {:.3f}, recall {:.3f}"
    yield say("EX2", min(p, r) >= 0.9, words, p, r)
    n, noisy = number["n_found"], number["noise_rules"]
    as_many = abs(n - found.m) <= 0.05 * found.m
    holds = as_many and not noisy
    words = "{:.4g} rules found, {:.3g} on noise items"
    yield say("EX4", holds, words, n, noisy)


def _under_noise(found: DataSet, cleanest: DataSet) -> Iterator[Said]:
    if found.noise == cleanest.noise:
        return
    say = Evidence(found.dataset, found.target, found.seed)
    words = (
        f"soft {{:.2f}} at noise {found.noise:.1%}, {{:.2f}} at {cleanest.noise:.1%}; "
        "exact precision {:.2f}, recall {:.2f}"
    )
    yield say(
        "EX3",
        found.soft >= 0.8 * cleanest.soft,
        words,
        found.soft,
        cleanest.soft,
        found.number["precision"],
        found.number["recall"],
    )


# --------------------------------------------------------------------------------------------- networks: EX5-EX8, EX15


def _intervention(found: Mapping[str, float], say: Evidence) -> Iterator[Said]:
    if "below_random_q90_share" not in found:
        return
    accuracies = (
        found["classes_judged"],
        found["class_accuracy_before"],
        found["class_accuracy_after"],
        found["class_accuracy_random_q90"],
    )
    words = "{:.3g} classes: {:.2f} before, {:.2f} after, random {:.2f}"
    below = found["below_random_q90_share"]
    yield say("EX5", below > 0.5, f"{words}; {{:.0%}} below random", *accuracies, below)
    lost = found["after_at_most_5pct_share"]
    yield say(
        "EX5",
        lost > 0.5,
        f"{words}; {{:.0%}} of classes at 5 % or less",
        *accuracies,
        lost,
    )


def _instead(found: Mapping[str, float], say: Evidence) -> Iterator[Said]:
    if "instead_related_share" not in found:
        return
    related, chance = (
        found["instead_related_share"],
        found["instead_related_by_chance"],
    )
    words = (
        "of {:.3g} classes {:.0%} are answered as one of the nearest, {:.0%} by chance"
    )
    lose = found["classes_that_lose"]
    yield say("EX8", related > 0.5, words, lose, related, chance)
    if "instead_namesake_share" not in found:
        return
    named, chance = found["instead_namesake_share"], found["instead_namesake_by_chance"]
    words = (
        "of {:.3g} classes with a namesake {:.0%} are answered as one, {:.0%} by chance"
    )
    lose = round(found["classes_that_lose_with_namesakes"])
    low, high = wilson(round(named * lose), lose)
    yield say("EX8", above(low, high, chance), words, lose, named, chance)


def _chains(
    found: Mapping[str, float], setting: Mapping[str, str], say: Evidence
) -> Iterator[Said]:
    if "level" in setting and "adjacent_share" in found:
        near, chance = found["adjacent_share"], found["adjacent_share_by_chance"]
        words = f"chains to {setting['layer']}: {{:.2f}} of pixel pairs touch, {{:.2f}} by chance"
        yield say("EX15", near > chance, words, near, chance)


def _places(found: Mapping[str, float], layer: str, say: Evidence) -> Iterator[Said]:
    if "multi_class_share" not in found:
        return
    rules = found["n_rules"]
    yield say("EX7", rules <= 3000, f"{layer}: {{:,.0f}} rules", rules)
    if "n_filters" not in found:
        return
    several = found["multi_class_share"]
    words = f"{layer}: {{:.0%}} of {{:.3g}} rules have several classes"
    yield say("EX6", several > 0, words, several, rules)
    if "adjacent_share" in found:
        near, chance = found["adjacent_share"], found["adjacent_share_by_chance"]
        words = f"{layer}: {{:.2f}} of a rule's pixel pairs touch, {{:.2f}} by chance"
        yield say("EX6", near > chance, words, near, chance)
    dark, filters = found["background_filters"], found["n_filters"]
    words = f"{layer}: {{:.3g}} of {{:.3g}} filters answer to background"
    yield say("EX6", dark > 0, words, dark, filters)


# --------------------------------------------------------------------------------------------- tails: EX9-EX13


def _shared_and_own(found: Mapping[str, float], say: Evidence) -> Iterator[Said]:
    if "n_pairs_with_three_rules" not in found:
        return
    words = "{:.3g} rules of several classes and several units"
    shared = found["n_rules_of_several_classes_and_units"]
    yield say("EX10", shared > 0, words, shared)
    words = "{:.3g} pairs of classes with a rule of both and one of each alone"
    pairs = found["n_pairs_with_three_rules"]
    if "pair_own_gap" not in found:
        yield say("EX9", False, words, pairs)
        return
    own, both = found["pair_own_gap"], found["pair_shared_gap"]
    words += (
        "; shown: own tails hold in {:+.0%} more of the own class's images than of the other's, "
        "the shared one in {:+.0%} more than in other classes'"
    )
    yield say("EX9", min(own, both) > 0, words, pairs, own, both)


def _prototypes(rows: pd.DataFrame, say: Evidence) -> Iterator[Said]:
    """EX11 and EX12: whole tails beside their single units, over the rules that are drawn."""
    looks = {
        "tail_activation": ("EX11", "activate the tail more than any unit's image"),
        "sharpness": ("EX12", "are sharper than those of their units"),
    }
    for metric, (claim, said) in looks.items():
        of_metric = rows[rows["metric"] == metric]
        if not len(of_metric):
            continue
        wide = of_metric.pivot(index="setting", columns="method", values="value")
        more = wide["whole tail"] > wide.drop(columns="whole tail").iloc[:, 0]
        won, n = int(more.sum()), len(more)
        yield say(
            claim, mostly(won, n), f"{{:.3g}} of {{:.3g}} tails' images {said}", won, n
        )


def _within(lines: pd.DataFrame, say: Evidence) -> Iterator[Said]:
    """Fisher's interval of the correlation, over the images of the class."""
    found = _by_metric(lines)
    if "within_share" not in found:
        return
    share = found["within_share"]
    if "within_correlation" not in found:
        words = (
            "the tails of a class's rules hold in {:.0%} of its images, all in the same"
        )
        yield say("EX13", False, words, share)
        return
    row = lines[lines["metric"] == "within_correlation"].iloc[0]
    r, n = float(row["value"]), int(row["n"])
    half = 1.96 / math.sqrt(max(n - 3, 1))
    z = math.atanh(max(-0.999, min(0.999, r)))
    words = "a class's rules hold in {:.0%} of its {:.3g} images; correlation of where {:.2f}"
    yield say("EX13", above(-z - half, -z + half), words, share, n, r)


# --------------------------------------------------------------------------------------------- Fig. 17: EX14


def _fine_tuning(found: Mapping[str, float], say: Evidence) -> Iterator[Said]:
    if "same_on_state_share" not in found:
        return
    same = found["same_on_state_share"]
    kept, new = found["n_rules_kept"], found["n_rules_new"]
    words = "{:.0%} of the units' states stay, {:.3g} rules are kept, {:.3g} new"
    yield say("EX14", same >= 0.75 and new > kept, words, same, kept, new)
    if "before_other_activation_share" in found:
        share = found["before_activation_share"]
        others = found["before_other_activation_share"]
        words = "the image from before activates a tail {:.2f} as much, other tails' images {:.2f}"
        yield say("EX14", share >= 0.5 and share > others, words, share, others)
    if "paler_before_share" in found:
        n = round(found["tails_drawn"])
        paler = round(found["paler_before_share"] * n)
        words = "{:.3g} of {:.3g} tails had less intense colours before"
        yield say("EX14", mostly(paler, n), words, paler, n)


# --------------------------------------------------------------------------------------------- a few of many


def mostly(k: int, n: int) -> bool | None:
    """Whether most are, when k of n were; None where the interval includes a half."""
    low, high = wilson(k, n)
    return above(low, high, 0.5)


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, k of n."""
    interval = binomtest(k, n).proportion_ci(method="wilson")
    return interval.low, interval.high
