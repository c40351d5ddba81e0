"""What a data set's script in ``datasets/`` says of itself. The script is read, never run.

    literals(Path("datasets/cub.py"))["FULL"]         # {"channels": 3, "classes": 200, "train": 5994, "test": 5794}

``FULL``: the data set as its authors made it; ``DEFAULTS``: the parameters that ``data.<name>`` of a profile may set.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any


def literals(path: Path) -> dict[str, Any]:
    """The module's assignments of plain values, by name; none where there is no such file, or it is no Python."""
    try:
        body = ast.parse(path.read_text()).body
    except (OSError, SyntaxError, ValueError):
        return {}
    found = {}
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:  # computed, not written down
                continue
    return found
