"""Networks on masked images, shared by all metrics that mask.

Idea: the pixels of an image are ranked once for each explanation (largest value first, ties to the lower index); a
masked image keeps some ranks and fills the others. ``logits_at`` passes (number of pixels, image) pairs through the
network in chunks of ``batch.chunk`` and remembers the logits, so that two metrics that mask alike cost one pass. The
unmasked and the fully masked image are the same for every explanation and are computed once per batch.

Fills, all of pixels in [0, 1] before the network normalises them:
    black    0. Off the data manifold wherever images have no black background: part of what is measured is the
             network's answer to the black shape.
    blur     the image under a Gaussian (RISE: 11 x 11, sigma 5 at 224 x 224): removes detail, keeps colour and layout,
             so the class may remain recognisable.
    inpaint  the Gaussian-weighted mean of the KEPT pixels (normalised convolution): nothing of the hidden pixels leaks.
    mean     the image's mean colour.

Reference: H. Knutsson, C.-F. Westin, Normalized and differential convolution, CVPR 1993 (inpaint);
V. Petsiuk et al., RISE, BMVC 2018 (blur).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target

FILLS = ("black", "blur", "inpaint", "mean")


def heatmaps(e: Explanation, batch: Batch) -> Array:
    """The heat maps (n, h, w) float32, checked against the images.

    Raises:
        ValueError: there are none, or their number or resolution differs from that of the images.
    """
    n, _, h, w = batch.x.shape
    if e.heatmaps is None:
        raise ValueError("the explanation has no heatmaps")
    if e.heatmaps.shape != (n, h, w):
        raise ValueError(
            f"heatmaps have shape {e.heatmaps.shape} for images of shape {(n, h, w)}: "
            "return one map per image, upsampled to its resolution"
        )
    return e.heatmaps


def chunks(e: Explanation, batch: Batch) -> Iterator[tuple[Array, Batch]]:
    """The heat maps with their images, a chunk at a time."""
    maps, start = heatmaps(e, batch), 0
    for part in batch:
        yield maps[start : start + len(part)], part
        start += len(part)


def shared(e: Explanation, batch: Batch) -> dict:
    """Results that belong to this explanation of this batch; they live as long as the explanation."""
    return batch.memo.setdefault("explanations", WeakKeyDictionary()).setdefault(e, {})


def ranks(e: Explanation, batch: Batch) -> Tensor:
    """Rank of each pixel, (n, h*w) int32 on the images' device: 0 = most important, ties to the lower index."""
    memo = shared(e, batch)
    if "ranks" not in memo:
        maps = torch.from_numpy(heatmaps(e, batch)).flatten(1)  # (n, hw)
        memo["ranks"] = torch.cat(
            [_ranks(m.to(batch.x.device)) for m in maps.split(batch.chunk)]
        )
    return memo["ranks"]


def _ranks(maps: Tensor) -> Tensor:
    maps = maps + 0.0  # a negative zero is a zero
    order = maps.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(
        maps.shape[1], dtype=torch.int32, device=maps.device
    ).expand_as(order)
    inverse = torch.empty_like(order, dtype=torch.int32)
    return inverse.scatter_(1, order, places)


@torch.no_grad()
def logits_at(
    e: Explanation,
    target: Target,
    batch: Batch,
    counts: Sequence[int],
    fill: str = "black",
    delete: bool = False,
) -> Tensor:
    """Logits (len(counts), n, C) with only the ``counts`` most important pixels kept, or with only these deleted.

    Raises:
        ValueError: an unknown fill, a count beyond the image, or maps that do not fit the images.
    """
    _, h, w = heatmaps(e, batch).shape
    _check(fill)
    if any(not 0 <= k <= h * w for k in counts):
        raise ValueError(f"pixel counts {list(counts)} must lie within 0..{h * w}")
    memo = shared(e, batch)
    key = {k: ("logits", target, k, fill, delete) for k in counts}
    inner = [k for k in key if 0 < k < h * w and key[k] not in memo]
    if inner:
        found = _masked_logits(e, target, batch, inner, fill, delete)
        for k, logits in zip(inner, found, strict=True):
            memo[key[k]] = logits
    none_kept = h * w if delete else 0
    out = []
    for k in counts:
        if key[k] in memo:
            out.append(memo[key[k]])
        elif k == none_kept:
            out.append(_bare(target, batch, fill))
        else:
            out.append(target(batch))
    return torch.stack(out)


def _masked_logits(
    e: Explanation,
    target: Target,
    batch: Batch,
    counts: Sequence[int],
    fill: str,
    delete: bool,
) -> Tensor:
    """``logits_at`` without memory, (len(counts), n, C)."""
    n, _, h, w = batch.x.shape
    device = batch.x.device
    rank, steps = ranks(e, batch), torch.tensor(counts, device=device)
    out = []
    for pairs in torch.arange(len(counts) * n, device=device).split(batch.chunk):
        k, i = steps[pairs // n], pairs % n
        kept = (rank[i] < k[:, None]) != delete  # (m, hw)
        images = masked(batch, i, kept.view(-1, 1, h, w), fill)
        out.append(target(images))
    return torch.cat(out).view(len(counts), n, -1)


def _check(fill: str) -> None:
    if fill not in FILLS:
        raise ValueError(f"fill {fill!r} is not one of {', '.join(FILLS)}")


def masked(batch: Batch, rows: Tensor, kept: Tensor, fill: str) -> Tensor:
    """The images ``rows`` (m,) with the pixels ``kept`` (m, 1, h, w) bool, the others filled: (m, c, h, w)."""
    x = batch.x[rows]
    if fill == "black":
        return x * kept
    if fill == "blur":
        if "blurred" not in batch.memo:
            batch.memo["blurred"] = torch.cat([blur(part.x) for part in batch])
        return torch.where(kept, x, batch.memo["blurred"][rows])
    if fill == "mean":
        return torch.where(kept, x, x.mean((2, 3), keepdim=True))
    return torch.where(kept, x, inpaint(x, kept))


def _bare(target: Target, batch: Batch, fill: str) -> Tensor:
    """Logits (n, C) of the images without any pixel kept."""
    key = ("bare", target, fill)
    if key not in batch.memo:
        none = batch.x.new_zeros(1, 1, *batch.x.shape[2:], dtype=torch.bool)
        out = []
        for rows in torch.arange(len(batch), device=batch.x.device).split(batch.chunk):
            kept = none.expand(len(rows), -1, -1, -1)
            out.append(target(masked(batch, rows, kept, fill)))
        batch.memo[key] = torch.cat(out)
    return batch.memo[key]


def patches(grid: int, batch: Batch) -> Tensor:
    """The pixels of the ``grid`` x ``grid`` patches that cut an image, (p, h*w) bool.

    Their sides are equal to a pixel and none is empty, so there are fewer where an image has fewer rows or columns.

    Raises:
        ValueError: fewer than two patches a side.
    """
    if grid < 2:
        raise ValueError(
            f"grid={grid}: patches are compared with each other, so at least 2 a side"
        )
    height, width = batch.x.shape[2:]
    row, column = _patch_index(height, grid), _patch_index(width, grid)
    label = (row[:, None] * (column[-1] + 1) + column).flatten()  # (hw,)
    patch = torch.arange(int(label[-1]) + 1)[:, None]  # (p, 1)
    return (label == patch).to(batch.x.device)


def _patch_index(side: int, grid: int) -> Tensor:
    """Which of the patches along a side each pixel lies in, (side,)."""
    return torch.arange(side) * min(grid, side) // side


@torch.no_grad()
def lost(target: Target, batch: Batch, grid: int, fill: str) -> Array:
    """By how much log Y_c / (1 - Y_c) falls when one patch is filled, (n, p) float64.

    It is the same for every explanation, so it is computed once per batch.

    Raises:
        ValueError: an unknown fill, or fewer than two patches a side.
    """
    _check(fill)
    key = ("lost", target, grid, fill)
    if key not in batch.memo:
        kept, c = ~patches(grid, batch), predicted(target, batch)
        n, p, (h, w) = len(batch), len(kept), batch.x.shape[2:]
        out = []
        for pairs in torch.arange(p * n, device=batch.x.device).split(batch.chunk):
            patch, image = pairs // n, pairs % n
            images = masked(batch, image, kept[patch].view(-1, 1, h, w), fill)
            out.append(target(images))
        logits = torch.cat(out).view(p, n, -1)
        falls = log_odds(target(batch), c) - log_odds(logits, c)  # (p, n)
        batch.memo[key] = falls.T
    return batch.memo[key]


def blur(x: Tensor) -> Tensor:
    """Gaussian-blurred images (n, c, h, w): sigma = radius = 5 pixels, RISE's 11 x 11 kernel, larger in proportion for
    images beyond 224 pixels. Not smaller in proportion below: it would vanish on small images. At the border the mean
    runs over the pixels that exist (RISE pads with the mean colour)."""
    h, w = x.shape[-2:]
    radius = max(5, round(5 * max(h, w) / 224))

    def kernel(side: int) -> Tensor:
        g = _gaussian(side, radius, x) * (_distance(side, x) <= radius)
        return g / g.sum(1, keepdim=True)

    return kernel(h) @ x @ kernel(w).T


def inpaint(x: Tensor, kept: Tensor) -> Tensor:
    """Every pixel from the kept ones alone, (n, c, h, w): their mean, weighted by a Gaussian of sigma = side / 16.

    Far from all kept pixels (weights below 1e-6) it is their plain mean, and black where nothing is kept. ``kept`` is
    (n, 1, h, w) bool.
    """
    h, w = x.shape[-2:]
    sigma, tiny = max(h, w) / 16, 1e-6
    m = kept.to(x.dtype)
    gh, gw = _gaussian(h, sigma, x), _gaussian(w, sigma, x)
    count = m.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (x * m).sum((2, 3), keepdim=True) / count
    weighted = gh @ (x * m) @ gw + tiny * mean
    return weighted / (gh @ m @ gw + tiny)


def _distance(side: int, like: Tensor) -> Tensor:
    place = torch.arange(side, dtype=like.dtype, device=like.device)
    return (place[:, None] - place).abs()  # (side, side)


def _gaussian(side: int, sigma: float, like: Tensor) -> Tensor:
    scaled = _distance(side, like) / sigma
    return torch.exp(-0.5 * scaled**2)


def pixels_of(share: float, batch: Batch) -> int:
    """floor(share * h * w), safe against shares that binary fractions miss (0.29 of 100 is 29).

    Raises:
        ValueError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"keep={share}: the share of pixels kept must lie in (0, 1]")
    return math.floor(share * batch.x[0, 0].numel() + 1e-9)


def log_odds(logits: Tensor, classes: Tensor) -> Array:
    """log Y_c / (1 - Y_c) for the softmax probability Y_c of one class per image, (..., n) float64: exact where Y_c
    itself rounds to 1. ``logits`` (..., n, C), ``classes`` (n,)."""
    z, c = logits.double(), classes.expand(logits.shape[:-1])[..., None]
    own = z.gather(-1, c)[..., 0]
    others = z.scatter(-1, c, -torch.inf).logsumexp(-1)
    odds = own - others
    return odds.cpu().numpy()


def probability(logits: Tensor, classes: Tensor) -> Array:
    """Softmax probabilities Y_c (..., n) float64 of one class per image; ``logits`` (..., n, C), ``classes`` (n,)."""
    return expit(log_odds(logits, classes))


def predicted(target: Target, batch: Batch) -> Tensor:
    """The class (n,) that the network gives the unmasked image."""
    return target(batch).argmax(1)


def steps_of(steps: int, batch: Batch) -> list[int]:
    """Numbers of pixels, ``steps`` of them evenly spaced from 0 to all (fewer where the image has fewer pixels).

    Raises:
        ValueError: fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"steps={steps}: a curve needs both ends, so at least 2")
    counts = np.linspace(0, batch.x[0, 0].numel(), steps).round()
    return [int(k) for k in np.unique(counts)]
