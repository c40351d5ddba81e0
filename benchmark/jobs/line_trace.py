"""Which line of a file did it: what has changed after each line, and what its variables held.

    with Trace(path, {"weights": lambda: ...}) as trace:
        ...
    trace.changed()                                     # {"weights": 12}
    disagreement(trace, other, pick, tolerance)         # the first line at which two runs differ

A tracer (``sys.settrace``) follows the lines of one file only. After each it looks at the probes, and keeps copies of the
arrays among the local variables.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

_RECORDS, _SIZE = 400, 2**20  # lines that are kept, numbers of one variable that are
_LOOKS = 500  # lines after which the probes are read; a loop that is longer is looked at where its function returns


class Trace:
    """What happened line by line.

    Attributes:
        returned: the line at which ``explain`` returned.
        records: (line, {variable: array}) after each line, in order.
        method, result: for who runs something under the trace to keep.
    """

    def __init__(self, path: Path, probes: Mapping[str, Callable[[], Any]]) -> None:
        self.file, self.probes = str(path), probes
        self.returned: int | None = None
        self.records: list[tuple[int, dict[str, np.ndarray]]] = []
        self.method: Any = None
        self.result: Any = None
        self._changed: dict[str, int | None] = {}
        self._line: int | None = None
        self._seen = 0
        self._before = {name: probe() for name, probe in probes.items()}

    def __enter__(self) -> Trace:
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: Any) -> None:
        sys.settrace(None)
        self._look()

    def changed(self) -> dict[str, int | None]:
        """The probes that changed, each with the first line after which it had."""
        return self._changed

    def _look(self) -> None:
        for name, probe in self.probes.items():
            if name not in self._changed and probe() != self._before[name]:
                self._changed[name] = self._line

    def _call(self, frame: FrameType, event: str, _: Any) -> Callable | None:
        if frame.f_code.co_filename != self.file:
            return None
        line = frame.f_lineno  # of this frame, the last that began

        def step(frame: FrameType, event: str, _: Any) -> Callable:
            nonlocal line
            self._seen += 1
            if self._seen < _LOOKS or event == "return":
                self._look()
            if len(self.records) < _RECORDS:
                self.records.append((line, _arrays(frame.f_locals)))
            if event == "return" and frame.f_code.co_name == "explain":
                self.returned = frame.f_lineno
            line = self._line = frame.f_lineno
            return step

        return step


def _arrays(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Copies of the tensors, arrays and numbers among local variables."""
    out = {}
    for name, value in variables.items():
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu().numpy() if value.numel() <= _SIZE else None
        if isinstance(value, (np.ndarray, int, float)) and np.size(value) <= _SIZE:
            array = np.array(value)
            if array.dtype.kind in "biuf":
                out[name] = array
    return out


def disagreement(a: Trace, b: Trace, pick: Callable, tolerance: float) -> int | None:
    """The first line after which a variable of two runs differs.

    Args:
        pick: (value, other) -> the two parts that should agree, or None where they cannot be compared.
        tolerance: mean difference as a share of the mean size.
    """
    before = None
    for (line, mine), (other_line, theirs) in zip(a.records, b.records, strict=False):
        if line != other_line:
            return before  # it decided which way to go
        before = line
        for name in mine.keys() & theirs.keys():
            values = mine[name], theirs[name]
            pair = pick(*values) if all(value.ndim for value in values) else None
            if pair is None and values[0].ndim == values[1].ndim == 0 and tolerance == 0:
                pair = values
            if pair is not None and pair[0].shape == pair[1].shape and _apart(*pair) > tolerance:
                return line
    return None


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = np.abs(a).mean() + np.abs(b).mean() if a.size else 0.0
    return float(np.abs(a - b).mean() / scale) if scale else 0.0
