"""Processes that have a second device."""

import os
import subprocess
import sys

import pytest

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
