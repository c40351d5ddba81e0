"""A board: the tables as arrays, their statistics and the places of the methods. Draws nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from benchmark.leaderboard import places, tables
from benchmark.leaderboard.contests import Contest


class Board(NamedTuple):
    """What rows say: the tables as arrays, the board made of them, and its places."""

    contests: Sequence[Contest]
    frame: pd.DataFrame
    placed: pd.DataFrame

    @classmethod
    def of(
        cls,
        rows: pd.DataFrame,
        instances: pd.DataFrame | None,
        families: Mapping[str, str] | None = None,
    ) -> Board:
        """Arguments and errors: as of ``tables.leaderboard``."""
        found = tables.contests(tables.labelled(rows), instances)
        frame = tables.board(found, families)
        return cls(found, frame, places.places(frame, found))
