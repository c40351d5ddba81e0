"""Layer-wise relevance propagation by zennit's composites.

    zennit:EpsilonPlus      zennit:EpsilonGammaBox?low=-3&high=3

Idea: any composite of ``zennit.composites``. Relevance starts at the logit of the predicted class and is read where the
normalised pixels enter the network, so that every rule is applied to its own layer; it is summed over the channels. The
networks have batch norm folded in, so no canonizer is needed.

Reference: Anders, Neumann, Samek, Müller, Lapuschkin. Software for Dataset-wide XAI: From Local Explanations to Global
Insights with Zennit, CoRelAy, and ViRelAy. 2021, arXiv:2106.13200.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Target
from benchmark.methods import adapters
from benchmark.utils.near_names import UnknownName

_TAKEN = {
    "self",
    "canonizers",
    "layer_map",
    "first_map",
    "name_map",
}  # not for the user to set


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``zennit.composites.<name>``.

    Raises:
        UnknownName: zennit is not installed, has no such composite or option, or requires an option.
    """
    composites = adapters.library("zennit.composites", "zennit")
    core = adapters.library("zennit.core", "zennit")
    found = adapters.find(name, composites, core.Composite, "composite in zennit")
    known = adapters.options_of(found.__init__)
    adapters.refuse(options, known, _TAKEN, f"zennit:{name}")
    required = {k for k, p in known.items() if p.default is p.empty}
    missing = sorted(required - options.keys())
    if missing:
        raise UnknownName(
            f"zennit:{name} needs {', '.join(missing)}: zennit:{name}?{missing[0]}=..."
        )

    def maps(target: Target, batch: Batch, rng: Generator) -> Tensor:
        z = (batch.x - target.mean) / target.std  # (n, c, h, w)
        z.requires_grad_()
        given = dict(options)
        for key in {"low", "high"} & given.keys():
            given[key] = torch.full_like(z[:1], given[key])
        with found(**given).context(target.net) as network:
            y = network(z)  # (n, C)
            predicted = y.argmax(dim=1, keepdim=True)
            logit = y.detach().amax(dim=1, keepdim=True)
            relevance = torch.zeros_like(y).scatter(1, predicted, logit)
            (r,) = torch.autograd.grad(y, z, relevance)
        return r.sum(dim=1)  # (n, h, w)

    return adapters.method(f"{name} (zennit)", options, maps)
