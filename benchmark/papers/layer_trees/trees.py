"""A decision tree for one layer: from the states of its nodes to the class (Sec. 4.1).

    encodings = unique(bits, y, classes=10)                 # the layer's encodings of the training samples
    tree = grow(encodings, threshold=100, rng=rng)          # a Tree
    tree.predict(bits_of_test_samples)                      # (n,) class

The training set of the tree holds each encoding once, labelled by the majority of its samples, and leaves out those that
fewer than ``threshold`` samples have. The tree is CART with the Gini index, classes equally weighted (``balanced`` says how
without rounding), neither limited nor pruned. Encodings differ in at least one bit, so such a tree always separates them: it
is wrong on training samples only where they are a minority of their encoding, or were left out.

Reference: Mouton, Davel 2021, Sec. 4.1 and 5; Breiman, Friedman, Olshen, Stone. Classification and Regression Trees. 1984.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.random import Generator
from scipy.sparse import csr_array
from sklearn.tree import DecisionTreeClassifier

from benchmark.api import Array
from benchmark.papers.layer_trees.encodings import Bits, Encodings


@dataclass(frozen=True, eq=False)
class Tree:
    """m places, parents before their children; place 0 is the root. An empty tree (m = 0) comes of a threshold that
    leaves no encoding; it predicts nothing, and its accuracy is the paper's 0.00.
    """

    node: Array  # (m,) int64: the layer's node that is asked for at a split; -1 at a leaf
    on: Array  # (m,) int64: where a sample goes whose node is ON; -1 at a leaf
    off: Array  # (m,) int64
    label: Array  # (m,) int64: the class at a leaf; -1 at a split
    n_encodings: int  # that it was grown from

    @property
    def split_nodes(self) -> int:
        return int((self.node >= 0).sum())

    @property
    def leaves(self) -> int:
        return int((self.node < 0).sum())

    def apply(self, bits: Bits) -> Array:
        """(n,) the leaf that each sample ends in."""
        place = np.zeros(len(bits), np.int64)
        rows = np.arange(len(bits)) if self.split_nodes else np.empty(0, np.int64)
        while len(rows):  # one level a turn, for the samples that are still on the way
            here = place[rows]
            place[rows] = np.where(bits.at(rows, self.node[here]), self.on[here], self.off[here])
            rows = rows[self.node[place[rows]] >= 0]
        return place

    def predict(self, bits: Bits) -> Array:
        """(n,) class; -1 for an empty tree."""
        return self.label[self.apply(bits)] if len(self.label) else np.full(len(bits), -1)

    def arrays(self) -> dict[str, Array]:
        """The tree as arrays, to be stored; ``Tree.read`` makes it again."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def read(cls, arrays: dict[str, Array]) -> Self:
        return cls(
            **{f.name: arrays[f.name] for f in fields(cls)}
            | {"n_encodings": int(arrays["n_encodings"])}
        )


def grow(encodings: Encodings, threshold: int, rng: Generator) -> Tree:
    """The tree of the encodings that at least ``threshold`` samples have (0 and 1 keep all).

    Args:
        rng: CART tries the nodes in a random order and takes the first of equally good ones.

    Raises:
        ValueError: a negative threshold.
    """
    if threshold < 0:
        raise ValueError(f"threshold={threshold} is negative; it is a number of samples")
    kept = encodings.counts >= threshold
    seed = int(rng.integers(2**31))
    if not kept.any():
        none = np.empty(0, np.int64)
        return Tree(none, none, none, none, 0)
    labels = encodings.labels[kept]
    cart = DecisionTreeClassifier(criterion="gini", random_state=seed)
    cart.fit(encodings.bits[kept].states(), labels, sample_weight=balanced(labels))
    tree = cart.tree_
    leaf = tree.children_left < 0
    label = cart.classes_[tree.value[:, 0].argmax(1)]
    return Tree(
        node=np.where(leaf, -1, tree.feature),
        on=tree.children_right,
        off=tree.children_left,  # a state is 0 or 1: right of 1/2 is ON
        label=np.where(leaf, label, -1),
        n_encodings=int(kept.sum()),
    )


def balanced(labels: Array) -> Array:
    """(n,) weights that sum to the same for each class, in steps of 2^-20.

    Weights on such a grid add up without rounding. With scikit-learn's own (``class_weight="balanced"``) the sums of a pure
    place differ in the last bit, its impurity is 1e-16 and not 0, and it is split once more for nothing.
    """
    count = np.bincount(labels)
    return np.round(len(labels) / (np.count_nonzero(count) * count[labels]) * 2**20) / 2**20


def accuracy_pct(tree: Tree, bits: Bits, y: Array) -> float:
    """The share of samples whose class the tree predicts, in percent; 0 for an empty tree (Table 4)."""
    return 100 * float((tree.predict(bits) == y).mean())


# --------------------------------------------------------------------------------------------- reading a tree


def passing(tree: Tree, leaf: Array, values: Array, chunk: int = 4096) -> tuple[Array, Array]:
    """What passes through each place: the cumulative heat maps of Sec. 5.

    Args:
        leaf: (n,) of ``tree.apply``.
        values: (n, ...) one array a sample: its image, or the heat map of any attribution method.

    Returns:
        (m, ...) float32, the mean over the samples for which all (node, state) pairs on the way hold, NaN where there is
        none; and (m,) how many there are.
    """
    m, flat = len(tree.node), values.reshape(len(values), -1)  # (n, d)
    total, count = np.zeros((m, flat.shape[1])), np.bincount(leaf, minlength=m)
    for i in range(0, len(flat), chunk):
        here = leaf[i : i + chunk]
        into = csr_array((np.ones(len(here)), (here, np.arange(len(here)))), shape=(m, len(here)))
        total += into @ flat[i : i + chunk].astype(np.float64)
    for place in np.flatnonzero(tree.node >= 0)[::-1]:  # children first
        for child in (tree.on[place], tree.off[place]):
            total[place] += total[child]
            count[place] += count[child]
    mean = np.divide(
        total, count[:, None], out=np.full_like(total, np.nan), where=count[:, None] > 0
    )
    return mean.reshape(m, *values.shape[1:]).astype(np.float32), count


def rules(tree: Tree, classes: Sequence[str]) -> list[str]:
    """A sentence a leaf: ``IF 66 OFF AND 20 ON THEN 7``; none for an empty tree."""
    out: list[str] = []

    def walk(place: int, path: tuple[str, ...]) -> None:
        if tree.node[place] < 0:
            out.append(f"IF {' AND '.join(path) or 'TRUE'} THEN {classes[tree.label[place]]}")
            return
        walk(tree.on[place], (*path, f"{tree.node[place]} ON"))
        walk(tree.off[place], (*path, f"{tree.node[place]} OFF"))

    if len(tree.node):
        walk(0, ())
    return out
