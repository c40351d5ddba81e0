"""The README's sections, made from ``results/`` alone: of a profile, the first places and one gallery picture; of all
profiles, how many published numbers were measured.

<!-- leaderboard:offline -->  ... replaced ...  <!-- /leaderboard -->
<!-- reproduction -->         ... replaced ...  <!-- /reproduction -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmark import store
from benchmark.leaderboard import (
    all_profiles,
    controls,
    places,
    reproduction,
    tables,
)
from benchmark.leaderboard.render import markdown, reproduction_markdown
from benchmark.utils import plot_style

SHOWN = 10  # methods of a track, besides its controls
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


def _track(frame: pd.DataFrame, placed: pd.DataFrame, track: str) -> Iterator[str]:
    """The first methods of a track and its controls, how many more there are, and how many tables count."""
    heading, what = tables.TRACKS[track]
    networks = tables.plural(len(tables.boards(frame, track)), "network")
    what = what[0].lower() + what[1:]
    lines = places.of(placed, track)
    title = f"**{heading}**, {networks}: {what}"
    if lines["place"].isna().all():  # nobody has a rival
        names = map(markdown.name, lines["label"], lines["control"])
        yield f"{title} Alone: {', '.join(names)}."
        return
    yield title
    yield markdown.summary(frame, placed, track, most=SHOWN)
    left_out = int(((lines.index >= SHOWN) & ~lines["control"]).sum())
    more = f"And {tables.plural(left_out, 'more method')}. " if left_out else ""
    yield more + controls.summary(frame, track)


def section(folder: Path) -> str:
    """The section of one profile."""
    frame = tables.read(folder / "leaderboard.csv")
    placed = places.read(folder / "places.csv")
    link = f"{folder.parent.name}/{folder.name}"
    out = []
    for track in tables.tracks(frame):
        out += _track(frame, placed, track)
    if not out:
        out.append("No rows yet.")
    out.append(
        f"{markdown.PLACES} *Italics*: a control, which explains nothing. "
        f"Every method and number, and the tables that do not count: [leaderboard]({link}/leaderboard.md), "
        f"[page]({link}/index.html)."
    )
    if picture := _picture(frame, folder):
        out.append(
            f"![The same images under every method]({link}/plots/{picture.name})"
        )
    return "\n\n".join(filter(None, out))


def _picture(frame: pd.DataFrame, folder: Path) -> Path | None:
    """The gallery of the network that most values were measured on; of equal ones the last by name."""
    measured = frame[(frame["track"] == "heatmap") & (frame["status"] == "ok")]
    images = measured.groupby(["dataset", "target"])["n_images"].sum()
    ordered = images.sort_index().sort_values(kind="stable")
    for dataset, target in reversed(ordered.index):
        name = plot_style.file_name("gallery", dataset, target)
        if (picture := folder / "plots" / f"{name}.png").is_file():
            return picture
    return None
