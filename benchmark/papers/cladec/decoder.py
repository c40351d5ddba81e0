"""The decoder D of Table 1, for a layer of any shape, and a fresh copy of an encoder.

    layer's output      decoder for images of 32 x 32, base b
    d units             FC d -> max(d, 64), ReLU; deconvolutions 1 -> 2 -> 4 -> 8 -> 16 -> 32 with 8b-4b-2b-b-c channels
    (C, 4, 4)           conv 3x3 C -> C, ReLU; deconvolutions 4 -> 8 -> 16 -> 32 with 2b-b-c channels
    (C, 32, 32)         conv 3x3 C -> C, ReLU; conv 3x3 C -> c

"For a lower layer, the highest deconvolutional layers from the decoder have to be removed": those with most
channels. The sides on the way up are those that padded convolutions of stride 2 pass on the way down: H, ceil(H/2),
..., 1 (28, 14, 7, 4, 2, 1). A layer whose side lies between two of these (unpadded convolutions) is first enlarged
to the larger one by nearest neighbour (ours).

Text and Table 1 say kernels of 5x5, the authors' code has 4x4 (default); Table 1 has b = 32, the code 64. The code has
neither batch norm (Table 1 does not list it either) nor standardised pixels, and ends in a sigmoid: ``norm=False,
sigmoid=True``. Trained like this, all reconstructions can collapse to one image, so it is not the default.

Reference: Schneider, Vlachos, Sec. 6 and Table 1; github.com/JohnTailor/ClaDec, cladec.py.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from benchmark.utils.accelerator import is_accelerator

Shape = tuple[int, ...]
EPS = 1e-3  # of batch norm: units that are hardly ever active have almost no variance


class Unreachable(ValueError):
    """No decoder can bring the layer's output to the size of the image."""


def sides(side: int) -> list[int]:
    """[1, ..., ceil(side / 2), side]: the sides that deconvolutions pass on the way up to ``side``."""
    found = [side]
    while found[0] > 1:
        found.insert(0, (found[0] + 1) // 2)
    return found


def path(code: Shape, image: Shape) -> list[tuple[int, int]]:
    """(h, w) of the decoder's feature maps from the layer (d,) or (C, h, w) to the image (c, H, W), both ends included.

    Raises:
        Unreachable: the layer is not a vector or a stack of maps, is larger than the image, or is halved more often in
            one direction.
    """
    if len(code) not in (1, 3):
        raise Unreachable(
            f"a layer of shape {tuple(code)} is neither (units,) nor (channels, height, width)"
        )
    h, w = code[1:] if len(code) == 3 else (1, 1)
    _, H, W = image
    if h > H or w > W:
        raise Unreachable(f"a layer of {h}x{w} is larger than the image, {H}x{W}")
    heights = [side for side in sides(H) if side >= h]
    widths = [side for side in sides(W) if side >= w]
    if len(heights) != len(widths) and (h, w) != (1, 1):
        raise Unreachable(
            f"no doubling brings a layer of {h}x{w} to {H}x{W}: "
            f"{len(heights) - 1} steps in height, {len(widths) - 1} in width"
        )
    steps = max(len(heights), len(widths))
    return list(zip(_padded(heights, steps), _padded(widths, steps), strict=True))


def _padded(sides: list[int], steps: int) -> list[int]:
    """``sides`` with 1 in front until there are ``steps`` of them."""
    return [1] * (steps - len(sides)) + sides


def decoder(
    code: Shape,
    image: Shape,
    *,
    units: Sequence[int] | None = None,
    base: int = 64,
    kernel: int = 4,
    norm: bool = True,
    sigmoid: bool = False,
    gain: float = 1.0,
) -> nn.Sequential:
    """D: a layer's output (n, d) or (n, C, h, w) -> images (n, c, H, W).

    Args:
        code: shape of the layer's output for one image.
        image: (c, H, W).
        units: the subset S: entries of a vector, or channels of maps; None for all.
        base: channels before the last deconvolution, doubled at each one before it.
        kernel: 4 or 5, of the deconvolutions.
        norm: batch norm before each ReLU.
        sigmoid: at the end.
        gain: the layer's output is multiplied by it first.

    Raises:
        Unreachable: see ``path``.
        ValueError: an empty subset, or units that the layer does not have; an invalid base or kernel.
    """
    if kernel not in (4, 5) or base < 1:
        raise ValueError(f"kernel={kernel} must be 4 or 5 and base={base} at least 1")
    start, *above = path(code, image)
    channels, width = image[0], code[0]
    layers = OrderedDict()
    if gain != 1:
        layers["gain"] = Gain(gain)
    if units is not None:
        layers["units"] = Units(units, width)
        width = len(units)
    if start == (1, 1):
        hidden = max(width, 64)
        batch_norm = [nn.BatchNorm1d(hidden, EPS)] if norm else []
        layers["fc"] = nn.Sequential(
            nn.Flatten(), nn.Linear(width, hidden), *batch_norm, nn.ReLU()
        )
        layers["maps"] = nn.Unflatten(1, (hidden, 1, 1))
        width = hidden
    else:
        if code[1:] != start:
            layers["resize"] = nn.Upsample(size=start)
        conv = nn.Conv2d(width, width, 3, padding=1)
        layers["conv"] = nn.Sequential(conv, *_norm(width, norm), nn.ReLU())
    last = len(above)
    for k, (low, high) in enumerate(pairwise([start, *above]), start=1):
        maps = channels if k == last else base * 2 ** (last - 1 - k)
        deconv = _deconv(width, maps, kernel, low, high)
        if k < last:
            deconv += [*_norm(maps, norm), nn.ReLU()]
        layers[f"deconv{k}"] = nn.Sequential(*deconv)
        width = maps
    if not above:
        layers["image"] = nn.Conv2d(width, channels, 3, padding=1)
    if sigmoid:
        layers["sigmoid"] = nn.Sigmoid()
    return nn.Sequential(layers)


def _norm(maps: int, norm: bool) -> list[nn.Module]:
    """Batch norm of maps, if wanted."""
    return [nn.BatchNorm2d(maps, EPS)] if norm else []


def _deconv(
    c: int, maps: int, kernel: int, low: tuple[int, int], high: tuple[int, int]
) -> list[nn.Module]:
    """(n, c, *low) -> (n, maps, *high); each side is doubled, or doubled and one less."""
    if kernel == 5:
        rest = tuple(
            after - (2 * before - 1) for before, after in zip(low, high, strict=True)
        )
        return [nn.ConvTranspose2d(c, maps, 5, 2, padding=2, output_padding=rest)]
    deconv = nn.ConvTranspose2d(c, maps, 4, 2, padding=1)
    h, w = low
    if high == (2 * h, 2 * w):
        return [deconv]
    return [deconv, Crop(high)]


class Units(nn.Module):
    """S(X): the entries (n, d) -> (n, k), or channels (n, C, h, w) -> (n, k, h, w), that are explained.

    Raises:
        ValueError: no unit, or one that the layer does not have.
    """

    def __init__(self, units: Sequence[int], width: int) -> None:
        super().__init__()
        if not len(units):
            raise ValueError("the subset of units is empty; None explains all")
        first, last = min(units), max(units)
        if first < 0 or last >= width:
            raise ValueError(
                f"units {first}..{last} of a layer that has 0..{width - 1}"
            )
        numbers = torch.as_tensor(list(units), dtype=torch.int64)
        self.register_buffer("units", numbers, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        return z.index_select(1, self.units)


class Gain(nn.Module):
    """z -> gain z."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, z: Tensor) -> Tensor:
        return self.gain * z


class Crop(nn.Module):
    """The upper left (h, w) of maps."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, z: Tensor) -> Tensor:
        return z[..., : self.size[0], : self.size[1]]

    def extra_repr(self) -> str:
        return str(self.size)


def fresh(net: nn.Sequential) -> nn.Sequential:
    """The architecture of ``net`` with new weights, drawn from torch's generator of the CPU, so that every device gets
    the same (call it inside ``nets.seeded``).

    A batch norm that was folded into its convolution, which leaves an Identity behind, is put back.
    """
    net = copy.deepcopy(net)
    device = next((parameter.device for parameter in net.parameters()), "cpu")
    if is_accelerator(device):
        net = net.to("cpu")
    for module in list(net.modules()):
        if isinstance(module, nn.Sequential):
            _unfold_norms(module)
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return net.to(device).requires_grad_(True).train()


def _unfold_norms(layers: nn.Sequential) -> None:
    """Put a batch norm in the place of each Identity behind a convolution."""
    modules = layers._modules
    for before, after in pairwise(list(modules)):
        conv = modules[before]
        if isinstance(conv, nn.Conv2d) and isinstance(modules[after], nn.Identity):
            conv.bias = None
            device = conv.weight.device
            modules[after] = nn.BatchNorm2d(conv.out_channels, device=device)
