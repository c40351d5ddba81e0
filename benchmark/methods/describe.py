"""What rows call a method, and what it offers: asked of our own classes directly, of other files in a sandbox."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from benchmark import engine, store
from benchmark.engine.sandbox import Limits
from benchmark.methods import adapters, registry
from benchmark.methods.registry import MethodRef
from benchmark.utils.near_names import UnknownName

_NAME = re.compile(r"[\w .,:+*/()'-]{1,60}")  # of a stranger's method
_DESCRIBE = Limits(seconds=60, gigabytes=4)  # for opening a stranger's file
_seen: dict[tuple[str, ...], tuple[str, str, str]] = {}


def describe(ref: MethodRef) -> tuple[str, str, str]:
    """(name, paper, setting) as rows show them. A stranger's file is opened in a process of its own; one that cannot say
    goes by the name of its class, and why it cannot is found when its cells run.

    Raises:
        UnknownName: no such class or setting.
    """
    return (
        registry.describe(ref.build())
        if ref.own
        else _described(replace(ref, file=str(ref.path.resolve())))
    )


def _described(ref: MethodRef) -> tuple[str, str, str]:
    key = store.sha256(ref.path), ref.cls, store.setting_text(ref.settings)
    if key not in _seen:
        done = engine.alone(engine.Unit("describe", describe_here, (ref,), _DESCRIBE))
        if not done.error and "unknown" in done.result:
            raise UnknownName(done.result["unknown"])
        _seen[key] = (
            (ref.cls, "user", store.setting_text(ref.settings))
            if done.error
            else tuple(done.result["names"])
        )
    return _seen[key]


def describe_here(ref: MethodRef) -> dict[str, Any]:
    """What ``describe`` asks, in this process.

    Raises:
        ValueError: a name that is no plain text.
    """
    try:
        found = registry.describe(ref.build())
    except UnknownName as error:
        return {"unknown": str(error)}
    if not _NAME.fullmatch(found[0]):
        raise ValueError(
            f"its name is {found[0][:80]!r}: up to 60 letters, digits, spaces and . , : + - * / ( ) ' are a name"
        )
    return {"names": found}


def declared_offers(ref: MethodRef) -> frozenset[str]:
    """What one of our methods, or an adapter, declares as ``offers``; a user's file is not opened here."""
    if registry.is_adapter(ref):
        return adapters.OFFERS
    return frozenset(getattr(ref.build(), "offers", ())) if ref.own else frozenset()
