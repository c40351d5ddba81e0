"""What a profile will take: its units, their seconds and memory, and what more workers buy.

    found = plan_profile(profile)
    makespan(found, workers=100)

Seconds are *measured* (on this machine, for this profile), *scaled* from measured units of the same kind, or *guessed*
(``costs``). The makespan is simulated: stages run one after the other, as under ``dvc repro``; within a stage the
longest unit starts first, on the worker that is free first, as in ``engine``. The critical path is a lower bound for
any number of workers: the longest chain train -> explain -> score (or again, or a metric of the user), or
train -> replicate, and then the report.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark import engine, store
from benchmark.engine import Unit
from benchmark.jobs import costs
from benchmark.jobs.costs import Counter, Model, Speed
from benchmark.methods.metric_refs import declared
from benchmark.pipeline import (
    again,
    cells,
    explain,
    own_scores,
    replicate,
    score,
    train,
    unit_times,
)
from benchmark.pipeline.profile import Profile
from benchmark.utils.near_names import pick

# Seconds of a step besides its units: the start of Python (6 s of a core, measured), of workers and of DVC (assumed).
STAGE = 8.0
REPORT = 30.0  # seconds of the report (assumed)
STEPS = ("train", "explain", "score", "again", "metric", "replicate")
_SCORES = ("score", "again", "metric")  # of an explanation, in one stage


@dataclass(frozen=True)
class Planned:
    """A unit of a profile, with its estimates.

    Attributes:
        stage: the data set, or the paper of an experiment.
        needs: networks that it needs (or trains), as data set/file stem.
        source: where ``seconds`` come from: measured, scaled or guessed.
        scores: the unit that explains what this one scores.
    """

    step: str
    stage: str
    name: str
    needs: tuple[str, ...]
    seconds: float
    gigabytes: float
    source: str
    scores: str = ""


# --------------------------------------------------------------------------------------------- the profile


def counter(profile: Profile, gpu: costs.Gpu | None = None) -> Counter:
    """A counter of the work of the profile's units."""
    paths = store.Paths(profile.name)
    recipe = lambda dataset, target: profile.zoo[dataset][target]
    return Counter(paths, profile.data, recipe, gpu)


def units(profile: Profile, gpu: bool = False) -> Iterator[tuple[str, str, Unit]]:
    """(step, stage, unit) of everything that a profile runs, in the order of its stages."""
    for dataset in profile.datasets:
        for unit in train.training_units(profile, dataset, gpu):
            yield "train", dataset, unit
    explained = {dataset: cells.cells(profile, dataset) for dataset in profile.datasets}
    for dataset in profile.datasets:
        for cell in explained[dataset]:
            yield "explain", dataset, explain.explain_unit(cell)
    for dataset in profile.datasets:
        for cell in explained[dataset]:
            yield "score", dataset, score.score_unit(cell)
            if cell.again:
                yield "again", dataset, again.again_unit(cell)
        brought = own_scores.files(profile, explained[dataset])
        for path, (cell, ref) in brought.items():
            if declared(ref).spec.offered <= costs.offered(cell.method):
                unit = own_scores.own_unit(profile, path, cell, ref)
                reads = cells.network_files(cell)
                yield "metric", dataset, replace(unit, reads=reads)
    for paper in profile.papers:
        for task in replicate.tasks(profile, paper):
            yield "replicate", paper, replicate.unit_of(task)


# --------------------------------------------------------------------------------------------- estimates


def plan_profile(
    profile: Profile, *, gpu: str = "", blind: bool = False
) -> list[Planned]:
    """Every unit with its estimates.

    Args:
        gpu: a name of ``costs.GPUS``: each worker has one such GPU.
        blind: predict from the units of other profiles alone, even if this profile was measured.

    Raises:
        UnknownName: a GPU that is not in the table, or a data set of unknown size.
        StoreError: no table of speeds.
    """
    card = pick(gpu.lower(), costs.GPUS, "GPU") if gpu else None
    ratio = card.ratio if card else 1.0
    paths = store.Paths(profile.name)
    speeds = costs.read_speeds()
    measured: dict[unit_times.Key, unit_times.Time] = {}
    if blind:
        speeds = [speed for speed in speeds if speed.profile != paths.profile]
    else:
        measured = _measured(unit_times.read(paths), gpu)
    model = Model(speeds)
    count = counter(profile, card)
    found = []
    for step, stage, unit in units(profile, bool(gpu)):
        kind, work = count.count(step, unit)
        seconds, source = model.seconds(kind, work, ratio)
        gigabytes = costs.LIBRARIES + work.bytes / 1e9
        time = measured.get((step, unit.name))
        if time:
            seconds = time.seconds
            gigabytes = time.gigabytes or gigabytes
            source = "measured"
        needs = _networks(step, unit)
        of = unit.arguments[0].name if step in _SCORES else ""
        found.append(
            Planned(step, stage, unit.name, needs, seconds, gigabytes, source, of)
        )
    return found


def calibration(profiles: Iterable[Profile]) -> Iterator[Speed]:
    """The speeds of all units of these profiles that were measured on a CPU."""
    for profile in profiles:
        times = unit_times.read(store.Paths(profile.name))
        measured = _measured(times, gpu="")
        if not measured:
            continue
        count = counter(profile)
        for step, _, unit in units(profile):
            time = measured.get((step, unit.name))
            if time:
                kind, work = count.count(step, unit)
                yield Speed(
                    profile=profile.name,
                    kind=kind,
                    passes=work.passes / 1e9,
                    fits=work.fits / 1e6,
                    seconds=time.seconds,
                    gigabytes=time.gigabytes,
                    device=time.device,
                )


def calibrate(profiles: Iterable[Profile]) -> Path:
    """Rewrite the table of speeds from what was measured here; other profiles keep their lines.

    Raises:
        StoreError: nothing was measured here.
    """
    measured = list(calibration(profiles))
    names = {speed.profile for speed in measured}
    if not names:
        raise store.StoreError(
            "nothing was measured here; run `make leaderboard` first"
        )
    kept = [speed for speed in costs.read_speeds() if speed.profile not in names]
    return costs.write_speeds([*measured, *kept])


def save(profile: Profile, found: Sequence[Planned]) -> None:
    """Write the estimates beside what was measured, so that the longest units of a first run start first."""
    paths = store.Paths(profile.name)
    times = {}
    for unit in found:
        time = unit_times.Time(unit.seconds, unit.gigabytes, source=unit.source)
        times[unit.step, unit.name] = time
    for key, time in unit_times.read(paths).items():
        if time.source == "measured":
            times[key] = time
    unit_times.write(paths, times)


def _measured(
    times: Mapping[unit_times.Key, unit_times.Time], gpu: str
) -> dict[unit_times.Key, unit_times.Time]:
    """The times that were measured on such a GPU, or on a CPU if there is none."""

    def on_it(device: str) -> bool:
        return gpu.lower() in device.lower() if gpu else device == "cpu"

    return {
        key: time
        for key, time in times.items()
        if time.source == "measured" and on_it(time.device)
    }


def _networks(step: str, unit: Unit) -> tuple[str, ...]:
    """The networks that a unit trains or needs."""
    files = unit.writes if step == "train" else unit.reads
    networks = []
    for file in files:
        if file.suffix == ".safetensors":
            networks.append(f"{file.parent.name}/{file.stem}")
    return tuple(networks)


# --------------------------------------------------------------------------------------------- schedules


def makespan(found: Sequence[Planned], workers: int) -> float:
    """Seconds from the first unit to the end of the report, stage after stage."""
    parts = stages(found)
    started = {"score" if step in _SCORES else step for step in parts}
    taken = sum(stage_seconds(part, workers) for part in parts.values())
    return len(started) * STAGE + taken + REPORT


def stage_seconds(part: Sequence[Planned], workers: int) -> float:
    """Seconds of one stage, as ``engine`` runs it: the longest unit that waits goes to the first free worker."""
    free_at = [0.0] * min(
        workers, len(part)
    )  # a heap: the worker that is free first comes first
    sent = engine.longest_first(
        Unit(unit.name, print, expected=unit.seconds) for unit in part
    )
    for unit in sent:
        heapq.heapreplace(free_at, free_at[0] + unit.expected)
    return max(free_at, default=0.0)


BUSY = 0.9  # of their time workers work: then more of them help


def bound(found: Sequence[Planned], workers: int) -> Planned | None:
    """The unit that keeps so many workers waiting the longest, since it alone is left of its stage; None where the
    sum of the work bounds, which more workers would share."""
    work = chain_seconds(found) / workers
    if not found or work >= BUSY * makespan(found, workers):
        return None

    def waiting(part: Sequence[Planned]) -> float:
        return stage_seconds(part, workers) - chain_seconds(part) / workers

    slowest = max(stages(found).values(), key=waiting)
    return max(slowest, key=_seconds)


def stages(found: Sequence[Planned]) -> dict[str, list[Planned]]:
    """The units of each step, in order: all data sets or papers of a step run side by side."""
    parts: dict[str, list[Planned]] = {}
    for unit in found:
        parts.setdefault(unit.step, []).append(unit)
    return parts


def critical_path(found: Sequence[Planned]) -> list[Planned]:
    """The chain of units that takes longest, each of which needs the one before; the report follows it."""
    by_step: dict[str, list[Planned]] = {step: [] for step in STEPS}
    for unit in found:
        by_step[unit.step].append(unit)
    trained: dict[str, Planned] = {}
    for unit in by_step["train"]:
        trained |= dict.fromkeys(unit.needs, unit)
    explained = {unit.name: unit for unit in by_step["explain"]}
    chains = [[unit] for unit in by_step["train"]]
    last = [unit for step in ("explain", *_SCORES) for unit in by_step[step]]
    for unit in by_step["replicate"] + last:
        chain = []
        networks = [trained[name] for name in unit.needs if name in trained]
        if networks:
            chain.append(max(networks, key=_seconds))
        if unit.scores:
            chain.append(explained[unit.scores])
        chain.append(unit)
        chains.append(chain)
    return max(chains, key=chain_seconds, default=[])


def chain_seconds(chain: Sequence[Planned]) -> float:
    """Seconds of units that run one after the other."""
    return sum(map(_seconds, chain))


def _seconds(unit: Planned) -> float:
    return unit.seconds
