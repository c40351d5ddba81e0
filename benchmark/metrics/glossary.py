"""What each metric asks, read from its docstring: the glossary of the page, the docs and ``glassbench list metrics``.

    entry(METRICS["average_drop"]).title      # "Average drop"

A docstring begins "Title. Question?", then has the formula, and ends with "Range:" and "Weakness:" (and "Raises:").
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass

from benchmark.api import MetricSpec
from benchmark.utils.docstrings import opening

_PART = re.compile(r"\n(?=Range:|Weakness:|Raises:)")


@dataclass(frozen=True)
class Entry:
    """A metric in words: ``question`` is a sentence, ``formula`` the middle of the docstring."""

    name: str
    title: str
    question: str
    formula: str
    range: str
    weakness: str
    family: str
    track: str
    better: str
    unit: str
    source: str


def entry(spec: MetricSpec) -> Entry:
    """The entry of a metric.

    Raises:
        ValueError: its docstring does not have this form.
    """
    text = inspect.getdoc(spec.function) or ""
    title, question = opening(text)
    _, _, rest = text.partition("\n\n")
    formula, *ends = _PART.split(f"{rest.strip()}\n")
    said = dict(_said(part) for part in ends)
    if not title or not {"Range", "Weakness"} <= said.keys():
        raise ValueError(
            f"metric {spec.name!r}: its docstring must begin 'Title. Question?' "
            "and end with 'Range: ...' and 'Weakness: ...'"
        )
    return Entry(
        name=spec.name,
        title=title,
        question=question,
        formula=formula.strip(),
        range=said["Range"],
        weakness=said["Weakness"],
        family=family(spec),
        track=spec.track,
        better=spec.better,
        unit=spec.unit,
        source=spec.source,
    )


def family(spec: MetricSpec) -> str:
    """What kind of question a metric asks: ``FAMILY`` of its module, else the module's name; "own" of a user's."""
    name = spec.function.__module__ or ""
    if not name.startswith("benchmark."):
        return "own"
    return getattr(sys.modules[name], "FAMILY", name.rpartition(".")[2])


def _said(part: str) -> tuple[str, str]:
    """'Range: 0 to 1.' as ("Range", "0 to 1")."""
    word, _, text = part.partition(":")
    return word, " ".join(text.split()).rstrip(".")
