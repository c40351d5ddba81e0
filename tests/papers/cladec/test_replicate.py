"""ClaDec's experiments at toy size, the verdicts on hand-made rows, the prototypes against a
literal twin, and the pictures."""

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark import store
from benchmark.api import Target
from benchmark.data import Dataset
from benchmark.papers import Found, FoundUnit, Study
from benchmark.papers.cladec import figures, prototypes, replicate, training, verdicts
from benchmark.papers.cladec.training import Networks, Training
from benchmark.utils import plot_style
from benchmark.zoo import nets
from tests.helpers.workspace import blobs

RNG = np.random.default_rng
SMALL = {
    "images": 24,
    "test_images": 12,
    "base": 2,
    "decoding": {"epochs": 1, "batch": 12, "lr": 0.003},
}
EVAL = {"optimiser": "adam", "epochs": 1, "batch": 12, "lr": 0.003}


@pytest.fixture(scope="module")
def study():
    net = nets.build("cnn", (1, 16, 16), 4, {"maps": [4, 6], "hidden": 5}, seed=0)
    target = Target(
        nets.fold_norm(net.eval()),
        name="t",
        classes="abcd",
        input_shape=(1, 16, 16),
        mean=[0.2],
        std=[0.3],
        layer="conv2",
    )
    return Study(
        seed=0,
        dataset="blobs",
        data=Dataset("blobs", blobs(40, 16, 16)),
        target_name="cnn",
        target=target,
    )


def values(outcome):
    return {
        (n.metric, n.method, store.setting_text(n.setting)): n.value
        for n in outcome.numbers
    }


@pytest.fixture(scope="module")
def outcomes(study):
    shared = SMALL | {"evaluation": EVAL}
    settings = {
        "layers": {"layers": {-1: "logits", -3: "conv2"}, "occlude": [-1, -3]} | shared,
        "alphas": {"layer": "fc1", "alphas": [1, 0.9, 0]} | shared,
        "epochs": {"layer": "fc1", "epochs": [0, 1, 2], "training": EVAL} | shared,
        "subsets": {"layer": "fc1", "nested": [1, 5], "disjoint": 2, "width": 2}
        | SMALL,
        "prototypes": {
            "layer": "fc1",
            "count": 3,
            "training": {"epochs": 1, "batch": 12},
        }
        | SMALL,
    }
    return {
        name: (given, getattr(replicate, name)(study, RNG(0), **given))
        for name, given in settings.items()
    }


# --------------------------------------------------------------------------------------------- experiments


def test_layers_gives_the_columns_of_tables_2_and_7(outcomes):
    got = values(outcomes["layers"][1])
    for k in ("layer=-1", "layer=-3"):
        assert got["delta_rec", "ClaDec-RefAE", k] == pytest.approx(
            got["rec_loss", "ClaDec", k] - got["rec_loss", "RefAE", k]
        )
        assert got["delta_acc", "ClaDec-RefAE", k] == pytest.approx(
            got["acc_eval", "ClaDec", k] - got["acc_eval", "RefAE", k]
        )
        for method in ("ClaDec", "GradCAM", "random"):
            low, high = got["acc_occl_max", method, k], got["acc_occl_min", method, k]
            assert 0 <= low <= 1
            assert got["delta_acc_occl", method, k] == pytest.approx(high - low)
    assert len(got) == 2 * ((3 + 3) + (3 + 1) + (9 + 3) + 2)
    assert all(n.n == 12 for n in outcomes["layers"][1].numbers)


@pytest.mark.parametrize(
    ("experiment", "key"),
    [("layers", "layer"), ("alphas", "alpha"), ("epochs", "classifier epochs")],
)
def test_the_names_join_with_the_published_ones(outcomes, experiment, key):
    published = pd.read_csv(
        store.ROOT / "results" / "reported" / "cladec.csv",
        dtype=str,
        keep_default_na=False,
    )
    names = {(r.method, r.metric) for r in published.itertuples()}
    numbers = [
        n
        for n in outcomes[experiment][1].numbers
        if not n.metric.endswith(("_sum", "_l2", "_se"))
        and n.method not in ("random", "ClaDec-GradCAM")
        and n.metric not in ("cross_entropy", "acc_gain")
    ]
    assert numbers
    assert {(n.method, n.metric) for n in numbers} <= names
    assert all(list(n.setting) == [key] for n in numbers)


def test_the_losses_are_those_of_a_literal_twin(study):
    setup = replicate._Setup(study, RNG(0), **SMALL)
    grey = torch.full_like(setup.x_test, 0.25)
    x, z = setup.x_test.double().numpy(), grey.double().numpy()
    std = float(setup.x.double().std())
    square = [
        sum(((a - b) / std) ** 2 for a, b in zip(u.flat, v.flat, strict=True))
        for u, v in zip(x, z, strict=True)
    ]
    both = setup.loss(grey, {}, "ClaDec") + setup.losses(grey, {}, "ClaDec")
    got = {n.metric: n.value for n in both}
    assert got["rec_loss_sum"] == pytest.approx(np.mean(square), rel=1e-4)
    assert got["rec_loss"] == pytest.approx(np.mean(square) / 256, rel=1e-4)
    assert got["rec_loss_l2"] == pytest.approx(np.mean(np.sqrt(square)), rel=1e-4)
    error = np.std(square, ddof=1) / np.sqrt(12)
    assert got["rec_loss_sum_se"] == pytest.approx(error, rel=1e-4)
    assert got["rec_loss_se"] == pytest.approx(error / 256, rel=1e-4)
    assert setup.grey == pytest.approx(float(setup.x.mean()))


def test_the_error_of_a_difference_of_accuracies_is_that_of_agresti_and_min():
    """Half an image more in each cell: b + 1/2 images only right here, c + 1/2 only right there, of n + 2."""
    ours = torch.tensor([1.0] * 7 + [0.0] * 3, dtype=torch.float64)
    theirs = torch.tensor([0.0] * 3 + [1.0] * 5 + [0.0] * 2, dtype=torch.float64)
    value, error = replicate._difference_of_accuracies(ours, theirs, "d", "m", {})
    b, c, n = 3.5, 1.5, 12
    assert value.value == pytest.approx(0.2)
    expected = np.sqrt((b / n + c / n - ((b - c) / n) ** 2) / n)
    assert error.value == pytest.approx(expected)
    assert (error.metric, error.better) == ("d_se", "lower")


@pytest.mark.parametrize("n", [0, 1, 3, 6, 10, 40])
def test_images_are_shown_once(study, n):
    setup = replicate._Setup(study, RNG(0), **SMALL)
    hits = training.right(study.target, setup.x_test, setup.y_test).tolist()
    shown = setup.shown(n)
    assert len(shown) == len(set(shown)) <= n
    wrong = [i for i in shown if not hits[i]]
    assert len(wrong) == min(2, n)  # the network is untrained
    assert shown[len(shown) - len(wrong) :] == wrong


def test_alphas_gives_equation_1(outcomes):
    got = values(outcomes["alphas"][1])
    for alpha in (1, 0.9, 0):
        which = f"alpha={alpha}" if alpha == 0.9 else f"alpha={alpha:g}"
        total = (1 - alpha) * got["rec_loss_sum", "ClaDec", which] + alpha * got[
            "cross_entropy", "ClaDec", which
        ]
        assert got["total_loss_sum", "ClaDec", which] == pytest.approx(total, rel=1e-4)
        assert ("acc_eval", "ClaDec", which) in got
    for metric, alpha, before, rise in (
        ("rec_loss_sum", 0.9, 0, "rec_rise_sum"),
        ("rec_loss_sum", 1, 0.9, "rec_rise_sum"),
        ("acc_eval", 1, 0, "acc_gain"),
    ):
        now, then = f"alpha={alpha:g}", f"alpha={before:g}"
        difference = got[metric, "ClaDec", now] - got[metric, "ClaDec", then]
        assert got[rise, "ClaDec", now] == pytest.approx(difference, abs=1e-4)
        assert got[f"{rise}_se", "ClaDec", now] > 0


def test_epochs_decodes_the_classifier_at_each_age(study, outcomes):
    got = values(outcomes["epochs"][1])
    for age in (0, 1, 2):
        which = f"classifier epochs={age}"
        rec = got["rec_loss_sum", "ClaDec", which] - got["rec_loss_sum", "RefAE", which]
        assert got["delta_rec_sum", "ClaDec-RefAE", which] == pytest.approx(rec)
        assert ("accuracy", "classifier", which) in got
    setup = replicate._Setup(study, RNG(0), **SMALL)
    ages = replicate._ages(setup, [0, 2], Training(epochs=2, batch=12, lr=0.01))
    assert [age for age, _ in ages] == [0, 2]
    first, last = (target(setup.x_test) for _, target in ages)
    assert not torch.allclose(first, last)
    assert not any(
        p.requires_grad for _, target in ages for p in target.net.parameters()
    )


def test_subsets_names_nested_and_disjoint_units(outcomes):
    got = values(outcomes["subsets"][1])
    assert set(got) == {
        (metric, "ClaDec", s)
        for metric in ("rec_loss", "rec_loss_se")
        for s in ("units=1", "units=5", "first=0;units=2", "first=2;units=2")
    }


def test_pictures_are_small_plain_arrays(outcomes):
    for _, outcome in outcomes.values():
        assert not any(value.dtype.hasobject for value in outcome.arrays.values())
        assert sum(v.nbytes for v in outcome.arrays.values()) < 2**20
    shown = outcomes["layers"][1].arrays
    assert shown["x"].dtype == np.uint8
    assert shown["x"].shape == shown["decoded-1"].shape == shown["most_decoded-3"].shape


def test_units_that_a_layer_lacks_fail_clearly(study):
    with pytest.raises(ValueError, match="units 0..5 of a layer that has 0..4"):
        replicate.subsets(study, RNG(0), layer="fc1", nested=[6], disjoint=0, **SMALL)


# --------------------------------------------------------------------------------------------- prototypes


def test_the_prototype_loss_is_equation_7(monkeypatch):
    x = torch.from_numpy(RNG(0).random((5, 1, 28, 28), np.float32))
    y, caught = torch.tensor([0, 1, 2, 0, 1]), []
    monkeypatch.setattr(
        prototypes, "descend", lambda members, loss, *_: caught.append(loss)
    )
    net = prototypes.fit(x, y, 3, 4, prototypes.TRAINING, RNG(0)).eval()
    rows = torch.tensor([3, 0, 4])
    got = caught[0](Networks([net]), rows).item()
    logits, _, rebuilt = (t.detach().double().numpy() for t in net(x[rows]))
    z, p = (
        net.f(x[rows]).flatten(1).detach().double().numpy(),
        net.p.detach().double().numpy(),
    )
    entropy = np.mean(
        [
            np.log(np.exp(v).sum()) - v[int(y[r])]
            for v, r in zip(logits, rows, strict=True)
        ]
    )
    d = [[sum((a - b) ** 2 for a, b in zip(u, q, strict=True)) for q in p] for u in z]
    r1 = np.mean([min(d[i][j] for i in range(3)) for j in range(4)])
    r2 = np.mean([min(row) for row in d])
    square = np.mean(
        [((rebuilt[i] - x[r].double().numpy()) ** 2).sum() for i, r in enumerate(rows)]
    )
    assert got == pytest.approx(entropy + (square + r1 + r2) / 20, rel=1e-4)
    assert rebuilt.shape == (3, 1, 28, 28)
    drawn, nearest, weights = prototypes.drawn(net, x)
    assert drawn.shape == (4, 1, 28, 28)
    assert weights.shape == (4, 3)
    codes = net.f(x).flatten(1)
    assert nearest.tolist() == [int(((codes - q) ** 2).sum(1).argmin()) for q in net.p]


# --------------------------------------------------------------------------------------------- verdicts


def rows(seeds=1, target="vgg11", **changed):
    """Rows as the paper has them: every claim holds. ``changed``: other values, by ``metric method setting``."""
    by = {
        "rec_loss ClaDec layer": {-1: 0.4, -3: 0.2, -5: 0.1},
        "delta_rec ClaDec-RefAE layer": {-1: 0.3, -3: 0.1, -5: 0.05},
        "delta_acc ClaDec-RefAE layer": {-1: -0.1, -3: 0.02, -5: 0.01},
        "delta_acc_occl ClaDec layer": {-1: 0.3, -3: 0.2, -5: 0.1},
        "delta_acc_occl GradCAM layer": {-1: 0.0, -3: 0.1, -5: 0.05},
        "acc_occl_min GradCAM layer": {-1: 0.8},
        "rec_loss_sum ClaDec alpha": {0: 7, 0.9: 8, 1: 300},
        "acc_eval ClaDec alpha": {0: 0.88, 0.9: 0.9, 1: 0.9},
        "acc_gain ClaDec alpha": {},
        "rec_loss_sum ClaDec classifier epochs": {0: 5.4, 1: 6.4, 64: 6.0},
        "delta_acc ClaDec-RefAE classifier epochs": {0: -0.03, 1: 0, 64: 0.01},
        "rec_loss ClaDec units": {1: 0.9, 10: 0.5, 512: 0.1},
        "distance_to_pca RefAE hidden units": {1: 0.002},
        "variance_lost ClaDec-RefAE hidden units": {1: 0.1},
        "output_lost ClaDec-RefAE hidden units": {1: -0.9},
    }
    out = []
    for seed in range(seeds):
        for name, numbers in (by | changed).items():
            metric, method, key = name.split(" ", 2)
            for k, v in numbers.items():
                out.append(
                    {
                        "paper": "cladec",
                        "track": "replication",
                        "status": "ok",
                        "dataset": "mnist",
                        "target": target,
                        "seed": seed,
                        "method": method,
                        "metric": metric,
                        "setting": f"{key}={k:g}",
                        "value": v + 1e-3 * seed * (key == "classifier epochs"),
                        "n": 10_000,
                    }
                )
    return pd.DataFrame(out)


def held(frame, claim):
    return [check.holds for check in verdicts.verdicts(frame) if check.claim == claim]


def test_every_claim_is_judged_and_holds_where_the_paper_s_numbers_are():
    found = list(verdicts.verdicts(rows(seeds=3)))
    assert {c.claim for c in found} == {f"CD{k}" for k in range(1, 10)}
    assert all(c.holds for c in found)
    assert {(c.dataset, c.target) for c in found} == {("mnist", "vgg11")}
    # for each seed two looks, and a t-test for each pair of neighbouring ages
    assert sum(c.claim == "CD5" for c in found) == 3 * (2 + 2)


def test_evidence_has_mean_interval_and_number_of_seeds():
    frame = rows(seeds=3)
    at = (frame.metric == "delta_rec") & (frame.setting == "layer=-1")
    frame.loc[at, "value"] = [0.1, 0.2, 0.6]
    words = {c.evidence for c in verdicts.verdicts(frame) if c.claim == "CD1"}
    half = 4.3027 * np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3)  # Student's t
    interval = f"[{0.3 - half:+.3g}, {0.3 + half:+.3g}], 3 seeds"
    assert f"layer -1: Delta Rec +0.3 {interval}" in words
    alone = {
        c.evidence
        for c in verdicts.verdicts(frame[frame.seed == 0])
        if c.claim == "CD1"
    }
    assert "layer -1: Delta Rec +0.1" in alone  # one seed has no spread


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [(0.3, 0.1, True), (0.3, 0.2, None), (-0.3, 0.2, None), (-0.3, 0.1, False)],
)
def test_a_difference_within_its_images_error_is_undecided(value, error, expected):
    numbers = {
        "delta_rec ClaDec-RefAE layer": {-1: value},
        "delta_rec_se ClaDec-RefAE layer": {-1: error},
    }
    assert held(rows(**numbers), "CD1") == [expected]


def test_seeds_that_disagree_are_undecided_and_the_check_is_of_their_mean():
    frame = rows(seeds=3)
    at = (frame.metric == "delta_rec") & (frame.setting == "layer=-1")
    for values, expected in (
        ([0.1, -0.1, 0.05], None),
        ([0.1, 0.09, 0.11], True),
        ([-0.1, -0.09, -0.11], False),
    ):
        frame.loc[at, "value"] = values
        assert held(frame, "CD1") == [True] * 3 + [expected] * 3


def test_the_interval_has_the_images_and_the_trainings_part():
    runs = pd.Series([0.1, 0.2, 0.6], index=[0, 1, 2])
    trainings = 4.302653 * np.std(runs, ddof=1) / np.sqrt(3)
    estimate = verdicts.Estimate(runs, 0.5)
    assert estimate.half == pytest.approx(np.hypot(1.96 * 0.5, trainings))
    assert verdicts.Estimate(runs[:1], 0.5).half == pytest.approx(1.96 * 0.5)


def test_accuracies_without_a_paired_error_have_that_of_two_binomials():
    half = 1.96 * np.sqrt((0.9 * 0.1 + 0.88 * 0.12) / 10_000)
    words = [c.evidence for c in verdicts.verdicts(rows()) if c.claim == "CD4"]
    interval = f"[{0.02 - half:+.4f}, {0.02 + half:+.4f}]"
    assert f"Acc at alpha 0.9 minus at 0: +0.0200 {interval}" in words
    parts = {
        "acc_eval ClaDec layer": {-3: 0.9},
        "acc_eval RefAE layer": {-3: 0.88},
        "delta_acc ClaDec-RefAE layer": {-3: 0.02},
    }
    words = [c.evidence for c in verdicts.verdicts(rows(**parts)) if c.claim == "CD2"]
    assert words == [f"layer -3: Delta Acc +0.0200 {interval}"]


def test_no_claim_fails_on_the_paper_s_own_tables():
    names = {
        "FashionMNIST": "fashion_mnist",
        "MNIST": "mnist",
        "CIFAR-100": "cifar100",
        "VGG-11": "vgg11",
        "ResNet-10": "resnet10",
    }
    path = store.ROOT / "results" / "reported" / "cladec.csv"
    published = pd.read_csv(path, dtype=str, keep_default_na=False)
    tables = published[published.table.str.startswith("Table")]
    other_unit = tables.table.isin(["Table 4", "Table 5", "Table 6"])
    losses = tables.metric.where(
        ~other_unit | (tables.metric != "rec_loss"), "rec_loss_sum"
    )
    frame = tables.assign(
        track="replication",
        status="ok",
        seed=0,
        n=10_000,
        metric=losses,
        value=tables.value.astype(float),
        setting=tables.setting.str.split(";").str[0],
        dataset=tables.dataset.map(names),
        target=tables.target.map(names),
    )
    found = list(verdicts.verdicts(frame))
    assert {c.claim for c in found} == {f"CD{k}" for k in (1, 2, 3, 4, 5, 7, 8)}
    assert not [c for c in found if c.holds is False]
    held = [c for c in found if c.holds]
    assert len(held) > 0.8 * len(found)


@pytest.mark.parametrize(
    ("claim", "name", "numbers", "expected"),
    [
        (
            "CD1",
            "delta_rec ClaDec-RefAE layer",
            {-1: 0.3, -3: -0.1, -5: -0.2},
            [False, True],
        ),  # -5 is no part of it
        (
            "CD2",
            "delta_acc ClaDec-RefAE layer",
            {-1: -0.1, -3: 0.02, -5: -0.01},
            [False, True],
        ),  # -1 is no part of it
        ("CD3", "rec_loss ClaDec layer", {-1: 0.4, -3: 0.2, -5: 0.3}, [False, True]),
        (
            "CD4",
            "acc_eval ClaDec alpha",
            {0: 0.9, 0.9: 0.8, 1: 0.95},
            [True, False, True],
        ),
        ("CD4", "acc_eval ClaDec alpha", {0: 0.9, 0.9: 0.897}, [True, None]),
        (
            "CD4",
            "rec_loss_sum ClaDec alpha",
            {0: 9, 0.9: 8, 1: 300},
            [False, True, True],
        ),
        ("CD4", "rec_rise_sum ClaDec alpha", {1: -1}, [False, True, True]),
        (
            "CD5",
            "rec_loss_sum ClaDec classifier epochs",
            {0: 5.4, 1: 6.4, 64: 6.5},
            [False, True],
        ),
        (
            "CD5",
            "delta_acc ClaDec-RefAE classifier epochs",
            {0: 0.01, 1: 0, 64: 0.02},
            [True, False],
        ),
        ("CD6", "rec_loss ClaDec units", {1: 0.9, 10: 0.5, 512: 0.6}, [False]),
        (
            "CD7",
            "delta_acc_occl ClaDec layer",
            {-1: 0.1, -3: -0.2, -5: 0.2},
            [True, False, True, False, True],
        ),
        (
            "CD7",
            "delta_acc_occl GradCAM layer",
            {-1: 0.1, -3: 0.1, -5: 0.05},
            [True, True, True, True, False],
        ),
        (
            "CD8",
            "delta_acc_occl GradCAM layer",
            {-1: 0.0, -3: 0.3, -5: 0.05},
            [True, False, True],
        ),
    ],
)
def test_each_claim_can_fail(claim, name, numbers, expected):
    assert held(rows(**{name: numbers}), claim) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("distance_to_pca RefAE hidden units", 0.02),
        ("variance_lost ClaDec-RefAE hidden units", -0.1),
        ("output_lost ClaDec-RefAE hidden units", 0.1),
    ],
)
def test_the_linear_theory_can_fail(name, value):
    checks = held(rows(**{name: {1: value}}), "CD9")
    assert checks.count(False) == 1
    assert checks.count(True) == 2


def test_neighbouring_ages_that_the_t_test_cannot_tell_apart_are_undecided():
    same = {"rec_loss_sum ClaDec classifier epochs": {0: 5.4, 1: 6.4, 64: 6.4005}}
    assert held(rows(seeds=3, **same), "CD5")[-6:] == [True] * 3 + [None] * 3


def test_a_residual_network_is_no_part_of_cd8():
    assert held(rows(target="resnet10"), "CD8") == []
    assert held(rows(target="resnet10"), "CD7") == [True, True, True]


# --------------------------------------------------------------------------------------------- pictures


FRAME = [
    "paper",
    "track",
    "dataset",
    "target",
    "seed",
    "method",
    "metric",
    "setting",
    "value",
]
PICTURES = [
    "fig8-layers-blobs-cnn",
    "fig16-hidden-blobs-cnn",
    "fig11-alphas-blobs-cnn",
    "fig12-untrained-blobs-cnn",
    "fig13-units-blobs-cnn",
    "fig14-units-blobs-cnn",
    "fig15-prototypes-blobs-cnn",
    "tables2-3-layers",
    "tables7-8-occlusion",
    "tables4-5-alphas",
    "table6-epochs",
]


def found(outcomes):
    """What the experiments found, as ``figures.pictures`` takes it."""
    lines, units = [], []
    for name, (given, outcome) in outcomes.items():
        units.append(FoundUnit(name, "blobs", "cnn", 0, given, outcome.arrays))
        for n in outcome.numbers:
            names = n.method, n.metric, store.setting_text(n.setting)
            lines.append(("cladec", "replication", "blobs", "cnn", 0, *names, n.value))
    return Found(pd.DataFrame(lines, columns=FRAME), units)


def test_every_experiment_has_its_pictures(outcomes):
    made = list(figures.pictures(found(outcomes)))
    assert [p.name for p in made] == PICTURES
    for picture in (made[0], made[-1]):
        assert plot_style.save(picture.figure, "png")[:4] == b"\x89PNG"


def test_two_networks_stand_side_by_side_on_the_images_that_both_were_shown(outcomes):
    one = found(outcomes)
    (given, outcome) = outcomes["layers"]
    arrays = {
        name: a[1:] if len(a) == len(outcome.arrays["x"]) else a
        for name, a in outcome.arrays.items()
    }
    other = FoundUnit("layers", "blobs", "mlp", 0, given, arrays)
    made = list(figures.pictures(Found(one.rows, [*one.units, other])))
    (picture,) = [p for p in made if p.name.startswith("fig10")]
    assert picture.name == "fig10-networks-blobs-cnn-mlp"
    axes = picture.figure.axes[0]
    side = [text.get_text() for text in axes.texts if "\n" in text.get_text()]
    four = ["RefAE\ncnn", "ClaDec\ncnn", "RefAE\nmlp", "ClaDec\nmlp"]
    assert side == four * min(5, len(arrays["x"]))
    smaller = {"x": arrays["x"][..., :8]}
    odd = FoundUnit("layers", "blobs", "mlp", 0, given, arrays | smaller)
    assert not list(figures._networks({"a": outcome.arrays, "b": odd.arrays}, "d"))


def test_grad_cam_is_stored_at_each_layer_min_max_scaled(study, outcomes):
    arrays = outcomes["layers"][1].arrays
    for name in ("cam-1", "cam-3"):
        assert arrays[name].shape == arrays["x"].shape
        peaks = arrays[name].max((1, 2, 3))
        assert set(peaks.tolist()) <= {0, 255}
        assert peaks.max() == 255
    setup = replicate._Setup(study, RNG(0), **SMALL)
    assert arrays["ids"].tolist() == setup.ids[setup.shown(10)].tolist()


def test_nothing_found_has_no_pictures():
    assert list(figures.pictures(Found(pd.DataFrame(columns=FRAME), []))) == []


def test_differences_are_orange_where_the_reference_is_brighter():
    bright, dark = np.full((1, 2, 2), 255, np.uint8), np.zeros((1, 2, 2), np.uint8)
    r, _, b = figures._difference(bright, dark)[0, 0]
    assert r > b
    r, _, b = figures._difference(dark, bright)[0, 0]
    assert b > r
    assert (figures._difference(dark, dark) == 255).all()


def test_the_plug_in_s_defaults_are_the_paper_s():
    assert vars(training.DECODING) == {
        "epochs": 64,
        "batch": 128,
        "optimiser": "adam",
        "lr": 3e-4,
        "weight_decay": 1e-5,
    }
    assert vars(training.CLASSIFYING) == {
        "epochs": 64,
        "batch": 128,
        "optimiser": "sgd",
        "lr": 0.1,
        "weight_decay": 1e-4,
    }
