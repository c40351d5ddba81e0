"""TODO."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmark import data, engine, store, zoo
from benchmark.engine import Unit
from benchmark.pipeline.keys import step_hash
from benchmark.pipeline.profile import Profile
from benchmark.utils.temporary import scratch
from benchmark.zoo.recipe import mapping_of


def make_ready(profile: Profile, dataset: str) -> None:
    """Prepare the data and train the networks that are not there yet; what is there stays as it is.

    Raises:
        StoreError: the data cannot be had.
    """
    paths = store.Paths(profile.name)
    if not paths.data(dataset).exists():
        prepare(profile, dataset, paths.data(dataset))
    jobs = [
        (mapping_of(recipe), seed, paths.target(dataset, name, seed))
        for name, seed, recipe in profile.trainings(dataset)
    ]
    with store.exclusive(paths.targets(dataset), wait=True):
        units = [
            Unit(f"{dataset}/{path.stem}", _train, (paths.data(dataset), recipe, seed, path))
            for recipe, seed, path in jobs
            if not path.with_suffix(".json").exists()
        ]
        for done in engine.run(units, label="train", verbose=True) if units else ():
            if done.error:
                store.write_json(done.unit.arguments[-1].with_suffix(".json"), {"failed": done.error})


def prepare(profile: Profile, dataset: str, file: Path) -> None:
    """Make the data set of a profile, as ``file``.

    Raises:
        StoreError: it could not be made.
    """
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        params = Path(folder) / "params.yaml"
        whole = profile.as_mapping()
        params.write_text(yaml.safe_dump({key: whole[key] for key in ("profile", "data")}))
        script = store.ROOT / "datasets" / f"{dataset}.py"
        command = [sys.executable, str(script), "--params", str(params), "--out", str(file)]
        if subprocess.run(command, cwd=store.ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
            raise store.StoreError(f"{file} could not be made; `glassbench prepare {dataset}` says why")


def _train(file: Path, recipe: Mapping[str, Any], seed: int, path: Path) -> None:
    zoo.train(data.load(file), recipe, seed, path, device=engine.device(), code=step_hash("train"))
