"""Builds the wheel: the package, and beside it what comes with it (``glassbench_shipped``).

A clone has these files where people look for them, ``baselines/`` and ``datasets/`` at the top; installed under such
names they would shadow others (``datasets`` is a package of Hugging Face). ``benchmark.store.paths`` finds them in
either place.

The explained networks of ``offline``, and their images, are made by the pipeline. They are packed if they are those
that the committed rows were made of, by the hashes in provenance.json; ``make wheel`` refuses to build without them.
"""

import csv
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = "glassbench_shipped"
HERE = Path(__file__).resolve().parent
FILES = ("baselines/*.py", "datasets/*.py", "results/reported/*", "results/speeds.csv")
OF_PROFILE = ("rows.csv", "values.npz", "provenance.json", "leaderboard.csv")
PACKED = "offline"  # the profile whose data and networks are packed


def shipped(here: Path = HERE) -> list[Path]:
    """What is copied beside the package, relative to the clone."""
    patterns = [*FILES, *(f"results/*/{name}" for name in OF_PROFILE)]
    found = {path for pattern in patterns for path in here.glob(pattern)}
    for files, _ in packed(here).values():
        found.update(files)
    return sorted(path.relative_to(here) for path in found if path.is_file())


def packed(here: Path = HERE) -> dict[str, tuple[list[Path], str]]:
    """What the pipeline made: by name, the files, and why they are not packed (empty if they are)."""
    results = here / "results" / PACKED
    provenance = results / "provenance.json"
    facts = json.loads(provenance.read_text()) if provenance.exists() else {}
    prepared = here / "datasets" / "processed" / PACKED
    found = {}
    for name, digest in facts.get("data", {}).items():
        path = prepared / f"{name}.npz"
        found[f"data {name}"] = _files(path, ".key", digest)
    used = _explained(results / "rows.csv")
    for name, digest in facts.get("weights", {}).items():
        if name.rpartition("-")[0] in used:
            path = results / "artifacts" / "targets" / f"{name}.safetensors"
            found[f"network {name}"] = _files(path, ".json", digest)
    return found


def _files(path: Path, beside: str, digest: str) -> tuple[list[Path], str]:
    if not path.exists():
        return [], "missing"
    if not _hash(path).startswith(digest):
        return [], "not what the committed rows were made of"
    return [path, path.with_suffix(beside)], ""


def _hash(path: Path) -> str:
    """As ``benchmark.store.sha256``."""
    return hashlib.sha256(path.name.encode() + b"\0" + path.read_bytes()).hexdigest()


def _explained(rows: Path) -> set[str]:
    """The networks, ``dataset/target``, that the rows have explanations of."""
    if not rows.exists():
        return set()
    with open(rows, newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["track"] == "heatmap"]
    return {f"{line['dataset']}/{line['target']}" for line in lines}


def commit(here: Path) -> str:
    """The commit of the clone; empty without git."""
    try:
        command = ["git", "-C", str(here), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


class Build(build_py):
    """The package, and what is shipped with it; an editable install finds that in the clone."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        to = Path(self.build_lib) / SHIPPED
        shutil.rmtree(to, ignore_errors=True)
        for name in shipped():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(HERE / name, to / name)
        if known := commit(HERE):
            (to / "commit.txt").write_text(f"{known}\n")


if __name__ == "__main__":
    setup(cmdclass={"build_py": Build})
