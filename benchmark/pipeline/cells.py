"""A cell: one method on one trained target, the paths of its files, and their contents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark import store
from benchmark.api import Explanation
from benchmark.engine import Unit
from benchmark.methods.describe import declared_offers, describe
from benchmark.methods.registry import MethodRef
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import UnknownName

_FIELDS = (
    "heatmaps",
    "concept_maps",
    "labels",
    "scores",
    "decoded",
    "reference",
    "squares",
    "applies",
)


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
    again: int = 0  # of these images, explained again by metrics that call the method
    refits: int = (
        0  # other networks that a method which learns may be fitted on for them
    )
    # The project's folder travels along: a worker may have started elsewhere.
    root: Path = field(default_factory=lambda: store.ROOT)
    evaluation: str = (
        ""  # folder below results/ for its outputs, where that is not the profile's
    )

    @property
    def paths(self) -> store.Paths:
        return store.Paths(self.profile, self.root)

    @property
    def made(self) -> store.Paths:
        """The paths of its explanation and scores."""
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
    def again_scores(self) -> Path:
        """Its scores by the metrics that call the method again."""
        return self.scores.with_name(f"{self.scores.stem}.again.npz")

    @property
    def name(self) -> str:
        network = f"{self.dataset}/{self.target}/seed={self.seed}"
        if not self.method:
            return network
        setting = store.setting_text(self.method.settings)
        return f"{network} {self.method.label} {setting}".rstrip()

    @property
    def title(self) -> str:
        """What people read: ``digits/cnn-0 GradCAM``, with the settings of the method."""
        network = f"{self.dataset}/{self.target}-{self.seed}"
        if not self.method:
            return network
        setting = store.setting_text(self.method.settings)
        return f"{network} {self.method.cls} {setting}".rstrip()


# --------------------------------------------------------------------------------------------- files of cells


def write_explanation(path: Path, e: Explanation, meta: Mapping[str, Any]) -> None:
    """Write an explanation with its meta: method, paper, setting, status, reason and key as JSON."""
    meta = {"reason": "", **meta, "size": dict(e.size), "offers": sorted(e.offers())}
    arrays = {"meta": np.array(json.dumps(meta, sort_keys=True))}
    for name in _FIELDS:
        value = getattr(e, name)
        if value is not None:
            arrays[name] = value
    store.write_npz(path, arrays)


def read_explanation(path: Path) -> tuple[Explanation, dict[str, Any]]:
    """An explanation and its meta.

    Raises:
        StoreError: a file that is missing or damaged.
    """
    with store.reading(path):
        arrays = store.read_npz(path)
        meta = json.loads(str(arrays.pop("meta")))
        return Explanation(**arrays, size=meta["size"]), meta


def read_heatmaps(path: Path) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The heat maps of an explanation, and to which images they apply; None where it has none. Nothing else is read.

    Raises:
        StoreError: a file that is missing or damaged.
    """
    arrays = store.read_npz(path, ["heatmaps", "applies"])
    return arrays.get("heatmaps"), arrays.get("applies")


def read_meta(path: Path) -> dict[str, Any]:
    """The meta of an explanation; its arrays are not read.

    Raises:
        StoreError: a file that is missing or damaged.
    """
    with store.reading(path):
        text = store.read_npz(path, ["meta"])["meta"]
        return json.loads(str(text))


def who(cell: Cell) -> dict[str, str]:
    """The method, paper and setting of a cell, as rows show them."""
    method, paper, setting = describe(cell.method)
    return {"method": method, "paper": paper, "setting": setting}


def read_cell(cell: Cell) -> tuple[Explanation, dict[str, Any]]:
    """The explanation of a cell and its meta; if the file is missing or damaged, those of a failed cell."""
    try:
        return read_explanation(cell.explanation)
    except store.StoreError as error:
        return Explanation(), who(cell) | {"status": "failed", "reason": str(error)}


def cell_meta(cell: Cell) -> dict[str, Any]:
    """The meta of a cell's explanation; if the file is missing or damaged, that of a failed cell."""
    try:
        return read_meta(cell.explanation)
    except store.StoreError as error:
        return who(cell) | {"status": "failed", "reason": str(error)}


def finished(path: Path) -> dict[str, Any]:
    """The meta of an explanation, {} if there is none. Its arrays are not read: ``store.is_whole`` checks them."""
    try:
        return read_meta(path)
    except store.StoreError:
        return {}


def known_offers(cell: Cell) -> frozenset[str]:
    """The fields that a cell's explanation would have, as far as known: what its method declares, else what it offered
    elsewhere in the same results; empty if nothing is known."""
    declared = declared_offers(cell.method)
    if declared:
        return declared
    found: set[str] = set()
    for file in cell.made.explanations("").glob(f"*/*/{cell.method.slug}.npz"):
        found |= set(finished(file).get("offers", []))
    return frozenset(found)


def in_turn(units: Iterable[Unit]) -> list[Unit]:
    """Units of cells, one network after the other: what a worker remembers of a network serves all of its methods.

    Args:
        units: the first argument of each is its cell.
    """
    turns: dict[tuple[str, str, int], int] = {}
    found = []
    for unit in units:
        cell = unit.arguments[0]
        network = cell.dataset, cell.target, cell.seed
        turn = turns.setdefault(network, len(turns))
        found.append(replace(unit, turn=turn))
    return found


def remove_others(folder: Path, keep: set[Path], besides: Iterable[Path] = ()) -> None:
    """Remove the files of cells that the profile no longer has.

    Args:
        keep: the files that it asks for.
        besides: files that stay too, whatever it asks for.

    Raises:
        StoreError: the profile asks for nothing here, though there are finished files: probably a mistake.
    """
    others = set(besides)
    files = [
        path for path in folder.rglob("*") if path.is_file() and path not in others
    ]
    if files and not keep:
        raise store.StoreError(
            f"the profile asks for nothing in {folder}, which holds {len(files)} finished files; "
            "name methods, seeds or experiments, or remove the folder"
        )
    kept = set(keep)
    for path in keep:  # with the half of a training that an interrupted run left
        for suffix in (".safetensors", ".json"):
            kept.add(path.with_name(f"{path.stem}.partial{suffix}"))
    for path in files:
        if path not in kept:
            path.unlink()


def made(profile: Profile) -> store.Paths:
    """The paths of the explanations and scores of a profile, or of an evaluation on its data and networks."""
    return store.Paths(profile.evaluation or profile.name)


def cells(profile: Profile, dataset: str) -> list[Cell]:
    """Every (target, seed, method) of a data set that the profile asks for.

    Raises:
        UnknownName: before any work, a wrong class or setting, or two methods with one name or one file.
    """
    found = []
    for target, seed, recipe in profile.trainings(dataset):
        if not recipe.explain:
            continue
        wanted = profile.explained(dataset, target)
        _refuse_equal_files(wanted.methods)
        _refuse_equal_names(wanted.methods)
        for ref in wanted.methods:
            cell = Cell(
                profile.name,
                dataset,
                target,
                seed,
                ref,
                wanted.images,
                wanted.reference,
                again=wanted.again.images if wanted.again.on(seed) else 0,
                refits=wanted.again.refits,
                evaluation=profile.evaluation,
            )
            found.append(cell)
    return found


def _refuse_equal_files(refs: Iterable[MethodRef]) -> None:
    """Results of an external file keep their place wherever it lies, so two of one name would share it."""
    placed: dict[str, MethodRef] = {}
    for ref in refs:
        other = placed.setdefault(ref.slug, ref)
        if other.path != ref.path:
            raise UnknownName(
                f"{other.file} and {ref.file} have one name, and both a class {ref.cls}; rename a file or a class"
            )


def _refuse_equal_names(refs: Iterable[MethodRef]) -> None:
    named: dict[tuple[str, str], MethodRef] = {}
    for ref in refs:
        name, _, setting = describe(ref)
        other = named.setdefault((name, setting), ref)
        if other is not ref:
            raise UnknownName(
                f"two methods are called {name!r} with the same settings: {other.file} and {ref.file}"
            )


def network_files(cell: Cell) -> tuple[Path, ...]:
    """The files that a cell reads of its data set and its network."""
    files = []
    if cell.dataset:
        files.append(cell.paths.data(cell.dataset))
    if cell.target:
        files += [cell.weights, cell.weights.with_suffix(".json")]
    return tuple(files)
