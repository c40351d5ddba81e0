"""XNN's experiments on a small network, its verdicts by hand, its pictures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.api import METRICS, Explanation
from benchmark.data import Dataset
from benchmark.metrics.masking import inpaint
from benchmark.papers import Found, FoundUnit, Study
from benchmark.papers.xnn import (
    figures,
    maps,
    masking,
    measures,
    method_maps,
    replicate,
    srae,
    verdicts,
)
from benchmark.shared import attention_maps
from tests.helpers.places import ROOT
from tests.helpers.xnn import SMALL, images, network


@pytest.fixture(scope="module")
def study():
    """Images of four classes with parts, and the small network."""
    rng, arrays = (
        np.random.default_rng(3),
        {"classes": np.array(list("abcd")), "part_names": np.array(["p", "q", "r"])},
    )
    for split, n in (("train", 64), ("test", 32)):
        b = images(n, seed=len(split))
        arrays |= {
            f"x_{split}": (255 * b.x).byte().numpy(),
            f"y_{split}": b.y.numpy(),
            f"boxes_{split}": np.tile(np.float32([1, 1, 7, 7]), (n, 1)),
            f"parts_{split}": (8 * rng.random((n, 3, 2))).astype(np.float32),
            f"part_visible_{split}": rng.random((n, 3)) < 0.8,
        }
    arrays["part_importance"] = np.eye(4, 3, dtype=np.float32) + np.float32(
        [[0, 0, 0]] * 3 + [[1, 0, 0]]
    )
    return Study(
        seed=0,
        dataset="blobs",
        data=Dataset("blobs", arrays),
        target_name="tiny",
        target=network(),
    )


@pytest.fixture(scope="module")
def outcomes(study):
    training = {k: v for k, v in SMALL.items() if k != "restarts"} | {
        "n": 3,
        "epochs": 6,
        "pretrain": 3,
    }
    new = lambda: np.random.default_rng(0)
    return {
        "table1": replicate.table1(
            study,
            new(),
            training=training | {"restarts": 1},
            alpha=1e-4,
            alphas=[1e-3, 1e-4, 1e-5],
            images=4,
            z_units=3,
            shown=2,
            runs=2,
        ),
        "degeneration": replicate.degeneration(study, new(), training=training),
        "counts": replicate.counts(
            study, new(), n=[2, 5, 6], training=training | {"restarts": 0}
        ),
        "tuning": replicate.tuning(
            study,
            new(),
            betas=[0.5, 1],
            etas=[1, 5],
            folds=2,
            training=training | {"restarts": 0},
        ),
        "human_study": replicate.human_study(
            study, new(), classes=[1, 3], training=training
        ),
        "convolutional": replicate.convolutional(
            study,
            new(),
            layers=["pool1", "conv2"],
            dense="fc1",
            training=training,
            train=48,
            test=16,
            shown=2,
        ),
    }


def frame(outcomes):
    rows = []
    for outcome in outcomes.values():
        for n in outcome.numbers:
            setting = ";".join(f"{k}={v}" for k, v in sorted(n.setting.items()))
            rows.append(
                {
                    "track": "replication",
                    "paper": "xnn",
                    "dataset": "blobs",
                    "target": "tiny",
                    "seed": 0,
                    "method": n.method,
                    "setting": setting,
                    "metric": n.metric,
                    "metric_setting": "",
                    "value": n.value,
                    "status": "ok",
                }
            )
    return pd.DataFrame(rows)


def test_table_1_has_the_papers_columns(outcomes):
    rows = frame(outcomes)
    assert not rows.duplicated(["method", "setting", "metric"]).any()
    assert np.isfinite(rows.value).all()
    table = rows[
        rows.metric.isin(
            [
                "F_reg_train",
                "F_reg_test",
                "F_cls_train_pct",
                "F_cls_test_pct",
                "O1",
                "O2",
                "locality",
            ]
        )
    ]
    for method in ("SRAE", "NN", "SAE", "CAE", "Lasso"):
        assert len(set(table[table.method == method].metric)) == 7
    for method in ("1-Heatmap", "Z (20 fc dims)"):
        assert set(table[table.method == method].metric) == {"locality"}
    share = rows[rows.metric == "class_part_share"].set_index("method").value
    assert ((share >= 0) & (share <= 1)).all()
    assert "uniform map" in share


def test_the_gaps_are_paired_by_class(outcomes):
    arrays, rows = outcomes["table1"].arrays, frame(outcomes)
    methods = list(arrays["class_methods"])
    gap = (
        arrays["class_O1"][methods.index("NN")]
        - arrays["class_O1"][methods.index("SRAE")]
    )
    got = rows[(rows.method == "NN-SRAE") & (rows.metric == "delta_O1")].value.item()
    assert got == pytest.approx(gap.mean())
    half = rows[
        (rows.method == "NN-SRAE") & (rows.metric == "delta_O1_ci95")
    ].value.item()
    assert half == pytest.approx(3.182446 * gap.std(ddof=1) / 2, rel=1e-5)


def test_a_method_has_its_interval_over_classes(outcomes):
    arrays, rows = outcomes["table1"].arrays, frame(outcomes)
    values = arrays["class_O1"][list(arrays["class_methods"]).index("SAE")]
    of_sae = rows[rows.method == "SAE"].set_index("metric").value
    assert of_sae["O1"] == pytest.approx(values.mean())
    half = 3.182446 * values.std(ddof=1) / 2  # t of 3 degrees of freedom, sqrt(4)
    assert of_sae["O1_ci95"] == pytest.approx(half, rel=1e-5)


def test_the_silent_share_stands_beside_o1(outcomes):
    rows = frame(outcomes)
    share = rows[rows.metric == "silent_share"].set_index("method").value
    assert {"SRAE", "NN", "SAE", "CAE", "Lasso", "Z (20 fc dims)"} <= set(share.index)
    assert share.between(0, 1).all()


def test_a_class_counts_with_the_mean_of_its_runs():
    """Two runs from two seeds are the mean of the runs from each."""
    rng = np.random.default_rng(0)
    t, b = network(), images(48)
    Z, y = t.features(b, "fc1"), t(b)
    split = measures.Split(Z, y, b)
    data = srae.examples(Z, y, b.y, None, rng)
    short = {k: v for k, v in SMALL.items() if k != "epochs"} | {"epochs": 3}
    both = replicate._train_all(data, short, np.array([5, 9]))["SAE"]
    alone = [replicate._train_all(data, short, np.array([s]))["SAE"] for s in (5, 9)]
    assert not torch.equal(both[0].params["v"], both[1].params["v"])
    got = replicate._mean_faithfulness(data, both, split, split)["F_reg_test"]
    each = [
        replicate._mean_faithfulness(data, one, split, split)["F_reg_test"]
        for one in alone
    ]
    np.testing.assert_allclose(got, (each[0] + each[1]) / 2, rtol=1e-6)


def test_the_mean_of_runs_leaves_out_what_is_undefined():
    assert method_maps.mean_of_defined([1.0, np.nan, 3.0]) == 2
    assert np.isnan(method_maps.mean_of_defined([np.nan, np.nan]))


def test_a_class_without_a_visible_part_has_no_locality():
    b, S = images(2), torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    of = lambda visible: replace(
        b,
        parts=torch.full((2, 3, 2), 4.0),
        part_visible=torch.tensor([[visible] * 3, [False] * 3]),
    )
    hidden, shown = (
        measures.overlap(S, None, part, measures.cells(part))
        for part in (of(False), of(True))
    )
    assert np.isnan(hidden["locality"]) and np.isfinite(shown["locality"])
    alone = attention_maps.histogram(
        attention_maps.normalised(S[:, :1].movedim(0, 1).numpy()),
        measures.cells(of(True)).of_pixel,
    )[0]
    assert shown["locality"] == pytest.approx(
        attention_maps.entropy(alone).mean()
    )  # the image that shows no part is left out
    assert hidden["O1"] == shown["O1"]


def test_locality_over_masks_of_objects():
    """Two objects, a left and a right half, with 3/4 and 1/4 of a map; what no object shows does not count."""
    b = images(2)
    labels = torch.full((2, 8, 8), -1)
    labels[:, :4, :4], labels[:, :4, 4:] = 0, 1
    part = replace(
        b,
        parts=torch.zeros(2, 2, 2),
        part_visible=torch.tensor([[True, True], [False, False]]),
        part_masks=labels,
    )
    S = torch.zeros(1, 2, 8, 8)
    S[:, :, :4, :4], S[:, :, :4, 4:], S[:, :, 4:] = 3.0, 1.0, 5.0
    got = measures.overlap(S, None, part, measures.cells(part, "mask"))
    want = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert got["locality"] == pytest.approx(want)
    with pytest.raises(ValueError, match="needs images with masks"):
        measures.cells(replace(part, part_masks=None), "mask")


@pytest.fixture
def heat():
    """(One map of an image's three x-features, weighed by what they add; the maps; what they add)."""
    rng = np.random.default_rng(0)
    each = torch.from_numpy(rng.random((3, 12, 8, 8))).float()
    added = torch.from_numpy(rng.normal(size=(12, 3))).float()
    return masking.one_map(each, added), each, added


def test_one_map_adds_the_shares_of_what_speaks_for_the_class(heat):
    one, each, added = heat
    shares = [
        max(float(added[5, k]), 0) * each[k, 5] / each[k, 5].sum() for k in range(3)
    ]
    torch.testing.assert_close(one[5], sum(shares))


@pytest.mark.parametrize("pixels", [300, 5000, 224**2])
def test_table_5_is_the_boards_metric_on_each_classs_own_images(heat, pixels):
    t, b, e = network(), images(12), Explanation(heatmaps=heat[0])
    got = masking.masked_right(t, b, heat[0], pixels)
    theirs = METRICS["accuracy_top_pixels"](e, t, b, None, pixels=pixels)
    np.testing.assert_array_equal(got, theirs)


def test_what_is_not_kept_is_inpainted(heat):
    x, kept = images(12).x, masking.top(heat[0], 5)
    assert (kept.sum((1, 2)) == 5).all()
    want = torch.where(kept[:, None], x, inpaint(x, kept[:, None]))
    torch.testing.assert_close(masking.inpainted(x, kept), want)
    assert not masking.inpainted(x, torch.zeros_like(kept)).any()  # nothing kept: black


@pytest.mark.parametrize(
    "kept", ["pixels kept=300", "pixels kept=500", "pixels kept=1000"]
)
def test_table_5_has_its_rows_and_their_difference(outcomes, kept):
    rows = frame(outcomes).set_index(["method", "metric", "setting"]).value
    ours, theirs = (
        rows[f"mask by {m}", "accuracy", kept] for m in ("x-features", "1-Heatmap")
    )
    assert 0 <= ours <= 1
    difference = rows["x-features-1-Heatmap", "delta_accuracy", kept]
    assert difference == pytest.approx(ours - theirs)
    assert 0 <= rows["original image", "accuracy", ""] <= 1


def test_layers_too_large_for_memory_are_computed_batch_by_batch():
    t, b = network(), images(20)
    at = maps.convolutional(t, b.x, "pool1")
    rows = torch.tensor([[3, 4, 3], [19, 0, 4]])
    torch.testing.assert_close(
        replicate._on_the_fly(t, at, b)(rows), replicate._split(t, at, b).Z[rows]
    )


def test_faithfulness_puts_the_logit_back():
    y = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    y_ = torch.tensor([[0.5, 1.0], [0.0, 2.5]])
    d = srae.Examples(None, torch.tensor([[0, 1], [0, 1]]), None, None)
    got = measures.faithfulness(d, y, y_, measures.Split(None, y, None), y_)
    assert got["F_reg_test"].tolist() == [1.25, 0.25]
    assert got["F_cls_test_pct"].tolist() == [50, 100]


def test_the_papers_split_tests_each_class_on_images_that_it_does_not_train_on():
    t, rng = network(), np.random.default_rng(0)
    train, tested = (
        measures.Split(t.features(b, "fc1"), t(b), b) for b in (images(80), images(40))
    )
    both = replicate._joined(train, tested, rng)
    assert both.Z.shape == (120, 20) and len(both.images) == 120
    torch.testing.assert_close(t.features(both.images, "fc1"), both.Z)
    data = srae.examples(
        both.Z, both.y, both.images.y, 30, rng, "abcd", without=both.tests
    )
    for c in range(4):
        assert len(both.positives(c)) == 10  # of 30
        assert len(both.rows(c)) == 10 + 90 // 5
        assert not set(both.rows(c).tolist()) & set(data.rows[c].tolist())
    assert data.rows.shape == (4, 20 + 30)
    assert (data.positive.sum(1) == 20).all()


def test_table_1_on_the_papers_split(study):
    training = SMALL | {"epochs": 3, "pretrain": 2}
    more = {"alpha": 1e-4, "images": 2, "z_units": 3, "shown": 1, "pixels": [300]}
    found = {
        split: replicate.table1(
            study, np.random.default_rng(0), training=training, split=split, **more
        )
        for split in ("data", "paper")
    }
    freg = {
        split: next(n.value for n in out.numbers if n.metric == "F_reg_test")
        for split, out in found.items()
    }
    assert freg["data"] != freg["paper"]
    assert all(np.isfinite(n.value) for n in found["paper"].numbers)


def line(metric, value, method, setting, **more):
    row = {
        "track": "replication",
        "paper": "xnn",
        "dataset": "d",
        "target": "t",
        "seed": 0,
        "metric_setting": "",
        "status": "ok",
    }
    return (
        row
        | {"metric": metric, "value": value, "method": method, "setting": setting}
        | more
    )


def judged(*lines):
    """Claims in their order, each with whether it holds."""
    return [(c.claim, c.holds) for c in verdicts.verdicts(pd.DataFrame(lines))]


def test_xn1_and_xn2_compare_srae_with_each_of_the_others():
    assert judged(
        line("F_reg_test", 0.1, "SRAE", "n=5"),
        line("F_reg_test", 1.1, "NN", "n=5"),  # more than half of Lasso's
        line("F_reg_test", 2.0, "Lasso", "alpha=2;n=5"),
        line("O1", 0.5, "SRAE", "n=5"),
        line("O1", 0.9, "NN", "n=5"),
        line("O1", 0.4, "SAE", "n=5"),
    ) == [("XN1", True), ("XN1", False), ("XN2", True), ("XN2", False)]


@pytest.mark.parametrize(
    "half, holds", [(0.1, True), (0.5, None), (np.nan, True), (0.0, True)]
)
def test_an_interval_with_both_signs_decides_nothing(half, holds):
    gap = [
        line("delta_O1", 0.4, "NN-SRAE", ""),
        line("delta_O1_ci95", half, "NN-SRAE", ""),
    ]
    values = [line("O1", 0.5, "SRAE", "n=5"), line("O1", 0.9, "NN", "n=5")]
    assert judged(*values, *gap[: 2 if half == half else 0]) == [("XN2", holds)]


def test_a_gap_on_the_wrong_side_fails_only_where_its_interval_says_so():
    assert verdicts.above_zero(-0.4, 0.1) is False
    assert verdicts.above_zero(-0.4, 0.4) is None
    assert verdicts.above_zero(0.0) is False
    assert verdicts.at_least_zero(0.0) is True
    assert verdicts.at_least_zero(0.0, 0.0) is True
    assert verdicts.at_least_zero(0.0, 0.1) is None
    assert verdicts.at_least_zero(-0.1, 0.05) is False


def test_xn1_weighs_the_two_intervals():
    """2 x 0.9 is below 2.0 by 0.2; the intervals together are sqrt(0.1^2 + (2 x 0.1)^2) = 0.22 wide."""
    lines = [
        line("F_reg_test", 0.9, "SRAE", "n=5"),
        line("F_reg_test_ci95", 0.1, "SRAE", "n=5"),
        line("F_reg_test", 2.0, "Lasso", "alpha=2;n=5"),
        line("F_reg_test_ci95", 0.1, "Lasso", "alpha=2;n=5"),
    ]
    assert judged(*lines) == [("XN1", None)]
    lines[1]["value"] = 0.05
    assert judged(*lines) == [("XN1", True)]


def test_xn3_is_undecided_where_an_interval_reaches_over_the_five_percent():
    values = [
        line("locality", 2.0, "SRAE", "n=5"),
        line("locality", 2.05, "Z (64 fc dims)", ""),
    ]
    half = line("delta_locality_ci95", 0.1, "Z (64 fc dims)-SRAE", "")
    assert judged(*values) == [("XN3", True)]  # 0.05 of 0.1025
    assert judged(*values, half) == [("XN3", None)]


def test_xn4_compares_layers_with_the_next_and_with_the_dense_one():
    assert judged(
        line("F_reg_test", 4.0, "conv SRAE", "layer=pool10"),  # should be lower
        line("F_reg_test", 3.0, "conv SRAE", "layer=pool2"),
        line("F_reg_test", 1.0, "SRAE", "layer=fc1"),
    ) == [("XN4", False), ("XN4", True), ("XN4", True)]
    assert judged(
        line("F_reg_test", 3.0, "conv SRAE", "layer=pool1"),
        line("F_reg_test_ci95", 1.5, "conv SRAE", "layer=pool1"),
        line("F_reg_test", 2.0, "conv SRAE", "layer=pool2"),
        line("F_reg_test_ci95", 0.1, "conv SRAE", "layer=pool2"),
    ) == [("XN4", None)]


def test_xn5_orders_lassos_by_their_features():
    assert judged(
        line("n_features", 8, "Lasso", "alpha=2"),
        line("F_reg_test", 2.0, "Lasso", "alpha=2"),
        line("n_features", 20, "Lasso", "alpha=1"),
        line("F_reg_test", 1.0, "Lasso", "alpha=1"),
    ) == [("XN5", True)]


@pytest.mark.parametrize("half, holds", [(0.05, False), (0.2, None)])
def test_xn6_compares_accuracies_of_table_5(half, holds):
    assert judged(
        line("accuracy", 0.4, "mask by x-features", "pixels kept=300"),
        line("accuracy", 0.5, "mask by 1-Heatmap", "pixels kept=300"),
        line("delta_accuracy", -0.1, "x-features-1-Heatmap", "pixels kept=300"),
        line("delta_accuracy_ci95", half, "x-features-1-Heatmap", "pixels kept=300"),
    ) == [("XN6", holds)]


@pytest.mark.parametrize("n, holds", [(32, None), (400, True)])
def test_xn6_compares_the_boards_accuracies(n, holds):
    """0.1 apart: half of the interval is 1.96 sqrt(0.49 / n), 0.24 or 0.07."""
    board = {"track": "heatmap", "metric_setting": "pixels=300", "n": n}
    theirs = board | {"paper": "baseline"}
    assert judged(
        line(
            "accuracy_top_pixels", 0.5, "XNN", "hidden=[64, 32];variant=SRAE", **board
        ),
        line(
            "accuracy_top_pixels",
            0.4,
            "Excitation Backprop",
            "variant=contrastive",
            **theirs,
        ),
    ) == [("XN6", holds)]


PAPERS_TABLES = {
    # table: the claims that it is about
    "Table 1": {"XN1", "XN2", "XN3"},
    "Table 2": {"XN1", "XN2", "XN3"},
    "Table 3": {"XN4"},
    "Table .4": {"XN5"},
    "Table .5": {"XN6"},
    "Table .6": {"XN5"},
}


@pytest.mark.parametrize("table, claims", PAPERS_TABLES.items())
def test_every_claim_holds_on_the_papers_own_table(table, claims):
    published = pd.read_csv(ROOT / "results" / "reported" / "xnn.csv", dtype=str)
    published = published[published.table == table].fillna("")
    lines = [
        line(one.metric, float(one.value), one.method, one.setting)
        for one in published.itertuples()
    ]
    found = judged(*lines)
    assert {claim for claim, _ in found} == claims
    assert all(holds for _, holds in found)


def test_xn7_compares_three_x_features():
    assert judged(
        line("mean_cosine", 0.1, "SRAE", "n=3"),
        line("mean_cosine", 0.3, "NN", "n=3"),
        line("n_speaking", 1.0, "SRAE", "n=3"),
        line("n_speaking", 1.5, "NN", "n=3"),  # SRAE's should be as many
        line("delta_mean_cosine", 0.2, "NN-SRAE", "n=3"),
        line("delta_mean_cosine_ci95", 0.1, "NN-SRAE", "n=3"),
    ) == [("XN7", True), ("XN7", False)]


@pytest.mark.parametrize(
    "f_reg, weighted, holds", [(0.95, 5.5, [True, True]), (0.8, 7.5, [False, False])]
)
def test_xn8_asks_what_more_than_five_x_features_bring(f_reg, weighted, holds):
    lines = [
        line("F_reg_test", 1.0, "SRAE", "x-features=5"),
        line("F_reg_test", f_reg, "SRAE", "x-features=8"),
        line("n_weighted", 4.0, "SRAE", "x-features=5"),
        line("n_weighted", weighted, "SRAE", "x-features=8"),
    ]
    assert judged(*lines) == [("XN8", one) for one in holds]
    half = line("delta_F_reg_test_ci95", 0.5, "SRAE", "x-features=8")
    assert judged(*lines, half)[0] == ("XN8", None)


def test_f_reg_by_number_of_x_features_is_paired_with_five(outcomes):
    rows = frame(outcomes).set_index(["metric", "setting"]).value
    freg = rows["F_reg_test", "x-features=5"] - rows["F_reg_test", "x-features=6"]
    assert rows["delta_F_reg_test", "x-features=6"] == pytest.approx(freg)
    assert ("delta_F_reg_test", "x-features=2") not in rows
    assert 0 <= rows["n_weighted", "x-features=6"] <= 6


def test_the_share_at_a_parts_pixel():
    """One part in the upper left pixel, hidden on the second image: half of its 0.75 over two images."""
    b = images(2)
    part = replace(
        b,
        parts=torch.tensor([[[0.5, 0.5], [7.9, 7.9]]] * 2),
        part_visible=torch.tensor([[True, True], [False, True]]),
    )
    S = np.zeros((2, 1, 8, 8))
    S[:, 0, 0, 0], S[:, 0, 7, 7] = 0.75, 0.25
    np.testing.assert_allclose(measures.at_parts(S, part), [[0.375, 0.25]])


def test_every_claim_has_a_verdict_on_what_was_found(outcomes):
    checks = list(verdicts.verdicts(frame(outcomes)))
    assert {c.claim for c in checks} == {
        "XN1",
        "XN2",
        "XN3",
        "XN4",
        "XN5",
        "XN6",
        "XN7",
        "XN8",
    }
    assert all(c.evidence and c.target == "tiny" for c in checks)


@pytest.fixture(scope="module")
def shown(outcomes):
    """The pictures of what was found."""
    units = [
        FoundUnit(
            k,
            "blobs",
            "tiny",
            0,
            {},
            {key: np.asarray(v) for key, v in o.arrays.items()},
        )
        for k, o in outcomes.items()
    ]
    return list(figures.pictures(Found(frame(outcomes), units)))


def test_pictures_of_what_was_found(shown):
    whole = [p for p in shown if not p.apart]
    kinds = ["counts", "fig10", "fig12", "fig2", "fig7", "fig8"]
    kinds += ["table1", "table3", "table4", "tuning"]
    assert sorted(p.name.partition("-")[0] for p in whole) == kinds
    assert all(p.figure.axes and not p.photo for p in whole)


def test_pictures_of_single_classes_follow_their_sheet(shown):
    assert [p.title for p in shown if p.apart] == ["a", "b"]
    assert [p.name for p in shown if "class-" in p.name or "fig8" in p.name] == [
        "fig8-blobs-tiny",
        "class-blobs-tiny-000",
        "class-blobs-tiny-001",
    ]


def test_gaps_have_the_unit_of_their_metric():
    values = {"F_reg_test": np.arange(3.0), "O2": np.arange(3.0)}
    gaps = replicate._gaps({"SRAE": values, "NN": values})
    units = {gap.metric: gap.unit for gap in gaps}
    assert (units["delta_F_reg_test"], units["delta_O2"]) == ("logits", "nats")


def test_folds_part_the_images_and_each_has_all_classes():
    labels = torch.tensor([0, 1, 2] * 7)
    parts = replicate.srae.folds(labels, 3, np.random.default_rng(0))
    assert sorted(torch.cat(parts).tolist()) == list(range(21))
    for rows in parts:
        assert max(labels[rows].bincount()) - min(labels[rows].bincount()) <= 1


def test_weights_are_chosen_on_images_that_were_not_trained_on(study, monkeypatch):
    """Each pair meets the same folds; a fold's images are in none of its classes' examples."""
    seen = []

    def fit(data, setting, rng):
        seen.append((setting.beta, setting.eta, data.rows))
        return Constant()

    class Constant:
        def logits(self, Z):
            return torch.zeros(len(Z), 4)

        def features(self, Z, c):
            return torch.ones(len(Z), 1, 2)

    monkeypatch.setattr(replicate.srae, "fit", fit)
    found = replicate.tuning(
        study, np.random.default_rng(0), betas=[1, 5], etas=[2], folds=3
    )
    pairs = [(beta, eta) for beta, eta, _ in seen]
    assert pairs == [(1, 2)] * 3 + [(5, 2)] * 3
    for one, other in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(one[2], other[2])
    _, train, _ = replicate._explained(study, None, 4)
    value = {(n.metric, n.setting["beta"]): n.value for n in found.numbers}
    # each image is in one fold; folds are of nearly one size
    assert value["F_reg_validation", 1] == pytest.approx(
        float(train.y.abs().mean()), rel=1e-3
    )
    assert value["mean_cosine", 5] == pytest.approx(1)
    unseen = [
        set(range(len(train.y))) - set(rows.unique().tolist()) for *_, rows in seen[:3]
    ]
    assert not set.intersection(*unseen) and sum(map(len, unseen)) >= len(train.y)
    with pytest.raises(ValueError, match="at least 2 folds"):
        replicate.tuning(study, np.random.default_rng(0), folds=1)
