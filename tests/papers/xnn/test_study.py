"""The scores of the human study, by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from benchmark.papers.kits import mean_score
from benchmark.papers.xnn import study

PUBLISHED = pd.DataFrame(
    [("CUB", "XNN", "clustering_purity_pct", 72.0)],
    columns=["dataset", "method", "metric", "value"],
)


def rows(person, stage, groups, classes):
    return [
        {
            "person": person,
            "form": 1,
            "stage": stage,
            "answer": g,
            "class": c,
            "asks": None,
            "of": None,
        }
        for g, c in zip(groups, classes)
    ]


def asked(person, stage, asks, answer, of=None):
    return {
        "person": person,
        "form": 1,
        "stage": stage,
        "answer": answer,
        "class": None,
        "asks": asks,
        "of": of,
    }


def lines(answers):
    found = study.score(pd.DataFrame(answers), PUBLISHED)
    return {(one.measure, one.of): one for one in found}


def test_purity_by_hand():
    # group A: two gulls of kind x, one y; group B: two y; group C: one x
    assert study.purity(list("AAABBC"), list("xxyyyx")) == pytest.approx(100 * 5 / 6)
    assert study.purity(list("ABCD"), list("xxxx")) == 100  # groups of one are pure
    assert study.purity(list("AAAA"), list("xyzw")) == 25


def test_purity_of_chance_against_a_literal_twin():
    groups, classes = list("AAABBBCCDD"), list("xxyyyzzwww")
    rng = np.random.default_rng(5)
    twin = [study.purity(groups, rng.permutation(classes)) for _ in range(600)]
    error = np.std(twin) / 600**0.5
    found = study.purity_of_chance(groups, classes)
    assert abs(found - np.mean(twin)) < 4 * error
    assert found > 50  # far above one in four
    assert study.purity_of_chance(list("AAAA"), list("xyzw")) == 25


def test_gains_are_paired_by_person():
    answers = []
    for person, nothing, features in (("a", "AAAA", "AABB"), ("b", "ABAB", "AABB")):
        answers += rows(person, "NoVis", nothing, "xxyy")
        answers += rows(person, "XNN", features, "xxyy")
    answers += rows("c", "NoVis", "AABB", "xxyy")  # has no XNN stage yet
    found = lines(answers)
    assert found["purity, %", "NoVis"].value == pytest.approx((50 + 50 + 100) / 3)
    assert found["purity, %", "XNN"].value == 100
    assert found["purity, %", "XNN"].published == "72 (CUB)"
    gain = found["gain in purity, points", "XNN - NoVis"]
    assert gain.value == 50 and gain.n == 2
    assert ("gain in purity, points", "XNN - 1-Heatmap") not in found


def test_confidence_and_preference():
    answers = [
        asked("a", "XNN", "confidence", "Zero"),
        asked("b", "XNN", "confidence", "100%"),
        asked("a", "ratings", "rating", "Very good", "XNN"),
        asked("a", "ratings", "rating", "Poor", "1-Heatmap"),
        asked("b", "ratings", "rating", "Poor", "XNN"),
        asked("b", "ratings", "rating", "Poor", "1-Heatmap"),  # even: left out
        asked("c", "ratings", "rating", "Good", "XNN"),  # half a pair: left out
    ]
    found = lines(answers)
    assert found["confidence, 0 to 6", "XNN"].value == 3
    rated = found["rate XNN higher, %", "of those not even"]
    assert (rated.value, rated.n) == (100, 1)
    exact = binomtest(1, 1).proportion_ci(0.95, "exact")
    assert rated.low == pytest.approx(100 * exact.low) == pytest.approx(2.5)


def test_a_mean_has_students_interval():
    one = mean_score("m", "", [1.0, 2.0, 3.0])
    assert (one.value, one.n) == (2, 3)
    assert one.high - one.value == pytest.approx(4.302653 / 3**0.5)
    assert np.isnan(mean_score("m", "", [1.0]).low)
    assert mean_score("m", "", [99.0, 100.0], most=100).high == 100
