"""Where every file of a profile lies, and which command makes it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent.parent
ROOT = Path(os.environ.get("GLASSBENCH_ROOT") or _PROJECT)


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
        return self.root / "results" / "reported"

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
