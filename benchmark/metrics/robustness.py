"""Robustness: does the map stay what it is when the image hardly changes?

Idea: explain neighbours of an image, up to r away in every pixel, and see how far their maps are from its own. The
method draws the same random numbers for each, so that what differs is the image.

Weaknesses, to be read with every score:
- **A map that ignores the image is perfect.** A random map that depends on its seed alone scores 0 in all three, before
  every method. The family counts only where a method beats the controls elsewhere.
- It asks nothing about truth: a network that is sensitive to noise deserves a sensitive map. Relative output stability
  divides by what the noise does to the logits for that reason.
- Neighbours leave the data: noise on a black background is no digit.
- Relative output stability divides by each pixel of the map, so that maps with zeros (Grad-CAM, edges) score millions.

Figures, on networks of profile offline (digits, toybirds; seed 0, four images, r = 0.1): the random map has 0 in all
three. Edge map: maximum 0.29 and 0.20, mean 0.27 and 0.19, stability 4e5 and 1e8. Maximum of Grad-CAM 0.14 and 0.17, of
Score-CAM 1.4 and 0.33.

References: Yeh, Hsieh, Suggala, Inouye, Ravikumar, On the (in)fidelity and sensitivity of explanations, NeurIPS 2019
(arXiv:1901.09392); Agarwal et al., Rethinking stability for attribution-based explanations, 2022 (arXiv:2203.06877).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Explain, Explanation, Target, calling_metric
from benchmark.metrics.again import asked, drawn, like, maps_of, part

DRAWS = 10  # neighbours of an image
EPSILON = 1e-6  # Agarwal et al.: in place of a denominator of 0


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=11,
    track="heatmap",
    better="lower",
    unit="ratio",
    version=1,
    source="Yeh et al. 2019, Eq. 3",
    settings=({"radius": 0.1},),
    partial=True,
)
def max_sensitivity(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    *,
    radius: float = 0.1,
    draws: int = DRAWS,
    relative: bool = True,
) -> Array:
    """Max-sensitivity. How much does the map change, at most, when the image changes imperceptibly?

    max_x' ||Phi(x') - Phi(x)|| / ||Phi(x)||, (n,), 0 or more, over ``draws`` images x' = x + U(-r, r)^(c h w).

    ``relative``: divided by ||Phi(x)||, as the authors' code does and their text does not; NaN where it is 0. A random
    map scores 0; see the module for the edge map.

    Range: 0 and more.
    Weakness: A map that looks at neither image nor network is perfectly stable: a random map scores 0.
    """
    return _distances(target, batch, rng, explain, radius, draws, relative).max(0)


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=11,
    track="heatmap",
    better="lower",
    unit="ratio",
    version=1,
    source="Yeh et al. 2019; Bhatt et al. 2020",
    settings=({"radius": 0.1},),
    partial=True,
)
def average_sensitivity(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    *,
    radius: float = 0.1,
    draws: int = DRAWS,
    relative: bool = True,
) -> Array:
    """Average sensitivity. How much does the map change, in the mean, when the image changes imperceptibly?

    The mean instead of the maximum of ``max_sensitivity``, on the same images x'.

    Range: 0 and more.
    Weakness: A map that looks at neither image nor network is perfectly stable: a random map scores 0.
    """
    return _distances(target, batch, rng, explain, radius, draws, relative).mean(0)


def _distances(
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    radius: float,
    draws: int,
    relative: bool,
) -> Array:
    """||Phi(x') - Phi(x)||, (draws, n)."""
    phi, phi_x, _ = _explained(target, batch, rng, explain, radius, draws)
    size = np.linalg.norm(phi, axis=1)  # (n,)
    size = np.where(size > 0, size, np.nan) if relative else 1.0
    return np.linalg.norm(phi_x - phi, axis=2) / size


def _explained(
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    radius: float,
    draws: int,
) -> tuple[Array, Array, Array]:
    """Phi(x) (n, h w), Phi(x') (draws, n, h w), and the logits of x' (draws, n, C).

    Phi(x') is about the class of x: images whose neighbours get another one are explained by a network that is asked
    for it.
    """
    images = neighbours(batch, rng, radius, draws)
    z = np.stack([_logits(target, one) for one in images])  # (draws, n, C)
    classes = target(batch).argmax(1)
    steady = (z.argmax(2) == classes.cpu().numpy()).all(0)  # (n,)
    phi = np.empty((len(batch), batch.x[0, 0].numel()))
    phi_x = np.empty((draws, *phi.shape))
    for rows, c in _asked_for(classes, steady):
        there = [part(one, rows) for one in images]
        same = target if c is None else asked(target, there, c)
        phi[rows] = _flat(maps_of(explain(part(batch, rows), same)))
        for k, one in enumerate(there):
            phi_x[k, rows] = _flat(maps_of(explain(one, same)))
    return phi, phi_x, z


def _asked_for(
    classes: Tensor, steady: Array
) -> Iterator[tuple[list[int], int | None]]:
    """(rows, class that must be asked for): the steady images, which need not be asked, and the others by class."""
    if steady.any():
        yield np.flatnonzero(steady).tolist(), None
    classes = np.where(steady, -1, classes.cpu().numpy())
    for c in np.unique(classes[~steady]).tolist():
        yield np.flatnonzero(classes == c).tolist(), c


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=11,
    track="heatmap",
    better="lower",
    unit="ratio",
    version=1,
    source="Agarwal et al. 2022, Eq. 5",
    settings=({"radius": 0.1},),
    partial=True,
)
def relative_output_stability(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    *,
    radius: float = 0.1,
    draws: int = DRAWS,
) -> Array:
    """Relative output stability. How much does the map change, at most, for each change of the logits?

    max_x' ||(Phi(x) - Phi(x')) / Phi(x)|| / max(||F(x) - F(x')||, eps), (n,), over the images x' of
    ``max_sensitivity`` that the network gives the class of x; NaN where there is none.

    The division of the maps is by pixel; a pixel of 0 counts as eps = 1e-6, as in the authors' code. F: the logits.

    Range: 0 and more.
    Weakness: A map that looks at neither image nor network is perfectly stable: a random map scores 0.
    """
    phi, phi_x, z_x = _explained(target, batch, rng, explain, radius, draws)
    z = _logits(target, batch)  # (n, C)
    change = (phi - phi_x) / np.where(phi == 0, EPSILON, phi)  # (draws, n, h w)
    moved = np.linalg.norm(z - z_x, axis=2)  # (draws, n)
    stability = np.linalg.norm(change, axis=2) / np.maximum(moved, EPSILON)
    same = z_x.argmax(2) == z.argmax(1)
    found = np.where(same, stability, -np.inf).max(0)
    return np.where(same.any(0), found, np.nan)


def neighbours(batch: Batch, rng: Generator, radius: float, draws: int) -> list[Batch]:
    """The images with noise from U(-radius, radius) in every value, ``draws`` times; not clipped to [0, 1], as neither
    the authors nor Quantus do."""

    def noise(rng: Generator) -> Array:
        shape = (draws, *batch.x.shape[1:])
        return rng.uniform(-radius, radius, shape).astype(np.float32)

    return drawn(batch, rng, ("neighbours", radius, draws), noise, _noisy)


def _noisy(batch: Batch, noise: Tensor) -> list[Batch]:
    """The images plus each of the noises (draws, n, c, h, w)."""
    return [like(batch, batch.x + one) for one in noise]


def _flat(maps: Array) -> Array:
    return maps.reshape(len(maps), -1)


def _logits(target: Target, batch: Batch) -> Array:
    return target(batch).double().cpu().numpy()
