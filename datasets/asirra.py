"""ASIRRA: 25,000 photographs of cats and dogs, of many sizes, 2 classes.

Licence     Microsoft Research Licence Agreement (inside the zip), non-commercial; the mirror's: Kaggle's terms
Citation    J. Elson, J. Douceur, J. Howell, J. Saul. Asirra: a CAPTCHA that exploits interest-aligned manual image
            categorization. CCS 2007.
Official    https://download.microsoft.com/.../kagglecatsanddogs_5340.zip; PetImages/{Cat,Dog}/<number>.jpg (SHA-256
            below: Microsoft publishes none, it is the one that public loaders of this file pin)
Mirror      asirra/dogs_vs_cats_2000_500_256px.tar: dogs_vs_cats/train/{cat,dog}.1..1000.jpg and
            dogs_vs_cats/test/{cat,dog}.4001..4250.jpg, numbers of Kaggle's training set, longer side reduced to 256
            pixels at most (Lanczos, JPEG quality 90)
Split       official: numbers below 10,000 are train, the others test; mirror: its own
Subset      train, test: that many images, equally many of each class, drawn by a named seed; null = all
Resize      size, fit: "squash" both sides, or "crop" the centre; bilinear with antialiasing
Skipped     files that do not decode (the zip holds a few empty ones), after the draw; counted in the card
"""

import re
import sys
from collections import Counter

import numpy as np

from benchmark.data.download import (
    Source,
    choose,
    fetch,
    main,
    member_names,
    subset,
)
from benchmark.data.photos import of_card, read_photos

SOURCE = Source(
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/kagglecatsanddogs_5340.zip",
    "sha256:b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
    mirror="asirra/dogs_vs_cats_2000_500_256px.tar",
    mirror_digest="sha256:59bc82bc1ab53046a040c93b3ea24838bef8c9ee36a4227c911db844fc9b4f89",
)
MIRROR_CHANGES = (
    "1,000 + 250 images of each class, numbers of Kaggle's training set, "
    "longer side reduced to 256 pixels (Lanczos, JPEG quality 90)"
)
CLASSES = ["cat", "dog"]
FULL = {"channels": 3, "classes": 2, "train": 20_000, "test": 5_000}
DEFAULTS = {"size": 224, "fit": "squash", "train": None, "test": None}


def split_of(name):
    """(split, class, number) of a member's name; None for another file."""
    if found := re.fullmatch(r"PetImages/(Cat|Dog)/(\d+)\.jpg", name):
        animal, number = found[1].lower(), int(found[2])
        return "train" if number < 10_000 else "test", animal, number
    if found := re.fullmatch(r"dogs_vs_cats/(train|test)/(cat|dog)\.(\d+)\.jpg", name):
        return found[1], found[2], int(found[3])
    return None


def prepare(params, folder):
    fit = choose(params, "fit", "squash", "crop")
    file = fetch(SOURCE, folder)
    images = []
    for name in member_names(file.path):
        if key := split_of(name):
            images.append((*key, name))
    images.sort()
    arrays, skipped, notes = {"classes": CLASSES}, [], Counter()
    for split in ("train", "test"):
        mine = [image for image in images if image[0] == split]
        names = np.array([name for _, _, _, name in mine])
        y = np.array([CLASSES.index(animal) for _, animal, _, _ in mine])
        drawn = subset("asirra", split, y, params[split])
        ids, arrays[f"x_{split}"], _, found = read_photos(
            file.path, names[drawn], params["size"], fit
        )
        notes += found
        arrays[f"y_{split}"] = y[drawn][ids].astype(np.int64)
        skipped += np.delete(names[drawn], ids).tolist()
    changes = "none" if file.origin == "official" else MIRROR_CHANGES
    return arrays, {
        "title": "ASIRRA",
        "what": "photographs of cats and dogs",
        "licence": "Microsoft Research Licence Agreement, non-commercial (mirror: Kaggle's terms)",
        "citation": "Elson, Douceur, Howell, Saul: Asirra: a CAPTCHA that exploits interest-aligned manual image "
        "categorization. CCS 2007",
        "url": SOURCE.url,
        "provenance": {
            "files": [file.provenance()],
            "changes": changes,
        },
        "resize": f"{fit}, bilinear with antialiasing",
        **of_card(skipped, notes),
    }


if __name__ == "__main__":
    sys.exit(main("asirra", prepare, DEFAULTS, __doc__))
