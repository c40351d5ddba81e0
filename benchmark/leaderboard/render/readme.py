"""The README's section of a profile: average ranks, findings, one gallery picture. Made from ``results/`` alone.

<!-- leaderboard:offline -->  ... replaced ...  <!-- /leaderboard -->
"""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.leaderboard import tables
from benchmark.leaderboard.render import markdown

_SECTION = re.compile(
    r"(<!-- leaderboard:([\w-]+) -->).*?(<!-- /leaderboard -->)", re.DOTALL
)


def render(text: str, results: Path) -> str:
    """The README with every section remade; the same text if nothing changed.

    Args:
        text: the README.
        results: the folder that holds one folder per profile; links are relative to its parent.

    Raises:
        ValueError: there is no section.
        StoreError: a profile without results.
    """
    if not _SECTION.search(text):
        raise ValueError(
            "README has no section `<!-- leaderboard:offline -->` ... `<!-- /leaderboard -->`; add one"
        )

    def replaced(match: re.Match) -> str:
        opening, profile, closing = match.groups()
        return f"{opening}\n{section(Path(results) / profile)}\n{closing}"

    return _SECTION.sub(replaced, text)


def section(folder: Path) -> str:
    """The section of one profile."""
    frame = tables.read(folder / "leaderboard.csv")
    link = f"{folder.parent.name}/{folder.name}"
    out = []
    for track in tables.tracks(frame):
        heading, what = tables.TRACKS[track]
        networks = tables.plural(len(tables.boards(frame, track)), "network")
        what = what[0].lower() + what[1:]
        out.append(f"**{heading}**, {networks}: {what}")
        out.append(markdown.summary(frame, track))
        finding = markdown.escape(tables.findings_line(frame, track))
        if finding:
            out.append(
                f"‡ {finding}: there the metric does not tell an explanation from none."
            )
    if not out:
        out.append("No rows yet.")
    out.append(
        "Average rank over data sets, networks and metrics, lower is better; *italics*: a control, which explains "
        f"nothing. Every number, with intervals: [leaderboard]({link}/leaderboard.md), [page]({link}/index.html)."
    )
    pictures = sorted((folder / "plots").glob("gallery-*.png"))
    if pictures:
        picture = pictures[
            -1
        ]  # the last by name: toybirds, where there are digits and toybirds
        out.append(
            f"![The same images under every method]({link}/plots/{picture.name})"
        )
    return "\n\n".join(filter(None, out))
