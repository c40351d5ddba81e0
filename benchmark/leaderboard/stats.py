"""Intervals, comparisons and ranks of one table: M methods on the same S networks and N images.

Idea: the numbers of a table vary for two reasons, the networks (one per training seed) and the images, and all methods
share both. A reader asks about networks trained like these, not about these three, so that the scatter from network to
network is part of every error. With fewer than ``NETWORKS`` networks it cannot be known: then errors are over images
alone, and hold for these networks only.

Use: ``values`` is an array (M, S, N), NaN where a method has no value; N = 1 where only the mean over images is known.

    low, high = interval(values).T
    found = compare(values, better="higher")
    found.gain[i, j], found.low[i, j], found.high[i, j]  # how much better i is than j; intervals hold together
    found.p[i, j]                                        # adjusted over all pairs of the table

Theory: x_sn = mu + a_s + b_n + e_sn, where a_s is the effect of a network and b_n of an image; x is a method's value or
the paired difference of two methods. The crossed ("pigeonhole") bootstrap resamples networks and images independently
of each other. Its variance has a closed form (Owen 2007), of three mean squares:

    A = var_s(mean_n x) / S             estimates  sigma_a^2 / S + sigma_e^2 / SN
    B = var_n(mean_s x) / N             estimates  sigma_b^2 / N + sigma_e^2 / SN
    E = var(x - rows - columns) / SN    estimates  sigma_e^2 / SN
    Var(mean) = B + max(A' - E, 0)

A has S - 1 degrees of freedom, mostly 2. As in ``gate``, it is squeezed towards what is usual in the table (A', Smyth
2004): three networks that happen to agree are not taken to be without noise. Student's t with Satterthwaite's degrees
of freedom replaces the percentiles of the bootstrap, which cannot reach past the worst of three networks. Where nothing
says what is usual (a table of two methods), there are S - 1.

"Worse" means that some other method of the table is better. The best is not known in advance, so all M (M - 1) / 2
pairs are tested together (multiple comparisons with the best, Hsu 1984), Bonferroni-adjusted. p is never below that of
an exact sign test of as many images, 2 / 2^n. ``tools/board_rates.py`` measures the errors; docs/statistics.md
lists them.

Reference: Owen (2007), The pigeonhole bootstrap; Smyth (2004), Linear models and empirical Bayes methods; Satterthwaite
(1946), An approximate distribution of estimates of variance components; Hsu (1984), Constrained simultaneous confidence
intervals for multiple comparisons with the best; Benavoli et al. (2017), Time for a change: a tutorial for comparing
multiple classifiers (the margin of equivalence); Wilcoxon (1945); Holm (1979).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy  # loads scipy.stats, which takes a second, when it is first used

from benchmark.leaderboard import variances
from benchmark.store import format_value
from benchmark.utils.seeds import generator

Array = np.ndarray

DRAWS = 1000
LEVEL = 0.95
ALPHA = 0.05
SURE = 16  # degrees of freedom that what is usual in a table counts for at most
NETWORKS = 3  # with fewer, nothing is said of other networks
MIN_PAIRS = 6  # with fewer pairs no two-sided sign test lies below 0.05
MARGIN = 0.01  # of a unit's range: smaller differences are none
RANGES = {  # unit -> range of its values
    "percent": (0.0, 100.0),
    "fraction": (0.0, 1.0),
    "share": (0.0, 1.0),
    "correlation": (-1.0, 1.0),
}
_BLOCK = 250  # draws at a time, to bound the memory: _BLOCK * N counts


# --------------------------------------------------------------------------------------------- means and their errors


class Estimate(NamedTuple):
    """K means with their standard errors, (K,) each; ``networks``: whether they hold for other networks too."""

    mean: Array
    error: Array
    dof: Array
    networks: Array


def estimate(x: Array) -> Estimate:
    """Means over networks of the means over images of ``x`` (K, S, N), which has NaN where there is no value.

    The error is NaN where nothing says how large it is: one network and one image.
    """
    by_network, by_image = _nanmean(x, 2), _nanmean(x, 1)  # (K, S), (K, N)
    mean = _nanmean(by_network, 1)
    s, n = _count(by_network), _count(by_image)
    a = _variance(by_network) / np.maximum(s, 1)  # NaN for one
    b = _variance(by_image) / np.maximum(n, 1)
    rest = x - by_network[:, :, None] - by_image[:, None]
    rest += mean[:, None, None]
    freedom = np.maximum((s - 1) * (n - 1), 1)
    e = np.nansum(rest**2, axis=(1, 2)) / freedom
    e /= np.maximum(s * n, 1)

    networks = (s >= NETWORKS) | ((n < 2) & (s >= 2))
    own = np.where(networks, s - 1, 0)
    prior = variances.fit(a, own, most=SURE)
    a, a_dof = variances.squeeze(a, own, prior)
    a = np.where(networks, np.nan_to_num(a), 0)
    b = np.where(n >= 2, np.nan_to_num(b), 0)
    e = np.where(networks, e, 0)
    variance = b + np.maximum(a - e, 0)
    spread = a**2 / np.maximum(a_dof, 1)  # of the variance itself, halved
    spread += b**2 / np.maximum(n - 1, 1)
    spread += e**2 / freedom
    with np.errstate(invalid="ignore", divide="ignore"):
        dof = np.where(spread > 0, variance**2 / spread, n - 1)
    dof = np.maximum(dof, 1)
    # nothing but the networks' own scatter, small by chance perhaps
    unsure = prior.dof == 0
    dof = np.where(networks & unsure, s - 1, dof)
    known = networks | (n >= 2)
    error = np.where(known, np.sqrt(variance), np.nan)
    return Estimate(mean, error, dof, networks)


def _count(x: Array) -> Array:
    """Of the rows of (K, N), how many values are known, (K,)."""
    return np.count_nonzero(~np.isnan(x), axis=1)


def _nanmean(x: Array, axis: int) -> Array:
    known = ~np.isnan(x)
    with np.errstate(invalid="ignore"):
        return np.where(known, x, 0).sum(axis) / known.sum(axis)


def _variance(x: Array) -> Array:
    """Sample variances of the rows of (K, N) without NaN, (K,); NaN for fewer than two values."""
    known = ~np.isnan(x)
    apart = np.where(known, x - _nanmean(x, 1)[:, None], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (apart**2).sum(1) / (known.sum(1) - 1)


def interval(values: Array, level: float = LEVEL, unit: str = "") -> Array:
    """Interval of each method's mean, (M, 2); NaN where there is only one network and one image.

    It ends at the bounds of ``unit`` if no value lies beyond them.
    """
    found = estimate(values)
    half = scipy.stats.t.ppf((1 + level) / 2, found.dof) * found.error
    out = np.stack([found.mean - half, found.mean + half], axis=1)
    low, high = RANGES.get(unit, (-np.inf, np.inf))
    known = values[~np.isnan(values)]
    inside = low <= known.min(initial=np.inf) and known.max(initial=-np.inf) <= high
    if not inside:
        return out
    return np.clip(out, low, high)


def mean(values: Array) -> Array:
    """Mean over networks of the means over images, (M,); NaN where a method has no value."""
    return _nanmean(_nanmean(values, 2), 1)


# --------------------------------------------------------------------------------------------- comparisons


class Comparison(NamedTuple):
    """Every method i with every other j, (M, M) each; NaN where fewer than ``MIN_PAIRS`` images are shared.

    Attributes:
        gain: how much better i is than j on what both have, in the metric's unit.
        low, high: of the gain; all intervals of a table hold together with ``LEVEL``.
        p: two-sided, adjusted over the pairs of the table.
        images: shared by both.
        networks: whether this holds for networks trained like these, or for these alone.
    """

    gain: Array
    low: Array
    high: Array
    p: Array
    images: Array
    networks: Array


def compare(values: Array, better: str) -> Comparison:
    """All pairs of the methods of a table.

    Args:
        values: (M, S, N).
        better: lower or higher.
    """
    m = len(values)
    i, j = np.triu_indices(m, 1)
    sign = 1 if better == "higher" else -1
    x = sign * (values[i] - values[j])  # (P, S, N), paired
    found = estimate(x)
    by_image = _nanmean(x, 1)  # (P, N)
    images = _count(by_image)
    gain = np.where(images >= MIN_PAIRS, found.mean, np.nan)
    tests = max(int(_count(gain[None])[0]), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(gain == 0, 0.0, np.abs(gain) / found.error)
    differ = np.count_nonzero(np.nan_to_num(by_image), axis=1)
    least = 2.0 ** (1 - differ)  # of a sign test
    p = np.maximum(2 * scipy.stats.t.sf(t, found.dof), least)
    p = np.minimum(tests * p, 1)
    p[np.isnan(gain)] = np.nan
    half = scipy.stats.t.isf((1 - LEVEL) / 2 / tests, found.dof) * found.error
    out = Comparison(*(np.full((m, m), np.nan) for _ in Comparison._fields))
    upper = gain, gain - half, gain + half, p, images, found.networks
    lower = -gain, -gain - half, half - gain, p, images, found.networks
    for matrix, one, other in zip(out, upper, lower, strict=True):
        matrix[i, j] = one
        matrix[j, i] = other
    return out


def images_needed(methods: int) -> int:
    """On how many images ``compare`` can tell two of so many methods apart, if every image says the same."""
    pairs = max(methods * (methods - 1) // 2, 1)
    images = 1 + math.log2(pairs / (1 - LEVEL))  # 2 / 2^n * pairs <= 1 - LEVEL
    return max(MIN_PAIRS, math.ceil(images))


def worse(found: Comparison) -> Array:
    """(M,): the adjusted p-value of "some other method is better"; 1 where none has a better mean, NaN untested."""
    tested = ~np.isnan(found.gain)
    ahead = found.gain > 0
    p = np.where(ahead, found.p, 1).min(axis=0)
    return np.where(tested.any(axis=0), p, np.nan)


def same(found: Comparison, first: int, margin: float) -> Array:
    """(M,) bool: known to differ from method ``first`` by less than ``margin``."""
    return (found.low[first] >= -margin) & (found.high[first] <= margin)


def margin(unit: str, means: Array) -> float:
    """The difference below which two methods are the same: ``MARGIN`` of the unit's range.

    Of other units (bits, logits), of the largest mean of the table.
    """
    if unit in RANGES:
        low, high = RANGES[unit]
        return MARGIN * (high - low)
    sizes = np.abs(means[~np.isnan(means)])
    return float(MARGIN * sizes.max(initial=0))


def best(means: Array, better: str) -> int:
    """Index of the best mean, the first of equals; ``better`` is lower or higher."""
    if better == "lower":
        return int(np.nanargmin(means))
    return int(np.nanargmax(means))


# --------------------------------------------------------------------------------------------- the crossed bootstrap


def counts(rng: np.random.Generator, draws: int, size: int, take: int) -> Array:
    """How often each of ``size`` things is drawn when ``take`` are drawn with replacement: (draws, size)."""
    picked = rng.integers(size, size=(draws, take))
    picked += size * np.arange(draws)[:, None]  # row b counts in bins of its own
    counted = np.bincount(picked.ravel(), minlength=draws * size)
    return counted.reshape(draws, size)


def bootstrap(values: Array, *name: object, draws: int = DRAWS) -> Array:
    """Means over resampled networks and images, (M, draws): column b is the same resample for every method.

    A resampled mean is the mean over the drawn networks of the mean over the drawn images that have a value, NaN where
    none has. Of S networks S - 1 are drawn: their variance is then unbiased (Rao and Wu 1988). ``name`` names the seed
    of the resampling.
    """
    m, s, n = values.shape
    rng = generator("bootstrap", *name, s, n)
    known = ~np.isnan(values)
    whole = known.all()
    filled = np.where(known, values, 0.0)
    blocks = [np.empty((m, 0))]
    for start in range(0, draws, _BLOCK):
        size = min(_BLOCK, draws - start)
        seeds = counts(rng, size, s, max(s - 1, 1))  # (b, S)
        images = counts(rng, size, n, n).astype(np.float64)  # (b, N)
        with np.errstate(invalid="ignore"):
            drawn = n if whole else known @ images.T
            means = (filled @ images.T) / drawn  # (M, S, b)
        # a network without values is left out
        weight = np.where(np.isnan(means), 0.0, seeds.T)
        total = (np.nan_to_num(means) * weight).sum(1)
        with np.errstate(invalid="ignore"):
            blocks.append(total / weight.sum(1))
    return np.concatenate(blocks, axis=1)


# --------------------------------------------------------------------------------------------- ranks


def signed_rank(differences: Array) -> Array:
    """p-values of Wilcoxon's signed-rank test of paired differences, two-sided, exact.

    Differences of zero are dropped and tied ones share their ranks; of the sign patterns of what is left, those are
    counted that are as extreme. 1 where all are zero; NaN for fewer than ``MIN_PAIRS`` differences, zeros included.

    Args:
        differences: (K, N), NaN where there is no pair.

    Returns:
        (K,). Time and memory grow with N^3 and N^2.
    """
    pairs = np.count_nonzero(~np.isnan(differences), axis=1)
    x = np.where(differences == 0, np.nan, differences)
    # twice the ranks: whole numbers, since equal differences share half-integer ranks
    twice = 2 * scipy.stats.rankdata(np.abs(x), axis=1, nan_policy="omit")
    twice = np.rint(np.nan_to_num(twice)).astype(int)
    positive = np.where(x > 0, twice, 0).sum(1)
    out = np.ones(len(x))
    for k, ranks in enumerate(np.sort(twice, axis=1)):
        share = _null(tuple(ranks.tolist()))  # 0: dropped, changes nothing
        w = min(positive[k], len(share) - 1 - positive[k])  # symmetric
        out[k] = min(1.0, 2 * share[: w + 1].sum())
    return np.where(pairs >= MIN_PAIRS, out, np.nan)


@lru_cache(maxsize=256)
def _null(ranks: tuple[int, ...]) -> Array:
    """share[w]: of all sign patterns, how many have positive ranks that sum to w."""
    share = np.ones(1)
    for rank in ranks:
        without = np.pad(share, (0, rank))
        added = np.pad(share, (rank, 0))
        share = (without + added) / 2
    return share


def holm(p: Array) -> Array:
    """Holm's adjusted p-values; NaN stays NaN and is not counted."""
    p = np.asarray(p, np.float64)
    out = np.full(len(p), np.nan)
    tests = np.count_nonzero(~np.isnan(p))
    order = np.argsort(p, kind="stable")[:tests]  # NaN comes last
    steps = p[order] * (tests - np.arange(tests))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def ranks(means: Array, better: str) -> Array:
    """Ranks, 1 = best, (M,); equals (to the seven digits that are written) share the average of their ranks."""
    written = np.array([float(format_value(mean) or "nan") for mean in means])
    signed = written if better == "lower" else -written
    return scipy.stats.rankdata(signed, method="average", nan_policy="omit")
