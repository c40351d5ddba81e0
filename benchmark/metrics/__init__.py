"""Metrics: pure functions ``f(e, target, batch, rng, **setting) -> (n,)`` over an explanation of n images.

    faithfulness   does the network answer as the map says when pixels are hidden?
    localisation   does the map point at the object, and at the parts that make its class?
    complexity     how few pixels carry the map?
    occlusion      does hiding what the map calls relevant hurt more than hiding what it calls irrelevant?
    reconstruction how close to the image, and to its class, is what a method rebuilt from a layer?
    surrogate      does the explanation alone give the class that the network gives?

Importing this package fills ``benchmark.api.METRICS``. No metric is the truth: each module names what it cannot see and
what a random map and an edge map score on it. A ranking that puts a control above a method is a finding, about the
metric or about the method.
"""

from benchmark.metrics import (
    complexity,
    concepts,
    faithfulness,
    localisation,
    occlusion,
    reconstruction,
    surrogate,
)

__all__ = [
    "complexity",
    "concepts",
    "faithfulness",
    "localisation",
    "occlusion",
    "reconstruction",
    "surrogate",
]
