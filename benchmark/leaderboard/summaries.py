"""The board in a few numbers, in the forms that `dvc metrics diff` and `dvc plots diff` read."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd

from benchmark.leaderboard import reproduction


def metrics(
    frame: pd.DataFrame, placed: pd.DataFrame, reproduced: pd.DataFrame | None
) -> str:
    """``metrics.json``: normalised ranks, accuracies by network, lines by status and, if any were judged, claims by
    verdict."""
    ranked: dict[str, dict[str, float]] = {}
    for line in _ranked(placed):
        of_track = ranked.setdefault(line.track, {})
        of_track[line.label] = round(line.normalised_rank, 4)
    networks: dict[str, dict[str, float]] = {}
    facts = frame[(frame["track"] == "target") & (frame["status"] == "ok")]
    for line in facts.itertuples():
        network = networks.setdefault(f"{line.dataset}/{line.target}", {})
        network[line.metric] = round(line.mean, 4)
    found = {
        "normalised_rank": ranked,
        "networks": networks,
        "lines": _counts(frame["status"]),
    }
    if reproduced is not None:
        claims = reproduced[reproduction.is_claim(reproduced)]
        found["claims"] = _counts(claims["verdict"])
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _counts(values: pd.Series) -> dict[str, int]:
    counts = values.value_counts().sort_index()
    return {value: int(count) for value, count in counts.items()}


def ranks(placed: pd.DataFrame) -> str:
    """``ranks.csv``: track, method, normalised_rank; a line per method of a track that has a rival."""
    lines = []
    for line in _ranked(placed):
        lines.append((line.track, line.label, f"{line.normalised_rank:.4f}"))
    out = pd.DataFrame(lines, columns=["track", "method", "normalised_rank"])
    return out.to_csv(index=False, lineterminator="\n")


def _ranked(placed: pd.DataFrame) -> Iterator:
    """The lines of ``places`` that have a normalised rank: those over all families, of methods with a rival."""
    return placed.dropna(subset="normalised_rank").itertuples()
