"""Layer tree: a layer's ON/OFF states, and the decision tree over them as a surrogate of the network.

Idea: encode each training image by which nodes of a layer are ON, and let CART tell the classes apart by them.

    method = LayerTree(layer="fc10", threshold=100).fit(target, reference, rng)
    e = method.explain(target, batch, rng)                    # e.labels (n,), e.size: split_nodes, leaves, encodings

Theory: Sec. 2.1 and 4.1 of the paper, in ``encodings.py`` and ``trees.py``. The tree learns from the true classes of
the reference images, as in the paper, not from the network's answers. It sees only the encoding of an image, so two
images with the same states get the same label. Beyond the paper, any layer may be explained, including a convolution
(each channel at each position is a node), and where the nodes of a layer are never OFF, as after global average
pooling, ``variant="median"`` counts a node as ON above its median over the reference images.

Reference: Mouton, Davel. Exploring Layerwise Decision Making in DNNs. SACAIR 2021, doi:10.1007/978-3-030-95070-5_10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Self

from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.papers.layer_trees import trees
from benchmark.papers.layer_trees.encodings import (
    Bits,
    encode,
    position,
    switch,
    unique,
)
from benchmark.shared.choices import check_choices


@dataclass
class LayerTree:
    """The tree of ``layer`` (default: the last before the logits) over encodings of at least ``threshold`` images.

    Args:
        variant: ``sign``, the paper's rule (a node is ON where the input of its activation function is positive), or
            ``median``.
    """

    layer: str | None = None
    threshold: int = 0
    variant: Literal["sign", "median"] = "sign"
    name = "Layer tree"
    paper = "layer_trees"
    offers = ("labels", "size")
    tree: trees.Tree = field(init=False, repr=False)
    _at: float | Tensor = field(init=False, repr=False)  # a node is ON above it

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(
        self,
        target: Target,
        reference: Batch,
        rng: Generator,
    ) -> Self:
        """Grow the tree from reference images and their classes.

        Raises:
            ValueError: no such layer, missing labels, or a negative threshold.
            NotApplicable: no node of the layer tells any two reference images apart.
        """
        if reference.y is None:
            raise ValueError(
                "the reference images have no labels; an encoding's class is that of its images"
            )
        layer = self._layer(target)
        z = self._features(target, reference)
        self._at = (
            switch(target, layer) if self.variant == "sign" else z.median(dim=0).values
        )
        encodings = unique(
            encode(z, self._at), reference.y.cpu().numpy(), len(target.classes)
        )
        if len(encodings) < 2:
            raise NotApplicable(
                f"all reference images have the same encoding in {layer} (variant {self.variant})"
            )
        self.tree = trees.grow(encodings, self.threshold, rng)
        return self

    def work(self, facts):
        """See ``benchmark.shared.work``."""
        from benchmark.papers.layer_trees import work

        return work.method(facts, self._layer(facts.target))

    def explain(
        self,
        target: Target,
        batch: Batch,
        rng: Generator,
    ) -> Explanation:
        """The tree's classes; all -1 (not applicable) where the threshold left no encoding."""
        tree = self.tree
        labels = tree.predict(self.encode(target, batch))  # (n,)
        size = {
            "split_nodes": tree.split_nodes,
            "leaves": tree.leaves,
            "encodings": tree.n_encodings,
        }
        return Explanation(labels=labels, size=size)

    def encode(self, target: Target, batch: Batch) -> Bits:
        """The encodings of images, (n, w) bits."""
        return encode(self._features(target, batch), self._at)

    def rules(self, target: Target) -> list[str]:
        """The tree in sentences, one per leaf: IF 66 OFF AND 20 ON THEN 7."""
        return trees.rules(self.tree, target.classes)

    def _layer(self, target: Target) -> str:
        layer = self.layer or target.below_logits
        position(target, layer)  # raises where the network lacks it
        return layer

    def _features(self, target: Target, batch: Batch) -> Tensor:
        return target.features(batch, self._layer(target)).flatten(1)  # (n, w)
