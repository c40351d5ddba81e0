"""The board as GitHub Markdown: for each track the places, then a table for each (dataset, target)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from benchmark.leaderboard import controls, places, rankings, stats, tables

LEGEND = (
    "↑ higher is better, ↓ lower is better. **Bold**: best mean. ≈: the same as the best, they differ by less than "
    f"{stats.MARGIN:.0%} of the metric's range. ?: undecided, perhaps as good as the best, perhaps not. "
    f"No mark: worse than some other method ({stats.ALPHA:.0%} for all pairs of a table together). "
    f"In brackets: {stats.LEVEL:.0%} interval. With {stats.NETWORKS} seeds or more all this is said of networks "
    "trained like these, with fewer of these networks only. *Italics*: a control, which explains nothing. "
    "‡: the best method is not known to beat every control, so the table does not count. "
    "§: not all seeds have a value."
)
PLACES = (
    "Won: the share of duels (same network, same metric) that a method wins, averaged over its rivals; families of "
    f"metrics weigh alike. In brackets: {stats.LEVEL:.0%} interval of the place, over other data sets, networks and "
    "images like these. First: how often it comes first among them. Alone: no rival. "
    "Passes: forward passes of the network that an explanation takes."
)
SIGNS = {"same": "≈", "undecided": "?"}
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


def summary(
    frame: pd.DataFrame, placed: pd.DataFrame, track: str, most: int | None = None
) -> str:
    """The places of a track: over all families of metrics, and in each.

    Args:
        most: only the first so many methods, and all controls.
    """
    names = places.families(placed, track)
    costs = places.costs(frame, track)
    cost = ["passes"] if costs else []
    head = ["method", "place", "first", "won", *cost, *map(family_title, names)]
    by_family = {}
    for family in names:
        for line in places.of(placed, track, family).itertuples():
            by_family[line.label, family] = places.words(line)
    body = []
    lines = places.of(placed, track)
    if most is not None:
        lines = lines[(lines.index < most) | lines["control"]]
    for line in lines.itertuples():
        cells = [by_family.get((line.label, family), "–") for family in names]
        row = [name(line.label, line.control), places.words(line), *shares(line)]
        if costs:
            row.append(passes(costs.get(line.label, np.nan)))
        body.append([*row, *cells, str(line.failed), str(line.tables)])
    return grid([*head, "failed", "tables"], body)


def family_title(family: str) -> str:
    """What a family of metrics is called."""
    return escape(family.replace("_", " ") or "other metrics")


def shares(line) -> tuple[str, str]:
    """The share of first places and of duels won, of a line of ``places``."""
    return percent(line.first), percent(line.win_rate)


def passes(cost: float) -> str:
    """Forward passes in two digits, ``0.13``, ``2.1``, ``300``; a dash for NaN."""
    return "–" if np.isnan(cost) else f"{float(f'{cost:.2g}'):g}"


def percent(share: float) -> str:
    """``87 %``; a dash for NaN."""
    return "–" if np.isnan(share) else f"{100 * share:.0f} %"


def board(
    frame: pd.DataFrame, placed: pd.DataFrame, track: str, dataset: str, target: str
) -> str:
    """Methods x metrics of one network; below, what the best method gains over the better control."""
    part = tables.shown(frame, track, dataset, target)
    lines = []
    for label, control in order(placed, part, track):
        own = part[part["label"] == label]
        lines.append((name(label, control), own))
    gained = controls.gains(part).dropna(subset="gain_low")
    return _pivot("method", part, lines, gained)


def networks(frame: pd.DataFrame, track: str) -> str:
    """Networks x facts."""
    part = frame[frame["track"] == track]
    lines = []
    for dataset, target in tables.boards(frame, track):
        own = tables.shown(frame, track, dataset, target)
        lines.append((escape(f"{dataset} / {target}"), own))
    return _pivot("network", part, lines)


def _pivot(
    corner: str,
    part: pd.DataFrame,
    lines: Iterable[tuple[str, pd.DataFrame]],
    gained: pd.DataFrame | None = None,
) -> str:
    """A table with a row for each of ``lines`` (name, its part) and a column per metric and setting of ``part``.

    ``gained``: lines of ``controls.gains``, the last row.
    """
    head, places_of = [corner], {}
    for key, column in part.groupby(["metric", "metric_setting"], sort=False):
        head.append(_heading(*key, column))
        places_of[key] = tables.decimals(column["mean"])
    body = []
    for first, own in lines:
        found = {}
        for line in own.itertuples():
            found[line.metric, line.metric_setting] = line
        cells = [_cell(found.get(key), digits) for key, digits in places_of.items()]
        body.append([first, *cells])
    if gained is not None and len(gained):
        found = {}
        for line in gained.itertuples():
            key = line.metric, line.metric_setting
            found[key] = controls.gain_text(line, places_of[key])
        gains = [found.get(key, "–") for key in places_of]
        body.append(["best method – better control", *gains])
    return grid(head, body)


def _heading(metric: str, metric_setting: str, column: pd.DataFrame) -> str:
    first = column.iloc[0]
    text = escape(tables.title(metric, metric_setting))
    if first["unit"]:
        text += f" ({escape(first['unit'])})"
    text += f" {tables.arrow(first['better'])}"
    return f"{text} ‡" if tables.doubtful(column) else text


def order(
    placed: pd.DataFrame, part: pd.DataFrame, track: str
) -> list[tuple[str, bool]]:
    """(label, control) of a board, by their place in the track."""
    labels = places.of(placed, track)["label"]
    place = {label: i for i, label in enumerate(labels)}

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
    elif line.mark in SIGNS:
        text = f"{text} {SIGNS[line.mark]}"
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


def uncounted(frame: pd.DataFrame, track: str) -> str:
    """What counts, and, folded, what does not."""
    summary = escape(controls.summary(frame, track))
    found = controls.uncounted(frame, track)
    if not found:
        return summary
    lines = "\n".join(f"- {escape(text)}" for text in found)
    head = "<details><summary>Tables that do not count</summary>"
    return f"{summary}\n\n{head}\n\n{lines}\n\n</details>"


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


def render(frame: pd.DataFrame, placed: pd.DataFrame, profile: str = "") -> str:
    """``leaderboard.md``, of the board and its ``places``."""
    out = [heading("# Leaderboard", profile), LEGEND]
    if not len(frame):
        out.append("No rows yet.")
    for track in tables.tracks(frame, ranked=False):
        if (
            track != "replication"
        ):  # reproduction.md has these, beside what was published
            out += _track(frame, placed, track)
    return "\n\n".join(filter(None, out)) + "\n"


def heading(text: str, profile: str) -> str:
    """The heading of a file, with the name of a profile if there is one."""
    return f"{text}: {escape(profile)}" if profile else text


def _track(frame: pd.DataFrame, placed: pd.DataFrame, track: str) -> Iterator[str]:
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
    yield summary(frame, placed, track)
    yield PLACES
    yield uncounted(frame, track)
    yield sensitivity(frame, track)
    for key in boards:
        yield f"### {' / '.join(map(escape, key))}"
        yield f"{tables.caption(tables.shown(frame, track, *key))}."
        yield board(frame, placed, track, *key)
        yield missing(frame, track, *key)
