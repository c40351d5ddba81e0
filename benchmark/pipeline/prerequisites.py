"""What must be there before anything is explained: data that are prepared and networks that are trained."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from benchmark import engine, store
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.train import note_failure, training_units
from benchmark.utils.temporary import scratch


def make_ready(profile: Profile, dataset: str) -> None:
    """Prepare the data and train the networks that are not there yet; what is there stays as it is.

    Raises:
        StoreError: the data cannot be had.
    """
    paths = store.Paths(profile.name)
    if not paths.data(dataset).exists():
        prepare(profile, dataset, paths.data(dataset))
    with store.exclusive(paths.targets(dataset), wait=True):
        units = [
            unit
            for unit in training_units(profile, dataset, gpu=False)
            if not unit.writes[1].exists()
        ]
        for done in engine.run(units, label="train", verbose=True) if units else ():
            note_failure(done)


def prepare(profile: Profile, dataset: str, file: Path) -> None:
    """Write the data set of a profile to ``file``.

    Raises:
        StoreError: it could not be made.
    """
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        params = Path(folder) / "params.yaml"
        whole = profile.as_mapping()
        params.write_text(
            yaml.safe_dump({key: whole[key] for key in ("profile", "data")})
        )
        script = store.ROOT / "datasets" / f"{dataset}.py"
        command = [
            sys.executable,
            str(script),
            "--params",
            str(params),
            "--out",
            str(file),
        ]
        if subprocess.run(
            command, cwd=store.ROOT, check=False, stdout=subprocess.DEVNULL
        ).returncode:
            raise store.StoreError(
                f"{file} could not be made; `glassbench prepare {dataset}` says why"
            )
