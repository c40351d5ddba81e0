"""The experiments, verdicts and pictures of layerwise decision trees, on small networks and made-up rows."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from benchmark import store, zoo
from benchmark.api import Explanation, NotApplicable, Target
from benchmark.data import Dataset
from benchmark.methods.registry import MethodRef
from benchmark.papers import Found, FoundUnit, Study
from benchmark.papers.layer_trees import drawing, figures, replicate, trees
from benchmark.papers.layer_trees.duplicates import KINDS
from benchmark.papers.layer_trees.verdicts import read, verdicts
from benchmark.pipeline import replicate as pipeline_replicate
from benchmark.pipeline.profile import Profile
from benchmark.utils import plot_style
from benchmark.zoo import nets
from tests.helpers.places import ROOT
from tests.helpers.workspace import blobs


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def study():
    """A network of three narrow layers with random weights, on blobs of four classes."""
    data = Dataset("blobs", blobs(n_train=120, n_test=30, size=8))
    return Study(
        seed=0, dataset="blobs", data=data, target_name="mlp-5x3", target=mlp(5, 3)
    )


def mlp(width, depth, seed=0, classes=4):
    net, d = nn.Sequential(), 64
    net.add_module("flatten", nn.Flatten())
    for k in range(1, depth + 1):
        net.add_module(f"fc{k}", nn.Sequential(nn.Linear(d, width), nn.ReLU()))
        d = width
    net.add_module("logits", nn.Linear(d, classes))
    draw = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.data.normal_(generator=draw)
    return Target(
        net, name="random", classes="abcd", input_shape=(1, 8, 8), mean=[0.4], std=[0.4]
    )


def value(outcome, metric, **setting):
    (found,) = [
        n for n in outcome.numbers if n.metric == metric and dict(n.setting) == setting
    ]
    return found.value


# --------------------------------------------------------------------------------------------- trees


@pytest.fixture(scope="module", params=[None, 70])
def counted(study, request):
    """The experiment on all training images or some: (outcome, training images, test images)."""
    out = replicate.trees(study, rng(), thresholds=[0, 3, 1000], samples=request.param)
    train = study.data.batch("train", np.arange(request.param or 120))
    return out, train, study.data.batch("test")


def states_of(study, batch, layer):
    return [tuple(row) for row in (study.target.features(batch.x, layer) > 0).tolist()]


def literal_encodings(study, batch, layer):
    """{encoding: classes of its images}."""
    seen = {}
    for row, c in zip(states_of(study, batch, layer), batch.y.tolist(), strict=True):
        seen.setdefault(row, []).append(c)
    return seen


def majority(classes):
    """The most frequent class, the lowest on a tie."""
    return max(range(4), key=lambda c: (classes.count(c), -c))


def test_the_networks_accuracy_against_loops(study, counted):
    out, train, test = counted
    for name, b in (("train", train), ("test", test)):
        answers = study.target(b.x).argmax(1).tolist()
        want = 100 * np.mean(
            [a == c for a, c in zip(answers, b.y.tolist(), strict=True)]
        )
        assert value(out, f"network_{name}_accuracy_pct") == pytest.approx(want)


def test_encodings_of_every_layer_against_loops(study, counted):
    out, train, _ = counted
    for number, layer in enumerate(["fc1", "fc2", "fc3"], start=1):
        seen = literal_encodings(study, train, layer)
        duplicates = sum(len(set(classes)) > 1 for classes in seen.values())
        assert value(out, "n_unique_encodings", layer=number) == len(seen)
        assert value(out, "n_duplicate_encodings", layer=number) == duplicates
        for threshold in (0, 3, 1000):
            kept = sum(len(classes) >= threshold for classes in seen.values())
            assert value(out, "n_encodings", layer=number, threshold=threshold) == kept


def test_a_threshold_above_every_count_leaves_no_tree(counted):
    for number in (1, 2, 3):
        where = {"layer": number, "threshold": 1000}
        for metric in ("train_accuracy_pct", "test_accuracy_pct", "test_agreement_pct"):
            assert value(counted[0], metric, **where) == 0
        assert value(counted[0], "n_split_nodes", **where) == 0


def test_a_whole_tree_answers_by_majority(study, counted):
    out, train, _ = counted
    for number, layer in enumerate(["fc1", "fc2", "fc3"], start=1):
        seen = literal_encodings(study, train, layer)
        right = sum(classes.count(majority(classes)) for classes in seen.values())
        found = value(out, "train_accuracy_pct", layer=number, threshold=0)
        assert found == pytest.approx(100 * right / len(train))


def test_test_images_of_known_encodings_are_answered_by_majority(study, counted):
    """In the layers of which the tree knows all encodings of the test images."""
    out, train, test = counted
    answers, checked = study.target(test.x).argmax(1).numpy(), []
    for number, layer in enumerate(["fc1", "fc2", "fc3"], start=1):
        seen, known = (
            literal_encodings(study, train, layer),
            states_of(study, test, layer),
        )
        if not set(known) <= seen.keys():
            continue
        guess = np.array([majority(seen[row]) for row in known])
        right, alike = (
            100 * (guess == test.y.numpy()).mean(),
            100 * (guess == answers).mean(),
        )
        where = {"layer": number, "threshold": 0}
        checked.append(
            (
                value(out, "test_accuracy_pct", **where),
                value(out, "test_agreement_pct", **where),
            )
            == (pytest.approx(right), pytest.approx(alike))
        )
    assert checked and all(checked)


def test_every_line_of_tables_3_and_4_has_its_row():
    data = Dataset("mnist", blobs(n_train=60, n_test=20, size=8))
    out = replicate.trees(
        Study(dataset="mnist", data=data, target_name="mlp-100x10", target=mlp(8, 10)),
        rng(),
        thresholds=[0, 100, 1000],
    )
    mine = {(n.method, n.metric, store.setting_text(n.setting)) for n in out.numbers}
    published = pd.read_csv(ROOT / "results/reported/layer_trees.csv", dtype=str)
    lines = published[published["table"].isin(["Table 3", "Table 4"])]
    assert len(lines) == 120
    for line in lines.itertuples():
        assert (
            line.method,
            line.metric,
            line.setting.removesuffix(";mean of 3 seeds"),
        ) in mine


def test_named_layers_are_called_by_their_names(study):
    out = replicate.trees(study, rng(), layers=["flatten", "fc2"])
    assert {dict(n.setting).get("layer") for n in out.numbers} == {
        None,
        "flatten",
        "fc2",
    }
    assert out.arrays["widths"].tolist() == [64, 5]


@pytest.mark.parametrize("samples", [0, 121])
def test_more_samples_than_there_are_is_refused(study, samples):
    with pytest.raises(
        ValueError, match=f"samples={samples}; blobs has 120 train images"
    ):
        replicate.trees(study, rng(), samples=samples)


# --------------------------------------------------------------------------------------------- duplicates and drawings


def test_duplicates_are_counted_and_their_images_share_the_encoding(study):
    out = replicate.duplicates(study, rng(), layer="fc3")
    counts = [
        value(out, "n_duplicates_of_kind", layer="fc3", kind=kind) for kind in KINDS
    ]
    every = replicate.trees(study, rng())
    assert sum(counts) == value(every, "n_duplicate_encodings", layer=3) > 0
    kinds = [k for k in range(4) if f"images_{k}" in out.arrays]
    assert kinds == [k for k in range(4) if counts[k]]
    for k in kinds:
        images, of, classes = (
            out.arrays[f"{name}_{k}"] for name in ("images", "of", "counts")
        )
        states = study.target.features(torch.from_numpy(images), "fc3") > 0
        assert (states == states[0]).all()
        assert of[0] == classes.argmax()
        assert (
            np.bincount(of, minlength=4) <= np.minimum(classes, replicate.SHOWN)
        ).all()
        assert (
            value(out, "example_samples", layer="fc3", kind=KINDS[k]) == classes.sum()
        )


@pytest.fixture(scope="module")
def drawn(study):
    """(The outcome of drawing fc1's tree, the tree)."""
    out = replicate.drawing(study, rng(), layer="fc1")
    return out, trees.Tree.read(out.arrays)


def test_a_drawing_holds_the_tree(drawn):
    out, tree = drawn
    nodes = value(out, "n_drawn_split_nodes", layer="fc1", threshold=0, maps="image")
    assert nodes == tree.split_nodes >= 3
    assert out.arrays["rules"].tolist() == trees.rules(tree, "abcd")


def test_the_mean_image_of_the_root_is_that_of_all(drawn, study):
    mean = drawn[0].arrays["mean"]
    x = study.data.batch("train").x[:, 0].numpy().mean(0)
    np.testing.assert_allclose(mean[0] / mean[0].max(), x / x.max(), atol=2e-3)
    assert np.nanmax(mean) == 1  # the brightest pixel of all places


def test_a_drawing_counts_the_images_of_each_class_at_each_place(drawn, study):
    out, tree = drawn
    x, y = study.data.batch("train").x, study.data.arrays["y_train"]
    on = study.target.features(x, "fc1").numpy() > 0
    leaf = tree.apply(trees.Bits(np.packbits(on, axis=1), 5))
    assert out.arrays["count"][0] == len(x)
    for place in range(len(tree.node)):
        members = [int(((leaf == place) & (y == c)).sum()) for c in range(4)]
        assert out.arrays["members"][place].tolist() == members


def test_a_drawing_of_gradients_against_finite_differences(study):
    part = study.data.batch("train", np.arange(3))
    found, target, x = (
        replicate._gradient(study.target, part),
        study.target,
        part.x.double(),
    )
    net = target.net
    target.net = mlp(5, 3).net.double()
    try:
        c = target(x).argmax(1)
        want = np.zeros((3, 8, 8))
        for i, j in np.ndindex(8, 8):
            step = torch.zeros_like(x)
            step[:, 0, i, j] = 1e-6
            slope = (target(x + step) - target(x - step))[torch.arange(3), c] / 2e-6
            want[:, i, j] = (slope * x[:, 0, i, j]).abs()
        np.testing.assert_allclose(
            found, want / want.sum((1, 2), keepdims=True), rtol=1e-3, atol=1e-5
        )
    finally:
        target.net = net
    assert (
        replicate.drawing(study, rng(), layer="fc1", maps="gradient")
        .arrays["mean"]
        .min()
        >= 0
    )


def test_any_methods_heat_maps_can_be_drawn(study):
    """A map of one pixel puts all of its share there; of another kind of method there is nothing to draw."""

    class OnePixel:
        name = "One pixel"

        def fit(self, target, reference, rng):
            return self

        def explain(self, target, batch, rng):
            maps = -np.ones((len(batch), 8, 8))
            maps[:, 2, 5] = 7
            return Explanation(heatmaps=maps)

    class Labels(OnePixel):
        def explain(self, target, batch, rng):
            return Explanation(labels=np.zeros(len(batch)))

    mine = {"mine.py:OnePixel": OnePixel, "mine.py:Labels": Labels}
    study = dataclasses.replace(study, build=lambda entry: mine[entry]())
    out = replicate.drawing(study, rng(), layer="fc1", maps="mine.py:OnePixel")
    mean = out.arrays["mean"][out.arrays["count"] > 0]
    assert (mean[:, 2, 5] == 1).all() and mean.sum() == len(mean)
    with pytest.raises(ValueError, match="draws no heat maps"):
        replicate.drawing(study, rng(), layer="fc1", maps="mine.py:Labels")


@pytest.mark.parametrize(
    "maps", ["captum:DeepLift", "captum:GradientShap", "zennit:EpsilonPlus"]
)
def test_the_papers_other_attributions_can_be_drawn(study, maps):
    """Libraries that the paper names; each map is a share of pixels, so places that samples pass sum to 1."""
    pytest.importorskip(maps.split(":")[0])
    build = lambda entry: MethodRef.parse(entry).build()
    study = dataclasses.replace(study, build=build)
    out = replicate.drawing(study, rng(), layer="fc1", maps=maps)
    mean = out.arrays["mean"][out.arrays["count"] > 0].astype(float)
    assert mean.min() >= 0 and mean.max() == 1
    totals = mean.sum((1, 2))
    np.testing.assert_allclose(totals, totals[0], rtol=0.01)


def test_drawings_that_cannot_be(study):
    with pytest.raises(NotApplicable, match="no encoding of fc1 has 500 samples"):
        replicate.drawing(study, rng(), layer="fc1", threshold=500)
    with pytest.raises(
        ValueError, match="maps is image, gradient or a method's .* not 'shap'"
    ):
        replicate.drawing(study, rng(), layer="fc1", maps="shap")
    with pytest.raises(ValueError, match="random has no layer 'fc4'"):
        replicate.drawing(study, rng(), layer="fc4")
    none = np.empty(0, np.int64)
    with pytest.raises(ValueError, match="empty tree"):
        drawing.draw(
            trees.Tree(none, none, none, none, 0),
            np.empty((0, 2, 2)),
            np.empty((0, 2)),
            "ab",
        )


def grown(splits, seed=0):
    """A tree of so many splits, of random encodings."""
    draw = rng(seed)
    for n in range(splits, 40 * splits):
        states = draw.random((n, 30)) < 0.5
        bits = trees.Bits(np.packbits(states, axis=1), 30)
        tree = trees.grow(replicate.unique(bits, draw.integers(4, size=n), 4), 0, rng())
        if tree.split_nodes == splits:
            return tree, bits
    raise AssertionError("no such tree")


@pytest.mark.parametrize("splits", [8, 80])
def test_leaves_have_lines_of_their_own_and_splits_lie_between_their_ways(splits):
    tree, _ = grown(splits)
    column, line = drawing.layout(tree)
    assert sorted(line[tree.node < 0]) == list(range(splits + 1))
    inner = np.flatnonzero(tree.node >= 0)
    assert len(inner) == splits
    for place in inner:
        on, off = tree.on[place], tree.off[place]
        assert column[on] == column[off] == column[place] + 1
        assert line[off] < line[place] < line[on]


@pytest.mark.parametrize("splits", [8, 80])
def test_a_drawn_tree_can_be_read(splits):
    tree, bits = grown(splits)
    leaf = tree.apply(bits)
    mean, _ = trees.passing(tree, leaf, rng().random((len(bits), 6, 6)))
    members = np.zeros((len(tree.node), 4), int)
    members[leaf, 0] += 1
    figure = drawing.draw(tree, mean, members, ["T-shirt/top", "b", "c", "d"])
    text = plot_style.save(figure, "svg").decode()
    assert text.count("<image") == 2 * splits  # a heat map on every way
    (axes,) = figure.axes
    renderer = figure.canvas.get_renderer()
    labels = [t for t in axes.texts if t.get_text()]
    numbers = {str(n) for n in tree.node[tree.node >= 0]}
    assert len([t for t in labels if t.get_text() in numbers]) >= splits
    frames = [t.get_window_extent(renderer) for t in labels]
    page = figure.get_window_extent(renderer)
    for i, a in enumerate(frames):
        assert not any(a.overlaps(b) for b in frames[i + 1 :])
        assert (
            page.x0 <= a.x0 and a.x1 <= page.x1 and page.y0 <= a.y0 and a.y1 <= page.y1
        )


def test_a_tree_too_deep_for_a_page_says_so():
    n = 45
    states = np.tril(np.ones((n, n), bool))
    bits = trees.Bits(np.packbits(states, axis=1), n)
    m = 2 * n - 1
    order = np.arange(m)
    chain = trees.Tree(
        node=np.where(order % 2 == 0, order // 2, -1),
        on=np.where(order % 2 == 0, order + 1, -1),
        off=np.where(order % 2 == 0, order + 2, -1),
        label=np.where(order % 2 == 0, -1, 0),
        n_encodings=n,
    )
    chain.node[-1], chain.on[-1], chain.off[-1], chain.label[-1] = -1, -1, -1, 1
    mean, _ = trees.passing(chain, chain.apply(bits), np.zeros((n, 2, 2)))
    with pytest.raises(ValueError, match="44 splits deep"):
        drawing.draw(chain, mean, np.ones((m, 2), int), "ab")


# --------------------------------------------------------------------------------------------- verdicts


def rows_of(width=100, depth=10, dataset="mnist", n=55000, seed=0, **changes):
    """Rows as the paper's network would give them; ``changes``: metric -> {(layer[, threshold]): value} or a number."""
    u = np.geomspace(0.995 * n if width == 100 else 0.15 * n, 150, depth)
    dup = np.zeros(depth) if width == 100 else np.geomspace(2000, 50, depth)
    if dataset == "fashion_mnist" and width == 100:
        dup[0] = 40
    numbers = {
        ("network", "network_train_accuracy_pct", ""): 100.0,
        ("network", "network_test_accuracy_pct", ""): 97.9,
    }
    for k in range(1, depth + 1):
        numbers["encodings", "n_unique_encodings", f"layer={k}"] = round(u[k - 1])
        numbers["encodings", "n_duplicate_encodings", f"layer={k}"] = round(dup[k - 1])
        for t in (0, 100, 1000):
            where, none = (
                f"layer={k};threshold={t}",
                (t == 100 and k < 3) or (t == 1000 and k < 4),
            )
            numbers["layer tree", "n_encodings", where] = (
                0 if none else round(u[k - 1]) if t == 0 else 15
            )
            numbers["layer tree", "n_split_nodes", where] = (
                0 if none else 9 if t else round(np.geomspace(9000, 9, depth)[k - 1])
            )
            numbers["layer tree", "train_accuracy_pct", where] = (
                0 if none else 100.0 if width == 100 else 80 + 2 * k
            )
            numbers["layer tree", "test_accuracy_pct", where] = (
                0 if none else min(97.8, 80 + 4 * k)
            )
    for metric, change in changes.items():
        for key, number in (
            change if isinstance(change, dict) else {"": change}
        ).items():
            texts = {1: "layer={}", 2: "layer={};threshold={}"}
            setting = texts[len(key)].format(*key) if key else ""
            (found,) = [k for k in numbers if k[1] == metric and k[2] == setting]
            numbers[found] = number
    base = {
        "profile": "p",
        "track": "replication",
        "paper": "layer_trees",
        "dataset": dataset,
        "target": f"mlp-{width}x{depth}",
        "seed": seed,
        "n": n,
        "better": "lower",
        "unit": "",
        "metric_version": 1,
        "status": "ok",
        "reason": "",
    }
    return pd.DataFrame(
        [
            base | {"method": m, "metric": metric, "setting": s, "value": v}
            for (m, metric, s), v in numbers.items()
        ]
    )


def judged(*frames):
    return {
        (c.claim, c.dataset, c.target): c.holds for c in verdicts(pd.concat(frames))
    }


def test_the_papers_own_numbers_hold():
    found = judged(
        rows_of(),
        rows_of(20),
        rows_of(dataset="fashion_mnist"),
        rows_of(40, dataset="fashion_mnist"),
    )
    assert {claim for claim, *_ in found} == {f"LT{k}" for k in range(1, 15)}
    assert all(found.values())
    assert (
        "LT4",
        "fashion_mnist",
        "mlp-100x10",
    ) not in found  # the paper says it of MNIST alone
    assert ("LT3", "fashion_mnist", "mlp-40x10") not in found  # and this of width 20
    assert ("LT9", "fashion_mnist", "mlp-40x10") not in found
    assert not [
        key for key in found if key[0] in ("LT12", "LT13") and key[1] != "mnist"
    ]
    assert ("LT5", "fashion_mnist", "mlp-100x10") in found


U, DUP, SPLITS = "n_unique_encodings", "n_duplicate_encodings", "n_split_nodes"


@pytest.mark.parametrize(
    ("claim", "shape", "changes"),
    [
        ("LT1", {}, {U: {(1,): 53000}}),
        ("LT2", {}, {U: {(10,): 2800}}),
        ("LT2", {}, {U: {(1,): 100, (2,): 101}}),
        ("LT3", {"width": 20}, {U: {(1,): 17000}}),
        ("LT4", {}, {DUP: {(7,): 3}}),
        ("LT5", {"dataset": "fashion_mnist"}, {DUP: {(3,): 41}}),
        ("LT5", {"dataset": "fashion_mnist"}, {DUP: {(10,): 2}}),
        ("LT6", {"width": 20}, {DUP: {(10,): 401}}),
        ("LT7", {}, {"train_accuracy_pct": {(4, 0): 99.8}}),
        ("LT8", {}, {"test_accuracy_pct": {(8, 0): 97.3}}),
        ("LT8", {}, {"test_accuracy_pct": {(1, 0): 97.9}}),
        ("LT9", {"width": 20}, {"train_accuracy_pct": {(1, 0): 91}}),
        ("LT10", {}, {SPLITS: {(1, 0): 4000}}),
        ("LT10", {"dataset": "fashion_mnist"}, {SPLITS: {(1, 0): 8000}}),
        ("LT10", {}, {SPLITS: {(10, 0): 100}}),
        ("LT11", {}, {SPLITS: {(9, 0): 8}}),
        ("LT12", {}, {"n_encodings": {(3, 1000): 1}}),
        ("LT12", {}, {"test_accuracy_pct": {(1, 100): 11.0}}),
        ("LT13", {}, {"n_encodings": {(10, 1000): 31}}),
        ("LT13", {}, {"test_accuracy_pct": {(10, 1000): 94.9}}),
        ("LT14", {}, {"test_accuracy_pct": {(k, 100): 95.0 for k in range(4, 11)}}),
        ("LT14", {}, {SPLITS: {(4, 100): 9000}}),
    ],
)
def test_each_claim_can_fail(claim, shape, changes):
    other = [rows_of()] if claim == "LT3" else []
    found = judged(rows_of(**shape, **changes), *other)
    assert [
        holds for (name, *_), holds in found.items() if name == claim and not holds
    ] == [False]
    assert judged(rows_of(**shape), *other)[
        next(k for k, holds in found.items() if k[0] == claim and not holds)
    ]


def extended(*frames):
    """Checks on networks that the paper does not have."""
    return {
        (c.claim, c.dataset, c.target): c.holds
        for c in verdicts(pd.concat(frames))
        if c.extension
    }


def test_small_data_is_asked_less():
    frames = (
        rows_of(n=1400, depth=8, dataset="digits"),
        rows_of(16, n=1400, depth=8, dataset="digits"),
    )
    small = judged(*frames)
    assert {claim for claim, *_ in small} == {
        "LT3",
        "LT4",
        "LT7",
        "LT8",
        "LT10",
        "LT11",
    }
    of_lt8 = [("LT8", "digits", f"mlp-{width}x8") for width in (100, 16)]
    assert set(extended(*frames)) == set(of_lt8)
    gone = rows_of(n=1400, depth=8, dataset="digits", test_accuracy_pct={(8, 0): 95.8})
    assert not judged(gone)["LT8", "digits", "mlp-100x8"]
    near = rows_of(
        n=1400,
        depth=8,
        dataset="digits",
        test_accuracy_pct={(k, 0): 96.0 for k in range(5, 9)},
    )
    assert judged(near)["LT8", "digits", "mlp-100x8"]


def test_what_the_paper_tabulates_is_judged_on_its_own_networks():
    """Fig. 3 has four networks of 10 layers, Tables 3 and 4 one of them; others are extensions."""
    frames = (
        rows_of(),
        rows_of(20),
        rows_of(dataset="fashion_mnist"),
        rows_of(40, dataset="fashion_mnist"),
        rows_of(depth=9),
        rows_of(n=1400, dataset="digits"),
    )
    found = {(c.claim, c.dataset, c.target): c for c in verdicts(pd.concat(frames))}
    own = lambda claim: (
        {key[1:] for key in found if key[0] == claim}
        - {key[1:] for key in extended(*frames) if key[0] == claim}
    )
    assert own("LT14") == {("mnist", "mlp-100x10")}
    assert own("LT8") == {
        ("mnist", "mlp-100x10"),
        ("mnist", "mlp-20x10"),
        ("fashion_mnist", "mlp-100x10"),
        ("fashion_mnist", "mlp-40x10"),
    }
    assert ("LT8", "mnist", "mlp-100x9") in extended(*frames)
    assert ("LT14", "fashion_mnist", "mlp-100x10") in extended(*frames)
    assert not {c for c, *_ in extended(*frames)} - {"LT8", "LT14"}


@pytest.mark.parametrize(
    ("changes", "holds"),
    [
        ({}, True),
        ({"fc1": 96.0}, False),  # 2.5 below the network
        ({"conv2": 98.0}, False),  # no better than the first layer
        ({"pool10": 10.0}, True),
    ],
)
def test_convolutional_layers_are_an_extension(changes, holds):
    layers = {"conv2": 90.0, "pool10": 95.0, "fc1": 98.0} | changes
    rows = rows_of().iloc[:1].assign(target="explainn_cnn")
    network = rows.assign(metric="network_test_accuracy_pct", value=98.5, setting="")
    lines = [network]
    for name, value in layers.items():
        at = rows.assign(metric="test_accuracy_pct", value=value)
        lines.append(at.assign(setting=f"layer={name};threshold=0"))
        lines.append(at.assign(setting=f"layer={name};threshold=9", value=0.0))
    assert extended(*lines) == {("LT8", "mnist", "explainn_cnn"): holds}
    (check,) = verdicts(pd.concat(lines))
    assert "network's 98.50 (asked: 2)" in check.evidence


def test_a_threshold_is_as_large_a_share_of_fewer_samples():
    rows = rows_of(n=1400, depth=8, dataset="digits")
    rows["setting"] = rows["setting"].str.replace(
        "threshold=100$", "threshold=3", regex=True
    )
    (check,) = [c for c in verdicts(rows) if c.claim == "LT14"]
    assert (
        check.holds
        and "test 0.00 points lower (at most 0.00), threshold 3" in check.evidence
    )
    deep = rows["setting"].str.fullmatch(r"layer=[4-8];threshold=3") & (
        rows["metric"] == "test_accuracy_pct"
    )
    for loss, holds in ((1.9, True), (2.1, False)):
        lower = rows.assign(value=rows["value"].where(~deep, rows["value"] - loss))
        assert [c.holds for c in verdicts(lower) if c.claim == "LT14"] == [holds]


def test_a_tree_that_could_not_be_smaller_need_not_shrink():
    least = {(k, 0): 9 for k in range(4, 11)}
    assert judged(rows_of(n_split_nodes=least))["LT14", "mnist", "mlp-100x10"]
    assert not judged(
        rows_of(
            n_split_nodes=least | {(k, 100): 10 for k in range(4, 11)} | {(4, 0): 16}
        )
    )["LT14", "mnist", "mlp-100x10"]


def test_rows_of_others_are_left_alone():
    rows = rows_of()
    others = [
        rows.assign(target="cnn"),
        rows.assign(paper="xnn"),
        rows.assign(track="surrogate"),
    ]
    assert not list(read(pd.concat(others)))
    assert judged(rows, *others) == judged(rows)


# --------------------------------------------------------------------------------------------- pictures


@pytest.fixture(scope="module")
def three_seeds():
    """Rows of a network of which layer 5 has 80, 90 and 100 split nodes."""
    return [rows_of(seed=s, n_split_nodes={(5, 0): 80 + 10 * s}) for s in range(3)]


@pytest.fixture(scope="module")
def shown(study, three_seeds):
    """The pictures of all that was found."""

    def unit(name, **more):
        settings = {"layer": "fc1"} | more
        arrays = getattr(replicate, name)(study, rng(), **settings).arrays
        return FoundUnit(name, "blobs", "mlp-5x3", 0, settings, arrays)

    units = [unit("duplicates"), unit("drawing"), unit("drawing", maps="gradient")]
    rows = [*three_seeds, *(rows_of(depth=d) for d in (1, 4))]
    rows += [rows_of(20), rows_of(40, dataset="fashion_mnist")]
    return list(figures.pictures(Found(pd.concat(rows), units)))


def test_pictures_of_all_that_was_found(shown):
    assert [p.name for p in shown] == [
        "fig1-unique-encodings",
        "fig2-duplicate-encodings",
        "fig3-tree-accuracy",
        "fig4-split-nodes",
        "tables-3-4-thresholds",
        "table2-blobs-mlp-5x3-0",
        "tree-blobs-mlp-5x3-0-fc1-t0",
        "tree-blobs-mlp-5x3-0-fc1-t0-gradient",
    ]
    assert [p.raster for p in shown] == [False] * 5 + [True, False, False]
    assert not any(p.photo for p in shown)
    for picture in shown:
        assert len(plot_style.save(picture.figure, "png", dpi=40)) > 1000
        assert picture.caption.endswith(".")


def test_a_panel_shows_the_mean_of_every_depths_seeds(shown, three_seeds):
    figure = shown[0].figure
    panel, (legend,) = figure.axes[0], figure.legends
    assert panel.get_title(loc="left") == "mnist, width 100"
    assert [t.get_text() for t in legend.get_texts()] == [
        "depth 1",
        "depth 4",
        "depth 10",
    ]
    u = [net.u for net in read(pd.concat(three_seeds))]
    # a line, its caps, its bars
    (bar,) = (c for c in panel.containers if c.get_label() == "depth 10")
    means = [np.mean([seed[k] for seed in u]) for k in range(1, 11)]
    assert list(bar.lines[0].get_ydata()) == means
    assert bar.has_yerr


def test_error_bars_are_standard_errors_over_seeds(three_seeds):
    layers, mean, error = figures._mean(list(read(pd.concat(three_seeds))), "splits")
    assert layers == list(range(1, 11))
    assert mean[4] == 90
    assert error[4] == pytest.approx(10 / np.sqrt(3))  # s / sqrt(seeds)
    assert error[3] == 0


def test_other_activations_are_drawn_and_not_judged():
    rows = [rows_of(depth=4, n=1400, dataset="digits", seed=s) for s in (0, 1)]
    tanh = [r.assign(target="mlp-tanh-100x4") for r in rows]
    assert [(n.activation, n.width, n.depth) for n in read(pd.concat(tanh))] == [
        ("tanh", 100, 4)
    ] * 2
    assert not list(verdicts(pd.concat(tanh)))
    assert judged(*rows, *tanh) == judged(*rows)
    (picture,) = [
        p
        for p in figures.pictures(Found(pd.concat([*rows, *tanh]), []))
        if p.name.startswith("activations")
    ]
    assert picture.name == "activations-digits-100x4"
    assert [t.get_text() for t in picture.figure.legends[0].get_texts()] == [
        "relu",
        "tanh",
    ]
    assert not [
        p
        for p in figures.pictures(Found(pd.concat(rows), []))
        if p.name.startswith("activations")
    ]


def test_a_caption_says_which_networks_interpolate():
    rows = [
        rows_of(),
        rows_of(seed=1, network_train_accuracy_pct=99.5),
        rows_of(depth=1),
    ]
    caption = list(figures.pictures(Found(pd.concat(rows), [])))[2].caption
    assert (
        "every seed of: mnist 100x1; not by (lowest seed): mnist 100x10 (99.50 %)."
        in caption
    )


def test_no_rows_no_pictures():
    assert not list(figures.pictures(Found(rows_of().iloc[:0], [])))


@pytest.mark.parametrize("profile", ["offline", "quick", "trees", "paper"])
def test_the_profiles_ask_for_what_there_is(profile):
    tasks = pipeline_replicate.tasks(
        Profile.read(ROOT / "benchmark" / "profiles" / f"{profile}.yaml"), "layer_trees"
    )
    assert {task.experiment for task in tasks} == {"trees", "duplicates", "drawing"}
    networks = {
        (t.dataset, t.target, t.seed)
        for t in tasks
        if t.experiment == "trees" and t.target.startswith("mlp")
    }
    assert (
        len(networks)
        == {"offline": 18, "quick": 1, "trees": 120, "paper": 120}[profile]
    )


# --------------------------------------------------------------------------------------------- the networks of Table 1


TABLE_1 = {  # width -> learning rate, gamma, step
    ("mnist", 100): (0.001, 0.99, 5),
    ("fashion_mnist", 100): (0.001, 0.99, 5),
    ("mnist", 20): (0.002, 0.5, 100),
    ("fashion_mnist", 40): (0.002, 0.85, 50),
}
SOONER = {("mnist", 20): (0.002, 0.5, 35)}  # in the quick profile


def mlps(profile):
    """(data set, name, recipe, width, depth) of each multilayer perceptron of a profile."""
    params = yaml.safe_load(
        (ROOT / "benchmark" / "profiles" / f"{profile}.yaml").read_text()
    )
    for dataset in ("mnist", "fashion_mnist"):
        for name, mapping in params["zoo"][dataset].items():
            if mapping["net"] == "mlp":
                options = mapping["options"]
                recipe = zoo.Recipe.parse(mapping)
                yield dataset, name, recipe, options["width"], options["depth"]


@pytest.mark.parametrize(
    ("profile", "rates"),
    [("quick", SOONER), ("trees", TABLE_1), ("paper", TABLE_1)],
)
def test_recipes_are_those_of_table_1(profile, rates):
    found = list(mlps(profile))
    assert {(dataset, width) for dataset, _, _, width, _ in found} == rates.keys()
    for dataset, name, recipe, width, depth in found:
        assert name == f"mlp-{width}x{depth}"
        assert (recipe.lr, recipe.gamma, recipe.every) == rates[dataset, width]
        assert (recipe.schedule, recipe.optimiser) == ("step", "adam")
        assert (recipe.batch, recipe.weight_decay) == (128, 0)
        assert (recipe.stop_at_train_accuracy, recipe.train_images) == (1.0, 55000)
        assert recipe.normalise == "none"
        assert recipe.explain == (profile == "trees" and (width, depth) == (100, 10))


def seeds_by_depth(profile):
    found = {}
    for dataset, _, recipe, width, depth in mlps(profile):
        found.setdefault((dataset, width), {})[depth] = len(recipe.seeds)
    return found


def test_quick_has_the_deepest_network_of_every_width():
    assert all(10 in depths for depths in seeds_by_depth("quick").values())


@pytest.mark.parametrize("profile", ["trees", "paper"])
def test_every_depth_is_trained_from_three_seeds(profile):
    wanted = dict.fromkeys(range(1, 11), 3)
    assert all(depths == wanted for depths in seeds_by_depth(profile).values())


def test_trees_are_the_papers_networks_and_experiments():
    trees, paper = (
        yaml.safe_load((ROOT / "benchmark" / "profiles" / f"{name}.yaml").read_text())
        for name in ("trees", "paper")
    )
    for dataset, networks in trees["zoo"].items():
        for name, recipe in networks.items():
            assert (
                zoo.Recipe.parse(recipe).decisive()
                == zoo.Recipe.parse(paper["zoo"][dataset][name]).decisive()
            )
    experiments = paper["replicate"]["layer_trees"]
    assert trees["replicate"]["layer_trees"] == [
        e for e in experiments if e.get("target") != "explainn_cnn"
    ]


def test_only_the_first_layer_has_a_bias_and_weights_are_torchs():
    net = nets.build("mlp", (1, 28, 28), 10, {"width": 100, "depth": 10}, seed=0)
    linears = [m for m in net.modules() if isinstance(m, nn.Linear)]
    assert [m.bias is not None for m in linears] == [True] + [False] * 10
    for m in linears:
        bound = 1 / math.sqrt(m.in_features)
        assert 0.95 * bound < m.weight.abs().max() <= bound
        assert m.weight.std().item() == pytest.approx(
            bound / math.sqrt(3), rel=0.05
        )  # uniform
