"""K networks of one shape, trained as one batched network."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional as F

from benchmark.utils.accelerator import bfloat16
from benchmark.zoo import dense
from benchmark.zoo.inputs import Inputs, chunk


class Networks:
    """K networks with parameters and buffers (K, ...); with K = 1 the plain network itself.

    ``vmap`` turns the K products of a layer into one (bmm, grouped convolution). Batch norm's running statistics are
    stacked like the parameters.
    """

    def __init__(self, members: list[nn.Sequential]) -> None:
        self.first, self.k = members[0], len(members)
        self.chain = None
        if self.k == 1:
            self.parameters = dict(self.first.named_parameters())
            self.buffers = dict(self.first.named_buffers())
            self.chain = dense.Chain.of(self.first)
        else:
            self.parameters, self.buffers = stack_module_state(members)

    def gradients(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean cross entropy (K,) of images x (K * b, ...) of classes y (K, b).

        The parameters' ``grad`` gets the gradient of the sum over the networks, in which each network's stays apart.
        """
        if self.chain:
            return torch.tensor([self.chain.gradients(x, y[0])])
        for parameter in self.parameters.values():
            parameter.grad = None
        with bfloat16(x.device):
            logits = self(x.view(*y.shape, *x.shape[1:]) if self.k > 1 else x[None])
        each = F.cross_entropy(
            logits.float().flatten(0, 1), y.flatten(), reduction="none"
        )
        loss = each.view(y.shape).mean(1)
        loss.sum().backward()
        return loss.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """(K, b, ...) -> logits (K, b, C)."""
        if self.k == 1:
            return self.first(x[0])[None]

        def call(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor
        ) -> Tensor:
            return functional_call(self.first, (parameters, buffers), (x,))

        return torch.vmap(call, randomness="different")(
            self.parameters, self.buffers, x
        )

    def member(self, k: int) -> dict[str, Tensor]:
        """The state dict of network k (views)."""
        state = self.parameters | self.buffers
        if self.k == 1:
            return state
        return {name: tensor[k] for name, tensor in state.items()}

    @torch.no_grad()
    def accuracy(self, data: Inputs, x: Tensor, y: Tensor) -> list[float]:
        """For each network, the fraction of images (n, ...) that it puts into their class y (n,)."""
        self.first.eval()
        size = chunk(x)
        hits = torch.zeros(self.k, dtype=torch.int64, device=y.device)
        for part, label in zip(x.split(size), y.split(size), strict=True):
            pixels = data(part)
            pixels = pixels.expand(self.k, *pixels.shape)
            found = self(pixels).argmax(2)  # (K, b)
            hits += (found == label).sum(1)
        return (hits.double() / len(y)).tolist()
