"""New methods in short: what is said of them, counted by hand on a small board."""

import json

import numpy as np
import pytest

from benchmark.leaderboard import brief, places, tables
from benchmark.leaderboard.render import brief_console
from tests.helpers.boards import differences, frames

N = 40  # images
LEVELS = {"new": 0.6, "good": 0.9, "bad": 0.1, "Random map": 0.2}


def values(level: float, seed: int) -> np.ndarray:
    return level + np.random.default_rng(seed).normal(0, 0.01, N)


@pytest.fixture(scope="module")
def board():
    """Two metrics; by ``entropy`` the control does better than the new method, on which a third metric failed."""
    cells = []
    for seed, (method, level) in enumerate(LEVELS.items()):
        paper = "control" if method == "Random map" else "baseline"
        cell = {"method": method, "paper": paper}
        entropy = 0.95 if paper == "control" else level
        cells.append(cell | {"metric": "gini", "values": values(level, seed)})
        cells.append(cell | {"metric": "entropy", "values": values(entropy, 9 + seed)})
    failed = {"status": "failed", "reason": "ZeroDivisionError: <b>", "n": 0}
    cells.append({"method": "new", "metric": "deletion_auc"} | failed)
    return frames(*cells)


@pytest.fixture(scope="module")
def found(board):
    rows, instances = board
    frame = tables.leaderboard(rows, instances)
    compared = {"new": differences(rows, instances, "new")}
    return frame, brief.briefs(frame, places.places(frame), compared)


def test_duels_are_counted_by_table(found):
    (only,) = found[1]
    score = {duel.rival: (duel.won, duel.lost, duel.control) for duel in only.duels}
    assert score == {
        "bad": (2, 0, False),
        "Random map": (1, 1, True),
        "good": (0, 2, False),
    }
    assert [duel.rival for duel in only.duels] == ["bad", "Random map", "good"]
    assert only.networks == 1 and only.of == 4


def test_a_control_that_does_as_well_is_named_with_its_table(found):
    (only,) = found[1]
    assert only.judged == 2
    (table,) = only.as_good
    assert (table.metric, table.control, table.verdict) == (
        "entropy",
        "Random map",
        "loses to",
    )


def test_the_lines_say_it_by_name(found):
    frame, briefs = found
    missing = brief.missing(frame, briefs, ["new"])
    lines = list(brief_console.lines(briefs, missing))
    assert lines[0].startswith("new: place ") and "of 4 among heat maps" in lines[0]
    assert "  beats     bad 2:0" in lines
    assert "  loses to  good 0:2" in lines
    controls = "  controls  not known to beat every control in 1 of 2 tables, worse than one in 1: entropy"
    assert controls in lines
    assert "new, d/t, deletion AUC: failed: ZeroDivisionError: <b>" in lines
    assert len(lines) <= 10


def test_the_facts_are_json_and_the_same(found):
    frame, briefs = found
    missing = brief.missing(frame, briefs, ["new"])
    facts = brief_console.facts(briefs, missing, frame, ["gini"])
    again = json.loads(json.dumps(facts, allow_nan=False))
    (method,) = again["methods"]
    assert method["method"] == "new" and len(method["duels"]) == 3
    assert again["missing"][0]["dataset"] == "d"
    (table,) = again["metrics"]
    assert table["methods"][0]["label"] == "good"
    assert table["methods"][0]["rank"] == 1


def test_a_method_that_is_in_no_track_says_why():
    failed = {"track": "unknown", "status": "failed", "reason": "MemoryError", "n": 0}
    rows, instances = frames(
        {"method": "old", "metric": "gini", "values": values(0.5, 0)},
        {"method": "new", "metric": ""} | failed,
    )
    frame = tables.leaderboard(rows, instances)
    compared = {"new": differences(rows, instances, "new")}
    briefs = brief.briefs(frame, places.places(frame), compared)
    assert briefs == []
    (line,) = brief_console.lines(briefs, brief.missing(frame, briefs, compared))
    assert line.startswith("new, d/t, ") and line.endswith(": failed: MemoryError")


def test_the_first_of_a_metric_of_ones_own(found):
    frame, _ = found
    (line,) = brief_console.metric_lines(frame, ["gini"])
    assert line.startswith("gini ↑ on d/t: 1 good 0.9")
    assert line.endswith(", and 1 more")
    (nothing,) = brief_console.metric_lines(frame, ["unheard_of"])
    assert "not applicable" in nothing
