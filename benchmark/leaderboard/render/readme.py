"""The README's sections, made from ``results/`` alone: of a profile, places, what does not count, one gallery picture;
of all profiles, how many published numbers were measured.

<!-- leaderboard:offline -->  ... replaced ...  <!-- /leaderboard -->
<!-- reproduction -->         ... replaced ...  <!-- /reproduction -->
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from benchmark import store
from benchmark.leaderboard import all_profiles, places, reproduction, tables
from benchmark.leaderboard.render import markdown, reproduction_markdown

_SECTION = re.compile(
    r"(<!-- leaderboard:([\w-]+) -->).*?(<!-- /leaderboard -->)", re.DOTALL
)


_REPRODUCTION = re.compile(
    r"(<!-- reproduction -->).*?(<!-- /reproduction -->)", re.DOTALL
)


def render(text: str, results: Path, found: pd.DataFrame) -> str:
    """The README with every section remade; the same text if nothing changed.

    Args:
        text: the README.
        found: the published numbers over all profiles (``all_profiles.nearest``).
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

    text = _SECTION.sub(replaced, text)
    of_papers = papers(found, Path(results).name)
    return _REPRODUCTION.sub(lambda match: f"{match[1]}\n{of_papers}\n{match[2]}", text)


def write(readme: Path, text: str, results: Path, found: pd.DataFrame) -> None:
    """Write the README, ``results/reproduction.csv`` and ``results/reproduction.md``; the same text leaves a file as it
    is.
    """
    files = {
        readme: text,
        results / "reproduction.csv": reproduction.csv_text(found),
        results / "reproduction.md": reproduction_markdown.render_all(found),
    }
    for path, content in files.items():
        if not path.exists() or path.read_text() != content:
            store.write_text(path, content)


def papers(found: pd.DataFrame, folder: str) -> str:
    """The section of the papers: counts of their published numbers over all profiles."""
    links = (
        f"[every number]({folder}/reproduction.md), [as CSV]({folder}/reproduction.csv)"
    )
    return "\n\n".join(
        [
            " ".join(all_profiles.sentences(found)),
            reproduction_markdown.grid(all_profiles.counts(found), left=1),
            f"{all_profiles.NEAREST} The verdict is that measurement's own: {links}.",
        ]
    )


def section(folder: Path) -> str:
    """The section of one profile."""
    frame = tables.read(folder / "leaderboard.csv")
    placed = places.read(folder / "places.csv")
    link = f"{folder.parent.name}/{folder.name}"
    out = []
    for track in tables.tracks(frame):
        heading, what = tables.TRACKS[track]
        networks = tables.plural(len(tables.boards(frame, track)), "network")
        what = what[0].lower() + what[1:]
        out.append(f"**{heading}**, {networks}: {what}")
        out.append(markdown.summary(frame, placed, track))
        out.append(markdown.uncounted(frame, track))
    if not out:
        out.append("No rows yet.")
    out.append(
        f"{markdown.PLACES} *Italics*: a control, which explains nothing. "
        f"Every number, with intervals: [leaderboard]({link}/leaderboard.md), [page]({link}/index.html)."
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
