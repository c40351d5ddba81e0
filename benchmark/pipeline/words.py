"""What boards and pages say of the metrics: their families, and each in words."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

from benchmark import api
from benchmark.metrics.glossary import entry, family


def families() -> dict[str, str]:
    """The family of each metric, by name."""
    return {name: family(spec) for name, spec in api.METRICS.items()}


def glossary() -> dict[str, dict[str, str]]:
    """The metrics in words (``metrics.glossary.Entry``), by name; without those that do not explain themselves."""
    found = {}
    for name, spec in api.METRICS.items():
        with contextlib.suppress(ValueError):  # a user's metric
            found[name] = asdict(entry(spec))
    return found
