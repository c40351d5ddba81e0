"""New methods in about ten lines of text, and as plain values for machines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from benchmark.leaderboard import tables
from benchmark.leaderboard.brief import Brief, Duel, Place, metric_rows

NAMED = 6  # rivals or metrics of one line


def lines(found: Sequence[Brief]) -> Iterator[str]:
    """What a user wants to know first."""
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
        for cell in brief.failed:
            network = f"{cell['dataset']}/{cell['target']}"
            yield f"  failed    {network}, {cell['metrics']}: {cell['reason']}"
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
    more = [f"{len(names) - many} more"] if len(names) > many else []
    if names:
        yield f"  {word:<9} {', '.join([*names[:many], *more])}"


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
        for table in found:
            digits = tables.decimals([line["mean"] for line in table["methods"]])
            best = []
            for line in table["methods"][:3]:
                value = tables.number(line["mean"], digits)
                best.append(f"{line['rank']:g} {line['label']} {value}")
            name = tables.title(metric, table["metric_setting"])
            network = f"{table['dataset']}/{table['target']}"
            more = len(table["methods"]) - len(best)
            rest = f", and {more} more" if more > 0 else ""
            arrow = tables.arrow(table["better"])
            yield f"{name} {arrow} on {network}: {', '.join(best)}{rest}"
        if not found:
            yield f"{metric}: not applicable to any method, or failed"
        lost = tables.losses(frame[frame["metric"] == metric])
        for line in lost[lost["reason"].str.contains("failed")].itertuples():
            network = f"{line.dataset}/{line.target}"
            yield f"{metric} on {line.methods}, {network}: {line.reason}"


def facts(
    found: Sequence[Brief], frame: pd.DataFrame, metrics: Iterable[str]
) -> dict[str, Any]:
    """The same as values that JSON can hold."""
    every = []
    for metric in dict.fromkeys(metrics):
        every += [_plain(table) for table in metric_rows(frame, metric)]
    return {"methods": [_plain(asdict(brief)) for brief in found], "metrics": every}


def _plain(value: Any) -> Any:
    """NaN as None, what numpy made as Python's own."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
