"""Representative Interpretations as a plug-in: a few decision regions that explain many images at once.

Idea: cut out of the network's linear boundaries a few convex regions that hold many images of one class and none of
another; explain a new image by the region that covers it, with the channel weights of that region's own input image.

    method = RepresentativeInterpretations(variant="boundary", n_boundaries=50).fit(target, reference, rng)
    e = method.explain(target, batch, rng)      # e.heatmaps (n, h, w) in [0, 1]; e.labels (n,), -1 = in no region
    e.concept_maps                              # (n, 5, h, w) of the first boundaries of the image's own region

Theory: Eq. 1-5 of the paper, in ``boundaries`` (Q), ``cover`` (Alg. 1), ``regions`` (heat maps, ranking) and
``clusters`` (which reference images are interpreted). An image in several regions belongs to the one that covers most
reference images; one in none is explained by the nearest cluster's region and has no label.

Reference: Lam, Chu, Torgonskiy, Pei, Zhang, Wang. Finding Representative Interpretations on Convolutional Neural
Networks. ICCV 2021, arXiv:2108.06384.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Batch, Explanation, Target
from benchmark.papers.representative.boundaries import (
    Way,
    prunes,
    sample,
    warn_if_curved,
)
from benchmark.papers.representative.clusters import Clusters, cluster
from benchmark.papers.representative.regions import (
    Region,
    assign,
    by_interpretation,
    coverage,
    regions,
)
from benchmark.shared import feature_maps
from benchmark.shared.choices import check_choices

SHOWN = 5  # boundary maps per image, as many as XNN has x-features


@dataclass
class RepresentativeInterpretations:
    """RI at ``layer`` (default: the target's own choice).

    Args:
        variant: "boundary", the authors' code: Q is sampled at the decision boundary, redundant boundaries are dropped;
            "reference", the text: Q is sampled at reference images, and all boundaries of the greedy stay.
        n_boundaries: |Q|.
        per_class: |V| is this times the number of classes of the network, also where one is never predicted.
        pruned: drop redundant boundaries after the greedy; None: as the variant does.
        delta: reference images of other classes that a region may hold; None: tau(x), as few as Q allows.
    """

    variant: Way = "boundary"
    n_boundaries: int = 50
    per_class: int = 10
    pruned: bool | None = None
    delta: int | None = None
    layer: str | None = None
    _V: Clusters | None = field(default=None, init=False, repr=False)
    _regions: list[Region] = field(default_factory=list, init=False, repr=False)
    name = "RI"
    paper = "representative"
    offers = ("heatmaps", "concept_maps", "labels", "size")

    def __post_init__(self) -> None:
        check_choices(self)
        if self.n_boundaries < 1 or self.per_class < 1:
            raise ValueError(f"RI: |Q| and |V| are at least 1; not {self}")
        if self.delta is not None and self.delta < 0:
            raise ValueError(f"RI: delta is a number of images, not {self.delta}")

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Finds the regions.

        Raises:
            NotApplicable: a layer without channels and positions, or reference images that are all predicted alike.
            ValueError: more boundaries than reference images (``variant="reference"``).
        """
        psi = feature_maps.at(target, reference, self.layer)
        classes = target(reference).argmax(dim=1)
        warn_if_curved(target, self.layer)
        self._V = cluster(psi, self.per_class * len(target.classes), rng)
        seeds = torch.from_numpy(self._V.seeds).to(psi.device)
        sampled = sample(
            target,
            psi,
            psi[seeds],
            self.variant,
            self.n_boundaries,
            rng,
            classes=classes,
            classes_x=classes[seeds],
            layer=self.layer,
            chunk=reference.chunk,
        )
        (self._regions,) = regions(
            sampled,
            psi,
            classes,
            psi[seeds],
            classes[seeds],
            pruned=prunes(self.variant) if self.pruned is None else self.pruned,
            delta=self.delta,
        )
        return self

    def work(self, facts):
        """See ``benchmark.shared.work``."""
        from benchmark.papers.representative import work

        return work.method(facts, self)

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """Heat maps by the region that covers each image, its class, and the maps of its first boundaries."""
        psi, size = target.features(batch, self.layer), batch.x.shape[-2:]
        covered = coverage(self._regions, psi)
        chosen, labels = assign(self._regions, covered, self._V.nearest(psi))
        maps = psi.new_zeros(len(psi), *size)  # (n, h, w)
        of_boundaries = psi.new_zeros(len(psi), SHOWN, *size)  # (n, k, h, w)
        for v, rows in by_interpretation(chosen):
            region = self._regions[v]
            maps[rows] = region.heat_maps(psi[rows], size)
            of_boundaries[rows] = region.boundary_maps(psi[rows], size, SHOWN)
        sizes = [len(region) for region in self._regions]
        covered = [region.representativeness for region in self._regions]
        return Explanation(
            heatmaps=maps,
            concept_maps=of_boundaries,
            labels=labels,
            size={
                "regions": len(sizes),
                "boundaries": np.mean(sizes),
                "representativeness": np.mean(covered),
            },
        )
