"""What decides a number: the one table, and the keys made from it.

    step_hash("train")              # of the code that every network of a profile depends on
    explain_key(cell)               # of one explanation: code, method, images, network
    score_keys(cell)                # of its scores, by metric
    dependencies("explain")         # the files behind a step, for ``dvc.yaml``

A result is a file that holds the key it was made under. A file with the right key is never computed again; one with another
key always is. Keys hang on what code means (``code_hash``): its words, its layout and its place are no part of them. All
that asks "was this number made by this code?" asks here: the steps, ``provenance.json``, ``verify``, ``evaluate``, a
cluster's workers, and the ``deps`` of ``dvc.yaml``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark import store
from benchmark.api import MetricSpec
from benchmark.methods import adapters
from benchmark.methods.registry import MethodRef, method_files, metrics
from benchmark.pipeline.cells import Cell
from benchmark.store.code_hash import CODE
from benchmark.store.hashes import file_hash, key_of

_COMPUTING = ("benchmark.engine.machine:single_thread",)  # how a worker computes
# For each step, the definitions that its numbers come from, beside the method, metric, experiment or data set itself.
STEPS: Mapping[str, tuple[str, ...]] = {
    "prepare": ("benchmark.data.download:main",),
    "train": (*_COMPUTING, "benchmark.zoo.training:train_many"),
    "explain": (*_COMPUTING, "benchmark.pipeline.protocol:attempt"),
    "score": (
        *_COMPUTING,
        "benchmark.pipeline.inputs:load_batch",
        "benchmark.pipeline.protocol:measure",
        "benchmark.pipeline.score:_scored",
    ),
    "replicate": (
        *_COMPUTING,
        "benchmark.pipeline.replicate:perform",
        "benchmark.pipeline.replicate:_write",
    ),
    "report": ("benchmark.pipeline.report:write",),
}


# --------------------------------------------------------------------------------------------- code


@functools.cache
def step_hash(step: str) -> str:
    """Of the code that every number of a step depends on."""
    return CODE.hash(STEPS[step])


def method_hash(ref: MethodRef) -> str:
    """Of a method's code and settings, and of the code of methods that its settings name."""
    settings = sorted((key, repr(value)) for key, value in ref.settings.items())
    named = [method_hash(other) for other in ref.named]
    return key_of(
        method_code(ref), ref.cls, settings, named, adapters.version(ref.path.stem)
    )


def method_code(ref: MethodRef) -> str:
    """Of a method's code: its class with all that it refers to; of a file that is not ours, the whole file."""
    return _code_of(ref.path, ref.cls if _is_plain(ref) else "")


def method_files_of(ref: MethodRef) -> list[Path]:
    """The files behind a method, and behind those that its settings name."""
    try:
        return CODE.files(method_entry(each) for each in (ref, *ref.named))
    except (SyntaxError, KeyError, ValueError, OSError):
        return [each.path for each in (ref, *ref.named)]


def method_entry(ref: MethodRef) -> str:
    """A method's code as an entry of ``CODE``."""
    return _entry(ref.path, ref.cls if _is_plain(ref) else "")


def _is_plain(ref: MethodRef) -> bool:
    """Is it a class of one of our files? An adapter makes its classes as it runs."""
    return ref.own and ref.path.resolve().is_relative_to(CODE.root)


def metric_hash(spec: MetricSpec) -> str:
    """Of a metric's code, with its declaration."""
    return _function_hash(spec.function)


def experiment_hash(experiment: Callable[..., Any]) -> str:
    """Of the code of a paper's experiment, with the methods that it names by itself."""
    return _function_hash(experiment)


def _function_hash(function: Callable[..., Any]) -> str:
    return _code_of(Path(inspect.getsourcefile(function)), function.__name__)


def _code_of(path: Path, definition: str) -> str:
    """Of a definition in a file, or of the whole file, in a package with its siblings; of one that Python cannot read, its
    bytes."""
    whole = not definition and (path.parent / "__init__.py").exists()
    files = sorted(path.parent.glob("*.py")) if whole else [path]
    try:
        return CODE.hash(_entry(file, definition) for file in files)
    except (SyntaxError, KeyError, ValueError, OSError):
        return store.sha256(*files) if path.exists() else "missing"


def _entry(path: Path, definition: str) -> str:
    path = path.resolve()
    name = path.relative_to(CODE.root) if path.is_relative_to(CODE.root) else path
    return f"{name}:{definition}".rstrip(":")


# --------------------------------------------------------------------------------------------- keys


def explain_key(cell: Cell) -> str:
    """Of a cell's explanation."""
    data, weights = file_hash(cell.paths.data(cell.dataset)), file_hash(cell.weights)
    return key_of(
        "explain",
        cell.images,
        cell.reference,
        data,
        weights,
        method_hash(cell.method),
        step_hash("explain"),
    )


def score_keys(cell: Cell) -> dict[str, str]:
    """Of a cell's scores, by metric: one that is new or changed is computed by itself."""
    files = [
        file_hash(path)
        for path in (cell.explanation, cell.weights, cell.paths.data(cell.dataset))
    ]
    shared = ("score", cell.images, *files, step_hash("score"))
    return {
        spec.name: key_of(*shared, metric_hash(spec)) for spec in metrics().values()
    }


def replicate_key(task: Any, experiment: Callable[..., Any]) -> str:
    """Of a unit of a paper's experiment (``replicate.Task``); methods that its settings name count with their code."""
    cell = task.cell
    data = file_hash(cell.paths.data(task.dataset)) if task.dataset else ""
    weights = file_hash(cell.weights) if task.target else ""
    methods = [method_hash(ref) for ref in _named_methods(task.settings)]
    code = step_hash("replicate"), experiment_hash(experiment), methods
    return key_of(
        "replicate", task.experiment, task.seed, task.settings, *code, data, weights
    )


def _named_methods(value: Any) -> list[MethodRef]:
    """The methods that settings name, at any depth."""
    if isinstance(value, str):
        return [MethodRef.parse(value)] if ".py:" in value else []
    if isinstance(value, Mapping) and "use" in value:
        return [MethodRef.parse(value)]
    inner = (
        value.values()
        if isinstance(value, Mapping)
        else value
        if isinstance(value, (list, tuple))
        else ()
    )
    return [ref for part in inner for ref in _named_methods(part)]


# --------------------------------------------------------------------------------------------- files


# Folders that ``dvc.yaml`` names whole: dvc.lock lists every entry of every stage, and is written after each.
_WHOLE = (
    "baselines",
    "benchmark/leaderboard",
    "benchmark/metrics",
    "benchmark/papers",
    "benchmark/shared",
    "benchmark/zoo",
)


def dependencies(step: str) -> list[str]:
    """The code that a step depends on as ``dvc.yaml`` names it: files and folders, relative to the project, sorted."""
    methods = [str(path.relative_to(CODE.root)) for path in method_files()]
    papers = [
        str(path.relative_to(CODE.root))
        for path in (CODE.root / "benchmark" / "papers").glob("*/*.py")
    ]
    entries = {
        "prepare": [
            str(path.relative_to(CODE.root))
            for path in (CODE.root / "datasets").glob("*.py")
        ],
        "explain": methods,
        "score": [
            "benchmark/metrics/" + path.name
            for path in (CODE.root / "benchmark" / "metrics").glob("*.py")
        ],
        "replicate": [
            *methods,
            *(path for path in papers if path.endswith("/replicate.py")),
        ],
        "report": papers,
    }
    files = CODE.files([*STEPS[step], *entries.get(step, [])])
    return sorted(
        {_named(step, path.relative_to(CODE.root).as_posix()) for path in files}
    )


def _named(step: str, file: str) -> str:
    """How ``dvc.yaml`` names a file: by itself, by its folder, or by the item of the stage's matrix."""
    if file.startswith("datasets/"):
        return "datasets/${item.dataset}.py"
    if (
        step == "replicate"
        and file.startswith("benchmark/papers/")
        and file.count("/") > 2
    ):
        return "benchmark/papers/${item.paper}"
    if step == "replicate" and file.startswith("benchmark/papers/"):
        return file
    return next((folder for folder in _WHOLE if file.startswith(f"{folder}/")), file)
