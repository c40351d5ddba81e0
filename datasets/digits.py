"""Digits: scikit-learn's 1,797 grey images of handwritten digits, 8x8 with 17 levels, 10 classes. No network.

Licence     CC BY 4.0 (UCI Machine Learning Repository)
Citation    E. Alpaydin, C. Kaynak. Optical recognition of handwritten digits. UCI Machine Learning Repository, 1998.
Official    ships with scikit-learn (``sklearn.datasets.load_digits``): the test part of UCI's set
Mirror      none needed
Subset      train, test: that many images, the first and the last of one permutation, drawn by a named seed; 1,400 and
            397 are all
Resize      size: bilinear between pixel centres, the border repeated; level v of 0..16 is the grey round(255 v / 16)
"""

import sys

import numpy as np
from sklearn.datasets import load_digits

from benchmark.data.download import ParamsError, main
from benchmark.utils.seeds import generator

FULL = {"channels": 1, "classes": 10, "train": 1400, "test": 397}
DEFAULTS = {"size": 32, "train": 1400, "test": 397}


def interpolation(old, new):
    """(new, old) float64: row i holds the two weights of the old pixels around the centre of the new pixel i."""
    centre = (np.arange(new) + 0.5) * old / new - 0.5  # in units of old pixels
    centre = np.clip(centre, 0, old - 1)
    distance = np.abs(centre[:, None] - np.arange(old))
    return np.maximum(0, 1 - distance)


def prepare(params, folder):
    images, labels = load_digits(return_X_y=True)
    train, test = params["train"], params["test"]
    if train + test > len(labels):
        raise ParamsError(
            f"train + test: {train} + {test} is more than the {len(labels)} images"
        )
    weights = interpolation(8, params["size"])
    grey = weights @ images.reshape(-1, 8, 8) @ weights.T * (255 / 16)
    x = np.rint(grey).astype(np.uint8)  # (1797, size, size)
    order = generator("digits", "split").permutation(len(labels))
    ids = {"train": np.sort(order[:train]), "test": np.sort(order[len(order) - test :])}
    arrays = {"classes": [str(digit) for digit in range(10)]}
    for split, rows in ids.items():
        arrays[f"x_{split}"] = x[rows, None]
        arrays[f"y_{split}"] = labels[rows].astype(np.int64)
    return arrays, {
        "title": "Digits",
        "what": "handwritten digits, 8x8, that ship with scikit-learn",
        "licence": "CC BY 4.0",
        "citation": "Alpaydin, Kaynak: Optical recognition of handwritten digits. "
        "UCI Machine Learning Repository, 1998",
        "url": "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
        "provenance": {
            "files": [{"file": "sklearn.datasets.load_digits", "origin": "official"}],
            "changes": "none",
        },
        "resize": "bilinear",
        "skipped": 0,
    }


if __name__ == "__main__":
    sys.exit(main("digits", prepare, DEFAULTS, __doc__))
