"""TODO."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from benchmark.store import rows_v1
from benchmark.store.files import read_npz, reading, write_npz, write_text

ROWS_VERSION = 2  # of the columns below; docs/rows.md says what they mean

ROW_KEYS = (
    "profile",
    "track",
    "paper",
    "dataset",
    "target",
    "method",
    "setting",
    "metric",
    "metric_setting",
    "seed",
)

ROW_COLUMNS = (*ROW_KEYS, "value", "n", "better", "unit", "metric_version", "status", "reason")

TRACKS = (
    "target",
    "heatmap",
    "concept",
    "surrogate",
    "reconstruction",
    "replication",
    "unknown",
)

STATUSES = ("ok", "failed", "not applicable")


def setting_text(setting: Mapping[str, Any]) -> str:
    """``key=value;key=value``, keys in alphabetical order, floats in the shortest form that gives the same float."""
    return ";".join(f"{key}={_shortest(value)}" for key, value in sorted(setting.items()))


def _shortest(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    text = f"{value:g}"
    return text if float(text) == value else repr(float(value))


def setting_pairs(text: str) -> dict[str, str]:
    """The pairs of a ``setting_text``: ``keep=0.2;layer=3`` -> {keep: 0.2, layer: 3}; pieces without ``=`` are left out."""
    return dict(piece.split("=", 1) for piece in text.split(";") if "=" in piece)


def format_value(value: float) -> str:
    """Seven significant digits: what float32 arithmetic supports, and stable in a diff."""
    return "" if value is None or not np.isfinite(value) else f"{float(value):.7g}"


def tidy_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns in their order, rows sorted by their key.

    Raises:
        ValueError: a missing column, an unknown track or status, a row that is ok and has no value, or the same key twice.
    """
    if missing := [column for column in ROW_COLUMNS if column not in rows]:
        raise ValueError(f"rows lack the columns {', '.join(missing)}")
    for column, known in (("track", TRACKS), ("status", STATUSES)):
        if unknown := set(rows[column]) - set(known):
            raise ValueError(f"unknown {column} {', '.join(map(repr, sorted(unknown)))}")
    empty = (rows["status"] == "ok") & ~np.isfinite(rows["value"].astype(float))
    if empty.any():
        raise ValueError(f"status ok without a value in the row {_key(rows[empty])}")
    rows = rows[list(ROW_COLUMNS)].sort_values(list(ROW_KEYS), kind="stable").reset_index(drop=True)
    twice = rows.duplicated(list(ROW_KEYS))
    if twice.any():
        raise ValueError(f"two rows for {_key(rows[twice])}")
    return rows


def _key(rows: pd.DataFrame) -> dict[str, Any]:
    """The key of the first of some rows."""
    return dict(rows.iloc[0][list(ROW_KEYS)])


def rows_text(rows: pd.DataFrame) -> str:
    rows = tidy_rows(rows)
    rows["value"] = [format_value(v) for v in rows["value"]]
    buffer = io.StringIO()
    rows.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    write_text(path, rows_text(rows))


_ROW_TYPES = {key: str for key in ROW_COLUMNS} | {
    "value": float,
    "n": int,
    "seed": int,
    "metric_version": int,
}


def read_rows(path: Path) -> pd.DataFrame:
    with reading(path, "run `dvc repro`, or restore it from git"):
        return parse_rows(path)


def parse_rows(source: Path | IO[str]) -> pd.DataFrame:
    """Rows from CSV text, of this version or an earlier one: a path or an open file."""
    frame = pd.read_csv(source, dtype=_ROW_TYPES, keep_default_na=False, na_values={"value": [""]})
    return tidy_rows(rows_v1.current(frame))


def write_scores(
    path: Path,
    rows: pd.DataFrame,
    values: Sequence[np.ndarray],
    *,
    ids: Sequence[int],
    keys: Sequence[str],
) -> None:
    """The rows of one cell with the values of single images that they are means of.

    Args:
        rows: R rows.
        values: R arrays, (n,) in the order of ``ids`` with NaN where a metric does not apply, or empty.
        ids: (n,) the images.
        keys: R hashes, of all that each row depends on.
    """
    table = {
        f"row_{c}": rows[c].to_numpy(dtype=_ROW_TYPES[c] if _ROW_TYPES[c] is not str else np.str_)
        for c in ROW_COLUMNS
    }
    flat = (
        np.concatenate([np.asarray(v, np.float64) for v in values]) if len(values) else np.empty(0)
    )
    ends = np.cumsum([len(v) for v in values], dtype=np.int64)
    write_npz(
        path,
        table
        | {
            "values": flat,
            "ends": ends,
            "ids": np.asarray(ids, np.int64),
            "keys": np.array(keys, np.str_),
        },
    )


Scores = tuple[pd.DataFrame, list[np.ndarray], np.ndarray]  # rows, values and ids


def read_scores(path: Path) -> Scores:
    """(rows, values, ids) as ``write_scores`` took them."""
    with reading(path):
        return _scores(read_npz(path))


def read_keyed_scores(path: Path) -> tuple[pd.DataFrame, list[np.ndarray], np.ndarray, list[str]]:
    """(rows, values, ids, keys) as ``write_scores`` took them."""
    with reading(path):
        arrays = read_npz(path)
        return (*_scores(arrays), arrays["keys"].tolist())


def _scores(arrays: Mapping[str, np.ndarray]) -> Scores:
    rows = rows_v1.current(_columns(arrays, "row_"))[list(ROW_COLUMNS)]
    values = np.split(arrays["values"], arrays["ends"][:-1]) if len(rows) else []
    return rows, values, arrays["ids"]


def write_values(path: Path, instances: pd.DataFrame) -> None:
    """The values of single images that a profile's rows are means of, as float32; columns ROW_KEYS, image, value."""
    known = instances[np.isfinite(instances["value"].astype(float))]
    groups = list(known.groupby(list(ROW_KEYS)))
    keys = {
        f"key_{c}": np.array(
            [key[i] for key, _ in groups],
            dtype=_ROW_TYPES[c] if _ROW_TYPES[c] is not str else np.str_,
        )
        for i, c in enumerate(ROW_KEYS)
    }
    flat = {
        column: np.concatenate(
            [np.empty(0), *(group[column].to_numpy(float) for _, group in groups)]
        )
        for column in ("image", "value")
    }
    ends = np.cumsum([len(group) for _, group in groups], dtype=np.int64)
    write_npz(
        path,
        keys
        | {
            "image": flat["image"].astype(np.int32),
            "value": flat["value"].astype(np.float32),
            "ends": ends,
        },
    )


def read_values(path: Path) -> pd.DataFrame:
    """As ``write_values`` took them; of this version or an earlier one."""
    with reading(path):
        arrays = read_npz(path)
        groups = rows_v1.current(_columns(arrays, "key_"))[list(ROW_KEYS)]
        each = np.repeat(np.arange(len(groups)), np.diff(arrays["ends"], prepend=0))
        found = groups.iloc[each].reset_index(drop=True)
        return found.assign(
            image=arrays["image"].astype(np.int64), value=arrays["value"].astype(float)
        )


def _columns(arrays: Mapping[str, np.ndarray], prefix: str) -> pd.DataFrame:
    """The arrays whose names begin with ``prefix``, text as Python's."""
    found = {}
    for name, array in arrays.items():
        if name.startswith(prefix):
            text = array.dtype.kind == "U"
            found[name.removeprefix(prefix)] = array.astype(object) if text else array
    return pd.DataFrame(found)
