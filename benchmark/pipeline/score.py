"""The third step: score every explanation by every metric, and the networks by their accuracy.

A cell has one file of scores, and another one for the metrics that call the method again (``again``). Each row has a
key of its own, so that a metric that is new or has changed is computed by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark import engine, store
from benchmark.api import Explanation
from benchmark.engine import Done, Unit
from benchmark.methods import registry
from benchmark.pipeline import again, unit_times
from benchmark.pipeline.cells import (
    Cell,
    cell_meta,
    cells,
    in_turn,
    made,
    network_files,
    read_cell,
    remove_others,
)
from benchmark.pipeline.inputs import load_batch
from benchmark.pipeline.keys import score_keys
from benchmark.pipeline.protocol import measure
from benchmark.pipeline.score_rows import (
    Scored,
    _base,
    _scored,
    has_scores,
    kept_scores,
    raise_failed,
    unknown,
    wanted,
    without_values,
    write_scores,
)

if TYPE_CHECKING:
    from benchmark.pipeline.profile import Profile


def score_explanations(
    profile: Profile, *datasets: str, keep: Iterable[Path] = ()
) -> Iterator[Done]:
    """Score every explanation of data sets by every metric, and the networks by their own accuracy.

    Args:
        keep: further files in the folders of scores, which stay.
    """
    todo = []
    for dataset in datasets:
        of_dataset = cells(profile, dataset)
        _begin(profile, dataset, of_dataset, keep)
        todo += of_dataset
    what = unit_times.part(datasets, profile.datasets)
    yield from again.score_again(profile, what, todo)
    units = in_turn(score_unit(cell) for cell in todo)
    for done in unit_times.run(made(profile), "score", what, units):
        cell = done.unit.arguments[0]
        if done.error and not _says_why(cell):  # its worker died, or the disk is full
            meta = cell_meta(cell) | {"status": "failed", "reason": done.error}
            with contextlib.suppress(OSError):
                write_scores(cell.scores, _lost(cell, meta), [], {})
        yield done


def _begin(
    profile: Profile, dataset: str, todo: Sequence[Cell], keep: Iterable[Path]
) -> None:
    """Remove the scores of other cells, and write those of the networks."""
    networks = []
    for name, seed, _ in profile.trainings(dataset):
        networks.append(
            Cell(profile.name, dataset, name, seed, evaluation=profile.evaluation)
        )
    remove_others(
        made(profile).scores(dataset),
        keep={file for cell in todo for file in files(cell)} | set(keep),
        besides={cell.scores for cell in networks},
    )
    for cell in networks:
        write_network_rows(cell)


def files(cell: Cell) -> tuple[Path, ...]:
    """The files of a cell's scores."""
    return (cell.scores, cell.again_scores) if cell.again else (cell.scores,)


def score_unit(cell: Cell) -> Unit:
    """The unit that scores a cell."""
    reads = (*network_files(cell), cell.explanation)
    files = {"reads": reads, "writes": (cell.scores,)}
    return Unit(cell.name, score_cell, (cell,), **files, title=cell.title)


def is_scored(cell: Cell) -> bool:
    """Do its scores by all metrics exist, made from all that they depend on now?"""
    specs = registry.scoring_metrics().values()
    return has_scores(cell.scores, score_keys(cell), specs)


def score_cell(cell: Cell) -> str | None:
    """Score an explanation by the metrics that lack a score; a metric that fails fails only its own rows."""
    keys = score_keys(cell)
    specs = registry.scoring_metrics().values()
    kept = kept_scores(cell.scores, keys)
    if wanted(specs) <= kept.keys():
        return engine.KEPT
    explanation, meta = read_cell(cell)
    if meta["status"] == "ok":
        scored, ids = _measured(cell, meta, explanation, kept)
    else:
        scored, ids = _lost(cell, meta), []
    write_scores(cell.scores, scored, ids, keys)
    raise_failed(scored)
    return None


def _lost(cell: Cell, meta: Mapping[str, Any]) -> list[Scored]:
    """Rows of a cell without an explanation: at least one."""
    specs = registry.scoring_metrics().values()
    return without_values(cell, meta, specs) or [unknown(cell, meta)]


def _measured(
    cell: Cell,
    meta: Mapping[str, Any],
    e: Explanation,
    kept: Mapping[tuple[str, str], Scored],
) -> tuple[list[Scored], list[int]]:
    """The scores by every metric with every setting, those in ``kept`` as they are; and the images' ids."""
    batch, scored = load_batch(cell), []
    for spec in registry.scoring_metrics().values():
        for setting in spec.settings:
            one = kept.get((spec.name, store.setting_text(setting)))
            if one is None:
                found = measure(cell, spec, setting, e, batch)
                one = _scored(cell, meta, spec, setting, found)
            scored.append(one)
    # What depends on the images and the network alone stays for the other methods.
    batch.memo.pop("explanations", None)
    batch.memo.pop("explained", None)
    return scored, batch.ids.tolist()


def _says_why(cell: Cell) -> bool:
    """Does the file of its scores have a failed row, which gives a reason?"""
    try:
        rows, _, _ = store.read_scores(cell.scores)
    except store.StoreError:
        return False
    return bool((rows.status == "failed").any())


def write_network_rows(cell: Cell) -> None:
    """Rows of track ``target``: how good the network itself is."""
    card = store.read_json(cell.weights.with_suffix(".json"))
    scored = []
    for metric, split in (("test_accuracy", "test"), ("train_accuracy", "train")):
        row = _base(cell, {"method": "network", "paper": "", "setting": ""})
        row |= {
            "track": "target",
            "metric": metric,
            "better": "higher",
            "unit": "percent",
        }
        if "failed" in card:
            row |= {"status": "failed", "reason": card["failed"]}
        else:
            row |= {"value": 100 * card[metric], "n": card["images"][split]}
        scored.append((row, np.empty(0)))
    write_scores(cell.scores, scored, [], {})
