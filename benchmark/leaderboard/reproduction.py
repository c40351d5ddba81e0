"""Published beside measured: one line for each of the papers' claims and numbers, with a verdict.

Idea: ``results/reported/<paper>.csv`` holds the numbers that the papers print, ``claims.csv`` what they say in words.
Both are joined with the rows by names (``joining.py``). No line is dropped: what was not measured is ``not run``, with
the reason.

A paper's own experiments join in as rows of track ``replication``:
    a number   paper, dataset, target, method and metric as in ``results/reported/<paper>.csv`` (or as mapped in
               ``joining.py``), and at least the ``key=value`` pairs of its setting. The unit is the published one.
    a claim    ``metric`` is the claim's id (``LT1``), ``value`` the share, 0 to 1, of the claim's checks that hold for
               that seed. Rows with metric setting ``undecided`` give the share that is undecided, those with
               ``extension`` the share that holds on networks which the paper does not have. The numbers behind it are
               ``replication`` rows of their own.

Verdicts: ``holds``, ``does not hold``, ``undecided`` (the interval allows both), ``mixed`` (some checks or seeds; with
the share), ``not run``. A number is judged by its tolerance (``judging.py``). A claim holds where all of its checks
hold, and is undecided where none fails but some are undecided; extensions do not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark import store
from benchmark.leaderboard import joining, judging, tables
from benchmark.leaderboard.joining import Line

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
    "network",  # of a number: the paper's, another
    "train_images",
    "width",  # of the network, as in its options; 1 where it has none
    "epochs",
]
EMPTY = dict.fromkeys(COLUMNS, "")
VERDICTS = ("holds", "mixed", "does not hold", "undecided", "not run")
ONLY_EXTENSIONS = "only measured on networks that the paper does not have"
SAME, OTHER = "the paper's", "another"  # network

# --------------------------------------------------------------------------------------------- the table


def table(
    rows: pd.DataFrame,
    reported: Path,
    *,
    data_cards: Mapping[str, Mapping[str, Any]] | None = None,
    target_cards: Mapping[Any, Mapping[str, Any]] | None = None,
    evidence: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Claims first, then numbers, in the order of the files.

    Args:
        rows: as ``store.tidy_rows``.
        reported: folder of ``claims.csv``, ``names.json`` and ``<paper>.csv``.
        data_cards, target_cards: as for ``build``; they give the scale of what was measured.
        evidence: by claim, what its verdict rests on.

    Returns:
        COLUMNS: text, except ``n_seeds`` (0 where not run). ``interval`` is the 95 % interval of a number
        (``joining.lines``); ``scale`` states the conditions of both sides, ``network``, ``train_images``, ``width`` and
        ``epochs`` those of what was measured.

    Raises:
        StoreError: ``claims.csv`` or ``names.json`` is missing.
    """
    scale = _Scale(data_cards or {}, target_cards or {})
    parts = [_claims(reported / "claims.csv", rows, scale, evidence or {})]
    board = joining.Board(rows, store.read_json(_there(reported / "names.json")))
    for path in sorted(reported.glob("*.csv")):
        if path.name != "claims.csv":
            parts.append(_numbers(path, board, scale))
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _claims(
    path: Path, rows: pd.DataFrame, scale: _Scale, evidence: Mapping[str, str]
) -> pd.DataFrame:
    claims = _read(path)
    checked = (rows["track"] == "replication") & rows["metric"].isin(claims["id"])
    found: dict[tuple[str, str], list[Line]] = {}
    for line in joining.lines(rows[checked]):
        found.setdefault((line["paper"], line["metric"]), []).append(line)
    out = []
    for claim in claims.to_dict("records"):
        mine = found.get((claim["paper"], claim["id"]), [])
        entry = EMPTY | {
            "id": claim["id"],
            "paper": claim["paper"],
            "source": claim["source"],
            "claim": f"{claim['claim']} [{claim['check']}]",
        }
        out.append(entry | _measured_claim(mine, scale, evidence.get(claim["id"])))
    return pd.DataFrame(out, columns=COLUMNS)


def _measured_claim(
    mine: Sequence[Line], scale: _Scale, evidence: str | None
) -> dict[str, Any]:
    """The measured side of a claim; ``mine``: the lines of the networks that were asked."""
    by_kind: dict[str, list[Line]] = {"": [], "undecided": [], "extension": []}
    reasons = {}
    for line in mine:
        if line["status"] == "ok":
            by_kind[line["metric_setting"]].append(line)
        else:
            reasons[line["reason"]] = None
    shown = "" if evidence is None else f": {evidence}"
    if by_kind[""]:
        return _judged_claim(by_kind[""], by_kind["undecided"], scale, shown)
    extensions = by_kind["extension"]
    if extensions:
        words = f"{_mean(extensions):.0%} of the checks on extensions"
        return _not_run(ONLY_EXTENSIONS) | {
            "measured": words + shown,
            "scale": scale.measured(extensions),
        }
    return _not_run("; ".join(reasons) or joining.NOT_RUN["experiment"])


def _judged_claim(
    done: Sequence[Line], undecided: Sequence[Line], scale: _Scale, shown: str
) -> dict[str, Any]:
    """The measured side of a claim that was checked; ``undecided``: the shares of its checks that are."""
    held = _mean(done)
    still_open = sum(line["mean"] for line in undecided) / len(done)
    verdict = _of_shares(held, still_open)
    words = f"{held:.0%} of its checks"
    if still_open:
        words += f", {still_open:.0%} undecided"
    return {
        "measured": words + shown,
        "n_seeds": min(line["n_seeds"] for line in done),
        "scale": scale.measured(done),
        "verdict": verdict,
        "why": f"{held:.0%}" if verdict == "mixed" else "",
    }


def _mean(lines: Sequence[Line]) -> float:
    return sum(line["mean"] for line in lines) / len(lines)


def _of_shares(held: float, undecided: float) -> str:
    """The verdict on a claim of whose checks these shares hold or are undecided; the others do not hold."""
    failed = 1 - held - undecided
    if failed > 1e-9:
        return "mixed" if held else "does not hold"
    return "undecided" if undecided else "holds"


def _not_run(why: str) -> dict[str, Any]:
    """The measured side of a line that was not measured."""
    return {"measured": "", "scale": "", "n_seeds": 0, "verdict": "not run", "why": why}


def _numbers(path: Path, board: joining.Board, scale: _Scale) -> pd.DataFrame:
    published = _read(path).to_dict("records")
    joined = [board.find(line) for line in published]
    out = []
    for i, (line, found) in enumerate(zip(published, joined, strict=True)):
        std = f" ± {line['std']}" if line["std"] else ""
        what = [
            line["dataset"],
            line["target"],
            line["method"],
            line["metric"],
            line["setting"],
        ]
        entry = EMPTY | {
            "id": f"{line['paper']}-{i + 1:03d}",
            "paper": line["paper"],
            "source": line["table"],
            "claim": " · ".join(filter(None, what)),
            "published": line["value"] + std,
        }
        if found is None:
            entry |= _not_run(board.why_not(line))
        else:
            verdict, why = judging.judge(published, joined, i)
            entry |= _measured(line, found, scale) | {"verdict": verdict, "why": why}
        out.append(entry)
    return pd.DataFrame(out, columns=COLUMNS)


def _measured(line: Line, found: Line, scale: _Scale) -> dict[str, Any]:
    """The measured side of a number, but for its verdict."""
    return {
        "measured": store.format_value(found["mean"]),
        "interval": _interval(found),
        "n_seeds": found["n_seeds"],
        "scale": scale.both(line["setting"], found),
        "network": SAME if found["same_network"] else OTHER,
        **scale.facts(found["dataset"], found["target"]),
    }


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(_there(path), dtype=str, keep_default_na=False)


def _there(path: Path) -> Path:
    if not path.exists():
        raise store.StoreError(f"{path} is missing; restore it from git")
    return path


# --------------------------------------------------------------------------------------------- scale


def _interval(line: Line) -> str:
    if pd.isna(line["low"]):
        return ""
    low = store.format_value(line["low"])
    high = store.format_value(line["high"])
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

    def both(self, condition: str, found: Line) -> str:
        networks = found["networks"]
        here = self._network(found["dataset"], found["target"], found["n_seeds"])
        if len(networks) > 1:
            here += f"; picked from {', '.join(networks)}"
        if not found["same_network"]:
            here += "; another network than the paper's"
        published = condition or "no condition printed"
        return f"published: {published} | here: {here}"

    def measured(self, lines: Sequence[Line]) -> str:
        out = []
        for line in lines:
            network = self._network(line["dataset"], line["target"], line["n_seeds"])
            parts = [network, line["setting"]]
            out.append("; ".join(filter(None, parts)))
        return " | ".join(sorted(out))

    def facts(self, dataset: str, target: str) -> dict[str, str]:
        """Images and epochs of the network's training, and its width: ``train_images``, ``width``, ``epochs``."""
        card = self.cards.get((dataset, target), {})
        options = card.get("options") or {}
        found = {
            "train_images": self._images(dataset, card).get("train"),
            "width": options.get("width", 1),
            "epochs": card.get("epochs"),
        }
        return {key: str(value or "") for key, value in found.items()}

    def _images(self, dataset: str, card: Mapping[str, Any]) -> Mapping[str, int]:
        return card.get("images") or self.data.get(dataset, {}).get("counts") or {}

    def _network(self, dataset: str, target: str, seeds: int) -> str:
        card = self.cards.get((dataset, target), {})
        network = "/".join(filter(None, [dataset, target]))
        parts = [network, tables.plural(seeds, "seed")]
        options = card.get("options") or {}
        for key in sorted(options):
            parts.append(f"{key} {options[key]}")
        images = self._images(dataset, card).get("train")
        epochs = card.get("epochs")
        if images:
            parts.append(f"{images:,} train images")
        if epochs:
            parts.append(f"{epochs} epochs")
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
    rest = numbers[numbers["verdict"] == "not run"]
    by_reason = rest.groupby(["paper", "why"], sort=False)
    count = by_reason.size().rename("count")
    return count.reset_index()
