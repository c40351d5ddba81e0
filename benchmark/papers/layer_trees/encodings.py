"""Binary encodings: which nodes of a layer are ON for a sample.

Idea: a node of a ReLU layer lets a sample through (ON) or not (OFF), so it is a classifier of its own, and the states
of all w nodes are the layer's encoding of the sample. The ON/OFF logic of later layers cannot tell samples of the same
encoding apart.

    e_j = [a_j > 0],  j = 1 ... w                         Sec. 2.1, a: the layer's activations of one sample
    unique encodings: the distinct e over all samples                                                Sec. 3.1
    duplicate encodings: those shared by samples of more than one class (encodings, not samples)     Sec. 3.2

Any layer of any network has encodings: the units of a convolution are its channels at each position, and where an
activation function f does not switch at 0 (sigmoid), a node is ON where its input is positive: a_j > f(0). The paper
names both as future work.

Encodings are kept as bits, eight to a byte. Time and memory are linear in samples x width, but for the sort.

Reference: Mouton, Davel. Exploring layerwise decision making in DNNs. SACAIR 2021, doi:10.1007/978-3-030-95070-5_10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.api import Array, Batch, Target

# activation functions with f(0) != 0
_SHIFTED = (nn.Sigmoid, nn.Hardsigmoid, nn.Softplus, nn.LogSigmoid)
# modules that an activation passes through
_PASSING = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.Dropout,
    nn.Dropout2d,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Upsample,
)


@dataclass(frozen=True, eq=False)
class Bits:
    """n encodings of w bits each, packed: bit j of a row lies in byte j // 8, the first bit highest."""

    packed: Array  # (n, ceil(w / 8)) uint8; unused bits are 0
    width: int  # w

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: Array) -> Bits:
        return Bits(self.packed[rows], self.width)

    def states(self) -> Array:
        """(n, w) bool: ON or not."""
        return np.unpackbits(self.packed, axis=1, count=self.width).view(bool)

    def at(self, rows: Array, nodes: Array) -> Array:
        """(k,) bool: the state of node ``nodes[i]`` for sample ``rows[i]``."""
        shift = (7 - (nodes & 7)).astype(np.uint8)
        return (self.packed[rows, nodes >> 3] >> shift & 1).astype(bool)


@dataclass(frozen=True, eq=False)
class Encodings:
    """The u unique encodings of n samples of C classes, in lexicographic order."""

    bits: Bits  # (u, w)
    group: Array  # (n,) int64: which of the u encodings each sample has
    classes: Array  # (u, C) int64: how many samples of each class have it

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def counts(self) -> Array:
        """(u,) number of samples of each encoding."""
        return self.classes.sum(1)

    @property
    def labels(self) -> Array:
        """(u,) the majority class of each encoding; on a tie the lowest class id (the paper states no rule)."""
        return self.classes.argmax(1)

    @property
    def duplicate(self) -> Array:
        """(u,) bool: shared by samples of two or more classes."""
        return (self.classes > 0).sum(1) > 1

    def samples(self, k: int) -> Array:
        """The samples that have encoding k."""
        return np.flatnonzero(self.group == k)


# --------------------------------------------------------------------------------------------- from activations to bits


def encode(z: Tensor, on: float | Tensor = 0.0) -> Bits:
    """[z > on], for z (n, ...) with w numbers per sample; ``on`` is one threshold or w of them.

    Raises:
        ValueError: some activations are not finite, so neither ON nor OFF.
    """
    z = z.flatten(1)  # (n, w)
    if not torch.isfinite(z).all():
        raise ValueError(
            "some activations are NaN or infinite; such nodes are neither ON nor OFF"
        )
    return Bits(np.packbits((z > on).cpu().numpy(), axis=1), z.shape[1])


@torch.no_grad()
def encode_layers(
    target: Target, parts: Iterable[Batch], layers: Sequence[str]
) -> dict[str, Bits]:
    """The encodings of several layers, in one pass over the network.

    Args:
        parts: a Batch, or any other iterable of batches; each goes through the network at once.

    Raises:
        ValueError: the network lacks a layer, or some activations are not finite.
    """
    last = max(position(target, layer) for layer in layers)
    modules = list(target.chain.named_children())[: last + 1]
    on = {layer: switch(target, layer) for layer in layers}
    found: dict[str, list[Bits]] = {layer: [] for layer in layers}
    for part in parts:
        z = (part.x - target.mean) / target.std  # (b, c, h, w)
        for name, module in modules:
            z = module(z)
            if name in found:
                found[name].append(encode(z, on[name]))
    return {name: _joined(parts_of_layer) for name, parts_of_layer in found.items()}


def _joined(parts: list[Bits]) -> Bits:
    packed = [part.packed for part in parts]
    return Bits(np.concatenate(packed), parts[0].width)


def switch(target: Target, layer: str) -> float:
    """f(0) for the activation function f that ``layer`` ends in, at most followed by pooling and reshaping; else 0.

    Raises:
        ValueError: the network has no such layer.
    """
    position(target, layer)  # raises where the network lacks it
    prefix = [module for _, module in target.modules_up_to(layer)]
    leaves = [module for module in prefix if not list(module.children())]
    for module in reversed(leaves):
        if isinstance(module, _SHIFTED):
            return float(module(torch.zeros(1)))
        if not isinstance(module, _PASSING):
            break
    return 0.0


def position(target: Target, layer: str) -> int:
    """The index of ``layer`` among the network's layers.

    Raises:
        ValueError: the network has no such layer.
    """
    if layer not in target.layers:
        raise ValueError(
            f"{target.name} has no layer {layer!r}; it has {', '.join(target.layers)}"
        )
    return target.layers.index(layer)


def hidden_layers(target: Target) -> list[str]:
    """The layers with weights, except the last one, whose output is the logits."""
    below_logits = list(target.chain.named_children())[:-1]
    return [name for name, layer in below_logits if list(layer.parameters())]


# --------------------------------------------------------------------------------------------- unique, exactly


def unique(bits: Bits, y: Array, classes: int) -> Encodings:
    """The distinct rows of ``bits`` with the samples that have each: rows are sorted as bytes, never hashed.

    Args:
        y: (n,) class of each sample, 0 ... classes - 1.

    Raises:
        ValueError: the labels are missing, out of range, or not one per sample.
    """
    if y is None:
        raise ValueError(
            "the samples have no labels; an encoding's class is that of its samples"
        )
    y = np.asarray(y)
    if y.shape != (len(bits),) or (len(y) and (y.min() < 0 or y.max() >= classes)):
        raise ValueError(
            f"{len(bits)} encodings need as many labels in 0..{classes - 1}; got shape {y.shape}"
        )
    rows = np.ascontiguousarray(bits.packed)
    rows = rows.view(
        f"V{rows.shape[1]}"
    ).ravel()  # a row as one value, compared byte by byte
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    counts = np.bincount(group * classes + y, minlength=len(first) * classes)
    return Encodings(bits[first], group, counts.reshape(len(first), classes))
