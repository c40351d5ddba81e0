"""How ``glassbench plan`` shows a plan: as JSON, as text, and beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmark import store
from benchmark.jobs import costs, plan
from benchmark.jobs.plan import Planned
from benchmark.pipeline import unit_times
from benchmark.pipeline.profile import Profile

WORKERS = (1, 10, 100, 1000)
LARGEST = 5  # units that are named
BOUND, NAME = 48, 100  # characters of the names of the unit that bounds, and of others
SPANS = ((86400, "days"), (3600, "h"), (60, "min"))  # seconds of each unit of time


# --------------------------------------------------------------------------------------------- a plan


def facts(
    profile: Profile, found: Sequence[Planned], *, gpu: str, workers: int | None
) -> dict[str, Any]:
    """The whole plan, as JSON can hold it; ``workers``: simulate that many, besides ``WORKERS``."""
    sources = {"measured": 0, "scaled": 0, "guessed": 0}
    steps: dict[str, list[Planned]] = {step: [] for step in plan.STEPS}
    for unit in found:
        sources[unit.source] += 1
        steps[unit.step].append(unit)
    chain = plan.critical_path(found)
    by_seconds = sorted(found, key=lambda unit: -unit.seconds)
    simulated = {*WORKERS, workers} if workers else WORKERS
    kind = costs.GPUS[gpu.lower()] if gpu else None
    return {
        "profile": profile.name,
        "gpu": gpu,
        "assumed_gpu_ratio": kind.ratio if kind else None,
        "units": [asdict(unit) for unit in found],
        "sources": sources,
        "steps": {step: _step(part) for step, part in steps.items()},
        "hours": _hours(found),
        "critical_path": {
            "seconds": plan.REPORT + plan.chain_seconds(chain),
            "units": [_name(unit) for unit in chain],
        },
        "makespan": {n: plan.makespan(found, n) for n in sorted(simulated)},
        "bound": {n: _bound(found, n) for n in sorted(simulated)},
        "largest": [_name(unit) for unit in by_seconds[:LARGEST]],
        "too_large": too_large(found, gpu),
    }


def _bound(found: Sequence[Planned], workers: int) -> str:
    unit = plan.bound(found, workers)
    return _name(unit) if unit else ""


def too_large(found: Sequence[Planned], gpu: str) -> list[str]:
    """The units that need more memory than the GPU has, the largest first."""
    if not gpu:
        return []
    most = costs.GPUS[gpu.lower()].gigabytes
    over = [unit for unit in found if unit.gigabytes > most]
    return [_name(unit) for unit in sorted(over, key=lambda unit: -unit.gigabytes)]


def _step(part: Sequence[Planned]) -> dict[str, Any]:
    if not part:
        return {
            "units": 0,
            "hours": 0.0,
            "longest": 0.0,
            "gigabytes": 0.0,
            "largest": "",
        }
    largest = max(part, key=lambda unit: unit.gigabytes)
    return {
        "units": len(part),
        "hours": _hours(part),
        "longest": max(unit.seconds for unit in part),
        "gigabytes": largest.gigabytes,
        "largest": _name(largest),
    }


def _hours(part: Sequence[Planned]) -> float:
    return plan.chain_seconds(part) / 3600


def _name(unit: Planned) -> str:
    return f"{unit.step} {unit.name}"


def text(found: Mapping[str, Any]) -> str:
    """The plan that ``facts`` returns, as text."""
    parts = [
        _head_lines(found),
        _step_lines(found),
        _worker_lines(found),
        _path_lines(found),
        _largest_lines(found),
    ]
    if found["too_large"]:
        parts.append([_memory_line(found)])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _head_lines(found: Mapping[str, Any]) -> list[str]:
    sources = [
        f"{count} {source}" for source, count in found["sources"].items() if count
    ]
    count = len(found["units"])
    lines = [f"profile {found['profile']}: {count} units, seconds {', '.join(sources)}"]
    if found["gpu"]:
        lines.append(
            f"assumed: {found['gpu']} does {found['assumed_gpu_ratio']:g} times the multiply-adds of one core; "
            "trees, rules and clusters stay on the CPU"
        )
    return lines


def _step_lines(found: Mapping[str, Any]) -> list[str]:
    worker = found["gpu"] or "core"
    lines = [_columns("step", "units", f"{worker}-hours", "longest unit", "memory")]
    for name, step in found["steps"].items():
        hours = f"{step['hours']:.2f}"
        longest = span(step["longest"])
        memory = f"{step['gigabytes']:.1f} GB"
        lines.append(_columns(name, step["units"], hours, longest, memory))
    in_all = _columns("in all", len(found["units"]), f"{found['hours']:.2f}", "", "")
    lines.append(in_all.rstrip())
    return lines


def _columns(step: str, units: str | int, hours: str, longest: str, memory: str) -> str:
    return f"{step:12}{units:>7}{hours:>14}{longest:>15}{memory:>10}"


def _worker_lines(found: Mapping[str, Any]) -> list[str]:
    """For each number of workers: seconds, relative to one worker, the share of the time that they work, and what
    bounds it."""
    lines = ["  workers   done after  speed-up  utilisation  bound by"]
    alone = found["makespan"][1]
    work = found["hours"] * 3600
    for n, seconds in found["makespan"].items():
        speed_up = alone / seconds
        utilisation = work / n / seconds
        bound = found["bound"][n] or "the work"
        numbers = f"{n:9}{span(seconds):>13}{speed_up:10.1f}{utilisation:13.0%}"
        lines.append(f"{numbers}  {bound[:BOUND]}")
    return lines


def _path_lines(found: Mapping[str, Any]) -> list[str]:
    path = found["critical_path"]
    units = " -> ".join([*path["units"], "report"])
    most_workers = max(found["makespan"])
    least = span(found["makespan"][most_workers])
    return [
        f"critical path: {span(path['seconds'])}: {units}",
        f"(any number of workers, no barrier between stages; with barriers at least {least})",
    ]


def _largest_lines(found: Mapping[str, Any]) -> list[str]:
    by_name = {f"{unit['step']} {unit['name']}": unit for unit in found["units"]}
    lines = ["largest units:"]
    for name in found["largest"]:
        unit = by_name[name]
        seconds = span(unit["seconds"])
        lines.append(f"  {seconds:>9}  {unit['source']:9}{name[:NAME]}")
    return lines


def _memory_line(found: Mapping[str, Any]) -> str:
    """The units that do not fit into the memory of the GPU."""
    gpu = found["gpu"]
    over = found["too_large"]
    largest = max(step["gigabytes"] for step in found["steps"].values())
    has = costs.GPUS[gpu.lower()].gigabytes
    units = f"{len(over)} units, up to {largest:.0f} GB: {over[0]}"
    return f"too large for one {gpu} ({has:g} GB): {units}"


def span(seconds: float) -> str:
    """``42 s``, ``3.5 min``, ``12.0 h``, ``4.2 days``."""
    for size, name in SPANS:
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


# --------------------------------------------------------------------------------------------- beside what was measured


@dataclass(frozen=True)
class Compared:
    """A stage, or all of them: what was predicted, and what was measured.

    Attributes:
        units: how many of its units were measured.
        predicted, measured: seconds of these units.
        workers: that ran the stage; 0 if unknown.
        planned: seconds of the simulated stage, from the measured units; 0 if unknown.
        took: seconds of the whole stage; 0 if unknown.
    """

    stage: str
    units: int
    predicted: float
    measured: float
    workers: int = 0
    planned: float = 0.0
    took: float = 0.0

    @property
    def ratio(self) -> float:
        return self.predicted / self.measured if self.measured else 0.0


def checked(profile: Profile) -> str:
    """The plan beside what was measured: units predicted from other profiles, and the simulated schedule of each stage.

    Raises:
        StoreError: this machine has no times of the profile.
    """
    times = unit_times.read(store.Paths(profile.name))
    times = {key: time for key, time in times.items() if time.source == "measured"}
    if not times:
        raise store.StoreError(
            f"no times of {profile.name} here; run `make leaderboard PROFILE={profile.name}`"
        )
    stages = plan.stages(plan.plan_profile(profile, blind=True))
    found = [_compared(step, part, times) for step, part in stages.items()]
    columns = "units  predicted  measured  ratio  workers  planned  stage took"
    head = f"{'stage':30}{columns}"
    notes = (
        "predicted: from units of other profiles alone; "
        "planned: the schedule of the measured units, without the start of workers"
    )
    return "\n".join([head, *map(_line, found), _line(_total(found)), "", notes])


def _compared(
    step: str,
    part: Sequence[Planned],
    times: Mapping[unit_times.Key, unit_times.Time],
) -> Compared:
    predicted = [unit for unit in part if (step, unit.name) in times]
    measured = [
        replace(unit, seconds=times[step, unit.name].seconds) for unit in predicted
    ]
    found = Compared(
        stage=step,
        units=len(predicted),
        predicted=plan.chain_seconds(predicted),
        measured=plan.chain_seconds(measured),
    )
    whole = times.get(("stage", found.stage))
    if not whole:
        return found
    planned = plan.stage_seconds(measured, whole.workers)
    return replace(found, workers=whole.workers, planned=planned, took=whole.seconds)


def _total(found: Sequence[Compared]) -> Compared:
    return Compared(
        stage="in all",
        units=sum(stage.units for stage in found),
        predicted=sum(stage.predicted for stage in found),
        measured=sum(stage.measured for stage in found),
        planned=sum(stage.planned for stage in found),
        took=sum(stage.took for stage in found),
    )


def _line(stage: Compared) -> str:
    predicted = f"{stage.predicted:10.0f}s{stage.measured:9.0f}s{stage.ratio:7.2f}"
    line = f"{stage.stage:28}{stage.units:7}{predicted}"
    if stage.took:
        workers = stage.workers or ""
        line += f"{workers:>9}{stage.planned:8.0f}s{stage.took:11.0f}s"
    return line
