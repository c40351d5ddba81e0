"""TODO."""

from __future__ import annotations

import os
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.engine.machine import _forget_peak, _peak, device_name, give_memory_back
from benchmark.engine.sandbox import Limits

KEPT = "kept"  # what a unit returns that found its work done


class Failed(Exception):
    """Raised by a unit that wrote down its failure; the message is the reason, in one line."""


class ClusterError(Exception):
    """A cluster that cannot be used; one line for the user."""


@dataclass(frozen=True)
class Unit:
    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()
    limits: Limits | None = (
        None  # with limits: a process of its own, and a result that JSON can hold
    )
    folder: Path | None = None  # of a unit with limits: the only folder that it may write into
    expected: float = 0.0  # seconds; the longest units start first
    reads: tuple[Path, ...] = ()  # files, for workers that do not see this machine's folder
    writes: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Done:
    """A unit that ended: ``result``, or ``error`` (one line) where it raised or its worker died."""

    unit: Unit
    result: Any = None
    error: str | None = None
    seconds: float = 0.0
    gigabytes: float = (
        0.0  # the most memory that its process held meanwhile; 0 where that is unknown
    )
    device: str = ""  # cpu, or the GPU's name


def measured(unit: Unit) -> dict[str, Any]:
    """What a ``Done`` tells, here and now; an error is worded where it happened, for tracebacks do not travel."""
    give_memory_back()
    _forget_peak()
    begin = time.perf_counter()
    try:
        found = {"result": unit.function(*unit.arguments)}
    except Exception as error:
        found = {"error": one_line(error)}
    return found | {
        "seconds": time.perf_counter() - begin,
        "gigabytes": _peak(),
        "device": device_name(),
    }


def longest_first(units: Iterable[Unit]) -> list[Unit]:
    return sorted(units, key=lambda unit: -unit.expected)


_LIBRARIES = (
    "<",
    str(Path(__file__).parent.parent),
    *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")},
)


def one_line(error: BaseException) -> str:
    """``ValueError: what is wrong (file.py:12)``, on one line: the last line outside of libraries and of this package."""
    if isinstance(error, Failed):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    frames = [f for f in frames if not f.filename.startswith(_LIBRARIES)] or frames
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{where}"
