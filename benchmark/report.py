"""From the cells of a profile to its folder in ``results/``: rows, board, reproduction, plots, page, provenance."""

from __future__ import annotations

import contextlib
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

from benchmark import cells, data, engine, leaderboard, papers, replicate, run, store, style
from benchmark.cells import Cell
from benchmark.profile import Profile

GALLERY_IMAGES = 6
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "torch", "torchvision", "pillow", "dvc", "glassbench")
_CODE = ("api.py", "archives.py", "attention.py", "cells.py", "concepts.py", "data.py", "download.py", "excitation.py", "metrics", "papers",
         "replicate.py", "run.py", "seeds.py", "zoo")  # fmt: skip


def write(profile: Profile) -> Path:
    """Collect all cells of the profile and write its results; returns their folder."""
    paths = store.Paths(profile.name)
    rows, instances = run.collect(profile)
    replicated, evidence, found = replicate.collect(profile, rows)
    store.write_rows(paths.rows, pd.concat([rows, replicated]) if len(replicated) else rows)
    store.write_values(paths.values, instances)
    facts = provenance(profile)
    facts |= _verified(paths, facts)
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
    batch, target = cells.load_batch(cell), cells.load_target(cell)
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
    variant = dict(pair.split("=", 1) for pair in meta["setting"].split(";") if pair).get("variant")
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
            files = {kind: style.save(picture.figure, kind, dpi=110) for kind in kinds}
            name = f"{'photo-' * picture.photo}{style.file_name(paper, picture.name)}"
            pictures.append(
                {"name": name, "title": picture.title, "caption": picture.caption, "apart": picture.apart, **files}
            )
    except Exception as error:  # a picture never costs the board
        lost = engine.one_line(error)
    return {"paper": paper, "title": package.TITLE, "citation": package.CITATION, "notes": list(package.NOTES),
            "pictures": pictures, "lost": lost}  # fmt: skip


# --------------------------------------------------------------------------------------------- provenance


def provenance(profile: Profile) -> dict[str, Any]:
    """Commit, hashes of code, data and weights, versions, machine, profile, date."""
    paths = store.Paths(profile.name)
    here = Path(__file__).parent
    weights = {
        f"{dataset}/{path.stem}": store.sha256(path)[:16]
        for dataset in profile.datasets
        for path in sorted(paths.targets(dataset).glob("*.safetensors"))
        if ".partial" not in path.name
    }
    return {
        "profile": profile.name,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": sorted(
            line[3:]
            for line in _git("status", "--porcelain").splitlines()
            if not line[3:].startswith(
                ("results/", "dvc.lock", "README.md", "params.yaml")
            )  # params have their own hash
        ),
        "code": store.sha256(*(here / name for name in _CODE if (here / name).exists()))[:16],
        "steps": {step: cells.code_hash(step)[:16] for step in ("explain", "score", "replicate")},
        "papers": {paper: replicate.paper_hash(paper)[:16] for paper in profile.papers},
        "methods": {ref.file: store.sha256(*cells.sources(ref.path))[:16] for ref in profile.explain.methods},
        "params": store.sha256(store.ROOT / "params.yaml")[:16],
        "data": {name: store.sha256(paths.data(name))[:16] for name in profile.datasets},
        "weights": weights,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "machine": machine(),
    }


def _verified(paths: store.Paths, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What ``verify`` found earlier, as long as all that rows depend on is as it was."""
    with contextlib.suppress(store.StoreError):
        then = store.read_json(paths.results / "provenance.json")
        if all(
            then.get(key) == facts[key]
            for key in ("params", "steps", "papers", "methods", "data", "weights", "machine")
        ):
            return {key: then[key] for key in ("verified",) if key in then}
    return {}


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
