"""Loads what a cell reads: its data set, its network, the images to explain and the images to fit on.

Each is kept until another one is loaded, so that the cells of a network share it.
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
    """Drop the network and the images in memory: a method may have changed them."""
    _target.cache_clear()
    _batch.cache_clear()
    _reference.cache_clear()


def load_dataset(cell: Cell) -> data.Dataset:
    """The data set of a cell."""
    path = cell.paths.data(cell.dataset)
    return _dataset(path, _stamp(path))


def _stamp(path: Path) -> float:
    """When a file was changed; 0 if it does not exist."""
    return path.stat().st_mtime if path.exists() else 0.0


@functools.lru_cache(maxsize=1)
def _target(weights: Path, stamp: float) -> Target:
    return zoo.load(weights, device=engine.device())


def load_target(cell: Cell) -> Target:
    """The trained network of a cell.

    Raises:
        ValueError: it could not be trained. StoreError: a file that is missing or damaged.
    """
    card = store.read_json(cell.weights.with_suffix(".json"))
    if "failed" in card:
        raise ValueError(f"its network could not be trained: {card['failed']}")
    return _target(cell.weights, _stamp(cell.weights))


@functools.lru_cache(maxsize=1)
def _batch(network: Cell) -> Batch:
    return _pick(network, "test", network.images)


def load_batch(cell: Cell) -> Batch:
    """The explained images, the same for all methods and seeds of a data set.

    They are kept while the target stays the same, so that psi(x) is computed once for all its methods.
    """
    return _batch(replace(cell, method=None, reference=0))


@functools.lru_cache(maxsize=1)
def _reference(network: Cell) -> Batch:
    return _pick(network, "train", network.reference)


def load_reference(cell: Cell) -> Batch:
    """The images to fit on, the same for all methods and seeds of a data set; kept like those of ``load_batch``."""
    return _reference(replace(cell, method=None, images=0))


def _pick(cell: Cell, split: str, n: int) -> Batch:
    """A sample of n images, in chunks that fit the device."""
    dataset = load_dataset(cell)
    _, height, width = dataset.input_shape
    chunk = min(64, max(8, _CHUNK_PIXELS // (height * width)))
    rows = dataset.sample(split, n)
    return dataset.batch(split, rows, device=engine.device(), chunk=chunk)
