"""MNIST: 60,000 + 10,000 grey images of handwritten digits, 28x28, 10 classes.

Licence     CC BY-SA 3.0, as usually given
Citation    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-based learning applied to document recognition.
            Proceedings of the IEEE 86(11), 1998.
Official    four idx files below https://ossci-datasets.s3.amazonaws.com/mnist/ (MD5s below; the authors' own server no
            longer answers reliably)
Mirror      mnist/<the same names>: the official files
Subset      train, test: that many images, equally many of each class, drawn by a named seed; null = all
Resize      size: 28 as it is; else nearest neighbour, pixel i is the old pixel floor(28 i / size)
"""

import sys

from benchmark.data.download import main, read_idx_splits

BASE = "https://ossci-datasets.s3.amazonaws.com/mnist"
FILES = {
    "train": (
        ("train-images-idx3-ubyte.gz", "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte.gz", "md5:d53e105ee54ea40749a09fcbcd1e9432"),
    ),
    "test": (
        ("t10k-images-idx3-ubyte.gz", "md5:9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte.gz", "md5:ec29112dd5afa0611ce80d1b7f02629c"),
    ),
}
FULL = {"channels": 1, "classes": 10, "train": 60_000, "test": 10_000}
DEFAULTS = {"size": 28, "train": None, "test": None}


def prepare(params, folder):
    arrays, files = read_idx_splits("mnist", BASE, FILES, params, folder)
    arrays["classes"] = [str(digit) for digit in range(10)]
    return arrays, {
        "title": "MNIST",
        "what": "handwritten digits",
        "licence": "CC BY-SA 3.0 (as usually given)",
        "citation": "LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition. "
        "Proc. IEEE 86(11), 1998",
        "url": BASE,
        "provenance": {"files": files, "changes": "none"},
        "resize": "none" if params["size"] == 28 else "nearest neighbour",
        "skipped": 0,
    }


if __name__ == "__main__":
    sys.exit(main("mnist", prepare, DEFAULTS, __doc__))
