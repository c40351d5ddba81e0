"""Where every file lies, and which command makes it.

A clone holds everything: the code, what comes with it (baselines, scripts of data sets, published numbers, committed
results) and what is computed, below ``ROOT``. A wheel has what comes with the code in a folder of its own beside the
package, ``PROJECT``, where nothing is ever written; what is computed there lies below ``ROOT``, the working directory.
GLASSBENCH_HOME names another folder for it. (GLASSBENCH_ROOT is the same for a worker that sees the folder elsewhere.)
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_CODE = Path(__file__).resolve().parent.parent.parent
_SHIPPED = _CODE / "glassbench_shipped"  # setup.py fills it
# in a script of a data set that was not shipped
MADE_BY = "made by `glassbench prepare folder`"
IS_WHEEL = _SHIPPED.is_dir()
PROJECT = _SHIPPED if IS_WHEEL else _CODE


def _root() -> Path:
    named = os.environ.get("GLASSBENCH_ROOT") or os.environ.get("GLASSBENCH_HOME")
    if named:
        return Path(named).expanduser().absolute()
    return Path.cwd() if IS_WHEEL else PROJECT


ROOT = _root()


def homes() -> list[Path]:
    """The folders that hold what comes with the code. In a wheel neither the working directory nor site-packages:
    ``baselines`` and ``datasets`` there are somebody else's."""
    return [PROJECT] if IS_WHEEL else list(dict.fromkeys([ROOT, PROJECT]))


def find(name: str) -> Path:
    """The path of a file or folder that comes with the code, as ``baselines/grad_cam.py``, or of the code; where there
    is none, the path below ``ROOT``."""
    places = [home / name for home in homes()]
    if name.startswith("benchmark/"):
        places.append(_CODE / name)
    return next((path for path in places if path.exists()), ROOT / name)


def scripts() -> dict[str, Path]:
    """The scripts of data sets by name, with those that ``glassbench prepare folder`` wrote."""
    found = {}
    for path in ROOT.glob("datasets/*.py"):
        if not IS_WHEEL or MADE_BY in path.read_text(errors="replace"):
            found[path.stem] = path
    for home in reversed(homes()):
        found |= {path.stem: path for path in home.glob("datasets/*.py")}
    return dict(sorted(found.items()))


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
        path = self.root / "results" / "reported"
        return path if path.exists() else PROJECT / "results" / "reported"

    @property
    def shipped(self) -> Paths:
        """The same in what comes with the code."""
        return Paths(self.profile, PROJECT)

    @property
    def committed(self) -> Paths:
        """The same where the rows are: those that come with the code, if none were made here."""
        is_shipped = self.shipped.rows.exists() and not self.rows.exists()
        return self.shipped if is_shipped else self

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
        folder = self.explanations(dataset) / f"{target}-{seed}"
        return folder / f"{method}.npz"

    def scores(self, dataset: str) -> Path:
        return self.artifacts / "scores" / dataset

    def score(self, dataset: str, target: str, seed: int, method: str) -> Path:
        folder = self.scores(dataset) / f"{target}-{seed}"
        return folder / f"{method}.npz"

    def replications(self, paper: str) -> Path:
        return self.artifacts / "replications" / paper

    @property
    def rows(self) -> Path:
        return self.results / "rows.csv"

    @property
    def networks(self) -> Path:
        """The sizes of the networks, and of their training."""
        return self.results / "networks.json"

    @property
    def values(self) -> Path:
        """The values per image that the rows are means of."""
        return self.results / "values.npz"


_MAKERS = {
    "targets": "train",
    "explanations": "explain",
    "scores": "score",
    "replications": "replicate",
}


def maker(path: Path) -> str:
    """The command that recomputes a file, judging by its path; empty where the path does not tell."""
    parts = Path(path).parts
    if "evaluations" in parts:
        return "run the same `glassbench evaluate` again"
    if "artifacts" in parts[1:-3]:
        folder, name = parts[parts.index("artifacts") + 1 :][:2]
        if folder in _MAKERS:
            return f"run `glassbench {_MAKERS[folder]} {name}`"
    if parts[-4:-2] == ("datasets", "processed"):
        return f"run `glassbench prepare {Path(path).stem}`"
    return "run `dvc repro`" if parts[-3:-2] == ("results",) else ""
