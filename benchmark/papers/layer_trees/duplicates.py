"""The three kinds of duplicate encodings (Sec. 3.2, Table 2), found without looking at pictures.

The paper sorts by eye: one or very few idiosyncratic samples ("generally less than 20") of one class share an encoding
with a very large number, or with a small subgroup, of another class, or with a few samples as idiosyncratic as
themselves. In numbers, for an encoding whose largest class has M samples and whose other classes have fewer than FEW =
20 each:

    idiosyncratic-to-idiosyncratic    M < FEW
    idiosyncratic-to-few              FEW <= M, less than a tenth of its class
    idiosyncratic-to-many             at least a tenth of its class (the paper: 58 % and 40 %; few: below 1 %)
    spectrum                          any other: two classes with many samples each

FEW is the paper's; the tenth is ours and lies between the paper's examples.
"""

from __future__ import annotations

import numpy as np

from benchmark.api import Array
from benchmark.papers.layer_trees.encodings import Encodings

FEW = 20  # samples
MANY = 0.1  # share of a class
KINDS = (
    "idiosyncratic-to-many",
    "idiosyncratic-to-few",
    "idiosyncratic-to-idiosyncratic",
    "spectrum",
)


def kinds(encodings: Encodings) -> Array:
    """(u,) index into KINDS for a duplicate encoding, -1 for an encoding of a single class."""
    by_size = np.sort(encodings.classes, axis=1)  # (u, C)
    largest = by_size[:, -1]
    second = np.zeros(len(encodings), int)
    if by_size.shape[1] > 1:
        second = by_size[:, -2]
    class_sizes = encodings.classes.sum(0)
    whole = class_sizes[
        encodings.labels
    ]  # (u,) samples of the largest class, in all encodings
    spectrum = second >= FEW
    to_idiosyncratic = largest < FEW
    to_few = largest < MANY * whole
    kind = np.select([spectrum, to_idiosyncratic, to_few], [3, 2, 1], 0)
    return np.where(encodings.duplicate, kind, -1)


def example(encodings: Encodings, kind: int) -> int | None:
    """The clearest duplicate of a kind: for many and few the one with the most samples of its largest class, for the
    other kinds the one with the most samples in total. The first on a tie; None where there is none.
    """
    candidates = np.flatnonzero(kinds(encodings) == kind)
    if not len(candidates):
        return None
    largest = encodings.classes[candidates].max(1)
    total = encodings.counts[candidates]
    return int(candidates[np.argmax(largest if kind < 2 else total)])
