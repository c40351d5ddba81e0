"""Where commands print: results to stdout, what is to be known besides to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from benchmark import store

# In a file or a pipe, tables are as wide as they need: names of metrics are never wrapped.
WIDE = None if sys.stdout.isatty() else 1000
out = Console(highlight=False, soft_wrap=True, width=WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def stdout_on_stderr(wanted: bool) -> Iterator[None]:
    """What anybody prints meanwhile goes to stderr: a method of the user, say, in a process that is started here."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def print_table(
    title: str, rows: list[dict[str, Any]], console: Console | None = None
) -> None:
    """Rows as a table; in a terminal that is much too narrow for it, as a paragraph each."""
    console = console or out
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(rows[0] if rows else ()):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(str, row.values()))
    widest = console.options.update(width=10_000)
    if Measurement.get(console, widest, table).maximum <= 1.5 * console.width:
        console.print(table)
        return
    for row in rows:
        console.print(_paragraph(row), soft_wrap=False)


def _paragraph(row: dict[str, Any]) -> Group:
    """The first entry, and indented below it what else is known: "track: heatmap; better: higher; ..."."""
    name, *texts = map(str, row.values())
    rest = Text()
    for key, text in zip(list(row)[1:], texts, strict=True):
        if text in ("", name):
            continue
        rest.append("; " if rest else "")
        rest.append(f"{key}: ", "dim")
        rest.append(text)
    return Group(Text(name, "bold"), Padding(rest, (0, 0, 0, 4)))


def folded(line: str, console: Console) -> str:
    """A line of a summary; in a terminal, continued below its words."""
    if not console.is_terminal:
        return line
    indent = " " * 12
    return textwrap.fill(
        line,
        console.width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def note_without_commit() -> None:
    """Say so if the provenance of what is made names no commit."""
    from benchmark.store import git

    _, why = git.commit(store.homes()[0])
    if why:
        err.print(f"provenance.json names no commit: {why}", markup=False)
