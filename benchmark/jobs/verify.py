"""Are the committed rows what this code makes? A random sample of cells is made again and compared.

    found = verify(profile, sample=10, seed=0)
    found.differing          # the units whose rows are others, and by how much
    record(paths, found)     # into results/<profile>/provenance.json, under ``verified``

A unit is one method on one network and seed (explained and scored again) or one experiment of a paper; one of each method and
experiment is drawn before a second of any, for some have a hundred quick ones. All of it happens in a temporary folder: data
and networks are copied there where they have the committed hashes, else made again; the working results are only read. On the
same kind of machine every value must be the committed one to its last digit; on another one, within what ``diff`` calls
unchanged.
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
from benchmark.gate import diff as differing
from benchmark.pipeline import cells, explain, prerequisites, provenance, replicate, score
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.replicate import Task
from benchmark.pipeline.train import training_unit
from benchmark.utils.seeds import generator
from benchmark.utils.temporary import scratch
from benchmark.zoo.recipe import mapping_of


@dataclass(frozen=True)
class Checked:
    """A unit that was made again: its name, how many committed values it has, and what differs, a line each."""

    name: str
    values: int
    differences: Sequence[str] = ()


@dataclass(frozen=True)
class Verified:
    """What ``verify`` found."""

    units: list[Checked]
    total: int  # units of the profile, of which these are a sample
    seed: int
    exact: bool  # the machine is of the kind that made the rows
    facts: Mapping[str, Any] = field(default_factory=dict)  # provenance of here

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
    """Compute ``sample`` units of a profile again, drawn by ``seed``, and compare them with its rows.

    Args:
        then: what the rows were made of, where that is not their provenance.

    Raises:
        StoreError: there are no rows, or code or profile are others than those that made them.
    """
    profile = Profile.of(profile)
    paths = store.Paths(profile.name)
    rows, written = _committed(paths)
    then = written if then is None else then
    facts = provenance.provenance(profile)
    everything = units(profile)
    chosen = [everything[i] for i in draw(everything, sample, profile.name, seed)]
    _check_code(then, facts, chosen)
    exact = differing.same_machine(then, facts)
    with tempfile.TemporaryDirectory(prefix=scratch()) as folder:
        root = Path(folder)
        chosen = [replace(unit, root=root) for unit in chosen]
        others = _bring(profile, then, chosen, root)
        done = engine.run([Unit(unit.name, again, (unit,)) for unit in chosen], label="verify")
        errors = {d.unit.name: d.error for d in done}
        checked = [_compare(unit, errors[unit.name], rows, exact, others) for unit in chosen]
    return Verified(checked, len(everything), seed, exact, facts)


def units(profile: Profile) -> list[Cell | Task]:
    """Every unit of a profile that has rows: cells of the house's methods, experiments of the papers."""
    found: list[Cell | Task] = [
        c for dataset in profile.datasets for c in cells.cells(profile, dataset) if c.method.own
    ]
    return found + [task for paper in profile.papers for task in replicate.tasks(profile, paper)]


def draw(everything: Sequence[Cell | Task], sample: int, profile: str, seed: int) -> list[int]:
    """Which units are made again, sorted: one of each method and experiment before a second of any."""
    seen: Counter[str] = Counter()
    rounds = {}
    for i in generator("verify", profile, seed).permutation(len(everything)).tolist():
        unit = everything[i]
        kind = f"{unit.paper}.{unit.experiment}" if isinstance(unit, Task) else unit.method.file
        rounds[i] = seen[kind]
        seen[kind] += 1
    return sorted(sorted(rounds, key=rounds.__getitem__)[:sample])


def again(unit: Cell | Task) -> None:
    """Make a unit in its own root; one that fails leaves rows that say so."""
    steps = (
        (replicate.replicate_task,)
        if isinstance(unit, Task)
        else (explain.explain_cell, score.score_cell)
    )
    for step in steps:
        with contextlib.suppress(engine.Failed):
            step(unit)


# --------------------------------------------------------------------------------------------- what was committed


def _committed(paths: store.Paths) -> tuple[pd.DataFrame, dict[str, Any]]:
    file = paths.results / "provenance.json"
    if not paths.rows.exists() or not file.exists():
        raise store.StoreError(
            f"{paths.results} has no rows with their provenance: nothing to verify; "
            f"`make leaderboard PROFILE={paths.profile}` makes them"
        )
    return store.read_rows(paths.rows), store.read_json(file)


def _check_code(
    then: Mapping[str, Any], now: Mapping[str, Any], chosen: Sequence[Cell | Task]
) -> None:
    """Rows of another code are another thing.

    Raises:
        StoreError: names what differs, and the commit to go back to.
    """
    wanted = [("params", None)]
    for unit in chosen:
        if isinstance(unit, Task):
            wanted += [("steps", "replicate"), ("experiments", f"{unit.paper}.{unit.experiment}")]
        else:
            wanted += [
                ("steps", "explain"),
                ("steps", "score"),
                ("methods", f"{unit.method.file}:{unit.method.cls}"),
                ("metrics", None),
            ]
    for part, key in dict.fromkeys(wanted):
        old, new = (
            facts.get(part, {}) if key is None else facts.get(part, {}).get(key)
            for facts in (then, now)
        )
        if old != new:
            raise store.StoreError(
                f"{' '.join(filter(None, [part, key]))}: not the code that made the committed rows; "
                f"`git checkout {_commit(then)}`, or `make leaderboard PROFILE={now['profile']}` and commit"
            )


def _commit(facts: Mapping[str, Any]) -> str:
    return facts.get("made", facts).get("commit", "")[:12]


# --------------------------------------------------------------------------------------------- data and networks


def _bring(
    profile: Profile, then: Mapping[str, Any], chosen: Sequence[Cell | Task], root: Path
) -> set[str]:
    """Data and networks of the units into ``root``; returns the names of those that are not the committed ones."""
    others = set()
    for dataset in dict.fromkeys(unit.dataset for unit in chosen if unit.dataset):
        here, there = (store.Paths(profile.name, r).data(dataset) for r in (store.ROOT, root))
        if not _copy(here, there, then["data"].get(dataset)):
            prerequisites.prepare(profile, dataset, there)
            if _hash(there) != then["data"].get(dataset):
                others.add(dataset)
    recipes = {
        (dataset, name, seed): recipe
        for dataset in profile.datasets
        for name, seed, recipe in profile.trainings(dataset)
    }
    todo = []
    for key in dict.fromkeys(
        (unit.dataset, unit.target, unit.seed) for unit in chosen if unit.target
    ):
        here, there = (store.Paths(profile.name, r).target(*key) for r in (store.ROOT, root))
        if not _copy(here, there, then["weights"].get(_network(key)), also=".json"):
            source = store.Paths(profile.name, root).data(key[0])
            todo.append(
                training_unit(_network(key), source, [(mapping_of(recipes[key]), key[2], there)])
            )
    for done in engine.run(todo, label="train") if todo else ():
        if done.error:
            raise store.StoreError(f"{done.unit.name} could not be trained: {done.error}")
        if _hash(done.unit.writes[0]) != then["weights"].get(done.unit.name):
            others.add(done.unit.name)
    return others


def _network(key: tuple[str, str, int]) -> str:
    return f"{key[0]}/{key[1]}-{key[2]}"


def _hash(path: Path) -> str:
    return store.sha256(path)[:16] if path.exists() else ""


def _copy(here: Path, there: Path, digest: str | None, also: str = "") -> bool:
    """Copy a file, with its neighbour of another suffix, if it has the committed hash."""
    files = [here, here.with_suffix(also)] if also else [here]
    if not all(file.exists() for file in files) or _hash(here) != digest:
        return False
    there.parent.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, there.with_suffix(file.suffix))
    return True


# --------------------------------------------------------------------------------------------- compare


def _compare(
    unit: Cell | Task, error: str | None, rows: pd.DataFrame, exact: bool, others: set[str]
) -> Checked:
    if error:
        return Checked(unit.name, 0, [f"it could not be made: {error}"])
    fresh = _rows(unit)
    mine = rows.merge(fresh[list(store.ROW_KEYS)], on=list(store.ROW_KEYS))
    lines = [f"its {name} is not the committed one here" for name in sorted(others & _needs(unit))]
    if missing := len(fresh) - len(mine):
        lines.append(f"{missing} of {len(fresh)} rows are not among the committed ones")
    status = mine.merge(fresh, on=list(store.ROW_KEYS), suffixes=("", "_here"))
    for row in status[status["status"] != status["status_here"]].itertuples():
        if row.status != "ok":  # a value that is lost stands below
            lines.append(
                f"{row.metric} {row.metric_setting or row.setting}: {row.status} as committed, {row.status_here} here"
            )
    fresh = fresh.assign(value=[float(store.format_value(v) or "nan") for v in fresh["value"]])
    found = differing.compare(mine, fresh, None if exact else rows)
    for line in differing.reproduced(found, exact=exact).to_dict("records"):
        what = f"{line['metric']} {line['metric_setting'] or line['setting']}".strip()
        lines.append(
            f"{what}: {line['why']}"
            if line["kind"] in ("lost", "re-baselined")
            else f"{what}: {line['old']:.7g} committed, {line['new']:.7g} here ({line['new'] - line['old']:+.2g})"
        )
    return Checked(unit.name, int((mine["status"] == "ok").sum()), lines)


def _rows(unit: Cell | Task) -> pd.DataFrame:
    if isinstance(unit, Cell):
        return store.tidy_rows(store.read_scores(unit.scores)[0])
    return store.tidy_rows(
        pd.DataFrame(replicate.rows_of(unit)[0], columns=list(store.ROW_COLUMNS))
    )


def _needs(unit: Cell | Task) -> set[str]:
    return {unit.dataset, _network((unit.dataset, unit.target, unit.seed))}


# --------------------------------------------------------------------------------------------- record


def record(paths: store.Paths, found: Verified) -> None:
    """Write the outcome into the profile's provenance, and the file's new hash where DVC keeps the old one."""
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
        old, new = (
            f"md5: {hashlib.md5(b).hexdigest()}\n      size: {len(b)}\n"
            for b in (before, path.read_bytes())
        )
        text = lock.read_text()
        if old in text:
            store.write_text(lock, text.replace(old, new))


def lines(found: Verified) -> Iterator[str]:
    """What a reader is told."""
    for unit in found.units:
        yield f"{'differs ' if unit.differences else 'verified'}  {unit.name} ({unit.values} values)"
        for line in unit.differences[:5]:
            yield f"          {line}"
        if len(unit.differences) > 5:
            yield f"          and {len(unit.differences) - 5} more"
    how = (
        "to the last digit"
        if found.exact
        else "within tolerance: another kind of machine than that of the rows"
    )
    yield (
        f"{'differs' if found.differing else 'verified'}: {len(found.units) - len(found.differing)} of {len(found.units)} "
        f"units drawn of {found.total} (seed {found.seed}) have the committed rows, {how}"
    )
