"""The five papers, one package each, and what they share.

A package holds ``method.py`` (the plug-in), ``replicate.py`` (the paper's own experiments and the verdicts on its
claims), ``figures.py`` (its pictures), ``study.py`` (its study with people, if it has one; ``kits``), and describes
itself by ``TITLE``, ``CITATION`` and ``NOTES`` (findings, in words).

An experiment is a function ``f(study, rng, **settings) -> Outcome`` in ``replicate.py``; a profile names it:

    replicate:
      layer_trees:
        - {experiment: trees, dataset: digits, target: mlp-100x8, thresholds: [0, 5]}
      explainn:
        - {experiment: planted, seeds: [0, 1, 2], sweep: {m: [10, 50]}, theta: 0.4}

``benchmark/pipeline/replicate.py`` runs one unit for each target, seed and value of ``sweep``, and turns numbers into
rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmark.api import Method, Target
from benchmark.data import Dataset
from benchmark.utils.near_names import pick

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Check",
    "Found",
    "FoundUnit",
    "Number",
    "Outcome",
    "Picture",
    "Study",
    "names",
    "part",
]


@dataclass(frozen=True, eq=False)
class Study:
    """What one unit of an experiment works on."""

    seed: int = 0
    device: str = "cpu"
    dataset: str = ""
    data: Dataset | None = None  # None where the experiment names no data set
    target_name: str = ""
    target: Target | None = None  # None where the experiment names no target
    # a method as a profile names it, path/to/file.py:Class
    build: Callable[[str | Mapping[str, Any]], Method] | None = None


@dataclass(frozen=True)
class Number:
    """One measured number; it becomes a row of track ``replication``.

    ``metric``, ``method`` and the keys of ``setting`` are those of ``results/reported/<paper>.csv``, so that measured
    and published join.
    """

    metric: str
    value: float
    method: str = ""
    setting: Mapping[str, Any] = field(default_factory=dict)
    n: int = 1  # number of instances that it is computed over
    better: str = "higher"  # or "lower"; without meaning where a number is a fact
    unit: str = ""
    dataset: str | None = (
        None  # if not the unit's: data that the experiment makes itself
    )
    target: str | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a unit found: numbers, and arrays for the pictures (numbers and fixed-width text; a few MB at most)."""

    numbers: Sequence[Number] = ()
    arrays: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One look at a claim, for one network and seed. A claim holds where all of its checks hold."""

    claim: str  # id in results/reported/claims.csv
    holds: bool | None  # None: undecided, the interval of what was measured allows both
    evidence: str  # the numbers, in a few words
    dataset: str = ""
    target: str = ""
    seed: int = 0
    extension: bool = (
        False  # on a network that the paper does not have: shown, not judged
    )


@dataclass(frozen=True, eq=False)
class FoundUnit:
    """One unit of an experiment, as ``figures.py`` sees it."""

    experiment: str
    dataset: str
    target: str
    seed: int
    settings: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Found:
    """All that a paper's experiments found in a profile."""

    # columns store.ROW_COLUMNS, status ok: the paper's replications and the shared metrics' rows
    rows: pd.DataFrame
    units: Sequence[FoundUnit]


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure of a paper, for the page and ``results/<profile>/plots/<paper>-<name>``."""

    name: str
    title: str
    caption: str
    figure: Figure
    raster: bool = False  # PNG only: many images in it
    photo: bool = False  # shows photographs that may not be passed on: kept out of git
    apart: bool = False  # the page links to its file instead of showing it


def names() -> list[str]:
    """The papers' packages."""
    return sorted(p.parent.name for p in Path(__file__).parent.glob("*/__init__.py"))


def part(paper: str, name: str = "") -> ModuleType | None:
    """A paper's package, or its module ``name``; None if it has no such module.

    Raises:
        UnknownName: no such paper.
    """
    pick(paper, dict.fromkeys(names()), "paper")
    if name and not (Path(__file__).parent / paper / f"{name}.py").exists():
        return None
    module = f"benchmark.papers.{paper}"
    if name:
        module += f".{name}"
    return importlib.import_module(module)
