"""The differences between two runs: as text for a terminal, Markdown for a pull request, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.gate import noise
from benchmark.gate.diff import KINDS, fails
from benchmark.gate.sources import Source
from benchmark.leaderboard import tables
from benchmark.leaderboard.render.markdown import escape, grid

LIMIT = 30  # lines of one kind; the JSON has all
SHORT = 10  # in a terminal
NAMED = 8  # pieces of changed code that are named


def verdict(found: pd.DataFrame, fail_on: Sequence[str]) -> str:
    """The answer in a sentence: failed, passed, or passed as far as it was compared."""
    counts = found["kind"].value_counts()
    if fails(found, fail_on):
        return f"failed: {_listed(counts, [kind for kind in KINDS if kind in fail_on])}"
    doubts = _listed(counts, ("regression", "lost", "unverified", "re-baselined"))
    if doubts:  # not asked to fail, but not a pass either
        return f"not a pass: {doubts}"
    return f"passed: none of {len(found)} cells is worse"


def _listed(counts: pd.Series, kinds: Iterable[str]) -> str:
    """``3 regression, 2 lost``: those of ``kinds`` that occur."""
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds if kind in counts)


def counted(found: pd.DataFrame) -> str:
    """``3 regression, 2 lost, 180 unchanged (96 of them equal)``."""
    text = _listed(found["kind"].value_counts(), KINDS)
    if found["kind"].eq("unchanged").any():  # the last of KINDS
        text += f" ({(~found['moved']).sum()} of them equal)"
    return text or "nothing to compare"


def context(base: Source, head: Source) -> str:
    """What else differs between the runs: machine, networks, code."""
    a, b = base.provenance, head.provenance
    if not a or not b:
        return "no provenance: whether machine and networks are the same is not known"
    return f"{_machines(a, b)}; {_weights(a, b)}; {changed_code(a, b)}"


def _machines(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    old = a.get("machine", {})
    new = b.get("machine", {})
    differing = []
    for key in sorted({*old, *new}):
        if old.get(key) != new.get(key):
            differing.append(key)
    if differing:
        return f"another machine ({', '.join(differing)})"
    return "the same kind of machine"


def _weights(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    old = a.get("weights", {})
    new = b.get("weights", {})
    shared = old.keys() & new.keys()
    other = 0
    for network in shared:
        if old[network] != new[network]:
            other += 1
    if other:
        return f"{other} of {len(shared)} shared networks have other weights"
    return f"the same {len(shared)} networks"


def changed_code(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Which steps, networks, methods, metrics and experiments have other code in the provenance b than in a."""
    changed = []
    for kind in ("steps", "nets", "methods", "metrics", "experiments"):
        old = a.get(kind, {})
        new = b.get(kind, {})
        for key in sorted(old.keys() & new.keys()):
            if old[key] != new[key]:
                changed.append(key.rpartition(":")[2])  # a method's class
    if not changed:
        return "the same code"
    more = len(changed) - NAMED
    named = changed[:NAMED] + ([f"{more} more"] if more > 0 else [])
    return f"other code: {', '.join(named)}"


def name(line: Any) -> str:
    """A cell in words: ``digits/cnn, Grad-CAM (layer=3): average drop, keep=0.2``."""
    where = "/".join(filter(None, [line.dataset, line.target]))
    if line.track in tables.FACTS:
        metric = tables.title(line.metric, line.setting)
        return f"{where}, {line.method or line.paper}: {metric}"
    method = line.method
    if line.setting:
        method += f" ({line.setting.replace(';', ', ')})"
    return f"{where}, {method}: {tables.title(line.metric, line.metric_setting)}"


# --------------------------------------------------------------------------------------------- text and Markdown


def text(
    found: pd.DataFrame,
    base: Source,
    head: Source,
    fail_on: Sequence[str],
    *,
    limit: int = LIMIT,
) -> str:
    """For a terminal."""
    parts = [
        f"{head.name} against {base.name}: {verdict(found, fail_on)}",
        f"  {counted(found)}; {context(base, head)}",
        lines(found[found["kind"] != "unchanged"], limit=limit),
    ]
    return "\n".join(filter(None, parts))


def lines(found: pd.DataFrame, *, limit: int = LIMIT) -> str:
    """A line for each difference, by kind."""
    out = []
    for kind, group in found.groupby("kind", sort=False):
        out.append(f"{len(group)} {kind}: {KINDS[kind]}")
        for line, words in _grouped(group, limit):
            out.append(f"  {words or _line(line)}")
    return "\n".join(out)


def _line(line: Any) -> str:
    parts = [name(line), _values(line), _errors(line), _why(line)]
    return "  ".join(filter(None, parts))


def markdown(
    found: pd.DataFrame,
    base: Source,
    head: Source,
    fail_on: Sequence[str],
    *,
    picture: str = "",
    limit: int = LIMIT,
) -> str:
    """A comment for a pull request. ``picture``: a link to the drawing of ``picture.figure``."""
    profile = ", ".join(sorted(found["profile"].unique()))
    title = f"### Results of `{profile}`" if profile else "### Results"
    out = [
        f"{title}: {escape(verdict(found, fail_on))}",
        f"{escape(head.name)} against {escape(base.name)}. "
        f"{counted(found)}. {escape(context(base, head))}.",
    ]
    if picture:
        out.append(f"![What moved, in standard errors]({picture})")
    for kind, group in found[found["kind"] != "unchanged"].groupby("kind", sort=False):
        out.append(f"**{kind}** ({len(group)}): {KINDS[kind]}")
        body = [_row(line, words) for line, words in _grouped(group, limit)]
        out.append(grid(_COLUMNS, body))
    out.append(
        f"<sub>A standard error is that of the difference of the means over {_seeds(found)}, "
        "from how far pairs of seeds scatter; tolerance: one-sided t-test, Benjamini-Hochberg at "
        f"{noise.ALPHA:.0%} over all cells that moved, and {noise.FLOOR:g} of the metric's usual spread "
        "between seeds at least. `glassbench diff --json` has every cell.</sub>"
    )
    return "\n\n".join(out) + "\n"


_COLUMNS = ["cell", "old", "new", "unit", "standard errors", "tolerance, reason"]


def _row(line: Any, words: str) -> list[str]:
    if words:
        return [escape(words), "", "", "", "", ""]
    cells = [
        name(line),
        store.format_value(line.old),
        store.format_value(line.new),
        line.unit,
        _errors(line),
        _why(line),
    ]
    return [escape(cell) for cell in cells]


def _grouped(group: pd.DataFrame, limit: int) -> Iterator[tuple[Any, str]]:
    """(line, "") for each of the first ``limit`` differences, (None, words) for what stands for several.

    Several are shown as one where a method lost or gained cells for one reason.
    """
    if group["kind"].iloc[0] in ("lost", "new", "re-baselined", "unverified"):
        parts = [
            part for _, part in group.groupby(["track", "method", "why"], sort=False)
        ]
    else:
        parts = [group.iloc[[i]] for i in range(len(group))]
    for part in parts[:limit]:
        if len(part) == 1:
            yield next(part.itertuples()), ""
        else:
            yield None, _together(part)
    if len(parts) > limit:
        yield None, f"and {len(parts) - limit} more"


def _together(part: pd.DataFrame) -> str:
    """Lines of one method and reason in words."""
    networks = set()
    for line in part.itertuples():
        networks.add("/".join(filter(None, [line.dataset, line.target])))
    what = ", ".join(filter(None, [line.method, line.track]))
    text = f"{what}: {len(part)} cells on {', '.join(sorted(networks))}"
    return f"{text}: {line.why}" if line.why else text


def _values(line: Any) -> str:
    old = store.format_value(line.old) or "nothing"
    new = store.format_value(line.new) or "nothing"
    text = f"{old} -> {new}"
    return f"{text} {line.unit}" if line.unit else text


def _errors(line: Any) -> str:
    """``7.1 worse``."""
    if np.isnan(line.errors):
        return ""
    direction = "worse" if line.errors < 0 else "better"
    return f"{abs(line.errors):.1f} {direction}"


def _why(line: Any) -> str:
    basis = "spread borrowed from the metric's other cells" if line.borrowed else ""
    tolerance = f"± {line.tolerance:.3g}" if np.isfinite(line.tolerance) else ""
    return "; ".join(filter(None, [tolerance, basis, line.why]))


def _seeds(found: pd.DataFrame) -> str:
    tested = found.loc[found["errors"].notna(), "seeds"].astype(int)
    if not len(tested):
        return "the seeds"
    low, high = int(tested.min()), int(tested.max())
    if low != high:
        return f"{low} to {high} seeds"
    return tables.plural(low, "seed")


# --------------------------------------------------------------------------------------------- JSON


def as_json(
    found: pd.DataFrame, base: Source, head: Source, fail_on: Sequence[str]
) -> str:
    """Every cell; numbers that are not known are null."""
    cells = []
    for line in found.to_dict("records"):
        cells.append({key: _finite(value) for key, value in line.items()})
    facts = {
        "base": base.name,
        "head": head.name,
        "context": context(base, head),
        "verdict": verdict(found, fail_on),
        "fail_on": list(fail_on),
        "failed": fails(found, fail_on),
        "counts": {kind: int((found["kind"] == kind).sum()) for kind in KINDS},
        "cells": cells,
    }
    return json.dumps(facts, indent=1, default=lambda value: value.item())


def _finite(value: Any) -> Any:
    """None for a number that is not known."""
    unknown = isinstance(value, float) and not np.isfinite(value)
    return None if unknown else value
