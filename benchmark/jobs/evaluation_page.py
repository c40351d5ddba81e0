"""The page of an evaluation, with its plots and gallery; apart, since it needs libraries that draw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import data, store
from benchmark.leaderboard.board import Board
from benchmark.leaderboard.build import build
from benchmark.pipeline import report, words
from benchmark.pipeline.profile import Profile
from benchmark.utils import plot_style


def write_page(
    folder: Path,
    profile: Profile,
    mine: Profile,
    rows: pd.DataFrame,
    board: Board,
    compared: Mapping[str, pd.DataFrame],
    facts: Mapping[str, Any],
    *,
    drawn: Set[str],
    committed: bool,
) -> None:
    """Write board, plots, gallery and page into ``folder``.

    Args:
        mine: the profile of the new methods alone.
        drawn: the slugs of known methods whose explanations are all here.
        committed: whether all committed rows hold; the committed galleries then show known methods of which no
            explanations are here.
    """
    gallery = _gallery(profile, mine, drawn)
    paths = store.Paths(profile.name)
    known = {}
    if committed and not drawn:
        known = _committed_pictures(paths.committed, gallery)
    build(
        rows,
        board,
        gallery=gallery,
        data_cards={
            name: data.load_card(paths.data(name)) for name in profile.datasets
        },
        target_cards=report.target_cards(profile),
        provenance=facts,
        reported=paths.reported,
        out=folder,
        glossary=words.glossary(),
        compared=compared,
        known=known,
        apply=report.side_by_side,
    )


def _gallery(
    profile: Profile, mine: Profile, drawn: Set[str]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Maps of new and known methods, on the networks that a new method has maps of; on all if it has none."""
    new = report.shown(mine)
    known = report.shown(profile, methods=drawn)
    networks = {(cell.dataset, cell.target) for cell in new}
    if new:
        known = [cell for cell in known if (cell.dataset, cell.target) in networks]
    return report.gallery([*known, *new])


def _committed_pictures(
    paths: store.Paths, networks: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], bytes]:
    """The committed galleries of networks: the same images under the known methods."""
    found = {}
    for dataset, target in networks:
        name = plot_style.file_name("gallery", dataset, target)
        picture = paths.results / "plots" / f"{name}.png"
        if picture.exists():
            found[dataset, target] = picture.read_bytes()
    return found
