"""How dense code is: syntax nodes per line of code, without comments and docstrings."""

import ast
import io
import tokenize
from pathlib import Path

_SILENT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def density(paths: list[Path]) -> float:
    """Syntax nodes per line of code over all files."""
    nodes = lines = 0
    for path in paths:
        tree = ast.parse(path.read_text())
        nodes += _nodes(tree)
        lines += len(_code_lines(path.read_text(), tree))
    return nodes / max(1, lines)


def functions(path: Path, *, at_least: int = 4) -> dict[str, float]:
    """Syntax nodes per line, docstring included, of each function of at least so many lines."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, _FUNCTIONS):
            lines = node.end_lineno - node.lineno + 1
            if lines >= at_least:
                found[f"{node.name}:{node.lineno}"] = _nodes(node) / lines
    return found


def _nodes(tree: ast.AST) -> int:
    return sum(1 for _ in ast.walk(tree))


def _code_lines(text: str, tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _SILENT:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(
            node, (ast.Module, ast.ClassDef, *_FUNCTIONS)
        ) and ast.get_docstring(node, False):
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return lines
