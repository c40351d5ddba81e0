"""What the methods and the paper's experiments do, counted (``benchmark.shared.work``).

``fits``: distances that k-means takes in one round, bits that the greedy cover reads in one round, and pixels that are ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.papers.representative.replicate import ACE, NEAREST, RANDOM
from benchmark.shared.work import FLOAT, Facts, Work, of_method, tensors

HALVINGS = (
    20  # of a line, until its two largest logits differ by less than ``boundaries.GAP``: 40 at most
)
KEPT = 6  # boundaries of a region: 4 to 11 of 50 on the networks that were measured
RESTARTS = 10  # of k-means
DOUBLE = 8  # bytes


def method(facts: Facts, how: Any) -> Work:
    """Regions of the reference images nearest to the clusters' centres; each image by the region that covers it."""
    m, n, V = facts.reference, facts.images, how.per_class * facts.classes
    fit = m * (facts.forward(how.layer) + facts.logits) + clusters(facts, m, V, how.layer)
    fit += regions(facts, m, min(V, m), how.variant, how.n_boundaries, how.layer)
    return fit + n * facts.forward(how.layer) + covered(facts, n, min(V, m), how.layer)


def reused(facts: Facts, how: Any) -> Work:
    """Channel weights of the centres' images, and maps of all images by those."""
    m, n, V = facts.reference, facts.images, how.per_class * facts.classes
    layer = getattr(how.of, "layer", None)
    nearest = Work(passes=n * min(V, m) * facts.units(layer))
    weights = of_method(how.of, facts.explaining(min(V, m)))
    return (m + n) * facts.forward(layer) + clusters(facts, m, V, layer) + weights + nearest


def unseen(
    facts: Facts,
    *,
    references: int,
    unseen: int,
    runs: int,
    n_boundaries: int,
    sizes: Sequence[int],
    per_class: int,
    methods: Sequence[str | Mapping[str, Any]],
    ace: Mapping[str, Any] | None,
    ways: Sequence[str],
    **_: Any,
) -> Work:
    """Tables 1 and 2: in each run regions of each way and size, and the channel weights of each method at the centres."""
    m, S = min(references, facts.train), min(unseen, facts.test)
    V, asked = min(per_class * facts.classes, m), sorted({*sizes, n_boundaries})
    run = (
        m * (facts.forward() + facts.logits)
        + clusters(facts, m, V)
        + (m + S) * Work(passes=V * facts.units())
    )
    for way in ways:
        run += (
            regions(facts, m, V, way, max(asked))
            + len(asked) * covered(facts, m + S, V)
            + masked(facts, S)
        )
    for entry in methods:
        run += of_method(facts.build(entry), facts.explaining(V)) + masked(facts, S)
    if ace is not None:
        concepts = facts.build({"use": ACE} | dict(ace))
        fitted = V * of_method(concepts, facts.explaining(0, min(NEAREST, max(1, m // V))))
        run += fitted + of_method(concepts, facts.explaining(S)) + masked(facts, S)
    if ways:
        run += of_method(facts.build(RANDOM), facts.explaining(S)) + masked(facts, S)
    held = tensors(
        (m + S) * (facts.pixels + facts.units()),
        (1 + len(asked) * len(ways)) * V * KEPT * facts.units(),
    )
    return (S * (facts.forward() + facts.logits) + runs * run).beside(held)


def similar(
    facts: Facts,
    *,
    references: int,
    inputs: int,
    K: Sequence[int],
    n_boundaries: int,
    way: str,
    methods: Sequence[str | Mapping[str, Any]],
    ace: Mapping[str, Any] | None,
    shown: int,
    **_: Any,
) -> Work:
    """Figs. 2 and 4: each input's region, or channel weights, on the most similar images: masks of all of them, for each method."""
    m = min(references, facts.train)
    inputs, top, d = min(inputs, m), min(max(*K, shown + 1), m), facts.units()
    out = m * (facts.forward() + facts.logits) + regions(facts, m, inputs, way, n_boundaries)
    out += inputs * Work(
        passes=m * d * (1 + 2 * KEPT), fits=m
    )  # distances by the region, and by psi
    explainers = 2 + len(methods)  # with RI and the random map
    for entry in methods:
        out += of_method(facts.build(entry), facts.explaining(inputs))
    if ace is not None:
        explainers += 1
        out += inputs * of_method(
            facts.build({"use": ACE} | dict(ace)), facts.explaining(top, min(NEAREST, m))
        )
    out += explainers * inputs * masked(facts, top)
    copied = top * (facts.pixels + 2 * d)  # the similar images of an input
    held = tensors(m * (facts.pixels + d), inputs * KEPT * d, copied, 4 * explainers * inputs * top)
    return out.beside(held + DOUBLE * inputs * m)


# --------------------------------------------------------------------------------------------- parts


def clusters(facts: Facts, m: int, k: int, layer: str | None = None) -> Work:
    """k-means of m feature maps: in the coordinates of their Gram matrix where there are fewer images than dimensions."""
    d, V = facts.units(layer), min(k, m)
    gram = m**2 * d if d > m else 0
    held = tensors((1 + (d > m)) * m * d, 2 * V * d) + 3 * DOUBLE * m * min(m, d)
    return Work(gram + 2 * V * m * d, RESTARTS * V * m * min(m, d), held)


def regions(facts: Facts, m: int, V: int, way: str, q: int, layer: str | None = None) -> Work:
    """P(x) of V inputs among m reference images: boundaries on the lines that leave each input's class, or one sample for all."""
    d, samples = facts.units(layer), V if way == "boundary" else 1
    lines = HALVINGS * facts.head(layer) if way == "boundary" else Work()
    sampled = samples * q * (lines + facts.gradient(layer))
    compared = Work(samples * q * m * d + V * q * d, V * q * m, tensors(4 * q * d, q * m))
    return (sampled + compared).beside(tensors(V * KEPT * d))


def covered(facts: Facts, n: int, V: int, layer: str | None = None) -> Work:
    """Which of V regions cover n images, and the maps of those that do."""
    d = facts.units(layer)
    return Work(n * V * (KEPT + 1) * d, n * V, tensors(2 * V * KEPT * d, 2 * n * V * KEPT))


def masked(facts: Facts, n: int) -> Work:
    """A forward pass of n images that keep some pixels, which are ranked."""
    area = facts.shape[1] * facts.shape[2]
    return n * facts.logits + Work(fits=n * area, bytes=(2 * FLOAT + DOUBLE) * n * area)
