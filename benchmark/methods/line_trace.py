"""Traces a file line by line: what has changed after each line, and which values its variables held.

    with Trace(path, {"weights": lambda: ...}) as trace:
        ...
    trace.changed()                                     # {"weights": 12}
    disagreement(trace, other, pick, tolerance)         # the first line after which two runs differ

A tracer (``sys.settrace``) follows the lines of one file. After each line it calls the probes and copies the arrays
among the local variables.
"""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.api import Batch, Target, array_of
from benchmark.methods.contract import ALONE, apart

_RECORDS = 400  # lines whose variables are kept
_SIZE = 2**20  # numbers in the largest variable that is kept
_LOOKS = 500  # lines after which probes are called; later, only when a function returns


class Trace:
    """A record of what happens line by line, within a ``with`` block.

    Args:
        probes: functions without arguments, by name; what they return is compared.
        function: the name of the function whose return is noted.

    Attributes:
        returned: the line at which ``function`` returned.
        records: (line, {variable: array}) after each line, in order.
        method, result: set by the caller, who runs a method within the block.
    """

    def __init__(
        self,
        path: Path,
        probes: Mapping[str, Callable[[], Any]],
        function: str = "explain",
    ) -> None:
        self.file = str(path)
        self.function = function
        self.probes = probes
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
        """The probes whose value changed, each with the line that changed it."""
        return self._changed

    def _look(self) -> None:
        for name, probe in self.probes.items():
            if name not in self._changed and probe() != self._before[name]:
                self._changed[name] = self._line

    def _call(self, frame: FrameType, event: str, _: Any) -> Callable | None:
        if frame.f_code.co_filename != self.file:
            return None
        line = frame.f_lineno  # the one of this frame that runs now

        def step(frame: FrameType, event: str, _: Any) -> Callable:
            nonlocal line
            self._seen += 1
            if self._seen < _LOOKS or event == "return":
                self._look()
            if len(self.records) < _RECORDS:
                self.records.append((line, _arrays(frame.f_locals)))
            if event == "return" and frame.f_code.co_name == self.function:
                self.returned = frame.f_lineno
            line = self._line = frame.f_lineno
            return step

        return step


def _arrays(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Copies of the tensors, arrays and numbers among local variables."""
    copies = {}
    for name, value in variables.items():
        if isinstance(value, torch.Tensor) and value.numel() <= _SIZE:
            with contextlib.suppress(Exception):  # e.g. within torch.vmap
                value = array_of(value)
        if isinstance(value, (np.ndarray, int, float)) and np.size(value) <= _SIZE:
            array = np.array(value)
            if array.dtype.kind in "biuf":
                copies[name] = array
    return copies


# --------------------------------------------------------------------------------------------- what must not change

PARTS = ("weights", "modes", "hooks", "requires_grad", "normalisation")  # of a target


def probes(target: Target, *batches: Batch) -> dict[str, Callable[[], Any]]:
    """What a method must leave alone, as functions whose values change when it does: the parts of the target, the
    global random states, the images."""
    versions = lambda: [batch.x._version for batch in batches]
    return {**_parts(target), **_randomness(), "images": versions}


def _parts(target: Target) -> dict[str, Callable[[], Any]]:
    """For each part of a target, a function whose value changes when the part does."""
    net = target.net

    def weights() -> list[tuple[str, bytes]]:
        state = net.state_dict().items()
        return [
            (name, tensor.detach().cpu().numpy().tobytes()) for name, tensor in state
        ]

    return {
        "weights": weights,
        "modes": lambda: [module.training for module in net.modules()],
        "hooks": lambda: [_hooks(module) for module in net.modules()],
        "requires_grad": lambda: [
            parameter.requires_grad for parameter in net.parameters()
        ],
        "normalisation": lambda: (
            target.mean.tolist(),
            target.std.tolist(),
            target.layer,
        ),
    }


def _hooks(module: nn.Module) -> tuple[Any, ...]:
    """The class, whether ``forward`` is replaced, and the number of hooks of each kind."""
    fields = vars(module)
    counts = [len(value) for name, value in fields.items() if name.endswith("_hooks")]
    return type(module).__name__, "forward" in fields, *counts


def _randomness() -> dict[str, Callable[[], Any]]:
    """The global random states, as functions like those of ``_parts``."""

    def of_numpy() -> tuple[bytes, int]:
        _, numbers, position, *_ = np.random.get_state()
        return numbers.tobytes(), position

    return {
        "torch's global random state": lambda: torch.get_rng_state().numpy().tobytes(),
        "numpy's global random state": of_numpy,
        "Python's global random state": random.getstate,
    }


# --------------------------------------------------------------------------------------------- runs that should agree

Pair = tuple[np.ndarray, np.ndarray]
Pick = Callable[
    [np.ndarray, np.ndarray], Pair | None
]  # the parts of two values that should agree


def whole(a: np.ndarray, b: np.ndarray) -> Pair:
    """Everything, for two runs on the same images."""
    return a, b


def arrangements(batch: Batch) -> Iterator[tuple[str, Batch, Pick]]:
    """The images of a batch in other company: how in words, the images, and the parts to compare with a run on all."""
    n = len(batch)
    yield (
        "the images in reverse order",
        batch[torch.arange(n).flip(0)],
        lambda a, b: (a, b[::-1]) if len(a) == len(b) == n else None,
    )
    half = n // 2
    yield f"the first {half} images by themselves", batch[:half], _rows(n, 0, half)
    for i in range(min(n, ALONE)):
        yield "single images by themselves", batch[i : i + 1], _rows(n, i, i + 1)


def _rows(n: int, start: int, stop: int) -> Pick:
    """Picks what n images have for the rows from ``start`` to ``stop``, which the other run has by themselves."""

    def pick(a: np.ndarray, b: np.ndarray) -> Pair | None:
        fits = (len(a), len(b)) == (n, stop - start)
        return (a[start:stop], b) if fits else None

    return pick


def differing_line(a: Trace, b: Trace, pick: Pick, tolerance: float) -> int | None:
    """The line to blame if two runs give different explanations; None if they agree."""
    for field in sorted(a.result.offers() - {"size"}):
        value = getattr(a.result, field)
        other = getattr(b.result, field, np.empty(0))
        pair = pick(value, other)
        if pair is None or apart(*pair) > tolerance:
            return disagreement(a, b, pick, tolerance) or a.returned
    return None


def disagreement(a: Trace, b: Trace, pick: Callable, tolerance: float) -> int | None:
    """The first line after which a variable of two runs differs, or at which the runs take different ways.

    Args:
        pick: (value, other) -> the two parts that should agree, or None where they cannot be compared.
        tolerance: mean difference as a share of the mean size.
    """
    before = None
    for (line, mine), (other_line, theirs) in zip(a.records, b.records, strict=False):
        if line != other_line:
            return before  # the line before decided which way to go
        before = line
        for name in mine.keys() & theirs.keys():
            pair = _comparable(mine[name], theirs[name], pick, tolerance)
            if pair is not None and _distance(*pair) > tolerance:
                return line
    return None


def _comparable(
    a: np.ndarray, b: np.ndarray, pick: Callable, tolerance: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The parts of two values that should agree; None where they cannot be compared."""
    pair = None
    if a.ndim and b.ndim:
        pair = pick(a, b)
    if pair is None and a.ndim == b.ndim == 0 and tolerance == 0:
        pair = a, b  # numbers are compared between equal runs only
    if pair is None or pair[0].shape != pair[1].shape:
        return None
    return pair


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """The mean difference as a share of the mean size."""
    if a.size == 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    scale = np.abs(a).mean() + np.abs(b).mean()
    if not scale:
        return 0.0
    return float(np.abs(a - b).mean() / scale)
