"""TODO."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard import tables
from benchmark.leaderboard.placing import VERDICTS, standing
from benchmark.leaderboard.render import markdown


def show(frame: pd.DataFrame, compared: Mapping[str, pd.DataFrame], console: Console) -> None:
    """Print each track in which one of the new methods, the keys of ``compared``, takes part: average ranks with their lines
    among them, and for each method and network value, interval, rank, and whom it beats, by the places of that table."""
    mine = {label: standing(frame, found, label) for label, found in compared.items()}
    for track in tables.tracks(pd.concat(mine.values())):
        average = tables.average_ranks(frame, track)
        places = {label: place for place, label in enumerate(average["label"], start=1)}
        console.print(_ranks(f"{tables.TRACKS[track][0]}: average ranks", average, set(compared)))
        console.print(
            Text("below, methods go by these places; tests: Wilcoxon over images, Holm", "dim")
        )
        for label, lines in mine.items():
            for dataset, target in tables.boards(lines, track):
                part = lines[
                    (lines["track"] == track)
                    & (lines["dataset"] == dataset)
                    & (lines["target"] == target)
                ]
                console.print(
                    _standing(f"{label} on {dataset} / {target}", part, compared[label], places)
                )
    for label in compared:
        for line in tables.losses(frame[frame["label"] == label]).itertuples():
            text = Text(f"{label}, {line.dataset}/{line.target}, {line.metrics}: {line.reason}")
            console.print(text, style="red" if "failed" in line.reason else "dim")


def _ranks(title: str, average: pd.DataFrame, new: Collection[str]) -> Table:
    table = _table(title, ["rank", "no control 1st", "best", "failed", "of tables"])
    for place, r in enumerate(average.itertuples(), start=1):
        style = "bold cyan" if r.label in new else "dim italic" if r.control else ""
        name = Text(f"{'>' if r.label in new else ' '} {place}  {r.label}", style)
        table.add_row(
            name,
            f"{r.average_rank:.2f}",
            markdown.sound(r.sound_rank),
            *map(str, (r.best, r.failed, r.tables)),
        )
    return table


def _standing(
    title: str, part: pd.DataFrame, compared: pd.DataFrame, places: Mapping[str, int]
) -> Table:
    table = _table(title, ["value", "interval", "rank", *VERDICTS[:3]])
    verdicts = {key: group for key, group in compared.groupby([*tables.TABLE, "verdict"])}
    for line in part[part["status"] != "not applicable"].itertuples():
        digits = tables.decimals([line.mean, line.low, line.high])
        span = (
            f"{tables.number(line.low, digits)} – {tables.number(line.high, digits)}"
            if pd.notna(line.low)
            else ""
        )
        rank = f"{line.rank:g} of {line.ranked}" if pd.notna(line.rank) else "failed"
        key = tuple(getattr(line, column) for column in tables.TABLE)
        rivals = [
            verdicts[*key, v]["rival"].map(places) if (*key, v) in verdicts else []
            for v in VERDICTS[:3]
        ]
        table.add_row(
            f"{tables.title(line.metric, line.metric_setting)} {tables.arrow(line.better)}",
            tables.number(line.mean, digits),
            span,
            rank,
            *map(_runs, rivals),
        )
    return table


def _runs(places: Iterable[int]) -> str:
    """``2–4 7 9``: three and more in a row by their ends."""
    runs: list[list[int]] = []
    for place in sorted(places):
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return " ".join(
        f"{run[0]}–{run[-1]}" if len(run) > 2 else " ".join(map(str, run)) for run in runs
    )


def _table(title: str, columns: list[str]) -> Table:
    table = Table(
        title=Text(title, "bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    table.add_column("", overflow="fold")
    for column in columns:
        folds = column in (*VERDICTS, "interval")
        justify = "left" if column in VERDICTS else "right"
        table.add_column(column, justify=justify, no_wrap=not folds, overflow="fold")
    return table
