"""Which cells of two runs differ by more than noise: the statistics of ``glassbench diff``.

Idea: a cell (one method, metric and network) has one value a trained seed, in both runs. Seeds are named, so seed s of the
old run and seed s of the new one are a pair. How far pairs scatter says how much of a difference is noise: nothing on
the same networks, a part of the seed-to-seed spread on another machine, all of it where networks are other ones.

Use: ``judge(cells)``, one line a cell, from ``diff.py``.

Theory, with S seeds, old x_s and new y_s:

1. sigma, a metric's usual seed-to-seed spread: the variances over seeds of x and of y in all its cells are scaled inverse
   chi^2 around sigma^2 (Smyth 2004). A cell's own spread is squeezed towards it (Eq. 4-5), so that a cell whose three
   seeds happen to agree is not taken to be free of noise; a cell with one seed has none of its own and borrows it.
2. u_s = (y_s - x_s) / sigma, positive where the new run is better. Its variance tau^2 comes from the S pairs (S - 1 degrees
   of freedom), squeezed in the same way towards what is usual among the cells that moved: how much of the noise the two
   runs do not share. Fewer than ``ENOUGH`` such cells say too little, and a cell with one seed says nothing: there
   tau^2 is twice the cell's own spread^2, as if all networks were drawn anew.
3. t = mean(u) sqrt(S) / tau: the difference in standard errors; Student's t with the summed degrees of freedom.
4. Regressions: one-sided p-values, Benjamini-Hochberg at 5 % over all cells that moved. Where nothing but noise moved,
   the chance of any false alarm in the run is 5 % at most; a change that moves many cells needs less of each.
   Improvements the same, for themselves.
5. A difference below a tenth of sigma is no change whatever t says (the floor of the metric), nor does tau lie below a
   tenth. Equal values (seven digits) are not tested.
6. What is usual never counts for more than ``SURE`` degrees of freedom. Fitted freely it counts for more in half of the
   runs, by chance, and false alarms came in 6 to 20 % of simulated runs instead of 5.
Counts, bits and losses (any unit but those in ``BOUNDED``) are judged relative to their size in the old run.

Measured on simulated histories (tools/gate_rates.py: 2 networks x 8 methods x 12 metrics, 3 seeds, half of the noise shared
within a network). ``kept`` is the correlation of the two runs' seed noise; a shift of k standard errors is k sigma_c / sqrt(S),
the standard error of one run's mean. False alarms: share of runs (400; in brackets 100) with any regression where there
is none. Hits: the planted cell is found; of a method on one network, or everywhere, the share of its cells (60 runs).

    kept    false alarms    one cell, 4    method on a network, 4    method everywhere, 4
    1       (0)             .97            1                         1
    .99     .03             1              1                         1
    .95     .02             .98            1                         1
    .9      (.02)           .72            .99                       1
    0       .03             .02            .05                       .06

1 is the usual pull request (the same networks; one cell: judged as if drawn anew, see 2). On another instruction set (SSE
for AVX-512: all six networks have other weights) the offline board's metrics keep .30 to 1.00 of their seed noise, half of
them .95 or more, and no cell of 109 is called a change. Where all networks are others (0) three seeds cannot tell a
shift of 4 standard errors of a mean, 2.8 of the difference, from the largest of 192 differences of chance: there only
larger shifts or more seeds are found.

Reference: Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression in microarray
experiments; Benjamini and Hochberg (1995), Controlling the false discovery rate.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from scipy.stats import false_discovery_control
from scipy.stats import t as student

Array = np.ndarray

ALPHA = 0.05
FLOOR = 0.1  # of a metric's usual spread between seeds: smaller differences are no change
ENOUGH = 8  # moved cells from which the noise between the two runs is learnt
FEW = 3  # cells with several seeds from which a metric's usual spread is learnt
BOUNDED = (
    "percent",
    "fraction",
    "correlation",
    "share",
)  # units whose spread does not grow with the value
SURE = 3.5  # degrees of freedom that what is usual counts for at most


class Prior(NamedTuple):
    """Variances are s2 dof / chi^2(dof): s2 is the usual one, dof how sure that is (0: nothing is known)."""

    s2: float
    dof: float


def fit(variances: Array, dof: Array, most: float = SURE) -> Prior:
    """The prior behind sample variances with ``dof`` degrees of freedom each, both (C,); those with none are left out.

    Smyth (2004), section 6.2: moments of log s^2, whose mean and variance under the prior are digamma and trigamma
    terms. Variances below FLOOR^2 of the median are raised to it: a saturated metric has none. At most ``most`` degrees
    of freedom; nothing is known (0) from fewer than ``FEW`` variances or from zeros alone.
    """
    s2, d = (np.asarray(a, np.float64)[np.asarray(dof) > 0] for a in (variances, dof))
    if len(s2) < FEW or not (s2 > 0).any():
        return Prior(np.nan, 0.0)
    s2 = np.maximum(s2, FLOOR**2 * np.median(s2[s2 > 0]))
    e = np.log(s2) - digamma(d / 2) + np.log(d / 2)
    excess = (
        e.var(ddof=1) - polygamma(1, d / 2).mean()
    )  # = trigamma(d0 / 2); 1e-6: no more than chance, d0 is 2 million
    d0 = brentq(lambda x: polygamma(1, x / 2) - max(excess, 1e-6), 1e-4, 1e7)
    s2 = np.exp(e.mean() + digamma(d0 / 2) - np.log(d0 / 2))
    return Prior(float(s2), float(min(d0, most)))


def squeeze(variances: Array, dof: Array, prior: Prior) -> tuple[Array, Array]:
    """Posterior variances and their degrees of freedom, (C,) each: (d0 s0^2 + d s^2) / (d0 + d); NaN and 0 without any."""
    total = prior.dof + np.asarray(dof, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.nan_to_num(prior.s2) * prior.dof + np.nan_to_num(variances) * dof) / total, total


def spreads(cells: pd.DataFrame, elsewhere: pd.DataFrame | None = None) -> pd.DataFrame:
    """The seed-to-seed spread of each cell, in units of its ``scale``.

    Args:
        cells, elsewhere: columns track, metric, unit, variance (over seeds, in units of scale^2), dof. ``elsewhere`` holds
            cells of other profiles, asked where ``cells`` have too few seeds for a metric.

    Returns:
        sigma (NaN: no basis), sigma_dof, usual (the metric's sigma, NaN if unknown), borrowed (from other cells alone);
        the index of ``cells``.
    """
    out = pd.DataFrame(
        {"sigma": np.nan, "sigma_dof": 0.0, "usual": np.nan, "borrowed": False}, index=cells.index
    )
    others = (
        dict(list(elsewhere.groupby(["track", "metric", "unit"]))) if elsewhere is not None else {}
    )
    for key, group in cells.groupby(["track", "metric", "unit"]):
        prior = fit(group["variance"].to_numpy(), group["dof"].to_numpy())
        if not prior.dof and key in others:
            prior = fit(others[key]["variance"].to_numpy(), others[key]["dof"].to_numpy())
        s2, dof = squeeze(group["variance"].to_numpy(), group["dof"].to_numpy(), prior)
        out.loc[group.index, "sigma"] = np.sqrt(np.where(s2 > 0, s2, np.nan))
        out.loc[group.index, "sigma_dof"] = dof
        out.loc[group.index, "usual"] = np.sqrt(prior.s2)
        out.loc[group.index, "borrowed"] = (group["dof"] == 0) & (prior.dof > 0)
    return out


def judge(cells: pd.DataFrame, elsewhere: pd.DataFrame | None = None) -> pd.DataFrame:
    """Verdicts over cells that both runs have.

    Args:
        cells: as for ``spreads``, and seeds (S), moved (any value differs), gain (mean of new - old over the pairs, positive
            where the new run is better) and pair_variance (over the S pairs), in units of scale and scale^2.

    Returns:
        kind (regression, improvement, unchanged, unverified: moved, and nothing says how much is noise), errors (the gain in
        standard errors, NaN if untested), p (one-sided, adjusted, of the side on which the gain lies), tolerance (the gain
        or loss up to which the cell is unchanged, in units of scale), borrowed; the index of ``cells``.
    """
    found = spreads(cells, elsewhere)
    sigma, usual = found["sigma"].to_numpy(), found["usual"].to_numpy()
    gain, seeds = cells["gain"].to_numpy(np.float64), cells["seeds"].to_numpy(np.float64)
    moved = cells["moved"].to_numpy(bool)
    tested = moved & np.isfinite(sigma)
    floor = FLOOR * np.where(np.isfinite(usual), usual, sigma)

    pairs = seeds - 1  # degrees of freedom of tau
    tau2, dof = 2 * sigma**2, found["sigma_dof"].to_numpy()  # as if drawn anew
    learnt = tested & (pairs > 0) & np.isfinite(usual)
    if learnt.sum() >= ENOUGH:
        u2 = cells["pair_variance"].to_numpy(np.float64) / usual**2
        prior = fit(u2[learnt], pairs[learnt])
        posterior, total = squeeze(u2, pairs, prior)
        tau2 = np.where(learnt, np.maximum(posterior, FLOOR**2) * usual**2, tau2)
        dof = np.where(learnt, total, dof)
    error = np.sqrt(tau2 / seeds)  # standard error of the gain
    errors = np.where(tested, gain / np.where(tested, error, 1.0), np.nan)

    worse, better = np.full(len(cells), np.nan), np.full(len(cells), np.nan)
    worse[tested] = false_discovery_control(student.cdf(errors[tested], dof[tested]))
    better[tested] = false_discovery_control(student.sf(errors[tested], dof[tested]))
    enough = np.abs(gain) >= floor
    kind = np.select(
        [moved & ~tested, tested & enough & (worse <= ALPHA), tested & enough & (better <= ALPHA)],
        ["unverified", "regression", "improvement"],
        "unchanged",
    )
    hits = np.where(gain < 0, (kind == "regression").sum(), (kind == "improvement").sum())
    critical = student.isf(
        ALPHA * np.maximum(hits, 1) / max(tested.sum(), 1), dof
    )  # BH's, as it came out
    return pd.DataFrame(
        {
            "kind": kind,
            "errors": errors,
            "p": np.where(gain < 0, worse, better),
            "tolerance": np.where(tested, np.maximum(floor, critical * error), np.nan),
            "borrowed": found["borrowed"] & tested,
        },
        index=cells.index,
    )
