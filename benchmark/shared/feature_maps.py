"""Feature maps of a layer, and heat maps made from them: what the CAMs and Representative Interpretations share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.api import Batch, NotApplicable, Target


def at(target: Target, batch: Batch, layer: str | None = None) -> Tensor:
    """psi(x), (n, K, u, v), the output of ``layer`` (default: the target's own).

    Raises:
        NotApplicable: a layer without channels and positions.
    """
    psi = target.features(batch, layer)
    if psi.ndim != 4:
        name = layer or target.layer
        raise NotApplicable(f"{name} of {target.name} has no channels and positions")
    return psi


def upsampled(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Maps (n, u, v) at the size (h, w): bilinear, by default with pixel centres aligned and edges repeated."""
    large = F.interpolate(
        maps[:, None], size, mode="bilinear", align_corners=align_corners
    )
    return large[:, 0]


def min_max_scaled(maps: Tensor) -> Tensor:
    """Each of the maps (..., h, w) scaled to [0, 1]; a flat map becomes 0."""
    low = maps.amin((-2, -1), keepdim=True)
    high = maps.amax((-2, -1), keepdim=True)
    span = (high - low).where(high > low, 1)
    return (maps - low) / span


def most_active(psi: Tensor, channels: int) -> Tensor:
    """Feature maps (n, K, u, v) with 0 in all channels but the ``channels`` of largest mean, per image."""
    active = psi.mean((2, 3), keepdim=True)  # (n, K, 1, 1)
    count = min(channels, psi.shape[1])
    largest = active.topk(count, dim=1).values
    return psi.where(active >= largest[:, -1:], 0)


def distinct(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The different ones among the maps (n, K, u, v) of each image.

    Returns:
        (m, u, v) the maps; (m,) the image that each belongs to; (n, K) which of the m each of the given maps equals.
    """
    n, K, u, v = maps.shape
    image = torch.arange(n, device=maps.device).repeat_interleave(K)
    rows = torch.cat([image[:, None], maps.reshape(n * K, u * v)], dim=1)
    rows, same = rows.unique(dim=0, return_inverse=True)
    different = rows[:, 1:].reshape(-1, u, v)
    return different, rows[:, 0].long(), same.view(n, K)
