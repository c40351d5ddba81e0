"""The only place that knows paths and file formats.

Every file is written whole or not at all: to a temporary name beside it, flushed to disk, then renamed. Nothing is
ever unpickled. A damaged file is one ``StoreError`` that names it and the way out.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import yaml

from benchmark.store import rows_v1

ROOT = Path(os.environ.get("GLASSBENCH_ROOT") or Path(__file__).resolve().parent.parent.parent)  # the project's folder

ROWS_VERSION = 2  # of the columns below; docs/rows.md says what they mean
ROW_KEYS = ("profile", "track", "paper", "dataset", "target", "method", "setting", "metric", "metric_setting", "seed")
ROW_COLUMNS = (*ROW_KEYS, "value", "n", "better", "unit", "metric_version", "status", "reason")
STATUSES = ("ok", "failed", "not applicable")
MAX_ARRAY_BYTES = 1 << 34  # of one npz once it is unpacked


class StoreError(Exception):
    """A file that is missing or damaged; the message names the file and what to do."""


# --------------------------------------------------------------------------------------------- where


@dataclass(frozen=True)
class Paths:
    """Where the files of one profile lie, below ``root`` (the project's folder)."""

    profile: str
    root: Path = field(default_factory=lambda: ROOT)

    @property
    def results(self) -> Path:
        return self.root / "results" / self.profile

    @property
    def artifacts(self) -> Path:
        return self.results / "artifacts"

    @property
    def reported(self) -> Path:
        return self.root / "results" / "reported"

    @property
    def downloads(self) -> Path:
        return self.root / "datasets" / "raw"

    def data(self, dataset: str) -> Path:
        return self.root / "datasets" / "processed" / self.profile / f"{dataset}.npz"

    def targets(self, dataset: str) -> Path:
        return self.artifacts / "targets" / dataset

    def target(self, dataset: str, target: str, seed: int) -> Path:
        """Weights; the card lies beside them as .json."""
        return self.targets(dataset) / f"{target}-{seed}.safetensors"

    def explanations(self, dataset: str) -> Path:
        return self.artifacts / "explanations" / dataset

    def explanation(self, dataset: str, target: str, seed: int, method: str) -> Path:
        return self.explanations(dataset) / f"{target}-{seed}" / f"{method}.npz"

    def scores(self, dataset: str) -> Path:
        return self.artifacts / "scores" / dataset

    def score(self, dataset: str, target: str, seed: int, method: str) -> Path:
        return self.scores(dataset) / f"{target}-{seed}" / f"{method}.npz"

    def replications(self, paper: str) -> Path:
        return self.artifacts / "replications" / paper

    @property
    def rows(self) -> Path:
        return self.results / "rows.csv"

    @property
    def values(self) -> Path:
        """The values of single images that the rows are means of."""
        return self.results / "values.npz"


# --------------------------------------------------------------------------------------------- writing


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under ``path`` only when the block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = _temporary(path)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> tuple[int, str]:
    """A new file beside ``path``, open and locked: one that nobody holds is a killed process's, and ``mend`` removes it."""
    while True:
        fd, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with suppress(OSError):  # no such locks here
            fcntl.flock(fd, fcntl.LOCK_SH)
        if os.path.exists(temporary):  # else it was removed before it was locked
            return fd, temporary
        os.close(fd)


@contextmanager
def exclusive(folder: Path, command: str = "", *, wait: bool = False) -> Iterator[None]:
    """One process at a time works in ``folder``; another waits or is refused. The lock is on the folder itself: no file
    stays behind, and it goes with the process, however that ends. Where a file system has no such locks there is none.

    Raises:
        StoreError: another process is at work there; the line says to run ``command`` after it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise StoreError(f"another process is at work in {folder}; when it has ended, run `{command}`") from None
        except OSError:  # no such locks here
            pass
        yield
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    with atomic(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, sort_keys=True, default=str) + "\n")


def read_json(path: Path) -> Any:
    with reading(path):
        return json.loads(Path(path).read_text())


def write_npz(path: Path, arrays: Mapping[str, Any], *, compress: bool = True) -> None:
    """Arrays without pickle, byte for byte the same for the same content."""
    arrays = {key: np.asarray(value) for key, value in sorted(arrays.items())}
    if bad := [key for key, value in arrays.items() if value.dtype.hasobject]:
        raise ValueError(f"{', '.join(bad)}: only numbers and fixed-width text are stored, never Python objects")
    with atomic(path) as file:
        (np.savez_compressed if compress else np.savez)(file, **arrays)


def read_npz(path: Path, keys: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz, or those of ``keys`` that are there."""
    with (
        reading(path),
        open(path, "rb") as file,  # numpy leaves it open where the content is no archive
        np.load(file, allow_pickle=False) as archive,
    ):
        if (total := sum(member.file_size for member in archive.zip.infolist())) > MAX_ARRAY_BYTES:
            raise ValueError(f"{total} bytes once it is unpacked, more than {MAX_ARRAY_BYTES}")
        return {key: archive[key] for key in archive.files if keys is None or key in keys}


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each array of an npz; the arrays themselves are not read."""
    shapes = {}
    with reading(path), open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        for key in archive.files:
            with archive.zip.open(f"{key}.npy") as member:
                np.lib.format.read_magic(member)
                shapes[key] = np.lib.format.read_array_header_1_0(member)[0]
    return shapes


def write_weights(path: Path, state: Mapping[str, Any]) -> None:
    """A state dict as safetensors."""
    from safetensors.torch import save

    with atomic(path) as file:
        file.write(save({key: value.detach().cpu().contiguous() for key, value in state.items()}))


def read_weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load

    with reading(path):
        return load(Path(path).read_bytes())


@contextmanager
def reading(path: Path, way_out: str = "") -> Iterator[None]:
    """Any failure to read ``path`` is one line with a way out (default: the command that makes it)."""
    try:
        yield
    except (StoreError, MemoryError):
        raise
    except FileNotFoundError:
        way_out = maker(path) or "run `dvc repro` (or the stage that makes it)"
        raise StoreError(f"{path} is missing; {way_out}") from None
    except Exception as error:
        what = " ".join(str(error).split())[:200]
        way_out = way_out or maker(path) or "delete it and run again"
        raise StoreError(f"{path} is damaged ({type(error).__name__}: {what}); {way_out}") from None


_MAKERS = {"targets": "train", "explanations": "explain", "scores": "score", "replications": "replicate"}


def maker(path: Path) -> str:
    """Which command makes a file again, as far as its place says."""
    parts = Path(path).parts
    if "evaluations" in parts:
        return "run the same `glassbench evaluate` again"
    if "artifacts" in parts[:-3] and (at := parts.index("artifacts")) and parts[at + 1] in _MAKERS:
        return f"run `glassbench {_MAKERS[parts[at + 1]]} {parts[at + 2]}`"
    if parts[-4:-2] == ("datasets", "processed"):
        return f"run `glassbench prepare {Path(path).stem}`"
    return "run `dvc repro`" if parts[-3:-2] == ("results",) else ""


def sha256(*paths: Path) -> str:
    """Hash of files and of folders' files (names and contents, caches and hidden files left out), in sorted order."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            inside = file.relative_to(path.parent)
            if "__pycache__" in inside.parts or any(part.startswith(".") for part in inside.parts):
                continue
            digest.update(str(inside).encode() + b"\0")
            with open(file, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


# --------------------------------------------------------------------------------------------- params


def read_yaml(path: Path) -> dict[str, Any]:
    with reading(path, "restore it with `glassbench use offline`"):
        value = yaml.safe_load(Path(path).read_text())
        if not isinstance(value, dict):
            raise ValueError("not a mapping")
        return value


# --------------------------------------------------------------------------------------------- rows


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
        ValueError: a missing column, an unknown status, or the same key twice.
    """
    if missing := [column for column in ROW_COLUMNS if column not in rows]:
        raise ValueError(f"rows lack the columns {', '.join(missing)}")
    if unknown := set(rows["status"]) - set(STATUSES):
        raise ValueError(f"unknown status {', '.join(map(repr, sorted(unknown)))}")
    rows = rows[list(ROW_COLUMNS)].sort_values(list(ROW_KEYS), kind="stable").reset_index(drop=True)
    if (twice := rows.duplicated(list(ROW_KEYS))).any():
        raise ValueError(f"two rows for {dict(rows.loc[twice.idxmax(), list(ROW_KEYS)])}")
    return rows


def rows_text(rows: pd.DataFrame) -> str:
    rows = tidy_rows(rows)
    rows["value"] = [format_value(v) for v in rows["value"]]
    buffer = io.StringIO()
    rows.to_csv(buffer, index=False, lineterminator="\n")
    return buffer.getvalue()


def write_rows(path: Path, rows: pd.DataFrame) -> None:
    write_text(path, rows_text(rows))


_ROW_TYPES = {key: str for key in ROW_COLUMNS} | {"value": float, "n": int, "seed": int, "metric_version": int}  # fmt: skip


def read_rows(path: Path) -> pd.DataFrame:
    with reading(path, "run `dvc repro`, or restore it from git"):
        return parse_rows(path)


def parse_rows(source: Path | IO[str]) -> pd.DataFrame:
    """Rows from CSV text, of this version or an earlier one: a path or an open file."""
    frame = pd.read_csv(source, dtype=_ROW_TYPES, keep_default_na=False, na_values={"value": [""]})
    return tidy_rows(rows_v1.current(frame))


def write_scores(
    path: Path, rows: pd.DataFrame, values: Sequence[np.ndarray], *, ids: Sequence[int], keys: Sequence[str]
) -> None:
    """The rows of one cell with the values of single images that they are means of.

    Args:
        rows: R rows.
        values: R arrays, (n,) in the order of ``ids`` with NaN where a metric does not apply, or empty.
        ids: (n,) the images.
        keys: R hashes, of all that each row depends on.
    """
    table = {f"row_{c}": rows[c].to_numpy(dtype=_ROW_TYPES[c] if _ROW_TYPES[c] is not str else np.str_) for c in ROW_COLUMNS}  # fmt: skip
    flat = np.concatenate([np.asarray(v, np.float64) for v in values]) if len(values) else np.empty(0)
    ends = np.cumsum([len(v) for v in values], dtype=np.int64)
    write_npz(
        path, table | {"values": flat, "ends": ends, "ids": np.asarray(ids, np.int64), "keys": np.array(keys, np.str_)}
    )


def read_scores(path: Path) -> tuple[pd.DataFrame, list[np.ndarray], np.ndarray]:
    """(rows, values, ids) as ``write_scores`` took them."""
    with reading(path):
        arrays = read_npz(path)
        rows = rows_v1.current(_columns(arrays, "row_"))[list(ROW_COLUMNS)]
        values = np.split(arrays["values"], arrays["ends"][:-1]) if len(rows) else []
        return rows, values, arrays["ids"]


def read_keys(path: Path) -> list[str]:
    """The keys of a file of scores, one per row."""
    with reading(path):
        return read_npz(path, ["keys"])["keys"].tolist()


def write_values(path: Path, instances: pd.DataFrame) -> None:
    """The values of single images that a profile's rows are means of, as float32; columns ROW_KEYS, image, value."""
    known = instances[np.isfinite(instances["value"].astype(float))]
    groups = list(known.groupby(list(ROW_KEYS)))
    keys = {f"key_{c}": np.array([key[i] for key, _ in groups], dtype=_ROW_TYPES[c] if _ROW_TYPES[c] is not str else np.str_)
            for i, c in enumerate(ROW_KEYS)}  # fmt: skip
    flat = {
        column: np.concatenate([np.empty(0), *(group[column].to_numpy(float) for _, group in groups)])
        for column in ("image", "value")
    }
    ends = np.cumsum([len(group) for _, group in groups], dtype=np.int64)
    write_npz(
        path, keys | {"image": flat["image"].astype(np.int32), "value": flat["value"].astype(np.float32), "ends": ends}
    )


def read_values(path: Path) -> pd.DataFrame:
    """As ``write_values`` took them; of this version or an earlier one."""
    with reading(path):
        arrays = read_npz(path)
        groups = rows_v1.current(_columns(arrays, "key_"))[list(ROW_KEYS)]
        each = np.repeat(np.arange(len(groups)), np.diff(arrays["ends"], prepend=0))
        found = groups.iloc[each].reset_index(drop=True)
        return found.assign(image=arrays["image"].astype(np.int64), value=arrays["value"].astype(float))


def _columns(arrays: Mapping[str, np.ndarray], prefix: str) -> pd.DataFrame:
    """The arrays whose names begin with ``prefix``, text as Python's."""
    found = {}
    for name, array in arrays.items():
        if name.startswith(prefix):
            text = array.dtype.kind == "U"
            found[name.removeprefix(prefix)] = array.astype(object) if text else array
    return pd.DataFrame(found)
