"""Every claim on its own paper's tables: one that fails there is worded wrongly.

The published numbers are fed to each paper's ``verdicts`` as if they were rows. A number with a printed standard
deviation has five seeds of exactly that mean and deviation; the deviations of two numbers are uncorrelated, and a
difference has those of its parts. ExplaiNN is left out: it prints bounds and rounded code lengths.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from benchmark import papers, store
from benchmark.leaderboard import joining

REPORTED = store.ROOT / "results" / "reported"
SPREADS = {  # five seeds of mean 0 and standard deviation 1, orthogonal to each other
    "first": np.array([-1.0, -1.0, 0.0, 1.0, 1.0]),
    "second": np.array([1.0, -1.0, 0.0, -1.0, 1.0]),
}
IMAGES = {"layer_trees": 55_000, "cladec": 10_000, "xnn": 200, "representative": 1_000}
# claims about numbers that the tables print
JUDGED = {
    "layer_trees": {"LT1", "LT2", "LT4", "LT7", "LT8", "LT11", "LT12", "LT13", "LT14"},
    "cladec": {"CD1", "CD2", "CD3", "CD4", "CD5", "CD7", "CD8"},
    "xnn": {"XN1", "XN2", "XN3", "XN4", "XN5", "XN6"},
    "representative": {"RI1", "RI2", "RI3"},
}


def published(paper: str) -> list[dict[str, str]]:
    """The printed numbers of a paper that are no bounds, under the names of the benchmark."""
    names = store.read_json(REPORTED / "names.json")
    frame = pd.read_csv(REPORTED / f"{paper}.csv", dtype=str, keep_default_na=False)
    found = []
    for line in frame.to_dict("records"):
        if line["value"][0] in "<>" or "not replicable" in line["setting"]:
            continue
        target = names["targets"].get(line["target"], [line["target"]])[0]
        dataset = names["datasets"].get(line["dataset"], line["dataset"].lower())
        pairs = joining.pairs(line["setting"])
        if line["setting"].startswith("unseen"):
            pairs["images"] = "unseen"
        found.append(
            line | {"dataset": dataset, "target": target, "pairs": dict(pairs)}
        )
    return found


def seeds(line: dict, lines: list[dict]) -> np.ndarray:
    """Its value, or five with its mean and standard deviation."""
    value = float(line["value"])
    where = ("table", "dataset", "target", "pairs")
    parts = {
        "delta_acc": ("acc_eval", "ClaDec", "RefAE"),
        "delta_rec": ("rec_loss", "ClaDec", "RefAE"),
        "delta_acc_occl": ("acc_occl_min", "acc_occl_max"),
    }.get(line["metric"])
    if parts is None:
        name = (
            "second"
            if "RefAE" in line["method"] or "max" in line["metric"]
            else "first"
        )
        return value + float(line["std"] or 0) * (
            SPREADS[name] if line["std"] else np.zeros(1)
        )
    out = np.full(5, value)
    for other in lines:
        if any(other[key] != line[key] for key in where) or not other["std"]:
            continue
        spread = float(other["std"])
        if line["metric"] == "delta_acc_occl":
            if other["method"] == line["method"] and other["metric"] in parts:
                sign, name = (
                    (1, "first") if "min" in other["metric"] else (-1, "second")
                )
                out += sign * spread * SPREADS[name]
        elif other["metric"] == parts[0] and other["method"] in parts[1:]:
            sign, name = (1, "first") if other["method"] == "ClaDec" else (-1, "second")
            out += sign * spread * SPREADS[name]
    return out


def rows(paper: str) -> pd.DataFrame:
    """The printed numbers as the rows of a profile."""
    lines = published(paper)
    out = []
    for line in [*lines, *added(paper, lines)]:
        for seed, value in enumerate(seeds(line, lines)):
            out.append(
                {
                    "profile": "paper",
                    "track": "replication",
                    "paper": paper,
                    "dataset": line["dataset"],
                    "target": line["target"],
                    "method": line["method"],
                    "setting": store.setting_text(line["pairs"]),
                    "metric": metric(line),
                    "metric_setting": "",
                    "seed": seed,
                    "value": value,
                    "n": IMAGES[paper],
                    "better": "lower",
                    "unit": "",
                    "metric_version": 1,
                    "status": "ok",
                    "reason": "",
                }
            )
    return pd.DataFrame(out)


def metric(line: dict) -> str:
    """The name of the rows: ClaDec's Tables 4 to 6 sum the loss over pixels."""
    summed = {"alpha", "classifier epochs"} & set(line["pairs"])
    if line["paper"] == "cladec" and line["metric"] == "rec_loss" and summed:
        return "rec_loss_sum"
    return line["metric"]


def added(paper: str, lines: list[dict]) -> Iterator[dict]:
    """What the paper says elsewhere, or what follows from the printed numbers."""
    for line in lines:
        if line["metric"] == "n_encodings" and line["pairs"]["threshold"] == "0":
            where = {"layer": line["pairs"]["layer"]}
            encodings = line | {"method": "encodings", "pairs": where}
            yield encodings | {"metric": "n_unique_encodings"}
            yield encodings | {"metric": "n_duplicate_encodings", "value": "0"}
        if paper == "xnn" and line["method"] == "mask by x-features":
            (other,) = (
                float(one["value"])
                for one in lines
                if one["pairs"] == line["pairs"]
                and one["method"] == "mask by 1-Heatmap"
            )
            gap = line | {"method": "x-features-1-Heatmap"}
            value = str(float(line["value"]) - other)
            yield gap | {"metric": "delta_accuracy", "value": value}
            yield gap | {"metric": "delta_accuracy_ci95", "value": "0"}
    if paper == "layer_trees":
        network = {"method": "network", "pairs": {}, "std": "", "table": "Table 1"}
        network |= {"paper": paper, "dataset": "mnist", "target": "mlp-100x10"}
        yield network | {"metric": "network_train_accuracy_pct", "value": "100"}
        # Table 1: 97.82 to 98.19 over the depths
        yield network | {"metric": "network_test_accuracy_pct", "value": "98.19"}


def checks(paper: str) -> list[papers.Check]:
    frame = rows(paper)
    if paper == "layer_trees":  # the ranges over depths are of no single network
        frame = frame[frame["target"] == "mlp-100x10"]
    return list(papers.part(paper, "verdicts").verdicts(frame))


@pytest.mark.parametrize("paper", JUDGED)
def test_every_claim_holds_on_its_own_papers_tables(paper):
    found = [check for check in checks(paper) if not check.extension]
    assert JUDGED[paper] <= {check.claim for check in found}
    failing = {
        f"{c.claim} {c.dataset}/{c.target}: {c.evidence}"
        for c in found
        if c.holds is not None and not c.holds
    }
    assert not failing


@pytest.mark.parametrize("paper", JUDGED)
def test_some_checks_are_decided_by_them(paper):
    assert sum(check.holds is True for check in checks(paper)) >= len(JUDGED[paper])
