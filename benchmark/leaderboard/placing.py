"""Where one method stands among the others: its rank, and which differences are more than chance.

Idea: in each table (network, metric, its setting) a method is compared with every other on the same images, and the
p-values of a table are adjusted together.

Use:
    compared = differences(frame, instances, "Gradient norm")  # a line per table and rival
    standing(frame, compared, "Gradient norm")  # a line per table: rank, interval, whom it beats, who beats it

Theory: Wilcoxon's signed-rank test, two-sided, on the differences per image, averaged over the seeds that both have;
Holm's adjustment over the rivals of a table. Values per image are needed on both sides: a rival of which only the
mean is known has its rank and its interval, but no verdict.

Reference: as ``stats``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.leaderboard import stats, tables

VERDICTS = ("beats", "loses to", "no difference", "unknown")
_KEY = list(store.ROW_KEYS[1:-1])  # of a line of the board, and of the values behind it


def differences(
    frame: pd.DataFrame, instances: pd.DataFrame, label: str
) -> pd.DataFrame:
    """How ``label`` compares with each rival in each table.

    Args:
        frame: the board (``tables.leaderboard``).
        instances: columns ``store.ROW_KEYS``, image, value.

    Returns:
        the columns of a table's key, rival, control, difference (mean, positive = ``label`` is better), images, p_holm,
        verdict (one of ``VERDICTS``).
    """
    contests = frame[~frame["track"].isin(tables.UNRANKED)]
    ok = contests[contests["status"] == "ok"]
    by_key = dict(list(instances.groupby(_KEY))) if len(instances) else {}
    out = []
    for key, table in ok.groupby(tables.TABLE, sort=False):
        own = table["label"] == label
        if not own.any():
            continue
        mine = _values(by_key, table[own].iloc[0])
        sign = 1 if table["better"].iloc[0] == "higher" else -1
        rivals = [line for _, line in table.iterrows() if line["label"] != label]
        gains = [sign * _paired(mine, _values(by_key, line)) for line in rivals]
        p = stats.holm(np.array([stats.signed_rank(gain) for gain in gains]))
        for line, gain, p_holm in zip(rivals, gains, p, strict=True):
            mean = gain.mean() if len(gain) else np.nan
            rival = line["label"], line["control"]
            out.append((*key, *rival, mean, len(gain), p_holm, _verdict(mean, p_holm)))
    columns = [
        *tables.TABLE,
        "rival",
        "control",
        "difference",
        "images",
        "p_holm",
        "verdict",
    ]
    return pd.DataFrame(out, columns=columns)


def standing(frame: pd.DataFrame, compared: pd.DataFrame, label: str) -> pd.DataFrame:
    """One line for each table of ``label``.

    Returns:
        its lines of the board, with ``ranked`` (how many methods of the table have a rank), and for each verdict the
        labels of the rivals.
    """
    contests = frame[~frame["track"].isin(tables.UNRANKED)]
    mine = contests[contests["label"] == label].copy()
    keys = list(mine[tables.TABLE].itertuples(index=False, name=None))
    has_rank = frame[frame["rank"].notna()]
    ranked = has_rank.groupby(tables.TABLE).size()
    mine["ranked"] = [int(ranked.get(key, 0)) for key in keys]
    rivals: Mapping[tuple, str] = {}
    if len(compared):
        by_verdict = compared.groupby([*tables.TABLE, "verdict"])["rival"]
        rivals = by_verdict.agg(", ".join).to_dict()
    for verdict in VERDICTS:
        mine[verdict] = [rivals.get((*key, verdict), "") for key in keys]
    return mine.reset_index(drop=True)


def _verdict(gain: float, p_holm: float) -> str:
    """One of ``VERDICTS``, of a mean difference (positive = better) and its adjusted p-value."""
    if np.isnan(p_holm):
        return "unknown"
    if p_holm >= stats.ALPHA:
        return "no difference"
    return "beats" if gain > 0 else "loses to"


def _values(by_key: Mapping[tuple, pd.DataFrame], line: pd.Series) -> pd.DataFrame:
    """Values of a line of the board, images down and seeds across."""
    found = by_key.get(tuple(line[_KEY]))
    if found is None:
        return pd.DataFrame()
    return found.pivot(index="image", columns="seed", values="value")


def _paired(mine: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Differences of the images that both have, averaged over the seeds that both have."""
    return (mine - other).mean(axis=1).dropna().to_numpy()
