"""The experiments of Representative Interpretations on small networks: numbers, rankings, verdicts, pictures."""

import numpy as np
import pandas as pd
import pytest
import torch

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark import data, store, zoo
from benchmark.api import METRICS, Explanation
from benchmark.methods.registry import MethodRef
from benchmark.papers import Found, FoundUnit, Study
from benchmark.papers.representative import figures, replicate, verdicts
from benchmark.papers.representative.masked import _float32 as float32
from benchmark.papers.representative.masked import masked
from benchmark.shared.concepts import Concepts
from benchmark.utils import plot_style
from benchmark.utils.seeds import generator

CAMS = ["baselines/grad_cam.py:GradCAM"]
ACE = {"segments": [8, 16], "images": 12, "clusters": 3}


@pytest.fixture(scope="module")
def study(blob_network):
    return Study(
        dataset="blobs",
        data=data.load(blob_network / "blobs.npz"),
        target_name="cnn",
        target=zoo.load(blob_network / "cnn-0.safetensors"),
        build=lambda entry: MethodRef.parse(entry).build(),
    )


@pytest.fixture(scope="module")
def unseen(study):
    settings = dict(
        references=80,
        unseen=24,
        runs=2,
        n_boundaries=20,
        sizes=(1, 5),
        per_class=2,
        methods=CAMS,
        ace=ACE,
    )
    return replicate.unseen(study, generator("test"), **settings)


@pytest.fixture(scope="module")
def similar(study):
    return replicate.similar(
        study,
        generator("test"),
        references=80,
        inputs=6,
        K=(1, 4),
        n_boundaries=20,
        methods=CAMS,
        ace=ACE,
    )


def value(outcome, metric, method, **setting):
    wanted = {key.replace("Q", "|Q|"): v for key, v in setting.items()}
    (number,) = [
        n
        for n in outcome.numbers
        if (n.metric, n.method) == (metric, method)
        and wanted.items() <= dict(n.setting).items()
    ]
    return number.value


def test_every_method_has_a_drop_and_an_increase_on_unseen_images(unseen):
    for name in ("RI", "RI (reference)", "Grad-CAM", "ACE", "Random map"):
        for metric in ("mAD_pct", "mAI_pct", "mAD_std", "mAI_std"):
            assert 0 <= value(unseen, metric, name, images="unseen", Q=20) <= 100
    assert all(np.isfinite(n.value) for n in unseen.numbers)
    assert {n.better for n in unseen.numbers if n.metric == "mAD_pct"} == {"lower"}
    joined = {
        n.method: store.setting_text(n.setting)
        for n in unseen.numbers
        if n.metric == "mAD_pct" and dict(n.setting)["images"] == "unseen"
    }
    assert (
        joined["RI"] == joined["Grad-CAM"] == "images=unseen;keep=0.2;|Q|=20"
    )  # the key |Q| is the published table's
    assert (
        joined["ACE"]
        == "clusters=3;fitted=12;images=unseen;keep=0.2;segments=[8, 16];|Q|=20"
    )


def test_ace_is_scored_on_what_it_explains_and_ri_on_the_same_images(unseen):
    n = {
        (x.method, dict(x.setting)["images"]): x.n
        for x in unseen.numbers
        if x.metric == "mAD_pct"
    }
    share = value(unseen, "explained_pct", "ACE")
    assert 0 < share < 100
    assert n["ACE", "unseen"] == round(share / 100 * 48)
    assert n["RI", replicate.EXPLAINED_BY_ACE] == n["ACE", "unseen"]
    assert n["RI", "unseen"] == n["Grad-CAM", "unseen"] == 48


def test_means_leave_out_what_has_no_explanation():
    nan = np.nan
    ace = [np.array([[10.0, 0], [nan, nan], [30, 100]]), np.full((3, 2), nan)]
    ri = [np.array([[1.0, 0], [2, 0], [6, 0]]), np.full((3, 2), 4.0)]
    out = replicate._table_1({"RI": ri, "ACE": ace}, {"|Q|": 50}, {})
    found = {(x.method, x.metric, x.setting["images"]): (x.value, x.n) for x in out}
    assert found["ACE", "explained_pct", "unseen"] == (pytest.approx(100 / 3), 6)
    assert found["ACE", "mAD_pct", "unseen"] == (20, 2)
    assert found["ACE", "mAI_pct", "unseen"] == (50, 2)
    assert ("ACE", "mAD_std", "unseen") not in found  # of one run
    assert found["RI", "mAD_pct", "unseen"] == (3.5, 6)
    assert found["RI", "mAD_std", "unseen"] == (pytest.approx(0.5**0.5), 2)
    assert found["RI", "mAD_pct", replicate.EXPLAINED_BY_ACE] == (3.5, 2)
    nothing = replicate._of_runs("ACE", [np.full((3, 2), nan)], {})
    assert [(x.metric, x.value, x.n) for x in nothing] == [("explained_pct", 0, 3)]


def test_a_set_of_ace_is_the_whole_cluster_whatever_the_order_of_the_images(
    study, monkeypatch
):
    """Given a cluster of two classes: all of its images are fitted, or the nearest to the centre, and the class is that
    of the centre's image."""
    asked = []
    monkeypatch.setattr(
        replicate.ConceptSets,
        "interpret",
        lambda self, rows, c, rng: asked.append((rows, c)) or NOTHING,
    )
    R = replicate.Reference.draw(study, 40, "run", 0)
    V = replicate.cluster(R.psi, 2, np.random.default_rng(0))
    S = replicate._batch(study, "test", 10, "unseen")
    nearest = V.nearest(study.target.features(S))
    for settings, most in (({}, 40), ({"images": 3}, 3)):
        asked.clear()
        list(replicate._others(study, R, V, S, nearest, [], settings, None))
        for v, (rows, c) in zip(np.unique(nearest), asked, strict=True):
            members = np.flatnonzero(V.labels == v)
            far = (R.psi.flatten(1)[members] - V.centres[v]).norm(dim=1).numpy()
            assert set(rows) == set(members[np.argsort(far)[:most]])
            assert c == R.classes[V.seeds[v]]


NOTHING = Concepts(torch.zeros(0, 1), torch.zeros(0), torch.zeros(0))


def test_rises_are_those_that_float32_shows(study):
    """From 1 - 1e-9 nothing rises in float32; the log-odds do."""
    S = replicate._batch(study, "test", 24, "unseen")
    keep = np.zeros((24, *S.x.shape[-2:]), bool)
    keep[:, 2:-2, 2:-2] = True
    _, rises, y, y_kept = masked(study.target, S, keep)
    by_hand = study.target(S).softmax(1)
    black = study.target(S.x * torch.from_numpy(keep)[:, None]).softmax(1)
    c = by_hand.argmax(1, keepdim=True)
    shown = (black.gather(1, c) > by_hand.gather(1, c))[:, 0].numpy()
    clear = np.abs(y_kept - y) > 1e-6
    np.testing.assert_array_equal(rises[clear], 100.0 * shown[clear])
    z = torch.tensor([[21.0, 0.0], [1.0, 0]])
    z_kept = torch.tensor([[23.0, 0.0], [1.5, 0]])
    c = torch.zeros(2, dtype=torch.int64)
    assert (float32(z_kept, c) > float32(z, c)).tolist() == [False, True]


def test_the_score_is_that_of_the_class_that_is_asked_for(study):
    S = replicate._batch(study, "test", 6, "unseen")
    keep = np.ones((6, *S.x.shape[-2:]), bool)
    c = torch.tensor([1, 1, 0, 0, 2, 2])
    drop, _, y, y_kept = masked(study.target, S, keep, c)
    np.testing.assert_allclose(
        y, study.target(S).double().softmax(1).gather(1, c[:, None])[:, 0], rtol=1e-6
    )
    np.testing.assert_allclose(y_kept, y, rtol=1e-3)
    assert drop.max() < 0.1


def test_an_entry_of_methods_alone_shares_references_and_clusters(study, unseen):
    settings = dict(
        references=80,
        unseen=24,
        runs=2,
        n_boundaries=20,
        sizes=(1, 5),
        per_class=2,
        methods=CAMS,
    )
    alone = replicate.unseen(study, generator("other"), **settings, ways=())
    assert {n.method for n in alone.numbers} == {
        "Grad-CAM"
    }  # neither RI nor the control nor F again
    assert value(alone, "mAD_pct", "Grad-CAM") == value(unseen, "mAD_pct", "Grad-CAM")
    both = [
        FoundUnit("unseen", "blobs", "cnn", 0, {}, o.arrays) for o in (alone, unseen)
    ]
    assert len(list(figures.pictures(Found(pd.DataFrame(), both)))) == 2


def test_score_cam_of_the_most_active_channels(study):
    build = lambda **settings: study.build(
        {"use": "baselines/score_cam.py:ScoreCAM", **settings}
    )
    batch = replicate._batch(study, "test", 6, "channels")
    psi = study.target.features(batch)
    every, four = (
        build(**s).channel_weights(study.target, batch) for s in ({}, {"channels": 4})
    )
    active = psi.mean((2, 3)).argsort(dim=1, descending=True)
    assert len(active) == 6
    for image, order in enumerate(active.tolist()):
        torch.testing.assert_close(four[image, order[:4]], every[image, order[:4]])
        assert (four[image, order[4:]] == 0).all()
    torch.testing.assert_close(
        build(channels=10**6).channel_weights(study.target, batch), every
    )


def test_leads_are_paired_by_input(similar):
    out = replicate._leads(
        {
            "RI": np.array([4.0, 8.0, 6.0]),
            "A": np.array([1.0, 2.0, 6.0]),
            "Random map": np.zeros(3),
        },
        5,
    )
    got = {
        (n.method, n.metric): n.value for n in out
    }  # leads 3, 6, 0: mean 3, standard deviation 3, t(.975, 2) = 4.302653
    assert got == {
        ("A", "lead_mAD_pct"): 3,
        ("A", "lead_mAD_ci95"): pytest.approx(4.302653 * 3 / 3**0.5, rel=1e-6),
    }
    for K in (1, 4):
        gap = value(similar, "mAD_pct", "RI", K=K) - value(
            similar, "mAD_pct", "Grad-CAM", K=K
        )
        assert value(similar, "lead_mAD_pct", "Grad-CAM", K=K) == pytest.approx(gap)


def test_the_random_map_drops_as_its_metric_says(study):
    """On the same images and with the same draws."""
    S = replicate._batch(study, "test", 24, "unseen")
    e = study.build(replicate.RANDOM).explain(study.target, S, np.random.default_rng(3))
    keep = replicate.top_share(e.heatmaps)
    drop, rises, _, _ = masked(study.target, S, keep, compare="log_odds")
    for found, name in ((drop, "average_drop"), (rises, "average_increase")):
        by_metric = METRICS[name](e, study.target, S, None, keep=0.2)
        np.testing.assert_allclose(found, by_metric, atol=1e-4)


def test_rates_rise_with_the_sample_and_the_network_is_as_good_as_it_is(study, unseen):
    for images in ("reference", "unseen"):
        few, many = (
            value(unseen, "ACU_MD_pct", "RI", images=images, Q=q) for q in (1, 20)
        )
        assert many > few
        assert 0 < value(unseen, "CVR_pct", "RI", images=images, Q=20) <= 100
    S = replicate._batch(study, "test", 24, "unseen")
    accuracy = (study.target(S).argmax(1) == S.y).float().mean()
    np.testing.assert_allclose(
        value(unseen, "ACU_GT_pct", "F", images="unseen"), 100 * accuracy, atol=1e-4
    )


def test_rates_by_hand(study):
    S = replicate._batch(study, "test", 4, "hand")
    model = study.target(S).argmax(1).numpy()
    gt, md, cvr = replicate._rates(
        np.array([model[0], -1, -1, (model[3] + 1) % 4]), S, study.target
    )
    assert (md, cvr) == (50, 50) and gt == 50 * (S.y[0] == model[0]) + 50 * (
        S.y[3] == (model[3] + 1) % 4
    )
    assert replicate._rates(np.full(4, -1), S, study.target) == (0, 0, 0)


def test_table_2_has_every_published_number_of_the_network(study, unseen):
    """``results/reported/representative.csv``: ACU-GT, ACU-MD and CVR of F on reference and unseen images, and standard
    deviations of RI's."""
    S = replicate._batch(study, "test", 24, "unseen")
    accuracy = 100 * float((study.target(S).argmax(1) == S.y).double().mean())
    for images in ("reference", "unseen"):
        assert value(unseen, "ACU_MD_pct", "F", images=images) == 100
        assert value(unseen, "CVR_pct", "F", images=images) == 100
        for rate in ("ACU_GT", "ACU_MD", "CVR"):
            assert value(unseen, f"{rate}_std", "RI", images=images, Q=20) >= 0
    assert value(unseen, "ACU_GT_pct", "F", images="unseen") == pytest.approx(accuracy)
    assert 0 < value(unseen, "ACU_GT_pct", "F", images="reference") <= 100
    rates = np.zeros((2, 1, 2, 1, 3))
    rates[:, 0, 1, 0] = [[90, 80, 70], [94, 80, 72]]
    out = replicate._table_2(rates, ["RI"], [50], (60, 20), {})
    got = {x.metric: (x.value, x.n) for x in out if x.setting["images"] == "unseen"}
    assert got["ACU_GT_pct"] == (92, 40) and got["CVR_pct"] == (71, 40)
    assert got["ACU_GT_std"] == (pytest.approx(8**0.5), 2)
    assert got["ACU_MD_std"] == (0, 2)


def test_another_run_draws_other_references_and_a_unit_repeats_itself(study):
    one, two = (
        replicate.Reference.draw(study, 20, "run", r).batch.ids.tolist() for r in (0, 1)
    )
    assert one != two
    kw = dict(references=40, inputs=2, K=(1, 2), n_boundaries=5, methods=CAMS)
    first, again = (replicate.similar(study, generator("x"), **kw) for _ in range(2))
    assert [n.value for n in first.numbers] == [n.value for n in again.numbers]


def test_with_k_1_an_image_is_explained_by_itself(study, similar):
    """The mAD of Grad-CAM at K = 1 is its average drop on the inputs."""
    R = replicate.Reference.draw(study, 80, "similar")
    rows = torch.from_numpy(generator("test").permutation(80)[:6])
    inputs = R.batch[rows]
    e = study.build(CAMS[0]).explain(study.target, inputs, None)
    drop = METRICS["average_drop"](e, study.target, inputs, None, keep=0.2)
    np.testing.assert_allclose(
        value(similar, "mAD_pct", "Grad-CAM", K=1), drop.mean(), atol=1e-3
    )
    np.testing.assert_array_equal(
        similar.arrays["images"][0][0], similar.arrays["images"][1][0]
    )  # the input comes first


def test_similar_images_are_the_covered_ones_by_distance_then_the_others(study):
    R = replicate.Reference.draw(study, 60, "similar")
    rows = torch.arange(5)
    (found,) = R.regions(rows, "boundary", [20], np.random.default_rng(0))
    order = replicate._by_region(found, R, rows, 60)
    for region, row, ranked in zip(found, range(5), order, strict=True):
        covers, distance = (
            region.covers(R.psi).numpy(),
            region.distances(R.psi[row], R.psi).numpy(),
        )
        assert ranked[0] == row and sorted(ranked) == list(range(60))
        inside = covers[ranked]
        assert inside[: covers.sum()].all() and not inside[covers.sum() :].any()
        assert (np.diff(distance[ranked][1 : covers.sum()]) >= 0).all()
    near = replicate._by_distance(R, rows, 10)
    d = torch.cdist(R.psi.flatten(1).double(), R.psi.flatten(1).double())
    for row in range(5):
        assert near[row][0] == row
        np.testing.assert_allclose(np.sort(d[row])[:10], d[row][near[row]], atol=1e-4)


# --------------------------------------------------------------------------------------------- verdicts and pictures


def rows(*numbers):
    frame = pd.DataFrame(
        [
            dict(zip(("method", "metric", "setting", "value"), n, strict=True))
            for n in numbers
        ]
    )
    return frame.assign(
        track="replication",
        paper="representative",
        dataset="d",
        target="t",
        seed=0,
        status="ok",
    )


def judged(*numbers):
    return {(c.claim, c.holds, c.evidence) for c in verdicts.verdicts(rows(*numbers))}


TABLE_1 = [  # as printed, for GC
    ("RI", 12.70, 6.12),
    ("Grad-CAM", 23.01, 4.40),
    ("Grad-CAM++", 29.53, 3.46),
    ("Score-CAM", 23.88, 3.30),
    ("ACE", 46.37, 2.26),
    ("RI (reference)", 5, 90),
    ("Random map", 1, 90),
]


def of_table_1(table, setting="images=unseen;keep=0.2;|Q|=50"):
    for name, mad, mai in table:
        yield name, "mAD_pct", setting, mad
        yield name, "mAI_pct", setting, mai


def test_claims_of_table_1():
    numbers = list(of_table_1(TABLE_1))
    assert judged(*numbers) == {
        (
            "RI1",
            True,
            "mAD: RI 12.7, Grad-CAM 23.0, Score-CAM 23.9, Grad-CAM++ 29.5, ACE 46.4",
        ),
        (
            "RI1",
            True,
            "mAI: RI 6.1, ACE 2.3, Score-CAM 3.3, Grad-CAM++ 3.5, Grad-CAM 4.4",
        ),
        ("RI2", True, "mAD: ACE 46.4, RI 12.7"),
    }
    worse = [("RI", 24, 4.3), *TABLE_1[1:]]
    assert {(claim, holds) for claim, holds, _ in judged(*of_table_1(worse))} == {
        ("RI1", False),
        ("RI2", False),
    }


def test_mai_is_not_claimed_for_asirra():
    """Table 1: 30.72 for RI, 32.90 for Grad-CAM; the text says "most of the datasets"."""
    numbers = of_table_1([("RI", 2.00, 30.72), ("Grad-CAM", 2.30, 32.90)])
    asirra = rows(*numbers).assign(dataset="asirra")
    found = [(c.claim, c.holds) for c in verdicts.verdicts(asirra)]
    assert found == [("RI1", True)]


def test_ace_is_compared_with_ri_on_the_images_that_it_explains():
    same = f"images={replicate.EXPLAINED_BY_ACE};keep=0.2"
    numbers = [*of_table_1(TABLE_1), ("RI", "mAD_pct", same, 16)]
    numbers.append(("ACE", "explained_pct", "images=unseen;keep=0.2;|Q|=50", 84))
    evidence = "mAD: ACE 46.4, RI 16.0, on the 84 % of the images that ACE explains"
    assert ("RI2", False, evidence) in judged(*numbers)


def test_no_method_can_drop_three_times_as_much_as_more_than_a_third():
    """mAD is 100 at most, so where RI's is above 33.3 the claim asks for what no number can be."""
    numbers = of_table_1([("RI", 78, 15), ("Grad-CAM", 80, 10), ("ACE", 86, 13)])
    assert {claim for claim, _, _ in judged(*numbers)} == {"RI1"}


@pytest.mark.parametrize(
    "acu, cvr, holds", [(98, 97, True), (97.9, 99, False), (99, 96.9, False)]
)
def test_claims_of_table_2(acu, cvr, holds):
    numbers = [
        ("RI", "ACU_MD_pct", "images=unseen;|Q|=50", acu),
        ("RI", "CVR_pct", "images=unseen;|Q|=50", cvr),
    ]
    assert {(c, h) for c, h, _ in judged(*numbers)} == {("RI3", holds)}


@pytest.mark.parametrize(
    "curve, holds", [((60, 95, 96), True), ((60, 90, 95), False), ((96, 95, 95), False)]
)
def test_claims_of_the_sweep(curve, holds):
    numbers = [
        ("RI", rate, f"images=unseen;|Q|={q}", v)
        for rate in ("ACU_MD_pct", "ACU_GT_pct")
        for q, v in zip((1, 50, 70), curve)
    ]
    assert {(c, h) for c, h, _ in judged(*numbers)} == {("RI4", holds)}


def test_claims_of_figure_4():
    def at(K, ri, score):
        return [
            ("RI", "mAD_pct", f"K={K};images=similar", ri),
            ("Score-CAM", "mAD_pct", f"K={K};images=similar", score),
        ]

    found = judged(*at(1, 20, 10), *at(5, 20, 30), *at(10, 20, 15))
    assert found == {
        ("RI5", True, "mAD at K = 5: RI 20.0, Score-CAM 30.0"),
        ("RI5", False, "mAD at K = 10: RI 20.0, Score-CAM 15.0"),
    }
    increase = [(m, "mAI_pct", s, v) for m, _, s, v in at(5, 20, 30)]
    assert judged(*increase) == {
        ("RI5", False, "mAI at K = 5: RI 20.0, Score-CAM 30.0")
    }


@pytest.mark.parametrize(
    "first, last, half, holds",
    [
        (5, 1, 2, {True}),
        (5, 3, 2, {True, False}),
        (-1, 1, 2, {True, False}),
        (1, 4, 2, {False}),
    ],
)
def test_claim_of_the_lead_that_goes(first, last, half, holds):
    numbers = [
        ("Score-CAM", metric, f"K={K};images=similar", v)
        for K, lead in ((1, first), (5, 2), (20, last))
        for metric, v in (("lead_mAD_pct", lead), ("lead_mAD_ci95", half))
    ]
    found = [(c, h) for c, h, _ in judged(*numbers)]
    assert (
        {c for c, _ in found} == {"RI6"}
        and len(found) == 2
        and {h for _, h in found} == holds
    )


def test_nothing_measured_nothing_judged():
    assert (
        list(verdicts.verdicts(rows(("RI", "mAD_pct", "images=unseen;|Q|=50", 10))))
        == []
    )
    assert (
        list(verdicts.verdicts(rows(("x", "gini", "", 10)).assign(track="heatmap")))
        == []
    )


def test_pictures(unseen, similar):
    units = [FoundUnit("unseen", "blobs", "cnn", s, {}, unseen.arrays) for s in (0, 1)]
    units += [
        FoundUnit("similar", d, "cnn", 0, {}, similar.arrays)
        for d in ("blobs", "asirra")
    ]
    made = {p.name: p for p in figures.pictures(Found(pd.DataFrame(), units))}
    assert sorted(made) == [
        "fig2-asirra-cnn",
        "fig2-blobs-cnn",
        "fig4-asirra-cnn",
        "fig4-blobs-cnn",
        "fig5-6-blobs-cnn",
        "fig8-asirra-cnn",
        "fig8-blobs-cnn",
        "table1-blobs-cnn",
    ]
    assert (
        made["fig2-asirra-cnn"].photo
        and not made["fig2-blobs-cnn"].photo
        and made["fig2-blobs-cnn"].raster
    )
    assert made["fig8-asirra-cnn"].photo and not made["fig8-blobs-cnn"].photo
    for name in ("table1-blobs-cnn", "fig2-blobs-cnn", "fig8-blobs-cnn"):
        assert len(plot_style.save(made[name].figure, "png")) > 5000
    drawn = made["fig4-blobs-cnn"].figure.axes[0].lines
    assert [line.get_label() for line in drawn] == [
        "RI",
        "Grad-CAM",
        "ACE",
        "Random map",
    ]
    np.testing.assert_allclose(
        drawn[1].get_ydata()[[0, 3]],
        [value(similar, "mAD_pct", "Grad-CAM", K=k) for k in (1, 4)],
    )


def test_the_arrays_can_be_stored(unseen, similar, tmp_path):
    for outcome in (unseen, similar):
        store.write_npz(tmp_path / "unit.npz", outcome.arrays)
        assert store.read_npz(tmp_path / "unit.npz").keys() == outcome.arrays.keys()
    assert isinstance(Explanation(heatmaps=similar.arrays["maps"][0]), Explanation)
