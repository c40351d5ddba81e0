"""A user's own images, one subfolder per class, as a data set with a name of its own.

    command_line(["--path", "/home/ann/photos", "--size", "64"])    # prepares it, and writes datasets/photos.py
    run("photos", "../photos", 64)                                  # what that script does

Idea: the folder is named relative to the project, in the script as in the data card, as both are read elsewhere: other
clones, other machines, published results.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import store
from benchmark.data.download import ParamsError, choose, main, say
from benchmark.data.photos import of_card, read_photo
from benchmark.utils.seeds import generator

TEST_NAMES = ("test", "val", "valid", "validation")
TEST_SHARE = 5  # one image in this many goes to test
DOC = "Your own images, one subfolder per class (datasets/folder.py)."
MADE_BY = "made by `glassbench prepare folder`"
SCRIPT = f'''"""{{name}}: a folder of images, one subfolder per class ({MADE_BY})."""

import sys

from benchmark.data.folders import run

if __name__ == "__main__":
    sys.exit(run({{name!r}}, {{path!r}}, {{size}}))
'''
Tree = dict[str, dict[str, list[Path]]]  # {split: {class: its files}}


def command_line(argv: list[str] | None = None) -> int:
    """Prepare the folder of ``--path``, and write the script that prepares it again. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="glassbench prepare folder", description=DOC)
    parser.add_argument("--path", type=Path, help="the folder, one subfolder per class")
    parser.add_argument("--name", help="of the data set (default: the folder's)")
    parser.add_argument(
        "--size", type=int, default=224, help="side in pixels (default: 224)"
    )
    args, rest = parser.parse_known_args(argv)
    if args.path is None:
        say(
            "folder: which one? glassbench prepare folder --path DIR [--name NAME] [--size N]"
        )
        return 2
    path = Path(os.path.abspath(args.path.expanduser()))
    name = args.name or re.sub(r"\W+", "_", path.name).strip("_").lower()
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
    code = run(name, written, args.size, rest)
    if code == 0:
        text = SCRIPT.format(name=name, path=written, size=args.size)
        store.write_text(script, text)
    return code


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


def run(name: str, path: str, size: int, argv: list[str] | None = None) -> int:
    """Prepare the folder as data set ``name``; the scripts that ``command_line`` writes call it.

    A folder whose images have changed is read again only with --force.

    Args:
        path: the folder, absolute or relative to the project.
    """
    defaults = {"size": size, "fit": "squash", "path": path}

    def prepare_folder(params: dict[str, Any], downloads: Path) -> tuple[dict, dict]:
        return prepare(params, name, store.ROOT / Path(params["path"]).expanduser())

    return main(name, prepare_folder, defaults, DOC, argv)


def prepare(params: dict[str, Any], name: str, path: Path) -> tuple[dict, dict]:
    """The arrays of a data set, and its card.

    Raises:
        ParamsError: it is no folder of classes; a name in it is not UTF-8; a class has no training image, or all none
            for test.
    """
    fit = choose(params, "fit", "squash", "crop")
    splits = tree(name, path)
    classes = sorted({c for files in splits.values() for c in files})
    arrays: dict[str, Any] = {"classes": classes}
    skipped, notes, digest = [], Counter(), hashlib.sha256()
    for split, files in splits.items():
        x, y = [], []
        for label, c in enumerate(classes):
            for file in files.get(c, []):
                raw = file.read_bytes()
                digest.update(f"{split}/{c}/{file.name}".encode() + raw)
                if photo := read_photo(raw, params["size"], fit):
                    x.append(photo.pixels)
                    y.append(label)
                    notes.update(photo.notes)
                else:
                    skipped.append(str(file.relative_to(path)))
        if not x:
            raise ParamsError(
                f"{path}: no image for {split}; one image in {TEST_SHARE} of each class goes to test"
            )
        arrays[f"x_{split}"] = np.stack(x)
        arrays[f"y_{split}"] = np.array(y, np.int64)
    missing = [c for label, c in enumerate(classes) if label not in arrays["y_train"]]
    if missing:
        raise ParamsError(f"{path}: no training image of {', '.join(missing)}")
    source = {"file": path.name, "origin": "folder", "sha256": digest.hexdigest()}
    return arrays, {
        "title": name,
        "what": f"a user's images, {', '.join(classes)}",
        "licence": "the owner's",
        "citation": "",
        "url": "",
        "provenance": {"files": [source], "changes": "none"},
        "resize": f"{fit}, bilinear with antialiasing",
        **of_card(skipped, notes),
    }


def tree(name: str, path: Path) -> Tree:
    """The files of each class, split as the folder itself is, else by a seed named after the data set."""
    if not path.is_dir():
        raise ParamsError(f"{path} is not a folder")
    inside = _subfolders(path)
    tests = [split for split in TEST_NAMES if split in inside]
    if tests and "train" in inside:
        train, test = inside["train"], inside[tests[0]]
        return {"train": _by_class(train), "test": _by_class(test)}
    out: Tree = {"train": {}, "test": {}}
    for c, files in _by_class(path).items():
        order = generator("folder", name, c).permutation(len(files))
        to_test = set(order[: len(files) // TEST_SHARE].tolist())
        for i, file in enumerate(files):
            split = "test" if i in to_test else "train"
            out[split].setdefault(c, []).append(file)
    return out


def _by_class(path: Path) -> dict[str, list[Path]]:
    """{class: its files, sorted}."""
    classes = _subfolders(path)
    if len(classes) < 2:
        raise ParamsError(
            f"{path} holds {len(classes)} subfolders; there must be one per class, and at least two"
        )
    files = {}
    for name, folder in classes.items():
        found = (file for file in folder.rglob("*") if file.is_file())
        files[name] = _visible(found)
    return files


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
