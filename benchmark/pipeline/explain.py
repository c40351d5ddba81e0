"""The second step: explain a data set's test images by every method, on every network.

A cell (a target, a seed and a method) is a file with a key, the hash of all that it depends on. A file with the right
key is never computed again; one with another key always is. A cell that fails is a file that says why; it never stops
the others.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import engine, store
from benchmark.api import Explanation
from benchmark.engine import Done, Unit
from benchmark.pipeline import followed, unit_times
from benchmark.pipeline.blame import with_line_of_method
from benchmark.pipeline.cells import (
    Cell,
    cell_meta,
    cells,
    finished,
    in_turn,
    made,
    network_files,
    read_explanation,
    remove_others,
    who,
    write_explanation,
)
from benchmark.pipeline.inputs import forget
from benchmark.pipeline.keys import explain_key, method_files_of
from benchmark.pipeline.protocol import attempt
from benchmark.utils.temporary import scratch

if TYPE_CHECKING:  # workers import this module, and need no profile
    from benchmark.engine.sandbox import Limits
    from benchmark.pipeline.profile import Profile

_APART = "cell.npz"  # in the working directory of an external method's process


def explain_images(profile: Profile, *datasets: str) -> Iterator[Done]:
    """Explain the sampled test images of data sets by every method; each Done's result is the cell's meta.

    An external method has a process of its own, under the limits that ``explain: limits:`` sets.
    """
    todo = []
    for dataset in datasets:
        of_dataset = cells(profile, dataset)
        files = {cell.explanation for cell in of_dataset}
        remove_others(made(profile).explanations(dataset), files)
        todo += of_dataset
    what = unit_times.part(datasets, profile.datasets)
    yield from explain_cells(profile, what, todo)


def explain_cells(profile: Profile, what: str, todo: Sequence[Cell]) -> Iterator[Done]:
    """Explain these cells; the files of others stay.

    Args:
        what: a name for them, in the file of times.
    """
    with tempfile.TemporaryDirectory(prefix=scratch()) as apart:
        units = [explain_unit(cell) for cell in todo if cell.method.own]
        external = [cell for cell in todo if not cell.method.own]
        units += _external_units(external, profile.explain.limits, Path(apart))
        for done in unit_times.run(made(profile), "explain", what, in_turn(units)):
            cell = done.unit.arguments[0]
            if done.unit.limits:
                _collect_external(cell, done)
            meta = cell_meta(cell)
            if (
                done.error and meta["reason"] != done.error
            ):  # its worker died, or the disk is full
                _write_failure(cell, done.error)
                meta = cell_meta(cell)
            yield Done(done.unit, meta, done.error)


def explain_unit(cell: Cell) -> Unit:
    """The unit that explains a cell by a method of this project."""
    reads = (*network_files(cell), *method_files_of(cell.method))
    files = {"reads": reads, "writes": (cell.explanation,)}
    return Unit(cell.name, explain_cell, (cell,), **files, title=cell.title)


def _external_units(todo: Sequence[Cell], limits: Limits, root: Path) -> list[Unit]:
    """A unit for each cell that is not explained yet, with a working directory of its own below ``root``."""
    units = []
    for i, cell in enumerate(todo):
        if not _is_kept(cell):
            folder = root / str(i)
            folder.mkdir()
            arguments = (cell, limits.seconds / 3)
            given = (cell.name, explain_apart, arguments, limits, folder)
            units.append(Unit(*given, title=cell.title))
    return units


def is_explained(cell: Cell) -> bool:
    """Does its explanation exist, made from all that it depends on now? Its arrays are not read."""
    there = finished(cell.explanation)
    return there.get("key") == explain_key(cell) and there["status"] != "failed"


def _is_kept(cell: Cell) -> bool:
    """Is it explained, and the file undamaged?"""
    return is_explained(cell) and store.is_whole(cell.explanation)


def explain_cell(cell: Cell) -> str | None:
    """Fit and explain, guarded; writes the explanation, or the reason why there is none."""
    if _is_kept(cell):
        return engine.KEPT
    run = followed.attempt if followed.is_followed(cell) else attempt
    explanation, meta = run(cell)
    if meta["status"] == "not applicable":
        forget()  # the method may have changed the network before it said so
    write_explanation(
        cell.explanation, explanation, who(cell) | {"key": explain_key(cell)} | meta
    )
    if meta["status"] == "failed":
        raise engine.Failed(meta["reason"])
    return None


def explain_apart(cell: Cell, patience: float) -> None:
    """For an external method: writes what ``explain_cell`` would into the working directory.

    Args:
        patience: seconds; a method that fails later does not run again to find the line.
    """
    start = time.monotonic()
    explanation, meta = attempt(cell, external=True)
    if meta["status"] == "failed":
        early = time.monotonic() - start < patience
        meta["reason"] = with_line_of_method(meta["reason"], cell, trace=early)
    write_explanation(Path(_APART), explanation, meta)
    if meta["status"] == "failed":
        raise engine.Failed(meta["reason"])


def _collect_external(cell: Cell, done: Done) -> None:
    """Move the explanation by an external method to its place; if its process failed, write the reason instead."""
    explanation, meta = Explanation(), {"status": "failed", "reason": done.error}
    if not done.error:
        try:
            explanation, meta = read_explanation(done.unit.folder / _APART)
        except Exception as error:  # the method overwrote it
            meta["reason"] = engine.one_line(error)
    with contextlib.suppress(OSError):
        meta = meta | who(cell) | {"key": explain_key(cell)}
        write_explanation(cell.explanation, explanation, meta)


def _write_failure(cell: Cell, reason: str) -> None:
    """Write why a cell that could not do so itself failed, as far as the disk allows."""
    cell.explanation.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        meta = who(cell) | {"status": "failed", "reason": reason, "key": ""}
        write_explanation(cell.explanation, Explanation(), meta)
