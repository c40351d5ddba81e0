"""The board in a few numbers, in the forms that `dvc metrics diff` and `dvc plots diff` read."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from benchmark.leaderboard import reproduction, tables


def metrics(frame: pd.DataFrame, reproduced: pd.DataFrame) -> str:
    """``metrics.json``: average ranks by track and method, accuracy by network, lines by status, claims by verdict."""
    found: dict[str, Any] = {"average_rank": {}, "networks": {}}
    for track in tables.tracks(frame):
        average = tables.average_ranks(frame, track)
        found["average_rank"][track] = {
            r.label: round(r.average_rank, 4) for r in average.itertuples()
        }
    for line in frame[(frame["track"] == "target") & (frame["status"] == "ok")].itertuples():
        found["networks"].setdefault(f"{line.dataset}/{line.target}", {})[line.metric] = round(
            line.mean, 4
        )
    found["lines"] = {
        status: int(n) for status, n in frame["status"].value_counts().sort_index().items()
    }
    claims = reproduced[reproduction.is_claim(reproduced)]
    found["claims"] = {
        verdict: int(n) for verdict, n in claims["verdict"].value_counts().sort_index().items()
    }
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def ranks(frame: pd.DataFrame) -> str:
    """``ranks.csv``: track, method, average_rank; a line a method of a track."""
    lines = [
        (track, r.label, f"{r.average_rank:.4f}")
        for track in tables.tracks(frame)
        for r in tables.average_ranks(frame, track).itertuples()
    ]
    return pd.DataFrame(lines, columns=["track", "method", "average_rank"]).to_csv(
        index=False, lineterminator="\n"
    )
