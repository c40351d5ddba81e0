"""What a kit for a study with people holds, and the statistics of its scores.

A paper's ``study.py`` has

    LIKE = {"human_study": ("classes", "layer")}     # experiment of a profile -> its settings that the study shares
    def kit(study, rng, *, forms=5, **settings) -> Kit
    def score(answers, published) -> Iterator[Score]

A form is what one person fills in: stages of tasks. What a task shows and asks is on the page; its ``truth`` goes into
the key alone. Ids say form, stage and number (``2-B-07``), and nothing else.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from scipy.stats import t as student
from torch import Tensor

from benchmark.api import Array

Kind = Literal["choice", "text", "count"]
LEVEL = 0.95


# --------------------------------------------------------------------------------------------- what a person sees


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture: an image, or a map over the grey image."""

    image: Array  # (c, h, w) uint8
    name: str  # what it shows, in words, for who cannot see it
    heat: Array | None = None  # (h, w)
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Hint:
    """Pictures that a person may open, and enlarge; both are counted as actions."""

    title: str
    pictures: Sequence[Shown]


@dataclass(frozen=True, eq=False)
class Task:
    """One question, and the truth for the key."""

    question: str
    choices: Sequence[str] = ()  # of a choice
    pictures: Sequence[Shown] = ()
    hints: Sequence[Hint] = ()
    kind: Kind = "choice"
    truth: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Stage:
    """Tasks that belong together."""

    name: str  # for the key, not on the page
    title: str
    text: str
    tasks: Sequence[Task]


@dataclass(frozen=True, eq=False)
class Kit:
    """A study: what everyone reads, and one form for each person in turn."""

    title: str
    text: Sequence[str]  # paragraphs
    forms: Sequence[Sequence[Stage]]
    examples: Sequence[Shown] = ()  # shown before the first task
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the key


def numbered(form: int, stages: Sequence[Stage]) -> dict[str, tuple[Stage, Task]]:
    """The stages' tasks by id; forms count from 0, ids from 1."""
    found = {}
    for letter, stage in zip(string.ascii_uppercase, stages):
        for i, task in enumerate(stage.tasks, 1):
            found[f"{form + 1}-{letter}-{i:02d}"] = stage, task
    return found


def check_classes(classes: Sequence[int], names: Sequence[str]) -> None:
    """Are these different numbers of classes that there are?

    Raises:
        ValueError: they are not.
    """
    if len(set(classes)) < len(classes) or not set(classes) <= set(range(len(names))):
        raise ValueError(
            f"classes={list(classes)}: different numbers from 0 to {len(names) - 1}"
        )


def levels(x: Tensor) -> Array:
    """Images (n, c, h, w) in [0, 1], cut off there, as levels from 0 to 255."""
    return (255 * x.clamp(0, 1)).round().byte().cpu().numpy()


# --------------------------------------------------------------------------------------------- what the answers say


@dataclass(frozen=True)
class Score:
    """One line of the scores."""

    measure: str
    of: str  # stage, method or concept
    value: float
    low: float  # of the 95 % interval; NaN where there is none
    high: float
    n: int
    unit: str  # what n counts
    published: str = ""


def mean_score(
    measure: str,
    of: str,
    values: Sequence[float],
    unit: str = "persons",
    published: str = "",
    most: float = np.inf,
) -> Score:
    """The mean with Student's t interval, cut off at ``most``; no interval from one value, or from equal ones."""
    v = np.asarray(values, float)
    low = high = np.nan
    if len(v) > 1 and v.std() > 0:
        half = student.ppf((1 + LEVEL) / 2, len(v) - 1) * v.std(ddof=1) / len(v) ** 0.5
        low, high = v.mean() - half, min(v.mean() + half, most)
    return Score(measure, of, float(v.mean()), low, high, len(v), unit, published)


def share_score(
    measure: str,
    of: str,
    hits: int,
    n: int,
    unit: str = "answers",
    published: str = "",
    method: Literal["wilson", "exact"] = "wilson",
) -> Score:
    """A share in percent, with Wilson's interval or the exact one of Clopper and Pearson."""
    interval = binomtest(hits, n).proportion_ci(LEVEL, method)
    low, high = 100 * interval.low, 100 * interval.high
    return Score(measure, of, 100 * hits / n, low, high, n, unit, published)


def published_values(reported: pd.DataFrame, **fields: str) -> str:
    """The published numbers whose columns have these values, each with its data set: ``72 (CUB), 79 (CEL)``."""
    rows = reported
    for column, value in fields.items():
        rows = rows[rows[column] == value]
    return ", ".join(f"{row.value:g} ({row.dataset})" for row in rows.itertuples())
