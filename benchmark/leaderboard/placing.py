"""Where one method stands among the others: whom it beats, who beats it, and what is not known.

Use:
    found = contests(tables.labelled(rows), instances)
    compared = differences(found, "Gradient norm")  # a line per table and rival
    standing(frame, compared, "Gradient norm")      # a line per table: rank, interval, whom it beats, who beats it

Theory: the comparison of all pairs of a table that also makes the marks of the board (``stats.compare``), so that both
say the same; direction and p-value are of one statistic, the mean difference. Values per image are needed on both
sides: a rival of which only the mean is known has its rank and its interval, but no verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmark.leaderboard import stats, tables
from benchmark.leaderboard.contests import Contest, contested

VERDICTS = ("beats", "loses to", "same", "undecided", "unknown")
COLUMNS = [
    *tables.TABLE,
    "rival",
    "control",
    "difference",
    "low",
    "high",
    "images",
    "p",
    "verdict",
]


def differences(found: Sequence[Contest], label: str) -> pd.DataFrame:
    """How ``label`` compares with each rival in each table.

    Returns:
        the columns of a table's key, rival, control, difference (mean, positive = ``label`` is better) with the
        interval low, high, images (that both have), p (adjusted over the table), verdict (one of ``VERDICTS``).
    """
    out = []
    for contest in found:
        if not contest.contested or label not in contest.labels:
            continue
        i, total = contest.labels.index(label), contest.totals
        if np.isnan(total[i]):
            continue
        margin = stats.margin(contest.unit, total)
        for j in np.flatnonzero(~np.isnan(total)):
            if i == j:
                continue
            gain, low, high, p, images, _ = (
                matrix[i, j] for matrix in contest.compared
            )
            rival = contest.labels[j], bool(contest.controls[j])
            verdict = _verdict(gain, low, high, p, margin)
            key = contest.key.values()
            out.append((*key, *rival, gain, low, high, int(images), p, verdict))
    return pd.DataFrame(out, columns=COLUMNS)


def standing(frame: pd.DataFrame, compared: pd.DataFrame, label: str) -> pd.DataFrame:
    """One line for each table of ``label``.

    Returns:
        its lines of the board, with ``ranked`` (how many methods of the table have a rank), and for each verdict the
        labels of the rivals.
    """
    mine = frame[contested(frame) & (frame["label"] == label)].copy()
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


def _verdict(gain: float, low: float, high: float, p: float, margin: float) -> str:
    """One of ``VERDICTS``, of a mean difference (positive = better) with its interval and adjusted p-value."""
    if np.isnan(p):
        return "unknown"
    if -margin <= low and high <= margin:
        return "same"
    if p >= stats.ALPHA:
        return "undecided"
    return "beats" if gain > 0 else "loses to"
