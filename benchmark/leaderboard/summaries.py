"""The board in a few numbers, in the forms that `dvc metrics diff` and `dvc plots diff` read."""

from __future__ import annotations

import json

import pandas as pd

from benchmark.leaderboard import reproduction, tables


def metrics(frame: pd.DataFrame, reproduced: pd.DataFrame) -> str:
    """``metrics.json``: average ranks by track and method, accuracy by network, lines by status, claims by verdict."""
    average_rank: dict[str, dict[str, float]] = {}
    for track in tables.tracks(frame):
        lines = tables.average_ranks(frame, track).itertuples()
        average_rank[track] = {
            line.label: round(line.average_rank, 4) for line in lines
        }
    networks: dict[str, dict[str, float]] = {}
    facts = frame[(frame["track"] == "target") & (frame["status"] == "ok")]
    for line in facts.itertuples():
        network = networks.setdefault(f"{line.dataset}/{line.target}", {})
        network[line.metric] = round(line.mean, 4)
    claims = reproduced[reproduction.is_claim(reproduced)]
    found = {
        "average_rank": average_rank,
        "networks": networks,
        "lines": _counts(frame["status"]),
        "claims": _counts(claims["verdict"]),
    }
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _counts(values: pd.Series) -> dict[str, int]:
    counts = values.value_counts().sort_index()
    return {value: int(count) for value, count in counts.items()}


def ranks(frame: pd.DataFrame) -> str:
    """``ranks.csv``: track, method, average_rank; a line per method of a track."""
    lines = []
    for track in tables.tracks(frame):
        for line in tables.average_ranks(frame, track).itertuples():
            lines.append((track, line.label, f"{line.average_rank:.4f}"))
    out = pd.DataFrame(lines, columns=["track", "method", "average_rank"])
    return out.to_csv(index=False, lineterminator="\n")
