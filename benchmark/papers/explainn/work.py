"""The work of the method and of the paper's experiments, counted (``benchmark.shared.work``).

``fits``: words of 64 samples that the miner reads: for each unit those of every class, and its own for each pair of
rules that may be merged. How many pairs these are is known only when the rules are; a tenth of all that join units of
one block is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmark.papers.explainn.networks import DRAWS, last
from benchmark.papers.explainn.prototypes import FEW
from benchmark.shared.work import Facts, Work, tensors

LARGEST = 3  # items of a planted head or tail, on average
NEAR = 0.1  # share of the pairs of a block whose heads are similar enough to merge
DOUBLE = 8  # bytes
START = (
    5e6  # words that the miner reads in the time that its compiled kernels take to load
)


def method(facts: Facts, layer: str | None) -> Work:
    """Rules classes -> last hidden layer, and classes -> the layer that heat maps are drawn at."""
    names = [last(facts.target).layer]
    if layer and len(facts.size(layer)) == 3:
        names.append(layer)
    images = facts.reference + facts.images
    out = images * facts.logits
    for name in names:
        out += images * facts.forward(name)
    for name in names:
        out += _mined(facts.reference, facts.classes, facts.size(name))
    return out


def worked_example(facts: Facts, **_: object) -> Work:
    """A hand-sized example."""
    return Work(fits=1)


def planted(
    facts: Facts,
    *,
    m: int,
    n: int,
    **_: object,
) -> Work:
    """About as many heads and tails as there are planted items."""
    items = LARGEST * m
    words = n / 64 * items * (items + m)
    return Work(fits=words, bytes=2 * n * items * 3)


def rules(
    facts: Facts,
    *,
    layers: Sequence[str] | None,
    samples: int,
    pool: int,
    filters: int,
    steps: int,
    **_: object,
) -> Work:
    """The rules of each layer. Features stay in memory; background filters are found by correlations in float64, a
    chunk at a time. Then prototypes of filters.
    """
    n = min(samples, facts.train)
    out = n * facts.logits
    held = tensors(n * facts.pixels)
    for layer in layers or [last(facts.target).layer]:
        shape, units = _shape(facts, layer, pool), facts.units(layer)
        held += tensors(n * units)
        found = _mined(n, facts.classes, shape)
        if len(shape) == 3:
            _, u, v = facts.size(layer)
            found += Work(bytes=DOUBLE * (2 * n * u * v + 2 * facts.chunk * units))
            found += _climbed(facts, layer, filters + 1, steps)
        one_layer = n * facts.forward(layer) + found
        out += one_layer.beside(held)
    return out


def intervention(
    facts: Facts,
    *,
    samples: int,
    test_samples: int,
    **_: object,
) -> Work:
    """The rules of the last hidden layer; then the logit of each class without its rules' weights, and without as many
    random ones.
    """
    layer = last(facts.target).layer
    units = facts.units(layer)
    tested = min(test_samples, facts.test)
    lost = tested * (DRAWS + 1) * units
    passes = tested * (facts.logits + facts.forward(layer)) + Work(passes=lost)
    held = tensors(tested * facts.pixels, 2 * tested * units)
    return (_last_rules(facts, samples) + passes).beside(held)


def flow(
    facts: Facts,
    *,
    layers: Sequence[str],
    samples: int,
    wide: int,
    steps: int,
    pool: int,
    **_: object,
) -> Work:
    """Rules from each layer to the next, and prototypes of the tails on the way from one class."""
    n = min(samples, facts.train)
    out = n * facts.logits
    held = tensors(n * facts.pixels)
    heads = facts.classes
    for depth, layer in enumerate(layers):
        units = facts.units(layer)
        held += tensors(n * units)
        shape = _shape(facts, layer, pool)
        mined = n * facts.forward(layer) + _mined(n, heads, shape)
        out += mined.beside(held)
        drawn = wide if depth == 0 else 2 * wide
        if depth + 1 == len(layers) and len(shape) == 3:
            drawn *= 2  # filters
        out += _climbed(facts, layer, drawn, steps)
        heads = math.prod(shape)
    return out


def prototypes(
    facts: Facts,
    *,
    samples: int,
    rules: int,
    most: int,
    steps: int,
    side: int | None,
    **_: object,
) -> Work:
    """The images of ``rules`` tails and of each of their units."""
    layer = last(facts.target).layer
    drawn = rules * _climbed(facts, layer, 1 + most, steps, side)
    return _last_rules(facts, samples) + FEW * facts.forward(layer) + drawn


def traits(
    facts: Facts,
    *,
    samples: int,
    steps: int,
    side: int | None,
    shown: int,
    **_: object,
) -> Work:
    """The images of three tails of two classes, of three of one class, and of that class; and of ``shown`` of two kinds
    of rules, since few networks have all three.
    """
    layer = last(facts.target).layer
    logits = facts.target.layers[-1]
    tails = 2 * _climbed(facts, layer, 3, steps, side)
    tails += _climbed(facts, layer, 2 * shown, steps, side)
    drawn = tails + _climbed(facts, logits, 1, steps, side)
    scaled = FEW * facts.forward(layer)
    return _last_rules(facts, samples) + scaled + drawn


def fine_tuning(
    facts: Facts,
    *,
    samples: int,
    shown: int,
    steps: int,
    side: int | None,
    **_: object,
) -> Work:
    """Rules of two networks, and images of some tails in both."""
    layer = last(facts.target).layer
    one = _last_rules(facts, samples) + FEW * facts.forward(layer)
    return 2 * one + 2 * _climbed(facts, layer, shown, steps, side)


# --------------------------------------------------------------------------------------------- parts


def _last_rules(facts: Facts, samples: int) -> Work:
    """Rules classes -> last hidden layer on at most ``samples`` images."""
    n = min(samples, facts.train)
    source = last(facts.target)
    shape, units = _shape(facts, source.layer), facts.units(source.layer)
    passes = n * (facts.logits + facts.forward(source.layer))
    held = tensors(
        n * facts.pixels, 2 * n * units
    )  # features in chunks, and in one piece
    return (passes + _mined(n, facts.classes, shape)).beside(held)


def _shape(facts: Facts, layer: str, pool: int = 1) -> Sequence[int]:
    """The shape of the units of a layer (``networks.Units``)."""
    size, source = facts.size(layer), last(facts.target)
    if len(size) != 3:
        return size
    if source.channels and layer == source.layer:
        return size[:1]
    return size[0], -(-size[1] // pool), -(-size[2] // pool)


def _mined(n: int, heads: int, size: Sequence[int]) -> Work:
    """A run of the miner on n samples; tails are the units of a layer of shape ``size``, in one block per channel."""
    blocks, block = 1, size[0]
    if len(size) == 3:
        blocks, block = size[0], size[1] * size[2]
    tails = blocks * block
    pairs = NEAR * blocks * block**2 / 2
    together = heads * tails  # counts of heads with tails
    tables = n * (heads + tails)
    return Work(
        fits=START + n / 64 * (together + pairs),
        bytes=3 * tables + 2 * DOUBLE * together,
    )


def _climbed(
    facts: Facts,
    layer: str,
    groups: int,
    steps: int,
    side: int | None = None,
) -> Work:
    """Images that are optimised: each step a pass up to ``layer`` and its gradient at the pixels."""
    share = 1.0
    if side is not None:
        share = side**2 / (facts.shape[1] * facts.shape[2])
    one = facts.at_once(facts.pixel_gradient(layer), groups)
    return Work(
        passes=steps * groups * share * one.passes,
        fits=steps,
        bytes=share * one.bytes,
    )
