"""Table .5: does the network still name the class if it sees only the pixels that the maps rank first?

    seen = masked_right(target, images, one_map(maps, contributions), 300)     # (m,) 1.0 or 0.0

Theory: "we only keep top n pixels that have the highest response in the heatmap, and the rest ... painted as black.
Then, an inpainting algorithm is applied to recover the masked images". The paper names no algorithm; here a hidden
pixel is the mean of the kept ones, weighted by a Gaussian, which invents nothing. n counts at 224 x 224: a smaller
image keeps the same share. The x-features of an image are merged into one map by what they add to the logit,
max(v_i E_i, 0), as in ``method``. The numbers agree with the metric ``accuracy_top_pixels`` (tested).
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.api import Array, Batch, Target
from benchmark.papers.xnn import maps as xmaps

FAR = (
    1e-6  # weight of the plain mean, which fills pixels that are far from all kept ones
)


def one_map(maps: Tensor, contributions: Tensor) -> Tensor:
    """One map (m, h, w) of the maps (n, m, h, w) of n x-features that contribute (m, n)."""
    return torch.einsum(
        "mn,nmhw->mhw", contributions.clamp(min=0), xmaps.normalised(maps)
    )


@torch.no_grad()
def masked_right(target: Target, batch: Batch, heat: Tensor, pixels: int) -> Array:
    """Is F right where only the best pixels are kept? 1.0 or 0.0 per image, (m,).

    Of each image the ``pixels`` (of 224 x 224) that ``heat`` (m, h, w) ranks first are kept, the others are inpainted
    from them.
    """
    count = max(1, round(pixels * heat[0].numel() / 224**2))
    logits = target(inpainted(batch.x, top(heat, count)))
    return (logits.argmax(1) == batch.y).double().cpu().numpy()


def top(heat: Tensor, count: int) -> Tensor:
    """The ``count`` largest pixels of each map (m, h, w), bool; ties to the lower index."""
    ranked = heat.flatten(1) + 0.0  # a negative zero becomes a zero
    order = ranked.argsort(dim=1, descending=True, stable=True)
    kept = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :count], True)
    return kept.view(heat.shape)


def inpainted(x: Tensor, kept: Tensor) -> Tensor:
    """Images (m, c, h, w) with all but the pixels ``kept`` (m, h, w) filled.

    Normalised convolution with a Gaussian whose sigma is a sixteenth of the side (Knutsson and Westin 1993).
    """
    weight = kept[:, None].to(x)  # (m, 1, h, w)
    sigma = max(x.shape[2:]) / 16
    rows, columns = (_gaussian(side, sigma, x) for side in x.shape[2:])
    seen = x * weight
    count = weight.sum((2, 3), keepdim=True)
    mean = seen.sum((2, 3), keepdim=True) / count.clamp(min=1)
    near, total = rows @ seen @ columns, rows @ weight @ columns
    filled = (near + FAR * mean) / (total + FAR)
    return torch.where(kept[:, None], x, filled)


def _gaussian(side: int, sigma: float, like: Tensor) -> Tensor:
    """exp(-(i - j)^2 / (2 sigma^2)) between the pixels of a side, (side, side)."""
    places = torch.arange(side, device=like.device).to(like)
    distance = places[:, None] - places
    return torch.exp(-0.5 * (distance / sigma) ** 2)
