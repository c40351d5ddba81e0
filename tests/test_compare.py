"""What CI stops at: lost rows, changed states, shifted values; within a tolerance on another kind of machine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.leaderboard.compare import compare, fails, same_machine, summary, tolerance
from benchmark.seeds import generator
from tests.leaderboard_inputs import inputs


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return inputs()[0]


def changed(rows: pd.DataFrame, where: pd.Series, **values: object) -> pd.DataFrame:
    out = rows.copy()
    for column, value in values.items():
        out.loc[where, column] = value
    return out


def first(rows: pd.DataFrame, n: int = 1) -> pd.Series:
    """The first n rows that are ok."""
    chosen = rows.index[rows["status"] == "ok"][:n]
    return rows.index.isin(chosen)


@pytest.mark.parametrize("exact", [True, False])
def test_equal_rows_do_not_differ(rows, exact):
    shuffled = rows.sample(frac=1, random_state=0).assign(seconds=9.9)
    difference = compare(rows, shuffled, exact=exact)
    assert len(difference) == 0 and not fails(difference) and summary(difference) == "no differences"


@pytest.mark.parametrize("exact", [True, False])
def test_lost_new_and_status(rows, exact):
    lost = compare(rows, rows[~first(rows)], exact=exact)
    assert list(lost["kind"]) == ["lost"] and fails(lost)
    assert lost["key"].iloc[0] == "/".join(map(str, rows.loc[first(rows), list(store.ROW_KEYS)].iloc[0]))
    new = compare(rows[~first(rows)], rows, exact=exact)
    assert list(new["kind"]) == ["new"] and not fails(new)
    broken = changed(rows, first(rows), status="failed", reason="NaN", value=np.nan)
    status = compare(rows, broken, exact=exact)
    assert list(status["kind"]) == ["status"] and status["new"].iloc[0] == "failed: NaN" and fails(status)
    assert list(compare(broken, rows, exact=exact)["kind"]) == ["status"]


@pytest.mark.parametrize("exact", [True, False])
def test_a_new_version_of_a_metric_is_not_compared(rows, exact):
    gini = rows["metric"] == "gini"
    moved = changed(rows, gini, metric_version=2, value=0.0)
    difference = compare(rows, moved, exact=exact)
    assert set(difference["kind"]) == {"re-baselined"} and len(difference) == gini.sum() and not fails(difference)


@pytest.mark.parametrize(("column", "value"), [("n", 63), ("unit", "share"), ("better", "lower")])
def test_a_changed_meaning_is_a_shift(rows, column, value):
    where = first(rows) & (rows[column] != value)
    assert list(compare(rows, changed(rows, where, **{column: value}), exact=False)["kind"]) == ["shifted"]


def test_exact_sees_the_seventh_digit_and_no_further(rows):
    one = rows.loc[first(rows), "value"].iloc[0]
    seventh = changed(rows, first(rows), value=one * (1 + 1e-6))
    shifted = compare(rows, seventh, exact=True)
    assert list(shifted["kind"]) == ["shifted"] and np.isnan(shifted["tolerance"].iloc[0])
    assert len(compare(rows, changed(rows, first(rows), value=one * (1 + 1e-10)), exact=True)) == 0
    assert len(compare(rows, seventh, exact=False)) == 0


def test_exact_survives_the_file(rows, tmp_path):
    store.write_rows(tmp_path / "rows.csv", rows)
    assert len(compare(rows, store.read_rows(tmp_path / "rows.csv"), exact=True)) == 0


def test_tolerance_by_hand():
    assert tolerance(np.array([50.0]), np.array([51.0]), "percent") == 2.0
    assert tolerance(np.array([40.0]), np.array([51.0]), "nodes") == 4.0
    old, new = np.array([0.4, 0.5, 0.6]), np.array([0.5, 0.5, 0.5])
    assert tolerance(old, new, "fraction") == pytest.approx(4 * 0.1 / np.sqrt(3))
    assert tolerance(new, new, "fraction") == 0.02


def test_within_a_tolerance_the_means_over_seeds_count(rows):
    cell = (
        (rows["metric"] == "gini")
        & (rows["dataset"] == "digits")
        & (rows["target"] == "cnn")
        & (rows["method"] == "Grad-CAM")
    )
    small, large = (rows.assign(value=rows["value"] + np.where(cell, by, 0.0)) for by in (0.01, 0.5))
    assert len(compare(rows, small, exact=False)) == 0 and len(compare(rows, small, exact=True)) == 3
    shifted = compare(rows, large, exact=False)
    assert list(shifted["kind"]) == ["shifted"] and shifted["key"].iloc[0].endswith("gini/all")
    old, new, limit = float(shifted["old"].iloc[0]), float(shifted["new"].iloc[0]), shifted["tolerance"].iloc[0]
    assert new - old == pytest.approx(0.5, abs=1e-5) and 0.02 <= limit < 0.5
    assert f"tolerance {limit:.3g}" in summary(shifted)


def test_false_alarms_when_all_seeds_are_drawn_anew():
    """Worse than any machine does: other networks altogether. Five seeds; the floor plays no part."""
    rng = generator("test_compare", "alarms")
    draws = rng.normal(10, 1, size=(2000, 2, 5))
    alarms = np.mean([abs(a.mean() - b.mean()) > tolerance(a, b, "fraction") for a, b in draws])
    assert alarms < 0.02


def test_summary_names_and_counts(rows):
    text = summary(compare(rows, rows[~first(rows, 30)], exact=True), limit=3)
    assert text.splitlines()[0] == "30 lost (was there and is not)" and text.endswith("and 27 more")


def test_kinds_come_in_order(rows):
    mixed = changed(rows[~first(rows)], first(rows[~first(rows)], 2), value=1e9)
    assert list(compare(rows, mixed, exact=True)["kind"]) == ["lost", "shifted", "shifted"]


def test_same_machine():
    a = {"machine": {"cpu": "x", "torch": "2"}, "date": "1"}
    assert same_machine(a, {"machine": {"torch": "2", "cpu": "x"}, "date": "2"})
    assert not same_machine(a, {"machine": {"cpu": "y", "torch": "2"}})
    assert not same_machine({}, {}) and not same_machine(a, {"machine": {"cpu": "x"}})
