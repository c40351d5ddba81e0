"""New methods in short: what is said of them, counted by hand on a small board."""

import json

import numpy as np
import pandas as pd
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


# --------------------------------------------------------------------------------------------- by hand

LINE = {"track": "heatmap", "dataset": "d", "target": "t", "metric": "m"}
LINE |= {"metric_setting": "", "label": "M", "status": "ok", "rank": 1.0}
LINE |= {"family": "faithfulness", "control": False}


def lines(*facts: dict) -> pd.DataFrame:
    """Lines of a board, of method M where nothing else is said."""
    return pd.DataFrame([LINE | fact for fact in facts])


def versus(*facts: dict) -> pd.DataFrame:
    """Differences of a method from its rivals."""
    base = {key: LINE[key] for key in tables.TABLE}
    base |= {"rival": "R", "control": False, "verdict": "beats", "difference": 0.1}
    return pd.DataFrame([base | fact for fact in facts])


def placed(*facts: tuple) -> pd.DataFrame:
    columns = ["family", "label", "place", "low", "high"]
    found = pd.DataFrame(facts, columns=columns)
    return found.assign(track="heatmap", control=False)


def brief_of(frame: pd.DataFrame, compared: pd.DataFrame, *places_: tuple):
    (only,) = brief.briefs(frame, placed(*places_), {"M": compared})
    return only


def test_only_the_methods_own_lines_of_a_track_count():
    """Other methods and other tracks, whose names sort before and after."""
    tracks = ("heatmap", "surrogate", "concept")
    others = [
        {"label": label, "dataset": dataset} for label in "AZ" for dataset in "xyz"
    ]
    own = [{"track": track, "dataset": track} for track in tracks]
    rivals = [{"track": track, "rival": f"of {track}"} for track in tracks]
    found = brief.briefs(
        lines(*own, *others), placed(), {"M": versus(*rivals), "none": versus({})[:0]}
    )
    assert [one.track for one in found] == [*tracks]
    assert {(one.method, one.networks) for one in found} == {("M", 1)}
    names = [[duel.rival for duel in one.duels] for one in found]
    assert names == [[f"of {track}"] for track in tracks]


def test_places_are_its_own_and_only_of_families_that_have_it():
    everywhere = [
        (family, label, place, 1, 3)
        for family in (places.ALL, "complexity", "faithfulness")
        for label, place in (("A", 1), ("Z", 3))
    ]
    own = (places.ALL, "M", 2, 1, np.nan), ("complexity", "M", np.nan, np.nan, np.nan)
    found = brief_of(lines({}), versus({}), *everywhere, *own)
    nowhere = brief.Place("complexity", None, None, None)
    assert found.places == (brief.Place(places.ALL, 2.0, 1.0, None), nowhere)
    assert found.place == found.places[0] and found.of == 3
    alone = brief_of(lines({}), versus({}), *everywhere)
    assert alone.places == (brief.Place(places.ALL, None, None, None),)


def test_a_network_on_which_all_failed_is_not_counted():
    statuses = ("ok", "failed", "not applicable", "unknown")
    parts = [{"dataset": status, "status": status} for status in statuses]
    assert brief_of(lines(*parts), versus({})).networks == 1


def test_verdicts_are_counted_and_rivals_come_by_gain_and_then_by_wins():
    verdicts = {
        "few": ["beats"],
        "many": ["beats", "loses to", "beats"],
        "all": ["loses to", "same", "undecided", "unknown", "unknown"],
        "most": ["beats", "beats"],
        "again": ["beats"],
    }
    facts = [
        {"rival": rival, "verdict": verdict}
        for rival, found in verdicts.items()
        for verdict in found
    ]
    duels = brief_of(lines({}), versus(*facts)).duels
    names = [duel.rival for duel in duels]
    assert names == ["most", "many", "few", "again", "all"]  # equals as they come
    counts = {"won": 0, "lost": 1, "same": 1, "undecided": 3, "unknown": 2}
    assert duels[-1] == brief.Duel("all", False, **counts)
    assert duels[1] == brief.Duel("many", False, 2, 1, 0, 0, 0) and duels[1].gain == 1


def test_of_two_controls_the_better_one_is_named_where_one_is_asked_for():
    families = {"robust": "robustness", "asked": "faithfulness", "won": "complexity"}
    families["again"] = "complexity"
    own = [{"metric": metric, "family": name} for metric, name in families.items()]
    controls = [
        {"metric": "robust", "rival": "X", "verdict": "loses to"},
        {"metric": "asked", "rival": "X", "verdict": "same", "difference": 0.0},
        {"metric": "asked", "rival": "Y", "verdict": "loses to", "difference": -0.2},
        {"metric": "asked", "rival": "Z", "verdict": "unknown", "difference": -0.1},
        {"metric": "won", "rival": "X"},
        {"metric": "again", "rival": "X", "verdict": "undecided"},
    ]
    compared = versus(*[fact | {"control": True} for fact in controls])
    rivals = versus({"metric": "won", "rival": "no control", "verdict": "loses to"})
    found = brief_of(lines(*own), pd.concat([compared, rivals]))
    assert found.judged == 3
    assert found.as_good == (
        brief.Table("d", "t", "asked", "", "Y", "loses to"),
        brief.Table("d", "t", "again", "", "X", "undecided"),
    )


def test_what_others_lack_is_not_missing_of_a_method():
    cells = []
    for method, reason in (("A", "time"), ("M", "memory"), ("Z", "a bug")):
        cells.append({"method": method, "metric": "gini", "values": values(0.5, 0)})
        failed = {"status": "failed", "reason": reason, "n": 0}
        cells.append({"method": method, "metric": "deletion_auc"} | failed)
    frame = tables.leaderboard(*frames(*cells))
    (line,) = brief.missing(frame, [], ["M"])
    assert line == {
        "method": "M",
        "dataset": "d",
        "target": "t",
        "metrics": "deletion AUC",
        "reason": "failed: memory",
    }


def test_tables_of_a_metric_come_in_the_order_of_the_board_best_first():
    facts = {"better": "lower", "unit": "bits", "mean": 0.5, "low": 0.4, "high": 0.6}
    frame = lines(
        {"dataset": "z", "rank": 2.0, "label": "second"},
        {"dataset": "z", "rank": 1.0, "label": "first"},
        {"dataset": "z", "status": "failed", "rank": np.nan},
        {"dataset": "d", "label": "alone"},
        {"metric": "a"},
        {"metric": "z"},
    ).assign(**facts)
    first, second = brief.metric_rows(frame, "m")
    assert (first["dataset"], first["better"], first["unit"]) == ("z", "lower", "bits")
    assert [line["label"] for line in first["methods"]] == ["first", "second"]
    assert second["dataset"] == "d" and second["unit"] == "bits"
    assert second["methods"] == [
        {"label": "alone", "control": False, "mean": 0.5, "low": 0.4}
        | {"high": 0.6, "rank": 1.0}
    ]
