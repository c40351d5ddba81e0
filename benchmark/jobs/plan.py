"""What a profile will take: its units, their seconds and memory, and what more workers buy.

    found = plan(profile)
    makespan(found, workers=100)

Seconds are *measured* (this machine's times of the profile), *scaled* from measured units of the same kind, or *guessed*
(``costs``). The makespan is simulated: stages one after the other as ``dvc repro`` runs them, in each the longest unit first on the
worker that is free first, as ``engine`` sends them. The critical path is what no number of workers can undercut: the longest
chain train -> explain -> score, or train -> replicate, and then the report.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark import engine, store
from benchmark.engine import Unit
from benchmark.jobs import costs
from benchmark.jobs.costs import Counter, Model, Speed
from benchmark.pipeline import explain, replicate, score, train, unit_times
from benchmark.pipeline.cells import cells
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import pick

# Seconds of a stage beside its units: Python's start (5 s of a core, measured), the workers', DVC's (assumed).
STAGE = 8.0
REPORT = 30.0  # seconds of the report (assumed)
STEPS = ("train", "explain", "score", "replicate")


@dataclass(frozen=True)
class Planned:
    """A unit of a profile."""

    step: str
    stage: str  # data set, of a paper's experiments the paper
    name: str
    needs: tuple[str, ...]  # networks, data set/file stem
    seconds: float
    gigabytes: float
    source: str  # measured, scaled or guessed


# --------------------------------------------------------------------------------------------- the profile


def counter(profile: Profile, device: str = "cpu") -> Counter:
    """Counts the work of the profile's units."""
    recipe = lambda dataset, target: profile.zoo[dataset][target]
    return Counter(store.Paths(profile.name), profile.data, recipe, device)


def units(profile: Profile, gpu: bool = False) -> Iterator[tuple[str, str, Unit]]:
    """(step, stage, unit) of everything that a profile runs, in the order of its stages."""
    for dataset in profile.datasets:
        yield from (
            ("train", dataset, unit) for unit in train.training_units(profile, dataset, gpu)
        )
    cells = {dataset: cells(profile, dataset) for dataset in profile.datasets}
    for dataset in profile.datasets:
        yield from (("explain", dataset, explain.explain_unit(cell)) for cell in cells[dataset])
    for dataset in profile.datasets:
        yield from (("score", dataset, score.score_unit(cell)) for cell in cells[dataset])
    for paper in profile.papers:
        yield from (
            ("replicate", paper, replicate.unit_of(task))
            for task in replicate.tasks(profile, paper)
        )


# --------------------------------------------------------------------------------------------- estimates


def plan_profile(profile: Profile, *, gpu: str = "", blind: bool = False) -> list[Planned]:
    """Every unit with its estimates.

    Args:
        gpu: a name of ``costs.GPUS``: each worker has one.
        blind: predict from other profiles' units alone, whatever this profile's own took.

    Raises:
        UnknownName: a GPU that is not in the table, or a data set of unknown size.
        StoreError: no table of speeds.
    """
    ratio = pick(gpu.lower(), costs.GPUS, "GPU").ratio if gpu else 1.0
    paths = store.Paths(profile.name)
    speeds = [s for s in costs.read_speeds() if not (blind and s.profile == paths.profile)]
    model, count = Model(speeds), counter(profile, "cuda" if gpu else "cpu")
    mine = {} if blind else _measured(unit_times.read(paths), gpu)
    found = []
    for step, stage, unit in units(profile, bool(gpu)):
        kind, work = count.count(step, unit)
        seconds, source = model.seconds(kind, work, ratio)
        gigabytes = costs.LIBRARIES + work.bytes / 1e9
        if time := mine.get((step, unit.name)):
            seconds, gigabytes, source = time.seconds, time.gigabytes or gigabytes, "measured"
        found.append(
            Planned(step, stage, unit.name, _networks(step, unit), seconds, gigabytes, source)
        )
    return found


def calibration(profiles: Iterable[Profile]) -> Iterator[Speed]:
    """The speeds of all units of profiles that were measured on a CPU."""
    for profile in profiles:
        taken, count = _measured(unit_times.read(store.Paths(profile.name)), ""), counter(profile)
        for step, _, unit in units(profile) if taken else ():
            if time := taken.get((step, unit.name)):
                kind, work = count.count(step, unit)
                counted = work.passes / 1e9, work.fits / 1e6
                yield Speed(profile.name, kind, *counted, time.seconds, time.gigabytes, time.device)


def calibrate(profiles: Iterable[Profile]) -> Path:
    """Write the table of speeds anew from what was measured here; profiles that were not keep their lines.

    Raises:
        StoreError: nothing was measured here.
    """
    measured = list(calibration(profiles))
    names = {speed.profile for speed in measured}
    if not names:
        raise store.StoreError("nothing was measured here; run `make leaderboard` first")
    return costs.write_speeds(
        [*measured, *(speed for speed in costs.read_speeds() if speed.profile not in names)]
    )


def save(profile: Profile, found: Sequence[Planned]) -> None:
    """Write the estimates beside what was measured, so that the longest units of a first run start first."""
    paths = store.Paths(profile.name)
    known = {key: time for key, time in unit_times.read(paths).items() if time.source == "measured"}
    new = {
        (u.step, u.name): unit_times.Time(u.seconds, u.gigabytes, source=u.source) for u in found
    }
    unit_times.write(paths, new | known)


def _measured(
    taken: Mapping[unit_times.Key, unit_times.Time], gpu: str
) -> dict[unit_times.Key, unit_times.Time]:
    """The lines that were measured on what is planned for."""
    same = lambda device: gpu.lower() in device.lower() if gpu else device == "cpu"
    return {
        key: time for key, time in taken.items() if time.source == "measured" and same(time.device)
    }


def _networks(step: str, unit: Unit) -> tuple[str, ...]:
    files = unit.writes if step == "train" else unit.reads
    return tuple(
        f"{file.parent.name}/{file.stem}" for file in files if file.suffix == ".safetensors"
    )


# --------------------------------------------------------------------------------------------- schedules


def makespan(found: Sequence[Planned], workers: int) -> float:
    """Seconds from the first unit to the report, stage after stage."""
    return sum(STAGE + stage_seconds(part, workers) for part in stages(found).values()) + REPORT


def stage_seconds(part: Sequence[Planned], workers: int) -> float:
    """Of the units of one stage, as ``engine`` runs them: the longest that waits goes to the first free worker."""
    free = [0.0] * min(workers, len(part))
    ordered = engine.longest_first(Unit(unit.name, print, expected=unit.seconds) for unit in part)
    for unit in ordered:
        heapq.heapreplace(free, free[0] + unit.expected)
    return max(free, default=0.0)


def stages(found: Sequence[Planned]) -> dict[tuple[str, str], list[Planned]]:
    """The units of each (step, stage), in order."""
    parts: dict[tuple[str, str], list[Planned]] = {}
    for unit in found:
        parts.setdefault((unit.step, unit.stage), []).append(unit)
    return parts


def critical_path(found: Sequence[Planned]) -> list[Planned]:
    """The chain of units, each of which needs the one before, that takes longest; the report follows it."""
    by_step = {step: [unit for unit in found if unit.step == step] for step in STEPS}
    trained = {name: unit for unit in by_step["train"] for name in unit.needs}
    explained = {unit.name: unit for unit in by_step["explain"]}
    chains = [[unit] for unit in by_step["train"]]
    for unit in by_step["replicate"] + by_step["explain"] + by_step["score"]:
        before = [explained[unit.name]] if unit.step == "score" else []
        network = max(
            (trained[name] for name in unit.needs if name in trained),
            key=lambda u: u.seconds,
            default=None,
        )
        chains.append([*([network] if network else []), *before, unit])
    return max(chains, key=lambda chain: sum(unit.seconds for unit in chain), default=[])
