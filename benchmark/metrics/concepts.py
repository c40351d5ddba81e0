"""Concept maps: do the k maps of an image differ, and does each stay on few parts? And is the surrogate faithful?

Idea: orthogonality and locality belong to a set of images of one class, since an x-feature is one thing over all of
them. The images are grouped by the class that the network predicts; each image carries the value of its group, so that
the mean over images weighs classes by their images. Formulas and limits are in ``benchmark.shared.attention_maps``.

Controls: k independent random maps have O1 and O2 near 0 and the largest locality, ln of the number of parts; k copies
of one map have the largest O1, k - sqrt(k), and O2 at its ridge. Read the two together, and both beside faithfulness.
O1 and O2 grow with k, and a dead map (a class with fewer concepts than others) counts as uncorrelated in them: compare
methods of different k by ``mean_correlation``. All methods of this benchmark show five maps.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021, Sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, NotApplicable, Target, metric
from benchmark.metrics.localisation import discs, visible_parts
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
    """Error of the approximation. How far are the explanation's scores from the network's logits?

    |y - y~|, (n,): the mean over the logits (scores (n, C)), or that of the predicted class (scores (n,)).

    Range: 0 and more.
    Weakness: In logits, whose size differs from network to network: compare methods on one network only.
    """
    y, approximation = _logits(e, target, batch)
    error = np.abs(y - approximation)
    return error.mean(1)


@metric(
    needs={"scores"},
    track="surrogate",
    better="higher",
    unit="percent",
    version=1,
    source="XNN Sec. 4.2",
)
def f_cls(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Answers kept. How often does the network's answer stay when one logit is replaced by the explanation's?

    100 x the share of the logits that can be replaced one at a time, y_c := y~_c, without changing the winner,
    (n,).

    Range: 0 to 100.
    Weakness: With one logit replaced at a time a far-off score of a class that is not near the winner changes nothing.
    """
    _, approximation = _logits(e, target, batch)
    logits = target(batch).double().cpu().numpy()  # (n, C)
    winner = logits.argmax(1)
    images = np.arange(len(logits))
    replaced = [winner] if e.scores.ndim == 1 else range(logits.shape[1])
    same = np.zeros(approximation.shape)
    for k, c in enumerate(replaced):
        changed = logits.copy()
        changed[images, c] = approximation[:, k]
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
            f"scores have shape {scores.shape}, the network's logits {y.shape}: "
            "return one per class, or one per image"
        )
    if scores.ndim == 2:
        return y, scores
    return y.max(1, keepdims=True), scores[:, None]


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
    """Overlap of concepts (O1). How alike are the concept maps of a class?

    ||P||_F - sqrt(k) of the image's predicted class, (n,) in [0, k - sqrt(k)].

    Range: 0 to k - sqrt(k) for k maps.
    Weakness: Grows with the number of maps, and dead maps count as unlike all others; random maps are near 0.
    """

    def value(S: Array, images: Batch) -> float:
        P, _ = attention_maps.correlation(S)
        return attention_maps.o1(P)

    return _by_class(e, target, batch, value)


@metric(
    needs={"concept_maps"},
    track="concept",
    better="lower",
    unit="nats",
    version=1,
    source="XNN Sec. 4.2",
)
def o2(e: Explanation, target: Target, batch: Batch, rng: Generator) -> Array:
    """Dependence of concepts (O2). How far are the concept maps of a class from independent, all together?

    -ln det P of the image's predicted class, (n,); 1e-6 is added to the diagonal of a singular P.

    Range: 0 and more.
    Weakness: Nearly equal maps send it to its ridge, where it counts copies only; random maps are near 0.
    """

    def value(S: Array, images: Batch) -> float:
        P, _ = attention_maps.correlation(S)
        return attention_maps.o2(P)[0]

    return _by_class(e, target, batch, value)


@metric(
    needs={"concept_maps"},
    track="concept",
    better="lower",
    unit="",
    version=1,
    partial=True,
    source="glassbench: O1 that neither the number of maps nor dead ones change",
)
def mean_correlation(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Mean correlation of concepts. How alike are two live concept maps of a class, in the mean?

    Mean |P| over pairs of live maps of the image's predicted class, (n,) in [0, 1]; NaN with fewer than two.

    Range: 0 to 1.
    Weakness: Says nothing of what the maps show: random maps are near 0.
    """

    def value(S: Array, images: Batch) -> float:
        P, dead = attention_maps.correlation(S)
        return attention_maps.mean_correlation(P, dead)

    return _by_class(e, target, batch, value)


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
    """Spread over parts. Over how many parts does a concept map spread?

    Mean H over the live maps of the image's predicted class, (n,) in [0, ln(parts + 1)].

    ``cells="mask"`` takes the parts' own pixels, where the data set has masks. Images without visible parts are left
    out; NaN where no image of the class shows a part, or no map has mass on one.

    Range: 0 to the logarithm of the number of parts, plus one for the background.
    Weakness: A map that sits on one part for the wrong reason scores 0; read it beside faithfulness.
    """
    if cells not in ("voronoi", "pixel", "mask"):
        raise ValueError(f"cells={cells!r} is not voronoi, pixel or mask")
    if cells == "mask" and batch.part_masks is None:
        raise NotApplicable("images have no part_masks")

    def value(S: Array, images: Batch) -> float:
        return _mean_entropy(S, images, cells)

    return _by_class(e, target, batch, value)


def _mean_entropy(S: Array, images: Batch, cells: str) -> float:
    """Mean H over the live ones of the maps S (m, k, h, w) of a class; NaN as in ``locality``."""
    visible = visible_parts(images)
    seen = visible.any(1)
    if not seen.any():
        return np.nan
    of_pixel = [
        _part_of_pixel(images, i, visible[i], cells) for i in np.flatnonzero(seen)
    ]
    bars = attention_maps.histogram(S[seen], np.stack(of_pixel))  # (m, k, p or p + 1)
    H = attention_maps.entropy(bars.mean(0))  # (k,)
    live = np.isfinite(H)
    return float(H[live].mean()) if live.any() else np.nan


def _part_of_pixel(images: Batch, i: int, visible: Array, cells: str) -> Array:
    """P(part | pixel) of image i, (p or p + 1, h, w)."""
    h, w = images.x.shape[2:]
    parts = _numpy(images.parts)[i]
    if cells == "voronoi":
        return attention_maps.voronoi(parts, visible, _numpy(images.boxes)[i], h, w)
    if cells == "pixel":
        return attention_maps.pixel(parts, visible, h, w)
    return attention_maps.mask(_numpy(images.part_masks[i]), len(parts))


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
    """Concepts on the class's parts. How much of a concept map lies on the parts that define the class?

    Share of the positive mass of a map that lies on the parts that define the class; mean over the live maps, (n,)
    in [0, 1].

    On a part means within ``radius`` (in sides of the image) of a visible part whose true importance for the image's
    class is above 0. NaN without such a part or a live map.

    Range: 0 to 1.
    Weakness: The parts are those of the rendered class; the trained network may use only some of them.
    """
    S = attention_maps.normalised(_maps(e, batch))
    chosen = visible_parts(batch) & (_numpy(batch.part_importance) > 0)
    inside = discs(batch, radius) & chosen[:, :, None, None]  # (n, p, h, w)
    region = inside.any(1)
    live = S.sum((2, 3)) > 0  # (n, k)
    share = (S * region[:, None]).sum((2, 3))
    mean = share.sum(1) / np.maximum(live.sum(1), 1)
    return np.where(live.any(1) & chosen.any(1), mean, np.nan)


def _by_class(
    e: Explanation, target: Target, batch: Batch, value: Callable[[Array, Batch], float]
) -> Array:
    """value(S (m, k, h, w), images) of each predicted class, given to all its images: (n,)."""
    out = np.full(len(batch), np.nan)
    for rows in _classes(target, batch):
        S = attention_maps.normalised(_maps(e, batch)[rows])
        out[rows] = value(S, batch[rows.tolist()])
    return out


def _classes(target: Target, batch: Batch) -> Iterator[Array]:
    """The rows of the images of each predicted class."""
    predicted = target(batch).argmax(1).cpu().numpy()
    for c in np.unique(predicted):
        yield np.flatnonzero(predicted == c)


def _maps(e: Explanation, batch: Batch) -> Array:
    """The maps (n, k, h, w).

    Raises:
        ValueError: their number or resolution is not that of the images.
    """
    n, _, h, w = batch.x.shape
    shape = None if e.concept_maps is None else e.concept_maps.shape
    if shape is None or (shape[0], *shape[2:]) != (n, h, w):
        raise ValueError(
            f"concept_maps have shape {shape} for images of shape {(n, h, w)}"
        )
    return e.concept_maps


def _numpy(value) -> Array:
    return value if isinstance(value, np.ndarray) else value.detach().cpu().numpy()
