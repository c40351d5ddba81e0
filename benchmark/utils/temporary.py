"""Temporary folders whose names tell their owner, so that those left by a killed process can be told from those in
use."""

from __future__ import annotations

import os
import platform
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_PATH = 103  # bytes that the path of a socket may have on macOS; 107 on Linux
_SHORT = "/tmp"


def scratch() -> str:
    """The prefix of temporary folders of this process; a checksum stands for the machine, to keep it short."""
    return f"{_HERE}{os.getpid()}-"


def sockets() -> str:
    """A new folder for this process's sockets."""
    return tempfile.mkdtemp(prefix=scratch(), dir=_place_of_sockets())


def _place_of_sockets() -> str:
    """The folder of temporary files, or /tmp where a socket's path would be too long."""
    top = tempfile.gettempdir()
    longest = len(os.fsencode(top)) + len(f"/{_HERE}1234567-12345678/listener-12345678")
    return top if longest <= _PATH else _SHORT


def folders() -> Iterator[Path]:
    """All existing temporary folders of glassbench, of any process."""
    for top in {tempfile.gettempdir(), _place_of_sockets()}:
        yield from Path(top).glob("glassbench-*")


def owner(name: str) -> int | None:
    """The process of this machine that a temporary folder is named after; None for a folder of another machine."""
    found = re.match(_HERE + r"(\d+)-", name)
    return int(found[1]) if found else None


_HERE = f"glassbench-{zlib.crc32(platform.node().encode()):08x}-"
