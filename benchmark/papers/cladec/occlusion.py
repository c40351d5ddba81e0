"""Which part of an image matters to the reconstruction? Sec. 6.6.

Sixteen squares of 12 x 12 pixels, upper left corners {0, 6, 12, 20}^2 (at 32 x 32; in proportion on other images),
are filled with the mean training pixel, one grey for all channels. The relevance of a square O is how much this
changes:

    R_ClaDec(O)  = sum_{i in O} (X_E,i^occ - X_E,i)^2       X_E the reconstruction from L(X), X_E^occ that from L(X^occ)
    R_GradCAM(O) = sum_{i in O} S_i                         S the map, min-max scaled to [0, 1]

The formula sums over O; the sentence before it speaks of "the overall reconstructed image" (``inside=False``). For
each image a square of least and one of most relevance is drawn, uniformly among ties, each by a draw of its own.

The metric ``occlusion_delta_accuracy`` ranks the same squares, but returns the expected value of these draws.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Target

SQUARE, CORNERS, SIDE = 12, (0, 6, 12, 20), 32  # at 32 x 32
TIE = 1e-4  # of sums of values in [0, 1]: more than their float32 rounding, less than a thousandth of a pixel


def squares(h: int, w: int) -> list[tuple[slice, slice]]:
    """The 16 squares (rows, columns) of an image of h x w, row by row; the last ones end at its border."""
    return list(product(_cuts(h), _cuts(w)))


def _cuts(side: int) -> list[slice]:
    """The four squares along a side."""
    size = max(1, round(SQUARE * side / SIDE))
    cuts = []
    for corner in CORNERS:
        start = min(round(corner * side / SIDE), side - size)
        cuts.append(slice(start, start + size))
    return cuts


def occlude(x: Tensor, square: tuple[slice, slice], fill: float) -> Tensor:
    """A copy of x (n, c, h, w) with the square (rows, columns) filled."""
    x = x.clone()
    x[:, :, square[0], square[1]] = fill
    return x


def relevance(
    decode: Callable[[Tensor], Tensor], x: Tensor, fill: float, inside: bool = True
) -> Tensor:
    """R_ClaDec of the 16 squares, (n, 16).

    Args:
        decode: images (n, c, h, w) -> their reconstructions.
        fill: of the hidden pixels.
        inside: sum over the square; else over the whole image.
    """
    whole = decode(x)
    found = []
    for rows, columns in squares(*x.shape[2:]):
        occluded = decode(occlude(x, (rows, columns), fill))
        change = (occluded - whole).square().sum(1)  # (n, h, w)
        if inside:
            change = change[:, rows, columns]
        found.append(change.sum((1, 2)))
    return torch.stack(found, dim=1)


def sums(maps: Tensor) -> Tensor:
    """R of a heat map, (n, h, w) -> (n, 16): its sum in each square after min-max scaling; a flat map is 0."""
    s = maps.double()
    low = s.amin((1, 2), keepdim=True)
    high = s.amax((1, 2), keepdim=True)
    most = s.abs().amax((1, 2), keepdim=True)
    flat = high - low <= 1e-6 * most
    tiny = torch.finfo(s.dtype).tiny
    s = (s - low) / (high - low).clamp(min=tiny)
    s = s.masked_fill(flat, 0)
    found = []
    for rows, columns in squares(*maps.shape[1:]):
        found.append(s[:, rows, columns].sum((1, 2)))
    return torch.stack(found, dim=1)


def on_pixels(R: Tensor, h: int, w: int) -> Tensor:
    """A heat map (n, h, w) from R (n, 16): each pixel the mean over the squares that cover it.

    Ours: the paper has none.
    """
    total = R.new_zeros(len(R), h, w)
    count = R.new_zeros(h, w)
    for k, (rows, columns) in enumerate(squares(h, w)):
        total[:, rows, columns] += R[:, k, None, None]
        count[rows, columns] += 1
    return total / count


def extremes(R: Tensor, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """(least, most): a square of least and one of most relevance for each image, (n,) int64; ties by ``rng``."""
    r = R.double().cpu().numpy()
    low = r.min(1, keepdims=True)
    high = r.max(1, keepdims=True)
    least = _drawn(r <= low + TIE, rng)
    most = _drawn(r >= high - TIE, rng)
    return least, most


def _drawn(tied: np.ndarray, rng: Generator) -> np.ndarray:
    """One of the squares that are ``tied`` (n, 16) for each image, (n,)."""
    draws = rng.random(tied.shape)
    return (tied * (1 + draws)).argmax(1)


@torch.no_grad()
def hits(
    target: Target,
    x: Tensor,
    y: Tensor,
    which: np.ndarray,
    fill: float,
    chunk: int = 256,
) -> np.ndarray:
    """Is C right on each image with its square ``which`` (n,) filled? (n,) bool."""
    hidden = x.clone()
    for k, square in enumerate(squares(*x.shape[2:])):
        mine = torch.from_numpy(which == k).to(x.device)
        hidden[mine] = occlude(x[mine], square, fill)
    logits = torch.cat([target(part) for part in hidden.split(chunk)])
    return (logits.argmax(1) == y).cpu().numpy()


def grad_cam(target: Target, x: Tensor, layer: str, chunk: int = 256) -> Tensor:
    """Grad-CAM of the predicted class at ``layer``, or at the last layer with maps before it, (n, h, w)."""
    layer = _last_with_maps(target, x, layer)
    found = []
    for part in x.split(chunk):
        A = target.features(part, layer).detach().requires_grad_()  # (n, K, u, v)
        logit = target.head(A, layer).amax(dim=1)
        (gradient,) = torch.autograd.grad(logit.sum(), A)
        weights = gradient.mean((2, 3), keepdim=True)
        L = (weights * A.detach()).sum(1, keepdim=True).relu()
        L = F.interpolate(L, x.shape[2:], mode="bilinear", align_corners=False)
        found.append(L[:, 0])
    return torch.cat(found)


@torch.no_grad()
def _last_with_maps(target: Target, x: Tensor, layer: str) -> str:
    """``layer``, or the last one before it that has maps."""
    names = target.layers[: target.layers.index(layer) + 1]
    for name in reversed(names):
        if target.features(x[:1], name).ndim == 4:
            return name
    raise ValueError(f"{target.name} has no layer with maps up to {layer}")
