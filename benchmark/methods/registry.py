"""Finds methods by what a profile calls them; an unknown name is refused with a similar one.

path/to/file.py:ClassName        a class in a file; the baselines are loaded exactly as a user's file is
grad-norm                        a class of an installed package, by its entry point in ``glassbench.methods``
captum:Occlusion?strides=4       a class of another library, through its file in ``benchmark/methods/adapters``
maps.npz                         precomputed heat maps
"""

from __future__ import annotations

import ast
import contextlib
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
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from benchmark import store
from benchmark.utils import installed, syntax
from benchmark.utils.near_names import UnknownName, near, pick

if TYPE_CHECKING:  # it imports torch, which a name is checked without
    from benchmark.api import CallingSpec, Method, MetricSpec

_PACKAGE = Path(__file__).resolve().parent.parent
_PLUGIN = "glassbench_plugin_"  # what the modules of a user's files are called
_ADAPTERS = Path(__file__).resolve().parent / "adapters"


_LIBRARIES = {  # adapter -> the module that has its classes, and what they are called
    "captum": ("captum.attr", "attribution in captum"),
    "pytorch_grad_cam": ("pytorch_grad_cam", "map in pytorch_grad_cam"),
    "zennit": ("zennit.composites", "composite in zennit"),
}


@dataclass(frozen=True)
class MethodRef:
    """A method as a profile names it: a file, a class in it, and settings. Small, and sent between processes."""

    file: str  # relative to the project's root, or absolute
    cls: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    entry: str = (
        ""  # the entry point that names it, where it is of an installed package
    )

    @classmethod
    def parse(
        cls, entry: str | Mapping[str, Any], base: Path | None = None
    ) -> MethodRef:
        """From ``baselines/grad_cam.py:GradCAM`` or ``{use: baselines/score_cam.py:ScoreCAM, variant: library}``.

        Args:
            base: the folder that files are relative to (default: the project's root).

        Raises:
            UnknownName: text in another form, or a file or library that does not exist.
        """
        use, settings = named(entry)
        if use.endswith(".npz"):
            return cls._of_maps((base or store.ROOT) / use, use, settings)
        if entry_point := installed.found("methods").get(use):
            path = str(entry_point.path)
            return cls(path, entry_point.attribute, settings, use)
        file, _, name = use.rpartition(":")
        is_file = file.endswith(".py")
        if not name.isidentifier() or not (is_file or file.isidentifier()):
            raise UnknownName(
                f"a method is written path/to/file.py:ClassName, library:ClassName or maps.npz, not {use!r}"
                f"{near_installed(use, 'methods')}"
            )
        if not is_file:
            return cls(str(_adapter(file)), name, settings)
        return cls._of_file(file, name, settings, base)

    @classmethod
    def _of_maps(cls, path: Path, use: str, settings: Mapping[str, Any]) -> MethodRef:
        """Precomputed maps, which are known by their content."""
        if not path.is_file():
            raise UnknownName(f"no file of maps {use!r}")
        if what := store.not_npz(path):
            raise UnknownName(
                f"{use} is {what}; maps are written by numpy.savez, an array (n, h, w) of numbers for each network"
            )
        adapter = str(_ADAPTERS / "maps.py")
        content = {"file": str(path), "sha256": store.sha256(path)}
        return cls(adapter, "Maps", {**content, **settings})

    @classmethod
    def _of_file(
        cls, file: str, name: str, settings: Mapping[str, Any], base: Path | None
    ) -> MethodRef:
        """A class of a file; one of the project's own files is named relative to the root."""
        path = base / file if base else store.find(file)
        if not path.exists():
            path = store.find(file)
        if not path.exists():
            raise near(file, map(inside, method_files()), "method file")
        if base is not None:
            file = str(path.resolve())
        ref = cls(file, name, settings)
        return replace(ref, file=inside(Path(file))) if ref.own else ref

    @property
    def path(self) -> Path:
        return store.find(self.file)  # ``file`` itself where that is absolute

    @property
    def use(self) -> str:
        """What a profile calls it, without its settings."""
        return self.entry or f"{self.file}:{self.cls}"

    def check_names(self) -> None:
        """Refuse a class or setting that certainly does not exist, judged by the text of the file.

        Raises:
            UnknownName: the message has near names.
        """
        if is_adapter(self):
            self._check_library()
            return
        found = syntax.classes(self.path)
        if syntax.lacks(self.path, self.cls):
            raise near(self.cls, found, f"class in {self.path.name}:")
        known = syntax.fields(found[self.cls]) if self.cls in found else None
        for key in self.settings:
            if known is not None and key not in known:
                raise near(key, known, f"setting of {self.cls}")

    def _check_library(self) -> None:
        module, what = _LIBRARIES.get(self.path.stem, ("", ""))
        path = installed.file_of(module)
        if path and syntax.lacks(path, self.cls):
            names = [name for name in syntax.bound(path) if name[0].isupper()]
            raise near(self.cls, names, what)

    def build(self) -> Method:
        """A fresh instance, its settings checked against the class.

        Raises:
            UnknownName: no such class or setting, or a class that is not a method.
        """
        module = load_module(self.path)
        if hasattr(module, "adapt"):  # an adapter creates the class of that name
            return module.adapt(self.cls, self.settings)
        found = pick(self.cls, _classes(module), f"class in {Path(self.file).name}:")
        known = set()
        if is_dataclass(found):
            known = {f.name for f in fields(found) if f.init}
        for key in self.settings:
            if key not in known:
                raise near(key, known, f"setting of {self.cls}")
        settings = {key: _built(value) for key, value in self.settings.items()}
        return as_method(found(**settings), f"{self.file}:{self.cls}")

    @property
    def own(self) -> bool:
        """Is it a file of this project, in ``baselines/`` or a paper's package? Any other is external: it runs in a
        process of its own."""
        homes = [home / "baselines" for home in store.homes()]
        homes.append(_PACKAGE / "papers")
        path = self.path.resolve()
        is_ours = any(path.is_relative_to(home.resolve()) for home in homes)
        return is_ours and all(ref.own for ref in self.named)

    @property
    def named(self) -> list[MethodRef]:
        """The methods that its settings name."""
        values = self.settings.values()
        return [MethodRef.parse(value) for value in values if _names_a_method(value)]

    def is_among(self, refs: Sequence[MethodRef]) -> bool:
        """Is it one of these, with the same settings?"""
        return any(self._is_same(ref) for ref in refs)

    def _is_same(self, ref: MethodRef) -> bool:
        if (self.cls, self.settings) != (ref.cls, ref.settings):
            return False
        return self.path.resolve() == ref.path.resolve()

    @property
    def stem(self) -> str:
        """The file's name; that of the paper for a paper's ``method.py``."""
        path = Path(self.file)
        return path.parent.name if path.name == "method.py" else path.stem

    @property
    def label(self) -> str:
        """What units of work call it: one of the project's own files holds one method, any other may hold several."""
        return self.stem if self.own else f"{self.stem}:{self.cls}"

    @property
    def slug(self) -> str:
        """A file name for the method with its settings; unique, safe, readable."""
        text = f"{self.stem}-{self.cls}-{store.setting_text(self.settings)}"
        safe = re.sub(r"[^A-Za-z0-9=.]+", "-", text)
        safe = safe.strip("-.")[:80]
        # An external file keeps its slug wherever it lies.
        path = Path(self.file)
        file = path.name if path.is_absolute() else self.file
        digest = hashlib.sha256(f"{file}:{text}".encode()).hexdigest()
        return f"{safe}-{digest[:8]}"


def named(entry: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(what is named, its settings) of ``what?key=value`` or ``{use: what, key: value}``."""
    if isinstance(entry, str):
        entry = {"use": entry}
    settings = dict(entry)
    use, _, query = str(settings.pop("use", "")).partition("?")
    options = parse_qsl(query, keep_blank_values=True)
    typed = {key: _literal(value) for key, value in options}
    return use, typed | settings


def near_installed(name: str, kind: str) -> str:
    """What installed packages have of a kind, for the end of an error; empty if it is nothing."""
    known = installed.found(kind)
    return f"; installed: {near(name, known, kind)}" if known else ""


def as_method(given: Any, what: str) -> Method:
    """An object as a method; one without a name goes by that of its class.

    Raises:
        UnknownName: it is none.
    """
    from benchmark.api import Method

    if not hasattr(given, "name"):
        with contextlib.suppress(AttributeError):
            object.__setattr__(given, "name", type(given).__name__)
    if not isinstance(given, Method):
        raise UnknownName(
            f"{what} is not a method: it needs fit(target, reference, rng) and explain(target, batch, rng)"
        )
    return given


def _adapter(library: str) -> Path:
    """The adapter of a library.

    Raises:
        UnknownName: there is none.
    """
    files = {path.stem: path for path in _ADAPTERS.glob("*.py")}
    del files["__init__"], files["maps"]
    return pick(library, files, "library")


def _literal(text: str) -> Any:
    """``3``, ``0.5``, ``(1, 4, 4)``, ``true`` or plain text."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _names_a_method(value: Any) -> bool:
    return isinstance(value, str) and ".py:" in value


def _built(value: Any) -> Any:
    """A setting; one that names a method (``of: baselines/grad_cam.py:GradCAM``) becomes that method."""
    return MethodRef.parse(value).build() if _names_a_method(value) else value


def load_module(path: Path) -> ModuleType:
    """The module of a file, under a name that cannot clash with a package; loaded once per process and content.

    A file of this package, or of another one that Python finds, is imported as the module that it is.
    """
    path = Path(path).resolve()
    if path.is_relative_to(_PACKAGE):
        parts = path.relative_to(_PACKAGE).with_suffix("").parts
        return importlib.import_module(".".join(("benchmark", *parts)))
    if module := installed.module_of(path):
        return importlib.import_module(module)
    name = f"{_PLUGIN}{path.stem}_{store.sha256(path)[:12]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look up their module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _classes(module: ModuleType) -> dict[str, type]:
    """The classes that a module defines, by name."""
    found = {}
    for name, value in vars(module).items():
        if inspect.isclass(value) and value.__module__ == module.__name__:
            found[name] = value
    return found


def describe(method: Any) -> tuple[str, str, str]:
    """(name, paper, setting) of a method as its rows show them; paper is one of the five, baseline, control or user."""
    from benchmark.api import settings_of

    paper = getattr(method, "paper", None) or getattr(method, "kind", "user")
    setting = store.setting_text(settings_of(method))
    return str(method.name), str(paper), setting


def metrics() -> dict[str, MetricSpec]:
    """Every metric of this project, by name; not those that a user has declared in this process."""
    import benchmark.metrics  # noqa: F401  (its modules declare the metrics)
    from benchmark.api import METRICS

    found = {}
    for name, spec in sorted(METRICS.items()):
        module = spec.function.__module__ or _PLUGIN
        if not module.startswith(_PLUGIN) and module != "__main__":
            found[name] = spec
    return found


def scoring_metrics() -> dict[str, MetricSpec]:
    """Those that see a finished explanation, by name."""
    from benchmark.api import CallingSpec

    every = metrics().items()
    return {name: spec for name, spec in every if not isinstance(spec, CallingSpec)}


def calling_metrics() -> dict[str, CallingSpec]:
    """Those that call the method again, by name."""
    from benchmark.api import CallingSpec

    every = metrics().items()
    return {name: spec for name, spec in every if isinstance(spec, CallingSpec)}


def is_adapter(ref: MethodRef) -> bool:
    """Is it a class of another library, through its file in ``benchmark/methods/adapters``?"""
    return ref.path.resolve().is_relative_to(_ADAPTERS)


def remark(ref: MethodRef) -> str:
    """What a reader of the rows of a library's method should know; empty if there is nothing."""
    say = getattr(load_module(ref.path), "remark", None) if is_adapter(ref) else None
    return say(ref.cls, ref.settings) if say else ""


def method_files() -> list[Path]:
    """The files of this project's methods: those in ``baselines/``, and ``method.py`` of each paper."""
    homes = [sorted(home.glob("baselines/*.py")) for home in store.homes()]
    baselines = next(filter(None, homes), [])
    return [*baselines, *sorted(_PACKAGE.glob("papers/*/method.py"))]


def inside(path: Path) -> str:
    """A path as it is named in a profile: relative to the home that has it."""
    for home in (*store.homes(), _PACKAGE.parent):
        if path.is_relative_to(home):
            return str(path.relative_to(home))
    return str(path)


def method_refs() -> list[MethodRef]:
    """Every method of this project: the classes in its files that have a name, ``fit`` and ``explain``."""
    refs = []
    for path in method_files():
        for name, cls in _classes(load_module(path)).items():
            if all(hasattr(cls, part) for part in ("name", "fit", "explain")):
                refs.append(MethodRef(inside(path), name))
    return refs
