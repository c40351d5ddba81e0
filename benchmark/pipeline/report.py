"""From the cells of a profile to its folder in ``results/``: rows, board, reproduction, plots, page, provenance."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmark import data, engine, leaderboard, papers, store
from benchmark.methods import registry
from benchmark.pipeline import cells, inputs, keys, replicate, run
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.settings import experiment
from benchmark.utils import plot_style

GALLERY_IMAGES = 6
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "torch", "torchvision", "pillow", "dvc", "glassbench")


def write(profile: Profile) -> Path:
    """Collect all cells of the profile and write its results; returns their folder."""
    paths = store.Paths(profile.name)
    rows, instances = run.collect(profile)
    replicated, evidence, found = replicate.collect(profile, rows)
    store.write_rows(paths.rows, pd.concat([rows, replicated]) if len(replicated) else rows)
    store.write_values(paths.values, instances)
    facts = kept(paths, provenance(profile))
    leaderboard.build(
        store.read_rows(paths.rows),  # as a reader of the file sees them
        instances,
        gallery=gallery(profile),
        data_cards={name: data.load_card(paths.data(name)) for name in profile.datasets},
        target_cards=_target_cards(profile),
        provenance=facts,
        evidence=evidence,
        papers=chapters(found),
        reported=paths.reported,
        out=paths.results,
    )
    store.write_json(paths.results / "provenance.json", facts)
    return paths.results


def gallery(profile: Profile, images: int = GALLERY_IMAGES) -> dict[tuple[str, str], dict[str, Any]]:
    """For each (data set, target): the same few images under every method that draws maps; first seed."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for dataset in profile.datasets:
        first = {}
        for cell in run.cells(profile, dataset):
            if first.setdefault(cell.target, cell.seed) != cell.seed:
                continue
            meta = cells.read_meta(cell.explanation)
            if meta["status"] != "ok":
                continue
            explanation, _ = cells.read_explanation(cell.explanation)
            if explanation.heatmaps is None:
                continue
            entry = found.get((dataset, cell.target)) or found.setdefault((dataset, cell.target), _images(cell, images))
            entry["maps"][_label(meta)] = explanation.heatmaps[entry["rows"]]
    return found


def _images(cell: Cell, n: int) -> dict[str, Any]:
    """Images of n different classes where there are as many, with what the network says of them."""
    batch, target = inputs.load_batch(cell), inputs.load_target(cell)
    y = batch.y.cpu().numpy()
    first_of_class = np.unique(y, return_index=True)[1]
    rows = np.concatenate([np.sort(first_of_class), np.setdiff1d(np.arange(len(y)), first_of_class)])[:n]
    predicted = target(batch).argmax(1).cpu().numpy()
    return {
        "images": (batch.x.cpu().numpy()[rows] * 255).round().astype(np.uint8),
        "ids": batch.ids.cpu().numpy()[rows].tolist(),
        "true": [target.classes[c] for c in y[rows]],
        "predicted": [target.classes[c] for c in predicted[rows]],
        "boxes": None if batch.boxes is None else batch.boxes.cpu().numpy()[rows],
        "maps": {},
        "rows": rows,
    }


def _label(meta: Mapping[str, Any]) -> str:
    variant = store.setting_pairs(meta["setting"]).get("variant")
    return f"{meta['method']} ({variant})" if variant else meta["method"]


def _target_cards(profile: Profile) -> dict[tuple[str, str, int], dict[str, Any]]:
    paths = store.Paths(profile.name)
    return {
        (dataset, name, seed): store.read_json(paths.target(dataset, name, seed).with_suffix(".json"))
        for dataset in profile.datasets
        for name, seed, _ in profile.trainings(dataset)
    }


def chapters(found: Mapping[str, papers.Found]) -> list[dict[str, Any]]:
    """The papers' chapters, in their order; they are drawn side by side.

    Raises:
        RuntimeError: one could not be drawn.
    """
    units = [engine.Unit(paper, chapter, (paper, findings)) for paper, findings in found.items()]
    done = {one.unit.name: one for one in engine.run(units, label="report")}
    if failed := [f"{name}: {one.error}" for name, one in done.items() if one.error]:
        raise RuntimeError(f"no chapter for {'; '.join(failed)}")
    return [done[paper].result for paper in found]


def chapter(paper: str, found: papers.Found) -> dict[str, Any]:
    """A paper's part of the page: what it says of itself, and its pictures."""
    package, figures = papers.part(paper), papers.part(paper, "figures")
    pictures, lost = [], ""
    try:
        for picture in figures.pictures(found) if figures else ():
            kinds = ("png",) if picture.raster else ("svg", "png")
            files = {kind: plot_style.save(picture.figure, kind, dpi=110) for kind in kinds}
            name = f"{'photo-' * picture.photo}{plot_style.file_name(paper, picture.name)}"
            pictures.append(
                {"name": name, "title": picture.title, "caption": picture.caption, "apart": picture.apart, **files}
            )
    except Exception as error:  # a picture never costs the board
        lost = engine.one_line(error)
    return {"paper": paper, "title": package.TITLE, "citation": package.CITATION, "notes": list(package.NOTES),
            "pictures": pictures, "lost": lost}  # fmt: skip


# --------------------------------------------------------------------------------------------- provenance


def provenance(profile: Profile) -> dict[str, Any]:
    """What decides the rows of a profile (code, data, weights, settings, versions, machine), and ``made``: when, and of
    which commit."""
    paths = store.Paths(profile.name)
    return {
        "profile": profile.name,
        "rows": store.ROWS_VERSION,
        **code(profile),
        "params": params_hash(profile),
        "data": {name: store.sha256(paths.data(name))[:16] for name in profile.datasets},
        "weights": weights(profile),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "machine": machine(),
        "made": made(),
    }


def code(profile: Profile) -> dict[str, Any]:
    """Hashes of the code that decides: by step, method, metric and experiment."""
    tasks = [task for paper in profile.papers for task in replicate.tasks(profile, paper)]
    experiments = {f"{task.paper}.{task.experiment}": experiment(task.paper, task.experiment) for task in tasks}
    return {
        "steps": {step: keys.step_hash(step)[:16] for step in keys.STEPS},
        "methods": {f"{ref.file}:{ref.cls}": keys.method_code(ref)[:16] for ref in profile.explain.methods},
        "metrics": {name: keys.metric_hash(spec)[:16] for name, spec in registry.metrics().items()},
        "experiments": {name: keys.experiment_hash(function)[:16] for name, function in experiments.items()},
    }


def params_hash(profile: Profile) -> str:
    """Of a profile's settings, whatever their layout in YAML."""
    return keys.key_of(profile.as_mapping())[:16]


def weights(profile: Profile) -> dict[str, str]:
    """Hashes of the trained networks that are there."""
    paths = store.Paths(profile.name)
    files = [path for name in profile.datasets for path in sorted(paths.targets(name).glob("*.safetensors"))]
    return {f"{path.parent.name}/{path.stem}": store.sha256(path)[:16] for path in files if ".partial" not in path.name}


def made() -> dict[str, Any]:
    """When, and of which commit with which files changed."""
    changed = [line[3:] for line in _git("status", "--porcelain").splitlines()]
    no_code = ("results/", "dvc.lock", "README.md", "params.yaml")  # the parameters have their own hash
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": sorted(name for name in changed if not name.startswith(no_code)),
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
    steps = {step: code for step, code in facts.get("steps", {}).items() if step != "report"}
    return {key: value for key, value in facts.items() if key not in ("made", "verified")} | {"steps": steps}


def machine() -> dict[str, str]:
    """The kind of machine, as far as numbers depend on it."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith(("model name", "flags"))]  # fmt: skip
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
    done = subprocess.run(["git", "-C", str(store.ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.rstrip() if done.returncode == 0 else ""
