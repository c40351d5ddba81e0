"""CIFAR-10: 50,000 + 10,000 colour images of animals and vehicles, 32x32, 10 classes.

Licence     none stated by the authors; cite the report
Citation    A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report, University of
            Toronto, 2009.
Official    https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (MD5 below; the binary version: no pickle)
Mirror      cifar10/cifar10_5000_2500.tar: the first 5,000 images of data_batch_1 and the first 2,500 of test_batch, in
            the official order, as lossless WebP pages (the pixels' SHA-256 is inside and is checked)
Subset      train, test: that many images, the first in the official order, so that a subset is the same from both;
            null = all
Resize      size: 32 as it is; else nearest neighbour, pixel i is the old pixel floor(32 i / size)
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
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
    mirror="cifar10/cifar10_5000_2500.tar",
    mirror_digest="sha256:a3a5adb3c02a748e5c6b69951a6569e5dd6921bf37c07fa19f49fcc8c0a6b6ec",
)
MIRROR_CHANGES = "the first 5,000 and 2,500 images, losslessly packed anew"
BATCHES = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["test_batch.bin"],
}
FULL = {"channels": 3, "classes": 10, "train": 50_000, "test": 10_000}
DEFAULTS = {"size": 32, "train": None, "test": None}


def read_official(files, split):
    """(N, 3, 32, 32), (N,) and names: a record is the label and 3,072 bytes, channel by channel."""
    batches = []
    for name in BATCHES[split]:
        batch = np.frombuffer(files[name], np.uint8)
        batches.append(batch.reshape(-1, 3073))
    records = np.concatenate(batches)
    names = files["batches.meta.txt"].decode().split()
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], names


def read_mirror(files, split):
    """The same from the mirror's pages."""
    pages = [files[name] for name in sorted(files) if name.startswith(f"{split}_")]
    digest = json.loads(files[f"{split}.json"])["sha256_of_NHWC_uint8"]
    x = read_pages(pages, digest)
    with np.load(io.BytesIO(files[f"{split}.npz"]), allow_pickle=False) as labels:
        return x, labels["labels"], labels["label_names"]


def prepare(params, folder):
    file = fetch(SOURCE, folder)
    files = {name.rsplit("/", 1)[-1]: raw for name, raw in members(file.path)}
    read = read_official if file.origin == "official" else read_mirror
    arrays = {}
    for split in BATCHES:
        x, y, arrays["classes"] = read(files, split)
        ids = subset("cifar10", split, y, params[split], first=True)
        arrays[f"x_{split}"] = nearest(x[ids], params["size"])
        arrays[f"y_{split}"] = y[ids].astype(np.int64)
    changes = "none" if file.origin == "official" else MIRROR_CHANGES
    return arrays, {
        "title": "CIFAR-10",
        "what": "animals and vehicles",
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
    sys.exit(main("cifar10", prepare, DEFAULTS, __doc__))
