"""What was found, by hand: two methods and a control on two networks."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmark.leaderboard import places
from benchmark.leaderboard.found import found

KEYS = ("track", "dataset", "target", "metric", "metric_setting", "family")
KINDS = ("faithfulness", "complexity", "robustness")
TABLES = [  # dataset, metric, family, counts, order
    ("digits", "deletion", "faithfulness", True, "ABC"),
    ("birds", "deletion", "faithfulness", False, "CAB"),
    ("digits", "gini", "complexity", True, "BAC"),
    ("digits", "stability", "robustness", True, "CAB"),  # judged elsewhere
]


def board():
    lines = []
    for dataset, metric, family, counts, order in TABLES:
        key = ("heatmap", dataset, "cnn", metric, "", family)
        for rank, label in enumerate(order, 1):
            line = dict(zip(KEYS, key, strict=True))
            line |= {"label": label, "control": label == "C", "rank": rank}
            line |= {"counts": counts, "gain": 0.1, "gain_low": 0.0, "gain_high": 0.2}
            lines.append(line | {"unit": "fraction", "n_images": 64})
    return pd.DataFrame(lines)


def placed():
    lines = []
    for family in (places.ALL, *KINDS):
        for label, place, low in (("A", 1, 1), ("B", 2, 1), ("C", 3, 2)):
            line = {"track": "heatmap", "family": family, "label": label}
            lines.append(line | {"place": place, "low": low, "control": label == "C"})
    return pd.DataFrame(lines)


def test_who_leads_who_may_and_where_controls_are_as_good():
    every, *families = found(board(), placed(), "heatmap")
    assert every.family == places.ALL and [f.family for f in families] == [*KINDS]
    assert list(every.first["label"]) == ["A"] and list(every.ties["label"]) == ["B"]
    assert (every.tables, every.lost, every.networks) == (3, 1, 2)
    counted = [(f.tables, f.lost, f.networks) for f in families]
    assert counted == [(2, 1, 2), (1, 0, 1), (0, 0, 1)]


def test_without_rivals_or_intervals_nobody_leads_and_nobody_may():
    alone = placed().assign(place=np.nan)
    assert not list(found(board(), alone, "heatmap"))
    unsure = placed().assign(low=np.nan)
    assert all(line.ties.empty for line in found(board(), unsure, "heatmap"))


def test_tables_without_a_control_are_no_question_of_controls():
    """Nothing was lost to controls where there are none; the network is one with a value all the same."""
    frame = board()
    frame.loc[frame["dataset"] == "birds", ["gain", "gain_low", "gain_high"]] = np.nan
    every, *_ = found(frame, placed(), "heatmap")
    assert (every.tables, every.lost, every.networks) == (2, 0, 2)
    assert not list(found(frame, placed(), "concept"))


def test_tables_of_other_tracks_are_not_counted():
    others = [board().assign(track=track) for track in ("concept", "surrogate")]
    every, *_ = found(pd.concat([board(), *others]), placed(), "heatmap")
    assert (every.tables, every.lost, every.networks) == (3, 1, 2)


def test_families_in_which_nobody_has_a_rival_do_not_hide_the_others():
    some = placed()
    some.loc[some["family"] == places.ALL, "place"] = np.nan
    assert [line.family for line in found(board(), some, "heatmap")] == [*KINDS]
