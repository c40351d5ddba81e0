"""The three kinds of duplicate encodings (Sec. 3.2, Table 2), found without looking at pictures.

The paper sorts by eye: one or very few idiosyncratic samples ("generally less than 20") of one class share an encoding
with a very large number, or with a small subgroup, of another class, or with a few samples as idiosyncratic as themselves.
In numbers, for an encoding whose largest class has M samples and whose other classes have fewer than FEW = 20 each:

    idiosyncratic-to-idiosyncratic    M < FEW
    idiosyncratic-to-few              FEW <= M, less than a tenth of its class
    idiosyncratic-to-many             at least a tenth of its class (the paper's examples: 58 % and 40 %; few: below 1 %)
    spectrum                          any other: two classes with many samples each

FEW is the paper's; the tenth is ours, anywhere between its examples.
"""

from __future__ import annotations

import numpy as np

from benchmark.api import Array
from benchmark.papers.layer_trees.encodings import Encodings

FEW, MANY = 20, 0.1  # samples; share of a class
KINDS = (
    "idiosyncratic-to-many",
    "idiosyncratic-to-few",
    "idiosyncratic-to-idiosyncratic",
    "spectrum",
)


def kinds(encodings: Encodings) -> Array:
    """(u,) index into KINDS for a duplicate encoding, -1 for one of a single class."""
    by_size = np.sort(encodings.classes, axis=1)  # (u, C)
    largest, second = (
        by_size[:, -1],
        by_size[:, -2] if by_size.shape[1] > 1 else np.zeros(len(encodings), int),
    )
    of_class = encodings.classes.sum(0)[
        encodings.labels
    ]  # (u,) samples of the largest class in all
    kind = np.select([second >= FEW, largest < FEW, largest < MANY * of_class], [3, 2, 1], 0)
    return np.where(encodings.duplicate, kind, -1)


def example(encodings: Encodings, kind: int) -> int | None:
    """The most telling duplicate of a kind: many, few: the most samples of one class beside the fewest of the others;
    idiosyncratic: the most samples of all. None where there is none; on a tie the first.
    """
    mine = np.flatnonzero(kinds(encodings) == kind)
    if not len(mine):
        return None
    largest, all_ = encodings.classes[mine].max(1), encodings.counts[mine]
    return int(mine[np.argmax(largest if kind < 2 else all_)])
