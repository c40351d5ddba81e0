"""The papers' claims and numbers beside the measured ones as GitHub Markdown: ``reproduction.md`` of a profile, and of
all profiles."""

from __future__ import annotations

import pandas as pd

from benchmark.leaderboard import all_profiles
from benchmark.leaderboard.render import markdown
from benchmark.leaderboard.reproduction import counts, is_claim, not_run

_SHOWN = [
    "id",
    "paper",
    "source",
    "claim",
    "published",
    "measured",
    "interval",
    "n_seeds",
    "scale",
    "verdict",
    "why",
]


def render(frame: pd.DataFrame, profile: str = "") -> str:
    """``reproduction.md``: all claims, the numbers that were measured, and a count of the others."""
    claims, numbers = frame[is_claim(frame)], frame[~is_claim(frame)]
    measured = numbers[numbers["measured"] != ""]
    out = [
        markdown.heading("# Reproduction", profile),
        "What the papers print and say, beside what was measured here. Another scale (data, network, epochs, seeds) is "
        "named in the line. Every published number is in reproduction.csv; over all profiles, in "
        "[results/reproduction.md](../reproduction.md).",
        f"## Claims: {counts(claims)}",
        grid(claims[_SHOWN].drop(columns=["published", "interval"])),
        f"## Numbers: {counts(numbers)}",
        grid(measured[_SHOWN])
        if len(measured)
        else "None was measured in this profile.",
        "### Not run",
        grid(not_run(frame).rename(columns={"count": "numbers"}), left=2),
    ]
    return "\n\n".join(out) + "\n"


def render_all(found: pd.DataFrame) -> str:
    """``results/reproduction.md``: counts by paper, every measured number with its profile, and why others are not.

    Args:
        found: from ``all_profiles.nearest``.
    """
    measured = found[found["measured"] != ""]
    reasons = not_run(found).rename(columns={"count": "numbers"})
    out = [
        "# Reproduction over all profiles",
        " ".join([*all_profiles.sentences(found), all_profiles.NEAREST]),
        grid(all_profiles.counts(found), left=1),
        "## Measured",
        grid(measured.drop(columns="network")),
        "## Not run",
        grid(reasons, left=2),
    ]
    return "\n\n".join(out) + "\n"


def grid(frame: pd.DataFrame, left: int | None = None) -> str:
    """A frame as a table; all columns aligned left, or the first ``left``."""
    body = []
    for line in frame.itertuples(index=False):
        body.append([markdown.escape(value) for value in line])
    columns = list(frame.columns)
    return markdown.grid(columns, body, left=len(columns) if left is None else left)
