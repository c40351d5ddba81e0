"""Places from duels, by hand: votes of settings, networks and families; methods alone; intervals of places."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from benchmark import store
from benchmark.leaderboard import places, tables
from benchmark.leaderboard.contests import contests
from benchmark.leaderboard.render import markdown, page
from benchmark.utils.seeds import generator
from tests.helpers.boards import frames


def board(*lines: tuple, families: dict | None = None) -> pd.DataFrame:
    """A board whose tables all count, of (method, metric, setting, dataset, target, value or status)."""
    cells = []
    for method, metric, setting, dataset, target, value in lines:
        cell = {"method": method, "metric": metric, "metric_setting": setting}
        cell |= {"dataset": dataset, "target": target}
        known = isinstance(value, float)
        cells.append(cell | ({"value": value} if known else {"status": value}))
    return tables.leaderboard(*frames(*cells), families).assign(counts=True)


def rates(frame: pd.DataFrame, family: str = places.ALL) -> dict[str, float]:
    found = places.of(places.places(frame), "heatmap", family)
    return dict(zip(found["label"], found["win_rate"], strict=True))


def test_settings_share_a_vote_and_families_weigh_alike():
    """A wins against B in one of two settings of m and in q; R has nothing to do with q."""
    frame = board(
        ("A", "m", "k=1", "d", "t", 3.0),
        ("B", "m", "k=1", "d", "t", 2.0),
        ("R", "m", "k=1", "d", "t", 1.0),
        ("A", "m", "k=2", "d", "t", 1.0),
        ("B", "m", "k=2", "d", "t", 2.0),
        ("R", "m", "k=2", "d", "t", 3.0),
        ("A", "q", "", "d", "t", 2.0),
        ("B", "q", "", "d", "t", 1.0),
        families={"m": "one", "q": "two"},
    )
    # A against B: 1/2 and 1; against R: 1/2. B against A: 1/2 and 0; against R: 1/2.
    assert rates(frame) == pytest.approx({"A": 0.625, "R": 0.5, "B": 0.375})
    assert rates(frame, "two")["A"] == 1 and rates(frame, "one")["A"] == 0.5
    placed = places.places(frame)
    assert places.families(placed, "heatmap") == ["one", "two"]
    overall = places.of(placed, "heatmap").set_index("label")
    assert overall["tables"].to_dict() == {"A": 2, "R": 1, "B": 2}
    assert overall["place"].to_dict() == {"A": 1, "R": 2, "B": 3}
    # (rank - 1) / (methods - 1): A has 0 and 1 in m, together one vote, and 0 in q
    assert overall["normalised_rank"]["A"] == pytest.approx(0.25)


def test_networks_of_a_data_set_share_a_vote():
    frame = board(
        *(("A", "m", "", "d", t, 2.0) for t in "tu"),
        *(("B", "m", "", "d", t, 1.0) for t in "tu"),
        ("A", "m", "", "e", "t", 1.0),
        ("B", "m", "", "e", "t", 2.0),
    )
    assert rates(frame) == {"A": 0.5, "B": 0.5}


def test_who_never_meets_a_rival_is_alone():
    frame = board(("A", "m", "", "d", "t", 2.0), ("B", "q", "", "d", "t", 1.0))
    placed = places.of(places.places(frame), "heatmap")
    assert list(map(places.words, placed.itertuples())) == ["alone", "alone"]
    assert list(placed["tables"]) == [0, 0] and placed["win_rate"].isna().all()


def test_a_failure_loses_every_duel_and_equals_share_theirs():
    frame = board(
        ("A", "m", "", "d", "t", 1.0),
        ("B", "m", "", "d", "t", 1.0),
        ("C", "m", "", "d", "t", "failed"),
        ("D", "m", "", "d", "t", "failed"),
        ("E", "m", "", "d", "t", "not applicable"),
    )
    expected = {"A": 2.5 / 3, "B": 2.5 / 3, "C": 0.5 / 3, "D": 0.5 / 3}
    assert rates(frame) == pytest.approx(expected)
    placed = places.of(places.places(frame), "heatmap")
    assert list(placed["failed"]) == [0, 0, 1, 1]
    assert list(placed["place"]) == [1, 1, 3, 3]


def test_the_lower_value_wins_where_lower_is_better():
    cells = [("A", "m", "", "d", "t", 1.0), ("B", "m", "", "d", "t", 2.0)]
    assert rates(board(*cells).assign(better="lower")) == {"A": 1, "B": 0}
    assert rates(board(*cells)) == {"B": 1, "A": 0}


def test_equal_to_seven_digits_is_equal():
    frame = board(("A", "m", "", "d", "t", 1.0), ("B", "m", "", "d", "t", 1 + 1e-9))
    assert rates(frame) == {"A": 0.5, "B": 0.5}


def test_normalised_ranks_by_hand():
    """Of three methods 0, 1/2 and 1, of two 0 and 1: the mean over tables, the settings of a metric sharing a vote."""
    lines = [(m, "m", "", "d", "t", v) for m, v in (("A", 3.0), ("B", 2.0), ("C", 1.0))]
    for setting in ("k=1", "k=2"):
        lines += [
            ("B", "q", setting, "d", "t", 2.0),
            ("C", "q", setting, "d", "t", 1.0),
        ]
    placed = places.places(board(*lines))
    ranks = placed.set_index("label")["normalised_rank"].to_dict()
    assert ranks == pytest.approx({"A": 0, "B": 0.25, "C": 1})
    tied = [(m, "m", "", "d", "t", v) for m, v in (("A", 2.0), ("B", 2.0), ("C", 1.0))]
    placed = places.places(board(*tied)).set_index("label")
    assert placed["normalised_rank"].to_dict() == {"A": 0.25, "B": 0.25, "C": 1}
    families = {"m": "one", "q": "two"}
    placed = places.places(board(*lines, families=families))
    overall = placed["family"] == places.ALL
    assert placed["normalised_rank"].notna().equals(overall)


def test_one_family_is_no_families_and_another_track_is_another():
    cells = [("A", "m", "", "d", "t", 1.0), ("B", "m", "", "d", "t", 2.0)]
    frame = board(*cells, families={"m": "one"})
    assert places.families(places.places(frame), "heatmap") == []
    cells += [("A", "q", "", "d", "t", 1.0), ("B", "q", "", "d", "t", 2.0)]
    both = board(*cells, families={"m": "one", "q": "two"})
    other = both[both["metric"] == "q"].assign(track="concept")
    placed = places.places(pd.concat([both, other]))
    assert places.families(placed, "heatmap") == ["one", "two"]
    assert places.families(placed, "concept") == []
    assert len(places.of(placed, "concept")) == 2
    assert places.of(placed, "concept", "one").empty
    # a family in which nobody has a rival
    alone = board(*cells, ("A", "r", "", "d", "t", 1.0), families={"m": "one"})
    alone.loc[alone["metric"] == "r", "family"] = "three"
    alone = alone[alone["metric"] != "q"]
    assert places.families(places.places(alone), "heatmap") == []


def test_a_track_is_of_its_own_lines():
    """B wins among the heat maps, A among the concepts, where nobody has more than one family."""
    heatmaps = [("A", "m", "", "d", "t", 1.0), ("B", "m", "", "d", "t", 2.0)]
    concepts = [("A", "q", "", "d", "t", 2.0), ("B", "q", "", "d", "t", 1.0)]
    frame = board(*heatmaps, *concepts, families={"m": "one", "q": "two"})
    track = frame["track"].where(frame["metric"] == "m", "concept")
    placed = places.places(frame.assign(track=track))
    for name, order in (("heatmap", "BA"), ("concept", "AB")):
        of_track = places.of(placed, name)
        assert list(of_track) == places.COLUMNS and list(of_track["label"]) == [*order]
        assert of_track["win_rate"].tolist() == [1, 0]
        assert places.families(placed, name) == []
    assert places.of(placed, "heatmap", "two").empty


def test_equals_come_in_the_order_of_their_labels():
    frame = board(*((label, "m", "", "d", "t", 1.0) for label in "CAB"))
    placed = places.of(places.places(frame), "heatmap")
    assert list(placed["label"]) == ["A", "B", "C"]
    assert list(placed["place"]) == [1, 1, 1]


def test_a_family_lists_the_methods_that_take_part_in_it():
    cells = [("A", "m", "", "d", "t", 1.0), ("B", "m", "", "d", "t", 2.0)]
    cells += [("B", "q", "", "d", "t", 2.0), ("C", "q", "", "d", "t", 3.0)]
    cells += [("C", "q", "", "e", "t", "failed"), ("D", "q", "", "e", "t", 1.0)]
    placed = places.places(board(*cells, families={"m": "one", "q": "two"}))
    one, two = (places.of(placed, "heatmap", name) for name in ("one", "two"))
    assert list(one["label"]) == ["B", "A"] and list(one["failed"]) == [0, 0]
    # B meets C alone, and D too; C wins one duel and loses one
    assert list(two["label"]) == ["D", "C", "B"]
    assert list(two["win_rate"]) == [1, 0.5 * (1 + 0), 0]
    assert list(two["failed"]) == [0, 1, 0] and list(two["tables"]) == [1, 2, 1]


def test_nothing_has_no_places():
    frame = board(("A", "m", "", "d", "t", 1.0))
    placed = places.places(frame.iloc[:0])
    assert placed.empty and list(placed) == places.COLUMNS


def test_one_resample_in_forty_lies_outside_of_an_interval():
    """Of 40 resamples A loses one, or two; B has no rival."""
    for lost, high in ((1, 1), (2, 2)):
        a = np.ones(41)
        a[-lost:] = -1
        score = np.stack([a, np.full(41, np.nan), np.zeros(41)])
        found = places._intervals(score)
        np.testing.assert_array_equal(found["place"], [1, np.nan, 2])
        np.testing.assert_array_equal(found["high"], [high, np.nan, 2])
        np.testing.assert_array_equal(found["low"], [1, np.nan, 3 - high])
        np.testing.assert_allclose(found["first"], [1 - lost / 40, np.nan, lost / 40])


def test_places_in_words():
    line = SimpleNamespace(place=2.0, low=1.0, high=4.0)
    assert places.words(line) == "2 (1–4)"
    line.low = np.nan
    assert places.words(line) == "2"
    line.place = np.nan
    assert places.words(line) == "alone"


def test_tables_that_do_not_count_have_no_say():
    frame = board(("A", "m", "", "d", "t", 2.0), ("B", "m", "", "d", "t", 1.0))
    assert np.isnan(list(rates(frame.assign(counts=False)).values())).all()


def test_duels_are_the_win_rates_before_they_are_averaged():
    lines = [(m, "m", "", "d", "t", v) for m, v in (("A", 3.0), ("B", 2.0), ("C", 1.0))]
    won = places.duels(board(*lines), "heatmap")
    assert won.loc["A", "B"] == won.loc["A", "C"] == 1 and won.loc["C", "B"] == 0
    assert won.isna().to_numpy().diagonal().all()


def measured(*levels: float, datasets: str = "de") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Methods A, B ... at these levels on every data set; rows and values of 3 seeds, 30 images."""
    cells = []
    for dataset in datasets:
        for seed in range(3):
            hard = generator("test_places", dataset).normal(size=30)
            for method, level in zip("ABCDE", levels, strict=False):
                noise = generator("test_places", dataset, seed, method).normal(size=30)
                cell = {"method": method, "metric": "m", "dataset": dataset}
                cells.append(cell | {"seed": seed, "values": hard + noise + level})
    return frames(*cells)


def placed_of(rows: pd.DataFrame, instances: pd.DataFrame) -> pd.DataFrame:
    found = contests(tables.labelled(rows), instances)
    frame = tables.board(found).assign(counts=True)
    return places.of(places.places(frame, found), "heatmap")


def test_the_interval_of_a_place_says_what_is_decided():
    """C is far behind; A and B are alike."""
    placed = placed_of(*measured(0.0, 0.0, -3.0)).set_index("label")
    assert placed["place"]["C"] == 3 and placed["low"]["C"] == 3 == placed["high"]["C"]
    assert (placed.loc[["A", "B"], "low"] == 1).all()
    assert (placed.loc[["A", "B"], "high"] == 2).all()
    assert placed["first"]["C"] == 0 and placed["first"].sum() >= 1
    assert places.words(placed.loc["C"]) == "3 (3–3)"


def test_data_sets_are_resampled():
    """A wins on d, B on e, both without doubt: which one is first depends on the data sets alone."""
    one, values = measured(3.0, 0.0, datasets="d")
    other, more = measured(0.0, 3.0, datasets="e")
    placed = placed_of(pd.concat([one, other]), pd.concat([values, more]))
    assert (placed["low"] == 1).all() and (placed["high"] == 2).all()
    # a quarter of the draws have d alone, a quarter e alone, in the rest both are first
    assert placed["first"].to_numpy() == pytest.approx([0.75, 0.75], abs=0.05)


def test_a_method_of_which_only_the_mean_is_known_keeps_it_in_every_resample():
    """A and B are alike and resampled; C has their mean, without images."""
    rows, instances = measured(0.0, 0.0, datasets="d")
    means = rows[rows["method"] == "A"].assign(method="C", value=rows["value"].mean())
    rows = pd.concat([rows, means], ignore_index=True)
    placed = placed_of(rows, instances).set_index("label")
    assert (placed["low"] == 1).all() and (placed["high"] == 3).all()
    far = rows.assign(value=rows["value"].where(rows["method"] != "C", 99.0))
    placed = placed_of(far, instances).set_index("label")
    assert placed.loc["C", ["low", "high", "first"]].tolist() == [1, 1, 1]
    alone = placed_of(rows[rows["method"] == "A"], instances)
    assert alone[["place", "low", "high", "first"]].isna().all(axis=None)


def test_facts_and_replications_are_not_resampled():
    rows, instances = measured(0.0, 1.0, datasets="d")
    for track in ("target", "replication"):
        found = contests(
            tables.labelled(rows.assign(track=track)), instances.assign(track=track)
        )
        assert places._draws(found) == {}
    found = contests(tables.labelled(rows), instances)
    ((key, draws),) = places._draws(found).items()
    assert key == ("heatmap", "d", "t", "m", "") and list(draws) == ["A", "B"]
    assert draws["B"].shape == (1000,) and draws["B"].mean() > draws["A"].mean()
    alone = contests(tables.labelled(rows.iloc[:1].assign(metric="a")), None)
    assert list(places._draws([*alone, *found])) == [key]  # nobody to meet in "a"


def test_places_are_the_same_each_time_and_survive_their_file(tmp_path):
    rows, instances = measured(0.1, 0.0, -0.1)
    placed = placed_of(rows, instances)
    again = placed_of(rows.sample(frac=1, random_state=0), instances)
    pd.testing.assert_frame_equal(placed, again)
    path = tmp_path / "places.csv"
    path.write_text(places.csv_text(placed))
    assert places.csv_text(places.read(path)) == path.read_text()
    named = placed.replace({"label": {"A": "NA"}}).assign(
        control=placed["label"] == "B"
    )
    path.write_text(places.csv_text(named))
    words = ["track", "family", "label", "control", "tables"]
    assert places.read(path)[words].equals(named[words])
    path.write_text("track,label\nheatmap,A\n")
    with pytest.raises(store.StoreError, match=r"places\.csv is damaged"):
        places.read(path)
    with pytest.raises(store.StoreError, match="is missing"):
        places.read(tmp_path / "none.csv")


def test_a_cost_is_shown_and_not_won():
    cells = []
    for method, target, passes in (("A", "t", 4.0), ("A", "u", 6.0), ("B", "t", 0.0)):
        cell = {"method": method, "dataset": "d", "target": target}
        cells.append(cell | {"metric": "m", "value": passes})
        cells.append(cell | {"metric": "passes_per_image", "value": passes})
    frame = tables.leaderboard(*frames(*cells))
    cost = frame[frame["metric"] == "passes_per_image"]
    assert cost["rank"].isna().all() and not cost["counts"].any()
    assert set(cost["mark"]) == {""} and sorted(cost["mean"]) == [0, 4, 6]
    more = frame[frame["metric"] == "m"].assign(metric="saco", mean=9.0)
    elsewhere = [frame.assign(track=track) for track in ("concept", "surrogate")]
    every = pd.concat([frame, more, *elsewhere])
    elsewhere = every["track"] != "heatmap"
    every["mean"] += 100 * elsewhere
    assert places.costs(every, "heatmap") == {"A": 5, "B": 0}
    placed = places.places(frame)
    assert set(placed["tables"]) == {1}
    text = markdown.summary(frame, placed, "heatmap")
    assert "| won | passes | failed |" in text and "| 5 |" in text
    line, _ = page._places(frame, placed, "heatmap")
    cost = line["cells"][3]
    assert (cost["text"], cost["sort"]) == ("5", "5")
    without = frame[frame["metric"] == "m"]
    assert "passes" not in markdown.summary(without, placed, "heatmap")


@pytest.mark.parametrize(
    ("cost", "text"),
    [(np.nan, "–"), (0.0, "0"), (0.1349, "0.13"), (2.06, "2.1"), (302.0, "300")],
)
def test_passes_have_two_digits(cost, text):
    assert markdown.passes(cost) == text
