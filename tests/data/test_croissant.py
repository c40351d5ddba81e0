"""Croissant: what the description says is in the files. (mlcroissant, which is no dependency, reads the same back.)"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.data import Dataset, croissant

CARD = {
    "title": "Toys",
    "what": "small toys",
    "licence": "CC BY 4.0",
    "citation": "Ada, Grace: Toys. Journal 86(11), 1998",
    "url": "https://example.org/toys",
    "params": {"size": 5},
    "resize": "none",
    "provenance": {
        "changes": "cut",
        "files": [{"file": "toys.tar", "origin": "official", "sha256": "ab" * 32}],
    },
}


def toys(channels: int = 3) -> Dataset:
    rng = np.random.default_rng(0)
    arrays = {"classes": np.array(["cat", 'a "dog", big'])}
    arrays["part_names"] = np.array(["head", "tail"])
    for split, n in (("train", 4), ("test", 3)):
        shape = (n, channels, 5, 6)
        arrays[f"x_{split}"] = rng.integers(0, 256, shape, dtype=np.uint8)
        arrays[f"y_{split}"] = rng.integers(0, 2, n)
        arrays[f"boxes_{split}"] = rng.random((n, 4), np.float32)
        arrays[f"parts_{split}"] = rng.random((n, 2, 2), np.float32)
        arrays[f"part_visible_{split}"] = rng.random((n, 2)) < 0.5
    return Dataset("toys", arrays, CARD)


@pytest.fixture
def folder(tmp_path) -> Path:
    croissant.write(toys(), tmp_path)
    return tmp_path


def described(folder: Path) -> dict:
    return json.loads((folder / "croissant.json").read_text())


def test_the_description_is_that_of_the_card(folder):
    facts = described(folder)
    assert facts["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert facts["license"] == "https://creativecommons.org/licenses/by/4.0/"
    assert facts["citeAs"] == CARD["citation"] and facts["url"] == CARD["url"]
    assert facts["datePublished"] == "1998"
    assert [person["name"] for person in facts["creator"]] == ["Ada", "Grace"]
    (origin,) = facts["isBasedOn"]
    assert origin["name"] == "toys.tar" and origin["sha256"] == "ab" * 32
    assert "Changes: cut." in facts["description"]


def test_hashes_and_sizes_are_those_of_the_files(folder):
    for file in described(folder)["distribution"]:
        if file["@type"] == "cr:FileObject":
            data = (folder / file["contentUrl"]).read_bytes()
            assert file["sha256"] == hashlib.sha256(data).hexdigest()
            assert file["contentSize"] == f"{len(data)} B"


def test_fields_have_their_columns_and_types(folder):
    """What mlcroissant's own validation lets pass: a column that is not there, floats that are called integers."""
    facts = described(folder)
    ids = [node["@id"] for node in facts["distribution"] + facts["recordSet"]]
    kinds = {"sc:Integer": "i", "sc:Float": "f", "sc:Boolean": "b"}
    for record in facts["recordSet"]:
        for field in record["field"]:
            ids.append(field["@id"])
            source = field.get("source", {})
            if "fileObject" not in source:
                continue
            table = pd.read_csv(folder / source["fileObject"]["@id"])
            kind = table[source["extract"]["column"]].dtype.kind
            assert kind == kinds.get(field["dataType"], kind), field["@id"]
            assert kind in "ifb" or field["dataType"] == "sc:Text"
    assert len(ids) == len(set(ids))
    for reference in _references(facts):
        assert reference in ids, reference


def _references(node) -> list[str]:
    """The ids that are referred to: of objects that have nothing but an id."""
    if isinstance(node, list):
        return [name for part in node for name in _references(part)]
    if not isinstance(node, dict):
        return []
    parts = [value for key, value in node.items() if key not in ("@context", "data")]
    return [node["@id"]] if set(node) == {"@id"} else _references(parts)


@pytest.mark.parametrize("channels", [1, 3])
def test_records_are_the_data_set(tmp_path, channels):
    dataset = toys(channels)
    croissant.write(dataset, tmp_path)
    table = pd.read_csv(tmp_path / "images.csv", dtype={"x0": np.float32})
    (archive,) = tmp_path.glob("images-*.zip")
    with zipfile.ZipFile(archive) as file:
        assert sorted(file.namelist()) == sorted(table["file"])
        for row in table.itertuples():
            pixels = np.asarray(Image.open(io.BytesIO(file.read(row.file))))
            wanted = dataset.arrays[f"x_{row.split}"][row.number]
            wanted = wanted[0] if channels == 1 else np.moveaxis(wanted, 0, 2)
            assert (pixels == wanted).all()
            label = dataset.arrays[f"y_{row.split}"][row.number]
            assert row.label == label
            assert row[5] == dataset.classes[label]
            assert row.x0 == dataset.arrays[f"boxes_{row.split}"][row.number, 0]
    parts = pd.read_csv(tmp_path / "parts.csv", dtype={"y": np.float32})
    second = parts.iloc[3]  # the tail of the second image
    assert second["part"] == "tail" and second["file"] == "train-000001.png"
    assert second["y"] == dataset.arrays["parts_train"][1, 1, 1]
    assert second["visible"] == dataset.arrays["part_visible_train"][1, 1]


def test_the_same_data_set_gives_the_same_bytes_and_other_pixels_another_archive(
    folder, tmp_path_factory
):
    other = tmp_path_factory.mktemp("again")
    croissant.write(toys(), other)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    for name in names:
        assert (folder / name).read_bytes() == (other / name).read_bytes()
    before = set(other.glob("*.zip"))
    changed = toys()
    changed.arrays["x_test"][0, 0, 0, 0] ^= 1
    croissant.write(changed, other)
    assert len(set(other.glob("*.zip"))) == 1 and not before & set(other.glob("*.zip"))


def test_a_data_set_of_ones_own_names_nobody(tmp_path):
    card = {"licence": "", "citation": "", "what": "my images"}
    croissant.write(Dataset("mine", toys().arrays, card), tmp_path)
    facts = described(tmp_path)
    assert not {"creator", "datePublished", "citeAs", "license", "isBasedOn"} & set(
        facts
    )
    assert facts["url"] == "urn:glassbench:mine"
