"""The board from hand-made rows: settings, labels, marks, gaps, ranks, Markdown, files."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmark import store
from benchmark.leaderboard import controls, places, rankings, reproduction, tables
from benchmark.leaderboard.render import console, markdown, page
from tests.helpers.boards import frames
from tests.helpers.leaderboard_inputs import EVIL, inputs


def board(*cells: dict) -> pd.DataFrame:
    return tables.leaderboard(*frames(*cells))


def rendered(frame: pd.DataFrame) -> str:
    return markdown.render(frame, places.places(frame), "offline")


@pytest.fixture(scope="module")
def synthetic() -> pd.DataFrame:
    return tables.leaderboard(*inputs())


# --------------------------------------------------------------------------------------------- one table


def test_one_table_by_hand():
    steps = np.arange(8) / 100
    frame = board(
        {"method": "A", "metric": "m", "values": 0.5 + steps},
        {
            "method": "B",
            "metric": "m",
            "values": 0.4 + steps[::-1] / 2,
        },  # worse on every image: p = 2 / 2^8
        {
            "method": "R",
            "metric": "m",
            "paper": "control",
            "values": 0.5 + steps[::-1] - 1e-3,
        },
    ).set_index("label")
    assert list(frame.index) == ["A", "R", "B"] and list(frame["rank"]) == [1, 2, 3]
    assert list(frame["mark"]) == ["best", "undecided", ""]
    assert frame["mean"]["B"] == pytest.approx(0.4 + 0.035 / 2)
    # three pairs; 8 images of one sign, p = 2 / 2^8 at least
    assert frame["p"]["B"] == pytest.approx(3 * 2 / 256) and frame["p"]["A"] == 1
    assert frame["gain"]["A"] == pytest.approx(0.001) and np.isnan(frame["gain"]["R"])
    assert frame["gain_low"]["B"] < frame["gain"]["B"] < frame["gain_high"]["B"] < 0
    assert not frame["counts"].any()  # A is not known to beat R
    assert frame["low"]["A"] < frame["mean"]["A"] < frame["high"]["A"]
    assert list(frame["n_images"]) == [8] * 3 and list(frame["n_seeds"]) == [1] * 3
    assert list(frame["control"]) == [False, True, False]


def test_means_of_equals_are_both_best():
    frame = board(
        *({"method": m, "metric": "m", "values": np.arange(8.0)} for m in "AB")
    )
    assert list(frame["mark"]) == ["best", "best"] and list(frame["rank"]) == [1.5, 1.5]


def test_rows_without_images_are_judged_by_seeds_alone():
    frame = board(
        *(
            {
                "method": m,
                "metric": "size",
                "better": "lower",
                "seed": s,
                "value": v + s,
                "n": 1,
            }
            for m, v in (("A", 1.0), ("B", 5.0))
            for s in range(3)
        )
    )
    assert list(frame["mean"]) == [2.0, 6.0]
    assert list(frame["mark"]) == ["best", "undecided"]
    assert frame["p"].isna().all() and (frame["low"] < frame["mean"]).all()
    alone = board({"method": "A", "metric": "size", "value": 1.0})
    assert alone[["low", "high"]].isna().all(axis=None)


def test_facts_are_not_ranked():
    frame = board(
        {
            "track": "target",
            "paper": "",
            "method": "network",
            "metric": "test_accuracy",
            "value": 97.0,
        }
    )
    assert frame["rank"].isna().all() and list(frame["mark"]) == [""]
    assert tables.tracks(frame) == [] and tables.tracks(frame, ranked=False) == [
        "target"
    ]


def test_failed_and_not_applicable_stay_with_their_reasons():
    frame = board(
        {"method": "A", "metric": "m", "seed": 0, "values": np.arange(8.0)},
        {
            "method": "A",
            "metric": "m",
            "seed": 1,
            "status": "failed",
            "reason": "time limit",
        },
        {"method": "B", "metric": "m", "seed": 0, "status": "failed", "reason": "NaN"},
        {"method": "B", "metric": "m", "seed": 1, "status": "failed", "reason": "NaN"},
        {
            "method": "C",
            "metric": "m",
            "status": "not applicable",
            "reason": "no boxes",
        },
    ).set_index("label")
    assert dict(frame["status"]) == {"A": "ok", "B": "failed", "C": "not applicable"}
    assert (
        frame["reason"]["A"] == "failed: time limit (seed 1)"
        and frame["reason"]["B"] == "failed: NaN"
    )
    assert (
        frame["n_seeds"]["A"] == 1
        and frame["mark"]["A"] == "alone"
        and np.isnan(frame["rank"]["B"])
    )


def test_a_note_is_listed_below_a_board_and_marks_no_number_as_partial():
    rows, instances = inputs()
    noted = (rows.method == "Grad-CAM") & (rows.status == "ok")
    rows.loc[noted, "reason"] = "was given the true classes"
    frame = tables.leaderboard(rows, instances)
    found = frame[(frame.method == "Grad-CAM") & frame.reason.str.startswith("note: ")]
    assert len(found) and (found.status == "ok").all()
    assert not any(tables.is_partial(line) for line in found.itertuples())
    lost = tables.losses(frame)
    line = lost[lost.reason == "note: was given the true classes"].iloc[0]
    assert (line.methods, line.metrics) == ("Grad-CAM", "all metrics")
    some_seeds = frame[frame.reason.str.contains("seed") & (frame.status == "ok")]
    assert len(some_seeds) and all(map(tables.is_partial, some_seeds.itertuples()))


def test_several_seeds_that_failed_are_all_named():
    cells = [
        {"method": "A", "metric": "m", "seed": s, "status": "failed", "reason": "x"}
        for s in (3, 1)
    ]
    frame = board(
        *cells, {"method": "A", "metric": "m", "seed": 2, "values": np.arange(8.0)}
    )
    assert list(frame["reason"]) == ["failed: x (seeds 1, 3)"]
    unsaid = board({"method": "A", "metric": "m", "status": "failed", "reason": ""})
    assert list(unsaid["reason"]) == ["failed: no reason given"]


def test_no_instances_are_as_none():
    rows, instances = frames({"method": "A", "metric": "m", "value": 1.0})
    frame = tables.leaderboard(rows)
    pd.testing.assert_frame_equal(frame, tables.leaderboard(rows, instances))
    assert list(frame.index) == list(range(len(frame)))


def test_a_table_of_failures_only():
    frame = board({"method": "A", "metric": "m", "status": "failed", "reason": "x"})
    assert frame["rank"].isna().all() and list(frame["mark"]) == [""]
    assert "failed" in markdown.render(frame, places.places(frame))


def test_pairs_are_the_seeds_that_both_have():
    """B lacks the hard seed; against A on the seed they share it is worse, though its mean is higher."""
    easy, hard = 10.0 + np.arange(8) / 7, np.arange(8) / 7
    frame = board(
        {"method": "A", "metric": "m", "seed": 0, "values": easy},
        {"method": "A", "metric": "m", "seed": 1, "values": hard},
        {"method": "B", "metric": "m", "seed": 0, "values": easy - 1},
    ).set_index("label")
    assert (
        frame["rank"]["B"] == 1
        and frame["p"]["A"] == 1.0
        and frame["mark"]["A"] == "undecided"
    )


# --------------------------------------------------------------------------------------------- settings and labels


METRICS_NAMES = (
    "keep",
    "pixels",
    "steps",
    "grid",
    "radius",
    "tolerance",
    "scale",
    "cells",
)


@pytest.mark.parametrize("name", METRICS_NAMES)
def test_a_method_with_a_setting_called_like_a_metrics_is_one_method(name):
    """Given a method whose field is called ``keep`` beside a metric with three settings ``keep``: one line a table."""
    mine = [
        {
            "method": "M",
            "setting": f"{name}=0.5",
            "metric": m,
            "metric_setting": s,
            "value": 1.0,
        }
        for m, s in (
            ("own", f"{name}=0.1"),
            ("own", f"{name}=0.2"),
            ("own", f"{name}=0.5"),
            ("other", ""),
        )
    ]
    rivals = [cell | {"method": "R", "setting": "", "value": 2.0} for cell in mine]
    placed = places.of(places.places(board(*mine, *rivals)), "heatmap")
    assert list(placed["label"]) == ["R", "M"] and list(placed["tables"]) == [2, 2]
    assert list(placed["place"]) == [1, 2] and list(placed["win_rate"]) == [1, 0]


def test_settings_of_metrics_are_tables_and_those_of_methods_are_not():
    drop = {"metric": "drop", "metric_setting": "keep=0.2"}
    authors = {"method": "G", "setting": "variant=authors", "value": 1.0}
    frame = board(
        drop | authors,
        drop | authors | {"metric_setting": "keep=0.3"},
        drop | {"method": "L", "setting": "layer=conv3", "value": 2.0},
        drop | {"method": "R", "paper": "control", "value": 3.0},
    )
    assert list(frame["metric_setting"]) == ["keep=0.2"] * 3 + ["keep=0.3"]
    assert list(frame["rank"]) == [1, 2, 3, 1]
    assert dict(zip(frame["label"], frame["setting"], strict=True)) == {
        "G (authors)": "variant=authors",
        "L": "layer=conv3",
        "R": "",
    }


REPLICATED = {
    "track": "replication",
    "method": "layer tree",
    "metric": "n_split_nodes",
    "paper": "layer_trees",
}


def test_every_number_of_a_replication_is_a_line_of_its_own():
    frame = board(
        *(
            REPLICATED | {"setting": f"layer={k}", "seed": s, "value": k + s}
            for k in (2, 10)
            for s in (0.0, 1.0)
        )
    )
    assert list(frame["setting"]) == ["layer=2", "layer=10"] and list(
        frame["mean"]
    ) == [2.5, 10.5]
    assert set(frame["metric_setting"]) == {""} and set(frame["label"]) == {
        "layer tree"
    }


def test_a_failed_replication_is_named_with_its_setting():
    failed = {
        "method": "",
        "metric": "trees",
        "setting": "layer=fc8",
        "status": "failed",
    }
    frame = board(REPLICATED | failed | {"reason": "x"})
    assert list(tables.losses(frame)["metrics"]) == ["trees (layer=fc8)"]


# --------------------------------------------------------------------------------------------- what is not known

NEVER = {
    "track": "unknown",
    "method": "N",
    "metric": "explanation",
    "status": "failed",
    "reason": "ImportError: no_such",
}
WORKED = [
    {"method": m, "metric": "m", "values": np.arange(8.0) + v}
    for m, v in (("A", 1), ("B", 0))
]


def test_a_method_that_never_ran_has_no_place_anywhere():
    """Given a method of which nothing is known beside two that worked: the board is that of the
    two, and says why it failed."""
    frame, without = board(*WORKED, NEVER), board(*WORKED)
    assert (
        tables.tracks(frame) == ["heatmap"]
        and frame.loc[frame["label"] == "N", "rank"].isna().all()
    )
    pd.testing.assert_frame_equal(places.places(frame), places.places(without))
    for track in tables.TRACKS:
        pd.testing.assert_frame_equal(
            rankings.rankings(frame, track),
            rankings.rankings(without, track),
            check_index_type=False,  # an empty one has none
            check_column_type=False,
        )
    (lost,) = tables.losses(frame).itertuples()
    assert (lost.methods, lost.metrics, lost.reason) == (
        "N",
        "explanation",
        "failed: ImportError: no_such",
    )


def test_two_methods_that_never_ran_are_named_and_not_called_all():
    (lost,) = tables.losses(board(*WORKED, NEVER, NEVER | {"method": "O"})).itertuples()
    assert lost.methods == "N, O"


def html_of(frame):
    nothing = {
        "svgs": {},
        "pngs": {},
        "data_cards": {},
        "target_cards": {},
        "provenance": {},
    }
    pages = page.render(frame, places.places(frame), NOTHING_PUBLISHED, **nothing)
    return pages["index.html"]


def test_what_never_ran_is_listed_among_what_failed_in_markdown():
    text = rendered(board(*WORKED, NEVER))
    assert (
        "## Not known" in text
        and "- d/t, N, explanation: failed: ImportError: no_such" in text
    )
    assert "Not known" not in rendered(board(*WORKED))


def test_what_never_ran_is_listed_among_what_failed_on_the_page():
    html = html_of(board(*WORKED, NEVER))
    assert '<section id="unknown">' in html
    assert "<li>d / t, N, explanation: failed: ImportError: no_such</li>" in html
    assert "Not known" not in html_of(board(*WORKED))


def test_what_never_ran_is_listed_among_what_failed_in_the_terminal(tmp_path):
    frame = board(*WORKED, NEVER)
    (tmp_path / "leaderboard.csv").write_text(tables.csv_text(frame))
    (tmp_path / "places.csv").write_text(places.csv_text(places.places(frame)))
    said = io.StringIO()
    console.show(tmp_path, Console(file=said, width=100))
    assert "d/t, N, explanation: failed: ImportError: no_such" in said.getvalue()
    assert "N  " not in said.getvalue()


NOTHING_PUBLISHED = pd.DataFrame(columns=reproduction.COLUMNS, dtype=str)


def test_a_failed_setting_of_a_method_goes_by_a_label_of_its_own():
    """Given two settings of one method, one of which never ran: both are named by the setting."""
    cells = [
        {"method": "M", "setting": "layer=a", "metric": "m", "value": 1.0},
        NEVER | {"method": "M", "setting": "layer=b"},
    ]
    assert set(board(*cells)["label"]) == {"M (layer=a)", "M (layer=b)"}


# --------------------------------------------------------------------------------------------- labels


def test_two_variants_of_a_method_are_two_methods():
    frame = board(
        *(
            {"method": "G", "metric": "m", "setting": f"variant={v}", "value": x}
            for v, x in (("a", 1.0), ("b", 2.0))
        )
    )
    assert set(frame["label"]) == {"G (a)", "G (b)"} and list(frame["rank"]) == [1, 2]


def test_a_setting_is_named_where_two_of_one_method_meet():
    cells = [
        {
            "method": "G",
            "metric": "m",
            "setting": f"layer={x};variant=authors",
            "value": 1.0,
        }
        for x in ("a", "b")
    ]
    other = {"method": "R", "metric": "m", "value": 1.0}
    assert set(board(*cells, other)["label"]) == {
        "G (authors, layer=a)",
        "G (authors, layer=b)",
        "R",
    }
    apart = [cells[0], cells[1] | {"target": "u"}, other]
    assert set(board(*apart)["label"]) == {"G (authors)", "R"}


def test_label():
    assert (
        tables.label("Grad-CAM++", "layer=c;variant=authors") == "Grad-CAM++ (authors)"
    )
    assert tables.label("Grad-CAM", "") == "Grad-CAM"


# --------------------------------------------------------------------------------------------- summaries


def ranked(*lines: tuple) -> pd.DataFrame:
    """A board of single values: (method, metric, setting, target, value or status)."""
    return board(
        *(
            {
                "method": m,
                "metric": q,
                "metric_setting": s,
                "target": t,
                "paper": "control" if m == "R" else "baseline",
            }
            | (
                {"value": v}
                if isinstance(v, float)
                else {"status": v, "reason": "because"}
            )
            for m, q, s, t, v in lines
        )
    )


@pytest.fixture
def led():
    """A control has the best mean on t; on u all 8 images say that A is better."""
    values = np.arange(8.0)
    level = {("A", "t"): 3, ("R", "t"): 4, ("A", "u"): 3, ("R", "u"): 1}
    return board(
        *(
            {
                "method": m,
                "metric": "m",
                "target": t,
                "paper": "control" if m == "R" else "baseline",
                "values": values + v,
            }
            for (m, t), v in level.items()
        )
    )


def test_a_table_counts_where_the_best_method_beats_every_control(led):
    assert dict(led.groupby("target")["counts"].all()) == {"t": False, "u": True}
    assert controls.uncounted(led, "heatmap") == ["m: R has the best mean on d/t"]
    assert controls.uncounted(led, "concept") == []
    assert controls.summary(led, "heatmap") == (
        "1 of 2 tables count: those with a best method that beats every control."
    )
    text = rendered(led)
    assert "m (fraction) ↑ ‡" in text and text.count("↑ ‡ |") == 1  # t, not u
    assert "| best method – better control | +2.00 [2.00, 2.00] |" in text
    assert "- m: R has the best mean on d/t" in text


def test_a_table_does_not_count_unless_every_control_is_beaten():
    """A beats S on every image, but R on half of them only."""
    values = np.arange(8.0)
    level = {"A": values, "R": np.where(values % 2, values - 1, values + 0.9)}
    cells = [
        {"method": m, "metric": "m", "paper": "control", "values": v}
        for m, v in {**level, "S": values - 3}.items()
    ]
    cells[0]["paper"] = "baseline"
    frame = board(*cells)
    assert not frame["counts"].any() and list(frame["label"]) == ["A", "R", "S"]
    why = "m: A is not known to beat the controls on d/t"
    assert controls.uncounted(frame, "heatmap") == [why]


@pytest.mark.parametrize("better", ["higher", "lower"])
def test_the_gain_is_over_the_better_control(better):
    """A and B are 3 and 1 better than S, which is 2 better than R; F failed."""
    sign = 1 if better == "higher" else -1
    level = {"A": 3.0, "B": 1.0, "R": -2.0, "S": 0.0}
    cells = []
    for method, gain in level.items():
        cell = {"method": method, "metric": "m", "better": better}
        cell |= {"paper": "control" if method in "RS" else "baseline"}
        cells.append(cell | {"values": sign * (np.arange(12.0) + gain)})
    cells.append(cells[0] | {"method": "F", "status": "failed", "reason": "x"})
    cells[-1].pop("values")
    frame = board(*cells).set_index("label")
    assert frame["gain"].dropna().to_dict() == {"A": 3, "B": 1}
    assert frame["gain_low"].dropna().to_dict() == {"A": 3, "B": 1}  # no error
    assert frame["counts"].all() and frame["rank"].isna().to_dict()["F"]


def test_a_table_counts_by_the_best_method_with_values_per_image():
    """C has the best mean and no values per image: A is judged in its place. Means alone say nothing."""
    values = np.arange(12.0)
    cells = [
        {"method": "A", "metric": "m", "values": values + 1},
        {"method": "R", "metric": "m", "values": values, "paper": "control"},
        {"method": "C", "metric": "m", "value": 99.0},
    ]
    frame = board(*cells)
    assert list(frame["label"]) == ["C", "A", "R"] and frame["counts"].all()
    behind = [cells[0] | {"values": values - 1}, *cells[1:]]
    assert not board(*behind)["counts"].any()
    assert not board(cells[1], cells[2])["counts"].any()
    assert not board(cells[1], cells[1] | {"method": "S"})["counts"].any()


def test_intervals_end_at_the_bounds_of_a_unit_but_for_replications():
    """A replication's difference of two shares may be below 0."""
    values = {"method": "A", "metric": "m", "values": [0.0] * 7 + [1.0]}
    low = lambda track: board(values | {"track": track})["low"].item()
    assert low("heatmap") == low("target") == 0 > low("replication")


def test_one_method_that_beats_the_controls_elsewhere_makes_no_contest_of_robustness():
    values = np.arange(8.0)
    cells = []
    for method, level in {"A": 3.0, "B": -2.0, "R": 0.0}.items():
        of = {"method": method, "paper": "control" if method == "R" else "baseline"}
        cells.append(of | {"metric": "m", "values": values + level})
        cells.append(of | {"metric": "sens", "values": values + level})
    frame = tables.leaderboard(*frames(*cells), ROBUST)
    assert frame.groupby("metric")["counts"].any().to_dict() == {
        "m": True,
        "sens": False,
    }


def test_a_table_with_a_control_that_does_not_count_is_doubtful():
    table = pd.DataFrame({"control": [True, False], "counts": [True, True]})
    assert not tables.doubtful(table)
    assert tables.doubtful(table.assign(counts=False))
    assert not tables.doubtful(table.assign(counts=False, control=False))


def test_failed_methods_share_the_last_places_of_their_table():
    """A and B have values; C and D failed and share the places 3 and 4, or 2 and 3; E takes no part."""
    lines = [("A", "t", 2.0), ("B", "t", 1.0), ("A", "u", 1.0)]
    lines += [(label, target, "failed") for label in "CD" for target in "tu"]
    lines += [("E", "t", "not applicable")]
    frame = ranked(*((label, "m", "", *line) for label, *line in lines))
    found = tables.ranked(frame, "heatmap").set_index(["target", "label"])
    of = {"t": {"A": 1, "B": 2, "C": 3.5, "D": 3.5}, "u": {"A": 1, "C": 2.5, "D": 2.5}}
    for target, ranks in of.items():
        assert found.loc[target, "rank"].to_dict() == ranks
        lost = found.loc[target, "lost"]
        assert set(lost.index[lost]) == {"C", "D"}


def test_tables_without_controls_count_from_two_methods_on():
    frame = board(*WORKED, {"method": "A", "metric": "q", "values": np.arange(8.0)})
    assert dict(frame.groupby("metric")["counts"].all()) == {"m": True, "q": False}
    assert controls.uncounted(frame, "heatmap") == ["q: A is alone on d/t"]
    assert controls.gains(frame)["gain"].isna().all()


ROBUST = {"sens": "robustness", "m": "faithfulness"}


def test_robustness_counts_for_methods_that_beat_the_controls_elsewhere():
    """A and B beat the random map in m, C and D do not; the map's perfect 0 wins no table of the family."""
    values = np.arange(12.0)
    skill = {"A": 3.0, "B": 0.5, "C": 0.0, "D": -0.5, "R": 0.0}
    cells = []
    for method, level in skill.items():
        paper = "control" if method == "R" else "baseline"
        of = {"method": method, "paper": paper, "target": "t"}
        sens = np.zeros(12) if method == "R" else 1 + values / 10 + level
        cells.append(of | {"metric": "m", "values": values + level})
        cells.append(of | {"metric": "sens", "better": "lower", "values": sens})
        cells.append(cells[-1] | {"target": "u"})  # where nothing else is measured
    frame = tables.leaderboard(*frames(*cells), ROBUST)
    counting = frame[frame["counts"] & (frame["metric"] == "sens")]
    assert set(counting["label"]) == {"A", "B"} and set(counting["target"]) == {"t"}
    placed = places.of(places.places(frame), "heatmap", "robustness")
    assert dict(zip(placed["label"], placed["place"], strict=True))["B"] == 1
    assert placed.set_index("label")["place"].isna()[["C", "D", "R"]].all()
    assert "Robustness: a random map" in controls.summary(frame, "heatmap")
    assert controls.uncounted(frame, "heatmap") == [
        "sens: fewer than two methods beat the controls elsewhere on d/u"
    ]


def test_the_same_is_not_undecided():
    """B differs from A by 0.001 of a range of 1, with hardly any error; C by as much, with a large one."""
    values = np.linspace(0.2, 0.8, 40)
    signs = np.where(np.arange(40) % 2, 1, -1)
    level = {"A": values, "B": values - 1e-3 - 1e-4 * signs, "C": values - 1e-3 + signs}
    frame = board(
        *({"method": m, "metric": "m", "values": v} for m, v in level.items())
    )
    assert dict(zip(frame["label"], frame["mark"], strict=True)) == {
        "A": "best",
        "B": "same",
        "C": "undecided",
    }
    text = rendered(frame)
    assert "| B | 0.499 ≈ [" in text and "| C | 0.499 ? [" in text


def test_a_failure_of_all_is_named_by_what_it_is_of():
    """One method is called by its name and one metric by its; several that are all are "all"."""

    def told(methods: str, metrics: str) -> tuple[str, str]:
        failed = [
            {"method": m, "metric": q, "status": "failed", "reason": "x"}
            for m in methods
            for q in metrics
        ]
        (line,) = tables.losses(board(*failed)).itertuples()
        return line.methods, line.metrics

    assert [told("A", "m"), told("A", "mq"), told("AB", "m"), told("AB", "mqr")] == [
        ("A", "m"),
        ("A", "all metrics"),
        ("all methods", "m"),
        ("all methods", "all metrics"),
    ]


def test_a_caption_says_what_a_board_rests_on():
    one = {"method": "A", "metric": "m", "values": np.arange(8.0)}
    text = "1 seed, up to 8 images; these networks only: " + tables.FEW
    assert tables.caption(board(one)) == text
    fewer = {"method": "A", "metric": "k", "values": np.arange(3.0), "seed": 1}
    frame = board(one, one | {"seed": 1}, fewer)
    assert tables.caption(frame).startswith("2 seeds, up to 8 images; these")
    assert f"{tables.caption(frame)}." in rendered(frame).splitlines()
    for seeds in (3, 4):
        many = [one | {"seed": seed} for seed in range(seeds)]
        assert tables.caption(board(*many)) == f"{seeds} seeds, up to 8 images"
    failed = board({"method": "A", "metric": "m", "status": "failed"})
    assert tables.caption(failed) == "no value"


def test_all_methods_are_those_with_a_value():
    """N has none on this network, for a reason of its own: q is lost for all the others."""
    lost = {"status": "not applicable", "value": None, "reason": "no boxes"}
    cells = [{"method": m, "metric": "m", "values": [1.0, 2.0]} for m in "AB"]
    cells += [{"method": m, "metric": "q"} | lost for m in "AB"]
    cells += [{"method": "N", "metric": q} | lost | {"reason": "no"} for q in "mq"]
    told = set(
        tables.losses(board(*cells))[["methods", "metrics"]].itertuples(
            index=False, name=None
        )
    )
    assert told == {("all methods", "q"), ("N", "all metrics")}


def test_losses_are_told_once(synthetic):
    lost = tables.losses(synthetic)
    told = set(zip(lost["target"], lost["methods"], lost["metrics"], strict=True))
    assert ("cnn", "all methods", "pointing game") in told
    assert ("vgg11", "Score-CAM (authors)", "deletion AUC (steps=24)") in told
    assert ("cnn", EVIL, "all metrics") in told


def test_synthetic_board_knows_the_truth(synthetic):
    """The generator's skills come back as the order, and methods of equal skill as not worse."""
    placed = places.of(places.places(synthetic), "heatmap")
    assert list(placed["label"]) == [
        "Score-CAM (authors)",
        "Grad-CAM++ (authors)",
        "Grad-CAM",
        "Edge map (Sobel)",
        EVIL,
        "Random map",
    ]
    marks = (
        synthetic[synthetic["metric"] == "insertion_auc"]
        .groupby("label")["mark"]
        .agg(set)
    )
    assert all(
        "" not in marks[m]
        for m in ("Grad-CAM", "Grad-CAM++ (authors)", "Score-CAM (authors)")
    )
    assert all(marks[m] == {""} for m in (EVIL, "Random map"))


# --------------------------------------------------------------------------------------------- refusals


def test_bad_input_is_named():
    rows, instances = frames({"method": "A", "metric": "m", "values": np.arange(3.0)})
    with pytest.raises(ValueError, match="several profiles, p, q"):
        tables.leaderboard(pd.concat([rows, rows.assign(profile="q")]), instances)
    with pytest.raises(ValueError, match="two values for one image"):
        tables.leaderboard(rows, pd.concat([instances, instances]))


def test_nothing_gives_an_empty_board():
    rows, instances = frames({"method": "A", "metric": "m", "value": 1.0})
    frame = tables.leaderboard(rows.iloc[:0], instances)
    assert list(frame.columns) == tables.COLUMNS and len(frame) == 0
    assert "No rows yet" in rendered(frame) and tables.csv_text(frame).startswith(
        "track,dataset"
    )
    assert len(places.places(frame)) == len(tables.losses(frame)) == 0


# --------------------------------------------------------------------------------------------- words and files


def test_decimals_and_numbers():
    digits = {
        0.0: 4,
        0.00123: 4,
        0.0123: 4,
        0.1: 3,
        0.5: 3,
        1.0: 2,
        7.25: 2,
        10.0: 1,
        99.9: 1,
        100.0: 1,
        250.0: 1,
        4000.0: 0,
    }
    assert {x: tables.decimals([x]) for x in digits} == digits
    several = ([], [np.nan], [999.5], [1000.0], [-7.25, np.inf], [0.5, 7.25])
    assert [tables.decimals(x) for x in several] == [4, 4, 1, 0, 2, 2]
    assert tables.number(-0.0004, 2) == "0.00" and tables.number(float("nan"), 2) == ""


def test_words():
    seeds = [tables.plural(count, "seed") for count in range(3)]
    assert seeds == ["0 seeds", "1 seed", "2 seeds"]
    assert [tables.arrow(better) for better in ("lower", "higher")] == ["↓", "↑"]


def test_markdown_leaves_no_markup(synthetic):
    text = rendered(synthetic)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert r"limit 8 GiB \| see &lt;log&gt;" in text
    assert "**Grad-CAM" not in text
    assert "| *Random map* |" in text and "| Grad-CAM++ (authors) |" in text


def test_every_table_in_markdown_is_rectangular(synthetic):
    """Each row has as many bars."""
    text = rendered(synthetic).replace(r"\|", "")
    blocks = [
        [line.count("|") for line in block.splitlines() if line.startswith("|")]
        for block in text.split("\n\n")
    ]
    found = [bars for bars in blocks if bars]
    assert found
    assert all(len(set(bars)) == 1 for bars in found)


def test_markdown_cells():
    frame = board(
        {"method": "A_b", "metric": "m", "values": 0.5 + np.arange(8) / 100},
        {"method": "B", "metric": "m", "values": np.zeros(8)},
    )
    text = markdown.board(frame, places.places(frame), "heatmap", "d", "t")
    assert "| A_b | **0.535** [" in text and "| B | 0.000 [0.000, 0.000] |" in text
    assert markdown.escape("_a_ b_c *d*") == r"\_a\_ b_c \*d\*"
    states = {
        "A": {"value": 1.0},
        "B": {"status": "failed", "reason": "time"},
        "C": {"status": "not applicable", "reason": "no box"},
    }
    mixed = board(
        *({"method": m, "metric": "m"} | of for m, of in states.items()),
        {"method": "C", "metric": "q", "value": 1.0},
    )
    text = markdown.board(mixed, places.places(mixed), "heatmap", "d", "t")
    assert (
        "| A | 1.00 | – |" in text
        and "| B | failed | – |" in text
        and "| C | n/a | 1.00 |" in text
    )


def test_markdown_of_places_has_a_column_for_each_family_and_the_cost():
    facts = [
        ("", "A", 1, 1, 2),
        ("", "B", 2, 1, 2),
        ("x_y", "B", 1, np.nan, np.nan),
        ("x_y", "A", 2, np.nan, np.nan),
        ("z", "B", np.nan, np.nan, np.nan),
        ("z", "C", 1, np.nan, np.nan),
    ]
    placed = pd.DataFrame(facts, columns=["family", "label", "place", "low", "high"])
    placed = placed.assign(track="heatmap", control=False, failed=1, tables=3)
    placed = placed.assign(first=0.25, win_rate=0.5)
    cost = {"track": "heatmap", "metric": "passes_per_image", "label": "A"}
    frame = pd.DataFrame([cost | {"mean": 0.1}, cost | {"mean": 0.156}])
    assert markdown.summary(frame, placed, "heatmap").splitlines() == [
        "| method | place | first | won | passes | x y | z | failed | tables |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| A | 1 (1–2) | 25 % | 50 % | 0.13 | 2 | – | 1 | 3 |",
        "| B | 2 (1–2) | 25 % | 50 % | – | 1 | alone | 1 | 3 |",
    ]


def test_markdown_of_the_first_places_has_all_controls(synthetic):
    placed = places.places(synthetic)
    text = markdown.summary(synthetic, placed, "heatmap", 2)
    names = [line.split(" | ")[0].strip("|* ") for line in text.splitlines()[2:]]
    of_track = places.of(placed, "heatmap")
    shown = of_track[of_track["control"] | (of_track.index < 2)]
    assert names == [markdown.escape(label) for label in shown["label"]]
    assert 2 < len(names) < len(of_track)
    for family, title in (("", "other metrics"), ("human_study", "human study")):
        assert markdown.family_title(family) == title


def test_the_csv_has_seven_digits():
    frame = board(
        {"method": "A", "metric": "m", "value": 1 / 3},
        {"method": "B", "metric": "m", "value": 2e5 / 3},
    )
    assert list(frame.index) == [0, 1]
    assert {
        line.split(",")[10] for line in tables.csv_text(frame).splitlines()[1:]
    } == {
        "0.3333333",
        "66666.67",
    }


def test_board_survives_its_csv(synthetic, tmp_path):
    path = tmp_path / "leaderboard.csv"
    path.write_text(tables.csv_text(synthetic))
    again = tables.read(path)
    assert tables.csv_text(again) == path.read_text() and again["control"].dtype == bool
    assert rendered(again) == rendered(synthetic)
    assert again["counts"].dtype == bool
    path.write_text("track,label\nheatmap,A\n")
    with pytest.raises(store.StoreError, match=r"leaderboard\.csv is damaged"):
        tables.read(path)
    for damage in ("no number", '"open'):
        path.write_text(
            tables.csv_text(synthetic)
            .replace("average drop", "")
            .replace("heatmap", damage)
            .replace("0.", damage, 3)
        )
        with pytest.raises(store.StoreError, match=r"leaderboard\.csv is damaged"):
            tables.read(path)
    with pytest.raises(store.StoreError, match="is missing"):
        tables.read(tmp_path / "none.csv")


def test_settings_are_in_natural_order(synthetic):
    part = synthetic[synthetic["metric"] == "accuracy_top_pixels"]
    assert list(dict.fromkeys(part["metric_setting"])) == ["pixels=300", "pixels=1000"]


def test_a_board_shows_its_own_track_network_and_data_set():
    cells = [
        {
            "track": track,
            "dataset": d,
            "target": t,
            "metric": "m",
            "method": "A",
            "value": 1.0,
        }
        for track in ("concept", "heatmap", "surrogate")
        for d in "cde"
        for t in "stu"
    ]
    frame = board(*cells)
    for track in ("concept", "heatmap", "surrogate"):
        assert tables.boards(frame, track) == [(d, t) for d in "cde" for t in "stu"]
        assert len(tables.ranked(frame, track)) == 9 and set(
            tables.ranked(frame, track)["track"]
        ) == {track}
        for d, t in itertools.product("cde", "stu"):
            (line,) = tables.shown(frame, track, d, t).itertuples()
            assert (line.track, line.dataset, line.target) == (track, d, t)


def test_a_track_has_the_networks_on_which_its_methods_were_judged():
    frame = board(
        *(
            {
                "track": track,
                "target": target,
                "method": "A",
                "metric": "m",
                "value": 1.0,
            }
            for track, target in (
                ("concept", "a"),
                ("heatmap", "b"),
                ("surrogate", "c"),
            )
        )
    )
    assert {track: tables.boards(frame, track) for track in tables.tracks(frame)} == {
        "heatmap": [("d", "b")],
        "concept": [("d", "a")],
        "surrogate": [("d", "c")],
    }


def test_a_method_of_another_kind_is_neither_shown_nor_missed():
    """Heat maps offer no labels: in the surrogates' track they are neither a row of a board nor a loss."""
    other = {"track": "surrogate", "metric": "m", "status": "not applicable"}
    nobody = board(other | {"method": "CAM", "reason": "offers no labels"})
    assert (
        tables.tracks(nobody) == []
        and tables.boards(nobody, "surrogate") == []
        and not len(tables.losses(nobody))
    )
    some = board(
        other | {"method": "CAM", "reason": "offers no labels"},
        other | {"method": "RI", "status": "ok", "values": np.arange(8.0)},
        other | {"method": "Tree", "reason": "needs a dense layer"},
    )
    assert list(tables.shown(some, "surrogate", "d", "t")["label"]) == ["RI"]
    assert list(tables.losses(some)["methods"]) == ["Tree"]


FAILED = {"status": "failed", "reason": "time"}
ABSENT = {"status": "not applicable", "reason": "no boxes"}


def test_what_failed_everywhere_is_shown_still():
    """B fails everywhere, everything fails in b, nothing applies to C or in c."""
    frame = board(
        {"method": "A", "metric": "a", "value": 1.0},
        {"method": "A", "metric": "b"} | FAILED,
        *({"method": "B", "metric": q} | FAILED for q in "ab"),
        *({"method": "C", "metric": q} | ABSENT for q in "abc"),
        *({"method": m, "metric": "c"} | ABSENT for m in "AB"),
    )
    part = tables.shown(frame, "heatmap", "d", "t")
    found = set(zip(part["metric"], part["label"], strict=True))
    assert found == {("a", "A"), ("a", "B"), ("b", "A"), ("b", "B")}


def test_a_network_to_which_nothing_applies_has_no_board():
    lost = board(
        {"method": "A", "metric": "m"} | FAILED,
        {"method": "A", "metric": "m", "target": "u"} | ABSENT,
    )
    assert tables.boards(lost, "heatmap") == [("d", "t")]


@pytest.mark.parametrize("track", ["concept", "heatmap", "surrogate"])
def test_what_is_missing_is_named_on_its_track(track):
    frame = board(
        *(
            {"method": "A", "metric": f"of {each}", "track": each} | FAILED
            for each in ("concept", "heatmap", "surrogate")
        )
    )
    assert markdown.missing(frame, track, "d", "t") == f"- A, of {track}: failed: time"
