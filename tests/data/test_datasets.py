"""The scripts in datasets/ on small archives in the official layouts and in the mirror's, from a local server."""

import functools
import gzip
import hashlib
import importlib.util
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark import data
from benchmark.data import download
from benchmark.data.download import Source
from benchmark.data.photos import NOT_TURNED
from tests.helpers.file_server import FileServer
from tests.helpers.imports import loaded
from tests.helpers.places import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "datasets").glob("*.py"))
MIRRORED = ["asirra", "cifar10", "cifar100", "cub"]  # by a smaller file of its own
SAME_FILES = ["fashion_mnist", "mnist"]  # on the mirror as at the official place
MIRROR = ROOT.parent / "shared" / "data"


@pytest.fixture
def server(monkeypatch):
    for key in (download.MIRROR, "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    with FileServer() as server:
        yield server


def script(name):
    """A script as a module of its own; what a test changes in it stays in the test."""
    spec = importlib.util.spec_from_file_location(
        f"datasets_{name}", ROOT / "datasets" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sha(body):
    return "sha256:" + hashlib.sha256(body).hexdigest()


def prepare(module, folder, **params):
    """Runs the script's own command; returns the data set and its exit code."""
    name = Path(module.__file__).stem
    (folder / "params.yaml").write_text(json.dumps({"data": {name: params}}))
    out = folder / f"{name}.npz"
    options = [
        "--params",
        str(folder / "params.yaml"),
        "--out",
        str(out),
        "--raw",
        str(folder / "raw"),
        "--force",
    ]
    code = download.main(name, module.prepare, module.DEFAULTS, module.__doc__, options)
    return (data.load(out) if code == 0 else None), code


def tar(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def image(pixels, kind="JPEG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


# --------------------------------------------------------------------------------------------- all of them


def test_there_are_nine_and_a_users_own():
    assert SCRIPTS == [
        "asirra",
        "cifar10",
        "cifar100",
        "cub",
        "digits",
        "fashion_mnist",
        "folder",
        "mnist",
        "places",
        "toybirds",
    ]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_is(name):
    text = script(name).__doc__
    assert "Licence" in text
    assert "Subset" in text
    assert "Resize" in text


@pytest.mark.parametrize(
    "name", sorted({*SCRIPTS} - {"toybirds"})
)  # which are rendered
def test_a_script_says_where_its_data_come_from(name):
    text = script(name).__doc__
    assert "Citation" in text
    assert "Official" in text
    assert "Mirror" in text


@pytest.mark.parametrize("name", [*MIRRORED, *SAME_FILES])
def test_a_scripts_files_have_hashes_and_a_place_on_the_mirror(name):
    found = sources(script(name))
    assert found
    for source in found:
        assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", source.digest)
        assert source.mirror_path.startswith(f"{name}/")


@pytest.mark.parametrize("name", MIRRORED)
def test_the_mirrors_own_file_is_named_and_has_a_hash(name):
    module = script(name)
    assert module.SOURCE.mirror_path in module.__doc__
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", module.SOURCE.mirror_digest)


def test_every_script_with_files_is_listed_here():
    assert {name for name in SCRIPTS if sources(script(name))} == {
        *MIRRORED,
        *SAME_FILES,
    }


def sources(module):
    if hasattr(module, "SOURCE"):
        return [module.SOURCE]
    name = Path(module.__file__).stem
    pairs = [pair for split in getattr(module, "FILES", {}).values() for pair in split]
    return [
        Source(f"{module.BASE}/{file}", digest, mirror=f"{name}/{file}")
        for file, digest in pairs
    ]


@pytest.mark.skipif(not MIRROR.is_dir(), reason=f"there is no mirror at {MIRROR}")
@pytest.mark.parametrize("name", [*MIRRORED, *SAME_FILES])
def test_the_mirror_holds_the_files_that_the_scripts_name(name, tmp_path):
    found = sources(script(name))
    assert found
    for source in found:
        file = download.fetch(source, tmp_path, mirror=str(MIRROR))
        assert file.path == MIRROR / source.mirror_path


REAL = {  # counts, shape, classes, settings
    "mnist": (60_000, 10_000, (1, 28, 28), 10, {}),
    "fashion_mnist": (60_000, 10_000, (1, 32, 32), 10, {"size": 32}),
    "cifar10": (50_000, 10_000, (3, 32, 32), 10, {}),
    "cifar100": (10_000, 5_000, (3, 32, 32), 100, {}),
    "asirra": (2_000, 500, (3, 64, 64), 2, {"size": 64}),
    "cub": (1_500, 1_389, (3, 64, 64), 50, {"size": 64}),
}


@pytest.fixture(scope="module")
def from_the_mirror(tmp_path_factory):
    """Prepares a data set from the mirror, each once."""

    @functools.cache
    def prepared(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(download.MIRROR, str(MIRROR))
            return prepare(
                script(name), tmp_path_factory.mktemp(name), **REAL[name][-1]
            )[0]

    return prepared


@pytest.mark.slow
@pytest.mark.skipif(not MIRROR.is_dir(), reason=f"there is no mirror at {MIRROR}")
@pytest.mark.parametrize("name", REAL)
def test_the_real_files_from_the_mirror(name, from_the_mirror):
    train, test, shape, classes, _ = REAL[name]
    made = from_the_mirror(name)
    assert (made.size("train"), made.size("test")) == (train, test)
    assert (made.input_shape, len(made.classes)) == (shape, classes)
    assert made.card["skipped"] == 0
    assert set(np.unique(made.arrays["y_train"])) == set(range(classes))
    origin = "official" if name in SAME_FILES else "mirror"
    assert made.card["provenance"]["files"][0]["origin"] == origin


@pytest.mark.slow
@pytest.mark.skipif(not MIRROR.is_dir(), reason=f"there is no mirror at {MIRROR}")
def test_the_real_birds_have_their_parts_in_their_boxes(from_the_mirror):
    arrays = from_the_mirror("cub").arrays
    seen = arrays["part_visible_train"]
    x0, y0, x1, y1 = arrays["boxes_train"].T[..., None]
    x, y = arrays["parts_train"].transpose(2, 0, 1)
    inside = (x >= x0 - 2) & (x <= x1 + 2) & (y >= y0 - 2) & (y <= y1 + 2)
    assert 0.75 < seen.mean() < 0.85
    assert inside[seen].mean() > 0.98


def test_no_network_and_no_mirror_is_exit_code_2(tmp_path, monkeypatch, capsys, server):
    module = script("mnist")
    monkeypatch.setattr(module, "BASE", f"{server.url}/gone")
    made, code = prepare(module, tmp_path)
    assert (made, code) == (None, 2)
    *_, last = capsys.readouterr().err.splitlines()
    assert (
        "set GLASSBENCH_MIRROR to a folder or base URL that holds mnist/train-images-idx3-ubyte.gz"
        in last
    )
    assert f"connect to {server.url}/gone/train-images-idx3-ubyte.gz" in last
    assert not (tmp_path / "mnist.npz").exists()


def test_a_script_runs_by_path(tmp_path):
    (tmp_path / "p.yaml").write_text("data: {digits: {size: 8, train: 20, test: 100}}")
    command = [
        sys.executable,
        str(ROOT / "datasets" / "digits.py"),
        "--params",
        "p.yaml",
        "--out",
        "d.npz",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "digits: 20 + 100 images (1, 8, 8), 10 classes: d.npz\n"


# --------------------------------------------------------------------------------------------- idx


@pytest.fixture(params=SAME_FILES)
def idx(request, server, monkeypatch):
    """A script whose files are on the server: (module, arrays by split, names of the files)."""
    rng, arrays, module, files = np.random.default_rng(0), {}, script(request.param), {}
    for split, n in (("train", 40), ("test", 20)):
        x = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        y = (np.arange(n) % 10).astype(np.uint8)
        raws = (
            b"\0\0\x08\x03" + struct.pack(">3i", n, 28, 28) + x.tobytes(),
            b"\0\0\x08\x01" + struct.pack(">i", n) + y.tobytes(),
        )
        arrays[split], files[split] = (x, y), []
        for (file, _), raw in zip(module.FILES[split], raws, strict=True):
            server.files[file] = gzip.compress(raw)
            files[split].append((file, sha(server.files[file])))
    monkeypatch.setattr(module, "FILES", files)
    monkeypatch.setattr(module, "BASE", server.url)
    return module, arrays, [file for split in files.values() for file, _ in split]


def test_idx_files(idx, tmp_path):
    module, arrays, files = idx
    made, _ = prepare(module, tmp_path)
    for split, (x, y) in arrays.items():
        assert np.array_equal(made.arrays[f"x_{split}"], x[:, None])
        assert np.array_equal(made.arrays[f"y_{split}"], y)
    assert made.card["counts"] == {"train": 40, "test": 20}
    assert [f["file"] for f in made.card["provenance"]["files"]] == files


def test_a_part_of_idx_files_comes_from_the_cache(idx, server, tmp_path):
    module, _, _ = idx
    prepare(module, tmp_path)
    part, _ = prepare(module, tmp_path, size=32, train=20)
    assert part.arrays["x_train"].shape == (20, 1, 32, 32)
    assert np.bincount(part.arrays["y_train"]).tolist() == [2] * 10
    assert len(server.asked) == 4  # none of them twice


# --------------------------------------------------------------------------------------------- CIFAR


def pages(x):
    """(N, 3, 32, 32) as one lossless page of 50 images a row."""
    rows = (
        x.transpose(0, 2, 3, 1)
        .reshape(-1, 50, 32, 32, 3)
        .transpose(0, 2, 1, 3, 4)
        .reshape(-1, 1600, 3)
    )
    return image(rows, "WEBP", lossless=True)


def packed(x):
    return json.dumps(
        {
            "sha256_of_NHWC_uint8": hashlib.sha256(
                x.transpose(0, 2, 3, 1).copy()
            ).hexdigest()
        }
    ).encode()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def cifar10(server, monkeypatch):
    """The script with its official archive and the mirror's on the server: (module, x, y by split).

    The images are of one colour, as far as the JPEGs of the mirror keep it.
    """
    rng = np.random.default_rng(0)
    y = {"train": rng.permutation(300) % 10, "test": rng.permutation(60) % 10}
    x, official, jpegs = {}, {}, {}
    for split, labels in y.items():
        n = len(labels)
        colour = rng.integers(0, 256, (n, 3, 1, 1), dtype=np.uint8)
        x[split] = np.broadcast_to(colour, (n, 3, 32, 32))
        rows = np.column_stack([labels, x[split].reshape(n, -1)]).astype(np.uint8)
        parts = np.split(rows, 5 if split == "train" else 1)
        for file, part in zip(CIFAR10_FILES[split], parts, strict=True):
            official[f"cifar-10-batches-bin/{file}.bin"] = part.tobytes()
        order = np.argsort(labels, kind="stable")
        files = [image(x[split][i].transpose(1, 2, 0)) for i in order]
        jpegs[f"{split}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        jpegs[f"{split}_length"] = np.array([len(file) for file in files], np.uint16)
        jpegs[f"{split}_label"] = labels[order].astype(np.uint8)
    module = script("cifar10")
    official, mirror = tar(official, "w:gz"), npz(**jpegs)
    serve(server, monkeypatch, module, official, "cifar10/all.npz", mirror)
    return module, x, y


CIFAR10_FILES = {
    "train": [f"data_batch_{i}" for i in range(1, 6)],
    "test": ["test_batch"],
}


def serve(server, monkeypatch, module, official, mirror_path, few):
    """Puts both archives of a data set on the server, and the server into its script."""
    server.files |= {"c.tar.gz": official, mirror_path: few}
    source = Source(f"{server.url}/c.tar.gz", sha(official), mirror_path, sha(few))
    monkeypatch.setattr(module, "SOURCE", source)


def test_cifar10_from_its_official_files(cifar10, tmp_path):
    module, x, y = cifar10
    whole, _ = prepare(module, tmp_path)
    for split in x:
        made = whole.arrays[f"x_{split}"]
        # one colour names an image, and so its label
        theirs = sorted(zip(x[split][:, :, 0, 0].tolist(), y[split], strict=True))
        labels = whole.arrays[f"y_{split}"]
        assert sorted(zip(made[:, :, 31, 31].tolist(), labels, strict=True)) == theirs
        assert (made == made[:, :, :1, :1]).all()
    assert list(whole.classes[:2]) == ["airplane", "automobile"]
    assert whole.card["provenance"]["changes"] == "none"


def test_cifar10_is_the_same_from_both_but_for_the_jpegs(
    cifar10, server, tmp_path, monkeypatch
):
    module, *_ = cifar10
    for size in ({}, {"train": 50, "test": 20}):
        folder = tmp_path / str(len(size))
        (folder / "m").mkdir(parents=True)
        monkeypatch.delenv(download.MIRROR, raising=False)
        official, _ = prepare(module, folder, **size)
        monkeypatch.setenv(download.MIRROR, server.url)
        mirrored, _ = prepare(module, folder / "m", **size)
        assert official.card["provenance"]["files"][0]["origin"] == "official"
        assert mirrored.card["provenance"]["files"][0]["origin"] == "mirror"
        assert "30.6 dB" in mirrored.card["provenance"]["changes"]
        for split in ("train", "test"):
            y, same = (d.arrays[f"y_{split}"] for d in (official, mirrored))
            assert np.array_equal(y, same)
            assert len(set(np.bincount(y))) == 1
            assert (np.diff(y) < 0).any()  # not by class
            x, near = (d.arrays[f"x_{split}"] for d in (official, mirrored))
            assert np.abs(x.astype(int) - near).max() <= 4


def test_a_part_of_cifar10_is_a_part_of_a_larger_one(cifar10, tmp_path):
    module, *_ = cifar10
    small, large = (prepare(module, tmp_path, train=n)[0] for n in (20, 40))
    colours = [
        {*map(tuple, made.arrays["x_train"][:, :, 0, 0].tolist())}
        for made in (small, large)
    ]
    assert len(colours[0]) == 20
    assert colours[0] < colours[1]


def test_more_than_the_mirror_has_is_refused(cifar10, server, tmp_path, monkeypatch):
    module, *_ = cifar10
    monkeypatch.setenv(download.MIRROR, server.url)
    assert prepare(module, tmp_path, train=301)[1] == 2


@pytest.fixture
def cifar100(server, monkeypatch):
    """As ``cifar10``: (module, x, fine and coarse labels by split, names of fine and of coarse classes)."""
    rng = np.random.default_rng(0)
    fine = {
        split: rng.permutation(np.arange(200, dtype=np.uint8) % 100)
        for split in ("train", "test")
    }
    coarse = {split: fine[split] // 5 for split in fine}
    x = {
        split: rng.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8) for split in fine
    }
    names = [f"thing{i}" for i in range(100)], [f"group{i}" for i in range(20)]
    official, few = {}, {}
    for kind, names_of_kind in zip(("fine", "coarse"), names):
        text = "\n".join(names_of_kind) + "\n"
        official[f"cifar-100-binary/{kind}_label_names.txt"] = text.encode()
    for split in fine:
        both = np.stack([coarse[split], fine[split]], 1)
        records = np.concatenate([both, x[split].reshape(200, -1)], 1)
        official[f"cifar-100-binary/{split}.bin"] = records.tobytes()
        for i in range(2):
            few[f"cifar100/{split}_{i:02}.webp"] = pages(
                x[split][100 * i : 100 * i + 100]
            )
        few[f"cifar100/{split}.json"] = packed(x[split])
        few[f"cifar100/{split}.npz"] = npz(
            fine_labels=fine[split],
            coarse_labels=coarse[split],
            fine_label_names=np.array(names[0]),
            coarse_label_names=np.array(names[1]),
        )
    module = script("cifar100")
    serve(server, monkeypatch, module, tar(official, "w:gz"), "few.tar", tar(few))
    return module, x, fine, coarse, names


@pytest.mark.parametrize("mirrored", [False, True])
def test_cifar100_from_both(cifar100, server, tmp_path, monkeypatch, mirrored):
    module, x, fine, coarse, names = cifar100
    monkeypatch.setenv(download.MIRROR, server.url if mirrored else "")
    made, _ = prepare(module, tmp_path)
    for split in ("train", "test"):
        assert np.array_equal(made.arrays[f"x_{split}"], x[split])
        assert np.array_equal(made.arrays[f"y_{split}"], fine[split])
        assert np.array_equal(made.arrays[f"y_coarse_{split}"], coarse[split])
    assert (list(made.classes), made.arrays["coarse_classes"].tolist()) == names


def test_a_part_of_cifar100_has_its_coarse_labels(cifar100, tmp_path):
    module, *_ = cifar100
    part, _ = prepare(module, tmp_path, train=100)
    assert np.bincount(part.arrays["y_train"]).tolist() == [1] * 100
    assert np.array_equal(part.arrays["y_coarse_train"], part.arrays["y_train"] // 5)


# --------------------------------------------------------------------------------------------- ASIRRA


def grey(level, h=40, w=60):
    return image(np.full((h, w, 3), level, np.uint8))


@pytest.fixture
def pets(server, monkeypatch):
    """The script with a zip of six photographs of each animal, three of them corrupt, in reverse order."""
    files = {
        f"PetImages/{animal}/{i}.jpg": grey(5 * k + 100 * (animal == "Dog"))
        for animal in ("Cat", "Dog")
        for k, i in enumerate((0, 1, 2, 9999, 10000, 12499))
    }
    files["PetImages/Cat/1.jpg"] = b""
    files["PetImages/Dog/2.jpg"] = grey(0)[:300]
    files["PetImages/Dog/12499.jpg"] = b"GIF89a or so"
    files |= {
        "PetImages/Cat/Thumbs.db": b"x",
        "readme[1].txt": b"x",
        "PetImages/Cat/a.jpg": grey(0),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, raw in reversed(files.items()):
            archive.writestr(name, raw)
    server.files["pets.zip"] = buffer.getvalue()
    module = script("asirra")
    source = Source(f"{server.url}/pets.zip", sha(server.files["pets.zip"]))
    monkeypatch.setattr(module, "SOURCE", source)
    return module


def test_petimages_are_ordered_by_class_and_number(pets, tmp_path):
    """Whatever the order in the zip."""
    made, _ = prepare(pets, tmp_path, size=8)
    assert made.arrays["y_train"].tolist() == [0, 0, 0, 1, 1, 1]
    assert made.arrays["y_test"].tolist() == [0, 0, 1]
    levels = made.arrays["x_train"][:, 0, 0, 0].astype(int)
    assert np.abs(levels - [0, 10, 15, 100, 105, 115]).max() <= 2


def test_corrupt_petimages_are_skipped_and_named(pets, tmp_path, capsys):
    made, _ = prepare(pets, tmp_path, size=8)
    assert "asirra: 3 skipped (no image, damaged" in capsys.readouterr().err
    assert made.card["skipped"] == 3
    assert made.card["skipped_files"] == [
        "PetImages/Cat/1.jpg",
        "PetImages/Dog/2.jpg",
        "PetImages/Dog/12499.jpg",
    ]


def test_corrupt_petimages_count_in_a_part_too(pets, tmp_path):
    part, _ = prepare(pets, tmp_path, size=8, train=2)
    skipped_in_test = 1
    skipped_in_train = part.card["skipped"] - skipped_in_test
    assert len(part.arrays["y_train"]) == 2 - skipped_in_train


def test_asirra_from_the_mirror_keeps_its_split(server, tmp_path, monkeypatch):
    files = {
        f"dogs_vs_cats/{split}/{animal}.{i}.jpg": grey(i % 200)
        for animal in ("cat", "dog")
        for split, i in (("train", 1), ("train", 10), ("train", 9), ("test", 4001))
    }
    server.files["asirra/few.tar"] = tar(files)
    module = script("asirra")
    source = Source(
        f"{server.url}/pets.zip",
        sha(b""),
        "asirra/few.tar",
        sha(server.files["asirra/few.tar"]),
    )
    monkeypatch.setattr(module, "SOURCE", source)
    monkeypatch.setenv(download.MIRROR, server.url)
    made, _ = prepare(module, tmp_path, size=8)
    assert made.arrays["y_train"].tolist() == [0, 0, 0, 1, 1, 1]
    assert (
        np.abs(made.arrays["x_train"][:3, 0, 0, 0].astype(int) - [1, 9, 10]).max() <= 2
    )
    assert made.size("test") == 2
    assert "Kaggle" in made.card["provenance"]["changes"]
    _, code = prepare(module, tmp_path, size=8, fit="squish")
    assert code == 2


# --------------------------------------------------------------------------------------------- CUB

PARTS = ("back", "left eye", "tail")


def birds():
    """Three classes of four dark photographs; the bird is a bright box, its parts are brighter squares."""
    rng, files = np.random.default_rng(1), {}
    tables = {
        key: []
        for key in (
            "images",
            "image_class_labels",
            "train_test_split",
            "bounding_boxes",
            "parts/part_locs",
        )
    }
    for i in range(12):
        h, w = ((120, 160), (160, 120), (100, 100))[i % 3]
        x0, y0 = rng.integers(30, 40, 2)
        bw, bh = rng.integers(40, 50, 2)
        pixels = np.zeros((h, w, 3), np.uint8)
        pixels[y0 : y0 + bh, x0 : x0 + bw] = 130
        for p in range(3):
            px, py = x0 + 8 + 12 * p, y0 + 20
            visible = (i + p) % 4 > 0
            if visible:
                pixels[py - 4 : py + 4, px - 4 : px + 4] = 255
            tables["parts/part_locs"].append(
                f"{i + 1} {p + 1} {px if visible else 0:.1f} {py if visible else 0:.1f} {visible:d}"
            )
        path = f"{i // 4 + 1:03}.Bird_{i // 4}/img_{i}.jpg"
        files[f"CUB_200_2011/images/{path}"] = image(pixels, quality=95)
        tables["images"].append(f"{i + 1} {path}")
        tables["image_class_labels"].append(f"{i + 1} {i // 4 + 1}")
        tables["train_test_split"].append(f"{i + 1} {i % 4 < 2:d}")
        tables["bounding_boxes"].append(f"{i + 1} {x0}.0 {y0}.0 {bw}.0 {bh}.0")
    tables["classes"] = [f"{c + 1} {c + 1:03}.Bird_{c}" for c in range(3)]
    tables["parts/parts"] = [f"{p + 1} {name}" for p, name in enumerate(PARTS)]
    return files | {
        f"CUB_200_2011/{key}.txt": "\n".join(lines).encode() + b"\n"
        for key, lines in tables.items()
    }


@pytest.fixture
def cub(server, monkeypatch):
    server.files["CUB.tgz"] = tar({**birds(), "attributes.txt": b"x"}, "w:gz")
    module = script("cub")
    monkeypatch.setattr(
        module, "SOURCE", Source(f"{server.url}/CUB.tgz", sha(server.files["CUB.tgz"]))
    )
    return module


@pytest.mark.parametrize("fit", ["squash", "crop"])
def test_cub_annotations_lie_where_the_pixels_are(cub, tmp_path, fit):
    made, _ = prepare(cub, tmp_path, size=100, fit=fit)
    arrays = made.arrays
    assert made.classes == ("Bird 0", "Bird 1", "Bird 2")
    assert tuple(arrays["part_names"]) == PARTS
    for split, first in (("train", 0), ("test", 2)):
        assert arrays[f"y_{split}"].tolist() == [0, 0, 1, 1, 2, 2]
        annotated = [
            arrays[f"{key}_{split}"] for key in ("x", "boxes", "parts", "part_visible")
        ]
        for k, (x, box, parts, seen) in enumerate(zip(*annotated, strict=True)):
            i = 4 * (k // 2) + k % 2 + first  # the photograph's number
            assert seen.tolist() == [(i + p) % 4 > 0 for p in range(3)]
            bright = x[0] > 65
            columns, rows = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
            assert (
                np.abs(box - (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)).max()
                <= 1
            )
            assert not parts[~seen].any()
            assert seen.any()
            for px, py in parts[seen].astype(int):
                assert x[0, py, px] > 230
                assert (x[0] > 192)[py - 2 : py + 2, px - 2 : px + 2].all()


def test_cub_photographs_stay_as_the_annotations_have_them(
    cub, server, tmp_path, monkeypatch, capsys
):
    as_it_was, _ = prepare(cub, tmp_path, size=50)
    assert "converted" not in as_it_was.card
    files = birds()
    name = next(name for name in files if name.endswith(".jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6
    size = struct.pack(">H", len(exif.tobytes()) + 2)
    head = b"\xff\xe1" + size + exif.tobytes()
    files[name] = files[name][:2] + head + files[name][2:]
    server.files["CUB.tgz"] = tar(files, "w:gz")
    source = Source(f"{server.url}/CUB.tgz", sha(server.files["CUB.tgz"]))
    monkeypatch.setattr(cub, "SOURCE", source)
    made, _ = prepare(cub, tmp_path, size=50)
    for key, values in as_it_was.arrays.items():
        np.testing.assert_array_equal(made.arrays[key], values)
    assert made.card["converted"] == {NOT_TURNED: 1}
    assert f"cub: 1 file: {NOT_TURNED}\n" in capsys.readouterr().err


def test_a_part_that_the_crop_loses_is_not_visible(cub, server, tmp_path, monkeypatch):
    files = birds()
    files["CUB_200_2011/parts/part_locs.txt"] = (
        b"1 1 5.0 60.0 1\n1 2 80.0 60.0 1\n"  # the photo is 160 x 120
    )
    server.files["CUB.tgz"] = tar(files, "w:gz")
    monkeypatch.setattr(
        cub, "SOURCE", Source(f"{server.url}/CUB.tgz", sha(server.files["CUB.tgz"]))
    )
    made, _ = prepare(cub, tmp_path, size=120, fit="crop")
    assert made.arrays["part_visible_train"][0].tolist() == [False, True, False]
    assert made.arrays["parts_train"][0].tolist() == [[0, 0], [60, 60], [0, 0]]


def test_cub_classes_and_subsets(cub, tmp_path):
    made, _ = prepare(cub, tmp_path, size=8, classes=2, train=2)
    assert made.classes == ("Bird 0", "Bird 1")
    assert made.arrays["y_train"].tolist() == [0, 1]
    assert made.arrays["y_test"].tolist() == [0, 0, 1, 1]
    for bad in ({"classes": 4}, {"train": 7}, {"fit": "stretch"}):
        assert prepare(cub, tmp_path, size=8, **bad)[1] == 2


def test_cub_without_a_table_is_one_line(cub, server, tmp_path, monkeypatch, capsys):
    files = birds()
    del files["CUB_200_2011/bounding_boxes.txt"]
    server.files["CUB.tgz"] = tar(files, "w:gz")
    monkeypatch.setattr(
        cub, "SOURCE", Source(f"{server.url}/CUB.tgz", sha(server.files["CUB.tgz"]))
    )
    assert prepare(cub, tmp_path, size=8)[1] == 2
    assert "lacks CUB_200_2011/bounding_boxes.txt" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------- digits


def test_digits_split_and_pixels(tmp_path):
    from sklearn.datasets import load_digits

    made, _ = prepare(script("digits"), tmp_path, size=8)
    x = np.concatenate([made.arrays["x_train"], made.arrays["x_test"]])[:, 0]
    y = np.concatenate([made.arrays["y_train"], made.arrays["y_test"]])
    images, labels = load_digits(return_X_y=True)
    theirs = sorted(
        (label, *pixels)
        for pixels, label in zip(
            np.rint(images * 255 / 16).astype(int).tolist(), labels
        )
    )
    assert (
        sorted((label, *pixels) for pixels, label in zip(x.reshape(-1, 64).tolist(), y))
        == theirs
    )  # all, each once
    assert (made.size("train"), made.size("test")) == (1400, 397)
    again, _ = prepare(script("digits"), tmp_path, size=8)
    assert np.array_equal(again.arrays["y_train"], made.arrays["y_train"])
    assert prepare(script("digits"), tmp_path, train=1400, test=398)[1] == 2


def test_digits_are_interpolated_between_pixel_centres(tmp_path):
    import torch

    weights = script("digits").interpolation(8, 32)
    assert np.allclose(weights.sum(1), 1)
    x = np.random.default_rng(0).integers(0, 17, (5, 8, 8)).astype(float)
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(x)[:, None], size=32, mode="bilinear"
    )[:, 0].numpy()
    assert np.abs(weights @ x @ weights.T - theirs).max() < 1e-12


# --------------------------------------------------------------------------------------------- Places365 and ADE20K


@pytest.fixture
def rooms(tmp_path):
    """Three images of each room as Places365 unpacks, and four of ADE20K: (its folder, the kitchen's labels)."""
    module, rng = script("places"), np.random.default_rng(0)
    raw = tmp_path / "raw" / "places"
    for room in module.ROOMS:
        folder = raw / "data_256" / room[0] / room
        folder.mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            (folder / f"{i:08d}.jpg").write_bytes(image(pixels))
    labels = np.zeros((20, 40), np.uint8)  # 0: no object
    labels[:10, 10:20], labels[10:, 30:] = 1, 3
    scenes = {
        "ADE_train_00000001": "kitchen",
        "ADE_train_00000002": "airport_terminal",  # no room of the paper
        "ADE_val_00000001": "waiting_room",
        "ADE_val_00000002": "kitchen",
    }
    root = module.ROOT
    files = {
        f"{root}sceneCategories.txt": "".join(f"{k} {v}\n" for k, v in scenes.items()),
        f"{root}objectInfo150.txt": "Idx\tRatio\tTrain\tVal\tName\n"
        "1\t0.1576\t11664\t1172\twall\n2\t0.1072\t6046\t612\tbuilding, edifice\n"
        "3\t0.0878\t8265\t796\tsky         \n",
    }
    for name in scenes:
        pixels = rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)
        shown = labels if name.endswith("train_00000001") else 0 * labels + 2
        files[module.file_of(name, "images", "jpg")] = image(pixels)
        files[module.file_of(name, "annotations", "png")] = image(shown, "PNG")
    with zipfile.ZipFile(raw / "ADEChallengeData2016.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return raw, labels


@pytest.mark.parametrize("fit, columns", [("squash", (0, 40)), ("crop", (10, 30))])
def test_rooms_and_their_objects(rooms, tmp_path, fit, columns):
    _, labels = rooms
    made, code = prepare(script("places"), tmp_path, size=20, fit=fit, train=20)
    assert code == 0 and made.size("train") == 20 and made.size("test") == 3
    assert made.classes[2] == "conference room" and len(made.classes) == 10
    assert np.bincount(made.arrays["y_train"]).tolist() == [2] * 10
    assert made.arrays["y_test"].tolist() == [6, 9, 6]  # kitchen, waiting room, kitchen
    assert list(made.arrays["part_names"]) == ["wall", "building, edifice", "sky"]
    kept = labels[:, slice(*columns)].astype(int) - 1
    step = kept.shape[1] // 20  # of 40 columns every second is left
    mask = made.arrays["part_masks_test"][0]
    np.testing.assert_array_equal(mask, kept[:, ::step])
    assert (made.arrays["part_masks_test"][1:] == 1).all()
    seen = made.arrays["part_visible_test"]
    assert seen.tolist()[1:] == [[False, True, False]] * 2
    rows, places = np.nonzero(mask == 0)
    middle = places.mean() + 0.5, rows.mean() + 0.5
    np.testing.assert_allclose(made.arrays["parts_test"][0, 0], middle)
    b = made.batch("test")
    assert b.part_masks.shape == (3, 20, 20) and b.boxes[0].tolist() == [0, 0, 20, 20]


@pytest.mark.parametrize("gone", ["ADEChallengeData2016.zip", "data_256/b/bathroom"])
def test_rooms_that_are_not_there_are_asked_for(rooms, tmp_path, gone, capsys):
    raw, _ = rooms
    (raw / gone).rename(tmp_path / "elsewhere")
    assert prepare(script("places"), tmp_path, size=20) == (None, 2)
    said = " ".join(capsys.readouterr().err.split())
    assert "get http://data.csail.mit.edu/places/" in said


def test_a_listing_that_the_archive_lacks_is_named(rooms, tmp_path, capsys):
    raw, _ = rooms
    with zipfile.ZipFile(raw / "ADEChallengeData2016.zip", "w") as archive:
        archive.writestr("ADEChallengeData2016/sceneCategories.txt", "a kitchen\n")
    assert prepare(script("places"), tmp_path, size=20, train=20) == (None, 2)
    assert "objectInfo150.txt" in " ".join(capsys.readouterr().err.split())


def test_preparing_needs_no_torch():
    code = "from benchmark.data import download, folders, photos"
    assert loaded(code, "torch") == set()
