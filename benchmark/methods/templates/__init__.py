"""Templates of methods and of a metric, one file per kind: each works and keeps the contract, and is meant to be
changed."""

from __future__ import annotations

from pathlib import Path

from benchmark import store
from benchmark.utils.near_names import UnknownName, near

_FOLDER = Path(__file__).parent
KINDS = tuple(sorted({path.stem for path in _FOLDER.glob("*.py")} - {"__init__"}))


def write(path: Path, kind: str) -> str:
    """Write the template of a kind; returns the name of its class, or of its function.

    Raises:
        UnknownName: no such kind, a file that exists, or a name that does not end in .py.
    """
    if kind not in KINDS:
        raise near(kind, KINDS, "kind of method")
    what = "metric" if kind == "metric" else "method"
    if path.suffix != ".py":
        raise UnknownName(
            f"a {what} is a Python file, like {path.name}.py, not {path.name!r}"
        )
    if path.exists():
        raise UnknownName(
            f"{path} is there already; choose another name, or remove it first"
        )
    store.write_text(path, (_FOLDER / f"{kind}.py").read_text())
    return "my_metric" if kind == "metric" else "MyMethod"
