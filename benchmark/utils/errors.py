"""The errors that wrong input leads to, one line for the user each."""

from __future__ import annotations


class UsageError(Exception):
    """A wrong command line; exit code 2."""


class InputError(UsageError, ValueError):
    """What was given to a function of ``glassbench`` cannot be used; the line says why, and what to do."""
