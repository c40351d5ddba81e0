"""New methods among the others in a terminal: places, and for each network and metric whom they beat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard import controls, stats, tables
from benchmark.leaderboard.placing import VERDICTS, standing
from benchmark.leaderboard.render.console import new_table, numbers, ranks

_SHOWN = [verdict for verdict in VERDICTS if verdict != "unknown"]
_HINT = (
    "below, methods go by the numbers of these lines; all pairs of a table are tested "
    f"together ({stats.ALPHA:.0%}); undecided: the images or networks are too few to tell"
)


def show(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    compared: Mapping[str, pd.DataFrame],
    console: Console,
) -> None:
    """Print each track in which a new method takes part.

    First the places with its line among them, then for each network and metric its value, interval, rank, and whom it
    beats, by their lines in the table of places.

    Args:
        frame, placed: the board and its ``places``.
        compared: by label of a new method, its ``placing.differences``.
    """
    standings = {
        label: standing(frame, found, label) for label, found in compared.items()
    }
    for track in tables.tracks(pd.concat(standings.values())):
        console.print(ranks(placed, track, compared))
        console.print(Text(_HINT, "dim"))
        console.print(Text(controls.summary(frame, track), "yellow"))
        for label, lines in standings.items():
            rivals = _rivals(compared[label], numbers(placed, track))
            for dataset, target in tables.boards(lines, track):
                part = tables.on_board(lines, track, dataset, target)
                title = f"{label} on {dataset} / {target}"
                console.print(_standing(title, part, rivals))
    for label in compared:
        for line in tables.losses(frame[frame["label"] == label]).itertuples():
            network = f"{line.dataset}/{line.target}"
            text = f"{label}, {network}, {line.metrics}: {line.reason}"
            style = "red" if "failed" in line.reason else "dim"
            console.print(Text(text), style=style)


def show_metrics(frame: pd.DataFrame, metrics: Iterable[str], console: Console) -> None:
    """Print the tables of some metrics: for each network the methods with value, interval and rank, the best first.

    Args:
        frame: the board.
    """
    for metric in dict.fromkeys(metrics):
        mine = frame[frame["metric"] == metric]
        for _, part in mine.groupby(tables.TABLE, sort=False):
            if (part["status"] != "not applicable").any():
                console.print(_by_method(part))
        if not (mine["status"] != "not applicable").any():
            console.print(f"{metric}: not applicable to any method")
        for line in tables.losses(mine).itertuples():
            network = f"{line.dataset}/{line.target}"
            text = f"{metric} on {line.methods}, {network}: {line.reason}"
            console.print(Text(text, "red" if "failed" in line.reason else "dim"))


def _by_method(part: pd.DataFrame) -> Table:
    """One table of the board, methods down; those without a value are left out."""
    first = part.iloc[0]
    name = tables.title(first["metric"], first["metric_setting"])
    unit = f", {first['unit']}" if first["unit"] else ""
    title = f"{name} {tables.arrow(first['better'])}{unit} on {first['dataset']} / {first['target']}"
    table = _new_table(title, ["value", "interval", "rank"])
    ok = part[part["status"] == "ok"].sort_values("rank", kind="stable")
    digits = tables.decimals(ok["mean"])
    for line in ok.itertuples():
        table.add_row(
            Text(line.label, "dim italic" if line.control else ""),
            tables.number(line.mean, digits),
            tables.interval(line, digits),
            f"{line.rank:g}",
        )
    return table


def _rivals(compared: pd.DataFrame, place: Mapping[str, int]) -> dict[tuple, list[int]]:
    """By table and verdict, the places of the rivals that have it; rivals of other tracks have none."""
    rivals: dict[tuple, list[int]] = {}
    for line in compared.itertuples():
        if line.rival in place:
            key = (*_key(line), line.verdict)
            rivals.setdefault(key, []).append(place[line.rival])
    return rivals


def _key(line) -> tuple[str, ...]:
    """Of the table that a line belongs to."""
    return tuple(getattr(line, column) for column in tables.TABLE)


def _standing(
    title: str, part: pd.DataFrame, rivals: Mapping[tuple, list[int]]
) -> Table:
    """A row for each metric of one network; ``part``: lines of ``placing.standing``."""
    table = _new_table(title, ["value", "interval", "rank", *_SHOWN])
    for line in part[part["status"] != "not applicable"].itertuples():
        digits = tables.decimals([line.mean, line.low, line.high])
        name = tables.title(line.metric, line.metric_setting)
        rank = f"{line.rank:g} of {line.ranked}" if pd.notna(line.rank) else "failed"
        by_verdict = [rivals.get((*_key(line), verdict), []) for verdict in _SHOWN]
        table.add_row(
            f"{name} {tables.arrow(line.better)}",
            tables.number(line.mean, digits),
            tables.interval(line, digits),
            rank,
            *map(_runs, by_verdict),
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
    texts = []
    for run in runs:
        ends = f"{run[0]}–{run[-1]}"
        texts.append(ends if len(run) > 2 else " ".join(map(str, run)))
    return " ".join(texts)


def _new_table(title: str, columns: list[str]) -> Table:
    """As in ``console``; the places of rivals are aligned left, and they and the interval may fold."""
    table = new_table(title, columns, wrap_names=True)
    for column in table.columns[1:]:
        column.no_wrap = column.header not in (*_SHOWN, "interval")
        if column.header in _SHOWN:
            column.justify = "left"
    return table
