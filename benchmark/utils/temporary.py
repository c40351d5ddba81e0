"""Temporary folders named after their process: what a killed one left behind can be told from what is in use."""

from __future__ import annotations

import os
import platform
import re
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

_PATH = (
    107 if sys.platform == "linux" else 103
)  # bytes that the path of a socket may have
_SHORT = "/tmp"


def scratch() -> str:
    """How the name of a temporary folder of this process begins; the machine is a checksum, to be short."""
    return f"{_HERE}{os.getpid()}-"


def sockets() -> str:
    """A new folder for the sockets of this process."""
    return tempfile.mkdtemp(prefix=scratch(), dir=_place_of_sockets())


def _place_of_sockets() -> str:
    """The folder of temporary files, or /tmp where a socket's path would be too long."""
    top = tempfile.gettempdir()
    socket = f"/{_HERE}1234567-12345678/pymp-12345678/listener-12345678"  # below it
    fits = len(os.fsencode(top)) + len(socket) <= _PATH
    return top if fits else _SHORT


def folders() -> Iterator[Path]:
    """All temporary folders that exist now, of any process."""
    for top in {tempfile.gettempdir(), _place_of_sockets()}:
        yield from Path(top).glob("glassbench-*")


def owner(name: str) -> int | None:
    """The process of this machine that a temporary folder is named after; None for any other name."""
    found = re.match(_HERE + r"(\d+)-", name)
    return int(found[1]) if found else None


_HERE = f"glassbench-{zlib.crc32(platform.node().encode()) & 0xFFFFFF:06x}-"
