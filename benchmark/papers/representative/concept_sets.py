"""ACE as the paper uses it: one interpretation from one set of reference images, reused on other images (Sec. 6.1).

    sets = ConceptSets(target, R, study.build({"use": ACE, "segments": [15, 50]}))
    found = sets.interpret(rows, c, rng)                # concepts of the images ``rows`` of R, for class c
    maps, keep = explain(found, sets.segments(batch))   # of other images, (n, h, w) each

Idea: a set is a cluster of k-means (Table 1, "the |V| sets of reference images that form the |V| clusters") or an image
with its 49 nearest (Figs. 2 and 4, App. C). Its concepts are those of all its segments, and their TCAV is for the class
that the network predicts on the image that the set stands for, as the channel weights of the other methods are. Random
sets come from all of R. R is cut and embedded once, whatever the number of sets.

The most important segments of an image are kept "until more than 20% pixels are kept", or until no more are left. An
image without any has no explanation: it is counted, not scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Array, Batch, Target
from benchmark.papers.representative.masked import whole_segments
from benchmark.shared.concepts import (
    Concepts,
    Segments,
    discover,
    embed,
    gradients,
    show,
)

ACE = "baselines/ace.py:ACE"
NEAREST = 50  # an image and its 49 nearest: a set of App. C


@dataclass(frozen=True, eq=False)
class ConceptSets:
    """ACE with the settings of ``how``, an ACE, on reference images R."""

    target: Target
    R: Batch
    how: object

    def segments(self, batch: Batch) -> list[Segments]:
        """The segments of each image; of R they are remembered."""
        return embed(self.target, batch, self.how.layer, self.how.segments)

    def interpret(self, rows: Array, c: int, rng: Generator) -> Concepts:
        """The concepts of the images ``rows`` (n,) of R for class c; there may be none."""
        acts = [one.acts for one in self.segments(self.R)]
        psi = self.target.features(self.R, self.how.layer)[torch.from_numpy(rows)]
        gradient = gradients(self.target, psi, c, self.how.layer)
        own = [acts[i] for i in rows]
        return discover(
            own, torch.cat(acts), gradient, clusters=self.how.clusters, rng=rng
        )


def explain(found: Concepts, segments: Sequence[Segments]) -> tuple[Array, Array]:
    """Maps (n, h, w) of n images by the concepts, and the pixels that are kept of each (n, h, w) bool: none where there
    is no explanation."""
    maps = np.zeros((len(segments), *segments[0].numbers.shape[1:]), np.float32)
    for image, own in zip(maps, segments):
        shown = show(found, own)
        if shown is not None:
            image[:] = shown.heatmap
    return maps, whole_segments(maps)


def nearest_first(rows: Array, psi: Tensor, centre: Tensor) -> Array:
    """``rows`` of feature maps psi (n, K, u, v), the nearest to the centre (d,) first."""
    members = psi[torch.from_numpy(rows)].flatten(1)
    distance = (members - centre).square().sum(dim=1)
    order = distance.argsort(stable=True)
    return rows[order.cpu().numpy()]
