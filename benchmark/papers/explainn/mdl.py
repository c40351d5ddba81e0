"""How many bits a set of robust rules and the data take together: L(D, M) of Sec. 2.2 and App. A.

Idea: the receiver gets the head items first; a rule X -> Y then says in which rows all of Y is set at once, and only the
rest of Y is sent item by item. A rule is good if it saves more bits than it costs.

    D = np.array(..., bool)                                    # (n, |I|): a row a sample, a column an item (neuron)
    L = description_length(D, [Rule(X=(0,), Y=(1, 2))], Encoding(robust=False))
    L.data, L.model, L.total                                   # bits

Theory. T_X = {t : |X and t| >= l}, T_{Y|X} = {t in T_X : |Y and t| >= k}; all logarithms are base 2.

    L(D | M) = sum_rules log C(|T_X|, |T_{Y|X}|) + sum_I log C(n, |T'_I|)
    L(M)     = |I| Lpc(n) + sum_rules L(X -> Y)
    L(X->Y)  = L_N(|X|) + L_N(|Y|) - sum_{x in X or Y} log (|T_x| / sum_I |T_I|) + Lpc(|T_X|)

Robust rules pay for their exceptions with two error matrices (App. A.2): X-, the tail items that miss where the rule holds,
and X+, those that are there where it applies and does not hold.

    L(D | M) += log C(|T_{Y|X}| |Y|, |X-|) + log C(|T_X \\ T_{Y|X}| |Y|, |X+|)
    L(X->Y)  += Lpc(|T_{Y|X}| |Y|) + Lpc(|T_X \\ T_{Y|X}| |Y|) + L_N(l)

Where the text is silent or contradicts itself: k is not sent (the receiver gets T_{Y|X} itself); L_N(|M|) is in Sec. 2.2 and
not in the example of App. A.1, so it is off (``Encoding.count_rules``); L_N(l) goes with the robust encoding, for the example
does not add it; under it Y's items are taken out of the singletons wherever the rule applies, since X+ sends them there
(``Encoding.drop``: the text's T'_I takes out only where the rule holds, and pays for X+ twice).

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Sec. 2.2, App. A.1, A.2.
"""

# ruff: noqa: E741  l is the paper's letter

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from benchmark.api import Array

C0 = 2.865064  # makes the Kraft sum of L_N one
_LOG2E = 1 / math.log(2)

# --------------------------------------------------------------------------------------------- codes


@njit(cache=True)
def log2_factorial(n: int) -> float:
    """log2 n!: the product for n < 16, else Stirling's series, whose first left-out term is below 1e-12 there."""
    if n < 16:
        product = 1.0
        for i in range(2, n + 1):
            product *= i
        return math.log(product) * _LOG2E
    series = 1 / (12 * n) - 1 / (360 * n**3.0) + 1 / (1260 * n**5.0) - 1 / (1680 * n**7.0)
    return ((n + 0.5) * math.log(n) - n + 0.5 * math.log(2 * math.pi) + series) * _LOG2E


@njit(cache=True)
def log2_binomial(n: int, k: int) -> float:
    """log2 C(n, k), bits; 0 <= k <= n."""
    if k == 0 or k == n:
        return 0.0
    return log2_factorial(n) - log2_factorial(k) - log2_factorial(n - k)


def parametric_complexity(n: int) -> float:
    """C(2, n) = sum_k C(n, k) (k/n)^k ((n-k)/n)^(n-k), by the terms of the equal sum_k n! / ((n-k)! n^k).

    A term is (n - k) / n times the one before, so the sum is linear in n; it ends where the terms no longer count.
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


@njit(cache=True)
def lpc(n: int) -> float:
    """Lpc(n) = log2 C(2, n), bits; 0 for n = 0.

    From n = 1000 on by Ramanujan's C(2, n) = 1 + n! e^n / (2 n^n) - theta(n) and its two series, to 12 digits and better.
    """
    if n < _EXACT:
        return _LPC[n]
    stirling = 1 + 1 / (12 * n) + 1 / (288 * n**2.0) - 139 / (51840 * n**3.0)
    theta = 1 / 3 + 4 / (135 * n) - 8 / (2835 * n**2.0) - 16 / (8505 * n**3.0)
    return math.log(1 + math.sqrt(math.pi * n / 2) * stirling - theta) * _LOG2E


@njit(cache=True)
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
        ValueError: an empty side, an item on both, or l, k outside 1..|X|, 1..|Y|.
    """

    X: tuple[int, ...]
    Y: tuple[int, ...]
    l: int = 1
    k: int = 0  # 0: |Y|, all of them

    def __post_init__(self) -> None:
        for side in ("X", "Y"):
            object.__setattr__(self, side, tuple(sorted({int(i) for i in getattr(self, side)})))
        object.__setattr__(self, "l", int(self.l))
        object.__setattr__(self, "k", int(self.k) or len(self.Y))
        if not self.X or not self.Y:
            raise ValueError(f"a rule needs a head and a tail: {self.X} -> {self.Y}")
        if both := set(self.X) & set(self.Y):
            raise ValueError(f"items {sorted(both)} are in head and tail of one rule")
        if not (1 <= self.l <= len(self.X) and 1 <= self.k <= len(self.Y)):
            raise ValueError(
                f"l = {self.l} of {len(self.X)} head items or k = {self.k} of {len(self.Y)} tail items"
            )

    @property
    def literals(self) -> int:
        return len(self.X) + len(self.Y)

    def applies(self, D: Array) -> Array:
        """T_X as (n,) bool."""
        return D[:, list(self.X)].sum(1) >= self.l

    def tail_holds(self, D: Array) -> Array:
        """{t : |Y and t| >= k} as (n,) bool."""
        return D[:, list(self.Y)].sum(1) >= self.k


@dataclass(frozen=True)
class Encoding:
    """What is paid for. ``Encoding(robust=False)`` is the simple encoding of App. A.1 (k = |Y|, no error matrices)."""

    robust: bool = True
    drop: str = "applies"  # of the robust encoding: Y's items leave the singletons where the rule "applies" or "holds"
    count_rules: bool = False  # add L_N(|M|) for |M| > 0

    def __post_init__(self) -> None:
        if self.drop not in ("applies", "holds"):
            raise ValueError(f"drop is 'applies' or 'holds', not {self.drop!r}")


ROBUST, SIMPLE = Encoding(), Encoding(robust=False)


@dataclass(frozen=True)
class Length:
    """A code length in bits."""

    data: float  # L(D | M)
    model: float  # L(M)

    @property
    def total(self) -> float:
        return self.data + self.model


def check(D: Array, name: str = "data", allow: Sequence[str] = ()) -> Array:
    """D as a (n, m) bool array, n >= 1.

    Args:
        allow: of ``constant`` and ``duplicates``, the columns that are let through.

    Raises:
        ValueError: not a table, no rows or columns, values other than 0 and 1, columns that are constant or equal.
    """
    D = np.asarray(D)
    if D.ndim != 2 or not D.shape[0] or not D.shape[1]:
        raise ValueError(
            f"{name} has shape {D.shape}; expected (n, items) with at least one of each"
        )
    if D.dtype != bool:
        if not ((D == 0) | (D == 1)).all():
            raise ValueError(f"{name} must be binary: it holds {D[(D != 0) & (D != 1)][0]!r}")
        D = D.astype(bool)
    if "constant" not in allow and (still := np.flatnonzero(D.all(0) | ~D.any(0))).size:
        raise ValueError(
            f"{name}: columns {_some(still)} are constant (dead units?); drop them or allow 'constant'"
        )
    if "duplicates" not in allow:
        packed = np.ascontiguousarray(np.packbits(D, axis=0).T)  # (m, bytes)
        keys, first = np.unique(packed.view(f"V{packed.shape[1]}").ravel(), return_index=True)
        if len(keys) < D.shape[1]:
            again = np.setdiff1d(np.arange(D.shape[1]), first)
            raise ValueError(
                f"{name}: columns {_some(again)} repeat earlier ones; drop them or allow 'duplicates'"
            )
    return D


def _some(items: Array) -> str:
    return ", ".join(map(str, items[:5])) + (
        f" and {len(items) - 5} more" if len(items) > 5 else ""
    )


def check_acyclic(rules: Sequence[Rule]) -> None:
    """The receiver needs the heads before the tails: the graph of the edges (x, y), x in X, y in Y, has no cycle.

    Raises:
        ValueError: it has one; the message names an item on it.
    """
    after: dict[int, set[int]] = {}
    for rule in rules:
        for x in rule.X:
            after.setdefault(x, set()).update(rule.Y)
    state: dict[int, int] = {}  # 1: on the way, 2: done
    for root in after:
        stack = [(root, iter(after[root]))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            item, rest = stack[-1]
            for y in rest:
                if state.get(y) == 1:
                    raise ValueError(
                        f"the rules are cyclic: item {y} is in the tail of a rule that it leads to"
                    )
                if y not in state:
                    state[y] = 1
                    stack.append((y, iter(after.get(y, ()))))
                    break
            else:
                state[item] = 2
                stack.pop()


def description_length(
    D: Array, rules: Sequence[Rule] = (), encoding: Encoding = ROBUST, allow: Sequence[str] = ()
) -> Length:
    """L(D | M) and L(M) for the singletons and ``rules``; no rules: the baseline model M_ind.

    Args:
        D: (n, |I|), 0 and 1.
        rules: over the columns of D; tails may overlap (a cell that several rules cover is taken out once).
        allow: as for ``check``.

    Raises:
        ValueError: as ``check``; cyclic rules; an item that is no column or is never active; k < |Y| without robust.
    """
    D = check(D, allow=allow)
    n, size = D.shape
    check_acyclic(rules)
    margins = D.sum(0)  # |T_I|
    everything = int(margins.sum())
    covered = np.zeros_like(D)
    data, model = 0.0, size * lpc(n)
    for rule in rules:
        used = rule.X + rule.Y
        if min(used) < 0 or max(used) >= size or (margins[list(used)] == 0).any():
            raise ValueError(
                f"{rule} names an item that is no column of the data or is never active"
            )
        if not encoding.robust and rule.k < len(rule.Y):
            raise ValueError(f"{rule}: k < |Y| needs the robust encoding")
        applies = rule.applies(D)  # T_X
        holds = applies & rule.tail_holds(D)  # T_{Y|X}
        a, h, Y = int(applies.sum()), int(holds.sum()), list(rule.Y)
        data += log2_binomial(a, h)
        model += universal(len(rule.X)) + universal(len(Y)) + lpc(a)
        model -= sum(math.log2(margins[i] / everything) for i in used)
        if encoding.robust:
            missing = int((~D[np.ix_(holds, Y)]).sum())  # |X-|
            present = int(D[np.ix_(applies & ~holds, Y)].sum())  # |X+|
            data += log2_binomial(h * len(Y), missing) + log2_binomial((a - h) * len(Y), present)
            model += lpc(h * len(Y)) + lpc((a - h) * len(Y)) + universal(rule.l)
        covered[np.ix_(applies if encoding.robust and encoding.drop == "applies" else holds, Y)] = (
            True
        )
    data += sum(log2_binomial(n, int(m)) for m in (D & ~covered).sum(0))  # |T'_I|
    if encoding.count_rules and rules:
        model += universal(len(rules))
    return Length(data, model)
