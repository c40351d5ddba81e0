"""Folder: your own images, one subfolder per class; becomes a data set with a name of its own.

What        DIR/<class>/*.jpg, split here; or DIR/train/<class>/* and DIR/test/<class>/* (also: val, valid, validation).
            Gender Classification (male, female), Retinal OCT (CNV, DME, DRUSEN, NORMAL) and Food-5K (food, non-food) of
            Representative Interpretations come as such folders.
Use         glassbench prepare folder --path DIR [--name NAME] [--size N] writes
            datasets/processed/<profile>/NAME.npz and datasets/NAME.py, a script of two lines. From then on NAME is a
            data set like any other: write it under ``datasets:`` of a profile, and under ``zoo:`` a network to train
            on it.
Licence     that of your images; nothing is uploaded or copied elsewhere
Citation    that of your images
Official    none: the folder itself. Mirror: none
Split       the folder's own, or every fifth image of each class to test, drawn by a named seed
Subset      none
Resize      size, fit: "squash" both sides, or "crop" the centre; bilinear with antialiasing
Skipped     files that do not decode as images; counted in the card
"""

import argparse
import hashlib
import re
import sys
from pathlib import Path

import numpy as np

from benchmark import store
from benchmark.data.download import ParamsError, choose, main, read_photo, say
from benchmark.utils.seeds import generator

TEST_NAMES = ("test", "val", "valid", "validation")
TEST_SHARE = 5  # one image in this many goes to test
SCRIPT = '''"""{name}: the images below {path}, one subfolder per class (made by `glassbench prepare folder`)."""

import sys

from folder import run  # datasets/folder.py, beside this file

if __name__ == "__main__":
    sys.exit(run({name!r}, {path!r}, {size}))
'''


def run(name, path, size, argv=None):
    """Prepare the folder as data set ``name``; the scripts that this one writes call it. Returns the exit code.

    A folder whose images have changed is read again only with --force.
    """
    defaults = {"size": size, "fit": "squash", "path": str(path)}

    def prepare_folder(params, downloads):
        return prepare(params, name, Path(params["path"]))

    return main(name, prepare_folder, defaults, __doc__, argv)


def prepare(params, name, path):
    fit = choose(params, "fit", "squash", "crop")
    splits = tree(name, path)
    classes = sorted({c for files in splits.values() for c in files})
    arrays, skipped, digest = {"classes": classes}, [], hashlib.sha256()
    for split, files in splits.items():
        x, y = [], []
        for label, c in enumerate(classes):
            for file in files.get(c, []):
                raw = file.read_bytes()
                digest.update(f"{split}/{c}/{file.name}".encode() + raw)
                if photo := read_photo(raw, params["size"], fit):
                    x.append(photo.pixels)
                    y.append(label)
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
    return arrays, {
        "title": name,
        "what": f"a user's images, {', '.join(classes)}",
        "licence": "the owner's",
        "citation": "",
        "url": "",
        "provenance": {
            "files": [
                {"file": path.name, "origin": "folder", "sha256": digest.hexdigest()}
            ],
            "changes": "none",
        },
        "resize": f"{fit}, bilinear with antialiasing",
        "skipped": len(skipped),
        "skipped_files": skipped,
    }


def tree(name, path):
    """{split: {class: files}}; the split is the folder's own where it has one."""
    if not path.is_dir():
        raise ParamsError(f"{path} is not a folder")
    inside = subfolders(path)
    tests = [split for split in TEST_NAMES if split in inside]
    if tests and "train" in inside:
        return {"train": by_class(inside["train"]), "test": by_class(inside[tests[0]])}
    out = {"train": {}, "test": {}}
    for c, files in by_class(path).items():
        order = generator("folder", name, c).permutation(len(files))
        to_test = set(order[: len(files) // TEST_SHARE].tolist())
        for i, file in enumerate(files):
            split = "test" if i in to_test else "train"
            out[split].setdefault(c, []).append(file)
    return out


def by_class(path):
    """{class: its files, sorted}."""
    files = {}
    for name, folder in subfolders(path).items():
        found = [
            file for file in folder.rglob("*") if file.is_file() and not is_hidden(file)
        ]
        files[name] = sorted(found)
    if len(files) < 2:
        raise ParamsError(
            f"{path} holds {len(files)} subfolders; there must be one per class, and at least two"
        )
    return files


def subfolders(path):
    """{name: folder}, sorted, without hidden ones."""
    inside = sorted(path.iterdir())
    return {
        folder.name: folder
        for folder in inside
        if folder.is_dir() and not is_hidden(folder)
    }


def is_hidden(path):
    return path.name.startswith(".")


def command_line(argv=None):
    """Prepare the folder of --path, and write the script that prepares it again."""
    parser = argparse.ArgumentParser(
        prog="glassbench prepare folder", description=__doc__.splitlines()[0]
    )
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
    path = args.path.expanduser().resolve()
    name = args.name or re.sub(r"\W+", "_", path.name).strip("_").lower()
    script = store.ROOT / "datasets" / f"{name}.py"
    if not re.fullmatch(r"[A-Za-z]\w*", name):
        say(
            f"folder: {name!r} cannot name a data set (letters, digits and _ only); "
            f"give another name by --name"
        )
        return 2
    if (
        script.exists()
        and "glassbench prepare folder" not in script.read_text().partition("\n")[0]
    ):
        say(
            f"folder: there is already a data set {name!r}; give another name by --name"
        )
        return 2
    if args.size < 1:
        say(f"folder: --size {args.size} must be at least 1")
        return 2
    code = run(name, str(path), args.size, rest)
    if code == 0:
        store.write_text(
            script, SCRIPT.format(name=name, path=str(path), size=args.size)
        )
    return code


if __name__ == "__main__":
    sys.exit(command_line())
