"""The tables of ``glassbench list``: profiles, data sets, targets, methods, metrics; a dict per row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmark import store
from benchmark.methods import declared
from benchmark.store import data_scripts
from benchmark.utils import installed, syntax
from benchmark.utils.installed import Installed
from benchmark.utils.near_names import UnknownName

PROFILES = Path(__file__).parent.parent / "profiles"
OURS = "glassbench"
Params = Callable[[], Path]  # the file of the profile in use


def profiles() -> dict[str, Path]:
    """The files of the shipped profiles, by name."""
    return {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}


def _profiles(params: Params) -> list[dict[str, Any]]:
    here = store.ROOT / "params.yaml"
    has_own = here.exists() and not store.IS_WHEEL
    current = store.read_yaml(here).get("profile") if has_own else None
    rows = []
    for name, path in profiles().items():
        shipped = store.read_yaml(path)  # not parsed, which would import torch
        networks = 0
        for zoo in shipped["zoo"].values():
            networks += sum(len(target.get("seeds", [0])) for target in zoo.values())
        rows.append(
            {
                "profile": f"{name} (in use)" if name == current else name,
                "data sets": ", ".join(shipped["datasets"]),
                "networks": networks,
                "methods": len(shipped["explain"]["methods"]),
                "papers": ", ".join(shipped["papers"]),
            }
        )
    return rows


def _datasets(params: Params) -> list[dict[str, Any]]:
    rows = []
    for name, script in data_scripts.known().items():
        for path in prepared(name) or [None]:
            card = load_card(path) if path else {}
            source = card.get("provenance", {})
            images = [f"{count:,} {split}" for split, count in _counts(card)]
            rows.append(
                {
                    "data set": name,
                    "profile": path.parent.name if path else "not prepared",
                    "images": " + ".join(images),
                    "classes": card.get("classes", ""),
                    "size": card.get("size", ""),
                    "licence": card.get("licence", ""),
                    "files": ", ".join(
                        sorted({f["origin"] for f in source.get("files", [])})
                    ),
                    "from": _package("datasets", name, script),
                }
            )
    return rows


def prepared(dataset: str) -> list[Path]:
    """The files of a data set, one for each profile that it was prepared for."""
    return sorted((store.ROOT / "datasets" / "processed").glob(f"*/{dataset}.npz"))


def load_card(path: Path) -> dict[str, Any]:
    """As ``data.load_card``, which imports torch; empty if there is none."""
    arrays = store.read_npz(path, ["card"])
    return json.loads(str(arrays["card"])) if "card" in arrays else {}


def _entries(kind: str) -> Iterable[Installed]:
    return installed.found(kind).values()


def _package(kind: str, name: str, path: Path) -> str:
    """The package and version that something is from."""
    entry = installed.found(kind).get(name)
    is_theirs = entry and installed.file_of(entry.module) == path
    return entry.package if is_theirs else OURS


def _counts(card: dict[str, Any]) -> list[tuple[str, int]]:
    """(split, number of images), train first."""
    counts = card.get("counts", {})
    splits = [split for split in ("train", "test") if split in counts]
    return [(split, counts[split]) for split in splits]


def _methods(params: Params) -> list[dict[str, Any]]:
    rows = [row | {"from": OURS} for row in declared.methods()]
    return rows + [_installed_method(entry) for entry in _entries("methods")]


def _installed_method(entry: Installed) -> dict[str, Any]:
    from benchmark.methods.describe import describe
    from benchmark.methods.registry import MethodRef

    try:
        ref = MethodRef.parse(entry.name)
        name, kind, setting = describe(ref)
        idea = syntax.first_line(ref.path)
    except UnknownName as error:  # the others are listed all the same
        name, kind, setting = entry.attribute, "user", ""
        idea = f"cannot be used: {error}"
    return {
        "method": name,
        "kind": kind,
        "use": entry.name,
        "settings": setting,
        "idea": idea,
        "from": entry.package,
    }


def _metrics(params: Params) -> list[dict[str, Any]]:
    rows = []
    for row in declared.metrics():
        rows.append(row | {"use": row["metric"], "from": OURS})
    return rows + [_installed_metric(entry) for entry in _entries("metrics")]


def _installed_metric(entry: Installed) -> dict[str, Any]:
    from benchmark.methods import metric_refs
    from benchmark.methods.metric_refs import MetricRef

    row = dict.fromkeys(declared.METRIC, "")
    origin = {"use": entry.name, "from": entry.package}
    try:
        ref = MetricRef.parse(entry.name)
        found = metric_refs.declared(ref)
    except UnknownName as error:  # the others are listed all the same
        why = {"metric": entry.attribute, "source": f"cannot be used: {error}"}
        return row | why | origin
    spec = found.spec
    row["metric"] = spec.name
    row["asks"] = syntax.docstring(ref.path, ref.function).partition("\n\n")[0]
    for key in ("track", "better", "unit", "source"):
        row[key] = getattr(spec, key)
    row["needs"] = ", ".join(sorted(spec.needs))
    row["settings"] = " | ".join(filter(None, found.settings))
    return row | origin


def _targets(params: Params) -> list[dict[str, Any]]:
    path = params()
    try:
        return _targets_of(store.read_yaml(path))
    except (AttributeError, KeyError, TypeError):
        from benchmark.pipeline.profile import Profile

        Profile.read(path)  # says what is wrong
        raise


def _targets_of(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for dataset in profile["datasets"]:
        for name, recipe in profile["zoo"].get(dataset, {}).items():
            for seed in recipe.get("seeds", [0]):
                rows.append(_target(profile["profile"], dataset, name, seed, recipe))
    return rows


def _target(
    profile: str, dataset: str, name: str, seed: int, recipe: Mapping[str, Any]
) -> dict[str, Any]:
    path = store.Paths(profile).target(dataset, name, seed).with_suffix(".json")
    card = store.read_json(path) if path.exists() else {}
    trained = f"{100 * card['test_accuracy']:.2f} %" if "test_accuracy" in card else ""
    return {
        "data set": dataset,
        "target": name,
        "seed": seed,
        "net": recipe.get("net") or recipe.get("use", ""),
        "test accuracy": card.get("failed") or trained or "not trained",
        "explained layer": card.get("layer") or "",
    }


LISTS = {
    "profiles": _profiles,
    "datasets": _datasets,
    "targets": _targets,
    "methods": _methods,
    "metrics": _metrics,
}
