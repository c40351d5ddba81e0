"""Repairs what a killed run leaves behind (DVC's locks, a half-written dvc.lock, temporary files), and makes DVC work
in a folder that is no git clone or whose outputs lie on another disk.

glassbench writes its own files whole or not at all, so a run that was killed continues where it stopped. DVC writes its
lock file and its list of readers and writers in place: a kill, or a full disk, at that moment leaves half a file.
``make leaderboard`` calls this first. A copy of dvc.lock is kept while a run is under way; what the file has lost is
restored from there, else from git.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from benchmark import store
from benchmark.store import git
from benchmark.utils import temporary

KEPT = "dvc.lock.kept"  # in .dvc/tmp; removed when a run ends well


def mend(root: Path) -> list[str]:
    """Repair what is broken; returns what that was, one line each.

    Raises:
        StoreError: a ``dvc`` runs in ``root``.
    """
    running = _running(root)
    if running:
        raise store.StoreError(
            f"another dvc is at work in {root} ({running}); when it has ended, run the same command again"
        )
    return [
        *ready_dvc(root),
        *_mend_rwlock(root),
        *_mend_lock_file(root),
        *sweep(root),
    ]


# --------------------------------------------------------------------------------------------- processes


def _running(root: Path) -> str:
    """A description of the DVC process that runs in ``root``; empty if there is none."""
    with (
        contextlib.suppress(FileNotFoundError),
        open(root / ".dvc" / "tmp" / "lock") as file,
    ):
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
        readers = table.get("read", {}).values()
        entries = [
            *table.get("write", {}).values(),
            *itertools.chain.from_iterable(readers),
        ]
        return [
            {"pid": int(entry["pid"]), "cmd": str(entry["cmd"])} for entry in entries
        ]
    except FileNotFoundError:
        return []
    except (ValueError, AttributeError, TypeError, KeyError):
        return None


def _is_dvc(pid: int) -> bool:
    """Does the process live, and is it DVC? The system reuses the ids of processes."""
    if not Path("/proc/self").exists():
        return _lives(pid)
    with contextlib.suppress(OSError):
        return (
            b"dvc" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )  # empty for a dead process
    return False


def _lives(pid: int) -> bool:
    """Does the process live? One that was killed, and that its parent has not collected yet, counts as dead."""
    if Path("/proc/self").exists():
        try:
            _, _, after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return after_name.split()[0] not in (b"Z", b"X")
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


# --------------------------------------------------------------------------------------------- DVC without git


def ready_dvc(root: Path) -> list[str]:
    """Let DVC work without git where it cannot work with it; returns that as a line, once.

    DVC stops in a folder without git. In a clone it wants to write a .gitignore beside each output after its stage has
    run, and fails where that would lie outside, behind a symbolic link.

    Raises:
        StoreError: a folder of outputs is a link to what is not there.
    """
    path = root / ".dvc" / "config.local"
    why = _why_without_git(root)
    text = path.read_text() if path.exists() else ""
    if not why or not path.parent.is_dir() or "no_scm" in text:
        return []
    before, section, after = text.partition("[core]\n")
    own = f"[core]\n{_NO_GIT}"
    store.write_text(path, f"{before}{own}{after}" if section else own + text)
    return [f"DVC works without git from now on (no_scm in .dvc/config.local): {why}"]


_NO_GIT = "    no_scm = true\n"
_OUTPUTS = (
    "datasets",
    "results",
    "datasets/*",
    "results/*",
    "datasets/*/*",
    "results/*/*",
    "results/*/artifacts/*",
)


def _why_without_git(root: Path) -> str:
    """Why DVC cannot work with git in ``root``; empty if it can."""
    for pattern in _OUTPUTS:
        for path in sorted(root.glob(pattern)):
            if not path.is_symlink():
                continue
            if not path.exists():
                raise store.StoreError(
                    f"{path} leads to {os.readlink(path)}, which is not there; mount its disk, or remove the link"
                )
            if path.is_dir() and not path.resolve().is_relative_to(root.resolve()):
                return f"{path.relative_to(root)} leads out of the clone"
    return "" if (root / ".git").exists() else f"{root} is not a git clone"


# --------------------------------------------------------------------------------------------- repairs


def _mend_rwlock(root: Path) -> list[str]:
    holders = _holders(root)
    if holders == []:
        return []
    (root / ".dvc" / "tmp" / "rwlock").unlink()
    why = "was damaged" if holders is None else "named processes that are gone"
    return [f"DVC's list of readers and writers {why}"]


def _mend_lock_file(root: Path) -> list[str]:
    """Restore a dvc.lock that cannot be read, or that lost stages in an interrupted run, from its copy, else from git.

    DVC checks the stages that ran since again; their cells are there.
    """
    path, kept = root / "dvc.lock", root / ".dvc" / "tmp" / KEPT
    now, before = _stages(path), _stages(kept) or {}
    lines = []
    if now is None or not before.keys() <= now.keys():
        lines = [
            f"dvc.lock was damaged: {_restore(root, path, kept if before else None)}"
        ]
    if path.exists():
        with contextlib.suppress(OSError):  # a run goes on without a copy
            store.write_text(kept, path.read_text())
    return lines


def _restore(root: Path, path: Path, copy: Path | None) -> str:
    """Write dvc.lock from its copy, else from git, else remove it; returns which."""
    text = copy.read_text() if copy else _committed(root)
    if not text:
        path.unlink()
        return "removed"
    store.write_text(path, text)
    return "taken from its copy" if copy else "taken from git"


def _stages(path: Path) -> dict[str, Any] | None:
    """The whole stages of a lock file; {} if there is no file, None if it cannot be read."""
    if not path.exists():
        return {}
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        stages = yaml.load(path.read_text(), Loader=loader)["stages"]
        return {name: stage for name, stage in stages.items() if _is_whole(stage)}
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return None


def _is_whole(stage: Any) -> bool:
    """Does a stage have its command, and each of its files a path and a hash?"""
    if not isinstance(stage, dict) or not stage.get("cmd"):
        return False
    files = [*(stage.get("deps") or []), *(stage.get("outs") or [])]
    return all(_is_hashed(file) for file in files)


def _is_hashed(file: Any) -> bool:
    if not isinstance(file, dict) or not file.get("path"):
        return False
    return bool(file.get("md5")) or file.get("hash") == "md5"


def _committed(root: Path) -> str:
    """The dvc.lock of the last commit; empty if there is none."""
    found, _ = git.ask(root, "show", "HEAD:./dvc.lock")
    return found.decode()


def sweep(root: Path) -> list[str]:
    """Remove temporary files and folders whose process is gone; none while a ``dvc`` runs, which may use its own."""
    if _running(root):
        return []
    found = []
    for folder in ("datasets", "results", ".dvc/cache", ".dvc/tmp"):
        found += (root / folder).rglob("*.tmp")
    ours = (".dvc.lock.", ".params.yaml.")
    found += [path for path in root.glob("*.tmp") if path.name.startswith(ours)]
    removed = [path for path in found if _remove(path)]
    folders = list(_abandoned())
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    count = len(removed) + len(folders)
    if not count:
        return []
    return [
        f"{count} temporary {'file' if count == 1 else 'files'} of a killed run removed"
    ]


def _remove(path: Path) -> bool:
    """Remove a temporary file unless it is being written: ``store.atomic`` keeps a lock on it."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()  # before the lock is released: a process that waits for it then sees that the file is gone
        return True
    return False


def _abandoned() -> Iterator[Path]:
    """Temporary folders of this machine and user whose process is gone."""
    for path in temporary.folders():
        with contextlib.suppress(FileNotFoundError):
            pid = temporary.owner(path.name)
            if (
                pid is not None
                and path.stat().st_uid == os.getuid()
                and not _lives(pid)
            ):
                yield path
