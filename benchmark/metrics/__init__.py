"""Metrics: pure functions ``f(e, target, batch, rng, **setting) -> (n,)`` over an explanation of n images.

    faithfulness   does the network answer as the map says when pixels are hidden?
    localisation   does the map point at the object, and at the parts that make its class?
    complexity     how few pixels carry the map?
    surrogate      does the explanation alone give the class that the network gives?

Importing this package fills ``benchmark.api.METRICS``. No metric is the truth: each module names what it cannot see and
what a random map and an edge map score on it. A ranking that puts a control above a method is a finding, about the
metric or about the method.
"""

from benchmark.metrics import complexity, faithfulness, localisation, surrogate

__all__ = ["complexity", "faithfulness", "localisation", "surrogate"]
