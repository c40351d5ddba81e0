"""What the rows of a profile come from: hashes of code, data, weights and settings, versions and machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark import engine, store
from benchmark.methods import registry
from benchmark.pipeline import keys, replicate
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.settings import experiment
from benchmark.store import git, hashes
from benchmark.utils import devices
from benchmark.zoo import Recipe

_LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "torch",
    "torchvision",
    "pillow",
    "dvc",
    "glassbench",
)


def provenance(profile: Profile) -> dict[str, Any]:
    """What decides the rows of a profile (code, data, weights, settings, versions, machine), and ``made``: when and at
    which commit."""
    paths = store.Paths(profile.name)
    return {
        "profile": profile.name,
        "rows": store.ROWS_VERSION,
        **code(profile),
        "params": params_hash(profile),
        "data": {
            name: store.sha256(paths.data(name))[:16] for name in profile.datasets
        },
        "weights": weights(profile),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "machine": machine(),
        "made": made(),
    }


def code(profile: Profile) -> dict[str, Any]:
    """Hashes of the code that decides: by step, network, method, metric and experiment."""
    steps = {step: keys.step_hash(step) for step in keys.STEPS}
    nets = {name: keys.training_hash(name) for name in _nets(profile)}
    methods = {ref.use: keys.method_code(ref) for ref in profile.explain.methods}
    metrics = {
        name: keys.metric_hash(spec) for name, spec in registry.metrics().items()
    }
    experiments = {}
    for paper in profile.papers:
        for name in dict.fromkeys(
            task.experiment for task in replicate.tasks(profile, paper)
        ):
            experiments[f"{paper}.{name}"] = keys.experiment_hash(
                experiment(paper, name)
            )
    found = {
        "steps": _short(steps),
        "nets": _short(nets),
        "methods": _short(methods),
        "metrics": _short(metrics),
        "experiments": _short(experiments),
    }
    own = {ref.use: keys.own_metric_hash(ref) for ref in profile.explain.metrics}
    return found | {"own metrics": _short(own)} if own else found


def _nets(profile: Profile) -> list[str]:
    """The networks that the profile trains."""
    found = set()
    for recipes in profile.zoo.values():
        found |= {each.net for each in recipes.values() if isinstance(each, Recipe)}
    return sorted(found)


def _short(hashes: Mapping[str, str]) -> dict[str, str]:
    return {name: digest[:16] for name, digest in hashes.items()}


def params_hash(profile: Profile) -> str:
    """The hash of a profile's settings, whatever their layout in YAML."""
    return hashes.key_of(profile.as_mapping())[:16]


def weights(profile: Profile) -> dict[str, str]:
    """Hashes of the trained networks that exist."""
    paths, found = store.Paths(profile.name), {}
    for name in profile.datasets:
        for path in sorted(paths.targets(name).glob("*.safetensors")):
            if ".partial" not in path.name:
                found[f"{name}/{path.stem}"] = store.sha256(path)
    return _short(found)


def made() -> dict[str, Any]:
    """The date, the commit (empty where git names none), and the files that differ from it."""
    project = store.homes()[0]
    commit, _ = git.commit(project)
    status, _ = git.ask(project, "status", "--porcelain")
    changed = [line[3:] for line in status.decode().splitlines()]
    not_code = (
        "results/",
        "dvc.lock",
        "README.md",
        "params.yaml",
    )  # parameters have their own hash
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit,
        "changed_files": sorted(
            name for name in changed if not name.startswith(not_code)
        ),
    }


def kept(paths: store.Paths, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts, with the former ``made`` and ``verified`` if all that decides is unchanged: the same results are the
    same files."""
    try:
        then = store.read_json(paths.results / "provenance.json")
    except store.StoreError:
        return dict(facts)
    if _deciding(then) != _deciding(facts):
        return dict(facts)
    former = {key: then[key] for key in _WHEN if key in then}
    return {**facts, **former}


_WHEN = ("made", "verified")


def _deciding(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that rows depend on: not how they are shown, nor when they were made."""
    deciding = {key: value for key, value in facts.items() if key not in _WHEN}
    steps = dict(facts.get("steps", {}))
    steps.pop("report", None)
    return deciding | {"steps": steps}


def machine() -> dict[str, str]:
    """The kind of machine, as far as numbers depend on it."""
    found = devices.available()
    return {
        "cpu": _cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": "none" if found == "cpu" else devices.name(found),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "blas": engine.blas(),
    }


def _cpu() -> str:
    """The model of the CPU, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith(("model name", "flags")):
            _, model = line.split(":", 1)
            return model.strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
