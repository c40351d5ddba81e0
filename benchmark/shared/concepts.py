"""Concepts: segments of a class's images that look alike to the network, and how much its answer depends on them.

Idea: cut images into segments, cluster these in the network's own feature space, keep the clusters that many images
share, and score each by the share of the class's images whose score grows in its direction (TCAV).

    segments = embed(target, batch)                                  # Segments of each image of the batch
    found = discover([s.acts for s in segments], pool, gradient, rng=rng)   # found.centres (m, K), found.scores (m,)
    shown = show(found, segments[0])                                 # a map of the image, and one of each concept

Theory, with a(.) = mean over positions of psi(.):
    segments   SLIC at three resolutions (compactness 20, sigma 1), of more than 0.1 % of the pixels, that overlap none
               of an earlier resolution with Jaccard > 0.5; the rest is grey (117), the box resized to the image
    concepts   k-means on a(segment); a cluster of s segments from m of n images stays if s > 20 and (m > s/2, or
               m > s/4 and m > n/4, or m > s/10 and m > n/2); its 40 segments nearest to the centre represent it, the
               others are outlying
    CAV        v of a linear classifier of those 40 against as many random segments; 20 random sets
    TCAV       share of the class's images with <dy^c / da, v> > 0, mean over the sets; a concept is dropped if a
               paired t-test against random sets in its place has p > 0.01
    new image  cut likewise; a segment belongs to its nearest concept, unless it lies farther from the centre than all
               that represent the concept: then it is outlying and removed. It is as important as its concept's TCAV

Departures from ACE's code: CAVs live in the space of a(.), as its clusters do, not of all positions, and come from
ridge regression, not from stochastic gradient descent; its skipped last segment, row and column are kept; random sets
are segments of reference images of all classes, not photographs of ImageNet.

References: Ghorbani, Wexler, Zou, Kim. Towards Automatic Concept-based Explanations. NeurIPS 2019, arXiv:1902.03129
(and its code). Kim et al. Interpretability Beyond Feature Attribution (TCAV). ICML 2018, arXiv:1711.11279. New images:
Lam et al., Finding Representative Interpretations, ICCV 2021, arXiv:2108.06384, Sec. 6.1.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from scipy.special import stdtr
from torch import Tensor

from benchmark.api import Array, Batch, NotApplicable, Target

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

    from benchmark.shared.work import Facts, Work

RESOLUTIONS = (15, 50, 80)  # segments that SLIC is asked for
SMALLEST, DOUBLE = 0.001, 0.5  # share of the pixels; Jaccard index
LEAST, CLOSEST = 20, 40  # segments of a concept, of a CAV
SETS, LEVEL = 20, 0.01  # random sets; significance of the t-test
GREY, CHUNK = 117 / 255, 64


@dataclass(frozen=True, eq=False)
class Concepts:
    """m concepts of a class; m may be 0."""

    centres: Tensor  # (m, K)
    scores: Tensor  # (m,) TCAV, in [0, 1]
    radii: Tensor  # (m,) distance of the farthest segment that represents the concept

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Segments:
    """The s segments of an image."""

    numbers: Array  # (r, h, w) int16: the segment of each pixel at each resolution, -1 where it was dropped
    acts: Tensor  # (s, K) a(.)

    def levels(self, level: Array) -> Array:
        """The largest level (s,), 0 or larger, among the segments of each pixel: (h, w)."""
        return np.append(level, 0)[self.numbers].max(axis=0)


@dataclass(frozen=True, eq=False)
class Shown:
    """What m concepts say about an image."""

    heatmap: Array  # (h, w): the importance of the best segment of each pixel, 0 where none is left
    concept_maps: (
        Array  # (m, h, w) bool: the segments of each concept, the best concept first
    )


def segment(image: Array, resolutions: Sequence[int] = RESOLUTIONS) -> Array:
    """Numbers (r, h, w) int16 of the segments of an image (h, w, c) in [0, 1], as in ``Segments``."""
    from skimage.segmentation import slic

    masks = np.zeros((0, image[..., 0].size), bool)  # (s, hw)
    numbers = []
    for n in resolutions:
        labels = slic(
            image, n_segments=n, compactness=20, sigma=1, start_label=0, channel_axis=-1
        ).ravel()
        new = labels == np.arange(labels.max() + 1)[:, None]  # (m, hw)
        both = new.astype(np.float32) @ masks.T.astype(np.float32)  # (m, s)
        either = new.sum(1)[:, None] + masks.sum(1) - both
        distinct = (both <= DOUBLE * either).all(1)
        stays = distinct & (new.mean(1) > SMALLEST)
        number = np.where(stays, len(masks) + np.cumsum(stays) - 1, -1)
        numbers.append(number[labels])
        masks = np.concatenate([masks, new[stays]])
    return np.reshape(numbers, (-1, *image.shape[:2])).astype(np.int16)


def masks_of(numbers: Array) -> Array:
    """The segments (s, h, w) bool of numbers (r, h, w)."""
    every = np.arange(numbers.max() + 1)
    return (numbers == every[:, None, None, None]).any(1)


def embed(
    target: Target,
    batch: Batch,
    layer: str | None = None,
    resolutions: Sequence[int] = RESOLUTIONS,
) -> list[Segments]:
    """The segments of each image, each as psi sees it with its box as large as the image; computed once for a batch.

    Raises:
        NotApplicable: a layer without channels and positions.
    """
    key = ("segments", target, layer or target.layer, tuple(resolutions))
    if key not in batch.memo:
        batch.memo[key] = [_embed(target, x, layer, resolutions) for x in batch.x]
    return batch.memo[key]


@torch.no_grad()
def _embed(
    target: Target, x: Tensor, layer: str | None, resolutions: Sequence[int]
) -> Segments:
    """The segments of an image x (c, h, w)."""
    numbers = segment(x.permute(1, 2, 0).cpu().numpy(), resolutions)
    masks = masks_of(numbers)
    boxes = _boxes(masks)
    acts = []
    for mask, box in zip(torch.from_numpy(masks).split(CHUNK), boxes.split(CHUNK)):
        mask = mask[:, None].to(x.device)
        grey = torch.where(mask, x, x.new_tensor(GREY))  # (m, c, h, w)
        grid = F.affine_grid(box.to(x.device), list(grey.shape), align_corners=False)
        patch = F.grid_sample(
            grey, grid, mode="bicubic", padding_mode="border", align_corners=False
        )
        psi = target.features(patch.clamp(0, 1), layer)  # (m, K, u, v)
        if psi.ndim != 4:
            raise NotApplicable(
                f"{layer or target.layer} of {target.name} has no channels and positions"
            )
        acts.append(psi.mean(dim=(2, 3)))
    return Segments(numbers, torch.cat(acts))


def _boxes(masks: Array) -> Tensor:
    """Affine maps (s, 2, 3) from a patch to the box of each segment (s, h, w) in the image, both in [-1, 1]."""
    count, height, width = masks.shape
    boxes = torch.zeros(count, 2, 3)
    for k, (axis, side) in enumerate(((1, width), (2, height))):
        there = masks.any(axis)  # (s, side)
        low = there.argmax(1)
        high = side - there[:, ::-1].argmax(1)
        boxes[:, k, k] = torch.from_numpy((high - low) / side)
        boxes[:, k, 2] = torch.from_numpy((high + low) / side - 1)
    return boxes


def gradients(target: Target, psi: Tensor, c: int, layer: str | None = None) -> Tensor:
    """dy^c / da of feature maps (n, K, u, v), (n, K): what the logit gains if a channel grows everywhere."""
    out = []
    for part in psi.split(CHUNK):
        part = part.detach().requires_grad_()
        y = target.head(part, layer)[:, c]
        (g,) = torch.autograd.grad(y.sum(), part)
        out.append(g.sum(dim=(2, 3)))
    return torch.cat(out)


def discover(
    acts: Sequence[Tensor],
    pool: Tensor,
    gradient: Tensor,
    *,
    clusters: int = 25,
    rng: Generator,
) -> Concepts:
    """The concepts of a class.

    Args:
        acts: a(.) (s_i, K) of the segments of each of its n images.
        pool: (p, K) a(.) of the segments that random sets are drawn from.
        gradient: (n, K) ``gradients`` of its images.
    """
    every = torch.cat(list(acts))  # (s, K)
    image = np.repeat(np.arange(len(acts)), [len(a) for a in acts])  # (s,)
    means = _k_means(every, clusters, rng)
    sets = [random_set(pool, CLOSEST, rng) for _ in range(SETS + 1)]
    sets, in_place = sets[:SETS], sets[SETS]  # the last takes the place of a concept
    by_chance = [tcav(in_place, some, gradient) for some in sets]
    centres, scores, radii = [], [], []
    for j, centre in enumerate(means.cluster_centers_):
        rows = np.flatnonzero(means.labels_ == j)
        images = len(np.unique(image[rows]))
        if not common(len(rows), images, len(acts)):
            continue
        centre = torch.from_numpy(centre).to(every)  # (K,)
        concept = _closest(every, rows, centre)
        score = [tcav(concept, some, gradient) for some in sets]
        if paired_t(score, by_chance) <= LEVEL:
            centres.append(centre)
            scores.append(np.mean(score))
            radii.append(float((concept - centre).norm(dim=1).max()))
    kept = torch.stack(centres) if centres else every.new_zeros(0, every.shape[1])
    return Concepts(kept, every.new_tensor(scores), every.new_tensor(radii))


def show(found: Concepts, segments: Segments) -> Shown | None:
    """The map of an image, and those of the concepts; None where no segment is left, or there is no concept.

    Segments of equal score are ordered by their distance to the concept, by less than 0.001: the pixels above a level
    are whole segments.
    """
    if not len(found):
        return None
    distance, nearest = torch.cdist(segments.acts, found.centres).min(dim=1)  # (s,)
    stays = distance <= found.radii[nearest]
    if not stays.any():
        return None
    order = distance.argsort(stable=True).argsort()
    importance = found.scores[nearest] + 1e-3 * (1 - order / len(order))
    heatmap = segments.levels((importance * stays).cpu().numpy())
    maps = []
    for concept in found.scores.argsort(descending=True, stable=True):
        own = stays & (nearest == concept)
        maps.append(segments.levels(own.cpu().numpy()))
    return Shown(heatmap, np.stack(maps) > 0)


def _k_means(points: Tensor, clusters: int, rng: Generator) -> KMeans:
    """k-means of points (s, K); fewer clusters where there are fewer points."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    seed = int(rng.integers(2**31))
    means = KMeans(min(clusters, len(points)), n_init=10, random_state=seed)
    with warnings.catch_warnings():
        # fewer different segments than clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        return means.fit(points.double().cpu().numpy())


def _closest(points: Tensor, rows: Array, centre: Tensor) -> Tensor:
    """The ``CLOSEST`` of the ``rows`` of points (s, K) to the centre (K,), (p, K)."""
    distance = (points[rows] - centre).square().sum(dim=1)
    order = distance.argsort(stable=True)[:CLOSEST]
    return points[rows[order.cpu().numpy()]]


def common(s: int, m: int, n: int) -> bool:
    """Whether a cluster of s segments from m of n images is a concept."""
    return s > LEAST and (
        m > 0.5 * s or (m > 0.25 * s and m > 0.25 * n) or (m > 0.1 * s and m > 0.5 * n)
    )


def random_set(pool: Tensor, n: int, rng: Generator) -> Tensor:
    """n rows of the pool, or all."""
    rows = rng.permutation(len(pool))[:n]
    return pool[torch.from_numpy(rows).to(pool.device)]


def cav(concept: Tensor, others: Tensor) -> Tensor:
    """v (K,), from ``others`` (r, K) towards ``concept`` (p, K).

    Ridge regression on labels of +1 and -1, both sides with the same weight; the penalty is 0.01 of the mean variance
    of a dimension.
    """
    x = torch.cat([concept, others]).double()
    y = torch.cat([torch.ones(len(concept)), -torch.ones(len(others))]).to(x)
    weight = torch.cat([_equal_weights(concept), _equal_weights(others)]).to(x)
    x = x - weight @ x
    cross = x.T @ (weight[:, None] * x)  # (K, K), the mean of y being 0
    penalty = (0.01 * cross.diagonal().mean()).clamp(min=1e-12)
    ridge = penalty * torch.eye(len(cross)).to(x)
    v = torch.linalg.solve(cross + ridge, x.T @ (weight * y))
    return v.to(concept)


def _equal_weights(side: Tensor) -> Tensor:
    """Weights (p,) of one side, which sum to 0.5."""
    return torch.full((len(side),), 0.5 / len(side))


def tcav(concept: Tensor, others: Tensor, gradient: Tensor) -> float:
    """Share of images whose class score grows towards the concept."""
    grows = gradient @ cav(concept, others) > 0
    return float(grows.float().mean())


def paired_t(a: Sequence[float], b: Sequence[float]) -> float:
    """p of the two-sided paired t-test; 1 where no pair differs, 0 where all differ by the same."""
    d = np.subtract(a, b)
    if np.ptp(d) == 0:
        return float(d[0] == 0)
    error = d.std(ddof=1) / np.sqrt(len(d))
    t = -abs(d.mean()) / error
    return float(2 * stdtr(len(d) - 1, t))


def work(
    facts: Facts, layer: str | None, images: int, segments: Sequence[int], clusters: int
) -> Work:
    """Counted work (``benchmark.shared.work``) of the concepts of every class and the segments of new images.

    Args:
        images: of each class; segments, clusters: as of ``embed`` and ``discover``.
    """
    n, m = facts.reference, min(facts.reference, images * facts.classes)
    total = n * (facts.forward(layer) + facts.logits) + facts.images * facts.logits
    total = total + embedded(facts, layer, n + facts.images, segments)
    return total + discovered(facts, layer, m, facts.classes, clusters)


def embedded(facts: Facts, layer: str | None, n: int, segments: Sequence[int]) -> Work:
    """psi of the segments of n images."""
    asked = sum(segments)
    _, height, width = facts.shape
    pixels = asked * height * width  # of one image's segments
    psi = n * asked * facts.forward(layer)
    rest = facts.work(fits=n * pixels, bytes=8 * pixels)
    return psi + rest


def discovered(
    facts: Facts, layer: str | None, n: int, classes: int, clusters: int
) -> Work:
    """Gradients of n images, and CAVs of about half of the clusters of each class: K x K products over 80 segments for
    each of 20 sets."""
    K = facts.size(layer)[0]
    cavs = classes * (1 + clusters / 2) * SETS * 2 * CLOSEST * K**2
    return n * facts.gradient(layer) + facts.work(passes=cavs)
