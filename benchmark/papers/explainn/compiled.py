"""Compiles a function to machine code, which is kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's ``njit``, without the lock of the interpreter. The code is compiled once per process where neither the
    file's folder nor the user's cache folder can be written, as in a container with a user of its own."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # "no locator available": nowhere to keep it
        return njit(nogil=True)(function)
