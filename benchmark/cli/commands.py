"""The commands of ``glassbench``; ``main`` parses the command line and calls one of them.

A command takes the parsed options and returns the exit code. A mistake of the user is a ``UsageError``, one line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark import store
from benchmark.cli import checks, evaluating
from benchmark.cli.console import (
    err,
    note_without_commit,
    out,
    print_table,
    stdout_on_stderr,
)
from benchmark.cli.lists import LISTS, load_card, prepared, profiles
from benchmark.cli.profiles import (
    PARAMS,
    load_params,
    load_profile,
    name_of,
    params_path,
    profile_path,
)
from benchmark.store import data_scripts
from benchmark.utils import scripts
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import near

if TYPE_CHECKING:  # these import torch, which half of the commands do without
    from benchmark.engine import Done


def use(options: argparse.Namespace) -> int:
    """Choose a profile: copy it to params.yaml."""
    from benchmark.store import recovery

    shipped = profiles()
    if options.profile not in shipped:
        raise near(options.profile, shipped, "profile")
    for line in recovery.ready_dvc(store.ROOT):
        err.print(line, markup=False)
    path, wanted = store.ROOT / PARAMS, shipped[options.profile].read_text()
    if path.exists() and not options.force:
        here = path.read_text()
        if here == wanted:
            return 0
        unedited = {profile.read_text() for profile in shipped.values()}
        if here not in unedited:
            try:
                name = str(store.read_yaml(path).get("profile", ""))
            except store.StoreError:
                name = "damaged"
            if name == options.profile:
                err.print(
                    f"{PARAMS} holds your own edits of {name!r}: kept "
                    f"(glassbench use {name} --force restores the profile)"
                )
                return 0
            kept = path.with_name(f"params.{name or 'old'}.yaml")
            store.write_text(kept, here)
            err.print(f"{PARAMS} held your own edits: kept as {kept.name}")
    store.write_text(path, wanted)
    out.print(f"profile {options.profile}")
    return 0


def list_(options: argparse.Namespace) -> int:
    """List profiles, data sets, targets, methods or metrics."""
    table = LISTS[options.what](params_path)
    if options.name:
        column = next(iter(table[0]))
        names = [str(row[column]) for row in table]
        if options.name not in names:
            raise near(options.name, names, column)
        if options.what == "datasets":  # the whole card
            cards = [load_card(path) for path in prepared(options.name)]
            out.print_json(json.dumps(cards))
            return 0
        table = [row for row in table if str(row[column]) == options.name]
    if options.json:
        out.print_json(json.dumps(table))
    else:
        print_table(options.what, table)
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Download and prepare data sets: runs datasets/<name>.py."""
    known = data_scripts.known()
    for name in options.dataset:
        if name not in known:
            raise near(name, known, "data set")
    names = options.dataset or load_params().datasets
    for key in ("path", "masks"):  # the script runs in the project's folder
        if value := getattr(options, key):
            setattr(options, key, os.path.abspath(os.path.expanduser(value)))
    flags = []
    for key in ("path", "name", "size", "masks", "fit"):
        value = getattr(options, key)
        if value:
            flags += [f"--{key}", value]
    for key in ("grey", "data_only"):
        if getattr(options, key):
            flags.append(f"--{key.replace('_', '-')}")
    if flags and names != ["folder"]:
        given = ", ".join(flag for flag in flags if flag.startswith("--"))
        raise UsageError(f"{given}: only for `glassbench prepare folder`")
    if options.profile:
        flags += ["--profile", options.profile]
    if options.force:
        flags.append("--force")
    for name in names:
        command = scripts.command(known[name], *flags)
        done = subprocess.run(command, cwd=store.ROOT, check=False)
        if done.returncode:
            return done.returncode
    return 0


def train(options: argparse.Namespace) -> int:
    """Train the targets of the profile."""
    checks.datasets(params_path(), options.dataset)
    from benchmark import engine

    engine.warm_up(*engine.FITTING)
    from benchmark.pipeline.train import train_networks

    profile = load_params()
    chosen = options.dataset or profile.datasets
    folder = store.Paths(profile.name).targets
    running = _with_notes(train_networks(profile, *chosen))
    failed = _run("train", chosen, folder, running, "networks")
    return _exit_code(failed, options.keep_going)


def explain(options: argparse.Namespace) -> int:
    """Explain the sampled images with every method of the profile."""
    return _step("explain", options)


def score(options: argparse.Namespace) -> int:
    """Score every explanation with every metric, or the known methods with a metric of yours (--metric)."""
    if options.metric:
        path = profile_path(options.profile)
        checks.networks(path, options.dataset)
        checks.metrics(options.metric)
        with stdout_on_stderr(options.json):
            from benchmark import engine

            engine.warm_up()
            profile = load_profile(options.profile)
            chosen = {"metrics": options.metric, "targets": options.dataset}
            outcome = evaluating.evaluated(profile, page=False, **chosen)
        code = evaluating.report(outcome, options)
        return 0 if options.keep_going else code
    if options.json:
        raise UsageError("--json is for --metric")
    if options.profile:
        raise UsageError("--profile is for --metric; `glassbench use NAME` chooses one")
    return _step("score", options)


def _step(name: str, options: argparse.Namespace) -> int:
    checks.datasets(params_path(), options.dataset)
    from benchmark import engine

    scoring = ["benchmark.metrics"] if name == "score" else []
    engine.warm_up(*engine.FITTING, *scoring)
    from benchmark.pipeline.explain import explain_images
    from benchmark.pipeline.own_scores import score_all

    profile = load_params()
    chosen = options.dataset or profile.datasets
    paths = store.Paths(profile.name)
    folder, run = {
        "explain": (paths.explanations, explain_images),
        "score": (paths.scores, score_all),
    }[name]
    failed = _run(name, chosen, folder, run(profile, *chosen), "cells")
    return _exit_code(failed, options.keep_going)


def _with_notes(running: Iterable[Done]) -> Iterator[Done]:
    """The units as they end; says what to know about networks of one's own."""
    for done in running:
        for card in done.result if isinstance(done.result, list) else ():
            for note in card.get("notes", ()):
                err.print(f"{card['name']}: {note}", markup=False)
        yield done


def _run(
    step: str,
    parts: Iterable[str],
    folder: Callable[[str], Path],
    running: Iterable[Done],
    what: str,
) -> int:
    """Run all units with the folders of all parts held, print how many succeeded, and return how many failed."""
    with contextlib.ExitStack() as held:
        for part in parts:
            place = f"glassbench {step} {part}"
            held.enter_context(store.exclusive(folder(part), place))
        done = list(running)
    failed = sum(1 for d in done if d.error)
    out.print(f"{step}: {len(done) - failed} of {len(done)} {what}")
    return failed


def _exit_code(failed: int, keep_going: bool) -> int:
    if failed:
        err.print(f"{failed} failed; the rows have the reasons")
    return 1 if failed and not keep_going else 0


def replicate(options: argparse.Namespace) -> int:
    """Run the papers' own experiments."""
    checks.papers(params_path(), options.paper)
    from benchmark import engine

    engine.warm_up(*engine.FITTING)
    from benchmark.pipeline.replicate import replicate_papers

    profile = load_params()
    chosen = options.paper or profile.papers
    folder = store.Paths(profile.name).replications
    running = replicate_papers(profile, *chosen)
    failed = _run("replicate", chosen, folder, running, "units")
    return _exit_code(failed, options.keep_going)


def plan(options: argparse.Namespace) -> int:
    """Estimate what a profile takes: units, hours, memory, and the speed-up by more workers."""
    profile_path(options.profile)  # before torch is imported
    checks.metrics(options.metric)
    from benchmark.jobs import planned
    from benchmark.jobs.plan import calibrate, plan_profile, save
    from benchmark.methods.metric_refs import MetricRef, refuse_taken_names
    from benchmark.pipeline.profile import Profile

    metrics = [MetricRef.parse(entry, base=Path.cwd()) for entry in options.metric]
    refuse_taken_names(metrics)
    profile = load_profile(options.profile).with_metrics(metrics)
    if options.calibrate:
        every = {name: Profile.read(path) for name, path in profiles().items()}
        every[profile.name] = profile
        path = calibrate(every.values())
        out.print(f"speeds: {path.relative_to(store.ROOT)}")
        return 0
    if options.check:
        out.print(planned.checked(profile), markup=False)
        return 0
    found = plan_profile(profile, gpu=options.gpu)
    facts = planned.facts(profile, found, gpu=options.gpu, workers=options.workers)
    if options.json:
        out.print_json(json.dumps(facts))
    else:
        out.print(planned.text(facts), markup=False)
    if options.save:
        save(profile, found)
    return 0


def report(options: argparse.Namespace) -> int:
    """Write rows, tables, plots and the page; or what is there in another format (--format)."""
    from benchmark.cli.formats import FORMATS, export

    if options.format:
        return export(options)
    for name in ("profile", "results", "out", "benchmark"):
        if getattr(options, name):
            raise UsageError(f"--{name} is for --format {', '.join(FORMATS)}")
    from benchmark import engine

    engine.warm_up()
    from benchmark.pipeline.report import write

    profile = load_params()
    note_without_commit()
    with store.exclusive(store.Paths(profile.name).results, "glassbench report"):
        folder = write(profile)
    out.print(f"report: {folder.relative_to(store.ROOT)}")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Recompute a random sample of the committed rows and compare; exit code 1 if any differs."""
    profile_path(options.profile)  # before torch is imported
    from benchmark import engine

    engine.warm_up()
    from benchmark.jobs.verify import lines, record, verify_rows

    profile = load_profile(options.profile)
    found = verify_rows(profile, sample=options.sample, seed=options.seed)
    record(store.Paths(profile.name), found)
    for line in lines(found):
        out.print(line, markup=False)
    note_without_commit()
    return 1 if found.differing else 0


def judge(options: argparse.Namespace) -> int:
    """Judge committed rows by today's claims and tolerances: rows of claims, reproduction.csv and .md."""
    profile_path(options.profile)  # before torch is imported
    from benchmark.jobs.judge import judge_rows, lines, write

    found = judge_rows(load_profile(options.profile))
    write(found)
    for line in lines(found):
        out.print(line, markup=False)
    return 0


def rekey(options: argparse.Namespace) -> int:
    """Move committed results to the keys of today's code, if it is proven to mean the same."""
    profile_path(options.profile)  # before torch is imported
    from benchmark import engine

    engine.warm_up()
    from benchmark.jobs.rekey import lines, rekey_profile, write

    profile = load_profile(options.profile)
    moved = rekey_profile(profile, base=options.base, sample=options.sample)
    write(moved)
    for line in lines(moved):
        out.print(line, markup=False)
    return 0


def mend(options: argparse.Namespace) -> int:
    """Repair what a killed run left behind: locks, half-written files, temporary files."""
    from benchmark.store import recovery

    for line in recovery.mend(store.ROOT):
        err.print(line, markup=False)
    note_without_commit()
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the leaderboard of a profile and the path of its page; exit code 1 if cells failed."""
    from benchmark.leaderboard.render import console

    paths = store.Paths(name_of(options)).committed
    rows = store.read_rows(paths.rows)
    console.show(paths.results, out, verbose=options.verbose)
    failed = rows[rows.status == "failed"]
    for (dataset, target, method), group in failed.groupby(
        ["dataset", "target", "method"]
    ):
        err.print(
            f"failed: {dataset}/{target} {method}: {group.reason.iloc[0]} ({len(group)} rows)",
            markup=False,
        )
    out.print(f"page: {paths.results / 'index.html'}", markup=False)
    return 1 if len(failed) else 0


def readme(options: argparse.Namespace) -> int:
    """Rewrite what is made from all profiles' results: the README's tables, results/reproduction.csv and .md
    (--check: only tell whether they are up to date)."""
    from benchmark.leaderboard import all_profiles
    from benchmark.leaderboard.render import readme as rendering

    path, results = store.ROOT / "README.md", store.ROOT / "results"
    found = all_profiles.nearest(all_profiles.read(results))
    before = path.read_text()
    after = rendering.render(before, results, found)
    if options.check:
        if before != after or not all_profiles.agrees(results, found):
            raise UsageError(
                "README.md or results/reproduction.csv differs from results/; run `make readme`"
            )
    else:
        rendering.write(path, after, results, found)
    out.print("README.md agrees with results/")
    return 0


def compare(options: argparse.Namespace) -> int:
    """Compare the rows just computed with those of a git revision; exit code 1 if they differ."""
    from benchmark.gate import diff as rules
    from benchmark.gate import show, sources

    paths = store.Paths(name_of(options))
    base, head = sources.load(options.revision, paths), sources.load(None, paths)
    exact = rules.same_machine(base.provenance, head.provenance)
    found = sources.compare(base, head, paths)
    against = rules.reproduced(found, exact=exact)
    kind = (
        "the same kind of machine: exact"
        if exact
        else "another kind of machine: within tolerance"
    )
    code = show.changed_code(base.provenance, head.provenance)
    out.print(
        f"{paths.profile}: {len(head.rows)} rows against {base.name} ({kind}); {code}",
        markup=False,
    )
    out.print(show.lines(against) if len(against) else "the same results", markup=False)
    return 1 if len(against) else 0


def diff(options: argparse.Namespace) -> int:
    """Show what is better, worse or lost between two results; exit code 1 on what --fail-on names."""
    from benchmark.gate import diff as rules
    from benchmark.gate import show, sources

    fail_on = rules.kinds(options.fail_on)
    paths = store.Paths(name_of(options))
    base, head = sources.load(options.base, paths), sources.load(options.head, paths)
    found = sources.compare(base, head, paths, match=options.match)
    drawn = Path(options.plot) if options.plot else None
    if drawn:
        from benchmark.gate import picture
        from benchmark.utils import plot_style

        kind = "svg" if drawn.suffix == ".svg" else "png"
        with store.atomic(drawn) as file:
            file.write(plot_style.save(picture.figure(found), kind))
    if options.form == "md":
        extra = {"picture": drawn.name} if drawn else {}
        print(show.markdown(found, base, head, fail_on, **extra), end="")
    elif options.form == "json":
        print(show.as_json(found, base, head, fail_on))
    else:
        limit = len(found) if options.verbose else show.SHORT
        print(show.text(found, base, head, fail_on, limit=limit))
    return 1 if rules.fails(found, fail_on) else 0


def study(options: argparse.Namespace) -> int:
    """Write the kit of a study with people: pages, answer sheets and the key."""
    checks.network(profile_path(options.profile), options.target)
    from benchmark import engine

    engine.warm_up()
    from benchmark.jobs.study import folder_of, write_kit
    from benchmark.leaderboard.tables import plural

    profile = load_profile(options.profile)
    folder = options.out or folder_of(profile, options.paper)
    written = write_kit(
        profile,
        options.paper,
        folder,
        target=options.target,
        forms=options.forms,
        seed=options.seed,
        settings=_settings(options.set),
    )
    pages = [path for path in written if path.suffix == ".html"]
    out.print(
        f"{folder}: {plural(len(pages), 'form')}, answer sheets, key.json", markup=False
    )
    out.print(f"open {pages[0]}; keep key.json to yourself", markup=False)
    return 0


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``key=value`` as typed on the command line; values are YAML."""
    import yaml

    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise UsageError(f"--set {pair}: write key=value")
        try:
            found[key] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UsageError(f"--set {pair}: {text!r} is no value") from None
    return found


def study_score(options: argparse.Namespace) -> int:
    """Score the answers of a study; exit code 1 if some are missing."""
    from benchmark.jobs.study import as_facts, as_rows, notes, score_files

    found = score_files(options.answers, options.key)
    if options.json:
        out.print_json(json.dumps(as_facts(found)))
    else:
        title = f"{found.study}: {found.persons} persons"
        print_table(title, as_rows(found.scores))
    for line in notes(found):
        err.print(line, markup=False)
    return 1 if found.missing else 0
