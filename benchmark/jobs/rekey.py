"""Moves committed results to today's keys instead of recomputing them, if the code that made them still means the same.

    moved = rekey_profile(profile, base="e6f767f")
    moved.unproven         # definitions that equal no definition of the base
    write(moved)           # rows, values, board and provenance of results/<profile>/, under today's keys

The proof has two parts. First, the rows were made by the code of ``base``: the hashes in their provenance are those of
the files in git. Second, today's code means the same: every definition that a number of the profile depends on
(``keys``) equals a definition of ``base``, as a syntax tree and in what its names refer to; it may stand in another
file. Definitions that were rewritten are named, and then a random sample of the rows is recomputed and compared, as
``verify`` does.
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
from benchmark.jobs.judge import write_board
from benchmark.methods import registry
from benchmark.pipeline import keys, provenance, replicate
from benchmark.pipeline.profile import Profile
from benchmark.store import git
from benchmark.store.code_hash import Code, Place
from benchmark.utils.temporary import scratch

_PRINT_CODE = """
import json, sys, yaml
from benchmark.pipeline import provenance
from benchmark.pipeline.profile import Profile
print(json.dumps(provenance.code(Profile.parse(yaml.safe_load(sys.stdin)))))
"""


@dataclass(frozen=True)
class Moved:
    """The proof that results may move, and what they become.

    Attributes:
        base: the commit whose code made the rows.
        facts: the provenance under today's keys.
        compared: how many definitions were compared.
        unproven: those that equal no definition of the base.
        sample: what was recomputed, as text.
    """

    profile: Profile
    base: str
    facts: Mapping[str, Any]
    compared: int
    unproven: Sequence[str]
    sample: str = ""


def rekey_profile(profile: Profile, *, base: str = "", sample: int = 0) -> Moved:
    """Prove that the committed rows of a profile are what today's code computes.

    Args:
        base: the commit whose code made them (default: the one in their provenance).
        sample: how many units to recompute if definitions were rewritten.

    Raises:
        StoreError: one line with what is not proven, and what to do.
    """
    paths = store.Paths(profile.name)
    file = paths.results / "provenance.json"
    then = store.read_json(file)
    if not isinstance(then, dict) or not {"methods", "metrics", "steps"} <= then.keys():
        raise store.StoreError(
            f"{file} does not say what code made the rows; compute them: "
            f"make leaderboard PROFILE={profile.name}"
        )
    base = _commit(base or _recorded_commit(then))
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        tree = Path(folder)
        _extract(base, tree)
        _check_base(then, _code_of_base(profile, tree), base)
        compared, unproven = _compare(profile, tree)
    facts = _facts(profile, then, base, compared, unproven)
    moved = Moved(profile, base, facts, compared, unproven)
    if not unproven:
        return moved
    if not sample:
        raise store.StoreError(
            f"{len(unproven)} of {compared} definitions differ from {base[:12]}'s "
            f"({', '.join(unproven)}); recompute some of the rows to compare: --sample 20"
        )
    return _sampled(moved, sample)


def _recorded_commit(then: Mapping[str, Any]) -> str:
    """The commit whose code made the rows, or to which they were last moved."""
    moved_by = then.get("rekeyed", {}).get("by")
    made_by = then.get("made", then).get("commit")
    return moved_by or made_by or "HEAD"


def write(moved: Moved) -> None:
    """Write rows, values and board of the profile in today's format, and their provenance."""
    paths = store.Paths(moved.profile.name)
    write_board(moved.profile.name, store.read_rows(paths.rows))
    store.write_values(paths.values, store.read_values(paths.values))
    store.write_json(paths.results / "provenance.json", moved.facts)


def lines(moved: Moved) -> Iterator[str]:
    """The outcome as lines of text."""
    same = moved.compared - len(moved.unproven)
    yield (
        f"{moved.profile.name}: {same} of {moved.compared} definitions are those of {moved.base[:12]}"
    )
    if moved.unproven:
        yield f"rewritten: {', '.join(moved.unproven)}; {moved.sample}"


# --------------------------------------------------------------------------------------------- the code of the base


def _commit(name: str) -> str:
    """The full hash of a commit."""
    verify = ("rev-parse", "--verify", "--quiet", "--end-of-options")
    found, why = git.ask(store.ROOT, *verify, f"{name}^{{commit}}")
    if not found:
        way_out = why or "name another one: glassbench rekey --base COMMIT"
        raise store.StoreError(f"no commit {name!r} here; {way_out}")
    return found.decode().strip()


def _extract(base: str, folder: Path) -> None:
    """Write the code of a commit below ``folder``."""
    archive = ("archive", "--format=tar", base)
    packed, why = git.ask(store.ROOT, *archive, "benchmark", "baselines", "datasets")
    if not packed:
        raise store.StoreError(
            f"cannot read the code of {base!r} ({why}); name a commit: glassbench rekey --base COMMIT"
        )
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def _code_of_base(profile: Profile, tree: Path) -> dict[str, Any]:
    """The hashes that the base computes of its own code, in the form of its provenance."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "GLASSBENCH_ROOT": str(tree)}
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_CODE],
        input=yaml.safe_dump(profile.as_mapping()),
        capture_output=True,
        text=True,
        env=environment,
        cwd=tree,
        check=False,
    )
    if done.returncode:
        why = " ".join(done.stderr.split())[-200:]
        raise store.StoreError(f"the base cannot compute the hashes of its code: {why}")
    return json.loads(done.stdout)


def _check_base(then: Mapping[str, Any], code: Mapping[str, Any], base: str) -> None:
    """The recorded hashes must be those of the base; the report decides no number."""
    for part, hashes in code.items():
        for name, value in hashes.items():
            if (part, name) == ("steps", "report"):
                continue
            if then.get(part, {}).get(name) != value:
                raise store.StoreError(
                    f"{part} {name}: the rows were made by other code than {base[:12]}'s; "
                    "name their commit, or compute them: make leaderboard"
                )


# --------------------------------------------------------------------------------------------- the code of today


def _compare(profile: Profile, tree: Path) -> tuple[int, list[str]]:
    """How many definitions the profile's numbers depend on, and the names of those that equal none of the base."""
    known = _definitions(tree)
    here = keys.CODE
    places = sorted(here.reached(_entries(profile)))
    unproven = []
    for place in places:
        names = here.names(place)
        same = known.get(here.meaning(place), [])
        if not any(names <= names_of_base for names_of_base in same):
            unproven.append(_name(place))
    return len(places), unproven


def _definitions(tree: Path) -> dict[str, list[set[str]]]:
    """The definitions of the base, by their meaning: the names that each refers to."""
    base = Code(tree, carriers=frozenset())
    found: dict[str, list[set[str]]] = {}
    for folder in ("benchmark", "baselines"):
        for path in (tree / folder).rglob("*.py"):
            for place in base.definitions(str(path.relative_to(tree))):
                found.setdefault(base.meaning(place), []).append(base.names(place))
    return found


def _entries(profile: Profile) -> list[str]:
    """What explains, scores and replicates in a profile. Networks and data are compared by their files."""
    found: list[str] = []
    for step in ("explain", "score", "again", "replicate"):
        found += keys.STEPS[step]
    for ref in profile.explain.methods:
        found += [keys.method_entry(each) for each in (ref, *ref.named)]
    functions = [spec.function for spec in registry.metrics().values()]
    found += [f"{function.__module__}:{function.__name__}" for function in functions]
    for paper in profile.papers:
        tasks = replicate.tasks(profile, paper)
        found += [
            f"benchmark.papers.{paper}.replicate:{task.experiment}" for task in tasks
        ]
    return sorted(set(found))


def _name(place: Place) -> str:
    module, definition = place
    return f"{module.removeprefix('benchmark.')}.{definition}"


def _facts(
    profile: Profile,
    then: Mapping[str, Any],
    base: str,
    compared: int,
    unproven: Sequence[str],
) -> dict[str, Any]:
    """The recorded provenance under today's keys; data, networks, libraries and machine stay."""
    unchanged = ("profile", "data", "weights", "libraries", "machine", "verified")
    of_version_1 = ("changed_files", "commit", "date")  # now below "made"
    return {
        **{key: then[key] for key in unchanged if key in then},
        **provenance.code(profile),
        "rows": store.ROWS_VERSION,
        "params": provenance.params_hash(profile),
        "made": then.get("made")
        or {key: then[key] for key in of_version_1 if key in then},
        "rekeyed": {
            "base": base,
            "by": _commit("HEAD"),
            "definitions": compared,
            "rewritten": list(unproven),
        },
    }


def _sampled(moved: Moved, sample: int) -> Moved:
    """Recompute a sample of units, and add the outcome to the move.

    Raises:
        StoreError: a unit has other rows.
    """
    found = verify.verify_rows(moved.profile, sample=sample, then=moved.facts)
    if found.differing:
        names = ", ".join(unit.name for unit in found.differing)
        raise store.StoreError(
            f"{len(found.differing)} of {len(found.units)} units have other rows ({names}); compute the profile: "
            f"make leaderboard PROFILE={moved.profile.name}"
        )
    how = (
        "to the last digit"
        if found.exact
        else "within tolerance, on another kind of machine"
    )
    text = f"{len(found.units)} of {found.total} units were recomputed and have the committed rows, {how}"
    rekeyed = {**moved.facts["rekeyed"], "sample": text}
    return replace(moved, sample=text, facts={**moved.facts, "rekeyed": rekeyed})
