"""Counts what torch computes: multiply-adds of products and convolutions, and the bytes that tensors hold.

    with Meter() as meter:
        net(x).sum().backward()
    meter.passes, meter.peak

``passes`` are multiply-adds, ``peak`` is in bytes.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Meter(TorchDispatchMode):
    """Counts multiply-adds, by torch's formula for each operation, and the bytes that new tensors hold.

    Gradients of convolutions have a formula of our own, since torch's takes grouped ones for ungrouped. Operations
    without a formula (sorting, element by element) count nothing. Works on real tensors as on ``meta``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passes, self.alive, self.peak = 0.0, 0, 0
        self._storages: dict[int, weakref.ref] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        out = operation(*args, **kwargs)
        formula = flop_registry.get(operation.overloadpacket)
        if operation.overloadpacket is torch.ops.aten.convolution_backward:
            self.passes += _convolution_gradients(*args)
        elif formula:
            operations = formula(*args, **kwargs, out_val=out)
            self.passes += operations / 2  # a multiply-add is two operations
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.layout == torch.strided:
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._storages:
            return

        def gone(_: Any) -> None:
            self.alive -= size
            self._storages.pop(key, None)

        self.alive += size
        self.peak = max(self.peak, self.alive)
        self._storages[key] = weakref.ref(storage, gone)


def _convolution_gradients(
    to_output: Tensor, x: Tensor, weight: Tensor, *settings: Any
) -> int:
    """Multiply-adds of the gradients of a convolution: those of the forward pass for each that is asked for.

    A position takes a product with each weight that it meets: of the output, or of the input of a transposed one.
    """
    transposed, asked_for = settings[4], settings[7]
    positions = x if transposed else to_output
    forward = positions.numel() * weight[0].numel()
    return forward * sum(asked_for[:2])  # the input's and the weights'; a bias has none
