"""The board as GitHub Markdown: for each track the average ranks, then a table for each (dataset, target)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from benchmark.leaderboard import rankings, stats, tables

LEGEND = (
    f"↑ higher is better, ↓ lower is better. **Bold**: best mean. †: not significantly worse than the best (Wilcoxon "
    f"signed-rank over images, Holm-corrected over the table, {stats.ALPHA:g}). In brackets: {stats.LEVEL:.0%} bootstrap "
    "interval over images and seeds. *Italics*: a control, which explains nothing. ‡: a control is best or not "
    "significantly worse than the best, so this metric does not tell an explanation from none here. §: not all seeds have "
    "a value."
)


def escape(text: object) -> str:
    """Text that Markdown and HTML leave as it is."""
    text = (
        str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")
    )
    return re.sub(r"([\\|*`\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def grid(head: Sequence[str], body: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table; the first ``left`` columns are aligned left, the others right."""
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *body))


def name(label: str, control: bool) -> str:
    return f"*{escape(label)}*" if control else escape(label)


def summary(frame: pd.DataFrame, track: str) -> str:
    """Average ranks of a track."""
    average = tables.average_ranks(frame, track)
    body = [
        [
            name(r.label, r.control),
            f"{r.average_rank:.2f}",
            sound(r.sound_rank),
            str(r.best),
            str(r.tied),
            str(r.failed),
            str(r.tables),
        ]
        for r in average.itertuples()
    ]
    return grid(
        [
            "method",
            "average rank ↓",
            "where no control is first ↓",
            "best",
            "not worse †",
            "failed",
            "of tables",
        ],
        body,
    )


def sound(rank: float) -> str:
    """A rank over the tables in which no control is first, if there are any."""
    return "–" if np.isnan(rank) else f"{rank:.2f}"


def board(frame: pd.DataFrame, track: str, dataset: str, target: str) -> str:
    """Methods x metrics of one network."""
    part = tables.shown(frame, track, dataset, target)
    lines = [
        (name(label, control), part[part["label"] == label])
        for label, control in order(frame, part, track)
    ]
    return _pivot("method", part, lines)


def networks(frame: pd.DataFrame, track: str) -> str:
    """Networks x facts."""
    part = frame[frame["track"] == track]
    boards = [
        (f"{d} / {t}", tables.shown(frame, track, d, t)) for d, t in tables.boards(frame, track)
    ]
    return _pivot("network", part, [(escape(text), lines) for text, lines in boards])


def _pivot(corner: str, part: pd.DataFrame, lines: Iterable[tuple[str, pd.DataFrame]]) -> str:
    head, columns = [corner], {}
    for key, column in part.groupby(["metric", "metric_setting"], sort=False):
        doubt = " ‡" if (column["control"] & (column["mark"] != "")).any() else ""
        unit = f" ({escape(column['unit'].iloc[0])})" if column["unit"].iloc[0] else ""
        head.append(
            f"{escape(tables.title(*key))}{unit} {tables.arrow(column['better'].iloc[0])}{doubt}"
        )
        columns[key] = tables.decimals(column["mean"])
    body = []
    for first, own in lines:
        cells = {(line.metric, line.metric_setting): line for line in own.itertuples()}
        body.append([first, *(_cell(cells.get(key), places) for key, places in columns.items())])
    return grid(head, body)


def order(frame: pd.DataFrame, part: pd.DataFrame, track: str) -> list[tuple[str, bool]]:
    """(label, control) of a board, by their average rank in the track."""
    place = {label: i for i, label in enumerate(tables.average_ranks(frame, track)["label"])}
    labels = sorted(dict(zip(part["label"], part["control"], strict=True)).items())
    return sorted(labels, key=lambda item: place.get(item[0], len(place)))


def _cell(line, places: int) -> str:
    if line is None:
        return "–"
    if line.status != "ok":
        return "failed" if line.status == "failed" else "n/a"
    text = tables.number(line.mean, places)
    text = {"best": f"**{text}**", "tied": f"{text} †"}.get(line.mark, text)
    if pd.notna(line.low):
        text += f" [{tables.number(line.low, places)}, {tables.number(line.high, places)}]"
    return text + (" §" if line.reason else "")


def missing(frame: pd.DataFrame, track: str, dataset: str, target: str) -> str:
    """Why cells have no number."""
    lost = tables.losses(
        frame[
            (frame["track"] == track) & (frame["dataset"] == dataset) & (frame["target"] == target)
        ]
    )
    where = f"{dataset}/{target}, " if track == "unknown" else ""  # it has no headings
    return "\n".join(
        f"- {escape(f'{where}{r.methods}, {r.metrics}: {r.reason}')}" for r in lost.itertuples()
    )


def findings(frame: pd.DataFrame, track: str) -> str:
    found = tables.findings(frame)
    return "\n".join(f"- ‡ {escape(text)}" for text in found.loc[found["track"] == track, "text"])


def sensitivity(frame: pd.DataFrame, track: str) -> str:
    """What the metrics' own settings do to the rankings of a track."""
    lines = rankings.sensitivity(frame, track).itertuples()
    return "\n".join(f"- setting matters: {escape(sensitivity_words(line))}" for line in lines)


def sensitivity_words(line) -> str:
    """A line of ``rankings.sensitivity`` in words."""
    agree = (
        "too few methods to compare"
        if np.isnan(line.tau)
        else f"Kendall's tau {line.tau:.2f} between two of them (least {line.least:.2f})"
    )
    where = f"{line.networks} network{'s' * (line.networks > 1)}"
    return f"{tables.title(line.metric)}, {line.settings} settings on {where}: {agree}; first under one of them: {', '.join(line.first)}"


def render(frame: pd.DataFrame, profile: str = "") -> str:
    """``leaderboard.md``."""
    out = [f"# Leaderboard{f': {escape(profile)}' if profile else ''}", LEGEND]
    if not len(frame):
        out.append("No rows yet.")
    for track in tables.tracks(frame, ranked=False):
        if track == "replication":  # reproduction.md holds them, beside what was published
            continue
        heading, what = tables.TRACKS.get(track, (track, ""))
        out += [f"## {escape(heading)}", escape(what)]
        if track in tables.UNRANKED:
            out += [networks(frame, track)] if track in tables.FACTS else []
            out += [missing(frame, track, *key) for key in tables.boards(frame, track)]
            continue
        out += [summary(frame, track), sensitivity(frame, track), findings(frame, track)]
        for key in tables.boards(frame, track):
            out += [
                f"### {' / '.join(map(escape, key))}",
                board(frame, track, *key),
                missing(frame, track, *key),
            ]
    return "\n\n".join(filter(None, out)) + "\n"
