"""What a killed run leaves behind, put right: DVC's locks, a half-written dvc.lock, temporary files.

The house's own files are written whole or not at all, so a run that was killed goes on where it stopped. DVC writes its lock
file and its list of readers and writers in place: a kill, or a full disk, in that moment leaves half a file. ``make
leaderboard`` calls this first. A copy of dvc.lock is kept while a run is under way; what the file has lost is taken from
there, else from git.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmark import store
from benchmark.utils import temporary

KEPT = "dvc.lock.kept"  # in .dvc/tmp; removed where a run ends well


def mend(root: Path) -> list[str]:
    """Put right what is wrong; returns what that was, a line each.

    Raises:
        StoreError: a ``dvc`` is at work in ``root``.
    """
    if running := _running(root):
        raise store.StoreError(
            f"another dvc is at work in {root} ({running}); when it has ended, run the same command again"
        )
    return [*_mend_rwlock(root), *_mend_lock_file(root), *sweep(root)]


# --------------------------------------------------------------------------------------------- who is at work


def _running(root: Path) -> str:
    """The DVC process that works in ``root``, in words; empty if there is none."""
    with contextlib.suppress(FileNotFoundError), open(root / ".dvc" / "tmp" / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return f"process {file.read().strip() or 'unknown'}"
    for entry in _holders(root) or ():
        if _is_dvc(entry["pid"]):
            return f"process {entry['pid']}: {entry['cmd']}"
    return ""


def _holders(root: Path) -> list[dict[str, Any]] | None:
    """The processes that DVC's list of readers and writers names; None if it is damaged."""
    try:
        table = json.loads((root / ".dvc" / "tmp" / "rwlock").read_text())
        entries = [
            *table.get("write", {}).values(),
            *(e for held in table.get("read", {}).values() for e in held),
        ]
        return [{"pid": int(entry["pid"]), "cmd": str(entry["cmd"])} for entry in entries]
    except FileNotFoundError:
        return []
    except (ValueError, AttributeError, TypeError, KeyError):
        return None


def _is_dvc(pid: int) -> bool:
    """Does the process live, and is it DVC? A number is given again to another process in time."""
    if not Path("/proc/self").exists():
        return _lives(pid)
    with contextlib.suppress(OSError):
        return b"dvc" in Path(f"/proc/{pid}/cmdline").read_bytes()  # empty of a dead one
    return False


def _lives(pid: int) -> bool:
    """A killed process whose parent has not collected it yet, seconds at worst, is dead."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (
                b"Z",
                b"X",
            )
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


# --------------------------------------------------------------------------------------------- what is put right


def _mend_rwlock(root: Path) -> list[str]:
    if (holders := _holders(root)) == []:
        return []
    (root / ".dvc" / "tmp" / "rwlock").unlink()
    return [
        "DVC's list of readers and writers "
        + ("was damaged" if holders is None else "named processes that are gone")
    ]


def _mend_lock_file(root: Path) -> list[str]:
    """A dvc.lock that cannot be read, or lost stages in a run that was cut off, becomes the copy again, else git's. Stages
    that ran since are looked at again; their cells are there."""
    path, kept = root / "dvc.lock", root / ".dvc" / "tmp" / KEPT
    now, before, said = _stages(path), _stages(kept) or {}, []
    if now is None or not before.keys() <= now.keys():
        text = kept.read_text() if before else _committed(root)
        store.write_text(path, text) if text else path.unlink()
        said = [
            "dvc.lock was damaged: "
            + (f"taken from {'its copy' if before else 'git'}" if text else "removed")
        ]
    if path.exists():
        with contextlib.suppress(OSError):  # a run goes on without a copy
            store.write_text(kept, path.read_text())
    return said


def _stages(path: Path) -> dict[str, Any] | None:
    """The whole stages of a lock file; {} if there is no file, None if it cannot be read."""
    if not path.exists():
        return {}
    try:
        loaded = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return {name: stage for name, stage in loaded["stages"].items() if _is_whole(stage)}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None


def _is_whole(stage: Any) -> bool:
    """Has a stage its command, and each file its path and hash?"""
    if not isinstance(stage, dict) or not stage.get("cmd"):
        return False
    files = [file for part in ("deps", "outs") for file in stage.get(part) or []]
    return all(
        isinstance(f, dict) and f.get("path") and (f.get("md5") or f.get("hash") == "md5")
        for f in files
    )


def _committed(root: Path) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), "show", "HEAD:./dvc.lock"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else ""


def sweep(root: Path) -> list[str]:
    """Remove temporary files and folders whose process is gone; DVC's files, while a ``dvc`` is at work, may not be."""
    if _running(root):
        return []
    found = [
        path
        for folder in ("datasets", "results", ".dvc/cache", ".dvc/tmp")
        for path in (root / folder).rglob("*.tmp")
    ]
    found += [
        path for path in root.glob("*.tmp") if path.name.startswith((".dvc.lock.", ".params.yaml."))
    ]
    removed = [path for path in found if _remove(path)]
    for folder in (folders := list(_abandoned())):
        shutil.rmtree(folder, ignore_errors=True)
    count = len(removed) + len(folders)
    return (
        [f"{count} temporary {'file' if count == 1 else 'files'} of a killed run removed"]
        if count
        else []
    )


def _remove(path: Path) -> bool:
    """Remove a temporary file unless somebody writes it: one of ``store.atomic`` is locked as long as its process lives."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()  # before the lock goes: who waits for it then sees that the file is gone
        return True
    return False


def _abandoned() -> Iterator[Path]:
    """Temporary folders of this machine and user whose process is gone."""
    for path in temporary.folders():
        with contextlib.suppress(FileNotFoundError):
            pid = temporary.owner(path.name)
            if pid is not None and path.stat().st_uid == os.getuid() and not _lives(pid):
                yield path
