"""Scores of a share of the images, for metrics that push hundreds of copies of each image through the network.

Idea: ``images=0.25`` in a row says that about a quarter of its images were scored: those whose position in their data
set, times the golden ratio, has a fractional part below 0.25. These positions are spread evenly and follow no period of
the classes; they are the same for every method, network and seed, and do not depend on the other images of the batch.
Images of which the position is not known, and batches too small to have one of these, are scored as a whole.

Reference: H. Weyl, Über die Gleichverteilung von Zahlen mod. Eins, Mathematische Annalen 1916.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmark.api import Array, Batch, Explanation
from benchmark.metrics.masking import heatmaps, shared

GOLDEN = (5**0.5 - 1) / 2


def on_share(
    score: Callable[[Explanation, Batch], Array],
    e: Explanation,
    batch: Batch,
    images: float,
) -> Array:
    """``score(e, batch)`` of the share ``images`` of the batch, (n,) float64: NaN for the others.

    Raises:
        ValueError: a share outside (0, 1], or maps that do not fit the images.
    """
    heatmaps(e, batch)
    if not 0 < images <= 1:
        raise ValueError(f"images={images}: the share scored must lie in (0, 1]")
    rows = _chosen(batch, images)
    if rows.all():
        return score(e, batch)
    key = ("share", images)
    if key not in batch.memo:  # one object for all methods, which share its passes
        batch.memo[key] = batch[np.flatnonzero(rows).tolist()]
    known = shared(e, batch)
    if key not in known:
        known[key] = e[rows]
    values = np.full(len(batch), np.nan)
    values[rows] = score(known[key], batch.memo[key])
    return values


def _chosen(batch: Batch, images: float) -> Array:
    """Which images are scored, (n,) bool; all of them where none would be."""
    if batch.ids is None or images == 1:
        return np.ones(len(batch), bool)
    found = batch.ids.cpu().numpy() * GOLDEN % 1 < images
    return found if found.any() else np.ones(len(batch), bool)
