"""A small project folder of its own for tests that run steps: data, profile, plug-ins."""

import os
import shutil
import tempfile
import textwrap

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import benchmark  # noqa: F401, I001  (chooses the kernels of BLAS, before numpy loads it)
import numpy as np
import pytest
import torch
import yaml
from hypothesis import Phase, settings

torch.set_num_threads(1)

# The same examples every time, and no clock; a mutant needs no smallest example.
settings.register_profile("house", derandomize=True, deadline=None, database=None, max_examples=40)
settings.register_profile(
    "mutants", settings.get_profile("house"), phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("house")


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
        store.Paths("tiny").data("blobs"), blobs(), {"name": "blobs", "classes": list("abcd")}
    )
    params = {
        "profile": "tiny",
        "datasets": ["blobs"],
        "papers": [],
        "data": {"blobs": {}},
        "zoo": {
            "blobs": {
                "cnn": {
                    "net": "explainn_cnn",
                    "epochs": 1,
                    "batch": 32,
                    "optimiser": "adam",
                    "lr": 0.003,
                    "layer": "conv2",
                    "seeds": [0],
                }
            }
        },
        "explain": {"images": 8, "reference": 16, "methods": []},
        "replicate": {},
    }
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
    recipe = {
        "net": "explainn_cnn",
        "epochs": 1,
        "batch": 32,
        "optimiser": "adam",
        "lr": 0.003,
        "layer": "conv2",
    }
    zoo.train(
        data.load(folder / "blobs.npz"),
        recipe,
        0,
        folder / "cnn-0.safetensors",
        code=keys.step_hash("train"),
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


def blobs(n_train=160, n_test=40, size=28):
    rng = np.random.default_rng(0)
    arrays = {"classes": np.array(list("abcd"))}
    half = size // 2
    for split, n in (("train", n_train), ("test", n_test)):
        y = np.arange(n) % 4
        x = rng.integers(0, 60, (n, 1, size, size), dtype=np.uint8)
        boxes = np.zeros((n, 4), np.float32)
        for i, c in enumerate(y):
            top, left = (c // 2) * half + 3, (c % 2) * half + 3
            x[i, 0, top : top + 8, left : left + 8] = 255
            boxes[i] = left, top, left + 8, top + 8
        arrays |= {f"x_{split}": x, f"y_{split}": y.astype(np.int64), f"boxes_{split}": boxes}
    return arrays


class Workspace:
    def __init__(self, root, params):
        self.root, self.params = root, params

    @property
    def profile(self):
        """What ``params`` says now."""
        from benchmark.pipeline.profile import Profile

        return Profile.parse(self.params)

    def plugin(self, body, name="mine"):
        """Writes a plug-in file from the bodies of its methods; returns its reference."""
        path = self.root / f"{name}.py"
        path.write_text(textwrap.dedent(body))
        return f"{path}:Mine"

    def save(self):
        (self.root / "params.yaml").write_text(yaml.safe_dump(self.params))
