"""Where rows to compare come from: a rows file, a folder, or a git revision.

load("HEAD", paths)  load("origin/main", paths)  load("/tmp/other/checkout", paths)  load("old/rows.csv", paths)
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import store
from benchmark.gate import diff, networks
from benchmark.store import git

_SHOW = ("show", "--end-of-options")
_SHORT = ("rev-parse", "--short", "--verify", "--quiet", "--end-of-options")


@dataclass(frozen=True)
class Source:
    """Rows, what made them (empty if unknown), and what to call them."""

    name: str
    rows: pd.DataFrame
    provenance: Mapping[str, Any]


def load(where: str | None, paths: store.Paths) -> Source:
    """The rows of the profile of ``paths`` at ``where``; None is the working tree.

    A path that holds rows takes precedence over a git revision of the same name.

    Args:
        where: a rows file; a folder with rows.csv, or a checkout with results/<profile>/rows.csv; a git revision.

    Raises:
        StoreError: there are none, or they are damaged.
    """
    if where is None:
        name = "this version" if store.IS_WHEEL else "the working tree"
        return _files(paths.committed.rows, name)
    inside = paths.rows.relative_to(paths.root)
    for path in (Path(where), Path(where) / "rows.csv", Path(where) / inside):
        if path.is_file():
            return _files(path, where)
    rows, why = git.ask(paths.root, *_SHOW, f"{where}:{inside}")
    if not rows:
        reason = f" ({why})" if why else ""
        raise store.StoreError(
            f"{where!r} is not a rows file, not a folder with rows.csv or {inside}, "
            f"and there is no git revision with them{reason}"
        )
    beside = inside.with_name("provenance.json")
    provenance, _ = git.ask(paths.root, *_SHOW, f"{where}:{beside}")
    found, _ = git.ask(paths.root, *_SHORT, where)
    commit = found.decode().strip()
    return Source(
        where if commit == where else f"{where} ({commit})",
        _parse(rows.decode(errors="replace"), where),
        json.loads(provenance) if provenance else {},
    )


def compare(
    base: Source, head: Source, paths: store.Paths, match: str = ""
) -> pd.DataFrame:
    """``diff.compare`` of two sources, with what their provenance and the other profiles tell."""
    same = networks.by_weights(base.provenance, head.provenance)
    others = None if base.rows.equals(head.rows) else elsewhere(paths)
    return diff.compare(base.rows, head.rows, others, same=same, match=match)


def elsewhere(paths: store.Paths) -> pd.DataFrame | None:
    """The rows of the other profiles, or None: where a profile with one seed borrows spreads."""
    files = {}
    for home in (paths.shipped, paths) if store.IS_WHEEL else (paths,):
        for file in home.results.parent.glob("*/rows.csv"):
            files[file.parent.name] = file
    files.pop(paths.profile, None)
    others = [store.read_rows(file) for _, file in sorted(files.items())]
    return pd.concat(others, ignore_index=True) if others else None


def _files(path: Path, name: str) -> Source:
    beside = path.with_name("provenance.json")
    provenance = store.read_json(beside) if beside.exists() else {}
    return Source(name, store.read_rows(path), provenance)


def _parse(text: str, name: str) -> pd.DataFrame:
    try:
        return store.parse_rows(io.StringIO(text))
    except Exception as error:
        what = " ".join(str(error).split())[:200]
        raise store.StoreError(
            f"the rows of {name!r} cannot be read ({type(error).__name__}: {what}); give a newer revision"
        ) from None
