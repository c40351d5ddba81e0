"""Where XNN looks: the layer Z, and c-MWP from x-features and from units of Z down to the image (Sec. 2.3).

The contrast is taken at the inputs of the x-layer: the dual unit has the negated row of its weights. The walkers
start at the one unit of an x-feature on a dense layer, and in proportion to E over the positions of a convolutional
one. The paper maps "each neuron ... for each image", so an x-feature that is silent on an image (E = 0) has a map too:
what would excite it, as for a silent unit of Z. Its walkers start at all positions alike. ``silent: zero`` gives it
the map 0, which is uncorrelated with all others and so lowers O1 and O2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from benchmark.api import Batch, NotApplicable, Target
from benchmark.papers.xnn.network import XNN
from benchmark.shared import excitation_backprop

MEMORY = (
    2**28
)  # numbers of Z that are kept, a gigabyte; of larger layers Z is computed for each batch


Silent = Literal["map", "zero"]  # the map of an x-feature with E = 0 on an image


@dataclass(frozen=True)
class Layer:
    """Z of a target: the output of ``name``, averaged over positions where ``average`` is set."""

    name: str
    average: bool = False
    side: tuple[int, int] | None = None  # of the map, for a convolutional XNN

    @property
    def pool(self) -> nn.Module | None:
        """The average as a module, if there is one."""
        return (
            nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            if self.average
            else None
        )

    def __call__(self, target: Target, x: Batch | Tensor) -> Tensor:
        """Z (n, d), or (n, S, d) for a map."""
        return self.of(target.features(x, self.name))

    def of(self, output: Tensor) -> Tensor:
        """Z from the output of the layer ``name``."""
        if self.side:
            return output.flatten(2).mT  # (n, S, d)
        return output.mean((2, 3)) if self.average else output


def find(target: Target, x: Tensor, name: str | None = None) -> Layer:
    """The dense layer that XNN explains: ``name``, else the first dense layer with weights (the paper's fc6), else
    the last without positions, else the average of the layer that the target is explained at (networks without any
    dense layer).

    Raises:
        ValueError: ``name`` is not dense.
        NotApplicable: there is no layer below the logits.
    """
    shapes = _shapes(target, x)
    if name is not None:
        target.features(x[:1], name)  # raises for an unknown name
        if len(shapes[name]) != 1:
            size = "x".join(map(str, shapes[name]))
            raise ValueError(
                f"{name} of {target.name} is not dense: its output is {size}; "
                "a dense layer, or the experiment on convolutional layers"
            )
        return Layer(name)
    dense = [key for key in target.layers[:-1] if len(shapes[key]) == 1]
    weighted = [key for key in dense if linear_modules(target, key)]
    if weighted:
        return Layer(weighted[0])
    if dense:
        return Layer(dense[-1])
    if target.layer is None:
        raise NotApplicable(
            f"{target.name} has no layer below its logits that XNN could explain"
        )
    return Layer(target.layer, average=True)


def _shapes(target: Target, x: Tensor) -> dict[str, tuple[int, ...]]:
    """The output's shape of each layer for one image."""
    shapes = {}
    z = (x[:1] - target.mean) / target.std
    for name, module in target.chain.named_children():
        z = module(z)
        shapes[name] = tuple(z.shape[1:])
    return shapes


def linear_modules(target: Target, layer: str) -> list[nn.Linear]:
    """The dense modules in a layer."""
    modules = target.chain.get_submodule(layer).modules()
    return [module for module in modules if isinstance(module, nn.Linear)]


def convolutional(target: Target, x: Tensor, name: str) -> Layer:
    """A layer with positions, for an XNN of 1x1 filters.

    Raises:
        ValueError: it has no positions.
    """
    z = target.features(x[:1], name)
    if z.ndim != 4:
        raise ValueError(
            f"{name} of {target.name} has no positions: its output is {tuple(z.shape[1:])}"
        )
    return Layer(name, side=tuple(z.shape[2:]))


@torch.no_grad()
def feature_maps(
    xnn: XNN,
    target: Target,
    x: Tensor,
    c: int,
    layer: Layer,
    to: str | None = None,
    Z: Tensor | None = None,
    silent: Silent = "map",
) -> Tensor:
    """c-MWP maps (n, m, h, w) of the n x-features of class c on images x (m, ., h, w)."""
    Z = layer(target, x) if Z is None else Z
    return down(target, x, walkers(xnn, Z, c, layer, silent), layer, to)


@torch.no_grad()
def walkers(
    xnn: XNN, Z: Tensor, c: int, layer: Layer, silent: Silent = "map"
) -> Tensor:
    """c-MWP of the n x-features of class c over Z: (n, m, d), or (n, m, d, u, v) on a map.

    Args:
        Z: (m, d), or (m, S, d) on a map.
    """
    positions = Z[:, None] if Z.ndim == 2 else Z  # (m, S, d)
    m, S, _ = positions.shape
    *hidden, E = xnn.encode(Z, c)  # E: (m, S, n)
    inputs = [positions, *hidden]  # of each encoder layer
    weights = [W for W, _ in xnn.layers(c)]
    W, a = weights[-1], inputs[-1]
    P = excitation_backprop.contrast(W.T, a.flatten(0, 1))  # (n, m S, h)
    P = P.view(-1, m, S, len(W))  # (n, m, S, h)
    P = P * _start(E.movedim(2, 0), silent)[..., None]
    below = list(zip(weights[:-1], inputs[:-1], strict=True))
    for W, a in reversed(below):
        P = excitation_backprop.dense(W, a, P)
    if layer.side:
        return P.mT.reshape(len(P), m, -1, *layer.side)
    return P[:, :, 0]


def _start(E: Tensor, silent: Silent) -> Tensor:
    """The share of the walkers at each position of E (n, m, S): alike where it is silent, or none."""
    total = E.sum(2, keepdim=True)
    start = E / total.clamp(min=1e-12)
    if silent == "zero":
        return start
    return torch.where(total > 0, start, 1 / E.shape[2])


def down(
    target: Target, x: Tensor, P: Tensor, layer: Layer, to: str | None = None
) -> Tensor:
    """Maps (k, m, h, w) of k MWPs P (k, m, ...) over Z.

    One trace for all; those that are 0 everywhere are not traced.
    """
    live = P.flatten(1).any(1)
    maps = x.new_zeros(*P.shape[:2], *x.shape[2:])
    if live.any():
        maps[live] = excitation_backprop.unit_maps(
            target, x, P[live], layer.name, layer.pool, to
        )
    return maps


@torch.no_grad()
def z_maps(
    target: Target, x: Tensor, units: Tensor, layer: Layer, to: str | None = None
) -> Tensor:
    """Maps (k, m, h, w) of ``units`` (k,) of Z.

    c-MWP, contrasted at the inputs of a dense layer; plain MWP where Z has no weights of its own (an average, a
    flattened map).
    """
    linear = linear_modules(target, layer.name)
    if layer.average or not linear:
        d = layer(target, x[:1]).shape[1]
        identity = torch.eye(d, device=x.device)
        P = identity[units][:, None]  # (k, 1, d)
        P = P.expand(-1, len(x), -1)
        return excitation_backprop.unit_maps(target, x, P, layer.name, layer.pool, to)
    below = target.layers[target.layers.index(layer.name) - 1]
    a = target.features(x, below)
    W = linear[-1].weight[units]
    P = excitation_backprop.contrast(W, a.flatten(1))
    P = P.view(len(units), *a.shape)
    return excitation_backprop.unit_maps(target, x, P, below, to=to)


def normalised(maps: Tensor) -> Tensor:
    """S: maps (..., h, w) >= 0 divided by their sum; 0 for a map that is 0 everywhere."""
    total = maps.sum((-2, -1), keepdim=True)
    divisor = torch.where(total > 0, total, 1)
    return torch.where(total > 0, maps / divisor, 0)
