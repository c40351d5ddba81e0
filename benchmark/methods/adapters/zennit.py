"""Layer-wise relevance propagation by zennit's composites.

    zennit:EpsilonPlus      zennit:EpsilonGammaBox?low=-3&high=3

Idea: any composite that zennit registers under a name. Relevance starts at the logit of the predicted class and is read
where the normalised pixels enter the network, so that every rule is applied to its own layer; it is summed over the
channels.

Theory: the sum of the relevance is the logit, but for what biases and stabilisers take. Where a residual block adds
its two branches, the gradient would give the whole relevance to each; zennit's ``Sum`` divides it between them. Batch
norm after a convolution is folded into it already, so no canonizer is needed but for torchvision's own ResNets.

Reference: Anders, Neumann, Samek, Müller, Lapuschkin. Software for Dataset-wide XAI: From Local Explanations to Global
Insights with Zennit, CoRelAy, and ViRelAy. 2021, arXiv:2106.13200.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods import adapters
from benchmark.utils.near_names import pick

# Not for the user to set.
_TAKEN = {"self", "canonizers", "layer_map", "first_map", "name_map"}


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The method of ``zennit.composites.<name>``.

    Raises:
        UnknownName: zennit is not installed, has no such composite or option, or requires an option.
    """
    registered = adapters.library("zennit.composites", "zennit").COMPOSITES
    composites = {each.__name__: each for each in registered.values()}
    composite = pick(name, composites, "composite in zennit")
    known = adapters.options_of(composite.__init__)
    adapters.check_options(options, known, _TAKEN, f"zennit:{name}")
    addition = _addition(adapters.library("zennit.layer", "zennit").Sum)

    @contextlib.contextmanager
    def opened(target: Target) -> Iterator[adapters.Maps]:
        _refuse_attention(target)
        canonizers = _canonizers(target)
        network = adapters.Network(target, addition)

        def maps(batch: Batch) -> Tensor:
            z = network.normalised(batch.x).requires_grad_()  # (n, c, h, w)
            given = dict(options)
            for key in {"low", "high"} & given.keys():
                given[key] = torch.full_like(z[:1], given[key])
            made = composite(canonizers=canonizers, **given)
            with made.context(network.net) as net:
                y = net(z)  # (n, C)
                predicted = y.argmax(dim=1, keepdim=True)
                logit = y.detach().amax(dim=1, keepdim=True)
                relevance = torch.zeros_like(y).scatter(1, predicted, logit)
                (r,) = torch.autograd.grad(y, z, relevance)
            return r.sum(dim=1)  # (n, h, w)

        yield maps

    return adapters.method(f"{name} (zennit)", options, opened)


def _addition(sum_module: type[nn.Module]) -> type[nn.Module]:
    """a + b by zennit's ``Sum``, for which its composites have a rule."""

    class Addition(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sum = sum_module()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.sum(torch.stack([a, b], dim=-1))

    return Addition


def _canonizers(target: Target) -> list[Any]:
    """What makes modules of the additions, and merges the batch norms, of torchvision's ResNets.

    Raises:
        NotApplicable: another network that is no plain chain, whose additions zennit does not see.
    """
    if isinstance(target.net, ResNet):
        library = adapters.library("zennit.torchvision", "zennit")
        return [library.ResNetCanonizer()]
    target.chain  # noqa: B018
    return []


def _refuse_attention(target: Target) -> None:
    """
    Raises:
        NotApplicable: zennit counts attention as an activation of one input, and it has three.
    """
    for name, module in target.net.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            raise NotApplicable(
                f"zennit has no rule for the attention in layer {name} of {target.name}"
            )
