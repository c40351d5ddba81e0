"""What a claim's verdict rests on, in words with numbers: over seeds, the mean and its 95 % interval.

    say = Evidence(dataset, target, seed)
    yield say("LT1", u >= 0.97 * n, "u(1) = {:,.0f} of {:,.0f}", u, n)
    ...
    yield from over_seeds(found)          # u(1) = 54,741 [54,690, 54,792] of 55,000, 3 seeds

Theory: Student's t interval of the mean, s / sqrt(seeds) times its 97.5 % quantile. Three seeds make wide intervals: 4.3
standard errors.
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
    """One look at a claim, for one network and seed: ``words`` with a replacement field for each of ``values``."""

    claim: str
    holds: bool
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

    def __call__(self, claim: str, holds: bool, words: str, *values: float) -> Said:
        return Said(
            claim,
            bool(holds),
            words,
            tuple(map(float, values)),
            self.dataset,
            self.target,
            self.seed,
        )


def over_seeds(found: Iterable[Said]) -> Iterator[Check]:
    """A check for each look; looks that differ in their seed alone share their evidence."""
    groups: dict[tuple[str, str, str, str], list[Said]] = {}
    for one in found:
        groups.setdefault((one.claim, one.dataset, one.target, one.words), []).append(one)
    for (claim, dataset, target, words), looks in groups.items():
        text = spelt(words, np.array([one.values for one in looks]))
        if len(looks) > 1:
            text += f", {len(looks)} seeds"
        for one in looks:
            yield Check(claim, one.holds, text, dataset, target, one.seed)


def spelt(words: str, values: np.ndarray) -> str:
    """``words`` with each field filled by the mean over seeds and, where seeds differ, its interval.

    Args:
        values: (seeds, fields).
    """
    mean, half = values.mean(0), np.zeros(values.shape[1])
    if len(values) > 1:
        half = student.ppf(0.975, len(values) - 1) * values.std(0, ddof=1) / np.sqrt(len(values))
    out, field = "", 0
    for text, name, form, _ in Formatter().parse(words):
        out += text
        if name is not None:
            numbers = [mean[field]] + [mean[field] - half[field], mean[field] + half[field]] * bool(
                half[field] > 1e-12
            )
            first, *ends = (format(number, form) for number in numbers)
            out += first + (f" [{', '.join(ends)}]" if ends else "")
            field += 1
    return out
