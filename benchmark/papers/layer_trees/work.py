"""The work of the method and of the paper's experiments, counted (``benchmark.shared.work``).

``fits``: samples x nodes that each tree is grown from, and pixels of the maps that are averaged.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.papers.layer_trees.encodings import hidden_layers
from benchmark.papers.layer_trees.replicate import CHUNK
from benchmark.shared.work import FLOAT, Facts, Work, of_method, shapes

GRADIENT_IMAGES = 256  # images that a heat-map method is fitted on


def method(facts: Facts, layer: str) -> Work:
    """The layer's output for all images, and one tree."""
    encoded = (facts.reference + facts.images) * facts.forward(layer)
    return encoded + _grown(facts.reference, facts.units(layer))


def trees(
    facts: Facts,
    *,
    thresholds: Sequence[int],
    layers: Sequence[str] | None,
    samples: int | None,
    **_: object,
) -> Work:
    """All layers in one pass and the answers in another, then a tree for each layer and threshold."""
    names = list(layers or hidden_layers(facts.target))
    train = samples or facts.train
    n = train + facts.test
    last = max(names, key=facts.target.layers.index)
    passes = n * (_in_chunks(facts, last) + _in_chunks(facts, facts.target.layers[-1]))
    nodes = shapes(names, facts)
    widest = max(map(facts.units, names))
    grown = Work(
        fits=len(thresholds) * train * nodes, bytes=_grown(train, widest).bytes
    )
    packed = n * nodes / 8  # bytes
    return (passes + grown).beside(packed)


def duplicates(
    facts: Facts,
    *,
    layer: str,
    samples: int | None,
    **_: object,
) -> Work:
    """The encodings of one layer."""
    n = samples or facts.train
    states = n * facts.units(layer)
    return n * _in_chunks(facts, layer) + Work(fits=states, bytes=states / 4)


def drawing(
    facts: Facts,
    *,
    layer: str,
    samples: int | None,
    maps: str,
    **_: object,
) -> Work:
    """One tree, and a map for each sample."""
    n = samples or facts.train
    drawn = Work()
    if maps == "gradient":
        drawn = n * facts.pixel_gradient()
    elif maps != "image":
        drawn = of_method(facts.build(maps), facts.explaining(n, GRADIENT_IMAGES))
    pixels = n * facts.shape[1] * facts.shape[2]
    averaged = Work(fits=pixels, bytes=2 * FLOAT * pixels)
    return (
        n * _in_chunks(facts, layer) + _grown(n, facts.units(layer)) + drawn + averaged
    )


def _in_chunks(facts: Facts, layer: str) -> Work:
    """The pass of one image up to ``layer``, CHUNK images going through the network together."""
    return facts.at_once(facts.forward(layer), CHUNK)


def _grown(n: int, width: int) -> Work:
    """A tree of n samples: scikit-learn holds the states as bytes and as float32."""
    return Work(fits=n * width, bytes=(1 + FLOAT) * n * width)
