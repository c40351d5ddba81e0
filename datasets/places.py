"""Places365 and ADE20K: photographs of ten kinds of rooms; those of the test show which object each pixel belongs to.

Licence     Places365: academic research and education; ADE20K: images non-commercial research, labels BSD 3-clause
Citation    B. Zhou, A. Lapedriza, A. Khosla, A. Oliva, A. Torralba. Places: a 10 million image database for scene
            recognition. IEEE TPAMI 2017.
            B. Zhou, H. Zhao, X. Puig, S. Fidler, A. Barriuso, A. Torralba. Scene parsing through ADE20K dataset. CVPR
            2017.
Official    http://data.csail.mit.edu/places/places365/train_256_places365standard.tar (24 GB), unpacked to data_256/,
            and http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip, as it is. Neither is
            downloaded: put both into datasets/raw/places/. Their makers publish no hashes; the card has the zip's
Mirror      none
Classes     the ten rooms of XNN, Sec. 4.1
Split       train: Places365's training images of the rooms; test: ADE20K's images, training and validation, of which
            it says that they show one of the rooms. The paper tests on 1,000 more images of Places365, and draws its
            20,000 negatives from all 365 scenes; here the negatives of a room are the other nine
Parts       the 150 objects of ADE20K's scene parsing benchmark: masks, and the middle of each as its location. The
            paper counts 173 objects in the full ADE20K
Subset      train, test: that many images, equally many of each class, drawn by a named seed; null = all
Resize      size, fit: "squash" both sides, or "crop" the centre; bilinear with antialiasing, masks by the nearest pixel
Use         in a profile, for Tables 2 and .6:
            xnn: [{experiment: table1, dataset: places, target: vgg16, layer: fc6, cells: mask, negatives: 20000,
                   alpha: 15, alphas: [15, 10, 5, 2.5, 1, 0.1]}]
"""

import io
import re
import sys
from collections import Counter

import numpy as np
from PIL import Image

from benchmark.data.download import (
    DownloadError,
    Fetched,
    choose,
    main,
    members,
    subset,
)
from benchmark.data.photos import of_card, read_photo, read_photos

ROOMS = (
    "bathroom",
    "bedroom",
    "conference_room",
    "dining_room",
    "home_office",
    "hotel_room",
    "kitchen",
    "living_room",
    "office",
    "waiting_room",
)
PLACES = "http://data.csail.mit.edu/places/places365/train_256_places365standard.tar"
ADE = "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip"
ROOT = "ADEChallengeData2016/"
OBJECT = re.compile(r"(\d+)\s+[\d.]+\s+\d+\s+\d+\s+(?:[01]\s+)?(\S.*)")
FULL = {"channels": 3, "classes": 10, "train": 50_000, "test": 4_000}  # about
DEFAULTS = {"size": 224, "fit": "squash", "train": 40_000, "test": None}


def there(path, url):
    """A file or folder that the user has put there."""
    if not path.exists():
        raise DownloadError(f"no {path}: get {url} (see datasets/places.py)")
    return path


def read_rooms(folder, params):
    """Training images (n, 3, size, size), their classes (n,), skipped files and notes."""
    files, y = [], []
    for label, room in enumerate(ROOMS):
        mine = sorted(there(folder / room[0] / room, PLACES).glob("*.jpg"))
        files += mine
        y += [label] * len(mine)
    y = np.array(y, np.int64)
    pixels, labels, skipped, notes = [], [], [], Counter()
    for i in subset("places", "train", y, params["train"]):
        photo = read_photo(files[i].read_bytes(), params["size"], params["fit"])
        if photo is None:
            skipped.append(str(files[i].relative_to(folder)))
            continue
        pixels.append(photo.pixels)
        labels.append(y[i])
        notes.update(photo.notes)
    return np.stack(pixels), np.array(labels), skipped, notes


def read_tables(path):
    """{image: room} of ADE20K's images of the rooms, and the names of its objects."""
    wanted = [f"{ROOT}sceneCategories.txt", f"{ROOT}objectInfo150.txt"]
    texts = {name: raw.decode() for name, raw in members(path, wanted.__contains__)}
    if missing := [name for name in wanted if name not in texts]:
        raise DownloadError(f"{path}: lacks {', '.join(missing)}")
    scenes, objects = (texts[name].splitlines() for name in wanted)
    pairs = [line.split() for line in scenes if line.strip()]
    rooms = {image: scene for image, scene in pairs if scene in ROOMS}
    found = [OBJECT.match(line) for line in objects]
    names = [match[2].strip() for match in found if match]
    return rooms, names


def file_of(image, kind, ending):
    """``ADE_val_00000001`` -> .../images/validation/ADE_val_00000001.jpg"""
    split = "training" if "_train_" in image else "validation"
    return f"{ROOT}{kind}/{split}/{image}.{ending}"


def object_mask(raw, size, fit):
    """(size, size) int16: the number of each pixel's object, from 0, and -1 for none; cut as ``read_photo`` cuts."""
    image = Image.open(io.BytesIO(raw))
    old = np.array(image.size, np.float64)
    side = old if fit == "squash" else np.full(2, old.min())
    corner = (old - side) / 2
    box = (*corner, *(corner + side))
    square = image.resize((size, size), Image.Resampling.NEAREST, box=box)
    return np.asarray(square).astype(np.int16) - 1


def middles(masks, count):
    """(n, count, 2) x, y of the mean of each object's pixels, and whether it is there, (n, count)."""
    points = np.zeros((len(masks), count, 2), np.float32)
    seen = np.zeros((len(masks), count), bool)
    for i, mask in enumerate(masks):
        for shown in np.unique(mask[mask >= 0]):
            rows, columns = np.nonzero(mask == shown)
            points[i, shown] = columns.mean() + 0.5, rows.mean() + 0.5
            seen[i, shown] = True
    return points, seen


def prepare(params, folder):
    fit, size = choose(params, "fit", "squash", "crop"), params["size"]
    archive = there(folder / "ADEChallengeData2016.zip", ADE)
    x_train, y_train, skipped, notes = read_rooms(folder / "data_256", params)

    rooms, objects = read_tables(archive)
    images = sorted(rooms)
    y = np.array([ROOMS.index(rooms[image]) for image in images], np.int64)
    drawn = subset("places", "test", y, params["test"])
    images, y = [images[i] for i in drawn], y[drawn]
    files = [file_of(image, "images", "jpg") for image in images]
    ids, x_test, _, found = read_photos(archive, files, size, fit, upright=False)
    decoded = set(ids)
    skipped += [file for i, file in enumerate(files) if i not in decoded]
    row = {file_of(images[i], "annotations", "png"): k for k, i in enumerate(ids)}
    masks = np.full((len(ids), size, size), -1, np.int16)
    for name, raw in members(archive, row.__contains__):
        masks[row[name]] = object_mask(raw, size, fit)
    parts, visible = middles(masks, len(objects))
    arrays = {
        "classes": [room.replace("_", " ") for room in ROOMS],
        "part_names": objects,
        "x_train": x_train,
        "y_train": y_train,
        "x_test": x_test,
        "y_test": y[ids],
        "boxes_test": np.tile(np.float32([0, 0, size, size]), (len(ids), 1)),
        "parts_test": parts,
        "part_visible_test": visible,
        "part_masks_test": masks,
    }
    return arrays, {
        "title": "Places365 and ADE20K",
        "what": "photographs of ten kinds of rooms; those of the test with masks of objects",
        "licence": "academic research and education (Places365), non-commercial research (ADE20K)",
        "citation": "Zhou, Lapedriza, Khosla, Oliva, Torralba: Places. IEEE TPAMI 2017; Zhou, Zhao, Puig, Fidler, "
        "Barriuso, Torralba: Scene parsing through ADE20K dataset. CVPR 2017",
        "url": ADE,
        "provenance": {
            "files": [Fetched(archive, "official").provenance()],
            "changes": "none",
        },
        "resize": f"{fit}, bilinear with antialiasing; masks by the nearest pixel",
        **of_card(skipped, notes + found),
    }


if __name__ == "__main__":
    sys.exit(main("places", prepare, DEFAULTS, __doc__))
