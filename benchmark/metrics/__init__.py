"""Metrics: pure functions ``f(e, target, batch, rng, **setting) -> (n,)`` over an explanation of n images.

    faithfulness   does the network answer as the map says when pixels are hidden?
    correlations   do hidden regions matter as the map's sums in them say?
    monotonicity   do patches matter in the order that the map says?
    flipping       does the answer fall in the order of the map: by groups, from both ends, by segments?
    road           the same, with removed pixels that leave no trace
    localisation   does the map point at the object, and at the parts that make its class?
    object_relevance  how much of its relevance lies on the object?
    complexity     how few pixels carry the map?
    axioms         do its values add up to the answer?
    occlusion      does hiding what the map calls relevant hurt more than hiding what it calls irrelevant?
    reconstruction how close to the image, and to its class, is what a method rebuilt from a layer?
    surrogate      does the explanation alone give the class that the network gives?
    robustness     does the map stay what it is when the image hardly changes?
    randomisation  does the map change when what the network learned is taken away?
    parts          does the map name the parts that the answer rests on, where they can be taken away?
    invariance     does the map stay what it is when network and image change to the same computation?
    cost           how many passes of the network does an explanation take?

Those of the last five call the method again, on other images and networks.

Importing this package fills ``benchmark.api.METRICS``. No metric is the truth: each module names what it cannot see and
what a random map and an edge map score on it. A ranking that puts a control above a method is a finding, about the
metric or about the method.
"""

from benchmark.metrics import (
    axioms,
    complexity,
    concepts,
    correlations,
    cost,
    faithfulness,
    flipping,
    invariance,
    localisation,
    monotonicity,
    object_relevance,
    occlusion,
    parts,
    randomisation,
    reconstruction,
    road,
    robustness,
    surrogate,
)

__all__ = [
    "axioms",
    "complexity",
    "concepts",
    "correlations",
    "cost",
    "faithfulness",
    "flipping",
    "invariance",
    "localisation",
    "monotonicity",
    "object_relevance",
    "occlusion",
    "parts",
    "randomisation",
    "reconstruction",
    "road",
    "robustness",
    "surrogate",
]
