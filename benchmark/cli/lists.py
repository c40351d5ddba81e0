"""The tables of ``glassbench list``: profiles, data sets, targets, methods, metrics; a dict per row."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import store
from benchmark.utils import installed
from benchmark.utils.installed import Installed
from benchmark.utils.near_names import UnknownName

if TYPE_CHECKING:
    from benchmark.api import MetricSpec
    from benchmark.pipeline.profile import Profile

PROFILES = Path(__file__).parent.parent / "profiles"
OURS = "glassbench"
Load = Callable[[], "Profile"]  # reads params.yaml


def profiles() -> dict[str, Path]:
    """The files of the shipped profiles, by name."""
    return {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}


def _profiles(load: Load) -> list[dict[str, Any]]:
    here = store.ROOT / "params.yaml"
    has_own = here.exists() and not store.IS_WHEEL
    current = store.read_yaml(here).get("profile") if has_own else None
    rows = []
    for name, path in profiles().items():
        params = store.read_yaml(
            path
        )  # not parsed, which would import torch and take seconds
        networks = 0
        for zoo in params["zoo"].values():
            networks += sum(len(target.get("seeds", [0])) for target in zoo.values())
        rows.append(
            {
                "profile": f"{name} (in use)" if name == current else name,
                "data sets": ", ".join(params["datasets"]),
                "networks": networks,
                "methods": len(params["explain"]["methods"]),
                "papers": ", ".join(params["papers"]),
            }
        )
    return rows


def _datasets(load: Load) -> list[dict[str, Any]]:
    from benchmark import data
    from benchmark.data.scripts import known

    rows = []
    for name, script in known().items():
        found = sorted((store.ROOT / "datasets" / "processed").glob(f"*/{name}.npz"))
        for path in found or [None]:
            card = data.load_card(path) if path else {}
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


def _methods(load: Load) -> list[dict[str, Any]]:
    from benchmark.api import settings_of
    from benchmark.methods import registry

    rows = []
    for ref in registry.method_refs():
        method = ref.build()
        doc = (registry.load_module(ref.path).__doc__ or "").strip().splitlines()
        rows.append(
            {
                "method": method.name,
                "kind": getattr(method, "paper", None)
                or getattr(method, "kind", "user"),
                "use": f"{ref.file}:{ref.cls}",
                "settings": store.setting_text(settings_of(method)),
                "idea": doc[0] if doc else "",
                "from": OURS,
            }
        )
    return rows + [_installed_method(entry) for entry in _entries("methods")]


def _installed_method(entry: Installed) -> dict[str, Any]:
    from benchmark.methods.describe import describe
    from benchmark.methods.registry import MethodRef

    try:
        ref = MethodRef.parse(entry.name)
        name, kind, setting = describe(ref)
        idea = _first_line(ref.path)
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


def _first_line(path: Path) -> str:
    """Of a file's docstring, without running it."""
    try:
        text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError, OSError):
        return ""
    return text.partition("\n")[0]


def _metrics(load: Load) -> list[dict[str, Any]]:
    from benchmark.methods import registry

    rows = []
    for m in registry.metrics().values():
        texts = filter(None, map(store.setting_text, m.settings))
        rows.append(_metric(m, m.name, " | ".join(texts), OURS))
    return rows + [_installed_metric(entry) for entry in _entries("metrics")]


def _metric(m: MetricSpec, use: str, settings: str, package: str) -> dict[str, Any]:
    return {
        "metric": m.name,
        "track": m.track,
        "better": m.better,
        "unit": m.unit,
        "needs": ", ".join(sorted(m.needs)),
        "settings": settings,
        "source": m.source,
        "use": use,
        "from": package,
    }


def _installed_metric(entry: Installed) -> dict[str, Any]:
    from benchmark.methods.metric_refs import MetricRef, declared

    try:
        found = declared(MetricRef.parse(entry.name))
    except UnknownName as error:  # the others are listed all the same
        columns = ["metric", "track", "better", "unit", "needs", "settings", "source"]
        row = dict.fromkeys(columns, "") | {"metric": entry.attribute}
        why = f"cannot be used: {error}"
        return row | {"source": why, "use": entry.name, "from": entry.package}
    texts = " | ".join(filter(None, found.settings))
    return _metric(found.spec, entry.name, texts, entry.package)


def _targets(load: Load) -> list[dict[str, Any]]:
    rows = []
    profile = load()
    for dataset in profile.datasets:
        for name, seed, recipe in profile.trainings(dataset):
            path = (
                store.Paths(profile.name)
                .target(dataset, name, seed)
                .with_suffix(".json")
            )
            card = store.read_json(path) if path.exists() else {}
            state = card.get("failed") or (
                f"{100 * card['test_accuracy']:.2f} %" if card else "not trained"
            )
            rows.append(
                {
                    "data set": dataset,
                    "target": name,
                    "seed": seed,
                    "net": recipe.net,
                    "test accuracy": state,
                    "explained layer": card.get("layer") or "",
                }
            )
    return rows


LISTS = {
    "profiles": _profiles,
    "datasets": _datasets,
    "targets": _targets,
    "methods": _methods,
    "metrics": _metrics,
}
