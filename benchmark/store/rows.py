"""Rows, one per number: as CSV for a profile, as npz for the scores of a cell; and the values per image behind them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
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

ROW_COLUMNS = (
    *ROW_KEYS,
    "value",
    "n",
    "better",
    "unit",
    "metric_version",
    "status",
    "reason",
)

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
    pairs = [f"{key}={_shortest(value)}" for key, value in sorted(setting.items())]
    return ";".join(pairs)


def _shortest(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    text = f"{value:g}"
    return text if float(text) == value else repr(float(value))


def setting_pairs(text: str) -> dict[str, str]:
    """``keep=0.2;layer=3`` -> {keep: 0.2, layer: 3}, from ``setting_text``; pieces without ``=`` are left out."""
    pieces = [piece for piece in text.split(";") if "=" in piece]
    return dict(piece.split("=", 1) for piece in pieces)


def format_value(value: float) -> str:
    """Seven significant digits: what float32 arithmetic supports, and stable in a diff."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{float(value):.7g}"


def tidy_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns in their order, the rows sorted by their key.

    Raises:
        ValueError: a missing column, an unknown track or status, or a key twice.
    """
    if missing := [column for column in ROW_COLUMNS if column not in rows]:
        raise ValueError(f"rows lack the columns {', '.join(missing)}")
    for column, known in (("track", TRACKS), ("status", STATUSES)):
        if unknown := set(rows[column]) - set(known):
            raise ValueError(
                f"unknown {column} {', '.join(map(repr, sorted(unknown)))}"
            )
    rows = (
        rows[list(ROW_COLUMNS)]
        .sort_values(list(ROW_KEYS), kind="stable")
        .reset_index(drop=True)
    )
    twice = rows.duplicated(list(ROW_KEYS))
    if twice.any():
        raise ValueError(f"two rows for {_key(rows[twice])}")
    return rows


def _key(rows: pd.DataFrame) -> dict[str, Any]:
    """The key of the first of some rows."""
    return dict(rows.iloc[0][list(ROW_KEYS)])


def rows_text(rows: pd.DataFrame) -> str:
    """Rows as CSV: the same rows are the same text."""
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
    """Rows of this version or an earlier one, from the path of a CSV file or an open one."""
    frame = pd.read_csv(
        source, dtype=_ROW_TYPES, keep_default_na=False, na_values={"value": [""]}
    )
    return tidy_rows(rows_v1.current(frame))


def write_scores(
    path: Path,
    rows: pd.DataFrame,
    values: Sequence[np.ndarray],
    *,
    ids: Sequence[int],
    keys: Sequence[str],
) -> None:
    """The rows of one cell with the values per image that they are means of.

    Args:
        rows: R rows.
        values: R arrays, (n,) in the order of ``ids`` with NaN where a metric does not apply, or empty.
        ids: (n,) the images.
        keys: R hashes, of all that each row depends on.
    """
    table = {
        f"row_{column}": rows[column].to_numpy(dtype=_dtype(column))
        for column in ROW_COLUMNS
    }
    arrays = {
        "values": np.concatenate(
            [np.empty(0), *(np.asarray(v, np.float64) for v in values)]
        ),
        "ends": np.cumsum([len(v) for v in values], dtype=np.int64),
        "ids": np.asarray(ids, np.int64),
        "keys": np.array(keys, np.str_),
    }
    write_npz(path, table | arrays)


def _dtype(column: str) -> type:
    """Of a column's array."""
    kind = _ROW_TYPES[column]
    return np.str_ if kind is str else kind


Scores = tuple[pd.DataFrame, list[np.ndarray], np.ndarray]  # rows, values and ids


def read_scores(path: Path) -> Scores:
    """(rows, values, ids) as ``write_scores`` took them."""
    with reading(path):
        return _scores(read_npz(path))


def read_all_scores(
    paths: Iterable[Path],
) -> tuple[pd.DataFrame, list[np.ndarray], list[np.ndarray]]:
    """The rows of files of scores, in their order; for each row its values per image, and the ids of the images."""
    tables, values, images = [], [], []
    for path in paths:
        with reading(path):
            arrays = read_npz(path)
            table = _columns(arrays, "row_")
            if "metric_setting" not in table:
                table = rows_v1.current(pd.DataFrame(table))
            tables.append({name: table[name] for name in ROW_COLUMNS})
            of_rows = _split(arrays)
        values += of_rows
        ids = arrays["ids"]
        images += [ids if len(of_row) else ids[:0] for of_row in of_rows]
    columns = {}
    for name in ROW_COLUMNS if tables else ():
        columns[name] = np.concatenate([table[name] for table in tables])
    return pd.DataFrame(columns, columns=list(ROW_COLUMNS)), values, images


def read_keyed_scores(
    path: Path,
) -> tuple[pd.DataFrame, list[np.ndarray], np.ndarray, list[str]]:
    """(rows, values, ids, keys) as ``write_scores`` took them."""
    with reading(path):
        arrays = read_npz(path)
        return (*_scores(arrays), arrays["keys"].tolist())


def read_score_keys(path: Path) -> list[tuple[str, str, str, str]]:
    """(metric, its setting, status, key) of each row of scores; no other array is made."""
    columns = ("row_metric", "row_metric_setting", "row_status", "keys")
    with reading(path):
        arrays = read_npz(path, columns)
        found = [arrays[column].tolist() for column in columns]
        return list(zip(*found, strict=True))


def _scores(arrays: Mapping[str, np.ndarray]) -> Scores:
    rows = rows_v1.current(pd.DataFrame(_columns(arrays, "row_")))
    return rows[list(ROW_COLUMNS)], _split(arrays), arrays["ids"]


def _split(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The values per image of each row."""
    ends = arrays["ends"]
    return np.split(arrays["values"], ends[:-1]) if len(ends) else []


def write_values(path: Path, instances: pd.DataFrame) -> None:
    """The values per image that a profile's rows are means of, as float32; columns ROW_KEYS, image, value."""
    is_known = np.isfinite(instances["value"].astype(float))
    known = instances[is_known]
    row = known.groupby(list(ROW_KEYS)).ngroup().to_numpy()  # of each value
    order, ends = row.argsort(kind="stable"), np.bincount(row).cumsum()
    known = known.iloc[order]
    last = known.iloc[ends - 1]
    arrays = {"ends": ends.astype(np.int64)}
    for column in ROW_KEYS:
        arrays[f"key_{column}"] = last[column].to_numpy(dtype=_dtype(column))
    for column, dtype in (("image", np.int32), ("value", np.float32)):
        arrays[column] = known[column].to_numpy(float).astype(dtype)
    write_npz(path, arrays)


def read_values(path: Path) -> pd.DataFrame:
    """Values as ``write_values`` took them, of this version or an earlier one."""
    with reading(path):
        arrays = read_npz(path)
        columns = list(ROW_KEYS)
        groups = rows_v1.current(pd.DataFrame(_columns(arrays, "key_")))[columns]
        lengths = np.diff(arrays["ends"], prepend=0)
        group_of_value = np.repeat(np.arange(len(groups)), lengths)
        found = groups.iloc[group_of_value].reset_index(drop=True)
        images, values = arrays["image"].astype(np.int64), arrays["value"].astype(float)
        return found.assign(image=images, value=values)


def _columns(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with ``prefix``; text as Python's."""
    found = {}
    for name, array in arrays.items():
        if name.startswith(prefix):
            is_text = array.dtype.kind == "U"
            found[name.removeprefix(prefix)] = (
                array.astype(object) if is_text else array
            )
    return found
