"""Layer-wise relevance propagation by zennit's composites: ``zennit:EpsilonPlus``, ``zennit:EpsilonGammaBox?low=-3&high=3``.

Idea: any composite of ``zennit.composites``. Relevance starts at the logit of the predicted class and is read where the
normalised pixels enter, so that every rule sees its own layer; it is added over the channels. The house's networks come
with batch norm folded in, so no canonizer is needed.

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


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``zennit.composites.<name>``.

    Raises:
        UnknownName: zennit is not installed, has no such composite or option, or asks for an option.
    """
    composites = adapters.library("zennit.composites", "zennit")
    core = adapters.library("zennit.core", "zennit")
    found = adapters.find(name, composites, core.Composite, "composite in zennit")
    known = adapters.options_of(found.__init__)
    adapters.refuse(
        options,
        known,
        {"self", "canonizers", "layer_map", "first_map", "name_map"},
        f"zennit:{name}",
    )
    if missing := sorted(k for k, p in known.items() if p.default is p.empty and k not in options):
        raise UnknownName(
            f"zennit:{name} needs {', '.join(missing)}: zennit:{name}?{missing[0]}=..."
        )

    def maps(target: Target, batch: Batch, rng: Generator) -> Tensor:
        z = ((batch.x - target.mean) / target.std).requires_grad_()  # (n, c, h, w)
        given = {
            k: torch.full_like(z[:1], v) if k in ("low", "high") else v for k, v in options.items()
        }
        with found(**given).context(target.net) as network:
            y = network(z)  # (n, C)
            relevance = torch.zeros_like(y).scatter(
                1, y.argmax(dim=1, keepdim=True), y.detach().amax(dim=1, keepdim=True)
            )
            (r,) = torch.autograd.grad(y, z, relevance)
        return r.sum(dim=1)  # (n, h, w)

    return adapters.method(f"{name} (zennit)", options, maps)
