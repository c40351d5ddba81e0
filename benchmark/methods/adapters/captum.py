"""Attributions of captum.

    captum:IntegratedGradients?n_steps=20      captum:Occlusion?sliding_window_shapes=(1,4,4)

Idea: any class of ``captum.attr`` with ``attribute(inputs, target=...)``; options go to its constructor or to
``attribute``, whichever has them. Attributions are summed over the channels; those of a layer (default: the target's
choice; another by ``layer=conv3``) are summed over its units and resized. A window given as one number, or as (h, w),
spans all channels.

Reference: Kokhlikyan et al. Captum: A unified and generic model interpretability library for PyTorch. 2020,
arXiv:2009.07896.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods import adapters
from benchmark.utils.near_names import UnknownName

_TAKEN = {"forward_func", "model", "inputs", "target", "self"}  # set by the adapter


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``captum.attr.<name>``.

    Raises:
        UnknownName: captum is not installed, has no such attribution or option, or requires an option.
    """
    attr = adapters.library("captum.attr", "captum")
    found = adapters.find(name, attr, attr.Attribution, "attribution in captum")
    make = adapters.options_of(found.__init__)
    call = adapters.options_of(found.attribute)
    adapters.refuse(options, make | call, _TAKEN, f"captum:{name}")
    required = {k for k, p in (make | call).items() if p.default is p.empty}
    given_here = _TAKEN | {"layer", "baselines"}
    missing = sorted(required - given_here - options.keys())
    if missing:
        raise UnknownName(
            f"captum:{name} needs {', '.join(missing)}: captum:{name}?{missing[0]}=..."
        )

    needs_baselines = (
        "baselines" in call and call["baselines"].default is inspect.Parameter.empty
    )

    def maps(target: Target, batch: Batch, rng: Generator) -> Tensor:
        given = dict(options)
        for key in {"sliding_window_shapes", "strides"} & given.keys():
            given[key] = _window(given[key], batch)
        if "layer" in make:
            given["layer"] = adapters.layer(target, options.get("layer"))
        if needs_baselines:
            given.setdefault("baselines", 0 * batch.x)  # black
        for_constructor = {k: v for k, v in given.items() if k in make}
        for_call = {k: v for k, v in given.items() if k in call}
        network = adapters.Network(target)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about the hooks it sets and the gradients it requires
            attribution = found(network, **for_constructor)
            x = batch.x.clone().requires_grad_()
            classes = target(batch.x).argmax(dim=1)
            out = attribution.attribute(x, target=classes, **for_call)
        if not isinstance(out, Tensor) or out.ndim != 4:
            raise NotApplicable(f"captum's {name} does not return a map per image")
        return adapters.resized(out.detach().sum(dim=1), batch)  # (n, h, w)

    return adapters.method(f"{name} (captum)", options, maps)


def _window(value: Any, batch: Batch) -> Any:
    """4 or (4, 4) -> (c, 4, 4)."""
    if isinstance(value, int):
        value = (value, value)
    window = tuple(value)
    if len(window) == 2:
        return batch.x.shape[1], *window
    return window
