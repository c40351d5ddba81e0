"""A small project folder of its own for tests that run steps: data, profile, plug-ins."""

import os
import textwrap

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
import yaml

torch.set_num_threads(1)


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A project folder with a data set of blobs in one of four corners, 12x12 grey, boxes around them."""
    from benchmark import data, run, store

    monkeypatch.setattr(store, "ROOT", tmp_path)
    monkeypatch.setenv("GLASSBENCH_ROOT", str(tmp_path))
    monkeypatch.setenv("GLASSBENCH_DEVICE", "cpu")
    for cache in (run._dataset, run._target, run._batch):
        cache.cache_clear()
    data.save(store.Paths("tiny").data("blobs"), blobs(), {"name": "blobs", "classes": list("abcd")})
    params = {
        "profile": "tiny",
        "datasets": ["blobs"],
        "data": {"blobs": {}},
        "zoo": {"blobs": {"cnn": {"net": "explainn_cnn", "epochs": 1, "batch": 32, "optimiser": "adam", "lr": 0.003,
                                  "layer": "relu2", "seeds": [0]}}},
        "explain": {"images": 8, "reference": 16, "methods": []},
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    yield Workspace(tmp_path, params)
    for cache in (run._dataset, run._target, run._batch):
        cache.cache_clear()


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

    def plugin(self, body, name="mine"):
        """Writes a plug-in file from the bodies of its methods; returns its reference."""
        path = self.root / f"{name}.py"
        path.write_text(textwrap.dedent(body))
        return f"{path}:Mine"

    def save(self):
        (self.root / "params.yaml").write_text(yaml.safe_dump(self.params))
