"""The verdict on a published number: does what was measured agree with it?

Tolerances (``TOLERANCES``) allow for another scale and another start. The measured 95 % interval decides three ways:
``holds`` where all of it lies within the tolerance, ``does not hold`` where none of it does, ``undecided`` where both
are possible. Without an interval (one seed, not an accuracy) the number itself decides. Where the paper prints a
standard deviation and two of them are more than the tolerance, they are the tolerance. A published bound (``>0.92``)
is met within the tolerance, or beyond.

A difference of accuracies, or an accuracy that is itself smaller than its tolerance, would agree with nearly anything.
Its tolerance is the published and the measured error together, sqrt((2 std)^2 + half^2), and its sign is asked for:
    the measured interval lies on the other side of 0           does not hold
    it includes 0, and the published number has a sign          undecided
    same sign, or the published number is 0 within its error    holds within the errors
    the measured error is not known, or more than the usual     undecided
    tolerance where the paper finds nothing
A difference's standard deviation comes from its parts, which the same table prints; so does its measured error where
none was measured (its parts share their images, so this is an upper bound).

Ranks are compared with the methods whose intervals lie clear of the method's own; where one overlaps, both orders are
possible.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Line = Mapping[str, Any]
Verdict = tuple[str, str]  # verdict, why

# pattern of the metric -> (words, rule, amount); the first that matches
TOLERANCES: dict[str, tuple[str, str, float]] = {
    r"L\(D,M.*\)_bits|\d\*.*": (
        "to the rounding of the printed terms",
        "absolute",
        0.03,
    ),
    r".*_bits|log2_.*|-log2.*|L_N.*": ("to the printed digits", "absolute", 0.0051),
    r"(test_|train_)?accuracy_pct|(F_cls|ACU|CVR)_.*pct": (
        "within 1.5 points",
        "absolute",
        1.5,
    ),
    r"accuracy|(delta_)?acc_.*|delta_acc|precision|recall": (
        "within 1.5 points",
        "absolute",
        0.015,
    ),
    r"n_.*|example_samples": ("within a factor 2", "factor", 2.0),
    r".*_loss|delta_rec|F_reg.*|O1|O2|locality": ("within a factor 1.5", "factor", 1.5),
    r"mA[DI]_pct": ("same rank among the methods measured", "rank", 0.0),
}

_BOUNDED = re.compile(r"(>=|<=|>|<)?(.*)")
_COLUMN = ("table", "dataset", "target", "setting")
_RANK_KEY = (*_COLUMN, "metric")  # methods are ranked within one
_WHOLE = {"delta_acc": "acc_eval", "delta_rec": "rec_loss"}  # of A and B in A-B
_EPSILON = 1e-9


@dataclass(frozen=True)
class Pair:
    """A published number and what was measured for it."""

    value: float
    bound: str  # "", or >, >=, <, <=
    error: float  # two published standard deviations; 0 where none is printed
    mean: float
    low: float  # NaN where no interval is known, as is high
    high: float

    @property
    def range(self) -> tuple[float, float]:
        """The measured interval, or the number itself where none is known."""
        if math.isnan(self.low):
            return self.mean, self.mean
        return self.low, self.high


def judge(published: Sequence[Line], joined: Sequence[Line | None], i: int) -> Verdict:
    """(verdict, why) of the i-th published number of a paper, which was measured.

    Args:
        published: the lines of ``results/reported/<paper>.csv``.
        joined: for each, the measured line (``joining.Board.find``) or None.
    """
    line = published[i]
    words, rule, amount = tolerance(line["metric"])
    if rule == "rank":
        return _rank(published, joined, i, words)
    if not rule:
        return "undecided", "no tolerance is stated"
    pair = paired(published, joined, i)
    is_small = abs(pair.value) < amount and not pair.bound
    is_difference = line["metric"].startswith("delta_acc")
    if is_difference or (rule == "absolute" and is_small):
        return by_sign(pair, amount)
    return _within(pair, words, rule, amount)


def tolerance(metric: str) -> tuple[str, str, float]:
    """(words, rule, amount) of a metric; empty where no tolerance is stated."""
    for pattern, found in TOLERANCES.items():
        if re.fullmatch(pattern, metric):
            return found
    return "", "", 0.0


def paired(published: Sequence[Line], joined: Sequence[Line | None], i: int) -> Pair:
    """The i-th published number beside the measured line."""
    line, found = published[i], joined[i]
    bound, value = _BOUNDED.fullmatch(line["value"]).groups("")
    parts = _parts(published, line)
    std = math.hypot(_std(line), *(_std(published[j]) for j in parts))
    mean, low, high = found["mean"], found["low"], found["high"]
    if math.isnan(low) and parts:
        half = math.hypot(*(_half(joined[j]) for j in parts))  # NaN where a part's is
        low, high = mean - half, mean + half
    return Pair(
        value=float(value),
        bound=bound,
        error=2 * std,
        mean=mean,
        low=low,
        high=high,
    )


def _std(line: Line) -> float:
    """The published standard deviation; 0 where none is printed."""
    return float(line["std"] or 0)


def _half(found: Line | None) -> float:
    """Half of a measured interval, NaN where there is none."""
    if found is None:
        return math.nan
    return (found["high"] - found["low"]) / 2


def _parts(published: Sequence[Line], line: Line) -> list[int]:
    """The indices of the two numbers whose difference a line is; none if it is no difference."""
    method, metric = line["method"], line["metric"]
    names = []
    if metric == "delta_acc_occl":
        names.append((method, "acc_occl_min"))
        names.append((method, "acc_occl_max"))
    elif metric in _WHOLE:
        for part in method.split("-"):
            names.append((part, _WHOLE[metric]))
    found = []
    for j, other in enumerate(published):
        name = other["method"], other["metric"]
        if name in names and _same(other, line, _COLUMN):
            found.append(j)
    return found


def _same(one: Line, other: Line, keys: Sequence[str]) -> bool:
    return all(one[key] == other[key] for key in keys)


# --------------------------------------------------------------------------------------------- rules


def _within(pair: Pair, words: str, rule: str, amount: float) -> Verdict:
    """Whether the measured interval lies within the tolerance around the published number, or beyond its bound."""
    value, error = pair.value, pair.error
    least, most = value - amount, value + amount
    if rule == "factor":
        ends = value / amount, value * amount
        least, most = min(ends), max(ends)
    if value - error < least or value + error > most:
        words += " or two published standard deviations"
        least = min(least, value - error)
        most = max(most, value + error)
    least -= _EPSILON
    most += _EPSILON
    if pair.bound.startswith(">"):
        most = math.inf
    elif pair.bound.startswith("<"):
        least = -math.inf
    low, high = pair.range
    if least <= low and high <= most:
        return "holds", words
    if high < least or most < low:
        return "does not hold", words
    return "undecided", f"{words}: the interval allows both"


def by_sign(pair: Pair, amount: float) -> Verdict:
    """The rule for small numbers: the sign, and the published and the measured error."""
    if math.isnan(pair.low):
        if pair.mean == pair.value == 0:
            return "holds", "both are 0"
        return "undecided", "smaller than the tolerance, and the error is not known"
    half = (pair.high - pair.low) / 2
    errors = math.hypot(pair.error, half)
    apart = abs(pair.mean - pair.value)
    has_sign = abs(pair.value) > pair.error
    if has_sign and pair.low <= 0 <= pair.high:
        return "undecided", "the interval includes 0"
    if has_sign and pair.value * pair.mean < 0:
        return "does not hold", "the other sign"
    sign = "same sign" if has_sign else "the paper finds no sign"
    if apart > errors + _EPSILON:
        words = f"{sign}, but {apart:.2g} apart; the errors are {errors:.2g}"
        return "does not hold", words
    if not has_sign and half > amount:
        return "undecided", f"{sign}; the measured error is {half:.2g}"
    return "holds", f"{sign}, {apart:.2g} apart; the errors are {errors:.2g}"


def _rank(
    published: Sequence[Line], joined: Sequence[Line | None], i: int, words: str
) -> Verdict:
    """Whether a method has the rank that it has in the paper, among those of its column that were measured."""
    own, mine = published[i], paired(published, joined, i)
    others = []
    for j, (line, found) in enumerate(zip(published, joined, strict=True)):
        is_rival = j != i and found is not None
        if is_rival and _same(line, own, _RANK_KEY):
            others.append(paired(published, joined, j))
    if not others:
        return "undecided", "too few methods to rank"
    low, high = mine.range
    rank = surely = perhaps = 0  # methods before this one
    for other in others:
        least, most = other.range
        rank += other.value < mine.value
        surely += most < low
        perhaps += least < high
    if surely == perhaps == rank:
        return "holds", words
    if surely <= rank <= perhaps:
        return "undecided", f"{words}: intervals overlap"
    return "does not hold", words
