"""Errors that the command line shows as one line."""

from __future__ import annotations


class UsageError(Exception):
    """One line for the user; exit code 2."""
