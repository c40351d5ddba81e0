"""The paper's own experiments: how well interpretations of reference images explain other images.

    representative:
      # Tables 1 and 2, Figs. 5 and 6
      - {experiment: unseen, dataset: asirra, target: vgg19, references: 5000, unseen: 1000, runs: 5}
      # Figs. 2 and 4
      - {experiment: similar, dataset: asirra, target: vgg19, references: 5000, inputs: 1000}

RI is measured twice: "RI" samples Q as the authors' code does, "RI (reference)" as the paper's text says. A baseline's
channel weights are reused by ``reuse``; ACE is fitted on the images of each cluster. A run draws other reference
images, clusters and Q; the network and the unseen images stay. References and clusters are drawn by name, so that
entries with other methods share them and may run side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import t as student
from torch import Tensor

from benchmark.api import Array, Batch, Method, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.representative.boundaries import Way, sample
from benchmark.papers.representative.clusters import Clusters, cluster
from benchmark.papers.representative.masked import masked, top_share, whole_segments
from benchmark.papers.representative.regions import (
    Region,
    assign,
    by_interpretation,
    coverage,
    regions,
)
from benchmark.papers.representative.reuse import with_weights
from benchmark.shared import feature_maps
from benchmark.utils.seeds import generator

CAMS = (
    "baselines/grad_cam.py:GradCAM",
    "baselines/grad_cam_plusplus.py:GradCAMPlusPlus",
    "baselines/score_cam.py:ScoreCAM",
)
ACE = "baselines/ace.py:ACE"
RANDOM = "baselines/random_map.py:RandomMap"
NAMES = {"boundary": "RI", "reference": "RI (reference)"}
MEASURES = (("mAD_pct", "lower"), ("mAI_pct", "higher"))
RATES = ("ACU_GT_pct", "ACU_MD_pct", "CVR_pct")
NEAREST = 50  # images that ACE is fitted on


@dataclass(frozen=True, eq=False)
class Reference:
    """R with what is computed once: feature maps, predicted classes."""

    target: Target
    batch: Batch
    psi: Tensor  # (n, K, u, v)
    classes: Tensor  # (n,)

    @classmethod
    def draw(cls, study: Study, n: int, *name: object) -> Reference:
        """n training images, as many of each class; ``name`` tells draws apart."""
        batch = _batch(study, "train", n, *name)
        psi = feature_maps.at(study.target, batch)
        return cls(study.target, batch, psi, study.target(batch).argmax(dim=1))

    def pick(self, rows: Array | Tensor) -> Batch:
        """Some of the images, with what is known about them: psi and the logits are not recomputed."""
        rows = torch.as_tensor(rows)
        batch = self.batch[rows]
        for key, z in self.batch.memo.items():
            if isinstance(key, tuple) and key[0] == "features":
                batch.memo[key] = z[rows]
        return batch

    def regions(
        self, rows: Tensor, way: Way, sizes: Sequence[int], rng: Generator
    ) -> list[list[Region]]:
        """P(x) of the images ``rows``, for each size of Q."""
        psi, classes = self.psi[rows], self.classes[rows]
        sampled = sample(
            self.target,
            self.psi,
            psi,
            way,
            max(sizes),
            rng,
            classes=self.classes,
            classes_x=classes,
            chunk=self.batch.chunk,
        )
        return regions(sampled, self.psi, self.classes, psi, classes, sizes=sizes)


# --------------------------------------------------------------------------------------------- Tables 1 and 2, Figs. 5
# and 6


def unseen(
    study: Study,
    rng: Generator,
    *,
    references: int = 5000,
    unseen: int = 1000,
    runs: int = 5,
    n_boundaries: int = 50,
    sizes: Sequence[int] = (1, 5, 10, 30, 50, 70),
    per_class: int = 10,
    methods: Sequence[str | Mapping[str, Any]] = CAMS,
    ace: Mapping[str, Any] | None = None,
    ways: Sequence[str] = ("boundary", "reference"),
) -> Outcome:
    """mAD and mAI on unseen images by interpretations of reference images; ACU-GT, ACU-MD and CVR against |Q|.

    Args:
        references: |R|, as many of each class; or all training images where there are fewer. sizes: of Q, for Figs. 5
        and 6; ``n_boundaries`` is that of Tables 1 and 2. methods: with channel weights, as a profile names them. ace:
        ACE's settings; None leaves it out. ways: how RI samples Q; none: ``methods`` and ``ace`` alone, for an entry
        beside the one that has RI and the control.
    """
    target, S = study.target, _batch(study, "test", unseen, "unseen")
    sizes = sorted({*sizes, n_boundaries})
    drops: dict[str, list[tuple[float, float]]] = {}  # method -> (mAD, mAI) of each run
    rates = np.zeros(
        (runs, len(ways), 2, len(sizes), 3)
    )  # ..., [R, unseen], |Q|, RATES
    held = np.zeros((runs, len(ways)))  # mean number of boundaries of a region
    for run in range(runs):
        R = Reference.draw(study, references, "run", run)
        name = ("clusters", study.dataset, study.target_name, study.seed, run)
        V = cluster(R.psi, per_class * len(target.classes), generator(*name))
        seeds = torch.from_numpy(V.seeds).to(R.psi.device)
        psi = target.features(S)
        nearest = V.nearest(psi)
        images = ((R.batch, R.psi, V.nearest(R.psi)), (S, psi, nearest))
        for w, way in enumerate(ways):
            found_by_size = R.regions(seeds, way, sizes, rng)
            for s, (size, found) in enumerate(zip(sizes, found_by_size)):
                for i, (batch, psi_i, nearest_i) in enumerate(images):
                    chosen, labels = assign(found, coverage(found, psi_i), nearest_i)
                    rates[run, w, i, s] = _rates(labels, batch, target)
                if size == n_boundaries:  # chosen: of the unseen images
                    keep = top_share(heat_maps(found, chosen, psi, S.x.shape[-2:]))
                    drops.setdefault(NAMES[way], []).append(_drop(target, S, keep))
                    held[run, w] = np.mean([len(region) for region in found])
        for name, keep in _others(study, R, V, S, nearest, methods, ace, rng):
            drops.setdefault(name, []).append(_drop(target, S, keep))
        if ways:
            keep = top_share(study.build(RANDOM).explain(target, S, rng).heatmaps)
            drops.setdefault("Random map", []).append(_drop(target, S, keep))
    numbers = _table_1(drops, len(S), n_boundaries, _chosen(study, methods, ace))
    if ways:
        numbers += _table_2(rates, ways, sizes, study, len(S), references, held)
    arrays = {
        "sizes": np.array(sizes),
        "rates": rates,
        "ways": np.array(ways),
        "methods": np.array(list(drops)),
        "drops": np.array(list(drops.values())),
    }
    return Outcome(numbers, arrays)


def _others(
    study: Study,
    R: Reference,
    V: Clusters,
    S: Batch,
    nearest: Array,
    methods: Sequence[Any],
    ace: Any,
    rng: Generator,
) -> Any:
    """(name, kept pixels (n, h, w)) of the baselines on the unseen images S, each explained by its nearest centre."""
    target, inputs = study.target, R.pick(V.seeds)
    for entry in methods:
        method = study.build(entry).fit(target, R.batch, rng)
        weights = method.channel_weights(target, inputs)[
            torch.from_numpy(nearest)
        ]  # (n, K)
        e = with_weights(method, weights).explain(target, S, rng)
        yield method.name, top_share(e.heatmaps)
    if ace is not None:
        keep = np.zeros((len(S), *S.x.shape[-2:]), bool)
        for v, rows in by_interpretation(nearest):
            members = np.flatnonzero(V.labels == v)[:NEAREST]
            method = _ace(study, ace).fit(target, R.pick(members), rng)
            e = method.explain(target, S[rows], rng)
            keep[rows] = whole_segments(e.heatmaps)
        yield "ACE", keep


def _ace(study: Study, settings: Mapping[str, Any]) -> Method:
    return study.build({"use": ACE} | dict(settings))


def _chosen(
    study: Study, methods: Sequence[Any], ace: Any
) -> dict[str, dict[str, Any]]:
    """What an entry asks of each method beyond its defaults, by name; ``images`` of ACE is called ``fitted``."""
    asked = {}
    for entry in methods:
        if isinstance(entry, Mapping):
            asked[study.build(entry).name] = entry
    asked["ACE"] = ace or {}
    renamed = {"images": "fitted"}
    chosen = {}
    for name, entry in asked.items():
        chosen[name] = {renamed.get(k, k): v for k, v in entry.items() if k != "use"}
    return chosen


def heat_maps(
    found: Sequence[Region], chosen: Array, psi: Tensor, size: tuple[int, int]
) -> Array:
    """(n, h, w): each image by the region that is chosen for it."""
    maps = np.zeros((len(psi), *size), np.float32)
    for v, rows in by_interpretation(chosen):
        explained = found[v].heat_maps(psi[rows], size)
        maps[rows] = explained.cpu().numpy()
    return maps


def _rates(labels: Array, batch: Batch, target: Target) -> tuple[float, float, float]:
    """ACU-GT, ACU-MD over the covered images, CVR, in percent; an accuracy over none is 0."""
    covered = labels >= 0
    truth = batch.y.cpu().numpy()
    predicted = target(batch).argmax(dim=1).cpu().numpy()
    right = []
    for y in (truth, predicted):
        agree = (labels == y)[covered]
        right.append(100 * agree.mean() if covered.any() else 0.0)
    return *right, 100 * covered.mean()


def _drop(target: Target, batch: Batch, keep: Array) -> tuple[float, float]:
    drop, increase, _, _ = masked(target, batch, keep)
    return drop.mean(), increase.mean()


def _table_1(
    drops: Mapping[str, Sequence[tuple[float, float]]],
    n: int,
    q: int,
    chosen: Mapping[str, Mapping[str, Any]],
) -> list[Number]:
    out = []
    for name, pairs in drops.items():
        setting = {"images": "unseen", "|Q|": q, "keep": 0.2} | dict(
            chosen.get(name, {})
        )
        for values, (metric, better) in zip(np.array(pairs).T, MEASURES):
            runs = len(values)
            mean = values.mean()
            out.append(Number(metric, mean, name, setting, n * runs, better, "percent"))
            if runs > 1:
                metric = metric.replace("pct", "std")
                std = values.std(ddof=1)
                out.append(Number(metric, std, name, setting, runs, "lower", "percent"))
    return out


def _table_2(
    rates: Array,
    ways: Sequence[str],
    sizes: Sequence[int],
    study: Study,
    n: int,
    references: int,
    held: Array,
) -> list[Number]:
    runs = len(rates)
    counts = {"reference": min(references, study.data.size("train")), "unseen": n}
    out = []
    for w, way in enumerate(ways):
        size, setting = held[:, w].mean(), {"images": "reference"}
        out.append(
            Number("boundaries_of_a_region", size, NAMES[way], setting, runs, "lower")
        )
        for i, (images, count) in enumerate(counts.items()):
            for s, q in enumerate(sizes):
                setting, over = {"images": images, "|Q|": q}, runs * count
                for j, rate in enumerate(RATES):
                    mean = rates[:, w, i, s, j].mean()
                    out.append(
                        Number(
                            rate, mean, NAMES[way], setting, over, "higher", "percent"
                        )
                    )
    S = _batch(study, "test", n, "unseen")
    right = study.target(S).argmax(dim=1) == S.y
    accuracy = 100 * float(right.double().mean())
    setting = {"images": "unseen"}
    out.append(Number("ACU_GT_pct", accuracy, "F", setting, n, "higher", "percent"))
    return out


# --------------------------------------------------------------------------------------------- Figs. 2 and 4


def similar(
    study: Study,
    rng: Generator,
    *,
    references: int = 5000,
    inputs: int = 1000,
    K: Sequence[int] = (1, 10, 100, 1000),
    n_boundaries: int = 50,
    way: Way = "boundary",
    methods: Sequence[str | Mapping[str, Any]] = CAMS,
    ace: Mapping[str, Any] | None = None,
    shown: int = 4,
) -> Outcome:
    """mAD and mAI over the K reference images most similar to the input whose interpretation explains them, itself the
    first: by Eq. 6 for RI (images outside the region last), by Euclidean distance in Omega for the others. What another
    method is ahead of RI in mAD is paired by input: ``lead_mAD_pct``, and half of its 95 % interval (Student's t).

    ``shown`` similar images of the first input are kept for the case study of Fig. 2.
    """
    target, R = study.target, Reference.draw(study, references, "similar")
    rows = torch.from_numpy(rng.permutation(len(R.batch))[:inputs]).to(R.psi.device)
    top = min(max(*K, shown + 1), len(R.batch))
    (found,) = R.regions(rows, way, [n_boundaries], rng)
    # (m, top) rows of R
    ranked = {"RI": _by_region(found, R, rows, top), "": _by_distance(R, rows, top)}
    values, case = {}, {}
    for name, order, explain in _explainers(
        study, R, found, rows, ranked, methods, ace, rng
    ):
        out = np.zeros((len(rows), top, 2))
        for i, some in enumerate(order):
            batch = R.pick(some)
            maps, keep = explain(i, batch)
            *pair, y, y_kept = masked(target, batch, keep)
            out[i] = np.stack(pair, axis=1)
            if i == 0:
                case[name] = tuple(v[: shown + 1] for v in (some, maps, y, y_kept))
        values[name] = out
    sizes = [k for k in K if k <= top]
    numbers = _fig_4(values, sizes, _chosen(study, methods, ace))
    for k in sizes:
        drops = {name: out[:, :k, 0].mean(1) for name, out in values.items()}
        numbers += _leads(drops, k)
    # (methods, top, 2): at each rank
    curves = np.stack([out.mean(axis=0) for out in values.values()])
    chosen, maps, whole, kept = zip(*case.values(), strict=True)
    arrays = {
        "methods": np.array(list(case)),
        "curves": curves,
        "images": np.stack(
            [_bytes(R.batch.x[torch.from_numpy(some)]) for some in chosen]
        ),
        "maps": np.stack(maps).astype(np.float16),
        "whole": np.stack(whole),
        "kept": np.stack(kept),
        "case_class": np.array(target.classes[int(R.classes[rows[0]])]),
    }
    return Outcome(numbers, arrays)


def _fig_4(
    values: Mapping[str, Array],
    K: Sequence[int],
    chosen: Mapping[str, Mapping[str, Any]],
) -> list[Number]:
    """mAD and mAI of each method over the first k images, from (m, top, 2)."""
    out = []
    for name, found in values.items():
        for k in K:
            setting = {"images": "similar", "K": k} | chosen.get(name, {})
            for j, (metric, better) in enumerate(MEASURES):
                mean, over = found[:, :k, j].mean(), len(found) * k
                out.append(Number(metric, mean, name, setting, over, better, "percent"))
    return out


def _leads(drops: Mapping[str, Array], K: int) -> list[Number]:
    """AD of RI minus that of every other method, from the AD (m,) of each input: mean, and half of its interval."""
    out = []
    for name, drop in drops.items():
        m = len(drop)
        if name in ("RI", "Random map") or m < 2:
            continue
        lead = drops["RI"] - drop
        half = student.ppf(0.975, m - 1) * lead.std(ddof=1) / m**0.5
        setting = {"images": "similar", "K": K}
        for metric, value in (("lead_mAD_pct", lead.mean()), ("lead_mAD_ci95", half)):
            out.append(Number(metric, value, name, setting, m, "lower", "points"))
    return out


def _explainers(
    study: Study,
    R: Reference,
    found: Sequence[Region],
    rows: Tensor,
    ranked: Mapping[str, Array],
    methods: Sequence[Any],
    ace: Any,
    rng: Generator,
) -> Any:
    """(name, (m, top) images, explain(input, its similar images) -> maps, kept pixels)."""
    target, size = study.target, R.batch.x.shape[-2:]

    def regional(i: int, batch: Batch) -> tuple[Array, Array]:
        maps = found[i].heat_maps(target.features(batch), size).cpu().numpy()
        return maps, top_share(maps)

    yield "RI", ranked["RI"], regional
    for entry in methods:
        method = study.build(entry).fit(target, R.batch, rng)
        weights = method.channel_weights(target, R.pick(rows))  # (m, K)

        def reused(
            i: int, batch: Batch, method: Method = method, weights: Tensor = weights
        ) -> tuple[Array, Array]:
            own = with_weights(method, weights[i].expand(len(batch), -1))
            maps = own.explain(target, batch, rng).heatmaps
            return maps, top_share(maps)

        yield method.name, ranked[""], reused
    if ace is not None:
        nearest = _by_distance(R, rows, NEAREST)

        def by_concepts(i: int, batch: Batch) -> tuple[Array, Array]:
            images = R.pick(nearest[i])
            method = _ace(study, ace).fit(target, images, rng)
            e = method.explain(target, batch, rng)
            maps = e.heatmaps
            return maps, whole_segments(maps)

        yield "ACE", ranked[""], by_concepts

    def at_random(i: int, batch: Batch) -> tuple[Array, Array]:
        maps = study.build(RANDOM).explain(target, batch, rng).heatmaps
        return maps, top_share(maps)

    yield "Random map", ranked[""], at_random


def _by_region(found: Sequence[Region], R: Reference, rows: Tensor, top: int) -> Array:
    """The images most similar by Eq. 6: the input, then those that its region covers, then the others."""
    out = []
    for region, row in zip(found, rows.tolist()):
        distance = region.distances(R.psi[row], R.psi).cpu().numpy()
        outside = ~region.covers(R.psi).cpu().numpy()
        distance[row] = -1
        outside[row] = False
        order = np.lexsort((distance, outside))
        out.append(order[:top])
    return np.stack(out)


def _by_distance(R: Reference, rows: Tensor, top: int) -> Array:
    """The nearest images in Omega, the input first."""
    x = R.psi.flatten(1)
    square = x.square().sum(dim=1)
    distance = square - 2 * x[rows] @ x.T  # (m, n), up to |psi(x)|^2
    inputs = torch.arange(len(rows), device=x.device)
    distance[inputs, rows] = -torch.inf
    order = distance.argsort(dim=1, stable=True)
    return order[:, :top].cpu().numpy()


def _batch(study: Study, split: str, n: int, *name: object) -> Batch:
    data = study.data
    _, height, width = data.input_shape
    fitting = 2**20 // (height * width)
    ids = data.sample(split, n, "representative", *name)
    chunk = min(64, max(8, fitting))
    return data.batch(split, ids, device=study.device, chunk=chunk)


def _bytes(x: Tensor) -> Array:
    return (x * 255).round().byte().cpu().numpy()
