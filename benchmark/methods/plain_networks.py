"""Networks as other libraries expect them: of torch's own modules alone, with additions as modules.

Idea: captum looks up its rules by the exact class of a module, and both captum and zennit distribute relevance at an
addition only where it is a module. ``plain(net)`` is a copy with the same outputs. A library may change it as it
likes: the network that is explained stays as it is.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.zoo.nets import BasicBlock, Conv


class Add(nn.Module):
    """a + b"""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Same(nn.Module):
    """z as a new tensor: hooks at its input and output stay apart, which those of ``nn.Identity`` do not."""

    def forward(self, z: Tensor) -> Tensor:
        return z.clone()


class Block(nn.Module):
    """A residual block that adds by the module ``add``; it takes over the modules of ``block``."""

    def __init__(self, block: BasicBlock, add: nn.Module) -> None:
        super().__init__()
        self.residual = block.residual
        is_same = isinstance(block.shrink, nn.Identity)
        self.shrink = Same() if is_same else block.shrink
        self.add = add
        self.relu = block.relu
        self.added = block.added

    def forward(self, z: Tensor) -> Tensor:
        shortcut = F.pad(self.shrink(z), (0, 0, 0, 0, 0, self.added))
        return self.relu(self.add(self.residual(z), shortcut))


def plain(net: nn.Module, add: Callable[[], nn.Module] = Add) -> nn.Module:
    """A copy of a network built of torch's own modules; ``add`` makes the module of each addition.

    Modules from elsewhere, and additions in their forward passes, stay as they are.
    """
    copied = copy.deepcopy(net)
    for module in copied.modules():
        if type(module) is Conv:  # a Conv2d with a faster forward pass
            module.__class__ = nn.Conv2d
    _replace_blocks(copied, add)
    return copied


def _replace_blocks(module: nn.Module, add: Callable[[], nn.Module]) -> None:
    for name, child in module.named_children():
        if isinstance(child, BasicBlock):
            setattr(module, name, Block(child, add()))
        else:
            _replace_blocks(child, add)
