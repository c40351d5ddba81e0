"""``glassbench report --format``: boards and data sets that are there, in other formats."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark import store
from benchmark.cli.console import out
from benchmark.cli.profiles import load_profile, name_of
from benchmark.utils.errors import UsageError

FORMATS = ("csv", "latex", "croissant", "eval-results")


def export(options: argparse.Namespace) -> int:
    """Write boards or data sets in another format; the exit code.

    Raises:
        UsageError: options that do not go together.
    """
    from benchmark.jobs import export as files

    form = options.format
    _check(options)
    given = options.results
    name = given.resolve().name if given else name_of(options)
    folder = options.out or store.ROOT / "results" / "exports" / name / form
    results = given or store.Paths(name).committed.results
    if form == "croissant":
        files.croissant(_datasets(name), folder)
    elif form == "eval-results":
        texts = files.eval_results(results, options.benchmark, name)
        files.write(texts, folder)
    else:
        files.write(files.boards(results, form), folder)
    out.print(f"written: {folder}", markup=False)
    return 0


def _check(options: argparse.Namespace) -> None:
    form, results = options.format, options.results
    if options.benchmark and form != "eval-results":
        raise UsageError("--benchmark is for --format eval-results")
    if not results:
        return
    if options.profile:
        raise UsageError("--results and --profile do not go together")
    if form == "croissant":
        raise UsageError("--format croissant is of a profile's data sets: --profile")
    if not results.is_dir():
        raise UsageError(f"--results {results}: no such folder")


def _datasets(name: str) -> dict[str, Path]:
    """The prepared data sets of a profile."""
    profile = load_profile(name)
    paths = store.Paths(profile.name)
    return {dataset: paths.data(dataset) for dataset in profile.datasets}
