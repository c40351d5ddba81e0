"""TODO."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmark.leaderboard.render import markdown
from benchmark.leaderboard.reproduction import COLUMNS, counts, is_claim, not_run


def render(frame: pd.DataFrame, profile: str = "") -> str:
    """``reproduction.md``: all claims, the numbers that were measured, and a count of the others."""
    claims, numbers = frame[is_claim(frame)], frame[~is_claim(frame)]
    measured = numbers[numbers["measured"] != ""]
    columns = [c for c in COLUMNS if c != "published"]
    out = [
        f"# Reproduction{f': {markdown.escape(profile)}' if profile else ''}",
        "What the papers print and say, beside what was measured here. Another scale (data, network, epochs, seeds) is "
        "named in the line. Every published number is in reproduction.csv.",
        f"## Claims: {counts(claims)}",
        _grid(claims, columns),
        f"## Numbers: {counts(numbers)}",
        _grid(measured, COLUMNS) if len(measured) else "None was measured in this profile.",
        "### Not run",
        markdown.grid(
            ["paper", "why", "numbers"],
            [
                [markdown.escape(p), markdown.escape(w), str(n)]
                for p, w, n in not_run(frame).itertuples(index=False)
            ],
            left=2,
        ),
    ]
    return "\n\n".join(out) + "\n"


def _grid(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    body = [
        [markdown.escape(value) for value in line]
        for line in frame[list(columns)].itertuples(index=False)
    ]
    return markdown.grid(list(columns), body, left=len(columns))
