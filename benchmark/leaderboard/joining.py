"""Which measured number a published one is compared with.

Idea: a published line names a data set, network, method, setting and metric. What was measured is joined by the same
names; where a paper and the benchmark use different names for one thing, ``names.json`` (data sets, networks) and the
mappings below translate. A measured number fits if it has at least the ``key=value`` pairs of the published setting; of
several the one with the fewest others is taken, so that a variant never stands for the method itself.

The measured number is the mean over seeds. Half its 95 % interval is the root of two squares: Student's t over seeds,
and what the experiment gives beside the number, ``<metric>_ci95`` (half an interval over classes or images) or
``<metric>_se`` (a standard error). One seed without either has, if it is an accuracy, the interval of a share of n
images (Agresti and Coull, 1998); otherwise none.

``stand-ins`` of ``names.json`` are networks on which an experiment is also compared when nothing else was measured on
the published data set: pretrained VGG-19s need a GPU. The line says ``another network`` then. They never stand for the
network's own accuracy, nor where the setting means another thing on another network (``BOUND``).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy

from benchmark import store

Line = Mapping[str, Any]  # published or measured
Names = Mapping[str, Mapping[str, Any]]  # of names.json

MEASURED = {  # published (method, metric) -> a fact about the network: track, method, metric, factor
    ("network", "test_accuracy_pct"): ("target", "network", "test_accuracy", 1.0),
    ("network", "train_accuracy_pct"): ("target", "network", "train_accuracy", 1.0),
    ("classifier", "accuracy"): ("target", "network", "test_accuracy", 0.01),
}

BESIDE = {"_ci95": 1.0, "_se": 1.96}  # suffix of a metric -> half intervals in one
BOUND = {"layer", "alpha"}  # settings: layers have other names, logits another scale

PICK = {  # words of the setting -> which of several networks a published number is compared with
    "min over depths": np.argmin,
    "max over depths": np.argmax,
    "all depths": np.argmin,
    "every layer of all 10 networks": np.argmax,
    "lower bound, no augmentation": np.argmin,
    "approximately (close to all samples)": np.argmin,
}

NEVER = [  # (column, pattern, why); column ``what``: metric and setting; the first that matches
    ("setting", r".*not replicable.*", "a study with people: no program replicates it"),
    ("setting", r"hyper-parameter", "a recipe, not a result"),
    (
        "what",
        r"(\w+_loss|delta_rec) (alpha|classifier epochs)=.*",
        "the unit of the losses in Tables 4 to 6 is not printed",
    ),
    ("metric", r"runtime_hours", "another machine's time says nothing here"),
    (
        "metric",
        r"n_rules_max",
        "a bound over data sets of which two are not part of the benchmark; EX7 asks it of the others",
    ),
]
NOT_RUN = {  # what this profile lacks -> why
    "data": "its data set is not in this profile",
    "network": "its network is not in this profile",
    "experiment": "its experiment is not in this profile",
}

_KEY = [
    "track",
    "paper",
    "dataset",
    "target",
    "method",
    "setting",
    "metric_setting",
    "metric",
]
_ACCURACY = re.compile(r"(test_|train_)?accuracy(_pct)?|acc_.*")
_Z = re.compile(r"Z \(\d+ fc dims\)")  # the name says how many the network has


class Board:
    """The measured numbers of a profile, to be found by published lines."""

    def __init__(self, rows: pd.DataFrame, names: Names) -> None:
        """``rows``: as ``store.tidy_rows``; only facts about networks and replications are looked at."""
        self.names = names
        self.groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        self.networks: set[tuple[str, str]] = set()  # data set, network
        for line in lines(rows):
            if line["metric_setting"]:
                continue  # a share of a claim's checks
            key = line["track"], _method(line["method"]), line["metric"]
            self.groups.setdefault(key, []).append(line)
            self.networks.add((line["dataset"], line["target"]))

    def find(self, published: Line) -> dict[str, Any] | None:
        """The measured line of a published one, in the published unit; None if there is none.

        It has ``networks``, the names it was picked from, and ``same_network``: False on a stand-in.
        """
        name = published["method"], published["metric"]
        asked = pairs(published["setting"])
        sources = [("replication", *name, 1.0)]
        if name in MEASURED:
            sources.append(MEASURED[name])
        for same in (True, False):
            patterns = self._patterns(published["target"], same)
            if not same and (name in MEASURED or BOUND & set(asked)):
                continue  # no stand-in for it
            for track, method, metric, factor in sources:
                group = self.groups.get((track, _method(method), metric), ())
                fits = self._fits(published, group, patterns)
                if fits:
                    found = _picked(published["setting"], fits)
                    return _in_unit(found, factor) | {"same_network": same}
        return None

    def why_not(self, published: Line) -> str:
        """Why a published number was not measured."""
        texts = {**published, "what": f"{published['metric']} {published['setting']}"}
        for column, pattern, why in NEVER:
            if re.fullmatch(pattern, texts[column]):
                return why
        targets = []
        for dataset, target in self.networks:
            if self._is_dataset(dataset, published["dataset"]):
                targets.append(target)
        if not targets:
            return NOT_RUN["data"]
        patterns = self._patterns(published["target"], same=True)
        if any(_matches(target, patterns) for target in targets):
            return NOT_RUN["experiment"]
        return NOT_RUN["network"]

    def _patterns(self, target: str, same: bool) -> list[str]:
        """Of the networks that a published name stands for, or of its stand-ins."""
        if same:
            known = self.names["targets"]
            return [target, *known.get(target, ())]
        stand_ins = self.names.get("stand-ins", {})
        return list(stand_ins.get(target, ()))

    def _is_dataset(self, ours: str, published: str) -> bool:
        """Whether a data set is the published one, under its name in any case or as ``names.json`` calls it."""
        translated = self.names["datasets"].get(published, published)
        theirs = published.casefold(), translated.casefold()
        return ours.casefold() in theirs

    def _fits(
        self, published: Line, group: Sequence[dict[str, Any]], patterns: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The lines that have what is asked for, and as few other settings as any."""
        asked = pairs(published["setting"])
        name = published["method"], published["metric"]
        by_others: dict[int, list[dict[str, Any]]] = {}
        for line in group:
            has = pairs(line["setting"])
            others = len(has) - len(asked)
            if not asked.items() <= has.items():
                continue
            if others and name in MEASURED:
                continue  # of a network that was trained for something else
            if _matches(line["target"], patterns) and self._same(published, line):
                by_others.setdefault(others, []).append(line)
        if not by_others:
            return []
        fewest = min(by_others)
        return by_others[fewest]

    def _same(self, published: Line, line: Line) -> bool:
        """Whether a line has a value, on the published data set, by an experiment of the same paper."""
        if line["track"] == "replication" and line["paper"] != published["paper"]:
            return False
        same_data = self._is_dataset(line["dataset"], published["dataset"])
        return line["status"] == "ok" and same_data


def lines(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """A line for all seeds of a number: _KEY, mean, low, high, n_seeds, status, reason.

    low and high are NaN without an interval; reason says why seeds are lost.
    """
    facts = rows[rows["track"].isin(["target", "replication"])]
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in facts.to_dict("records"):
        key = tuple(row[name] for name in _KEY)
        groups.setdefault(key, []).append(row)
    for key, records in groups.items():
        line = dict(zip(_KEY, key, strict=True))
        beside = 0.0  # half an interval that the experiment gives
        for suffix, factor in BESIDE.items():
            key_of_it = (*key[:-1], key[-1] + suffix)
            values = _values(groups.get(key_of_it, ()))
            if len(values):
                beside = factor * np.sqrt(np.square(values).mean())
        yield line | _summary(records, beside)


def _values(records: Sequence[Line]) -> np.ndarray:
    """The values of the rows that are ok."""
    ok = [record["value"] for record in records if record["status"] == "ok"]
    return np.array(ok)


def _summary(records: Sequence[Line], beside: float) -> dict[str, Any]:
    """Of the rows of a number's seeds; ``beside``: half the interval that the experiment gives, 0 without one."""
    reasons, ok = {}, []
    for record in records:
        if record["status"] == "ok":
            ok.append(record)
        else:
            reasons[f"{record['status']}: {record['reason']}"] = None
    summary = {
        "mean": np.nan,
        "low": np.nan,
        "high": np.nan,
        "n_seeds": len(ok),
        "status": "ok" if ok else records[0]["status"],
        "reason": "; ".join(reasons),
    }
    if not ok:
        return summary
    first, values = ok[0], _values(ok)
    low, high = interval(
        values, int(first["n"]), first["metric"], first["unit"], beside
    )
    return summary | {"mean": values.mean(), "low": low, "high": high}


def interval(
    values: np.ndarray, n: int, metric: str, unit: str, beside: float = 0.0
) -> tuple[float, float]:
    """95 % interval of the mean of ``values`` (seeds,), or of one accuracy on n images; NaN for one other number.

    ``beside``: half the interval over images or classes, 0 where it is not known.
    """
    least, most = values.min(), values.max()
    whole = 100 if unit == "percent" else 1
    within = least >= 0 and most <= whole
    is_share = within and _ACCURACY.fullmatch(metric)
    middle = values.mean()
    if len(values) > 1:
        half = np.hypot(_students_half(values), beside)
    elif beside:
        half = beside
    elif is_share:
        share, half = _of_share(middle / whole, n)
        middle, half = whole * share, whole * half
    else:
        return np.nan, np.nan
    low, high = middle - half, middle + half
    if least >= 0 and not metric.startswith("delta_"):
        low = max(low, 0)
    if is_share:
        high = min(high, whole)
    return low, high


def _students_half(values: np.ndarray) -> float:
    """Half of Student's 95 % interval of the mean."""
    seeds = len(values)
    quantile = scipy.stats.t.ppf(0.975, seeds - 1)
    return quantile * values.std(ddof=1) / np.sqrt(seeds)


def _of_share(p: float, n: int) -> tuple[float, float]:
    """Middle and half of the 95 % interval of a share p of n (Agresti and Coull)."""
    z = 1.96
    added = z**2  # half of them right
    middle = (p * n + added / 2) / (n + added)
    variance = middle * (1 - middle) / (n + added)
    return middle, z * np.sqrt(variance)


def pairs(setting: str) -> dict[str, str]:
    """``layer=-1;alpha=1.0;5 runs`` -> {layer: -1, alpha: 1}."""
    found = {}
    for key, value in store.setting_pairs(setting).items():
        found[key.strip()] = _plain(value)
    return found


def _plain(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.strip()


def _method(name: str) -> str:
    return "Z" if _Z.fullmatch(name) else name


def _matches(target: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(target, pattern) for pattern in patterns)


def _picked(setting: str, fits: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The line that a published number is compared with: by the words of its setting, else the first by name."""
    by_name = sorted(fits, key=lambda line: (line["target"], line["setting"]))
    best = 0
    for words, pick in PICK.items():
        if words in setting:
            best = pick([line["mean"] for line in by_name])
            break
    networks = [line["target"] for line in by_name]
    return by_name[int(best)] | {"networks": networks}


def _in_unit(line: dict[str, Any], factor: float) -> dict[str, Any]:
    scaled = {}
    for key in ("mean", "low", "high"):
        scaled[key] = line[key] * factor
    return line | scaled
