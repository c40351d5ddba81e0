"""Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28x28, 10 classes.

Licence     MIT
Citation    H. Xiao, K. Rasul, R. Vollgraf. Fashion-MNIST: a novel image dataset for benchmarking machine learning
            algorithms. arXiv:1708.07747, 2017.
Official    four idx files below http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/ (MD5s below)
Mirror      fashion_mnist/<the same names>: the official files
Subset      train, test: that many images, equally many of each class, drawn by a named seed; null = all
Resize      size: 28 as it is; else nearest neighbour, pixel i is the old pixel floor(28 i / size)
            (ClaDec: 32, as its code does)
"""

import sys

from benchmark.data.download import main, read_idx_splits

BASE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
FILES = {
    "train": (
        ("train-images-idx3-ubyte.gz", "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        ("train-labels-idx1-ubyte.gz", "md5:25c81989df183df01b3e8a0aad5dffbe"),
    ),
    "test": (
        ("t10k-images-idx3-ubyte.gz", "md5:bef4ecab320f06d8554ea6380940ec79"),
        ("t10k-labels-idx1-ubyte.gz", "md5:bb300cfdad3c16e7a12a480ee83cd310"),
    ),
}
CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
FULL = {"channels": 1, "classes": 10, "train": 60_000, "test": 10_000}
DEFAULTS = {"size": 28, "train": None, "test": None}


def prepare(params, folder):
    arrays, files = read_idx_splits("fashion_mnist", BASE, FILES, params, folder)
    arrays["classes"] = CLASSES
    return arrays, {
        "title": "Fashion-MNIST",
        "what": "articles of clothing",
        "licence": "MIT",
        "citation": "Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning "
        "algorithms. arXiv:1708.07747, 2017",
        "url": BASE,
        "provenance": {"files": files, "changes": "none"},
        "resize": "none" if params["size"] == 28 else "nearest neighbour",
        "skipped": 0,
    }


if __name__ == "__main__":
    sys.exit(main("fashion_mnist", prepare, DEFAULTS, __doc__))
