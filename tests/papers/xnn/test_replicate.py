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
from benchmark.papers.xnn import figures, maps, masking, replicate, srae, verdicts
from benchmark.shared import attention_maps
from tests.helpers.xnn import SMALL, images, network


@pytest.fixture(scope="module")
def outcomes():
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
    study = Study(
        seed=0, dataset="blobs", data=Dataset("blobs", arrays), target_name="tiny", target=network()
    )
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
        ),
        "degeneration": replicate.degeneration(study, new(), training=training),
        "human_study": replicate.human_study(study, new(), classes=[1, 3], training=training),
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
    gap = arrays["class_O1"][methods.index("NN")] - arrays["class_O1"][methods.index("SRAE")]
    got = rows[(rows.method == "NN-SRAE") & (rows.metric == "delta_O1")].value.item()
    assert got == pytest.approx(gap.mean())
    half = rows[(rows.method == "NN-SRAE") & (rows.metric == "delta_O1_ci95")].value.item()
    assert half == pytest.approx(3.182446 * gap.std(ddof=1) / 2, rel=1e-5)


def test_a_class_without_a_visible_part_has_no_locality():
    b, S = images(2), torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    of = lambda visible: replace(
        b, parts=torch.full((2, 3, 2), 4.0), part_visible=torch.tensor([[visible] * 3, [False] * 3])
    )
    hidden, shown = (
        replicate._overlap(S, None, part, replicate._cells(part)) for part in (of(False), of(True))
    )
    assert np.isnan(hidden["locality"]) and np.isfinite(shown["locality"])
    alone = attention_maps.histogram(
        attention_maps.normalised(S[:, :1].movedim(0, 1).numpy()), replicate._cells(of(True))[1]
    )[0]
    assert shown["locality"] == pytest.approx(
        attention_maps.entropy(alone).mean()
    )  # the image that shows no part is left out
    assert hidden["O1"] == shown["O1"]


def test_table_5_is_the_boards_metric_on_each_classs_own_images(outcomes):
    rng, t, b = np.random.default_rng(0), network(), images(12)
    maps_, added = (
        torch.from_numpy(rng.random((3, 12, 8, 8))).float(),
        torch.from_numpy(rng.normal(size=(12, 3))).float(),
    )
    heat = masking.one_map(maps_, added)
    by_hand = sum(max(float(added[5, k]), 0) * maps_[k, 5] / maps_[k, 5].sum() for k in range(3))
    torch.testing.assert_close(heat[5], by_hand)
    for pixels in (300, 5000, 224**2):
        got = masking.masked_right(t, b, heat, pixels)
        theirs = METRICS["accuracy_top_pixels"](
            Explanation(heatmaps=heat), t, b, None, pixels=pixels
        )
        np.testing.assert_array_equal(got, theirs)
    kept = masking.top(heat, 5)
    assert (kept.sum((1, 2)) == 5).all()
    torch.testing.assert_close(
        masking.inpainted(b.x, kept), torch.where(kept[:, None], b.x, inpaint(b.x, kept[:, None]))
    )
    assert not masking.inpainted(b.x, torch.zeros_like(kept)).any()  # nothing kept: black
    rows = frame(outcomes).set_index(["method", "metric", "setting"]).value
    for k in (300, 500, 1000):
        ours, theirs = (
            rows[f"mask by {m}", "accuracy", f"pixels kept={k}"]
            for m in ("x-features", "1-Heatmap")
        )
        assert 0 <= ours <= 1 and rows[
            "x-features-1-Heatmap", "delta_accuracy", f"pixels kept={k}"
        ] == pytest.approx(ours - theirs)
    assert 0 <= rows["original image", "accuracy", ""] <= 1


def test_layers_too_large_for_memory_are_computed_batch_by_batch():
    t, b = network(), images(20)
    at = maps.convolutional(t, b.x, "pool1")
    rows = torch.tensor([[3, 4, 3], [19, 0, 4]])
    torch.testing.assert_close(
        replicate._on_the_fly(t, at, b)(rows), replicate._both(t, at, b)[0][rows]
    )


def test_faithfulness_puts_the_logit_back():
    y = torch.tensor([[3.0, 1.0], [0.0, 2.0]])
    y_ = torch.tensor([[0.5, 1.0], [0.0, 2.5]])
    d = srae.Examples(None, torch.tensor([[0, 1], [0, 1]]), None, None)
    got = replicate._faithful(d, y, y_, y, y_)
    assert got["F_reg_test"].tolist() == [1.25, 0.25]
    assert got["F_cls_test_pct"].tolist() == [50, 100]


def test_verdicts_by_hand():
    def row(metric, value, method, setting, track="replication", paper="xnn", metric_setting=""):
        return {
            "track": track,
            "paper": paper,
            "dataset": "d",
            "target": "t",
            "seed": 0,
            "method": method,
            "setting": setting,
            "metric": metric,
            "metric_setting": metric_setting,
            "value": value,
            "status": "ok",
        }

    rows = [
        row("F_reg_test", v, m, s)
        for m, v, s in (("SRAE", 0.1, "n=5"), ("NN", 0.3, "n=5"), ("Lasso", 2.0, "alpha=2;n=5"))
    ]
    rows += [row("O1", v, m, "n=5") for m, v in (("SRAE", 0.5), ("NN", 0.9), ("SAE", 0.4))]
    rows += [
        row("F_reg_test", v, "conv SRAE", f"layer={k}") for k, v in (("pool1", 3.0), ("pool2", 4.0))
    ]
    rows += [row("F_reg_test", 1.0, "SRAE", "layer=fc1")]
    rows += [
        row(m, v, "Lasso", f"alpha={a}")
        for a, n, f in ((2, 8, 2.0), (1, 20, 1.0))
        for m, v in (("n_features", n), ("F_reg_test", f))
    ]
    rows += [
        row(metric, v, m, "n=3")
        for m, metric, v in (
            ("SRAE", "mean_cosine", 0.1),
            ("NN", "mean_cosine", 0.3),
            ("SRAE", "n_speaking", 1.0),
            ("NN", "n_speaking", 1.5),
            ("NN-SRAE", "delta_mean_cosine", 0.2),
            ("NN-SRAE", "delta_mean_cosine_ci95", 0.1),
        )
    ]
    rows += [
        row(metric, v, m, "pixels kept=300")
        for m, metric, v in (
            ("mask by x-features", "accuracy", 0.4),
            ("mask by 1-Heatmap", "accuracy", 0.5),
            ("x-features-1-Heatmap", "delta_accuracy", -0.1),
            ("x-features-1-Heatmap", "delta_accuracy_ci95", 0.2),
        )
    ]
    rows += [
        row("accuracy_top_pixels", v, m, s, "heatmap", p, "pixels=300")
        for m, v, s, p in (
            ("XNN", 0.5, "hidden=[64, 32];variant=SRAE", "xnn"),
            ("Excitation Backprop", 0.4, "variant=contrastive", "baseline"),
        )
    ]
    checks = [(c.claim, c.holds) for c in verdicts.verdicts(pd.DataFrame(rows))]
    assert checks == [
        ("XN1", True),
        ("XN1", False),
        ("XN2", True),
        ("XN2", False),
        ("XN4", False),
        ("XN4", True),
        ("XN4", True),
        ("XN5", True),
        ("XN6", False),
        ("XN7", True),
        ("XN7", False),
        ("XN6", True),
    ]


def test_verdicts_and_pictures_of_what_was_found(outcomes):
    rows = frame(outcomes)
    checks = list(verdicts.verdicts(rows))
    assert {c.claim for c in checks} == {"XN1", "XN2", "XN3", "XN4", "XN5", "XN6", "XN7"}
    assert all(c.evidence and c.target == "tiny" for c in checks)
    units = [
        FoundUnit(k, "blobs", "tiny", 0, {}, {key: np.asarray(v) for key, v in o.arrays.items()})
        for k, o in outcomes.items()
    ]
    shown = list(figures.pictures(Found(rows, units)))
    assert [p.title for p in shown if p.apart] == [
        "a",
        "b",
    ]  # a picture a class, right after the sheet
    assert [p.name for p in shown if "class-" in p.name or "fig8" in p.name] == [
        "fig8-blobs-tiny",
        "class-blobs-tiny-000",
        "class-blobs-tiny-001",
    ]
    shown = [p for p in shown if not p.apart]
    assert sorted(p.name.split("-")[0] for p in shown) == [
        "fig10",
        "fig12",
        "fig7",
        "fig8",
        "table1",
        "table3",
        "table4",
    ]
    for p in shown:
        assert p.figure.axes
        assert not p.photo
