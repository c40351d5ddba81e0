"""What a claim's verdict rests on, in words with numbers: over seeds, the mean and its 95 % interval.

    say = Evidence(dataset, target, seed)
    yield say("LT1", u >= 0.97 * n, "u(1) = {:,.0f} of {:,.0f}", u, n)
    ...
    yield from over_seeds(found)          # u(1) = 54,741 [54,690, 54,792] of 55,000, 3 seeds

Theory: Student's t interval of the mean, s / sqrt(seeds) times its 97.5 % quantile. Three seeds make wide intervals:
4.3 standard errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from string import Formatter

import numpy as np
from scipy.stats import t as student

from benchmark.papers import Check


@dataclass(frozen=True)
class Said:
    """One look at a claim, for one network and seed: ``words`` has a replacement field for each of ``values``."""

    claim: str
    holds: bool | None
    words: str
    values: tuple[float, ...]
    dataset: str
    target: str
    seed: int


@dataclass(frozen=True)
class Evidence:
    """Makes ``Said`` of one network and seed."""

    dataset: str
    target: str
    seed: int

    def __call__(
        self, claim: str, holds: bool | None, words: str, *values: float
    ) -> Said:
        return Said(
            claim,
            None if holds is None else bool(holds),
            words,
            tuple(map(float, values)),
            self.dataset,
            self.target,
            self.seed,
        )


def above(low: float, high: float, bound: float = 0.0) -> bool | None:
    """Whether a number lies above a bound, by its interval; None where the interval includes the bound or is NaN."""
    if low > bound:
        return True
    return False if high < bound else None


def over_seeds(found: Iterable[Said]) -> Iterator[Check]:
    """A check for each look; looks that differ only in their seed share their evidence."""
    groups: dict[tuple[str, str, str, str], list[Said]] = {}
    for one in found:
        key = (one.claim, one.dataset, one.target, one.words)
        groups.setdefault(key, []).append(one)
    for (claim, dataset, target, words), looks in groups.items():
        values = np.array([one.values for one in looks])
        text = spelt(words, values)
        if len(looks) > 1:
            text += f", {len(looks)} seeds"
        for one in looks:
            yield Check(claim, one.holds, text, dataset, target, one.seed)


def spelt(words: str, values: np.ndarray) -> str:
    """``words`` with each field filled by the mean over seeds and, where seeds differ, its interval.

    Args:
        values: (seeds, fields).
    """
    seeds, fields = values.shape
    mean, half = values.mean(0), np.zeros(fields)
    if seeds > 1:
        quantile = student.ppf(0.975, seeds - 1)
        half = quantile * values.std(0, ddof=1) / np.sqrt(seeds)
    out, field = "", 0
    for text, name, form, _ in Formatter().parse(words):
        out += text
        if name is not None:
            out += _filled(mean[field], half[field], form)
            field += 1
    return out


def _filled(mean: float, half: float, form: str) -> str:
    """The mean and, unless half the interval is 0, its ends."""
    text = format(mean, form)
    if not half > 1e-12:  # also where it is NaN
        return text
    low, high = format(mean - half, form), format(mean + half, form)
    return f"{text} [{low}, {high}]"
