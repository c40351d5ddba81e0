"""Joins target, method and metric. The only place where the three meet.

Four steps, each resumable cell by cell: ``train`` (a target and a seed), ``explain`` (a target, a seed and a method),
``score`` (the same, all metrics), ``collect`` (rows and the values of single images). A cell is a file with a key, the
hash of all that it depends on: a file with the right key is never made again, one with another key always is. A cell that
fails is a file that says why; it never stops another.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark import engine, store
from benchmark.api import Explanation
from benchmark.engine import Done, Unit
from benchmark.pipeline import unit_times
from benchmark.pipeline.cells import (
    Cell,
    cell_meta,
    cells,
    finished,
    made,
    network_files,
    read_explanation,
    remove_others,
    who,
    write_explanation,
)
from benchmark.pipeline.keys import explain_key, method_files_of
from benchmark.pipeline.protocol import attempt
from benchmark.utils.temporary import scratch

if TYPE_CHECKING:  # workers import this module, and need no profile
    from benchmark.pipeline.profile import Profile

_APART = "cell.npz"  # in the working directory of a stranger's process

# --------------------------------------------------------------------------------------------- what there is to do


# --------------------------------------------------------------------------------------------- train


# --------------------------------------------------------------------------------------------- explain


def explain_images(profile: Profile, dataset: str) -> Iterator[Done]:
    """Explain the sampled test images by every method; each Done's result is the cell's meta. A stranger's method has a
    process of its own, under the limits that ``explain: limits:`` sets."""
    todo = cells(profile, dataset)
    limits = profile.explain.limits
    remove_others(
        made(profile).explanations(dataset), {cell.explanation for cell in todo}
    )
    with tempfile.TemporaryDirectory(prefix=scratch()) as apart:
        units = [explain_unit(cell) for cell in todo if cell.method.own]
        for i, cell in enumerate(
            cell for cell in todo if not cell.method.own and not _is_kept(cell)
        ):
            folder = Path(apart, str(i))
            folder.mkdir()
            units.append(Unit(cell.name, explain_apart, (cell,), limits, folder))
        for done in unit_times.run(made(profile), "explain", dataset, units):
            cell = done.unit.arguments[0]
            if done.unit.limits:
                _take_home(cell, done)
            meta = cell_meta(cell)
            if (
                done.error and meta["reason"] != done.error
            ):  # the cell could not say so: its worker died, or the disk is full
                cell.explanation.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    meta = who(cell) | {
                        "status": "failed",
                        "reason": done.error,
                        "key": "",
                    }
                    write_explanation(cell.explanation, Explanation(), meta)
                meta = cell_meta(cell)
            yield Done(done.unit, meta, done.error)


def explain_unit(cell: Cell) -> Unit:
    methods = method_files_of(cell.method)
    return Unit(
        cell.name,
        explain_cell,
        (cell,),
        reads=(*network_files(cell), *methods),
        writes=(cell.explanation,),
    )


def is_explained(cell: Cell) -> bool:
    """Is its explanation there, made of all that it depends on as that is now? Its maps are not read."""
    there = finished(cell.explanation)
    return there.get("key") == explain_key(cell) and there["status"] != "failed"


def _is_kept(cell: Cell) -> bool:
    """Is its explanation there, made of what it depends on now, and undamaged?"""
    return is_explained(cell) and store.is_whole(cell.explanation)


def explain_cell(cell: Cell) -> str | None:
    """Fit and explain, under guard; writes the explanation, or the reason why there is none."""
    if _is_kept(cell):
        return engine.KEPT
    explanation, meta = attempt(cell)
    write_explanation(
        cell.explanation, explanation, who(cell) | {"key": explain_key(cell)} | meta
    )
    if meta["status"] == "failed":
        raise engine.Failed(meta["reason"])
    return None


def explain_apart(cell: Cell) -> None:
    """A stranger's cell: writes what ``explain_cell`` would into the working directory."""
    explanation, meta = attempt(cell, stranger=True)
    write_explanation(Path(_APART), explanation, meta)
    if meta["status"] == "failed":
        raise engine.Failed(meta["reason"])


def _take_home(cell: Cell, done: Done) -> None:
    """Put the explanation of a stranger's cell in its place; one that ended badly leaves its reason there."""
    explanation, meta = Explanation(), {"status": "failed", "reason": done.error}
    if not done.error:
        try:
            explanation, meta = read_explanation(done.unit.folder / _APART)
        except Exception as error:  # the method wrote over it
            meta["reason"] = engine.one_line(error)
    with contextlib.suppress(OSError):
        write_explanation(
            cell.explanation, explanation, meta | who(cell) | {"key": explain_key(cell)}
        )


# --------------------------------------------------------------------------------------------- score


# --------------------------------------------------------------------------------------------- collect
