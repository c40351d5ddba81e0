"""glassbench: measure methods that explain what happens inside neural networks.

    import glassbench

    class GradNorm:
        def fit(self, target, reference, rng):
            return self

        def explain(self, target, batch, rng):
            x = batch.x.clone().requires_grad_()
            target(x).amax(dim=1).sum().backward()
            return glassbench.Explanation(heatmaps=x.grad.abs().sum(dim=1))

    glassbench.evaluate(GradNorm(), network=net, images=x, labels=y, layer="layer4")
    glassbench.score(heatmaps, network=net, images=x, labels=y)

``evaluate`` runs a method on a network, scores it by every metric, and places it among controls and CAMs; ``score``
scores heat maps that are made elsewhere. Both run in this process, in a notebook or a plain script. To place a method
on the benchmark's own networks, write it to a file: ``glassbench evaluate mine.py:GradNorm`` on the command line.

``Target``, ``Batch`` and ``Explanation`` are what a method sees and returns; ``Method`` is what a class must offer;
``metric`` declares a function as a metric. Wrong input is an ``InputError``, a ``ValueError`` of one line.
"""

from benchmark import __version__
from benchmark.api import (
    Batch,
    Explanation,
    Method,
    MetricSpec,
    NotApplicable,
    Target,
    bounds,
    torch_rng,
)
from benchmark.api import any_metric as metric
from benchmark.jobs.in_process import Evaluation, evaluate, score
from benchmark.utils.errors import InputError

__all__ = [
    "Batch",
    "Evaluation",
    "Explanation",
    "InputError",
    "Method",
    "MetricSpec",
    "NotApplicable",
    "Target",
    "__version__",
    "bounds",
    "evaluate",
    "metric",
    "score",
    "torch_rng",
]
