"""A small project folder of its own for tests that run steps: data, profile, plug-ins."""

import os
import random
import shutil
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import benchmark  # noqa: F401, I001  (chooses the kernels of BLAS, before numpy loads it)
import numpy as np
import pytest
import torch
import yaml
from hypothesis import Phase, settings

from tests.helpers.workspace import BLOB_NETWORK, Workspace, blob_params, blobs

torch.set_num_threads(1)

# The same examples every time, and no clock; a mutant needs no smallest example.
settings.register_profile(
    "glassbench", derandomize=True, deadline=None, database=None, max_examples=40
)
settings.register_profile(
    "mutants",
    settings.get_profile("glassbench"),
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("glassbench")


def pytest_collectstart(collector):
    """What a test module draws as it is read is the same in each run."""
    seed()


def pytest_runtest_setup(item):
    """What a test draws is the same in each run, whatever ran before it."""
    seed()


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)


def pytest_configure(config):
    """Give temporary files of this process, and of those that it starts, a folder of their own.

    What a killed process leaves behind is then not found by a test that runs beside it.
    """
    from multiprocessing.util import Finalize

    from benchmark.utils.temporary import scratch

    # tmp_path stays where it was.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix=scratch(), dir="/tmp")
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    # At exit, after multiprocessing has removed its own folder (-100, and -101 for the one around it).
    Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-102)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A project folder with a data set of blobs in one of four corners, grey, with boxes around them."""
    from benchmark import data, store
    from benchmark.pipeline import inputs
    from tests.helpers.places import move_root

    move_root(monkeypatch, tmp_path)
    monkeypatch.setenv("GLASSBENCH_ROOT", str(tmp_path))
    monkeypatch.setenv("GLASSBENCH_DEVICE", "cpu")
    for cache in (inputs._dataset, inputs._target, inputs._batch):
        cache.cache_clear()
    script = tmp_path / "datasets" / "blobs.py"
    script.parent.mkdir()
    script.write_text("DEFAULTS = {}\n")
    data.save(
        store.Paths("tiny").data("blobs"),
        blobs(),
        {"name": "blobs", "classes": list("abcd")},
    )
    params = blob_params()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    yield Workspace(tmp_path, params)
    for cache in (inputs._dataset, inputs._target, inputs._batch):
        cache.cache_clear()


@pytest.fixture(scope="session")
def blob_network(tmp_path_factory):
    """The folder of a network that was trained on the blobs, once for all tests."""
    from benchmark import data, zoo
    from benchmark.pipeline import keys

    folder = tmp_path_factory.mktemp("network")
    data.save(folder / "blobs.npz", blobs(), {"name": "blobs", "classes": list("abcd")})
    zoo.train(
        data.load(folder / "blobs.npz"),
        BLOB_NETWORK,
        0,
        folder / "cnn-0.safetensors",
        code=keys.training_hash(BLOB_NETWORK["net"]),
    )
    return folder


@pytest.fixture
def trained(workspace, blob_network):
    """The workspace with its network trained."""
    from benchmark import store

    weights = store.Paths("tiny").target("blobs", "cnn", 0)
    weights.parent.mkdir(parents=True)
    for suffix in (".safetensors", ".json"):
        shutil.copy(blob_network / f"cnn-0{suffix}", weights.with_suffix(suffix))
    return workspace
