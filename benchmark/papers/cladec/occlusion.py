"""Which part of an image matters to the reconstruction? Sec. 6.6.

Sixteen squares of 12 x 12 pixels, upper left corners {0, 6, 12, 20}^2 (at 32 x 32; in proportion on other images), are filled
with the mean training pixel, one grey for all channels. The relevance of a square O is how much it changes there:

    R_ClaDec(O)  = sum_{i in O} (X_E,i^occ - X_E,i)^2          X_E the reconstruction from L(X), X_E^occ that from L(X^occ)
    R_GradCAM(O) = sum_{i in O} S_i                            S the map, min-max scaled to [0, 1]

The formula sums over O; the sentence before it speaks of "the overall reconstructed image" (``inside=False``). A
square of least and one of most relevance is drawn for each image, uniformly among ties, each by a draw of its own.
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

    def cuts(side: int) -> list[slice]:
        size = max(1, round(SQUARE * side / SIDE))
        starts = [min(round(corner * side / SIDE), side - size) for corner in CORNERS]
        return [slice(start, start + size) for start in starts]

    return list(product(cuts(h), cuts(w)))


def occlude(x: Tensor, square: tuple[slice, slice], fill: float) -> Tensor:
    """A copy of x (n, c, h, w) with the square filled."""
    x = x.clone()
    x[:, :, square[0], square[1]] = fill
    return x


def relevance(
    decode: Callable[[Tensor], Tensor], x: Tensor, fill: float, inside: bool = True
) -> Tensor:
    """R_ClaDec of the 16 squares, (n, 16). ``decode``: images (n, c, h, w) -> their reconstructions."""
    whole, found = decode(x), []
    for square in squares(*x.shape[2:]):
        change = (decode(occlude(x, square, fill)) - whole).square().sum(1)  # (n, h, w)
        found.append((change[:, square[0], square[1]] if inside else change).sum((1, 2)))
    return torch.stack(found, dim=1)


def sums(maps: Tensor) -> Tensor:
    """R of a heat map, (n, h, w) -> (n, 16): its sum in each square after min-max scaling; a flat map is 0."""
    s = maps.double()
    low, high = s.amin((1, 2), keepdim=True), s.amax((1, 2), keepdim=True)
    flat = high - low <= 1e-6 * s.abs().amax((1, 2), keepdim=True)
    s = ((s - low) / (high - low).clamp(min=torch.finfo(s.dtype).tiny)).masked_fill(flat, 0)
    return torch.stack(
        [s[:, rows, columns].sum((1, 2)) for rows, columns in squares(*maps.shape[1:])], dim=1
    )


def on_pixels(R: Tensor, h: int, w: int) -> Tensor:
    """A heat map from R (n, 16): each pixel the mean over the squares that cover it, (n, h, w). Ours: the paper has none."""
    total, count = R.new_zeros(len(R), h, w), R.new_zeros(h, w)
    for k, (rows, columns) in enumerate(squares(h, w)):
        total[:, rows, columns] += R[:, k, None, None]
        count[rows, columns] += 1
    return total / count


def extremes(R: Tensor, rng: Generator) -> tuple[np.ndarray, np.ndarray]:
    """(least, most): a square of least and one of most relevance for each image, (n,) int64; ties by ``rng``."""
    r = R.double().cpu().numpy()
    draws = (rng.random(r.shape), rng.random(r.shape))
    best = (r <= r.min(1, keepdims=True) + TIE, r >= r.max(1, keepdims=True) - TIE)
    least, most = ((tied * (1 + draw)).argmax(1) for tied, draw in zip(best, draws, strict=True))
    return least, most


@torch.no_grad()
def hits(
    target: Target, x: Tensor, y: Tensor, which: np.ndarray, fill: float, chunk: int = 256
) -> np.ndarray:
    """Whether C knows each image with its square ``which`` (n,) filled, (n,) bool."""
    hidden = x.clone()
    for k, square in enumerate(squares(*x.shape[2:])):
        mine = torch.from_numpy(which == k).to(x.device)
        hidden[mine] = occlude(x[mine], square, fill)
    logits = torch.cat([target(part) for part in hidden.split(chunk)])
    return (logits.argmax(1) == y).cpu().numpy()


def grad_cam(target: Target, x: Tensor, layer: str, chunk: int = 256) -> Tensor:
    """Grad-CAM of the predicted class at ``layer``, or at the last layer with maps before it, (n, h, w)."""
    names = target.layers[: target.layers.index(layer) + 1]
    with torch.no_grad():
        layer = next(name for name in reversed(names) if target.features(x[:1], name).ndim == 4)
    found = []
    for part in x.split(chunk):
        A = target.features(part, layer).detach().requires_grad_()  # (n, K, u, v)
        (g,) = torch.autograd.grad(target.head(A, layer).amax(dim=1).sum(), A)
        L = (g.mean((2, 3), keepdim=True) * A.detach()).sum(1, keepdim=True).relu()
        found.append(F.interpolate(L, x.shape[2:], mode="bilinear", align_corners=False)[:, 0])
    return torch.cat(found)
