"""Which class a network answers instead of one whose rules' weights were zeroed, and how related they are (Sec. 3.2).

    chosen = commonest(result.instead)          # (C,) the class that most lost images go to, -1 where none is lost
    closeness(target, test)                     # (C, C) rank of d among the classes most like c; 1: the nearest
    namesakes(target.classes)                   # (C, C) bool: do two names end in the same word (Laysan Albatross)?

The paper shows pairs (Fire Salamander, Spotted Salamander) and has no measure. Ours are two: the network's own, the
likeness of two classes' mean activations in the last hidden layer, of which the nearest tenth counts as "very
related"; and the names', which know nothing of the network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from benchmark.api import Array, Batch, Target
from benchmark.papers.explainn.networks import Intervention, last

RELATED = 0.1  # share of the other classes that are "very related"


def commonest(instead: Array) -> Array:
    """The class that most of a class's lost images are answered as, (C,); -1 where none is lost.

    Args:
        instead: (C, C) as in ``Intervention``.
    """
    others = instead * ~np.eye(len(instead), dtype=bool)
    return np.where(others.any(1), others.argmax(1), -1)


def closeness(target: Target, test: Batch) -> Array:
    """(C, C) the rank of class d among the others by the cosine of its mean activations in the last hidden layer with
    those of class c, around the mean of all classes; 1: the nearest; 0 on the diagonal.
    """
    source, C = last(target), len(target.classes)
    z = target.features(test, source.layer)
    if source.channels:
        z = z.mean((2, 3))
    means = [z[test.y == c].mean(0) for c in range(C)]
    A = torch.nan_to_num(torch.stack(means)).double().cpu().numpy()  # (C, m)
    A -= A.mean(0)
    A /= np.maximum(np.linalg.norm(A, axis=1, keepdims=True), 1e-12)
    cosine = A @ A.T
    np.fill_diagonal(cosine, np.inf)  # rank 0
    order = np.argsort(-cosine, axis=1, kind="stable")
    return np.argsort(order, axis=1)


def namesakes(classes: Sequence[str]) -> Array:
    """(C, C) bool: classes whose names end in the same word, a class and itself apart."""
    words = [name.replace("_", " ").split() for name in classes]
    last_words = np.array([of_name[-1].lower() for of_name in words])
    same = last_words[:, None] == last_words
    np.fill_diagonal(same, False)
    return same


def facts(target: Target, test: Batch, result: Intervention) -> dict[str, float]:
    """Shares of the classes that lose images whose commonest substitute is related, and shares by chance; empty for two
    classes, where there is no choice.
    """
    C = len(target.classes)
    d = commonest(result.instead)
    losers = np.flatnonzero(d >= 0)
    if C < 3 or not len(losers):
        return {}
    lost = result.instead.sum(1) - result.instead.diagonal()
    to_commonest = result.instead[losers, d[losers]] / lost[losers]
    near = max(1, round(RELATED * (C - 1)))
    rank = closeness(target, test)[losers, d[losers]]
    found = {
        "classes_that_lose": len(losers),
        "instead_commonest_share": to_commonest.mean(),
        "instead_related_share": (rank <= near).mean(),
        "instead_related_by_chance": near / (C - 1),
    }
    same = namesakes(target.classes)
    named = losers[same[losers].any(1)]
    if len(named):
        found |= {
            "classes_that_lose_with_namesakes": len(named),
            "instead_namesake_share": same[named, d[named]].mean(),
            "instead_namesake_by_chance": same[named].mean() * C / (C - 1),
        }
    return found
