"""The error that a wrong command line leads to."""

from __future__ import annotations


class UsageError(Exception):
    """One line for the user; exit code 2."""
