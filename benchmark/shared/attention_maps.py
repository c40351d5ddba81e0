"""Sets of attention maps: how much they overlap, and how many parts of an object each one covers. numpy alone.

Idea: k maps of one image (x-features, boundaries, concepts) explain more than one map if they differ, and each is easier to
name if it stays on few parts. S is a map's positive part, divided by its sum over the image.

Theory (XNN, Sec. 4.2 and Alg. 1), for the m images of a class:
    P = correlation matrix (k, k) of the maps, all images' pixels one vector for each of the k
    O1 = ||P||_F - sqrt(k),   O2 = -ln det P                                    0 where no two are correlated
    S_p = sum_ij P(part p | pixel ij) S_ij, and the mean of S_p over the images: a histogram over parts
    H = -sum_p s_p ln s_p,   s = S / sum S                                      the log of the number of parts covered
P(part | pixel) is 1 - d / d_max in the part's Voronoi cell within the box (d from the part, d_max the largest in the cell) and
0 elsewhere; the last entry of the histogram, context, is the mass outside the box. ``pixel``: S at the part's own pixel.
With object masks (``mask``) it is the mass in each, and context the mass in none.

A map that is constant (dead) has no correlation: it counts as uncorrelated, diagonal 1, and is counted. P of dependent maps
is singular: 1e-6 is then added to its diagonal for O2, and it is said. Parts that are not visible have no cell and S_p = 0.
H can be misled: neighbouring parts are covered together, and large cells weigh more; compare methods, not absolute values.

Reference: Qi, Khorram, Fuxin. Embedding Deep Networks into Visual Explanations. Artificial Intelligence 2021.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
RIDGE = 1e-6


def normalised(maps: Array) -> Array:
    """S: the positive part of maps (..., h, w), divided by its sum; 0 for a map without any."""
    S = np.maximum(maps, 0, dtype=np.float64)
    top = S.max((-2, -1), keepdims=True)
    S = S / np.where(top > 0, top, 1)  # so that tiny and huge maps have a sum
    return S / np.where(top > 0, S.sum((-2, -1), keepdims=True), 1)


def correlation(S: Array) -> tuple[Array, Array]:
    """P (k, k) of maps S (m, k, h, w), and which of the k are dead (constant over all images), (k,) bool."""
    X = np.moveaxis(S, 1, 0).reshape(S.shape[1], -1).astype(np.float64)  # (k, m h w)
    X = X - X.mean(1, keepdims=True)
    spread = np.sqrt((X**2).sum(1))
    dead = spread <= 1e-12 * np.abs(S).max(initial=0) * X.shape[1] ** 0.5
    X = X / np.where(dead, 1, spread)[:, None]
    P = np.where(dead[:, None] | dead, 0, np.clip(X @ X.T, -1, 1))
    np.fill_diagonal(P, 1)
    return P, dead


def mean_correlation(P: Array, dead: Array) -> float:
    """Mean |P| of two live maps, in [0, 1]; NaN with fewer than two. Dead maps lower O1 and O2, not this."""
    live = P[~dead][:, ~dead]
    pairs = len(live) * (len(live) - 1)
    return float((np.abs(live).sum() - len(live)) / pairs) if pairs else np.nan


def o1(P: Array) -> float:
    return float(np.linalg.norm(P) - np.sqrt(len(P)))


def o2(P: Array) -> tuple[float, bool]:
    """-ln det P, and whether P was singular (smallest eigenvalue below 1e-6)."""
    eigenvalues = np.linalg.eigvalsh(P)
    singular = bool(eigenvalues[0] < RIDGE)
    if singular:
        eigenvalues = np.maximum(eigenvalues, 0) + RIDGE
    return float(max(0.0, -np.log(eigenvalues).sum())), singular


def voronoi(parts: Array, visible: Array, box: Array, h: int, w: int, scale: str = "cell") -> Array:
    """P(part | pixel) for one image, (p + 1, h, w): the parts' cells, then the context.

    Args:
        parts: (p, 2) x, y; visible: (p,) bool; box: (4,) x0, y0, x1, y1.
        scale: d_max is the largest distance in the ``cell``, or the ``image``'s diagonal.
    """
    x, y = np.arange(w) + 0.5, np.arange(h)[:, None] + 0.5
    x0, y0, x1, y1 = box
    inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)  # (h, w)
    out = np.zeros((len(parts) + 1, h, w))
    out[-1] = ~inside
    if not visible.any():
        return out
    seen = np.flatnonzero(visible)
    d = np.hypot(x - parts[seen, 0, None, None], y - parts[seen, 1, None, None])  # (seen, h, w)
    owner = d.argmin(0)  # ties to the lower part
    for i, p in enumerate(seen):
        cell = inside & (owner == i)
        if cell.any():
            largest = d[i][cell].max() if scale == "cell" else np.hypot(h, w)
            out[p][cell] = 1 - d[i][cell] / max(largest, 1e-12) if largest > 0 else 1
    return out


def pixel(parts: Array, visible: Array, h: int, w: int) -> Array:
    """P(part | pixel) for one image, (p, h, w): 1 at the pixel that holds the part."""
    out = np.zeros((len(parts), h, w))
    for p in np.flatnonzero(visible):
        j, i = np.clip(np.floor(parts[p]).astype(int), 0, (w - 1, h - 1))
        out[p, i, j] = 1
    return out


def mask(labels: Array, parts: int) -> Array:
    """P(part | pixel) for one image of which labels (h, w) name the part that each pixel shows, -1 for none: (p + 1, h, w),
    the last is context."""
    return (np.where(labels < 0, parts, labels) == np.arange(parts + 1)[:, None, None]).astype(
        np.float64
    )


def histogram(S: Array, of_pixel: Array) -> Array:
    """S_p^m (m, k, p) of maps S (m, k, h, w) for P(part | pixel) (m, p, h, w): cells, pixels or object masks."""
    return np.einsum("mkhw,mphw->mkp", S, of_pixel)


def entropy(bars: Array) -> Array:
    """H (k,) of histograms (k, p), natural log; NaN for an empty one."""
    total = bars.sum(-1, keepdims=True)
    s = bars / np.where(total > 0, total, 1)
    H = -(s * np.log(np.where(s > 0, s, 1))).sum(-1)
    return np.where(total[..., 0] > 0, H, np.nan)
