"""Boards from hand-made cells."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
from rich.console import Console

from benchmark import store
from benchmark.leaderboard import places, placing, tables
from benchmark.leaderboard.contests import contests
from benchmark.leaderboard.render import placing_console

KEY = {
    "profile": "p",
    "track": "heatmap",
    "paper": "baseline",
    "dataset": "d",
    "target": "t",
    "setting": "",
    "metric_setting": "",
    "seed": 0,
}
FACTS = {
    "n": 8,
    "better": "higher",
    "unit": "fraction",
    "metric_version": 1,
    "status": "ok",
    "reason": "",
}


def frames(*cells: dict) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and instances from cells: a row's keys, and ``values`` of its images where it has any."""
    rows, instances = [], []
    for cell in cells:
        cell = KEY | FACTS | cell
        values = cell.pop("values", None)
        if values is not None:
            cell |= {
                "value": float(np.nanmean(values)),
                "n": int(np.isfinite(values).sum()),
            }
            instances += [
                {k: cell[k] for k in store.ROW_KEYS} | {"image": i, "value": v}
                for i, v in enumerate(values)
            ]
        rows.append({"value": np.nan} | cell)
    return store.tidy_rows(pd.DataFrame(rows)), pd.DataFrame(
        instances, columns=[*store.ROW_KEYS, "image", "value"]
    )


def differences(
    rows: pd.DataFrame, instances: pd.DataFrame, label: str
) -> pd.DataFrame:
    """``placing.differences`` of rows."""
    return placing.differences(contests(tables.labelled(rows), instances), label)


def shown_beside(
    rows: pd.DataFrame, instances: pd.DataFrame, *labels: str, console: Console
) -> None:
    """Methods among the others in a terminal."""
    frame = tables.leaderboard(rows, instances)
    compared = {label: differences(rows, instances, label) for label in labels}
    placing_console.show(frame, places.places(frame), compared, console)


def placing_lines(
    rows: pd.DataFrame, instances: pd.DataFrame, *labels: str, width: int
) -> list[str]:
    """What the terminal shows of methods among the others, line by line, without spaces at the ends."""
    text = io.StringIO()
    shown_beside(rows, instances, *labels, console=Console(file=text, width=width))
    return [line.rstrip() for line in text.getvalue().splitlines()]
