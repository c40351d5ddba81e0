"""The board in a terminal: average ranks of each track, means of each network, what is found and what failed.

The methods of a network's table are named by their place in the table of average ranks, so that it fits 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard import tables
from benchmark.leaderboard.render import markdown


def show(folder: Path, console: Console | None = None) -> None:
    """Print the board of ``folder/leaderboard.csv``.

    Raises:
        StoreError: the file is missing or damaged.
    """
    console = console or Console()
    frame = tables.read(Path(folder) / "leaderboard.csv")
    if not len(frame):
        console.print("no rows yet")
    for track in tables.tracks(frame):
        console.print(ranks(frame, track))
        for dataset, target in tables.boards(frame, track):
            for table in board(frame, track, dataset, target, console.width):
                console.print(table)
        console.print(Text("* best  † not significantly worse than the best", "dim"))
        if line := tables.findings_line(frame, track):
            console.print(Text(f"‡ {line}", "yellow"))
    lost = tables.losses(frame)
    for line in lost[lost["reason"].str.contains("failed")].itertuples():
        console.print(
            Text(
                f"{line.dataset}/{line.target}, {line.methods}, {line.metrics}: {line.reason}",
                "red",
            )
        )


def ranks(frame: pd.DataFrame, track: str) -> Table:
    """Average ranks of a track."""
    table = _table(
        f"{tables.TRACKS[track][0]}: average ranks",
        ["rank", "no control 1st", "best", "not worse", "failed", "of tables"],
    )
    for place, r in enumerate(tables.average_ranks(frame, track).itertuples(), start=1):
        table.add_row(
            _name(f"{place}  {r.label}", r.control),
            f"{r.average_rank:.2f}",
            markdown.sound(r.sound_rank),
            *map(str, (r.best, r.tied, r.failed, r.tables)),
        )
    return table


def board(
    frame: pd.DataFrame, track: str, dataset: str, target: str, width: int = 80
) -> Iterator[Table]:
    """Means of one network, metrics down and methods across, as many as ``width`` holds in a table; the rest below."""
    part = tables.shown(frame, track, dataset, target)
    methods = markdown.order(frame, part, track)
    places = {
        label: str(i)
        for i, label in enumerate(tables.average_ranks(frame, track)["label"], start=1)
    }
    quantities = [
        (f"{tables.title(metric, metric_setting)} {tables.arrow(lines['better'].iloc[0])}", lines)
        for (metric, metric_setting), lines in part.groupby(
            ["metric", "metric_setting"], sort=False
        )
    ]
    names = max((len(name) for name, _ in quantities), default=0)
    rows = [
        (
            Text(name),
            [
                _cell(
                    {r.label: r for r in lines.itertuples()}.get(m), tables.decimals(lines["mean"])
                )
                for m, _ in methods
            ],
        )
        for name, lines in quantities
    ]
    cell = 2 + max((len(c) for _, cells in rows for c in cells), default=1)
    many = max(1, (width - names) // cell)
    for start in range(0, len(methods), many):
        some = methods[start : start + many]
        title = f"{dataset} / {target}" + (" (continued)" if start else "")
        table = _table(title, [_name(places[label], control) for label, control in some])
        for name, cells in rows:
            table.add_row(name, *cells[start : start + many])
        yield table


def _table(title: str, columns: list[str | Text]) -> Table:
    table = Table(
        title=Text(title, "bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _name(label: str, control: bool) -> Text:
    return Text(label, "dim italic" if control else "")


def _cell(line, places: int) -> Text:
    if line is None or line.status == "not applicable":
        return Text("–", "dim")
    if line.status == "failed":
        return Text("failed", "red")
    style, mark = {"best": ("bold green", "*"), "tied": ("green", "†")}.get(line.mark, ("", " "))
    return Text(tables.number(line.mean, places) + mark, style)
