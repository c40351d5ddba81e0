"""What changed between two sets of rows, cell by cell: better, worse, lost, or not to be compared.

Idea: rows of all seeds of one cell (profile, track, paper, data set, network, method, metric, and their settings) are compared as
pairs of seeds; ``gate`` says which differences are more than noise. What is gone, broken or of another meaning is named
as such and never compared.

Use:
    found = diff(old_rows, new_rows)
    fails(found, ("regression", "lost", "unverified"))

``compare`` (make check-results) asks another question of the same frame: are these the rows of that commit? On the same
kind of machine every value must be the same to its last digit (``reproduced(exact=True)``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.gate import noise
from benchmark.utils.near_names import near

KINDS = {  # kind -> what it means, in the order in which they are shown
    "regression": "worse, by more than noise",
    "lost": "was there and is not: a row is gone, failed, does not apply any more, or is no number",
    "unverified": "changed, and nothing says how much of it is noise",
    "re-baselined": "the metric's version changed: old and new are not compared, which is no pass",
    "improvement": "better, by more than noise",
    "new": "was not there",
    "unchanged": "equal, or within its tolerance",
}
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
    old_rows: pd.DataFrame, new_rows: pd.DataFrame, elsewhere: pd.DataFrame | None = None
) -> pd.DataFrame:
    """One line for each cell, and one for each seed that a cell lost; sorted by kind, then by how far it moved.

    Args:
        old_rows, new_rows: as ``store.tidy_rows``. elsewhere: rows of other profiles, from which a metric's usual spread is
            taken where these rows have one seed only.

    Returns:
        COLUMNS. seeds: how many both runs have (of a lost seed: which). old, new: means over those, in ``unit``. moved:
        any value is another one. errors: how many standard errors the new run is better (negative: worse). tolerance: up to
        which difference of the means the cell is unchanged, in ``unit``; p: adjusted. NaN where nothing was tested.
    """
    lines = []
    old, new = (_by_cell(rows) for rows in (old_rows, new_rows))
    unknown = {_explanation(key): cell for key, cell in new.items() if key[_TRACK] == "unknown"}
    for key in old.keys() | new.keys():
        now = unknown.get(_explanation(key), {}) | new.get(key, {})
        lines += _cell(old.get(key, {}), now, dict(zip(CELL, key, strict=True)))
    found = pd.DataFrame(lines, columns=[*COLUMNS, *_FACTS]).sort_values(
        [*CELL, "why"], kind="stable"
    )
    compared = found[found["kind"] == ""]
    verdicts = noise.judge(compared, _variances(elsewhere) if elsewhere is not None else None)
    verdicts["tolerance"] *= compared["scale"]
    for column in verdicts:
        found[column] = found[column].astype(object)
        found.loc[verdicts.index, column] = verdicts[column]
    found.loc[found["kind"].eq("unverified") & found["why"].eq(""), "why"] = (
        "nothing says how far the seeds of this metric differ"
    )
    found = found.assign(
        order=found["kind"].map({kind: i for i, kind in enumerate(KINDS)}),
        size=-found["errors"].astype(float).abs(),
    )
    found = found.sort_values(["order", "size", *CELL], kind="stable", ignore_index=True)
    types = dict.fromkeys(["old", "new", "errors", "tolerance", "p"], float) | {
        "moved": bool,
        "borrowed": bool,
    }
    return found[COLUMNS].astype(types)


_FACTS = ["scale", "gain", "variance", "dof", "pair_variance"]  # what ``gate.judge`` asks for


_TRACK = CELL.index("track")
_EXPLANATION = [CELL.index(name) for name in ("profile", "dataset", "target", "method", "setting")]


def _explanation(cell: Sequence[str]) -> tuple[str, ...]:
    """Whose cell it is: one method on one network, in all tracks."""
    return tuple(cell[i] for i in _EXPLANATION)


def _by_cell(rows: pd.DataFrame) -> dict[tuple, dict[int, dict[str, Any]]]:
    cells: dict[tuple, dict[int, dict[str, Any]]] = {}
    for row in store.tidy_rows(rows).to_dict("records"):
        cells.setdefault(tuple(row[k] for k in CELL), {})[row["seed"]] = row
    return cells


def _cell(
    old: Mapping[int, Mapping], new: Mapping[int, Mapping], key: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The lines of one cell: old and new are its rows by seed. The kind of what is to be judged stays empty."""
    had, have = ({s: row for s, row in rows.items() if _known(row)} for rows in (old, new))
    if not had and not have:
        return []  # failed or not applicable, as before
    facts = next(iter((had or have).values()))
    base = dict.fromkeys(COLUMNS, np.nan) | dict.fromkeys(_FACTS, np.nan) | dict(key)
    base |= {
        "kind": "",
        "better": facts["better"],
        "unit": facts["unit"],
        "moved": True,
        "borrowed": False,
        "why": "",
    }
    if not had:
        return [base | {"kind": "new", "seeds": len(have), "new": _mean(have)}]
    if not have:
        return [
            base
            | {"kind": "lost", "seeds": len(had), "old": _mean(had), "why": _reason(new.values())}
        ]
    shared = sorted(had.keys() & have.keys())
    pairs = [(had[s], have[s]) for s in shared]
    base |= {
        "seeds": len(shared),
        "old": _mean({s: had[s] for s in shared}),
        "new": _mean({s: have[s] for s in shared}),
    }
    if not shared:
        lines = []
    elif versions := next(
        ((a, b) for a, b in pairs if a["metric_version"] != b["metric_version"]), None
    ):
        lines = [
            base
            | {
                "kind": "re-baselined",
                "why": "version {} -> {}".format(*(v["metric_version"] for v in versions)),
            }
        ]
    elif meaning := next((m for a, b in pairs if (m := _meaning(a, b))), ""):
        lines = [
            base | {"kind": "unverified", "why": f"{meaning} with the same version of the metric"}
        ]
    else:
        lines = [base | _facts(pairs)]
    lost = [
        base
        | {
            "kind": "lost",
            "seeds": 1,
            "old": had[s]["value"],
            "new": np.nan,
            "why": f"seed {s}: {_reason([new[s]] if s in new else [])}",
        }
        for s in sorted(had.keys() - have.keys())
    ]
    return lines + lost


def _known(row: Mapping[str, Any]) -> bool:
    return row["status"] == "ok" and bool(np.isfinite(row["value"]))


def _mean(rows: Mapping[int, Mapping]) -> float:
    return float(np.mean([row["value"] for row in rows.values()])) if rows else np.nan


def _reason(rows: Iterable[Mapping]) -> str:
    """Why values are gone: what the new rows say, if there are any."""
    said = {
        "not a number" if row["status"] == "ok" else f"{row['status']}: {row['reason']}"
        for row in rows
    }
    return "; ".join(sorted(said)) or "no row"


def _meaning(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """In what two rows of one seed mean different things; empty if in nothing."""
    for column, words in {"unit": "unit", "better": "better", "n": "images"}.items():
        if a[column] != b[column]:
            return f"{words}: {a[column]} -> {b[column]}"
    return ""


def _facts(pairs: Sequence[tuple[Mapping, Mapping]]) -> dict[str, Any]:
    """What ``gate.judge`` wants to know of S pairs of rows."""
    x, y = np.array([[row["value"] for row in pair] for pair in pairs], np.float64).T  # (S,), (S,)
    scale = (
        1.0
        if pairs[0][0]["unit"] in noise.BOUNDED
        else float(abs(x).mean() or abs(y).mean() or 1.0)
    )
    gains = (y - x) / scale * (-1 if pairs[0][0]["better"] == "lower" else 1)
    return {
        "moved": any(
            store.format_value(a) != store.format_value(b) for a, b in zip(x, y, strict=True)
        ),
        "scale": scale,
        "gain": gains.mean(),
        "dof": 2 * (len(x) - 1),
        "variance": (_variance(x) + _variance(y)) / 2 / scale**2,
        "pair_variance": _variance(y - x, size=abs(x).max()) / scale**2,
    }


def _variance(x: np.ndarray, size: float | None = None) -> float:
    """Over S seeds; 0 for one, and where they differ by no more than the digits that are written."""
    size = abs(x).max() if size is None else size
    return float(x.var(ddof=1)) if np.ptp(x) > 1e-6 * size else 0.0


def _variances(rows: pd.DataFrame) -> pd.DataFrame:
    """The spreads of a set of rows alone: track, metric, unit, variance, dof of each cell with several seeds."""
    out = []
    for seeds in _by_cell(rows).values():
        x = np.array([row["value"] for row in seeds.values() if _known(row)])
        row = next(iter(seeds.values()))
        if len(x) > 1:
            scale = 1.0 if row["unit"] in noise.BOUNDED else abs(x).mean() or 1.0
            out.append(
                (row["track"], row["metric"], row["unit"], _variance(x) / scale**2, len(x) - 1)
            )
    return pd.DataFrame(out, columns=["track", "metric", "unit", "variance", "dof"])


# --------------------------------------------------------------------------------------------- verdicts


def fails(found: pd.DataFrame, on: Iterable[str] = FAIL_ON) -> bool:
    """Whether there is a line of a kind in ``on``."""
    return bool(found["kind"].isin(set(on)).any())


def kinds(text: str) -> tuple[str, ...]:
    """``regression,lost`` as kinds; "" is none.

    Raises:
        UnknownName: no such kind, with a near one.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := next((name for name in names if name not in KINDS), None):
        raise near(unknown, KINDS, "kind of difference")
    return tuple(names)


def reproduced(found: pd.DataFrame, *, exact: bool) -> pd.DataFrame:
    """The lines that stand against "these rows are what that commit says"; empty if none does.

    ``exact``: any value that moved; else what the gate calls a change, better or worse. What is new stands against nothing.
    """
    changed = found["moved"] if exact else found["kind"] != "unchanged"
    return found[changed & (found["kind"] != "new")]


def same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two provenances name the same kind of machine (their ``machine``: cpu, libraries, platform)."""
    return bool(a.get("machine")) and a.get("machine") == b.get("machine")
