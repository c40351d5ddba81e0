"""Published beside measured: one line for each of the papers' claims and numbers, with a verdict.

Idea: ``results/reported/<paper>.csv`` holds the numbers that the papers print, ``claims.csv`` what they say in words.
Both are joined with the board by names; where a paper and the benchmark use different names for one thing,
``names.json`` (data sets, networks) and the mappings below translate. No line is dropped: what was not measured is
``not run``, with the reason.

A paper's own experiments join in as rows of track ``replication``:
    a number   paper, dataset, target, method and metric as in ``results/reported/<paper>.csv`` (or as mapped here), and
               at least the ``key=value`` pairs of its setting. The unit is the published one.
    a claim    ``metric`` is the claim's id (``LT1``), ``value`` the share, 0 to 1, of the claim's checks that hold for
               that seed; rows with metric setting ``undecided`` give the share that is undecided. The numbers behind
               it are ``replication`` rows of their own.

Verdicts: ``holds``, ``does not hold``, ``undecided`` (the interval allows both), ``mixed`` (some checks or seeds; with
the share), ``not run``. A claim holds where all of its checks hold, and is undecided where none fails but some are
undecided. Tolerances are for numbers, not for claims (``TOLERANCES``); a published bound (``>0.92``) is met if it is
met within the tolerance.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.leaderboard import tables

Line = Mapping[str, Any]  # published or measured
Names = Mapping[
    str, Mapping[str, Any]
]  # datasets: published -> ours; targets: published -> patterns

COLUMNS = [
    "id",
    "paper",
    "source",
    "claim",
    "published",
    "measured",
    "interval",
    "n_seeds",
    "scale",
    "verdict",
    "why",
]
VERDICTS = ("holds", "mixed", "does not hold", "undecided", "not run")

# --------------------------------------------------------------------------------------------- names: published -> ours

MEASURED = {
    ("network", "test_accuracy_pct"): ("target", "network", "test_accuracy", 1.0),
    ("network", "train_accuracy_pct"): ("target", "network", "train_accuracy", 1.0),
    ("classifier", "accuracy"): ("target", "network", "test_accuracy", 0.01),
}

PICK = {  # words of the setting -> which of several networks a published number is compared with
    "min over depths": np.argmin,
    "max over depths": np.argmax,
    "all depths": np.argmin,
    "every layer of all 10 networks": np.argmax,
    "lower bound, no augmentation": np.argmin,
}

# --------------------------------------------------------------------------------------------- tolerances and reasons

# pattern of the metric -> (words, rule, amount); the first that matches
TOLERANCES: dict[str, tuple[str, str, float]] = {
    r"L\(D,M.*\)_bits|\d\*.*": (
        "to the rounding of the printed terms",
        "absolute",
        0.03,
    ),
    r".*_bits|log2_.*|-log2.*|L_N.*": ("to the printed digits", "absolute", 0.0051),
    r"(test_|train_)?accuracy_pct|(F_cls|ACU|CVR)_.*pct": (
        "within 1.5 points",
        "absolute",
        1.5,
    ),
    r"accuracy|(delta_)?acc_.*|delta_acc|precision|recall": (
        "within 1.5 points",
        "absolute",
        0.015,
    ),
    r"n_.*": ("within a factor 2", "factor", 2.0),
    r".*_loss|delta_rec|F_reg.*|O1|O2|locality": ("within a factor 1.5", "factor", 1.5),
    r"mA[DI]_pct": ("same rank among the methods measured", "rank", 0.0),
}

WHY_NOT = [  # (column, pattern, why); the first that matches; column ``what``: metric and setting
    ("setting", r".*not replicable.*", "a study with people: no program replicates it"),
    ("setting", r"hyper-parameter", "a recipe, not a result"),
    (
        "dataset",
        r"Places365/ADE20K|ImageNet.*|CEL|GC|RO.*|FOOD",
        "the data set is not part of the benchmark",
    ),
    (
        "what",
        r"(\w+_loss|delta_rec) (alpha|classifier epochs)=.*",
        "the unit of the losses in Tables 4 to 6 is not printed",
    ),
    ("metric", r"runtime_hours", "another machine's time says nothing here"),
    ("method", r"network|classifier", "no such network in this profile"),
    ("metric", r".*", "its method or experiment is not in this profile"),
]
CLAIM_NOT_RUN = "its experiment is not in this profile"

_BOUNDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_RANK_KEY = (
    "table",
    "dataset",
    "target",
    "setting",
    "metric",
)  # methods are ranked within one


# --------------------------------------------------------------------------------------------- the table


def table(
    frame: pd.DataFrame,
    reported: Path,
    *,
    data_cards: Mapping[str, Mapping[str, Any]] | None = None,
    target_cards: Mapping[Any, Mapping[str, Any]] | None = None,
    evidence: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Claims first, then numbers, in the order of the files.

    Args:
        frame: the board (``tables.leaderboard``).
        reported: folder of ``claims.csv``, ``names.json`` and ``<paper>.csv``.
        data_cards, target_cards: as for ``build``; they give the scale of what was measured.
        evidence: by claim, what its verdict rests on.

    Returns:
        COLUMNS: text, except ``n_seeds`` (0 where not run). ``scale`` states the conditions of both sides.

    Raises:
        StoreError: ``claims.csv`` or ``names.json`` is missing.
    """
    scale = _Scale(data_cards or {}, target_cards or {})
    parts = [_claims(reported / "claims.csv", frame, scale, evidence or {})]
    names = store.read_json(_there(reported / "names.json"))
    for path in sorted(reported.glob("*.csv")):
        if path.name != "claims.csv":
            parts.append(_numbers(path, frame, scale, names))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _claims(
    path: Path, frame: pd.DataFrame, scale: _Scale, evidence: Mapping[str, str]
) -> pd.DataFrame:
    out = []
    replicated = frame[frame["track"] == "replication"]
    for claim in _read(path).to_dict("records"):
        line = {
            "id": claim["id"],
            "paper": claim["paper"],
            "source": claim["source"],
            "claim": f"{claim['claim']} [{claim['check']}]",
            "published": "",
        }
        mine = replicated[
            (replicated["metric"] == claim["id"])
            & (replicated["paper"] == claim["paper"])
        ]
        done = mine[mine["status"] == "ok"]
        if len(done):
            line |= _judged_claim(done, scale, evidence.get(claim["id"]))
        else:
            reasons = dict.fromkeys(filter(None, mine["reason"]))
            line |= _not_run("; ".join(reasons) or CLAIM_NOT_RUN)
        out.append(line)
    return pd.DataFrame(out, columns=COLUMNS)


def _judged_claim(
    done: pd.DataFrame, scale: _Scale, evidence: str | None
) -> dict[str, Any]:
    """The measured side of a claim; ``done``: the lines of the board that checked it."""
    is_open = done["metric_setting"] == "undecided"
    still_open, done = done[is_open], done[~is_open]
    share = done["mean"].mean()
    undecided = still_open["mean"].sum() / len(done)
    verdict = _of_shares(share, undecided)
    words = f"{share:.0%} of its checks"
    if undecided:
        words += f", {undecided:.0%} undecided"
    return {
        "measured": words if evidence is None else f"{words}: {evidence}",
        "interval": _interval(done.iloc[0]) if len(done) == 1 else "",
        "n_seeds": int(done["n_seeds"].min()),
        "scale": scale.measured(done),
        "verdict": verdict,
        "why": f"{share:.0%}" if verdict == "mixed" else "",
    }


def _of_shares(held: float, undecided: float) -> str:
    """The verdict on a claim of whose checks these shares hold or are undecided; the others do not hold."""
    failed = 1 - held - undecided
    if failed > 1e-9:
        return "mixed" if held else "does not hold"
    return "undecided" if undecided else "holds"


def _not_run(why: str) -> dict[str, Any]:
    """The measured side of a line that was not measured."""
    line = dict.fromkeys(("measured", "interval", "scale"), "")
    return line | {"n_seeds": 0, "verdict": "not run", "why": why}


def _numbers(
    path: Path, frame: pd.DataFrame, scale: _Scale, names: Names
) -> pd.DataFrame:
    groups = dict(list(frame.groupby(["track", "method", "metric"])))
    published = _read(path).to_dict("records")
    joined = [_join(line, groups, names) for line in published]
    out = []
    for i, (line, found) in enumerate(zip(published, joined, strict=True)):
        what = [
            line[key] for key in ("dataset", "target", "method", "metric", "setting")
        ]
        entry = {
            "id": f"{line['paper']}-{i + 1:03d}",
            "paper": line["paper"],
            "source": line["table"],
            "claim": " · ".join(filter(None, what)),
            "published": line["value"] + (f" ± {line['std']}" if line["std"] else ""),
        }
        if found is None:
            entry |= _not_run(_why_not(line))
        else:
            verdict, why = _judge_number(published, joined, i)
            entry |= {
                "measured": store.format_value(found["mean"]),
                "interval": _interval(found),
                "n_seeds": int(found["n_seeds"]),
                "scale": scale.both(line["setting"], found),
                "verdict": verdict,
                "why": why,
            }
        out.append(entry)
    return pd.DataFrame(out, columns=COLUMNS)


def _why_not(line: Line) -> str:
    """Why a published number was not measured."""
    texts = {**line, "what": f"{line['metric']} {line['setting']}"}
    for column, pattern, why in WHY_NOT:
        if re.fullmatch(pattern, texts[column]):
            return why
    raise AssertionError("the last pattern matches everything")


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(_there(path), dtype=str, keep_default_na=False)


def _there(path: Path) -> Path:
    if not path.exists():
        raise store.StoreError(f"{path} is missing; restore it from git")
    return path


# --------------------------------------------------------------------------------------------- joining and judging


def _join(
    line: Line, groups: Mapping[tuple, pd.DataFrame], names: Names
) -> Line | None:
    """The measured line of a published one, in the published unit, with ``networks``: the names it was picked from.

    A paper's own experiment comes first; a number that it lacks may be a fact about the network.
    """
    name = line["method"], line["metric"]
    sources = [("replication", *name, 1.0)]
    if name in MEASURED:
        sources.append(MEASURED[name])
    for track, method, metric, factor in sources:
        group = groups.get((track, method, metric), pd.DataFrame())
        fits = [
            found for found in group.to_dict("records") if _same(line, found, names)
        ]
        if fits:
            pick = _pick(line["setting"])
            found = fits[int(pick([fit["mean"] for fit in fits]))]
            units = {key: found[key] * factor for key in ("mean", "low", "high")}
            return {**found, **units, "networks": [fit["target"] for fit in fits]}
    return None


def _same(line: Line, found: Line, names: Names) -> bool:
    """Whether a line of the board has a value for what a published line is about."""
    if found["status"] != "ok":
        return False
    if found["track"] == "replication" and found["paper"] != line["paper"]:
        return False
    dataset, target = line["dataset"], line["target"]
    if found["dataset"] not in (dataset, names["datasets"].get(dataset)):
        return False
    patterns = [target, *names["targets"].get(target, [])]
    if not any(fnmatch.fnmatchcase(found["target"], pattern) for pattern in patterns):
        return False
    return _pairs(line["setting"]).items() <= _pairs(found["setting"]).items()


def _pick(setting: str) -> Callable[[Sequence[float]], Any]:
    """Which of several measured values a published one is compared with: its index among them."""
    for words, pick in PICK.items():
        if words in setting:
            return pick
    return np.argmin


def _pairs(setting: str) -> dict[str, str]:
    """``layer=-1;alpha=1.0;5 runs`` -> {layer: -1, alpha: 1}."""
    pairs = store.setting_pairs(setting)
    return {key.strip(): _plain(value) for key, value in pairs.items()}


def _plain(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.strip()


def _judge_number(
    published: Sequence[Line], joined: Sequence[Line | None], i: int
) -> tuple[str, str]:
    """(verdict, why) of the i-th published number, which was measured."""
    line, found = published[i], joined[i]
    words, rule, amount = _tolerance(line["metric"])
    if rule == "rank":
        held = _rank_holds(published, joined, i)
        unknown = "too few methods to rank"
    else:
        held = _holds(line["value"], found["mean"], rule, amount)
        unknown = "no tolerance is stated"
    if held is None:
        return "not run", unknown
    return "holds" if held else "does not hold", words


def _tolerance(metric: str) -> tuple[str, str, float]:
    """(words, rule, amount) of a metric; empty where no tolerance is stated."""
    for pattern, tolerance in TOLERANCES.items():
        if re.fullmatch(pattern, metric):
            return tolerance
    return "", "", 0.0


def _holds(published: str, measured: float, rule: str, amount: float) -> bool | None:
    """Whether a measured number agrees with a published one or its bound; None without a rule."""
    bound, value = re.fullmatch(r"(>=|<=|>|<)?(.*)", published).groups()
    value = float(value)
    if rule == "absolute":
        near = abs(measured - value) <= amount + 1e-9
    elif rule == "factor":
        same_sign = measured * value > 0
        near = measured == value or (
            same_sign and 1 / amount <= measured / value <= amount
        )
    else:
        return None
    return bool(near or (bound is not None and _BOUNDS[bound](measured, value)))


def _rank_holds(
    published: Sequence[Line], joined: Sequence[Line | None], i: int
) -> bool | None:
    """Whether a method has the rank that it has in the paper, among those of its column that were measured."""
    own = published[i]
    values, means = [], []
    for line, found in zip(published, joined, strict=True):
        same_column = all(line[key] == own[key] for key in _RANK_KEY)
        if same_column and found is not None:
            values.append(float(line["value"]))
            means.append(found["mean"])
    if len(values) < 2:
        return None
    own_value = float(own["value"])
    own_mean = joined[i]["mean"]
    before = sum(value < own_value for value in values)
    return before == sum(mean < own_mean for mean in means)


def _interval(line: Line) -> str:
    if pd.isna(line["low"]):
        return ""
    low, high = store.format_value(line["low"]), store.format_value(line["high"])
    return f"[{low}, {high}]"


class _Scale:
    """The size of what was measured, in words: networks, seeds, images, epochs."""

    def __init__(
        self,
        data_cards: Mapping[str, Mapping[str, Any]],
        target_cards: Mapping[Any, Mapping[str, Any]],
    ) -> None:
        self.data = data_cards
        self.cards: dict[
            tuple[str, str], Mapping[str, Any]
        ] = {}  # of a network's first seed
        for (dataset, target, *_), card in target_cards.items():
            self.cards.setdefault((dataset, target), card)

    def both(self, condition: str, found: Mapping[str, Any]) -> str:
        networks = found["networks"]
        here = self._network(found["dataset"], found["target"], int(found["n_seeds"]))
        if len(networks) > 1:
            here += f"; picked from {', '.join(networks)}"
        published = condition or "no condition printed"
        return f"published: {published} | here: {here}"

    def measured(self, lines: pd.DataFrame) -> str:
        out = []
        for line in lines.itertuples():
            parts = [
                self._network(line.dataset, line.target, line.n_seeds),
                line.setting,
            ]
            out.append("; ".join(filter(None, parts)))
        return " | ".join(out)

    def _network(self, dataset: str, target: str, seeds: int) -> str:
        card = self.cards.get((dataset, target), {})
        network = "/".join(filter(None, [dataset, target]))
        parts = [network, tables.plural(seeds, "seed")]
        options = card.get("options") or {}
        for key in sorted(options):
            parts.append(f"{key} {options[key]}")
        images = card.get("images")
        if not images:
            data = self.data.get(dataset, {})
            images = data.get("counts") or {}
        if images.get("train"):
            parts.append(f"{images['train']:,} train images")
        if card.get("epochs"):
            parts.append(f"{card['epochs']} epochs")
        return ", ".join(parts)


# --------------------------------------------------------------------------------------------- files


def csv_text(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def is_claim(frame: pd.DataFrame) -> pd.Series:
    """Which lines are claims in words; the others are numbers."""
    return ~frame["id"].str.contains("-")


def counts(frame: pd.DataFrame) -> str:
    """``12 hold, 1 mixed, 0 do not hold, 2 undecided, 23 not run``."""
    times = frame["verdict"].value_counts()
    words = ("hold", "mixed", "do not hold", "undecided", "not run")
    found = []
    for verdict, word in zip(VERDICTS, words, strict=True):
        found.append(f"{times.get(verdict, 0)} {word}")
    return ", ".join(found)


def not_run(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers that were not run: paper, why, count."""
    numbers = frame[~is_claim(frame)]
    rest = numbers[(numbers["verdict"] == "not run") & (numbers["measured"] == "")]
    count = rest.groupby(["paper", "why"], sort=False).size()
    return count.rename("count").reset_index()
