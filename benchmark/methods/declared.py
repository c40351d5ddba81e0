"""What the files of this project declare, read from their text: ``glassbench list`` without importing torch.

    metrics()[0]                  # {"metric": "completeness", "track": "heatmap", "asks": "Do the values ...?", ...}
    methods()[0]                  # {"method": "ACE", "use": "baselines/ace.py:ACE", ...}

Theory: a metric is a function under ``@metric(...)`` or ``@calling_metric(...)``, whose arguments are literals or names
of literals; a method is a class with ``name``, ``fit`` and ``explain``, whose settings are the fields of
a dataclass. ``tests/methods/test_declared.py`` compares all of it with what is declared when the modules are imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark import store
from benchmark.methods.registry import inside, method_files
from benchmark.utils import syntax
from benchmark.utils.docstrings import opening

METRIC = ("metric", "asks", "track", "better", "unit", "needs", "settings", "source")
_METRICS = Path(__file__).resolve().parent.parent / "metrics"
_DECORATORS = ("metric", "calling_metric")


def metrics() -> list[dict[str, Any]]:
    """Every metric of this project by name: metric, asks, track, better, unit, needs, settings, source."""
    rows = []
    for path in _METRICS.glob("*.py"):
        for name, function in syntax.functions(path).items():
            for call in _declarations(function):
                given = {key.arg: key.value for key in call.keywords}
                rows.append(_metric(name, function, given, path))
    return sorted(rows, key=lambda row: row["metric"])


def _declarations(function: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in function.decorator_list:
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if is_call and node.func.id in _DECORATORS:
            yield node


def _metric(
    name: str,
    function: ast.FunctionDef,
    given: dict[str, ast.expr],
    path: Path,
) -> dict[str, Any]:
    def value(key: str) -> Any:
        return syntax.value(given[key], path)

    settings = value("settings") if "settings" in given else ({},)
    texts = filter(None, map(store.setting_text, settings))
    return {
        "metric": name,
        "asks": opening(ast.get_docstring(function) or "")[1],
        "track": value("track"),
        "better": value("better"),
        "unit": value("unit"),
        "needs": ", ".join(sorted(value("needs"))),
        "settings": " | ".join(texts),
        "source": value("source"),
    }


def methods() -> list[dict[str, Any]]:
    """Every method of this project: method, kind, use, settings, idea."""
    rows = []
    for path in method_files():
        for cls, node in syntax.classes(path).items():
            about = _class_constants(node)
            if "name" in about:
                row = {
                    "method": about["name"],
                    "kind": about.get("paper") or about.get("kind", "user"),
                    "use": f"{inside(path)}:{cls}",
                    "settings": store.setting_text(_settings(node, path)),
                    "idea": syntax.first_line(path),
                }
                rows.append(row)
    return rows


def _class_constants(cls: ast.ClassDef) -> dict[str, str]:
    """The texts that a class assigns to names; empty of a class that is not a method."""
    found = {}
    functions = {node.name for node in cls.body if isinstance(node, ast.FunctionDef)}
    for node in cls.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            found[node.targets[0].id] = node.value.value
    return found if {"fit", "explain"} <= functions else {}


def _settings(cls: ast.ClassDef, path: Path) -> dict[str, Any]:
    """The settings with their defaults; those that are None or private are left out, as in ``api.settings_of``."""
    found = {}
    for name, default in (syntax.fields(cls) or {}).items():
        value = syntax.value(default, path)
        if value is not None and not name.startswith("_"):
            found[name] = value
    return found
