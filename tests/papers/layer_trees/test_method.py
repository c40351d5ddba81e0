"""Layerwise decision trees: encodings, trees and the method, against hand-computed cases and slow, literal twins."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from benchmark.api import Batch, Method, NotApplicable, Target
from benchmark.methods.registry import MethodRef
from benchmark.papers.layer_trees import trees
from benchmark.papers.layer_trees.duplicates import KINDS, example, kinds
from benchmark.papers.layer_trees.encodings import (
    Bits,
    Encodings,
    encode,
    encode_layers,
    hidden_layers,
    switch,
    unique,
)
from benchmark.papers.layer_trees.method import LayerTree
from benchmark.zoo import nets

literal = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def rng(seed=0):
    return np.random.default_rng(seed)


def bits_of(states):
    return encode(torch.as_tensor(np.asarray(states, np.float32)))


def network(
    width=9, depth=3, channels=1, size=4, classes=3, activation=nn.ReLU, seed=0
):
    """flatten, fc1 ... (random weights), logits; every node is ON for some images and OFF for others."""
    layers, d = nn.Sequential(), channels * size * size
    layers.add_module("flatten", nn.Flatten())
    for k in range(1, depth + 1):
        layers.add_module(f"fc{k}", nn.Sequential(nn.Linear(d, width), activation()))
        d = width
    layers.add_module("logits", nn.Linear(d, classes))
    draw = torch.Generator().manual_seed(seed)
    for parameter in layers.parameters():
        parameter.data.normal_(generator=draw)
    return Target(
        layers,
        name="tiny",
        classes="abcdefgh"[:classes],
        input_shape=(channels, size, size),
        mean=[0.5],
        std=[0.3],
    )


def images(n=60, channels=1, size=4, classes=3, chunk=7, seed=1):
    draw = rng(seed)
    x = draw.random((n, channels, size, size), np.float32)
    return Batch(
        x=torch.from_numpy(x),
        y=torch.from_numpy(draw.integers(classes, size=n)),
        chunk=chunk,
    )


@st.composite
def samples(draw):
    """(n, w) states of few distinct rows, and (n,) classes of three."""
    w, n = draw(st.integers(1, 19)), draw(st.integers(1, 40))
    source = rng(draw(st.integers(0, 2**32 - 1)))
    rows = source.integers(2, size=(draw(st.integers(1, 12)), w))
    return rows[source.integers(len(rows), size=n)].astype(bool), source.integers(
        3, size=n
    )


# --------------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize("width", [1, 7, 8, 9, 16, 100])
def test_bits_keep_every_state(width):
    z = rng(width).normal(size=(13, width)).astype(np.float32)
    z[0] = 0.0  # a node at exactly 0 is OFF
    bits = encode(torch.from_numpy(z))
    assert bits.packed.shape == (13, math.ceil(width / 8))
    np.testing.assert_array_equal(bits.states(), z > 0)
    rows, nodes = np.divmod(np.arange(13 * width), width)
    np.testing.assert_array_equal(bits.at(rows, nodes), (z > 0).ravel())
    np.testing.assert_array_equal(bits[[3, 1]].states(), z[[3, 1]] > 0)


@literal
@given(samples())
def test_unique_against_a_dictionary(problem):
    states, y = problem
    seen = {}
    for row, c in zip(states.tolist(), y, strict=True):
        seen.setdefault(tuple(row), [0, 0, 0])[c] += 1
    e = unique(bits_of(states), y, 3)
    words = [tuple(row) for row in e.bits.states().tolist()]
    assert words == sorted(seen)  # lexicographic
    assert e.classes.tolist() == [seen[word] for word in words]
    assert [words[g] for g in e.group] == [tuple(row) for row in states.tolist()]
    assert e.duplicate.tolist() == [
        sum(c > 0 for c in seen[word]) > 1 for word in words
    ]
    assert e.labels.tolist() == [
        seen[word].index(max(seen[word])) for word in words
    ]  # the lowest class on a tie
    assert e.counts.sum() == len(y)
    for k, word in enumerate(words):
        assert e.samples(k).tolist() == [
            i for i, row in enumerate(states.tolist()) if tuple(row) == word
        ]


def test_unique_by_hand():
    states = [[1, 0], [0, 1], [1, 0], [1, 1], [1, 1], [1, 0]]
    e = unique(bits_of(states), np.array([2, 1, 2, 1, 0, 2]), 3)
    assert e.bits.states().tolist() == [[False, True], [True, False], [True, True]]
    assert e.classes.tolist() == [[0, 1, 0], [0, 0, 3], [1, 1, 0]]
    assert e.duplicate.tolist() == [False, False, True]
    assert e.labels.tolist() == [1, 2, 0]


@pytest.mark.parametrize("y", [None, [0, 1], [0, 1, 3], [0, 1, -1]])
def test_labels_that_are_missing_or_wrong_are_refused(y):
    with pytest.raises(ValueError, match="labels"):
        unique(bits_of(np.eye(3)), y, 3)


def test_activations_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="neither ON nor OFF"):
        encode(torch.tensor([[1.0, float("nan")]]))


def test_all_layers_in_one_pass_are_the_layers_one_by_one():
    target, batch = network(), images()
    found = encode_layers(target, batch, ["fc3", "fc1"])
    assert list(found) == ["fc3", "fc1"]
    for layer, bits in found.items():
        np.testing.assert_array_equal(
            bits.states(), target.features(batch, layer).numpy() > 0
        )
        assert 0 < bits.states().mean() < 1
    with pytest.raises(
        ValueError, match="no layer 'fc9'; it has flatten, fc1, fc2, fc3, logits"
    ):
        encode_layers(target, batch, ["fc1", "fc9"])


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.GELU, nn.LeakyReLU, nn.Hardsigmoid],
)
def test_a_node_is_on_where_its_activation_functions_input_is_positive(activation):
    target, batch = network(activation=activation), images()
    z = target.features(batch, "flatten")
    for k in (1, 2, 3):
        linear, f = target.net[k]
        np.testing.assert_array_equal(
            encode_layers(target, batch, [f"fc{k}"])[f"fc{k}"].states(),
            (linear(z) > 0).numpy(),
        )
        z = f(linear(z))


def test_pooling_and_reshaping_keep_the_activation_functions_threshold():
    net = nn.Sequential()
    for name, layer in {
        "conv": nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sigmoid()),
        "pool": nn.MaxPool2d(2),
        "flatten": nn.Flatten(),
        "logits": nn.Linear(2, 2),
    }.items():
        net.add_module(name, layer)
    target = Target(net, name="t", classes="ab", input_shape=(1, 4, 4))
    assert [switch(target, layer) for layer in target.layers] == [0.5, 0.5, 0.5, 0.0]
    assert hidden_layers(target) == ["conv"]
    assert (
        encode_layers(target, images(5), ["conv", "pool"])["conv"].width == 8
    )  # 2 channels at 2 x 2 positions


# --------------------------------------------------------------------------------------------- trees


def walk(tree, row):
    place = 0
    while tree.node[place] >= 0:
        place = tree.on[place] if row[tree.node[place]] else tree.off[place]
    return place


@literal
@given(samples(), st.integers(0, 6))
def test_a_tree_knows_every_encoding_it_was_grown_from(problem, threshold):
    states, y = problem
    bits = bits_of(states)
    e = unique(bits, y, 3)
    assume((e.counts >= threshold).any())
    tree = trees.grow(e, threshold, rng())
    kept = e.counts >= threshold
    assert tree.n_encodings == kept.sum()
    np.testing.assert_array_equal(tree.predict(e.bits[kept]), e.labels[kept])
    assert tree.leaves == tree.split_nodes + 1
    np.testing.assert_array_equal(tree.apply(bits), [walk(tree, row) for row in states])
    again = trees.Tree.read(tree.arrays())
    np.testing.assert_array_equal(again.predict(bits), tree.predict(bits))
    assert again.n_encodings == tree.n_encodings


@literal
@given(samples(), st.integers(0, 1))
def test_a_whole_tree_is_wrong_on_minorities_of_duplicates_alone(problem, threshold):
    states, y = problem
    bits = bits_of(states)
    e = unique(bits, y, 3)
    tree = trees.grow(e, threshold, rng())
    right = e.classes.max(1).sum()
    assert trees.accuracy_pct(tree, bits, y) == pytest.approx(100 * right / len(y))


@literal
@given(samples())
def test_a_tree_of_no_encoding_predicts_nothing(problem):
    states, y = problem
    bits = bits_of(states)
    e = unique(bits, y, 3)
    tree = trees.grow(e, int(e.counts.max()) + 1, rng())
    assert tree.n_encodings == 0
    assert (tree.split_nodes, tree.leaves, len(trees.rules(tree, "abc"))) == (0, 0, 0)
    assert (tree.predict(bits) == -1).all()
    assert trees.accuracy_pct(tree, bits, y) == 0
    again = trees.Tree.read(tree.arrays())
    np.testing.assert_array_equal(again.predict(bits), tree.predict(bits))


def gini(weights):
    p = weights / weights.sum()
    return 1 - (p**2).sum()


@pytest.fixture(params=range(4))
def drawn_tree(request):
    """(A tree of 80 random samples, the states of its encodings, their classes)."""
    draw = rng(request.param)
    states = draw.random((80, 8)) < 0.4
    y = draw.integers(3, size=80) // draw.integers(1, 3, size=80)
    e = unique(bits_of(states), y, 3)
    return trees.grow(e, 0, draw), e.bits.states(), e.labels


def gini_decrease(x, c, members, node):
    """Of splitting ``members`` by a node, with classes balanced: n / (classes * samples of the class)."""
    weight = len(c) / (3 * np.bincount(c, minlength=3))
    on, off = members & x[:, node], members & ~x[:, node]
    whole, left, right = (
        np.bincount(c[m], minlength=3) * weight for m in (members, on, off)
    )
    if not left.sum() or not right.sum():
        return 0
    rest = left.sum() * gini(left) + right.sum() * gini(right)
    return gini(whole) - rest / whole.sum()


def members_by_place(tree, x):
    """{place: the encodings that reach it}."""
    reach, waiting = {}, [(0, np.ones(len(x), bool))]
    while waiting:
        place, members = waiting.pop()
        reach[place] = members
        if (node := tree.node[place]) >= 0:
            waiting += [
                (tree.on[place], members & x[:, node]),
                (tree.off[place], members & ~x[:, node]),
            ]
    return reach


def test_every_split_is_the_best_by_the_weighted_gini_index(drawn_tree):
    tree, x, c = drawn_tree
    reach = members_by_place(tree, x)
    splits = {
        place: members for place, members in reach.items() if tree.node[place] >= 0
    }
    assert len(splits) == tree.split_nodes > 5
    for place, members in splits.items():
        best = max(gini_decrease(x, c, members, node) for node in range(8))
        own = gini_decrease(x, c, members, tree.node[place])
        assert own == pytest.approx(best, abs=1e-9)


def test_every_leaf_is_of_one_class(drawn_tree):
    tree, x, c = drawn_tree
    leaves = {p: m for p, m in members_by_place(tree, x).items() if tree.node[p] < 0}
    assert len(leaves) == tree.leaves
    assert all(
        (c[members] == tree.label[place]).all() for place, members in leaves.items()
    )


def labels_below(tree, place):
    if tree.node[place] < 0:
        return {int(tree.label[place])}
    return labels_below(tree, tree.on[place]) | labels_below(tree, tree.off[place])


@pytest.mark.parametrize("seed", range(3))
def test_no_split_is_for_nothing(seed):
    """Rounding of the class weights must not make a pure place look impure."""
    draw = rng(seed)
    states = draw.random((4000, 30)) < draw.random(30)
    y = (states[:, :10] @ draw.normal(size=(10, 10)) + draw.normal(size=10)).argmax(1)
    e = unique(bits_of(states), y, 10)
    tree = trees.grow(e, 0, draw)
    assert tree.split_nodes > 50
    assert all(
        len(labels_below(tree, place)) > 1 for place in np.flatnonzero(tree.node >= 0)
    )
    splits = {trees.grow(e, 0, rng(s)).split_nodes for s in range(3)}
    assert max(splits) < 1.1 * min(splits)


def test_classes_weigh_the_same():
    labels = np.repeat([0, 2, 5], [1, 7, 4000])
    weights = trees.balanced(labels)
    sums = [weights[labels == c].sum() for c in (0, 2, 5)]
    np.testing.assert_allclose(sums, len(labels) / 3, rtol=1e-5)
    assert (
        weights * 2**20 == np.round(weights * 2**20)
    ).all()  # a grid on which sums are exact


def test_thresholds_0_and_1_are_the_same_and_negative_ones_refused():
    states, y = rng().random((50, 6)) < 0.5, rng(1).integers(3, size=50)
    e = unique(bits_of(states), y, 3)
    a, b = (trees.grow(e, t, rng()) for t in (0, 1))
    assert a.node.tolist() == b.node.tolist()
    assert (
        trees.grow(e, int(e.counts.max()), rng()).n_encodings
        == (e.counts == e.counts.max()).sum()
    )
    with pytest.raises(ValueError, match="threshold=-1 is negative"):
        trees.grow(e, -1, rng())


def small_tree():
    """Node 2 ON: class 0. Else node 0 ON: class 1, OFF: class 2."""
    return trees.Tree(
        node=np.array([2, 0, -1, -1, -1]),
        on=np.array([4, 3, -1, -1, -1]),
        off=np.array([1, 2, -1, -1, -1]),
        label=np.array([-1, -1, 2, 1, 0]),
        n_encodings=3,
    )


def test_rules_by_hand_and_as_the_tree_predicts():
    tree = small_tree()
    assert trees.rules(tree, "abc") == [
        "IF 2 ON THEN a",
        "IF 2 OFF AND 0 ON THEN b",
        "IF 2 OFF AND 0 OFF THEN c",
    ]
    states = rng().random((40, 11)) < 0.5
    e = unique(bits_of(states), rng(1).integers(3, size=40), 3)
    tree = trees.grow(e, 0, rng())
    for row, label in zip(e.bits.states(), e.labels, strict=True):
        fired = []
        for rule in trees.rules(tree, "abc"):
            conditions, then = rule.removeprefix("IF ").split(" THEN ")
            pairs = [condition.split() for condition in conditions.split(" AND ")]
            if all(row[int(node)] == (state == "ON") for node, state in pairs):
                fired.append(then)
        assert fired == ["abc"[label]]


def test_one_encoding_is_a_tree_of_one_leaf():
    bits = bits_of(np.ones((4, 3)))
    tree = trees.grow(unique(bits, np.array([1, 1, 0, 1]), 3), 0, rng())
    assert (tree.split_nodes, tree.leaves) == (0, 1)
    assert tree.predict(bits).tolist() == [1] * 4
    assert trees.rules(tree, "abc") == ["IF TRUE THEN b"]


def test_what_passes_a_place_against_loops():
    tree, draw = small_tree(), rng(3)
    states, values = draw.random((30, 3)) < 0.5, draw.random((30, 2, 2))
    states[:, 0] |= ~states[:, 2]  # nothing ends in class 2
    mean, count = trees.passing(tree, tree.apply(bits_of(states)), values, chunk=7)
    ways = {0: [], 1: [(2, 0)], 2: [(2, 0), (0, 0)], 3: [(2, 0), (0, 1)], 4: [(2, 1)]}
    for place, way in ways.items():
        mine = [
            v
            for v, row in zip(values, states, strict=True)
            if all(row[node] == state for node, state in way)
        ]
        assert count[place] == len(mine)
        np.testing.assert_allclose(
            mean[place],
            np.mean(mine, axis=0) if mine else np.full((2, 2), np.nan),
            rtol=1e-6,
        )
    assert count.tolist() == [30, count[3], 0, count[3], 30 - count[3]]


def test_heat_maps_of_another_method_replace_the_images():
    torch_draw = torch.Generator().manual_seed(0)
    net = nets.build("cnn", (1, 8, 8), 3, {"maps": [4, 6], "hidden": 8}, seed=0)
    for parameter in net.parameters():
        parameter.data.normal_(generator=torch_draw)
    target = Target(net, name="t", classes="abc", input_shape=(1, 8, 8), layer="conv2")
    batch = images(40, size=8)
    maps = (
        MethodRef.parse("baselines/grad_cam.py:GradCAM")
        .build()
        .fit(target, batch, rng())
        .explain(target, batch, rng())
    )
    bits = encode_layers(target, batch, ["fc1"])["fc1"]
    tree = trees.grow(unique(bits, batch.y.numpy(), 3), 0, rng())
    mean, count = trees.passing(tree, tree.apply(bits), maps.heatmaps)
    assert mean.shape == (len(tree.node), 8, 8)
    np.testing.assert_allclose(mean[0], maps.heatmaps.mean(0), rtol=1e-5)
    assert count[0] == 40


# --------------------------------------------------------------------------------------------- kinds of duplicates


def test_the_kinds_of_table_2_by_hand():
    classes = np.array(
        [
            [3221, 4, 0],
            [45, 0, 1],
            [2, 2, 0],
            [1, 1, 2],
            [30, 25, 0],
            [500, 0, 0],
            [0, 19, 1],
            [20, 19, 0],
            [1735, 4974, 4996],
        ]
    )
    e = Encodings(Bits(np.zeros((9, 1), np.uint8), 1), np.empty(0, np.int64), classes)
    names = [
        KINDS[k].removeprefix("idiosyncratic-to-") if k >= 0 else "" for k in kinds(e)
    ]
    assert names == [
        "many",
        "few",
        "idiosyncratic",
        "idiosyncratic",
        "spectrum",
        "",
        "idiosyncratic",
        "few",
        "spectrum",
    ]
    assert [example(e, k) for k in range(4)] == [0, 1, 6, 8]
    alone = Encodings(e.bits[:1], e.group, classes[5:6])
    assert [example(alone, k) for k in range(4)] == [None] * 4
    assert kinds(Encodings(e.bits[:1], e.group, np.array([[7]]))).tolist() == [
        -1
    ]  # a single class


# --------------------------------------------------------------------------------------------- the method


@pytest.mark.parametrize("layer", [None, "fc1", "flatten"])
def test_the_method_keeps_the_contract(layer):
    target, reference, batch = network(), images(), images(20, seed=2)
    method = LayerTree(layer=layer)
    before = target.fingerprint()
    assert isinstance(method, Method)
    assert method.fit(target, reference, rng()) is method
    e = method.explain(target, batch, rng())
    assert e.offers() == {"labels", "size"}
    assert e.size == {
        "split_nodes": method.tree.split_nodes,
        "leaves": method.tree.leaves,
        "encodings": method.tree.n_encodings,
    }
    assert target.fingerprint() == before
    assert len(method.rules(target)) == method.tree.leaves


@pytest.mark.parametrize("layer", [None, "fc1", "flatten"])
def test_labels_are_those_of_the_leaves_whatever_the_chunks(layer):
    target = network()

    def fitted(chunk):
        method = LayerTree(layer=layer).fit(target, images(chunk=chunk), rng())
        return method, method.explain(
            target, images(20, seed=2, chunk=chunk), rng()
        ).labels

    method, labels = fitted(7)
    states = target.features(images(20, seed=2), layer or "fc3").numpy() > 0
    literal = [method.tree.label[walk(method.tree, row)] for row in states]
    assert set(labels) <= {0, 1, 2}
    np.testing.assert_array_equal(labels, literal)
    np.testing.assert_array_equal(fitted(1)[1], labels)
    np.testing.assert_array_equal(fitted(64)[1], labels)


def test_a_tree_of_a_network_that_is_right_is_right_too():
    """The logits are three of the nodes, so the tree can read the class off the last layer."""
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    net.add_module("logits", nn.Linear(3, 3))
    for linear in (net.fc1[0], net.logits):
        linear.weight.data, linear.bias.data = torch.eye(3), torch.zeros(3)
    net.fc1[0].bias.data -= 0.5
    y = torch.arange(30) % 3
    batch = Batch(x=nn.functional.one_hot(y).float().view(30, 1, 1, 3), y=y)
    target = Target(net, name="t", classes="abc", input_shape=(1, 1, 3))
    e = LayerTree().fit(target, batch, rng()).explain(target, batch, rng())
    np.testing.assert_array_equal(e.labels, y)
    assert e.size == {"split_nodes": 2, "leaves": 3, "encodings": 3}


def test_on_above_the_median_for_layers_that_are_never_off():
    target, batch = network(), images()
    target.net.fc3[0].bias.data += 100  # always ON
    with pytest.raises(NotApplicable, match=r"same encoding in fc3 \(variant sign\)"):
        LayerTree().fit(target, batch, rng())
    method = LayerTree(variant="median").fit(target, batch, rng())
    z = target.features(batch, "fc3")
    np.testing.assert_array_equal(
        method.encode(target, batch).states(), (z > z.median(0).values).numpy()
    )


def test_a_layer_of_one_unit_gives_at_most_one_split():
    target, batch = network(width=1, depth=1), images()
    e = LayerTree(layer="fc1").fit(target, batch, rng()).explain(target, batch, rng())
    assert e.size["split_nodes"] <= 1
    assert e.size["encodings"] == 2
    assert set(e.labels) <= {0, 1, 2}


def test_a_threshold_that_leaves_nothing_is_stated_as_not_covered():
    target, batch = network(), images()
    e = LayerTree(threshold=61).fit(target, batch, rng()).explain(target, batch, rng())
    assert (e.labels == -1).all()
    assert e.size == {"split_nodes": 0, "leaves": 0, "encodings": 0}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"layer": "fc33"},
            "tiny has no layer 'fc33'; it has flatten, fc1, fc2, fc3, logits",
        ),
        ({"threshold": -5}, "threshold=-5 is negative"),
        ({"variant": "always"}, "variant is 'sign' or 'median', not 'always'"),
    ],
)
def test_bad_settings_are_named(setting, message):
    with pytest.raises(ValueError, match=message):
        LayerTree(**setting).fit(network(), images(), rng())


def test_reference_images_without_labels_are_refused():
    batch = images()
    batch.y = None
    with pytest.raises(ValueError, match="no labels"):
        LayerTree().fit(network(), batch, rng())


SHARED = {
    ("xnn_cnn", "sign"),
    ("cnn", "sign"),
    ("resnet10", "sign"),
}  # images share encodings
KINDS_OF_NETWORKS = ["mlp", "explainn_cnn", "xnn_cnn", "cnn", "vgg11", "resnet10"]


def tree_of_a_network(name, variant):
    """The explanation of 30 images by an untrained network."""
    options = {"width": 0.1} if name in ("vgg11", "resnet10") else {}
    net = nets.build(name, (1, 28, 28), 3, options, seed=0)
    target = Target(
        net,
        name=name,
        classes="abc",
        input_shape=(1, 28, 28),
        layer=nets.NETS[name].layer,
    )
    batch = images(30, size=28)
    return (
        LayerTree(variant=variant)
        .fit(target, batch, rng())
        .explain(target, batch, rng())
    )


@pytest.mark.parametrize("name", KINDS_OF_NETWORKS)
@pytest.mark.parametrize("variant", ["sign", "median"])
def test_every_kind_of_network_has_a_tree(name, variant):
    e = tree_of_a_network(name, variant)
    assert e.labels.shape == (30,)
    assert e.size["split_nodes"] == e.size["leaves"] - 1
    assert 2 <= e.size["encodings"] <= 30


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        (name, variant)
        for name in KINDS_OF_NETWORKS
        for variant in ("sign", "median")
        if (name, variant) not in SHARED
    ],
)
def test_images_of_different_encodings_keep_their_labels(name, variant):
    e = tree_of_a_network(name, variant)
    assert e.size["encodings"] == 30
    np.testing.assert_array_equal(e.labels, images(30, size=28).y)


def test_the_registry_finds_the_method():
    method = MethodRef.parse(
        {"use": "benchmark/papers/layer_trees/method.py:LayerTree", "threshold": 2}
    ).build()
    assert (method.name, method.paper, method.threshold) == (
        "Layer tree",
        "layer_trees",
        2,
    )
