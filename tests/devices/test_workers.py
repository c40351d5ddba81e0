"""Workers of a Dask cluster that have a second device."""

import pytest

from benchmark import engine, store
from tests.helpers import pretend

pytest.importorskip("distributed")
from tests.engine.test_cluster import EXPERIMENTS, METHODS, Dask, copy_folders, rows_of


@pytest.mark.slow
def test_workers_compute_on_the_device_that_they_have(tmp_path, workspace, monkeypatch):
    """Workers with a pretend accelerator: the networks are trained there, and the rows are those of a CPU."""
    workspace.params |= {"papers": ["explainn"], "replicate": {"explainn": EXPERIMENTS}}
    workspace.params["explain"]["methods"] = METHODS
    workspace.save()
    copy_folders(workspace.root, "baselines")
    made = Dask(tmp_path, **pretend.everywhere(), GLASSBENCH_DEVICE=pretend.NAME)
    try:
        made.worker("--resources", "GPU=1")
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
    assert there[:3] == here[:3] and "failed" not in here[0]
