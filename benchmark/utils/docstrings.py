"""How the docstring of a metric begins: "Title. Question?"."""

from __future__ import annotations

import re

_FIRST = re.compile(r"(?P<title>[^.?!]+)\. (?P<question>.+\?)")


def opening(text: str) -> tuple[str, str]:
    """(title, question) of a cleaned docstring; two empty texts if it begins in another way."""
    first, _, _ = text.partition("\n\n")
    found = _FIRST.fullmatch(first.replace("\n", " "))
    return (found["title"], found["question"]) if found else ("", "")
