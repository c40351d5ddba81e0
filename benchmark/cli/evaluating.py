"""The commands for what a user brings: ``evaluate``, ``check`` and ``new``."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from benchmark import store
from benchmark.cli import checks
from benchmark.cli.console import err, note_without_commit, out
from benchmark.cli.profiles import load_profile, profile_path
from benchmark.utils.errors import UsageError

if TYPE_CHECKING:  # these import torch
    from benchmark.jobs.evaluate import Evaluation
    from benchmark.pipeline.profile import Profile


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
    from benchmark import engine

    engine.warm_up()
    from benchmark.gate import sources
    from benchmark.jobs.evaluate import write_images
    from benchmark.store import recovery

    own = _own_board(options) if options.network else None
    profile = own or load_profile(options.profile)
    before = None
    if options.baseline:  # before the work
        before = sources.load(options.baseline, store.Paths(profile.name))
    for line in recovery.sweep(store.ROOT):
        err.print(line, markup=False)
    if options.images and not own:
        names = write_images(profile.with_networks(options.targets), options.images)
        out.print(f"{options.images}; name the maps {', '.join(names)}", markup=False)
        return 0
    return evaluated(
        options,
        profile,
        before,
        methods=options.method,
        metrics=options.metric,
        name=options.name,
        targets=options.targets,
        recompute=options.recompute or own is not None,
        page=not options.no_page,
    )


def evaluated(
    options: argparse.Namespace,
    profile: Profile,
    before: Any = None,
    **chosen: Any,
) -> int:
    """Evaluate methods and metrics, and print what was found; returns the exit code.

    Args:
        before: rows of an earlier evaluation (``gate.sources.Source``) to compare with, if any.
    """
    from benchmark.jobs.evaluate import evaluate_methods, notes

    found = evaluate_methods(profile, **chosen)
    has_failed = bool((found.rows.status == "failed").any())
    against = None
    if before is not None and not has_failed:
        from benchmark.jobs import baseline

        against = baseline.compare(before, found, store.Paths(profile.name))
        reached = baseline.level(against.cells)
        has_failed = baseline.is_under(reached, options.fail_under)
    if options.json:
        _print_facts(found, against, failed=has_failed)
    else:
        _print_found(found, verbose=options.verbose)
    for line in notes(found):
        err.print(line, markup=False)
    if chosen["page"]:
        note_without_commit()
    if against and not options.json:
        _print_against(against, reached, options.fail_under, failed=has_failed)
    return int(has_failed)


def _print_found(found: Evaluation, *, verbose: bool) -> None:
    """About ten lines; with ``verbose`` every table."""
    from benchmark.leaderboard import brief
    from benchmark.leaderboard.render import brief_console, placing_console

    if verbose:
        if found.compared:
            placing_console.show(found.frame, found.placed, found.compared, out)
        placing_console.show_metrics(found.frame, found.metrics, out)
    briefs = brief.briefs(found.frame, found.placed, found.compared)
    for line in brief_console.lines(briefs):
        out.print(line, markup=False)
    for line in (
        () if verbose else brief_console.metric_lines(found.frame, found.metrics)
    ):
        out.print(line, markup=False)
    more = "" if verbose else "; -v prints every table"
    out.print(f"written: {found.folder / found.first_file}{more}", markup=False)


def _print_facts(found: Evaluation, against: Any, *, failed: bool) -> None:
    """The same as one JSON object."""
    from benchmark.jobs.evaluate import notes
    from benchmark.leaderboard import brief
    from benchmark.leaderboard.render import brief_console

    briefs = brief.briefs(found.frame, found.placed, found.compared)
    facts = brief_console.facts(briefs, found.frame, found.metrics)
    facts["files"] = found.files
    facts["notes"] = notes(found)
    if against:
        from benchmark.jobs import baseline

        kinds = against.cells["kind"].value_counts()
        counts = {kind: int(count) for kind, count in kinds.items()}
        level = baseline.level(against.cells)
        facts["baseline"] = {"level": level, "cells": counts}
    facts["failed"] = failed
    print(json.dumps(facts, allow_nan=False))


def _print_against(against: Any, reached: str, wanted: str, *, failed: bool) -> None:
    """The method's cells beside those of an earlier evaluation."""
    from benchmark.gate import show
    from benchmark.gate.diff import FAIL_ON
    from benchmark.jobs import baseline

    text = show.text(against.cells, against.base, against.head, FAIL_ON)
    out.print(text, markup=False)
    word = "failed" if failed else "passed"
    out.print(f"{word}: {reached} ({baseline.LEVELS[reached]}), asked for {wanted}")


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
