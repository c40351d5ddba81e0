"""Hashes of files and of values, from which keys of results are made."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from benchmark import store


def sha256(*paths: Path) -> str:
    """Hash of files and of all files in folders, by name and content; caches and hidden files are left out."""
    digest = hashlib.sha256()
    for path in map(Path, paths):
        files = (
            [path]
            if path.is_file()
            else sorted(p for p in path.rglob("*") if p.is_file())
        )
        for file in files:
            inside = file.relative_to(path.parent)
            if any(
                part.startswith(".") or part == "__pycache__" for part in inside.parts
            ):
                continue
            digest.update(str(inside).encode() + b"\0")
            with open(file, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def key_of(*parts: object) -> str:
    """Hash of values that JSON can hold; of others, of their text."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


@functools.cache
def _hash(path: Path, stamp: float) -> str:
    return store.sha256(path)


def file_hash(path: Path) -> str:
    """Hash of a file, remembered while its time of change stays the same; ``missing`` where there is none."""
    return _hash(path, path.stat().st_mtime) if path.exists() else "missing"
