"""Finds methods and refuses unknown names with near ones. A method is a class in a file, with settings.

path/to/file.py:ClassName        a file; the baselines of the house are loaded exactly as a user's own is
captum:Occlusion?strides=4       a class of another library, through its file in ``benchmark/adapters``
maps.npz                         heat maps that were made elsewhere
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

from benchmark import store
from benchmark.api import METRICS, Method, MetricSpec, settings_of
from benchmark.utils.near_names import UnknownName, near, pick

_PACKAGE = Path(__file__).resolve().parent.parent
_ADAPTERS = Path(__file__).resolve().parent / "adapters"


@dataclass(frozen=True)
class MethodRef:
    """A method as a profile names it: a file, a class in it, and settings. Small, and travels between processes."""

    file: str  # relative to the project's root, or absolute
    cls: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, entry: str | Mapping[str, Any], base: Path | None = None) -> MethodRef:
        """From ``baselines/grad_cam.py:GradCAM`` or ``{use: baselines/score_cam.py:ScoreCAM, variant: library}``."""
        entry = {"use": entry} if isinstance(entry, str) else dict(entry)
        use, _, query = str(entry.pop("use", "")).partition("?")
        settings = {
            key: _literal(value) for key, value in parse_qsl(query, keep_blank_values=True)
        } | entry
        if use.endswith(".npz"):
            path = (base or store.ROOT) / use
            if not path.exists():
                raise UnknownName(f"no file of maps {use!r}")
            return cls(
                str(_ADAPTERS / "maps.py"),
                "Maps",
                {"file": str(path), "sha256": store.sha256(path), **settings},
            )
        file, _, name = use.rpartition(":")
        if not name.isidentifier() or not (file.endswith(".py") or file.isidentifier()):
            raise UnknownName(
                f"a method is written path/to/file.py:ClassName, library:ClassName or maps.npz, not {use!r}"
            )
        if not file.endswith(".py"):
            libraries = {p.stem for p in _ADAPTERS.glob("*.py")} - {"__init__", "maps"}
            return cls(
                str(_ADAPTERS / f"{pick(file, dict.fromkeys(libraries, file), 'library')}.py"),
                name,
                settings,
            )
        path = (base or store.ROOT) / file
        if not path.exists():
            raise near(
                file, (str(p.relative_to(store.ROOT)) for p in method_files()), "method file"
            )
        ref = cls(file if base is None else str(path.resolve()), name, settings)
        inside = ref.own and Path(ref.file).is_relative_to(store.ROOT)
        return replace(ref, file=str(Path(ref.file).relative_to(store.ROOT))) if inside else ref

    @property
    def path(self) -> Path:
        return store.ROOT / self.file  # an absolute file stays as it is

    def build(self) -> Method:
        """A fresh instance, its settings checked against the class."""
        module = load_module(self.path)
        if hasattr(
            module, "adapt"
        ):  # one of ``benchmark/adapters``: it makes the class of that name by itself
            return module.adapt(self.cls, self.settings)
        classes = {
            k: v
            for k, v in vars(module).items()
            if inspect.isclass(v) and v.__module__ == module.__name__
        }
        found = pick(self.cls, classes, f"class in {Path(self.file).name}:")
        known = {f.name for f in fields(found) if f.init} if is_dataclass(found) else set()
        for key in self.settings:
            if key not in known:
                raise near(key, known, f"setting of {self.cls}")
        method = found(**{key: _built(value) for key, value in self.settings.items()})
        if not isinstance(method, Method):
            raise UnknownName(
                f"{self.file}:{self.cls} is no method: it needs name, fit(target, reference, rng) and "
                f"explain(target, batch, rng)"
            )
        return method

    @property
    def own(self) -> bool:
        """Is it a file of the house, in ``baselines/`` or a paper's package? A stranger's runs in a process of its own."""
        homes = (store.ROOT / "baselines", _PACKAGE.parent / "baselines", _PACKAGE / "papers")
        path = self.path.resolve()
        return any(path.is_relative_to(home.resolve()) for home in homes) and all(
            ref.own for ref in self.named
        )

    @property
    def named(self) -> list[MethodRef]:
        """The methods that its settings name."""
        return [
            MethodRef.parse(value)
            for value in self.settings.values()
            if isinstance(value, str) and ".py:" in value
        ]

    def is_among(self, refs: Sequence[MethodRef]) -> bool:
        """Is it one of these, with the same settings?"""
        mine = self.path.resolve(), self.cls, self.settings
        return any(mine == (ref.path.resolve(), ref.cls, ref.settings) for ref in refs)

    @property
    def stem(self) -> str:
        """The file's name; that of the paper for a paper's ``method.py``."""
        path = Path(self.file)
        return path.parent.name if path.name == "method.py" else path.stem

    @property
    def slug(self) -> str:
        """A file name for the method with its settings; unique, safe, readable."""
        text = f"{self.stem}-{self.cls}-{store.setting_text(self.settings)}"
        safe = re.sub(r"[^A-Za-z0-9=.]+", "-", text).strip("-.")[:80]
        file = (
            Path(self.file).name if Path(self.file).is_absolute() else self.file
        )  # wherever a stranger's file lies
        return f"{safe}-{hashlib.sha256(f'{file}:{text}'.encode()).hexdigest()[:8]}"


def _literal(text: str) -> Any:
    """``3``, ``0.5``, ``(1, 4, 4)``, ``true`` or plain text."""
    words = {"true": True, "false": False, "none": None}
    try:
        return words[text.lower()] if text.lower() in words else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _built(value: Any) -> Any:
    """A setting; one that names a method (``of: baselines/grad_cam.py:GradCAM``) is that method."""
    return MethodRef.parse(value).build() if isinstance(value, str) and ".py:" in value else value


def load_module(path: Path) -> ModuleType:
    """The module of a file, under a name that cannot clash with a package; loaded once a process and content.

    A file of the package itself is that module of the package.
    """
    path = Path(path).resolve()
    if path.is_relative_to(_PACKAGE):
        return importlib.import_module(
            ".".join(("benchmark", *path.relative_to(_PACKAGE).with_suffix("").parts))
        )
    name = f"glassbench_plugin_{path.stem}_{store.sha256(path)[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def describe(method: Any) -> tuple[str, str, str]:
    """(name, paper, setting) of a method as its rows show them; paper is one of the five, baseline, control or user."""
    paper = getattr(method, "paper", None) or getattr(method, "kind", "user")
    return str(method.name), str(paper), store.setting_text(settings_of(method))


def metrics() -> dict[str, MetricSpec]:
    """Every metric of the house, by name."""
    import benchmark.metrics  # noqa: F401  (its modules declare the metrics)

    return dict(sorted(METRICS.items()))


def is_adapter(ref: MethodRef) -> bool:
    """Is it a class of another library, through its file in ``benchmark/adapters``?"""
    return ref.path.resolve().is_relative_to(_ADAPTERS)


def method_files() -> list[Path]:
    """Where the house's own methods are: a file a baseline, ``method.py`` of each paper."""
    return [
        *sorted(store.ROOT.glob("baselines/*.py")),
        *sorted(store.ROOT.glob("benchmark/papers/*/method.py")),
    ]


def method_refs() -> list[MethodRef]:
    """Every method of the house's own files: the classes in each that have a name, ``fit`` and ``explain``."""
    refs = []
    for path in method_files():
        module = load_module(path)
        for name, cls in vars(module).items():
            own = inspect.isclass(cls) and cls.__module__ == module.__name__
            if own and all(hasattr(cls, part) for part in ("name", "fit", "explain")):
                refs.append(MethodRef(str(path.relative_to(store.ROOT)), name))
    return refs
