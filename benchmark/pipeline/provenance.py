"""TODO."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
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
from benchmark.store import hashes

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
    """What decides the rows of a profile (code, data, weights, settings, versions, machine), and ``made``: when, and of
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
    """Hashes of the code that decides: by step, method, metric and experiment."""
    tasks = [
        task for paper in profile.papers for task in replicate.tasks(profile, paper)
    ]
    experiments = {
        f"{task.paper}.{task.experiment}": experiment(task.paper, task.experiment)
        for task in tasks
    }
    return {
        "steps": {step: keys.step_hash(step)[:16] for step in keys.STEPS},
        "methods": {
            f"{ref.file}:{ref.cls}": keys.method_code(ref)[:16]
            for ref in profile.explain.methods
        },
        "metrics": {
            name: keys.metric_hash(spec)[:16]
            for name, spec in registry.metrics().items()
        },
        "experiments": {
            name: keys.experiment_hash(function)[:16]
            for name, function in experiments.items()
        },
    }


def params_hash(profile: Profile) -> str:
    """Of a profile's settings, whatever their layout in YAML."""
    return hashes.key_of(profile.as_mapping())[:16]


def weights(profile: Profile) -> dict[str, str]:
    """Hashes of the trained networks that are there."""
    paths = store.Paths(profile.name)
    files = [
        path
        for name in profile.datasets
        for path in sorted(paths.targets(name).glob("*.safetensors"))
    ]
    return {
        f"{path.parent.name}/{path.stem}": store.sha256(path)[:16]
        for path in files
        if ".partial" not in path.name
    }


def made() -> dict[str, Any]:
    """When, and of which commit with which files changed."""
    changed = [line[3:] for line in _git("status", "--porcelain").splitlines()]
    no_code = (
        "results/",
        "dvc.lock",
        "README.md",
        "params.yaml",
    )  # the parameters have their own hash
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": sorted(
            name for name in changed if not name.startswith(no_code)
        ),
    }


def kept(paths: store.Paths, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts; where all that decides is what it was, with the ``made`` and ``verified`` of then, so that the same
    results are the same files."""
    try:
        then = store.read_json(paths.results / "provenance.json")
    except store.StoreError:
        return dict(facts)
    if _deciding(then) != _deciding(facts):
        return dict(facts)
    return {**facts, **{key: then[key] for key in ("made", "verified") if key in then}}


def _deciding(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that rows hang on: not how they are shown, nor when they were made."""
    steps = {
        step: code for step, code in facts.get("steps", {}).items() if step != "report"
    }
    return {
        key: value for key, value in facts.items() if key not in ("made", "verified")
    } | {"steps": steps}


def machine() -> dict[str, str]:
    """The kind of machine, as far as numbers depend on it."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith(("model name", "flags"))
        ]
        cpu = lines[0] if lines else cpu
    return {
        "cpu": cpu,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "blas": engine.blas(),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(store.ROOT), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.rstrip() if done.returncode == 0 else ""
