"""What metrics that call the method again share: other images, their maps, and who sees which network.

All draws depend on the metric's ``rng`` and the image's number in its data set alone. The pipeline hands every method
and metric of a network the same ``rng``: the images and networks that are drawn are kept in the batch's memo, serve all
of them, and remember what the network says about them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Explanation, Target
from benchmark.shared.variants import asking
from benchmark.utils.seeds import generator


def maps_of(e: Explanation) -> Array:
    """The heat maps (n, h, w) in float64; NaN for images without an explanation.

    Raises:
        ValueError: there are none.
    """
    if e.heatmaps is None:
        raise ValueError("the method was called again and gave no heatmaps")
    maps = e.heatmaps.astype(np.float64)
    if e.applies is not None:
        maps[~e.applies] = np.nan
    return maps


def like(batch: Batch, x: Tensor) -> Batch:
    """A batch of other pixels ``x`` with the same labels and numbers, without annotations."""
    return Batch(x, batch.y, batch.ids, chunk=batch.chunk)


def seed_of(rng: Generator) -> int:
    """A seed from the metric's generator."""
    return int(rng.integers(2**63 - 1))


def drawn(
    batch: Batch,
    rng: Generator,
    key: tuple[Hashable, ...],
    draw: Callable[[Generator], Array],
    made: Callable[[Batch, Tensor], Any],
) -> Any:
    """``made(batch, values)``, once for the same seed and key; values (d, n, ...): those that ``draw`` gives for each
    image (d, ...), from a generator of its own, so that they do not depend on the images beside it."""
    key = (*key, seed_of(rng))
    if key not in batch.memo:
        numbers = range(len(batch)) if batch.ids is None else batch.ids.tolist()
        values = [draw(generator(key[-1], number)) for number in numbers]
        stacked = torch.from_numpy(np.stack(values, axis=1)).to(batch.x.device)
        batch.memo[key] = made(batch, stacked)
    return batch.memo[key]


def by_class(batch: Batch, classes: Tensor) -> Iterator[tuple[int, Array, Batch]]:
    """(class, rows, their images) of each class among ``classes`` (n,)."""
    for c in classes.unique().tolist():
        (rows,) = np.nonzero(classes.cpu().numpy() == c)
        images = part(batch, rows.tolist())
        yield c, rows, images


def part(batch: Batch, rows: Sequence[int]) -> Batch:
    """The images ``rows``, the same object each time; the batch itself if it is all of them in order."""
    if list(rows) == list(range(len(batch))):
        return batch
    key = "part", tuple(rows)
    if key not in batch.memo:
        batch.memo[key] = batch[list(rows)]
    return batch.memo[key]


def asked(target: Target, batches: Sequence[Batch], c: int) -> Target:
    """The network whose answer to all these images is class ``c`` (``shared.variants.asking``); made once."""
    first = batches[0]
    key = "asked", target, c, len(batches)
    if key not in first.memo:
        x = torch.cat([batch.x for batch in batches])
        y = torch.cat([batch.y for batch in batches])
        every = Batch(x, y, chunk=first.chunk)
        first.memo[key] = asking(target, every, c)
    return first.memo[key]
