"""Intervals against closed forms, a literal twin and simulated truth; tests and ranks against scipy and hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import PermutationMethod, rankdata, ttest_rel, wilcoxon
from scipy.stats import t as student

from benchmark.leaderboard import stats, variances
from benchmark.utils.seeds import generator
from tools import board_rates


def rng(*name: object) -> np.random.Generator:
    return generator("test_leaderboard_stats", *name)


# --------------------------------------------------------------------------------------------- bootstrap


def literal_bootstrap(
    values: np.ndarray, *name: object, draws: int
) -> list[list[float]]:
    """Draw by draw, number by number: the mean over drawn seeds of the mean over drawn images."""
    m, s, n = values.shape
    source = generator("bootstrap", *name, s, n)
    blocks = [min(250, draws - start) for start in range(0, draws, 250)]
    drawn = [
        (source.integers(s, size=(b, max(s - 1, 1))), source.integers(n, size=(b, n)))
        for b in blocks
    ]
    seeds, images = (np.concatenate(part) for part in zip(*drawn, strict=True))
    out = []
    for method in range(m):
        line = []
        for b in range(draws):
            by_seed = []
            for seed in seeds[b]:
                drawn = [
                    values[method, seed, i]
                    for i in images[b]
                    if not np.isnan(values[method, seed, i])
                ]
                if drawn:
                    by_seed.append(sum(drawn) / len(drawn))
            line.append(sum(by_seed) / len(by_seed) if by_seed else np.nan)
        out.append(line)
    return out


@pytest.mark.parametrize("shape", [(3, 3, 7), (2, 1, 5), (2, 4, 1), (1, 2, 2)])
def test_bootstrap_is_its_literal_twin(shape):
    values = rng("twin", shape).normal(size=shape)
    values[rng("holes", shape).random(shape) < 0.2] = np.nan
    for draws in (60, 260):
        fast = stats.bootstrap(values, "a", "b", draws=draws)
        np.testing.assert_allclose(
            fast, literal_bootstrap(values, "a", "b", draws=draws), rtol=1e-12
        )


def test_no_draws_are_none():
    assert stats.bootstrap(np.ones((1, 2, 3)), "a", draws=0).shape == (1, 0)


def test_resamples_are_shared_by_all_methods_and_named():
    values = rng("paired").normal(size=(1, 3, 20))
    both = np.concatenate([values, values + 5])
    draws = stats.bootstrap(both, "x")
    assert draws.shape == (2, 1000)
    np.testing.assert_allclose(draws[1] - draws[0], 5)
    np.testing.assert_array_equal(draws, stats.bootstrap(both, "x"))
    assert not np.array_equal(draws, stats.bootstrap(both, "y"))


def test_variance_over_few_seeds_is_unbiased():
    values = rng("seeds").normal(size=(1, 4, 1))
    expected = (
        values.var(ddof=1) / 4
    )  # of a mean of 4; drawing 4 of 4 would give three quarters of it
    assert stats.bootstrap(values, "x", draws=20_000).var() == pytest.approx(
        expected, rel=0.05
    )


# --------------------------------------------------------------------------------------------- means and their errors


def literal_estimate(x: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of one table (S, N) without gaps, number by number: (mean, variance, degrees of freedom)."""
    s, n = x.shape
    rows = [sum(row) / n for row in x]
    columns = [sum(x[:, i]) / s for i in range(n)]
    grand = sum(rows) / s
    a = sum((r - grand) ** 2 for r in rows) / (s - 1) / s
    b = sum((c - grand) ** 2 for c in columns) / (n - 1) / n
    rest = 0.0
    for k in range(s):
        for i in range(n):
            rest += (x[k, i] - rows[k] - columns[i] + grand) ** 2
    e = rest / ((s - 1) * (n - 1)) / (s * n)
    return grand, b + max(a - e, 0.0), s - 1


def test_estimate_is_its_literal_twin():
    """One table: nothing else says what is usual."""
    x = rng("estimate").normal(size=(4, 7)) + rng("nets").normal(size=(4, 1))
    found = stats.estimate(x[None])
    mean, variance, dof = literal_estimate(x)
    assert found.mean[0] == pytest.approx(mean)
    assert found.error[0] == pytest.approx(np.sqrt(variance))
    assert found.dof[0] == dof and found.networks[0]


def test_estimate_moves_variances_towards_what_is_usual():
    x = rng("squeezed").normal(size=(9, 3, 8)) + rng("n").normal(size=(9, 3, 1))
    found = stats.estimate(x)
    s, n = x.shape[1:]
    a = x.mean(2).var(1, ddof=1) / s
    own = np.full(9, s - 1)
    squeezed, a_dof = variances.squeeze(a, own, variances.fit(a, own, most=stats.SURE))
    b = x.mean(1).var(1, ddof=1) / n
    e = np.array([literal_cells(table) for table in x])
    v = b + np.maximum(squeezed - e, 0)
    np.testing.assert_allclose(found.error**2, v)
    dof = v**2 / (squeezed**2 / a_dof + b**2 / (n - 1) + e**2 / ((s - 1) * (n - 1)))
    np.testing.assert_allclose(found.dof, np.maximum(dof, 1))


def literal_cells(x: np.ndarray) -> float:
    s, n = x.shape
    rest = x - x.mean(1, keepdims=True) - x.mean(0) + x.mean()
    return (rest**2).sum() / ((s - 1) * (n - 1)) / (s * n)


@pytest.mark.parametrize("networks", [1, 2])
def test_with_fewer_than_three_networks_the_errors_are_over_images(networks):
    x = rng("few", networks).normal(size=(3, networks, 9))
    found = stats.estimate(x)
    by_image = x.mean(1)
    assert not found.networks.any()
    np.testing.assert_allclose(found.error, by_image.std(1, ddof=1) / 3)
    np.testing.assert_array_equal(found.dof, 8)


@pytest.mark.parametrize("s", [2, 4])
def test_without_images_the_interval_is_students_over_networks(s):
    """As of the papers' own numbers (``papers.evidence``, ``joining``)."""
    x = rng("student", s).normal(size=s)
    values = x[None, :, None]
    sd = x.std(ddof=1) / np.sqrt(s)
    for level in (0.95, 0.8):
        expected = student.interval(level, s - 1, x.mean(), sd)
        np.testing.assert_allclose(stats.interval(values, level), [expected])
    assert stats.estimate(values).networks[0]


def test_without_images_what_is_usual_counts_as_degrees_of_freedom():
    """Pairs of numbers whose scatter ranges over six powers of ten: what is usual counts for less than one."""
    x = 10.0 ** np.linspace(-3, 3, 12)[:, None, None] * np.array([[1.0], [-1.0]])
    a = x[:, :, 0].var(1, ddof=1) / 2
    prior = variances.fit(a, np.ones(12), most=stats.SURE)
    assert 0 < prior.dof < 1
    np.testing.assert_allclose(stats.estimate(x).dof, 1 + prior.dof)


def test_two_images_have_one_degree_of_freedom_and_equal_ones_no_error():
    found = stats.estimate(np.array([[[1.0, 3.0]]]))
    assert (found.mean[0], found.error[0], found.dof[0]) == (2, 1, 1)
    equal = stats.estimate(np.full((1, 1, 5), 2.0))
    assert (equal.mean[0], equal.error[0], equal.dof[0]) == (2, 0, 4)
    equal = stats.estimate(np.full((1, 3, 5), 2.0))
    assert (equal.mean[0], equal.error[0], equal.dof[0]) == (2, 0, 2)


def test_two_networks_with_two_images_say_nothing_of_others():
    """Images of means 2 and 4: the mean of 3 has an error of 1, with one degree of freedom."""
    found = stats.estimate(np.array([[[0.0, 2.0], [4.0, 6.0]]]))
    assert (found.mean[0], found.error[0], found.dof[0]) == (3, 1, 1)
    assert not found.networks[0]


def test_one_number_has_no_error():
    found = stats.estimate(np.ones((1, 1, 1)))
    assert np.isnan(found.error[0]) and not found.networks[0]


def test_two_networks_do_not_say_what_is_usual_among_three():
    x = rng("mixed").normal(size=(6, 3, 8)) + rng("of").normal(size=(6, 3, 1))
    x[3:, 2] = np.nan
    found, alone = stats.estimate(x), stats.estimate(x[:3])
    np.testing.assert_array_equal(found.error[:3], alone.error)
    np.testing.assert_array_equal(found.dof[:3], alone.dof)


def test_networks_that_agree_by_chance_take_nothing_off_the_error():
    """Where the networks scatter less than single values would make them, the error is that over images."""
    images = rng("agree").normal(size=8)
    cell = np.array([[1.0, -1], [-1, 1], [0, 0]])  # no network differs, on average
    x = images + np.tile(cell, 4)
    found = stats.estimate(x[None])
    assert found.error[0] == pytest.approx(images.std(ddof=1) / np.sqrt(8))


def test_degrees_of_freedom_are_at_least_one():
    """Tables in which networks scatter just more than single values do: Satterthwaite's are less than one."""
    x = rng("satterthwaite").normal(size=(40, 3, 6))
    dof = stats.estimate(x).dof
    assert dof.min() == 1 < dof.max()


def test_interval_ends_at_the_bounds_of_its_unit():
    values = np.array([[[0.0] * 7 + [1.0]]])
    assert stats.interval(values)[0, 0] < 0
    assert stats.interval(values, unit="fraction")[0, 0] == 0
    beyond = np.append(values, [[[-0.2]]], axis=2)  # no share then
    assert stats.interval(beyond, unit="fraction")[0, 0] < 0
    assert stats.interval(100 * values, unit="percent")[0, 0] == 0


@pytest.mark.parametrize(
    ("spread", "networks"),
    [  # standard deviations over (networks, images, single cells)
        ((0.0, 1.0, 0.0), 3),
        ((0.3, 1.0, 0.5), 3),
        ((1.0, 0.5, 0.0), 3),
        ((1.0, 0.5, 0.0), 10),
    ],
)
def test_coverage(spread, networks):
    source, n = rng("coverage", spread, networks), 64
    sizes = (800, networks, 1), (800, 1, n), (800, networks, n)
    effects = zip(spread, sizes, strict=True)
    x = sum(sd * source.normal(size=size) for sd, size in effects)
    hits = [
        left <= 0 <= right for one in x for left, right in stats.interval(one[None])
    ]
    assert np.mean(hits) > 0.93


def test_interval_of_little_or_nothing():
    assert np.isnan(stats.interval(np.ones((1, 1, 1)))).all()
    assert np.isnan(stats.interval(np.full((1, 3, 4), np.nan))).all()
    np.testing.assert_array_equal(stats.interval(np.full((1, 3, 4), 2.0)), [[2, 2]])
    two = stats.interval(np.array([[[1.0, 2.0]], [[1.0, np.nan]]]))
    assert np.isfinite(two).tolist() == [[True] * 2, [False] * 2]


def test_mean_weighs_seeds_alike():
    values = np.array([[[1.0, np.nan, np.nan], [4.0, 5.0, 6.0]], [[np.nan] * 3] * 2])
    np.testing.assert_array_equal(stats.mean(values), [3.0, np.nan])


# --------------------------------------------------------------------------------------------- tests


def test_comparison_of_two_by_hand():
    """One network, eight images: Student's paired t, by scipy."""
    values = rng("pair").normal(size=(2, 1, 8)) + np.array([1.5, 0.0])[:, None, None]
    found = stats.compare(values, "higher")
    by_scipy = ttest_rel(values[0, 0], values[1, 0])
    gain = values[0].mean() - values[1].mean()
    assert found.gain[0, 1] == -found.gain[1, 0] == pytest.approx(gain)
    assert found.p[0, 1] == found.p[1, 0] == pytest.approx(by_scipy.pvalue)
    ends = by_scipy.confidence_interval(0.95)
    np.testing.assert_allclose([found.low[0, 1], found.high[0, 1]], ends)
    np.testing.assert_allclose(
        [found.low[1, 0], found.high[1, 0]], -np.array(ends)[::-1]
    )
    lower = stats.compare(-values, "lower")
    np.testing.assert_allclose(lower.gain, found.gain)
    assert np.isnan(found.p[0, 0]) and found.images[0, 1] == 8


def test_all_pairs_share_the_level():
    """With a third method there are three pairs: p is three times as large, and the intervals are wider."""
    values = rng("three").normal(size=(3, 1, 20)) + np.array([1.0, 0, 0])[:, None, None]
    two, three = (stats.compare(values[:m], "higher") for m in (2, 3))
    assert three.p[0, 1] == pytest.approx(3 * two.p[0, 1])
    assert three.low[0, 1] < two.low[0, 1]
    half = student.ppf(1 - 0.025 / 3, 19) * (values[0, 0] - values[1, 0]).std(ddof=1)
    assert three.high[0, 1] - three.gain[0, 1] == pytest.approx(half / np.sqrt(20))


def test_p_and_direction_are_of_one_statistic():
    """60 small losses and 4 large gains: ranks say worse, the mean says better; nothing is known."""
    gain = np.r_[np.full(60, -0.1) + np.arange(60) / 1e4, np.full(4, 4.0)]
    found = stats.compare(np.stack([gain, np.zeros(64)])[:, None], "higher")
    assert wilcoxon(gain).pvalue < 1e-5 and found.gain[0, 1] > 0
    assert found.p[0, 1] > 0.05 and (stats.worse(found) > 0.05).all()


def test_equals_and_too_few_images():
    same = stats.compare(np.zeros((2, 3, 60)), "higher")
    assert same.p[0, 1] == 1 and (stats.worse(same) == 1).all()
    even = np.tile([1.0, -1.0], 8)  # gains and losses that cancel
    found = stats.compare(np.stack([even, 0 * even])[:, None], "higher")
    assert found.gain[0, 1] == 0 and found.p[0, 1] == 1
    assert stats.same(same, 0, 0.01).tolist() == [False, True]
    few = stats.compare(rng("few").normal(size=(2, 3, 5)), "higher")
    assert np.isnan(few.p).all() and np.isnan(stats.worse(few)).all()
    values = np.zeros((2, 1, 12))
    values[1] -= 1
    values[1, 0, 6:] = np.nan  # six shared images are left, all of one sign
    assert stats.compare(values, "higher").p[0, 1] == pytest.approx(2 / 64)
    values[1, 0, 5:] = np.nan
    assert np.isnan(stats.compare(values, "higher").p[0, 1])
    assert np.isnan(stats.worse(stats.compare(np.ones((1, 1, 9)), "lower"))).all()


def test_a_comparison_says_of_whom_it_holds_and_on_how_many_images():
    """Each network has eleven of the twelve images, A another one than B."""
    values = rng("of whom").normal(size=(3, 3, 12))
    values[0, :, 0] = values[1, :, 1] = np.nan
    found = stats.compare(values, "higher")
    assert found.images[0].tolist()[1:] == [10, 11] and found.images[2, 1] == 11
    assert (found.networks[~np.eye(3, dtype=bool)] == 1).all()
    assert np.isnan(np.diagonal(found.networks)).all()
    fewer = stats.compare(values[:, :2], "higher")
    assert fewer.networks[0, 1] == fewer.networks[1, 0] == 0
    by_hand = np.nanmean(values[0] - values[2])
    assert found.gain[0, 2] == pytest.approx(by_hand)


def test_pairs_without_a_common_image_are_not_counted_as_tests():
    """C has images of its own: the one pair that is left is tested as if it were alone."""
    values = rng("apart").normal(size=(3, 1, 20))
    values[:2, 0, 10:] = np.nan
    values[2, 0, :10] = np.nan
    three, two = (stats.compare(values[:m], "higher") for m in (3, 2))
    assert three.p[0, 1] == two.p[0, 1] and three.low[0, 1] == two.low[0, 1]
    assert np.isnan(three.p[2, :2]).all()
    assert np.isnan(stats.worse(three)).tolist() == [False, False, True]


def test_equal_values_are_the_same_at_any_margin():
    """The ends of what "the same" allows belong to it."""
    found = stats.compare(np.zeros((2, 3, 60)), "higher")
    assert stats.same(found, 0, 0.0)[1]
    shifted = stats.compare(np.stack([np.zeros((1, 60)), np.ones((1, 60))]), "higher")
    allowed = [stats.same(shifted, 0, margin)[1] for margin in (0.5, 1.0, 2.0)]
    assert allowed == [False, True, True]
    allowed = [stats.same(shifted, 1, margin)[0] for margin in (0.5, 1.0, 2.0)]
    assert allowed == [False, True, True]


def test_the_best_is_the_first_of_equals():
    means = np.array([np.nan, 2.0, 2.0, 1.0, 1.0])
    assert (stats.best(means, "higher"), stats.best(means, "lower")) == (1, 3)


def test_worse_than_some_other_method():
    values = rng("worse").normal(size=(3, 1, 40)) + np.array([2.0, 0, 2])[:, None, None]
    found = stats.compare(values, "higher")
    p = stats.worse(found)
    assert p[1] == min(found.p[0, 1], found.p[2, 1]) < 0.001
    assert max(p[0], p[2]) == 1 and min(p[0], p[2]) == found.p[0, 2]


def test_margins():
    means = np.array([3.0, -50.0, np.nan])
    assert (
        stats.margin("percent", means) == 1 and stats.margin("fraction", means) == 0.01
    )
    assert stats.margin("correlation", means) == 0.02
    assert stats.margin("share", means) == 0.01
    assert stats.margin("bits", means) == 0.5 and stats.margin("", means[2:]) == 0


def test_mcb_on_equal_methods_keeps_its_level():
    """Short form of tools/board_rates.py: 13 equal methods on 3 networks that matter."""
    false, _ = board_rates.rates(13, 3, "normal", "mixed", 60)
    assert false <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", board_rates.KINDS)
@pytest.mark.parametrize("networks", board_rates.NETWORKS)
def test_family_wise_errors(kind, networks):
    false, _ = board_rates.rates(6, networks, kind, "mixed", 100)
    assert false <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / 100)
    _, found = board_rates.rates(6, networks, kind, "mixed", 20, lead=7.0)
    assert found > 0.7


# --------------------------------------------------------------------------------------------- signed ranks


def signed_rank(differences) -> float:
    return stats.signed_rank(np.asarray(differences, float)[None])[0]


def literal_signed_rank(differences) -> float:
    """All sign patterns, one by one."""
    d = [x for x in differences if x != 0]
    if not d:
        return 1.0
    ranks = rankdata(np.abs(d))
    w = sum(r for r, x in zip(ranks, d, strict=True) if x > 0)
    sums = [np.dot(signs, ranks) for signs in product((0, 1), repeat=len(d))]
    least = np.mean([x <= w + 1e-9 for x in sums])
    most = np.mean([x >= w - 1e-9 for x in sums])
    return min(1.0, 2 * min(least, most))


@given(st.lists(st.integers(-4, 4), min_size=6, max_size=9))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_signed_rank_is_its_literal_twin(differences):
    assert signed_rank(differences) == pytest.approx(literal_signed_rank(differences))


def test_signed_rank_is_scipys_where_scipy_is_exact():
    """With ties, by scipy's permutation of all sign patterns; without, by its exact distribution up to 50 pairs."""
    tied = np.array([1, 1, 2, -2, 3, 3, 3, -1, 4, 5.0])
    every = PermutationMethod(n_resamples=np.inf)
    assert signed_rank(tied) == pytest.approx(wilcoxon(tied, method=every).pvalue)
    for n in (14, 50):
        x = rng("exact", n).normal(0.3, size=n)
        assert signed_rank(x) == pytest.approx(wilcoxon(x, method="exact").pvalue)


def test_signed_rank_by_hand():
    """n pairs of one sign, no ties: 2 of 2^n sign patterns are as extreme."""
    images = np.arange(1.0, 7)
    assert signed_rank(images) == signed_rank(-images) == pytest.approx(2 / 64)
    assert np.isnan(signed_rank(images[:5]))  # five cannot tell
    zeros = np.zeros(5)  # are dropped
    assert signed_rank(np.r_[zeros, images]) == pytest.approx(2 / 64)


@pytest.mark.parametrize("n", [6, 13, 14, 60])
def test_all_zero_differences_say_nothing_at_any_number(n):
    """scipy 1.17 gives 1 up to 13 pairs and NaN from 14 on."""
    assert signed_rank(np.zeros(n)) == 1


def test_signed_rank_of_several_at_once():
    x = rng("several").normal(size=(4, 12)).round(1)
    x[1, 3:5] = np.nan
    alone = [signed_rank(row[~np.isnan(row)]) for row in x]
    np.testing.assert_allclose(stats.signed_rank(x), alone)


def literal_holm(p: list[float]) -> list[float]:
    """Step down: the k-th smallest of m is rejected at level a if a >= (m - k + 1) p_k and so for all smaller ones."""
    out = []
    for x in p:
        smaller = sorted(y for y in p if y <= x)
        out.append(min(1.0, max((len(p) - k) * y for k, y in enumerate(smaller))))
    return out


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8, unique=True))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_holm_is_its_literal_twin(p):
    np.testing.assert_allclose(stats.holm(np.array(p)), literal_holm(p))


def test_holm_by_hand():
    np.testing.assert_allclose(
        stats.holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02]
    )
    np.testing.assert_allclose(
        stats.holm(np.array([np.nan, 0.02, 0.9])), [np.nan, 0.04, 0.9]
    )
    assert (
        len(stats.holm(np.array([]))) == 0
        and np.isnan(stats.holm(np.array([np.nan]))).all()
    )


# --------------------------------------------------------------------------------------------- ranks


def test_ranks_by_hand():
    means = np.array([0.5, np.nan, 0.7, 0.5, 0.1])
    np.testing.assert_array_equal(
        stats.ranks(means, "higher"), [2.5, np.nan, 1, 2.5, 4]
    )
    np.testing.assert_array_equal(stats.ranks(means, "lower"), [2.5, np.nan, 4, 2.5, 1])
    np.testing.assert_array_equal(
        stats.ranks(np.array([1.00000001, 1.0]), "lower"), [1.5, 1.5]
    )  # equal as written


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=9))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_ranks_are_a_fair_order(means):
    ranks = stats.ranks(np.array(means, float), "lower")
    assert ranks.sum() == pytest.approx(len(means) * (len(means) + 1) / 2)
    np.testing.assert_array_equal(ranks, stats.ranks(-np.array(means, float), "higher"))
    for a, x in zip(means, ranks, strict=True):
        assert x == 1 + sum(b < a for b in means) + (means.count(a) - 1) / 2


@pytest.mark.parametrize("methods", [2, 3, 5, 10, 15, 22])
def test_on_one_image_fewer_than_needed_no_pair_can_be_told_apart(methods):
    needed = stats.images_needed(methods)
    far = np.zeros((methods, 1, needed))
    far[0] = 1 + np.linspace(0, 1e-3, needed)  # as large a difference as there is
    far[1:] += np.arange(1, methods)[:, None, None] / 1e4
    assert stats.compare(far, "higher").p[0, 1] <= 0.05
    assert not (stats.compare(far[:, :, 1:], "higher").p <= 0.05).any()


def test_images_needed_by_hand():
    # 2 / 2^n times the pairs is at most 0.05: 2/64 = 0.031; 231 * 2/2^14 = 0.028, twice that for 13
    assert [stats.images_needed(m) for m in (1, 2, 5, 15, 22)] == [6, 6, 9, 13, 14]
