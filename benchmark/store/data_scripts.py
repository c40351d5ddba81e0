"""Finds the scripts of data sets, and reads their constants without running them.

    known()["cub"]                                    # datasets/cub.py, or the module of an installed package
    literals(Path("datasets/cub.py"))["FULL"]         # {"channels": 3, "classes": 200, "train": 5994, "test": 5794}

``FULL``: the size of the data set as published; ``DEFAULTS``: the parameters that ``data.<name>`` of a profile may set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark import store
from benchmark.utils import installed, syntax


def known() -> dict[str, Path]:
    """The scripts of all data sets by name: those in ``datasets/``, then those of installed packages by their entry
    points; a name in ``datasets/`` goes first."""
    scripts = store.scripts()
    for name, entry in installed.found("datasets").items():
        path = installed.file_of(entry.module)
        if path is not None:
            scripts.setdefault(name, path)
    return scripts


def literals(path: Path) -> dict[str, Any]:
    """The values that the script assigns to names as literals; empty if there is no such file, or it is not Python."""
    return syntax.constants(path)
