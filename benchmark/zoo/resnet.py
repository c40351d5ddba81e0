"""Residual networks as torchvision's: stages of basic blocks, with a 1x1 convolution where the shape changes.

    net = build("resnet", (3, 32, 32), 10, {"maps": [64, 128, 256, 512]}, seed=7)       # ResNet-18

Source: He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016; for small images, the first layer
of its Sec. 4.2: 3x3 without pooling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmark.zoo.nets import Layers, Shape, net_builder


@net_builder(layer="layer3")
def resnet(
    input_shape: Shape,
    classes: int,
    *,
    maps: Sequence[int] = (64, 128, 256, 512),
    blocks: Sequence[int] = (2, 2, 2, 2),
    first_stride: int = 1,
) -> Layers:
    """ResNet-18 with a 3x3 stem; at 32x32 ``layer3`` is 256x8x8. Strides are 1 in the first stage, 2 in the others.

    Args:
        maps: channels of each stage; the stem has those of the first.
        blocks: how many of each stage, at least 3 stages.
        first_stride: of the stem.
    """
    if len(maps) != len(blocks) or len(maps) < 3:
        raise ValueError("maps and blocks have a number for each stage, of 3 or more")
    c = maps[0]
    conv = nn.Conv2d(input_shape[0], c, 3, first_stride, padding=1, bias=False)
    layers: Layers = {"stem": nn.Sequential(conv, nn.BatchNorm2d(c), nn.ReLU())}
    for k, (m, count) in enumerate(zip(maps, blocks, strict=True), start=1):
        stage = [Block(c, m, stride=1 if k == 1 else 2)]
        stage += [Block(m, m) for _ in range(count - 1)]
        layers[f"layer{k}"] = nn.Sequential(*stage)
        c = m
    layers["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    layers["logits"] = nn.Linear(c, classes)
    for layer in layers.values():
        for module in layer.modules():
            if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
    return layers


class Block(nn.Module):
    """z -> ReLU(f(z) + s(z)); f two 3x3 convolutions, s the identity, or a 1x1 convolution where the shape changes.

    (n, c, h, w) -> (n, m, h/stride, w/stride)
    """

    def __init__(self, c: int, m: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(c, m, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(m),
            nn.ReLU(),
            nn.Conv2d(m, m, 3, padding=1, bias=False),
            nn.BatchNorm2d(m),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c != m:
            conv = nn.Conv2d(c, m, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(m))

    def forward(self, z: Tensor) -> Tensor:
        return torch.relu(self.residual(z) + self.shortcut(z))
