"""Reads and writes text, JSON, YAML, npz and safetensors.

Every file is written whole or not at all: to a temporary name beside it, flushed to disk, then renamed. Nothing is
ever unpickled. A file that is missing or damaged raises a ``StoreError`` that names it and what to do.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from benchmark.store.paths import maker

MAX_ARRAY_BYTES = 1 << 34  # of one npz once it is unpacked


class StoreError(Exception):
    """A file that is missing or damaged; the message names the file and what to do."""


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
    """A new file beside ``path``, open and locked; ``mend`` removes those that a killed process left without a lock."""
    while True:
        fd, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        )
        with suppress(OSError):  # the file system has no locks
            fcntl.flock(fd, fcntl.LOCK_SH)
        if os.path.exists(temporary):  # else it was removed before it was locked
            return fd, temporary
        os.close(fd)


@contextmanager
def exclusive(folder: Path, command: str = "", *, wait: bool = False) -> Iterator[None]:
    """One process at a time works in ``folder``; another waits or is refused.

    The lock is on the folder itself: it leaves no file behind and ends with the process, however that ends. Where the
    file system has no locks, nothing is locked.

    Raises:
        StoreError: another process works there, the message says to run ``command`` after it; or nothing can be written
            there.
    """
    check_writable(folder)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(
                handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
            )
        except BlockingIOError:
            raise StoreError(
                f"another process is at work in {folder}; when it has ended, run `{command}`"
            ) from None
        except OSError:  # the file system has no locks
            pass
        yield
    finally:
        os.close(handle)


def check_writable(folder: Path) -> None:
    """Make the folder, and try a file in it, before the work whose results go there.

    Raises:
        StoreError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StoreError(
            f"nothing can be written to {folder} ({error.strerror}); make room or repair its rights, and run again"
        ) from None


def write_text(path: Path, text: str) -> None:
    with atomic(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, sort_keys=True, default=str)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    with reading(path):
        return json.loads(Path(path).read_text())


def write_npz(path: Path, arrays: Mapping[str, Any], *, compress: bool = True) -> None:
    """Arrays without pickle; the same content is the same bytes.

    Raises:
        ValueError: an array of Python objects.
    """
    arrays = {key: np.asarray(value) for key, value in sorted(arrays.items())}
    objects = [key for key, value in arrays.items() if value.dtype.hasobject]
    if objects:
        raise ValueError(
            f"{', '.join(objects)}: only numbers and fixed-width text are stored, never Python objects"
        )
    save = np.savez_compressed if compress else np.savez
    with atomic(path) as file:
        save(file, **arrays)


def read_npz(path: Path, keys: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz, or only those of ``keys``; a key that the file lacks is left out."""
    with (
        reading(path),
        open(
            path, "rb"
        ) as file,  # numpy leaves it open where the content is not an archive
        np.load(file, allow_pickle=False) as archive,
    ):
        total = sum(member.file_size for member in archive.zip.infolist())
        if total > MAX_ARRAY_BYTES:
            raise ValueError(
                f"{total} bytes once it is unpacked, more than {MAX_ARRAY_BYTES}"
            )
        return {
            key: archive[key] for key in archive.files if keys is None or key in keys
        }


def not_npz(path: Path) -> str:
    """What a file of the user is instead of an npz of plain arrays, in words; empty if it is one."""
    with open(path, "rb") as file:
        start = file.read(6)
    if start == b"\x93NUMPY":
        return "a single array, written by numpy.save"
    if start.startswith(b"\x80"):
        return "a pickle, which is never opened"
    if not zipfile.is_zipfile(path):
        return "no npz archive, or one that is cut short"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    others = [name for name in names if not name.endswith(".npy")]
    if others:
        return f"a zip archive with {others[0]}, which is no array"
    try:
        read_npz(path)
    except StoreError as error:
        if "allow_pickle" in str(error):
            return "an npz archive of pickled Python objects, which are never opened"
        return f"an npz archive that cannot be read ({error.__context__})"
    return ""


def is_whole(path: Path) -> bool:
    """Does every array of an npz match its checksum? The bytes are unpacked, but no array is made of them."""
    try:
        with reading(path), zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except StoreError:
        return False


def npz_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each array of an npz, from its header alone."""
    shapes = {}
    with (
        reading(path),
        open(path, "rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        for key in archive.files:
            with archive.zip.open(f"{key}.npy") as member:
                np.lib.format.read_magic(member)
                shapes[key] = np.lib.format.read_array_header_1_0(member)[0]
    return shapes


def write_weights(path: Path, state: Mapping[str, Any]) -> None:
    """A state dict as safetensors."""
    from safetensors.torch import save

    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with atomic(path) as file:
        file.write(save(tensors))


def read_weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load

    with reading(path):
        return load(Path(path).read_bytes())


@contextmanager
def reading(path: Path, way_out: str = "") -> Iterator[None]:
    """Turns any failure to read ``path`` into a ``StoreError`` of one line.

    Args:
        way_out: what the line tells the user to do (default: run the command that makes the file).
    """
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
        raise StoreError(
            f"{path} is damaged ({type(error).__name__}: {what}); {way_out}"
        ) from None


def read_yaml(path: Path) -> dict[str, Any]:
    with reading(path, "restore it with `glassbench use offline`"):
        value = yaml.safe_load(Path(path).read_text())
        if not isinstance(value, dict):
            raise ValueError("not a mapping")
        return value
