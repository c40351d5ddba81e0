"""A small vision transformer that averages over its tokens.

    net = build("vit", (3, 48, 48), 8, {"patch": 6, "width": 48}, seed=7)

Sources: Dosovitskiy et al. An Image is Worth 16x16 Words. ICLR 2021; average pooling and fixed positions in place of a
class token and learned ones: Beyer, Zhai, Kolesnikov. Better plain ViT baselines for ImageNet-1k. arXiv:2205.01580.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.zoo.nets import Layers, Shape, net_builder


@net_builder(layer="blocks.1")
def vit(
    input_shape: Shape,
    classes: int,
    *,
    patch: int = 6,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
) -> Layers:
    """Patches, ``depth`` blocks of attention and a two-layer perceptron, norm, average, a dense layer.

    Args:
        patch: side of the patches in pixels.
        width: numbers of a token, a multiple of 4 and of ``heads``.
        depth: at least 2.
    """
    _, h, w = input_shape
    if h % patch or w % patch or width % 4 or width % heads or depth < 2:
        raise ValueError(
            "patch must divide the sides of images, 4 and heads the width; depth is 2 or more"
        )
    blocks = [Block(width, heads) for _ in range(depth)]
    return {
        "patches": Patches(input_shape, patch, width),
        "blocks": nn.Sequential(*blocks),
        "norm": nn.LayerNorm(width),
        "pool": Mean(),
        "logits": nn.Linear(width, classes),
    }


class Patches(nn.Module):
    """Images (n, c, h, w) as tokens (n, t, d): a dense layer on each patch, and where it lies."""

    def __init__(self, image: Shape, patch: int, d: int) -> None:
        super().__init__()
        c, h, w = image
        self.project = nn.Conv2d(c, d, patch, stride=patch)
        self.register_buffer("positions", positions(h // patch, w // patch, d))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x).flatten(2).mT + self.positions


def positions(h: int, w: int, d: int) -> Tensor:
    """(h w, d): waves of the row of each patch, then of its column."""
    with torch.device("cpu"):  # numbers, also where the weights are shapes alone
        row = torch.arange(h).repeat_interleave(w)
        column = torch.arange(w).repeat(h)
        return torch.cat([waves(row, d // 4), waves(column, d // 4)], dim=1)


def waves(place: Tensor, k: int) -> Tensor:
    """(t,) -> (t, 2 k): sines and cosines at k frequencies from 1 to 1 / 10,000."""
    exponent = torch.linspace(0, 1, k)
    frequency = 10_000**-exponent
    angle = place[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Block(nn.Module):
    """z -> z + attention(norm(z)), then z -> z + mlp(norm(z)); (n, t, d) -> (n, t, d)."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(d), Attention(d, heads))
        self.mlp = nn.Sequential(
            nn.LayerNorm(d), nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d)
        )

    def forward(self, z: Tensor) -> Tensor:
        z = z + self.attention(z)
        return z + self.mlp(z)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d / heads)) v for each head; (n, t, d) -> (n, t, d)."""

    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)

    def forward(self, z: Tensor) -> Tensor:
        q, k, v = map(self._split, self.qkv(z).chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(q, k, v)
        joined = mixed.transpose(1, 2).flatten(2)
        return self.out(joined)

    def _split(self, z: Tensor) -> Tensor:
        """(n, t, d) -> (n, heads, t, d / heads)."""
        parts = z.unflatten(2, (self.heads, -1))
        return parts.transpose(1, 2)


class Mean(nn.Module):
    """The average over tokens, (n, t, d) -> (n, d)."""

    def forward(self, z: Tensor) -> Tensor:
        return z.mean(1)
