"""``glassbench report --format``: files from what is there, one line for what does not go."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import data, store
from benchmark.jobs import export
from tests.helpers.command import call, one_line
from tests.helpers.leaderboard_inputs import built


def test_an_evaluations_folder_is_exported_without_its_profile(tmp_path, capsys):
    """``--results``: only ``leaderboard.csv`` and ``places.csv`` are read."""
    out = tmp_path / "out"
    options = ["--results", str(built()), "--out", str(out)]
    assert call("report", "--format", "csv", *options) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "board-heatmap-digits-cnn.csv",
        "board-heatmap-digits-vgg11.csv",
        "board-heatmap-toybirds-cnn.csv",
    ]
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out", "x"],
        ["--format", "eval-results", "--profile", "offline"],
        ["--format", "eval-results", "--profile", "offline", "--benchmark", "me"],
        ["--format", "csv", "--profile", "offline", "--benchmark", "me/it"],
        ["--format", "csv", "--results", "nowhere"],
        ["--format", "latex", "--results", ".", "--profile", "offline"],
        ["--format", "croissant", "--results", "."],
    ],
)
def test_what_does_not_go_together_is_one_line(
    arguments, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert call("report", *arguments) == 2
    one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_if_a_data_set_is_not_prepared(tmp_path):
    arrays = {"classes": ["a", "b"]}
    for split in data.SPLITS:
        arrays[f"x_{split}"] = np.zeros((2, 1, 4, 4), np.uint8)
        arrays[f"y_{split}"] = np.array([0, 1])
    data.save(tmp_path / "toys.npz", arrays, {"citation": ""})
    datasets = {name: tmp_path / f"{name}.npz" for name in ("toys", "none")}
    with pytest.raises(store.StoreError, match="none.npz is missing"):
        export.croissant(datasets, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export.croissant({"toys": datasets["toys"]}, tmp_path / "out")
    assert (tmp_path / "out" / "toys" / "croissant.json").exists()
