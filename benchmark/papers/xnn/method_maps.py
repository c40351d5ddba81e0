"""The maps of Table 1's methods, one class at a time: what is measured of them, and what the pictures show of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.api import Array, Batch, Target
from benchmark.papers import Study
from benchmark.papers.xnn import maps, masking, measures
from benchmark.papers.xnn.measures import Lassos, Split
from benchmark.papers.xnn.network import XNN
from benchmark.shared.excitation_backprop import class_maps

WHERE = ("locality", "class_part_share")  # what is measured of maps that are not x-features
PICTURE_SIDE = 112  # pixels of a picture at most, so that those of all classes stay a few MB


@dataclass(frozen=True, eq=False)
class MethodMaps:
    """The maps (k, m, h, w) of a method on the images of a class."""

    maps: Tensor
    weights: Tensor | None = None  # (k,) in ``class_part_share``; None: equal
    added: Tensor | None = None  # v_i E_i of x-features, (m, k)


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """The maps of all methods on images of one class, and what is measured of them."""

    images: Batch
    srae: MethodMaps
    heat: Tensor  # the 1-Heatmap (m, h, w)
    overlaps: Mapping[str, Mapping[str, float]]  # method -> metric -> value

    @property
    def merged(self) -> Tensor:
        """SRAE's maps as one, (m, h, w)."""
        return masking.one_map(self.srae.maps, self.srae.added)


@dataclass(frozen=True, eq=False)
class Mapper:
    """Makes the maps of Table 1's methods, all of one class together."""

    target: Target
    at: maps.Layer
    to: str | None
    trained: Mapping[str, XNN]
    lassos: Lassos
    units: Tensor  # of Z
    n: int  # x-features

    @property
    def all_z(self) -> str:
        """What the rows call Z."""
        return f"Z ({self.lassos.coef.shape[1]} fc dims)"

    def maps(self, c: int, part: Batch, tested: Split) -> ClassMaps:
        """The maps on images of class c."""
        of_class = tested.Z[tested.images.y == c]
        selected, contribution = self.lassos.largest(c, of_class, self.n)
        of_units = self._unit_maps(torch.cat([selected, self.units]), part)
        to_logit = class_maps(self.target, part.x, torch.full_like(part.y, c), to=self.to)
        found = self._x_feature_maps(c, part)
        found["Lasso"] = MethodMaps(of_units[: len(selected)], contribution)
        found["1-Heatmap"] = MethodMaps(to_logit[None])
        found[self.all_z] = MethodMaps(of_units[len(selected) :])
        cells = measures.cells(part)
        overlaps = {}
        for name, one in found.items():
            overlaps[name] = measures.overlap(one.maps, one.weights, part, cells)
        for name in ("1-Heatmap", self.all_z):
            values = overlaps[name].items()
            overlaps[name] = {metric: value for metric, value in values if metric in WHERE}
        return ClassMaps(part, found["SRAE"], to_logit, overlaps)

    def _x_feature_maps(self, c: int, part: Batch) -> dict[str, MethodMaps]:
        """All trainings' x-features go down together, image by image."""
        Z = self.at(self.target, part)
        walkers = torch.cat([maps.walkers(xnn, Z, c, self.at) for xnn in self.trained.values()])
        per_image = []
        for x, P in zip(part.x.split(1), walkers.split(1, dim=1), strict=True):
            per_image.append(maps.down(self.target, x, P, self.at, self.to))
        per_training = torch.cat(per_image, 1).split(self.n)
        found = {}
        for (name, xnn), S in zip(self.trained.items(), per_training, strict=True):
            added = xnn.contributions(Z, c)  # v_i E_i, (m, n)
            found[name] = MethodMaps(S, added.mean(0).clamp(min=0), added)
        return found

    def _unit_maps(self, units: Tensor, part: Batch) -> Tensor:
        """Maps (k, m, h, w) of units of Z, image by image."""
        per_image = [maps.z_maps(self.target, x, units, self.at, self.to) for x in part.x.split(1)]
        return torch.cat(per_image, 1)


def overlaps(found: Sequence[ClassMaps]) -> dict[str, dict[str, Array]]:
    """method -> metric -> values (K,)."""
    out = {}
    for name, first in found[0].overlaps.items():
        out[name] = {
            metric: np.array([one.overlaps[name][metric] for one in found]) for metric in first
        }
    return out


# --------------------------------------------------------------------------------------------- arrays for the pictures


def class_arrays(per_class: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """What the pictures print of each class: values (methods, K)."""
    arrays = {}
    for metric in ("O1", "O2", "F_reg_test"):
        rows = [values[metric] for values in per_class.values() if metric in values]
        arrays[f"class_{metric}"] = np.stack(rows)
    arrays["class_methods"] = np.array([name for name in per_class if "O1" in per_class[name]])
    return arrays


def part_arrays(study: Study, found: Sequence[ClassMaps]) -> dict[str, Array]:
    """Fig. 7: histograms over parts, which parts define a class, and their names."""
    seen = [one.images for one in found]
    importance = np.stack([part.part_importance[0].cpu().numpy() for part in seen])
    numbered = np.array([str(i) for i in range(importance.shape[1])])
    return {
        "bars": measures.part_histograms([one.srae.maps for one in found], seen),
        "importance": importance,
        "part_names": study.data.arrays.get("part_names", numbered),
    }


def picture(target: Target, found: Sequence[ClassMaps]) -> dict[str, Array]:
    """Two images of each class, with the 1-Heatmap, the x-features' maps and v_i E_i (Figs. 1, 8); levels 0 to 255."""
    names = ("image", "heat", "maps", "contribution", "logit", "name")
    out: dict[str, list[Array]] = {name: [] for name in names}
    for c, one in enumerate(found):
        m = min(2, len(one.images))
        out["image"].append(_levels(one.images.x[:m], 1))
        out["heat"].append(_levels(one.heat[:m, None])[:, 0])
        out["maps"].append(_levels(one.srae.maps[:, :m].movedim(0, 1)))
        out["contribution"].append(one.srae.added[:m].cpu().numpy())
        out["logit"].append(target(one.images)[:m, c].cpu().numpy())
        out["name"].append(np.array([target.classes[c]] * m))
    return {f"shown_{name}": np.concatenate(values) for name, values in out.items()}


def _levels(x: Tensor, most: float | None = None) -> Array:
    """x (m, k, h, w), shrunk to a picture's side, as 255 times its share of ``most`` (default: the largest of each map)."""
    h, w = x.shape[2:]
    shrink = min(1, PICTURE_SIDE / max(h, w))
    x = F.adaptive_avg_pool2d(x, (round(shrink * h), round(shrink * w)))
    x = x / (most or x.amax((2, 3), keepdim=True).clamp(min=1e-12))
    return (255 * x).round().byte().cpu().numpy()
