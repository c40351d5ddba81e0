"""The words of verdicts: numbers over seeds, with Student's interval."""

import numpy as np
import pytest

from benchmark.papers.evidence import Evidence, above, over_seeds, spelt


def test_one_seed_has_no_interval():
    assert (
        spelt("u = {:,.0f} of {:,.0f} ({:.1%})", np.array([[1234.0, 2000.0, 0.617]]))
        == "u = 1,234 of 2,000 (61.7%)"
    )
    assert spelt("none is left", np.zeros((3, 0))) == "none is left"


def test_several_seeds_have_students_interval():
    text = spelt("acc {:.3f}, n {:.0f}", np.array([[1.0, 7], [2.0, 7], [6.0, 7]]))
    half = (
        4.302652729749462 * np.sqrt(7) / np.sqrt(3)
    )  # t(0.975, 2) s / sqrt(3), s^2 = (4 + 1 + 9) / 2
    assert (
        text == f"acc 3.000 [{3 - half:.3f}, {3 + half:.3f}], n 7"
    )  # the same for all: no interval


def test_an_interval_that_includes_the_bound_decides_nothing():
    nan = float("nan")
    intervals = [(1, 2), (-2, -1), (-1, 2), (0, 1), (nan, nan)]
    assert [above(*one) for one in intervals] == [True, False, None, None, None]
    assert above(1, 2, bound=3) is False
    assert Evidence("d", "t", 0)("X1", None, "open").holds is None


def test_looks_that_differ_in_their_seed_alone_share_their_evidence():
    a, b = (Evidence("d", "t", seed) for seed in (0, 1))
    looks = [
        a("X1", True, "{:.0f} rules", 2),
        a("X2", True, "{:.0f} rules", 5),
        b("X1", False, "{:.0f} rules", 4),
    ]
    checks = list(over_seeds(looks))
    assert [(c.claim, c.holds, c.seed, c.dataset, c.target) for c in checks] == [
        ("X1", True, 0, "d", "t"),
        ("X1", False, 1, "d", "t"),
        ("X2", True, 0, "d", "t"),
    ]
    assert checks[0].evidence == checks[1].evidence == "3 [-10, 16] rules, 2 seeds"
    assert checks[2].evidence == "5 rules"


def test_a_number_too_few_is_seen():
    with pytest.raises(IndexError):
        spelt("{:.0f} and {:.0f}", np.array([[1.0]]))
