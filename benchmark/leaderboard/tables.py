"""The board as a frame: one row for each (track, dataset, target, metric, metric_setting, method).

Idea: rows of all seeds become one number with an interval, its rank among the methods of the same table, and a mark.
A table is what is compared: one (track, dataset, target, metric, metric's setting). Controls are methods like others.

Use:
    frame = leaderboard(rows, instances)
    average_ranks(frame, "heatmap")
    findings(frame)

``setting`` is the method's, ``metric_setting`` the metric's, as in the rows. A method whose track is not known,
because its file never ran, has a row of track ``unknown``: it has no rank and is listed among what failed.
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

Record = Mapping[str, Any]  # a row, with its label, key and condition

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
FACTS = ("target", "replication")  # tracks of facts, not contests
UNRANKED = (*FACTS, "unknown")
TABLE = [
    "track",
    "dataset",
    "target",
    "metric",
    "metric_setting",
]  # the key of one table
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
NOTE = "note: "  # begins what is said of a method that has a value
_NUMBERS = ("mean", "low", "high", "rank", "p_holm")
# of a row, besides its keys
_MEASURED = ["row", "seed", "value", "n", "better", "unit", "status", "reason"]


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
    labels = []
    for row in rows.itertuples():
        keys = set()
        if row.track not in FACTS:
            keys = shown[row.method, row.variant]
        labels.append(label(row.method, row.setting, frozenset(keys)))
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
    rows: pd.DataFrame, instances: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The board, sorted by table and rank.

    Args:
        rows: as ``store.tidy_rows``.
        instances: columns ``store.ROW_KEYS``, image, value. A row without instances (a fact about a network, a size)
            is judged by its seeds alone: an interval, but no test.

    Returns:
        COLUMNS. ``mean``, ``low`` and ``high`` in ``unit``; ``status`` is ok, failed or not applicable, and ``reason``
        says why, also where only some seeds failed, and ends with notes on the method; ``mark`` is best, tied (not
        significantly worse than the best) or empty.

    Raises:
        ValueError: rows of several profiles, or two values for one image.
    """
    if rows["profile"].nunique() > 1:
        profiles = ", ".join(sorted(rows["profile"].unique()))
        raise ValueError(f"rows of several profiles, {profiles}: build one at a time")
    values = _values_by_row(instances)
    keys = list(rows[list(store.ROW_KEYS)].itertuples(index=False, name=None))
    rows = rows.assign(row=keys, label=_labels(rows), condition=conditions(rows))
    columns = [*TABLE, "condition", *_METHOD, *_MEASURED]
    # dictionaries: a frame per table would take longer than its statistics
    out = []
    for key, group in _grouped(rows[columns].to_dict("records"), [*TABLE, "condition"]):
        out += _lines(dict(zip(TABLE, key, strict=False)), group, values)
    frame = pd.DataFrame(out, columns=COLUMNS)
    order = {track: i for i, track in enumerate(TRACKS)}
    frame["order"] = frame["track"].map(order).fillna(len(TRACKS))
    frame["natural"] = [_natural(text) for text in conditions(frame)]
    by = ["order", *TABLE[:-1], "natural", "rank", "label", "setting"]
    return frame.sort_values(by, kind="stable", na_position="last", ignore_index=True)[
        COLUMNS
    ]


def _natural(text: str) -> str:
    """A text by which settings sort as numbers: ``steps=9`` before ``steps=24``."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(9), text)


def _values_by_row(instances: pd.DataFrame | None) -> dict[tuple, pd.Series]:
    """For each row's key, its values by image."""
    if instances is None:
        return {}
    by_row = instances.groupby(list(store.ROW_KEYS), sort=False)
    return {key: group.set_index("image")["value"] for key, group in by_row}


def _grouped(
    records: Sequence[Record], by: Sequence[str]
) -> list[tuple[tuple, list[Record]]]:
    """(key, its records), sorted by key; records keep their order."""
    groups: dict[tuple, list[Record]] = {}
    for record in records:
        key = tuple(record[name] for name in by)
        group = groups.setdefault(key, [])
        group.append(record)
    return sorted(groups.items(), key=lambda item: item[0])


def _lines(
    key: Mapping[str, str], group: Sequence[Record], by_row: Mapping[tuple, pd.Series]
) -> Iterator[dict[str, Any]]:
    """The lines of one table: M methods, S seeds, N images."""
    methods = _grouped(group, _METHOD)
    means, values = _arrays(
        [records for _, records in methods], by_row
    )  # (M, S), (M, S, N)
    known = ~np.isnan(values).all((1, 2))  # methods whose values per image are known
    total = np.full(len(methods), np.nan)
    has_mean = ~np.isnan(means).all(1)
    for i in np.flatnonzero(has_mean):
        total[i] = np.nanmean(means[i])
    better = group[0]["better"]
    bounds = np.full((len(methods), 2), np.nan)
    rank = p_holm = np.full(len(methods), np.nan)
    mark = [""] * len(methods)
    if means.shape[1]:  # a seed that is ok
        network = key["dataset"], key["target"]
        if known.any():
            bounds[known] = stats.interval(values[known], *network)
        if not known.all():
            bounds[~known] = stats.interval(means[~known, :, None], *network)
        if key["track"] not in UNRANKED:
            rank = stats.ranks(total, better)
            p_holm = _p_holm(values, known, better)
            mark = _marks(rank, p_holm)
    for i, ((name, paper, method, setting), records) in enumerate(methods):
        ok = _ok(records)
        yield {
            **key,
            "label": name,
            "paper": paper,
            "method": method,
            "setting": setting,
            "mean": total[i],
            "low": bounds[i, 0],
            "high": bounds[i, 1],
            "n_images": max((record["n"] for record in ok), default=0),
            "n_seeds": len(ok),
            "better": better,
            "unit": group[0]["unit"],
            "rank": rank[i],
            "mark": mark[i],
            "p_holm": p_holm[i],
            "control": paper == "control",
            **_status(records),
        }


def _ok(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["status"] == "ok"]


def _arrays(
    methods: Sequence[Sequence[Record]], by_row: Mapping[tuple, pd.Series]
) -> tuple[np.ndarray, np.ndarray]:
    """The records of M methods as means (M, S) and values per image (M, S, N), NaN where there are none."""
    ok = [_ok(records) for records in methods]
    seeds: set[int] = set()
    images: set[int] = set()
    for records in ok:
        for record in records:
            seeds.add(record["seed"])
            if record["row"] in by_row:
                images.update(by_row[record["row"]].index)
    seed_order, image_order = sorted(seeds), sorted(images)
    m, s, n = len(methods), len(seeds), len(images)
    means = np.full((m, s), np.nan)
    values = np.full((m, s, n), np.nan)
    for i, records in enumerate(ok):
        for record in records:
            row = record["row"]
            j = seed_order.index(record["seed"])
            means[i, j] = record["value"]
            if row in by_row:
                values[i, j] = _on_images(by_row[row], image_order, row)
    return means, values


def _on_images(values: pd.Series, images: Sequence[int], row: tuple) -> pd.Series:
    if values.index.has_duplicates:
        name = dict(zip(store.ROW_KEYS, row, strict=True))
        raise ValueError(f"{name}: two values for one image")
    return values.reindex(images)


def _p_holm(values: np.ndarray, known: np.ndarray, better: str) -> np.ndarray:
    """Adjusted p-values against the best of the methods whose values per image are known; NaN for the others."""
    out = np.full(len(values), np.nan)
    if known.any():
        out[known] = stats.holm(stats.worse_than_best(values[known], better))
    return out


def _marks(rank: np.ndarray, p_holm: np.ndarray) -> list[str]:
    """best; tied: not significantly worse than the best; empty for the others."""
    not_worse = np.where(p_holm >= stats.ALPHA, "tied", "")
    marks = np.where(rank == np.nanmin(rank), "best", not_worse)
    return marks.tolist()


def _status(records: Sequence[Record]) -> dict[str, str]:
    """ok if any seed is; the reasons of the others, with their seeds where the seeds differ; the notes on it."""
    statuses = {record["status"] for record in records}
    status = next(name for name in store.STATUSES if name in statuses)
    lost = [record for record in records if record["status"] != "ok"]
    reasons = []
    for (name, reason), part in _grouped(lost, ["status", "reason"]):
        text = f"{name}: {reason or 'no reason given'}"
        if len(part) < len(records):
            text += f" ({_seeds(part)})"
        reasons.append(text)
    notes = {record["reason"] for record in _ok(records)} - {""}
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
    contest = (frame["track"] == track) & ~frame["track"].isin(UNRANKED)
    part = frame[contest & (frame["status"] != "not applicable")]
    by_table = part.groupby(TABLE)
    lost = part["rank"].isna()
    present = by_table["rank"].transform("count")
    methods = by_table["label"].transform("size")
    last = (present + 1 + methods) / 2  # mean of the last places
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
    columns = [
        "label",
        "control",
        "average_rank",
        "sound_rank",
        "tables",
        "best",
        "tied",
        "failed",
    ]
    if not len(part):
        return pd.DataFrame(columns=columns)
    part = part.assign(
        best=part["mark"] == "best", tied=part["mark"] == "tied", failed=part["lost"]
    )
    first_control = part["control"] & part["best"]
    beaten = first_control.groupby([part[key] for key in TABLE]).transform("any")
    methods = part.groupby(["label", "control"])
    out = methods[["best", "tied", "failed"]].sum().astype(int)
    out = out.assign(
        tables=methods.size(),
        sound_rank=_mean_rank(part[~beaten]),  # NaN where nothing is sound
        average_rank=_mean_rank(part),
    )
    out = out.reset_index().sort_values(
        ["average_rank", "label"], kind="stable", ignore_index=True
    )
    return out[columns]


def _mean_rank(lines: pd.DataFrame) -> pd.Series:
    """By method (label, control): ranks averaged over a metric's settings, then over networks and metrics."""
    by_metric = lines.groupby(["label", "control", "dataset", "target", "metric"])[
        "rank"
    ].mean()
    return by_metric.groupby(level=["label", "control"]).mean()


def findings(frame: pd.DataFrame) -> pd.DataFrame:
    """Tables in which a control is best, or not significantly worse than the best: there the metric does not tell an
    explanation from none. One line per metric and setting of it.

    Returns:
        track, metric, metric_setting, first and tied (lists of "dataset/target (control)"), networks (count), text.
    """
    out = []
    contests = frame[~frame["track"].isin(UNRANKED)]
    contests = contests[contests["status"] == "ok"]
    for key, group in contests.groupby(
        ["track", "metric", "metric_setting"], sort=False
    ):
        found = _marked_controls(group)
        texts = []
        for mark, names in found.items():
            if names:
                texts.append(f"{_SAID[mark]} {', '.join(names)}")
        if texts:
            networks = len(group.drop_duplicates(["dataset", "target"]))
            heading = f"{title(key[1], key[2])} ({plural(networks, 'network')})"
            text = f"{heading}: {'; '.join(texts)}"
            out.append((*key, found["best"], found["tied"], networks, text))
    columns = ["track", "metric", "metric_setting", "first", "tied", "networks", "text"]
    return pd.DataFrame(out, columns=columns)


def _marked_controls(group: pd.DataFrame) -> dict[str, list[str]]:
    """By mark, "dataset/target (control)" for the networks on which a control has it; each network once."""
    found: dict[str, list[str]] = {"best": [], "tied": []}
    for (dataset, target), controls in group[group["control"]].groupby(
        ["dataset", "target"]
    ):
        for mark in found:
            labels = sorted(controls.loc[controls["mark"] == mark, "label"])
            if labels:
                found[mark].append(f"{dataset}/{target} ({', '.join(labels)})")
                break  # where one is best, another that is tied adds nothing
    return found


def findings_line(frame: pd.DataFrame, track: str) -> str:
    """All findings of a track in one sentence that names the metrics; empty if there are none."""
    found = findings(frame)
    found = found[found["track"] == track]
    first = found["first"].str.len() > 0
    texts = []
    if first.any():
        metrics = _titles(found.loc[first, "metric"])
        texts.append(f"a control ranks first on some network in {metrics}")
    if not first.all():
        subject = "" if first.any() else "a control "
        metrics = _titles(found.loc[~first, "metric"])
        texts.append(f"{subject}is not significantly worse than the best in {metrics}")
    return "; ".join(texts)


def _titles(metrics: pd.Series) -> str:
    return ", ".join(dict.fromkeys(title(metric) for metric in metrics))


_SAID = {
    "best": "a control ranks first on",
    "tied": "a control is not significantly worse than the best on",
}


def doubtful(table: pd.DataFrame) -> bool:
    """Whether a control is best, or not significantly worse than the best, in a table."""
    marked = table["mark"] != ""
    return bool((table["control"] & marked).any())


def shown(frame: pd.DataFrame, track: str, dataset: str, target: str) -> pd.DataFrame:
    """The lines of one board, without the tables that apply to none of its methods and without the methods that take no
    part in it (``losses`` names them)."""
    part = on_board(frame, track, dataset, target)
    applies = part["status"] != "not applicable"
    to_some = applies.groupby([part["metric"], part["metric_setting"]]).transform("any")
    takes_part = applies.groupby(part["label"]).transform("any")
    return part[to_some & takes_part]


def caption(board: pd.DataFrame) -> str:
    """What the lines of one board rest on: ``3 seeds, up to 100 images``. One seed is said to be one network."""
    measured = board[board["status"] == "ok"]
    seeds, images = measured["n_seeds"].max(), measured["n_images"].max()
    if not len(measured):
        return "no value"
    text = f"{plural(seeds, 'seed')}, up to {plural(images, 'image')}"
    if seeds > 1:
        return text
    return f"{text}; with one seed, intervals are over images alone"


def losses(frame: pd.DataFrame) -> pd.DataFrame:
    """What is missing and why, one line for each reason: track, dataset, target, reason, methods and metrics (texts).

    "all methods" and "all metrics" stand for all of the board; methods of track ``unknown`` are always named. A
    method that offers nothing that a track judges (a heat map has no labels) is not missing there.
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
        lost = lost.assign(title=[title(metric, setting) for metric, setting in pairs])
        labels = frozenset(group["label"]) if key[0] != "unknown" else frozenset()
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


def _methods(labels: pd.Series, everyone: frozenset[str]) -> str:
    """The labels, or ``all methods`` if they are the board's."""
    if set(labels) == everyone and len(everyone) > 1:
        return "all methods"
    return ", ".join(sorted(labels))


# --------------------------------------------------------------------------------------------- words and numbers


def title(metric: str, metric_setting: str = "") -> str:
    """``average_drop``, ``keep=0.2`` -> ``average drop, keep=0.2``."""
    words = metric.split("_")
    for i, word in enumerate(words):
        if word in _ACRONYMS:
            words[i] = word.upper()
    pairs = filter(None, metric_setting.split(";"))
    return ", ".join([" ".join(words), *pairs])


_ACRONYMS = ("auc", "iou", "roc")


def plural(count: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{count} {noun}s" if count > 1 else f"{count} {noun}"


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
        return frame[COLUMNS].assign(control=frame["control"] == "True")
    except FileNotFoundError:
        raise store.StoreError(f"{path} is missing; run `make leaderboard`") from None
    except (ValueError, KeyError, pd.errors.ParserError) as error:
        raise store.StoreError(
            f"{path} is damaged ({type(error).__name__}: {error}); run `make leaderboard`"
        ) from None
