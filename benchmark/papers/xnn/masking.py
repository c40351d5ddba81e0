"""Table .5: does the network still name the class if it sees no more than the pixels that the maps rank first?

    seen = masked_right(target, images, one_map(maps, contributions), 300)     # (m,) 1.0 or 0.0

Theory: "we only keep top n pixels that have the highest response in the heatmap, and the rest ... painted as black. Then, an
inpainting algorithm is applied to recover the masked images". The paper names no algorithm; here a hidden pixel is the mean of
the kept ones, weighted by a Gaussian, which invents nothing. n counts at 224 x 224: a smaller image keeps the same share. The
x-features of an image become one map by what they add to the logit, max(v_i E_i, 0), as in ``method``. The same numbers as the
metric ``accuracy_top_pixels`` (a test says so).
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark.api import Array, Batch, Target
from benchmark.papers.xnn import maps as xmaps

FAR = 1e-6  # weight of the plain mean, which is what pixels far from all that is kept become


def one_map(maps: Tensor, contributions: Tensor) -> Tensor:
    """One map (m, h, w) of the maps (n, m, h, w) of n x-features that contribute (m, n)."""
    return torch.einsum("mn,nmhw->mhw", contributions.clamp(min=0), xmaps.normalised(maps))


@torch.no_grad()
def masked_right(target: Target, batch: Batch, heat: Tensor, pixels: int) -> Array:
    """1 where F names the class of an image of which the ``pixels`` (of 224 x 224) that ``heat`` (m, h, w) ranks first are
    kept and the others inpainted from them, else 0: (m,)."""
    kept = top(heat, max(1, round(pixels * heat[0].numel() / 224**2)))
    return (target(inpainted(batch.x, kept)).argmax(1) == batch.y).double().cpu().numpy()


def top(heat: Tensor, count: int) -> Tensor:
    """The ``count`` largest pixels of each map (m, h, w), bool; ties to the lower index."""
    order = (heat.flatten(1) + 0.0).argsort(
        dim=1, descending=True, stable=True
    )  # + 0.0: a negative zero is a zero
    kept = torch.zeros_like(order, dtype=torch.bool).scatter_(1, order[:, :count], True)
    return kept.view(heat.shape)


def inpainted(x: Tensor, kept: Tensor) -> Tensor:
    """Images (m, c, h, w) with all but the pixels ``kept`` (m, h, w) filled: normalised convolution with a Gaussian whose
    sigma is a sixteenth of the side (Knutsson and Westin 1993)."""
    m, sigma = kept[:, None].to(x), max(x.shape[2:]) / 16
    places = (torch.arange(side, device=x.device).to(x) for side in x.shape[2:])
    rows, columns = (torch.exp(-0.5 * ((p[:, None] - p) / sigma) ** 2) for p in places)
    mean = (x * m).sum((2, 3), keepdim=True) / m.sum((2, 3), keepdim=True).clamp(min=1)
    filled = (rows @ (x * m) @ columns + FAR * mean) / (rows @ m @ columns + FAR)
    return torch.where(kept[:, None], x, filled)
