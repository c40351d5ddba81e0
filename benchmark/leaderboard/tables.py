"""The board as a frame: one row for each (track, dataset, target, metric, metric_setting, method).

Idea: rows of all seeds become one number with an interval, its rank among the methods of the same table, and a mark.
A table is what is compared: one (track, dataset, target, metric, metric's setting); controls are methods like any other.

Use:
    frame = leaderboard(rows, instances)
    average_ranks(frame, "heatmap")
    findings(frame)

``setting`` is the method's, ``metric_setting`` the metric's, as in the rows. A method of which nothing is known, because its
file never ran, has a row of track ``unknown``: it has no rank, and stands among what failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.leaderboard import stats
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
    "unknown": ("Not known", "Methods that failed before it was known what they explain."),
}
FACTS = ("target", "replication")  # tracks of facts, not contests
UNRANKED = (*FACTS, "unknown")
TABLE = ["track", "dataset", "target", "metric", "metric_setting"]  # the key of one table
_METHOD = ["label", "paper", "method", "setting"]  # the key of one of its methods
COLUMNS = [
    *TABLE,
    "label",
    "paper",
    "method",
    "setting",
    "mean",
    "low",
    "high",
    "n_images",
    "n_seeds",
    "better",
    "unit",
    "rank",
    "mark",
    "p_holm",
    "control",
    "status",
    "reason",
]
_NUMBERS = ("mean", "low", "high", "rank", "p_holm")


# --------------------------------------------------------------------------------------------- settings and labels


def label(method: str, setting: str, shown: frozenset[str] = frozenset()) -> str:
    """What the board calls a method: its name, its variant, and the settings among ``shown``: ``Grad-CAM++ (authors)``."""
    own = store.setting_pairs(setting)
    notes = [own.pop("variant")] if "variant" in own else []
    notes += [f"{key}={own[key]}" for key in sorted(own) if key in shown]
    return f"{method} ({', '.join(notes)})" if notes else method


def _labels(rows: pd.DataFrame) -> list[str]:
    """Labels; in contests a setting other than the variant is named where two of one method meet on the same network."""
    variant = [store.setting_pairs(text).get("variant", "") for text in rows["setting"]]
    rows = rows.assign(variant=variant)
    contests = rows[~rows["track"].isin(FACTS)]
    shown: dict[tuple[str, str], set[str]] = {}
    for (method, v, _, _), settings in contests.groupby(["method", "variant", "dataset", "target"])[
        "setting"
    ]:
        shown.setdefault((method, v), set()).update(_differing(settings.unique()))
    labels = []
    for row in rows.itertuples():
        named = set() if row.track in FACTS else shown[row.method, row.variant]
        labels.append(label(row.method, row.setting, frozenset(named)))
    return labels


def _differing(settings: Sequence[str]) -> set[str]:
    """The keys that not all settings have with the same value."""
    pairs = [set(store.setting_pairs(text).items()) for text in settings]
    return {key for key, _ in set.union(*pairs) - set.intersection(*pairs)}


def conditions(frame: pd.DataFrame) -> pd.Series:
    """Under which setting each line was measured: the metric's own; of a fact, which no metric made, the number's."""
    return frame["metric_setting"].where(~frame["track"].isin(FACTS), frame["setting"])


# --------------------------------------------------------------------------------------------- the board


def leaderboard(rows: pd.DataFrame, instances: pd.DataFrame | None = None) -> pd.DataFrame:
    """The board, sorted by table and rank.

    Args:
        rows: as ``store.tidy_rows``.
        instances: columns ``store.ROW_KEYS``, image, value. A row without instances (a fact about a network, a size)
            is judged by its seeds alone: an interval, but no test.

    Returns:
        COLUMNS. ``mean``, ``low`` and ``high`` in ``unit``; ``status`` is ok, failed or not applicable, and ``reason``
        says why, also where only some seeds failed; ``mark`` is best, tied (not significantly worse than the best)
        or empty.

    Raises:
        ValueError: rows of several profiles, or two values for one image.
    """
    if rows["profile"].nunique() > 1:
        raise ValueError(
            f"rows of several profiles, {', '.join(sorted(rows['profile'].unique()))}: build one at a time"
        )
    measured = _by_row(instances)
    keys = list(rows[list(store.ROW_KEYS)].itertuples(index=False, name=None))
    rows = rows.assign(row=keys, label=_labels(rows), condition=conditions(rows))
    columns = [
        *TABLE,
        "condition",
        *_METHOD,
        "row",
        "seed",
        "value",
        "n",
        "better",
        "unit",
        "status",
        "reason",
    ]
    by = [*TABLE, "condition"]
    groups = _grouped(
        rows[columns].to_dict("records"), by
    )  # a frame a table would cost more than its statistics
    out = [
        line
        for key, group in groups
        for line in _table(dict(zip(TABLE, key, strict=False)), group, measured)
    ]
    frame = pd.DataFrame(out, columns=COLUMNS)
    frame["order"] = (
        frame["track"].map({track: i for i, track in enumerate(TRACKS)}).fillna(len(TRACKS))
    )
    frame["natural"] = [
        re.sub(r"\d+", lambda digits: digits[0].zfill(9), text) for text in conditions(frame)
    ]
    by = ["order", *TABLE[:-1], "natural", "rank", "label", "setting"]
    return frame.sort_values(by, kind="stable", na_position="last", ignore_index=True)[COLUMNS]


def _by_row(instances: pd.DataFrame | None) -> dict[tuple, pd.Series]:
    """For each row's key, its values by image."""
    if instances is None:
        return {}
    keys = list(store.ROW_KEYS)
    return {
        key: group.set_index("image")["value"] for key, group in instances.groupby(keys, sort=False)
    }


def _grouped(
    records: Sequence[Mapping[str, Any]], by: Sequence[str]
) -> list[tuple[tuple, list[Mapping[str, Any]]]]:
    """(key, its records), sorted by key; records keep their order."""
    found: dict[tuple, list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault(tuple(record[name] for name in by), []).append(record)
    return sorted(found.items(), key=lambda item: item[0])


def _table(
    key: Mapping[str, str], group: Sequence[Mapping[str, Any]], measured: Mapping[tuple, pd.Series]
) -> Iterator[dict[str, Any]]:
    """The lines of one table: M methods, S seeds, N images."""
    methods = _grouped(group, _METHOD)
    ok = [line for line in group if line["status"] == "ok"]
    seeds = sorted({line["seed"] for line in ok})
    images = sorted(
        set().union(*(measured[line["row"]].index for line in ok if line["row"] in measured))
    )
    values = np.full((len(methods), len(seeds), len(images)), np.nan)
    means = np.full((len(methods), len(seeds)), np.nan)
    for i, (_, lines) in enumerate(methods):
        for line in (line for line in lines if line["status"] == "ok"):
            s, row = seeds.index(line["seed"]), line["row"]
            means[i, s] = line["value"]
            if row in measured:
                if measured[row].index.has_duplicates:
                    raise ValueError(
                        f"{dict(zip(store.ROW_KEYS, row, strict=True))}: two values for one image"
                    )
                values[i, s] = measured[row].reindex(images)
    by_image = ~np.isnan(values).all((1, 2))  # methods whose values of single images are known
    total = np.array([np.nan if np.isnan(m).all() else np.nanmean(m) for m in means])
    bounds = np.full((len(methods), 2), np.nan)
    for chosen, array in ((by_image, values), (~by_image, means[:, :, None])):
        if chosen.any() and seeds:
            bounds[chosen] = stats.interval(array[chosen], key["dataset"], key["target"])
    better = group[0]["better"]
    rank = mark = p_holm = np.full(len(methods), np.nan)
    if key["track"] not in UNRANKED and seeds:
        rank = stats.ranks(total, better)
        p_holm = (
            stats.holm(stats.worse_than_best(values, better))
            if by_image.all()
            else _some(values, by_image, better)
        )
        mark = np.where(
            rank == np.nanmin(rank), "best", np.where(p_holm >= stats.ALPHA, "tied", "")
        )
    for i, ((text, paper, method, setting), lines) in enumerate(methods):
        good = [line for line in lines if line["status"] == "ok"]
        yield dict(key) | {
            "label": text,
            "paper": paper,
            "method": method,
            "setting": setting,
            "mean": total[i],
            "low": bounds[i, 0],
            "high": bounds[i, 1],
            "n_images": max((line["n"] for line in good), default=0),
            "n_seeds": len(good),
            "better": better,
            "unit": group[0]["unit"],
            "rank": rank[i],
            "mark": mark[i] if isinstance(mark[i], str) else "",
            "p_holm": p_holm[i],
            "control": paper == "control",
            **_status(lines),
        }


def _some(values: np.ndarray, known: np.ndarray, better: str) -> np.ndarray:
    """Adjusted p-values where only some methods have values of single images."""
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = stats.holm(stats.worse_than_best(values[known], better))
    return out


def _status(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """ok if any seed is; the reasons of the others, with their seeds where the seeds differ."""
    states = {line["status"] for line in lines}
    status = next(state for state in ("ok", "failed", "not applicable") if state in states)
    reasons = []
    for (state, reason), part in _grouped(
        [line for line in lines if line["status"] != "ok"], ["status", "reason"]
    ):
        seeds = ", ".join(map(str, sorted(line["seed"] for line in part)))
        which = f" (seed{'s' * (len(part) > 1)} {seeds})" if len(part) < len(lines) else ""
        reasons.append(f"{state}: {reason or 'no reason given'}{which}")
    return {"status": status, "reason": "; ".join(reasons)}


# --------------------------------------------------------------------------------------------- summaries


def tracks(frame: pd.DataFrame, *, ranked: bool = True) -> list[str]:
    """The tracks in which a method takes part, in the order in which they are shown."""
    here = list(dict.fromkeys(frame.loc[frame["status"] != "not applicable", "track"]))
    return [track for track in here if not (ranked and track in UNRANKED)]


def boards(frame: pd.DataFrame, track: str) -> list[tuple[str, str]]:
    """The (dataset, target) pairs of a track in which a method takes part."""
    here = (frame["track"] == track) & (frame["status"] != "not applicable")
    return sorted(set(frame.loc[here, ["dataset", "target"]].itertuples(index=False, name=None)))


def ranked(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """The lines of a track that take part, each with a rank: what failed (``lost``) shares the last places of its table."""
    contest = (frame["track"] == track) & ~frame["track"].isin(UNRANKED)
    part = frame[contest & (frame["status"] != "not applicable")]
    table = part.groupby(TABLE)["label"]
    lost = part["rank"].isna()
    present = part.groupby(TABLE)["rank"].transform("count")
    last = (present + 1 + table.transform("size")) / 2  # mean of the last places
    return part.assign(rank=part["rank"].where(~lost, last), lost=lost)


def average_ranks(frame: pd.DataFrame, track: str) -> pd.DataFrame:
    """One line for each method of a track, best first.

    The rank in every (dataset, target, metric), averaged; the settings of one metric count as one, by their mean.
    A method that failed shares the last places of its table; where it is not applicable it is not ranked.

    Returns:
        label, control, average_rank, sound_rank (the same over the tables in which no control is first: NaN if there
        are none), tables (ranked in), best (times), tied (times), failed (times).
    """
    part = ranked(frame, track)
    columns = ["label", "control", "average_rank", "sound_rank", "tables", "best", "tied", "failed"]
    if not len(part):
        return pd.DataFrame(columns=columns)
    part = part.assign(
        best=part["mark"] == "best", tied=part["mark"] == "tied", failed=part["lost"]
    )
    beaten = (part["control"] & part["best"]).groupby([part[key] for key in TABLE]).transform("any")
    by_metric, sound = (
        lines.groupby(["label", "control", "dataset", "target", "metric"])["rank"]
        .mean()
        .groupby(level=[0, 1])
        .mean()
        for lines in (part, part[~beaten])
    )
    methods = part.groupby(["label", "control"])
    times = methods[["best", "tied", "failed"]].sum().astype(int)
    times = times.assign(
        tables=methods.size(), sound_rank=sound, average_rank=by_metric
    )  # NaN where nothing is sound
    return times.reset_index().sort_values(
        ["average_rank", "label"], kind="stable", ignore_index=True
    )[columns]


def findings(frame: pd.DataFrame) -> pd.DataFrame:
    """Tables in which a control is best, or not significantly worse than the best: there the metric does not tell an
    explanation from none. One line a metric and its setting.

    Returns:
        track, metric, metric_setting, first and tied (lists of "dataset/target (control)"), networks (count), text.
    """
    out = []
    contests = frame[~frame["track"].isin(UNRANKED) & (frame["status"] == "ok")]
    for key, group in contests.groupby(["track", "metric", "metric_setting"], sort=False):
        where: dict[str, list[str]] = {"best": [], "tied": []}
        for (dataset, target), hits in group[group["control"]].groupby(["dataset", "target"]):
            for mark in ("best", "tied"):
                if names := sorted(hits.loc[hits["mark"] == mark, "label"]):
                    where[mark].append(f"{dataset}/{target} ({', '.join(names)})")
                    break  # where one is best, another that is tied says nothing more
        said = [f"{words} {', '.join(where[mark])}" for mark, words in _SAID.items() if where[mark]]
        if said:
            networks = len(group.drop_duplicates(["dataset", "target"]))
            text = f"{title(key[1], key[2])} ({networks} network{'s' * (networks > 1)}): {'; '.join(said)}"
            out.append((*key, where["best"], where["tied"], networks, text))
    return pd.DataFrame(
        out, columns=["track", "metric", "metric_setting", "first", "tied", "networks", "text"]
    )


def findings_line(frame: pd.DataFrame, track: str) -> str:
    """All findings of a track in one sentence that names the metrics; empty if there are none."""
    found = findings(frame)
    found = found[found["track"] == track]
    first = found["first"].str.len() > 0
    words = {
        "a control ranks first on some network": found[first],
        "is not significantly worse than the best": found[~first],
    }
    said = [
        f"{what} in {', '.join(dict.fromkeys(map(title, part['metric'])))}"
        for what, part in words.items()
        if len(part)
    ]
    return ("" if first.any() or not said else "a control ") + "; ".join(said)


_SAID = {
    "best": "a control ranks first on",
    "tied": "a control is not significantly worse than the best on",
}


def shown(frame: pd.DataFrame, track: str, dataset: str, target: str) -> pd.DataFrame:
    """The lines of one board without the tables that apply to none of its methods, and without the methods that take no
    part in it (``losses`` names them)."""
    part = frame[
        (frame["track"] == track) & (frame["dataset"] == dataset) & (frame["target"] == target)
    ]
    applies = part["status"] != "not applicable"
    return part[
        applies.groupby([part["metric"], part["metric_setting"]]).transform("any")
        & applies.groupby(part["label"]).transform("any")
    ]


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """What is missing and why, one line for each reason: track, dataset, target, reason, methods and metrics (texts).

    "all methods" and "all metrics" stand for all of the board; what is not known is named. A method that offers nothing that a track judges (a heat
    map has no labels) is not missing there.
    """
    board = ["track", "dataset", "target"]
    out = []
    other_kind = frame["reason"].str.startswith("not applicable: offers no")
    frame = frame[~other_kind.groupby([frame["track"], frame["label"]]).transform("all")]
    for key, group in frame.groupby(board):
        lost = group[group["reason"] != ""]
        lost = lost.assign(
            title=[title(m, s) for m, s in zip(lost["metric"], conditions(lost), strict=True)]
        )
        everyone = frozenset(group["label"]) if key[0] != "unknown" else frozenset()
        by_metric = lost.groupby(["title", "reason"])["label"].agg(_named, everyone=everyone)
        if len(by_metric):
            for (reason, methods), names in by_metric.reset_index().groupby(["reason", "label"])[
                "title"
            ]:
                metrics = (
                    "all metrics"
                    if len(names) == len(group.groupby(["metric", conditions(group)])) > 1
                    else ", ".join(names)
                )
                out.append((*key, reason, methods, metrics))
    return pd.DataFrame(out, columns=[*board, "reason", "methods", "metrics"])


def _named(labels: pd.Series, everyone: frozenset[str]) -> str:
    return (
        "all methods"
        if set(labels) == everyone and len(everyone) > 1
        else ", ".join(sorted(labels))
    )


# --------------------------------------------------------------------------------------------- words and numbers


def title(metric: str, metric_setting: str = "") -> str:
    """``average_drop``, ``keep=0.2`` -> ``average drop, keep=0.2``."""
    words = [word.upper() if word in ("auc", "iou", "roc") else word for word in metric.split("_")]
    return ", ".join([" ".join(words), *filter(None, metric_setting.split(";"))])


def arrow(better: str) -> str:
    return "↓" if better == "lower" else "↑"


def decimals(values: pd.Series | np.ndarray) -> int:
    """Decimals that show three digits of the largest value of a column, at most four."""
    values = np.abs(np.asarray(values, np.float64))
    values = values[np.isfinite(values)]
    top = values.max() if len(values) else 0.0
    return 4 if top == 0 else int(np.clip(2 - np.floor(np.log10(top) + 1e-12), top < 1000, 4))


def number(value: float, places: int) -> str:
    """Fixed decimals; nothing for NaN; never ``-0.00``."""
    return "" if not np.isfinite(value) else f"{round(float(value), places) + 0.0:.{places}f}"


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
    types = (
        dict.fromkeys(COLUMNS, str)
        | dict.fromkeys(_NUMBERS, float)
        | {"n_images": int, "n_seeds": int}
    )
    try:
        frame = pd.read_csv(
            path,
            dtype=types,
            keep_default_na=False,
            na_values={column: [""] for column in _NUMBERS},
        )
        frame = rows_v1.current_board(frame)
        return frame[COLUMNS].assign(control=frame["control"] == "True")
    except FileNotFoundError:
        raise store.StoreError(f"{path} is missing; run `make leaderboard`") from None
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise store.StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}); run `make leaderboard`"
        ) from None
