"""Which rules tell what classes share and what is their own: those that Figs. 4, 13, 15 and 17 show.

    one, both, other = pair(rules)            # Fig. 4: husky and not malamute, both, malamute and not husky
    c, own = within(rules)                    # Fig. 15: the class with most rules, and those
    examples(on, model, own, images_of_c)     # an image of the class for each
    alike(after, before)                      # App. B.3: which rules of one model are in the other too

A rule is shared if its head has several classes, else it is its class's own. Of all rules that would do those with fewest
classes are taken, then those that save most bits: a head of two classes says more about the two than one of twenty.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from benchmark.api import Array
from benchmark.papers.explainn.mdl import Rule
from benchmark.papers.explainn.miner import Model
from benchmark.papers.explainn.planted import overlap

ALIKE = 0.5  # product of the Jaccards of heads and tails from which on two rules are the same


def heads(rules: Sequence[Rule], classes: int) -> Array:
    """(rules, classes) bool: is the class in the rule's head?"""
    H = np.zeros((len(rules), classes), bool)
    for row, rule in zip(H, rules, strict=True):
        row[list(rule.X)] = True
    return H


def pair(rules: Sequence[Rule], classes: int) -> tuple[int, int, tuple[Rule, Rule, Rule]] | None:
    """Classes c, d and three rules: with c and not d, with both, with d and not c; None if no two classes have all three."""
    H = heads(rules, classes)
    size = H.sum(1)
    best = None
    for r in np.argsort(size, kind="stable"):
        for c, d in combinations(rules[r].X, 2):
            only = [np.flatnonzero(H[:, a] & ~H[:, b]) for a, b in ((c, d), (d, c))]
            if not all(len(rows) for rows in only):
                continue
            p, q = (rows[size[rows].argmin()] for rows in only)
            cost = size[r] + size[p] + size[q]
            if best is None or cost < best[0]:
                best = cost, c, d, (rules[p], rules[r], rules[q])
    return best[1:] if best else None


def within(rules: Sequence[Rule], classes: int, most: int = 3) -> tuple[int, list[Rule]] | None:
    """The class with most rules and its ``most`` rules of fewest classes; None if no class has two."""
    per_class = heads(rules, classes).sum(0)
    c = int(per_class.argmax()) if len(rules) else 0
    if not len(rules) or per_class[c] < 2:
        return None
    return c, sorted((rule for rule in rules if c in rule.X), key=lambda rule: len(rule.X))[:most]


def examples(on: Array, model: Model, rules: Sequence[Rule], images: Array) -> list[int]:
    """For each rule the one of ``images`` (row numbers of ``on`` (n, units)) that has most of its tail ON and least of the
    other rules' tails; no image twice while there are others."""
    share = np.stack(
        [on[np.ix_(images, model.tails(rule))].mean(1) for rule in rules]
    )  # (rules, images)
    others = (share.sum(0) - share) / max(len(rules) - 1, 1)
    taken: list[int] = []
    for row in share - others:
        order = np.argsort(-row, kind="stable")
        taken.append(next((i for i in order if i not in taken), order[0]))
    return [int(images[i]) for i in taken]


def alike(a: Sequence[Rule], b: Sequence[Rule]) -> Array:
    """(len(a),) bool: which rules of ``a`` are in ``b`` too, or nearly (``ALIKE``)."""
    if not a or not b:
        return np.zeros(len(a), bool)
    return overlap([(r.X, r.Y) for r in a], [(r.X, r.Y) for r in b]).max(1) >= ALIKE
