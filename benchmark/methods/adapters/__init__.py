"""Classes of other libraries as methods, one file per library.

    captum:IntegratedGradients?n_steps=20      pytorch_grad_cam:LayerCAM      zennit:EpsilonPlus      maps.npz

``adapt(name, options)`` of such a file turns the library's class ``name`` into a method: it explains the class that the
network predicts, and passes the images in the batch's chunks. ``remark(name, options)`` is what a reader of its rows
should know. Each library is an optional extra. Some libraries draw from global random states: these are seeded from
``rng`` meanwhile, and restored. A library gets a copy of the network, built of torch's own modules.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import field, make_dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.methods.plain_networks import Add, plain
from benchmark.utils.near_names import UnknownName, near

OFFERS = frozenset({"heatmaps"})
# The package to install, by the name of the adapter's file.
PACKAGES = {"captum": "captum", "pytorch_grad_cam": "grad-cam", "zennit": "zennit"}


def version(adapter: str) -> str:
    """The version of the library behind an adapter; empty for any other file."""
    if adapter not in PACKAGES:
        return ""
    try:
        return importlib.metadata.version(PACKAGES[adapter])
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def library(module: str, package: str) -> ModuleType:
    """A module of a library.

    Raises:
        UnknownName: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name, _, _ = module.partition(".")
        raise UnknownName(
            f"{name} cannot be imported ({error}); pip install {package}, "
            "or pip install 'glassbench[adapters]'"
        ) from None


Maps = Callable[[Batch], Tensor]  # m images -> heat maps (m, h, w)


def options_of(*functions: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters of a library's functions that can be given by name."""
    found = {}
    for function in functions:
        for name, p in inspect.signature(function).parameters.items():
            if name != "self" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                found[name] = p
    return found


def check_options(
    options: Mapping[str, Any],
    known: Mapping[str, inspect.Parameter | None],
    taken: set[str],
    what: str,
) -> None:
    """Check that the options exist and that none is missing.

    Args:
        known: the library's parameters, and the adapter's own options.
        taken: those of them that the adapter sets itself.

    Raises:
        UnknownName: with similar names, or with the name of an option that is required.
    """
    allowed = known.keys() - taken
    for key in options:
        if key not in allowed:
            raise near(key, allowed, f"option of {what}")
    required = {k for k, p in known.items() if p and p.default is p.empty}
    missing = sorted(required - taken - options.keys())
    if missing:
        raise UnknownName(f"{what} needs {', '.join(missing)}: {what}?{missing[0]}=...")


def method(
    name: str,
    options: Mapping[str, Any],
    opened: Callable[[Target], AbstractContextManager[Maps]],
) -> Any:
    """A method with the settings ``options``; ``opened`` is entered for each target, and left even if a map fails."""

    def fit(self: Any, target: Target, reference: Batch, rng: Generator) -> Any:
        return self

    def explain(self: Any, target: Target, batch: Batch, rng: Generator) -> Explanation:
        parts = []
        with seeded(rng), opened(target) as maps:
            for part in batch:
                found = torch.as_tensor(maps(part))
                parts.append(found.detach())
        return Explanation(heatmaps=torch.cat(parts))

    fields = [
        (key, Any, field(default=_hashable(value))) for key, value in options.items()
    ]
    namespace = {"name": name, "fit": fit, "explain": explain}
    cls = make_dataclass(name.split()[0], fields, namespace=namespace)
    return cls()


def _hashable(value: Any) -> Any:
    """A list as a tuple: the default of a dataclass field must be hashable."""
    return tuple(value) if isinstance(value, list) else value


@contextlib.contextmanager
def seeded(rng: Generator) -> Iterator[None]:
    """Seeds the global random states of torch, numpy and Python from ``rng``, and restores them at the end."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    seed = int(rng.integers(2**32))
    torch.random.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        of_torch, of_numpy, of_python = states
        torch.set_rng_state(of_torch)
        np.random.set_state(of_numpy)
        random.setstate(of_python)


class Network(nn.Module):
    """A plain copy of a target as the single module that libraries expect: pixels in [0, 1] (n, c, h, w) -> logits.

    Args:
        add: makes the module of each addition.
    """

    def __init__(self, target: Target, add: Callable[[], nn.Module] = Add) -> None:
        super().__init__()
        self.net = plain(target.net, add)
        self.target = target

    def normalised(self, x: Tensor) -> Tensor:
        """What enters ``net`` for pixels x, (n, c, h, w)."""
        return (x - self.target.mean) / self.target.std

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.normalised(x))


def spatial_layer(target: Target, name: str | None = None) -> str:
    """The name of a layer whose output is a map (default: the target's choice).

    Raises:
        NotApplicable: the target has no layer with spatial extent, or this one has none. UnknownName: no such layer.
    """
    if name is None and target.layer is None:
        raise NotApplicable(f"{target.name} has no layer with spatial extent")
    chosen = name or target.layer
    if chosen not in target.layers:
        raise near(name, target.layers, f"layer of {target.name}:")
    image = torch.zeros(1, *target.input_shape, device=target.device)
    with torch.no_grad():
        axes = target.features(image, chosen).ndim
    if axes != 4:
        raise NotApplicable(f"layer {chosen} of {target.name} has no spatial extent")
    return chosen


def resized(maps: Tensor, batch: Batch) -> Tensor:
    """(n, u, v) -> (n, h, w), bilinear, pixel centres aligned."""
    size = batch.x.shape[-2:]
    full = nn.functional.interpolate(
        maps[:, None], size, mode="bilinear", align_corners=False
    )
    return full[:, 0]
