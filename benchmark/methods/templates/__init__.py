"""Files to start a method from, one a kind: each is a method that works, keeps the contract, and is meant to be changed."""

from __future__ import annotations

from pathlib import Path

from benchmark import store
from benchmark.utils.near_names import UnknownName, near

KINDS = tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__"))


def write(path: Path, kind: str) -> str:
    """Write the starter of a kind; returns the name of its class.

    Raises:
        UnknownName: no such kind, a file that is there already, or a name that does not end in .py.
    """
    if kind not in KINDS:
        raise near(kind, KINDS, "kind of method")
    if path.suffix != ".py":
        raise UnknownName(f"a method is a Python file, like {path.name}.py, not {path.name!r}")
    if path.exists():
        raise UnknownName(f"{path} is there already; choose another name, or remove it first")
    store.write_text(path, (Path(__file__).parent / f"{kind}.py").read_text())
    return "MyMethod"
