"""A prepared data set as Croissant: JSON-LD that says what it is and where it comes from, and files that it describes.

    write(data.load(path), Path("out"))    # out/croissant.json, images.csv, images-<hash>.zip, parts.csv

Croissant's readers know tables and pictures but no npz, so the images are written as PNG, and labels, boxes and parts
as CSV. Labels are whole numbers, coordinates floats. Part masks and the importance of parts stay in the npz. The
archive is named by its pixels, because mlcroissant keeps what it has unpacked by the name of the archive alone.

Reference: the Croissant format specification 1.1, https://docs.mlcommons.org/croissant.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from benchmark import __version__, store
from benchmark.data.dataset import SPLITS, Dataset

VERSION = "http://mlcommons.org/croissant/1.1"
AUTHORS = "The glassbench authors"  # of what this project makes, as in CITATION.cff
LICENCES = {  # what a card says -> its URL
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "MIT": "https://spdx.org/licenses/MIT.html",
}
_PURPOSES = {"train": "cr:TrainingSplit", "test": "cr:TestSplit"}
_TYPES = {"i": "sc:Integer", "f": "sc:Float", "b": "sc:Boolean"}
_CROISSANT_TERMS = (
    "annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field fileProperty "
    "fileObject fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet references "
    "regex repeated replace readLines samplingRate sdVersion separator source subField transform unArchive value"
)
CONTEXT = {  # the specification's appendix 1, and what mlcroissant 1.1 has besides
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS.split()},
}


def write(dataset: Dataset, folder: Path) -> Path:
    """Write the data set and its description into ``folder``; the same data set gives the same bytes.

    Returns:
        the path of ``croissant.json``.
    """
    tables = {"images": images_table(dataset)}
    if "parts_test" in dataset.arrays:
        tables["parts"] = parts_table(dataset)
    for name, table in tables.items():
        text = table.to_csv(index=False, lineterminator="\n")
        store.write_text(folder / f"{name}.csv", text)
    archive = folder / f"images-{_pixel_hash(dataset)[:12]}.zip"
    for other in folder.glob("images-*.zip"):
        if other != archive:
            other.unlink()
    with store.atomic(archive) as file:
        _write_pictures(dataset, file)
    files = [_file(folder / f"{name}.csv", "text/csv") for name in tables]
    files += [_file(archive, "application/zip"), _pictures(archive.name)]
    records = [_splits(dataset), _classes(dataset)]
    records += [_records(name, table) for name, table in tables.items()]
    facts = _about(dataset) | {"distribution": files, "recordSet": records}
    store.write_json(folder / "croissant.json", facts)
    return folder / "croissant.json"


# --------------------------------------------------------------------------------------------- the files


def picture_name(split: str, i: int) -> str:
    return f"{split}-{i:06d}.png"


def images_table(dataset: Dataset) -> pd.DataFrame:
    """A line per image: file, split, number in the split, label, class, and its box in pixels if it has one."""
    parts = []
    for split in SPLITS:
        labels = dataset.arrays[f"y_{split}"]
        part = pd.DataFrame({"label": labels})
        part["class"] = np.array(dataset.classes)[labels]
        part["split"], part["number"] = split, np.arange(len(labels))
        part["file"] = [picture_name(split, i) for i in range(len(labels))]
        boxes = dataset.arrays.get(f"boxes_{split}")
        if boxes is not None:
            part[["x0", "y0", "x1", "y1"]] = np.asarray(boxes, np.float32)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    first = ["file", "split", "number", "label", "class"]
    return table[first + [name for name in table if name not in first]]


def parts_table(dataset: Dataset) -> pd.DataFrame:
    """A line per image and part: file, part, its location x, y in pixels, and whether it is visible."""
    names = [str(name) for name in dataset.arrays["part_names"]]
    found = []
    for split in SPLITS:
        places = dataset.arrays[f"parts_{split}"]  # (N, p, 2)
        n, p, _ = places.shape
        files = [picture_name(split, i) for i in range(n)]
        x, y = np.moveaxis(np.asarray(places, np.float32), 2, 0).reshape(2, n * p)
        visible = dataset.arrays[f"part_visible_{split}"].ravel()
        columns = {"file": np.repeat(files, p), "part": names * n}
        found.append(pd.DataFrame(columns | {"x": x, "y": y, "visible": visible}))
    return pd.concat(found, ignore_index=True)


def _pixel_hash(dataset: Dataset) -> str:
    digest = hashlib.sha256()
    for split in SPLITS:
        pixels = dataset.arrays[f"x_{split}"]
        digest.update(str(pixels.shape).encode() + pixels.tobytes())
    return digest.hexdigest()


def _write_pictures(dataset: Dataset, file: Any) -> None:
    """The images as PNG, which loses nothing."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for split in SPLITS:
            for i, pixels in enumerate(dataset.arrays[f"x_{split}"]):
                grey = len(pixels) == 1
                picture = pixels[0] if grey else np.moveaxis(pixels, 0, 2)
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, "png")
                entry = zipfile.ZipInfo(picture_name(split, i))  # of 1980, always
                archive.writestr(entry, buffer.getvalue())


# --------------------------------------------------------------------------------------------- the description


def _about(dataset: Dataset) -> dict[str, Any]:
    """The data set as a whole, from its card."""
    card = dataset.card
    licence, citation = card.get("licence", ""), card.get("citation", "")
    facts = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": dataset.name,
        "alternateName": card.get("title", ""),
        "description": _description(card),
        "conformsTo": VERSION,
        "license": LICENCES.get(licence, licence),
        "citeAs": citation,
        "url": card.get("url") or f"urn:glassbench:{dataset.name}",
        "version": __version__,
        "creator": list(_creators(citation)),
        "isBasedOn": [_origin(file, card) for file in _sources(card)],
    }
    years = re.findall(r"\b(?:19|20)\d\d\b", citation)
    if years:
        facts["datePublished"] = years[-1]
    return {key: value for key, value in facts.items() if value not in ("", [])}


def _description(card: dict[str, Any]) -> str:
    """What the data set is, and what was done to it."""
    provenance = card.get("provenance", {})
    facts = {
        "Changes": provenance.get("changes"),
        "Resized": card.get("resize"),
        "Settings": json.dumps(card.get("params", {}), sort_keys=True),
    }
    lines = [f"{card.get('what', '')}."]
    for name, text in facts.items():
        if text:
            lines.append(f"{name}: {text}.")
    return " ".join(lines)


def _creators(citation: str) -> Iterator[dict[str, str]]:
    """The names before the colon of a citation, ``Wah, Branson: The ...``."""
    names, colon, _ = citation.partition(": ")
    if not colon:
        if "this project" in citation:
            yield {"@type": "Organization", "name": AUTHORS}
        return
    for name in names.split(", "):
        yield {"@type": "Person", "name": name}


def _sources(card: dict[str, Any]) -> list[dict[str, Any]]:
    return card.get("provenance", {}).get("files", [])


def _origin(file: dict[str, Any], card: dict[str, Any]) -> dict[str, str]:
    """A file that the data set was made from."""
    origin = file.get("origin", "unknown")
    url = card.get("url") if origin == "official" else ""
    facts = {
        "@type": "sc:MediaObject",
        "name": file["file"],
        "description": f"{origin} copy",
        "url": url,
        "sha256": file.get("sha256"),
        "md5": file.get("md5"),
    }
    return {key: value for key, value in facts.items() if value}


def _file(path: Path, kind: str) -> dict[str, str]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": digest,
    }


def _pictures(archive: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "pictures",
        "name": "pictures",
        "description": "One PNG per image, with the pixels that networks see.",
        "containedIn": {"@id": archive},
        "encodingFormat": "image/png",
        "includes": "*.png",
    }


def _field(record: str, name: str, kind: str, **more: Any) -> dict[str, Any]:
    whole = f"{record}/{name}"
    return {
        "@type": "cr:Field",
        "@id": whole,
        "name": whole,
        "dataType": kind,
        **more,
    }


def _enumeration(
    name: str, kind: str, fields: dict[str, str], lines: list[tuple[Any, ...]]
) -> dict[str, Any]:
    """A record set whose few lines are in the description itself; the first field is its key."""
    keys = [f"{name}/{field}" for field in fields]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": keys[0]},
        "field": [_field(name, field, kind) for field, kind in fields.items()],
        "data": [dict(zip(keys, line, strict=True)) for line in lines],
    }


def _splits(dataset: Dataset) -> dict[str, Any]:
    lines = []
    for split in SPLITS:
        lines.append((split, _PURPOSES[split], dataset.size(split)))
    fields = {"name": "sc:Text", "url": "sc:URL", "images": "sc:Integer"}
    return _enumeration("splits", "cr:Split", fields, lines)


def _classes(dataset: Dataset) -> dict[str, Any]:
    fields = {"label": "sc:Integer", "name": "sc:Text"}
    lines = list(enumerate(dataset.classes))
    return _enumeration("classes", "sc:Enumeration", fields, lines)


def _records(name: str, table: pd.DataFrame) -> dict[str, Any]:
    """The record set of a table; that of the images has their pixels, too."""
    fields = []
    for column in table:
        source = {"fileObject": {"@id": f"{name}.csv"}, "extract": {"column": column}}
        kind = _TYPES.get(table[column].dtype.kind, "sc:Text")
        fields.append(_field(name, column, kind, source=source))
    if name == "images":
        named = {
            "fileSet": {"@id": "pictures"},
            "extract": {"fileProperty": "filename"},
        }
        pixels = {
            "fileSet": {"@id": "pictures"},
            "extract": {"fileProperty": "content"},
        }
        fields[0] |= {"source": named, "references": _IN_TABLE}
        fields.append(_field(name, "image", "sc:ImageObject", source=pixels))
        fields[1]["references"] = {"field": {"@id": "splits/name"}}
    keys = ["file"] if name == "images" else ["file", "part"]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": [{"@id": f"{name}/{key}"} for key in keys],
        "field": fields,
    }


_IN_TABLE = {"fileObject": {"@id": "images.csv"}, "extract": {"column": "file"}}
