"""What the project's git knows: the commit, files of a revision; where it cannot say, why not.

Only the repository whose top folder is the project counts: a project that was unpacked inside somebody else's
repository has no commit.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

COMMIT = "commit.txt"  # in what a wheel ships


def ask(root: Path, *arguments: str) -> tuple[bytes, str]:
    """(What ``git ARGUMENTS`` prints in ``root``, or in one line why it cannot; empty if git does not say)."""
    above = str(root.resolve().parent)
    environment = {**os.environ, "LC_ALL": "C", "GIT_CEILING_DIRECTORIES": above}
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, env=environment, check=False
        )
    except OSError as error:
        return b"", f"git cannot be run ({error.strerror}); install git"
    if done.returncode == 0:
        return done.stdout, ""
    return b"", _reason(root, done.stderr.decode(errors="replace"))


def _reason(root: Path, said: str) -> str:
    """Why git has no answer, and what to do, in one line."""
    if "dubious ownership" in said:
        return (
            f"{root} belongs to another user, so git does not read it; "
            f"`git config --global --add safe.directory '{root.resolve()}'` lets it"
        )
    if "not a git repository" in said:
        return f"{root} is not a git clone"
    line = " ".join(said.split())
    if (root / ".git" / "shallow").exists():
        shallow = "a shallow clone; `git fetch --unshallow` brings its history"
        return f"{line}; {shallow}" if line else shallow
    return line


def commit(root: Path) -> tuple[str, str]:
    """(The full hash of the commit that is checked out, or that a wheel was built of; or in one line why there is
    none)."""
    built_of = root / COMMIT
    if built_of.is_file():
        return built_of.read_text().strip(), ""
    found, why = ask(root, "rev-parse", "--verify", "HEAD")
    return found.decode().strip(), why
