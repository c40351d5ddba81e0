"""Random numbers from named seeds: the seed of a cell is a hash of its name, passed on as a Generator.

The same name gives the same numbers on every machine, and no cell's numbers depend on which cells ran before it.
"""

from __future__ import annotations

import hashlib

import numpy as np


def seed_hash(*name: object) -> int:
    """A 63-bit seed from the parts of a name, e.g. ``seed_hash("train", "digits", "vgg11", 0)``."""
    text = "\x1f".join(map(str, name))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*name: object) -> np.random.Generator:
    """A numpy generator seeded by the name."""
    return np.random.default_rng(seed_hash(*name))
