"""What a board says, one line for each family of metrics: who leads, who may lead as well, where controls are as good.

Use:
    for line in found(frame, placed, "heatmap"):
        print(line.family, list(line.first["label"]), line.lost, "of", line.tables)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from benchmark.leaderboard import controls, places, tables


@dataclass(frozen=True)
class Found:
    """One family; ``places.ALL``: all of them together."""

    family: str
    first: pd.DataFrame  # lines of ``places`` with the first place
    ties: pd.DataFrame  # others, whose interval of places reaches the first
    tables: int  # that have a control; without families judged elsewhere
    lost: int  # of them, where no method is known to beat every control
    networks: int  # with a value


def found(frame: pd.DataFrame, placed: pd.DataFrame, track: str) -> Iterator[Found]:
    """The lines of a track, all families first; none for a family in which nobody has a rival."""
    gains = controls.gains(frame[frame["track"] == track])
    for family in (places.ALL, *places.families(placed, track)):
        lines = places.of(placed, track, family)
        first = lines["place"] == 1
        if not first.any():
            continue
        mine = gains if family == places.ALL else gains[gains["family"] == family]
        judged = mine["gain_low"].notna() & ~mine["family"].isin(tables.ELSEWHERE)
        yield Found(
            family=family,
            first=lines[first],
            ties=lines[~first & (lines["low"] == 1)],
            tables=int(judged.sum()),
            lost=int((~mine.loc[judged, "counts"].astype(bool)).sum()),
            networks=len(mine[["dataset", "target"]].drop_duplicates()),
        )
