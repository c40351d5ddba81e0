"""``glassbench evaluate --network --images``: a board of one's own; nothing else is touched."""

import re

import numpy as np
import pytest
from PIL import Image

from benchmark import store
from benchmark.cli import main
from tests.helpers.places import ROOT

FILE = f"{ROOT}/tests/helpers/brought_networks.py"
METHOD = """
from benchmark.api import Explanation


class Light:
    name = "Light"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=batch.x.mean(dim=1))
"""


@pytest.fixture
def home(workspace, monkeypatch):
    """A folder with a method and a folder of images of three classes."""
    folder = workspace.root / "home"
    rng = np.random.default_rng(0)
    for name in ("blue", "green", "red"):
        place = folder / "My photos" / name
        place.mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png")
    (folder / "mine.py").write_text(METHOD)
    monkeypatch.chdir(folder)
    workspace.save()
    return folder


def evaluate(*options, use=f"{FILE}:build", images="My photos"):
    method = ["mine.py:Light"]
    network = ["--network", use, "--images", images, "--size", "16", "--no-page"]
    return main.main(["evaluate", *method, *network, *options])


def test_a_method_is_placed_on_ones_own_network_and_images(home, workspace, capfd):
    params = (workspace.root / "params.yaml").read_bytes()
    assert evaluate("--mean", "0.5", "--std", "0.2") == 0
    said = capfd.readouterr()
    assert "my_photos/brought_networks/seed=0: " in said.err
    assert "explained at maps" in said.err
    rows = store.read_rows(
        workspace.root / "results" / "evaluations" / "own" / "Light" / "rows.csv"
    )
    assert set(rows.method) == {"Light"}
    assert set(rows.target) == {"brought_networks"}
    assert (rows.status == "ok").sum() > 5
    board = store.Paths("evaluations/own/Light").results / "leaderboard.csv"
    for name in ("Grad-CAM,", "Grad-CAM++", "Edge map", "Random map", "Light"):
        assert name in board.read_text()
    assert (workspace.root / "params.yaml").read_bytes() == params
    assert not (workspace.root / "datasets" / "my_photos.py").exists()


@pytest.mark.parametrize(
    ("options", "changes", "line"),
    [
        (["--layer", "map"], {}, "no layer 'map'; did you mean maps"),
        (["--classes", "red", "green"], {}, "has 3 outputs for 2 classes"),
        (["--weights", "w.pt"], {}, "weights: there is no file .*home/w.pt"),
        (["--mean", "0.5", "0.5"], {}, "one number for each channel"),
        (["--profile", "offline"], {}, "a board of its own, without --profile"),
        ([], {"images": "photos"}, "photos is not a folder"),
        ([], {"images": "My photos/red"}, "holds 0 subfolders; there must be one per"),
        ([], {"use": "net.py:build"}, "use: there is no file .*home/net.py"),
        (
            [],
            {"use": f"{FILE}:of_another_size"},
            r"brought_networks.py:of_another_size cannot take images of 3x16x16",
        ),
    ],
    ids=str,
)
def test_bad_input_ends_in_one_line(options, changes, line, home, capfd):
    assert evaluate(*options, **changes) == 2
    said = capfd.readouterr().err.strip()
    assert re.search(line, said.replace("\n", " ")), said
    assert "Traceback" not in said
