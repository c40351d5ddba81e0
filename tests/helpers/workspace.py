"""A small project folder for tests that run steps: a data set of blobs, a profile, plug-in files."""

import textwrap

import numpy as np
import yaml

GOOD = """
    import numpy as np
    from benchmark.api import Explanation

    class Mine:
        name = "{name}"
        def fit(self, target, reference, rng):
            self.seen = len(reference)
            return self
        def explain(self, target, batch, rng):
            {before}
            n, _, h, w = batch.x.shape
            return {value}
"""


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
        arrays |= {
            f"x_{split}": x,
            f"y_{split}": y.astype(np.int64),
            f"boxes_{split}": boxes,
        }
    return arrays


BLOB_NETWORK = {
    "net": "explainn_cnn",
    "epochs": 1,
    "batch": 32,
    "optimiser": "adam",
    "lr": 0.003,
    "layer": "conv2",
}


def blob_params():
    """A profile of one small network on the blobs."""
    network = BLOB_NETWORK | {"seeds": [0]}
    return {
        "profile": "tiny",
        "datasets": ["blobs"],
        "papers": [],
        "data": {"blobs": {}},
        "zoo": {"blobs": {"cnn": network}},
        "explain": {
            "images": 8,
            "reference": 16,
            "again": {"images": 0},
            "methods": [],
        },
        "replicate": {},
    }


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
        """The file is the profile as it stands: a unit's name has its settings in their order."""
        text = yaml.safe_dump(self.params, sort_keys=False)
        (self.root / "params.yaml").write_text(text)


def plugin(
    workspace,
    before="pass",
    value="Explanation(heatmaps=rng.random((n, h, w)))",
    name="mine",
):
    return workspace.plugin(GOOD.format(before=before, value=value, name=name), name)
