"""Methods, metrics and data sets of installed packages, by the names of their entry points.

    [project.entry-points."glassbench.methods"]       # in the package's pyproject.toml
    grad-norm = "lab.methods:GradNorm"

    found("methods")["grad-norm"].path                # .../lab/methods.py

Groups: ``glassbench.methods`` (a class), ``glassbench.metrics`` (a function with its declaration) and
``glassbench.datasets`` (a module, which is run as a script). A package is found, not imported: its code runs only where
external code may.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from benchmark.utils.near_names import UnknownName

KINDS = ("methods", "metrics", "datasets")


@dataclass(frozen=True)
class Installed:
    """An entry point: ``name`` stands for ``attribute`` (empty: the module itself) of ``module``; where two packages
    give one name to different things, ``module`` is empty."""

    name: str
    module: str
    attribute: str
    package: str  # name and version, "lab 1.2"

    @property
    def path(self) -> Path:
        """The module's file.

        Raises:
            UnknownName: there is none, or more than one.
        """
        if not self.module:
            raise UnknownName(
                f"{self.name!r} is a name in {self.package}; uninstall one of them"
            )
        path = file_of(self.module)
        if path is None:
            raise UnknownName(
                f"{self.name!r} of {self.package} names the module {self.module}, of which there is no file"
            )
        return path


@functools.cache
def found(kind: str) -> dict[str, Installed]:
    """The entry points of a kind (of ``KINDS``), by name."""
    entries: dict[str, Installed] = {}
    for entry in importlib.metadata.entry_points(group=f"glassbench.{kind}"):
        name = entry.name
        package = f"{entry.dist.name} {entry.dist.version}"
        new = Installed(name, entry.module, entry.attr, package)
        other = entries.setdefault(name, new)
        same_module = other.module == new.module
        if not (same_module and other.attribute == new.attribute):
            both = f"{other.package} and {package}"
            entries[name] = Installed(name, "", "", both)
    return dict(sorted(entries.items()))


def file_of(module: str) -> Path | None:
    """The file of a dotted module, found without importing the packages around it."""
    first, *inner = module.split(".")
    spec = importlib.util.find_spec(first) if first else None
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *inner)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None


def module_of(path: Path) -> str:
    """The dotted name by which Python would import a file that lies in a package; empty if it would not."""
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if path.parent == folder:  # a file by itself
        return ""
    name = ".".join(parts)
    here = file_of(name)
    return name if here is not None and here.resolve() == path.resolve() else ""
