"""Gains over controls, which tables count and why others do not, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmark.leaderboard import controls, tables

KEYS = ("track", "dataset", "target", "metric", "metric_setting", "family")


def board(*contests: tuple) -> pd.DataFrame:
    """Lines in the order of their ranks, of (dataset, target, metric, setting, family, counts, labels).

    R and S are controls; a label in lower case has no value. The k-th line of the board gains k tenths.
    """
    lines = []
    for dataset, target, metric, setting, family, counts, labels in contests:
        key = ("heatmap", dataset, target, metric, setting, family)
        for rank, label in enumerate(labels, 1):
            gain = (len(lines) + 1) / 10
            line = dict(zip(KEYS, key, strict=True))
            line |= {"label": label.upper(), "control": label in "RS"}
            line |= {"rank": rank if label.isupper() else np.nan, "counts": counts}
            line |= {"gain": gain, "gain_low": gain - 0.5, "gain_high": gain + 0.5}
            line |= {"unit": metric + " units", "n_images": 6}
            lines.append(line | {"status": "ok"})
    return pd.DataFrame(lines)


def test_a_gain_is_that_of_the_best_method_of_a_table():
    frame = board(
        ("d", "t", "m", "k=1", "f", True, "RABS"),
        ("d", "u", "m", "k=1", "f", False, "Sc"),  # no method has a value
        ("e", "t", "q", "", "g", False, "ab"),  # nothing has
    )
    first, second = controls.gains(frame).to_dict("records")
    table = {"track": "heatmap", "dataset": "d", "target": "t"}
    table |= {"metric": "m", "metric_setting": "k=1"}
    best = {"family": "f", "label": "A", "unit": "m units", "counts": True, "why": ""}
    gain = {"gain": 0.2, "gain_low": -0.3, "gain_high": 0.7}
    assert first == pytest.approx(table | best | gain)
    assert (second["label"], second["counts"]) == ("S", False)


def test_facts_of_networks_have_no_gain():
    frame = board(("d", "t", "accuracy", "", "", False, "A"))
    assert len(controls.gains(frame)) == 1
    for track in ("target", "replication", "unknown"):
        found = controls.gains(frame.assign(track=track))
        assert found.empty and "why" in found and "dataset" in found


def test_a_table_counts_where_one_of_its_lines_does():
    frame = board(("d", "t", "m", "", "robustness", False, "ABC"))
    frame.loc[1, "counts"] = True
    assert controls.gains(frame)["counts"].tolist() == [True]


def test_why_a_table_does_not_count():
    frame = board(
        ("d", "t", "one", "", "f", False, "A"),
        ("d", "t", "robust", "", "robustness", False, "RAB"),
        ("d", "t", "control", "", "f", False, "SAR"),
        ("d", "t", "method", "", "f", False, "AR"),
        ("d", "t", "few", "", "f", False, "ARS"),  # 3 pairs: 2 / 2^7 each, on 7 images
        ("d", "t", "fine", "", "f", True, "AR"),
    )
    why = controls.gains(frame).set_index("metric")["why"]
    assert why.to_dict() == {
        "one": "A is alone",
        "robust": "fewer than two methods beat the controls elsewhere",
        "control": "S has the best mean",
        "method": "A is not known to beat the controls",
        "few": "6 images, and tests of 3 methods need 7",
        "fine": "",
    }


def test_uncounted_tables_are_a_line_for_each_metric_and_reason():
    frame = board(
        ("d", "t", "some_auc", "k=1", "f", False, "RA"),
        ("d", "t", "some_auc", "k=2", "f", False, "RA"),
        ("e", "t", "some_auc", "k=2", "f", False, "RA"),
        ("e", "u", "some_auc", "k=2", "f", False, "AR"),
        ("e", "u", "some_auc", "k=1", "f", True, "AR"),
        ("e", "u", "gini", "", "f", False, "RA"),
    )
    lost = board(("d", "t", "other", "", "f", False, "RA"))
    others = [lost.assign(track=track) for track in ("concept", "surrogate")]
    assert controls.uncounted(pd.concat([frame, *others]), "heatmap") == [
        "some AUC (k=1; k=2): R has the best mean on d/t, e/t",
        "some AUC (k=2): A is not known to beat the controls on e/u",
        "gini: R has the best mean on e/u",
    ]
    assert controls.uncounted(frame, "concept") == []
    assert len(controls.uncounted(pd.concat([frame, *others]), "concept")) == 1


def test_a_track_is_summed_up_by_what_counts_in_it():
    frame = board(
        ("d", "t", "m", "", "f", True, "AR"),
        ("d", "u", "m", "", "f", True, "AR"),
        ("d", "t", "s", "", "robustness", False, "RA"),
    )
    note = f"Robustness: {tables.ELSEWHERE['robustness']}."
    assert controls.summary(frame, "heatmap") == (
        f"2 of 3 tables count: those with a best method that beats every control. {note}"
    )
    one = board(
        ("d", "t", "m", "", "f", True, "AB"), ("d", "u", "m", "", "f", False, "A")
    )
    text = "1 of 2 tables count: those with two methods or more."
    for track in ("concept", "surrogate"):  # the controls of a heat map are none there
        both = pd.concat([frame, one.assign(track=track)])
        assert controls.summary(both, track) == text
    concepts = one.assign(track="concept")
    failed = pd.concat(
        [concepts, board(("d", "t", "m", "", "f", True, "r")).assign(track="concept")]
    )
    failed["control"] = failed["label"] == "R"  # it has no rank
    assert controls.summary(failed, "concept").endswith("with two methods or more.")


def test_a_gain_in_words():
    text = lambda gain, low, high, places=2: controls.gain_text(
        SimpleNamespace(gain=gain, gain_low=low, gain_high=high), places
    )
    assert text(0.125, 0.05, 0.194) == "+0.12 [0.05, 0.19]"
    assert text(0.125, 0.05, 0.194, 1) == "+0.1 [0.1, 0.2]"
    assert text(0.0, -0.1, 0.1) == "0.00 [-0.10, 0.10]"
    assert text(-0.5, -1.0, 0.0) == "-0.50 [-1.00, 0.00]"
    assert text(np.nan, np.nan, np.nan) == text(0.1, np.nan, np.nan) == ""
