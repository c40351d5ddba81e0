"""The board as GitHub Markdown: for each track the average ranks, then a table for each (dataset, target)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from benchmark.leaderboard import rankings, stats, tables

LEGEND = (
    "↑ higher is better, ↓ lower is better. **Bold**: best mean. †: not significantly worse than the best "
    f"(Wilcoxon signed-rank over images, Holm-corrected over the table, {stats.ALPHA:g}). "
    f"In brackets: {stats.LEVEL:.0%} bootstrap interval over images and seeds. "
    "*Italics*: a control, which explains nothing. "
    "‡: a control is best or not significantly worse than the best, "
    "so this metric does not tell an explanation from none here. §: not all seeds have a value."
)
RANK_COLUMNS = [
    "method",
    "average rank ↓",
    "where no control is first ↓",
    "best",
    "not worse †",
    "failed",
    "of tables",
]
_SPECIAL = re.compile(r"([\\|*`\[\]]|(?<!\w)_|_(?!\w))")


def escape(text: object) -> str:
    """Text that Markdown and HTML leave as it is."""
    text = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text.replace("\n", " "))


def grid(head: Sequence[str], body: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table; the first ``left`` columns are aligned left, the others right."""
    right = len(head) - left
    rule = ["---"] * left + ["---:"] * right
    lines = []
    for line in (head, rule, *body):
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def name(label: str, control: bool) -> str:
    text = escape(label)
    return f"*{text}*" if control else text


def summary(frame: pd.DataFrame, track: str) -> str:
    """Average ranks of a track."""
    body = []
    for line in tables.average_ranks(frame, track).itertuples():
        counts = [line.best, line.tied, line.failed, line.tables]
        body.append(
            [
                name(line.label, line.control),
                f"{line.average_rank:.2f}",
                sound(line.sound_rank),
                *map(str, counts),
            ]
        )
    return grid(RANK_COLUMNS, body)


def sound(rank: float) -> str:
    """A rank over the tables in which no control is first, if there are any."""
    return "–" if np.isnan(rank) else f"{rank:.2f}"


def board(frame: pd.DataFrame, track: str, dataset: str, target: str) -> str:
    """Methods x metrics of one network."""
    part = tables.shown(frame, track, dataset, target)
    lines = []
    for label, control in order(frame, part, track):
        own = part[part["label"] == label]
        lines.append((name(label, control), own))
    return _pivot("method", part, lines)


def networks(frame: pd.DataFrame, track: str) -> str:
    """Networks x facts."""
    part = frame[frame["track"] == track]
    lines = []
    for dataset, target in tables.boards(frame, track):
        own = tables.shown(frame, track, dataset, target)
        lines.append((escape(f"{dataset} / {target}"), own))
    return _pivot("network", part, lines)


def _pivot(
    corner: str, part: pd.DataFrame, lines: Iterable[tuple[str, pd.DataFrame]]
) -> str:
    """A table with a row for each of ``lines`` (name, its part) and a column per metric and setting of ``part``."""
    head, places = [corner], {}
    for key, column in part.groupby(["metric", "metric_setting"], sort=False):
        head.append(_heading(*key, column))
        places[key] = tables.decimals(column["mean"])
    body = []
    for first, own in lines:
        found = {}
        for line in own.itertuples():
            found[line.metric, line.metric_setting] = line
        cells = [_cell(found.get(key), digits) for key, digits in places.items()]
        body.append([first, *cells])
    return grid(head, body)


def _heading(metric: str, metric_setting: str, column: pd.DataFrame) -> str:
    first = column.iloc[0]
    text = escape(tables.title(metric, metric_setting))
    if first["unit"]:
        text += f" ({escape(first['unit'])})"
    text += f" {tables.arrow(first['better'])}"
    return f"{text} ‡" if tables.doubtful(column) else text


def order(
    frame: pd.DataFrame, part: pd.DataFrame, track: str
) -> list[tuple[str, bool]]:
    """(label, control) of a board, by their average rank in the track."""
    average = tables.average_ranks(frame, track)
    place = {label: i for i, label in enumerate(average["label"])}

    def by_rank(method: tuple[str, bool]) -> tuple[int, str]:
        label, _ = method
        return place.get(label, len(place)), label

    methods = dict(zip(part["label"], part["control"], strict=True))
    return sorted(methods.items(), key=by_rank)


def _cell(line, places: int) -> str:
    if line is None:
        return "–"
    if line.status != "ok":
        return "failed" if line.status == "failed" else "n/a"
    text = tables.number(line.mean, places)
    if line.mark == "best":
        text = f"**{text}**"
    elif line.mark == "tied":
        text = f"{text} †"
    interval = tables.interval(line, places, ", ")
    if interval:
        text += f" [{interval}]"
    return f"{text} §" if tables.is_partial(line) else text


def missing(frame: pd.DataFrame, track: str, dataset: str, target: str) -> str:
    """Why cells have no number."""
    lost = tables.losses(tables.on_board(frame, track, dataset, target))
    where = (
        f"{dataset}/{target}, " if track == "unknown" else ""
    )  # a track without headings
    lines = []
    for line in lost.itertuples():
        text = f"{where}{line.methods}, {line.metrics}: {line.reason}"
        lines.append(f"- {escape(text)}")
    return "\n".join(lines)


def findings(frame: pd.DataFrame, track: str) -> str:
    """Metrics on which a control is among the best."""
    found = tables.findings(frame)
    texts = found.loc[found["track"] == track, "text"]
    return "\n".join(f"- ‡ {escape(text)}" for text in texts)


def sensitivity(frame: pd.DataFrame, track: str) -> str:
    """What the metrics' own settings do to the rankings of a track."""
    lines = rankings.sensitivity(frame, track).itertuples()
    return "\n".join(
        f"- setting matters: {escape(sensitivity_words(line))}" for line in lines
    )


def sensitivity_words(line) -> str:
    """A line of ``rankings.sensitivity`` in words."""
    agree = "too few methods to compare"
    if not np.isnan(line.tau):
        agree = (
            f"Kendall's tau {line.tau:.2f} between two of them (least {line.least:.2f})"
        )
    where = tables.plural(line.networks, "network")
    return (
        f"{tables.title(line.metric)}, {line.settings} settings on {where}: {agree}; "
        f"first under one of them: {', '.join(line.first)}"
    )


def render(frame: pd.DataFrame, profile: str = "") -> str:
    """``leaderboard.md``."""
    out = [heading("# Leaderboard", profile), LEGEND]
    if not len(frame):
        out.append("No rows yet.")
    for track in tables.tracks(frame, ranked=False):
        if (
            track != "replication"
        ):  # reproduction.md has these, beside what was published
            out += _track(frame, track)
    return "\n\n".join(filter(None, out)) + "\n"


def heading(text: str, profile: str) -> str:
    """The heading of a file, with the name of a profile if there is one."""
    return f"{text}: {escape(profile)}" if profile else text


def _track(frame: pd.DataFrame, track: str) -> Iterator[str]:
    """The parts of a track, some of them empty."""
    title, what = tables.TRACKS.get(track, (track, ""))
    yield f"## {escape(title)}"
    yield escape(what)
    boards = tables.boards(frame, track)
    if track in tables.UNRANKED:
        if track in tables.FACTS:
            yield networks(frame, track)
        for key in boards:
            yield missing(frame, track, *key)
        return
    yield summary(frame, track)
    yield sensitivity(frame, track)
    yield findings(frame, track)
    for key in boards:
        yield f"### {' / '.join(map(escape, key))}"
        yield f"{tables.caption(tables.shown(frame, track, *key))}."
        yield board(frame, track, *key)
        yield missing(frame, track, *key)
