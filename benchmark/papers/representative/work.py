"""What the methods and the paper's experiments do, counted (``benchmark.shared.work``).

``fits``: distances that k-means takes in one round, bits that the greedy cover reads in one round, and pixels that are
ranked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.papers.representative.concept_sets import ACE, NEAREST
from benchmark.papers.representative.replicate import RANDOM
from benchmark.shared import concepts
from benchmark.shared.work import FLOAT, Facts, Work, of_method, tensors

# of a line, until its two largest logits differ by less than ``boundaries.GAP``: 40 at most
HALVINGS = 20
KEPT = 6  # boundaries of a region: 4 to 11 of 50 on the networks that were measured
RESTARTS = 10  # of k-means
DOUBLE = 8  # bytes


def method(facts: Facts, how: Any) -> Work:
    """Regions of the reference images nearest to the clusters' centres; each image by the region that covers it."""
    m, n, layer = facts.reference, facts.images, how.layer
    V = how.per_class * facts.classes
    centres = min(V, m)
    fit = m * (facts.forward(layer) + facts.logits)
    fit += clusters(facts, m, V, layer)
    fit += regions(facts, m, centres, how.variant, how.n_boundaries, layer)
    psi = n * facts.forward(layer)
    return fit + psi + covered(facts, n, centres, layer)


def reused(facts: Facts, how: Any) -> Work:
    """Channel weights of the centres' images, and maps of all images by those."""
    m, n = facts.reference, facts.images
    V = how.per_class * facts.classes
    centres = min(V, m)
    layer = getattr(how.of, "layer", None)
    psi = (m + n) * facts.forward(layer)
    weights = of_method(how.of, facts.explaining(centres))
    nearest = Work(passes=n * centres * facts.units(layer))
    return psi + clusters(facts, m, V, layer) + weights + nearest


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
    """Tables 1 and 2: in each run regions of each way and size, and the channel weights of each method at the
    centres."""
    m, S = min(references, facts.train), min(unseen, facts.test)
    V, asked = min(per_class * facts.classes, m), sorted({*sizes, n_boundaries})
    run = m * (facts.forward() + facts.logits)
    run = run + clusters(facts, m, V) + (m + S) * Work(passes=V * facts.units())
    for way in ways:
        found = regions(facts, m, V, way, max(asked))
        run = run + (found + len(asked) * covered(facts, m + S, V) + masked(facts, S))
    for entry in methods:
        run += of_method(facts.build(entry), facts.explaining(V)) + masked(facts, S)
    total = S * (facts.forward() + facts.logits)
    if ace is not None:
        fitted = min(m, V * ace.get("images", m))
        run += of_sets(facts, ace, m, V, fitted) + masked(facts, S)
        total += embedded(facts, ace, S)
    if ways:
        run += of_method(facts.build(RANDOM), facts.explaining(S)) + masked(facts, S)
    images = (m + S) * (facts.pixels + facts.units())
    of_regions = (1 + len(asked) * len(ways)) * V * KEPT * facts.units()
    return (total + runs * run).beside(tensors(images, of_regions))


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
    """Figs. 2 and 4: each input's region, or channel weights, on the most similar images: masks of all of them, for
    each method."""
    m = min(references, facts.train)
    inputs, top = min(inputs, m), min(max(*K, shown + 1), m)
    d = facts.units()
    out = m * (facts.forward() + facts.logits)
    out += regions(facts, m, inputs, way, n_boundaries)
    # distances by the region, and by psi
    out += inputs * Work(passes=m * d * (1 + 2 * KEPT), fits=m)
    explainers = 2 + len(methods)  # with RI and the random map
    for entry in methods:
        out += of_method(facts.build(entry), facts.explaining(inputs))
    if ace is not None:
        explainers += 1
        fitted = inputs * min(ace.get("images", NEAREST), m)
        out += of_sets(facts, ace, m, inputs, fitted)
    out += explainers * inputs * masked(facts, top)
    copied = top * (facts.pixels + 2 * d)  # the similar images of an input
    values = 4 * explainers * inputs * top
    held = tensors(m * (facts.pixels + d), inputs * KEPT * d, copied, values)
    return out.beside(held + DOUBLE * inputs * m)


# --------------------------------------------------------------------------------------------- parts


def clusters(facts: Facts, m: int, k: int, layer: str | None = None) -> Work:
    """k-means of m feature maps: in the coordinates of their Gram matrix where there are fewer images than
    dimensions."""
    d, V = facts.units(layer), min(k, m)
    coordinates = min(m, d)
    copies, gram = 1, 0
    if d > m:
        copies, gram = 2, m**2 * d
    passes = gram + V * m * d
    fits = RESTARTS * V * m * coordinates
    maps = tensors(copies * m * d, 2 * V * d)
    return Work(passes, fits, maps + 3 * DOUBLE * m * coordinates)


def regions(
    facts: Facts, m: int, V: int, way: str, q: int, layer: str | None = None
) -> Work:
    """P(x) of V inputs among m reference images: boundaries on the lines that leave each input's class, or one sample
    for all."""
    d = facts.units(layer)
    samples, lines = 1, Work()
    if way == "boundary":
        samples, lines = V, HALVINGS * facts.head(layer)
    sampled = samples * q * (lines + facts.gradient(layer))
    passes = samples * q * m * d
    passes += V * q * d
    held = tensors(4 * q * d, q * m)
    compared = Work(passes, V * q * m, held)
    kept = tensors(V * KEPT * d)
    return (sampled + compared).beside(kept)


def covered(facts: Facts, n: int, V: int, layer: str | None = None) -> Work:
    """Which of V regions cover n images, and the maps of those that do."""
    d = facts.units(layer)
    kept = V * KEPT
    passes = n * (kept + V) * d
    held = tensors(2 * kept * d, 2 * n * kept)
    return Work(passes, n * V, held)


def of_sets(
    facts: Facts, ace: Mapping[str, Any], m: int, sets: int, fitted: int
) -> Work:
    """ACE on so many sets of m reference images, with ``fitted`` images in all."""
    how = facts.build({"use": ACE} | dict(ace))
    found = concepts.discovered(facts, how.layer, fitted, sets, how.clusters)
    return embedded(facts, ace, m) + found


def embedded(facts: Facts, ace: Mapping[str, Any], n: int) -> Work:
    """The segments of n images, as ACE cuts them."""
    how = facts.build({"use": ACE} | dict(ace))
    return concepts.embedded(facts, how.layer, n, how.segments)


def masked(facts: Facts, n: int) -> Work:
    """A forward pass of n images that keep some pixels, which are ranked."""
    pixels = n * facts.shape[1] * facts.shape[2]
    ranked = Work(fits=pixels, bytes=(2 * FLOAT + DOUBLE) * pixels)
    return n * facts.logits + ranked
