"""The tables of ``glassbench list``: profiles, data sets, targets, methods, metrics; a dict per row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import store

if TYPE_CHECKING:
    from benchmark.pipeline.profile import Profile

PROFILES = Path(__file__).parent.parent / "profiles"
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

    rows = []
    for name in store.scripts():
        prepared = store.ROOT / "datasets" / "processed"
        found = sorted(prepared.glob(f"*/{name}.npz"))
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
                }
            )
    return rows


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
            }
        )
    return rows


def _metrics(load: Load) -> list[dict[str, Any]]:
    from benchmark.methods import registry

    return [
        {
            "metric": m.name,
            "track": m.track,
            "better": m.better,
            "unit": m.unit,
            "needs": ", ".join(sorted(m.needs)),
            "settings": " | ".join(filter(None, map(store.setting_text, m.settings))),
            "source": m.source,
        }
        for m in registry.metrics().values()
    ]


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
