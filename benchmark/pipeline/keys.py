"""What decides a number: one table, and the keys made from it.

    step_hash("train")              # of the code that all networks depend on
    training_hash("cnn")            # of the code that one network depends on: with its own builder, and no other's
    explain_key(cell)               # of one explanation: code, method, images, network
    score_keys(cell)                # of its scores, by metric
    own_score_key(cell, ref)        # of its scores by a metric of the user
    again_keys(cell)                # of those by metrics that call its method again
    dependencies("explain")         # the files behind a step, for ``dvc.yaml``

A result is a file that holds the key it was computed under. A file with the right key is never computed again; one with
another key always is. Keys depend on what code means (``code_hash``), not on its wording, layout and location. Whatever
needs to know whether a number comes from this code asks this module: the steps, ``provenance.json``, ``verify``,
``evaluate``, a cluster's workers, and the ``deps`` of ``dvc.yaml``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark import store
from benchmark.api import MetricSpec
from benchmark.data import Dataset
from benchmark.methods import adapters
from benchmark.methods.metric_refs import MetricRef
from benchmark.methods.registry import (
    MethodRef,
    calling_metrics,
    method_files,
    scoring_metrics,
)
from benchmark.pipeline.cells import Cell
from benchmark.store.code_hash import CODE, Code
from benchmark.store.hashes import file_hash, key_of
from benchmark.zoo import NETS, nets
from benchmark.zoo.checkpoints import data_hash
from benchmark.zoo.own import OwnNetwork

_COMPUTING = ("benchmark.engine.machine:single_thread",)  # how a worker computes
_FOLLOWING = "benchmark.zoo.following:Following"
# For each step, the definitions that its numbers come from, besides the method, metric, experiment or data set itself.
STEPS: Mapping[str, tuple[str, ...]] = {
    "prepare": ("benchmark.data.download:main",),
    "train": (*_COMPUTING, "benchmark.zoo.training:train_many"),
    "explain": (*_COMPUTING, "benchmark.pipeline.protocol:attempt"),
    "score": (
        *_COMPUTING,
        "benchmark.pipeline.inputs:load_batch",
        "benchmark.pipeline.protocol:measure",
        "benchmark.pipeline.score_rows:_scored",
    ),
    "again": (
        *_COMPUTING,
        "benchmark.pipeline.inputs:load_batch",
        "benchmark.pipeline.inputs:load_reference",
        "benchmark.pipeline.inputs:load_target",
        "benchmark.pipeline.again:measure_again",
        "benchmark.pipeline.score_rows:_scored",
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
    """The hash of the code that every number of a step depends on."""
    return training_code(CODE) if step == "train" else CODE.hash(STEPS[step])


@functools.cache
def training_hash(net: str) -> str:
    """The hash of the code that trains a network of ``NETS``: its builder, and what all networks depend on."""
    return training_code(CODE, builder_entry(net))


def training_code(code: Code, *builders: str) -> str:
    """The hash of what trains the networks of ``builders``, whatever other networks there are."""
    return code.hash([*STEPS["train"], *builders], code.registered(nets.__name__))


def builder_entry(net: str) -> str:
    """The builder of a network as an entry of ``CODE``."""
    build = NETS[net].build
    return f"{build.__module__}:{build.__name__}"


@functools.cache
def _builder_hash(net: str) -> str:
    """The hash of a network's builder, and of what follows it from layer to layer; empty where the steps hold the
    builder, as those of ``zoo.nets``."""
    if not nets.has_own_file(net):
        return ""
    return CODE.hash([builder_entry(net), _FOLLOWING])


def method_hash(ref: MethodRef) -> str:
    """The hash of a method's code and settings, and of the methods that its settings name."""
    code = method_code(ref)
    settings = sorted((key, repr(value)) for key, value in ref.settings.items())
    named = [method_hash(other) for other in ref.named]
    library = adapters.version(ref.path.stem)
    return key_of(code, ref.cls, settings, named, library)


def method_code(ref: MethodRef) -> str:
    """The hash of a method's code: its class with all that it refers to; of an external file, the whole file."""
    return _code_of(ref.path, ref.cls if _is_plain(ref) else "")


def method_files_of(ref: MethodRef) -> list[Path]:
    """The files behind a method, and behind those that its settings name."""
    refs = [ref, *ref.named]
    try:
        return CODE.files(method_entry(each) for each in refs)
    except (SyntaxError, KeyError, ValueError, OSError):
        return [each.path for each in refs]


def method_entry(ref: MethodRef) -> str:
    """A method's code as an entry of ``CODE``."""
    return _entry(ref.path, ref.cls if _is_plain(ref) else "")


def _is_plain(ref: MethodRef) -> bool:
    """Is it a class of a file of this project? An adapter creates its classes at run time."""
    return ref.own and ref.path.resolve().is_relative_to(CODE.root)


def metric_hash(spec: MetricSpec) -> str:
    """The hash of a metric's code, with its declaration."""
    return _function_hash(spec.function)


def own_metric_hash(ref: MetricRef) -> str:
    """The hash of a metric that is not of this project: its whole file, and the setting that is asked for."""
    settings = sorted((key, repr(value)) for key, value in ref.settings.items())
    return key_of(_code_of(ref.path, ""), ref.function, settings)


def experiment_hash(experiment: Callable[..., Any]) -> str:
    """The hash of the code of a paper's experiment, with the methods that it names in its code."""
    return _function_hash(experiment)


@functools.cache  # of what this process runs: asked for each metric of each cell
def _function_hash(function: Callable[..., Any]) -> str:
    return _code_of(Path(inspect.getsourcefile(function)), function.__name__)


def _code_of(path: Path, definition: str) -> str:
    """The hash of a definition in a file, or of the whole file (in a package, with its siblings).

    If Python cannot parse the file, it is the hash of its bytes.
    """
    whole = not definition and (path.parent / "__init__.py").exists()
    files = sorted(path.parent.glob("*.py")) if whole else [path]
    try:
        return CODE.hash(_entry(file, definition) for file in files)
    except (SyntaxError, KeyError, ValueError, OSError):
        return store.sha256(*files) if path.exists() else "missing"


def _entry(path: Path, definition: str) -> str:
    return f"{_named_in(CODE.root, path.absolute())}:{definition}".rstrip(":")


@functools.cache  # asked for each metric of each cell
def _named_in(root: Path, path: Path) -> str:
    """The file of code at ``path``, below ``root`` if it lies there."""
    name = path.resolve()
    if name.is_relative_to(root):
        name = name.relative_to(root)
    return str(name)


# --------------------------------------------------------------------------------------------- keys


def own_key(network: OwnNetwork, dataset: Dataset) -> str:
    """The key of a network of one's own: its files and settings, the images, the code that checks and follows it."""
    code = CODE.hash(["benchmark.zoo.own:bring", _FOLLOWING])
    return key_of("bring", network.digest(), data_hash(dataset), code)


def network_hash(cell: Cell) -> str:
    """The hash of a cell's network: its weights, and its builder where no step holds it."""
    weights, card = file_hash(cell.weights), cell.weights.with_suffix(".json")
    builder = _builder_hash(_net_of(card, file_hash(card)))
    return key_of(weights, builder) if builder else weights


@functools.cache
def _net_of(card: Path, digest: str) -> str:
    """The name of a network, from its card; empty for one that could not be trained."""
    try:
        return str(store.read_json(card).get("net", ""))
    except (store.StoreError, AttributeError):
        return ""


def explain_key(cell: Cell) -> str:
    """The key of a cell's explanation."""
    data = file_hash(cell.paths.data(cell.dataset))
    return key_of(
        "explain",
        cell.images,
        cell.reference,
        data,
        network_hash(cell),
        method_hash(cell.method),
        step_hash("explain"),
    )


def score_keys(cell: Cell) -> dict[str, str]:
    """The keys of a cell's scores, by metric: one that is new or changed is computed by itself."""
    shared = _scored(cell)
    found = {}
    for spec in scoring_metrics().values():
        found[spec.name] = key_of(*shared, metric_hash(spec))
    return found


def again_keys(cell: Cell) -> dict[str, str]:
    """The keys of a cell's scores by the metrics that call its method again, by metric."""
    shared = _called(cell)
    found = {}
    for spec in calling_metrics().values():
        found[spec.name] = key_of(*shared, metric_hash(spec))
    return found


def own_score_key(cell: Cell, ref: MetricRef, *, calls: bool = False) -> str:
    """The key of a cell's scores by a metric that is not of this project.

    Args:
        calls: whether it calls the method again.
    """
    shared = _called(cell) if calls else _scored(cell)
    return key_of(*shared, own_metric_hash(ref))


def _called(cell: Cell) -> tuple[Any, ...]:
    """What the scores of a cell depend on besides a metric that calls its method again."""
    data = file_hash(cell.paths.data(cell.dataset))
    sizes = cell.images, cell.reference, cell.again, cell.refits
    code = method_hash(cell.method), step_hash("again")
    return "again", *sizes, network_hash(cell), data, *code


def _scored(cell: Cell) -> tuple[Any, ...]:
    """What the scores of a cell depend on besides the metric."""
    maps = file_hash(cell.explanation)
    data = file_hash(cell.paths.data(cell.dataset))
    code = step_hash("score")
    return "score", cell.images, maps, network_hash(cell), data, code


def replicate_key(task: Any, experiment: Callable[..., Any]) -> str:
    """The key of a unit of a paper's experiment (``replicate.Task``); methods in its settings count with their code."""
    cell = task.cell
    data = file_hash(cell.paths.data(task.dataset)) if task.dataset else ""
    weights = network_hash(cell) if task.target else ""
    methods = [method_hash(ref) for ref in _named_methods(task.settings)]
    return key_of(
        "replicate",
        task.experiment,
        task.seed,
        task.settings,
        step_hash("replicate"),
        experiment_hash(experiment),
        methods,
        data,
        weights,
    )


def _named_methods(value: Any) -> list[MethodRef]:
    """The methods that settings name, at any depth."""
    if isinstance(value, str):
        return [MethodRef.parse(value)] if ".py:" in value else []
    if isinstance(value, Mapping) and "use" in value:
        return [MethodRef.parse(value)]
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    found = []
    for part in inner:
        found += _named_methods(part)
    return found


# --------------------------------------------------------------------------------------------- files

# Folders that ``dvc.yaml`` names as a whole: dvc.lock lists every entry of every stage, and is written after each.
_WHOLE = (
    "baselines",
    "benchmark/leaderboard",
    "benchmark/metrics",
    "benchmark/papers",
    "benchmark/shared",
    "benchmark/splits",
    "benchmark/zoo",
)


def dependencies(step: str) -> list[str]:
    """The code that a step depends on as ``dvc.yaml`` names it: files and folders, relative to the project, sorted."""
    methods = [str(path.relative_to(CODE.root)) for path in method_files()]
    entries = {
        "prepare": _files("datasets/*.py"),
        "explain": methods,
        "score": [*STEPS["again"], *methods, *_files("benchmark/metrics/*.py")],
        "replicate": [*methods, *_files("benchmark/papers/*/replicate.py")],
        "report": _files("benchmark/papers/*/*.py"),
    }
    files = CODE.files([*STEPS[step], *entries.get(step, [])])
    return sorted(
        {_named(step, path.relative_to(CODE.root).as_posix()) for path in files}
    )


def _files(pattern: str) -> list[str]:
    return [str(path.relative_to(CODE.root)) for path in CODE.root.glob(pattern)]


def _named(step: str, file: str) -> str:
    """How ``dvc.yaml`` names a file: by its path, its folder, or the item of the stage's matrix."""
    if file.startswith("datasets/"):
        return "datasets/${item.dataset}.py"
    if step == "prepare":  # what draws one data set is nothing to the others
        return file
    return next((folder for folder in _WHOLE if file.startswith(f"{folder}/")), file)
