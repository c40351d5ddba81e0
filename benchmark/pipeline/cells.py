"""A cell: one method on one trained target, where its files lie, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import store
from benchmark.api import Explanation
from benchmark.methods.describe import declared_offers, describe
from benchmark.methods.registry import MethodRef
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import UnknownName

_FIELDS = ("heatmaps", "concept_maps", "labels", "scores", "decoded", "reference")


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
    root: Path = field(
        default_factory=lambda: store.ROOT
    )  # travels along: a worker may have started elsewhere
    evaluation: str = (
        ""  # folder below results/ for what is made, where that is not the profile's
    )

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
        return self.made.explanation(
            self.dataset, self.target, self.seed, self.method.slug
        )

    @property
    def scores(self) -> Path:
        method = self.method.slug if self.method else "network"
        return self.made.score(self.dataset, self.target, self.seed, method)

    @property
    def name(self) -> str:
        method = (
            f" {self.method.stem} {store.setting_text(self.method.settings)}".rstrip()
            if self.method
            else ""
        )
        return f"{self.dataset}/{self.target}/seed={self.seed}{method}"


# --------------------------------------------------------------------------------------------- files of cells


def write_explanation(path: Path, e: Explanation, meta: Mapping[str, Any]) -> None:
    arrays = {
        name: getattr(e, name) for name in _FIELDS if getattr(e, name) is not None
    }
    meta = {"reason": "", **meta, "size": dict(e.size), "offers": sorted(e.offers())}
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


def read_cell(cell: Cell) -> tuple[Explanation, dict[str, Any]]:
    """The explanation of a cell; a missing or damaged file is a failed cell."""
    try:
        return read_explanation(cell.explanation)
    except store.StoreError as error:
        return Explanation(), who(cell) | {"status": "failed", "reason": str(error)}


def cell_meta(cell: Cell) -> dict[str, Any]:
    """The meta of a cell's explanation; of a missing or damaged file, that of a failed cell."""
    try:
        return read_meta(cell.explanation)
    except store.StoreError as error:
        return who(cell) | {"status": "failed", "reason": str(error)}


def finished(path: Path) -> dict[str, Any]:
    """The meta of an explanation, {} where there is none. Its arrays are not read: ``store.is_whole`` checks them."""
    try:
        return read_meta(path)
    except store.StoreError:
        return {}


def known_offers(cell: Cell) -> frozenset[str]:
    """The fields of the explanation that a cell would have, as far as is known: what its method declares, else what it
    offered elsewhere in the same results; empty where nothing is known."""
    if declared := declared_offers(cell.method):
        return declared
    files = sorted(cell.made.explanations("").glob(f"*/*/{cell.method.slug}.npz"))
    return frozenset(
        name for file in files for name in finished(file).get("offers", [])
    )


def remove_others(folder: Path, keep: set[Path]) -> None:
    """Remove files of cells that the profile no longer has.

    Raises:
        StoreError: the profile asks for nothing here, though something is finished: more likely a slip than a wish.
    """
    if not keep and (
        finished_files := [path for path in folder.rglob("*") if path.is_file()]
    ):
        raise store.StoreError(
            f"the profile asks for nothing in {folder}, which holds {len(finished_files)} finished files; "
            "name methods, seeds or experiments, or remove the folder"
        )
    keep = keep | {
        path.with_name(f"{path.stem}.partial{suffix}")
        for path in keep
        for suffix in (".safetensors", ".json")
    }
    for path in folder.rglob("*") if folder.exists() else ():
        if path.is_file() and path not in keep:
            path.unlink()


def made(profile: Profile) -> store.Paths:
    """Where explanations and scores of a profile, or of an evaluation on its data and networks, lie."""
    return store.Paths(profile.evaluation or profile.name)


def cells(profile: Profile, dataset: str) -> list[Cell]:
    """Every (target, seed, method) of a data set that the profile asks for."""
    wanted = profile.explained(dataset)
    named: dict[tuple[str, str], MethodRef] = {}
    for ref in (
        wanted.methods
    ):  # a wrong class or setting, or a name that is taken, is said before any work
        name, _, setting = describe(ref)
        if (other := named.setdefault((name, setting), ref)) is not ref:
            raise UnknownName(
                f"two methods are called {name!r} with the same settings: {other.file} and {ref.file}"
            )
    return [
        Cell(
            profile.name,
            dataset,
            target,
            seed,
            ref,
            wanted.images,
            wanted.reference,
            evaluation=profile.evaluation,
        )
        for target, seed, recipe in profile.trainings(dataset)
        if recipe.explain
        for ref in wanted.methods
    ]


def network_files(cell: Cell) -> tuple[Path, ...]:
    """What a cell reads of its network and data set."""
    network = (cell.weights, cell.weights.with_suffix(".json")) if cell.target else ()
    return (*((cell.paths.data(cell.dataset),) if cell.dataset else ()), *network)
