"""How a script is run by its path.

subprocess.run(command(root / "datasets" / "cub.py", "--profile", "quick"))
"""

from __future__ import annotations

import sys
from pathlib import Path


def command(script: Path, *options: str) -> list[str]:
    """The command that runs a script.

    ``-P`` keeps the script's folder off Python's path: one beside it may be called like any module (random, torch).
    """
    return [sys.executable, "-P", str(script), *options]
