"""One method among the others: hand-computed cases of what the evaluation says. ``test_evaluate``
has the test itself."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from benchmark.leaderboard import placing, tables
from benchmark.leaderboard.render import placing_console
from tests.helpers.boards import differences, frames, placing_lines, shown_beside

IMAGES = np.arange(8.0)


def test_a_rival_of_which_only_the_mean_is_known_has_no_verdict():
    rows, instances = frames(
        {"method": "A", "metric": "m", "values": IMAGES},
        {"method": "B", "metric": "m", "values": IMAGES - 1},
        {"method": "C", "metric": "m", "value": 9.0},
    )
    found = differences(rows, instances, "A").set_index("rival")
    assert found["verdict"].to_dict() == {"B": "beats", "C": "unknown"} and found[
        "images"
    ].to_dict() == {
        "B": 8,
        "C": 0,
    }
    assert np.isnan(found["difference"]["C"])
    assert found["p"]["B"] == pytest.approx(2 / 256)  # one pair, not three
    unseen = differences(rows, instances.iloc[:0], "A")
    assert set(unseen["verdict"]) == {"unknown"} and len(unseen) == 2
    assert set(differences(rows, instances, "C")["verdict"]) == {"unknown"}


@pytest.fixture
def partly():
    """A in a table with B and a failed C, and among the facts; B and C alone in another table: (frame, instances)."""
    cells = [
        {"method": m, "metric": q, "values": IMAGES + (m == "A")}
        for m, q in (("B", "a"), ("C", "a"), ("A", "m"), ("B", "m"))
    ]
    rows, instances = frames(
        *cells,
        {
            "track": "target",
            "paper": "",
            "method": "A",
            "metric": "test_accuracy",
            "value": 1.0,
        },
        {"method": "C", "metric": "m", "status": "failed", "reason": "time"},
    )
    return rows, instances


def test_only_tables_with_the_method_are_compared_and_no_facts(partly):
    rows, instances = partly
    frame = tables.leaderboard(rows, instances)
    found = differences(rows, instances, "A")
    (line,) = found.to_dict("records")
    assert (line["metric"], line["rival"], line["verdict"]) == ("m", "B", "beats")
    (stands,) = placing.standing(frame, found, "A").to_dict("records")
    assert (stands["metric"], stands["beats"], stands["ranked"]) == ("m", "B", 2)


def test_a_rival_stands_in_both_its_tables(partly):
    rows, instances = partly
    frame = tables.leaderboard(rows, instances)
    found = placing.standing(frame, differences(rows, instances, "B"), "B")
    assert list(found["loses to"]) == ["", "A"]


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_differences_by_hand(better):
    """Half a unit better than B, half a unit worse than C, alone in the table of ``only``; D, which
    failed, is no rival."""
    sign = 1 if better == "higher" else -1
    level = {"A": 0.0, "B": -0.5, "C": 0.5}
    rows, instances = frames(
        *(
            {
                "method": m,
                "metric": "m",
                "better": better,
                "values": sign * (IMAGES + v),
            }
            for m, v in level.items()
        ),
        {"method": "A", "metric": "only", "values": IMAGES},
        {"method": "B", "metric": "others", "values": IMAGES},
        {
            "method": "D",
            "metric": "m",
            "better": better,
            "status": "failed",
            "reason": "time",
        },
    )
    found = differences(rows, instances, "A").set_index("rival")
    assert found["difference"].to_dict() == {"B": 0.5, "C": -0.5} and set(
        found["metric"]
    ) == {"m"}
    assert found["verdict"].to_dict() == {"B": "beats", "C": "loses to"}
    # three pairs, adjusted together
    assert found["p"].tolist() == pytest.approx([6 / 256] * 2)
    assert differences(rows, instances, "C")["difference"].tolist() == [
        0.5,
        1.0,
    ]


@pytest.mark.parametrize(
    ("gain", "low", "high", "p", "verdict"),
    [  # a margin of 1
        (5.0, 2.0, 8.0, 0.04, "beats"),
        (-5.0, -8.0, -2.0, 0.04, "loses to"),
        (5.0, 0.0, 10.0, 0.05, "undecided"),
        (0.5, -1.0, 1.0, 0.5, "same"),  # the margin belongs to it
        (0.5, 0.1, 0.9, 0.001, "same"),  # a difference that is known to be small
        (0.5, -1.1, 1.0, 0.5, "undecided"),
        (0.5, -1.0, 1.1, 0.5, "undecided"),
        (0.5, 0.1, 1.1, 0.01, "beats"),
        (np.nan, np.nan, np.nan, np.nan, "unknown"),
    ],
)
def test_verdicts_by_hand(gain, low, high, p, verdict):
    assert placing._verdict(gain, low, high, p, 1.0) == verdict


def test_only_seeds_and_images_that_both_have_are_compared():
    """A has seeds 0 and 1, B 1 and 2, of which B's seed 2 and A's seed 0 would tip the scale; B
    lacks the last image."""
    cell = lambda method, seed, values: {
        "method": method,
        "metric": "m",
        "seed": seed,
        "values": values,
    }
    rows, instances = frames(
        cell("A", 0, IMAGES - 90),
        cell("A", 1, IMAGES + 2),
        cell("B", 1, np.r_[IMAGES[:-1], np.nan]),
        cell("B", 2, IMAGES + 90),
    )
    (line,) = differences(rows, instances, "A").to_dict("records")
    assert (line["difference"], line["images"], line["verdict"]) == (2.0, 7, "beats")


def test_lines_come_in_the_order_of_the_board():
    cells = [(m, f"steps={k}") for k in (4, 24) for m in "AB"]
    rows, instances = frames(
        *(
            {"method": m, "metric": "m", "metric_setting": s, "values": IMAGES}
            for m, s in cells
        )
    )
    found = differences(rows, instances, "A")
    assert list(found["metric_setting"]) == ["steps=4", "steps=24"]


def test_a_table_in_which_all_failed():
    rows, instances = frames(
        *(
            {"method": m, "metric": "m", "status": "failed", "reason": "time"}
            for m in "AB"
        )
    )
    frame = tables.leaderboard(rows, instances)
    found = differences(rows, instances, "A")
    (line,) = placing.standing(frame, found, "A").to_dict("records")
    assert (
        len(found) == 0
        and line["ranked"] == 0
        and {line[v] for v in placing.VERDICTS} == {""}
    )


def test_the_terminal_shows_each_table_once():
    rows, instances = frames(
        *(
            {
                "track": track,
                "dataset": d,
                "metric": f"{track}_m",
                "method": m,
                "values": IMAGES + (m == "A"),
            }
            for track in ("concept", "heatmap", "surrogate")
            for d in "cde"
            for m in "AB"
        )
    )
    _frame, text = tables.leaderboard(rows, instances), io.StringIO()
    shown_beside(rows, instances, "A", console=Console(file=text, width=120))
    shown = text.getvalue()
    for track in ("concept", "heatmap", "surrogate"):
        assert (
            shown.count(f"{track} m ↑") == 3
            and shown.count(tables.TRACKS[track][0]) == 1
        )
    assert all(shown.count(f"A on {d} / t") == 3 for d in "cde")


def test_a_new_method_that_never_ran_has_no_table_and_says_why():
    rows, instances = frames(
        {"method": "A", "metric": "m", "values": IMAGES},
        {"method": "B", "metric": "m", "values": IMAGES + 1},
        {
            "method": "N",
            "track": "unknown",
            "metric": "explanation",
            "status": "failed",
            "reason": "ImportError",
        },
    )
    frame, text = tables.leaderboard(rows, instances), io.StringIO()
    compared = differences(rows, instances, "N")
    shown_beside(rows, instances, "N", console=Console(file=text, width=100))
    assert len(compared) == 0 and len(placing.standing(frame, compared, "N")) == 0
    assert text.getvalue().strip() == "N, d/t, explanation: failed: ImportError"


def test_places_in_a_row_are_named_by_their_ends():
    assert (
        placing_console._runs([9, 2, 4, 3, 7, 10]) == "2–4 7 9 10"
        and placing_console._runs([5, 4, 2, 3, 7, 10, 8, 9]) == "2–5 7–10"
    )
    assert placing_console._runs([1, 5, 6, 7]) == "1 5–7"
    assert (
        placing_console._runs([]) == ""
        and placing_console._runs([5]) == "5"
        and placing_console._runs(range(2, 15)) == "2–14"
    )


def test_the_terminal_names_rivals_by_their_average_rank():
    """A is best, D worst; B's values are those of A but for two images of eight."""
    offsets = {"A": 4.0, "B": 4.0 - 0.5 * (IMAGES > 5), "C": 2.0, "D": 0.0}
    rows, instances = frames(
        *(
            {"method": m, "metric": "m", "values": IMAGES + v}
            for m, v in offsets.items()
        )
    )
    lines = placing_lines(rows, instances, "B", width=100)
    places = [line[:7] for line in lines if line[:4].strip(" >").isdigit()]
    assert places == ["   1  A", ">  2  B", "   3  C", "   4  D"]
    (line,) = (line for line in lines if line.startswith("m ↑"))
    # rank; beats 3 and 4; undecided against 1
    assert line.split("  ")[-1].strip() == "1" and "2 of 4  3 4" in line


@pytest.fixture
def mixed():
    """A new method, a control, one of which nothing is known but its mean, and failures: (frame, instances)."""
    rows, instances = frames(
        *(
            {"method": m, "metric": "m", "values": IMAGES + v, "paper": p}
            for m, v, p in (
                ("A", 1, "user"),
                ("C", 0, "baseline"),
                ("R", -2, "control"),
            )
        ),
        {"method": "B", "metric": "m", "value": 9.0},
        *(
            {"method": m, "metric": "n", "status": "failed", "reason": "time"}
            for m in "AC"
        ),
        {
            "method": "A",
            "metric": "o",
            "status": "not applicable",
            "reason": "no boxes",
        },
    )
    return rows, instances


def test_a_rival_with_a_mean_alone_has_no_verdict_in_the_terminal(mixed):
    """B has the first place: A beats the third and the fourth."""
    lines = placing_lines(*mixed, "A", width=120)
    (line,) = (line for line in lines if line.startswith("m ↑"))
    assert line.endswith("2 of 4  3 4")
    assert any(line.startswith("n ↑") for line in lines)
    assert not any("o ↑" in line for line in lines)


def test_the_terminal_marks_the_new_method_controls_and_failures(mixed):
    """The new method is bright, a control dim, a failure red."""
    rows, instances = mixed
    console = Console(
        file=io.StringIO(),
        width=120,
        force_terminal=True,
        color_system="standard",
        record=True,
    )
    shown_beside(rows, instances, "A", console=console)
    styled = console.export_text(styles=True)
    bright, faint, italic, red = "\x1b[1;36m", "\x1b[2m", "\x1b[2;3m", "\x1b[31m"
    assert (
        f"{bright}>  2  A" in styled
        and f"{italic}   4  R" in styled
        and "   3  C" in styled
    )
    assert f"{bright}   3  C" not in styled and f"{italic}   3  C" not in styled
    assert f"{red}A, d/t, n: failed: time" in styled
    assert f"{faint}A, d/t, o: not applicable" in styled


def test_a_narrow_terminal_breaks_names_and_no_number():
    rows, instances = frames(
        *(
            {"method": m, "metric": "a_metric_with_a_long_name", "values": IMAGES + v}
            for m, v in (("A", 1), ("B", 0))
        )
    )
    frame, text = tables.leaderboard(rows, instances), io.StringIO()
    shown_beside(rows, instances, "A", console=Console(file=text, width=62))
    line = placing.standing(frame, differences(rows, instances, "A"), "A").iloc[0]
    digits = tables.decimals([line["mean"], line["low"], line["high"]])
    low, mean, high = (
        tables.number(line[which], digits) for which in ("low", "mean", "high")
    )
    assert f"{low} –" in text.getvalue()  # an interval may end on the next line
    assert all(whole in text.getvalue() for whole in (mean, high, "1 of 2"))
    assert "a metric with a long name" not in text.getvalue()
