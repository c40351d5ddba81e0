"""The first step: train the networks of a profile that do not exist yet, each under the key of the training code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import data, engine, store, zoo
from benchmark.engine import Done, Unit
from benchmark.pipeline import unit_times
from benchmark.pipeline.cells import remove_others
from benchmark.pipeline.keys import own_key, training_hash
from benchmark.zoo.own import OwnNetwork, bring, is_brought
from benchmark.zoo.recipe import mapping_of

if TYPE_CHECKING:  # workers import this module, and need no profile
    from benchmark.pipeline.profile import Profile

Job = tuple[dict[str, Any], int, Path]  # recipe, seed, file of the weights


def train_networks(profile: Profile, *datasets: str) -> Iterator[Done]:
    """Train the networks of these data sets that do not exist yet, all of them side by side. A failed training leaves a
    card that says why."""
    paths, units = store.Paths(profile.name), []
    for dataset in datasets:
        mine = training_units(profile, dataset)
        written = {path for unit in mine for path in unit.writes}
        remove_others(paths.targets(dataset), written)
        units += mine
    what = unit_times.part(datasets, profile.datasets)
    for done in unit_times.run(paths, "train", what, units):
        note_failure(done)
        yield done


def training_units(
    profile: Profile, dataset: str, gpu: bool | None = None
) -> list[Unit]:
    """A unit per network; on a GPU the seeds of a recipe train together, and are one unit.

    Args:
        gpu: default: whether the workers have one.

    Raises:
        ProfileError: the profile names a layer that no network has.
    """
    from benchmark.pipeline.layers import check_layers  # workers need no profile

    check_layers(profile)
    if gpu is None:
        gpu = engine.workers_device() != "cpu"
    paths = store.Paths(profile.name)
    file = paths.data(dataset)
    own: list[Unit] = []
    groups: dict[str, list[Job]] = {}
    for name, seed, recipe in profile.trainings(dataset):
        path = paths.target(dataset, name, seed)
        if isinstance(recipe, OwnNetwork):
            own.append(_bringing(f"{dataset}/{name}", file, recipe, path))
            continue
        unit = f"{dataset}/{name if gpu else path.stem}"
        jobs = groups.setdefault(unit, [])
        jobs.append((mapping_of(recipe), seed, path))
    return [*own, *(training_unit(name, file, jobs) for name, jobs in groups.items())]


def _bringing(name: str, file: Path, recipe: OwnNetwork, path: Path) -> Unit:
    """The unit that builds and checks a network of one's own."""
    writes = (path, path.with_suffix(".json"))
    arguments = (name, file, mapping_of(recipe), path)
    return Unit(name, bring_network, arguments, reads=(file,), writes=writes)


def bring_network(
    name: str, data_file: Path, recipe: dict[str, Any], path: Path
) -> list[dict[str, Any]]:
    """Build and check a network of one's own, and measure how good it is; returns its card, with notes the first
    time."""
    dataset = data.load(data_file)
    network = OwnNetwork.parse(recipe)
    key = own_key(network, dataset)
    if is_brought(path, key):
        return [store.read_json(path.with_suffix(".json")) | {"notes": []}]
    return [bring(dataset, network, path, key, f"{name}/seed=0")]


def training_unit(name: str, data_file: Path, jobs: list[Job]) -> Unit:
    """The unit that runs jobs of training on one data set."""
    writes: list[Path] = []
    for _, _, weights in jobs:
        writes += [weights, weights.with_suffix(".json")]
    return Unit(
        name, train_jobs, (data_file, jobs), reads=(data_file,), writes=tuple(writes)
    )


def train_jobs(data_file: Path, jobs: list[Job]) -> list[dict[str, Any]]:
    """Train networks of one recipe on one data set; returns their cards."""
    dataset = data.load(data_file)
    (net,) = {recipe["net"] for recipe, _, _ in jobs}
    code = training_hash(net)
    return zoo.train_many(dataset, jobs, device=engine.device(), code=code)


def note_failure(done: Done) -> None:
    """Note in its card why a network could not be trained; of several that train together, each keeps what it has."""
    if done.error and len(done.unit.writes) == 2:
        weights, card = done.unit.writes
        weights.unlink(missing_ok=True)
        store.write_json(card, {"failed": done.error})
