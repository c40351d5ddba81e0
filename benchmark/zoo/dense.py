"""The gradients of a chain of dense ReLU layers on a CPU, written out.

A product of 128 rows with 100 x 100 weights takes 25 microseconds, and autograd's bookkeeping around it takes as long
again. With the chain rule in numpy, the networks of layer trees train 1.3 (width 100) to 1.5 (width 20) times as fast
(``speed/zoo.py``, ``results/benchmarks.csv``).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn


class Chain:
    """Linear layers with ReLUs between them: arrays that share the memory of the network's parameters and gradients."""

    def __init__(self, linear: list[nn.Linear]) -> None:
        self.weights = [_with_gradient(layer.weight) for layer in linear]
        self.biases = [_with_gradient(layer.bias) for layer in linear]

    @classmethod
    def of(cls, net: nn.Sequential) -> Chain | None:
        """The network as a chain; None if it holds any other layer, or is not on the CPU in float32."""
        steps = [
            m for m in net.modules() if not isinstance(m, nn.Sequential | nn.Flatten)
        ]
        linear, between = steps[::2], steps[1::2]
        is_chain = (
            isinstance(net[0], nn.Flatten)
            and len(linear) == len(between) + 1
            and all(isinstance(module, nn.Linear) for module in linear)
            and all(isinstance(module, nn.ReLU) for module in between)
        )
        if not is_chain:
            return None
        for parameter in net.parameters():
            if parameter.device.type != "cpu" or parameter.dtype.itemsize != 4:
                return None
        return cls(linear)

    @np.errstate(all="ignore")  # a run that diverges shows in its loss
    def gradients(self, x: Tensor, y: Tensor) -> float:
        """The mean cross entropy of images x (b, ...) of classes y (b,).

        Its gradients are written into the parameters' ``grad``.
        """
        y = y.numpy()
        image = np.arange(len(y))
        a = [x.flatten(1).numpy()]  # the input (b, w) of each layer
        for (weight, _), bias in zip(self.weights, self.biases, strict=True):
            z = a[-1] @ weight.T  # (b, w)
            if bias is not None:
                z += bias[0]
            a.append(np.maximum(z, 0))
        z -= z.max(1, keepdims=True)
        p = np.exp(z)
        total = p.sum(1, keepdims=True)
        loss = float((np.log(total[:, 0]) - z[image, y]).mean())
        p /= total
        p[image, y] -= 1
        d = p / len(y)  # d loss / d z of the last layer: softmax - one-hot
        for k in reversed(range(len(self.weights))):
            weight, gradient = self.weights[k]
            np.matmul(d.T, a[k], out=gradient)
            if self.biases[k] is not None:
                d.sum(0, out=self.biases[k][1])
            if k:
                d = (d @ weight) * (a[k] > 0)
        return loss


def _with_gradient(
    parameter: nn.Parameter | None,
) -> tuple[np.ndarray, np.ndarray] | None:
    """A parameter and its gradient, set to zero, as arrays."""
    if parameter is None:
        return None
    parameter.grad = parameter.new_zeros(parameter.shape)
    return parameter.detach().numpy(), parameter.grad.numpy()
