"""Attributions of captum: ``captum:IntegratedGradients?n_steps=20``, ``captum:Occlusion?sliding_window_shapes=(1,4,4)``.

Idea: any class of ``captum.attr`` with ``attribute(inputs, target=...)``; options go to its constructor or to
``attribute``, whichever has them. Attributions are added over the channels; those of a layer (default: the target's
choice, else ``layer=conv3``) also over its units, and resized. A window given as one number, or as (h, w), spans all
channels.

Reference: Kokhlikyan et al. Captum: A unified and generic model interpretability library for PyTorch. 2020,
arXiv:2009.07896.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods import adapters
from benchmark.utils.near_names import UnknownName

_TAKEN = {"forward_func", "model", "inputs", "target", "self"}  # what the adapter gives


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``captum.attr.<name>``.

    Raises:
        UnknownName: captum is not installed, has no such attribution or option, or asks for an option.
    """
    attr = adapters.library("captum.attr", "captum")
    found = adapters.find(name, attr, attr.Attribution, "attribution in captum")
    make, call = adapters.options_of(found.__init__), adapters.options_of(found.attribute)
    adapters.refuse(options, make | call, _TAKEN, f"captum:{name}")
    needed = (
        {k for k, p in (make | call).items() if p.default is p.empty}
        - _TAKEN
        - {"layer", "baselines"}
    )
    if missing := sorted(needed - options.keys()):
        raise UnknownName(
            f"captum:{name} needs {', '.join(missing)}: captum:{name}?{missing[0]}=..."
        )

    def maps(target: Target, batch: Batch, rng: Generator) -> Tensor:
        given = {
            k: _window(v, batch) if k in ("sliding_window_shapes", "strides") else v
            for k, v in options.items()
        }
        if "layer" in make:
            given["layer"] = adapters.layer(target, options.get("layer"))
        if (
            call.get("baselines")
            and call["baselines"].default is call["baselines"].empty
            and "baselines" not in given
        ):
            given["baselines"] = 0 * batch.x  # black
        network = adapters.Network(target)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of hooks that it sets and of gradients that it asks for
            attribution = found(network, **{k: v for k, v in given.items() if k in make})
            out = attribution.attribute(
                batch.x.clone().requires_grad_(),
                target=target(batch.x).argmax(dim=1),
                **{k: v for k, v in given.items() if k in call},
            )
        if not isinstance(out, Tensor) or out.ndim != 4:
            raise NotApplicable(f"captum's {name} gives no map of an image")
        return adapters.resized(out.detach().sum(dim=1), batch)  # (n, h, w)

    return adapters.method(f"{name} (captum)", options, maps)


def _window(value: Any, batch: Batch) -> Any:
    """4 or (4, 4) -> (c, 4, 4)."""
    value = (value, value) if isinstance(value, int) else tuple(value)
    return (batch.x.shape[1], *value) if len(value) == 2 else value
