"""Where things lie in the project, and another folder in the project's place."""

from pathlib import Path

import pytest

from benchmark import store
from benchmark.store import paths

TESTS = Path(__file__).resolve().parent.parent
ROOT = TESTS.parent  # of the project
GOLDEN = TESTS / "golden"
PLUGINS = TESTS / "plugins"


def move_root(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Whatever asks where the project lies is told ``folder``."""
    for module in (store, paths):
        monkeypatch.setattr(module, "ROOT", folder)
