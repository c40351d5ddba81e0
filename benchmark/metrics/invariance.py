"""Input invariance: does the map stay what it is when network and image change to the same computation?

A network whose first bias absorbs a constant c gives to x + c the answers of the given network to x.
It computes the same, so a map should be the same.

Weakness: a map that ignores network and image passes, and so does one that looks at differences of pixels alone: a
random map and an edge map score 0, the best value. It is a test to be failed, by methods that multiply by the image or
compare it with a fixed one.

Figures, on networks of profile offline (digits, toybirds): random map 0, edge map 0; so have Grad-CAM, Grad-CAM++,
Score-CAM and Excitation Backprop, none of which looks at the value of a pixel.

Reference: Kindermans, Hooker, Adebayo, Alber, Schuett, Daehne, Erhan, Kim, The (un)reliability of saliency methods,
2019 (arXiv:1711.00867).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from benchmark.api import Array, Batch, Explain, Explanation, Target, calling_metric
from benchmark.metrics.again import like, maps_of
from benchmark.shared.variants import shifted

FAMILY = "axioms"
ROUNDING = 1e-5  # of x + c and of what follows from it


@calling_metric(
    needs={"heatmaps", "explain"},
    calls=1,
    track="heatmap",
    better="lower",
    unit="ratio",
    version=1,
    source="Kindermans et al. 2019, Sec. 2",
    settings=({"shift": -1.0},),
    partial=True,
)
def input_invariance(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    explain: Explain,
    *,
    shift: float = -1.0,
) -> Array:
    """Input invariance. Does the map change when a constant is added to the image and the network takes it off again?

    ||Phi_2(x + c) - Phi(x)|| / ||Phi(x)||, (n,), 0 or more: Phi_2 explains the network whose first affine step, the
    normalisation of the image, absorbs c = ``shift``. NaN where Phi(x) is 0; up to 1e-5 is rounding and counts as 0.

    Range: 0 and more.
    Weakness: A random map and an edge map score 0, the best value: a test to be failed, not to be won.
    """
    key = "shifted", target, shift
    if key not in batch.memo:
        batch.memo[key] = like(batch, batch.x + shift), shifted(target, shift)
    images, network = batch.memo[key]
    phi, phi_2 = maps_of(e), maps_of(explain(images, network))
    apart, size = (np.linalg.norm(m, axis=(1, 2)) for m in (phi_2 - phi, phi))
    found = apart / np.where(size > 0, size, np.nan)
    return np.where(found <= ROUNDING, 0, found)
