"""The papers' claims and numbers beside the measured ones as GitHub Markdown: ``reproduction.md``."""

from __future__ import annotations

import pandas as pd

from benchmark.leaderboard.render import markdown
from benchmark.leaderboard.reproduction import counts, is_claim, not_run


def render(frame: pd.DataFrame, profile: str = "") -> str:
    """``reproduction.md``: all claims, the numbers that were measured, and a count of the others."""
    claims, numbers = frame[is_claim(frame)], frame[~is_claim(frame)]
    measured = numbers[numbers["measured"] != ""]
    out = [
        markdown.heading("# Reproduction", profile),
        "What the papers print and say, beside what was measured here. Another scale (data, network, epochs, seeds) is "
        "named in the line. Every published number is in reproduction.csv.",
        f"## Claims: {counts(claims)}",
        _grid(claims.drop(columns="published")),
        f"## Numbers: {counts(numbers)}",
        _grid(measured) if len(measured) else "None was measured in this profile.",
        "### Not run",
        _grid(not_run(frame).rename(columns={"count": "numbers"}), left=2),
    ]
    return "\n\n".join(out) + "\n"


def _grid(frame: pd.DataFrame, left: int | None = None) -> str:
    """A frame as a table; all columns aligned left, or the first ``left``."""
    body = []
    for line in frame.itertuples(index=False):
        body.append([markdown.escape(value) for value in line])
    columns = list(frame.columns)
    return markdown.grid(columns, body, left=len(columns) if left is None else left)
