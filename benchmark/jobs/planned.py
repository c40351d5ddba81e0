"""What ``glassbench plan`` says of a plan: as JSON, in words, and beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmark import store
from benchmark.jobs import costs
from benchmark.jobs import plan as planning
from benchmark.jobs.plan import Planned
from benchmark.pipeline import unit_times
from benchmark.pipeline.profile import Profile

WORKERS = (1, 10, 100, 1000)
LARGEST = 5  # units that are named
SPANS = ((86400, "days"), (3600, "h"), (60, "min"))


# --------------------------------------------------------------------------------------------- a plan


def facts(
    profile: Profile, found: Sequence[Planned], *, gpu: str, workers: int | None
) -> dict[str, Any]:
    """All that there is to say, as JSON can hold it."""
    chain = planning.critical_path(found)
    by_seconds = sorted(found, key=lambda unit: -unit.seconds)
    return {
        "profile": profile.name,
        "gpu": gpu,
        "assumed_gpu_ratio": costs.GPUS[gpu.lower()].ratio if gpu else None,
        "units": [asdict(unit) for unit in found],
        "sources": {
            source: sum(u.source == source for u in found)
            for source in ("measured", "scaled", "guessed")
        },
        "steps": {
            step: _step([unit for unit in found if unit.step == step]) for step in planning.STEPS
        },
        "hours": _hours(found),
        "critical_path": {
            "seconds": planning.REPORT + sum(u.seconds for u in chain),
            "units": list(map(_name, chain)),
        },
        "makespan": {
            n: planning.makespan(found, n)
            for n in sorted({*WORKERS, *([workers] if workers else [])})
        },
        "largest": [_name(unit) for unit in by_seconds[:LARGEST]],
        "too_large": too_large(found, gpu),
    }


def too_large(found: Sequence[Planned], gpu: str) -> list[str]:
    """The units that need more memory than the GPU has, the largest first."""
    most = costs.GPUS[gpu.lower()].gigabytes if gpu else float("inf")
    over = sorted(
        (unit for unit in found if unit.gigabytes > most), key=lambda unit: -unit.gigabytes
    )
    return [_name(unit) for unit in over]


def _step(part: Sequence[Planned]) -> dict[str, Any]:
    largest = max(part, key=lambda unit: unit.gigabytes, default=None)
    return {
        "units": len(part),
        "hours": _hours(part),
        "longest": max((unit.seconds for unit in part), default=0.0),
        "gigabytes": largest.gigabytes if largest else 0.0,
        "largest": _name(largest) if largest else "",
    }


def _hours(part: Sequence[Planned]) -> float:
    return sum(unit.seconds for unit in part) / 3600


def _name(unit: Planned) -> str:
    return f"{unit.step} {unit.name}"


def text(told: Mapping[str, Any]) -> str:
    """The same for a reader."""
    sources = ", ".join(f"{count} {source}" for source, count in told["sources"].items() if count)
    lines = [
        f"profile {told['profile']}: {len(told['units'])} units, seconds {sources}",
        *_assumed(told),
        "",
    ]
    lines += [
        *_step_lines(told),
        "",
        *_worker_lines(told),
        "",
        *_path_lines(told),
        "",
        "largest units:",
    ]
    by_name = {f"{unit['step']} {unit['name']}": unit for unit in told["units"]}
    for name in told["largest"]:
        lines.append(f"  {span(by_name[name]['seconds']):>9}  {by_name[name]['source']:9}{name}")
    return "\n".join(lines + _memory_lines(told))


def _assumed(told: Mapping[str, Any]) -> list[str]:
    gpu, ratio = told["gpu"], told["assumed_gpu_ratio"]
    if not gpu:
        return []
    stays = "trees, rules and clusters stay on the CPU"
    return [f"assumed: {gpu} does {ratio:g} times the multiply-adds of one core; {stays}"]


def _step_lines(told: Mapping[str, Any]) -> list[str]:
    core = f"{told['gpu']}-hours" if told["gpu"] else "core-hours"
    lines = [f"{'step':12}{'units':>7}{core:>14}{'longest unit':>15}{'memory':>10}"]
    for step, s in told["steps"].items():
        lines.append(
            f"{step:12}{s['units']:7}{s['hours']:14.2f}{span(s['longest']):>15}{s['gigabytes']:7.1f} GB"
        )
    return [*lines, f"{'in all':12}{len(told['units']):7}{told['hours']:14.2f}"]


def _worker_lines(told: Mapping[str, Any]) -> list[str]:
    lines = [f"{'workers':>9}{'done after':>13}{'times':>8}{'of the time at work':>21}"]
    alone = told["makespan"][1]
    for n, seconds in told["makespan"].items():
        busy = told["hours"] * 3600 / n / seconds
        lines.append(f"{n:9}{span(seconds):>13}{alone / seconds:8.1f}{busy:21.0%}")
    return lines


def _path_lines(told: Mapping[str, Any]) -> list[str]:
    chain, least = told["critical_path"], told["makespan"][max(told["makespan"])]
    units = " -> ".join([*chain["units"], "report"])
    after = f"(any number of workers and no barrier between stages; stage after stage no less than {span(least)})"
    return [f"critical path: {span(chain['seconds'])}: {units}", after]


def _memory_lines(told: Mapping[str, Any]) -> list[str]:
    """One line where units do not fit on the GPU."""
    over = told["too_large"]
    if not over:
        return []
    most = max(step["gigabytes"] for step in told["steps"].values())
    has = costs.GPUS[told["gpu"].lower()].gigabytes
    return [
        "",
        f"too large for one {told['gpu']} ({has:g} GB): {len(over)} units, up to {most:.0f} GB: {over[0]}",
    ]


def span(seconds: float) -> str:
    """``42 s``, ``3.5 min``, ``12.0 h``, ``4.2 days``."""
    for size, name in SPANS:
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


# --------------------------------------------------------------------------------------------- beside what was measured


@dataclass(frozen=True)
class Compared:
    """A stage: its units that were measured, predicted and measured; the whole stage, planned and measured (0: unknown)."""

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
    """The plan against what was measured: units predicted from other profiles, and the simulated schedule of each stage.

    Raises:
        StoreError: this machine has no times of the profile.
    """
    paths = store.Paths(profile.name)
    taken = {key: time for key, time in unit_times.read(paths).items() if time.source == "measured"}
    if not taken:
        raise store.StoreError(
            f"no times of {paths.profile} here; run `make leaderboard PROFILE={paths.profile}`"
        )
    found = [
        _compared(stage, part, taken)
        for stage, part in planning.stages(planning.plan_profile(profile, blind=True)).items()
    ]
    whole = {
        key: sum(getattr(s, key) for s in found)
        for key in ("units", "predicted", "measured", "planned", "took")
    }
    head = f"{'stage':28}{'units':>7}{'predicted':>11}{'measured':>10}{'ratio':>7}{'workers':>9}{'planned':>9}{'stage took':>12}"
    notes = "predicted: from other profiles' units alone; planned: the schedule of the measured units, without the start of workers"
    return "\n".join([head, *map(_line, found), _line(Compared("in all", **whole)), "", notes])


def _compared(
    stage: tuple[str, str], part: Sequence[Planned], taken: Mapping[unit_times.Key, unit_times.Time]
) -> Compared:
    step, what = stage
    there = [unit for unit in part if (step, unit.name) in taken]
    real = [
        Planned(step, what, u.name, u.needs, taken[step, u.name].seconds, 0.0, "measured")
        for u in there
    ]
    sums = sum(u.seconds for u in there), sum(u.seconds for u in real)
    whole = taken.get(("stage", f"{step} {what}"))
    known = (
        (whole.workers, planning.stage_seconds(real, whole.workers), whole.seconds) if whole else ()
    )
    return Compared(f"{step} {what}", len(there), *sums, *known)


def _line(s: Compared) -> str:
    line = f"{s.stage:28}{s.units:7}{s.predicted:10.0f}s{s.measured:9.0f}s{s.ratio:7.2f}"
    workers = f"{s.workers or '':>9}"
    return line + (f"{workers}{s.planned:8.0f}s{s.took:11.0f}s" if s.took else "")
