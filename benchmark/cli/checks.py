"""Names on the command line, checked before torch is imported: methods, metrics, profiles, data sets, networks, papers.

A profile is only read here, not checked as a whole. If it has another form than expected, nothing is said of it:
``Profile.read`` says what is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark import store
from benchmark.methods.metric_refs import MetricRef, is_metric
from benchmark.methods.registry import MethodRef
from benchmark.utils import syntax
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import near

_ZOO = Path(__file__).parent.parent / "zoo"


@dataclass(frozen=True)
class _Names:
    """What a profile names; ``networks``: digits/cnn, digits and cnn, of those that are explained."""

    profile: str
    datasets: Sequence[str]
    papers: Sequence[str]
    networks: Iterable[str]
    trained: Iterable[str]  # digits/cnn, also of those that are not explained


def _names(path: Path) -> _Names | None:
    """None: the profile does not have the form of one."""
    params = store.read_yaml(path)
    networks: set[str] = set()
    trained = []
    try:
        for dataset, recipes in params["zoo"].items():
            for target, recipe in recipes.items():
                trained.append(f"{dataset}/{target}")
                if recipe.get("explain", True):
                    networks |= {f"{dataset}/{target}", dataset, target}
        lists = [[*map(str, params[key])] for key in ("datasets", "papers")]
        return _Names(str(params["profile"]), *lists, networks, trained)
    except (AttributeError, KeyError, TypeError):
        return None


def datasets(path: Path, given: Iterable[str]) -> None:
    """
    Raises:
        UnknownName: the profile of a file has no such data set.
    """
    if names := _names(path):
        _check(given, names.datasets, f"data set in profile {names.profile!r}:")


def papers(path: Path, given: Iterable[str]) -> None:
    """
    Raises:
        UnknownName: the profile of a file has no such paper.
    """
    if names := _names(path):
        _check(given, names.papers, f"paper in profile {names.profile!r}:")


def networks(path: Path, given: Iterable[str]) -> None:
    """
    Raises:
        UnknownName: the profile of a file explains no such network.
    """
    if names := _names(path):
        _check(given, names.networks, f"network in profile {names.profile!r}:")


def network(path: Path, given: str) -> None:
    """
    Raises:
        UnknownName: the profile of a file trains no such network.
    """
    if given and (names := _names(path)):
        _check([given], names.trained, f"network in profile {names.profile!r}:")


def _check(given: Iterable[str], known: Iterable[str], what: str) -> None:
    for name in given:
        if name not in known:
            raise near(name, known, what)


# --------------------------------------------------------------------------------------------- methods and metrics


def methods(entries: Iterable[str]) -> None:
    """
    Raises:
        UnknownName: a file, class or setting that does not exist.
    """
    for entry in entries:
        MethodRef.parse(entry, base=Path.cwd()).check_names()


def metrics(entries: Iterable[str]) -> None:
    """
    Raises:
        UnknownName: a file or function that does not exist.
    """
    for entry in entries:
        MetricRef.parse(entry, base=Path.cwd()).check_names()


def method_or_metric(entry: str) -> None:
    """
    Raises:
        UnknownName: as ``methods`` or ``metrics``.
    """
    (metrics if is_metric(entry) else methods)([entry])


# --------------------------------------------------------------------------------------------- a network of one's own


def own_network(options: argparse.Namespace) -> None:
    """The options of ``--network``.

    Raises:
        UsageError: they do not fit together, or name a file that does not exist.
        UnknownName: the library of networks, or the function in the file, does not exist.
    """
    if options.images is None:
        raise UsageError(
            "--network needs --images: a folder with a subfolder per class, a CSV, COCO or Pascal VOC"
        )
    if not (options.method or options.metric):
        raise UsageError(
            "name a method: glassbench evaluate mine.py:GradNorm --network ..."
        )
    if options.profile or options.targets:
        raise UsageError(
            "--network is a board of its own, without --profile and --targets"
        )
    for key in ("images", "masks", "weights"):
        if value := getattr(options, key):
            _existing(f"--{key}", value)
    place, _, function = options.network.partition("?")[0].rpartition(":")
    if not place.endswith(".py"):
        libraries = syntax.constants(_ZOO / "own.py")["LIBRARIES"]
        if place and place not in libraries:
            what = f"library of networks in {options.network!r}:"
            raise near(place, libraries, what)
    elif syntax.lacks(_existing("--network", place), function):
        known = syntax.functions(Path(place))
        raise near(function, known, f"function in {place}:")


def _existing(option: str, value: str | Path) -> Path:
    path = Path(value).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"{option}: there is no file or folder {path}")
    return path
