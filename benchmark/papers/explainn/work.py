"""What the method and the paper's experiments do, counted (``benchmark.shared.work``).

``fits``: words of 64 samples that the miner reads: for each unit those of every class, and for each pair of rules that may be
merged its own. Which pairs may is known only when the rules are: here a tenth of all that join units of one block.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.papers.explainn.networks import DRAWS, last
from benchmark.shared.work import Facts, Work, tensors

FEW = 500  # images that prototypes are scaled by
LARGEST = 3  # items of a planted head or tail, on average
NEAR = 0.1  # share of the pairs of a block whose heads are alike enough
DOUBLE = 8  # bytes
START = 5e6  # words that the miner reads in the time that its compiled kernels take to load


def method(facts: Facts, layer: str | None) -> Work:
    """Rules classes -> last hidden layer, and classes -> the layer that heat maps are drawn at."""
    hidden = last(facts.target).layer
    names = [hidden] + ([layer] if layer and len(facts.size(layer)) == 3 else [])
    n, m = facts.reference, facts.images
    passes = [(n + m) * facts.forward(name) for name in names]
    mined = [_mined(facts, n, facts.classes, facts.size(name)) for name in names]
    return sum([*passes, *mined], (n + m) * facts.logits)


def worked_example(facts: Facts, **_: object) -> Work:
    """An example by hand."""
    return Work(fits=1)


def planted(facts: Facts, *, m: int, n: int, **_: object) -> Work:
    """About as many heads and tails as there are planted items."""
    items = LARGEST * m
    return Work(fits=n / 64 * items * (items + m), bytes=2 * n * items * 3)


def rules(
    facts: Facts, *, layers: Sequence[str] | None, samples: int, pool: int, **_: object
) -> Work:
    """The rules of each layer. Their features stay in memory; background filters are told by correlations in float64."""
    source, n = last(facts.target), min(samples, facts.train)
    out, held = n * facts.logits, tensors(n * facts.pixels)
    for layer in layers or [source.layer]:
        units = facts.units(layer)
        held += tensors(n * units)
        found = _mined(facts, n, facts.classes, facts.size(layer))
        if len(facts.size(layer)) == 3:
            found += Work(bytes=2 * DOUBLE * n * units)
        out += (n * facts.forward(layer) + found).beside(held)
    return out


def intervention(facts: Facts, *, samples: int, test_samples: int, **_: object) -> Work:
    """The rules of the last hidden layer; then a class's logit without its rules' weights, and without as many others."""
    source, n, t = last(facts.target), min(samples, facts.train), min(test_samples, facts.test)
    lost = t * (DRAWS + 1) * facts.units(source.layer)
    tested = t * (facts.logits + facts.forward(source.layer)) + Work(passes=lost)
    return (_last_rules(facts, n) + tested).beside(
        tensors(t * facts.pixels, 2 * t * facts.units(source.layer))
    )


def flow(
    facts: Facts, *, layers: Sequence[str], samples: int, wide: int, steps: int, **_: object
) -> Work:
    """Rules from each layer to the next, and prototypes of the tails on the way from one class."""
    n, heads = min(samples, facts.train), facts.classes
    out, held = n * facts.logits, tensors(n * facts.pixels)
    for depth, layer in enumerate(layers):
        held += tensors(n * facts.units(layer))
        out += (n * facts.forward(layer) + _mined(facts, n, heads, facts.size(layer))).beside(held)
        out += _climbed(facts, layer, wide * (1 if depth == 0 else 2), steps)
        heads = facts.units(layer)
    return out


def prototypes(
    facts: Facts, *, samples: int, rules: int, most: int, steps: int, side: int | None, **_: object
) -> Work:
    """The images of ``rules`` tails and of each of their units."""
    layer = last(facts.target).layer
    drawn = rules * _climbed(facts, layer, 1 + most, steps, side)
    return _last_rules(facts, min(samples, facts.train)) + FEW * facts.forward(layer) + drawn


def traits(facts: Facts, *, samples: int, steps: int, side: int | None, **_: object) -> Work:
    """The images of three tails of two classes, of three of one class, and of that class."""
    layer = last(facts.target).layer
    drawn = 2 * _climbed(facts, layer, 3, steps, side) + _climbed(
        facts, facts.target.layers[-1], 1, steps, side
    )
    return _last_rules(facts, min(samples, facts.train)) + FEW * facts.forward(layer) + drawn


def fine_tuning(
    facts: Facts, *, samples: int, shown: int, steps: int, side: int | None, **_: object
) -> Work:
    """Rules of two networks, and images of some tails in both."""
    layer = last(facts.target).layer
    both = 2 * (_last_rules(facts, min(samples, facts.train)) + FEW * facts.forward(layer))
    return both + 2 * _climbed(facts, layer, shown, steps, side)


# --------------------------------------------------------------------------------------------- parts


def _last_rules(facts: Facts, n: int) -> Work:
    """Rules classes -> last hidden layer on n images."""
    source = last(facts.target)
    size = facts.size(source.layer)[:1] if source.channels else facts.size(source.layer)
    passes = n * (facts.logits + facts.forward(source.layer))
    held = tensors(
        n * facts.pixels, 2 * n * facts.units(source.layer)
    )  # chunks of features, and all of them together
    return (passes + _mined(facts, n, facts.classes, size)).beside(held)


def _mined(facts: Facts, n: int, heads: int, size: Sequence[int]) -> Work:
    """A run of the miner on n samples with so many heads; tails are the units of a layer, in blocks of a channel each."""
    blocks, block = (size[0], size[1] * size[2]) if len(size) == 3 else (1, size[0])
    pairs = NEAR * blocks * block**2 / 2
    together = heads * blocks * block  # counts of heads with tails
    tables = n * (heads + blocks * block)
    return Work(fits=START + n / 64 * (together + pairs), bytes=3 * tables + 2 * DOUBLE * together)


def _climbed(facts: Facts, layer: str, groups: int, steps: int, side: int | None = None) -> Work:
    """Images that are moved uphill: at each step psi up to ``layer`` and its gradient at the pixels."""
    share = 1.0 if side is None else side**2 / (facts.shape[1] * facts.shape[2])
    one = facts.at_once(facts.pixel_gradient(layer), groups)
    return Work(steps * groups * share * one.passes, steps, share * one.bytes)
