"""Intervals against closed forms, a literal twin and simulated truth; tests and ranks against scipy and hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from benchmark.leaderboard import stats
from benchmark.utils.seeds import generator


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


def test_the_interval_is_of_the_middle_95_percent_of_2000_draws():
    values = rng("interval").normal(size=(1, 2, 3))
    draws = literal_bootstrap(values, "a", draws=2000)
    np.testing.assert_allclose(
        stats.interval(values, "a"), [np.quantile(draws[0], [0.025, 0.975])], rtol=1e-12
    )
    assert stats.bootstrap(values, "a", draws=0).shape == (1, 0)


def test_resamples_are_shared_by_all_methods_and_named():
    values = rng("paired").normal(size=(1, 3, 20))
    both = np.concatenate([values, values + 5])
    draws = stats.bootstrap(both, "x")
    np.testing.assert_allclose(draws[1] - draws[0], 5)
    np.testing.assert_array_equal(draws, stats.bootstrap(both, "x"))
    assert not np.array_equal(draws, stats.bootstrap(both, "y"))


def test_interval_over_images_is_the_normal_one():
    values = rng("normal").normal(3, 2, (1, 1, 400))
    (low, high), se = stats.interval(values, "x", draws=6000)[0], values.std() / 20
    np.testing.assert_allclose(
        [low, high], values.mean() + np.array([-1.96, 1.96]) * se, atol=0.12 * se
    )


def test_variance_over_few_seeds_is_unbiased():
    values = rng("seeds").normal(size=(1, 4, 1))
    expected = (
        values.var(ddof=1) / 4
    )  # of a mean of 4; drawing 4 of 4 would give three quarters of it
    assert stats.bootstrap(values, "x", draws=20_000).var() == pytest.approx(
        expected, rel=0.05
    )


@pytest.mark.parametrize(
    ("spread", "seeds", "low", "high"),
    [  # standard deviations over (seeds, images, single cells) -> what the 95 % interval really covers
        ((0.0, 1.0, 0.0), 3, 0.92, 0.98),
        ((0.05, 1.0, 0.5), 3, 0.92, 0.99),
        ((0.0, 0.2, 1.0), 3, 0.95, 1.0),  # conservative
        (
            (1.0, 0.5, 0.0),
            3,
            0.6,
            0.9,
        ),  # three seeds that differ more than images: too short, and said so
        ((1.0, 0.5, 0.0), 10, 0.86, 0.98),
    ],
)
def test_coverage(spread, seeds, low, high):
    source, hits, times, n = rng("coverage", spread, seeds), 0, 400, 64
    for k in range(times):
        a, b, c = (
            sd * source.normal(size=size)
            for sd, size in zip(spread, [(seeds, 1), (1, n), (seeds, n)], strict=True)
        )
        left, right = stats.interval((a + b + c)[None], k, draws=300)[0]
        hits += left <= 0 <= right
    assert low <= hits / times <= high


def test_interval_of_little_or_nothing():
    assert np.isnan(stats.interval(np.ones((1, 1, 1)), "x")).all()
    assert np.isnan(stats.interval(np.full((1, 3, 4), np.nan), "x")).all()
    np.testing.assert_array_equal(
        stats.interval(np.full((1, 3, 4), 2.0), "x"), [[2.0, 2.0]]
    )
    assert np.isfinite(
        stats.interval(np.array([[[1.0, 2.0]], [[1.0, np.nan]]]), "x")
    ).tolist() == [
        [True] * 2,
        [False] * 2,
    ]
    holes = np.array(
        [[[1.0, np.nan, np.nan, np.nan], [np.nan, 3.0, 3.0, 3.0]]]
    )  # draws without a value are left out
    low, high = stats.interval(holes, "x")[0]
    assert (low, high) == (1.0, 3.0)


def test_mean_weighs_seeds_alike():
    values = np.array([[[1.0, np.nan, np.nan], [4.0, 5.0, 6.0]], [[np.nan] * 3] * 2])
    np.testing.assert_array_equal(stats.mean(values), [3.0, np.nan])


# --------------------------------------------------------------------------------------------- tests


def test_signed_rank_is_scipys_on_seed_averages():
    values = (
        rng("wilcoxon").normal(size=(3, 2, 30))
        + np.array([1.0, 0.5, 0.7])[:, None, None]
    )
    p = stats.worse_than_best(values, "higher")
    by_image = values.mean(1)
    assert np.isnan(p[0])
    assert p[1] == pytest.approx(wilcoxon(by_image[0], by_image[1]).pvalue)
    assert p[2] == pytest.approx(wilcoxon(by_image[0], by_image[2]).pvalue)
    np.testing.assert_allclose(stats.worse_than_best(-values, "lower"), p)


def test_signed_rank_by_hand():
    """n images, all better, no ties: 2 of 2^n sign patterns are as extreme."""
    images = np.arange(1.0, 7)
    assert (
        stats.signed_rank(images) == stats.signed_rank(-images) == pytest.approx(2 / 64)
    )
    assert np.isnan(stats.signed_rank(images[:5]))  # five images cannot tell
    zeros = np.zeros(5)  # are dropped
    assert stats.signed_rank(np.r_[zeros, images]) == pytest.approx(2 / 64)
    assert stats.signed_rank(np.zeros(6)) == 1
    assert stats.signed_rank(np.zeros(6), exact=6) == 1


def test_worse_than_best_by_hand():
    """Six images, all worse, no ties: two of the 2^6 sign patterns are as extreme."""
    best = np.zeros((1, 6))
    values = np.stack([best, best - np.arange(1, 7)])
    assert stats.worse_than_best(values, "higher")[1] == pytest.approx(2 / 64)
    values = np.stack(
        [best, best - 1]
    )  # ties among the differences change nothing of that
    assert stats.worse_than_best(values, "higher")[1] == pytest.approx(2 / 64)


def test_zero_differences_are_dropped():
    lost = np.zeros((1, 60))
    lost[0, :5] = -1  # five images at most give 2 / 2^5 = 0.0625
    assert stats.worse_than_best(np.stack([np.zeros((1, 60)), lost]), "higher")[
        1
    ] == pytest.approx(2 / 32)
    same = np.zeros((2, 1, 60))
    assert stats.worse_than_best(same, "higher")[1] == 1.0


def test_too_few_images_and_missing_ones():
    few = rng("few").normal(size=(2, 3, 5))  # not the 2/32 that they would give
    assert np.isnan(stats.worse_than_best(few, "higher")).all()
    values = np.zeros((2, 1, 12))
    values[1] -= np.arange(1, 13)
    values[1, 0, 6:] = np.nan  # six shared images are left
    assert stats.worse_than_best(values, "higher")[1] == pytest.approx(2 / 64)
    assert np.isnan(stats.worse_than_best(np.full((2, 1, 8), np.nan), "higher")).all()


def test_a_method_that_the_ranks_favour_is_not_worse():
    """The best mean comes from one outlier; on every other image the other method is better."""
    values = np.zeros((2, 1, 20))
    values[0, 0, 0] = 100.0
    values[1, 0, 1:] = 1.0
    assert stats.worse_than_best(values, "higher")[1] == 1.0


def test_ranks_that_speak_against_a_method_by_one_are_tested():
    """53 images, whose ranks sum to 1431: a balance of 1 is the least there is, and its p-value is below 1."""
    loss, left = (
        np.arange(1.0, 54),
        715,
    )  # in favour of the method: ranks that sum to 715; 716 against it
    for i in reversed(range(53)):
        if loss[i] <= left:
            loss[i], left = -loss[i], left - loss[i]
    assert loss.sum() == 1 and left == 0
    p = stats.worse_than_best(np.stack([np.zeros((1, 53)), -loss[None]]), "higher")[1]
    assert p == wilcoxon(loss).pvalue < 1


def test_false_alarms_under_the_null():
    source = rng("null")
    hard = source.normal(size=(500, 1, 1, 40))
    p = [
        np.nanmin(stats.worse_than_best(h + source.normal(size=(2, 2, 40)), "higher"))
        for h in hard
    ]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08


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
