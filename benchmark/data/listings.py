"""A user's images with their labels and, where they are annotated, where the objects lie; whatever lists them.

    found = read(Path("photos"))
    found.items[0]          # Item(file=photos/cat/1.jpg, name="cat/1.jpg", label="cat", ...)
    found.classes           # in the order of a network's outputs

A folder of classes     photos/<class>/*.jpg; photos/train/<class> and photos/test/<class> (or val) stay apart. Masks
                        are ``1_mask.png`` beside ``1.jpg``, or lie in the same places below a folder of masks, which
                        is found by itself where ``photos`` has the subfolders ``images`` and ``masks``.
A CSV                   path, label; a box x, y, w, h or x0, y0, x1, y1, a row for each; mask; split; and width and
                        height of the image that boxes refer to.
COCO's JSON             boxes, polygons, run lengths.
Pascal VOC's XML files  boxes, whose first pixel is 1, both ends included.

An image has one label. If it shows objects of several classes, it is that with the largest area, and only its objects
are kept. Images without any label are left out. What was left out or decided is told in ``remarks``, a line each.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmark import store
from benchmark.data.download import ParamsError
from benchmark.data.regions import Box, MaskFile, Region, RegionError, region_of_coco
from benchmark.utils.near_names import near

TEST_NAMES = ("test", "val", "valid", "validation")
_IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_MASK = re.compile(r"(.+)_mask(_\d+)?")  # of the stem of a mask's file
_COLUMNS = {  # of a CSV: the names that are understood
    "path": ("path", "file", "filename", "file_name", "image", "image_path"),
    "label": ("label", "class", "class_name", "category", "target"),
    "split": ("split", "set", "subset"),
    "mask": ("mask", "mask_path"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
    "x0": ("x0", "xmin", "x_min", "left"),
    "y0": ("y0", "ymin", "y_min", "top"),
    "x1": ("x1", "xmax", "x_max", "right"),
    "y1": ("y1", "ymax", "y_max", "bottom"),
    "x": ("x",),
    "y": ("y",),
    "w": ("w", "box_width"),
    "h": ("h", "box_height"),
}
_CORNERS, _SIDES = ("x0", "y0", "x1", "y1"), ("x", "y", "w", "h")


@dataclass(frozen=True)
class Item:
    """An image.

    Attributes:
        name: of the file, relative to the list of images; what messages and cards call it.
        split: "train", "test", or empty where the list does not tell.
        objects: those of the label's class.
        side: width and height of the pixels that the objects refer to, where the list tells.
    """

    file: Path
    name: str
    label: str
    split: str = ""
    objects: tuple[Region, ...] = ()
    side: tuple[int, int] | None = None


@dataclass(frozen=True)
class Listing:
    """What a list of images holds.

    Attributes:
        classes: those of the items, in order.
        declared: classes that the list names in an order of its own, though no image may show them (COCO).
        annotated: does the list say where objects are?
        kind: in words.
        sources: the files of the list itself.
    """

    items: list[Item]
    classes: list[str]
    kind: str
    declared: list[str] = field(default_factory=list)
    annotated: bool = False
    remarks: list[str] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)


def read(path: Path, masks: Path | None = None) -> Listing:
    """The images of a folder or of a file that lists them.

    Args:
        path: a folder of classes, a CSV, COCO's JSON, or a folder with Pascal VOC's XML files.
        masks: the folder of the masks of a folder of classes.

    Raises:
        ParamsError: it is none of these, or cannot be used; one line with the reason and the way out.
    """
    readers: Mapping[str, Callable[[Path], Listing]] = {
        ".csv": _csv,
        ".tsv": _csv,
        ".json": _coco,
    }
    reader = readers.get(path.suffix.lower())
    if path.is_dir():
        annotations = _voc_files(path)
        if not annotations:
            return _folder(path, masks)
        reader = lambda path: _voc(path, annotations)
    if masks:
        raise ParamsError(
            f"masks: {path.name} is no folder of classes; a CSV names masks in a column `mask`"
        )
    if not path.exists():
        raise ParamsError(f"{path} is not a folder, and there is no such file")
    if reader is None:
        raise ParamsError(
            f"{path.name} lists no images: give a folder of classes, a CSV, COCO's JSON "
            "or a folder of Pascal VOC's XML files"
        )
    try:
        return reader(path)
    except RegionError as error:
        raise ParamsError(f"{path.name}: {error}") from None


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes in alphabetical order; numbers in that of their values."""
    names = set(names)
    if all(map(str.isdecimal, names)):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def label_index(label: str, classes: Sequence[str], where: str) -> int:
    """The index of a label that is the name of a class or its index.

    Raises:
        ParamsError: it is neither.
    """
    if label in classes:
        return classes.index(label)
    if not label.isdecimal():
        raise ParamsError(f"{where}: {near(label, classes, 'class')}")
    if int(label) >= len(classes):
        raise ParamsError(
            f"{where}: label {label} is beyond the {len(classes)} classes, 0 to {len(classes) - 1}"
        )
    return int(label)


def several(names: Sequence[str]) -> str:
    """How many names there are, and the first of them: ``3 (a.jpg, b.jpg, ...)``."""
    more = ", ..." if len(names) > 2 else ""
    return f"{len(names)} ({', '.join(names[:2])}{more})"


# --------------------------------------------------------------------------------------------- a folder of classes


def _folder(path: Path, masks: Path | None) -> Listing:
    """One subfolder per class, perhaps below the folders of a split."""
    inside = _subfolders(path)
    if masks is None and {"images", "masks"} <= inside.keys():
        path, masks = inside["images"], inside["masks"]
        inside = _subfolders(path)
    if masks and not masks.is_dir():
        raise ParamsError(f"masks: {masks} is not a folder")
    tests = [split for split in TEST_NAMES if split in inside]
    places = {"": path}
    if tests and "train" in inside:
        places = {"train": inside["train"], "test": inside[tests[0]]}
    items = []
    for split, place in places.items():
        for label, folder in _classes(place).items():
            for file in _visible(f for f in folder.rglob("*") if f.is_file()):
                name = file.relative_to(path).as_posix()
                items.append(Item(file, name, label, split))
    classes = in_order(
        label for place in places.values() for label in _subfolders(place)
    )
    found = Listing(items, classes, "folder")
    if masks:
        return _with_masks(found, path, masks)
    return _with_masks_beside(found)


def _classes(path: Path) -> dict[str, Path]:
    """{class: its folder}."""
    found = _subfolders(path)
    if not found:
        images = [f for f in path.iterdir() if f.suffix.lower() in _IMAGES]
        held = f"{len(images)} images and no" if images else "0"
        raise ParamsError(
            f"{path} holds {held} subfolders; there must be one per class, or a CSV that lists path and label"
        )
    return found


def _subfolders(path: Path) -> dict[str, Path]:
    """{name: folder}, sorted, without hidden ones."""
    folders = (folder for folder in path.iterdir() if folder.is_dir())
    return {folder.name: folder for folder in _visible(folders)}


def _visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted, without hidden ones.

    Raises:
        ParamsError: a name is not UTF-8, in which card and script are written.
    """
    shown = sorted(path for path in paths if not path.name.startswith("."))
    for path in shown:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ParamsError(
                f"{os.fsencode(path)!r}: this name is not UTF-8; rename it and run again"
            ) from None
    return shown


def _with_masks_beside(found: Listing) -> Listing:
    """With the masks ``1_mask.png``, ``1_mask_1.png`` of an image ``1.jpg`` in the same folder, which are no images."""
    images = {_place(item.file): item for item in found.items}
    masks: dict[Path, list[Region]] = defaultdict(list)
    rest = []
    for item in found.items:
        match = _MASK.fullmatch(item.file.stem)
        if match and item.file.with_name(match[1]) in images:
            masks[item.file.with_name(match[1])].append(MaskFile(item.file))
        else:
            rest.append(item)
    items = [replace(i, objects=tuple(masks.get(_place(i.file), ()))) for i in rest]
    return replace(found, items=items, annotated=bool(masks))


def _place(file: Path) -> Path:
    """Where a file lies, without its suffix."""
    return file.with_name(file.stem)


def _with_masks(found: Listing, path: Path, masks: Path) -> Listing:
    """With the masks that lie below ``masks`` where the images lie below ``path``, with or without ``_mask``."""
    there: dict[Path, list[Path]] = defaultdict(list)
    for file in _visible(f for f in masks.rglob("*") if f.is_file()):
        stem = _place(file.relative_to(masks))
        match = _MASK.fullmatch(stem.name)
        there[stem.with_name(match[1]) if match else stem].append(file)
    items, used = [], set()
    for item in found.items:
        place = _place(item.file.relative_to(path))
        used.add(place)
        objects = tuple(map(MaskFile, there.get(place, ())))
        items.append(replace(item, objects=objects))
    unused = [place.as_posix() for place in there if place not in used]
    if len(unused) == len(there):
        wanted = _place(found.items[0].file.relative_to(path)) if found.items else "1"
        raise ParamsError(
            f"masks: none in {masks} belongs to an image; that of {wanted}.jpg is {masks.name}/{wanted}.png"
        )
    remarks = [f"masks that belong to no image: {several(unused)}"] if unused else []
    return replace(found, items=items, annotated=True, remarks=remarks)


# --------------------------------------------------------------------------------------------- objects of classes


@dataclass
class _Image:
    """An image of a list, and its objects: (class, region or None)."""

    file: Path
    name: str
    split: str = ""
    side: tuple[int, int] | None = None
    objects: list[tuple[str, Region | None]] = field(default_factory=list)


def _listing(images: Iterable[_Image], kind: str, source: Path) -> Listing:
    """Each image with one label; files that are missing, and images without a label, are left out and counted."""
    items, missing, unlabelled, mixed, flat = [], [], [], [], []
    for image in images:
        if not image.file.is_file():
            missing.append(image.name)
            continue
        if not image.objects:
            unlabelled.append(image.name)
            continue
        areas = _areas(image, source)
        if len(areas) > 1 and not any(areas.values()):
            raise ParamsError(
                f"{source.name}: {image.name} is labelled {' and '.join(areas)}; an image has one label"
            )
        label, _ = areas.most_common(1)[0]
        mine = [region for name, region in image.objects if name == label and region]
        objects = tuple(region for region in mine if region.area > 0)
        if len(areas) > 1:
            mixed.append(image.name)
        if len(objects) < len(mine):
            flat.append(image.name)
        side = image.side
        items.append(Item(image.file, image.name, label, image.split, objects, side))
    if not items:
        raise ParamsError(f"{source.name}: {_why_none(missing, unlabelled)}")
    counted = {
        "images that are missing, left out": missing,
        "images without annotation, left out": unlabelled,
        "images that show several classes, labelled by the largest, whose objects alone count": mixed,
        "images with objects without area, which are left out": flat,
    }
    remarks = [f"{what}: {several(names)}" for what, names in counted.items() if names]
    classes = in_order(item.label for item in items)
    annotated = any(item.objects for item in items)
    return Listing(items, classes, kind, [], annotated, remarks, [source])


def _areas(image: _Image, source: Path) -> Counter[str]:
    """The area of an image's objects, by class."""
    areas: Counter[str] = Counter()
    try:
        for label, region in image.objects:
            areas[label] += region.area if region else 0
    except RegionError as error:
        raise ParamsError(f"{source.name}: {image.name}: {error}") from None
    return areas


def _why_none(missing: Sequence[str], unlabelled: Sequence[str]) -> str:
    if missing:
        return f"none of its {len(missing)} images is there, for example {missing[0]}"
    if unlabelled:
        return f"none of its {len(unlabelled)} images is annotated"
    return "it lists no image"


def _box(corners: Sequence[Any], where: str) -> Box:
    """
    Raises:
        ParamsError: coordinates that are no finite numbers.
    """
    try:
        box = Box(*map(float, corners))
    except (TypeError, ValueError):
        raise ParamsError(
            f"{where}: {list(corners)} is no box of four numbers"
        ) from None
    if not all(map(math.isfinite, (box.x0, box.y0, box.x1, box.y1))):
        raise ParamsError(f"{where}: the box {list(corners)} is not finite")
    return box


# --------------------------------------------------------------------------------------------- CSV


def _csv(path: Path) -> Listing:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ParamsError(f"{path.name} is not UTF-8; save it as UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = _columns(path, rows.fieldnames or [])
    images: dict[str, _Image] = {}
    for row in rows:
        where = f"{path.name}, line {rows.line_num}"
        given = {key: (row[name] or "").strip() for key, name in columns.items()}
        name = given["path"]
        if not name or not given["label"]:
            raise ParamsError(f"{where}: {'no label' if name else 'no path'}")
        image = _Image(_file(path.parent, name), name, _split(given, where))
        image = images.setdefault(name, image)
        if given.get("width") and given.get("height"):
            image.side = _whole(given, where)
        image.objects.append((given["label"], _of_row(path, given, where)))
    _refuse_relative(path, images.values())
    return _listing(_kept(images.values()), "CSV", path)


def _columns(path: Path, names: Sequence[str]) -> dict[str, str]:
    """{what it is: the name of the column}."""
    found = {}
    by_name = {name.strip().lower(): name for name in names if name}
    for key, known in _COLUMNS.items():
        for name in known:
            if name in by_name:
                found.setdefault(key, by_name[name])
    if {
        "x",
        "y",
    } <= found.keys() and "w" not in found:  # sides of the box, not the image
        for key, name in (("w", "width"), ("h", "height")):
            if name in found:
                found[key] = found.pop(name)
    for key in ("path", "label"):
        if key not in found:
            raise ParamsError(
                f"{path.name}: no column {key!r} among {', '.join(by_name) or 'none'}; "
                f"its first line names the columns: path,label"
            )
    for form in (_CORNERS, _SIDES):
        lacking = [key for key in form if key not in found]
        if 0 < len(lacking) < 4 and not (
            form is _SIDES and set(_CORNERS) <= found.keys()
        ):
            raise ParamsError(
                f"{path.name}: a box needs the columns {', '.join(form)}; {', '.join(lacking)} is missing"
            )
    return found


def _file(place: Path, name: str) -> Path:
    """A file of a list, which may have been written under Windows."""
    file = place / name
    if "\\" in name and not file.exists():
        return place / name.replace("\\", "/")
    return file


def _split(given: Mapping[str, str], where: str) -> str:
    split = given.get("split")
    if split is None or split in ("train", *TEST_NAMES):
        return split or ""
    raise ParamsError(f"{where}: the split is {split!r}; write train or test")


def _whole(given: Mapping[str, str], where: str) -> tuple[int, int]:
    try:
        return int(given["width"]), int(given["height"])
    except ValueError:
        raise ParamsError(f"{where}: width and height must be whole numbers") from None


def _of_row(path: Path, given: Mapping[str, str], where: str) -> Region | None:
    """The mask or the box of a row; None if it has none."""
    if given.get("mask"):
        file = _file(path.parent, given["mask"])
        if not file.is_file():
            raise ParamsError(f"{where}: there is no mask {given['mask']}")
        return MaskFile(file)
    if any(given.get(key) for key in _CORNERS):
        return _box([given[key] for key in _CORNERS], where)
    if any(given.get(key) for key in _SIDES):
        x, y, w, h = (given[key] for key in _SIDES)
        box = _box([x, y, w, h], where)
        return Box(box.x0, box.y0, box.x0 + box.x1, box.y0 + box.y1)
    return None


def _refuse_relative(path: Path, images: Iterable[_Image]) -> None:
    """
    Raises:
        ParamsError: all boxes lie within 1 pixel.
    """
    regions = [region for image in images for _, region in image.objects]
    boxes = [region for region in regions if isinstance(region, Box)]
    if boxes and all(max(box.x1, box.y1) <= 1 for box in boxes):
        raise ParamsError(
            f"{path.name}: all boxes lie within 0 to 1; multiply them by width and height: boxes are in pixels"
        )


def _kept(images: Iterable[_Image]) -> list[_Image]:
    """Those for training and for test, which of several names of the latter is the first of ``TEST_NAMES``."""
    images = list(images)
    splits = {image.split for image in images}
    test = next((name for name in TEST_NAMES if name in splits), "")
    for image in images:
        if image.split == test:
            image.split = "test" if test else ""
        elif image.split != "train":
            image.split = "left out"
    return [image for image in images if image.split != "left out"]


# --------------------------------------------------------------------------------------------- COCO


def _coco(path: Path) -> Listing:
    try:
        whole = json.loads(path.read_bytes())
        names = {c["id"]: str(c["name"]) for c in whole["categories"]}
        images = {image["id"]: image for image in whole["images"]}
        annotations = [dict(each) for each in whole["annotations"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ParamsError(
            f"{path.name} is not COCO's JSON: it needs images, annotations and categories (instances_*.json)"
        ) from None
    if len(images) < len(whole["images"]):
        raise ParamsError(f"{path.name}: two images have the same id")
    twice = [name for name, count in Counter(names.values()).items() if count > 1]
    if twice:
        raise ParamsError(f"{path.name}: two categories are called {twice[0]!r}")
    place = _place_of_images(
        path, [str(i.get("file_name", "")) for i in images.values()]
    )
    found: dict[str, _Image] = {}
    by_id = {}
    for key, image in images.items():
        name = str(image.get("file_name", ""))
        if not name:
            raise ParamsError(f"{path.name}: image {key} has no file_name")
        w, h = image.get("width"), image.get("height")
        side = (int(w), int(h)) if w and h else None
        one = _Image(_file(place, name), name, side=side)
        by_id[key] = found.setdefault(name, one)  # a file may stand there twice
    for annotation in annotations:
        image, category = (annotation.get(k) for k in ("image_id", "category_id"))
        if image not in by_id or category not in names:
            what = f"image {image}" if image not in by_id else f"category {category}"
            raise ParamsError(
                f"{path.name}: an annotation names {what}, which is not there"
            )
        region = region_of_coco(annotation)
        by_id[image].objects.append((names[category], region))
    listing = _listing(found.values(), "COCO", path)
    declared = [names[key] for key in sorted(names, key=_id_order)]
    shown = set(listing.classes)
    classes = [name for name in declared if name in shown]
    return replace(listing, classes=classes, declared=declared)


def _id_order(key: Any) -> tuple[int, str]:
    return (int(key), "") if str(key).isdecimal() else (0, str(key))


def _place_of_images(path: Path, names: Sequence[str]) -> Path:
    """The folder of the images: that of the JSON, the one above, or one in either; the first that holds one of them."""
    here = path.parent
    above = here.parent
    places = [here, *_subfolders(here).values(), above, *_subfolders(above).values()]
    for place in places:
        if any((place / name).is_file() for name in names[:100] if name):
            return place
    return here


# --------------------------------------------------------------------------------------------- Pascal VOC


def _voc_files(path: Path) -> list[Path]:
    """The XML files of a folder with Pascal VOC's annotations."""
    for place in (path / "Annotations", path / "annotations" / "xmls", path):
        if files := sorted(place.glob("*.xml")):
            return files
    return []


def _voc(path: Path, files: Sequence[Path]) -> Listing:
    place = files[0].parent
    images = [_voc_image(file) for file in files]
    sets = {"train": "train", "test": "test"}
    lists = _subfolders(path).get("ImageSets", path) / "Main"
    if not (lists / "test.txt").is_file():
        sets["test"] = "val"
    members = {split: _members(lists / f"{name}.txt") for split, name in sets.items()}
    if all(members.values()):
        for image in images:
            stem = Path(image.name).stem
            kept = [split for split, names in members.items() if stem in names]
            image.split = kept[0] if kept else "left out"
        images = [image for image in images if image.split != "left out"]
    found = _listing(images, "Pascal VOC", place)
    return replace(found, sources=list(files))


def _members(file: Path) -> set[str]:
    """The images of a set; empty if there is no such file."""
    if not file.is_file():
        return set()
    lines = (line.split() for line in file.read_text().splitlines())
    return {words[0] for words in lines if words}


def _voc_image(file: Path) -> _Image:
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise ParamsError(f"{file.name} is no XML that can be read: {error}") from None
    name = (root.findtext("filename") or file.stem).strip()
    image = _Image(_voc_photo(file, name), name)
    w, h = (root.findtext(f"size/{key}") or "0" for key in ("width", "height"))
    if w.strip().isdecimal() and h.strip().isdecimal() and int(w) and int(h):
        image.side = int(w), int(h)
    for each in root.iter("object"):
        label = (each.findtext("name") or "").strip()
        ends = [
            each.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")
        ]
        if not label:
            raise ParamsError(f"{file.name}: an object has no name")
        box = _box(ends, file.name)
        image.objects.append((label, Box(box.x0 - 1, box.y0 - 1, box.x1, box.y1)))
    return image


def _voc_photo(file: Path, name: str) -> Path:
    """The image of an XML file: in JPEGImages or images, or beside it; by its name, or by that of the XML file."""
    above = file.parent.parent
    places = [
        above / "JPEGImages",
        above / "images",
        above.parent / "images",
        file.parent,
        above,
    ]
    for place in places:
        for each in (name, *(f"{file.stem}{suffix}" for suffix in _IMAGES)):
            if (place / each).is_file():
                return place / each
    return file.parent / name


def state(found: Listing) -> str:
    """What tells whether the images or their annotations have changed: names, sizes and times of the files."""
    files = [*found.sources]
    for item in found.items:
        masks = [region.file for region in item.objects if isinstance(region, MaskFile)]
        files += [item.file, *masks]
    facts = []
    for file in files:
        now = file.stat()
        facts.append((str(file), now.st_size, now.st_mtime_ns))
    labels = [(item.name, item.label, item.split) for item in found.items]
    return store.hashes.key_of("images", facts, labels, found.classes)
