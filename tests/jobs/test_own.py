"""``glassbench evaluate --network --images``: a board of one's own; nothing else is touched."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark import data, store
from benchmark.cli import evaluating, main
from benchmark.data import folders
from benchmark.jobs import own
from benchmark.jobs.own import Images, lines, own_profile
from benchmark.utils.errors import UsageError
from tests.helpers import own_images
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
        ([], {"images": "photos"}, "images: there is no file or folder .*photos"),
        (
            [],
            {"images": "My photos/red"},
            "holds 6 images and no subfolders; there must be",
        ),
        ([], {"use": "net.py:build"}, "network: there is no file .*home/net.py"),
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


# --------------------------------------------------------------------------------------------- images of other kinds


def ready(path, use="build", images=None, **more):
    """The prepared data set of images, and the card of the network that was brought to them."""
    found = Images(Path(path), 16, **(images or {}))
    profile, card = own_profile({"use": f"{FILE}:{use}", **more}, found)
    (dataset,) = profile.datasets
    return data.load(store.Paths("own").data(dataset), dataset), card


def boxed(folder, per_image=1, classes="abc", n=12):
    """A CSV of images with boxes."""
    rows = []
    for i in range(n):
        own_images.photo(folder / f"{i}.png")
        for k in range(per_image):
            rows.append([f"{i}.png", classes[i % len(classes)], 1 + 8 * k, 1, 4, 4])
    return own_images.table(folder / "list.csv", rows, "path,label,x,y,w,h")


def test_a_box_for_each_image_and_several(home, capfd):
    one, card = ready(boxed(home / "one"))
    assert one.batch("test").annotations() == {"boxes"}
    assert one.classes == ("a", "b", "c")
    assert any("outputs 0 to 2 are taken as a, b, c" in line for line in lines(card))
    two, _ = ready(boxed(home / "two", per_image=2))
    assert two.batch("test").annotations() == frozenset()
    mask = two.batch("test").part_masks[0] == 0  # (16, 16), from 20 x 10
    centres = np.arange(16) + 0.5
    x, y = np.meshgrid(centres * 20 / 16, centres * 10 / 16)  # of the photograph
    inside = (abs(y - 3) < 2) & ((abs(x - 3) < 2) | (abs(x - 11) < 2))
    np.testing.assert_array_equal(mask.numpy(), inside)


def test_images_are_read_again_only_if_they_have_changed(home, capfd, monkeypatch):
    file = boxed(home / "one")
    first, _ = ready(file)
    monkeypatch.setattr(folders, "arrays_of", None)  # is not called
    again, _ = ready(file)
    assert again.card == first.card
    own_images.photo(home / "one" / "0.png", seed=7)
    with pytest.raises(TypeError):
        ready(file)


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        (["2", "0"], None, ["0", "1", "2"]),  # numbers are indices of outputs
        (["3", "1", "2"], None, ["1", "2", "3"]),  # as many as outputs: in order
        (["b", "a"], ["c", "b", "a"], ["c", "b", "a"]),
        (["1", "2"], ["c", "b", "a"], ["c", "b", "a"]),
        (["1", "2"], ["3"], ["0", "1", "2"]),  # outputs without names
        (["1"], ["names.txt"], ["x", "y y", "z"]),
        (["a"], ["b", "c", "a"], ["b", "c", "a"]),  # images of one class
    ],
    ids=str,
)
def test_classes_and_outputs(home, labels, classes, expected):
    (home / "names.txt").write_text("\ufeffx\ny y\n\nz\n")
    file = boxed(home / "some", classes=labels)
    made, card = ready(file, **({"classes": classes} if classes else {}))
    assert list(made.classes) == expected == card["classes"]
    found = {made.classes[k] for k in made.arrays["y_train"]}
    wanted = (
        labels if set(labels) <= set(expected) else [expected[int(k)] for k in labels]
    )
    assert found == set(wanted)


@pytest.mark.parametrize(
    ("labels", "classes", "words"),
    [
        (["3", "0"], None, "label 3 is beyond the network's 3 outputs, 0 to 2"),
        (["3", "0"], ["a", "b", "c"], "label 3 is beyond the 3 classes, 0 to 2"),
        (["a", "b"], None, "has 3 outputs, the images are of 2 classes .a, b.: name"),
        (["a"], None, "has 3 outputs, the images are of one class .a.: name"),
        (["cat"], ["can", "dog", "x"], r"png: no class 'cat'; did you mean can"),
        (["a"], ["a", "b"], "has 3 outputs for 2 classes: --classes names each"),
        (["a"], ["a", "b", "a"], "--classes: 'a' stands there twice"),
    ],
)
def test_classes_that_do_not_fit_are_one_line(home, labels, classes, words):
    file = boxed(home / "some", classes=labels)
    with pytest.raises(UsageError, match=words):
        ready(file, **({"classes": classes} if classes else {}))


def test_the_categories_of_coco_are_the_outputs(home):
    own_images.photo(home / "1.png")
    annotations = [(0, 1, {"bbox": [1, 1, 4, 4]})]
    images = [("1.png", 20, 10)]
    file = own_images.coco(home / "i.json", images, annotations, ["z", "y", "x"])
    made, _ = ready(file)
    assert made.classes == ("z", "y", "x") and made.arrays["y_test"].tolist() == [1]


def test_folders_that_are_numbers(home, capfd):
    for k in range(11):
        own_images.photo(home / "digits" / str(k) / "1.png")
    made, card = ready(home / "digits", use="eleven")
    assert made.classes == tuple(map(str, range(11)))
    assert any("not in alphabetical order as torchvision" in x for x in lines(card))


@pytest.mark.parametrize("n", [1, 3])
def test_very_few_images_of_a_thousand_classes(home, n):
    file = boxed(home / "few", classes=["7", "999", "0"], n=n)
    made, card = ready(file, use="thousand")
    assert len(made.classes) == 1000
    assert made.size("train") == made.size("test") == n
    told = f"methods are fitted on the images that they explain: there are {n}"
    assert any(told in line for line in lines(card))
    assert not any("more than once" in line for line in lines(card))


def test_half_of_the_images_are_explained(home):
    made, card = ready(boxed(home / "some", n=18))
    assert [np.bincount(made.arrays[f"y_{s}"]).tolist() for s in data.SPLITS] == [
        [3] * 3
    ] * 2
    many = [str(k) for k in range(9)]  # an image of each class
    made, card = ready(boxed(home / "many", n=9, classes=many), use="thousand")
    assert (made.size("train"), made.size("test")) == (5, 4)
    labels = np.concatenate([made.arrays[f"y_{s}"] for s in data.SPLITS])
    assert sorted(labels.tolist()) == list(range(9))
    assert not any("none kept apart" in line for line in lines(card))


def test_of_very_many_images_some_are_read(home, monkeypatch):
    monkeypatch.setattr(own, "MOST", 4)
    made, card = ready(boxed(home / "some", n=18))
    assert (made.size("train"), made.size("test")) == (4, 4)
    told = "4 of 9 images of test were read, drawn by a seed"
    assert any(told in line for line in lines(card))


def test_grey_and_cropped_images(home):
    file = boxed(home / "some")
    made, _ = ready(file, use="grey", images={"channels": 1, "fit": "crop"})
    assert made.input_shape == (1, 16, 16)
    # the middle 10 x 10 of 20 x 10 times 1.6: (1 - 5) * 1.6 is cut, so is (5 - 5)
    assert (made.arrays["part_masks_test"] == -1).all()


def test_a_network_of_one_channel_says_so(home):
    with pytest.raises(UsageError, match="grey takes images of one channel: --grey"):
        ready(boxed(home / "some"), use="grey")


def test_every_kind_of_file(home, capfd):
    """Deep, grey, palette, CMYK, transparent, WebP, turned; one that is damaged is left out and named."""
    place = home / "kinds" / "a"
    place.mkdir(parents=True)
    levels = np.arange(200, dtype=np.uint16).reshape(10, 20) * 300
    rgb = Image.fromarray(np.uint8(levels // 256)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(levels).save(place / "deep.png")
    for mode in ("L", "P", "LA", "RGBA", "1"):
        rgb.convert(mode).save(place / f"{mode}.png")
    rgb.convert("CMYK").save(place / "cmyk.jpg")
    rgb.save(place / "web.webp")
    rgb.save(place / "turned.jpg", exif=exif)
    (place / "cut.jpg").write_bytes((place / "cmyk.jpg").read_bytes()[:200])
    made, card = ready(home / "kinds", classes=["a", "b", "c"])
    assert made.size("train") + made.size("test") == 9
    said = "\n".join(lines(card))
    assert re.search(r"files skipped \(no image, damaged.*\): 1 \(a/cut.jpg\)", said)
    assert "files converted, 16 bits scaled to 8: 1" in said


def test_a_network_at_chance_is_said_in_red(home, capfd, monkeypatch):
    printed = []
    monkeypatch.setattr(
        evaluating.err, "print", lambda text, **more: printed.append((text, more))
    )
    file = boxed(home / "some")
    options = main.parser().parse_args(
        [
            "evaluate",
            "m.py:M",
            "--network",
            f"{FILE}:build",
            "--images",
            str(file),
            "--size",
            "16",
        ]
    )
    profile = evaluating._own_board(options)
    red = [text for text, more in printed if more.get("style") == "red"]
    assert len(red) == 1 and "no more than guessing (" in red[0]
    (dataset,) = profile.datasets
    card = store.read_json(
        store.Paths("own").target(dataset, "brought_networks", 0).with_suffix(".json")
    )
    assert card["at_chance"] is True


def test_objects_are_scored_beside_the_controls(home, capfd):
    """A whole board of images with several boxes each: the metrics of masks are on it, those of boxes say why not."""
    file = boxed(home / "boxes", per_image=2)
    assert evaluate(images=str(file)) == 0
    place = store.Paths("evaluations/own/Light").results
    board = store.read_rows(place / "rows.csv").set_index("metric")
    assert board.loc["relevance_mass_accuracy", "status"] == "ok"
    assert board.loc["pointing_game_mask", "status"] == "ok"
    assert board.loc["energy_in_box", "reason"] == "images have no boxes"
    text = (place / "leaderboard.csv").read_text()
    for name in ("Grad-CAM,", "Grad-CAM++", "Edge map", "Random map", "Light"):
        assert re.search(rf"relevance_mass_accuracy.*{re.escape(name)}", text), name
