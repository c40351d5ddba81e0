"""TODO."""

from __future__ import annotations


class UsageError(Exception):
    """One line for the user; exit code 2."""
