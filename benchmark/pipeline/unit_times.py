"""What each unit takes: ``results/<profile>/artifacts/times.csv``, which git does not hold, written as units end and read by ``glassbench plan``.

A unit that is run again because something that it depends on has changed replaces its line; one that found its work done
leaves it. The file says how long to expect, so that the longest units start first; no result depends on it.
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
    gigabytes: float = 0.0  # the most memory of its process; 0: unknown
    device: str = "cpu"  # or the GPU's name
    workers: int = 1  # of a whole stage
    source: str = "measured"  # scaled, guessed: by ``glassbench plan --save``


def run(
    paths: store.Paths, step: str, what: str, units: Sequence[Unit]
) -> Iterator[Done]:
    """``engine.run``, the longest units first (one that was never run is taken for the longest); notes their times, and
    that of the whole stage, ``stage, step what``, where all of it ran on this machine."""
    known, new, here, begin = read(paths), {}, 0, time.perf_counter()
    units = [
        replace(
            u,
            expected=known[step, u.name].seconds
            if (step, u.name) in known
            else float("inf"),
        )
        for u in units
    ]
    try:
        for done in engine.run(units, label=step):
            if taken := _taken(done, (step, done.unit.name) in known):
                new[step, done.unit.name] = taken
                here += taken.seconds == done.seconds
            yield done
        if here == len(units) > 0 and (workers := engine.local_workers()):
            new["stage", f"{step} {what}"] = Time(
                time.perf_counter() - begin, workers=workers
            )
    finally:
        if new:
            with contextlib.suppress(OSError):  # a full disk costs no result here
                write(paths, read(paths) | new)


def _taken(done: Done, known: bool) -> Time | None:
    """The line of a unit that ended; None where it failed or found its work done."""
    if done.error or done.result == engine.KEPT:
        return None
    trained = (
        sum(card.get("seconds", 0.0) for card in done.result)
        if isinstance(done.result, list)
        else 0.0
    )
    if isinstance(done.result, list) and not trained:  # every network was there
        return None
    if trained > done.seconds:  # by an earlier run, or in part
        return None if known else Time(trained, 0.0, done.device)
    return Time(done.seconds, done.gigabytes, done.device)


def file(paths: store.Paths) -> Path:
    return paths.artifacts / "times.csv"


def read(paths: store.Paths) -> dict[Key, Time]:
    """Every line; a file that is missing or damaged is an empty one."""
    found = {}
    with (
        contextlib.suppress(OSError, ValueError, KeyError, TypeError),
        open(file(paths), newline="") as lines,
    ):
        for row in csv.DictReader(lines):
            numbers = float(row["seconds"]), float(row["gigabytes"])
            found[row["step"], row["unit"]] = Time(
                *numbers, row["device"], int(row["workers"]), row["source"]
            )
    return found


def write(paths: store.Paths, times: Mapping[Key, Time]) -> None:
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(["step", "unit", *(f.name for f in fields(Time))])
    for key, taken in sorted(times.items()):
        table.writerow(
            [*key, *(f"{v:.4g}" if isinstance(v, float) else v for v in astuple(taken))]
        )
    store.write_text(file(paths), buffer.getvalue())
