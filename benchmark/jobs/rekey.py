"""Committed results whose key changed, though the code that made them means what it meant: moved, not computed again.

    moved = rekey(profile, base="e6f767f")
    moved.unproven         # definitions that no definition of the base is the same as
    write(moved)           # rows, values, board and provenance of results/<profile>/, under today's keys

The proof has two halves. That the rows were made by the code of ``base``: the hashes in their provenance are those of the
files in git. That today's code means the same: every definition that a number of the profile depends on (``keys``) is, as a
syntax tree and with what its names stand for, one of the definitions of ``base``; where it stands may differ. Definitions that
were rewritten are named, and then a random sample of the rows is computed again and compared, as ``verify`` does.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from benchmark import store
from benchmark.jobs import verify
from benchmark.leaderboard import summaries, tables
from benchmark.leaderboard.render import markdown
from benchmark.methods import registry
from benchmark.pipeline import keys, provenance, replicate
from benchmark.pipeline.profile import Profile
from benchmark.store.code_hash import Code, Place
from benchmark.utils.temporary import scratch

_V1_COMMON = (
    "api.py",
    "attention.py",
    "cells.py",
    "concepts.py",
    "data.py",
    "excitation.py",
    "seeds.py",
    "run.py",
    "zoo",
)
_V1_STEPS = {
    "explain": _V1_COMMON,
    "score": (*_V1_COMMON, "metrics"),
    "replicate": (*_V1_COMMON, "replicate.py", "metrics"),
}
_SAY = """
import json, sys, yaml
try:
    from benchmark.pipeline import report
    from benchmark.pipeline.profile import Profile
except ModuleNotFoundError:  # an earlier layout
    from benchmark import report
    from benchmark.profile import Profile
print(json.dumps(report.code(Profile.parse(yaml.safe_load(sys.stdin)))))
"""
_V1_NOT_CODE = ("__init__.py", "replicate.py", "figures.py", "verdicts.py")


@dataclass(frozen=True)
class Moved:
    """What a move of keys rests on."""

    profile: Profile
    base: str  # commit
    facts: Mapping[str, Any]  # the provenance under today's keys
    compared: int  # definitions
    unproven: Sequence[str]  # those that differ from all of the base's
    sample: str = ""  # what was computed again, in words


def rekey_profile(profile: Profile, *, base: str = "", sample: int = 0) -> Moved:
    """Prove that committed rows are what today's code makes.

    Args:
        profile: whose results. base: the commit whose code made them (default: the one in their provenance).
        sample: how many units to compute again where definitions were rewritten.

    Raises:
        StoreError: one line that says what is not proven, and what to do.
    """
    paths = store.Paths(profile.name)
    then = store.read_json(paths.results / "provenance.json")
    if not isinstance(then, dict) or not {"methods", "steps"} <= then.keys():
        raise store.StoreError(
            f"{paths.results / 'provenance.json'} does not say what code made the rows; compute them: "
            f"make leaderboard PROFILE={profile.name}"
        )
    base = _commit(
        base or then.get("rekeyed", {}).get("by") or then.get("made", then).get("commit") or "HEAD"
    )
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        tree = Path(folder)
        _extract(base, tree)
        _check_base(then, _code_of_base(then, profile, tree), base)
        compared, unproven = _compare(profile, tree)
    facts = _facts(profile, then, base, compared, unproven)
    moved = Moved(profile, base, facts, compared, unproven)
    if not unproven:
        return moved
    if not sample:
        raise store.StoreError(
            f"{len(unproven)} of {compared} definitions differ from {base[:12]}'s "
            f"({', '.join(unproven)}); compute some of the rows again to compare: --sample 20"
        )
    return _sampled(moved, sample)


def write(moved: Moved) -> None:
    """Rows, values and board of the profile in today's format, and their provenance."""
    paths = store.Paths(moved.profile.name)
    rows, values = store.read_rows(paths.rows), store.read_values(paths.values)
    frame = tables.leaderboard(rows, values)
    store.write_rows(paths.rows, rows)
    store.write_values(paths.values, values)
    store.write_text(paths.results / "leaderboard.csv", tables.csv_text(frame))
    store.write_text(paths.results / "leaderboard.md", markdown.render(frame, moved.profile.name))
    store.write_text(paths.results / "ranks.csv", summaries.ranks(frame))
    store.write_json(paths.results / "provenance.json", moved.facts)


def lines(moved: Moved) -> Iterator[str]:
    """What a reader is told."""
    yield f"{moved.profile.name}: {moved.compared - len(moved.unproven)} of {moved.compared} definitions are those of {moved.base[:12]}"
    if moved.unproven:
        yield f"rewritten: {', '.join(moved.unproven)}; {moved.sample}"


# --------------------------------------------------------------------------------------------- the code of then


def _commit(name: str) -> str:
    command = [
        "git",
        "-C",
        str(store.ROOT),
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{name}^{{commit}}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise store.StoreError(
            f"no commit {name!r} here; name another one: glassbench rekey --base COMMIT"
        )
    return done.stdout.strip()


def _extract(base: str, folder: Path) -> None:
    """The code of a commit, below ``folder``."""
    command = [
        "git",
        "-C",
        str(store.ROOT),
        "archive",
        "--format=tar",
        base,
        "benchmark",
        "baselines",
        "datasets",
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        why = " ".join(done.stderr.decode(errors="replace").split())
        raise store.StoreError(
            f"the code of {base!r} cannot be had ({why}); name a commit: glassbench rekey --base COMMIT"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def _code_of_base(then: Mapping[str, Any], profile: Profile, tree: Path) -> dict[str, Any]:
    """The hashes that the base's own code gives itself, in the form of its provenance."""
    if "metrics" not in then:
        return _version_1(then, tree)
    environment = {**os.environ, "PYTHONPATH": str(tree), "GLASSBENCH_ROOT": str(tree)}
    command, asked = [sys.executable, "-c", _SAY], yaml.safe_dump(profile.as_mapping())
    done = subprocess.run(
        command, input=asked, capture_output=True, text=True, env=environment, cwd=tree, check=False
    )
    if done.returncode:
        raise store.StoreError(
            f"the base cannot say what its code is: {' '.join(done.stderr.split())[-200:]}"
        )
    return json.loads(done.stdout)


def _version_1(then: Mapping[str, Any], tree: Path) -> dict[str, Any]:
    """As provenance was before keys went by meaning: hashes of whole files."""
    package, papers = tree / "benchmark", tree / "benchmark" / "papers"

    def paper(name: str) -> str:
        left_out = {"__init__.py", "figures.py", "verdicts.py"}
        files = sorted(path for path in (papers / name).glob("*.py") if path.name not in left_out)
        return store.sha256(papers / "__init__.py", *files)

    def method(file: str) -> str:
        path = tree / file
        siblings = sorted(p for p in path.parent.glob("*.py") if p.name not in _V1_NOT_CODE)
        return store.sha256(*(siblings if (path.parent / "__init__.py").exists() else [path]))

    steps = {
        step: store.sha256(*(package / name for name in names)) for step, names in _V1_STEPS.items()
    }
    return {
        "steps": {step: code[:16] for step, code in steps.items()},
        "papers": {name: paper(name)[:16] for name in then["papers"]},
        "methods": {file: method(file)[:16] for file in then["methods"]},
    }


def _check_base(then: Mapping[str, Any], code: Mapping[str, Any], base: str) -> None:
    for part, known in code.items():
        for name, value in known.items():
            if part != "steps" or name != "report":
                _check_one(then.get(part, {}).get(name), value, f"{part} {name}", base)


def _check_one(recorded: str | None, value: str, what: str, base: str) -> None:
    if recorded != value:
        raise store.StoreError(
            f"{what}: the rows were made by other code than {base[:12]}'s; name their commit, or compute them: "
            "make leaderboard"
        )


# --------------------------------------------------------------------------------------------- the code of now


def _compare(profile: Profile, tree: Path) -> tuple[int, list[str]]:
    """(how many definitions the profile's numbers depend on, those that are none of the base's)."""
    base, here = Code(tree, carriers=frozenset()), keys.CODE
    files = [
        path for folder in ("benchmark", "baselines") for path in (tree / folder).rglob("*.py")
    ]
    known: dict[str, list[set[str]]] = {}
    for place in (
        place for path in files for place in base.definitions(str(path.relative_to(tree)))
    ):
        known.setdefault(base.meaning(place), []).append(base.names(place))
    places = sorted(here.reached(_entries(profile)))
    unproven = [
        _name(p)
        for p in places
        if not any(here.names(p) <= names for names in known.get(here.meaning(p), []))
    ]
    return len(places), unproven


def _entries(profile: Profile) -> list[str]:
    """What explains, scores and replicates in a profile. Networks and data are compared by their files."""
    found = [entry for step in ("explain", "score", "replicate") for entry in keys.STEPS[step]]
    for ref in profile.explain.methods:
        found += [keys.method_entry(each) for each in (ref, *ref.named)]
    found += [
        f"{spec.function.__module__}:{spec.function.__name__}"
        for spec in registry.metrics().values()
    ]
    for paper in profile.papers:
        tasks = replicate.tasks(profile, paper)
        found += [f"benchmark.papers.{paper}.replicate:{task.experiment}" for task in tasks]
    return sorted(set(found))


def _name(place: Place) -> str:
    module, definition = place
    return f"{module.removeprefix('benchmark.')}.{definition}"


def _facts(
    profile: Profile, then: Mapping[str, Any], base: str, compared: int, unproven: Sequence[str]
) -> dict[str, Any]:
    """The provenance of then under the keys of today; data, networks, libraries and machine as they were."""
    old = {"date", "commit", "changed_files"}
    made = then.get("made") or {key: then[key] for key in sorted(old & then.keys())}
    kept = {
        key: then[key]
        for key in ("profile", "data", "weights", "libraries", "machine", "verified")
        if key in then
    }
    how = {
        "base": base,
        "by": _commit("HEAD"),
        "definitions": compared,
        "rewritten": list(unproven),
    }
    return {
        **kept,
        **provenance.code(profile),
        "rows": store.ROWS_VERSION,
        "params": provenance.params_hash(profile),
        "made": made,
        "rekeyed": how,
    }


def _sampled(moved: Moved, sample: int) -> Moved:
    """The move with what a sample of recomputed units says.

    Raises:
        StoreError: a unit that has other rows.
    """
    found = verify.verify_rows(moved.profile, sample=sample, then=moved.facts)
    if found.differing:
        names = ", ".join(unit.name for unit in found.differing)
        raise store.StoreError(
            f"{len(found.differing)} of {len(found.units)} units have other rows ({names}); compute the profile: "
            f"make leaderboard PROFILE={moved.profile.name}"
        )
    how = "to the last digit" if found.exact else "within tolerance, on another kind of machine"
    words = (
        f"{len(found.units)} of {found.total} units computed again have the committed rows, {how}"
    )
    return replace(
        moved,
        sample=words,
        facts={**moved.facts, "rekeyed": {**moved.facts["rekeyed"], "sample": words}},
    )
