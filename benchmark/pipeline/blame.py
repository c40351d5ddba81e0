"""Finds the line at which an external method breaks its contract: it runs again on a few images, traced."""

from __future__ import annotations

import contextlib
import re

from benchmark.api import Batch, Target
from benchmark.methods import registry
from benchmark.methods.contract import ORDER, ROUNDING, check_explanation, pixels
from benchmark.methods.line_trace import Trace, arrangements, differing_line, probes
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.inputs import load_batch, load_reference, load_target
from benchmark.pipeline.protocol import names
from benchmark.utils.seeds import generator

# Where this project notices a fault of a method, as ``engine.one_line`` writes it.
_NOTICED = re.compile(r" \((contract|describe|protocol)\.py:\d+\)$")


def with_line_of_method(reason: str, cell: Cell, *, trace: bool) -> str:
    """A reason why a cell failed, with the line of the method's file in place of one of this project.

    Args:
        trace: run the method again to find the line; otherwise this project's line is only left out.
    """
    bare, found = _NOTICED.subn("", reason)
    if not found or registry.is_adapter(cell.method):
        return bare
    line = None
    if trace:
        with contextlib.suppress(Exception):  # it fails in another way this time
            line = _line(cell)
    return f"{bare} ({cell.method.path.name}:{line})" if line else bare


def _line(cell: Cell) -> int | None:
    target, images = load_target(cell), load_batch(cell)[:ORDER]
    first = _traced(cell, target, images)
    for line in first.changed().values():
        return line
    try:
        check_explanation(first.result, target, images)
    except ValueError:
        return first.returned
    for _, others, pick in arrangements(images):
        again = _traced(cell, target, others)
        if line := differing_line(first, again, pick, ROUNDING):
            return line
    return first.returned


def _traced(cell: Cell, target: Target, images: Batch) -> Trace:
    reference = load_reference(cell)
    path = cell.method.path.resolve()
    with Trace(path, probes(target, images, reference)) as trace:
        method = cell.method.build()
        images, reference = pixels(images, method), pixels(reference, method)
        method = method.fit(target, reference, generator("fit", *names(cell)))
        rng = generator("explain", *names(cell))
        trace.result = method.explain(target, images, rng)
    return trace
