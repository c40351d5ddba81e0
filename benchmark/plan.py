"""What a profile will take: its units, their seconds and memory, and what more workers buy.

    found = plan(profile)
    makespan(found, workers=100)

Seconds are *measured* (``results/<profile>/times.csv``), *scaled* from other profiles' measured units of the same kind, or
*guessed* (``costs``). The makespan is simulated: stages one after the other as ``dvc repro`` runs them, in each the longest
unit first on the worker that is free first, as ``engine`` sends them. The critical path is what no number of workers can
undercut: the longest chain train -> explain -> score, or train -> replicate, and then the report.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmark import costs, engine, replicate, run, store, times
from benchmark.costs import Model
from benchmark.engine import Unit
from benchmark.names import pick
from benchmark.profile import Profile

# Seconds of a stage beside its units: Python's start (5 s of a core, measured), the workers', DVC's (assumed).
STAGE = 8.0
REPORT = 30.0  # seconds of the report (assumed)
WORKERS = (1, 10, 100, 1000)
_STEPS = ("train", "explain", "score", "replicate")


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


# --------------------------------------------------------------------------------------------- units


def units(profile: Profile, gpu: bool = False) -> Iterator[tuple[str, str, Unit]]:
    """(step, stage, unit) of everything that a profile runs, in the order of its stages."""
    for dataset in profile.datasets:
        yield from (("train", dataset, unit) for unit in run.train_units(profile, dataset, gpu))
    for dataset in profile.datasets:
        yield from (("explain", dataset, run.explain_unit(cell)) for cell in run.cells(profile, dataset))
    for dataset in profile.datasets:
        yield from (("score", dataset, run.score_unit(cell)) for cell in run.cells(profile, dataset))
    for paper in profile.papers:
        yield from (("replicate", paper, replicate.unit_of(task)) for task in replicate.tasks(profile, paper))


def plan(profile: Profile, others: Mapping[str, Profile], *, gpu: str = "", own: bool = True) -> list[Planned]:
    """Every unit with its estimates.

    Args:
        others: profiles whose measured units may be scaled, by name.
        gpu: a name of ``costs.GPUS``: each worker has one.
        own: use what this profile's own units took; False predicts them from the others.

    Raises:
        UnknownName: a GPU that is not in the table.
    """
    ratio = pick(gpu.lower(), costs.GPUS, "GPU") if gpu else 1
    taken = {name: times.read(store.Paths(name)) for name in others if own or name != profile.name}
    known = {name: (others[name], lines) for name, lines in taken.items() if lines}
    model = Model(costs.measured_elsewhere(known, lambda p: ((step, unit) for step, _, unit in units(p))))
    mine = times.read(store.Paths(profile.name)) if own else {}
    found = []
    for step, stage, unit in units(profile, bool(gpu)):
        work, time = costs.count(profile, step, unit), mine.get((step, unit.name))
        seconds, source = model.seconds(work, ratio)
        gigabytes = work.gigabytes
        if time and time.source == "measured" and _same(time.device, gpu):
            seconds, gigabytes, source = time.seconds, time.gigabytes or gigabytes, "measured"
        found.append(Planned(step, stage, unit.name, _networks(step, unit), seconds, gigabytes, source))
    return found


def _same(device: str, gpu: str) -> bool:
    """Were the seconds measured on what is planned for?"""
    return gpu.lower() in device.lower() if gpu else device == "cpu"


def _networks(step: str, unit: Unit) -> tuple[str, ...]:
    files = unit.writes if step == "train" else unit.reads
    return tuple(f"{file.parent.name}/{file.stem}" for file in files if file.suffix == ".safetensors")


# --------------------------------------------------------------------------------------------- schedules


def makespan(found: Sequence[Planned], workers: int) -> float:
    """Seconds from the first unit to the report, stage after stage."""
    return sum(STAGE + stage_seconds(part, workers) for part in _stages(found).values()) + REPORT


def stage_seconds(part: Sequence[Planned], workers: int) -> float:
    """Of the units of one stage, as ``engine`` runs them: the longest that waits goes to the first free worker."""
    free = [0.0] * min(workers, len(part))
    ordered = engine.longest_first(Unit(unit.name, print, expected=unit.seconds) for unit in part)
    for unit in ordered:
        heapq.heapreplace(free, free[0] + unit.expected)
    return max(free, default=0.0)


def _stages(found: Sequence[Planned]) -> dict[tuple[str, str], list[Planned]]:
    stages: dict[tuple[str, str], list[Planned]] = {}
    for unit in found:
        stages.setdefault((unit.step, unit.stage), []).append(unit)
    return stages


def critical_path(found: Sequence[Planned]) -> list[Planned]:
    """The chain of units, each of which needs the one before, that takes longest; the report follows it."""
    by_step = {step: [unit for unit in found if unit.step == step] for step in _STEPS}
    trained = {name: unit for unit in by_step["train"] for name in unit.needs}
    explained = {unit.name: unit for unit in by_step["explain"]}
    chains = [[unit] for unit in by_step["train"]]
    for unit in by_step["replicate"] + by_step["explain"] + by_step["score"]:
        before = [explained[unit.name]] if unit.step == "score" else []
        network = max((trained[name] for name in unit.needs if name in trained), key=lambda u: u.seconds, default=None)
        chains.append([*([network] if network else []), *before, unit])
    return max(chains, key=lambda chain: sum(unit.seconds for unit in chain), default=[])


# --------------------------------------------------------------------------------------------- telling


def facts(profile: Profile, found: Sequence[Planned], *, gpu: str, workers: int | None) -> dict[str, Any]:
    """All that ``glassbench plan`` says, as JSON can hold it."""
    chain = critical_path(found)
    total = sum(unit.seconds for unit in found)
    steps = {}
    for step in _STEPS:
        part = [unit for unit in found if unit.step == step]
        steps[step] = {"units": len(part), "hours": sum(u.seconds for u in part) / 3600,
                       "longest": max((u.seconds for u in part), default=0.0),
                       "gigabytes": max((u.gigabytes for u in part), default=0.0)}  # fmt: skip
    tried = sorted({*WORKERS, *([workers] if workers else [])})
    return {
        "profile": profile.name,
        "gpu": gpu,
        "assumed_gpu_ratio": costs.GPUS[gpu.lower()] if gpu else None,
        "units": [asdict(unit) for unit in found],
        "sources": {source: sum(u.source == source for u in found) for source in ("measured", "scaled", "guessed")},
        "steps": steps,
        "hours": total / 3600,
        "critical_path": {"seconds": sum(u.seconds for u in chain) + REPORT, "units": [f"{u.step} {u.name}" for u in chain]},
        "makespan": {n: makespan(found, n) for n in tried},
        "largest": [f"{u.step} {u.name}" for u in sorted(found, key=lambda u: -u.seconds)[:5]],
    }  # fmt: skip


def text(told: Mapping[str, Any]) -> str:
    """The same for a reader."""
    core = f"{told['gpu']}-hours" if told["gpu"] else "core-hours"
    lines = [f"profile {told['profile']}: {len(told['units'])} units, seconds " + ", ".join(f"{n} {s}" for s, n in told["sources"].items() if n)]  # fmt: skip
    if told["gpu"]:
        lines.append(f"assumed: {told['gpu']} does {told['assumed_gpu_ratio']} times the multiply-adds of one core; trees, rules "
                     "and clusters stay on the CPU")  # fmt: skip
    lines += ["", f"{'step':12}{'units':>7}{core:>14}{'longest unit':>15}{'memory':>10}"]
    for step, s in told["steps"].items():
        lines.append(f"{step:12}{s['units']:7}{s['hours']:14.2f}{_span(s['longest']):>15}{s['gigabytes']:7.1f} GB")
    lines += [f"{'in all':12}{len(told['units']):7}{told['hours']:14.2f}", "", f"{'workers':>9}{'done after':>13}{'times':>8}{'of the time at work':>21}"]  # fmt: skip
    first = told["makespan"][1]
    for n, seconds in told["makespan"].items():
        lines.append(f"{n:9}{_span(seconds):>13}{first / seconds:8.1f}{told['hours'] * 3600 / n / seconds:21.0%}")
    chain = told["critical_path"]
    lines += ["", f"critical path: {_span(chain['seconds'])}: {' -> '.join([*chain['units'], 'report'])}",
              f"(no barrier between stages and any number of workers; stage after stage no fewer than {_span(told['makespan'][max(told['makespan'])])})",
              "", "largest units:"]  # fmt: skip
    by_name = {f"{u['step']} {u['name']}": u for u in told["units"]}
    lines += [f"  {_span(by_name[name]['seconds']):>9}  {by_name[name]['source']:9}{name}" for name in told["largest"]]
    return "\n".join(lines)


def checked(profile: Profile, others: Mapping[str, Profile]) -> str:
    """The plan against what was measured: units predicted from the other profiles, and each stage's makespan."""
    taken = {key: time for key, time in times.read(store.Paths(profile.name)).items() if time.source == "measured"}
    blind = {(u.step, u.name): u for u in plan(profile, others, own=False)}
    lines = [f"{'stage':28}{'units':>7}{'predicted':>11}{'measured':>10}{'ratio':>7}{'workers':>9}{'planned':>9}{'stage took':>12}"]  # fmt: skip
    sums = [0.0, 0.0, 0.0, 0.0]
    for (step, stage), part in _stages(list(blind.values())).items():
        there = [replace(u, seconds=taken[step, u.name].seconds) for u in part if (step, u.name) in taken]
        guess, real = sum(blind[step, u.name].seconds for u in there), sum(u.seconds for u in there)
        line = f"{f'{step} {stage}':28}{len(there):7}{guess:10.0f}s{real:9.0f}s{guess / real if real else 0:7.2f}"
        sums[0], sums[1] = sums[0] + guess, sums[1] + real
        if whole := taken.get(("stage", f"{step} {stage}")):
            planned = stage_seconds(there, whole.workers)
            line += f"{whole.workers:9}{planned:8.0f}s{whole.seconds:11.0f}s"
            sums[2], sums[3] = sums[2] + planned, sums[3] + whole.seconds
        lines.append(line)
    lines.append(f"{'in all':28}{'':7}{sums[0]:10.0f}s{sums[1]:9.0f}s{sums[0] / sums[1] if sums[1] else 0:7.2f}{'':9}{sums[2]:8.0f}s{sums[3]:11.0f}s")  # fmt: skip
    return "\n".join([*lines, "", "predicted: from other profiles' units alone; planned: the schedule of the measured units, without the start of workers"])  # fmt: skip


def save(profile: Profile, found: Sequence[Planned]) -> None:
    """Write the estimates beside what was measured, so that the longest units of a first run start first."""
    paths = store.Paths(profile.name)
    known = {key: time for key, time in times.read(paths).items() if time.source == "measured"}
    new = {(u.step, u.name): times.Time(u.seconds, u.gigabytes, source=u.source) for u in found}
    times.write(paths, new | known)


def _span(seconds: float) -> str:
    """``42 s``, ``3.5 min``, ``12.0 h``, ``4.2 days``."""
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
