"""Published beside measured: one line for each of the papers' claims and numbers, with a verdict.

Idea: ``results/reported/<paper>.csv`` holds what the papers print, ``claims.csv`` what they say in words. Both join with
the board by names; where a paper and the benchmark name one thing differently, the mappings below say so. Nothing is
dropped: what is not measured is ``not run``, with why.

Where a later paper's room joins in: rows of track ``replication``.
    a number   paper, dataset, target, method and metric as in ``results/reported/<paper>.csv`` (or as mapped here), and
               at least the ``key=value`` pieces of its setting. The unit is the published one.
    a claim    ``metric`` is the claim's id (``LT1``), ``value`` the share, 0 to 1, of the claim's checks that hold for
               that seed. The numbers behind it are ``replication`` rows of their own.

Verdicts: ``holds``, ``does not hold``, ``mixed`` (some checks or seeds; with the share), ``not run``. Tolerances are for
numbers, not for claims (``TOLERANCES``); a published bound (``>0.92``) is met if it is met within the tolerance.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store

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
VERDICTS = ("holds", "mixed", "does not hold", "not run")

# ------------------------------------------------------------------------------- names: published -> the benchmark's

DATASETS = {
    "MNIST": "mnist",
    "FMNIST": "fashion_mnist",
    "FashionMNIST": "fashion_mnist",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "CUB": "cub",
    "CUB-200-2011": "cub",
    "ASIRRA": "asirra",
}

TARGETS = {  # patterns of the zoo's names
    "MLP depth 1-10 width 100": ["mlp-100x*"],
    "MLP depth 1-10 width 20": ["mlp-20x*"],
    "MLP depth 1-10 width 40": ["mlp-40x*"],
    "MLP depth 10 width 100": ["mlp-100x10"],
    "MLP width 100": ["mlp-100x*"],
    "MLP depth 10 width 20": ["mlp-20x10"],
    "MLP depth 10 width 40": ["mlp-40x10"],
    "CNN 20-40 conv, fc64": ["explainn_cnn"],
    "VGG-11": ["vgg11"],
    "ResNet-10": ["resnet10"],
    "VGG-11 and ResNet-10": ["vgg11", "resnet10"],
    "2-layer CNN": ["xnn_cnn"],
    "VGG-19": ["vgg19"],
    "VGG19": ["vgg19"],
    "VGG16": ["vgg16"],
}

MEASURED = {  # (method, metric) -> (track, method, metric, factor to the published unit); others: replication rows, by name
    ("network", "test_accuracy_pct"): ("target", "network", "test_accuracy", 1.0),
    ("network", "train_accuracy_pct"): ("target", "network", "train_accuracy", 1.0),
    ("classifier", "accuracy"): ("target", "network", "test_accuracy", 0.01),
}

PICK = {  # a published number over several networks is held against which of those measured
    "min over depths": np.argmin,
    "max over depths": np.argmax,
    "all depths": np.argmin,
    "every layer of all 10 networks": np.argmax,
    "lower bound, no augmentation": np.argmin,
}

# ------------------------------------------------------------------------------- tolerances and reasons

TOLERANCES: dict[
    str, tuple[str, str, float]
] = {  # pattern of the metric -> (words, rule, amount); the first that fits
    r"L\(D,M.*\)_bits|\d\*.*": ("to the rounding of the printed terms", "absolute", 0.03),
    r".*_bits|log2_.*|-log2.*|L_N.*": ("to the printed digits", "absolute", 0.0051),
    r"(test_|train_)?accuracy_pct|(F_cls|ACU|CVR)_.*pct": ("within 1.5 points", "absolute", 1.5),
    r"accuracy|(delta_)?acc_.*|delta_acc|precision|recall": (
        "within 1.5 points",
        "absolute",
        0.015,
    ),
    r"n_.*": ("within a factor 2", "factor", 2.0),
    r".*_loss|delta_rec|F_reg.*|O1|O2|locality": ("within a factor 1.5", "factor", 1.5),
    r"mA[DI]_pct": ("same rank among the methods measured", "rank", 0.0),
}

WHY_NOT = [  # (column, pattern, why); the first that fits; what: metric and setting
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
        reported: folder of ``claims.csv`` and ``<paper>.csv``.
        data_cards, target_cards: as for ``build``; they name the scale of what was measured.
        evidence: by claim, what its verdict rests on.

    Returns:
        COLUMNS; texts, but ``n_seeds`` (0 where not run). ``scale`` names both sides' conditions.
    """
    scale = _Scale(data_cards or {}, target_cards or {})
    numbers = [
        _numbers(path, frame, scale)
        for path in sorted(reported.glob("*.csv"))
        if path.name != "claims.csv"
    ]
    out = pd.concat(
        [_claims(reported / "claims.csv", frame, scale, evidence or {}), *numbers],
        ignore_index=True,
    )
    return out[COLUMNS]


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
            (replicated["metric"] == claim["id"]) & (replicated["paper"] == claim["paper"])
        ]
        done = mine[mine["status"] == "ok"]
        if len(done):
            share, seeds = done["mean"].mean(), int(done["n_seeds"].min())
            verdict = "holds" if share >= 1 else "does not hold" if share <= 0 else "mixed"
            words = f"{share:.0%} of its checks" + (
                f": {evidence[claim['id']]}" if claim["id"] in evidence else ""
            )
            line |= {
                "measured": words,
                "interval": _interval(done.iloc[0]) if len(done) == 1 else "",
                "n_seeds": seeds,
                "scale": scale.measured(done),
                "verdict": verdict,
                "why": f"{share:.0%}" if verdict == "mixed" else "",
            }
        else:
            why = "; ".join(dict.fromkeys(filter(None, mine["reason"]))) or CLAIM_NOT_RUN
            line |= {
                "measured": "",
                "interval": "",
                "n_seeds": 0,
                "scale": "",
                "verdict": "not run",
                "why": why,
            }
        out.append(line)
    return pd.DataFrame(out, columns=COLUMNS)


def _numbers(path: Path, frame: pd.DataFrame, scale: _Scale) -> pd.DataFrame:
    groups = {key: group for key, group in frame.groupby(["track", "method", "metric"])}
    published = _read(path).to_dict("records")
    joined = [_join(line, groups) for line in published]
    out = []
    for i, (line, found) in enumerate(zip(published, joined, strict=True)):
        what = [line[key] for key in ("dataset", "target", "method", "metric", "setting")]
        value = line["value"] + (f" ± {line['std']}" if line["std"] else "")
        entry = {
            "id": f"{line['paper']}-{i + 1:03d}",
            "paper": line["paper"],
            "source": line["table"],
            "claim": " · ".join(filter(None, what)),
            "published": value,
        }
        if found is None:
            told = line | {"what": f"{line['metric']} {line['setting']}"}
            why = next(
                why for column, pattern, why in WHY_NOT if re.fullmatch(pattern, told[column])
            )
            entry |= {
                "measured": "",
                "interval": "",
                "n_seeds": 0,
                "scale": "",
                "verdict": "not run",
                "why": why,
            }
        else:
            words, rule, amount = next(
                (t for p, t in TOLERANCES.items() if re.fullmatch(p, line["metric"])), ("", "", 0.0)
            )
            held = (
                _rank_holds(published, joined, i)
                if rule == "rank"
                else _holds(line["value"], found["mean"], rule, amount)
            )
            entry |= {
                "measured": store.format_value(found["mean"]),
                "interval": _interval(found),
                "n_seeds": int(found["n_seeds"]),
                "scale": scale.both(line["setting"], found),
                "verdict": "not run" if held is None else "holds" if held else "does not hold",
                "why": words
                if held is not None
                else "too few methods to rank"
                if rule == "rank"
                else "no tolerance is stated",
            }
        out.append(entry)
    return pd.DataFrame(out, columns=COLUMNS)


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise store.StoreError(f"{path} is missing; restore it from git")
    return pd.read_csv(path, dtype=str, keep_default_na=False)


# --------------------------------------------------------------------------------------------- joining and judging


def _join(line: Mapping[str, str], groups: Mapping[tuple, pd.DataFrame]) -> dict[str, Any] | None:
    """The measured line of a published one, in the published unit, with ``networks``: the names it was picked from.

    A paper's own experiment comes first; what it does not hold may be a fact of the network.
    """
    name = line["method"], line["metric"]
    patterns = [line["target"], *TARGETS.get(line["target"], [])]
    wanted = _pieces(line["setting"])
    for track, method, metric, factor in filter(
        None, [("replication", *name, 1.0), MEASURED.get(name)]
    ):
        fits = [
            r
            for r in groups.get((track, method, metric), pd.DataFrame()).to_dict("records")
            if r["status"] == "ok"
            and r["dataset"] in (line["dataset"], DATASETS.get(line["dataset"]))
            and any(fnmatch.fnmatchcase(r["target"], p) for p in patterns)
            and (track != "replication" or r["paper"] == line["paper"])
            and wanted.items() <= _pieces(r["setting"]).items()
        ]
        if fits:
            pick = next(
                (pick for words, pick in PICK.items() if words in line["setting"]), np.argmin
            )
            found = fits[int(pick([r["mean"] for r in fits]))]
            units = {key: found[key] * factor for key in ("mean", "low", "high")}
            return found | units | {"networks": [r["target"] for r in fits]}
    return None


def _pieces(setting: str) -> dict[str, str]:
    """``layer=-1;alpha=1.0;5 runs`` -> {layer: -1, alpha: 1}."""
    return {key.strip(): _plain(value) for key, value in store.setting_pairs(setting).items()}


def _plain(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value.strip()


def _holds(published: str, measured: float, rule: str, amount: float) -> bool | None:
    """Whether a measured number agrees with a published one or its bound; None without a rule."""
    bound, value = re.fullmatch(r"(>=|<=|>|<)?(.*)", published).groups()
    value = float(value)
    if rule == "absolute":
        near = abs(measured - value) <= amount + 1e-9
    elif rule == "factor":
        near = measured == value or (
            measured * value > 0 and 1 / amount <= measured / value <= amount
        )
    else:
        return None
    return bool(near or (bound is not None and _BOUNDS[bound](measured, value)))


def _rank_holds(
    published: Sequence[Mapping[str, str]], joined: Sequence[Mapping[str, Any] | None], i: int
) -> bool | None:
    """Whether a method has the rank that it has in the paper, among those of its column that were measured."""
    key = ("table", "dataset", "target", "setting", "metric")
    column = [
        k
        for k, line in enumerate(published)
        if joined[k] is not None and all(line[c] == published[i][c] for c in key)
    ]
    if len(column) < 2:
        return None
    before = sum(float(published[k]["value"]) < float(published[i]["value"]) for k in column)
    return before == sum(joined[k]["mean"] < joined[i]["mean"] for k in column)


def _interval(line: Mapping[str, Any]) -> str:
    return (
        ""
        if pd.isna(line["low"])
        else f"[{store.format_value(line['low'])}, {store.format_value(line['high'])}]"
    )


class _Scale:
    """Names the size of what was measured: networks, seeds, images, epochs."""

    def __init__(
        self,
        data_cards: Mapping[str, Mapping[str, Any]],
        target_cards: Mapping[Any, Mapping[str, Any]],
    ) -> None:
        self.data = data_cards
        self.cards: dict[tuple[str, str], Mapping[str, Any]] = {}
        for key, card in target_cards.items():
            self.cards.setdefault((key[0], key[1]), card)

    def both(self, condition: str, found: Mapping[str, Any]) -> str:
        here = self._one(found["dataset"], found["target"], int(found["n_seeds"]))
        if len(found["networks"]) > 1:
            here += f"; picked from {', '.join(found['networks'])}"
        return f"published: {condition or 'no condition printed'} | here: {here}"

    def measured(self, lines: pd.DataFrame) -> str:
        return " | ".join(
            "; ".join(filter(None, [self._one(r.dataset, r.target, r.n_seeds), r.setting]))
            for r in lines.itertuples()
        )

    def _one(self, dataset: str, target: str, seeds: int) -> str:
        card = self.cards.get((dataset, target), {})
        parts = ["/".join(filter(None, [dataset, target])), f"{seeds} seed{'s' * (seeds > 1)}"]
        parts += [f"{key} {value}" for key, value in sorted((card.get("options") or {}).items())]
        counts = card.get("images") or self.data.get(dataset, {}).get("counts") or {}
        parts += [f"{counts['train']:,} train images"] if counts.get("train") else []
        parts += [f"{card['epochs']} epochs"] if card.get("epochs") else []
        return ", ".join(parts)


# --------------------------------------------------------------------------------------------- files


def csv_text(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def is_claim(frame: pd.DataFrame) -> pd.Series:
    """Which lines are claims in words; the others are numbers."""
    return ~frame["id"].str.contains("-")


def counts(frame: pd.DataFrame) -> str:
    """``12 hold, 1 mixed, 0 do not hold, 25 not run``."""
    n = frame["verdict"].value_counts()
    hold, mixed, fail, rest = (int(n.get(verdict, 0)) for verdict in VERDICTS)
    return f"{hold} hold, {mixed} mixed, {fail} do not hold, {rest} not run"


def not_run(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers that were not run: paper, why, count."""
    rest = frame[~is_claim(frame) & (frame["verdict"] == "not run") & (frame["measured"] == "")]
    return rest.groupby(["paper", "why"], sort=False).size().rename("count").reset_index()
