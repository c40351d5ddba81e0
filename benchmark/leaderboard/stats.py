"""Intervals, tests and ranks of one table: M methods on the same S training seeds and N images.

Idea: the numbers of a table vary for two reasons, the networks (seeds) and the images, and all methods share both.
So both are resampled, and the same resample serves every method (paired).

Use: ``values`` is an array (M, S, N), NaN where a method has no value; N = 1 where only the mean of a seed is known.

    low, high = interval(values, "digits", "vgg11").T
    p = holm(worse_than_best(values, better="higher"))

Theory: the crossed ("pigeonhole") bootstrap draws seeds and images independently of each other. Of S seeds, S - 1 are
drawn, which makes the variance between few seeds unbiased (drawing S of them gives (S - 1)/S of it). Measured coverage
of the 95 % interval, 64 images: 94 % where the images dominate, above 99 % where the noise is that of single (seed,
image) cells, and too little where the seeds dominate: 92 % with 10 seeds, 86 % with 5, 77 % with 3, since no percentile
reaches past the worst seed. The tests compare on the networks at hand: their pairs are images, averaged over seeds.

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
MIN_PAIRS = 6  # with fewer images no two-sided signed-rank p-value lies below 0.05
_BLOCK = 250  # draws made at once: bounds the memory at _BLOCK * N counts


def counts(rng: np.random.Generator, draws: int, size: int, take: int) -> Array:
    """How often each of ``size`` things is drawn when ``take`` are drawn with replacement: (draws, size)."""
    picked = rng.integers(size, size=(draws, take)) + size * np.arange(draws)[:, None]
    return np.bincount(picked.ravel(), minlength=draws * size).reshape(draws, size)


def bootstrap(values: Array, *name: object, draws: int = DRAWS) -> Array:
    """Means over resampled seeds and images, (M, draws): column b is the same resample for every method.

    A resampled mean is the mean over the drawn seeds of the mean over the drawn images that have a value, NaN where
    none has. ``name`` names the seed of the resampling.
    """
    m, s, n = values.shape
    rng = generator("bootstrap", *name, s, n)
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    out = []
    for start in range(0, draws, _BLOCK):
        size = min(_BLOCK, draws - start)
        seeds = counts(rng, size, s, max(s - 1, 1))  # (b, S)
        images = counts(rng, size, n, n).astype(np.float64)  # (b, N)
        with np.errstate(invalid="ignore"):
            means = (filled @ images.T) / (known @ images.T)  # (M, S, b)
        weight = np.where(np.isnan(means), 0.0, seeds.T)  # a seed without values is left out
        with np.errstate(invalid="ignore"):
            out.append((np.nan_to_num(means) * weight).sum(1) / weight.sum(1))
    return np.concatenate(out, axis=1) if out else np.empty((m, 0))


def interval(values: Array, *name: object, level: float = LEVEL, draws: int = DRAWS) -> Array:
    """Percentile interval of each method's mean, (M, 2); NaN where there is but one seed and one image."""
    tails = [(1 - level) / 2, (1 + level) / 2]
    replicates = bootstrap(values, *name, draws=draws)
    single = (~np.isnan(values)).sum((1, 2)) < 2
    out = np.full((len(values), 2), np.nan)
    for i in np.flatnonzero(~single):
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
    return int(np.nanargmin(means) if better == "lower" else np.nanargmax(means))


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
    for i in range(len(values)):
        if i == first:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            loss = np.nanmean(values[first] - values[i], axis=0)  # (N,): what is lost by taking i
        loss = loss[~np.isnan(loss)] * (1 if better == "higher" else -1)
        if len(loss) >= MIN_PAIRS:
            out[i] = _signed_rank(loss)
    return out


def _signed_rank(loss: Array) -> float:
    loss = loss[loss != 0]
    if not len(loss):
        return 1.0
    signed = np.sign(loss) * rankdata(np.abs(loss))
    if signed.sum() <= 0:
        return 1.0
    return float(wilcoxon(loss, method="auto").pvalue)  # exact for few images, ties or not


def holm(p: Array) -> Array:
    """Holm's adjusted p-values; NaN stays NaN and is not counted."""
    p = np.asarray(p, np.float64)
    out = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN comes last
    steps = p[order] * (len(order) - np.arange(len(order)))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out


def ranks(means: Array, better: str) -> Array:
    """Ranks, 1 = best, (M,); equals (to the seven digits that are written) share the average of their ranks."""
    means = np.array([float(format_value(m) or "nan") for m in means])
    return rankdata(means if better == "lower" else -means, method="average", nan_policy="omit")
