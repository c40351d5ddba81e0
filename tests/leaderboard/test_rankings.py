"""Which ranks differ and what settings do to them, against Demsar's worked example, scipy and hand-computed cases."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, kendalltau, rankdata

from benchmark.leaderboard import places, rankings, stats, summaries, tables
from benchmark.leaderboard.render import markdown, plots_ranks
from benchmark.utils import plot_style
from benchmark.utils.seeds import generator
from tests.helpers.leaderboard_inputs import EVIL, inputs

# Table 6 of Demsar (2006): AUC of C4.5 and three variants on 14 data sets; he ranked before he
# rounded (0.9751)
DEMSAR = {
    "C4.5": [
        0.763,
        0.599,
        0.954,
        0.628,
        0.882,
        0.936,
        0.661,
        0.583,
        0.775,
        1.000,
        0.940,
        0.619,
        0.972,
        0.957,
    ],
    "C4.5+m": [
        0.768,
        0.591,
        0.971,
        0.661,
        0.888,
        0.931,
        0.668,
        0.583,
        0.838,
        1.000,
        0.962,
        0.666,
        0.981,
        0.978,
    ],
    "C4.5+cf": [
        0.771,
        0.590,
        0.968,
        0.654,
        0.886,
        0.916,
        0.609,
        0.563,
        0.866,
        1.000,
        0.965,
        0.614,
        0.9751,
        0.946,
    ],
    "C4.5+m+cf": [
        0.798,
        0.569,
        0.967,
        0.657,
        0.898,
        0.931,
        0.685,
        0.625,
        0.875,
        1.000,
        0.962,
        0.669,
        0.975,
        0.970,
    ],
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return tables.leaderboard(*inputs())


@pytest.fixture(scope="module")
def demsar() -> pd.DataFrame:
    return pd.DataFrame(
        rankdata(-np.array(list(DEMSAR.values())).T, axis=1), columns=list(DEMSAR)
    )


def board(means: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """A board of one network: metric -> setting -> means of methods a, b, c ... (higher is better)."""
    lines = [
        {
            "track": "heatmap",
            "dataset": "d",
            "target": "t",
            "metric": metric,
            "metric_setting": setting,
            "label": "abcdef"[i],
            "control": False,
            "mean": value,
            "rank": rank,
            "mark": "",
            "counts": True,
            "family": "",
            "status": "ok",
            "better": "higher",
        }
        for metric, settings in means.items()
        for setting, values in settings.items()
        for i, (value, rank) in enumerate(
            zip(values, stats.ranks(np.array(values), "higher"), strict=True)
        )
    ]
    return pd.DataFrame(lines).reindex(columns=tables.COLUMNS)


# --------------------------------------------------------------------------------------------- which ranks differ


def test_demsars_example(demsar):
    """His average ranks, 3.143, 2.000, 2.893 and 1.964; his Friedman statistic 9.28 does not correct for ties."""
    np.testing.assert_allclose(demsar.mean(), [3.143, 2.000, 2.893, 1.964], atol=5e-4)
    n, k = demsar.shape
    assert 12 * n / (k * (k + 1)) * (
        (demsar.mean() ** 2).sum() - k * (k + 1) ** 2 / 4
    ) == pytest.approx(9.28, abs=0.01)
    assert rankings.friedman(demsar) == pytest.approx(
        friedmanchisquare(*demsar.to_numpy().T).pvalue
    )
    assert rankings.friedman(demsar) == pytest.approx(
        0.01672158, abs=1e-7
    )  # as R and MATLAB, with ties


def test_friedman_without_ties_and_of_nothing_but_ties():
    table = pd.DataFrame(
        rankdata(
            generator("test_rankings", "friedman").normal([0, 1, 2], size=(7, 3)),
            axis=1,
        )
    )
    assert rankings.friedman(table) == pytest.approx(
        friedmanchisquare(*table.to_numpy().T).pvalue
    )
    assert rankings.friedman(table.iloc[:2]) == pytest.approx(
        friedmanchisquare(*table.iloc[:2].to_numpy().T).pvalue
    )
    for nothing in (table * 0, table.iloc[:1], table.iloc[:, :2]):
        assert np.isnan(rankings.friedman(nothing))


def test_pairs_are_the_exact_signed_rank_test_and_holm():
    table = pd.DataFrame(
        rankdata(
            generator("test_rankings", "pairs").normal([0, 0, 1, 1], size=(9, 4)),
            axis=1,
        )
    )  # many ties
    p = rankings.differ(table)
    names = list(combinations(table.columns, 2))
    lead = np.array([table[a] - table[b] for a, b in names], float)
    assert len(names) == 6
    for (a, b), adjusted in zip(
        names, stats.holm(stats.signed_rank(lead)), strict=True
    ):
        assert p.loc[a, b] == p.loc[b, a] == pytest.approx(adjusted)
    assert (np.diag(p) == 1).all()


def test_pairs_by_hand():
    """a before b in all of 8 rankings: 2 of 2^8 sign patterns are as extreme; c has too few; d is a again."""
    table = pd.DataFrame(
        {"a": [1.0] * 8, "b": [2.0] * 8, "c": [3.0] * 5 + [np.nan] * 3, "d": [1.0] * 8}
    )
    p = rankings.differ(table)
    assert p.loc["a", "b"] == pytest.approx(
        3 * 2 / 256
    )  # Holm over the three pairs that can be tested
    assert p.loc["a", "d"] == 1 and p["c"].drop("c").isna().all()
    assert np.isnan(rankings.friedman(table[["a", "b"]]))


def test_false_alarms_of_the_pairs():
    """Five methods alike, 20 rankings: any bar missing in 5 % of the boards at most."""
    rng = generator("test_rankings", "null")
    wrong = 0
    for _ in range(100):
        table = pd.DataFrame(rankdata(rng.normal(size=(20, 5)), axis=1))
        wrong += (rankings.differ(table).to_numpy() < 0.05).any()
    assert wrong <= 10


def literal_cliques(alike: np.ndarray) -> set[tuple[int, int]]:
    """All runs in which every pair is alike and that no longer such run contains."""
    m = len(alike)
    runs = {
        (i, j)
        for i in range(m)
        for j in range(i + 1, m)
        if all(alike[a, b] for a, b in combinations(range(i, j + 1), 2))
    }
    return {
        r
        for r in runs
        if not any(o != r and o[0] <= r[0] and r[1] <= o[1] for o in runs)
    }


def test_cliques_are_the_longest_runs_alike():
    rng = generator("test_rankings", "cliques")
    for _ in range(200):
        m = int(rng.integers(1, 8))
        alike = rng.random((m, m)) < 0.75
        alike = np.triu(alike, 1) | np.triu(alike, 1).T | np.eye(m, dtype=bool)
        assert set(
            rankings.cliques(pd.DataFrame(np.where(alike, 0.5, 0.01)))
        ) == literal_cliques(alike)
    assert rankings.cliques(pd.DataFrame([[1, np.nan], [np.nan, 1]])) == [
        (0, 1)
    ]  # what cannot be tested is joined


def test_rankings_are_of_data_sets(frame):
    """Duels won on each data set; the order is that of the mean rank."""
    table = rankings.rankings(frame, "heatmap")
    assert sorted(table.index) == ["digits", "toybirds"]
    won = places.duels(frame[frame["dataset"] == "digits"], "heatmap").mean(axis=1)
    assert table.loc["digits"].to_dict() == (-won).rank().to_dict()
    assert table.mean().is_monotonic_increasing
    average = rankings.average(frame, table)
    assert list(average["label"]) == list(table.columns)
    assert set(average.loc[average["control"], "label"]) == {
        "Random map",
        "Edge map (Sobel)",
    }


# --------------------------------------------------------------------------------------------- settings


def test_sensitivity_by_hand():
    found = board(
        {
            "one": {"": [3, 2, 1]},
            "two": {
                "keep=0.1": [3, 2, 1],
                "keep=0.2": [3, 1, 2],
                "keep=0.3": [1, 2, 3],
            },
        }
    )
    (line,) = rankings.sensitivity(found, "heatmap").itertuples()
    taus = [
        1 / 3,
        -1.0,
        -1 / 3,
    ]  # 1-2, 1-3, 2-3: one of three pairs of methods turns, all, two
    assert (line.metric, line.settings, line.networks, line.first) == (
        "two",
        3,
        1,
        ["a", "c"],
    )
    assert line.tau == pytest.approx(np.mean(taus)) and line.least == -1
    assert rankings.moves(found, "heatmap").to_dict() == {"a": 2.0, "b": 1.0, "c": 2.0}
    assert (
        "two, 3 settings on 1 network: Kendall's tau -0.33"
        in markdown.sensitivity_words(line)
    )


def test_a_network_that_lacks_a_setting_and_two_methods_alone():
    whole = board({"two": {"keep=0.1": [3, 2, 1], "keep=0.2": [3, 1, 2]}})
    part = board({"two": {"keep=0.2": [1, 2, 3]}}).assign(target="u")
    both = pd.concat([whole, part], ignore_index=True)
    pd.testing.assert_frame_equal(
        rankings.by_setting(both, "heatmap"), rankings.by_setting(whole, "heatmap")
    )
    (line,) = rankings.sensitivity(
        pd.concat([whole, whole.assign(target="u")], ignore_index=True), "heatmap"
    ).itertuples()
    assert "two, 2 settings on 2 networks: Kendall's tau" in markdown.sensitivity_words(
        line
    )
    (line,) = rankings.sensitivity(
        board({"two": {"keep=0.1": [3, 2], "keep=0.2": [3, 1]}}), "heatmap"
    ).itertuples()
    assert rankings.moves(whole, "heatmap").to_dict() == {
        "a": 0.0,
        "b": 1.0,
        "c": 1.0,
    }  # two settings are several
    assert (
        np.isnan(line.tau)
        and np.isnan(line.least)
        and "too few methods" in markdown.sensitivity_words(line)
    )


def test_a_network_with_two_methods_does_not_hide_the_others():
    """On the first network there are too few to compare; on the second the ranking turns around."""
    two = board({"m": {"k=1": [2, 1], "k=2": [2, 1]}}).assign(target="s")
    three = board({"m": {"k=1": [3, 2, 1], "k=2": [1, 2, 3]}})
    found = pd.concat([two, three], ignore_index=True)
    (line,) = rankings.sensitivity(found, "heatmap").itertuples()
    assert line.tau == line.least == pytest.approx(-1)


def test_metrics_settings_and_methods_come_in_the_order_of_the_board():
    found = board(
        {
            metric: {"k=9": [3, 2, 1], "k=10": other}
            for metric, other in (("b", [1, 2, 3]), ("a", [3, 2, 1]))
        }
    )
    lines = rankings.sensitivity(found, "heatmap")
    assert list(lines["metric"]) == ["b", "a"] and list(lines["first"]) == [
        ["a", "c"],
        ["a"],
    ]
    assert (
        list(lines["tau"]) == list(lines["least"]) == pytest.approx([-1, 1])
    )  # each of its own blocks alone
    shown = rankings.by_setting(found, "heatmap")
    assert list(
        zip(shown["metric"], shown["metric_setting"], shown["label"], strict=True)
    ) == [
        (metric, setting, label)
        for metric in "ba"
        for setting in ("k=9", "k=10")
        for label in "abc"
    ]


def test_a_metric_with_one_setting_is_not_there():
    found = board({"one": {"": [3, 2, 1]}})
    assert not len(rankings.sensitivity(found, "heatmap")) and not len(
        rankings.moves(found, "heatmap")
    )


def test_sensitivity_is_kendalls_tau(frame):
    (line,) = rankings.sensitivity(frame, "heatmap").itertuples()
    assert line.metric == "accuracy_top_pixels"
    ranked = tables.ranked(frame, "heatmap")
    taus = []
    for _, block in ranked[ranked["metric"] == line.metric].groupby(
        ["dataset", "target"]
    ):
        a, b = (
            block[block["metric_setting"] == s].sort_values("label")["rank"]
            for s in ("pixels=300", "pixels=1000")
        )
        taus.append(kendalltau(a, b).statistic)
    assert line.tau == pytest.approx(np.mean(taus)) and line.least == pytest.approx(
        min(taus)
    )


def test_settings_are_average_ranks(frame):
    shown = rankings.by_setting(frame, "heatmap")
    assert list(dict.fromkeys(shown["metric_setting"])) == [
        "pixels=300",
        "pixels=1000",
    ]  # in the order of their numbers
    assert shown.groupby(["metric", "metric_setting"])[
        "average_rank"
    ].mean().to_numpy() == pytest.approx(3.5)  # of six methods


# --------------------------------------------------------------------------------------------- shown


def test_the_drawing_names_every_method_and_joins_what_is_alike(frame):
    figure = plots_ranks.critical_difference(frame, "heatmap")
    words = " ".join(t.get_text() for t in figure.axes[0].texts)
    labels = rankings.rankings(frame, "heatmap").columns
    assert len(labels) and all(label[:20].replace("$", "") in words for label in labels)
    bars = rankings.cliques(rankings.differ(rankings.rankings(frame, "heatmap")))
    assert len(figure.axes[0].collections) >= len(bars) > 0
    again = plots_ranks.critical_difference(frame, "heatmap")
    assert plot_style.save(figure, "svg") == plot_style.save(again, "svg")


def test_no_two_methods_look_the_same_in_the_drawing_of_the_settings(frame):
    """More methods than there are colours; a method is the same in every panel, and grey is for controls."""
    heat = frame[frame["track"] == "heatmap"]
    many = pd.concat(
        [heat.assign(label=heat["label"] + (f" {k}" if k else "")) for k in range(4)]
    )
    looks = {}
    placed = places.places(many)
    for axes in plots_ranks.settings(many, placed, "heatmap").axes:
        for line in axes.get_lines():
            looks.setdefault(line.get_label(), set()).add(
                (line.get_color(), line.get_marker(), line.get_linestyle())
            )
    controls = set(many.loc[many["control"], "label"])
    assert len(looks) == many["label"].nunique() > 20
    assert all(len(look) == 1 for look in looks.values())
    methods = [
        look
        for label, look in looks.items()
        if not any(label.startswith(c[:20]) for c in controls)
    ]
    assert len(set.union(*methods)) == len(methods) > 15
    assert not {color for look in methods for color, *_ in look} & {
        plot_style.MUTED,
        plot_style.PALETTE[7],
    }


def test_the_page_and_the_markdown_show_the_settings(frame):
    assert (
        "setting matters: accuracy top pixels, 2 settings on 3 networks"
        in markdown.render(frame, places.places(frame))
    )
    assert EVIL not in markdown.sensitivity(frame, "heatmap")


def test_numbers_for_dvc(frame):
    facts = json.loads(
        summaries.metrics(
            frame,
            placed := places.places(frame),
            pd.DataFrame({"id": ["LT1", "LT-7"], "verdict": ["holds", "differs"]}),
        )
    )
    found = places.of(placed, "heatmap")
    assert facts["normalised_rank"]["heatmap"] == pytest.approx(
        dict(zip(found["label"], found["normalised_rank"], strict=True)), abs=1e-4
    )
    assert facts["lines"]["ok"] == (frame["status"] == "ok").sum()
    assert summaries.ranks(placed).splitlines()[0] == "track,method,normalised_rank"
    one = frame.iloc[[0]].assign(track="target", metric="test_accuracy", mean=97.5)
    lost = one.assign(target="lost", status="failed", mean=np.nan)  # NaN is no JSON
    facts = json.loads(
        summaries.metrics(
            pd.concat([one, lost]),
            placed.iloc[:0],
            pd.DataFrame({"id": ["LT1"], "verdict": ["holds"]}),
        )
    )
    assert facts["networks"] == {
        f"{one['dataset'].item()}/{one['target'].item()}": {"test_accuracy": 97.5}
    }
