"""The paper's claims (results/reported/claims.csv, EX1-EX7), judged on the rows of ``replicate``.

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
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from benchmark.papers import Check
from benchmark.papers.evidence import Evidence, Said, over_seeds
from benchmark.store import setting_pairs

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
    networks = rows[~synthetic & (rows["method"] == "ExplaiNN")]
    for (dataset, target, seed), of_network in networks.groupby(
        ["dataset", "target", "seed"]
    ):
        say = Evidence(dataset, target, int(seed))
        for setting, lines in of_network.groupby("setting"):
            found = _by_metric(lines)
            layer = setting_pairs(setting).get("layer", "")
            yield from _intervention(found, say)
            yield from _places(found, layer, say)


def _by_metric(rows: pd.DataFrame) -> dict[str, float]:
    return dict(zip(rows["metric"], rows["value"], strict=True))


# --------------------------------------------------------------------------------------------- App. A.1: EX1


def _worked_example(rows: pd.DataFrame) -> Iterator[Said]:
    if not len(rows):
        return
    found = _by_metric(rows)
    wrong = []
    for metric, exact in EXACT.items():
        if metric not in found or abs(found[metric] - exact) > 1e-9:
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


# --------------------------------------------------------------------------------------------- networks: EX5, EX6, EX7


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
