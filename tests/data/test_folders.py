"""A user's own folder as a data set: layouts, names, and every bad input."""

import io
import itertools
import os
import re
import runpy
import subprocess
import types

import numpy as np
import pytest
import yaml
from PIL import Image

from benchmark import data, store
from benchmark.cli import commands, main
from benchmark.data import folders, listings
from benchmark.data import photos as pictures
from benchmark.data.profile_edit import add_to_profile
from benchmark.pipeline.profile import Profile
from benchmark.store.data_scripts import literals
from benchmark.utils import scripts
from benchmark.utils.near_names import ProfileError
from benchmark.zoo import nets
from tests.helpers import own_images
from tests.helpers.places import ROOT, move_root


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The module, in a project of its own, beside which the pictures lie."""
    move_root(monkeypatch, tmp_path / "project")
    monkeypatch.setattr(store.Paths.__init__, "__defaults__", (store.ROOT,))
    (tmp_path / "project" / "datasets").mkdir(parents=True)
    return folders


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
    items = listings.read(photos(tmp_path / "mine", {"a": 20, "b": 20})).items
    one, again, other = (folder.drawn(items, name) for name in ("mine", "mine", "you"))
    assert one == again != other
    for label in "ab":
        test = [item for item in one["test"] if item.label == label]
        train = [item for item in one["train"] if item.label == label]
        assert len(test) == 4 and len(train) == 16 and not set(test) & set(train)


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


def prepared(folder, path, *more):
    return folder.command_line(["--path", str(path), "--size", "8", *more])


def test_what_is_no_image_is_skipped_counted_and_printed(
    folder, tmp_path, capsys, monkeypatch
):
    path = photos(tmp_path / "mine", {"a": 9, "b": 9})
    whole = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(whole, "JPEG")
    (path / "a" / "cut.jpg").write_bytes(whole.getvalue()[:-9])
    (path / "a" / "notes.txt").write_text("no image")
    (path / "b" / "Thumbs.db").write_bytes(b"\xd0\xcf")
    Image.new("1", (100, 100)).save(path / "b" / "huge.png")
    for hidden in (".DS_Store", "._000.png"):
        (path / "a" / hidden).write_bytes(b"hidden")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 9_999)
    assert prepared(folder, path) == 0
    skipped = ["a/cut.jpg", "a/notes.txt", "b/Thumbs.db", "b/huge.png"]
    assert sorted(load().card["skipped_files"]) == skipped
    assert "4 skipped (no image, damaged, cut short, or above" in (
        said := capsys.readouterr().err
    )
    assert all(name in said for name in skipped)
    assert prepared(folder, path) == 0  # and again where nothing is left to do
    assert "4 skipped" in capsys.readouterr().err


def test_of_many_skipped_files_the_first_are_printed(folder, tmp_path, capsys):
    path = photos(tmp_path / "mine", {"a": 6, "b": 6})
    for split in range(5):
        photos(path / "a" / f"more{split}", {"x": 6})
    for i in range(8):
        (path / "b" / f"{i}.txt").write_text("no image")
    assert prepared(folder, path) == 0
    assert len(load().card["skipped_files"]) == 8
    said = capsys.readouterr().err
    assert said.count(".txt") == 5
    assert "and 3 more (glassbench list datasets mine)" in said


def test_what_was_converted_is_counted_and_printed(folder, tmp_path, capsys):
    path = photos(tmp_path / "mine", {"a": 10, "b": 10})
    levels = np.full((8, 8), 40_000, np.uint16)
    for i in range(3):
        Image.fromarray(levels).save(path / "a" / f"{i:03d}.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (8, 8)).save(path / "b" / "000.png", exif=exif)
    assert prepared(folder, path) == 0
    assert load().card["converted"] == {"16 bits scaled to 8": 3, pictures.TURNED: 1}
    said = capsys.readouterr().err
    assert "mine: 3 files: 16 bits scaled to 8\n" in said
    assert f"mine: 1 file: {pictures.TURNED}\n" in said


def test_a_class_without_a_test_image_is_printed(folder, tmp_path, capsys):
    path = photos(tmp_path / "mine", {"a": 10, "rare": 4})
    assert prepared(folder, path) == 0
    assert load().card["without_test_image"] == ["rare"]
    assert "mine: no test image of rare\n" in capsys.readouterr().err


def test_nothing_is_said_of_ordinary_pictures(folder, tmp_path, capsys):
    path = photos(store.ROOT / "mine", {"a": 10, "b": 10})
    assert prepared(folder, path) == 0
    assert capsys.readouterr().err == ""
    assert not {"converted", "without_test_image"} & set(load().card)


@pytest.mark.parametrize("name", [b"caf\xe9", b"a/caf\xe9.png", b"train/caf\xe9/1.png"])
def test_a_name_that_is_not_utf8_is_one_line(folder, tmp_path, capsys, name):
    path = photos(tmp_path / "mine", {"a": 6, "b": 6})
    file = os.path.join(os.fsencode(path), name)
    os.makedirs(file if name == b"caf\xe9" else os.path.dirname(file), exist_ok=True)
    if name != b"caf\xe9":
        (path / "a" / "000.png").rename(os.fsdecode(file))
    if name.startswith(b"train"):
        photos(path / "train", {"a": 6, "b": 6})
        photos(path / "test", {"a": 6, "b": 6})
    assert prepared(folder, path) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert r"caf\xe9" in last
    assert last.endswith("this name is not UTF-8; rename it and run again")
    assert not (store.ROOT / "datasets" / "mine.py").exists()


def test_from_then_on_it_is_a_data_set_like_any_other(folder, tmp_path):
    path = photos(tmp_path / "mine", {"a": 6, "b": 6})
    assert folder.command_line(["--path", str(path), "--size", "8"]) == 0
    done = run_script("mine", out := tmp_path / "again.npz")
    assert done.returncode == 0, done.stderr
    assert data.load(out, "mine").size("train") == load().size("train")
    assert (
        folder.command_line(["--path", str(path), "--size", "8"]) == 0
    )  # its own script may be written again


def run_script(name, out):
    """As `glassbench prepare` does, without it."""
    script = store.ROOT / "datasets" / f"{name}.py"
    return subprocess.run(
        scripts.command(script, "--out", str(out)),
        env=os.environ | {"PYTHONPATH": str(ROOT), "GLASSBENCH_ROOT": str(store.ROOT)},
        cwd=store.ROOT,
        capture_output=True,
        text=True,
    )


def test_no_name_of_a_data_set_shadows_a_module(folder, tmp_path):
    """Neither for the others nor for itself."""
    photos(store.ROOT / "random", {"a": 6, "b": 6})
    assert prepared(folder, store.ROOT / "random") == 0
    for name in ("numbers", "signal", "queue", "torch", "PIL", "numpy", "benchmark"):
        script = store.ROOT / "datasets" / f"{name}.py"
        script.write_text("raise SystemExit('in place of a module')\n")
    done = run_script("random", tmp_path / "random.npz")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("place", "written"),
    [
        ("project/photos", "photos"),
        ("project/../project/photos", "photos"),
        ("link/photos", "photos"),  # a link to the project
        ("project/linked", "linked"),  # a link out of the project, which lies in it
        ("elsewhere/photos", "../elsewhere/photos"),
    ],
)
def test_the_script_names_the_folder_relative_to_the_project(
    folder, tmp_path, capsys, place, written
):
    (tmp_path / "link").symlink_to(store.ROOT)
    (store.ROOT / "linked").symlink_to(tmp_path / "elsewhere" / "photos")
    for home in (store.ROOT, tmp_path / "elsewhere"):
        photos(home / "photos", {"a": 6, "b": 6})
    assert prepared(folder, tmp_path / place, "--name", "mine") == 0
    script = (store.ROOT / "datasets" / "mine.py").read_text()
    assert f'"path": "{written}"' in script.replace("'", '"')
    assert str(tmp_path) not in script + str(load().card)
    outside = f"photos is outside the project: datasets/mine.py names it {written};"
    assert (outside in capsys.readouterr().err) == written.startswith("..")


def test_a_clone_may_have_the_folder_elsewhere(folder, tmp_path):
    photos(tmp_path / "one", {"a": 6, "b": 6})
    photos(tmp_path / "two", {"a": 12, "b": 12})
    (store.ROOT / "params.yaml").write_text("data: {mine: {path: ../two}}\n")
    assert prepared(folder, tmp_path / "one", "--name", "mine") == 0
    assert load().size("train") == 20


@pytest.mark.parametrize(
    "called", ['an "odd" one', '"""', "it's \\N{x}", "Vögel 鳥 {name}", "a\\"]
)
def test_quotes_and_unicode_in_the_path(folder, monkeypatch, called):
    path = photos(store.ROOT / called, {"a\"'": 6, "鳥": 6})
    assert prepared(folder, path, "--name", "mine") == 0
    assert load().classes == ("a\"'", "鳥")
    monkeypatch.setattr("sys.argv", ["mine.py", "--force"])
    with pytest.raises(SystemExit) as done:  # the script that was written
        runpy.run_path(store.ROOT / "datasets" / "mine.py", run_name="__main__")
    assert done.value.code == 0


def test_the_path_is_the_callers(monkeypatch, tmp_path):
    calls = []

    def run(command, **_):
        calls.append(command)
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(commands.subprocess, "run", run)
    monkeypatch.chdir(tmp_path)
    assert main.main(["prepare", "folder", "--path", "photos"]) == 0
    assert calls[0][-2:] == ["--path", str(tmp_path / "photos")]


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
        *notes, said = capsys.readouterr().err.splitlines()
        assert words in said
        assert all("is outside the project" in note for note in notes)
    assert sorted(p.name for p in (store.ROOT / "datasets").glob("*.py")) == ["cub.py"]


def test_the_command_hands_the_options_on(monkeypatch):
    calls = []

    def run(command, **_):
        calls.append(command)
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(commands.subprocess, "run", run)
    options = ["--path", "/x", "--name", "gc", "--size", "64", "--masks", "/m"]
    options += ["--fit", "crop", "--grey", "--data-only", "--profile", "paper"]
    assert main.main(["prepare", "folder", *options]) == 0
    ((_, _, script, *handed),) = calls
    assert script.endswith("folder.py")
    assert handed == options


def test_options_of_a_folder_are_refused_elsewhere(capsys):
    assert main.main(["prepare", "digits", "--path", "/x"]) == 2
    assert "--path: only for `glassbench prepare folder`" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- annotated images


def listed(path, columns="path,label,x,y,w,h", box=(4, 2, 8, 4)):
    """A CSV of 12 images (20 x 10) of two classes, each with one box."""
    rows = []
    for i in range(12):
        own_images.photo(path / f"{i}.png")
        rows.append([f"{i}.png", "ab"[i % 2], *box])
    return own_images.table(path / "mine.csv", rows, columns)


def test_boxes_move_with_the_pixels(folder, tmp_path, capsys):
    file = listed(store.ROOT / "mine")
    assert prepared(folder, file) == 0  # squash: x times 0.4, y times 0.8
    made = load()
    np.testing.assert_allclose(made.arrays["boxes_test"], [[1.6, 1.6, 4.8, 4.8]] * 2)
    assert made.batch("train").boxes.shape == (10, 4)
    assert "part_masks_test" not in made.arrays
    assert prepared(folder, file, "--fit", "crop", "--name", "cut") == 0
    # the middle 10 x 10 times 0.8: (4 - 5) * 0.8 is cut at 0
    boxes = load("cut").arrays["boxes_test"]
    np.testing.assert_allclose(boxes, [[0, 1.6, 5.6, 4.8]] * 2, rtol=1e-6)
    defaults = literals(store.ROOT / "datasets" / "cut.py")["DEFAULTS"]
    assert defaults == load("cut").card["params"]
    assert (defaults["fit"], defaults["path"]) == ("crop", "mine/mine.csv")
    assert capsys.readouterr().err == ""


def test_several_boxes_of_an_image_are_one_mask(folder, tmp_path):
    file = listed(store.ROOT / "mine")
    text = file.read_text()
    file.write_text(
        text + "".join(f"{i}.png,{'ab'[i % 2]},15,0,5,10\n" for i in range(11))
    )
    assert prepared(folder, file) == 0
    made = load()
    assert "boxes_test" not in made.arrays
    first = np.full((8, 8), -1)
    first[2:5, 2:5] = 0  # centres within 1.6 .. 4.8
    both = first.copy()
    both[:, 6:] = 0
    masks = [m for s in data.SPLITS for m in made.arrays[f"part_masks_{s}"].tolist()]
    assert sorted(masks) == sorted([first.tolist()] + 11 * [both.tolist()])
    assert made.batch("test").part_masks.dtype.is_signed


def test_masks_of_a_folder(folder, tmp_path):
    path = photos(store.ROOT / "mine", {"a": 6, "b": 6})
    for name, i in itertools.product("ab", range(6)):
        if (name, i) != ("b", 5):
            side = (30 + i, 20)
            own_images.mask(path / name / f"{i:03d}_mask.png", *side, (0, 0, 15, 20))
    assert prepared(folder, path) == 0
    made = load()
    assert made.size("train") + made.size("test") == 12
    masks = np.concatenate([made.arrays[f"part_masks_{s}"] for s in data.SPLITS])
    shares = (masks == 0).mean((1, 2))
    assert sorted(shares.tolist())[0] == 0  # the image without a mask
    assert ((shares[shares > 0] >= 3 / 8) & (shares[shares > 0] <= 1 / 2)).all()
    assert (masks[:, :, 4:] == -1).all()


def test_a_grey_data_set(folder, tmp_path):
    path = photos(store.ROOT / "mine", {"a": 6, "b": 6})
    assert prepared(folder, path, "--grey") == 0
    assert load().input_shape == (1, 8, 8)
    np.testing.assert_array_equal(np.unique(load().arrays["x_train"]), [10, 20])


@pytest.mark.parametrize("upright", [True, False])
def test_objects_refer_to_the_image_as_it_is_shown_or_as_it_is_stored(
    folder, tmp_path, upright
):
    """A camera's photograph, 20 x 10 as stored, 10 x 20 as shown: the annotation's width and height tell."""
    exif = Image.Exif()
    exif[0x0112] = 6
    side = (10, 20) if upright else (20, 10)
    file = listed(
        store.ROOT / "mine", "path,label,x0,y0,x1,y1,width,height", (0, 0, 5, 5, *side)
    )
    for i in range(12):
        own_images.photo(store.ROOT / "mine" / f"{i}.png", exif=exif)
    assert prepared(folder, file) == 0
    box = [0, 0, 4, 2] if upright else [0, 0, 2, 4]
    np.testing.assert_allclose(load().arrays["boxes_test"], [box] * 2)
    note = pictures.TURNED if upright else pictures.NOT_TURNED
    assert load().card["converted"] == {note: 12}


def test_boxes_beyond_the_image_are_cut_and_told(folder, tmp_path, capsys):
    file = listed(store.ROOT / "mine", box=(-4, -2, 14, 40))
    assert prepared(folder, file) == 0
    np.testing.assert_allclose(load().arrays["boxes_test"], [[0, 0, 4, 8]] * 2)
    told = "images with boxes that reach beyond them, cut at the sides: 12 ("
    assert told in capsys.readouterr().err
    file = listed(store.ROOT / "mine", box=(30, 2, 8, 4))
    assert prepared(folder, file, "--force") == 0
    assert (load().arrays["part_masks_test"] == -1).all()
    assert "images with no object left in the square: 12 (" in capsys.readouterr().err


def test_images_that_stand_there_twice_are_told(folder, tmp_path, capsys):
    path = photos(store.ROOT / "mine", {"a": 6, "b": 6})
    (path / "b" / "copy.png").write_bytes((path / "a" / "000.png").read_bytes())
    assert prepared(folder, path) == 0
    said = capsys.readouterr().err
    assert "images that stand there more than once: 1 (" in said
    assert re.search("(a/000.png|b/copy.png) = (a/000.png|b/copy.png)", said)


@pytest.mark.parametrize("side", [(10, 20), (40, 20)])
def test_annotations_of_another_size_are_one_line(folder, tmp_path, capsys, side):
    columns = "path,label,x0,y0,x1,y1,width,height"
    file = listed(store.ROOT / "mine", columns, (0, 0, 5, 5, *side))
    assert prepared(folder, file) == 2
    told = (
        f"png: it is 20 x 10 pixels, its annotations are of {side[0]} x {side[1]}: use"
    )
    assert told in capsys.readouterr().err
    assert not (store.ROOT / "datasets" / "mine.py").exists()


# --------------------------------------------------------------------------------------------- the profile


PARAMS = """# mine
profile: offline
datasets: [digits]  # and more
papers: []
data: {digits: {size: 32}}
zoo:
  # small
  digits:
    cnn: &c {net: cnn, epochs: 6, seeds: [0, 1]}
    other: {<<: *c, epochs: 1}
explain: {images: 8, reference: 8, methods: []}
replicate: {}
"""


def test_the_profile_names_it_from_then_on(folder, tmp_path, capsys):
    path = photos(store.ROOT / "mine", {"a": 6, "b": 6})
    file = store.ROOT / "params.yaml"
    file.write_text(PARAMS)
    (store.ROOT / "datasets" / "digits.py").write_text("DEFAULTS = {'size': 32}\n")
    assert prepared(folder, path) == 0
    assert "mine: added to params.yaml: under datasets: and under zoo:" in (
        capsys.readouterr().err
    )
    found = Profile.read(file)
    assert found.datasets == ("digits", "mine")
    assert found.data["mine"] == {}  # which DVC asks for
    mapping = found.as_mapping() | {"data": {"mine": {"siez": 9}}}
    with pytest.raises(ProfileError, match="'siez'; did you mean size"):
        Profile.parse(mapping)
    ((name, _, recipe),) = found.trainings("mine")
    assert name == "cnn"
    assert nets.build(recipe.net, (3, 8, 8), 2, recipe.options) is not None
    kept = [line for line in PARAMS.splitlines() if "data" not in line]
    assert [line for line in file.read_text().splitlines() if line in kept] == kept
    after = file.read_text()
    assert prepared(folder, path) == 0
    assert file.read_text() == after and capsys.readouterr().err == ""


def test_other_layouts_of_a_profile(tmp_path):
    file = tmp_path / "params.yaml"
    for before in (
        "datasets:\n  - digits\n  - cub\n\nzoo: {}\n",
        "datasets: []\nzoo: {digits: {cnn: {net: cnn, epochs: 1}}}\n",
        "zoo:\n    digits: {cnn: {net: cnn, epochs: 1}}\ndatasets:\n- digits # last",
    ):
        file.write_text(before)
        assert add_to_profile(file, "mine", 64)
        found, was = yaml.safe_load(file.read_text()), yaml.safe_load(before)
        assert found["datasets"] == [*was["datasets"], "mine"]
        assert found["zoo"].pop("mine")["cnn"]["net"] == "cnn"
        assert found["zoo"] == was["zoo"]


@pytest.mark.parametrize(
    ("params", "options", "words"),
    [
        (PARAMS, ["--data-only"], ""),
        (
            PARAMS,
            ["--profile", "quick"],
            "params.yaml is of profile offline, and was left",
        ),
        ("data: {}\n", [], "params.yaml has no section 'datasets'; add mine there"),
        (
            PARAMS.replace("[digits]", "&d [digits]") + "more: *d\n",
            [],
            "is laid out so",
        ),
    ],
)
def test_a_profile_that_is_left_alone(folder, tmp_path, capsys, params, options, words):
    path = photos(store.ROOT / "mine", {"a": 6, "b": 6})
    file = store.ROOT / "params.yaml"
    file.write_text(params)
    assert prepared(folder, path, *options) == 0
    assert file.read_text() == params
    assert words in capsys.readouterr().err
    assert (store.ROOT / "datasets" / "mine.py").exists()
