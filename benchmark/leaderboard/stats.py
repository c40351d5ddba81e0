"""Intervals, tests and ranks of one table: M methods on the same S training seeds and N images.

Idea: the numbers of a table vary for two reasons, the networks (seeds) and the images, and all methods share both.
So both are resampled, and the same resample serves every method (paired).

Use: ``values`` is an array (M, S, N), NaN where a method has no value; N = 1 where only the mean over images is known.

    low, high = interval(values, "digits", "vgg11").T
    p = holm(worse_than_best(values, better="higher"))

Theory: the crossed ("pigeonhole") bootstrap draws seeds and images independently of each other. Of S seeds, S - 1 are
drawn, which makes the variance between few seeds unbiased (drawing S of them gives (S - 1)/S of it). Measured coverage
of the 95 % interval, 64 images: 94 % where the images dominate, above 99 % where the noise is that of single (seed,
image) cells, and too low where the seeds dominate: 92 % with 10 seeds, 86 % with 5, 77 % with 3, since no percentile
reaches past the worst seed. The tests compare methods on the given networks: pairs are images, averaged over seeds.

Reference: Owen (2007), The pigeonhole bootstrap; Rao and Wu (1988), Resampling inference with complex survey data;
Wilcoxon (1945), Individual comparisons by ranking methods; Holm (1979), A simple sequentially rejective multiple test
procedure; Demsar (2006), Statistical comparisons of classifiers over multiple data sets.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import rankdata, wilcoxon

from benchmark.store import format_value
from benchmark.utils.seeds import generator

Array = np.ndarray

DRAWS = 2000
LEVEL = 0.95
ALPHA = 0.05
MIN_PAIRS = 6  # with fewer pairs no two-sided signed-rank p-value lies below 0.05
_BLOCK = 250  # draws at a time, to bound the memory: _BLOCK * N counts


def counts(rng: np.random.Generator, draws: int, size: int, take: int) -> Array:
    """How often each of ``size`` things is drawn when ``take`` are drawn with replacement: (draws, size)."""
    picked = rng.integers(size, size=(draws, take))
    picked += size * np.arange(draws)[:, None]  # row b counts in bins of its own
    counted = np.bincount(picked.ravel(), minlength=draws * size)
    return counted.reshape(draws, size)


def bootstrap(values: Array, *name: object, draws: int = DRAWS) -> Array:
    """Means over resampled seeds and images, (M, draws): column b is the same resample for every method.

    A resampled mean is the mean over the drawn seeds of the mean over the drawn images that have a value, NaN where
    none has. ``name`` names the seed of the resampling.
    """
    m, s, n = values.shape
    rng = generator("bootstrap", *name, s, n)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    blocks = [np.empty((m, 0))]
    for start in range(0, draws, _BLOCK):
        size = min(_BLOCK, draws - start)
        seeds = counts(rng, size, s, max(s - 1, 1))  # (b, S)
        images = counts(rng, size, n, n).astype(np.float64)  # (b, N)
        with np.errstate(invalid="ignore"):
            means = (filled @ images.T) / (known @ images.T)  # (M, S, b)
        weight = np.where(
            np.isnan(means), 0.0, seeds.T
        )  # a seed without values is left out
        total = (np.nan_to_num(means) * weight).sum(1)
        with np.errstate(invalid="ignore"):
            blocks.append(total / weight.sum(1))
    return np.concatenate(blocks, axis=1)


def interval(
    values: Array, *name: object, level: float = LEVEL, draws: int = DRAWS
) -> Array:
    """Percentile interval of each method's mean, (M, 2); NaN where there is only one seed and one image."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    replicates = bootstrap(values, *name, draws=draws)
    known = ~np.isnan(values)
    several = known.sum((1, 2)) >= 2
    out = np.full((len(values), 2), np.nan)
    for i in np.flatnonzero(several):
        drawn = replicates[i][~np.isnan(replicates[i])]
        out[i] = np.quantile(drawn, tails)
    return out


def mean(values: Array) -> Array:
    """Mean over seeds of the means over images, (M,); NaN where a method has no value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # mean of nothing
        return np.nanmean(np.nanmean(values, axis=2), axis=1)


def best(means: Array, better: str) -> int:
    """Index of the best mean, the first of equals; ``better`` is lower or higher."""
    index = np.nanargmin(means) if better == "lower" else np.nanargmax(means)
    return int(index)


def signed_rank(differences: Array, *, exact: int = 0) -> float:
    """p-value of Wilcoxon's signed-rank test of paired differences, two-sided.

    Differences of zero are dropped; 1 where all are zero; NaN for fewer than ``MIN_PAIRS`` differences, zeros included.

    Args:
        differences: (N,).
        exact: up to this many differences all sign patterns are counted, ties or not. Above it scipy chooses: the exact
            distribution up to 50 differences without ties (up to 13 with ties), else the normal approximation.
    """
    if len(differences) < MIN_PAIRS:
        return np.nan
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    if len(differences) <= exact:
        return _signed_rank_exact(differences)
    return float(wilcoxon(differences, method="auto").pvalue)


def _signed_rank_exact(differences: Array) -> float:
    """The exact p-value where differences tie, without trying all 2^N sign patterns one by one."""
    # twice the ranks: whole numbers, since equal differences share half-integer ranks
    twice = np.rint(2 * rankdata(np.abs(differences))).astype(int)
    share = np.ones(
        1
    )  # share[w] of all sign patterns have twice the sum of positive ranks = w
    for rank in twice:
        negative = np.pad(share, (0, rank))
        positive = np.pad(share, (rank, 0))
        share = (negative + positive) / 2
    w = twice[differences > 0].sum()
    at_most = share[: w + 1].sum()
    at_least = share[w:].sum()
    return float(min(1.0, 2 * min(at_most, at_least)))


def worse_than_best(values: Array, better: str) -> Array:
    """p-values, (M,), of Wilcoxon's signed-rank test of each method against the one with the best mean.

    The pairs are the images: differences are averaged over the seeds that both have, and differences of zero are
    dropped. Two-sided; 1 where the ranks do not speak against the method, or where all differences are zero. NaN for
    the best itself, and where fewer than ``MIN_PAIRS`` images are shared.
    """
    means = mean(values)
    out = np.full(len(values), np.nan)
    if np.isnan(means).all():
        return out
    first = best(means, better)
    sign = 1 if better == "higher" else -1
    for i in range(len(values)):
        if i == first:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            loss = np.nanmean(
                values[first] - values[i], axis=0
            )  # (N,): what is lost by taking i
        loss = sign * loss[~np.isnan(loss)]
        if len(loss) >= MIN_PAIRS:
            out[i] = signed_rank(loss) if _rank_balance(loss) > 0 else 1.0
    return out


def _rank_balance(differences: Array) -> float:
    """Sum of the signed ranks, without differences of zero: above 0 where the positive differences weigh more."""
    differences = differences[differences != 0]
    signed = np.sign(differences) * rankdata(np.abs(differences))
    return signed.sum()


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
    return rankdata(signed, method="average", nan_policy="omit")
