"""New methods in short: places by family, whom they beat, where a control may be as good, what is missing.

Use:
    for brief in briefs(frame, placed, compared):
        print(brief.method, brief.place, [duel.rival for duel in brief.duels if duel.won > duel.lost])

The verdicts are those of ``placing.differences``. Families that are judged elsewhere (``tables.ELSEWHERE``) are not
asked whether a control does as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmark.leaderboard import places, placing, tables


@dataclass(frozen=True)
class Place:
    """A place with its 95 % interval among the methods of a family, or of all (``places.ALL``); None where alone."""

    family: str
    place: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Duel:
    """One rival: in how many tables the method beats it, loses to it, is the same, and in how many nothing is known."""

    rival: str
    control: bool
    won: int
    lost: int
    same: int
    undecided: int
    unknown: int  # of the undecided tables, those without values per image

    @property
    def gain(self) -> int:
        return self.won - self.lost


@dataclass(frozen=True)
class Table:
    """A table in which a control is not known to be worse than the method."""

    dataset: str
    target: str
    metric: str
    metric_setting: str
    control: str
    verdict: str


@dataclass(frozen=True)
class Brief:
    """One method in one track.

    Attributes:
        of: methods that have a place in the track.
        networks: on which the method has a value.
        places: over all families first, then in each.
        duels: the rivals, from those that it beats most often to those that beat it.
        as_good: tables in which a control may be as good, of ``judged`` tables with a control.
    """

    method: str
    track: str
    of: int
    networks: int
    places: tuple[Place, ...]
    duels: tuple[Duel, ...]
    as_good: tuple[Table, ...]
    judged: int

    @property
    def place(self) -> Place:
        return self.places[0]


def briefs(
    frame: pd.DataFrame, placed: pd.DataFrame, compared: Mapping[str, pd.DataFrame]
) -> list[Brief]:
    """Each new method in each track that it takes part in.

    Args:
        frame, placed: the board and its ``places``.
        compared: by label of a new method, its ``placing.differences``.
    """
    found = []
    for label, lines in compared.items():
        mine = frame[frame["label"] == label]
        for track in tables.tracks(placing.standing(frame, lines, label)):
            here = mine[mine["track"] == track]
            versus = lines[lines["track"] == track]
            found.append(_brief(here, placed, versus, label, track))
    return found


def _brief(
    mine: pd.DataFrame,
    placed: pd.DataFrame,
    lines: pd.DataFrame,
    label: str,
    track: str,
) -> Brief:
    """``mine``: the method's lines of the board in this track; ``lines``: its differences."""
    families = (places.ALL, *places.families(placed, track))
    own = {family: _place(placed, track, family, label) for family in families}
    named = [found for family, found in own.items() if found or family == places.ALL]
    valued = mine[mine["status"] == "ok"]
    judged, as_good = _as_good(valued, lines)
    every = places.of(placed, track)
    return Brief(
        method=label,
        track=track,
        of=int(every["place"].notna().sum()),
        networks=len(valued[["dataset", "target"]].drop_duplicates()),
        places=tuple(found or Place(places.ALL, None, None, None) for found in named),
        duels=tuple(sorted(_duels(lines), key=lambda duel: (-duel.gain, -duel.won))),
        as_good=as_good,
        judged=judged,
    )


def _place(placed: pd.DataFrame, track: str, family: str, label: str) -> Place | None:
    lines = places.of(placed, track, family)
    for line in lines[lines["label"] == label].itertuples():
        return Place(
            family=family,
            place=_known(line.place),
            low=_known(line.low),
            high=_known(line.high),
        )
    return None


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def _duels(lines: pd.DataFrame) -> Iterator[Duel]:
    for (rival, control), group in lines.groupby(["rival", "control"], sort=False):
        verdicts = list(group["verdict"])
        won = verdicts.count("beats")
        lost = verdicts.count("loses to")
        same = verdicts.count("same")
        yield Duel(
            rival=str(rival),
            control=bool(control),
            won=won,
            lost=lost,
            same=same,
            undecided=len(verdicts) - won - lost - same,
            unknown=verdicts.count("unknown"),
        )


def _as_good(mine: pd.DataFrame, lines: pd.DataFrame) -> tuple[int, tuple[Table, ...]]:
    """In how many tables there is a control, and those where one is not beaten (of two, the one that does better)."""
    asked = mine[~mine["family"].isin(tables.ELSEWHERE)]
    keys = set(asked[tables.TABLE].itertuples(index=False, name=None))
    controls = lines[lines["control"].astype(bool)]
    judged, found = 0, []
    for key, group in controls.groupby(tables.TABLE, sort=False):
        if key not in keys:
            continue
        judged += 1
        left = group[group["verdict"] != "beats"].sort_values("difference")
        if len(left):
            first = left.iloc[0]
            found.append(Table(*key[1:], first["rival"], first["verdict"]))
    return judged, tuple(found)


def missing(
    frame: pd.DataFrame, found: Sequence[Brief], labels: Iterable[str]
) -> list[dict[str, str]]:
    """What failed, and of methods that are in no track why: method, dataset, target, metrics (text), reason."""
    somewhere = {brief.method for brief in found}
    lines = []
    for label in labels:
        lost = tables.losses(frame[frame["label"] == label])
        for line in lost.to_dict("records"):
            if "failed" in line["reason"] or label not in somewhere:
                keys = ("dataset", "target", "metrics", "reason")
                lines.append({"method": label, **{key: line[key] for key in keys}})
    return lines


def metric_rows(frame: pd.DataFrame, metric: str) -> Iterator[dict[str, Any]]:
    """The tables of one metric: for each network and setting its methods with a value, the best first."""
    ok = frame[(frame["metric"] == metric) & (frame["status"] == "ok")]
    for key, part in ok.groupby(tables.TABLE, sort=False):
        part = part.sort_values("rank", kind="stable")
        columns = ["label", "control", "mean", "low", "high", "rank"]
        yield {
            **dict(zip(tables.TABLE, key, strict=True)),
            "better": part["better"].iloc[0],
            "unit": part["unit"].iloc[0],
            "methods": part[columns].to_dict("records"),
        }
