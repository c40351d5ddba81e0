"""The range of a metric's values, as its author declares it; authors import it from ``benchmark.api``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]


def bounds(low: float, high: float) -> Callable[[Function], Function]:
    """Declare the range of a metric's values, below ``@metric``; ``glassbench check`` holds the metric to it.

    Raises:
        ValueError: ``low`` is not below ``high``.
    """
    if not low < high:
        raise ValueError(f"bounds({low}, {high}): the first must be below the second")

    def declare(function: Function) -> Function:
        function.bounds = (float(low), float(high))
        return function

    return declare
