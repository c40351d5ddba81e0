"""Which of the paper's claims hold here, from the rows of its own experiments."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchmark.papers import Check
from benchmark.store import setting_pairs

SMALL = 1.5  # points: "flat", and the tolerance of the paper's own tables
CONTROL = "Random map"
EXPLAINED_BY_ACE = "unseen, explained by ACE"
MEASURES = {"mAD_pct": 1, "mAI_pct": -1}  # the lower, the higher the better
FAR = 3  # times RI's mAD


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """Checks RI1 to RI6, one for each network and seed that the experiments ran on.

    RI is RI as the authors' code samples boundaries; the random map is a control and does not compete.
    """
    mine = rows[(rows.track == "replication") & (rows.paper == "representative")]
    pieces = mine.setting.map(setting_pairs)
    mine = mine.assign(
        images=pieces.str.get("images"),
        Q=pd.to_numeric(pieces.str.get("|Q|")),
        K=pd.to_numeric(pieces.str.get("K")),
    )
    for (dataset, target, seed), unit in mine.groupby(["dataset", "target", "seed"]):
        for claim, holds, evidence in _judge(unit, str(dataset)):
            yield Check(claim, bool(holds), evidence, dataset, target, int(seed))


def _judge(unit: pd.DataFrame, dataset: str) -> Iterator[tuple[str, bool, str]]:
    """(claim, whether it holds, evidence) of one network and seed."""
    yield from _best(unit, dataset)
    yield from _far_worse(unit)
    rates = unit[(unit.method == "RI") & unit.Q.notna()]
    for images in ("reference", "unseen"):
        table = rates[rates.images == images]
        table = table.pivot_table(index="Q", columns="metric", values="value")
        yield from _agreement(table, images)
    yield from _similar(unit)
    yield from _lead(unit)


def _best(unit: pd.DataFrame, dataset: str) -> Iterator[tuple[str, bool, str]]:
    """RI1: the lowest mAD on unseen images, and the highest mAI, which is claimed for all data sets but ASIRRA."""
    for metric, sign in MEASURES.items():
        if metric == "mAI_pct" and dataset.lower() == "asirra":
            continue
        values = _by_method(unit[(unit.metric == metric) & (unit.images == "unseen")])
        yield from _first("RI1", values, sign, metric.removesuffix("_pct"))


def _first(
    claim: str, values: pd.Series, sign: int, words: str
) -> Iterator[tuple[str, bool, str]]:
    """Whether RI's is the least of sign * values, by method; the control and the other RI do not compete."""
    others = values.drop(["RI", "RI (reference)", CONTROL], errors="ignore").dropna()
    if "RI" not in values or not len(others):
        return
    ri = values["RI"]
    first = sign * ri < (sign * others).min()
    yield claim, first, f"{words}: RI {ri:.1f}, {_named(others)}"


def _far_worse(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    """RI2: ACE's mAD is more than three times RI's, on the images that ACE explains; where 3 x RI's is above 100 no mAD
    can be."""
    drop = unit[unit.metric == "mAD_pct"]
    unseen = _by_method(drop[drop.images == "unseen"])
    same = drop[(drop.method == "RI") & (drop.images == EXPLAINED_BY_ACE)]
    if not {"RI", "ACE"} <= set(unseen.index):
        return
    ri = same.value.mean() if len(same) else unseen["RI"]
    ace = unseen["ACE"]
    share = unit[(unit.metric == "explained_pct") & (unit.images == "unseen")]
    words = f"mAD: ACE {ace:.1f}, RI {ri:.1f}"
    if len(share):
        explained = share.value.mean()
        words += f", on the {explained:.0f} % of the images that ACE explains"
    if FAR * ri < 100:
        yield "RI2", ace > FAR * ri, words


def _agreement(rates: pd.DataFrame, images: str) -> Iterator[tuple[str, bool, str]]:
    """RI3, RI4: agreement and coverage of regions, rows |Q|."""
    if 50 in rates.index and "CVR_pct" in rates:
        md = rates.ACU_MD_pct[50]
        cvr = rates.CVR_pct[50]
        yield "RI3", md >= 98 and cvr >= 97, f"{images}: ACU-MD {md:.1f}, CVR {cvr:.1f}"
    if not {1, 50, 70} <= set(rates.index):
        return
    for rate in ("ACU_GT_pct", "ACU_MD_pct"):
        low, middle, high = rates[rate][[1, 50, 70]]
        rises = middle > low
        change = abs(high - middle)
        name = rate.removesuffix("_pct").replace("_", "-")
        numbers = f"{low:.1f}, {middle:.1f}, {high:.1f}"
        evidence = f"{images}: {name} {numbers} for |Q| = 1, 50, 70"
        yield "RI4", rises and change <= SMALL, evidence


def _similar(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    """RI5: average drop and increase on the K most similar images."""
    similar = unit[(unit.images == "similar") & (unit.K > 1)]
    for metric, sign in MEASURES.items():
        found = similar[similar.metric == metric]
        name = metric.removesuffix("_pct")
        for K, some in found.groupby("K"):
            words = f"{name} at K = {K:g}"
            yield from _first("RI5", _by_method(some), sign, words)


def _lead(unit: pd.DataFrame) -> Iterator[tuple[str, bool, str]]:
    """RI6: Score-CAM is ahead of RI at K = 1, and less or no longer at the largest K."""
    rows = unit[unit.method == "Score-CAM"]
    leads = rows.pivot_table(index="K", columns="metric", values="value")
    known = {"lead_mAD_pct", "lead_mAD_ci95"} <= set(leads)
    if len(leads) < 2 or leads.index[0] != 1 or not known:
        return
    first, last = leads.iloc[0], leads.iloc[-1]
    words = (
        f"Score-CAM ahead of RI by {first.lead_mAD_pct:+.1f} +- {first.lead_mAD_ci95:.1f} at K = 1, "
        f"{last.lead_mAD_pct:+.1f} +- {last.lead_mAD_ci95:.1f} at K = {leads.index[-1]:g} "
        "(points of mAD, 95 % over inputs)"
    )
    yield "RI6", last.lead_mAD_pct < first.lead_mAD_pct, f"smaller: {words}"
    yield "RI6", last.lead_mAD_pct - last.lead_mAD_ci95 <= 0, f"gone: {words}"


def _by_method(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby("method")["value"].mean()


def _named(values: pd.Series) -> str:
    pairs = values.sort_values().items()
    return ", ".join(f"{name} {value:.1f}" for name, value in pairs)
