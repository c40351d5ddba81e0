"""Superpixels as features: the segments of an image, and what the network answers when some of them are hidden."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Target
from benchmark.shared.pixels import answer, blank


def one_by_one(
    target: Target, batch: Batch, rng: Generator
) -> Iterator[tuple[Tensor, Tensor, Generator]]:
    """Each image (c, h, w), the class () that F predicts on it, and random numbers that are the same for each."""
    seed = int(rng.integers(2**63))
    classes = target(batch).argmax(dim=1)
    for x, c in zip(batch.x, classes, strict=True):
        yield x, c, np.random.default_rng(seed)


def superpixels(x: Tensor, n: int) -> Tensor:
    """The number, from 0, of the SLIC segment of each pixel of an image (c, h, w): (h, w) int64; about n segments.

    Compactness 20 and sigma 1, as ACE cuts images: of a grainy image SLIC's default, sigma 0, makes one segment. Grey
    images are taken for coloured ones.
    """
    from skimage.segmentation import slic

    coloured = x.expand(3, -1, -1) if len(x) == 1 else x
    image = coloured.permute(1, 2, 0).cpu().numpy()
    labels = slic(
        image, n_segments=n, compactness=20, sigma=1, start_label=0, channel_axis=-1
    )
    return torch.from_numpy(labels).long().to(x.device)


def filled(target: Target, x: Tensor, segments: Tensor, fill: str) -> Tensor:
    """An image (c, h, w) with all of its segments hidden: black, of the mean colour (``pixels.blank``), or each of its
    own mean colour ("segment")."""
    if fill != "segment":
        return blank(target, x[None], fill)[0]
    flat = segments.flatten()
    size = flat.bincount()  # (d,)
    total = x.new_zeros(len(x), len(size)).index_add_(1, flat, x.flatten(1))
    return (total / size)[:, segments]


@torch.no_grad()
def answers(
    target: Target,
    x: Tensor,
    hidden: Tensor,
    segments: Tensor,
    z: Array,
    c: Tensor,
    output: str,
    chunk: int = 64,
) -> Array:
    """f(h_x(z)), (N,) float64: the answer for class c to an image x that keeps the segments z (N, d) bool.

    The other segments are those of the image ``hidden``, both (c, h, w). ``output`` as in ``pixels.answer``.
    """
    found = []
    for rows in torch.from_numpy(z).to(x.device).split(chunk):
        kept = rows[:, segments]  # (m, h, w)
        seen = torch.where(kept[:, None], x, hidden)
        found.append(answer(target, seen, c.expand(len(rows)), output))
    return torch.cat(found).double().cpu().numpy()


def spread(values: Array, segments: Tensor) -> Array:
    """The value (d,) of each pixel's segment: (h, w)."""
    return np.asarray(values)[segments.cpu().numpy()]
