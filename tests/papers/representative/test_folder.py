"""A user's own folder as a data set: layouts, names, and every bad input."""

import importlib.util
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from benchmark import data, store
from benchmark.cli import commands, main
from tests.helpers.places import ROOT, move_root


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """datasets/folder.py as a module, in a project of its own."""
    move_root(monkeypatch, tmp_path / "project")
    (tmp_path / "project" / "datasets").mkdir(parents=True)
    spec = importlib.util.spec_from_file_location(
        "datasets_folder", ROOT / "datasets" / "folder.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def photos(path, counts, shade=10):
    """``counts`` of images in each class; every class has its own grey."""
    for k, (name, n) in enumerate(counts.items()):
        (path / name).mkdir(parents=True)
        for i in range(n):
            Image.new("RGB", (30 + i, 20), (shade * (k + 1),) * 3).save(
                path / name / f"{i:03d}.png"
            )
    return path


def load(name="mine"):
    return data.load(store.Paths("offline").data(name))


def test_one_subfolder_a_class(folder, tmp_path, capsys):
    path = photos(tmp_path / "mine", {"food": 10, "non-food": 15})
    assert folder.command_line(["--path", str(path), "--size", "16"]) == 0
    assert "20 + 5 images (3, 16, 16), 2 classes" in capsys.readouterr().out
    made = load()
    assert made.classes == ("food", "non-food")
    for split, counts in (("train", [8, 12]), ("test", [2, 3])):
        x, y = made.arrays[f"x_{split}"], made.arrays[f"y_{split}"]
        assert np.bincount(y).tolist() == counts
        np.testing.assert_array_equal(
            x.mean((1, 2, 3)), 10 * (y + 1)
        )  # each image has its class's grey
    assert made.card["provenance"]["files"][0]["origin"] == "folder"


def test_the_split_is_drawn_by_name_and_no_image_is_in_both(folder, tmp_path):
    path = photos(tmp_path / "mine", {"a": 20, "b": 20})
    one, again, other = (
        folder.tree("mine", path),
        folder.tree("mine", path),
        folder.tree("yours", path),
    )
    assert one == again != other
    for c in "ab":
        assert len(one["test"][c]) == 4 and not set(one["train"][c]) & set(
            one["test"][c]
        )


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_that_is_split_already(folder, tmp_path, test):
    photos(tmp_path / "oct" / "train", {"CNV": 3, "DME": 4, "NORMAL": 5})
    photos(tmp_path / "oct" / test, {"CNV": 1, "DME": 1, "NORMAL": 2})
    assert (
        folder.command_line(
            ["--path", str(tmp_path / "oct"), "--name", "mine", "--size", "8"]
        )
        == 0
    )
    made = load()
    assert np.bincount(made.arrays["y_train"]).tolist() == [3, 4, 5]
    assert np.bincount(made.arrays["y_test"]).tolist() == [1, 1, 2]


def test_what_is_no_image_is_skipped_and_counted(folder, tmp_path):
    path = photos(tmp_path / "mine", {"a": 9, "b": 9})
    (path / "a" / "notes.txt").write_text("no image")
    (path / "a" / ".DS_Store").write_text("hidden")
    assert folder.command_line(["--path", str(path), "--size", "8"]) == 0
    assert load().card["skipped_files"] == ["a/notes.txt"]


def test_from_then_on_it_is_a_data_set_like_any_other(folder, tmp_path):
    path = photos(tmp_path / "mine", {"a": 6, "b": 6})
    assert folder.command_line(["--path", str(path), "--size", "8"]) == 0
    script = store.ROOT / "datasets" / "mine.py"
    (store.ROOT / "datasets" / "folder.py").write_text(
        (ROOT / "datasets" / "folder.py").read_text()
    )
    out = tmp_path / "again.npz"
    done = subprocess.run(
        [sys.executable, str(script), "--out", str(out)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert data.load(out, "mine").size("train") == load().size("train")
    assert (
        folder.command_line(["--path", str(path), "--size", "8"]) == 0
    )  # its own script may be written again


def test_another_folder_under_the_same_name_is_read(folder, tmp_path):
    one, two = (
        photos(tmp_path / "one", {"a": 6, "b": 6}),
        photos(tmp_path / "two", {"a": 12, "b": 12}),
    )
    for path, n in ((one, 10), (two, 20)):
        assert (
            folder.command_line(["--path", str(path), "--name", "mine", "--size", "8"])
            == 0
        )
        assert load().size("train") == n


def test_bad_input_is_one_line(folder, tmp_path, capsys):
    path = photos(tmp_path / "mine", {"a": 6, "b": 6})
    (store.ROOT / "datasets" / "cub.py").write_text('"""CUB."""\n')
    photos(tmp_path / "one", {"a": 6})
    photos(tmp_path / "few", {"a": 3, "b": 3})
    (tmp_path / "empty" / "a").mkdir(parents=True)
    (tmp_path / "empty" / "b").mkdir()
    for argv, words in (
        ([], "which one? glassbench prepare folder --path DIR"),
        (["--path", str(tmp_path / "nowhere")], "nowhere is not a folder"),
        (
            ["--path", str(tmp_path / "one")],
            "holds 1 subfolders; there must be one per class",
        ),
        (["--path", str(tmp_path / "few")], "no image for test"),
        (["--path", str(tmp_path / "empty")], "no image for train"),
        (["--path", str(path), "--name", "cub"], "there is already a data set 'cub'"),
        (["--path", str(path), "--name", "../x"], "cannot name a data set"),
        (["--path", str(path), "--size", "0"], "--size 0 must be at least 1"),
    ):
        assert folder.command_line(argv) == 2, argv
        said = capsys.readouterr().err
        assert words in said and said.count("\n") == 1
    assert sorted(p.name for p in (store.ROOT / "datasets").glob("*.py")) == ["cub.py"]


def test_the_command_hands_the_options_on(monkeypatch):
    calls = []

    def run(command, **_):
        calls.append(command)
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(commands.subprocess, "run", run)
    options = ["--path", "/x", "--name", "gc", "--size", "64", "--profile", "paper"]
    assert main.main(["prepare", "folder", *options]) == 0
    ((_, script, *handed),) = calls
    assert script.endswith("folder.py")
    assert handed == options


def test_options_of_a_folder_are_refused_elsewhere(capsys):
    assert main.main(["prepare", "digits", "--path", "/x"]) == 2
    assert "are for `glassbench prepare folder`" in capsys.readouterr().err
