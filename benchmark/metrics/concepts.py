"""Concept maps: do the k maps of an image differ, and does each stay on few parts? And is the surrogate faithful?

Idea: orthogonality and locality belong to a set of images of one class, since an x-feature is one thing over all of them.
The images are grouped by the class that the network predicts; each image carries the value of its group, so that the mean
over images weighs classes by their images. The formulas and what they cannot see are in ``benchmark.shared.attention_maps``.

Controls: k independent random maps have O1 and O2 near 0 and the largest locality, ln of the number of parts; k copies of
one map have the largest O1, k - sqrt(k), and O2 at its ridge. Read the two together, and both beside faithfulness. O1 and O2
grow with k, and a dead map (a class with fewer concepts than others) counts as uncorrelated in them: between methods of
another k read ``mean_correlation``. The house's methods all show five.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021, Sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, NotApplicable, Target, metric
from benchmark.shared import attention_maps


@metric(
    needs={"scores"},
    track="surrogate",
    better="lower",
    unit="logits",
    version=1,
    source="XNN Sec. 4.2",
)
def f_reg(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """|y - y~|, (n,): the mean over the logits (scores (n, C)), or that of the predicted class (scores (n,))."""
    y, y_ = _logits(e, target, batch)
    return np.abs(y - y_).mean(1)


@metric(
    needs={"scores"},
    track="surrogate",
    better="higher",
    unit="percent",
    version=1,
    source="XNN Sec. 4.2",
)
def f_cls(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """100 x share of the logits that can be put back one at a time, y_c := y~_c, without another class winning, (n,)."""
    y_ = _logits(e, target, batch)[1]
    full = target(batch).double().cpu().numpy()  # (n, C)
    winner = full.argmax(1)
    columns = (
        [[c] for c in winner]
        if e.scores.ndim == 1
        else np.arange(full.shape[1])[None].repeat(len(full), 0)
    )
    same = np.zeros(y_.shape)
    for k in range(y_.shape[1]):
        changed = full.copy()
        changed[np.arange(len(full)), [row[k] for row in columns]] = y_[:, k]
        same[:, k] = changed.argmax(1) == winner
    return 100 * same.mean(1)


def _logits(e: Explanation, target: Target, batch: Batch) -> tuple[Array, Array]:
    """y and y~, (n, C) or (n, 1).

    Raises:
        ValueError: scores of another number of images or classes.
    """
    y = target(batch).double().cpu().numpy()
    scores = np.asarray(e.scores, np.float64)
    if scores.shape not in (y.shape, y.shape[:1]):
        raise ValueError(
            f"scores have shape {scores.shape}, the network's logits {y.shape}: one a class, or one an image"
        )
    return (y, scores) if scores.ndim == 2 else (y.max(1, keepdims=True), scores[:, None])


# --------------------------------------------------------------------------------------------- orthogonality, locality


@metric(
    needs={"concept_maps"},
    track="concept",
    better="lower",
    unit="",
    version=1,
    source="XNN Sec. 4.2",
)
def o1(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """||P||_F - sqrt(k) of the image's predicted class, (n,) in [0, k - sqrt(k)]."""
    return _by_class(
        e, target, batch, lambda S, part: attention_maps.o1(attention_maps.correlation(S)[0])
    )


@metric(
    needs={"concept_maps"},
    track="concept",
    better="lower",
    unit="nats",
    version=1,
    source="XNN Sec. 4.2",
)
def o2(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """-ln det P of the image's predicted class, (n,); 1e-6 is added to the diagonal of a singular P."""
    return _by_class(
        e, target, batch, lambda S, part: attention_maps.o2(attention_maps.correlation(S)[0])[0]
    )


@metric(
    needs={"concept_maps"},
    track="concept",
    better="lower",
    unit="",
    version=1,
    partial=True,
    source="glassbench: O1 that neither the number of maps nor dead ones change",
)
def mean_correlation(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Mean |P| of two live maps of the image's predicted class, (n,) in [0, 1]; NaN with fewer than two."""
    return _by_class(
        e,
        target,
        batch,
        lambda S, part: attention_maps.mean_correlation(*attention_maps.correlation(S)),
    )


@metric(
    needs={"concept_maps", "parts", "boxes"},
    track="concept",
    better="lower",
    unit="nats",
    version=1,
    partial=True,
    source="XNN Sec. 4.2, Alg. 1",
    settings=({"cells": "voronoi"}, {"cells": "pixel"}, {"cells": "mask"}),
)
def locality(
    e: Explanation, target: Target, batch: Batch, rng: Generator, cells: str = "voronoi"
) -> Array:
    """Mean H over the live maps of the image's predicted class, (n,) in [0, ln(parts + 1)]. ``cells="mask"``: by the parts'
    own pixels, where the data set has masks.

    NaN where no image of the class shows a part, or no map has mass on one. Images without visible parts are left out.
    """
    if cells not in ("voronoi", "pixel", "mask"):
        raise ValueError(f"cells {cells!r} is neither voronoi nor pixel nor mask")
    if cells == "mask" and batch.part_masks is None:
        raise NotApplicable("images have no part_masks")
    h, w = batch.x.shape[2:]

    def value(S: Array, part: Batch) -> float:
        parts, boxes, visible = (_numpy(t) for t in (part.parts, part.boxes, visible_parts(part)))
        seen = visible.any(1)
        if not seen.any():
            return np.nan
        of_image = {
            "voronoi": lambda m: attention_maps.voronoi(parts[m], visible[m], boxes[m], h, w),
            "pixel": lambda m: attention_maps.pixel(parts[m], visible[m], h, w),
            "mask": lambda m: attention_maps.mask(_numpy(part.part_masks[m]), parts.shape[1]),
        }[cells]
        of_pixel = np.stack(
            [of_image(m) for m in np.flatnonzero(seen)]
        )  # P(part | pixel) (m, p or p + 1, h, w)
        H = attention_maps.entropy(attention_maps.histogram(S[seen], of_pixel).mean(0))  # (k,)
        return float(H[np.isfinite(H)].mean()) if np.isfinite(H).any() else np.nan

    return _by_class(e, target, batch, value)


@metric(
    needs={"concept_maps", "parts", "part_importance"},
    track="concept",
    better="higher",
    unit="fraction",
    version=1,
    partial=True,
    source="glassbench: do concepts land on the parts that define the class?",
    settings=({"radius": 0.08},),
)
def concepts_on_class_parts(
    e: Explanation, target: Target, batch: Batch, rng: Generator, radius: float = 0.08
) -> Array:
    """Share of each live map's positive mass within ``radius`` (sides of the image) of a visible part whose true importance
    for the image's class is above 0; mean over the maps, (n,) in [0, 1]. NaN without such a part or a live map."""
    S = attention_maps.normalised(_maps(e, batch))
    visible, chosen = visible_parts(batch), _numpy(batch.part_importance) > 0
    region = discs(_numpy(batch.parts), visible & chosen, radius, *S.shape[2:])  # (n, h, w)
    live = S.sum((2, 3)) > 0
    share = (S * region[:, None]).sum((2, 3))
    ok = live.any(1) & (visible & chosen).any(1)
    return np.where(ok, share.sum(1) / np.maximum(live.sum(1), 1), np.nan)


def discs(parts: Array, chosen: Array, radius: float, h: int, w: int) -> Array:
    """Pixels (n, h, w) bool within ``radius`` of any chosen part (n, p) at parts (n, p, 2); never less than the pixel that the
    part lies in."""
    x, y = np.moveaxis(parts.astype(np.float64), -1, 0)[..., None, None]  # (n, p, 1, 1)
    d = np.hypot(np.arange(w) + 0.5 - x, np.arange(h)[:, None] + 0.5 - y)  # (n, p, h, w)
    return ((d <= max(radius * max(h, w), 0.7072)) & chosen[:, :, None, None]).any(1)


def visible_parts(batch: Batch) -> Array:
    """(n, p) bool; all where the data set does not say."""
    return (
        np.ones(tuple(batch.parts.shape[:2]), bool)
        if batch.part_visible is None
        else _numpy(batch.part_visible)
    )


def _by_class(
    e: Explanation, target: Target, batch: Batch, value: Callable[[Array, Batch], float]
) -> Array:
    """value(S (m, k, h, w), images) of each predicted class, given to all its images."""
    out = np.full(len(batch), np.nan)
    for rows in _classes(target, batch):
        out[rows] = value(attention_maps.normalised(_maps(e, batch)[rows]), batch[rows.tolist()])
    return out


def _classes(target: Target, batch: Batch) -> Iterator[Array]:
    predicted = target(batch).argmax(1).cpu().numpy()
    for c in np.unique(predicted):
        yield np.flatnonzero(predicted == c)


def _maps(e: Explanation, batch: Batch) -> Array:
    """The maps (n, k, h, w).

    Raises:
        ValueError: their number or resolution is not that of the images.
    """
    n, _, h, w = batch.x.shape
    if e.concept_maps is None or e.concept_maps.shape[::2] + e.concept_maps.shape[3:] != (n, h, w):
        shape = None if e.concept_maps is None else e.concept_maps.shape
        raise ValueError(f"concept_maps have shape {shape} for images of shape {(n, h, w)}")
    return e.concept_maps


def _numpy(value) -> Array:
    return value if isinstance(value, np.ndarray) else value.detach().cpu().numpy()
