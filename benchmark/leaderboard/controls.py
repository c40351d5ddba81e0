"""What methods gain over the controls, which explain nothing: which tables count, and which do not.

A table counts where its best method beats every control of it, by the test that all pairs of the table pass together
(``stats.compare``). Otherwise the metric does not tell an explanation from none there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.leaderboard import stats, tables
from benchmark.leaderboard.contests import TABLE, UNRANKED

Line = Mapping[str, Any]  # of a board


def gains(frame: pd.DataFrame) -> pd.DataFrame:
    """One line for each table with a value.

    Returns:
        TABLE, family, label (of the best method that is no control), gain, gain_low, gain_high (over the better
        control; NaN without one), unit, counts (of the table or a line of it), why (it does not, in words).
    """
    contests = frame[~frame["track"].isin(UNRANKED) & frame["rank"].notna()]
    columns = [*TABLE, "control", "counts", "n_images", *_BEST]
    by_table: dict[tuple[str, ...], list[Line]] = {}
    # dictionaries: a frame per table would take longer than all else
    for line in contests[columns].astype(object).to_dict("records"):
        key = tuple(line[name] for name in TABLE)
        by_table.setdefault(key, []).append(line)
    out = []
    for key, lines in by_table.items():
        methods = [line for line in lines if not line["control"]]
        best = (methods or lines)[0]  # lines come by rank
        counts = any(line["counts"] for line in lines)
        facts = [best[name] for name in _BEST]
        out.append((*key, *facts, counts, "" if counts else _why(lines)))
    return pd.DataFrame(out, columns=[*TABLE, *_BEST, "counts", "why"])


_BEST = ("family", "label", "gain", "gain_low", "gain_high", "unit")


def _why(lines: Sequence[Line]) -> str:
    """Why a table does not count."""
    first = lines[0]
    if len(lines) == 1:
        return f"{first['label']} is alone"
    if first["family"] in tables.ELSEWHERE:
        return "fewer than two methods beat the controls elsewhere"
    if first["control"]:
        return f"{first['label']} has the best mean"
    images, methods = first["n_images"], len(lines)
    needed = stats.images_needed(methods)
    if images < needed:
        return f"{images:.0f} images, and tests of {methods} methods need {needed}"
    return f"{first['label']} is not known to beat the controls"


def uncounted(frame: pd.DataFrame, track: str) -> list[str]:
    """The tables of a track that do not count, a line for each metric and reason."""
    found = gains(frame[frame["track"] == track])
    lost = found[~found["counts"].astype(bool)]
    texts = []
    for (metric, why), group in lost.groupby(["metric", "why"], sort=False):
        name = tables.title(metric)
        settings = "; ".join(dict.fromkeys(filter(None, group["metric_setting"])))
        if settings:
            name += f" ({settings})"
        networks = group["dataset"] + "/" + group["target"]
        where = ", ".join(dict.fromkeys(networks))
        texts.append(f"{name}: {why} on {where}")
    return texts


def summary(frame: pd.DataFrame, track: str) -> str:
    """How many tables of a track count, in a sentence; what is said of its families."""
    ranked = frame[(frame["track"] == track) & frame["rank"].notna()]
    counting = ranked.groupby(TABLE)["counts"].any()
    text = f"{counting.sum()} of {tables.plural(len(counting), 'table')} count"
    has_control = ranked["control"].any()
    why = (
        "a best method that beats every control"
        if has_control
        else "two methods or more"
    )
    notes = [f"{text}: those with {why}."]
    for family in dict.fromkeys(ranked["family"]):
        if family in tables.ELSEWHERE:
            notes.append(f"{family.capitalize()}: {tables.ELSEWHERE[family]}.")
    return " ".join(notes)


def gain_text(line: Any, places: int) -> str:
    """``+0.12 [0.05, 0.19]``; empty without a control or an interval."""
    if pd.isna(line.gain_low):
        return ""
    low, high = (tables.number(x, places) for x in (line.gain_low, line.gain_high))
    sign = "+" if line.gain > 0 else ""
    return f"{sign}{tables.number(line.gain, places)} [{low}, {high}]"
