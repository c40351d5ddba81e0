"""How many bits a set of robust rules and the data take together: L(D, M) of Sec. 2.2 and App. A.

Idea: the receiver gets the head items first; a rule X -> Y then says in which rows all of Y is set at once, and only
the rest of Y is sent item by item. A rule is good if it saves more bits than it costs.

    D = np.array(..., bool)                                    # (n, |I|): rows are samples, columns items (neurons)
    L = description_length(D, [Rule(X=(0,), Y=(1, 2))], Encoding(robust=False))
    L.data, L.model, L.total                                   # bits

Theory. T_X = {t : |X and t| >= l}, T_{Y|X} = {t in T_X : |Y and t| >= k}; all logarithms are base 2.

    L(D | M) = sum_rules log C(|T_X|, |T_{Y|X}|) + sum_I log C(n, |T'_I|)
    L(M)     = |I| Lpc(n) + sum_rules L(X -> Y)
    L(X->Y)  = L_N(|X|) + L_N(|Y|) - sum_{x in X or Y} log (|T_x| / sum_I |T_I|) + Lpc(|T_X|)

Robust rules pay for their exceptions with two error matrices (App. A.2): X-, the tail items that are missing where the
rule holds, and X+, those that are present where it applies and does not hold.

    L(D | M) += log C(|T_{Y|X}| |Y|, |X-|) + log C(|T_X \\ T_{Y|X}| |Y|, |X+|)
    L(X->Y)  += Lpc(|T_{Y|X}| |Y|) + Lpc(|T_X \\ T_{Y|X}| |Y|) + L_N(l)

Choices where the text is silent or contradicts itself: k is not sent (the receiver gets T_{Y|X} itself). L_N(|M|) is in
Sec. 2.2 but not in the example of App. A.1, so it is off by default (``Encoding.count_rules``). L_N(l) belongs to the
robust encoding, for the example does not add it. With the robust encoding, Y's items are removed from the singletons
wherever the rule applies, since X+ sends them there (``Encoding.drop``: the text's T'_I removes them only where the
rule holds, and so pays for X+ twice).

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Sec. 2.2, App. A.1, A.2.
"""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmark.api import Array
from benchmark.papers.explainn.compiled import compiled
from benchmark.shared.choices import check_choices

C0 = 2.865064  # the Kraft sum of L_N is then one
_LOG2E = 1 / math.log(2)

# --------------------------------------------------------------------------------------------- codes


@compiled
def log2_factorial(n: int) -> float:
    """log2 n!: the product for n < 16, else Stirling's series, whose first omitted term is below 1e-12 there."""
    if n < 16:
        product = 1.0
        for i in range(2, n + 1):
            product *= i
        return math.log(product) * _LOG2E
    series = 1 / (12 * n)
    series -= 1 / (360 * n**3.0)
    series += 1 / (1260 * n**5.0)
    series -= 1 / (1680 * n**7.0)
    stirling = (n + 0.5) * math.log(n) - n + 0.5 * math.log(2 * math.pi)
    return (stirling + series) * _LOG2E


@compiled
def log2_binomial(n: int, k: int) -> float:
    """log2 C(n, k), bits; 0 <= k <= n."""
    if k == 0 or k == n:
        return 0.0
    return log2_factorial(n) - log2_factorial(k) - log2_factorial(n - k)


def parametric_complexity(n: int) -> float:
    """C(2, n) = sum_k C(n, k) (k/n)^k ((n-k)/n)^(n-k), computed as the equal sum_k n! / ((n-k)! n^k).

    A term is (n - k) / n times the one before, so the time is linear in n; the sum ends where terms become negligible.
    """
    total = term = 1.0
    for k in range(n):
        term *= (n - k) / n
        total += term
        if term < 1e-18 * total:
            break
    return total


_EXACT = 1000
_LPC = np.log2([1.0] + [parametric_complexity(n) for n in range(1, _EXACT)])


@compiled
def lpc(n: int) -> float:
    """Lpc(n) = log2 C(2, n), bits; 0 for n = 0.

    From n = 1000 on by Ramanujan's C(2, n) = 1 + n! e^n / (2 n^n) - theta(n) and its two series, to at least 12 digits.
    """
    if n < _EXACT:
        return _LPC[n]
    stirling = 1 + 1 / (12 * n) + 1 / (288 * n**2.0) - 139 / (51840 * n**3.0)
    theta = 1 / 3 + 4 / (135 * n) - 8 / (2835 * n**2.0) - 16 / (8505 * n**3.0)
    half = math.sqrt(math.pi * n / 2) * stirling  # n! e^n / (2 n^n)
    return math.log(1 + half - theta) * _LOG2E


@compiled
def universal(z: int) -> float:
    """L_N(z) = log2 c0 + log2 z + log2 log2 z + ..., positive terms only, bits; z >= 1 (Rissanen 1983)."""
    bits = math.log(C0) * _LOG2E
    term = math.log(z) * _LOG2E
    while term > 0:
        bits += term
        term = math.log(term) * _LOG2E
    return bits


# --------------------------------------------------------------------------------------------- rules


@dataclass(frozen=True, order=True)
class Rule:
    """X -> Y: where at least ``l`` items of X are active, at least ``k`` of Y are. Items are column numbers, sorted.

    Raises:
        ValueError: a side is empty, an item is on both, or l or k lies outside 1..|X| or 1..|Y|.
    """

    X: tuple[int, ...]
    Y: tuple[int, ...]
    l: int = 1
    k: int = 0  # 0: |Y|, all of them

    def __post_init__(self) -> None:
        for side in ("X", "Y"):
            items = {int(item) for item in getattr(self, side)}
            object.__setattr__(self, side, tuple(sorted(items)))
        object.__setattr__(self, "l", int(self.l))
        object.__setattr__(self, "k", int(self.k) or len(self.Y))
        heads, tails = len(self.X), len(self.Y)
        if not heads or not tails:
            raise ValueError(f"a rule needs a head and a tail: {self.X} -> {self.Y}")
        if both := set(self.X) & set(self.Y):
            raise ValueError(f"items {sorted(both)} are in head and tail of one rule")
        if not (1 <= self.l <= heads and 1 <= self.k <= tails):
            raise ValueError(
                f"l = {self.l} of {heads} head items or k = {self.k} of {tails} tail items "
                "is out of range"
            )

    @property
    def literals(self) -> int:
        return len(self.X) + len(self.Y)

    def applies(self, D: Array) -> Array:
        """T_X as (n,) bool."""
        active = D[:, list(self.X)].sum(1)
        return active >= self.l

    def tail_holds(self, D: Array) -> Array:
        """{t : |Y and t| >= k} as (n,) bool."""
        active = D[:, list(self.Y)].sum(1)
        return active >= self.k


@dataclass(frozen=True)
class Encoding:
    """What the code length includes; ``robust=False``: the simple encoding of App. A.1 (k = |Y|, no error matrices).

    Args:
        drop: of the robust encoding: Y's items leave the singletons where the rule ``applies`` or where it ``holds``.
        count_rules: add L_N(|M|) for |M| > 0.
    """

    robust: bool = True
    drop: Literal["applies", "holds"] = "applies"
    count_rules: bool = False

    def __post_init__(self) -> None:
        check_choices(self)

    @property
    def drops_where_applied(self) -> bool:
        return self.robust and self.drop == "applies"

    @property
    def drops_where_held(self) -> bool:
        return self.robust and self.drop == "holds"


ROBUST = Encoding()
SIMPLE = Encoding(robust=False)


@dataclass(frozen=True)
class Length:
    """A code length in bits."""

    data: float  # L(D | M)
    model: float  # L(M)

    @property
    def total(self) -> float:
        return self.data + self.model


def check(D: Array, name: str = "data", allow: Sequence[str] = ()) -> Array:
    """D as an (n, m) bool array, n >= 1.

    Args:
        allow: ``constant``, ``duplicates`` or both: columns that are accepted.

    Raises:
        ValueError: D is not a table, has no rows or no columns, has values other than 0 and 1, or columns that are
            constant or equal.
    """
    D = np.asarray(D)
    if D.ndim != 2 or not D.shape[0] or not D.shape[1]:
        raise ValueError(
            f"{name} has shape {D.shape}; expected (n, items) with at least one of each"
        )
    if D.dtype != bool:
        other = D[(D != 0) & (D != 1)]
        if other.size:
            raise ValueError(f"{name} must be binary: it holds {other[0]!r}")
        D = D.astype(bool)
    if "constant" not in allow:
        constant = np.flatnonzero(D.all(0) | ~D.any(0))
        if constant.size:
            raise ValueError(
                f"{name}: columns {_some(constant)} are constant (dead units?); "
                "drop them or allow 'constant'"
            )
    if "duplicates" not in allow:
        repeated = _repeated(D)
        if repeated.size:
            raise ValueError(
                f"{name}: columns {_some(repeated)} repeat earlier ones; "
                "drop them or allow 'duplicates'"
            )
    return D


def _repeated(D: Array) -> Array:
    """The columns that equal an earlier one."""
    packed = np.ascontiguousarray(np.packbits(D, axis=0).T)  # (m, bytes)
    columns = packed.view(f"V{packed.shape[1]}").ravel()  # a column as one value
    _, first = np.unique(columns, return_index=True)
    return np.setdiff1d(np.arange(len(columns)), first)


def _some(items: Array) -> str:
    text = ", ".join(map(str, items[:5]))
    if len(items) > 5:
        text += f" and {len(items) - 5} more"
    return text


def check_acyclic(rules: Sequence[Rule]) -> None:
    """Checks that the graph with the edges (x, y), x in X, y in Y, has no cycle: the receiver needs heads before tails.

    Raises:
        ValueError: there is a cycle; the message names an item on it.
    """
    after: dict[int, set[int]] = {}
    for rule in rules:
        for x in rule.X:
            after.setdefault(x, set()).update(rule.Y)
    on_path, done = 1, 2  # depth first, with a stack of its own: chains may be long
    state: dict[int, int] = {}
    for root in after:
        if root in state:
            continue
        state[root] = on_path
        stack = [(root, iter(after[root]))]
        while stack:
            item, children = stack[-1]
            child = next((y for y in children if state.get(y) != done), None)
            if child is None:
                state[item] = done
                stack.pop()
                continue
            if state.get(child) == on_path:
                raise ValueError(
                    f"the rules are cyclic: item {child} is in the tail of a rule that it leads to"
                )
            state[child] = on_path
            stack.append((child, iter(after.get(child, ()))))


def description_length(
    D: Array,
    rules: Sequence[Rule] = (),
    encoding: Encoding = ROBUST,
    allow: Sequence[str] = (),
) -> Length:
    """L(D | M) and L(M) for the singletons and ``rules``; no rules: the baseline model M_ind.

    Args:
        D: (n, |I|), 0 and 1.
        rules: over the columns of D; tails may overlap (a cell that several rules cover is removed once).
        allow: as for ``check``.

    Raises:
        ValueError: as ``check``; cyclic rules; an item that does not exist or is never active; k < |Y| with the simple
            encoding.
    """
    D = check(D, allow=allow)
    n, size = D.shape
    check_acyclic(rules)
    margins = D.sum(0)  # |T_I|
    covered = np.zeros_like(D)  # cells that rules send
    data = 0.0
    model = size * lpc(n)
    for rule in rules:
        _check_rule(rule, margins, encoding)
        applies = rule.applies(D)  # T_X
        holds = applies & rule.tail_holds(D)  # T_{Y|X}
        for part in _rule_length(rule, D, margins, applies, holds, encoding):
            data += part.data
            model += part.model
        rows = applies if encoding.drops_where_applied else holds
        covered[np.ix_(rows, rule.Y)] = True
    singletons = D & ~covered
    data += sum(log2_binomial(n, int(m)) for m in singletons.sum(0))  # |T'_I|
    if encoding.count_rules and rules:
        model += universal(len(rules))
    return Length(data, model)


def _check_rule(rule: Rule, margins: Array, encoding: Encoding) -> None:
    used = rule.X + rule.Y
    exist = min(used) >= 0 and max(used) < len(margins)
    if not exist or (margins[list(used)] == 0).any():
        raise ValueError(
            f"{rule} names an item that is not a column of the data or is never active"
        )
    if not encoding.robust and rule.k < len(rule.Y):
        raise ValueError(f"{rule}: k < |Y| needs the robust encoding")


def _rule_length(
    rule: Rule,
    D: Array,
    margins: Array,
    applies: Array,
    holds: Array,
    encoding: Encoding,
) -> Iterator[Length]:
    """The bits that a rule adds to L(D | M) and L(M), part by part.

    Args:
        margins: (|I|,) |T_I|.
        applies, holds: (n,) T_X and T_{Y|X}.
    """
    a, h = int(applies.sum()), int(holds.sum())
    Y = list(rule.Y)
    lengths = universal(len(rule.X)) + universal(len(Y))
    yield Length(log2_binomial(a, h), lengths + lpc(a))
    everything = int(margins.sum())
    items = sum(math.log2(margins[i] / everything) for i in rule.X + rule.Y)
    yield Length(0.0, -items)
    if encoding.robust:
        missing = int((~D[np.ix_(holds, Y)]).sum())  # |X-|
        present = int(D[np.ix_(applies & ~holds, Y)].sum())  # |X+|
        inside = h * len(Y)  # cells where the rule holds
        outside = (a - h) * len(Y)  # cells where it applies and does not hold
        errors = log2_binomial(inside, missing) + log2_binomial(outside, present)
        yield Length(errors, lpc(inside) + lpc(outside) + universal(rule.l))
