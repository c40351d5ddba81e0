"""Which networks two runs share, and what that says where few cells moved.

Idea: ``noise`` learns from the cells that moved how much of the noise two runs do not share. Fewer than
``noise.ENOUGH`` say too little, and it then judges as if all networks had been trained again. But where the networks
are the same, no noise of training lies between the runs: what is not touched is equal to the last digit, and what moved
was moved by the change. There, worse on every seed is a regression if it is more than the metric's floor
(``noise.FLOOR`` of its usual spread), and better on every seed an improvement.

That networks are the same is known from provenance (``by_weights``), or shown by the rows themselves (``shown``), so
that bare files of rows can be judged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from benchmark.gate import noise

Network = tuple[str, str, str]  # profile, data set, target
NETWORK = ["profile", "dataset", "target"]
EQUAL = 8  # equal cells of other methods that show a network to be the same
_JUDGED = ("unchanged", "unverified", "regression", "improvement")


def by_weights(base: Mapping[str, Any], head: Mapping[str, Any]) -> set[Network]:
    """The networks of which two provenances name the same weights for every seed that both have."""
    old = base.get("weights", {})
    new = head.get("weights", {})
    profile = str(head.get("profile", ""))
    same: set[Network] = set()
    other: set[Network] = set()
    for name in old.keys() & new.keys():
        place, _, _ = name.rpartition("-")  # digits/cnn-0
        dataset, _, target = place.partition("/")
        network = (profile, dataset, target)
        if old[name] == new[name]:
            same.add(network)
        else:
            other.add(network)
    return same - other


def shown(found: pd.DataFrame, method: str, network: Network) -> bool:
    """Do the rows besides those of ``method`` show that a network is the same in both runs?

    All rows of the network itself (its accuracies) are equal, and so are at least ``EQUAL`` cells, and half, of the
    other methods that look at the network (controls do not).

    Args:
        found: cells: NETWORK, track, paper, method, moved, old, new.
    """
    has_both = found["old"].notna() & found["new"].notna()
    is_here = (found[NETWORK] == list(network)).all(axis=1)
    here = found[has_both & is_here]
    itself = here["track"] == "target"
    if here.loc[itself, "moved"].any():
        return False
    is_fact = here["track"].isin(["target", "replication"])
    is_blind = here["paper"] == "control"
    is_own = here["method"] == method
    others = here[~(is_fact | is_blind | is_own)]
    equal = len(others) - others["moved"].sum()
    return bool(equal >= max(EQUAL, len(others) / 2))


def judge(
    found: pd.DataFrame,
    known: Collection[Network],
    elsewhere: pd.DataFrame | None = None,
) -> None:
    """Where few cells moved, judge in place those that did so in one direction on every seed of the same network.

    Args:
        found: as for ``shown``, and kind, why, gain, direction (1: better on every seed, -1: worse on every seed,
            else 0) and what ``noise.spreads`` asks for.
        known: networks that are the same, whatever the rows show.
        elsewhere: as for ``noise.spreads``.
    """
    compared = found[found["kind"].isin(_JUDGED)]
    moved = compared["moved"].astype(bool)
    if not 0 < moved.sum() < noise.ENOUGH:
        return
    spread = noise.spreads(compared, elsewhere)
    usual = spread["usual"].fillna(spread["sigma"])  # NaN: unknown
    is_large = compared["gain"].abs() >= noise.FLOOR * usual
    one_way = compared["direction"].isin([-1, 1])
    for line in compared[moved & is_large & one_way].itertuples():
        network = (line.profile, line.dataset, line.target)
        if network not in known and not shown(found, line.method, network):
            continue
        kind, word = _VERDICTS[line.direction]
        found.loc[line.Index, "kind"] = kind
        why = f"{word} on every seed of the same network"
        if line.why:
            why = f"{line.why}; {why}"
        found.loc[line.Index, "why"] = why


_VERDICTS = {1: ("improvement", "better"), -1: ("regression", "worse")}
