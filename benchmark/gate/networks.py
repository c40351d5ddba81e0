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
    old, new = base.get("weights", {}), head.get("weights", {})
    same: dict[Network, bool] = {}
    for name in old.keys() & new.keys():  # digits/cnn-0
        place, _, _ = name.rpartition("-")
        dataset, _, target = place.partition("/")
        network = str(head.get("profile", "")), dataset, target
        same[network] = same.get(network, True) and old[name] == new[name]
    return {network for network, is_same in same.items() if is_same}


def shown(found: pd.DataFrame, method: str, network: Network) -> bool:
    """Do the rows besides those of ``method`` show that a network is the same in both runs?

    All rows of the network itself (its accuracies) are equal, and so are at least ``EQUAL`` cells, and half, of the
    other methods that look at the network (controls do not).

    Args:
        found: cells: NETWORK, track, paper, method, moved, old, new.
    """
    both = found[found["old"].notna() & found["new"].notna()]
    here = both[(both[NETWORK] == list(network)).all(axis=1)]
    itself = here[here["track"] == "target"]
    others = here[~here["track"].isin(["target", "replication"])]
    others = others[(others["method"] != method) & (others["paper"] != "control")]
    equal = int((~others["moved"].astype(bool)).sum())
    if itself["moved"].any():
        return False
    return equal >= max(EQUAL, len(others) / 2)


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
    floor = noise.FLOOR * spread["usual"].fillna(spread["sigma"])  # NaN: unknown
    large = moved & (compared["gain"].abs() >= floor) & compared["direction"].ne(0)
    for line in compared[large].itertuples():
        network = line.profile, line.dataset, line.target
        if network in known or shown(found, line.method, network):
            better = line.direction > 0
            why = f"{'better' if better else 'worse'} on every seed of the same network"
            found.loc[line.Index, "kind"] = "improvement" if better else "regression"
            found.loc[line.Index, "why"] = "; ".join(filter(None, [line.why, why]))
