"""A unit of work and its outcome: a picklable function with its arguments, which may run in any process.

    unit = Unit("digits/cnn-0", train, (path, seed))
    Done(unit, **measured(unit))        # runs it here

A unit is resumable and writes its own files atomically, so it may be run again after a crash.
"""

from __future__ import annotations

import os
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.engine.machine import (
    device_name,
    give_memory_back,
    peak_memory,
    reset_peak_memory,
)
from benchmark.engine.sandbox import Limits

KEPT = "kept"  # what a unit returns if its work was already done


class Failed(Exception):
    """Raised by a unit that has recorded its failure; the message is the reason, in one line."""


class ClusterError(Exception):
    """A cluster that cannot be used; one line for the user."""


@dataclass(frozen=True)
class Unit:
    """A function and its arguments, under a name.

    Attributes:
        limits: with limits, the unit runs in a sandbox of its own, and JSON must be able to hold its result.
        folder: the only folder that a unit with limits may write into.
        turn: units of an earlier turn start first.
        expected: seconds; of one turn the longest units start first.
        reads, writes: its files, sent to and from workers that do not see the project's folder.
        title: what people read instead of ``name``.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    limits: Limits | None = None
    folder: Path | None = None
    turn: int = 0
    expected: float = 0.0
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Done:
    """A unit that ended: its ``result``, or ``error`` (one line) if it raised or its worker died.

    Attributes:
        gigabytes: peak memory of its process while it ran; 0 if unknown.
        device: ``cpu`` or the GPU's name.
    """

    unit: Unit
    result: Any = None
    error: str | None = None
    seconds: float = 0.0
    gigabytes: float = 0.0
    device: str = ""


def measured(unit: Unit) -> dict[str, Any]:
    """Run a unit in this process.

    Returns:
        The fields of its ``Done``; an error is text already, as tracebacks cannot be sent between processes.
    """
    give_memory_back()
    reset_peak_memory()
    begin = time.perf_counter()
    try:
        found = {"result": unit.function(*unit.arguments)}
    except Exception as error:
        found = {"error": one_line(error)}
    return found | {
        "seconds": time.perf_counter() - begin,
        "gigabytes": peak_memory(),
        "device": device_name(),
    }


def longest_first(units: Iterable[Unit]) -> list[Unit]:
    """Units in the order in which they start."""
    return sorted(units, key=lambda unit: (unit.turn, -unit.expected))


_INSTALLED = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
_PACKAGE = str(Path(__file__).parent.parent)
_NOT_THE_USERS = (
    "<",
    _PACKAGE,
    *_INSTALLED,
)  # how paths of frames begin; "<": generated code


def one_line(error: BaseException) -> str:
    """``ValueError: what is wrong (file.py:12)``, in one line; the place is the last one in the user's code."""
    if isinstance(error, Failed):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{_place(error)}"


def _place(error: BaseException) -> str:
    """`` (file.py:12)``; empty for an error that was not raised."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    theirs = [
        frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)
    ]
    last = (theirs or frames)[-1]
    return f" ({os.path.basename(last.filename)}:{last.lineno})"
