"""The name, paper and settings of a method as rows show them, and the fields that it offers.

Classes of this project are asked directly, external files in a sandbox.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from benchmark import engine, store
from benchmark.engine.sandbox import Limits
from benchmark.methods import adapters, registry
from benchmark.methods.registry import MethodRef
from benchmark.utils.near_names import UnknownName

_NAME = re.compile(r"[\w .,:+*/()'-]{1,60}")  # of an external method
_DESCRIBE = Limits(seconds=60, gigabytes=4)  # for opening an external file
_seen: dict[tuple[str, ...], tuple[str, str, str]] = {}


def describe(ref: MethodRef) -> tuple[str, str, str]:
    """(name, paper, setting) as rows show them.

    An external file is opened in a process of its own. If that fails, the method is called by the name of its class;
    the reason is found when its cells run.

    Raises:
        UnknownName: no such class or setting.
    """
    if ref.own:
        return registry.describe(ref.build())
    return _described(replace(ref, file=str(ref.path.resolve())))


def _described(ref: MethodRef) -> tuple[str, str, str]:
    setting = store.setting_text(ref.settings)
    key = store.sha256(ref.path), ref.cls, setting
    if key not in _seen:
        done = engine.alone(engine.Unit("describe", describe_here, (ref,), _DESCRIBE))
        if done.error:
            _seen[key] = ref.cls, "user", setting
        elif "unknown" in done.result:
            raise UnknownName(done.result["unknown"])
        else:
            _seen[key] = tuple(done.result["names"])
    return _seen[key]


def describe_here(ref: MethodRef) -> dict[str, Any]:
    """The answer to ``describe`` from this process: its three texts under ``names``, or an error under ``unknown``.

    Raises:
        ValueError: a name that is not plain text.
    """
    try:
        found = registry.describe(ref.build())
    except UnknownName as error:
        return {"unknown": str(error)}
    name, _, _ = found
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"its name is {name[:80]!r}; a name has up to 60 letters, digits, spaces and . , : + - * / ( ) '"
        )
    return {"names": found}


def declared_offers(ref: MethodRef) -> frozenset[str]:
    """What a method of this project, or an adapter, declares as ``offers``; an external file is not opened for it."""
    if registry.is_adapter(ref):
        return adapters.OFFERS
    return frozenset(getattr(ref.build(), "offers", ())) if ref.own else frozenset()
