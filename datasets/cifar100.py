"""CIFAR-100: 50,000 + 10,000 colour images, 32x32, 100 classes in 20 groups.

Licence     none stated by the authors; cite the report
Citation    A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report, University of
            Toronto, 2009.
Official    https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz (MD5 below; the binary version: no pickle)
Mirror      cifar100/cifar100_100_50_per_class.tar: 100 + 50 images of each class, as lossless WebP pages (the pixels'
            SHA-256 is inside and is checked); their places in the official order are not known
Subset      train, test: that many images, equally many of each class, drawn by a named seed; null = all
Resize      size: 32 as it is; else nearest neighbour, pixel i is the old pixel floor(32 i / size)
Extra       y_coarse_train, y_coarse_test (N,) int64 and coarse_classes (20,): the groups
"""

import io
import json
import sys

import numpy as np

from benchmark.data.download import (
    Source,
    fetch,
    main,
    members,
    nearest,
    read_pages,
    subset,
)

SOURCE = Source(
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
    "md5:03b5dce01913d631647c71ecec9e9cb8",
    mirror="cifar100/cifar100_100_50_per_class.tar",
    mirror_digest="sha256:8da056be23f3133228e615a8cc41b1d1912afb270f1420310d059410bb54e2a5",
)
MIRROR_CHANGES = "100 + 50 images of each class, losslessly packed anew"
FULL = {"channels": 3, "classes": 100, "train": 50_000, "test": 10_000}
DEFAULTS = {"size": 32, "train": None, "test": None}


def read_official(files, split):
    """(N, 3, 32, 32), fine (N,), coarse (N,) and both names.

    A record is the coarse label, the fine label and 3,072 bytes, channel by channel.
    """
    records = np.frombuffer(files[f"{split}.bin"], np.uint8).reshape(-1, 3074)
    x = records[:, 2:].reshape(-1, 3, 32, 32)
    coarse, fine = records[:, 0], records[:, 1]
    fine_names = files["fine_label_names.txt"].decode().split()
    coarse_names = files["coarse_label_names.txt"].decode().split()
    return x, fine, coarse, fine_names, coarse_names


def read_mirror(files, split):
    """The same from the mirror's pages."""
    pages = [files[name] for name in sorted(files) if name.startswith(f"{split}_")]
    digest = json.loads(files[f"{split}.json"])["sha256_of_NHWC_uint8"]
    x = read_pages(pages, digest)
    keys = ("fine_labels", "coarse_labels", "fine_label_names", "coarse_label_names")
    with np.load(io.BytesIO(files[f"{split}.npz"]), allow_pickle=False) as labels:
        return x, *(labels[key] for key in keys)


def prepare(params, folder):
    file = fetch(SOURCE, folder)
    files = {name.rsplit("/", 1)[-1]: raw for name, raw in members(file.path)}
    read = read_official if file.origin == "official" else read_mirror
    arrays = {}
    for split in ("train", "test"):
        x, fine, coarse, arrays["classes"], arrays["coarse_classes"] = read(
            files, split
        )
        ids = subset("cifar100", split, fine, params[split])
        arrays[f"x_{split}"] = nearest(x[ids], params["size"])
        arrays[f"y_{split}"] = fine[ids].astype(np.int64)
        arrays[f"y_coarse_{split}"] = coarse[ids].astype(np.int64)
    changes = "none" if file.origin == "official" else MIRROR_CHANGES
    return arrays, {
        "title": "CIFAR-100",
        "what": "100 kinds of things in 20 groups",
        "licence": "none stated; cite the report",
        "citation": "Krizhevsky: Learning multiple layers of features from tiny images. University of Toronto, 2009",
        "url": SOURCE.url,
        "provenance": {
            "files": [file.provenance()],
            "changes": changes,
        },
        "resize": "none" if params["size"] == 32 else "nearest neighbour",
        "skipped": 0,
    }


if __name__ == "__main__":
    sys.exit(main("cifar100", prepare, DEFAULTS, __doc__))
