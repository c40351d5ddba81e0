"""The gate's statistics: closed forms, hand-computed cells, and how often it is right on simulated histories."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import digamma, polygamma
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from benchmark.gate import noise
from benchmark.gate.diff import compare
from benchmark.leaderboard import variances
from benchmark.utils.seeds import generator
from tools.gate_rates import History, false_alarms, hits


def cells(
    gain: list[float],
    *,
    pair_variance: float = 0.5,
    variance: float = 1.0,
    seeds: int = 3,
    metric: str = "m",
) -> pd.DataFrame:
    """Cells of one metric whose variances are all alike."""
    alone = seeds == 1
    return pd.DataFrame(
        {
            "track": "heatmap",
            "metric": metric,
            "unit": "percent",
            "variance": np.nan if alone else variance,
            "dof": 2 * (seeds - 1),
            "seeds": seeds,
            "moved": [g != 0 for g in gain],
            "gain": gain,
            "pair_variance": np.nan if alone else pair_variance,
        }
    )


# --------------------------------------------------------------------------------------------- variances


@pytest.mark.parametrize(
    ("d0", "s02", "d"), [(4.0, 2.0, 2), (12.0, 0.1, 4), (1e9, 3.0, 2)]
)
def test_fit_finds_the_prior_that_made_the_variances(d0, s02, d):
    rng = generator("test_gate", "fit", d0)
    truth = s02 * (d0 / rng.chisquare(d0, 20_000) if d0 < 1e6 else np.ones(20_000))
    found = noise.fit(
        truth * rng.chisquare(d, 20_000) / d, np.full(20_000, d), most=np.inf
    )
    assert found.s2 == pytest.approx(s02, rel=0.05)
    assert (
        found.dof == pytest.approx(d0, rel=0.2) if d0 < 1e6 else found.dof > 50
    )  # the floor of small variances costs some


def test_fit_solves_smyths_moments():
    """Section 6.2: the variance of log s^2 is trigamma(d0 / 2) + trigamma(d / 2), its mean holds the digammas."""
    s2 = np.array([0.1, 0.5, 1.0, 4.0, 20.0])
    d0, d = (found := noise.fit(s2, np.full(5, 3), most=np.inf)).dof, 3
    assert np.log(s2).var(ddof=1) == pytest.approx(
        polygamma(1, d0 / 2) + polygamma(1, d / 2)
    )
    mean = (
        np.log(found.s2)
        + digamma(d / 2)
        - np.log(d / 2)
        - digamma(d0 / 2)
        + np.log(d0 / 2)
    )
    assert np.log(s2).mean() == pytest.approx(mean)


def test_fit_of_equal_variances_of_few_and_of_none():
    equal = noise.fit(np.full(6, 2.0), np.full(6, 4))
    assert equal.dof == variances.SURE == 3.5 and equal.s2 == pytest.approx(
        2 * np.exp(np.log(2) - digamma(2))
    )  # E log chi^2_4 / 4
    assert noise.fit(np.array([1.0, 2.0]), np.array([2, 2])).dof == 0
    assert noise.fit(np.zeros(9), np.full(9, 2)).dof == 0
    assert (
        noise.fit(np.array([np.nan, 1.0, 1.0, 1.0]), np.array([0, 4, 4, 4])).dof
        == variances.SURE
    )  # one seed says nothing
    assert (
        noise.fit(np.ones(3), np.ones(3)).dof == variances.SURE
    )  # two seeds: one degree of freedom
    alone = noise.spreads(cells([0.0] * 4, seeds=1))
    assert alone["sigma"].isna().all() and not alone["borrowed"].any()


def test_squeeze_by_hand():
    s2, dof = noise.squeeze(
        np.array([1.0, 9.0, np.nan]), np.array([2, 2, 0]), noise.Prior(3.0, 4.0)
    )
    np.testing.assert_allclose(s2, [(4 * 3 + 2 * 1) / 6, (4 * 3 + 2 * 9) / 6, 3.0])
    np.testing.assert_array_equal(dof, [6, 6, 4])
    own, dof = noise.squeeze(
        np.array([5.0, np.nan]), np.array([2, 0]), noise.Prior(np.nan, 0.0)
    )
    assert own[0] == 5.0 and np.isnan(own[1]) and list(dof) == [2, 0]


# --------------------------------------------------------------------------------------------- verdicts


def test_judge_by_hand():
    """Three seeds, ten cells, all variances alike: usual = fit of ones; the pairs' variance squeezed towards itself."""
    gain = [-3.0, 2.5, *[0.1] * 8]
    found = noise.judge(cells(gain))
    usual2 = noise.fit(np.ones(10), np.full(10, 4)).s2
    prior = noise.fit(np.full(10, 0.5 / usual2), np.full(10, 2))
    tau2 = (prior.dof * prior.s2 + 2 * 0.5 / usual2) / (prior.dof + 2) * usual2
    errors = np.array(gain) * np.sqrt(3 / tau2)
    np.testing.assert_allclose(found["errors"], errors)
    worse = false_discovery_control(student.cdf(errors, prior.dof + 2))
    better = false_discovery_control(student.sf(errors, prior.dof + 2))
    np.testing.assert_allclose(found["p"], np.where(np.array(gain) < 0, worse, better))
    assert list(found["kind"]) == ["regression", "improvement", *["unchanged"] * 8]
    assert found["tolerance"].iloc[0] == pytest.approx(
        student.isf(0.05 / 10, prior.dof + 2) * np.sqrt(tau2 / 3)
    )


def test_with_few_moved_cells_the_noise_is_that_of_new_networks():
    found = noise.judge(cells([-3.0, *[0.0] * 9], pair_variance=0.0))
    prior = noise.fit(np.ones(10), np.full(10, 4))
    sigma2 = (prior.dof * prior.s2 + 4) / (prior.dof + 4)
    assert found["errors"].iloc[0] == pytest.approx(-3 / np.sqrt(2 * sigma2 / 3))
    assert (
        found["errors"].iloc[1:].isna().all()
        and (found["kind"].iloc[1:] == "unchanged").all()
    )
    assert found["p"].iloc[0] == pytest.approx(
        student.cdf(found["errors"].iloc[0], prior.dof + 4)
    )  # one test
    bound = student.isf(0.05, prior.dof + 4) * np.sqrt(2 * sigma2 / 3)
    assert found["tolerance"].iloc[0] == pytest.approx(bound)


def test_eight_moved_cells_tell_how_much_noise_is_shared_and_seven_do_not():
    prior = noise.fit(np.ones(12), np.full(12, 4))
    # variance of a pair's difference on other networks
    redrawn = 2 * (prior.dof * prior.s2 + 4) / (prior.dof + 4)

    def errors(moved):
        found = noise.judge(
            cells([-3.0] * moved + [0.0] * (12 - moved), pair_variance=0.02)
        )
        return found["errors"].iloc[0]

    assert errors(7) == pytest.approx(-3 / np.sqrt(redrawn / 3))
    assert errors(8) < -3 / np.sqrt(redrawn / 9)


def test_two_seeds_are_enough_to_tell_how_much_noise_is_shared():
    """One degree of freedom a cell, ten cells: the pairs' own noise and not that of redrawn networks."""
    found = noise.judge(cells([-3.0] * 10, seeds=2, pair_variance=0.5))
    usual2 = noise.fit(np.ones(10), np.full(10, 2)).s2
    prior = noise.fit(np.full(10, 0.5 / usual2), np.full(10, 1))
    tau2 = (prior.dof * prior.s2 + 0.5 / usual2) / (prior.dof + 1) * usual2
    np.testing.assert_allclose(found["errors"], -3 * np.sqrt(2 / tau2))


def test_three_variances_tell_what_is_usual_and_two_do_not():
    assert noise.fit(np.array([1.0, 2.0, 4.0]), np.full(3, 2)).dof == variances.SURE
    assert noise.fit(np.array([1.0, 2.0]), np.full(2, 2)).dof == 0
    none, floor = (
        np.array([0.0, 0.0, 0.0, 1.0, 4.0]),
        2.5 * 0.1**2,
    )  # a tenth of the usual spread at least
    expected = noise.fit(np.maximum(none, floor), np.full(5, 2), most=np.inf)
    assert noise.fit(none, np.full(5, 2), most=np.inf) == pytest.approx(expected)


def test_fit_of_variances_that_differ_by_all_that_the_floor_lets_them():
    s2 = np.array([1e-2, 1e-2, 1.0, 1e2, 1e2])
    found = noise.fit(s2, np.full(5, 4), most=np.inf)
    assert found.dof < 1
    assert np.log(s2).var(ddof=1) == pytest.approx(
        polygamma(1, found.dof / 2) + polygamma(1, 2)
    )


def test_a_metric_with_seeds_of_its_own_does_not_borrow():
    mine, theirs = cells([0.0] * 6, variance=1.0), cells([0.0] * 6, variance=100.0)
    pd.testing.assert_frame_equal(noise.spreads(mine, theirs), noise.spreads(mine))
    pd.testing.assert_frame_equal(
        noise.spreads(mine, theirs.assign(metric="another")), noise.spreads(mine)
    )
    alone = cells([0.0] * 6, seeds=1)
    assert noise.spreads(alone, theirs.assign(metric="another"))["sigma"].isna().all()
    assert noise.spreads(alone, theirs)["sigma"].iloc[0] == pytest.approx(
        10 * noise.spreads(alone, mine)["sigma"].iloc[0]
    )


def test_many_cells_of_one_seed_say_nothing_of_their_pairs():
    """However many moved: the noise is that of redrawn networks."""
    found = noise.judge(cells([-3.0] * 10, seeds=1), cells([0.0] * 5))
    assert found["borrowed"].all()
    np.testing.assert_allclose(
        found["errors"], -3 / np.sqrt(2 * noise.fit(np.ones(5), np.full(5, 4)).s2)
    )


def test_one_seed_borrows_or_is_unverified():
    alone = noise.judge(cells([-3.0, -0.5], seeds=1))
    assert list(alone["kind"]) == ["unverified"] * 2 and alone["errors"].isna().all()
    assert list(noise.judge(cells([0.0, 0.0], seeds=1))["kind"]) == ["unchanged"] * 2
    others = cells([0.0] * 5)[["track", "metric", "unit", "variance", "dof"]]
    borrowed = noise.judge(cells([-30.0, -0.5], seeds=1), others)
    prior = noise.fit(np.ones(5), np.full(5, 4))
    assert borrowed["borrowed"].all() and list(borrowed["kind"]) == [
        "regression",
        "unchanged",
    ]
    assert borrowed["errors"].iloc[0] == pytest.approx(-30 / np.sqrt(2 * prior.s2))
    assert (
        noise.judge(cells([-30.0], seeds=1, metric="other"), others)["kind"].iloc[0]
        == "unverified"
    )


def test_below_the_floor_of_the_metric_nothing_is_a_change():
    """Pairs that agree to the last digit: without a floor any difference would be infinitely many standard errors."""
    usual = np.sqrt(noise.fit(np.ones(10), np.full(10, 4)).s2)
    for gain, kind in ((-0.99, "unchanged"), (-3, "regression")):
        found = noise.judge(cells([gain * noise.FLOOR * usual] * 10, pair_variance=0.0))
        assert set(found["kind"]) == {kind}
        np.testing.assert_allclose(
            found["errors"], gain * np.sqrt(3)
        )  # tau is a tenth of the usual spread, and no less
    usual = np.sqrt(noise.fit(np.ones(10), np.full(10, 198)).s2)
    many = noise.judge(
        cells([-0.99 * noise.FLOOR * usual] * 10, pair_variance=0.0, seeds=100)
    )
    assert (many["p"] < 1e-6).all() and set(many["kind"]) == {
        "unchanged"
    }  # sure, and still nothing


def test_seeds_that_agree_in_an_unknown_metric_say_nothing():
    """Two cells: too few to know what is usual, and their own spread is 0, which is no standard error."""
    found = noise.judge(cells([-3.0, -1.0], variance=0.0, pair_variance=0.0))
    assert (
        list(found["kind"]) == ["unverified"] * 2
        and found["errors"].isna().all()
        and found["tolerance"].isna().all()
    )


def test_a_cell_that_moved_without_a_gain_is_on_the_better_side():
    """Its p and its tolerance are those of the least of gains, whatever else is worse."""
    still, least = (
        noise.judge(cells([*[-30.0] * 5, gain, *[0.1] * 4]).assign(moved=True)).iloc[5]
        for gain in (0.0, 1e-12)
    )
    assert still["kind"] == "unchanged" and still["errors"] == 0
    assert (still["p"], still["tolerance"]) == pytest.approx(
        (least["p"], least["tolerance"])
    )


def test_better_and_worse_mirror_each_other():
    history = History("mirror")
    old, new = history.old(), history.new(0.9, history.where(method="method b"), 6)
    there, back = compare(old, new), compare(new, old)
    assert (
        (there["kind"] == "regression").sum()
        == (back["kind"] == "improvement").sum()
        > 0
    )
    key = ["dataset", "target", "method", "metric"]
    there, back = (
        there.set_index(key)["errors"].sort_index(),
        back.set_index(key)["errors"].sort_index(),
    )
    np.testing.assert_allclose(there, -back)


# --------------------------------------------------------------------------------------------- simulated histories


@pytest.mark.parametrize("kept", [0.95, 0.0])
def test_false_alarms_are_few(kept):
    """5 % at most; of 25 runs more than 4 come by chance once in 100."""
    assert false_alarms(kept, 25, methods=4) <= 4 / 25


@pytest.mark.parametrize(
    ("k", "least", "most"), [(0.5, 0.0, 0.6), (4, 0.85, 1.0), (10, 1.0, 1.0)]
)
def test_a_method_that_is_worse_is_found(k, least, most):
    """On networks that agree as far as they do on another instruction set, in standard errors of a run's mean."""
    runs, found = hits(0.95, k, "network", 10, methods=4)
    assert least <= found <= most
    assert runs == 1 or k < 4


def test_a_flipped_sign_is_found():
    history = History("sign", methods=4)
    history.mean -= 50  # values on both sides of 0
    rows = history.old()
    flipped = history.new(0.95)
    method = flipped["method"] == "method b"
    flipped.loc[method, "value"] *= -1
    found = compare(rows, flipped)
    worse = found[(found["kind"] == "regression")]
    assert len(worse) and set(worse["method"]) == {"method b"}


@pytest.mark.slow
@pytest.mark.parametrize("kept", [1.0, 0.99, 0.95, 0.9, 0.0])
def test_false_alarms_over_many_histories(kept):
    assert false_alarms(kept, 200) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [1.0, 0.95])
@pytest.mark.parametrize("what", ["cell", "network", "method"])
def test_four_standard_errors_are_caught(what, kept):
    """Of a run's mean, on the same networks and on another instruction set: as docs/gate.md says."""
    runs, cells = hits(kept, 4, what, 60)
    assert runs >= 0.95 and cells >= 0.95
