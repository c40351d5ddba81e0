"""What changed between two sets of rows, cell by cell: better, worse, lost, or not to be compared.

Idea: rows of all seeds of one cell (profile, track, paper, data set, network, method, metric, and their settings) are
compared as pairs of seeds; ``noise`` says which differences are more than noise. What is gone, failed or has another
meaning is named as such and never compared.

Where the networks are the same, ``networks`` says more: what moved was moved by the change.

Use:
    found = compare(old_rows, new_rows)
    fails(found, ("regression", "lost", "unverified"))

``reproduced`` (make check-results) asks another question of the same frame: are these the rows of that commit? On the
same kind of machine every value must be the same to its last digit (``exact=True``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.gate import networks, noise
from benchmark.utils.near_names import near

KINDS = {  # kind -> what it means, in the order in which they are shown
    "regression": "worse, by more than noise",
    "lost": "had a value before: now the row is missing, failed, not applicable, or not a number",
    "unverified": "changed, and it is not known how much of it is noise",
    "re-baselined": "the metric's version changed: old and new are not compared, which is not a pass",
    "improvement": "better, by more than noise",
    "new": "was not there before",
    "unchanged": "equal, or within its tolerance",
}
Row = Mapping[str, Any]
Rows = Mapping[int, Row]  # of a cell, by seed

FAIL_ON = ("regression", "lost", "unverified")
CELL = list(store.ROW_KEYS[:-1])  # the key of a cell: a row's, without the seed
COLUMNS = [
    "kind",
    *CELL,
    "seeds",
    "better",
    "unit",
    "old",
    "new",
    "moved",
    "errors",
    "tolerance",
    "p",
    "borrowed",
    "why",
]


def compare(
    old_rows: pd.DataFrame,
    new_rows: pd.DataFrame,
    elsewhere: pd.DataFrame | None = None,
    same: Collection[networks.Network] = (),
    match: str = "",
) -> pd.DataFrame:
    """One line for each cell, and one for each seed that a cell lost; sorted by kind, then by how far it moved.

    Args:
        old_rows, new_rows: as ``store.tidy_rows``.
        elsewhere: rows of other profiles, which give a metric's usual spread where these rows have only one seed.
        same: networks that are known to be the same in both, besides those that the rows show to be.
        match: "method" compares cells that differ in one setting of their method, which are lost and new otherwise.

    Returns:
        COLUMNS. seeds: how many both runs have (of a lost seed: 1). old, new: means over those, in ``unit``. moved: any
        value differs. errors: by how many standard errors the new run is better (negative: worse). tolerance: up to
        which difference of the means the cell is unchanged, in ``unit``. p: adjusted. NaN where nothing was tested.
    """
    if old_rows.equals(new_rows):
        return _unchanged(new_rows)
    old, new = _by_cell(old_rows), _by_cell(new_rows)
    old, renamed = _matched(old, new) if match else (old, {})
    unknown = {}  # rows of track ``unknown``: they say why all cells of an explanation are gone
    for key, rows in new.items():
        if key[_TRACK] == "unknown":
            unknown[_explanation(key)] = rows
    lines = []
    for key in old.keys() | new.keys():
        names = dict(zip(CELL, key, strict=True))
        now = {**unknown.get(_explanation(key), {}), **new.get(key, {})}
        for line in _cell(old.get(key, {}), now, names):
            why = line["why"]
            if key in renamed:
                why = f"{renamed[key]}; {why}" if why else renamed[key]
            lines.append({**line, "why": why})
    found = pd.DataFrame(lines, columns=[*COLUMNS, *_FACTS])
    found = found.sort_values([*CELL, "why"], kind="stable")
    others = None if elsewhere is None else _variances(elsewhere)
    _judge(found, others)
    networks.judge(found, same, others)
    order = {kind: i for i, kind in enumerate(KINDS)}
    found["order"] = found["kind"].map(order)
    found["size"] = -found["errors"].astype(float).abs()
    found = found.sort_values(
        ["order", "size", *CELL], kind="stable", ignore_index=True
    )
    return found[COLUMNS].astype(_TYPES)


def _unchanged(rows: pd.DataFrame) -> pd.DataFrame:
    """What ``compare`` says of rows that are the same in both runs; no statistics are needed for it."""
    ok = rows["status"] == "ok"
    known = rows[ok & np.isfinite(rows["value"])]
    cells = known.groupby(CELL)
    found = cells[["better", "unit"]].first()
    found["seeds"] = cells.size()
    means = []
    for _, values in cells["value"]:
        means.append(float(np.mean(values.to_numpy())))
    found["old"] = means
    found["new"] = means
    found[["kind", "why"]] = "unchanged", ""
    found[["moved", "borrowed"]] = False
    found[["errors", "tolerance", "p"]] = np.nan
    return found.reset_index()[COLUMNS].astype(_TYPES)


def _judge(found: pd.DataFrame, variances: pd.DataFrame | None) -> None:
    """Fill in the verdicts of the lines that have no kind yet."""
    compared = found[found["kind"] == ""]
    verdicts = noise.judge(compared, variances)
    verdicts["tolerance"] *= compared["scale"]
    for column in verdicts:
        found[column] = found[column].astype(object)
        found.loc[verdicts.index, column] = verdicts[column]
    unexplained = found["kind"].eq("unverified") & found["why"].eq("")
    found.loc[unexplained, "why"] = (
        "the spread between seeds of this metric is not known"
    )


_FACTS = [
    "direction",
    "scale",
    "gain",
    "variance",
    "dof",
    "pair_variance",
]  # what ``noise.judge`` asks for
_TYPES = {
    "old": float,
    "new": float,
    "errors": float,
    "tolerance": float,
    "p": float,
    "moved": bool,
    "borrowed": bool,
}
_TRACK = CELL.index("track")
_EXPLANATION = [
    CELL.index(name) for name in ("profile", "dataset", "target", "method", "setting")
]


def _explanation(cell: Sequence[str]) -> tuple[str, ...]:
    """Whose cell it is: one method on one network, in all tracks."""
    return tuple(cell[i] for i in _EXPLANATION)


def _by_cell(rows: pd.DataFrame) -> dict[tuple, Rows]:
    """By the key of a cell, its rows by seed."""
    cells: dict[tuple, dict[int, Row]] = {}
    for row in store.tidy_rows(rows).to_dict("records"):
        key = tuple(row[name] for name in CELL)
        if key not in cells:
            cells[key] = {}
        cells[key][row["seed"]] = row
    return cells


def _cell(old: Rows, new: Rows, key: Mapping[str, str]) -> list[Row]:
    """The lines of one cell: old and new are its rows by seed. The kind of what is to be judged stays empty."""
    had, have = _known(old), _known(new)
    if not had and not have:
        return []  # failed or not applicable, as before
    base = _blank(key, next(iter((had or have).values())))
    if not had:
        return [{**base, "kind": "new", "seeds": len(have), "new": _mean(have)}]
    if not have:
        why = _reason(new.values())
        return [
            {**base, "kind": "lost", "seeds": len(had), "old": _mean(had), "why": why}
        ]
    lines = []
    shared = sorted(had.keys() & have.keys())
    if shared:
        before = {seed: had[seed] for seed in shared}
        after = {seed: have[seed] for seed in shared}
        base |= {"seeds": len(shared), "old": _mean(before), "new": _mean(after)}
        pairs = list(zip(before.values(), after.values(), strict=True))
        base["direction"] = _direction(pairs)
        lines.append(base | _compared(pairs))
    for seed in sorted(had.keys() - have.keys()):
        why = _reason([new[seed]] if seed in new else [])
        lost = {"kind": "lost", "seeds": 1, "old": had[seed]["value"], "new": np.nan}
        lines.append({**base, **lost, "why": f"seed {seed}: {why}"})
    return lines


def _blank(key: Mapping[str, str], row: Row) -> dict[str, Any]:
    """The line of a cell of which nothing is said yet."""
    return {
        **dict.fromkeys(COLUMNS, np.nan),
        **dict.fromkeys(_FACTS, np.nan),
        **key,
        "kind": "",
        "better": row["better"],
        "unit": row["unit"],
        "moved": True,
        "borrowed": False,
        "why": "",
    }


def _compared(pairs: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    """What is said of pairs of rows: a reason not to compare them, or the facts by which they are judged."""
    for a, b in pairs:
        old, new = a["metric_version"], b["metric_version"]
        if old != new:
            return {"kind": "re-baselined", "why": f"version {old} -> {new}"}
    for a, b in pairs:
        meaning = _meaning(a, b)
        if meaning:
            why = f"{meaning} with the same version of the metric"
            return {"kind": "unverified", "why": why}
    return _facts(pairs)


def _direction(pairs: Sequence[tuple[Row, Row]]) -> int:
    """1: better on every seed, -1: worse on every seed, else 0; by the digits that are written."""
    signs = set()
    for a, b in pairs:
        old = float(store.format_value(a["value"]))
        new = float(store.format_value(b["value"]))
        sign = int(np.sign(new - old))
        signs.add(-sign if b["better"] == "lower" else sign)
    return signs.pop() if len(signs) == 1 else 0


_SETTING = CELL.index("setting")


def _matched(
    old: Mapping[tuple, Rows], new: Mapping[tuple, Rows]
) -> tuple[dict[tuple, Rows], dict[tuple, str]]:
    """Old cells, those that only one setting tells from a new one under the key of that; and by this key the setting.

    Where several could be meant, none is matched.
    """
    gone = _by_others(old.keys() - new.keys())
    come = _by_others(new.keys() - old.keys())
    cells = dict(old)
    changes: dict[tuple, str] = {}
    for others, before in gone.items():
        after = come.get(others, [])
        if len(before) != 1 or len(after) != 1:
            continue
        change = _change(before[0][_SETTING], after[0][_SETTING])
        if change:
            cells[after[0]] = cells.pop(before[0])
            changes[after[0]] = change
    return cells, changes


def _by_others(keys: Iterable[tuple]) -> dict[tuple, list[tuple]]:
    """Keys of cells by all but the method's setting."""
    found: dict[tuple, list[tuple]] = {}
    for key in keys:
        others = (*key[:_SETTING], *key[_SETTING + 1 :])
        found.setdefault(others, []).append(key)
    return found


def _change(before: str, after: str) -> str:
    """``setting layer: conv2 -> conv3``; empty where the texts differ in several settings."""
    old = store.setting_pairs(before)
    new = store.setting_pairs(after)
    changed = []
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            changed.append(name)
    if len(changed) != 1:
        return ""
    (name,) = changed
    return f"setting {name}: {old.get(name, 'default')} -> {new.get(name, 'default')}"


def _known(rows: Rows) -> Rows:
    """The rows, by seed, that have a value."""
    return {seed: row for seed, row in rows.items() if _has_value(row)}


def _has_value(row: Row) -> bool:
    return row["status"] == "ok" and bool(np.isfinite(row["value"]))


def _mean(rows: Rows) -> float:
    return float(np.mean([row["value"] for row in rows.values()]))


def _reason(rows: Iterable[Row]) -> str:
    """Why values are gone: what the new rows say, if there are any."""
    reasons = set()
    for row in rows:
        ok = row["status"] == "ok"
        reasons.add("not a number" if ok else f"{row['status']}: {row['reason']}")
    return "; ".join(sorted(reasons)) or "no row"


def _meaning(a: Row, b: Row) -> str:
    """In what two rows of one seed mean different things; empty if in nothing."""
    for column, word in (("unit", "unit"), ("better", "better"), ("n", "images")):
        if a[column] != b[column]:
            return f"{word}: {a[column]} -> {b[column]}"
    return ""


def _facts(pairs: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    """What ``noise.judge`` asks for, of S pairs of rows."""
    first, _ = pairs[0]
    old = np.array([row["value"] for row, _ in pairs], np.float64)  # (S,)
    new = np.array([row["value"] for _, row in pairs], np.float64)  # (S,)
    scale = 1.0
    if first["unit"] not in noise.BOUNDED:
        scale = float(abs(old).mean() or abs(new).mean() or 1.0)
    sign = -1 if first["better"] == "lower" else 1
    gains = (new - old) / scale * sign
    size = abs(old).max()
    written = [list(map(store.format_value, values)) for values in (old, new)]
    return {
        "moved": written[0] != written[1],
        "scale": scale,
        "gain": gains.mean(),
        "dof": 2 * (len(pairs) - 1),
        "variance": (_variance(old) + _variance(new)) / 2 / scale**2,
        "pair_variance": _variance(new - old, size) / scale**2,
    }


def _variance(x: np.ndarray, size: float | None = None) -> float:
    """Over S seeds; 0 for one seed, and where they differ by no more than the digits that are written."""
    if size is None:
        size = abs(x).max()
    return float(x.var(ddof=1)) if np.ptp(x) > 1e-6 * size else 0.0


def _variances(rows: pd.DataFrame) -> pd.DataFrame:
    """The spreads of a set of rows alone: track, metric, unit, variance, dof of each cell with several seeds."""
    out = []
    for seeds in _by_cell(rows).values():
        row = next(iter(seeds.values()))
        x = np.array([row["value"] for row in _known(seeds).values()])
        if len(x) < 2:
            continue
        scale = 1.0
        if row["unit"] not in noise.BOUNDED:
            scale = abs(x).mean() or 1.0
        variance = _variance(x) / scale**2
        metric = [row[name] for name in noise.METRIC]
        out.append([*metric, variance, len(x) - 1])
    return pd.DataFrame(out, columns=[*noise.METRIC, "variance", "dof"])


# --------------------------------------------------------------------------------------------- verdicts


def fails(found: pd.DataFrame, on: Iterable[str] = FAIL_ON) -> bool:
    """Whether there is a line of a kind in ``on``."""
    return bool(found["kind"].isin(set(on)).any())


def kinds(text: str) -> tuple[str, ...]:
    """``regression,lost`` as kinds; "" stands for none.

    Raises:
        UnknownName: a name that is not a kind, with a near one.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in KINDS:
            raise near(name, KINDS, "kind of difference")
    return tuple(names)


def reproduced(found: pd.DataFrame, *, exact: bool) -> pd.DataFrame:
    """The lines that contradict "these rows are those of that commit"; empty if none does.

    ``exact``: any value that moved; otherwise what the gate calls a change, better or worse. New cells never count.
    """
    changed = found["moved"] if exact else found["kind"] != "unchanged"
    return found[changed & (found["kind"] != "new")]


def same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two provenances name the same kind of machine (their ``machine``: cpu, libraries, platform)."""
    machine = a.get("machine")
    return bool(machine) and machine == b.get("machine")
