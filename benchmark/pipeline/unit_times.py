"""How long units take: ``results/<profile>/artifacts/times.csv``, written as they end, read by ``glassbench plan``.

A unit that runs again replaces its line; one that finds its work done leaves it as it is. The times say what to expect,
so that the longest units start first; no result depends on them, and the file is not in git.
"""

from __future__ import annotations

import contextlib
import csv
import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from benchmark import engine, store
from benchmark.engine import Done, Unit

Key = tuple[str, str]  # (step, name of the unit)


@dataclass(frozen=True)
class Time:
    """A line of the file."""

    seconds: float
    gigabytes: float = 0.0  # peak memory of its process; 0: unknown
    device: str = "cpu"  # or the GPU's name
    workers: int = 1  # of a whole stage
    source: str = "measured"  # scaled, guessed: by ``glassbench plan --save``


def part(chosen: Sequence[str], every: Sequence[str]) -> str:
    """What a stage is noted as that runs the units of these data sets or papers together; all of them need no name."""
    return "" if set(chosen) == set(every) else " ".join(chosen)


def run(
    paths: store.Paths, step: str, what: str, units: Sequence[Unit]
) -> Iterator[Done]:
    """``engine.run``, the longest units first; notes how long they take.

    A unit that never ran counts as the longest. The time of the whole stage is noted as ``stage, step what`` if all of
    it ran on this machine.
    """
    known, new, measured = read(paths), {}, 0
    begin = time.perf_counter()
    units = [
        replace(unit, expected=_expected(known, (step, unit.name))) for unit in units
    ]
    try:
        for done in engine.run(units, label=step):
            key = step, done.unit.name
            taken = _taken(done, key in known)
            if taken:
                new[key] = taken
                measured += taken.seconds == done.seconds
            yield done
        workers = engine.local_workers() if units and measured == len(units) else 0
        if workers:
            new["stage", f"{step} {what}".rstrip()] = Time(
                time.perf_counter() - begin, workers=workers
            )
    finally:
        if new:
            with contextlib.suppress(OSError):  # a full disk costs no result here
                write(paths, read(paths) | new)


def _expected(known: Mapping[Key, Time], key: Key) -> float:
    return known[key].seconds if key in known else float("inf")


def _taken(done: Done, known: bool) -> Time | None:
    """The line of a unit that ended; None if it failed or found its work done."""
    if done.error or done.result == engine.KEPT:
        return None
    if isinstance(done.result, list):  # the cards of networks
        trained = sum(card.get("seconds", 0.0) for card in done.result)
        if not trained:  # all of them existed
            return None
        if trained > done.seconds:  # an earlier run trained them, or began to
            return None if known else Time(trained, 0.0, done.device)
    return Time(done.seconds, done.gigabytes, done.device)


def file(paths: store.Paths) -> Path:
    """The path of a profile's file of times."""
    return paths.artifacts / "times.csv"


def read(paths: store.Paths) -> dict[Key, Time]:
    """All lines of the file; of a missing one none, of a damaged one those before the damage."""
    found = {}
    with (
        contextlib.suppress(OSError, ValueError, KeyError, TypeError),
        open(file(paths), newline="") as lines,
    ):
        for row in csv.DictReader(lines):
            found[row["step"], row["unit"]] = Time(
                float(row["seconds"]),
                float(row["gigabytes"]),
                row["device"],
                int(row["workers"]),
                row["source"],
            )
    return found


def write(paths: store.Paths, times: Mapping[Key, Time]) -> None:
    """Write all lines, sorted by step and unit."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    columns = [column.name for column in fields(Time)]
    table.writerow(["step", "unit", *columns])
    for key, taken in sorted(times.items()):
        entries = [_shown(value) for value in astuple(taken)]
        table.writerow([*key, *entries])
    store.write_text(file(paths), buffer.getvalue())


def _shown(value: float | str) -> float | str:
    return f"{value:.4g}" if isinstance(value, float) else value
