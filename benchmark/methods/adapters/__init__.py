"""Methods of the libraries that people already use, as methods of the house.

    captum:IntegratedGradients?n_steps=20      pytorch_grad_cam:EigenCAM      zennit:EpsilonPlus      maps.npz

A file a library. ``adapt(name, options)`` there makes the library's class ``name`` a method: what a method of the house
has by hand (the class that is explained is the one that the network predicts; images go through in the batch's chunks) is
here done once for all of a library's classes. Each library is an optional extra. Some draw from global random states: they
are seeded from ``rng`` for the while, and put back.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, make_dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.utils.near_names import UnknownName, near, pick

OFFERS = frozenset({"heatmaps"})
PACKAGES = {
    "captum": "captum",
    "pytorch_grad_cam": "grad-cam",
    "zennit": "zennit",
}  # by the adapter's file


def version(adapter: str) -> str:
    """The version of the library behind an adapter; empty for what has none."""
    try:
        return importlib.metadata.version(PACKAGES[adapter]) if adapter in PACKAGES else ""
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def library(module: str, package: str) -> ModuleType:
    """The library, or a clear word on how to get it.

    Raises:
        UnknownName: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnknownName(
            f"{module.split('.')[0]} is not here ({error}); pip install {package}, or pip install 'glassbench[adapters]'"
        ) from None


def find(name: str, module: ModuleType, base: type, what: str) -> type:
    """The class ``name`` of a library, among those that are a ``base``."""
    classes = {
        k: v
        for k, v in vars(module).items()
        if inspect.isclass(v) and issubclass(v, base) and v is not base
    }
    return pick(name, classes, what)


def options_of(*functions: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The named parameters of a library's functions."""
    return {
        k: p
        for f in functions
        for k, p in inspect.signature(f).parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and k != "self"
    }


def refuse(
    options: Mapping[str, Any], known: Mapping[str, Any], taken: set[str], what: str
) -> None:
    """Refuse options that the library has not, or that are not the user's to set.

    Raises:
        UnknownName: with near names.
    """
    for key in options:
        if key not in known or key in taken:
            raise near(key, known.keys() - taken, f"option of {what}")


def method(
    name: str, options: Mapping[str, Any], maps: Callable[[Target, Batch, Generator], Tensor]
) -> Any:
    """A method whose settings are ``options`` and whose heat maps (m, h, w) of a chunk of m images ``maps`` makes."""

    def fit(self: Any, target: Target, reference: Batch, rng: Generator) -> Any:
        return self

    def explain(self: Any, target: Target, batch: Batch, rng: Generator) -> Explanation:
        with seeded(rng):
            parts = [torch.as_tensor(maps(target, part, rng)).detach() for part in batch]
        return Explanation(heatmaps=torch.cat(parts))

    fields = [(key, Any, field(default=_plain(value))) for key, value in options.items()]
    return make_dataclass(
        name.split()[0], fields, namespace={"name": name, "fit": fit, "explain": explain}
    )()


def _plain(value: Any) -> Any:
    """A value as a row's setting shows it: no ``;``, no brackets of a type that cannot be hashed."""
    return tuple(value) if isinstance(value, list) else value


@contextlib.contextmanager
def seeded(rng: Generator) -> Iterator[None]:
    """Global random states of torch, numpy and Python seeded from ``rng``, and put back at the end."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    seed = int(rng.integers(2**32))
    torch.random.default_generator.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


class Network(nn.Module):
    """A target as the one module that libraries ask for: pixels in [0, 1] (n, c, h, w) -> logits (n, C)."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.net, self._mean, self._std = target.net, target.mean, target.std

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - self._mean) / self._std)


def layer(target: Target, name: str | None = None) -> nn.Module:
    """The module of a layer (default: the target's choice).

    Raises:
        NotApplicable: the target has no layer with spatial extent.
    """
    if name is None and target.layer is None:
        raise NotApplicable(f"{target.name} has no layer with spatial extent")
    if (name or target.layer) not in target.layers:
        raise near(name, target.layers, f"layer of {target.name}:")
    return target.net.get_submodule(name or target.layer)


def resized(maps: Tensor, batch: Batch) -> Tensor:
    """(n, u, v) -> (n, h, w), bilinear, pixel centres aligned."""
    return nn.functional.interpolate(
        maps[:, None], batch.x.shape[-2:], mode="bilinear", align_corners=False
    )[:, 0]
