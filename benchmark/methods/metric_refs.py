"""Metrics that are not of this project: a function in a file of the user, or an entry point of an installed package.

    ref = MetricRef.parse("my.py:sharpness?power=2", base=Path.cwd())
    declared(ref).spec.better                        # "higher"

A file is opened in a sandbox alone, once for its declaration and once for each cell that it scores.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmark import engine, store
from benchmark.engine.sandbox import Limits
from benchmark.methods.registry import load_module, metrics, named, near_installed
from benchmark.utils import installed, syntax
from benchmark.utils.near_names import UnknownName, near

if TYPE_CHECKING:  # it imports torch, which a name is checked without
    from benchmark.api import MetricSpec

_OPEN = Limits(seconds=60, gigabytes=4)
_PLAIN = re.compile(r"[^\n\r;|<>]{0,60}")  # of a unit, which stands in tables
_NOT_JUDGED = ("target", "replication")  # tracks of facts
_HOW = "@metric(needs={...}, track=..., better=..., unit=..., version=1, source=...)"


@dataclass(frozen=True)
class MetricRef:
    """A metric as the command line or a profile names it. Small, and sent between processes.

    Attributes:
        settings: the only setting that it is computed with; empty: those that it declares.
        entry: the entry point that names it, where it is of an installed package.
    """

    file: str  # relative to the project's root, or absolute
    function: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    entry: str = ""

    @classmethod
    def parse(
        cls, entry: str | Mapping[str, Any], base: Path | None = None
    ) -> MetricRef:
        """From ``my.py:f``, ``my.py:f?keep=0.3``, ``{use: my.py:f, keep: 0.3}``, or the name of an entry point.

        Args:
            base: the folder that files are relative to (default: the project's root).

        Raises:
            UnknownName: text in another form, or no such file.
        """
        use, settings = named(entry)
        if found := installed.found("metrics").get(use):
            return cls(str(found.path), found.attribute, settings, use)
        file, _, name = use.rpartition(":")
        if not (name.isidentifier() and file.endswith(".py")):
            raise UnknownName(
                f"a metric is written path/to/file.py:function, not {use!r}"
                f"{near_installed(use, 'metrics')}"
            )
        path = (base or store.ROOT) / file
        if not path.is_file():
            beside = [each.name for each in path.parent.glob("*.py")]
            raise near(file, beside, "file of a metric")
        return cls(str(path.resolve()) if base else file, name, settings)

    @property
    def path(self) -> Path:
        return store.ROOT / self.file

    @property
    def use(self) -> str:
        """What a profile calls it, without its settings."""
        return self.entry or f"{self.file}:{self.function}"

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.entry or f"{self.path.name}:{self.function}"

    @property
    def slug(self) -> str:
        """Part of the names of its files, wherever its own file lies."""
        text = f"{self.path.name}:{self.function};{store.setting_text(self.settings)}"
        digest = hashlib.sha256(text.encode()).hexdigest()
        return f"{self.function[:40]}-{digest[:8]}"

    def check_names(self) -> None:
        """Refuse a function that certainly does not exist, judged by the text of the file.

        Raises:
            UnknownName: the message has near names.
        """
        if syntax.lacks(self.path, self.function):
            known = syntax.functions(self.path)
            raise near(self.function, known, f"metric in {self.path.name}:")

    def load(self) -> MetricSpec:
        """The metric itself, with the settings that it is computed with. Opens the file in this process.

        Raises:
            UnknownName: no such function, or no declaration that can be used.
        """
        spec = _declared_in(load_module(self.path), self)
        if not self.settings:
            return spec
        takes = _keywords(spec.function)
        for key in self.settings:
            if takes is not None and key not in takes:
                raise near(key, takes, f"setting of {self.function}")
        return replace(spec, settings=(dict(self.settings),))


@dataclass(frozen=True)
class Declared:
    """What is known of a metric without opening its file again.

    Attributes:
        spec: its declaration; the function cannot be called here.
        settings: the text of each setting.
    """

    spec: MetricSpec
    settings: Sequence[str]


_seen: dict[tuple[str, ...], Declared] = {}


def declared(ref: MetricRef) -> Declared:
    """The declaration of a metric, for which its file is opened in a process of its own.

    Raises:
        UnknownName: it cannot be used; one line says why.
    """
    ref = replace(ref, file=str(ref.path.resolve()))
    key = store.sha256(ref.path), ref.slug, ref.file
    if key not in _seen:
        done = engine.alone(engine.Unit("declaration", declare_here, (ref,), _OPEN))
        error = done.error or done.result.get("unknown")
        if error:
            raise UnknownName(f"{ref.label}: {error}{_advice(error)}")
        from benchmark.api import CallingSpec, MetricSpec

        values = done.result["fields"]
        kind = CallingSpec if "calls" in values else MetricSpec
        known = {f.name: values[f.name] for f in fields(kind) if f.name in values}
        known["needs"] = frozenset(known["needs"])
        known["settings"] = tuple(known["settings"])
        spec = kind(function=_elsewhere, **known)
        _seen[key] = Declared(spec, tuple(done.result["settings"]))
    return _seen[key]


def declare_here(ref: MetricRef) -> dict[str, Any]:
    """The answer to ``declared`` from this process, as JSON can hold it."""
    try:
        spec = ref.load()
        texts = checked(spec)
    except UnknownName as error:
        return {"unknown": str(error)}
    found = {f.name: getattr(spec, f.name) for f in fields(spec)}
    del found["function"]
    found["settings"] = [{} for _ in texts]
    return {"fields": _jsonable(found), "settings": texts}


def _jsonable(value: Any) -> Any:
    """Sets as sorted lists, mappings and sequences by their parts."""
    if isinstance(value, Mapping):
        return {key: _jsonable(part) for key, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


def _elsewhere(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a metric of the user is computed in a process of its own")


def refuse_taken_names(refs: Iterable[MetricRef]) -> None:
    """Rows go by the metric's name, so no two metrics may have one.

    Raises:
        UnknownName: one has the name of a metric of this project, or of another of ``refs``.
    """
    taken: dict[str, MetricRef] = {}
    for ref in refs:
        if ref.function in metrics():  # its file could not be opened for that
            raise _is_ours(ref, ref.function)
        name = declared(ref).spec.name
        if name in metrics():
            raise _is_ours(ref, name)
        other = taken.setdefault(name, ref)
        if (other.path, other.function) != (ref.path, ref.function):
            raise UnknownName(
                f"two metrics are called {name!r}: {other.label} and {ref.label}; rename one"
            )


def _is_ours(ref: MetricRef, name: str) -> UnknownName:
    return UnknownName(
        f"{ref.label}: {name!r} is a metric of glassbench already; give yours another name"
    )


def is_metric(entry: str) -> bool:
    """Does this name a metric rather than a method? Of a file of one's own, judged by its text: a method is a class."""
    use, _ = named(entry)
    if ":" not in use:
        return use in installed.found("metrics")
    file, _, name = use.rpartition(":")
    path = Path(file) if file.endswith(".py") else Path()
    names = syntax.bound(path)
    if name in names:
        return name not in syntax.classes(path)
    return bool(names) and not syntax.classes(path)


# --------------------------------------------------------------------------------------------- inside the process


def _declared_in(module: ModuleType, ref: MetricRef) -> MetricSpec:
    from benchmark.api import MetricSpec

    value = vars(module).get(ref.function)
    if isinstance(value, MetricSpec):
        return value
    if value is None:
        known = [k for k, v in vars(module).items() if isinstance(v, MetricSpec)]
        raise near(ref.function, known, f"metric in {ref.path.name}:")
    what = "a function" if callable(value) else type(value).__name__
    raise UnknownName(
        f"{ref.function} is {what} without a declaration; put {_HOW} above it"
    )


def checked(spec: MetricSpec) -> list[str]:
    """The text of each setting, of a declaration that can stand in rows.

    Raises:
        UnknownName: it cannot.
    """
    from benchmark.api import TRACKS

    judged = [track for track in TRACKS if track not in _NOT_JUDGED]
    if spec.track not in judged:
        raise UnknownName(f"track {spec.track!r} is not one of {', '.join(judged)}")
    if not spec.name.isidentifier():
        raise UnknownName(f"{spec.name!r} is no name; write it as def name(...)")
    if type(spec.version) is not int or spec.version < 1:
        raise UnknownName(f"version {spec.version!r} is not a whole number from 1 on")
    for key in ("unit", "source"):
        text = getattr(spec, key)
        if not isinstance(text, str):
            raise UnknownName(f"{key} {text!r} is not text")
    if not _PLAIN.fullmatch(spec.unit):
        raise UnknownName(
            f"unit {spec.unit[:70]!r}: write up to 60 characters, on one line, without ; | < >"
        )
    for setting in spec.settings:
        _check_call(spec, setting)
    texts = [store.setting_text(setting) for setting in spec.settings]
    for text, setting in zip(texts, spec.settings, strict=True):
        parts = text.split(";") if text else []
        if len(parts) != len(setting) or not all(map(_PLAIN.fullmatch, parts)):
            raise UnknownName(
                f"setting {text[:80]!r}: write numbers, or up to 60 characters without ; | < >"
            )
    if not texts or len(set(texts)) < len(texts):
        raise UnknownName("settings name one setting twice, or none at all")
    return texts


def _check_call(spec: MetricSpec, setting: Any) -> None:
    """
    Raises:
        UnknownName: the function does not take four arguments (explain, too, if it needs that) and the setting.
    """
    if not isinstance(setting, Mapping):
        raise UnknownName(f"settings hold {setting!r}; write a list of mappings")
    called = ["explain"] if "explain" in spec.needs else []
    try:
        signature = inspect.signature(spec.function)
        signature.bind(*[None] * 4, **dict.fromkeys(called), **setting)
    except TypeError as error:
        arguments = ", ".join(["e, target, batch, rng", *called, "**setting"])
        raise UnknownName(
            f"it is called as {spec.name}({arguments}): {error}"
        ) from None


def _keywords(function: Callable[..., Any]) -> set[str] | None:
    """The settings that a metric takes: names beyond its four first parameters and explain; None: any."""
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    taken = {p.name for p in parameters[4:] if p.kind is not p.VAR_POSITIONAL}
    return taken - {"explain"}


_ADVICE = {
    "metric() takes 0 positional": f"; write {_HOW}",
    "required keyword-only argument": f"; a declaration is {_HOW}",
    "exists already": "; give yours another name",
    "argument 'calls'": "; a metric that calls the method again is declared with glassbench.metric",
}


def _advice(error: str) -> str:
    """What to write instead, where an error of Python does not say so."""
    return next((text for words, text in _ADVICE.items() if words in error), "")
