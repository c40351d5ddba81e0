"""The commands for what a user brings: ``evaluate``, ``check`` and ``new``."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark import store
from benchmark.cli import checks
from benchmark.cli.console import (
    err,
    folded,
    note_without_commit,
    out,
    stdout_on_stderr,
)
from benchmark.cli.profiles import load_profile, profile_path
from benchmark.utils.errors import UsageError

if TYPE_CHECKING:  # these import torch
    from benchmark.gate.sources import Source
    from benchmark.jobs.evaluate import Evaluation
    from benchmark.leaderboard.brief import Brief
    from benchmark.pipeline.profile import Profile

OWN = "own"  # the profile of a network of one's own, ``jobs.own.NAME``


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate a new method, or a metric of yours on the known methods: rows, and places among the known ones."""
    if not (options.method or options.images or options.metric):
        raise UsageError("name a method: glassbench evaluate mine.py:GradNorm")
    if options.network:
        checks.own_network(options)
    else:
        checks.networks(profile_path(options.profile), options.targets)
    checks.methods(options.method)
    checks.metrics(options.metric)
    before = _before(options)
    with stdout_on_stderr(options.json):
        outcome = _evaluate(options, before)
    return report(outcome, options) if outcome else 0


def _before(options: argparse.Namespace) -> Source | None:
    """The rows of an earlier evaluation, if any.

    Raises:
        StoreError: there are none where ``--baseline`` says.
    """
    if not options.baseline:
        return None
    from benchmark.gate import sources

    path = None if options.network else profile_path(options.profile)
    name = store.read_yaml(path).get("profile") if path else OWN
    return sources.load(options.baseline, store.Paths(str(name)))


def _evaluate(options: argparse.Namespace, before: Source | None) -> Outcome | None:
    """None: only images were written."""
    from benchmark import engine

    only_images = options.images and not options.network
    draws = [] if only_images or options.no_page else ["benchmark.leaderboard.build"]
    engine.warm_up("benchmark.metrics", *draws)
    from benchmark.jobs.evaluate import write_images
    from benchmark.store import recovery

    own = _own_board(options) if options.network else None
    profile = own or load_profile(options.profile)
    for line in recovery.sweep(store.ROOT):
        err.print(line, markup=False)
    if options.images and not own:
        names = write_images(profile.with_networks(options.targets), options.images)
        out.print(f"{options.images}; name the maps {', '.join(names)}", markup=False)
        return None
    return evaluated(
        profile,
        before,
        options.fail_under,
        methods=options.method,
        metrics=options.metric,
        name=options.name,
        targets=options.targets,
        recompute=options.recompute or own is not None,
        page=not options.no_page,
    )


@dataclass(frozen=True)
class Outcome:
    """What was found; and beside the rows of an earlier evaluation, if there are any, the level that was reached."""

    found: Evaluation
    failed: bool
    against: Any = None  # jobs.baseline.Against
    level: str = ""


def evaluated(
    profile: Profile, before: Source | None = None, fail_under: str = "", **chosen: Any
) -> Outcome:
    """Evaluate methods and metrics.

    Args:
        before: rows of an earlier evaluation to compare with, if any.
    """
    from benchmark.jobs import baseline
    from benchmark.jobs.evaluate import evaluate_methods

    found = evaluate_methods(profile, **chosen)
    if (found.rows.status == "failed").any():
        return Outcome(found, failed=True)
    if before is None:
        return Outcome(found, failed=False)
    against = baseline.compare(before, found, store.Paths(profile.name))
    level = baseline.level(against.cells)
    return Outcome(found, baseline.is_under(level, fail_under), against, level)


def report(outcome: Outcome, options: argparse.Namespace) -> int:
    """Print what was found, and return the exit code."""
    from benchmark.jobs.evaluate import notes

    if options.json:
        print(json.dumps(_facts(outcome), allow_nan=False))
    else:
        _print_found(outcome.found, verbose=options.verbose)
    for line in notes(outcome.found):
        err.print(line, markup=False)
    if outcome.found.page:
        note_without_commit()
    if outcome.level and not options.json:
        _print_against(outcome, options.fail_under)
    return int(outcome.failed)


def _print_found(found: Evaluation, *, verbose: bool) -> None:
    """About ten lines; with ``verbose`` every table."""
    from benchmark.leaderboard.render import brief_console, placing_console

    lines = list(brief_console.lines(*_briefs(found)))
    if not verbose:
        lines += brief_console.metric_lines(found.frame, found.metrics)
    elif found.compared:
        placing_console.show(found.frame, found.placed, found.compared, out)
    if verbose:
        placing_console.show_metrics(found.frame, found.metrics, out)
    more = "" if verbose else "; -v prints every table"
    for line in lines:
        out.print(folded(line, out), markup=False)
    written = f"written: {found.folder / found.first_file}{more}"
    out.print(written, markup=False)


def _briefs(found: Evaluation) -> tuple[list[Brief], list[dict[str, str]]]:
    """The new methods in short, and what is missing of them."""
    from benchmark.leaderboard.brief import briefs, missing

    new = briefs(found.frame, found.placed, found.compared)
    return new, missing(found.frame, new, found.compared)


def _facts(outcome: Outcome) -> dict[str, Any]:
    """The same as one JSON object."""
    from benchmark.jobs.evaluate import notes
    from benchmark.leaderboard.render import brief_console

    found = outcome.found
    facts = brief_console.facts(*_briefs(found), found.frame, found.metrics)
    facts |= {"files": found.files, "notes": notes(found), "failed": outcome.failed}
    if outcome.level:
        kinds = outcome.against.cells["kind"].value_counts()
        counts = {kind: int(count) for kind, count in kinds.items()}
        facts["baseline"] = {"level": outcome.level, "cells": counts}
    return facts


def _print_against(outcome: Outcome, wanted: str) -> None:
    """The method's cells beside those of an earlier evaluation."""
    from benchmark.gate import show
    from benchmark.gate.diff import FAIL_ON
    from benchmark.jobs import baseline

    against, level = outcome.against, outcome.level
    text = show.text(against.cells, against.base, against.head, FAIL_ON)
    out.print(text, markup=False)
    word = "failed" if outcome.failed else "passed"
    out.print(f"{word}: {level} ({baseline.LEVELS[level]}), asked for {wanted}")


def _own_board(options: argparse.Namespace) -> Profile:
    """The profile of ``--network`` on the images ``--images``; says what to know about the network.

    Raises:
        UsageError: a network or images that cannot be used.
    """
    from benchmark.jobs.own import Images, lines, own_profile

    given = {key: getattr(options, key) for key in ("weights", "layer", "tokens")}
    for key in ("mean", "std", "classes"):
        given[key] = getattr(options, key)
    network = {key: value for key, value in given.items() if value is not None}
    images = Images(
        options.images,
        options.size,
        options.fit,
        channels=1 if options.grey else 3,
        masks=options.masks,
    )
    profile, card = own_profile({"use": options.network, **network}, images)
    first, *notes = lines(card)
    err.print(first, markup=False)
    for note in notes:
        err.print(note, markup=False, style="red" if "guessing" in note else None)
    return profile


def check(options: argparse.Namespace) -> int:
    """Check a method or metric on toy data: what is wrong, with the line to change; exit code 1 if anything is."""
    checks.method_or_metric(options.method)
    from benchmark import engine

    engine.warm_up()
    from benchmark.jobs.check import check_method
    from benchmark.jobs.check import report as findings_report
    from benchmark.jobs.check_metric import check_metric
    from benchmark.methods.metric_refs import is_metric

    check = check_metric if is_metric(options.method) else check_method
    findings = check(options.method)
    for line in findings_report(findings):
        out.print(line, markup=False)
    return 1 if any(f.wrong for f in findings) else 0


def new(options: argparse.Namespace) -> int:
    """Write a starter file of a method or metric."""
    from benchmark.methods import templates

    name = templates.write(options.file, options.kind)
    use = "score --metric" if options.kind == "metric" else "evaluate"
    out.print(
        f"{options.file}: change it, then\n  glassbench check {options.file}:{name}\n"
        f"  glassbench {use} {options.file}:{name}",
        markup=False,
    )
    return 0
