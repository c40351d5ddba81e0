"""Judges a profile's committed rows by today's claims and tolerances, where its networks are no longer there.

    found = judge_rows(profile)
    write(found)           # rows and board (lines of claims), reproduction, metrics.json

A verdict follows from rows alone: of the networks only their sizes are needed, which ``networks.json`` keeps. The page
and its pictures stay as the last ``glassbench report`` made them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from benchmark import store
from benchmark.leaderboard import places, reproduction, summaries, tables
from benchmark.leaderboard.board import Board
from benchmark.leaderboard.render import markdown, reproduction_markdown
from benchmark.pipeline import replicate, report, words
from benchmark.pipeline.profile import Profile


@dataclass(frozen=True)
class Judged:
    """Rows with today's verdicts on claims, and the lines of ``reproduction.csv`` (``reproduction.table``)."""

    profile: Profile
    rows: pd.DataFrame
    table: pd.DataFrame


def judge_rows(profile: Profile) -> Judged:
    """
    Raises:
        StoreError: rows or ``networks.json`` are not there.
    """
    paths = store.Paths(profile.name)
    rows = store.read_rows(paths.rows)
    cards = report.read_networks(paths.networks)
    rows, evidence = replicate.judged(profile, rows)
    table = reproduction.table(
        rows, paths.reported, target_cards=cards, evidence=evidence
    )
    return Judged(profile, rows, table)


def write(found: Judged) -> None:
    """Write rows, board, ``reproduction.csv`` and ``.md``, and ``metrics.json`` of the profile."""
    name = found.profile.name
    folder = store.Paths(name).results
    frame, placed = write_board(name, found.rows)
    text = reproduction_markdown.render(found.table, name)
    store.write_text(folder / "reproduction.csv", reproduction.csv_text(found.table))
    store.write_text(folder / "reproduction.md", text)
    store.write_text(
        folder / "metrics.json", summaries.metrics(frame, placed, found.table)
    )


def write_board(profile: str, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write committed rows and what is made from them alone: leaderboard.{csv,md}, places.csv and ranks.csv.

    Returns:
        the board and its ``places``.
    """
    paths = store.Paths(profile)
    values = store.read_values(paths.values)
    _, frame, placed = Board.of(rows, values, words.families())
    folder = paths.results
    store.write_rows(paths.rows, rows)
    store.write_text(folder / "leaderboard.csv", tables.csv_text(frame))
    store.write_text(folder / "leaderboard.md", markdown.render(frame, placed, profile))
    store.write_text(folder / "places.csv", places.csv_text(placed))
    store.write_text(folder / "ranks.csv", summaries.ranks(placed))
    return frame, placed


def lines(found: Judged) -> Iterator[str]:
    """The verdicts counted, as lines of text."""
    claims = reproduction.is_claim(found.table)
    for name, part in (("claims", claims), ("numbers", ~claims)):
        counts = reproduction.counts(found.table[part])
        yield f"{found.profile.name}: {name}: {counts}"
