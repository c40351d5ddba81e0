"""Rows as arrays, by hand: which method, network and image each number is of."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.leaderboard import contests, tables
from tests.helpers.boards import frames

NAN = np.nan


def found(*cells: dict, shuffled: bool = False) -> list[contests.Contest]:
    rows, instances = frames(*cells)
    if shuffled:
        rows = rows.sample(frac=1, random_state=0)
        instances = instances.sample(frac=1, random_state=1)
    return contests.contests(tables.labelled(rows), instances)


CELLS = (
    {"method": "B", "metric": "m", "seed": 2, "values": [1.0, 2.0, 3.0]},
    {"method": "B", "metric": "m", "seed": 0, "values": [4.0, NAN, 6.0]},
    {"method": "A", "metric": "m", "seed": 2, "value": 9.0},
    {"method": "A", "metric": "m", "seed": 1, "status": "failed", "reason": "x"},
    {"method": "R", "metric": "m", "seed": 0, "values": [7.0], "paper": "control"},
    {"method": "F", "metric": "m", "seed": 0, "status": "failed", "paper": "xnn"},
)


@pytest.mark.parametrize("shuffled", [False, True])
def test_arrays_by_hand(shuffled):
    """Seeds 0 and 2 have values, seed 1 has none; images 0 to 2."""
    (one,) = found(*CELLS, shuffled=shuffled)
    assert one.key == {
        "track": "heatmap",
        "dataset": "d",
        "target": "t",
        "metric": "m",
        "metric_setting": "",
    }
    assert (one.track, one.better, one.unit) == ("heatmap", "higher", "fraction")
    assert one.labels == ["A", "B", "F", "R"]
    assert one.controls.tolist() == [False, False, False, True]
    nothing = [[NAN] * 3] * 2
    np.testing.assert_array_equal(one.means, [[NAN, 9], [5, 2], [NAN, NAN], [7, NAN]])
    np.testing.assert_array_equal(
        one.values,
        [
            nothing,
            [[4, NAN, 6], [1, 2, 3]],
            nothing,
            [[7, NAN, NAN], [NAN] * 3],
        ],
    )
    np.testing.assert_array_equal(one.totals, [9, 3.5, NAN, 7])
    assert one.known.tolist() == [False, True, False, True]
    (some, values), (others, means) = one.measured()
    assert some.tolist() == one.known.tolist() and values.shape == (2, 2, 3)
    assert others.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(means, [[[NAN], [9]], [[NAN], [NAN]]])
    records = dict(one.methods)
    ((key, of_a),) = [(k, r) for k, r in records.items() if k[0] == "A"]
    assert key == ("A", "baseline", "A", "")
    assert sorted(record["status"] for record in of_a) == ["failed", "ok"]
    (ok,) = contests.ok(of_a)
    assert ok["value"] == 9


def test_a_contest_is_measured_in_one_way_or_in_both():
    values = {"method": "A", "metric": "m", "values": [1.0, 2.0]}
    means = {"method": "B", "metric": "m", "value": 1.0}
    shapes = []
    for cells in ((values,), (means,), (values, means)):
        (one,) = found(*cells)
        shapes.append([part.shape for _, part in one.measured()])
    assert shapes == [[(1, 1, 2)], [(1, 1, 1)], [(1, 1, 2), (1, 1, 1)]]


def test_tables_come_in_the_order_of_their_keys_and_numbers_sort_as_numbers():
    cells = [
        {"method": "A", "metric": m, "metric_setting": s, "dataset": d, "value": 1.0}
        for d in ("e", "d")
        for m, s in (("q", ""), ("m", "steps=24"), ("m", "steps=9"))
    ]
    keys = []
    for one in found(*cells):
        _, dataset, _, metric, setting = one.key.values()
        keys.append((dataset, metric, setting))
    of_one = [("m", "steps=9"), ("m", "steps=24"), ("q", "")]
    assert keys == [(d, *key) for d in "de" for key in of_one]
    assert contests.natural("a9b") < contests.natural("a10b") < contests.natural("b1")
    assert contests.natural("99999999") < contests.natural("123456789")
    shares = [f"keep={share};steps=9" for share in (0.05, 0.1, 0.25, 0.5, 1.0, 10.5)]
    assert sorted(reversed(shares), key=contests.natural) == shares
    layers = [f"layer=layer3.{i}" for i in (2, 10, 22)]
    assert sorted(reversed(layers), key=contests.natural) == layers


def test_facts_measured_under_two_settings_are_two_tables():
    """A replication's own setting is what it was measured under; methods' settings tell methods apart."""
    cells = [
        {"method": "A", "metric": "m", "setting": f"k={k}", "value": float(k)}
        for k in (1, 2)
    ]
    (one,) = found(*cells)
    assert one.labels == ["A (k=1)", "A (k=2)"] and one.totals.tolist() == [1, 2]
    facts = found(*({**cell, "track": "replication"} for cell in cells))
    assert [fact.totals.tolist() for fact in facts] == [[1], [2]]


def test_nothing_is_won_by_facts_nor_by_cost():
    cells = [
        {"method": "A", "track": track, "metric": metric, "value": 1.0}
        for track in ("heatmap", "target", "replication", "unknown")
        for metric in ("m", contests.COST, "saco")
    ]
    every = found(*cells)
    won = [tuple(one.key.values())[::3] for one in every if one.contested]
    assert won == [("heatmap", "m"), ("heatmap", "saco")]
    frame = tables.board(every)
    lines = frame[contests.contested(frame)]
    assert lines[["track", "metric", "rank"]].to_numpy().tolist() == [
        ["heatmap", "m", 1],
        ["heatmap", "saco", 1],
    ]


def test_records_keep_their_order_within_their_key():
    records = [{"a": 2, "b": 0, "c": "x"}, {"a": 1, "b": 1, "c": "y"}]
    records += [{"a": 2, "b": 0, "c": "z"}, {"a": 1, "b": 0, "c": "w"}]
    groups = contests.grouped(records, ["a", "b"])
    assert [(key, [r["c"] for r in part]) for key, part in groups] == [
        ((1, 0), ["w"]),
        ((1, 1), ["y"]),
        ((2, 0), ["x", "z"]),
    ]


def test_two_values_for_one_image_are_refused():
    rows, instances = frames(*CELLS[:2])
    twice = instances.assign(image=[0, 1, 0, 0, 1, 2])
    with pytest.raises(ValueError, match=r"'seed': 2.*two values for one image"):
        contests.contests(tables.labelled(rows), twice)


def test_without_instances_means_are_all_there_is():
    rows, instances = frames(*CELLS)
    rows = tables.labelled(rows)
    for none in (None, instances.iloc[:0]):
        (one,) = contests.contests(rows, none)
        assert one.values.shape == (4, 2, 0) and not one.known.any()
        np.testing.assert_array_equal(one.totals, [9, 3.5, NAN, 7])
