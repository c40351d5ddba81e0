"""Precomputed heat maps: ``maps.npz``, one array per network.

    np.savez("maps.npz", **{"digits/cnn/seed=0": maps, ...})     # (n, h, w), in the order of the explained images

The networks are named as ``target.name``; ``glassbench evaluate --images FILE`` writes the images to explain. A network
without maps is not applicable, and so is whatever would need another explanation.
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
    precomputed = True  # the same whatever the batch

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Nothing to learn."""
        return self

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """The maps of ``target``.

        Raises:
            NotApplicable: the file has none.
        """
        if target.name not in self.maps:
            there = ", ".join(sorted(self.maps))
            raise NotApplicable(
                f"the file has no maps of {target.name}; it has {there}"
            )
        return Explanation(heatmaps=self.maps[target.name])


def adapt(name: str, options: Mapping[str, Any]) -> Any:
    """The maps of ``options["file"]``; ``options["name"]`` is what the board calls them."""
    file = Path(options["file"])
    method = Maps()
    method.name = str(options.get("name") or file.stem)
    method.maps = store.read_npz(file)
    return method
