"""A board as CSV and as LaTeX (booktabs): the texts that the buttons of its page make, too (``templates/export.js``).

Use:
    dict(exports(frame, placed, glossary))["board-heatmap-digits-cnn.csv"]
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from benchmark.leaderboard import tables
from benchmark.leaderboard.render import markdown, page

WIDE = 6  # columns; a wider table is scaled to the line
WIDEST = 12  # metrics in one table
LONG = 40  # rows; a longer table runs over several pages
GAIN = "best method – better control"  # the last line
_MARKED = ("best", "same", "undecided")
_WORDS = {"lower": "lower is better", "higher": "higher is better"}
_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "↓": r"$\downarrow$",
        "↑": r"$\uparrow$",
        "‡": r"$\ddagger$",
        "≈": r"$\approx$",
        "τ": r"$\tau$",
        "−": "$-$",
        "–": "--",
        "·": r"$\cdot$",
        "×": r"$\times$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "±": r"$\pm$",
        "§": r"\S{}",
        "\u00a0": "~",
        "…": r"\dots{}",
    }
)


def exports(
    frame: pd.DataFrame,
    placed: pd.DataFrame,
    glossary: Mapping[str, Mapping[str, str]],
) -> Iterator[tuple[str, str]]:
    """File name and text of each board: ``board-heatmap-digits-cnn.csv``, and ``.tex``, a file for each family of
    metrics where the board is too wide for a page.

    Args:
        frame, placed: from ``tables.leaderboard`` and ``places.places``.
        glossary: of the metrics, as for ``build``.
    """
    for track in tables.tracks(frame):
        for key in tables.boards(frame, track):
            board = page.board(frame, placed, track, *key, glossary)
            name = f"board-{board['id']}"
            yield f"{name}.csv", csv_text(board)
            for part, columns in _pages(board["columns"]):
                whole = f"{name}{part}"
                yield f"{whole}.tex", latex_text(_with(board, columns), whole)


def _pages(columns: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[int]]]:
    """The columns of each LaTeX table, with an ending for its name: all, or if they are too many those of a family, at
    most WIDEST together."""
    if len(columns) <= WIDEST:
        yield "", list(range(len(columns)))
        return
    families: dict[str, list[int]] = {}
    for i, column in enumerate(columns):
        families.setdefault(column["family"] or "other", []).append(i)
    for family, found in families.items():
        for start in range(0, len(found), WIDEST):
            number = f"-{start // WIDEST + 1}" if len(found) > WIDEST else ""
            yield f"-{family}{number}", found[start : start + WIDEST]


def _with(board: Mapping[str, Any], columns: Sequence[int]) -> dict[str, Any]:
    """Some columns of a board, and the methods that have a cell there."""
    if len(columns) == len(board["columns"]):
        return dict(board)
    methods = []
    for line in board["methods"]:
        cells = [line["cells"][i] for i in columns]
        if any(cell["mark"] != "none" for cell in cells):
            methods.append(line | {"cells": cells})
    parts = {}
    for key in ("columns", "gains"):
        parts[key] = [board[key][i] for i in columns] if board[key] else []
    title = f"{board['title']}, {markdown.family_title(parts['columns'][0]['family'])}"
    return {**board, **parts, "methods": methods, "title": title}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub(r"(?<![\w)])-(?=\d)", "−", text).translate(_LATEX)


# --------------------------------------------------------------------------------------------- CSV


def csv_text(board: Mapping[str, Any]) -> str:
    """A line per method; per metric its mean, interval and mark; numbers with seven significant digits."""
    lines = [(line["label"], line["cells"]) for line in board["methods"]]
    if board["gains"]:
        lines.append((GAIN, board["gains"]))
    head, keys = ["Method"], []
    for i, column in enumerate(board["columns"]):
        more = _measured([cells[i] for _, cells in lines])
        name = _name(column)
        head += [_heading(name, column), *(f"{name}: {key}" for key in more)]
        keys.append(more)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for label, cells in lines:
        writer.writerow([label, *_values(cells, keys)])
    return buffer.getvalue()


def _measured(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the cells of a column have besides a value: interval, mark."""
    keys = [key for key in ("low", "high") if any(cell[key] for cell in cells)]
    if any(cell.get("mark") in _MARKED for cell in cells):
        keys.append("mark")
    return keys


def _name(column: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, map(column.get, ("title", "unit", "setting"))))


def _heading(name: str, column: Mapping[str, Any]) -> str:
    words = [
        name,
        _WORDS[column["better"]],
        "does not count" if column["doubt"] else "",
    ]
    return ", ".join(filter(None, words))


def _values(
    cells: Sequence[Mapping[str, str]], keys: Sequence[Sequence[str]]
) -> Iterator[str]:
    for cell, more in zip(cells, keys, strict=True):
        yield cell["sort"] or ("" if cell["text"] == "–" else cell["text"])
        for key in more:
            text = cell.get(key, "")
            yield text if key != "mark" or text in _MARKED else ""


# --------------------------------------------------------------------------------------------- LaTeX


def latex_text(board: Mapping[str, Any], name: str) -> str:
    """A table with the best mean in bold and the controls in italics; it needs booktabs and graphicx or longtable."""
    head = ["Method", *map(_head, board["columns"])]
    rows = []
    for line in board["methods"]:
        label = escape(line["label"])
        label = rf"\textit{{{label}}}" if line["control"] else label
        rows.append([label, *map(_cell, line["cells"])])
    foot = [escape(GAIN), *map(_cell, board["gains"])]
    body = [r"\toprule", _row(head), r"\midrule"]
    long = len(rows) > LONG
    if long:
        body.append(r"\endhead")
    body += map(_row, rows)
    if board["gains"]:
        body += [r"\midrule", _row(foot)]
    body.append(r"\bottomrule")
    caption = f"{board['title']}: {board['caption']}"
    columns = "l" + "r" * len(board["columns"])
    about = [rf"\caption{{{escape(caption)}.}}", rf"\label{{tab:{name}}}"]
    if long:
        about[-1] += r" \\"
        start = [
            r"% \usepackage{booktabs,longtable}",
            rf"\begin{{longtable}}{{{columns}}}",
        ]
        return _lines(*start, *about, *body, r"\end{longtable}")
    tabular = [rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"]
    if len(head) > WIDE:
        tabular = [r"\resizebox{\linewidth}{!}{%", *tabular]
        tabular[-1] += "}"
    start = [r"% \usepackage{booktabs,graphicx}", r"\begin{table}", r"\centering"]
    return _lines(*start, *about, *tabular, r"\end{table}")


def _head(column: Mapping[str, Any]) -> str:
    title = f"{column['title']} {column['arrow']}"
    if column["doubt"]:
        title += " ‡"
    notes = ", ".join(filter(None, map(column.get, ("unit", "setting"))))
    if not notes:
        return escape(title)
    return rf"\shortstack[r]{{{escape(title)}\\{{\scriptsize {escape(notes)}}}}}"


def _cell(cell: Mapping[str, Any]) -> str:
    sign = markdown.SIGNS.get(cell.get("mark"))
    text = f"{cell['text']}{f' {sign}' if sign else ''}{'§' if cell.get('partial') else ''}"
    text = escape(text)
    if cell.get("mark") == "best":
        text = rf"\textbf{{{text}}}"
    if cell["range"]:
        text += rf" {{\scriptsize {escape(cell['range'])}}}"
    return text


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
