"""How sure the order of the methods is: which average ranks differ, and what a metric's own setting does to them.

Idea: every (data set, network, metric) ranks the methods of a track; these rankings are the sample. Two methods differ if
one is ranked before the other more often, and by more places, than chance gives.

Use:
    table = rankings(frame, "heatmap")
    differ(table)                    # methods x methods: p-values, Holm-adjusted
    cliques(differ(table).loc[order, order])

Theory: Demsar (2006) compares classifiers over data sets by the Friedman test and the difference of mean ranks that a post-hoc
test calls significant. That difference depends on which other methods are on the board; Benavoli et al. (2016) therefore
test each pair by Wilcoxon's signed-rank test over the data sets, Holm-adjusted, as here. Metrics have different units, so
the signed ranks are taken of differences of ranks. The rankings of one network by several metrics are not independent of
each other, so the p-values are smaller than they should be: read a bar as "cannot be told apart even so".

Reference: Demsar (2006), Statistical comparisons of classifiers over multiple data sets; Benavoli, Corani and Mangili (2016),
Should we really use post-hoc tests based on mean-ranks?
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, kendalltau, rankdata, wilcoxon

from benchmark.leaderboard import stats, tables

BLOCK = ["dataset", "target", "metric"]
EXACT = 100  # blocks up to which all sign patterns are counted


def rankings(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """Blocks x methods: the rank in every (data set, network, metric), settings of a metric averaged, as
    ``tables.average_ranks`` averages it; NaN where a method is not applicable; columns in the order of the average rank."""
    part = tables.ranked(frame, track)
    order = list(tables.average_ranks(frame, track)["label"])
    return part.pivot_table(index=BLOCK, columns="label", values="rank", aggfunc="mean").reindex(
        columns=order
    )


def differ(table: pd.DataFrame) -> pd.DataFrame:
    """p-values, methods x methods, of Wilcoxon's signed-rank test over the blocks that both have, two-sided, Holm-adjusted over
    all pairs; differences of zero are dropped; 1 on the diagonal and where nothing differs; NaN where fewer than
    ``stats.MIN_PAIRS`` blocks are shared."""
    names, p = list(table.columns), {}
    for a, b in combinations(range(len(names)), 2):
        lead = (table.iloc[:, a] - table.iloc[:, b]).dropna().to_numpy()
        p[a, b] = np.nan if len(lead) < stats.MIN_PAIRS else _signed_rank(lead)
    out = np.eye(len(names))
    for (a, b), value in zip(p, stats.holm(np.array(list(p.values()))), strict=True):
        out[a, b] = out[b, a] = value
    return pd.DataFrame(out, index=names, columns=names)


def _signed_rank(lead: np.ndarray) -> float:
    """Two-sided, exact also where differences are equal: ranks of ranks often are, and scipy would try all 2^n signs."""
    lead = lead[lead != 0]
    twice = np.rint(2 * rankdata(np.abs(lead))).astype(
        int
    )  # equal differences share half-integer ranks
    if len(lead) > EXACT:
        return float(wilcoxon(lead, method="asymptotic").pvalue)
    share = np.ones(1)  # share[w] of all sign patterns have twice the sum of positive ranks = w
    for rank in twice:
        share = (np.pad(share, (0, rank)) + np.pad(share, (rank, 0))) / 2
    w = twice[lead > 0].sum()
    return float(min(1.0, 2 * min(share[: w + 1].sum(), share[w:].sum())))


def friedman(table: pd.DataFrame) -> float:
    """p-value that all methods are alike, over the blocks in which all are ranked; NaN for fewer than 3 methods or 2 blocks."""
    whole = table.dropna()
    if whole.shape[1] < 3 or len(whole) < 2 or (whole.nunique(axis=1) == 1).all():
        return np.nan
    return float(friedmanchisquare(*whole.to_numpy().T).pvalue)


def cliques(p: pd.DataFrame, alpha: float = stats.ALPHA) -> list[tuple[int, int]]:
    """Longest runs (first, last) of methods of which no two differ: the bars of a critical-difference drawing.

    Args:
        p: as ``differ`` gives it, methods in the order of their average rank. A pair that could not be tested does not differ.
    """
    alike = ~(p.to_numpy() < alpha)
    runs: list[tuple[int, int]] = []
    for first in range(len(p)):
        last = first
        while last + 1 < len(p) and alike[first : last + 2, first : last + 2].all():
            last += 1
        if last > first and not (runs and runs[-1][1] >= last):
            runs.append((first, last))
    return runs


# --------------------------------------------------------------------------------------------- settings of metrics


def by_setting(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """The average rank of each method under each setting of the metrics that have several, over the networks that have all of
    them: metric, metric_setting, label, control, average_rank, networks; settings in the order of the board."""
    part = tables.ranked(frame, track)
    settings = part.groupby("metric")["metric_setting"].nunique()
    part = part[part["metric"].isin(settings.index[settings > 1])]
    here = part.groupby([*BLOCK, "label"])["metric_setting"].transform("nunique")
    part = part[here == part["metric"].map(settings)]
    out = part.groupby(["metric", "metric_setting", "label", "control"], sort=False)["rank"].agg(
        average_rank="mean", networks="size"
    )
    return out.reset_index()


def sensitivity(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """What a metric's own setting does to its ranking, a line a metric with several settings.

    Returns:
        metric, settings (count), networks, tau (Kendall's tau-b between the rankings under two settings, averaged over the
        pairs of settings and the networks; 1: the setting does not matter), least (the least tau of any pair), first (the
        methods that are first under some setting, of the rank averaged over networks).
    """
    out = []
    shown = by_setting(frame, track)
    ranked = tables.ranked(frame, track)
    for metric, lines in shown.groupby("metric", sort=False):
        taus = []
        for _, block in ranked[ranked["metric"] == metric].groupby(BLOCK):
            wide = block.pivot_table(
                index="label", columns="metric_setting", values="rank"
            ).dropna()
            if len(wide) >= 3:
                taus += [kendalltau(wide[a], wide[b]).statistic for a, b in combinations(wide, 2)]
        taus = [tau for tau in taus if np.isfinite(tau)]
        first = [
            g.loc[g["average_rank"] == g["average_rank"].min(), "label"]
            for _, g in lines.groupby("metric_setting", sort=False)
        ]
        out.append(
            (
                metric,
                lines["metric_setting"].nunique(),
                int(lines["networks"].max()),
                np.mean(taus) if taus else np.nan,
                min(taus, default=np.nan),
                list(dict.fromkeys(label for labels in first for label in labels)),
            )
        )
    return pd.DataFrame(out, columns=["metric", "settings", "networks", "tau", "least", "first"])


def moves(frame: pd.DataFrame, track: str) -> pd.Series:
    """By method: the places between its best and its worst rank under the settings of one metric, averaged over networks and
    the metrics that have several; empty where none has."""
    part = tables.ranked(frame, track)
    span = part.groupby([*BLOCK, "label"])["rank"].agg(["min", "max", "size"])
    span = span[span["size"] > 1]
    return (span["max"] - span["min"]).groupby(level="label").mean()
