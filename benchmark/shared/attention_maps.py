"""Sets of attention maps: how much they overlap, and how many parts of an object each one covers. numpy alone.

Idea: k maps of one image (x-features, boundaries, concepts) explain more than one map if they differ, and each is
easier to name if it stays on few parts. S is a map's positive part, divided by its sum over the image.

Theory (XNN, Sec. 4.2 and Alg. 1), for the m images of a class:
    P = correlation matrix (k, k) of the maps, all images' pixels one vector for each of the k
    O1 = ||P||_F - sqrt(k),   O2 = -ln det P                                    0 where no two are correlated
    S_p = sum_ij P(part p | pixel ij) S_ij, and the mean of S_p over the images: a histogram over parts
    H = -sum_p s_p ln s_p,   s = S / sum S                                      the log of the number of parts covered
P(part | pixel) is 1 - d / d_max in the part's Voronoi cell within the box (d from the part, d_max the largest in the
cell) and 0 elsewhere; the last entry of the histogram, context, is the mass outside the box. ``pixel``: S at the part's
own pixel. With object masks (``mask``) it is the mass in each, and context the mass in none.

A map that is constant (dead) has no correlation: it counts as uncorrelated, diagonal 1, and is reported. P of dependent
maps is singular: O2 then adds 1e-6 to its diagonal and reports it. Parts that are not visible have no cell and S_p = 0.
H can be misled: neighbouring parts are covered together, and large cells weigh more; compare methods, not absolute
values.

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
    some = top > 0
    S = S / np.where(some, top, 1)  # so that tiny and huge maps have a sum
    total = S.sum((-2, -1), keepdims=True)
    return S / np.where(some, total, 1)


def correlation(S: Array) -> tuple[Array, Array]:
    """P (k, k) of maps S (m, k, h, w), and which of the k are dead (constant over all images), (k,) bool."""
    k = S.shape[1]
    X = np.moveaxis(S, 1, 0).reshape(k, -1)
    X = X.astype(np.float64)  # (k, m h w)
    X = X - X.mean(1, keepdims=True)
    spread = np.sqrt((X**2).sum(1))
    largest = np.abs(S).max(initial=0)
    dead = spread <= 1e-12 * largest * X.shape[1] ** 0.5
    X = X / np.where(dead, 1, spread)[:, None]
    P = np.clip(X @ X.T, -1, 1)
    unknown = dead[:, None] | dead
    P = np.where(unknown, 0, P)
    np.fill_diagonal(P, 1)
    return P, dead


def mean_correlation(P: Array, dead: Array) -> float:
    """Mean |P| over pairs of live maps, in [0, 1]; NaN with fewer than two. Dead maps lower O1 and O2, not this."""
    live = P[~dead][:, ~dead]
    k = len(live)
    if k < 2:
        return np.nan
    off_diagonal = np.abs(live).sum() - k
    return float(off_diagonal / (k * (k - 1)))


def o1(P: Array) -> float:
    """||P||_F - sqrt(k)."""
    norm = np.linalg.norm(P)
    return float(norm - np.sqrt(len(P)))


def o2(P: Array) -> tuple[float, bool]:
    """-ln det P, and whether P was singular (smallest eigenvalue below 1e-6)."""
    eigenvalues = np.linalg.eigvalsh(P)
    singular = bool(eigenvalues[0] < RIDGE)
    if singular:
        eigenvalues = np.maximum(eigenvalues, 0) + RIDGE
    value = -np.log(eigenvalues).sum()
    return float(max(0.0, value)), singular


def voronoi(
    parts: Array, visible: Array, box: Array, h: int, w: int, scale: str = "cell"
) -> Array:
    """P(part | pixel) for one image, (p + 1, h, w): the parts' cells, then the context.

    Args:
        parts: (p, 2) x, y; visible: (p,) bool; box: (4,) x0, y0, x1, y1.
        scale: d_max is the largest distance in the ``cell``, or the ``image``'s diagonal.
    """
    x = np.arange(w) + 0.5
    y = np.arange(h)[:, None] + 0.5
    inside = _inside(box, x, y)  # (h, w)
    out = np.zeros((len(parts) + 1, h, w))
    out[-1] = ~inside
    if not visible.any():
        return out
    seen = np.flatnonzero(visible)
    px, py = parts[seen].T[..., None, None]  # (seen, 1, 1)
    d = np.hypot(x - px, y - py)  # (seen, h, w)
    owner = d.argmin(0)  # ties to the lower part
    for i, p in enumerate(seen):
        cell = inside & (owner == i)
        if not cell.any():
            continue
        away = d[i][cell]
        largest = away.max() if scale == "cell" else np.hypot(h, w)
        out[p][cell] = 1 - away / max(largest, 1e-12) if largest > 0 else 1
    return out


def _inside(box: Array, x: Array, y: Array) -> Array:
    """Which pixels, with centres x (w,) and y (h, 1), lie in the box: (h, w) bool."""
    x0, y0, x1, y1 = box
    columns = (x >= x0) & (x < x1)
    rows = (y >= y0) & (y < y1)
    return rows & columns


def pixel(parts: Array, visible: Array, h: int, w: int) -> Array:
    """P(part | pixel) for one image, (p, h, w): 1 at the pixel that holds the part."""
    out = np.zeros((len(parts), h, w))
    for p in np.flatnonzero(visible):
        place = np.floor(parts[p]).astype(int)
        column, row = np.clip(place, 0, (w - 1, h - 1))
        out[p, row, column] = 1
    return out


def mask(labels: Array, parts: int) -> Array:
    """P(part | pixel) for one image, (p + 1, h, w), the last context.

    Args:
        labels: (h, w), the part that each pixel shows, -1 for none.
        parts: p.
    """
    shown = np.where(labels < 0, parts, labels)
    each = np.arange(parts + 1)[:, None, None]
    return (shown == each).astype(np.float64)


def histogram(S: Array, of_pixel: Array) -> Array:
    """S_p^m (m, k, p) of maps S (m, k, h, w) for P(part | pixel) (m, p, h, w): cells, pixels or object masks."""
    return np.einsum("mkhw,mphw->mkp", S, of_pixel)


def entropy(bars: Array) -> Array:
    """H (k,) of histograms (k, p), natural log; NaN for an empty one."""
    total = bars.sum(-1, keepdims=True)
    s = bars / np.where(total > 0, total, 1)
    log = np.log(np.where(s > 0, s, 1))
    H = -(s * log).sum(-1)
    return np.where(total[..., 0] > 0, H, np.nan)
