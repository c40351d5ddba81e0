"""A user's own images as a data set with a name of its own.

    command_line(["--path", "/home/ann/photos", "--size", "64"])    # prepares it, and writes datasets/photos.py
    run("photos", "../photos", 64)                                  # what that script does

Idea: the images are named relative to the project, in the script as in the data card, as both are read elsewhere: other
clones, other machines, published results. Boxes and masks move with the pixels (``data.regions``): where each image has
one box, it is the batch's box; else the objects of an image are one mask, ``part_masks`` with the single part 0.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark import data, store
from benchmark.data import listings
from benchmark.data.download import ParamsError, choose, main, say
from benchmark.data.listings import Item, Listing
from benchmark.data.photos import MAX_PIXELS, Photo, of_card, read_photo
from benchmark.data.profile_edit import add_to_profile
from benchmark.data.regions import Box, Frame, MaskFile, RegionError, Runs, union
from benchmark.utils.seeds import generator

TEST_SHARE = 5  # one image in this many goes to test
DOC = "Your own images: a folder of classes, a CSV, COCO or Pascal VOC (datasets/folder.py)."
MADE_BY = "made by `glassbench prepare folder`"
SCRIPT = f'''"""{{name}}: images of one's own ({MADE_BY})."""

import sys

from benchmark.data.folders import run

DEFAULTS = {{defaults}}

if __name__ == "__main__":
    sys.exit(run({{name!r}}, **DEFAULTS))
'''
DEFAULTS = {"size": 224, "fit": "squash", "channels": 3, "path": "", "masks": ""}
Splits = dict[str, list[Item]]
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF: width and height are swapped
_TURNED_BY_PILLOW = "TIFF"


def command_line(argv: list[str] | None = None) -> int:
    """Prepare the images of ``--path``, write the script that prepares them again, and name them in the profile.

    Returns:
        The exit code.
    """
    args, rest = _parser().parse_known_args(argv)
    if args.profile:
        rest += ["--profile", args.profile]
    if args.path is None:
        say(
            "folder: which one? glassbench prepare folder --path DIR [--name NAME] [--size N]"
        )
        return 2
    path = Path(os.path.abspath(args.path.expanduser()))
    name = args.name or re.sub(r"\W+", "_", path.stem).strip("_").lower()
    script = store.ROOT / "datasets" / f"{name}.py"
    if problem := _problem(name, script, args.size):
        say(f"folder: {problem}")
        return 2
    written = as_written(path)
    if written.startswith("../"):
        say(
            f"{name}: {path} is outside the project: datasets/{name}.py names it {written}; a clone that has it "
            f"elsewhere sets data.{name}.path in its params.yaml"
        )
    more: dict[str, Any] = {}
    if args.masks:
        more["masks"] = as_written(Path(os.path.abspath(args.masks.expanduser())))
    if args.fit != "squash":
        more["fit"] = args.fit
    if args.grey:
        more["channels"] = 1
    code = run(name, written, args.size, rest, **more)
    if code == 0:
        defaults = {**DEFAULTS, "path": written, "size": args.size, **more}
        text = SCRIPT.format(name=name, defaults=defaults)
        store.write_text(script, text)
        if args.add:
            _add(name, args.size, args.profile)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="glassbench prepare folder", description=DOC)
    add = parser.add_argument
    add("--path", type=Path, help="the folder, CSV or COCO JSON")
    add("--name", help="of the data set (default: the folder's)")
    add("--size", type=int, default=224, help="side in pixels (default: 224)")
    add("--masks", type=Path, help="folder of masks, in the same places as the images")
    add("--fit", choices=("squash", "crop"), default="squash")
    add("--grey", action="store_true", help="one channel instead of three")
    add("--profile", help="whose folder the npz goes to")
    add("--data-only", dest="add", action="store_false", help="leave params.yaml")
    return parser


def _add(name: str, size: int, profile: str | None) -> None:
    """Name a data set in params.yaml, with a network to train on it, if that is the profile."""
    file = store.ROOT / "params.yaml"
    try:
        chosen = store.read_yaml(file).get("profile") if file.exists() else profile
        if profile not in (None, chosen):
            say(f"{name}: params.yaml is of profile {chosen}, and was left alone")
            return
        if line := add_to_profile(file, name, size):
            say(f"{name}: {line}")
    except (ParamsError, store.StoreError) as error:
        say(f"{name}: {error}")


def _problem(name: str, script: Path, size: int) -> str:
    """Why a data set cannot be called or sized so; empty if it can."""
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        return (
            f"{name!r} cannot name a data set (letters, digits and _ only); "
            f"give another name by --name"
        )
    if script.exists() and MADE_BY not in script.read_text().partition("\n")[0]:
        return f"there is already a data set {name!r}; give another name by --name"
    if size < 1:
        return f"--size {size} must be at least 1"
    return ""


def as_written(path: Path) -> str:
    """An absolute path relative to the project: below it where one of its names is, else by ``..``."""
    root = store.ROOT.resolve()
    for place in (path, path.parent.resolve() / path.name, path.resolve()):
        if place.is_relative_to(root):
            return place.relative_to(root).as_posix()
    return Path(os.path.relpath(path.resolve(), root)).as_posix()


def run(
    name: str, path: str, size: int, argv: list[str] | None = None, **more: Any
) -> int:
    """Prepare the images as data set ``name``; the scripts that ``command_line`` writes call it.

    Images that have changed are read again only with --force.

    Args:
        path: the folder, CSV or JSON, absolute or relative to the project.
        more: other parameters than those of ``DEFAULTS``: fit, channels, masks.
    """
    defaults = {**DEFAULTS, "size": size, "path": path, **more}
    card: dict[str, Any] = {}

    def prepare_folder(params: dict[str, Any], downloads: Path) -> tuple[dict, dict]:
        arrays, found = prepare(params, name, store.ROOT)
        card.update(found)
        return arrays, found

    code = main(name, prepare_folder, defaults, DOC, argv)
    for line in card.get("remarks", ()):
        say(f"{name}: {line}")
    return code


def prepare(params: dict[str, Any], name: str, root: Path) -> tuple[dict, dict]:
    """The arrays of a data set to train networks on, and its card.

    Args:
        root: what paths among the parameters are relative to.

    Raises:
        ParamsError: the images cannot be used; a class has no training image, or all none for test.
    """
    path = root / Path(params["path"]).expanduser()
    masks = root / Path(params["masks"]).expanduser() if params["masks"] else None
    found = listings.read(path, masks)
    what = "subfolders" if found.kind == "folder" else "classes"
    if len(found.classes) < 2:
        raise ParamsError(
            f"{path} holds {len(found.classes)} {what}; there must be one per class, and at least two"
        )
    splits = drawn(found.items, name)
    for split in data.SPLITS:
        if not splits[split]:
            raise _no_image(path, split)
    arrays, card = arrays_of(found, splits, found.classes, params)
    labels = set(arrays["y_train"].tolist())
    missing = [c for k, c in enumerate(found.classes) if k not in labels]
    if missing:
        raise ParamsError(f"{path}: no training image of {', '.join(missing)}")
    source = {"file": path.name, "origin": "folder", "sha256": card.pop("sha256")}
    return arrays, {
        "title": name,
        "what": f"a user's images, {', '.join(found.classes)}",
        "licence": "the owner's",
        "citation": "",
        "url": "",
        "provenance": {"files": [source], "changes": "none"},
        **card,
    }


def _no_image(path: Path, split: str) -> ParamsError:
    return ParamsError(
        f"{path}: no image for {split}; one image in {TEST_SHARE} of each class goes to test"
    )


def drawn(items: Sequence[Item], name: str, share: int = TEST_SHARE) -> Splits:
    """The images of each split: those of the list itself, else one in ``share`` of each class to test, by a seed named
    after the data set."""
    out: Splits = {split: [] for split in data.SPLITS}
    if any(item.split for item in items):
        for item in items:
            out[item.split].append(item)
        return out
    for label in sorted({item.label for item in items}):
        mine = [item for item in items if item.label == label]
        order = generator("folder", name, label).permutation(len(mine))
        to_test = set(order[: len(mine) // share].tolist())
        for i, item in enumerate(mine):
            split = "test" if i in to_test else "train"
            out[split].append(item)
    return out


# --------------------------------------------------------------------------------------------- pixels and objects


@dataclass
class _Read:
    """What reading the images told: files left out, notes by kind, and images by what was odd about their objects."""

    skipped: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    beyond: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    by_bytes: dict[str, list[str]] = field(default_factory=dict)
    digest: Any = field(default_factory=hashlib.sha256)

    def remarks(self) -> Iterator[str]:
        """What to know about the images, a line each."""
        copies = [names for names in self.by_bytes.values() if len(names) > 1]
        counted = {
            "images that stand there more than once": [" = ".join(n) for n in copies],
            "images with boxes that reach beyond them, cut at the sides": self.beyond,
            "images with no object left in the square": self.lost,
        }
        for what, names in counted.items():
            if names:
                yield f"{what}: {listings.several(names)}"


def arrays_of(
    found: Listing, splits: Splits, classes: Sequence[str], params: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a data set with these images, and what its card says of them.

    Raises:
        ParamsError: no image of a split can be read; a label is no class; annotations are of images of another size.
    """
    choose(params, "fit", "squash", "crop")
    told = _Read()
    arrays: dict[str, Any] = {"classes": list(classes)}
    found_of: dict[str, _Split] = {}
    for split, items in splits.items():
        same = [other for other in found_of if splits[other] is items]
        if same:
            found_of[split] = found_of[same[0]]
        else:
            found_of[split] = _of_split(items, classes, params, told)
        if not found_of[split].x:
            raise ParamsError(f"{_named(found)}: no image for {split} can be read")
        arrays[f"x_{split}"] = np.stack(found_of[split].x)
        arrays[f"y_{split}"] = np.array(found_of[split].y, np.int64)
    if found.annotated:
        arrays |= _annotations(found_of)
    return arrays, {
        "resize": f"{params['fit']}, bilinear with antialiasing; objects moved alike",
        "sha256": told.digest.hexdigest(),
        "remarks": [*found.remarks, *told.remarks()],
        **of_card(told.skipped, told.notes),
    }


@dataclass
class _Split:
    """The images of a split: pixels (c, size, size), labels, the box (4,) of the only object, masks (size, size)."""

    x: list[np.ndarray] = field(default_factory=list)
    y: list[int] = field(default_factory=list)
    boxes: list[np.ndarray | None] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)


def _of_split(
    items: Sequence[Item],
    classes: Sequence[str],
    params: Mapping[str, Any],
    told: _Read,
) -> _Split:
    out = _Split()
    for item in items:
        square = _square(item, params, told)
        if square is None:
            continue
        pixels, box, mask = square
        out.x.append(pixels)
        out.y.append(listings.label_index(item.label, classes, item.name))
        out.boxes.append(box)
        out.masks.append(mask)
        told.digest.update(f"{item.split}/{item.label}/{item.file.name}".encode())
    return out


def _named(found: Listing) -> str:
    return found.sources[0].name if found.sources else found.kind


def _square(
    item: Item, params: Mapping[str, Any], told: _Read
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray] | None:
    """An image as pixels (c, size, size), the box (4,) of its only object, and the mask (size, size) of all; None if it
    cannot be read."""
    raw, size = item.file.read_bytes(), params["size"]
    told.by_bytes.setdefault(hashlib.sha256(raw).hexdigest(), []).append(item.name)
    told.digest.update(raw)
    try:
        side = _side(item)
        photo = read_photo(raw, size, params["fit"], upright=_is_upright(raw, side))
        if photo is None:
            told.skipped.append(item.name)
            return None
        frame = Frame(photo.scale, photo.shift, size)
        _check_side(side, frame)
        mask = union(item.objects, frame)
    except RegionError as error:
        raise ParamsError(f"{item.name}: {error}") from None
    told.notes.update(photo.notes)
    found = [region for region in item.objects if isinstance(region, Box)]
    if any(box.reaches_beyond(frame.image_side()) for box in found):
        told.beyond.append(item.name)
    if item.objects and not mask.any():
        told.lost.append(item.name)
    one_box = found[0].corners(frame) if len(found) == len(item.objects) == 1 else None
    return _channels(photo, params["channels"]), one_box, mask


def _channels(photo: Photo, channels: int) -> np.ndarray:
    """The pixels (channels, size, size) uint8; the grey of one channel is the luma of ITU-R 601."""
    if channels != 1:
        return photo.pixels
    image = Image.fromarray(np.ascontiguousarray(photo.pixels.transpose(1, 2, 0)))
    return np.asarray(image.convert("L"))[None]


def _side(item: Item) -> tuple[int, int] | None:
    """Width and height of the pixels that an image's objects refer to, where they tell.

    Raises:
        RegionError: they disagree.
    """
    raster = [r for r in item.objects if isinstance(r, (MaskFile, Runs))]
    sides = {region.image_side() for region in raster}
    if item.side and item.objects:
        sides.add(item.side)
    if len(sides) > 1:
        told = " and ".join(f"{w} x {h}" for w, h in sorted(sides))
        raise RegionError(f"its annotations are of images of {told} pixels")
    return next(iter(sides), None)


def _is_upright(raw: bytes, side: tuple[int, int] | None) -> bool:
    """Do annotations of this width and height refer to the image as a viewer shows it, not to the pixels as stored?

    They can be told apart where EXIF lays the image on its side.
    """
    try:
        with Image.open(io.BytesIO(raw)) as image:
            stored, form = image.size, image.format
            orientation = image.getexif().get(_ORIENTATION, 1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return True
    if side is None or form == _TURNED_BY_PILLOW or orientation not in _SIDEWAYS:
        return True
    return stored != side or stored[0] == stored[1]


def _check_side(side: tuple[int, int] | None, frame: Frame) -> None:
    """
    Raises:
        RegionError: the image has other sides.
    """
    w, h = frame.image_side()
    if side is not None and side != (w, h):
        raise RegionError(
            f"it is {w} x {h} pixels, its annotations are of {side[0]} x {side[1]}: use the images that were annotated"
        )


def _annotations(splits: Mapping[str, _Split]) -> dict[str, np.ndarray]:
    """The boxes of all splits if each image has one, else the masks."""
    found = {}
    boxes = [box for of_split in splits.values() for box in of_split.boxes]
    one_each = all(box is not None for box in boxes)
    for name, split in splits.items():
        if one_each:
            found[f"boxes_{name}"] = np.array(split.boxes, np.float32)
        else:
            held = np.stack(split.masks)  # (n, size, size)
            found[f"part_masks_{name}"] = np.where(held, 0, -1).astype(np.int8)
    return found


def what_to_know(card: Mapping[str, Any]) -> list[str]:
    """What a card says of files that were left out or converted, and of annotations, a line each."""
    converted = card.get("converted", {}).items()
    lines = [f"files converted, {what}: {count}" for what, count in converted]
    if skipped := card.get("skipped_files"):
        why = f"no image, damaged, or above {MAX_PIXELS // 10**6} million pixels"
        lines.append(f"files skipped ({why}): {listings.several(skipped)}")
    return [*lines, *card.get("remarks", ())]
