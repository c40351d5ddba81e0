"""What must hold for every board, statistic and comparison, on drawn numbers: what must not matter,
bounds, symmetries."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import store
from benchmark.gate import noise
from benchmark.gate.diff import FAIL_ON, compare, fails, reproduced
from benchmark.leaderboard import places, placing, rankings, stats, tables, variances
from tests.helpers.boards import differences

few, more, boards = (
    settings(max_examples=8),
    settings(max_examples=60),
    settings(max_examples=3),
)
rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)
betters = st.sampled_from(["higher", "lower"])
OTHER = {"higher": "lower", "lower": "higher"}


def values(
    rng: np.random.Generator, methods=3, seeds=2, images=12, holes=0.0
) -> np.ndarray:
    """(M, S, N)"""
    out = (
        rng.normal(size=(methods, 1, 1))
        + rng.normal(size=(methods, seeds, images))
        + rng.normal(size=images)
    )
    out[rng.random(out.shape) < holes] = np.nan
    return out


def frames(
    rng: np.random.Generator,
    better="higher",
    metrics=("m", "q"),
    methods="ABR",
    seeds=2,
    images=8,
):
    """(rows, instances) of a board on two networks; R is a control, and one cell has failed."""
    rows, instances = [], []
    for metric in metrics:
        for dataset in "de":
            for i, x in enumerate(values(rng, len(methods), seeds, images)):
                for seed in range(seeds):
                    key = {
                        "profile": "p",
                        "track": "heatmap",
                        "paper": "control" if methods[i] == "R" else "baseline",
                        "dataset": dataset,
                        "target": "t",
                        "method": methods[i],
                        "setting": "",
                        "metric": metric,
                        "metric_setting": "",
                        "seed": seed,
                    }
                    failed = (metric, dataset, i, seed) == (metrics[0], "d", 0, 1)
                    rows.append(
                        key
                        | {
                            "value": np.nan if failed else x[seed].mean(),
                            "n": 0 if failed else images,
                            "better": better,
                            "unit": "fraction",
                            "metric_version": 1,
                            "status": "failed" if failed else "ok",
                            "reason": "time" if failed else "",
                        }
                    )
                    instances += (
                        []
                        if failed
                        else [
                            key | {"image": k, "value": v}
                            for k, v in enumerate(x[seed])
                        ]
                    )
    return store.tidy_rows(pd.DataFrame(rows)), pd.DataFrame(
        instances, columns=[*store.ROW_KEYS, "image", "value"]
    )


def shuffled(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)


# --------------------------------------------------------------------------------------------- ranks


@given(
    means=st.lists(st.integers(-40, 40), min_size=1, max_size=8),
    rng=rngs,
    better=betters,
)
@more
def test_ranks_are_of_the_order_alone(means, rng, better):
    x = np.array(means, float)
    ranks, order = stats.ranks(x, better), rng.permutation(len(x))
    for rising in (x**3, 7 * x - 3, np.exp(x / 9), np.arctan(x)):
        np.testing.assert_array_equal(stats.ranks(rising, better), ranks)
    np.testing.assert_array_equal(stats.ranks(-x, OTHER[better]), ranks)
    np.testing.assert_array_equal(stats.ranks(x[order], better), ranks[order])
    assert (
        ranks.min() >= 1
        and ranks.max() <= len(x)
        and ranks[stats.best(x, better)] == ranks.min()
    )
    np.testing.assert_array_equal(
        stats.ranks(np.append(x, np.nan), better)[:-1], ranks
    )  # who has no mean takes no place


# --------------------------------------------------------------------------------------------- intervals


@given(
    rng=rngs,
    seeds=st.integers(1, 4),
    images=st.integers(2, 30),
    holes=st.sampled_from([0, 0.2]),
)
@few
def test_intervals_hold_their_mean_and_turn_with_the_values(rng, seeds, images, holes):
    x = values(rng, 3, seeds, images, holes)
    low, high = stats.interval(x).T
    mean = stats.mean(x)
    known = ~np.isnan(low)
    assert known.any()
    assert (low[known] <= mean[known]).all() and (mean[known] <= high[known]).all()
    wider = stats.interval(x, level=0.99).T
    assert (wider[0][known] <= low[known]).all()
    assert (wider[1][known] >= high[known]).all()
    turned = stats.interval(5 - 3 * x).T
    np.testing.assert_allclose(turned, [5 - 3 * high, 5 - 3 * low])
    np.testing.assert_allclose(stats.interval(x[::-1]), stats.interval(x)[::-1])
    inside = 1 / (1 + np.exp(-3 * x))
    low, high = stats.interval(inside, unit="fraction")[known].T
    assert (low >= 0).all() and (high <= 1).all()


@given(rng=rngs)
@few
def test_intervals_shrink_with_the_number_of_images(rng):
    x = values(rng, 2, 1, 24)
    width = [np.diff(stats.interval(np.tile(x, (1, 1, k))))[:, 0] for k in (1, 4, 16)]
    np.testing.assert_allclose(width[1] / width[0], 0.5, atol=0.12)  # as 1 / sqrt(n)
    np.testing.assert_allclose(width[2] / width[1], 0.5, atol=0.12)


# --------------------------------------------------------------------------------------------- tests


@given(p=st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=9), rng=rngs)
@more
def test_holm_never_lowers_a_p_value_and_keeps_their_order(p, rng):
    p = np.array(p)
    out, known, order = stats.holm(p), ~np.isnan(p), rng.permutation(len(p))
    np.testing.assert_array_equal(np.isnan(out), np.isnan(p))
    assert (out[known] >= p[known]).all() and (out[known] <= 1).all()
    assert (
        out[known] <= np.count_nonzero(known) * p[known] + 1e-12
    ).all()  # never stricter than Bonferroni
    assert (np.diff(out[known][np.argsort(p[known])]) >= 0).all()
    np.testing.assert_array_equal(stats.holm(p[order]), out[order])
    one = np.where(np.arange(len(p)) == 0, p, np.nan)
    np.testing.assert_array_equal(stats.holm(one), one)  # one test is not adjusted


@given(rng=rngs, better=betters, holes=st.sampled_from([0, 0.2]))
@few
def test_comparisons_are_of_differences_alone(rng, better, holes):
    x = values(rng, 4, 2, 14, holes)
    found = stats.compare(x, better)
    p = stats.worse(found)
    assert ((p >= 0) & (p <= 1)).all()
    np.testing.assert_array_equal(found.gain, -found.gain.T)
    np.testing.assert_array_equal(found.p, found.p.T)
    if not holes:
        assert p[stats.best(stats.mean(x), better)] == 1
    order = rng.permutation(4)
    hard = 3 * rng.normal(size=14)  # how hard an image is, for all alike
    for other, want, ways in (
        (-x, p, OTHER[better]),
        (4 * x, p, better),
        (x[order], p[order], better),
        (x[:, :, rng.permutation(14)], p, better),
        (x + hard, p, better),
    ):
        again = stats.worse(stats.compare(other, ways))
        np.testing.assert_allclose(again, want, rtol=1e-7)


@given(rng=rngs, blocks=st.integers(3, 12), methods=st.integers(2, 5))
@few
def test_which_ranks_differ_is_symmetric_and_of_order_alone(rng, blocks, methods):
    ranks = pd.DataFrame(
        np.argsort(rng.random((blocks, methods)), axis=1) + 1.0,
        columns=list("abcde")[:methods],
    )
    p, order = rankings.differ(ranks), rng.permutation(methods)
    np.testing.assert_array_equal(p, p.T)
    assert (np.diag(p) == 1).all()
    assert (
        np.isnan(p.to_numpy()[~np.eye(methods, dtype=bool)]).all()
        if blocks < stats.MIN_PAIRS
        else ((p >= 0) & (p <= 1)).all(axis=None)
    )
    again = rankings.differ(
        shuffled(methods + 1 - ranks, rng).iloc[:, order]
    )  # reversed, other blocks first
    np.testing.assert_allclose(again, p.iloc[order, order])
    for first, last in rankings.cliques(p):
        assert not (p.iloc[first : last + 1, first : last + 1] < stats.ALPHA).any(
            axis=None
        )


# --------------------------------------------------------------------------------------------- boards


@given(rng=rngs, better=betters)
@boards
def test_the_order_of_rows_does_not_matter(rng, better):
    rows, instances = frames(rng, better)
    want = tables.csv_text(tables.leaderboard(rows, instances))
    assert (
        tables.csv_text(
            tables.leaderboard(shuffled(rows, rng), shuffled(instances, rng))
        )
        == want
    )


@given(rng=rngs, better=betters, a=st.sampled_from([0.25, 4]), b=st.integers(-9, 9))
@boards
def test_units_and_directions_do_not_matter(rng, better, a, b):
    rows, instances = frames(rng, better)
    want = tables.leaderboard(rows, instances)
    scaled = tables.leaderboard(
        *(f.assign(value=a * f["value"] + b) for f in (rows, instances))
    )
    assert scaled[["label", "rank", "mark", "n_images", "n_seeds"]].equals(
        want[["label", "rank", "mark", "n_images", "n_seeds"]]
    )
    np.testing.assert_allclose(scaled["p"], want["p"])
    for column in ("mean", "low", "high"):
        np.testing.assert_allclose(scaled[column], a * want[column] + b)
    turned = tables.leaderboard(
        rows.assign(value=-rows["value"], better=OTHER[better]),
        instances.assign(value=-instances["value"]),
    )
    assert turned[["label", "rank", "mark"]].equals(want[["label", "rank", "mark"]])
    np.testing.assert_allclose(
        turned[["mean", "low", "high"]], -want[["mean", "high", "low"]]
    )


@given(rng=rngs)
@boards
def test_what_is_elsewhere_does_not_matter(rng):
    """A table is of its own rows: another data set or metric, whatever it holds, leaves it alone."""
    rows, instances = frames(rng)
    want = tables.leaderboard(rows, instances)
    there = (want["dataset"] == "d") & (want["metric"] == "m")
    other_rows, other_instances = frames(rng)
    for mine in (
        lambda f: (f["dataset"] == "d") & (f["metric"] == "m"),
        lambda f: f["dataset"] == "d",
    ):
        mixed = [
            pd.concat([ours[mine(ours)], theirs[~mine(theirs)]])
            for ours, theirs in ((rows, other_rows), (instances, other_instances))
        ]
        got = tables.leaderboard(*(shuffled(f, rng) for f in mixed))
        got = got[(got["dataset"] == "d") & (got["metric"] == "m")]
        assert tables.csv_text(got) == tables.csv_text(want[there])


@given(rng=rngs)
@boards
def test_ranks_of_a_board_are_shared_out_whole(rng):
    frame = tables.leaderboard(*frames(rng))
    assert (frame.groupby(tables.TABLE)["rank"].sum() == 6).all()  # 1 + 2 + 3
    assert (
        frame.groupby(tables.TABLE)["rank"].min()
        == frame[frame["mark"] == "best"].groupby(tables.TABLE)["rank"].first()
    ).all()
    placed = places.of(places.places(frame.assign(counts=True)), "heatmap")
    assert placed["win_rate"].mean() == pytest.approx(0.5)  # what one wins, one loses
    np.testing.assert_allclose(placed["normalised_rank"], 1 - placed["win_rate"])
    assert placed["win_rate"].is_monotonic_decreasing
    assert set(placed["label"]) == set("ABR") and placed["place"].min() == 1


# --------------------------------------------------------------------------------------------- one among the others


@given(rng=rngs, better=betters)
@boards
def test_who_beats_whom_is_the_same_from_both_sides(rng, better):
    rows, instances = frames(rng, better, images=10)
    frame = tables.leaderboard(rows, instances)
    key = [*tables.TABLE, "rival"]
    seen = {
        label: differences(shuffled(rows, rng), shuffled(instances, rng), label)
        for label in "ABR"
    }
    ours, theirs = (
        seen[a][seen[a]["rival"] == b].set_index(tables.TABLE) for a, b in ("AB", "BA")
    )
    np.testing.assert_allclose(
        ours["difference"], -theirs.loc[ours.index, "difference"]
    )
    assert (ours["images"] == 10).all()
    for found in seen.values():
        assert (found.groupby(tables.TABLE).size() == 2).all() and not found.duplicated(
            key
        ).any()
        assert ((found["p"] >= 0) & (found["p"] <= 1)).all()
        decided = found["verdict"].isin(["beats", "loses to"])
        assert (found.loc[decided, "p"] < stats.ALPHA).all()
        ahead = found["difference"] > 0
        assert ((found["verdict"] == "beats") == decided & ahead).all()
        stands = placing.standing(
            frame, found, set("ABR").difference(found["rival"]).pop()
        )
        assert len(stands) == 4 and (stands["ranked"] == 3).all()
        named = [
            sum(len(set(filter(None, line[v].split(", ")))) for v in placing.VERDICTS)
            for _, line in stands.iterrows()
        ]
        assert named == [2] * 4  # each rival under one verdict


# --------------------------------------------------------------------------------------------- the gate


def runs(
    rng: np.random.Generator, seeds=3, unit="fraction"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of two runs on nearly the same networks: four methods, three metrics, and two cells that moved far."""
    old = []
    for metric in ("m", "q", "r"):
        for method in "ABCD":
            for seed in range(seeds):
                old.append(
                    {
                        "profile": "p",
                        "track": "heatmap",
                        "paper": "baseline",
                        "dataset": "d",
                        "target": "t",
                        "method": method,
                        "setting": "",
                        "metric": metric,
                        "metric_setting": "",
                        "seed": seed,
                        "value": 5 + rng.normal(),
                        "n": 8,
                        "better": "lower" if metric == "q" else "higher",
                        "unit": unit,
                        "metric_version": 1,
                        "status": "ok",
                        "reason": "",
                    }
                )
    old = store.tidy_rows(pd.DataFrame(old))
    far = {("A", "m"): 9.0, ("B", "q"): 9.0, ("C", "q"): -9.0}
    shift = [
        far.get(key, 0.0) for key in zip(old["method"], old["metric"], strict=True)
    ]
    return old, old.assign(value=old["value"] + shift + 0.2 * rng.normal(size=len(old)))


SWAP = {
    "regression": "improvement",
    "improvement": "regression",
    "lost": "new",
    "new": "lost",
}
CELL = ["method", "metric"]


def lines(found: pd.DataFrame) -> pd.DataFrame:
    return found.set_index(CELL).sort_index()


@given(rng=rngs)
@boards
def test_what_one_run_gains_the_other_loses(rng):
    old, new = runs(rng)
    there, back = lines(compare(old, new)), lines(compare(new, old))
    assert [SWAP.get(kind, kind) for kind in there["kind"]] == list(back["kind"])
    assert {"regression", "improvement"} <= set(there["kind"])  # the planted ones
    np.testing.assert_allclose(there["errors"], -back["errors"])
    np.testing.assert_allclose(there[["p", "tolerance"]], back[["p", "tolerance"]])
    np.testing.assert_array_equal(there[["old", "new"]], back[["new", "old"]])
    fewer = old[old["method"] != "D"]
    there, back = lines(compare(old, fewer)), lines(compare(fewer, old))
    assert [SWAP.get(kind, kind) for kind in there["kind"]] == list(
        back["kind"]
    ) and "lost" in set(there["kind"])


@given(rng=rngs, seeds=st.integers(1, 3))
@boards
def test_a_run_does_not_differ_from_itself(rng, seeds):
    old, new = runs(rng, seeds)
    found = compare(old, shuffled(old, rng))
    assert (
        set(found["kind"]) == {"unchanged"}
        and not found["moved"].any()
        and not fails(found, FAIL_ON)
    )
    assert not len(reproduced(found, exact=True)) and len(found) == 12
    assert found[["errors", "p", "tolerance"]].isna().all(axis=None)
    pd.testing.assert_frame_equal(
        compare(shuffled(old, rng), shuffled(new, rng)), compare(old, new)
    )


@given(
    rng=rngs,
    factor=st.sampled_from([0.25, 64.0]),
    unit=st.sampled_from(["fraction", "nodes"]),
)
@boards
def test_the_unit_of_a_metric_does_not_matter_to_the_gate(rng, factor, unit):
    old, new = runs(rng, unit=unit)
    want = lines(compare(old, new))
    size = lambda f: np.where(f["metric"] == "m", factor, 1)
    got = lines(compare(*(f.assign(value=f["value"] * size(f)) for f in (old, new))))
    assert list(got["kind"]) == list(want["kind"])
    np.testing.assert_allclose(got[["errors", "p"]], want[["errors", "p"]])
    np.testing.assert_allclose(
        got["tolerance"], want["tolerance"] * size(want.reset_index())
    )


@given(rng=rngs)
@few
def test_a_change_outside_its_tolerance_is_one_and_inside_none(rng):
    old, new = runs(rng)
    found = compare(old, new)
    change = (found["new"] - found["old"]).abs()
    gain = (found["new"] - found["old"]) * np.where(found["better"] == "lower", -1, 1)
    called = found["kind"].isin(["regression", "improvement"])
    assert ((change >= found["tolerance"] * (1 - 1e-9)) == called).all()
    assert (
        np.sign(gain[called]) == np.where(found["kind"][called] == "improvement", 1, -1)
    ).all()
    assert ((found["p"] >= 0) & (found["p"] <= 1)).all() and (
        np.sign(found["errors"]) == np.sign(gain)
    ).all()
    assert (found.loc[called, "p"] <= noise.ALPHA).all()


@given(rng=rngs, prior=st.floats(0, 3), dof=st.floats(0.5, 9))
@few
def test_squeezing_stays_between_the_own_and_the_usual_variance(rng, prior, dof):
    own, d = rng.chisquare(2, 9), rng.integers(1, 5, 9)
    s2, total = noise.squeeze(own, d, noise.Prior(prior, dof))
    assert (
        (np.minimum(own, prior) - 1e-12 <= s2) & (s2 <= np.maximum(own, prior) + 1e-12)
    ).all()
    np.testing.assert_allclose(total, d + dof)
    fitted = noise.fit(own, d)
    assert (
        own.min() / 20 <= fitted.s2 <= 20 * own.max()
        and 0 <= fitted.dof <= variances.SURE
    )
    np.testing.assert_allclose(
        noise.fit(4 * own, d), [4 * fitted.s2, fitted.dof], rtol=1e-6
    )
