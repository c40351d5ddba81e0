"""Selects what figures show of rules: what classes share and what is specific to each (Figs. 4, 13, 15 and 17), the
filters with most shared pixels (Figs. 3, 10, 11), and how a class is composed through the layers (Fig. 5).

    one, both, other = pair(rules)            # Fig. 4: husky and not malamute, both, malamute and not husky
    c, own = within(rules)                    # Fig. 15: the class with most rules, and those
    examples(on, model, own, images_of_c)     # an image of the class for each
    gallery(rules, 4)                         # Figs. 13, 18, 19: rules of one class, of two, of more
    alike(after, before)                      # App. B.3: which rules of one model are in the other too
    drawn_nodes(levels, c, wide=3)            # Fig. 5: the rules below class c

A rule is shared if its head has several classes, else it is its class's own. Of all eligible rules those with the
fewest classes are taken, then those that save most bits: a head of two classes says more about them than one of twenty.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from benchmark.api import Array, Batch, Target
from benchmark.papers.explainn import networks
from benchmark.papers.explainn.mdl import Rule
from benchmark.papers.explainn.miner import Model
from benchmark.papers.explainn.networks import Units
from benchmark.papers.explainn.planted import overlap, sides

ALIKE = 0.5  # product of the Jaccards of heads and tails from which on two rules are the same


def heads(rules: Sequence[Rule], classes: int) -> Array:
    """(rules, classes) bool: is the class in the rule's head?"""
    H = np.zeros((len(rules), classes), bool)
    for row, rule in zip(H, rules, strict=True):
        row[list(rule.X)] = True
    return H


def tail_sizes(rules: Sequence[Rule]) -> Array:
    return np.array([len(rule.Y) for rule in rules])


def pair(
    rules: Sequence[Rule], classes: int
) -> tuple[int, int, tuple[Rule, Rule, Rule]] | None:
    """Classes c, d and rules with c and not d, with both, with d and not c; None if no two classes have all three."""
    H = heads(rules, classes)
    size = H.sum(1)
    fewest, best = None, None
    for r in np.argsort(size, kind="stable"):
        for c, d in combinations(rules[r].X, 2):
            only_c = np.flatnonzero(H[:, c] & ~H[:, d])
            only_d = np.flatnonzero(H[:, d] & ~H[:, c])
            if not len(only_c) or not len(only_d):
                continue
            p = only_c[size[only_c].argmin()]
            q = only_d[size[only_d].argmin()]
            total = size[r] + size[p] + size[q]
            if fewest is None or total < fewest:
                fewest = total
                best = c, d, (rules[p], rules[r], rules[q])
    return best


def within(
    rules: Sequence[Rule], classes: int, most: int = 3
) -> tuple[int, list[Rule]] | None:
    """The class with most rules and its ``most`` rules of fewest classes; None if no class has two."""
    if not len(rules):
        return None
    per_class = heads(rules, classes).sum(0)
    c = int(per_class.argmax())
    if per_class[c] < 2:
        return None
    own = [rule for rule in rules if c in rule.X]
    return c, by_classes(own)[:most]


def by_classes(rules: Sequence[Rule]) -> list[Rule]:
    """The rules, those of fewest classes first."""
    return sorted(rules, key=lambda rule: len(rule.X))


def examples(
    on: Array,
    model: Model,
    rules: Sequence[Rule],
    images: Array,
) -> list[int]:
    """For each rule one of ``images``: the one with most of its tail ON and least of the other rules' tails. No image
    is used twice while there are others.

    Args:
        on: (samples, units) bool.
        images: row numbers of ``on``.
    """
    shares = [on[np.ix_(images, model.tails(rule))].mean(1) for rule in rules]
    share = np.stack(shares)  # (rules, images)
    others = (share.sum(0) - share) / max(len(rules) - 1, 1)
    taken: list[int] = []
    for row in share - others:
        order = np.argsort(-row, kind="stable")
        taken.append(next((i for i in order if i not in taken), order[0]))
    return [int(images[i]) for i in taken]


def examples_of_heads(
    on: Array,
    model: Model,
    rules: Sequence[Rule],
    y: Array,
) -> list[int]:
    """For each rule an image of a class in its head: (rules,) row numbers of ``on``.

    Args:
        y: (samples,) the class of each image.
    """
    rows = []
    for rule in rules:
        of_class = np.flatnonzero(np.isin(y, rule.X))
        rows += examples(on, model, [rule], of_class)
    return rows


def gallery(rules: Sequence[Rule], count: int) -> list[Rule]:
    """Rules with several units in the tail: of one class, of two, and of more (Figs. 13, 18 and 19), of each kind the
    ``count`` with most units.
    """
    chosen = []
    for fewest, most in ((1, 1), (2, 2), (3, np.inf)):
        kind = [r for r in rules if len(r.Y) > 1 and fewest <= len(r.X) <= most]
        chosen += sorted(kind, key=lambda rule: -len(rule.Y))[:count]
    return chosen


# --------------------------------------------------------------------------------------------- do they say what is so


def holding(on: Array, model: Model, rules: Sequence[Rule]) -> Array:
    """(rules, samples) bool: are k of the tail's units or more ON?

    Args:
        on: (samples, units) bool.
    """
    rows = [on[:, model.tails(rule)].sum(1) >= rule.k for rule in rules]
    return np.stack(rows)


def three_rules(H: Array) -> int:
    """The number of pairs of classes with a rule of both and one of each without the other (Fig. 4).

    Args:
        H: (rules, classes) bool.
    """
    both = H.T.astype(int) @ H  # (classes, classes) rules with c and d
    own = both.diagonal()[:, None] - both  # with c and not d
    three = (both > 0) & (own > 0) & (own.T > 0)
    return int(np.triu(three, 1).sum())


def pair_gaps(holds: Array, y: Array, c: int, d: int) -> tuple[float, float]:
    """How much more often the tails of ``pair`` hold where they should: those of one class in it than in the other
    (the smaller difference), and the shared one in either class than in all others.

    Args:
        holds: (3, samples) of the rules with c and not d, with both, with d and not c.
        y: (samples,) the class of each image.
    """
    in_c, in_d = holds[:, y == c].mean(1), holds[:, y == d].mean(1)
    rest = holds[:, (y != c) & (y != d)]
    elsewhere = rest.mean(1) if rest.size else np.zeros(3)
    own = min(in_c[0] - in_d[0], in_d[2] - in_c[2])
    shared = min(in_c[1], in_d[1]) - elsewhere[1]
    return float(own), float(shared)


def together(holds: Array) -> float:
    """The mean correlation, over pairs of rules, of where their tails hold among the images of a class (Fig. 15): below
    0 they hold in different images. NaN where they do not differ within the class.

    Args:
        holds: (rules, images of the class) bool.
    """
    varied = holds[(holds.mean(1) > 0) & (holds.mean(1) < 1)]
    if len(varied) < 2:
        return float("nan")
    r = np.corrcoef(varied)
    return float(r[np.triu_indices(len(r), 1)].mean())


def with_another_rule(H: Array) -> float:
    """The share of the rules of several classes of which a class has another rule too (App. B.4)."""
    several = H.sum(1) > 1
    again = H.sum(0) > 1
    repeated = (H[several] & again).any(1)
    return float(repeated.mean()) if len(repeated) else 0.0


def alike(a: Sequence[Rule], b: Sequence[Rule]) -> Array:
    """(len(a),) bool: which rules of ``a`` are also in ``b``, exactly or nearly (``ALIKE``)."""
    if not a or not b:
        return np.zeros(len(a), bool)
    best = overlap(sides(a), sides(b)).max(1)
    return best >= ALIKE


# --------------------------------------------------------------------------------------------- filters


def filter_maps(
    target: Target,
    batch: Batch,
    units: Units,
    model: Model,
    light: Array,
    count: int,
) -> dict[str, Array]:
    """Of F chosen filters: the mean activation (F, C, u, v), the number of the rule that has the pixel in its tail and
    the class in its head, or -1 (F, C, u, v), and the correlation with brightness (F,).
    """
    C, (K, u, v) = len(target.classes), units.shape
    rule_of = np.full((C, K * u * v), -1, np.int16)
    shared = np.zeros(K)  # pixels in rules of several classes
    for number, rule in enumerate(model.rules):
        tail = model.tails(rule)
        rule_of[np.ix_(rule.X, tail)] = number
        if len(rule.X) > 1:
            filter_of = np.array(tail) // (u * v)
            shared += np.bincount(filter_of, minlength=K)
    chosen = _chosen_filters(shared, light, count)
    z = networks.values(target, batch, units.layer, units.pool, False)[
        :, chosen
    ]  # (n, F, u, v)
    y = networks.answers(target, batch).argmax(1)
    means = []
    for c in range(C):
        mean = np.zeros(z.shape[1:])
        if (y == c).any():
            mean = z[y == c].mean(0).cpu().numpy()
        means.append(mean)
    return {
        "filter": np.array(chosen),
        "mean": np.stack(means, axis=1).astype(np.float32),
        "rule": rule_of.reshape(C, K, u, v)[:, chosen].swapaxes(0, 1),
        "light": light[chosen],
    }


def _chosen_filters(shared: Array, light: Array, count: int) -> list[int]:
    """The ``count`` filters with most shared pixels, and the one that responds most to background."""
    most = np.argsort(-shared, kind="stable")[:count]
    chosen = [int(k) for k in most if shared[k]]
    if np.isfinite(light).any():
        darkest = int(np.nanargmin(light))
        if light[darkest] < -0.1 and darkest not in chosen:
            chosen.append(darkest)
    return chosen


# --------------------------------------------------------------------------------------------- chains of rules


Level = tuple[Units, Model]  # a layer's units and the rules that end in it


def _children(levels: Sequence[Level], depth: int, head: Sequence[int]) -> list[Rule]:
    """The rules of a level with the class ``head[0]`` in the head or, below the first level, with the head ``head``."""
    _, model = levels[depth]
    if depth == 0:
        return [rule for rule in model.rules if head[0] in rule.X]
    return [rule for rule in model.rules if tuple(head) == rule.X]


def chains(levels: Sequence[Level], c: int) -> int:
    """The number of chains of rules that lead from class c to the last layer."""
    heads = [[c]]
    for depth, (_, model) in enumerate(levels):
        tails = []
        for head in heads:
            tails += [model.tails(rule) for rule in _children(levels, depth, head)]
        heads = tails
    return len(heads)


def drawn_nodes(
    levels: Sequence[Level], c: int, wide: int, filters: int = 2
) -> list[dict[str, Any]]:
    """The rules below class c that are drawn, breadth first: those of fewest classes that go on to the next layer.

    Where the last layer has positions, a tail is drawn by the ``filters`` of its filters that have most units in it.
    """
    nodes: list[dict[str, Any]] = []
    front = [(-1, [c])]  # parent and head
    for depth, (units, model) in enumerate(levels):
        most = (wide, 2, 1)[min(depth, 2)]
        ends = depth + 1 == len(levels)
        next_front = []
        for parent, head in front:
            below = _children(levels, depth, head)
            if not ends:
                below = _going_on(levels, depth, below) or below
            for rule in by_classes(below)[:most]:
                tail = model.tails(rule)
                parts = _by_filter(units, tail)[:filters] if ends else [tail]
                for part in parts:
                    nodes.append(_node(units, rule, depth, parent, part))
                next_front.append((len(nodes) - 1, tail))
        front = next_front
    return nodes


def _node(
    units: Units, rule: Rule, depth: int, parent: int, part: list[int]
) -> dict[str, Any]:
    """A rule, or the units ``part`` of its tail, as a node of the picture; ``places``: rows and columns on the map."""
    node = {
        "level": depth + 1,
        "parent": parent,
        "layer": units.layer,
        "units": len(part),
        "head": list(rule.X) if depth == 0 else [],
        "k": rule.k,
        "units_of_layer": part,
    }
    if units.blocks is not None:
        channel, row, column = np.unravel_index(part, units.shape)
        cells = np.unique(np.stack([row, column], axis=1), axis=0)
        node |= {
            "filters": np.unique(channel).tolist(),
            "places": cells.tolist(),
            "map": list(units.shape[1:]),
        }
    return node


def _by_filter(units: Units, tail: list[int]) -> list[list[int]]:
    """A tail's units filter by filter, those with most units first; the tail itself in a layer without positions."""
    if units.blocks is None:
        return [tail]
    filter_of = units.blocks[tail]
    found, counts = np.unique(filter_of, return_counts=True)
    most = found[np.argsort(-counts, kind="stable")]
    return [[y for y, k in zip(tail, filter_of, strict=True) if k == f] for f in most]


def _going_on(levels: Sequence[Level], depth: int, rules: Sequence[Rule]) -> list[Rule]:
    """Those whose tails are heads in the next level."""
    _, model = levels[depth]
    found = []
    for rule in rules:
        tail = model.tails(rule)
        if _children(levels, depth + 1, tail):
            found.append(rule)
    return found
