"""Tables in terminals of any width."""

import io

from rich.console import Console

from benchmark.cli import lists
from benchmark.cli.console import folded, print_table
from benchmark.leaderboard.render import console as boards
from benchmark.store import ROOT


def printed(rows: list[dict], width: int) -> str:
    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False, soft_wrap=True)
    print_table("metrics", rows, console)
    return text.getvalue()


def test_a_list_too_wide_for_the_terminal_is_a_paragraph_each():
    rows = lists.LISTS["metrics"](lambda: None)
    text = printed(rows, 80)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80 and "┃" not in text
    names = [line for line in lines if not line.startswith(" ")]
    assert names == [row["metric"] for row in rows]
    words = " ".join(text.split())
    for row in rows:
        assert f"asks: {row['asks']}; track: {row['track']}; better:" in words


def test_what_is_known_twice_or_not_at_all_is_left_out():
    text = printed([{"metric": "m", "use": "m", "unit": "", "asks": "why? " * 20}], 40)
    assert "use" not in text and "unit" not in text and text.startswith("m\n")


def test_a_list_that_fits_is_a_table():
    rows = [{"metric": "m", "asks": "why?"}, {"metric": "n", "asks": "what?"}]
    text = printed(rows, 80)
    assert "┃ metric ┃ asks  ┃" in text and "│ n      │ what? │" in text


def test_a_place_stays_on_its_line():
    """In 80 columns, with the controls named where a file has no italics."""
    for profile in ("offline", "quick"):
        text = io.StringIO()
        console = Console(file=text, width=80)
        boards.show(ROOT / "results" / profile, console, verbose=False)
        lines = text.getvalue().splitlines()
        (line,) = (line for line in lines if "Random map" in line)
        assert "(control)" in line and line.count("(") == 2 and "%" in line


def test_a_line_of_a_summary_is_folded_in_a_terminal_alone():
    line = "  beats     " + ", ".join(f"Score-CAM {i}:0" for i in range(9))
    terminal = Console(file=io.StringIO(), width=60, force_terminal=True)
    first, *rest = folded(line, terminal).splitlines()
    assert first.startswith("  beats     Score-CAM 0:0") and len(rest) >= 2
    assert all(part.startswith(" " * 12) and len(part) <= 60 for part in rest)
    joined = " ".join([first, *map(str.strip, rest)])
    assert joined == line
    assert folded(line, Console(file=io.StringIO(), width=60)) == line
