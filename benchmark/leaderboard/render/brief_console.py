"""New methods in about ten lines of text, and as plain values for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from benchmark.leaderboard import tables
from benchmark.leaderboard.brief import Brief, Duel, Place, metric_rows

NAMED = 6  # rivals or metrics of one line


def lines(
    found: Sequence[Brief], missing: Iterable[Mapping[str, str]] = ()
) -> Iterator[str]:
    """What a user wants to know first; ``missing``: of ``brief.missing``."""
    for brief in found:
        where = tables.TRACKS[brief.track][0].lower()
        networks = tables.plural(brief.networks, "network")
        place = _place(brief.place)
        yield f"{brief.method}: place {place} of {brief.of} among {where}, on {networks}"
        by_family = [f"{_family(each)} {_place(each)}" for each in brief.places[1:]]
        yield from _line("places", by_family, many=len(by_family))
        ahead = [duel for duel in brief.duels if duel.gain > 0]
        behind = [duel for duel in brief.duels if duel.gain < 0]
        yield from _line("beats", map(_duel, ahead))
        yield from _line("loses to", map(_duel, reversed(behind)))
        if brief.judged:
            yield _controls(brief)
    for cell in missing:
        network = f"{cell['dataset']}/{cell['target']}"
        yield f"{cell['method']}, {network}, {cell['metrics']}: {cell['reason']}"
    if any(brief.duels for brief in found):
        yield "won:lost are tables (one network, one metric) in which the difference is certain (95 %)"


def _place(place: Place) -> str:
    if place.place is None:
        return "– (no rival)"
    text = f"{place.place:g}"
    return text if place.low is None else f"{text} ({place.low:g}–{place.high:g})"


def _family(place: Place) -> str:
    return place.family.replace("_", " ") or "other metrics"


def _duel(duel: Duel) -> str:
    name = f"{duel.rival} (control)" if duel.control else duel.rival
    return f"{name} {duel.won}:{duel.lost}"


def _line(word: str, names: Iterable[str], many: int = NAMED) -> Iterator[str]:
    """A line of names; none for no names."""
    names = list(names)
    if not names:
        return
    shown = names[:many]
    if len(names) > many:
        shown.append(f"{len(names) - many} more")
    yield f"  {word:<9} {', '.join(shown)}"


def _controls(brief: Brief) -> str:
    """In how many tables a control may be as good, and by which metrics."""
    metrics = [tables.title(table.metric) for table in brief.as_good]
    names = sorted(set(metrics), key=lambda name: (-metrics.count(name), name))
    worse = sum(table.verdict == "loses to" for table in brief.as_good)
    text = (
        f"not known to beat every control in {len(brief.as_good)} of {brief.judged} tables, "
        f"worse than one in {worse}"
    )
    (line,) = _line(
        "controls", [f"{text}: {names[0]}", *names[1:]] if names else [text]
    )
    return line


def metric_lines(frame: pd.DataFrame, metrics: Iterable[str]) -> Iterator[str]:
    """The first three of each table of some metrics."""
    for metric in dict.fromkeys(metrics):
        found = list(metric_rows(frame, metric))
        yield from map(_first_three, found)
        if not found:
            yield f"{metric}: not applicable to any method, or failed"
        lost = tables.losses(frame[frame["metric"] == metric])
        has_failed = lost["reason"].str.contains("failed")
        for line in lost[has_failed].itertuples():
            network = f"{line.dataset}/{line.target}"
            yield f"{metric} on {line.methods}, {network}: {line.reason}"


def _first_three(table: Mapping[str, Any]) -> str:
    every = table["methods"]
    digits = tables.decimals([line["mean"] for line in every])
    shown = []
    for line in every[:3]:
        value = tables.number(line["mean"], digits)
        shown.append(f"{line['rank']:g} {line['label']} {value}")
    if len(every) > 3:
        shown.append(f"and {len(every) - 3} more")
    name = tables.title(table["metric"], table["metric_setting"])
    network = f"{table['dataset']}/{table['target']}"
    arrow = tables.arrow(table["better"])
    return f"{name} {arrow} on {network}: {', '.join(shown)}"


def facts(
    found: Sequence[Brief],
    missing: Iterable[Mapping[str, str]],
    frame: pd.DataFrame,
    metrics: Iterable[str],
) -> dict[str, Any]:
    """The same as values that JSON can hold."""
    every = []
    for metric in dict.fromkeys(metrics):
        every += [_plain(table) for table in metric_rows(frame, metric)]
    methods = [_plain(asdict(brief)) for brief in found]
    return {"methods": methods, "metrics": every, "missing": list(missing)}


def _plain(value: Any) -> Any:
    """NaN as None, what numpy made as Python's own."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
