"""Another folder in the project's place."""

from pathlib import Path

import pytest

from benchmark import store
from benchmark.store import paths


def move_root(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Whatever asks where the project lies is told ``folder``."""
    for module in (store, paths):
        monkeypatch.setattr(module, "ROOT", folder)
