"""A cell: one method on one trained target. Its files, what it reads, and the key that says whether it is done.

A cell is a file with a key, the hash of all that it depends on: a file with the right key is never made again, one with
another key always is.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import data, engine, registry, store, zoo
from benchmark.api import Batch, Explanation, Target
from benchmark.isolation import Limits
from benchmark.names import UnknownName
from benchmark.registry import MethodRef

_FIELDS = ("heatmaps", "concept_maps", "labels", "scores", "decoded", "reference")
_NAME = re.compile(r"[\w .,:+*/()'-]{1,60}")  # of a stranger's method
_DESCRIBE = Limits(seconds=60, gigabytes=4)  # for opening a stranger's file
_CHUNK_PIXELS = 2**20  # pixels of one channel that go through a network together


@dataclass(frozen=True)
class Cell:
    """One method on one trained target. ``method`` None stands for the network itself."""

    profile: str
    dataset: str
    target: str
    seed: int
    method: MethodRef | None = None
    images: int = 64  # explained, of the test split
    reference: int = 256  # for fit, of the training split
    root: Path = field(default_factory=lambda: store.ROOT)  # travels along: a worker may have started elsewhere
    evaluation: str = ""  # folder below results/ for what is made, where that is not the profile's

    @property
    def paths(self) -> store.Paths:
        return store.Paths(self.profile, self.root)

    @property
    def made(self) -> store.Paths:
        """Where its explanation and scores lie."""
        return store.Paths(self.evaluation or self.profile, self.root)

    @property
    def weights(self) -> Path:
        return self.paths.target(self.dataset, self.target, self.seed)

    @property
    def explanation(self) -> Path:
        return self.made.explanation(self.dataset, self.target, self.seed, self.method.slug)

    @property
    def scores(self) -> Path:
        method = self.method.slug if self.method else "network"
        return self.made.score(self.dataset, self.target, self.seed, method)

    @property
    def name(self) -> str:
        method = f" {self.method.stem} {store.setting_text(self.method.settings)}".rstrip() if self.method else ""
        return f"{self.dataset}/{self.target}/seed={self.seed}{method}"


# --------------------------------------------------------------------------------------------- files of cells


def write_explanation(path: Path, e: Explanation, meta: Mapping[str, Any]) -> None:
    arrays = {name: getattr(e, name) for name in _FIELDS if getattr(e, name) is not None}
    meta = {"seconds": 0.0, "reason": "", **meta, "size": dict(e.size)}
    store.write_npz(path, arrays | {"meta": np.array(json.dumps(meta, sort_keys=True))})


def read_explanation(path: Path) -> tuple[Explanation, dict[str, Any]]:
    with store.reading(path):
        arrays = store.read_npz(path)
        meta = json.loads(str(arrays.pop("meta")))
        return Explanation(**arrays, size=meta["size"]), meta


def read_meta(path: Path) -> dict[str, Any]:
    with store.reading(path):
        return json.loads(str(store.read_npz(path, ["meta"])["meta"]))


def who(cell: Cell) -> dict[str, str]:
    return dict(zip(("method", "paper", "setting"), describe(cell.method), strict=True))


def describe(ref: MethodRef) -> tuple[str, str, str]:
    """(name, paper, setting) as rows show them. A stranger's file is opened in a process of its own; one that cannot say
    goes by the name of its class, and why it cannot is found when its cells run.

    Raises:
        UnknownName: no such class or setting.
    """
    return registry.describe(ref.build()) if ref.own else _described(replace(ref, file=str(ref.path.resolve())))


_seen: dict[str, tuple[str, str, str]] = {}


def _described(ref: MethodRef) -> tuple[str, str, str]:
    key = method_hash(ref)
    if key not in _seen:
        done = engine.alone(engine.Unit("describe", describe_here, (ref,), _DESCRIBE))
        if not done.error and "unknown" in done.result:
            raise UnknownName(done.result["unknown"])
        _seen[key] = (ref.cls, "user", store.setting_text(ref.settings)) if done.error else tuple(done.result["names"])
    return _seen[key]


def describe_here(ref: MethodRef) -> dict[str, Any]:
    """What ``describe`` asks, in this process.

    Raises:
        ValueError: a name that is no plain text.
    """
    try:
        found = registry.describe(ref.build())
    except UnknownName as error:
        return {"unknown": str(error)}
    if not _NAME.fullmatch(found[0]):
        raise ValueError(
            f"its name is {found[0][:80]!r}: up to 60 letters, digits, spaces and . , : + - * / ( ) ' are a name"
        )
    return {"names": found}


def read_cell(cell: Cell) -> tuple[Explanation, dict[str, Any]]:
    """The explanation of a cell; a missing or damaged file is a failed cell."""
    try:
        return read_explanation(cell.explanation)
    except store.StoreError as error:
        return Explanation(), who(cell) | {"status": "failed", "reason": str(error), "seconds": 0.0}


def finished(path: Path) -> dict[str, Any]:
    """The meta of an explanation that is there and whole, else {}."""
    try:
        return read_explanation(path)[1]
    except store.StoreError:
        return {}


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
    return _target(cell.weights, cell.weights.stat().st_mtime if cell.weights.exists() else 0.0)


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
    return dataset.batch(split, dataset.sample(split, n), device=engine.device(), chunk=chunk)


# --------------------------------------------------------------------------------------------- keys


def explain_key(cell: Cell) -> str:
    """Of a cell's explanation."""
    return key_of("explain", cell.images, cell.reference, file_hash(cell.paths.data(cell.dataset)), file_hash(cell.weights),
                  method_hash(cell.method), code_hash("explain"))  # fmt: skip


def score_key(cell: Cell) -> str:
    """Of a cell's scores."""
    return key_of("score", cell.images, file_hash(cell.explanation), file_hash(cell.weights),
                  file_hash(cell.paths.data(cell.dataset)), code_hash("score"))  # fmt: skip


def names(cell: Cell) -> tuple[object, ...]:
    return cell.dataset, cell.target, cell.seed, cell.method.slug


def key_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


@functools.cache
def _hash(path: Path, stamp: float) -> str:
    return store.sha256(path)


def file_hash(path: Path) -> str:
    return _hash(path, path.stat().st_mtime) if path.exists() else "missing"


@functools.cache
def code_hash(step: str) -> str:
    """Of the house's code that a step's numbers depend on."""
    here = Path(__file__).parent
    common = [
        "api.py",
        "attention.py",
        "cells.py",
        "concepts.py",
        "data.py",
        "excitation.py",
        "seeds.py",
        "run.py",
        "zoo",
    ]
    files = {"explain": common, "score": [*common, "metrics"], "replicate": [*common, "replicate.py", "metrics"]}
    return store.sha256(*(here / name for name in files[step]))


def method_hash(ref: MethodRef) -> str:
    """Of a method's code and settings, and of the code of methods that its settings name."""
    settings = sorted((key, str(value)) for key, value in ref.settings.items())
    return key_of(store.sha256(*sources(ref.path)), ref.cls, settings, [method_hash(other) for other in ref.named])


def sources(path: Path) -> list[Path]:
    """The files that a method's numbers depend on: its own; in a paper's package all but what is not the method."""
    if not (path.parent / "__init__.py").exists():
        return [path]
    left_out = ("__init__.py", "replicate.py", "settings.py", "figures.py", "verdicts.py")
    return sorted(p for p in path.parent.glob("*.py") if p.name not in left_out)


def remove_others(folder: Path, keep: set[Path]) -> None:
    """Files of cells that the profile no longer has."""
    keep = keep | {
        path.with_name(f"{path.stem}.partial{suffix}") for path in keep for suffix in (".safetensors", ".json")
    }
    for path in folder.rglob("*") if folder.exists() else ():
        if path.is_file() and path not in keep:
            path.unlink()
