"""The maps of Table 1's methods, one class at a time: what is measured of them, and what the pictures show of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

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

# what is measured of maps that are not x-features
WHERE = ("locality", "class_part_share", "silent_share")
PICTURE_SIDE = (
    112  # pixels of a picture at most, so that those of all classes stay a few MB
)


@dataclass(frozen=True, eq=False)
class MethodMaps:
    """The maps (k, m, h, w) of a method on the images of a class."""

    maps: Tensor
    weights: Tensor | None = None  # (k,) in ``class_part_share``; None: equal
    added: Tensor | None = None  # v_i E_i of x-features, (m, k)
    silent: Tensor | None = None  # (m, k) bool: the x-feature or unit is 0


@dataclass(frozen=True, eq=False)
class ClassMaps:
    """The maps of all methods on images of one class, and what is measured of them."""

    images: Batch
    srae: MethodMaps  # of the first run
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
    trained: Mapping[str, Sequence[XNN]]  # the runs of each training
    lassos: Lassos
    units: Tensor  # of Z
    n: int  # x-features
    silent: maps.Silent = "map"
    cells: measures.Kind = "voronoi"

    @property
    def all_z(self) -> str:
        """What the rows call Z."""
        return f"Z ({self.lassos.coef.shape[1]} fc dims)"

    def maps(self, c: int, part: Batch, tested: Split) -> ClassMaps:
        """The maps on images of class c, and what is measured of them.

        Args:
            part: images of the class; tested: all test images, for the Lasso's mean contributions.
        """
        Z = tested.Z[tested.positives(c)]
        selected, contribution = self.lassos.largest(c, Z, self.n)
        units = torch.cat([selected, self.units])
        sizes = [len(selected), len(self.units)]
        of_selected, of_drawn = self._unit_maps(units, part).split(sizes)
        Z = self.at(self.target, part)
        selected_silent, drawn_silent = (Z[:, units] == 0).split(sizes, 1)
        logit = torch.full_like(part.y, c)
        heat = class_maps(self.target, part.x, logit, to=self.to)

        found = self._x_feature_maps(c, part, Z)
        lasso = MethodMaps(of_selected, contribution, silent=selected_silent)
        found["Lasso"] = [lasso]
        found["1-Heatmap"] = [MethodMaps(heat[None])]
        found[self.all_z] = [MethodMaps(of_drawn, silent=drawn_silent)]
        shown = found["SRAE"][0]
        shown = replace(shown, maps=shown.maps.clone())  # not a part of all maps
        return ClassMaps(part, shown, heat, self._overlaps(found, part))

    def _overlaps(
        self, found: Mapping[str, Sequence[MethodMaps]], part: Batch
    ) -> dict[str, dict[str, float]]:
        """What is measured of the maps, the mean over runs: method -> metric -> value."""
        cells = measures.cells(part, self.cells)
        overlaps = {}
        for name, runs in found.items():
            measured = []
            for one in runs:
                values = measures.overlap(one.maps, one.weights, part, cells)
                if one.silent is not None:
                    values["silent_share"] = float(one.silent.double().mean())
                measured.append(values)
            values = {
                metric: mean_of_defined([values[metric] for values in measured])
                for metric in measured[0]
            }
            if name in ("1-Heatmap", self.all_z):
                values = {
                    metric: values[metric] for metric in WHERE if metric in values
                }
            overlaps[name] = values
        return overlaps

    def _x_feature_maps(
        self, c: int, part: Batch, Z: Tensor
    ) -> dict[str, list[MethodMaps]]:
        """Maps of the x-features of all trainings, which are followed down together, image by image.

        Args:
            Z: (m, d) of the images.
        """
        trainings = [xnn for runs in self.trained.values() for xnn in runs]
        started = [maps.walkers(xnn, Z, c, self.at, self.silent) for xnn in trainings]
        walkers = torch.cat(started)
        per_image = []
        for x, P in zip(part.x.split(1), walkers.split(1, dim=1), strict=True):
            per_image.append(maps.down(self.target, x, P, self.at, self.to))
        per_training = iter(torch.cat(per_image, 1).split(self.n))

        found: dict[str, list[MethodMaps]] = {}
        for name, runs in self.trained.items():
            found[name] = []
            for xnn in runs:
                added = xnn.contributions(Z, c)  # v_i E_i, (m, n)
                weights = added.mean(0).clamp(min=0)
                silent = xnn.silent(Z, c)
                one = MethodMaps(next(per_training), weights, added, silent)
                found[name].append(one)
        return found

    def _unit_maps(self, units: Tensor, part: Batch) -> Tensor:
        """Maps (k, m, h, w) of units of Z, image by image."""
        per_image = [
            maps.z_maps(self.target, x, units, self.at, self.to)
            for x in part.x.split(1)
        ]
        return torch.cat(per_image, 1)


def mean_of_defined(values: Sequence[float]) -> float:
    """The mean of the values that are not NaN; NaN where all are."""
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else np.nan


def overlaps(found: Sequence[ClassMaps]) -> dict[str, dict[str, Array]]:
    """method -> metric -> values (K,)."""
    out = {}
    for name, first in found[0].overlaps.items():
        out[name] = {
            metric: np.array([one.overlaps[name][metric] for one in found])
            for metric in first
        }
    return out


# --------------------------------------------------------------------------------------------- arrays for the pictures


def class_arrays(per_class: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """What the pictures print of each class: values (methods, K)."""
    arrays = {}
    for metric in ("O1", "O2", "F_reg_test"):
        rows = [values[metric] for values in per_class.values() if metric in values]
        arrays[f"class_{metric}"] = np.stack(rows)
    arrays["class_methods"] = np.array(
        [name for name in per_class if "O1" in per_class[name]]
    )
    return arrays


def part_arrays(study: Study, found: Sequence[ClassMaps]) -> dict[str, Array]:
    """Fig. 7: histograms over parts, which parts define a class, and their names."""
    seen = [one.images for one in found]
    importance = np.stack([part.part_importance[0].cpu().numpy() for part in seen])
    numbered = np.array([str(i) for i in range(importance.shape[1])])
    return {
        "bars": measures.part_histograms([one.srae.maps for one in found], seen),
        "bars_at_parts": np.stack([_at_parts(one) for one in found]),
        "importance": importance,
        "part_names": study.data.arrays.get("part_names", numbered),
    }


def _at_parts(found: ClassMaps) -> Array:
    """Fig. 7a of a class, (n, p)."""
    S = measures.images_first(found.srae.maps)
    return measures.at_parts(S, found.images)


def picture(target: Target, found: Sequence[ClassMaps]) -> dict[str, Array]:
    """Two images of each class, with the 1-Heatmap, the x-features' maps and v_i E_i (Figs. 1, 8); levels 0 to 255."""
    per_class = [_class_picture(target, c, one) for c, one in enumerate(found)]
    return {
        f"shown_{name}": np.concatenate([arrays[name] for arrays in per_class])
        for name in per_class[0]
    }


def _class_picture(target: Target, c: int, found: ClassMaps) -> dict[str, Array]:
    """The pictures of at most two images of class c."""
    m = min(2, len(found.images))
    x, heat = found.images.x[:m], found.heat[:m]
    x_features = found.srae.maps[:, :m].movedim(0, 1)
    added = found.srae.added[:m]
    logits = target(found.images)[:m, c]
    return {
        "image": _levels(x, 1),
        "heat": _levels(heat[:, None])[:, 0],
        "maps": _levels(x_features),
        "contribution": added.cpu().numpy(),
        "logit": logits.cpu().numpy(),
        "name": np.array([target.classes[c]] * m),
    }


def _levels(x: Tensor, most: float | None = None) -> Array:
    """x (m, k, h, w), shrunk to a picture's side, as levels from 0 to 255.

    Args:
        most: what becomes 255; default: the largest value of each map.
    """
    h, w = x.shape[2:]
    shrink = min(1, PICTURE_SIDE / max(h, w))
    x = F.adaptive_avg_pool2d(x, (round(shrink * h), round(shrink * w)))
    if most is None:
        most = x.amax((2, 3), keepdim=True).clamp(min=1e-12)
    levels = 255 * (x / most)
    return levels.round().byte().cpu().numpy()
