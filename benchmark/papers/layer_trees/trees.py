"""The decision tree of one layer: from the states of its nodes to the class (Sec. 4.1).

    encodings = unique(bits, y, classes=10)                 # the layer's encodings of the training samples
    tree = grow(encodings, threshold=100, rng=rng)          # a Tree
    tree.predict(bits_of_test_samples)                      # (n,) class

The training set of the tree holds each encoding once, labelled with the majority class of its samples; encodings that
fewer than ``threshold`` samples have are left out. The tree is CART with the Gini index and equally weighted classes
(``balanced``: without rounding), neither limited in depth nor pruned. Encodings differ in at least one bit, so such a
tree always separates them: it errs on training samples only where they are a minority of their encoding, or were left
out.

A *place* is a split or a leaf of the tree; *node* always means a node of the network's layer.

Reference: Mouton, Davel 2021, Sec. 4.1 and 5; Breiman, Friedman, Olshen, Stone. Classification and Regression Trees.
1984.
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
    """A tree of m places, parents before their children; place 0 is the root. A threshold that leaves no encoding gives
    an empty tree (m = 0); it predicts nothing, and its accuracy is the paper's 0.00.
    """

    node: Array  # (m,) int64: the layer's node that a split tests; -1 at a leaf
    on: Array  # (m,) int64: the child for samples whose node is ON; -1 at a leaf
    off: Array  # (m,) int64: the child for the others
    label: Array  # (m,) int64: the class at a leaf; -1 at a split
    n_encodings: int  # the number of encodings it was grown from

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
        while len(
            rows
        ):  # one level per pass, for the samples that are not at a leaf yet
            here = place[rows]
            is_on = bits.at(rows, self.node[here])
            place[rows] = np.where(is_on, self.on[here], self.off[here])
            at_split = self.node[place[rows]] >= 0
            rows = rows[at_split]
        return place

    def predict(self, bits: Bits) -> Array:
        """(n,) class; -1 for an empty tree."""
        if not len(self.label):
            return np.full(len(bits), -1)
        return self.label[self.apply(bits)]

    def arrays(self) -> dict[str, Array]:
        """The tree as arrays, for storage; ``Tree.read`` restores it."""
        return {f.name: np.asarray(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def read(cls, arrays: dict[str, Array]) -> Self:
        """The tree that ``arrays`` stored."""
        values = {f.name: arrays[f.name] for f in fields(cls)}
        values["n_encodings"] = int(arrays["n_encodings"])
        return cls(**values)


def grow(encodings: Encodings, threshold: int, rng: Generator) -> Tree:
    """The tree of the encodings that at least ``threshold`` samples have (0 and 1 keep all).

    Args:
        rng: CART tries the nodes in a random order and takes the first of several equally good ones.

    Raises:
        ValueError: a negative threshold.
    """
    if threshold < 0:
        raise ValueError(
            f"threshold={threshold} is negative; it is a number of samples"
        )
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
    """(n,) weights that have the same sum for each class, in steps of 2^-20.

    Weights on such a grid add up without rounding. With scikit-learn's own (``class_weight="balanced"``) the sums of a
    pure place differ in the last bit, its impurity is 1e-16 instead of 0, and it is split once more to no purpose.
    """
    count = np.bincount(labels)
    present = np.count_nonzero(count)
    weights = len(labels) / (present * count[labels])
    return np.round(weights * 2**20) / 2**20


def accuracy_pct(tree: Tree, bits: Bits, y: Array) -> float:
    """The share of samples whose class the tree predicts, in percent; 0 for an empty tree (Table 4)."""
    correct = tree.predict(bits) == y
    return 100 * float(correct.mean())


# --------------------------------------------------------------------------------------------- reading a tree


def passing(
    tree: Tree,
    leaf: Array,
    values: Array,
    chunk: int = 4096,
) -> tuple[Array, Array]:
    """The mean of ``values`` over the samples that pass each place: the cumulative heat maps of Sec. 5.

    Args:
        leaf: (n,) from ``tree.apply``.
        values: (n, ...) one array per sample: its image, or the heat map of any attribution method.

    Returns:
        (m, ...) float32, the mean over the samples for which all (node, state) pairs on the path hold, NaN where there
        is none; and (m,) the number of these samples.
    """
    m = len(tree.node)
    flat = values.reshape(len(values), -1)  # (n, d)
    total = np.zeros((m, flat.shape[1]))
    count = np.bincount(leaf, minlength=m)
    for i in range(0, len(flat), chunk):
        here = leaf[i : i + chunk]
        samples = np.arange(len(here))
        ends_in = csr_array((np.ones(len(here)), (here, samples)), shape=(m, len(here)))
        total += ends_in @ flat[i : i + chunk].astype(np.float64)
    for place in np.flatnonzero(tree.node >= 0)[::-1]:  # children first
        for child in (tree.on[place], tree.off[place]):
            total[place] += total[child]
            count[place] += count[child]
    passed = count[:, None] > 0
    mean = np.divide(
        total, count[:, None], out=np.full_like(total, np.nan), where=passed
    )
    return mean.reshape(m, *values.shape[1:]).astype(np.float32), count


def rules(tree: Tree, classes: Sequence[str]) -> list[str]:
    """A sentence per leaf: ``IF 66 OFF AND 20 ON THEN 7``; none for an empty tree."""
    out: list[str] = []

    def walk(place: int, path: tuple[str, ...]) -> None:
        node = tree.node[place]
        if node < 0:
            condition = " AND ".join(path) or "TRUE"
            out.append(f"IF {condition} THEN {classes[tree.label[place]]}")
            return
        walk(tree.on[place], (*path, f"{node} ON"))
        walk(tree.off[place], (*path, f"{node} OFF"))

    if len(tree.node):
        walk(0, ())
    return out
