"""Boards as CSV, LaTeX and results of a model hub: the numbers of the board, and nothing that breaks the file."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
import yaml

from benchmark.leaderboard import places, tables
from benchmark.leaderboard.render import exports
from benchmark.leaderboard.render.eval_results import task_id, texts
from tests.helpers.leaderboard_inputs import EVIL, built, cards

BOARD = "board-heatmap-digits-cnn"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return tables.read(built() / "leaderboard.csv")


@pytest.fixture(scope="module")
def files(frame) -> dict[str, str]:
    placed = places.read(built() / "places.csv")
    return dict(exports.exports(frame, placed, cards()["glossary"]))


def test_csv_has_the_board_with_all_its_digits(frame, files):
    table = pd.read_csv(io.StringIO(files[f"{BOARD}.csv"]), index_col="Method")
    lines = tables.shown(frame, "heatmap", "digits", "cnn")
    assert EVIL in table.index and table.index[-1] == exports.GAIN
    name = "accuracy top pixels, percent, pixels=300"
    for line in lines[
        (lines["metric"] == "accuracy_top_pixels")
        & (lines["metric_setting"] == "pixels=300")
    ].itertuples():
        row = table.loc[line.label]
        assert row[f"{name}, higher is better"] == line.mean
        assert row[f"{name}: low"] == line.low and row[f"{name}: high"] == line.high
        mark = line.mark if line.mark in ("best", "same", "undecided") else ""
        assert ("" if pd.isna(row[f"{name}: mark"]) else row[f"{name}: mark"]) == mark
    assert "Gini index, fraction, higher is better, does not count" in table
    assert table.columns.is_unique


def test_a_failed_cell_says_so_and_one_that_does_not_apply_is_empty(files):
    name = "board-heatmap-digits-vgg11.csv"
    table = pd.read_csv(io.StringIO(files[name]), index_col="Method", dtype=str)
    (column,) = (c for c in table if re.fullmatch("deletion AUC, .* is better", c))
    assert table.loc["Score-CAM (authors)", column] == "failed"


def test_latex_is_a_table_of_booktabs(files):
    text = files[f"{BOARD}.tex"]
    assert text.isascii() and text.count(r"\begin") == text.count(r"\end")
    assert rf"\label{{tab:{BOARD}}}" in text
    assert r"\caption{Heat maps, digits / cnn: 3 seeds, up to 64 images.}" in text
    rules = [line for line in text.splitlines() if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    rows = [line for line in text.splitlines() if " & " in line]
    assert len(rows) == 1 + 6 + 1  # heading, methods, gains
    assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    assert any(row.startswith(r"\textit{Random map} & ") for row in rows)
    assert "[$-$0." in rows[-1]  # a minus, no hyphen
    best = [row for row in rows if r"& \textbf{" in row]
    assert best and all(r"\scriptsize" in row for row in best)


def test_names_cannot_break_latex(files):
    evil = r"\textless{}script\textgreater{}alert(1)\textless{}/script\textgreater{}"
    assert evil in files[f"{BOARD}.tex"]
    assert exports.escape(r"50 % of $x_1 & \y{^}~#") == (
        r"50 \% of \$x\_1 \& \textbackslash{}y\{\textasciicircum{}\}\textasciitilde{}\#"
    )


def test_a_wide_board_has_a_latex_table_for_each_family(frame, monkeypatch):
    monkeypatch.setattr(exports, "WIDEST", 3)
    placed = places.read(built() / "places.csv")
    wide = frame.assign(
        family=frame["metric"].map(lambda m: "size" if m == "gini" else "faith")
    )
    found = dict(exports.exports(wide, placed, {}))
    names = [name for name in found if name.startswith(BOARD) and ".tex" in name]
    ends = ["-faith-1.tex", "-faith-2.tex", "-size.tex"]
    assert names == [BOARD + end for end in ends]
    assert "digits / cnn, size:" in found[f"{BOARD}-size.tex"]
    whole = pd.read_csv(io.StringIO(found[f"{BOARD}.csv"]))
    columns = [column for column in whole if " is better" in column]
    heads = sum(found[name].count(r"\shortstack") for name in names)
    assert heads == len(columns)


def test_results_of_a_hub_are_the_boards(frame):
    """Fields as the hub's specification names them; every result is of a task of ``eval.yaml``."""
    files = {
        name: yaml.safe_load(text)
        for name, text in texts(
            frame, "me/glass", profile="offline", date="2026-01-02"
        ).items()
    }
    tasks = [task["id"] for task in files.pop("eval.yaml")["tasks"]]
    assert len(tasks) == len(set(tasks))
    lines = frame[frame["status"] == "ok"]
    values = {(task_id(line), line.label): line.mean for line in lines.itertuples()}
    entries = files["Grad-CAM/.eval_results/glassbench.yaml"]
    for entry in entries:
        assert set(entry) == {
            "dataset",
            "value",
            "date",
            "notes",
            "evaluation_framework",
        }
        assert entry["dataset"]["id"] == "me/glass"
        task = entry["dataset"]["task_id"]
        assert task in tasks and entry["value"] == values[task, "Grad-CAM"]
    assert entries[0]["date"] == "2026-01-02"
    assert re.match(
        r"(low|high)er is better; .*95% interval .* 3 seeds", entries[0]["notes"]
    )
    assert not any(EVIL in name or "<" in name for name in files)
