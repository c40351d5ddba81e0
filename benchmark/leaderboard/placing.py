"""Where one method stands among the others: its rank, and which differences are more than chance.

Idea: in each table (network, metric, its setting) a method is compared with every other on the same images, and the p-values
of a table are adjusted together.

    differences(frame, instances, "Gradient norm")      # a line a table and rival
    standing(frame, differences, "Gradient norm")       # a line a table: rank, interval, whom it beats, who beats it

Theory: Wilcoxon's signed-rank test, two-sided, on the images' differences averaged over the seeds that both have; Holm's
adjustment over the rivals of a table. Values of single images are needed on both sides: a rival of which only the mean is
known has its rank and its interval, and no verdict.

Reference: as ``stats``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import wilcoxon

from benchmark import store
from benchmark.leaderboard import stats, tables

VERDICTS = ("beats", "loses to", "no difference", "unknown")
_KEY = list(store.ROW_KEYS[1:-1])  # of a line of the board, and of the values behind it


def differences(frame: pd.DataFrame, instances: pd.DataFrame, label: str) -> pd.DataFrame:
    """How ``label`` compares with each rival of each table.

    Args:
        frame: the board (``tables.leaderboard``). instances: columns ``store.ROW_KEYS``, image, value.

    Returns:
        the columns of a table's key, rival, control, difference (mean, positive = ``label`` is better), images, p_holm,
        verdict (one of ``VERDICTS``).
    """
    ok = frame[(frame["status"] == "ok") & ~frame["track"].isin(tables.UNRANKED)]
    by_key = {key: lines for key, lines in instances.groupby(_KEY)} if len(instances) else {}
    out = []
    for key, table in ok.groupby(tables.TABLE, sort=False):
        if not (table["label"] == label).any():
            continue
        mine = _values(by_key, table[table["label"] == label].iloc[0])
        sign = 1 if table["better"].iloc[0] == "higher" else -1
        rivals = [line for _, line in table.iterrows() if line["label"] != label]
        gains = [sign * _paired(mine, _values(by_key, line)) for line in rivals]
        p = stats.holm(np.array([_p(gain) for gain in gains]))
        for line, gain, p_holm in zip(rivals, gains, p, strict=True):
            mean = gain.mean() if len(gain) else np.nan
            verdict = (
                "unknown"
                if np.isnan(p_holm)
                else "no difference"
                if p_holm >= stats.ALPHA
                else "beats"
                if mean > 0
                else "loses to"
            )
            out.append((*key, line["label"], line["control"], mean, len(gain), p_holm, verdict))
    columns = [*tables.TABLE, "rival", "control", "difference", "images", "p_holm", "verdict"]
    return pd.DataFrame(out, columns=columns)


def standing(frame: pd.DataFrame, compared: pd.DataFrame, label: str) -> pd.DataFrame:
    """One line for each table of ``label``: its line of the board, ``ranked`` (how many have a rank), and for each verdict
    the rivals' labels."""
    mine = frame[(frame["label"] == label) & ~frame["track"].isin(tables.UNRANKED)].copy()
    ranked = frame[frame["rank"].notna()].groupby(tables.TABLE).size()
    mine["ranked"] = [
        int(ranked.get(key, 0)) for key in mine[tables.TABLE].itertuples(index=False, name=None)
    ]
    named: Mapping = (
        compared.groupby([*tables.TABLE, "verdict"])["rival"].agg(", ".join).to_dict()
        if len(compared)
        else {}
    )
    for verdict in VERDICTS:
        mine[verdict] = [
            named.get((*key, verdict), "")
            for key in mine[tables.TABLE].itertuples(index=False, name=None)
        ]
    return mine.reset_index(drop=True)


def _values(by_key: Mapping[tuple, pd.DataFrame], line: pd.Series) -> pd.DataFrame:
    """Values of a line of the board, images down and seeds across."""
    found = by_key.get(tuple(line[_KEY]))
    return (
        pd.DataFrame()
        if found is None
        else found.pivot(index="image", columns="seed", values="value")
    )


def _paired(mine: pd.DataFrame, other: pd.DataFrame) -> np.ndarray:
    """Differences of the images that both have, averaged over the seeds that both have."""
    return (mine - other).mean(axis=1).dropna().to_numpy()


def _p(gain: np.ndarray) -> float:
    """NaN with fewer than ``stats.MIN_PAIRS`` images; 1 where all differences are zero."""
    if len(gain) < stats.MIN_PAIRS:
        return np.nan
    gain = gain[gain != 0]
    return float(wilcoxon(gain, method="auto").pvalue) if len(gain) else 1.0


# --------------------------------------------------------------------------------------------- in a terminal
