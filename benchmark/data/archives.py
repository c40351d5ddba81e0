"""Reads archives without unpacking them to disk, so that no member can land anywhere.

    for name, data in members(path, wanted): ...

Refused, in one line: names that climb out or hold control characters, links out of the archive and devices, and bombs:
too many members, too large a member, too much in all, or far more than the size of the file can hold. Sizes are checked
while the bytes are read, as a header may lie about them.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

MAX_MEMBERS, MAX_MEMBER_BYTES, MAX_BYTES = 200_000, 1 << 29, 1 << 33  # of an archive
MAX_RATIO, FREE_BYTES = (
    100,
    1 << 26,
)  # unpacked to packed size; any ratio below FREE_BYTES
_PACKED = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}  # by the first two bytes


class DownloadError(Exception):
    """A file that cannot be obtained or trusted; the message is one line with the way out."""


def members(
    path: Path, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, bytes]]:
    """Name and content of the ``wanted`` regular files of a tar (any compression) or zip, in the archive's order.

    Raises:
        DownloadError: a member has an absolute name, ``..`` or control characters in it, or is a link out of the
        archive;
            there are more than 200,000 members, 512 MiB in one, 8 GiB in all, or 64 MiB and 100 times the archive; or
            the archive is damaged.
    """
    try:
        # Not zipfile.is_zipfile, which a tar that ends with an npz would pass.
        with open(path, "rb") as file:
            start = file.read(4)
        if start == b"PK\x03\x04":
            yield from _zip_members(path, wanted)
        else:
            yield from _tar_members(path, start, wanted)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:  # RuntimeError: an encrypted zip
        raise _damaged(path, error) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(path, error) from None  # from gzip or bz2, for wrong bytes


def member_names(path: Path) -> list[str]:
    """Names of the regular files of an archive, in its order, checked as by ``members``."""
    names: list[str] = []

    def note(name: str) -> bool:
        names.append(name)
        return False  # do not read it

    for _ in members(path, note):
        pass
    return names


def _damaged(path: Path, error: Exception) -> DownloadError:
    what = " ".join(str(error).split())[:200]
    return DownloadError(
        f"{path}: refused as unsafe or damaged ({what}); delete it and run again"
    )


def _tar_members(
    path: Path, start: bytes, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    with (
        _PACKED.get(start[:2], open)(path, "rb") as file,
        tarfile.open(fileobj=_Bounded(file, path), mode="r:") as archive,
    ):
        total = 0
        for count, member in enumerate(archive):
            total += member.size
            _check(path, member.name, count, member.size, total)
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
                tarfile.data_filter(
                    member, str(path.parent)
                )  # links out of the archive, devices
            elif member.isdev() or (
                (member.issym() or member.islnk()) and _leads_out(member)
            ):
                raise DownloadError(
                    f"{path}: the member {member.name!r} is a device or a link out of the archive; "
                    "refused as unsafe"
                )
            if member.isreg() and wanted(member.name):
                yield member.name, archive.extractfile(member).read()


def _leads_out(link: tarfile.TarInfo) -> bool:
    base = posixpath.dirname(link.name) if link.issym() else ""
    target = posixpath.normpath(posixpath.join(base, link.linkname))
    return target.startswith(("..", "/"))


class _Bounded:
    """A file that returns at most the size of a member at once, as the headers of a tar have sizes, too."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._path = path
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_MEMBER_BYTES + tarfile.RECORDSIZE:
            raise DownloadError(f"{self._path}: a header of {size} bytes; refused")
        return self._file.read(size)


def _zip_members(
    path: Path, wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        total = 0
        for count, member in enumerate(archive.infolist()):
            total += member.file_size
            _check(path, member.filename, count, member.file_size, total)
            if stat.S_IFMT(member.external_attr >> 16) not in (
                0,
                stat.S_IFREG,
                stat.S_IFDIR,
            ):
                raise DownloadError(
                    f"{path}: the member {member.filename!r} is a link or device; refused"
                )
            if not member.is_dir() and wanted(member.filename):
                yield member.filename, archive.read(member)  # no more than file_size


def _check(path: Path, name: str, count: int, size: int, total: int) -> None:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    on_a_drive = name[1:2] == ":"
    if PurePosixPath(name).is_absolute() or ".." in parts or on_a_drive:
        raise DownloadError(
            f"{path}: the member {name!r} climbs out of the archive; refused"
        )
    if any(ord(c) < 32 or ord(c) == 127 for c in name):
        raise DownloadError(
            f"{path}: the member {name!r} has control characters in its name; refused"
        )
    most = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * path.stat().st_size))
    if count >= MAX_MEMBERS or size > MAX_MEMBER_BYTES or total > most:
        raise DownloadError(
            f"{path}: too large at the member {name!r} ({count + 1} members, {total} bytes); refused"
        )
