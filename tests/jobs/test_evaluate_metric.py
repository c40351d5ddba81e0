"""A metric of the user on the known methods and on a new one; nothing of the project changes."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark import store
from benchmark.cli import main
from benchmark.jobs import evaluate
from benchmark.methods.registry import load_module, metrics
from benchmark.pipeline import cells, explain, inputs, score
from tests.helpers.places import ROOT

KNOWN = [
    f"{ROOT / 'baselines' / 'random_map.py'}:RandomMap",
    f"{ROOT / 'baselines' / 'edge_map.py'}:EdgeMap",
]
PEAK = """
from benchmark.api import metric


@metric(
    needs={"heatmaps"},
    track="heatmap",
    better="lower",
    unit="fraction",
    version=3,
    source="mine",
    settings=({"share": 0.5}, {"share": 0.25}),
)
def peak_width(e, target, batch, rng, *, share):
    largest = e.heatmaps.max(axis=(1, 2), keepdims=True)
    return (e.heatmaps > share * largest).mean(axis=(1, 2))
"""
FLAT = """
from benchmark.api import Explanation


class Flat:
    name = "Flat"

    def fit(self, target, reference, rng):
        return self

    def explain(self, target, batch, rng):
        return Explanation(heatmaps=batch.x.mean(dim=1))
"""


@pytest.fixture
def known(trained, monkeypatch):
    """A workspace whose profile has two known methods, explained and scored, and a user's folder to work in."""
    shutil.copytree(
        ROOT / "results" / "reported", trained.root / "results" / "reported"
    )
    trained.params["explain"]["methods"] = KNOWN
    trained.save()
    for cell in cells.cells(trained.profile, "blobs"):
        explain.explain_cell(cell)
        score.score_cell(cell)
    home = trained.root / "home"
    home.mkdir()
    (home / "my.py").write_text(PEAK)
    (home / "flat.py").write_text(FLAT)
    monkeypatch.chdir(home)
    return trained


def snapshot(root):
    files = [p for p in root.rglob("*") if p.is_file() and "evaluations" not in p.parts]
    return {path: path.stat().st_mtime_ns for path in files}


def rows_of(found):
    return found.rows[found.rows.metric == "peak_width"]


def test_known_and_new_methods_are_scored_and_nothing_else_changes(known, capsys):
    before = snapshot(known.root)
    assert main.main(["evaluate", "flat.py:Flat", "--metric", "my.py:peak_width"]) == 0
    assert snapshot(known.root) == before
    folder = known.root / "results" / "evaluations" / "tiny" / "Flat"
    rows = store.read_rows(folder / "rows.csv")
    mine = rows[rows.metric == "peak_width"]
    assert set(mine.method) == {"Flat", "Random map", "Edge map (Sobel)"}
    assert set(mine.metric_setting) == {"share=0.5", "share=0.25"}
    for column, value in {
        "better": "lower",
        "unit": "fraction",
        "metric_version": 3,
        "track": "heatmap",
        "status": "ok",
        "n": 8,
    }.items():
        assert set(mine[column]) == {value}
    assert set(rows[rows.metric == "gini"].method) == {"Flat"}
    assert "peak width" in (folder / "index.html").read_text()
    assert "peak width" in capsys.readouterr().out
