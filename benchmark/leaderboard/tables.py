"""The board as a frame: one row for each (track, dataset, target, metric, metric_setting, method).

Idea: rows of all seeds become one number with an interval, its rank among the methods of the same table, and a mark.
A table is what is compared: one (track, dataset, target, metric, metric's setting). Controls are methods like others.

Use:
    frame = leaderboard(rows, instances)
    boards(frame, "heatmap")
    on_board(frame, "heatmap", "digits", "cnn")

``setting`` is the method's, ``metric_setting`` the metric's, as in the rows. A method whose track is not known,
because its file never ran, has a row of track ``unknown``: it has no rank and is listed among what failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.leaderboard import stats
from benchmark.leaderboard.contests import (
    FACTS,
    METHOD,
    TABLE,
    UNRANKED,
    Contest,
    Record,
    contested,
    contests,
    grouped,
    natural,
    ok,
)
from benchmark.store import rows_v1

TRACKS = {  # track -> (title, what it judges), in the order in which they are shown
    "target": ("Networks", "How good the explained networks are themselves."),
    "heatmap": ("Heat maps", "Maps of what in an image the network looked at."),
    "concept": (
        "Concepts",
        "Maps of single concepts, x-features or boundaries inside the network.",
    ),
    "surrogate": ("Surrogates", "Simple models that stand in for the network."),
    "reconstruction": ("Reconstructions", "Images rebuilt from what a layer kept."),
    "replication": ("Replications", "The papers' own experiments, repeated."),
    "unknown": (
        "Not known",
        "Methods that failed before it was known what they explain.",
    ),
}
COLUMNS = [
    *TABLE,
    "family",
    *METHOD,
    "mean",
    "low",
    "high",
    "n_images",
    "n_seeds",
    "better",
    "unit",
    "rank",
    "mark",
    "p",
    "gain",
    "gain_low",
    "gain_high",
    "counts",
    "control",
    "status",
    "reason",
]
NOTE = "note: "  # begins what is said of a method that has a value
_NUMBERS = ("mean", "low", "high", "rank", "p", "gain", "gain_low", "gain_high")
MARKS = {  # mark -> what it says of a method's mean beside the others of its table
    "best": "best mean",
    "same": "the same as the best: they differ by less than the margin",
    "undecided": "undecided: perhaps as good as the best, perhaps not",
    "": "worse than some other method",
    "alone": "alone: there is nothing to compare it with",
}


# --------------------------------------------------------------------------------------------- settings and labels


def label(method: str, setting: str, shown: frozenset[str] = frozenset()) -> str:
    """What the board calls a method, ``Grad-CAM++ (authors)``: its name, variant, and the settings among ``shown``."""
    pairs = store.setting_pairs(setting)
    notes = [pairs.pop("variant")] if "variant" in pairs else []
    for key in sorted(pairs):
        if key in shown:
            notes.append(f"{key}={pairs[key]}")
    return f"{method} ({', '.join(notes)})" if notes else method


def _labels(rows: pd.DataFrame) -> list[str]:
    """Labels; in contests a setting other than the variant is shown where two of one method are on the same network."""
    variants = []
    for text in rows["setting"]:
        variants.append(store.setting_pairs(text).get("variant", ""))
    rows = rows.assign(variant=variants)
    contests = rows[~rows["track"].isin(FACTS)]
    by_network = contests.groupby(["method", "variant", "dataset", "target"])
    shown: dict[tuple[str, str], set[str]] = {}
    for (method, variant, _, _), group in by_network["setting"]:
        keys = shown.setdefault((method, variant), set())
        keys |= _differing(group.unique())
    columns = [rows[name].tolist() for name in ("track", "method", "setting")]
    labels = []
    for track, method, setting, variant in zip(*columns, variants, strict=True):
        keys = shown[method, variant] if track not in FACTS else set()
        labels.append(label(method, setting, frozenset(keys)))
    return labels


def _differing(settings: Sequence[str]) -> set[str]:
    """The keys that not all settings have with the same value."""
    pairs = []
    for text in settings:
        pairs.append(set(store.setting_pairs(text).items()))
    differing = set.union(*pairs) - set.intersection(*pairs)
    return {key for key, _ in differing}


def conditions(frame: pd.DataFrame) -> pd.Series:
    """The setting under which each line was measured: the metric's own; of a fact, which no metric made, the row's."""
    facts = frame["track"].isin(FACTS)
    return frame["metric_setting"].where(~facts, frame["setting"])


# --------------------------------------------------------------------------------------------- the board


def leaderboard(
    rows: pd.DataFrame,
    instances: pd.DataFrame | None = None,
    families: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The board, sorted by table and rank.

    Args:
        rows: as ``store.tidy_rows``.
        instances: columns ``store.ROW_KEYS``, image, value. A row without instances (a fact about a network, a size)
            is judged by its seeds alone: an interval, but no test.
        families: the family of each metric; metrics that are not named are one family, "".

    Returns:
        COLUMNS. ``mean``, ``low`` and ``high`` in ``unit``; ``mark`` is one of MARKS; ``p``: adjusted, that some other
        method of the table is better; ``gain``: over the better control of the table, positive = better, with an
        interval that holds for all pairs of the table together; ``counts``: whether the table does (``judged``).
        ``status`` is ok, failed or not applicable, and ``reason`` says why, also where only some seeds failed, and ends
        with notes on the method.

    Raises:
        ValueError: rows of several profiles, or two values for one image.
    """
    return board(contests(labelled(rows), instances), families)


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with ``label``, what the board calls a method, and ``condition``.

    Raises:
        ValueError: rows of several profiles.
    """
    if rows["profile"].nunique() > 1:
        profiles = ", ".join(sorted(rows["profile"].unique()))
        raise ValueError(f"rows of several profiles, {profiles}: build one at a time")
    return rows.assign(label=_labels(rows), condition=conditions(rows))


def board(
    found: Sequence[Contest], families: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """The board of contests; as ``leaderboard``."""
    families = families or {}
    out = []
    for contest in found:
        family = families.get(contest.key["metric"], "")
        out += [{**line, "family": family} for line in _lines(contest)]
    frame = pd.DataFrame(out, columns=COLUMNS)
    order = {track: i for i, track in enumerate(TRACKS)}
    frame["order"] = frame["track"].map(order).fillna(len(TRACKS))
    frame["natural"] = [natural(text) for text in conditions(frame)]
    by = ["order", *TABLE[:-1], "natural", "rank", "label", "setting"]
    frame = frame.sort_values(by, kind="stable", na_position="last", ignore_index=True)
    return judged(frame[COLUMNS])


def _lines(contest: Contest) -> Iterator[dict[str, Any]]:
    """The lines of one table: M methods, S seeds, N images."""
    m, total = len(contest.methods), contest.totals
    bounds = np.full((m, 2), np.nan)
    for part, values in contest.measured():
        bounded = contest.track != "replication"  # differences may be negative
        unit = contest.unit if bounded else ""
        bounds[part] = stats.interval(values, unit=unit)
    judgement = dict.fromkeys(
        ("rank", "p", "gain", "gain_low", "gain_high"), [np.nan] * m
    )
    judgement |= {"mark": [""] * m, "counts": [False] * m}
    if contest.contested and not np.isnan(total).all():
        judgement |= _judgement(contest)
    for i, (name, records) in enumerate(contest.methods):
        measured = ok(records)
        yield {
            **contest.key,
            **dict(zip(METHOD, name, strict=True)),
            "mean": total[i],
            "low": bounds[i, 0],
            "high": bounds[i, 1],
            "n_images": max((record["n"] for record in measured), default=0),
            "n_seeds": len(measured),
            "better": contest.better,
            "unit": contest.unit,
            **{column: of_methods[i] for column, of_methods in judgement.items()},
            "control": bool(contest.controls[i]),
            **_status(records),
        }


def _judgement(contest: Contest) -> dict[str, Sequence[Any]]:
    """Rank, mark and gain of each method, and whether its best method beats every control."""
    total = contest.totals
    found = contest.compared
    p = stats.worse(found)
    first = stats.best(total, contest.better)
    alike = stats.same(found, first, stats.margin(contest.unit, total))
    rank = stats.ranks(total, contest.better)
    has_value = ~np.isnan(total)
    mark = np.select(
        [
            ~has_value,
            has_value.sum() == 1,
            rank == np.nanmin(rank),
            alike,
            p < stats.ALPHA,
        ],
        ["", "alone", "best", "same", ""],
        "undecided",
    )
    out: dict[str, Sequence[Any]] = {"rank": rank, "mark": mark.tolist(), "p": p}
    controls = np.flatnonzero(contest.controls & has_value)
    methods = np.flatnonzero(~contest.controls & contest.known)
    beaten = has_value.sum() > 1
    if len(controls):
        by_mean = np.argsort(rank[controls], kind="stable")
        control = controls[by_mean[0]]
        columns = {"gain": found.gain, "gain_low": found.low, "gain_high": found.high}
        for name, matrix in columns.items():
            out[name] = np.where(contest.controls, np.nan, matrix[:, control])
        ahead = (found.gain > 0) & (found.p < stats.ALPHA)
        best = methods[np.argsort(rank[methods], kind="stable")[:1]]
        beaten = len(best) and ahead[best][:, controls].all()
    out["counts"] = [bool(beaten)] * len(total)
    return out


# --------------------------------------------------------------------------------------------- what counts

ELSEWHERE = {  # family -> why its tables are judged by other families
    "robustness": "a random map does not depend on the image and scores a perfect 0, so the family counts only for "
    "methods that beat the controls elsewhere on the same network",
}


def judged(frame: pd.DataFrame) -> pd.DataFrame:
    """The board with ``counts`` of whole tables turned into that of lines.

    A table counts where its best method beats every control. In a family of ``ELSEWHERE`` a control is best by
    construction: there the lines count whose method beats the better control in some table that counts, of another
    family on the same network, if there are two of them.
    """
    elsewhere = frame["family"].isin(ELSEWHERE)
    if not elsewhere.any():
        return frame
    counts = frame["counts"].astype(bool)
    ahead = frame[counts & ~elsewhere & (frame["gain_low"] > 0)]
    where = ["track", "dataset", "target", "label"]
    good = set(ahead[where].itertuples(index=False, name=None))
    lines = frame[where].itertuples(index=False, name=None)
    beats = np.array([line in good for line in lines])
    passes = elsewhere & beats & frame["rank"].notna()
    enough = passes.groupby([frame[key] for key in TABLE]).transform("sum") > 1
    return frame.assign(counts=np.where(elsewhere, passes & enough, counts))


def _status(records: Sequence[Record]) -> dict[str, str]:
    """ok if any seed is; the reasons of the others, with their seeds where the seeds differ; the notes on it."""
    statuses = {record["status"] for record in records}
    status = next(name for name in store.STATUSES if name in statuses)
    lost = [record for record in records if record["status"] != "ok"]
    reasons = []
    for (name, reason), part in grouped(lost, ["status", "reason"]):
        text = f"{name}: {reason or 'no reason given'}"
        if len(part) < len(records):
            text += f" ({_seeds(part)})"
        reasons.append(text)
    notes = {record["reason"] for record in ok(records)} - {""}
    reasons += [f"{NOTE}{note}" for note in sorted(notes)]
    return {"status": status, "reason": "; ".join(reasons)}


def is_partial(line: Any) -> bool:
    """Does a line of the board lack a value of some seed? A line may also have a note on its method."""
    return bool(line.reason) and not line.reason.startswith(NOTE)


def _seeds(records: Sequence[Record]) -> str:
    """``seed 2``, ``seeds 0, 2``."""
    seeds = sorted(record["seed"] for record in records)
    listed = ", ".join(map(str, seeds))
    return f"seeds {listed}" if len(seeds) > 1 else f"seed {listed}"


# --------------------------------------------------------------------------------------------- summaries


def tracks(frame: pd.DataFrame, *, ranked: bool = True) -> list[str]:
    """The tracks in which a method takes part, in the order in which they are shown."""
    takes_part = frame["status"] != "not applicable"
    found = frame.loc[takes_part, "track"].unique().tolist()
    if not ranked:
        return found
    return [track for track in found if track not in UNRANKED]


def boards(frame: pd.DataFrame, track: str) -> list[tuple[str, str]]:
    """The (dataset, target) pairs of a track in which a method takes part."""
    takes_part = frame["status"] != "not applicable"
    part = frame[(frame["track"] == track) & takes_part]
    pairs = part[["dataset", "target"]].itertuples(index=False, name=None)
    return sorted(set(pairs))


def on_board(
    frame: pd.DataFrame, track: str, dataset: str, target: str
) -> pd.DataFrame:
    """The lines of one network in a track."""
    of_track = frame["track"] == track
    of_dataset = frame["dataset"] == dataset
    of_target = frame["target"] == target
    return frame[of_track & of_dataset & of_target]


def ranked(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """The lines of a track that take part, each with a rank; failed ones (``lost``) share a table's last places."""
    contest = (frame["track"] == track) & contested(frame)
    part = frame[contest & (frame["status"] != "not applicable")]
    by_table = part.groupby(TABLE)
    lost = part["rank"].isna()
    present = by_table["rank"].transform("count")
    methods = by_table["label"].transform("size")
    last = (present + 1 + methods) / 2  # mean of the last places
    return part.assign(rank=part["rank"].where(~lost, last), lost=lost)


def shown(frame: pd.DataFrame, track: str, dataset: str, target: str) -> pd.DataFrame:
    """The lines of one board, without the tables that apply to none of its methods and without the methods that take no
    part in it (``losses`` names them)."""
    part = on_board(frame, track, dataset, target)
    applies = part["status"] != "not applicable"
    to_some = applies.groupby([part["metric"], part["metric_setting"]]).transform("any")
    takes_part = applies.groupby(part["label"]).transform("any")
    return part[to_some & takes_part]


def doubtful(table: pd.DataFrame) -> bool:
    """Whether there is a control in a table, and the table does not count."""
    return bool(table["control"].any()) and not bool(table["counts"].any())


def caption(board: pd.DataFrame) -> str:
    """What the lines of one board rest on: ``3 seeds, up to 100 images``; with fewer seeds, for whom they hold."""
    measured = board[board["status"] == "ok"]
    seeds, images = measured["n_seeds"].max(), measured["n_images"].max()
    if not len(measured):
        return "no value"
    text = f"{plural(seeds, 'seed')}, up to {plural(images, 'image')}"
    if seeds >= stats.NETWORKS or board["track"].isin(UNRANKED).all():
        return text
    return f"{text}; these networks only: {FEW}"


FEW = "with fewer than 3 seeds, nothing is said of other networks"


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """What is missing and why, one line for each reason: track, dataset, target, reason, methods and metrics (texts).

    "all methods" stands for all that have a value on the board, "all metrics" for all of the board; methods of track
    ``unknown`` are always named. A method that offers nothing that a track judges (a heat map has no labels) is not
    missing there.
    """
    board = ["track", "dataset", "target"]
    out = []
    offers_none = frame["reason"].str.startswith("not applicable: offers no")
    other_kind = offers_none.groupby([frame["track"], frame["label"]]).transform("all")
    for key, group in frame[~other_kind].groupby(board):
        lost = group[group["reason"] != ""]
        if not len(lost):
            continue
        pairs = zip(lost["metric"], conditions(lost), strict=True)
        lost = lost.assign(title=[_with_setting(*pair) for pair in pairs])
        judged = group[group["status"] == "ok"]
        if not len(judged):
            judged = group
        labels = frozenset(judged["label"])
        if key[0] == "unknown":
            labels = frozenset()
        by_title = lost.groupby(["title", "reason"])["label"].agg(
            _methods, everyone=labels
        )
        all_titles = len(group.groupby(["metric", conditions(group)]))
        by_methods = by_title.reset_index().groupby(["reason", "label"])["title"]
        for (reason, methods), titles in by_methods:
            every = len(titles) == all_titles and all_titles > 1
            every = every or reason.startswith(NOTE)  # it is on the method
            metrics = "all metrics" if every else ", ".join(titles)
            out.append((*key, reason, methods, metrics))
    return pd.DataFrame(out, columns=[*board, "reason", "methods", "metrics"])


def _with_setting(metric: str, metric_setting: str) -> str:
    """``average drop (keep=0.2)``, in a list of metrics."""
    setting = metric_setting.replace(";", ", ")
    return f"{title(metric)} ({setting})" if setting else title(metric)


def _methods(labels: pd.Series, everyone: frozenset[str]) -> str:
    """The labels, or ``all methods`` if they are the board's."""
    if everyone <= set(labels) and len(everyone) > 1:
        return "all methods"
    return ", ".join(sorted(labels))


# --------------------------------------------------------------------------------------------- words and numbers


def title(metric: str, metric_setting: str = "") -> str:
    """``average_drop``, ``keep=0.2`` -> ``average drop, keep=0.2``."""
    words = metric.split("_")
    words = [_ACRONYMS.get(word, word) for word in words]
    pairs = filter(None, metric_setting.split(";"))
    return ", ".join([" ".join(words), *pairs])


_ACRONYMS = {
    "acu": "ACU",
    "auc": "AUC",
    "cvr": "CVR",
    "gt": "GT",
    "iou": "IoU",
    "irof": "IROF",
    "lerf": "LeRF",
    "md": "MD",
    "morf": "MoRF",
    "mprt": "MPRT",
    "o1": "O1",
    "o2": "O2",
    "road": "ROAD",
    "roc": "ROC",
    "saco": "SaCo",
}


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``, ``0 seeds``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def arrow(better: str) -> str:
    return "↓" if better == "lower" else "↑"


def decimals(values: pd.Series | np.ndarray | Sequence[float]) -> int:
    """Decimals that show three digits of the largest value of a column, at most four."""
    sizes = np.abs(np.asarray(values, np.float64))
    sizes = sizes[np.isfinite(sizes)]
    top = sizes.max() if len(sizes) else 0.0
    if top == 0:
        return 4
    exponent = np.floor(np.log10(top) + 1e-12)  # of the first digit
    least = 1 if top < 1000 else 0
    return int(np.clip(2 - exponent, least, 4))


def number(value: float, places: int) -> str:
    """Fixed decimals; nothing for NaN; never ``-0.00``."""
    if not np.isfinite(value):
        return ""
    rounded = round(float(value), places) + 0.0  # + 0.0 makes -0.0 positive
    return f"{rounded:.{places}f}"


def interval(line: Any, places: int, separator: str = " – ") -> str:
    """The interval of a line, ``low – high``; nothing where it has none."""
    if pd.isna(line.low):
        return ""
    return f"{number(line.low, places)}{separator}{number(line.high, places)}"


# --------------------------------------------------------------------------------------------- files


def csv_text(frame: pd.DataFrame) -> str:
    """The board as CSV, numbers with seven significant digits."""
    frame = frame[COLUMNS].copy()
    for column in _NUMBERS:
        frame[column] = [store.format_value(v) for v in frame[column]]
    return frame.to_csv(index=False, lineterminator="\n")


def read(path: Path) -> pd.DataFrame:
    """The board from ``leaderboard.csv``.

    Raises:
        StoreError: the file is missing or damaged.
    """
    types = dict.fromkeys(COLUMNS, str) | dict.fromkeys(_NUMBERS, float)
    types |= {"n_images": int, "n_seeds": int}
    missing = {column: [""] for column in _NUMBERS}
    try:
        frame = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=missing)
        frame = rows_v1.current_board(frame)
        if "p_holm" in frame:
            raise store.StoreError(
                f"{path} is of an earlier version; `glassbench judge --profile "
                f"{path.parent.name}` makes it again from the committed rows"
            )
        flags = {name: frame[name] == "True" for name in ("control", "counts")}
        return frame[COLUMNS].assign(**flags)
    except FileNotFoundError:
        raise store.StoreError(f"{path} is missing; run `make leaderboard`") from None
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise store.StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}); run `make leaderboard`"
        ) from None
