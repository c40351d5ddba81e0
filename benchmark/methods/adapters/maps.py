"""Heat maps that were made elsewhere: ``maps.npz``, an array for each network.

    np.savez("maps.npz", **{"digits/cnn/seed=0": maps, ...})     # (n, h, w), in the order of the explained images

The networks are named as ``target.name``; ``glassbench evaluate --images FILE`` writes the images that are to be explained.
Nothing is explained again: what would have to be is not applicable, and so is a network without maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.random import Generator

from benchmark import store
from benchmark.api import Batch, Explanation, NotApplicable, Target


@dataclass
class Maps:
    """The maps of one file."""

    name: str = field(init=False)
    maps: Mapping[str, np.ndarray] = field(init=False, repr=False)
    precomputed = True  # the same for whatever batch

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """The maps of ``target``. Raises NotApplicable if the file has none, ValueError if they do not fit the images."""
        if target.name not in self.maps:
            raise NotApplicable(
                f"the file has no maps of {target.name}; it has {', '.join(sorted(self.maps))}"
            )
        return Explanation(heatmaps=self.maps[target.name])


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The maps of ``options["file"]``; ``options["name"]`` is what the board calls them."""
    method = Maps()
    method.name = str(options.get("name") or Path(options["file"]).stem)
    method.maps = store.read_npz(Path(options["file"]))
    return method
