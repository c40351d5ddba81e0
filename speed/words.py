"""The sections of ``docs/numbers.md`` that are made of what was measured.

<!-- plan -->   what ``paper`` takes, from results/speeds.csv   <!-- /plan -->
<!-- speed -->  results/benchmarks.csv and results/boards.csv   <!-- /speed -->

A line of the tables of speed is a comparison, with the smallest and the largest ratio of the sizes that were measured;
those without a goal are in the CSV alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from benchmark import store
from benchmark.cli.profiles import load_profile
from benchmark.jobs import costs, plan, planned

PAGE = store.ROOT / "docs" / "numbers.md"
LARGEST = 4  # steps of a board that are named
GPU = "h100"
Shown = Callable[[pd.DataFrame, str], tuple[str, str]]  # what was measured, the goal


def write(results: Path, page: Path = PAGE) -> None:
    """Remake the sections of the page; the same text leaves it as it is."""
    text = page.read_text()
    made = section(text, "speed", speeds(results))
    made = section(made, "plan", plan_of_paper())
    if made != text:
        store.write_text(page, made)


def section(text: str, name: str, body: str) -> str:
    """The page with what stands between the marks of a section replaced.

    Raises:
        ValueError: it has no such section.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    made, found = re.subn(
        f"{begin}.*?{end}", lambda _: f"{begin}\n{body}\n{end}", text, flags=re.DOTALL
    )
    if not found:
        raise ValueError(f"the page has no section {begin} ... {end}")
    return made


# --------------------------------------------------------------------------------------------- the plan


def plan_of_paper() -> str:
    """What the profile ``paper`` takes: hours of a core, and on how many GPUs it is done when."""
    profile = load_profile("paper")
    on_cores, on_gpus = (
        planned.facts(
            profile, plan.plan_profile(profile, gpu=gpu), gpu=gpu, workers=None
        )
        for gpu in ("", GPU)
    )
    steps = on_cores["steps"].items()
    parts = [f"{step['hours']:,.0f} {name}" for name, step in steps if step["hours"]]
    path = on_gpus["critical_path"]
    largest = max(on_gpus["steps"].values(), key=lambda step: step["gigabytes"])
    lines = [
        f"`paper` is {len(on_cores['units']):,} units and {on_cores['hours']:,.0f} "
        f"core-hours ({', '.join(parts)}). One {GPU.upper()} is assumed to do "
        f"{costs.GPUS[GPU].ratio:g} times the multiply-adds of a core; none was measured:",
        "",
        f"| {GPU.upper()}s | done after | busy | bound by |",
        "|---:|---:|---:|---|",
    ]
    seconds = on_gpus["hours"] * 3600
    for workers, taken in on_gpus["makespan"].items():
        bound = on_gpus["bound"][workers]
        bound = f"`{bound}`" if bound else "the work"
        busy = f"{seconds / workers / taken:.0%}"
        lines.append(f"| {workers:,} | {planned.span(taken)} | {busy} | {bound} |")
    return "\n".join(
        [
            *lines,
            "",
            f"The longest chain of units that need each other takes "
            f"{planned.span(path['seconds'])}: `{'` → `'.join(path['units'])}`. The "
            f"largest unit needs {largest['gigabytes']:.0f} GB: `{largest['largest']}`.",
        ]
    )


# --------------------------------------------------------------------------------------------- speed


def speeds(results: Path) -> str:
    """The CSVs of a folder in words."""
    table = pd.read_csv(results / "benchmarks.csv", keep_default_na=False)
    parts = [
        boards(pd.read_csv(results / "boards.csv", keep_default_na=False)),
        ratios(table[table["kind"].isin(["ratio", "floor"])]),
        slopes(table[table["kind"] == "slope"]),
        f"Measured on: {'; '.join(dict.fromkeys(table['machine']))}.",
    ]
    return "\n\n".join(parts)


def boards(table: pd.DataFrame) -> str:
    """What a whole profile takes, as a list."""
    lines = []
    for profile, part in table.groupby("profile", sort=False):
        once = part.set_index("kind")["value"]
        wall = float(once["wall"])
        steps = part[part["kind"] == "stage"].groupby("step")["value"].sum()
        largest = steps.sort_values(ascending=False)[:LARGEST]
        shares = [f"{seconds / wall:.0%} {step}" for step, seconds in largest.items()]
        first = part.iloc[0]
        lines.append(
            f"- `{profile}` from nothing: {wall / 60:.1f} minutes on {first['cores']} "
            f"cores, {float(once['memory']):.1f} GiB ({', '.join(shares)}; "
            f"{first['date']}, commit {first['commit'][:10]})."
        )
    return "\n".join(lines)


def ratios(table: pd.DataFrame) -> str:
    """Comparisons with a goal, as a Markdown table."""
    lines = [
        "| what | against | speed | goal | what bounds it |",
        "|---|---|---:|---|---|",
    ]
    lines += _lines(table, _speed)
    return "\n".join(lines)


def slopes(table: pd.DataFrame) -> str:
    """Exponents of growth, as a Markdown table."""
    lines = [
        "| growth of | over | exponent | goal | what bounds it |",
        "|---|---|---:|---|---|",
    ]
    lines += _lines(table.assign(peer=table["size"]), _exponent)
    return "\n".join(lines)


def _lines(table: pd.DataFrame, shown: Shown) -> Iterator[str]:
    """A line for each (name, peer) with a goal."""
    with_goal = table[table["goal"] != ""]
    for (name, peer, kind), part in with_goal.groupby(
        ["name", "peer", "kind"], sort=False
    ):
        speed, goal = shown(part, kind)
        reached = int((part["reached"] == "yes").sum())
        verdict = {0: "no", len(part): "yes"}.get(reached, f"{reached} of {len(part)}")
        texts = [name, peer, speed, f"{goal}: {verdict}", part["bound"].iloc[0]]
        cells = [text.replace("|", "\\|") for text in texts]
        yield f"| {' | '.join(cells)} |"


def _speed(part: pd.DataFrame, kind: str) -> tuple[str, str]:
    """How many times as fast as a peer, or how many times the least possible time."""
    goal = float(part["goal"].iloc[0])
    if kind == "floor":
        return f"{_range(1 / part['ratio'])} x its time", f"at most {1 / goal:.3g} x"
    return f"{_range(part['ratio'])} x as fast", f"{goal:g} x"


def _exponent(part: pd.DataFrame, kind: str) -> tuple[str, str]:
    return _range(part["ratio"]), f"at most {float(part['goal'].iloc[0]):g}"


def _range(values: pd.Series) -> str:
    """The smallest and the largest, in two or three digits."""
    ends = dict.fromkeys(f"{value:.3g}" for value in (values.min(), values.max()))
    return " to ".join(ends)
