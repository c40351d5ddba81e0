"""Rows as arrays, a contest for each (track, dataset, target, metric, metric_setting): what the statistics start from.

    for contest in contests(rows, instances):
        contest.values                      # (M, S, N): M methods on S networks and N images

Facts about networks and replications have tables of the same form, but nothing is contested there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.leaderboard import stats

Record = Mapping[str, Any]  # a row, with its label, key and condition

FACTS = ("target", "replication")  # tracks of facts, not contests
UNRANKED = (*FACTS, "unknown")
COST = "passes_per_image"  # a metric that is shown beside the others: nobody wins by it
TABLE = ["track", "dataset", "target", "metric", "metric_setting"]  # the key of one
METHOD = ["label", "paper", "method", "setting"]  # the key of one of its methods
# of a row, besides its keys
_MEASURED = ["row", "seed", "value", "n", "better", "unit", "status", "reason"]


@dataclass(frozen=True)
class Contest:
    """M methods in one table.

    Attributes:
        key: ``TABLE`` by name.
        methods: their keys (``METHOD``) and records of all seeds, in the order of the keys.
        means: (M, S), NaN where a seed has no value.
        values: (M, S, N), per image; NaN where there are none.
    """

    key: Mapping[str, str]
    methods: Sequence[tuple[tuple[str, ...], Sequence[Record]]]
    means: np.ndarray
    values: np.ndarray

    @property
    def track(self) -> str:
        return self.key["track"]

    @property
    def contested(self) -> bool:
        """Is there something to win?"""
        return self.track not in UNRANKED and self.key["metric"] != COST

    @property
    def better(self) -> str:
        return self.methods[0][1][0]["better"]

    @property
    def unit(self) -> str:
        return self.methods[0][1][0]["unit"]

    @property
    def labels(self) -> list[str]:
        return [name[0] for name, _ in self.methods]

    @property
    def controls(self) -> np.ndarray:
        """(M,) bool."""
        return np.array([name[1] == "control" for name, _ in self.methods])

    @property
    def known(self) -> np.ndarray:
        """(M,) bool: the methods whose values per image are known."""
        return ~np.isnan(self.values).all((1, 2))

    @cached_property
    def compared(self) -> stats.Comparison:
        """All pairs of its methods."""
        return stats.compare(self.values, self.better)

    def measured(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(methods, values): those with values per image, and those of which only means are known, (M, S, 1)."""
        known = self.known
        if known.any():
            yield known, self.values[known]
        if not known.all():
            yield ~known, self.means[~known, :, None]

    @property
    def totals(self) -> np.ndarray:
        """(M,): means over seeds, NaN where a method has no value."""
        seeds = ~np.isnan(self.means)
        with np.errstate(invalid="ignore"):
            return np.nansum(self.means, axis=1) / seeds.sum(1)


def contested(frame: pd.DataFrame) -> pd.Series:
    """Of each line of a board: is there something to win?"""
    return ~frame["track"].isin(UNRANKED) & (frame["metric"] != COST)


def contests(rows: pd.DataFrame, instances: pd.DataFrame | None) -> list[Contest]:
    """All tables, in the order of their keys.

    Args:
        rows: with a column ``label``, what the board calls a method, and ``condition`` (``tables.labelled``).
        instances: columns ``store.ROW_KEYS``, image, value.

    Raises:
        ValueError: two values for one image.
    """
    by_row = _values_by_row(instances)
    columns = [rows[name].tolist() for name in store.ROW_KEYS]
    rows = rows.assign(row=list(zip(*columns, strict=True)))
    columns = [*TABLE, "condition", *METHOD, *_MEASURED]
    out = []
    # dictionaries: a frame per table would take longer than its statistics
    records = rows[columns].astype(object).to_dict("records")
    for key, group in grouped(records, [*TABLE, "condition"]):
        methods = grouped(group, METHOD)
        means, values = _arrays([records for _, records in methods], by_row)
        named = dict(zip(TABLE, key, strict=False))
        out.append(Contest(named, methods, means, values))
    return sorted(out, key=lambda found: [natural(part) for part in found.key.values()])


def natural(text: str) -> str:
    """A text by which settings sort as numbers: ``steps=9`` before ``steps=24``, ``keep=0.05`` before ``keep=0.1``."""
    whole = r"(?<!\d)(?<!=\d\.)\d+"  # no decimals: 05 of ``keep=0.05`` is not 5
    return re.sub(whole, lambda digits: digits[0].zfill(9), text)


def grouped(
    records: Sequence[Record], by: Sequence[str]
) -> list[tuple[tuple, list[Record]]]:
    """(key, its records), sorted by key; records keep their order."""
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        key = tuple(record[name] for name in by)
        group = groups.setdefault(key, [])
        group.append(record)
    return sorted(groups.items(), key=lambda item: item[0])


def ok(records: Sequence[Record]) -> list[Record]:
    """The records that have a value."""
    return [record for record in records if record["status"] == "ok"]


def _values_by_row(
    instances: pd.DataFrame | None,
) -> dict[tuple, tuple[np.ndarray, np.ndarray]]:
    """For each row's key, its images and their values."""
    if instances is None or not len(instances):
        return {}
    images = instances["image"].to_numpy()
    values = instances["value"].to_numpy(np.float64)
    places = instances.groupby(list(store.ROW_KEYS), sort=False).indices
    return {key: (images[at], values[at]) for key, at in places.items()}


def _arrays(
    methods: Sequence[Sequence[Record]],
    by_row: Mapping[tuple, tuple[np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray]:
    """The records of M methods as means (M, S) and values per image (M, S, N), NaN where there are none."""
    measured = [ok(records) for records in methods]
    seeds = sorted({record["seed"] for records in measured for record in records})
    found = []
    for records in measured:
        found += [by_row[one["row"]][0] for one in records if one["row"] in by_row]
    images = np.unique(np.concatenate(found)) if found else np.empty(0, int)
    means = np.full((len(methods), len(seeds)), np.nan)
    values = np.full((*means.shape, len(images)), np.nan)
    for i, records in enumerate(measured):
        for record in records:
            row = record["row"]
            j = seeds.index(record["seed"])
            means[i, j] = record["value"]
            if row in by_row:
                of_row, numbers = by_row[row]
                _refuse_twice(of_row, row)
                values[i, j, np.searchsorted(images, of_row)] = numbers
    return means, values


def _refuse_twice(images: np.ndarray, row: tuple) -> None:
    if len(np.unique(images)) < len(images):
        name = dict(zip(store.ROW_KEYS, row, strict=True))
        raise ValueError(f"{name}: two values for one image")
