"""Makes what must exist before anything is explained: prepared data and trained networks."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import yaml

from benchmark import data, engine, store
from benchmark.pipeline import settings
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.train import bring_network, note_failure, training_units
from benchmark.store import data_scripts
from benchmark.utils import scripts
from benchmark.utils.temporary import scratch
from benchmark.zoo.own import OwnNetwork


def make_ready(profile: Profile, dataset: str) -> None:
    """Prepare the data and train the networks that do not exist yet; existing ones are left alone.

    Raises:
        StoreError: the data could not be prepared.
    """
    paths = store.Paths(profile.name)
    file = paths.data(dataset)
    _unpack(profile, dataset)
    if not file.exists():
        prepare(profile, dataset, file)
    units = training_units(profile, dataset, gpu=False)
    if not _untrained(units):  # their folder need not be writable
        return
    with store.exclusive(paths.targets(dataset), wait=True):
        missing = _untrained(units)  # another process may have trained some
        if missing:
            for done in engine.run(missing, label="train", verbose=True):
                note_failure(done)


def _unpack(profile: Profile, dataset: str) -> None:
    """Copy the data and the networks that came with a wheel, as far as they have the profile's settings."""
    here = store.Paths(profile.name)
    there = here.shipped
    if here == there or not there.data(dataset).exists():
        return
    defaults = settings.defaults_of(dataset) or {}
    wanted = {**defaults, **profile.data.get(dataset, {})}
    if data.load_card(there.data(dataset)).get("params") != wanted:
        return
    for suffix in (".npz", ".key"):
        _copy(there.data(dataset), here.data(dataset), suffix)
    for name, seed, recipe in profile.trainings(dataset):
        weights = there.target(dataset, name, seed)
        card = weights.with_suffix(".json")
        wanted = json.loads(json.dumps(recipe.decisive()))
        if card.exists() and store.read_json(card).get("recipe") == wanted:
            for suffix in (".safetensors", ".json"):
                _copy(weights, here.target(dataset, name, seed), suffix)


def _copy(source: Path, to: Path, suffix: str) -> None:
    source, to = source.with_suffix(suffix), to.with_suffix(suffix)
    if source.exists() and not to.exists():
        with store.atomic(to) as file:
            file.write(source.read_bytes())


def _untrained(units: list[engine.Unit]) -> list[engine.Unit]:
    """The units whose networks have no card, and networks of one's own that have changed."""
    return [unit for unit in units if not unit.writes[1].exists() or _changed(unit)]


def _changed(unit: engine.Unit) -> bool:
    """Is this a network of one's own of which the files or settings have changed, or that had failed?"""
    if unit.function is not bring_network:
        return False
    _, _, recipe, path = unit.arguments
    card = store.read_json(path.with_suffix(".json"))
    return card.get("digest") != OwnNetwork.parse(recipe).digest()


def prepare(profile: Profile, dataset: str, file: Path) -> None:
    """Write the data set of a profile to ``file``.

    Raises:
        StoreError: its script failed.
    """
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        params = Path(folder) / "params.yaml"
        whole = profile.as_mapping()
        sections = {key: whole[key] for key in ("profile", "data")}
        params.write_text(yaml.safe_dump(sections))
        options = ["--params", str(params), "--out", str(file)]
        command = scripts.command(data_scripts.known()[dataset], *options)
        done = subprocess.run(
            command, cwd=store.ROOT, check=False, stdout=subprocess.DEVNULL
        )
    if done.returncode:
        raise store.StoreError(
            f"{file} could not be made; `glassbench prepare {dataset}` says why"
        )
