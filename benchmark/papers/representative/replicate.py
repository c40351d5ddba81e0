"""The paper's own experiments: how well interpretations of reference images explain other images.

    representative:
      # Tables 1 and 2, Figs. 5 and 6
      - {experiment: unseen, dataset: asirra, target: vgg19, references: 5000, unseen: 1000, runs: 5}
      # Figs. 2, 4 and 8
      - {experiment: similar, dataset: asirra, target: vgg19, references: 5000, inputs: 1000}

RI is measured twice: "RI" is the authors' code (``ways``: boundary), "RI (reference)" the paper's text: Q at reference
images, all boundaries of the greedy stay. A baseline's channel weights are reused by ``reuse``, ACE's concepts by
``concept_sets``. What ACE has no explanation of is left out of its numbers, whose n counts the rest, and
``explained_pct`` stands beside them. A run draws other reference images, clusters and Q; the network and the unseen
images stay. References and clusters are drawn by name, so that entries with other methods share them and may run side
by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import t as student
from torch import Tensor

from benchmark.api import Array, Batch, Method, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.representative.boundaries import Way, prunes, sample
from benchmark.papers.representative.clusters import Clusters, cluster
from benchmark.papers.representative.concept_sets import (
    ACE,
    NEAREST,
    ConceptSets,
    explain,
    nearest_first,
)
from benchmark.papers.representative.masked import Compare, masked, top_share
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
RANDOM = "baselines/random_map.py:RandomMap"
NAMES = {"boundary": "RI", "reference": "RI (reference)"}
MEASURES = (("mAD_pct", "lower"), ("mAI_pct", "higher"))
RATES = ("ACU_GT_pct", "ACU_MD_pct", "CVR_pct")
EXPLAINED_BY_ACE = "unseen, explained by ACE"
GALLERY = 2  # inputs of each class in Fig. 8


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
        self,
        rows: Tensor,
        way: Way,
        sizes: Sequence[int],
        rng: Generator,
        delta: int | None = None,
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
        return regions(
            sampled,
            self.psi,
            self.classes,
            psi,
            classes,
            sizes=sizes,
            pruned=prunes(way),
            delta=delta,
        )


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
    delta: int | None = None,
    compare: Compare = "float32",
) -> Outcome:
    """mAD and mAI on unseen images by interpretations of reference images; ACU-GT, ACU-MD and CVR against |Q|.

    Args:
        references: |R|, as many of each class; or all training images where there are fewer. sizes: of Q, for Figs. 5
        and 6; ``n_boundaries`` is that of Tables 1 and 2. methods: with channel weights, as a profile names them. ace:
        ACE's settings; None leaves it out. A set of ACE is a whole cluster, or the ``images`` of it that lie nearest to
        the centre. ways: how RI samples Q; none: ``methods`` and ``ace`` alone, for an entry beside the one that has RI
        and the control. delta: reference images of other classes that a region may hold; None: tau(x). compare: which
        rises mAI counts (``masked``).
    """
    target, S = study.target, _batch(study, "test", unseen, "unseen")
    sizes = sorted({*sizes, n_boundaries})
    # method -> AD and AI (n, 2) of each run, NaN where it has no explanation
    drops: dict[str, list[Array]] = {}
    rates = np.zeros(
        (runs, len(ways), 2, len(sizes), 3)
    )  # ..., [R, unseen], |Q|, RATES
    network = np.zeros((runs, 2, 3))  # the same of F
    held = np.zeros((runs, len(ways)))  # mean number of boundaries of a region

    def note(name: str, keep: Array) -> None:
        drop, increase, _, _ = masked(target, S, keep, compare=compare)
        both = np.stack([drop, increase], axis=1)
        explained = keep.any(axis=(1, 2))
        both[~explained] = np.nan
        known = drops.setdefault(name, [])
        known.append(both)

    for run in range(runs):
        R = Reference.draw(study, references, "run", run)
        name = ("clusters", study.dataset, study.target_name, study.seed, run)
        V = cluster(R.psi, per_class * len(target.classes), generator(*name))
        seeds = torch.from_numpy(V.seeds).to(R.psi.device)
        psi = target.features(S)
        nearest = V.nearest(psi)
        images = ((R.batch, R.psi, V.nearest(R.psi)), (S, psi, nearest))
        for i, (batch, _, _) in enumerate(images):
            predicted = target(batch).argmax(dim=1).cpu().numpy()
            network[run, i] = _rates(predicted, batch, target)
        for w, way in enumerate(ways):
            found_by_size = R.regions(seeds, way, sizes, rng, delta)
            for s, (size, found) in enumerate(zip(sizes, found_by_size)):
                for i, (batch, psi_i, nearest_i) in enumerate(images):
                    chosen, labels = assign(found, coverage(found, psi_i), nearest_i)
                    rates[run, w, i, s] = _rates(labels, batch, target)
                if size == n_boundaries:  # chosen: of the unseen images
                    maps = heat_maps(found, chosen, psi, S.x.shape[-2:])
                    note(NAMES[way], top_share(maps, device=S.x.device))
                    held[run, w] = np.mean([len(region) for region in found])
        for name, keep in _others(study, R, V, S, nearest, methods, ace, rng):
            note(name, keep)
        if ways:
            maps = study.build(RANDOM).explain(target, S, rng).heatmaps
            note("Random map", top_share(maps, device=S.x.device))
    asked = _asked(delta=delta, compare=None if compare == "float32" else compare)
    numbers = _table_1(
        drops, {"|Q|": n_boundaries} | asked, _chosen(study, methods, ace)
    )
    if ways:
        counts = min(references, study.data.size("train")), len(S)
        numbers += _table_2(rates, [NAMES[way] for way in ways], sizes, counts, asked)
        numbers += _table_2(network[:, None, :, None], ["F"], [None], counts, {})
        numbers += _boundaries(held, ways, asked)
    of_runs = [[_means(both) for both in found] for found in drops.values()]
    arrays = {
        "sizes": np.array(sizes),
        "rates": rates,
        "ways": np.array(ways),
        "methods": np.array(list(drops)),
        "drops": np.array(of_runs),  # (methods, runs, 2)
    }
    return Outcome(numbers, arrays)


def _asked(**settings: Any) -> dict[str, Any]:
    """The settings that are not None."""
    return {key: value for key, value in settings.items() if value is not None}


def _others(
    study: Study,
    R: Reference,
    V: Clusters,
    S: Batch,
    nearest: Array,
    methods: Sequence[Any],
    ace: Mapping[str, Any] | None,
    rng: Generator,
) -> Iterator[tuple[str, Array]]:
    """(name, kept pixels (n, h, w)) of the baselines on the unseen images S, each explained by its nearest centre; no
    pixel is kept where ACE has no explanation."""
    target, inputs = study.target, R.pick(V.seeds)
    for entry in methods:
        method = study.build(entry).fit(target, R.batch, rng)
        weights = method.channel_weights(target, inputs)[
            torch.from_numpy(nearest)
        ]  # (n, K)
        e = with_weights(method, weights).explain(target, S, rng)
        yield method.name, top_share(e.heatmaps, device=S.x.device)
    if ace is not None:
        sets = _ace(study, R, ace)
        most = ace.get("images", len(R.batch))
        segments = sets.segments(S)
        keep = np.zeros((len(S), *S.x.shape[-2:]), bool)
        for v, rows in by_interpretation(nearest):
            members = np.flatnonzero(V.labels == v)
            members = nearest_first(members, R.psi, V.centres[v])[:most]
            c = int(R.classes[V.seeds[v]])
            found = sets.interpret(members, c, rng)
            keep[rows] = explain(found, [segments[i] for i in rows.tolist()])[1]
        yield "ACE", keep


def _ace(study: Study, R: Reference, settings: Mapping[str, Any]) -> ConceptSets:
    how = study.build({"use": ACE} | dict(settings))
    return ConceptSets(study.target, R.batch, how)


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


def _means(both: Array) -> Array:
    """mAD and mAI, (2,), of AD and AI (n, 2) over the images that have an explanation; NaN where none has."""
    known = ~np.isnan(both[:, 0])
    return both[known].mean(axis=0) if known.any() else np.full(2, np.nan)


def _table_1(
    drops: Mapping[str, Sequence[Array]],
    setting: Mapping[str, Any],
    chosen: Mapping[str, Mapping[str, Any]],
) -> list[Number]:
    """mAD and mAI, means over runs; RI also on the images that ACE explains."""
    out = []
    setting = {"images": "unseen", "keep": 0.2} | dict(setting)
    for name, found in drops.items():
        out += _of_runs(name, found, setting | dict(chosen.get(name, {})))
    if {"RI", "ACE"} <= set(drops):
        same = []
        for ri, ace in zip(drops["RI"], drops["ACE"]):
            same.append(np.where(np.isnan(ace), np.nan, ri))
        out += _of_runs("RI", same, {"images": EXPLAINED_BY_ACE, "keep": 0.2})
    return out


def _of_runs(
    name: str, found: Sequence[Array], setting: Mapping[str, Any]
) -> list[Number]:
    """mAD and mAI of a method from AD and AI (n, 2) of each run; and the share of images that ACE explains."""
    out = []
    known = sum(int((~np.isnan(both[:, 0])).sum()) for both in found)
    total = sum(len(both) for both in found)
    if name == "ACE":
        share = 100 * known / total
        out.append(
            Number("explained_pct", share, name, setting, total, "higher", "percent")
        )
    means = np.array([_means(both) for both in found])
    means = means[~np.isnan(means[:, 0])]  # (runs, 2)
    if len(means):
        for values, (metric, better) in zip(means.T, MEASURES):
            out += _over_runs(metric, values, name, setting, known, better)
    return out


def _over_runs(
    metric: str,
    values: Array,
    name: str,
    setting: Mapping[str, Any],
    n: int,
    better: str,
) -> list[Number]:
    """The mean of a number over runs, and its standard deviation."""
    runs = len(values)
    out = [Number(metric, values.mean(), name, setting, n, better, "percent")]
    if runs > 1:
        metric, std = metric.replace("pct", "std"), values.std(ddof=1)
        out.append(Number(metric, std, name, setting, runs, "lower", "percent"))
    return out


def _table_2(
    rates: Array,
    names: Sequence[str],
    sizes: Sequence[int | None],
    counts: tuple[int, int],
    asked: Mapping[str, Any],
) -> list[Number]:
    """RATES (runs, names, 2, sizes, 3) of the reference and unseen images, as many as ``counts``; a size None: without
    Q."""
    out = []
    for w, name in enumerate(names):
        for i, images in enumerate(("reference", "unseen")):
            for s, q in enumerate(sizes):
                setting = {"images": images} | _asked(**{"|Q|": q}) | dict(asked)
                n = len(rates) * counts[i]
                for values, rate in zip(rates[:, w, i, s].T, RATES):
                    out += _over_runs(rate, values, name, setting, n, "higher")
    return out


def _boundaries(
    held: Array, ways: Sequence[str], asked: Mapping[str, Any]
) -> list[Number]:
    """The number of boundaries of a region, from (runs, ways)."""
    out = []
    for way, sizes in zip(ways, held.T):
        setting = {"images": "reference"} | dict(asked)
        mean, n = sizes.mean(), len(sizes)
        name = NAMES[way]
        out.append(Number("boundaries_of_a_region", mean, name, setting, n, "lower"))
    return out


# --------------------------------------------------------------------------------------------- Figs. 2, 4 and 8


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
    delta: int | None = None,
    compare: Compare = "float32",
    score: Literal["input", "image"] = "input",
) -> Outcome:
    """mAD and mAI over the K reference images most similar to the input whose interpretation explains them, itself the
    first: by Eq. 6 for RI (images outside the region last), by Euclidean distance in Omega for the others. What another
    method is ahead of RI in mAD is paired by input: ``lead_mAD_pct``, and half of its 95 % interval (Student's t).

    ``shown`` similar images of the first input are kept for the case study of Fig. 2, for Fig. 8 those of two inputs of
    each class.

    Args:
        ace: ACE's settings; a set is an input and its 49 nearest, or ``images`` in all. score: Y_c is that of the
        input's class, as under the images of Fig. 2, or of each image's own. delta, compare: as in ``unseen``.
    """
    target, R = study.target, Reference.draw(study, references, "similar")
    rows = torch.from_numpy(rng.permutation(len(R.batch))[:inputs]).to(R.psi.device)
    top = min(max(*K, shown + 1), len(R.batch))
    (found,) = R.regions(rows, way, [n_boundaries], rng, delta)
    # (m, top) rows of R
    ranked = {"RI": _by_region(found, R, rows, top), "": _by_distance(R, rows, top)}
    values, case = {}, {}
    for name, order, explains in _explainers(
        study, R, found, rows, ranked, methods, ace, rng
    ):
        out = np.zeros((len(rows), top, 2))
        for i, some in enumerate(order):
            batch = R.pick(some)
            maps, keep = explains(i, some, batch)
            c = R.classes[rows[i]].expand(len(some)) if score == "input" else None
            *pair, y, y_kept = masked(target, batch, keep, c, compare)
            none = ~keep.any(axis=(1, 2))
            out[i] = np.where(none[:, None], np.nan, np.stack(pair, axis=1))
            if i == 0:
                y_kept = np.where(none, np.nan, y_kept)
                case[name] = tuple(v[: shown + 1] for v in (some, maps, y, y_kept))
        values[name] = out
    asked = _asked(
        delta=delta,
        compare=None if compare == "float32" else compare,
        score=None if score == "input" else score,
    )
    sizes = [k for k in K if k <= top]
    numbers = _fig_4(values, sizes, asked, _chosen(study, methods, ace))
    for k in sizes:
        drops = {name: _mean(out[:, :k, 0], axis=1) for name, out in values.items()}
        numbers += _leads(drops, k)
    chosen, maps, whole, kept = zip(*case.values(), strict=True)
    arrays = {
        "methods": np.array(list(case)),
        "curves": np.stack([_running(out) for out in values.values()]),
        "images": np.stack(
            [_bytes(R.batch.x[torch.from_numpy(some)]) for some in chosen]
        ),
        "maps": np.stack(maps).astype(np.float16),
        "whole": np.stack(whole),
        "kept": np.stack(kept),
        "case_class": np.array(target.classes[int(R.classes[rows[0]])]),
    }
    return Outcome(numbers, arrays | _gallery(R, found, rows, ranked["RI"], shown))


def _mean(values: Array, axis: int | None = None) -> Array:
    """The mean of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis)
    nothing = np.full_like(total, np.nan)
    return np.divide(total, known.sum(axis), out=nothing, where=known.any(axis))


def _running(out: Array) -> Array:
    """The means (top, 2) over the first K images, for every K, of values (m, top, 2)."""
    means = [_mean(out[:, :k], axis=(0, 1)) for k in range(1, out.shape[1] + 1)]
    return np.stack(means)


def _gallery(
    R: Reference, found: Sequence[Region], rows: Tensor, ranked: Array, shown: int
) -> dict[str, Array]:
    """Fig. 8: the first inputs of each class, their most similar images by region, and the maps of these."""
    classes = R.classes[rows].cpu().numpy()
    size = R.batch.x.shape[-2:]
    picked, images, maps = [], [], []
    for c in np.unique(classes):
        picked += np.flatnonzero(classes == c)[:GALLERY].tolist()
    for i in picked:
        some = torch.from_numpy(ranked[i][: shown + 1])
        images.append(_bytes(R.batch.x[some]))
        maps.append(found[i].heat_maps(R.psi[some], size).cpu().numpy())
    names = [R.target.classes[c] for c in classes[picked]]
    return {
        "gallery_classes": np.array(names),
        "gallery_images": np.stack(images),
        "gallery_maps": np.stack(maps).astype(np.float16),
    }


def _fig_4(
    values: Mapping[str, Array],
    K: Sequence[int],
    asked: Mapping[str, Any],
    chosen: Mapping[str, Mapping[str, Any]],
) -> list[Number]:
    """mAD and mAI of each method over the first k images, from (m, top, 2)."""
    out = []
    for name, found in values.items():
        for k in K:
            setting = {"images": "similar", "K": k} | dict(asked) | chosen.get(name, {})
            some = found[:, :k].reshape(-1, 2)
            out += _of_runs(name, [some], setting)
    return out


def _leads(drops: Mapping[str, Array], K: int) -> list[Number]:
    """AD of RI minus that of every other method, from the AD (m,) of each input: mean, and half of its interval; over
    the inputs that both have."""
    out = []
    for name, drop in drops.items():
        lead = drops["RI"] - drop
        lead = lead[~np.isnan(lead)]
        m = len(lead)
        if name in ("RI", "Random map") or m < 2:
            continue
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
    ace: Mapping[str, Any] | None,
    rng: Generator,
) -> Iterator[tuple[str, Array, Callable]]:
    """(name, (m, top) images, explain(input, its similar images, as a batch) -> maps, kept pixels)."""
    target, size = study.target, R.batch.x.shape[-2:]

    def regional(i: int, some: Array, batch: Batch) -> tuple[Array, Array]:
        maps = found[i].heat_maps(target.features(batch), size).cpu().numpy()
        return maps, top_share(maps, device=batch.x.device)

    yield "RI", ranked["RI"], regional
    for entry in methods:
        method = study.build(entry).fit(target, R.batch, rng)
        weights = method.channel_weights(target, R.pick(rows))  # (m, K)

        def reused(
            i: int,
            some: Array,
            batch: Batch,
            method: Method = method,
            weights: Tensor = weights,
        ) -> tuple[Array, Array]:
            own = with_weights(method, weights[i].expand(len(batch), -1))
            maps = own.explain(target, batch, rng).heatmaps
            return maps, top_share(maps, device=batch.x.device)

        yield method.name, ranked[""], reused
    if ace is not None:
        sets = _ace(study, R, ace)
        segments = sets.segments(R.batch)
        members = _by_distance(R, rows, ace.get("images", NEAREST))
        classes = R.classes[rows].tolist()

        def by_concepts(i: int, some: Array, batch: Batch) -> tuple[Array, Array]:
            nearest = members[i]
            c = classes[i]
            concepts = sets.interpret(nearest, c, rng)
            own = [segments[j] for j in some]
            return explain(concepts, own)

        yield "ACE", ranked[""], by_concepts

    def at_random(i: int, some: Array, batch: Batch) -> tuple[Array, Array]:
        maps = study.build(RANDOM).explain(target, batch, rng).heatmaps
        return maps, top_share(maps, device=batch.x.device)

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
