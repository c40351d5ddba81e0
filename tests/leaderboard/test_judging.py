"""Verdicts on published numbers at the edges of their rules, by hand."""

from __future__ import annotations

import math

import pytest

from benchmark.leaderboard import judging

NAN = math.nan


def pair(value: float, low: float, high: float, error=0.0, bound="") -> judging.Pair:
    return judging.Pair(value, bound, error, (low + high) / 2, low, high)


def published(value: str, metric: str, method: str = "M", std: str = "", **key) -> dict:
    line = dict.fromkeys(("table", "dataset", "target", "setting"), "s")
    return line | {"value": value, "metric": metric, "method": method, "std": std} | key


def measured(mean: float, half: float = NAN) -> dict:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def verdict(value: str, metric: str, mean: float, half: float = NAN, **key) -> str:
    lines = [published(value, metric, **key)]
    return judging.judge(lines, [measured(mean, half)], 0)[0]


# --------------------------------------------------------------------------------------------- which rule


def test_a_metric_without_a_tolerance_is_undecided():
    found = judging.judge([published("1", "oddity")], [measured(1.0)], 0)
    assert found == ("undecided", "no tolerance is stated")
    assert judging.tolerance("oddity") == ("", "", 0.0)
    assert judging.tolerance("an accuracy") == ("", "", 0.0)  # the whole name counts


def test_only_what_is_smaller_than_its_tolerance_is_asked_for_its_sign():
    """Accuracies: 0.015. A published 0.014 that is measured as 0.001 would lie within it."""
    assert verdict("0.014", "accuracy", 0.001) == "undecided"  # its error is not known
    assert verdict("0.015", "accuracy", 0.001) == "holds"
    assert verdict("<0.014", "accuracy", 0.001) == "holds"  # a bound has no sign
    assert verdict("1", "n_rules", 0.6) == "holds"  # factors know no sign
    # a difference of accuracies always is
    assert verdict("0.5", "delta_acc", 0.499) == "undecided"
    assert verdict("0.5", "delta_acc", 0.499, 0.01) == "holds"
    assert verdict("-0.5", "delta_acc", 0.499, 0.01) == "does not hold"


# --------------------------------------------------------------------------------------------- within a tolerance


@pytest.mark.parametrize(
    ("value", "low", "high", "error", "found"),
    [  # a factor of 2 around 4 is 2 to 8; around -4, -8 to -2
        (4, 2, 8, 0, "holds"),
        (4, 1.9, 8, 0, "undecided"),
        (4, 2, 8.1, 0, "undecided"),
        (4, 8.1, 9, 0, "does not hold"),
        (4, 1, 1.9, 0, "does not hold"),
        (-4, -8, -2, 0, "holds"),
        # two standard deviations of 3: 1 to 8 around 4; -8 to -1 around -4
        (4, 1, 8, 3, "holds"),
        (4, 0.9, 8, 3, "undecided"),
        (4, 1, 8.1, 3, "undecided"),
        (-4, -8, -1, 3, "holds"),
        (-4, -8.1, -1, 3, "undecided"),
        (-4, -8, -0.9, 3, "undecided"),
    ],
)
def test_the_ends_of_a_tolerance_belong_to_it(value, low, high, error, found):
    one = pair(value, low, high, error)
    assert judging._within(one, "", "factor", 2.0)[0] == found


def test_words_say_what_the_tolerance_was():
    within = lambda error, value=0.5: judging._within(
        pair(value, 0.5, 0.5, error), "w", "absolute", 0.25
    )
    assert within(0.25) == ("holds", "w")
    wider = "w or two published standard deviations"
    assert within(0.5) == ("holds", wider)
    assert within(0.5, 2.0) == ("does not hold", wider)
    unsure = judging._within(pair(0.5, 0.0, 1.0), "w", "absolute", 0.25)
    assert unsure == ("undecided", "w: the interval allows both")


@pytest.mark.parametrize("bound", [">", ">=", "<", "<="])
def test_a_bound_is_met_within_the_tolerance_or_beyond(bound):
    side = 1 if bound[0] == ">" else -1
    for shift, found in ((9, "holds"), (-0.25, "holds"), (-0.5, "does not hold")):
        mean = 4 + side * shift
        one = pair(4, mean, mean, bound=bound)
        assert judging._within(one, "", "absolute", 0.25)[0] == found


def test_published_bounds_are_read():
    lines = [published(text, "n_rules") for text in (">0.92", ">=3", "<1e-3", "-2")]
    joined = [measured(1.0)] * 4
    pairs = [judging.paired(lines, joined, i) for i in range(4)]
    assert [(one.bound, one.value) for one in pairs] == [
        (">", 0.92),
        (">=", 3),
        ("<", 1e-3),
        ("", -2),
    ]
    assert pairs[0].range == (1.0, 1.0)  # no interval: the number itself
    assert pair(0, 1, 3).range == (1, 3)


# --------------------------------------------------------------------------------------------- small numbers


def test_what_is_as_large_as_its_error_has_no_sign():
    no_sign = "the paper finds no sign, 0 apart; the errors are 0.56"
    found = judging.by_sign(pair(0.5, 0.25, 0.75, error=0.5), 1.0)
    assert found == ("holds", no_sign)  # the measured interval may include 0 or not
    found = judging.by_sign(pair(0.75, 0.5, 1.0, error=0.5), 1.0)
    assert found == ("holds", "same sign, 0 apart; the errors are 0.56")
    found = judging.by_sign(pair(0.25, -0.5, 0.25, error=0.5), 1.0)
    assert found[0] == "holds"  # the other sign than a published one that says nothing


def test_an_interval_that_ends_at_0_includes_it():
    undecided = ("undecided", "the interval includes 0")
    assert judging.by_sign(pair(1.0, 0.0, 1.0), 2.0) == undecided
    assert judging.by_sign(pair(1.0, -1.0, 0.0), 2.0) == undecided
    assert judging.by_sign(pair(1.0, -1.0, -0.5), 2.0) == (
        "does not hold",
        "the other sign",
    )


def test_as_far_apart_as_the_errors_together_holds():
    """Errors of 3 published and 4 measured are 5 together."""
    assert judging.by_sign(pair(10, 11, 19, error=3), 9)[0] == "holds"
    far = judging.by_sign(pair(10, 11.5, 19.5, error=3), 9)
    assert far == ("does not hold", "same sign, but 5.5 apart; the errors are 5")


def test_where_the_paper_finds_nothing_the_measured_error_must_be_small():
    assert judging.by_sign(pair(0, -0.5, 0.5), 0.5)[0] == "holds"
    found = judging.by_sign(pair(0, -0.75, 0.75), 0.5)
    assert found == ("undecided", "the paper finds no sign; the measured error is 0.75")
    assert judging.by_sign(pair(2, 1, 3), 0.5)[0] == "holds"  # where it finds something


def test_without_a_measured_error_only_two_zeros_agree():
    of = lambda value, mean: judging.by_sign(
        judging.Pair(value, "", 0.0, mean, NAN, NAN), 0.5
    )[0]
    assert of(0.0, 0.0) == "holds"
    assert {of(0.0, 0.1), of(0.1, 0.0), of(0.1, 0.1)} == {"undecided"}
    assert {of(0.0, -0.1), of(-0.1, 0.0), of(-0.1, -0.1)} == {"undecided"}


# --------------------------------------------------------------------------------------------- differences


def test_errors_of_a_difference_come_from_its_parts():
    """Standard deviations of 2, 3 and 6 are 7 together, intervals of 3 and 4 are 5."""
    lines = [
        published("1", "delta_acc", "A-B", std="2"),
        published("4", "acc_eval", "A", std="3"),
        published("3", "acc_eval", "B", std="6"),
        published("9", "acc_eval", "C", std="9"),
        published("9", "rec_loss", "A", std="9"),
        *(
            published("9", "acc_eval", "A", std="9", **{column: "other"})
            for column in ("table", "dataset", "target", "setting")
        ),
    ]
    joined = [measured(1.5), measured(4, 3), measured(3, 4), *[measured(0, 9)] * 6]
    one = judging.paired(lines, joined, 0)
    assert one == judging.Pair(1, "", 14, 1.5, -3.5, 6.5)
    joined[0] = measured(1.5, 0.5)  # its own interval comes first
    assert judging.paired(lines, joined, 0).range == (1, 2)
    joined[0], joined[2] = measured(1.5), None
    assert math.isnan(judging.paired(lines, joined, 0).low)
    loss = lines[0] | {"metric": "delta_rec"}
    assert judging._parts(lines, loss) == [4]
    assert judging._parts(lines, lines[1]) == []  # no difference


def test_the_fall_under_occlusion_is_between_two_accuracies_of_one_method():
    lines = [
        published("1", "delta_acc_occl", "A"),
        published("1", "acc_occl_min", "A"),
        published("1", "acc_occl_max", "A"),
        published("1", "acc_occl_max", "B"),
        published("1", "acc_eval", "A"),
    ]
    assert judging._parts(lines, lines[0]) == [1, 2]


# --------------------------------------------------------------------------------------------- ranks


def test_a_rival_that_may_tie_is_not_surely_before():
    lines = [published(value, "mAD_pct", value) for value in "123"]
    joined = [measured(2, 1), measured(4, 1), measured(6, 0.5)]
    ranked = [judging.judge(lines, joined, i) for i in range(3)]
    words = judging.TOLERANCES["mA[DI]_pct"][0]
    unsure = ("undecided", f"{words}: intervals overlap")
    # 1 to 3 ends where 3 to 5 begins: the second may tie with the first, not precede it
    assert ranked == [("holds", words), unsure, ("holds", words)]
    joined[1] = measured(3.5, 1)
    assert [judging.judge(lines, joined, i) for i in (0, 1)] == [unsure] * 2
    equal = [measured(1.0), measured(1.0), measured(2.0)]
    assert judging.judge(lines, equal, 0)[0] == "holds"  # first in both, a tie in one
    assert judging.judge(lines, equal, 1)[0] == "does not hold"
    tied = [published("1", "mAD_pct", "A"), published("1", "mAD_pct", "B")]
    assert judging.judge(tied, equal[:2], 1) == ("holds", words)  # a tie in both


def test_one_method_alone_has_no_rank():
    lines = [published("1", "mAD_pct", "A"), published("2", "mAD_pct", "B")]
    found = judging.judge(lines, [measured(1.0), None], 0)
    assert found == ("undecided", "too few methods to rank")
