"""What a Python file defines, read from its syntax tree without running it.

    lacks(Path("mine.py"), "GradNorm")                # True only if that is certain
    classes(Path("mine.py"))["GradNorm"]              # its tree
    fields(classes(Path("mine.py"))["GradNorm"])      # {"layer": None}

Names are checked with it before torch is imported, which takes seconds.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.utils import installed

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DYNAMIC = frozenset({"exec", "globals", "locals", "setattr", "vars", "__getattr__"})


def tree(path: Path) -> ast.Module | None:
    """The tree of a file; None if there is none, or Python cannot read it."""
    try:
        return _parsed(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


@functools.lru_cache(maxsize=64)
def _parsed(text: bytes) -> ast.Module:
    return ast.parse(text)


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a block, also those inside of ``if``, ``try`` and the like; not those of functions, classes."""
    for node in body:
        yield node
        if isinstance(node, _DEFINITIONS):
            continue
        for name in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, name, []))
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from statements(part.body)


def bound(path: Path) -> dict[str, ast.stmt]:
    """The names that a file binds at its top level, by the statement that does so first."""
    module = tree(path)
    found: dict[str, ast.stmt] = {}
    for node in statements(module.body if module else []):
        for name in _names(node):
            found.setdefault(name, node)
    return found


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, _DEFINITIONS):
        yield node.name
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        for alias in node.names:
            yield (alias.asname or alias.name).partition(".")[0]
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id


def classes(path: Path) -> dict[str, ast.ClassDef]:
    """The classes that a file defines at its top level."""
    found = bound(path).items()
    return {name: node for name, node in found if isinstance(node, ast.ClassDef)}


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    """The functions that a file defines at its top level."""
    found = bound(path).items()
    return {name: node for name, node in found if isinstance(node, ast.FunctionDef)}


def lacks(path: Path, name: str) -> bool:
    """Is it certain that a file does not define a name? Never of one that writes names in another way."""
    module = tree(path)
    if module is None or name in bound(path) or "*" in bound(path):
        return False
    for node in ast.walk(module):
        word = getattr(node, "id", "") or getattr(node, "name", "")
        if word in _DYNAMIC:
            return False
    return True


def fields(cls: ast.ClassDef) -> dict[str, ast.expr | None] | None:
    """The settings of a class that is a dataclass by itself, with their defaults; none of a class that is not.

    None: they cannot be told, because of a base or another decorator.
    """
    decorators = [ast.unparse(node) for node in cls.decorator_list]
    if not decorators and not cls.bases:
        return {}
    plain = all(text.partition("(")[0] in _DATACLASS for text in decorators)
    if cls.bases or cls.keywords or not plain:
        return None
    found = {}
    for node in cls.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            kind = ast.unparse(node.annotation)
            value = node.value
            hidden = "ClassVar" in kind or "KW_ONLY" in kind
            made = isinstance(value, ast.Call) and "init=False" in ast.unparse(value)
            if not (hidden or made):
                found[node.target.id] = value
    return found


_DATACLASS = ("dataclass", "dataclasses.dataclass")


def first_line(path: Path) -> str:
    """Of a file's docstring; empty if it has none."""
    module = tree(path)
    text = ast.get_docstring(module) if module else ""
    return (text or "").partition("\n")[0]


def docstring(path: Path, name: str) -> str:
    """Of a function of a file; empty if it has none."""
    function = functions(path).get(name)
    return (ast.get_docstring(function) or "") if function else ""


def value(node: ast.expr | None, path: Path) -> Any:
    """The value of an expression of a file: a literal, the name of one, also of an imported one, or a union of two.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return value(node.left, path) | value(node.right, path)
    if not isinstance(node, ast.Name):
        return ast.literal_eval(node)
    origin = bound(path).get(node.id)
    if isinstance(origin, ast.Assign):
        return value(origin.value, path)
    file = None
    if isinstance(origin, ast.ImportFrom) and not origin.level:
        file = installed.file_of(origin.module)
    if file is None:
        raise ValueError(f"{path}: the value of {node.id} cannot be told")
    return value(node, file)


def constants(path: Path) -> dict[str, Any]:
    """The values that a file assigns to names as literals, at its top level."""
    found = {}
    module = tree(path)
    for node in module.body if module else []:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:  # not a literal
                continue
    return found
