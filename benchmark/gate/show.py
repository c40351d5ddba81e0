"""The differences of two runs to read: in a terminal, as Markdown for a pull request, as JSON, as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmark import store
from benchmark.gate import noise
from benchmark.gate.diff import CELL, KINDS, fails
from benchmark.gate.sources import Source
from benchmark.leaderboard import tables
from benchmark.leaderboard.render.markdown import escape, grid
from benchmark.utils.plot_style import INK, MUTED, PALETTE, STYLE, plain

COLOURS = {"regression": PALETTE[3], "improvement": PALETTE[0], "unchanged": MUTED}
LIMIT = 30  # lines of one kind; the JSON has all


def verdict(found: pd.DataFrame, fail_on: Sequence[str]) -> str:
    """The answer in a sentence: failed, passed, or passed as far as it was compared."""
    counts = found["kind"].value_counts()
    if fails(found, fail_on):
        return "failed: " + ", ".join(
            f"{counts[kind]} {kind}" for kind in KINDS if kind in fail_on and kind in counts
        )
    open_ = [
        kind for kind in ("regression", "lost", "unverified", "re-baselined") if kind in counts
    ]
    if open_:  # not what was asked to fail, and no pass either
        return "not a pass: " + ", ".join(f"{counts[kind]} {kind}" for kind in open_)
    return f"passed: none of {len(found)} cells is worse"


def counted(found: pd.DataFrame) -> str:
    """``3 regression, 2 lost, 180 unchanged (96 of them equal)``."""
    counts = found["kind"].value_counts()
    equal = int((~found["moved"]).sum())
    words = [
        f"{counts[kind]} {kind}" + f" ({equal} of them equal)" * (kind == "unchanged")
        for kind in KINDS
        if kind in counts
    ]
    return ", ".join(words) or "nothing to compare"


def context(base: Source, head: Source) -> str:
    """What else differs between the runs: machine, networks, code."""
    a, b = base.provenance, head.provenance
    if not a or not b:
        return "no provenance: whether machine and networks are the same is not known"
    machine = [
        k
        for k in sorted({*a.get("machine", {}), *b.get("machine", {})})
        if a.get("machine", {}).get(k) != b.get("machine", {}).get(k)
    ]
    shared = a.get("weights", {}).keys() & b.get("weights", {}).keys()
    other = sum(a["weights"][k] != b["weights"][k] for k in shared)
    said = [f"another machine ({', '.join(machine)})" if machine else "the same kind of machine"]
    said.append(
        f"{other} of {len(shared)} shared networks have other weights"
        if other
        else f"the same {len(shared)} networks"
    )
    return "; ".join(said)


def name(line: Any) -> str:
    """A cell in words: ``digits/cnn, Grad-CAM (layer=3): average drop, keep=0.2``."""
    where = "/".join(filter(None, [line.dataset, line.target]))
    if line.track in tables.FACTS:
        return f"{where}, {line.method or line.paper}: {tables.title(line.metric, line.setting)}"
    own = f" ({line.setting.replace(';', ', ')})" if line.setting else ""
    return f"{where}, {line.method}{own}: {tables.title(line.metric, line.metric_setting)}"


# --------------------------------------------------------------------------------------------- text and Markdown


def text(
    found: pd.DataFrame, base: Source, head: Source, fail_on: Sequence[str], *, limit: int = LIMIT
) -> str:
    """For a terminal."""
    top = f"{head.name} against {base.name}: {verdict(found, fail_on)}\n  {counted(found)}; {context(base, head)}"
    return "\n".join(filter(None, [top, lines(found[found["kind"] != "unchanged"], limit=limit)]))


def lines(found: pd.DataFrame, *, limit: int = LIMIT) -> str:
    """A line for each difference, by kind."""
    out = []
    for kind, group in found.groupby("kind", sort=False):
        out.append(f"{len(group)} {kind}: {KINDS[kind]}")
        for line, more in _grouped(group, limit):
            out.append(
                "  "
                + (
                    more
                    or "  ".join(
                        filter(None, [name(line), _values(line), _errors(line), _why(line)])
                    )
                )
            )
    return "\n".join(out)


def markdown(
    found: pd.DataFrame,
    base: Source,
    head: Source,
    fail_on: Sequence[str],
    *,
    picture: str = "",
    limit: int = LIMIT,
) -> str:
    """A comment for a pull request. ``picture``: a link to the drawing of ``figure``."""
    profile = ", ".join(sorted(found["profile"].unique()))
    out = [
        f"### Results{f' of `{profile}`' if profile else ''}: {escape(verdict(found, fail_on))}",
        f"{escape(head.name)} against {escape(base.name)}. {counted(found)}. {escape(context(base, head))}.",
    ]
    if picture:
        out.append(f"![What moved, in standard errors]({picture})")
    for kind, group in found[found["kind"] != "unchanged"].groupby("kind", sort=False):
        out.append(f"**{kind}** ({len(group)}): {KINDS[kind]}")
        body = []
        for line, more in _grouped(group, limit):
            cells = (
                [more, "", "", "", "", ""]
                if more
                else [
                    name(line),
                    store.format_value(line.old),
                    store.format_value(line.new),
                    line.unit,
                    _errors(line),
                    _why(line),
                ]
            )
            body.append([escape(cell) for cell in cells])
        out.append(
            grid(["cell", "old", "new", "unit", "standard errors", "tolerance, reason"], body)
        )
    out.append(
        f"<sub>A standard error is that of the difference of the means over {_seeds(found)}, from how far pairs of seeds "
        f"scatter; tolerance: one-sided t-test, Benjamini-Hochberg at {noise.ALPHA:.0%} over all cells that moved, and "
        f"{noise.FLOOR:g} of the metric's usual spread between seeds at least. `glassbench diff --json` has every cell.</sub>"
    )
    return "\n\n".join(out) + "\n"


def _grouped(group: pd.DataFrame, limit: int) -> Iterator[tuple[Any, str]]:
    """(line, "") for each of the first ``limit`` differences, (None, words) for what stands for several: the cells that a
    method lost or gained for one reason."""
    if group["kind"].iloc[0] in ("lost", "new", "re-baselined", "unverified"):
        parts = [part for _, part in group.groupby(["track", "method", "why"], sort=False)]
    else:
        parts = [group.iloc[i : i + 1] for i in range(len(group))]
    for part in parts[:limit]:
        line = next(part.itertuples())
        where = sorted(
            {
                "/".join(filter(None, pair))
                for pair in zip(part["dataset"], part["target"], strict=True)
            }
        )
        words = f"{line.method or line.track}: {len(part)} cells on {', '.join(where)}{f': {line.why}' if line.why else ''}"
        yield (line, "") if len(part) == 1 else (None, words)
    if len(parts) > limit:
        yield None, f"and {len(parts) - limit} more"


def _values(line: Any) -> str:
    return " -> ".join(store.format_value(v) or "nothing" for v in (line.old, line.new)) + (
        f" {line.unit}" if line.unit else ""
    )


def _errors(line: Any) -> str:
    """``7.1 worse``."""
    return (
        ""
        if np.isnan(line.errors)
        else f"{abs(line.errors):.1f} {'worse' if line.errors < 0 else 'better'}"
    )


def _why(line: Any) -> str:
    basis = "spread borrowed from the metric's other cells" if line.borrowed else ""
    tolerance = f"± {line.tolerance:.3g}" if np.isfinite(line.tolerance) else ""
    return "; ".join(filter(None, [tolerance, basis, line.why]))


def _seeds(found: pd.DataFrame) -> str:
    tested = found.loc[found["errors"].notna(), "seeds"].astype(int)
    if not len(tested):
        return "the seeds"
    low, high = int(tested.min()), int(tested.max())
    return f"{low} to {high} seeds" if low != high else f"{low} seed{'s' * (low > 1)}"


# --------------------------------------------------------------------------------------------- JSON


def as_json(found: pd.DataFrame, base: Source, head: Source, fail_on: Sequence[str]) -> str:
    """Every cell; numbers that are not known are null."""
    lines = [
        {key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in line.items()}
        for line in found.to_dict("records")
    ]
    facts: Mapping[str, Any] = {
        "base": base.name,
        "head": head.name,
        "context": context(base, head),
        "verdict": verdict(found, fail_on),
        "fail_on": list(fail_on),
        "failed": fails(found, fail_on),
        "counts": {kind: int((found["kind"] == kind).sum()) for kind in KINDS},
        "cells": lines,
    }
    return json.dumps(facts, indent=1, default=lambda v: v.item())


# --------------------------------------------------------------------------------------------- picture


@mpl.rc_context(STYLE)
def figure(found: pd.DataFrame, *, limit: int = 24) -> Figure:
    """What moved, in standard errors: a dot a cell at how much better (right) or worse (left) it is, a grey bar for its
    tolerance.

    The ``limit`` cells that moved most; where none was tested the figure says so.
    """
    tested = found[found["errors"].notna()]
    lines = tested.reindex(
        tested["errors"].abs().sort_values(ascending=False, kind="stable").index
    )[:limit]
    lines = lines.sort_values(["errors", *CELL], kind="stable")
    picture = Figure(figsize=(7.2, 1.2 + 0.21 * max(len(lines), 2)), layout="constrained")
    axes = picture.add_subplot()
    size = (lines["new"] - lines["old"]).abs()
    bands = np.where(
        size > 0, lines["tolerance"] * lines["errors"].abs() / size.where(size > 0, 1.0), 0.0
    )  # in errors
    for y, (line, band) in enumerate(zip(lines.itertuples(), bands, strict=True)):
        axes.hlines(y, -band, band, color="#80808055", linewidth=5, zorder=1)
        axes.plot(line.errors, y, "o", color=COLOURS[line.kind], markersize=5, zorder=3)
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=2)
    axes.set_yticks(
        range(len(lines)), [plain(name(line)) for line in lines.itertuples()], fontsize=7
    )
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.set_xlabel("worse   < standard errors >   better")
    if len(lines):
        width = max(lines["errors"].abs().max(), bands.max())
        if width > 25:
            axes.set_xscale("symlog", linthresh=5)
            ticks = [
                sign * t for t in (0, 5, 10, 30, 100, 300, 1000) if t < width for sign in (-1, 1)
            ]
            axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.set_xlim(-1.1 * width, 1.1 * width)
    else:
        axes.text(
            0.5, 0.5, "no cell moved", ha="center", va="center", transform=axes.transAxes, color=INK
        )
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(axis="x", linewidth=0.6)
    return picture
