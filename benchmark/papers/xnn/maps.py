"""Where XNN looks: the layer Z, and c-MWP from x-features and from units of Z down to the image (Sec. 2.3).

The contrast is taken at the inputs of the x-layer: the dual unit has the negated row of its weights. The walkers start in
proportion to E over the positions of an x-feature: at its one unit on a dense layer, everywhere on a convolutional one, and
nowhere where E = 0. The paper does not say what it shows of an x-feature that is silent on an image; here its map is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.api import Batch, NotApplicable, Target
from benchmark.papers.xnn.srae import XNN
from benchmark.shared import excitation_backprop


@dataclass(frozen=True)
class Layer:
    """Z of a target: the output of ``name``, averaged over positions where ``average`` is set."""

    name: str
    average: bool = False
    side: tuple[int, int] | None = None  # of the map, for a convolutional XNN

    @property
    def pool(self) -> nn.Module | None:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()) if self.average else None

    def __call__(self, target: Target, x: Batch | Tensor) -> Tensor:
        """Z (n, d), or (n, S, d) for a map."""
        z = target.features(x, self.name)
        if self.side:
            return z.flatten(2).mT  # (n, S, d)
        return z.mean((2, 3)) if self.average else z


def find(target: Target, x: Tensor, name: str | None = None) -> Layer:
    """The dense layer that XNN explains: ``name``, else the first dense layer with weights (the paper's fc6), else the last
    without positions, else the average of the layer that the target is explained at (networks without any dense layer).

    Raises:
        ValueError: ``name`` is not dense.
        NotApplicable: nothing lies below the logits.
    """
    shapes, z = {}, (x[:1] - target.mean) / target.std
    for key, module in target.net.named_children():
        z = module(z)
        shapes[key] = tuple(z.shape[1:])
    if name is not None:
        target.features(x[:1], name)  # an unknown name is said
        if len(shapes[name]) != 1:
            raise ValueError(
                f"{name} of {target.name} is not dense: its output is {'x'.join(map(str, shapes[name]))}; "
                "a dense layer, or the experiment on convolutional layers"
            )
        return Layer(name)
    dense = [key for key in target.layers[:-1] if len(shapes[key]) == 1]
    weighted = [
        key
        for key in dense
        if any(isinstance(m, nn.Linear) for m in getattr(target.net, key).modules())
    ]
    if weighted or dense:
        return Layer(weighted[0] if weighted else dense[-1])
    if target.layer is None:
        raise NotApplicable(f"{target.name} has no layer below its logits that XNN could explain")
    return Layer(target.layer, average=True)


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
) -> Tensor:
    """c-MWP maps (n, m, h, w) of the n x-features of class c on images x (m, ., h, w)."""
    return down(target, x, walkers(xnn, layer(target, x) if Z is None else Z, c, layer), layer, to)


@torch.no_grad()
def walkers(xnn: XNN, Z: Tensor, c: int, layer: Layer) -> Tensor:
    """c-MWP of the n x-features of class c over Z (m, d) or (m, S, d): (n, m, d), or (n, m, d, u, v) on a map."""
    positions = Z[:, None] if Z.ndim == 2 else Z  # (m, S, d)
    inputs = [positions, *(acts := xnn.encode(Z, c))[:-1]]
    weights = [W for W, _ in xnn.layers(c)]
    m, S, _ = positions.shape
    P = excitation_backprop.contrast(weights[-1].T, inputs[-1].flatten(0, 1)).view(
        -1, m, S, len(weights[-1])
    )  # (n, m, S, h)
    E = acts[-1].movedim(2, 0)[..., None]  # (n, m, S, 1)
    P = P * E / E.sum(2, keepdim=True).clamp(min=1e-12)
    for W, a in zip(weights[-2::-1], inputs[-2::-1], strict=True):
        P = excitation_backprop.dense(W, a, P)
    return P.mT.reshape(len(P), m, -1, *layer.side) if layer.side else P[:, :, 0]


def down(target: Target, x: Tensor, P: Tensor, layer: Layer, to: str | None = None) -> Tensor:
    """Maps (k, m, h, w) of k MWPs (k, m, ...) over Z: one trace for all, and no step for those that are 0 everywhere."""
    live, maps = P.flatten(1).any(1), x.new_zeros(*P.shape[:2], *x.shape[2:])
    if live.any():
        maps[live] = excitation_backprop.unit_maps(target, x, P[live], layer.name, layer.pool, to)
    return maps


@torch.no_grad()
def z_maps(target: Target, x: Tensor, units: Tensor, layer: Layer, to: str | None = None) -> Tensor:
    """Maps (k, m, h, w) of ``units`` (k,) of Z: c-MWP, contrasted at the inputs of a dense layer; plain MWP where Z has no
    weights of its own (an average, a flattened map)."""
    linear = [
        module
        for module in getattr(target.net, layer.name).modules()
        if isinstance(module, nn.Linear)
    ]
    if layer.average or not linear:
        d = layer(target, x[:1]).shape[1]
        P = torch.eye(d, device=x.device)[units][:, None].expand(-1, len(x), -1)
        return excitation_backprop.unit_maps(target, x, P, layer.name, layer.pool, to)
    below = target.layers[target.layers.index(layer.name) - 1]
    a = target.features(x, below)
    P = excitation_backprop.contrast(linear[-1].weight[units], a.flatten(1)).view(
        len(units), *a.shape
    )
    return excitation_backprop.unit_maps(target, x, P, below, to=to)


def normalised(maps: Tensor) -> Tensor:
    """S: maps (..., h, w) >= 0 divided by their sum; 0 where nothing is."""
    total = maps.sum((-2, -1), keepdim=True)
    return torch.where(total > 0, maps / torch.where(total > 0, total, 1), 0)
