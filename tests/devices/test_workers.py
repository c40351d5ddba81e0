"""Processes that have a second device: those of `evaluate`, and the workers of a cluster."""

import os
import subprocess
import sys

import numpy as np
import pytest

from benchmark import engine, store
from tests.helpers import own_images, own_networks, pretend

METHOD = """
from benchmark.api import Explanation


class Light:
    name = "Light"

    def fit(self, target, reference, rng):
        assert target.device == reference.x.device
        return self

    def explain(self, target, batch, rng):
        z = target.features(batch)
        weight = z.flatten(1).mean(1)[:, None, None]
        return Explanation(heatmaps=batch.x.mean(dim=1) * weight)
"""


@pytest.mark.slow
def test_a_network_of_ones_own_is_evaluated_there(tmp_path):
    """In workers of their own, and in the sandbox of the method, which is not of this project."""
    boards = []
    for place in ("cpu", pretend.NAME):
        folder = tmp_path / place
        for name in ("blue", "green", "red", "white", "yellow"):
            for number in range(6):
                own_images.photo(folder / "photos" / name / f"{name}{number}.png")
        (folder / "mine.py").write_text(METHOD)
        network = ["--network", f"{own_networks.__file__}:UNet"]
        images = ["--images", "photos", "--size", "16", "--no-page"]
        where = {"GLASSBENCH_ROOT": str(folder), "GLASSBENCH_DEVICE": place}
        program = [sys.executable, "-m", "benchmark", "evaluate", "mine.py:Light"]
        done = subprocess.run(
            [*program, *network, *images],
            cwd=folder,
            env=os.environ | pretend.everywhere() | where,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (rows,) = folder.rglob("rows.csv")
        boards.append(rows.read_text())
    assert boards[0] == boards[1] and boards[0].count(",ok,") > 5


@pytest.mark.slow
def test_workers_compute_on_the_device_that_they_have(tmp_path, workspace, monkeypatch):
    """The networks are trained there, and the rows are those of a CPU."""
    pytest.importorskip("distributed")
    from tests.engine.test_cluster import (
        EXPERIMENTS,
        METHODS,
        Dask,
        copy_folders,
        rows_of,
    )

    workspace.params |= {"papers": ["explainn"], "replicate": {"explainn": EXPERIMENTS}}
    workspace.params["explain"]["methods"] = METHODS
    workspace.save()
    copy_folders(workspace.root, "baselines")
    made = Dask(tmp_path, **pretend.everywhere(), GLASSBENCH_DEVICE=pretend.NAME)
    try:
        made.worker("--nthreads", "1", "--resources", "GPU=1")
        monkeypatch.setenv("GLASSBENCH_CLUSTER", made.address)
        monkeypatch.delenv("GLASSBENCH_DEVICE")
        assert engine.workers_device() == pretend.NAME
        there = rows_of("tiny", "blobs", workspace.profile)
        card = store.Paths("tiny").target("blobs", "cnn", 0).with_suffix(".json")
        assert store.read_json(card)["device"] == "Pretend 1"
    finally:
        made.close()
    monkeypatch.delenv("GLASSBENCH_CLUSTER")
    monkeypatch.setenv("GLASSBENCH_DEVICE", "cpu")
    here = rows_of("tiny", "blobs", workspace.profile)
    assert store.read_json(card)["device"] == "cpu"
    rows, values, weights, _ = here
    assert (there[0], there[2]) == (rows, weights) and "failed" not in rows
    # Where algorithms must be deterministic, torch resizes images on a device by other
    # operations than on a CPU.
    one, other = (np.frombuffer(found) for found in (values, there[1]))
    np.testing.assert_allclose(one, other, rtol=1e-6)
