"""Checks that the committed rows are what this code computes: a random sample is recomputed and compared.

    found = verify_rows(profile, sample=10, seed=0)
    found.differing          # the units whose rows differ, and by how much
    record(paths, found)     # into results/<profile>/provenance.json, under ``verified``

A unit is one method on one network and seed (explained and scored) or one experiment of a paper. One unit of each
method and experiment is drawn before a second one of any, as some have a hundred quick ones. Everything happens in a
temporary folder: data and networks are copied there if they have the committed hashes, else recomputed; the working
results are only read. On the same kind of machine every value must agree to its last digit; on another kind, within
what ``diff`` calls unchanged.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import engine, store
from benchmark.engine import Unit
from benchmark.gate import diff
from benchmark.pipeline import (
    again,
    cells,
    collect,
    explain,
    prerequisites,
    provenance,
    replicate,
    score,
)
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.replicate import Task
from benchmark.pipeline.train import training_unit
from benchmark.utils.seeds import generator
from benchmark.utils.temporary import scratch
from benchmark.zoo.recipe import mapping_of


@dataclass(frozen=True)
class Checked:
    """A recomputed unit: its name, how many committed values it has, and a line for each difference."""

    name: str
    values: int
    differences: Sequence[str] = ()


@dataclass(frozen=True)
class Verified:
    """What ``verify_rows`` found.

    Attributes:
        units: the sample.
        total: how many units the profile has.
        exact: whether the machine is of the kind that made the rows.
        facts: the provenance of this code and machine.
    """

    units: list[Checked]
    total: int
    seed: int
    exact: bool
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def differing(self) -> list[Checked]:
        return [unit for unit in self.units if unit.differences]


def verify_rows(
    profile: Profile | Mapping[str, Any],
    *,
    sample: int = 10,
    seed: int = 0,
    then: Mapping[str, Any] | None = None,
) -> Verified:
    """Recompute ``sample`` units of a profile, drawn by ``seed``, and compare them with its rows.

    Args:
        then: what the rows were made of (default: their committed provenance).

    Raises:
        StoreError: there are no rows, or they were made by other code or another profile.
    """
    profile = Profile.of(profile)
    paths = store.Paths(profile.name)
    rows, recorded = _committed(paths)
    if then is None:
        then = recorded
    facts = provenance.provenance(profile)
    everything = units(profile)
    drawn = draw(everything, sample, profile.name, seed)
    chosen = [everything[i] for i in drawn]
    _check_code(then, facts, chosen)
    exact = diff.same_machine(then, facts)
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        root = Path(folder)
        chosen = [replace(unit, root=root) for unit in chosen]
        others = _bring(profile, then, chosen, root)
        done = engine.run(
            [Unit(unit.name, recompute, (unit,)) for unit in chosen], label="verify"
        )
        errors = {d.unit.name: d.error for d in done}
        checked = [
            _compare(unit, errors[unit.name], rows, exact, others) for unit in chosen
        ]
    return Verified(checked, len(everything), seed, exact, facts)


def units(profile: Profile) -> list[Cell | Task]:
    """Every unit of a profile that has committed rows: cells of our own methods, experiments of the papers."""
    found: list[Cell | Task] = []
    for dataset in profile.datasets:
        found += [cell for cell in cells.cells(profile, dataset) if cell.method.own]
    for paper in profile.papers:
        found += replicate.tasks(profile, paper)
    return found


def draw(
    everything: Sequence[Cell | Task], sample: int, profile: str, seed: int
) -> list[int]:
    """Indices of the units to recompute, sorted: one of each method and experiment before a second one of any."""
    seen: Counter[str] = Counter()
    rounds = {}  # how many of its kind come before a unit
    for i in generator("verify", profile, seed).permutation(len(everything)).tolist():
        unit = everything[i]
        kind = _kind(unit)
        rounds[i] = seen[kind]
        seen[kind] += 1
    in_turn = sorted(rounds, key=rounds.__getitem__)
    return sorted(in_turn[:sample])


def _kind(unit: Cell | Task) -> str:
    """The experiment or the method of a unit."""
    if isinstance(unit, Task):
        return f"{unit.paper}.{unit.experiment}"
    return unit.method.file


def recompute(unit: Cell | Task) -> None:
    """Compute a unit in its own root; if it fails, its rows tell."""
    steps = [explain.explain_cell, score.score_cell]
    if isinstance(unit, Task):
        steps = [replicate.replicate_task]
    elif unit.again:
        steps.append(again.again_cell)
    for step in steps:
        with contextlib.suppress(engine.Failed):
            step(unit)


# --------------------------------------------------------------------------------------------- what was committed


def _committed(paths: store.Paths) -> tuple[pd.DataFrame, dict[str, Any]]:
    file = paths.results / "provenance.json"
    if not paths.rows.exists() or not file.exists():
        raise store.StoreError(
            f"{paths.results} has no rows with their provenance: nothing to verify; "
            f"`make leaderboard PROFILE={paths.profile}` computes them"
        )
    return store.read_rows(paths.rows), store.read_json(file)


def _check_code(
    then: Mapping[str, Any], now: Mapping[str, Any], chosen: Sequence[Cell | Task]
) -> None:
    """Only rows of the same code and profile can be compared.

    Raises:
        StoreError: names what differs, and the commit to go back to.
    """
    parts = [
        ("params", "")
    ]  # (part of the provenance, key in it or "" for the whole part)
    for unit in chosen:
        if isinstance(unit, Task):
            parts += [
                ("steps", "replicate"),
                ("experiments", f"{unit.paper}.{unit.experiment}"),
            ]
        else:
            method = f"{unit.method.file}:{unit.method.cls}"
            parts += [
                ("steps", "explain"),
                ("steps", "score"),
                ("steps", "again"),
                ("methods", method),
                ("metrics", ""),
            ]
    for part, key in dict.fromkeys(parts):
        old = then.get(part, {})
        new = now.get(part, {})
        if key:
            old = old.get(key)
            new = new.get(key)
        if old != new:
            what = f"{part} {key}".rstrip()
            raise store.StoreError(
                f"{what}: not the code that made the committed rows; `git checkout {_commit(then)}`, "
                f"or `make leaderboard PROFILE={now['profile']}` and commit"
            )


def _commit(facts: Mapping[str, Any]) -> str:
    made = facts.get("made", facts)
    return made.get("commit", "")[:12]


# --------------------------------------------------------------------------------------------- data and networks


def _bring(
    profile: Profile, then: Mapping[str, Any], chosen: Sequence[Cell | Task], root: Path
) -> set[str]:
    """Put data and networks of the units into ``root``; returns the names of those that are not the committed ones."""
    others = set()
    here = store.Paths(profile.name)
    there = store.Paths(profile.name, root)
    datasets = dict.fromkeys(unit.dataset for unit in chosen if unit.dataset)
    for dataset in datasets:
        committed = then["data"].get(dataset)
        file = there.data(dataset)
        if not _copy([here.data(dataset)], file, committed):
            prerequisites.prepare(profile, dataset, file)
            if _hash(file) != committed:
                others.add(dataset)
    networks = dict.fromkeys(
        (unit.dataset, unit.target, unit.seed) for unit in chosen if unit.target
    )
    missing = []
    for network in networks:
        weights = here.target(*network)
        files = [weights, weights.with_suffix(".json")]
        committed = then["weights"].get(_name(network))
        if not _copy(files, there.target(*network), committed):
            missing.append(network)
    for done in _train(profile, missing, there):
        if done.error:
            raise store.StoreError(
                f"{done.unit.name} could not be trained: {done.error}"
            )
        name = done.unit.name
        weights = done.unit.writes[0]
        if _hash(weights) != then["weights"].get(name):
            others.add(name)
    return others


Network = tuple[str, str, int]  # data set, target, seed


def _train(
    profile: Profile, networks: Sequence[Network], there: store.Paths
) -> Iterator[engine.Done]:
    recipes = {}
    for dataset in profile.datasets:
        for target, seed, recipe in profile.trainings(dataset):
            recipes[dataset, target, seed] = recipe
    units = []
    for network in networks:
        dataset, _, seed = network
        job = (mapping_of(recipes[network]), seed, there.target(*network))
        units.append(training_unit(_name(network), there.data(dataset), [job]))
    if units:
        yield from engine.run(units, label="train")


def _name(network: Network) -> str:
    dataset, target, seed = network
    return f"{dataset}/{target}-{seed}"


def _hash(path: Path) -> str:
    return store.sha256(path)[:16] if path.exists() else ""


def _copy(files: Sequence[Path], there: Path, digest: str | None) -> bool:
    """Copy files that differ in their suffix, if all exist and the first has the committed hash."""
    if not all(file.exists() for file in files) or _hash(files[0]) != digest:
        return False
    there.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, there.with_suffix(file.suffix))
    return True


# --------------------------------------------------------------------------------------------- compare


def _compare(
    unit: Cell | Task,
    error: str | None,
    rows: pd.DataFrame,
    exact: bool,
    others: set[str],
) -> Checked:
    """Compare the rows of a recomputed unit with the committed ones.

    Args:
        others: names of data sets and networks that are not the committed ones.
    """
    if error:
        return Checked(unit.name, 0, [f"it could not be computed: {error}"])
    fresh = _rows(unit)
    keys = list(store.ROW_KEYS)
    committed = rows.merge(fresh[keys], on=keys)
    network = _name((unit.dataset, unit.target, unit.seed))
    lines = []
    for name in sorted(others & {unit.dataset, network}):
        lines.append(f"its {name} is not the committed one here")
    missing = len(fresh) - len(committed)
    if missing:
        lines.append(f"{missing} of {len(fresh)} rows are not among the committed ones")
    both = committed.merge(fresh, on=keys, suffixes=("", "_here"))
    for row in both[both["status"] != both["status_here"]].itertuples():
        if row.status != "ok":  # a value that is lost is listed below
            what = f"{row.metric} {row.metric_setting or row.setting}"
            lines.append(f"{what}: {row.status} as committed, {row.status_here} here")
    as_written = [float(store.format_value(value) or "nan") for value in fresh["value"]]
    fresh = fresh.assign(value=as_written)
    found = diff.compare(committed, fresh, None if exact else rows)
    for row in diff.reproduced(found, exact=exact).to_dict("records"):
        lines.append(_difference(row))
    values = int((committed["status"] == "ok").sum())
    return Checked(unit.name, values, lines)


def _difference(row: Mapping[str, Any]) -> str:
    """A row of ``gate.diff`` as a line of text."""
    what = f"{row['metric']} {row['metric_setting'] or row['setting']}".strip()
    if row["kind"] in ("lost", "re-baselined"):
        return f"{what}: {row['why']}"
    old = row["old"]
    new = row["new"]
    difference = new - old
    return f"{what}: {old:.7g} committed, {new:.7g} here ({difference:+.2g})"


def _rows(unit: Cell | Task) -> pd.DataFrame:
    if isinstance(unit, Cell):
        rows, _ = collect.rows_of(score.files(unit))
        return rows
    rows, _, _ = replicate.rows_of(unit)
    return store.tidy_rows(pd.DataFrame(rows, columns=list(store.ROW_COLUMNS)))


# --------------------------------------------------------------------------------------------- record


def record(paths: store.Paths, found: Verified) -> None:
    """Write the outcome into the profile's provenance, and update the hash of that file in dvc.lock."""
    path = paths.results / "provenance.json"
    before = path.read_bytes()
    facts = store.read_json(path)
    facts["verified"] = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": found.facts["made"]["commit"],
        "machine": found.facts["machine"],
        "same_machine": found.exact,
        "sample": f"{len(found.units)} of {found.total} units, seed {found.seed}",
        "units": [unit.name for unit in found.units],
        "values": sum(unit.values for unit in found.units),
        "differing": {unit.name: list(unit.differences) for unit in found.differing},
    }
    store.write_json(path, facts)
    lock = paths.root / "dvc.lock"
    if lock.exists():
        text = lock.read_text()
        old = _lock_entry(before)
        new = _lock_entry(path.read_bytes())
        if old in text:
            store.write_text(lock, text.replace(old, new))


def _lock_entry(content: bytes) -> str:
    """What dvc.lock says of a file with this content."""
    return f"md5: {hashlib.md5(content).hexdigest()}\n      size: {len(content)}\n"


def lines(found: Verified) -> Iterator[str]:
    """The outcome as lines of text."""
    for unit in found.units:
        word = "differs " if unit.differences else "verified"
        yield f"{word}  {unit.name} ({unit.values} values)"
        for line in unit.differences[:5]:
            yield f"          {line}"
        more = len(unit.differences) - 5
        if more > 0:
            yield f"          and {more} more"
    word = "differs" if found.differing else "verified"
    same, count = len(found.units) - len(found.differing), len(found.units)
    how = "to the last digit"
    if not found.exact:
        how = "within tolerance: another kind of machine than that of the rows"
    yield (
        f"{word}: {same} of {count} units drawn of {found.total} (seed {found.seed}) "
        f"have the committed rows, {how}"
    )
