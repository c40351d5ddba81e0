"""CUB-200-2011: 11,788 photographs of birds with boxes and 15 part locations, 200 classes, official split.

Licence     for non-commercial research and education; the images belong to their photographers
Citation    C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie. The Caltech-UCSD Birds-200-2011 dataset. Technical
            report CNS-TR-2011-001, California Institute of Technology, 2011.
Official    https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz (MD5 below)
Mirror      cub/CUB_200_2011_first50_256px.tar: classes 1 to 50, 2,889 images in the official layout, longer side
            reduced to 256 pixels at most (Lanczos, JPEG quality 90), boxes and part locations scaled with it
Subset      classes: the first N classes, null = all; train, test: that many images of those, equally many of each
            class, drawn by a named seed; null = all
Resize      size, fit: "squash" both sides, or "crop" the centre; bilinear with antialiasing; annotations move with the
            pixels. A part that the crop loses is no longer visible; the location of an invisible part is (0, 0)
Turned      no: boxes and parts are given in pixels as stored. The card counts photographs whose EXIF orientation says
            otherwise; the mirror has none
"""

import sys
from collections import Counter

import numpy as np

from benchmark.data.download import (
    DownloadError,
    ParamsError,
    Source,
    choose,
    fetch,
    main,
    members,
    subset,
)
from benchmark.data.photos import of_card, read_photos

SOURCE = Source(
    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    "md5:97eceeb196236b17998738112f37df78",
    mirror="cub/CUB_200_2011_first50_256px.tar",
    mirror_digest="sha256:e33db62bc4f57ab0556dcca2cb79178562448b5e381e24cf6a11dc3f9379f2df",
)
MIRROR_CHANGES = (
    "classes 1 to 50; longer side reduced to 256 pixels (Lanczos, JPEG quality 90); "
    "boxes and part locations scaled alike"
)
ROOT = "CUB_200_2011/"
TABLES = (
    "images",
    "image_class_labels",
    "train_test_split",
    "bounding_boxes",
    "classes",
    "parts/parts",
    "parts/part_locs",
)
FULL = {"channels": 3, "classes": 200, "train": 5_994, "test": 5_794}
DEFAULTS = {"size": 224, "fit": "squash", "classes": None, "train": None, "test": None}


def read_tables(path):
    """{table: [(id, the other columns ...), ...]}."""
    wanted = {f"{ROOT}{table}.txt": table for table in TABLES}
    texts = {
        wanted[name]: raw.decode() for name, raw in members(path, wanted.__contains__)
    }
    missing = [name for name, table in wanted.items() if table not in texts]
    if missing:
        raise DownloadError(f"{path}: lacks {', '.join(missing)}")
    tables = {}
    for table, text in texts.items():
        columns = (
            1 if table == "parts/parts" else -1
        )  # the name of a part is of several words
        lines = [line for line in text.splitlines() if line]
        tables[table] = [tuple(line.split(maxsplit=columns)) for line in lines]
    return tables


def annotations(tables):
    """{image id: value} of the box, the parts and their visibility; x, y in pixels of the photograph.

    Corners (2, 2) of the box, part locations (15, 2), visibility (15,).
    """
    boxes = {}
    for image, *numbers in tables["bounding_boxes"]:
        x, y, w, h = map(float, numbers)
        boxes[image] = (x, y), (x + w, y + h)
    p = len(tables["parts/parts"])
    parts = {image: np.zeros((p, 2)) for image, _ in tables["images"]}
    visible = {image: np.zeros(p, bool) for image, _ in tables["images"]}
    for image, number, x, y, seen in tables["parts/part_locs"]:
        if image in parts:
            part = int(number) - 1
            parts[image][part] = x, y
            visible[image][part] = seen == "1"
    return boxes, parts, visible


def prepare(params, folder):
    fit, size = choose(params, "fit", "squash", "crop"), params["size"]
    file = fetch(SOURCE, folder)
    tables = read_tables(file.path)
    count = params["classes"] or len(tables["classes"])
    if count > len(tables["classes"]):
        raise ParamsError(
            f"classes: {count} asked for, {file.path.name} has {len(tables['classes'])}"
        )
    label = {image: int(c) - 1 for image, c in tables["image_class_labels"]}
    name = {image: f"{ROOT}images/{path}" for image, path in tables["images"]}
    training = {image: flag == "1" for image, flag in tables["train_test_split"]}
    boxes, parts, visible = annotations(tables)
    classes = [c.split(".", 1)[1] for _, c in tables["classes"][:count]]
    arrays = {
        "classes": [c.replace("_", " ") for c in classes],
        "part_names": [part for _, part in tables["parts/parts"]],
    }
    skipped, notes = [], Counter()
    for split in ("train", "test"):
        known = [image for image in name if label[image] < count]
        mine = [image for image in known if training[image] == (split == "train")]
        labels = np.array([label[image] for image in mine])
        mine = [mine[i] for i in subset("cub", split, labels, params[split])]
        files = [name[image] for image in mine]
        ids, x, frames, found = read_photos(file.path, files, size, fit, upright=False)
        notes += found
        decoded = set(ids)
        skipped += [each for i, each in enumerate(files) if i not in decoded]
        mine = [mine[i] for i in ids]
        scale, shift = frames[:, 0, None], frames[:, 1, None]  # (n, 1, 2)
        corners = (
            np.array([boxes[image] for image in mine]) * scale - shift
        )  # (n, 2, 2)
        points = (
            np.array([parts[image] for image in mine]) * scale - shift
        )  # (n, 15, 2)
        inside = ((points >= 0) & (points <= size)).all(-1)
        seen = np.array([visible[image] for image in mine]) & inside
        arrays |= {
            f"x_{split}": x,
            f"y_{split}": np.array([label[image] for image in mine], np.int64),
            f"boxes_{split}": corners.clip(0, size).reshape(-1, 4).astype(np.float32),
            f"parts_{split}": np.where(seen[..., None], points, 0).astype(np.float32),
            f"part_visible_{split}": seen,
        }
    changes = "none" if file.origin == "official" else MIRROR_CHANGES
    return arrays, {
        "title": "CUB-200-2011",
        "what": "photographs of birds with boxes and 15 part locations",
        "licence": "non-commercial research and education; the images belong to their photographers",
        "citation": "Wah, Branson, Welinder, Perona, Belongie: The Caltech-UCSD Birds-200-2011 dataset. "
        "CNS-TR-2011-001, Caltech, 2011",
        "url": SOURCE.url,
        "provenance": {
            "files": [file.provenance()],
            "changes": changes,
        },
        "resize": f"{fit}, bilinear with antialiasing; annotations moved alike",
        **of_card(skipped, notes),
    }


if __name__ == "__main__":
    sys.exit(main("cub", prepare, DEFAULTS, __doc__))
