"""Errors for names that a user mistyped, with suggestions of near ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class UnknownName(Exception):
    """A name that does not exist; the message suggests near ones."""


class ProfileError(Exception):
    """An invalid profile: one line with the file, the place in it, and what is wrong there."""


def near(name: object, known: Iterable[object], what: str) -> UnknownName:
    """The error for an unknown name: ``no method 'gradcam'; did you mean Grad-CAM?``"""
    folded = {str(k).casefold(): str(k) for k in known}
    hits = difflib.get_close_matches(str(name).casefold(), folded, n=3, cutoff=0.5)
    if hits:
        hint = f"did you mean {' or '.join(folded[hit] for hit in hits)}?"
    else:
        hint = f"there are {', '.join(sorted(folded.values())) or 'none'}"
    return UnknownName(f"no {what} {str(name)!r}; {hint}")


def pick(name: object, known: Mapping[Any, Any], what: str) -> Any:
    """``known[name]``, or UnknownName with near names."""
    if name not in known:
        raise near(name, known, what)
    return known[name]
