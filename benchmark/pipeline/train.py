"""TODO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import data, engine, store, zoo
from benchmark.engine import Done, Unit
from benchmark.pipeline import unit_times
from benchmark.pipeline.cells import remove_others
from benchmark.pipeline.keys import step_hash
from benchmark.zoo.recipe import mapping_of

if TYPE_CHECKING:
    from benchmark.pipeline.profile import Profile


def train_networks(profile: Profile, dataset: str) -> Iterator[Done]:
    """Train the targets of a data set that are not there yet. A failed training leaves a card that says why."""
    paths = store.Paths(profile.name)
    units = training_units(profile, dataset)
    remove_others(paths.targets(dataset), {path for unit in units for path in unit.writes})
    for done in unit_times.run(paths, "train", dataset, units):
        if done.error and len(done.unit.writes) == 2:
            path, card = done.unit.writes
            path.unlink(missing_ok=True)
            store.write_json(card, {"failed": done.error})
        yield done


def training_units(profile: Profile, dataset: str, gpu: bool | None = None) -> list[Unit]:
    """A unit a network; on a GPU (default: where units will run) the seeds of a recipe train as one, and are one unit."""
    paths = store.Paths(profile.name)
    groups: dict[str, list[tuple[dict[str, Any], int, Path]]] = {}
    together = engine.workers_device() != "cpu" if gpu is None else gpu
    for name, seed, recipe in profile.trainings(dataset):
        path = paths.target(dataset, name, seed)
        groups.setdefault(f"{dataset}/{name if together else path.stem}", []).append((mapping_of(recipe), seed, path))
    return [
        Unit(name, _train, (paths.data(dataset), jobs), reads=(paths.data(dataset),),
             writes=tuple(file for *_, path in jobs for file in (path, path.with_suffix(".json"))))
        for name, jobs in groups.items()
    ]  # fmt: skip


def _train(data_path: Path, jobs: list[tuple[dict[str, Any], int, Path]]) -> list[dict[str, Any]]:
    return zoo.train_many(data.load(data_path), jobs, device=engine.device(), code=step_hash("train"))
