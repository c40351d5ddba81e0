"""Which of the paper's claims hold here, from the rows of its own experiments."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchmark.papers import Check
from benchmark.store import setting_pairs

SMALL = 1.5  # points: "flat", and the tolerance of the paper's own tables
CONTROL = "Random map"


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """Checks RI1 to RI6, one for each network and seed that the experiments ran on.

    RI is RI as the authors' code samples boundaries; the random map is no competitor.
    """
    mine = rows[(rows.track == "replication") & (rows.paper == "representative")]
    pieces = mine.setting.map(setting_pairs)
    mine = mine.assign(
        images=pieces.str.get("images"),
        Q=pd.to_numeric(pieces.str.get("|Q|")),
        K=pd.to_numeric(pieces.str.get("K")),
    )
    for (dataset, target, seed), unit in mine.groupby(["dataset", "target", "seed"]):
        for claim, holds, evidence in _judge(unit):
            yield Check(claim, bool(holds), evidence, dataset, target, int(seed))


def _judge(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    drop = _by_method(unit[(unit.metric == "mAD_pct") & (unit.images == "unseen")])
    others = drop.drop(["RI", "RI (reference)", CONTROL], errors="ignore")
    if "RI" in drop and len(others):
        yield "RI1", drop["RI"] < others.min(), f"mAD: RI {drop['RI']:.1f}, {_named(others)}"
    if "RI" in drop and "ACE" in drop:
        yield (
            "RI2",
            drop["ACE"] > 3 * drop["RI"],
            f"mAD: ACE {drop['ACE']:.1f}, RI {drop['RI']:.1f}",
        )
    ours = unit[(unit.method == "RI") & unit.Q.notna()]
    for where in ("reference", "unseen"):
        rates = ours[ours.images == where].pivot_table(index="Q", columns="metric", values="value")
        if 50 in rates.index and "CVR_pct" in rates:
            at = rates.loc[50]
            yield (
                "RI3",
                at.ACU_MD_pct >= 98 and at.CVR_pct >= 97,
                f"{where}: ACU-MD {at.ACU_MD_pct:.1f}, CVR {at.CVR_pct:.1f}",
            )
        if {1, 50, 70} <= set(rates.index):
            for rate in ("ACU_GT_pct", "ACU_MD_pct"):
                low, middle, high = rates[rate][[1, 50, 70]]
                flat = middle > low and abs(high - middle) <= SMALL
                yield (
                    "RI4",
                    flat,
                    f"{where}: {rate[:6].replace('_', '-')} {low:.1f}, {middle:.1f}, {high:.1f} for |Q| = 1, 50, 70",
                )
    curves = unit[(unit.metric == "mAD_pct") & (unit.images == "similar")].pivot_table(
        index="K", columns="method", values="value"
    )
    if "RI" in curves and len(curves) > 1:
        rivals = curves.drop(columns=["RI", CONTROL], errors="ignore")
        for K, line in rivals[rivals.index > 1].iterrows():
            yield (
                "RI5",
                curves["RI"][K] < line.min(),
                f"K = {K:g}: RI {curves['RI'][K]:.1f}, {_named(line)}",
            )
    leads = unit[unit.method == "Score-CAM"].pivot_table(
        index="K", columns="metric", values="value"
    )
    if len(leads) > 1 and leads.index[0] == 1 and {"lead_mAD_pct", "lead_mAD_ci95"} <= set(leads):
        first, last = leads.iloc[0], leads.iloc[-1]
        ahead = [f"{one.lead_mAD_pct:+.1f} +- {one.lead_mAD_ci95:.1f}" for one in (first, last)]
        words = f"Score-CAM ahead of RI by {ahead[0]} at K = 1, {ahead[1]} at K = {leads.index[-1]:g} (points of mAD, 95 % over inputs)"
        yield "RI6", last.lead_mAD_pct < first.lead_mAD_pct, f"smaller: {words}"
        yield "RI6", last.lead_mAD_pct - last.lead_mAD_ci95 <= 0, f"gone: {words}"


def _by_method(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("method")["value"].mean()


def _named(values: pd.Series) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in values.sort_values().items())
