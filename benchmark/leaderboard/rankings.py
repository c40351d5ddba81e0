"""Which methods differ over data sets, and what a metric's own setting does to them.

Idea: every data set ranks the methods of a track by the duels that they win there; these rankings are the sample. Two
methods differ if one is ranked before the other more often, and by more places, than chance explains. It takes at least
``ENOUGH`` data sets to say so.

Use:
    table = rankings(frame, "heatmap")
    differ(table)                    # methods x methods: p-values, Holm-adjusted
    cliques(differ(table).loc[order, order])

Theory: Demsar (2006) compares classifiers over data sets by the Friedman test and the difference of mean ranks that a
post-hoc test calls significant. That difference depends on which other methods are on the board; Benavoli et al.
(2016) therefore test each pair by Wilcoxon's signed-rank test over the data sets, Holm-adjusted, as here. Blocks are
data sets: metrics and networks of one data set agree with each other more than those of two, and taken for independent
blocks they give false alarms in 9 of 10 boards.

Reference: Demsar (2006), Statistical comparisons of classifiers over multiple data sets; Benavoli, Corani and Mangili
(2016), Should we really use post-hoc tests based on mean-ranks?
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import scipy

from benchmark.leaderboard import places, stats, tables

BLOCK = ["dataset", "target", "metric"]
ENOUGH = stats.MIN_PAIRS  # data sets


def rankings(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """Data sets x methods: the rank by duels won on each data set; NaN where a method has no rival there."""
    out = {}
    for dataset, part in frame[frame["track"] == track].groupby("dataset"):
        won = places.duels(part, track).mean(axis=1)
        out[dataset] = (-won).rank()
    table = pd.DataFrame(out).T.dropna(how="all").dropna(axis=1, how="all")
    order = table.mean().sort_values(kind="stable").index
    return table[order]


def average(frame: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """label, control, average_rank of the methods of ``rankings``, best first."""
    of_methods = frame.drop_duplicates("label").set_index("label")["control"]
    out = of_methods[table.columns].reset_index()
    return out.assign(average_rank=table.mean().to_numpy())


def differ(table: pd.DataFrame) -> pd.DataFrame:
    """p-values, methods x methods: Wilcoxon's signed-rank test over the blocks that both have, two-sided, exact.

    Holm-adjusted over all pairs; differences of zero are dropped. 1 on the diagonal and where nothing differs; NaN
    where fewer than ``stats.MIN_PAIRS`` blocks are shared.
    """
    ranks = table.to_numpy(np.float64)
    a, b = np.triu_indices(ranks.shape[1], 1)
    p = stats.holm(stats.signed_rank((ranks[:, a] - ranks[:, b]).T))
    out = np.eye(ranks.shape[1])
    out[a, b] = out[b, a] = p
    return pd.DataFrame(out, index=table.columns, columns=table.columns)


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
    return float(scipy.stats.friedmanchisquare(*whole.to_numpy().T).pvalue)


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
            tau = scipy.stats.kendalltau(wide[a], wide[b]).statistic
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
