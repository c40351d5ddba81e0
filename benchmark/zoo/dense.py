"""The gradients of a chain of dense ReLU layers on a CPU, written out.

A product of 128 rows with 100 x 100 weights takes 25 microseconds, autograd's bookkeeping around it as long again: with
the chain rule in numpy an epoch of layer trees' networks takes half the time (``speed/zoo.py``).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn


class Chain:
    """Linear layers with ReLUs between them, as arrays that share the memory of the network's parameters and gradients."""

    def __init__(self, linear: list[nn.Linear]) -> None:
        for layer in linear:
            layer.weight.grad = layer.weight.new_zeros(layer.weight.shape)
            if layer.bias is not None:
                layer.bias.grad = layer.bias.new_zeros(layer.bias.shape)
        self.weights = [
            (layer.weight.detach().numpy(), layer.weight.grad.numpy()) for layer in linear
        ]
        self.biases = [
            None if layer.bias is None else (layer.bias.detach().numpy(), layer.bias.grad.numpy())
            for layer in linear
        ]

    @classmethod
    def of(cls, net: nn.Sequential) -> Chain | None:
        """The chain that a network is; None where it holds anything else, or does not lie on the CPU in float32."""
        steps = [m for m in net.modules() if not isinstance(m, nn.Sequential | nn.Flatten)]
        linear, between = steps[::2], steps[1::2]
        alike = all(isinstance(m, nn.Linear) for m in linear) and all(
            isinstance(m, nn.ReLU) for m in between
        )
        if not (alike and len(linear) == len(between) + 1 and isinstance(net[0], nn.Flatten)):
            return None
        plain = all(p.device.type == "cpu" and p.dtype.itemsize == 4 for p in net.parameters())
        return cls(linear) if plain else None

    @np.errstate(all="ignore")  # a run that diverges is told by its loss
    def gradients(self, x: Tensor, y: Tensor) -> float:
        """The mean cross entropy of images x (b, ...) in classes y (b,); its gradients are in the parameters' ``grad``."""
        a, i, y = (
            [x.flatten(1).numpy()],
            np.arange(len(y)),
            y.numpy(),
        )  # a: the input (b, w) of each layer
        for k, ((w, _), bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = a[k] @ w.T  # (b, w)
            if bias is not None:
                z += bias[0]
            a.append(np.maximum(z, 0))
        z -= z.max(1, keepdims=True)
        p = np.exp(z)
        total = p.sum(1, keepdims=True)
        loss = float((np.log(total[:, 0]) - z[i, y]).mean())
        p /= total
        p[i, y] -= 1
        d = p / len(y)  # d loss / d z of the last layer: softmax - one-hot
        for k in reversed(range(len(self.weights))):
            w, gradient = self.weights[k]
            np.matmul(d.T, a[k], out=gradient)
            if self.biases[k] is not None:
                d.sum(0, out=self.biases[k][1])
            if k:
                d = (d @ w) * (a[k] > 0)
        return loss
