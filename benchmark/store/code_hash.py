"""What code means, as a hash: a definition with all that it refers to, regardless of comments, layout and location.

    code = Code(root)
    code.hash(["benchmark.metrics.faithfulness:average_drop"])      # changes when the number could
    code.reached(["benchmark.pipeline.protocol:attempt"])           # the definitions behind it, by module
    code.files(["benchmark.pipeline.protocol:attempt"])             # and their files

Idea: a program is a graph of top-level definitions (functions, classes, assignments). What an entry computes depends on
the definitions that can be reached from it by name. The hash is that of the reached syntax trees. Comments, docstrings,
blank lines, trailing commas, quotes and ``.5`` for ``0.5`` are not part of a tree, and neither is the file it is in: a
definition that is moved unchanged keeps its hash.

Theory: names are resolved through imports, so importing another object under the same name changes the hash. A call
that no name leads to (``getattr``) is not seen. A class is seen wherever an annotation names it, with all its methods;
so is what a decorator may have put into a registry of its own module, unless ``besides`` names it. Modules that carry
numbers without deciding them (``CARRIERS``) are not entered by name; a definition there that does decide is named as an
entry. ``work`` and ``offers`` of a method's class, what it declares about itself, are left out.

The trees are read field by field instead of by ``ast.dump`` or ``ast.unparse``, whose texts differ between Python 3.11
and 3.14.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import functools
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.store.files import write_json
from benchmark.store.paths import ROOT

# Modules that carry numbers and decide none: files and formats, where work runs, names of things.
CARRIERS = frozenset(
    f"benchmark.{name}"
    for name in (
        "engine",
        "engine.cluster",
        "engine.forkserver",
        "engine.machine",
        "engine.pool",
        "engine.sandbox",
        "engine.units",
        "methods.describe",
        "methods.registry",
        "pipeline.cells",
        "pipeline.keys",
        "pipeline.profile",
        "pipeline.settings",
        "pipeline.unit_times",
        "shared.work",
        "store",
        "store.code_hash",
        "store.data_scripts",
        "store.files",
        "store.git",
        "store.hashes",
        "store.paths",
        "store.recovery",
        "store.rows",
        "utils.devices",
        "utils.installed",
        "utils.near_names",
        "utils.temporary",
    )
)
DECLARED = frozenset({"work", "offers"})  # what a method says about itself
_PACKAGE = "benchmark"
_METHOD = re.compile(r"[\w/.-]+\.py:[A-Za-z_]\w*(\?.*)?")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SILENT = frozenset(
    {"ctx", "kind", "type_comment"}
)  # fields of a tree that change nothing

Place = tuple[str, str]  # (module, name of a top-level definition)
Reference = tuple[str, Place | str]  # (what is written, what it stands for)


@dataclass(eq=False)
class Module:
    """A file: its top-level statements by the names they bind, its imports, and the statements that bind nothing."""

    name: str
    path: Path
    stamp: Stamp
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    # alias -> (module, name in it or "")
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    effects: list[ast.stmt] = field(default_factory=list)


@dataclass(frozen=True)
class Code:
    """The package below ``root`` (and files beside it, such as ``baselines/grad_cam.py``)."""

    root: Path
    carriers: frozenset[str] = CARRIERS

    def hash(self, entries: Iterable[str], besides: Set[Place] = frozenset()) -> str:
        """The hash of everything that ``entries`` reach, in hexadecimal; kept until one of the files behind it changes.

        Args:
            entries: ``module:name``, or ``module`` for a whole module; a module is dotted, or the path of a file.
            besides: members of a registry (``registered``) that count only where a name leads to them.

        Raises:
            KeyError: an entry does not exist. SyntaxError: Python cannot parse a file.
        """
        if self == CODE:
            _recall()
        question = self, tuple(entries), frozenset(besides)
        if not _is_fresh(known := _HASHES.get(question)):
            known = _HASHES[question] = self._computed(*question[1:])
        return known[0]

    def _computed(self, entries: Iterable[str], besides: Set[Place]) -> Hashed:
        reached = self.reached(entries, besides)
        lines = sorted({self.line(place, besides) for place in reached})
        found = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        stamps = {}
        for name in dict(reached):
            module = _module(self.root, name)
            stamps[str(module.path)] = module.stamp
        return found, stamps

    def files(self, entries: Iterable[str]) -> list[Path]:
        """The files of everything that ``entries`` reach, sorted, without empty ``__init__`` files."""
        reached = self.reached(entries)
        modules = {name: _module(self.root, name) for name, _ in reached}
        return sorted(
            {
                modules[name].path
                for name, definition in reached
                if definition or modules[name].effects
            }
        )

    def reached(
        self, entries: Iterable[str], besides: Set[Place] = frozenset()
    ) -> set[Place]:
        """Every definition that ``entries`` depend on; ``""`` stands for a module's statements that bind no name."""
        waiting = [place for entry in entries for place in self._entry(entry)]
        found: set[Place] = set()
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting += self._behind(place, besides)
        return found

    def registered(self, name: str) -> set[Place]:
        """The definitions that a decorator of their own module may keep in a registry."""
        return {(name, each) for each in _registered(_module(self.root, name))}

    def definitions(self, file: str) -> list[Place]:
        """Every definition of a file, with ``""`` for the statements that bind no name."""
        name, _ = _place(file)
        return [(name, each) for each in ("", *_module(self.root, name).definitions)]

    def meaning(self, place: Place) -> str:
        """The hash of one definition's tree alone, without what it refers to."""
        return _hashed(_module(self.root, place[0]), place[1])

    def _entry(self, entry: str) -> list[Place]:
        name, definition = _place(entry)
        module = _module(self.root, name)
        if definition and definition not in module.definitions:
            raise KeyError(f"{module.path} has no definition {definition!r}")
        return [(name, definition)] if definition else self.definitions(entry)

    def _behind(self, place: Place, besides: Set[Place]) -> list[Place]:
        """What a definition refers to, and what happens when its module is imported."""
        name, _ = place
        imported = [(package, "") for package in _packages(name)]
        references = self._references(place, besides)
        named = [target for _, target in references if isinstance(target, tuple)]
        return [*imported, *named]

    def line(self, place: Place, besides: Set[Place] = frozenset()) -> str:
        """A definition as text: the hash of its tree, and those of what its names stand for."""
        return " ".join([self.meaning(place), *sorted(self.names(place, besides))])

    def names(self, place: Place, besides: Set[Place] = frozenset()) -> set[str]:
        """What a definition refers to: each name with the hash of the tree that it stands for."""
        references = self._references(place, besides)
        return {f"{name}={self._meant(target)}" for name, target in references}

    def _references(self, place: Place, besides: Set[Place]) -> list[Reference]:
        found = _references(self.root, self.carriers, *place)
        _, definition = place
        if definition:
            return found
        return [(name, target) for name, target in found if target not in besides]

    def _meant(self, target: Place | str) -> str:
        return target if isinstance(target, str) else self.meaning(target)


CODE = Code(Path(__file__).resolve().parent.parent.parent)  # this project's

Stamp = tuple[int, int]  # of a file: when it was changed, its size
Hashed = tuple[str, Mapping[str, Stamp]]  # a hash, and the files that it was made from
_HASHES: dict[tuple[Code, tuple[str, ...], Set[Place]], Hashed] = {}


def _is_fresh(known: Hashed | None) -> bool:
    """Are the files of a hash what they were?"""
    try:
        return known is not None and all(_stamp(f) == at for f, at in known[1].items())
    except FileNotFoundError:
        return False


def _stamp(file: str) -> Stamp:
    stat = os.stat(file)
    return stat.st_mtime_ns, stat.st_size


# --------------------------------------------------------------------------------------------- from process to process

KEPT = ROOT / "results" / ".code_hashes.json"  # of this project's code, not in git


def _state() -> tuple[str, dict[str, Stamp]]:
    """A hash of the contents of all files of the code, and their stamps from before they were read."""
    files = [
        *CODE.root.glob("*.py"),
        *CODE.root.glob("baselines/*.py"),
        *CODE.root.glob(f"{_PACKAGE}/**/*.py"),
    ]
    stamps = {}
    for file in sorted(map(str, files)):
        stamps[file] = _stamp(file)
    found = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for file in stamps:
        content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        line = f"{file} {content}\n"
        found.update(line.encode())
    return found.hexdigest(), stamps


@functools.cache
def _recall() -> None:
    """Take over the hashes of an earlier process (they take seconds), if the code has not changed by a byte."""
    if KEPT.parent.is_dir():
        atexit.register(keep)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(KEPT.read_text())
        contents, stamps = _state()
        if kept["code"] != contents:
            return
        for entries, besides, found, files in kept["hashes"]:
            question = CODE, tuple(entries), frozenset(map(tuple, besides))
            _HASHES[question] = found, {file: stamps[file] for file in files}
        _WRITTEN.update(_HASHES)


_WRITTEN: dict[Any, Hashed] = {}  # what the file holds of ``_HASHES``


def keep() -> None:
    """Write the hashes of this process for the next one; those with a file that has changed, or is elsewhere, are
    left out.

    Workers that start after it need not compute them.
    """
    if _HASHES == _WRITTEN or not KEPT.parent.is_dir():
        return
    with contextlib.suppress(OSError):
        contents, stamps = _state()
        hashes = []
        for (code, entries, besides), (found, files) in _HASHES.items():
            if code == CODE and files.items() <= stamps.items():
                hashes.append([entries, sorted(besides), found, list(files)])
        hashes.sort()
        write_json(KEPT, {"code": contents, "hashes": hashes})
        _WRITTEN.clear()
        _WRITTEN.update(_HASHES)


@functools.cache
def package_hash() -> str:
    """The hash of the whole package: machines on which it is equal compute the same numbers."""
    files = sorted((CODE.root / "benchmark").rglob("*.py"))
    return CODE.hash(str(file.relative_to(CODE.root)) for file in files)


# --------------------------------------------------------------------------------------------- modules


def _file(root: Path, name: str) -> str | None:
    """The file of a dotted module, or of a path; without ``pathlib``, which takes longer than the file system."""
    if name.endswith(".py"):
        return os.path.join(root, name)
    base = os.path.join(root, *name.split("."))
    files = (f"{base}.py", f"{base}/__init__.py")
    return next((file for file in files if os.path.isfile(file)), None)


def _place(entry: str) -> Place:
    """Module and name of an entry; a file of the package goes by its dotted name."""
    name, _, definition = entry.partition(":")
    if name.startswith(f"{_PACKAGE}/"):
        name = name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    return name, definition


def _packages(name: str) -> list[str]:
    """A module and the packages around it, all of which are imported with it."""
    if "/" in name:
        return [name]
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _module(root: Path, name: str) -> Module:
    file = _file(root, name)
    if file is None:
        raise KeyError(f"no module {name} in {root}")
    return _parsed(name, file, _stamp(file))


@functools.cache
def _parsed(name: str, file: str, stamp: Stamp) -> Module:
    module = Module(name, Path(file), stamp)
    for statement in ast.parse(module.path.read_bytes()).body:
        if not isinstance(
            statement, _DEFINITIONS
        ):  # also imports inside try, if and with
            module.imports |= _inner_imports(statement)
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            continue
        if names := _bound(statement):
            for bound in names:
                module.definitions.setdefault(bound, []).append(statement)
        elif not (
            _is_text(statement) or _is_main(statement) or _is_for_checkers(statement)
        ):
            module.effects.append(statement)
    return module


def _imported(statement: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str]]:
    """alias -> (module, name in it; "" for the module itself)."""
    if isinstance(statement, ast.ImportFrom):
        module = statement.module or "."
        return {
            alias.asname or alias.name: (module, alias.name)
            for alias in statement.names
        }
    found = {}
    for alias in statement.names:
        package = alias.name.split(".")[0]
        found[alias.asname or package] = (alias.name if alias.asname else package, "")
    return found


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement binds; none if it also changes something else."""
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        is_plain = isinstance(statement, ast.Assign)
        targets = statement.targets if is_plain else [statement.target]
        names = [_names(target) for target in targets]
        return set().union(*names) if all(names) else set()
    if isinstance(statement, (ast.If, ast.Try, ast.With)):
        inner = [node for node in ast.walk(statement) if isinstance(node, ast.stmt)]
        return set().union(*(_bound(node) for node in inner if node is not statement))
    is_type_alias = (
        type(statement).__name__ == "TypeAlias"
    )  # ``ast`` has it from Python 3.12 on
    return {statement.name.id} if is_type_alias else set()


def _names(target: ast.expr) -> set[str]:
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, (ast.Tuple, ast.List)):
        return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}
    return set()


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_for_checkers(statement: ast.stmt) -> bool:
    """``if TYPE_CHECKING:``"""
    return (
        isinstance(statement, ast.If)
        and isinstance(statement.test, ast.Name)
        and statement.test.id == "TYPE_CHECKING"
    )


def _is_main(statement: ast.stmt) -> bool:
    """``if __name__ == "__main__":``"""
    main = ast.dump(ast.parse('__name__ == "__main__"', mode="eval").body)
    is_plain = isinstance(statement, ast.If) and not statement.orelse
    return is_plain and ast.dump(statement.test) == main


# --------------------------------------------------------------------------------------------- trees


def tree(node: ast.AST) -> str:
    """A syntax tree as text, the same on every version of Python: without docstrings, imports and declarations."""
    if isinstance(node, ast.Constant):
        return f"({type(node.value).__name__} {node.value!r})"
    fields = {
        name: getattr(node, name, None) for name in node._fields if name not in _SILENT
    }
    texts = [
        f"{k}={_field(node, k, value)}"
        for k, value in fields.items()
        if value not in (None, [])
    ]
    return f"({type(node).__name__} {' '.join(texts)})"


def _field(node: ast.AST, name: str, value: object) -> str:
    """A field of a tree as text."""
    if not isinstance(value, list):
        return _text(value)
    kept = _body(node, value) if name == "body" else value
    if isinstance(node, ast.JoinedStr):
        kept = [part for part in value if not _is_empty_text(part)]
    return f"[{' '.join(map(_text, kept))}]"


def _text(value: object) -> str:
    return tree(value) if isinstance(value, ast.AST) else repr(value)


def _is_empty_text(part: ast.AST) -> bool:  # Python 3.12.1 ends a nested format in one
    return isinstance(part, ast.Constant) and part.value == ""


def _body(node: ast.AST, statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """What a body does: without docstring, imports (names are resolved) and what a class declares about itself."""
    kept = [
        part
        for part in statements
        if not isinstance(part, (ast.Import, ast.ImportFrom))
    ]
    if isinstance(node, _DEFINITIONS):
        kept = [part for part in kept if not _is_text(part)]
    if isinstance(node, ast.ClassDef):
        names = set().union(*map(_bound, kept))
        if {"fit", "explain"} <= names:
            kept = [part for part in kept if not _is_declared(part)]
    return kept


def _is_declared(statement: ast.stmt) -> bool:
    names = _bound(statement)
    return bool(names) and names <= DECLARED


def _statements(module: Module, definition: str) -> list[ast.stmt]:
    return module.definitions[definition] if definition else module.effects


@functools.cache
def _hashed(module: Module, definition: str) -> str:
    text = " ".join(tree(statement) for statement in _statements(module, definition))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --------------------------------------------------------------------------------------------- names


def _references(
    root: Path, carriers: frozenset[str], name: str, definition: str
) -> list[Reference]:
    """(what is written, what it stands for): a definition of the package, or the name of something outside it."""
    return _referred(root, carriers, _module(root, name), definition)


@functools.cache
def _referred(
    root: Path, carriers: frozenset[str], module: Module, definition: str
) -> list[Reference]:
    found: list[Reference] = []
    for statement in _statements(module, definition):
        found += _statement_references(root, carriers, module, statement)
    if not definition:
        found += [(name, (module.name, name)) for name in _registered(module)]
    return [pair for pair in found if pair[1] != (module.name, definition)]


def _statement_references(
    root: Path, carriers: frozenset[str], module: Module, statement: ast.stmt
) -> list[Reference]:
    found: list[Reference] = []
    inner = _inner_imports(statement)
    imports = module.imports | inner
    local = _local_names(statement)
    for chain in _chains(statement):
        first, *rest = chain
        if not rest and first in local and _is_module(root, imports.get(first)):
            continue  # a variable that is called like a module
        targets = _resolve(root, carriers, module, imports, chain)
        found += [(".".join(chain), target) for target in targets]
    for text in _methods(root, statement):
        entry, _, _ = text.partition("?")
        found.append((text, _place(entry)))
    if isinstance(
        statement, (ast.If, ast.Try, ast.With)
    ):  # what it imports is what it binds
        for alias, (source, name) in inner.items():
            targets = _followed(root, carriers, source, [name] if name else [])
            found += [(alias, target) for target in targets]
    return found


def _registered(module: Module) -> list[str]:
    """Definitions that a decorator of the same module is called with: it may keep them in a registry."""
    found = []
    for name, statements in module.definitions.items():
        for decorator in getattr(statements[0], "decorator_list", []):
            if any(chain[0] in module.definitions for chain in _chains(decorator)):
                found.append(name)
    return found


def _inner_imports(statement: ast.stmt) -> dict[str, tuple[str, str]]:
    """What a statement imports, at any depth."""
    found = {}
    for node in ast.walk(statement):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= _imported(node)
    return found


def _methods(root: Path, statement: ast.stmt) -> list[str]:
    """Methods that a definition names by text: ``"baselines/ace.py:ACE"``."""
    found = []
    for node in ast.walk(statement):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and _METHOD.fullmatch(text):
            file, _, _ = text.partition(":")
            if (root / file).is_file():
                found.append(text)
    return found


def _is_module(root: Path, source: tuple[str, str] | None) -> bool:
    if source is None:
        return False
    _, name = source
    return not name or bool(_submodule(root, *source))


def _local_names(statement: ast.stmt) -> set[str]:
    """Names that a function binds for itself: its arguments and what it assigns."""
    if not isinstance(statement, _DEFINITIONS):
        return set()
    nodes = list(ast.walk(statement))
    assigned = {
        n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    return assigned | {n.arg for n in nodes if isinstance(n, ast.arg)}


def _chains(node: ast.AST) -> Iterator[tuple[str, ...]]:
    """Every dotted name below a node, the longest: ``masking.chunks`` and not ``masking`` too."""
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.ClassDef):
        heading = [*node.decorator_list, *node.bases, *node.keywords]
        children = [*heading, *_body(node, node.body)]
    if chain := _chain(node):
        yield chain
        return
    for child in children:
        yield from _chains(child)


def _chain(node: ast.AST) -> tuple[str, ...]:
    if isinstance(node, ast.Name):
        return (node.id,)
    inner = _chain(node.value) if isinstance(node, ast.Attribute) else ()
    return (*inner, node.attr) if inner else ()


def _resolve(
    root: Path,
    carriers: frozenset[str],
    module: Module,
    imports: Mapping[str, tuple[str, str]],
    chain: Sequence[str],
) -> list[Place | str]:
    first, *rest = chain
    if first in module.definitions:
        return [(module.name, first)]
    if first not in imports:
        return []  # a builtin, or local
    source, name = imports[first]
    return _followed(root, carriers, source, [name, *rest] if name else rest)


def _followed(
    root: Path, carriers: frozenset[str], source: str, names: Sequence[str]
) -> list[Place | str]:
    """What ``names`` stand for, followed from module ``source`` on."""
    if not _is_ours(root, source):
        return [".".join([source, *names])]
    names = list(names)
    while names and (inner := _submodule(root, source, names[0])):
        source, names = inner, names[1:]
    if source in carriers:
        return []
    module = _module(root, source)
    if not names:  # the module itself, as a value: anything in it may be used
        return [(source, definition) for definition in ("", *module.definitions)]
    if names[0] in module.definitions:
        return [(source, names[0])]
    if names[0] in module.imports:  # re-exported
        further, name = module.imports[names[0]]
        return _followed(
            root, carriers, further, [name, *names[1:]] if name else names[1:]
        )
    return [f"{source}.{names[0]}"]  # missing, or created at run time


def _submodule(root: Path, source: str, name: str) -> str:
    """``source.name`` where that is a module."""
    inner = f"{source}.{name}"
    return inner if "/" not in source and _file(root, inner) else ""


def _is_ours(root: Path, source: str) -> bool:
    return source.split(".")[0] == _PACKAGE and _file(root, source) is not None
