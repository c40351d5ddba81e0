"""Which cells of two runs differ by more than noise: the statistics of ``glassbench diff``.

Idea: a cell (one method, metric and network) has one value per trained seed, in both runs. Seeds are named, so seed s
of the old run and seed s of the new one are a pair. How far pairs scatter says how much of a difference is noise:
nothing on the same networks, a part of the seed-to-seed spread on another machine, all of it where the networks are
different ones.

Use: ``judge(cells)``, one line per cell, from ``diff.py``.

Theory, with S seeds, old x_s and new y_s:

1. sigma, a metric's usual seed-to-seed spread: the variances over seeds of x and of y in all its cells are scaled
   inverse chi^2 around sigma^2 (Smyth 2004). A cell's own spread is squeezed towards it (Eq. 4-5), so that a cell
   whose three seeds happen to agree is not taken to be free of noise; a cell with one seed has none of its own and
   borrows it.
2. u_s = (y_s - x_s) / sigma, positive where the new run is better. Its variance tau^2 comes from the S pairs (S - 1
   degrees of freedom), squeezed in the same way towards what is usual among the cells that moved: how much of the noise
   the two runs do not share. Fewer than ``ENOUGH`` such cells say too little, and a cell with one seed says nothing:
   there tau^2 is twice the cell's own spread^2, as if all networks were redrawn.
3. t = mean(u) sqrt(S) / tau: the difference in standard errors; Student's t with the summed degrees of freedom.
4. Regressions: one-sided p-values, Benjamini-Hochberg at 5 % over all cells that moved. Where nothing but noise moved,
   the chance of any false alarm in the run is 5 % at most; a change that moves many cells needs less of each.
   Improvements are tested in the same way, separately.
5. A difference below a tenth of sigma is not a change whatever t says (the floor of the metric), nor does tau lie
   below a tenth. Equal values (seven digits) are not tested.
6. What is usual never counts for more than ``variances.SURE`` degrees of freedom (``leaderboard/variances.py``, as on
   the board).
Counts, bits and losses (any unit but those in ``BOUNDED``) are judged relative to their size in the old run.

How often this calls what did not change a regression, and how often it finds a planted one, was measured on simulated
histories (``tools/gate_rates.py``; ``docs/gate.md`` has the table). Where the two runs have the same networks, a shift
of four standard errors is found; where all networks are different, three seeds cannot tell it from the largest of 192
chance differences: only larger shifts are found, or more seeds are needed. On another instruction set (SSE for
AVX-512: all six networks have other weights) the offline board's metrics keep 0.30 to 1.00 of their seed noise, half
of them 0.95 or more, and none of 109 cells is called a change.

Reference: Smyth (2004), Linear models and empirical Bayes methods for assessing differential expression in microarray
experiments; Benjamini and Hochberg (1995), Controlling the false discovery rate.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit  # scipy.stats takes half a second to load

from benchmark.leaderboard.variances import FLOOR, Prior, fit, squeeze

Array = np.ndarray

ALPHA = 0.05
ENOUGH = 8  # moved cells from which the noise between the two runs is estimated
BOUNDED = (
    "percent",
    "fraction",
    "correlation",
    "share",
)  # their spread does not grow with the value
METRIC = ["track", "metric", "unit"]  # cells of one metric


def spreads(cells: pd.DataFrame, elsewhere: pd.DataFrame | None = None) -> pd.DataFrame:
    """The seed-to-seed spread of each cell, in units of its ``scale``.

    Args:
        cells: columns track, metric, unit, variance (over seeds, in units of scale^2), dof.
        elsewhere: the same of other profiles, used for metrics of which ``cells`` have too few seeds.

    Returns:
        sigma (NaN: unknown), sigma_dof, usual (the metric's sigma, NaN if unknown), borrowed (from other cells alone);
        the index of ``cells``.
    """
    unknown = {"sigma": np.nan, "sigma_dof": 0.0, "usual": np.nan, "borrowed": False}
    out = pd.DataFrame(unknown, index=cells.index)
    others = {} if elsewhere is None else dict(list(elsewhere.groupby(METRIC)))
    for key, group in cells.groupby(METRIC):
        prior = _prior(group)
        if not prior.dof and key in others:
            prior = _prior(others[key])
        variance, dof = group["variance"].to_numpy(), group["dof"].to_numpy()
        s2, total = squeeze(variance, dof, prior)
        s2 = np.where(s2 > 0, s2, np.nan)
        here = group.index
        out.loc[here, "sigma"] = np.sqrt(s2)
        out.loc[here, "sigma_dof"] = total
        out.loc[here, "usual"] = np.sqrt(prior.s2)
        out.loc[here, "borrowed"] = (dof == 0) & (prior.dof > 0)
    return out


def _prior(cells: pd.DataFrame) -> Prior:
    return fit(cells["variance"].to_numpy(), cells["dof"].to_numpy())


def judge(cells: pd.DataFrame, elsewhere: pd.DataFrame | None = None) -> pd.DataFrame:
    """Verdicts over cells that both runs have.

    Args:
        cells: as for ``spreads``, and seeds (S), moved (any value differs), gain (mean of new - old over the pairs,
            positive where the new run is better) and pair_variance (over the S pairs), in units of scale and scale^2.
        elsewhere: as for ``spreads``.

    Returns:
        kind (regression, improvement, unchanged, or unverified: moved, and it is not known how much is noise), errors
        (the gain in standard errors, NaN if untested), p (one-sided, adjusted, of the side on which the gain lies),
        tolerance (the gain or loss up to which the cell is unchanged, in units of scale), borrowed; the index of
        ``cells``.
    """
    found = spreads(cells, elsewhere)
    sigma, usual = found["sigma"].to_numpy(), found["usual"].to_numpy()
    gain = cells["gain"].to_numpy(np.float64)
    moved = cells["moved"].to_numpy(bool)
    tested = moved & np.isfinite(sigma)
    floor = FLOOR * np.where(np.isfinite(usual), usual, sigma)

    tau2, dof = _pair_noise(cells, found, tested)
    seeds = cells["seeds"].to_numpy(np.float64)
    error = np.sqrt(tau2 / seeds)  # standard error of the gain
    divisor = np.where(tested, error, 1.0)
    errors = np.where(tested, gain / divisor, np.nan)
    worse = np.full(len(cells), np.nan)
    better = worse.copy()
    worse[tested] = _false_discovery(stdtr(dof[tested], errors[tested]))
    better[tested] = _false_discovery(stdtr(dof[tested], -errors[tested]))

    enough = tested & (np.abs(gain) >= floor)
    regression = enough & (worse <= ALPHA)
    improvement = enough & (better <= ALPHA)
    kind = np.select(
        [moved & ~tested, regression, improvement],
        ["unverified", "regression", "improvement"],
        "unchanged",
    )
    # Benjamini-Hochberg's threshold for this many hits
    hits = np.where(gain < 0, regression.sum(), improvement.sum())
    level = ALPHA * np.maximum(hits, 1) / max(tested.sum(), 1)
    tolerance = np.maximum(floor, -stdtrit(dof, level) * error)
    return pd.DataFrame(
        {
            "kind": kind,
            "errors": errors,
            "p": np.where(gain < 0, worse, better),
            "tolerance": np.where(tested, tolerance, np.nan),
            "borrowed": found["borrowed"] & tested,
        },
        index=cells.index,
    )


def _false_discovery(p: Array) -> Array:
    """Benjamini and Hochberg's adjusted p-values of (C,)."""
    order = np.argsort(p)
    steps = p[order] * (len(p) / np.arange(1, len(p) + 1))
    out = np.empty_like(p)
    out[order] = np.minimum.accumulate(steps[::-1])[::-1]
    return out


def _pair_noise(
    cells: pd.DataFrame, found: pd.DataFrame, tested: Array
) -> tuple[Array, Array]:
    """tau^2, in units of scale^2, and its degrees of freedom, (C,) each; ``found``: the ``spreads`` of the cells."""
    usual = found["usual"].to_numpy()
    pairs = cells["seeds"].to_numpy(np.float64) - 1  # degrees of freedom
    tau2 = 2 * found["sigma"].to_numpy() ** 2  # as if redrawn
    dof = found["sigma_dof"].to_numpy()
    informed = tested & (pairs > 0) & np.isfinite(usual)
    if informed.sum() < ENOUGH:
        return tau2, dof
    u2 = cells["pair_variance"].to_numpy(np.float64) / usual**2
    prior = fit(u2[informed], pairs[informed])
    u2, total = squeeze(u2, pairs, prior)
    squeezed = np.maximum(u2, FLOOR**2) * usual**2
    tau2 = np.where(informed, squeezed, tau2)
    dof = np.where(informed, total, dof)
    return tau2, dof
