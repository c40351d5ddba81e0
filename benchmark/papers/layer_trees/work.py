"""What the method and the paper's experiments do, counted (``benchmark.shared.work``).

``fits``: samples x nodes that a tree is grown from, for each tree, and pixels of maps that are added up.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.papers.layer_trees.encodings import hidden_layers
from benchmark.papers.layer_trees.replicate import CHUNK
from benchmark.shared.work import FLOAT, Facts, Work, of_method, shapes

GRADIENT_IMAGES = 256  # that a method of heat maps is fitted on


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
    n = samples or facts.train
    last = max(names, key=facts.target.layers.index)
    passes = (n + facts.test) * (_wide(facts, last) + _wide(facts, facts.target.layers[-1]))
    widest = max(map(facts.units, names))
    grown = _grown(n, widest)
    words = len(thresholds) * n * shapes(names, facts)
    return (passes + Work(fits=words, bytes=grown.bytes)).beside(
        (n + facts.test) * shapes(names, facts) / 8
    )


def duplicates(facts: Facts, *, layer: str, samples: int | None, **_: object) -> Work:
    """The encodings of one layer."""
    n = samples or facts.train
    return n * _wide(facts, layer) + Work(
        fits=n * facts.units(layer), bytes=n * facts.units(layer) / 4
    )


def drawing(facts: Facts, *, layer: str, samples: int | None, maps: str, **_: object) -> Work:
    """One tree, and a map for each sample."""
    n, area = samples or facts.train, facts.shape[1] * facts.shape[2]
    drawn = Work()
    if maps == "gradient":
        drawn = n * facts.pixel_gradient()
    elif maps != "image":
        drawn = of_method(facts.build(maps), facts.explaining(n, GRADIENT_IMAGES))
    added = Work(fits=n * area, bytes=2 * FLOAT * n * area)
    return n * _wide(facts, layer) + _grown(n, facts.units(layer)) + drawn + added


def _wide(facts: Facts, layer: str) -> Work:
    """psi of one image, CHUNK of which go through the network together."""
    return facts.at_once(facts.forward(layer), CHUNK)


def _grown(n: int, width: int) -> Work:
    """A tree of n samples: scikit-learn holds the states as bytes and as float32."""
    return Work(fits=n * width, bytes=(1 + FLOAT) * n * width)
