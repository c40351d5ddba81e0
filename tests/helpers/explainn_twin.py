"""ExplaiNN once more, slowly: L(D, M) by Python integers, and Algorithms 1-3 as a plain numpy loop that recounts every
candidate for every l and k on boolean tables. Used by the tests and by speed/explainn.py."""

# ruff: noqa: E741  l is the paper's letter

import math
from itertools import combinations

import numpy as np


def log2_comb(n, k):
    """log2 of an exact integer of any size."""
    value = math.comb(int(n), int(k))
    shift = max(value.bit_length() - 1000, 0)
    return math.log2(value >> shift) + shift


def literal_lpc(n):
    """log2 sum_k C(n, k) (k/n)^k ((n-k)/n)^(n-k), as printed."""
    n = int(n)
    if n == 0:
        return 0.0
    return math.log2(
        math.fsum(
            math.comb(n, k) * (k / n) ** k * ((n - k) / n) ** (n - k)
            for k in range(n + 1)
        )
    )


_KNOWN = {}


def fast_lpc(n, known=_KNOWN):
    """The same with logarithms, for n in the thousands."""
    n = int(n)
    if n and n not in known:
        k = np.arange(1, n)
        lf = np.concatenate([[0], np.cumsum(np.log(np.arange(1, n + 1)))])
        terms = (
            lf[n]
            - lf[k]
            - lf[n - k]
            + k * np.log(k / n)
            + (n - k) * np.log((n - k) / n)
        )
        known[n] = math.log2(2 + math.fsum(np.exp(terms)))
    return known[n] if n else 0.0


def literal_universal(z):
    bits, term = math.log2(2.865064), math.log2(z)
    while term > 0:
        bits, term = bits + term, math.log2(term)
    return bits


def literal_length(D, rules, robust, drop="applies", count_rules=False):
    """(L(D | M), L(M)) of a list of rules, over sets of row numbers."""
    n, size = D.shape
    T = [{r for r in range(n) if D[r, i]} for i in range(size)]
    everything = sum(map(len, T))
    left = [set(rows) for rows in T]
    data, model = 0.0, size * literal_lpc(n)
    for rule in rules:
        applies = {r for r in range(n) if sum(D[r, x] for x in rule.X) >= rule.l}
        holds = {r for r in applies if sum(D[r, y] for y in rule.Y) >= rule.k}
        data += log2_comb(len(applies), len(holds))
        model += (
            literal_universal(len(rule.X))
            + literal_universal(len(rule.Y))
            + literal_lpc(len(applies))
        )
        model += sum(-math.log2(len(T[i]) / everything) for i in rule.X + rule.Y)
        if robust:
            rest = applies - holds
            missing = sum(not D[r, y] for r in holds for y in rule.Y)
            present = sum(bool(D[r, y]) for r in rest for y in rule.Y)
            data += log2_comb(len(holds) * len(rule.Y), missing) + log2_comb(
                len(rest) * len(rule.Y), present
            )
            model += literal_lpc(len(holds) * len(rule.Y)) + literal_lpc(
                len(rest) * len(rule.Y)
            )
            model += literal_universal(rule.l)
        for y in rule.Y:
            left[y] -= applies if robust and drop == "applies" else holds
    data += sum(log2_comb(n, len(rows)) for rows in left)
    return data, model + (
        literal_universal(len(rules)) if count_rules and rules else 0.0
    )


class Plain:
    """Algorithms 1-3; ``rules`` are (X, Y, l, k) with tail columns counted from 0."""

    def __init__(
        self, heads, tails, theta, mu, robust=True, drop="applies", disjunctive=False
    ):
        self.heads, self.tails, self.theta, self.mu = (
            np.asarray(heads, bool),
            np.asarray(tails, bool),
            theta,
            mu,
        )
        self.robust, self.drop, self.disjunctive = robust, drop, disjunctive
        self.n = len(self.heads)
        self.lf = np.concatenate(
            [[0], np.cumsum(np.log2(np.arange(1, self.n * self.tails.shape[1] + 1)))]
        )
        self.everything = self.heads.sum() + self.tails.sum()
        self.candidates = 0

    def log2_comb(self, n, k):
        return self.lf[n] - self.lf[k] - self.lf[n - k]

    def single(self, Y):
        return sum(self.log2_comb(self.n, int(self.tails[:, y].sum())) for y in Y)

    def cost(self, X, Y):
        """min over l, k; (bits, l, k)."""
        self.candidates += 1
        best = (np.inf, 0, 0)
        fixed = literal_universal(len(X)) + literal_universal(len(Y))
        fixed -= sum(math.log2(self.heads[:, x].sum() / self.everything) for x in X)
        fixed -= sum(math.log2(self.tails[:, y].sum() / self.everything) for y in Y)
        for l in [1] if self.disjunctive else range(1, len(X) + 1):
            applies = self.heads[:, X].sum(1) >= l
            if not applies.any():
                continue
            for k in range(len(Y), 0, -1) if self.robust else [len(Y)]:
                holds = applies & (self.tails[:, Y].sum(1) >= k)
                a, h = int(applies.sum()), int(holds.sum())
                bits = fixed + fast_lpc(a) + self.log2_comb(a, h)
                if self.robust:
                    missing, present = (
                        (~self.tails[holds][:, Y]).sum(),
                        self.tails[applies & ~holds][:, Y].sum(),
                    )
                    bits += self.log2_comb(h * len(Y), missing) + self.log2_comb(
                        (a - h) * len(Y), present
                    )
                    bits += (
                        fast_lpc(h * len(Y))
                        + fast_lpc((a - h) * len(Y))
                        + literal_universal(l)
                    )
                gone = applies if self.robust and self.drop == "applies" else holds
                bits += sum(
                    self.log2_comb(self.n, int((self.tails[:, y] & ~gone).sum()))
                    for y in Y
                )
                if bits < best[0] - 1e-9:
                    best = (bits, l, k)
        return best

    def new_rule(self, y):
        """Algorithm 1."""
        T = self.tails[:, y]
        sigma = {
            x: (self.heads[:, x] & T).sum() / max(self.heads[:, x].sum(), 1)
            for x in range(self.heads.shape[1])
        }
        H = sorted(
            (x for x in sigma if sigma[x] > self.theta), key=lambda x: (-sigma[x], x)
        )
        best = (np.inf, (), (), 0, 0)
        for t in range(1, len(H) + 1):
            bits, l, k = self.cost(H[:t], [y])
            if bits < best[0] - 1e-9:
                best = (bits, tuple(sorted(H[:t])), (y,), l, k)
        return best

    def mine(self):
        """Algorithm 3."""
        rules = [
            self.new_rule(y)
            for y in range(self.tails.shape[1])
            if self.tails[:, y].any()
        ]
        rules = [r for r in rules if r[0] < self.single(r[2]) - 1e-9]
        known = {}  # what a pair gains does not change
        while True:
            found = []
            for r, s in combinations(range(len(rules)), 2):  # Algorithm 2
                (c1, X1, Y1, *_), (c2, X2, Y2, *_) = rules[r], rules[s]
                if len(set(X1) ^ set(X2)) > self.mu:
                    continue
                for union, X in enumerate((set(X1) & set(X2), set(X1) | set(X2))):
                    if not X or (union and X1 == X2):
                        continue
                    key = tuple(sorted(X)), tuple(sorted(Y1 + Y2)), Y1
                    if key not in known:
                        known[key] = self.cost(list(key[0]), list(key[1]))
                    bits, l, k = known[key]
                    if c1 + c2 - bits > 1e-9:
                        found.append(
                            (
                                -round(c1 + c2 - bits, 6),
                                r,
                                s,
                                union,
                                (bits, key[0], key[1], l, k),
                            )
                        )
            taken, added = set(), []
            for *_, r, s, _, rule in sorted(found):
                if not taken & {r, s}:
                    taken |= {r, s}
                    added.append(rule)
            if not added:
                return sorted(rule[1:] for rule in rules)
            rules = [rule for i, rule in enumerate(rules) if i not in taken] + added
