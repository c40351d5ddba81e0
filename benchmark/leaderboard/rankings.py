"""How sure the order of the methods is: which average ranks differ, and what a metric's own setting does to them.

Idea: every (data set, network, metric) ranks the methods of a track; these rankings are the sample. Two methods
differ if one is ranked before the other more often, and by more places, than chance explains.

Use:
    table = rankings(frame, "heatmap")
    differ(table)                    # methods x methods: p-values, Holm-adjusted
    cliques(differ(table).loc[order, order])

Theory: Demsar (2006) compares classifiers over data sets by the Friedman test and the difference of mean ranks that a
post-hoc test calls significant. That difference depends on which other methods are on the board; Benavoli et al.
(2016) therefore test each pair by Wilcoxon's signed-rank test over the data sets, Holm-adjusted, as here. Metrics
have different units, so the signed ranks are taken of differences of ranks. The rankings of one network by several
metrics are not independent of each other, so the p-values are smaller than they should be: read a bar as "cannot be
told apart even so".

Reference: Demsar (2006), Statistical comparisons of classifiers over multiple data sets; Benavoli, Corani and Mangili
(2016), Should we really use post-hoc tests based on mean-ranks?
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, kendalltau

from benchmark.leaderboard import stats, tables

BLOCK = ["dataset", "target", "metric"]
EXACT = 100  # blocks up to which the signed-rank test is exact; differences of ranks often tie


def rankings(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """Blocks x methods, in the order of the average rank: the rank in every (data set, network, metric).

    The settings of a metric are averaged, as in ``tables.average_ranks``; NaN where a method is not applicable.
    """
    part = tables.ranked(frame, track)
    order = list(tables.average_ranks(frame, track)["label"])
    wide = part.pivot_table(index=BLOCK, columns="label", values="rank", aggfunc="mean")
    return wide.reindex(columns=order)


def differ(table: pd.DataFrame) -> pd.DataFrame:
    """p-values, methods x methods: Wilcoxon's signed-rank test over the blocks that both have, two-sided.

    Holm-adjusted over all pairs; differences of zero are dropped. 1 on the diagonal and where nothing differs; NaN
    where fewer than ``stats.MIN_PAIRS`` blocks are shared.
    """
    methods = list(table.columns)
    pairs = list(combinations(range(len(methods)), 2))
    p = np.empty(len(pairs))
    for i, (a, b) in enumerate(pairs):
        lead = table.iloc[:, a] - table.iloc[:, b]
        p[i] = stats.signed_rank(lead.dropna().to_numpy(), exact=EXACT)
    out = np.eye(len(methods))
    for (a, b), adjusted in zip(pairs, stats.holm(p), strict=True):
        out[a, b] = out[b, a] = adjusted
    return pd.DataFrame(out, index=methods, columns=methods)


def friedman(table: pd.DataFrame) -> float:
    """p-value of the hypothesis that all methods are alike, over the blocks in which all are ranked.

    NaN for fewer than 3 methods or 2 blocks, and where all methods tie in every block.
    """
    whole = table.dropna()
    blocks, methods = whole.shape
    if methods < 3 or blocks < 2:
        return np.nan
    if (whole.nunique(axis=1) == 1).all():
        return np.nan
    return float(friedmanchisquare(*whole.to_numpy().T).pvalue)


def cliques(p: pd.DataFrame, alpha: float = stats.ALPHA) -> list[tuple[int, int]]:
    """Longest runs (first, last) of methods of which no two differ: the bars of a critical-difference diagram.

    Args:
        p: as from ``differ``, methods in the order of their average rank; untested pairs (NaN) do not differ.
    """
    alike = ~(p.to_numpy() < alpha)
    runs: list[tuple[int, int]] = []
    reached = 0  # the last method of the runs so far
    for first in range(len(p)):
        last = first
        while last + 1 < len(p):
            run = slice(first, last + 2)
            if not alike[run, run].all():
                break
            last += 1
        if last > first and last > reached:
            runs.append((first, last))
            reached = last
    return runs


# --------------------------------------------------------------------------------------------- settings of metrics


def by_setting(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """The average rank of each method under each setting of the metrics that have several settings.

    Returns:
        metric, metric_setting, label, control, average_rank, networks (those that have all settings of the metric);
        settings in the order of the board.
    """
    part = tables.ranked(frame, track)
    settings = part.groupby("metric")["metric_setting"].nunique()
    part = part[part["metric"].isin(settings.index[settings > 1])]
    here = part.groupby([*BLOCK, "label"])["metric_setting"].transform("nunique")
    part = part[here == part["metric"].map(settings)]
    by_setting = part.groupby(
        ["metric", "metric_setting", "label", "control"], sort=False
    )
    out = by_setting["rank"].agg(average_rank="mean", networks="size")
    return out.reset_index()


def sensitivity(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """What a metric's own setting does to its ranking, a line per metric with several settings.

    Returns:
        metric, settings (count), networks, tau (Kendall's tau-b between the rankings under two settings, averaged
        over the pairs of settings and the networks; 1: the setting does not matter), least (the least tau of any
        pair), first (the methods that are first under some setting, of the rank averaged over networks).
    """
    out = []
    shown = by_setting(frame, track)
    ranked = tables.ranked(frame, track)
    for metric, lines in shown.groupby("metric", sort=False):
        taus = _setting_taus(ranked[ranked["metric"] == metric])
        settings = lines["metric_setting"].nunique()
        networks = int(lines["networks"].max())
        mean = np.mean(taus) if taus else np.nan
        least = min(taus, default=np.nan)
        out.append(
            (metric, settings, networks, mean, least, _first_under_some_setting(lines))
        )
    return pd.DataFrame(
        out, columns=["metric", "settings", "networks", "tau", "least", "first"]
    )


def _setting_taus(ranked: pd.DataFrame) -> list[float]:
    """Kendall's tau-b between the rankings under two settings of one metric, for each network and pair of settings."""
    taus = []
    for _, block in ranked.groupby(BLOCK):
        wide = block.pivot_table(
            index="label", columns="metric_setting", values="rank"
        ).dropna()
        if len(wide) < 3:
            continue
        for a, b in combinations(wide, 2):
            tau = kendalltau(wide[a], wide[b]).statistic
            if np.isfinite(tau):
                taus.append(tau)
    return taus


def _first_under_some_setting(lines: pd.DataFrame) -> list[str]:
    """Methods with the best average rank under a setting of one metric, in the order of the settings."""
    first: dict[str, None] = {}
    for _, group in lines.groupby("metric_setting", sort=False):
        best = group["average_rank"] == group["average_rank"].min()
        first |= dict.fromkeys(group.loc[best, "label"])
    return list(first)


def moves(frame: pd.DataFrame, track: str) -> pd.Series:
    """By method: the places between its best and its worst rank under the settings of one metric.

    Averaged over networks and the metrics that have several settings; empty where none has.
    """
    part = tables.ranked(frame, track)
    ranks = part.groupby([*BLOCK, "label"])["rank"].agg(["min", "max", "size"])
    ranks = ranks[ranks["size"] > 1]
    places = ranks["max"] - ranks["min"]
    return places.groupby(level="label").mean()
