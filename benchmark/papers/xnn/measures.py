"""What the paper's tables measure of one class: faithfulness, and how its maps overlap and where they lie.

A class's maps are (k, m, h, w): k x-features (or units, or one heat map) on m images.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sklearn.linear_model import Lasso
from torch import Tensor

from benchmark.api import Array, Batch
from benchmark.papers.xnn import srae
from benchmark.papers.xnn.network import XNN
from benchmark.shared import attention_maps

Kind = Literal["voronoi", "mask"]  # of what locality counts as a part
RADIUS = 0.08  # of a part, in sides of the image


# --------------------------------------------------------------------------------------------- faithfulness


@dataclass(frozen=True, eq=False)
class Split:
    """Images with what the network makes of them: Z (M, d) or (M, S, d), and the logits y (M, K)."""

    Z: Tensor
    y: Tensor
    images: Batch
    tests: Sequence[Tensor] | None = None  # rows that each class is tested on; all

    def rows(self, c: int) -> Tensor:
        """The images that class c is tested on."""
        if self.tests is None:
            return torch.arange(len(self.y), device=self.y.device)
        return self.tests[c]

    def positives(self, c: int) -> Tensor:
        """Those of them that are of class c."""
        rows = self.rows(c)
        return rows[self.images.y[rows] == c]


def faithfulness(
    data: srae.Examples, y: Tensor, y_: Tensor, tested: Split, y_test_: Tensor
) -> dict[str, Array]:
    """F_reg and F_cls of each class on its training examples and on its test images; (K,) each.

    Args:
        y, y_: (M, K) logits of the training images, and their approximations; y_test_: those of ``tested``.
    """
    names = ("F_reg_train", "F_reg_test", "F_cls_train_pct", "F_cls_test_pct")
    out: dict[str, list[float]] = {name: [] for name in names}
    for c in range(y.shape[1]):
        for split, rows, full, approximated in (
            ("train", data.rows[c], y, y_),
            ("test", tested.rows(c), tested.y, y_test_),
        ):
            f_reg, f_cls = _faithfulness(c, full[rows], approximated[rows, c])
            out[f"F_reg_{split}"].append(f_reg)
            out[f"F_cls_{split}_pct"].append(100 * f_cls)
    return {name: np.array(values) for name, values in out.items()}


def _faithfulness(c: int, y: Tensor, y_: Tensor) -> tuple[float, float]:
    """F_reg, mean |y_c - y~_c|, and F_cls, the share of images whose class stays when y~_c replaces y_c.

    Args:
        y: (M, K) logits; y_: (M,) approximations of those of class c.
    """
    replaced = y.clone()
    replaced[:, c] = y_
    same = replaced.argmax(1) == y.argmax(1)
    return float((y[:, c] - y_).abs().mean()), float(same.double().mean())


def n_positive(xnn: XNN, Z: Tensor, c: int) -> int:
    """x-features with a positive mean contribution v_i E_i on images of the class."""
    return int((xnn.contributions(Z, c).mean(0) > 1e-6).sum())


def n_weighted(xnn: XNN, Z: Tensor, c: int) -> int:
    """x-features that add something, |v_i E_i| above 0 in the mean, on images of the class."""
    return int((xnn.contributions(Z, c).abs().mean(0) > 1e-6).sum())


def cosines(E: Tensor) -> Array:
    """|cos| (n, n) between x-features E (M, n); 0 with a dead one."""
    E = E.double()
    unit = E / E.norm(dim=0).clamp(min=1e-12)
    return (unit.T @ unit).abs().cpu().numpy()


def mean_cosine(E: Tensor) -> float:
    """The mean |cos| of two x-features E (M, n)."""
    n = E.shape[1]
    pairs = ~np.eye(n, dtype=bool)
    return float(cosines(E)[pairs].mean())


# --------------------------------------------------------------------------------------------- Lasso


@dataclass(frozen=True, eq=False)
class Lassos:
    """Coefficients (K, d) and intercepts (K,) of a Lasso on Z for each class."""

    coef: Tensor
    intercept: Tensor

    def predict(self, Z: Tensor) -> Tensor:
        """y~ (M, K) for Z (M, d)."""
        return Z @ self.coef.T + self.intercept

    def n_features(self) -> Tensor:
        """How many units each class selects, (K,)."""
        return (self.coef != 0).sum(1).double()

    def largest(self, c: int, Z: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """The (at most) n selected units with the largest mean contribution on images Z of class c, and this
        contribution, cut off at 0."""
        coef = self.coef[c]
        contribution = (coef * Z).mean(0)
        selected = max(1, int((coef != 0).sum()))
        units = contribution.abs().topk(min(n, selected)).indices
        return units, contribution[units].clamp(min=0)


def fit_lassos(data: srae.Examples, alpha: float) -> Lassos:
    """scikit-learn's Lasso on the training examples of each class."""
    coef, intercept = [], []
    for c in range(len(data.rows)):
        Z = data.Z(data.rows[c : c + 1])[0, :, 0].double().cpu().numpy()
        y = data.y[c, :, 0].double().cpu().numpy()
        with warnings.catch_warnings():
            # Small alphas may not converge within max_iter: still a Lasso, less sparse.
            warnings.simplefilter("ignore")
            found = Lasso(alpha=alpha, max_iter=2000).fit(Z, y)
        coef.append(found.coef_)
        intercept.append(found.intercept_)
    device = data.y.device
    coefficients = torch.tensor(np.stack(coef), device=device).float()
    return Lassos(coefficients, torch.tensor(intercept, device=device).float())


# --------------------------------------------------------------------------------------------- maps


@dataclass(frozen=True, eq=False)
class Cells:
    """P(part | pixel) of the images of a class: Voronoi cells and context, or masks of objects."""

    shown: Array  # (m,) bool: images that show a part
    of_pixel: (
        Array  # (images that show one, p + 1 or p, h, w); of cells context is last
    )

    def histogram(self, S: Array) -> Array:
        """Histogram (k, p + 1 or p) of maps S (m, k, h, w) over the images that show a part; all 0 if none does."""
        total = attention_maps.histogram(S[self.shown], self.of_pixel).sum(0)
        return total / max(1, self.shown.sum())


def cells(part: Batch, kind: Kind = "voronoi") -> Cells | None:
    """P(part | pixel) of images; None without annotated parts.

    Args:
        kind: ``voronoi`` cells of parts (CUB), or the ``mask`` of each object (Places).

    Raises:
        ValueError: masks are asked for that the images do not have.
    """
    if part.parts is None:
        return None
    visible = visible_parts(part)
    shown = visible.any(1)
    p, (h, w) = visible.shape[1], part.x.shape[2:]
    if kind == "mask":
        if part.part_masks is None:
            raise ValueError("cells: mask needs images with masks of their parts")
        labels = part.part_masks.cpu().numpy()[shown]
        masks = [attention_maps.mask(one, p)[:-1] for one in labels]
        return Cells(shown, np.array(masks).reshape(-1, p, h, w))
    parts = part.parts.cpu().numpy()
    boxes = np.array([[0, 0, w, h]] * len(parts))
    if part.boxes is not None:
        boxes = part.boxes.cpu().numpy()
    of_pixel = []
    for points, seen, box in zip(
        parts[shown], visible[shown], boxes[shown], strict=True
    ):
        of_pixel.append(attention_maps.voronoi(points, seen, box, h, w))
    return Cells(shown, np.array(of_pixel).reshape(-1, p + 1, h, w))


def at_parts(S: Array, part: Batch) -> Array:
    """Mean over images of S_{ip,jp} (k, p), the share of maps S (m, k, h, w) at the pixel of each part (Fig. 7a)."""
    points, (h, w) = part.parts.cpu().numpy(), part.x.shape[2:]
    visible = visible_parts(part)
    of_pixel = [
        attention_maps.pixel(places, seen, h, w)
        for places, seen in zip(points, visible, strict=True)
    ]
    return attention_maps.histogram(S, np.stack(of_pixel)).mean(0)


def visible_parts(part: Batch) -> Array:
    """(m, p) bool; all of them where the data set does not say."""
    if part.part_visible is None:
        return np.ones(part.parts.shape[:2], bool)
    return part.part_visible.cpu().numpy()


def overlap(
    found: Tensor, weights: Tensor | None, part: Batch, parts: Cells | None
) -> dict[str, float]:
    """O1, O2, locality and the share on class-defining parts of maps (k, m, h, w) of one class.

    Also whether P is singular, how many maps are dead, and the mean correlation of live maps, which dead ones do
    not lower.

    Args:
        weights: (k,) of the maps in the share; None: equal.
        part: the images, with part_importance for the share; parts: their cells, for locality.
    """
    S = images_first(found)  # (m, k, h, w)
    P, dead = attention_maps.correlation(S)
    o2, singular = attention_maps.o2(P)
    out = {
        "O1": attention_maps.o1(P),
        "O2": o2,
        "mean_correlation": attention_maps.mean_correlation(P, dead),
        "n_singular": float(singular),
        "n_dead": float(dead.sum()),
    }
    if parts is not None:
        H = attention_maps.entropy(parts.histogram(S))
        out["locality"] = float(np.nanmean(H)) if np.isfinite(H).any() else np.nan
    if part.part_importance is not None:
        out["class_part_share"] = _class_part_share(S, weights, part)
    return out


def images_first(found: Tensor) -> Array:
    """Maps (k, m, h, w) -> (m, k, h, w), each with sum 1."""
    return attention_maps.normalised(found.movedim(0, 1).cpu().numpy())


def _class_part_share(S: Array, weights: Tensor | None, part: Batch) -> float:
    """Weighted mean over maps S (m, k, h, w) of their share near class-defining parts; NaN if no weight is above 0."""
    mass = np.einsum("mkhw,mhw->k", S, part_region(part))
    total = S.sum((0, 2, 3))
    share = mass / np.maximum(total, 1e-12)  # (k,)
    w = np.ones(len(share))
    if weights is not None:
        w = weights.double().cpu().numpy()
    if w.sum() <= 0:
        return np.nan
    return float((share * w).sum() / w.sum())


def part_region(part: Batch) -> Array:
    """Pixels (m, h, w), bool, near a visible part that defines the class."""
    h, w = part.x.shape[2:]
    parts = part.parts.double().cpu().numpy()  # (m, p, 2)
    x, y = parts.transpose(2, 0, 1)[..., None, None]  # (m, p, 1, 1)
    columns = np.arange(w) + 0.5
    rows = np.arange(h) + 0.5
    rows = rows[:, None]
    distance = np.hypot(columns - x, rows - y)  # (m, p, h, w)
    near = distance <= RADIUS * max(h, w)
    chosen = (part.part_importance > 0) & part.part_visible  # (m, p)
    chosen = chosen.cpu().numpy()[:, :, None, None]
    return (near & chosen).any(1)


def part_histograms(found: Sequence[Tensor], seen: Sequence[Batch]) -> Array:
    """(K, n, p + 1) histograms of the x-features of each class, each with sum 1 (Fig. 7b, over images)."""
    bars = []
    for maps, part in zip(found, seen, strict=True):
        bars.append(cells(part).histogram(images_first(maps)))
    stacked = np.stack(bars)
    return stacked / np.maximum(stacked.sum(2, keepdims=True), 1e-12)
