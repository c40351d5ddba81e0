"""What a cell reads: its data set, its network, the images to explain and the images to fit on.

Each is kept until another one is asked for, so that cells of one network share it.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from benchmark import data, engine, store, zoo
from benchmark.api import Batch, Target
from benchmark.pipeline.cells import Cell

_CHUNK_PIXELS = 2**20  # pixels of one channel that go through a network together


@functools.lru_cache(maxsize=1)
def _dataset(path: Path, stamp: float) -> data.Dataset:
    return data.load(path)


def forget() -> None:
    """Drop the network and the images in memory: a method may have spoilt them."""
    _target.cache_clear()
    _batch.cache_clear()
    _reference.cache_clear()


def load_dataset(cell: Cell) -> data.Dataset:
    path = cell.paths.data(cell.dataset)
    return _dataset(path, path.stat().st_mtime if path.exists() else 0.0)


@functools.lru_cache(maxsize=1)
def _target(weights: Path, stamp: float) -> Target:
    return zoo.load(weights, device=engine.device())


def load_target(cell: Cell) -> Target:
    card = store.read_json(cell.weights.with_suffix(".json"))
    if "failed" in card:
        raise ValueError(f"its network could not be trained: {card['failed']}")
    return _target(
        cell.weights, cell.weights.stat().st_mtime if cell.weights.exists() else 0.0
    )


@functools.lru_cache(maxsize=1)
def _batch(network: Cell) -> Batch:
    return _pick(network, "test", network.images)


def load_batch(cell: Cell) -> Batch:
    """The explained images, the same for all methods and seeds of a data set. Kept while the target stays the same, so
    that psi(x) is computed once for all its methods."""
    return _batch(replace(cell, method=None, reference=0))


@functools.lru_cache(maxsize=1)
def _reference(network: Cell) -> Batch:
    return _pick(network, "train", network.reference)


def load_reference(cell: Cell) -> Batch:
    """The images to fit on, the same for all methods and seeds of a data set, kept as ``load_batch`` keeps the others."""
    return _reference(replace(cell, method=None, images=0))


def _pick(cell: Cell, split: str, n: int) -> Batch:
    dataset = load_dataset(cell)
    pixels = dataset.input_shape[1] * dataset.input_shape[2]
    chunk = min(64, max(8, _CHUNK_PIXELS // pixels))
    return dataset.batch(
        split, dataset.sample(split, n), device=engine.device(), chunk=chunk
    )
