"""CIFAR-10: 50,000 + 10,000 colour images of animals and vehicles, 32x32, 10 classes.

Licence     none stated by the authors; cite the report
Citation    A. Krizhevsky. Learning multiple layers of features from tiny images. Technical report, University of
            Toronto, 2009.
Official    https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (MD5 below; the binary version: no pickle)
Mirror      cifar10/cifar10_jpeg75_50000_10000.npz: all images, but as JPEGs of quality 75 with chroma
            subsampling: 30.6 dB PSNR from the official pixels (the median of 300 test images; 24.5 to 37.5)
Order       by class and, within a class, the official order, then shuffled by a named seed: the mirror keeps no other,
            and so the same images lie in the same places from both
Subset      train, test: that many images, equally many of each class, drawn by a named seed; null = all
Resize      size: 32 as it is; else nearest neighbour, pixel i is the old pixel floor(32 i / size)
"""

import io
import sys

import numpy as np
from PIL import Image

from benchmark.data.download import Source, fetch, main, members, nearest, subset
from benchmark.utils.seeds import generator

SOURCE = Source(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "md5:c32a1d4ab5d03f1284b67883e8d87530",
    mirror="cifar10/cifar10_jpeg75_50000_10000.npz",
    mirror_digest="sha256:a04b71abff9659bdb47480d5443a5be0c88b8fc92c05f1939c1e35e3dadc281f",
)
MIRROR_CHANGES = (
    "JPEG pixels: each image was saved as a JPEG of quality 75 with chroma subsampling, "
    "30.6 dB PSNR from the official pixels (the median of 300 test images; 24.5 to 37.5)"
)
BATCHES = {
    "train": [f"data_batch_{i}.bin" for i in range(1, 6)],
    "test": ["test_batch.bin"],
}
CLASSES = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]
FULL = {"channels": 3, "classes": 10, "train": 50_000, "test": 10_000}
DEFAULTS = {"size": 32, "train": None, "test": None}


def read_official(path):
    """split -> (N, 3, 32, 32) and (N,), by class: a record is the label and 3,072 bytes, channel by channel."""
    files = {name.rsplit("/", 1)[-1]: raw for name, raw in members(path)}
    splits = {}
    for split, names in BATCHES.items():
        raw = b"".join(files[name] for name in names)
        records = np.frombuffer(raw, np.uint8).reshape(-1, 3073)
        records = records[np.argsort(records[:, 0], kind="stable")]
        splits[split] = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    return splits


def read_mirror(path):
    """The same from the mirror's JPEGs, which lie one after the other, by class."""
    splits = {}
    with np.load(path, allow_pickle=False) as arrays:
        for split in BATCHES:
            ends = np.cumsum(arrays[f"{split}_length"], dtype=np.int64)
            files = np.split(arrays[f"{split}_jpeg"], ends[:-1])
            images = [decode(file) for file in files]  # (32, 32, 3) each
            x = np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2))
            splits[split] = x, arrays[f"{split}_label"]
    return splits


def decode(file):
    return np.asarray(Image.open(io.BytesIO(file.tobytes())).convert("RGB"))


def prepare(params, folder):
    file = fetch(SOURCE, folder)
    official = file.origin == "official"
    splits = (read_official if official else read_mirror)(file.path)
    arrays = {"classes": np.array(CLASSES)}
    for split, (x, y) in splits.items():
        ids = subset("cifar10", split, y, params[split])
        ids = generator("cifar10", split, "order").permutation(ids)
        arrays[f"x_{split}"] = nearest(x[ids], params["size"])
        arrays[f"y_{split}"] = y[ids].astype(np.int64)
    return arrays, {
        "title": "CIFAR-10",
        "what": "animals and vehicles",
        "licence": "none stated; cite the report",
        "citation": "Krizhevsky: Learning multiple layers of features from tiny images. University of Toronto, 2009",
        "url": SOURCE.url,
        "provenance": {
            "files": [file.provenance()],
            "changes": "none" if official else MIRROR_CHANGES,
        },
        "resize": "none" if params["size"] == 32 else "nearest neighbour",
        "skipped": 0,
    }


if __name__ == "__main__":
    sys.exit(main("cifar10", prepare, DEFAULTS, __doc__))
