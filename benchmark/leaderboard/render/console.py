"""The board in a terminal: places in each track, means of each network, what does not count, failures.

The methods of a network's table go by their line in the table of places, so that it fits 80 columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard import controls, places, tables
from benchmark.leaderboard.render import markdown

_MARKS = {
    "best": ("bold green", "*"),
    "same": ("green", "≈"),
    "undecided": ("", "?"),
}
PLACES = (
    "in brackets: the 95 % interval of the place; first: how often it comes first among them; "
    "won: share of duels won"
)
LEGEND = "* best  ≈ the same  ? undecided, perhaps as good; no mark: worse than another"


def show(folder: Path, console: Console | None = None, *, verbose: bool = True) -> None:
    """Print the board of ``folder/leaderboard.csv`` and ``places.csv``.

    Args:
        verbose: with the means of each network, not only the places.

    Raises:
        StoreError: the file is missing or damaged.
    """
    console = console or Console()
    frame = tables.read(Path(folder) / "leaderboard.csv")
    placed = places.read(Path(folder) / "places.csv")
    if not len(frame):
        console.print("no rows yet")
    for track in tables.tracks(frame):
        if verbose or track in set(placed["track"]):
            console.print(ranks(placed, track))
        boards = tables.boards(frame, track) if verbose else ()
        for dataset, target in boards:
            for table in board(frame, placed, track, dataset, target, console.width):
                console.print(table)
        if verbose:
            console.print(Text(LEGEND, "dim"))
        console.print(Text(controls.summary(frame, track), "yellow"))
    if len(placed):
        console.print(Text(PLACES, "dim"))
    if not (frame["status"] == "failed").any():
        return
    lost = tables.losses(frame)
    for line in lost[lost["reason"].str.contains("failed")].itertuples():
        where = f"{line.dataset}/{line.target}"
        text = f"{where}, {line.methods}, {line.metrics}: {line.reason}"
        console.print(Text(text, "red"))


def ranks(placed: pd.DataFrame, track: str, new: Collection[str] = ()) -> Table:
    """The places of a track; labels in ``new`` are marked."""
    heading = f"{tables.TRACKS[track][0]}: places"
    table = new_table(heading, ["place", "first", "won", "failed", "tables"])
    table.columns[1].no_wrap = True
    for number, line in enumerate(places.of(placed, track).itertuples(), start=1):
        label = f"{number:>2}  {line.label}"
        if line.control:
            label += " (control)"
        if new:
            label = f"> {label}" if line.label in new else f"  {label}"
        name = _name(label, line.control)
        if line.label in new:
            name.stylize("bold cyan")
        table.add_row(
            name,
            places.words(line),
            *markdown.shares(line),
            str(line.failed),
            str(line.tables),
        )
    return table


def numbers(placed: pd.DataFrame, track: str) -> dict[str, int]:
    """By method, its line in the table of places."""
    labels = places.of(placed, track)["label"]
    return {label: number for number, label in enumerate(labels, start=1)}


def board(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    track: str,
    dataset: str,
    target: str,
    width: int = 80,
) -> Iterator[Table]:
    """Means of one network, metrics down and methods across; as many methods in each table as ``width`` holds."""
    part = tables.shown(frame, track, dataset, target)
    methods = markdown.order(placed, part, track)
    place = numbers(placed, track)
    rows = []
    for key, lines in part.groupby(["metric", "metric_setting"], sort=False):
        arrow = tables.arrow(lines["better"].iloc[0])
        name = f"{tables.title(*key)} {arrow}"
        rows.append((name, _cells(lines, methods)))
    name_width = max((len(name) for name, _ in rows), default=0)
    cell_widths = [len(cell) for _, cells in rows for cell in cells]
    column_width = 2 + max(cell_widths, default=1)
    many = max(1, (width - name_width) // column_width)
    for start in range(0, len(methods), many):
        columns = slice(start, start + many)
        title = f"{dataset} / {target}" + (" (continued)" if start else "")
        head = []
        for label, control in methods[columns]:
            head.append(_name(str(place[label]), control))
        table = new_table(title, head)
        for name, cells in rows:
            table.add_row(Text(name), *cells[columns])
        yield table


def new_table(
    title: str, columns: list[str | Text], *, wrap_names: bool = False
) -> Table:
    """A table without rows: a column of names, and ``columns`` aligned right."""
    table = Table(
        title=Text(title, "bold"),
        title_justify="left",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    table.add_column(
        "", no_wrap=not wrap_names, overflow="fold" if wrap_names else "ellipsis"
    )
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    return table


def _name(label: str, control: bool) -> Text:
    return Text(label, "dim italic" if control else "")


def _cells(lines: pd.DataFrame, methods: list[tuple[str, bool]]) -> list[Text]:
    """What a table shows of each method for one metric."""
    found = {line.label: line for line in lines.itertuples()}
    digits = tables.decimals(lines["mean"])
    cells = []
    for label, _ in methods:
        cells.append(_cell(found.get(label), digits))
    return cells


def _cell(line, places: int) -> Text:
    if line is None or line.status == "not applicable":
        return Text("–", "dim")
    if line.status == "failed":
        return Text("failed", "red")
    style, mark = _MARKS.get(line.mark, ("", " "))
    return Text(tables.number(line.mean, places) + mark, style)
