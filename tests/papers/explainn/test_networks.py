"""ExplaiNN on networks: units, interventions against changed copies of the network, cascades, the
method, prototypes."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Batch, Explanation, Method, NotApplicable, Target, settings_of
from benchmark.papers.explainn import networks, prototypes
from benchmark.papers.explainn.mdl import Rule
from benchmark.papers.explainn.method import ExplaiNN
from benchmark.papers.explainn.miner import Model
from benchmark.papers.explainn.networks import (
    Units,
    answers,
    cascade,
    intervene,
    label_rules,
    last,
)

CLASSES = 4


def dense(seed=0):
    """conv (4 maps, one a quadrant) - fc1 (12 ReLU units) - 4 classes; class c is what is bright in quadrant c."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential()
        net.add_module("conv", nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU()))
        net.add_module("flatten", nn.Flatten())
        net.add_module("fc1", nn.Sequential(nn.Linear(3 * 64, 12), nn.ReLU()))
        net.add_module("logits", nn.Sequential(nn.Dropout(0.5), nn.Linear(12, CLASSES)))
    with torch.no_grad():
        net.conv[0].weight.zero_()
        net.conv[0].weight[:, 0, 1, 1] = torch.tensor([1.0, -1.0, 2.0])
        net.conv[0].bias.copy_(torch.tensor([-0.3, 0.5, -0.6]))
        weight = torch.zeros(12, 3, 8, 8)
        for unit in range(12):  # units c, c + 4, c + 8 look at quadrant c
            top, left = 4 * (unit % 4 // 2), 4 * (unit % 2)
            weight[unit, 0, top : top + 4, left : left + 4] = 0.2
        net.fc1[0].weight.copy_(weight.flatten(1))
        net.fc1[0].bias.fill_(-0.2)
        net.logits[1].weight.copy_(torch.eye(4).repeat(1, 3) + 0.02)
        net.logits[1].bias.zero_()
    return Target(
        net, name="dense", classes="abcd", input_shape=(1, 8, 8), layer="conv"
    )


def convolutional(rectified=True):
    """Like SqueezeNet's end: features - 1x1 convolution with a map a class (- ReLU) - average."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential()
        net.add_module("fire", nn.Sequential(nn.Conv2d(1, 10, 3, padding=1), nn.ReLU()))
        head = [
            nn.Dropout(0.5),
            nn.Conv2d(10, CLASSES, 1),
            *([nn.ReLU()] if rectified else []),
        ]
        net.add_module("conv10", nn.Sequential(*head))
        net.add_module("logits", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return Target(
        net, name="convolutional", classes="abcd", input_shape=(1, 8, 8), layer="fire"
    )


def quadrants(n=240, seed=0, chunk=50):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    x = rng.random((n, 1, 8, 8), dtype=np.float32) * 0.2
    for i, c in enumerate(y):
        x[i, 0, 4 * (c // 2) : 4 * (c // 2) + 4, 4 * (c % 2) : 4 * (c % 2) + 4] += 0.7
    return Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), chunk=chunk)


# --------------------------------------------------------------------------------------------- units


def test_units_are_on_above_zero():
    target, batch = dense(), quadrants()
    fc1 = Units.of(target, batch, "fc1")
    assert (fc1.shape, fc1.at, fc1.blocks) == ((12,), 0.0, None)
    np.testing.assert_array_equal(
        fc1(target, batch), target.features(batch, "fc1").numpy() > 0
    )
    np.testing.assert_array_equal(
        answers(target, batch).argmax(1), target(batch).argmax(1)
    )


def test_units_that_are_never_off_are_compared_with_their_mean():
    bright = torch.linspace(0.6, 1, 40).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    always = Units.of(dense(), Batch(x=bright, y=quadrants().y[:40]), "fc1")
    assert (always.at > 0).all()


def test_units_of_a_convolution_are_its_positions_pooled_or_channels():
    target, batch = dense(), quadrants()
    conv = Units.of(target, batch, "conv")
    assert conv.shape == (3, 8, 8)
    np.testing.assert_array_equal(conv.blocks, np.arange(192) // 64)
    pooled = Units.of(target, batch, "conv", pool=3)
    assert pooled.shape == (3, 3, 3)
    corner = (target.features(batch, "conv")[:, 0, :3, :3] > 0).any(2).any(1)
    np.testing.assert_array_equal(pooled(target, batch)[:, 0], corner)
    channels = Units.of(target, batch, "conv", channels=True)
    z = target.features(batch, "conv").mean((2, 3)).numpy()
    np.testing.assert_array_equal(channels(target, batch), z > z.mean(0))


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        ("fc1", {"channels": True}, "fc1 of dense has no channels"),
        ("conv", {"pool": 0}, "pool = 0"),
        ("fc9", {}, "no layer 'fc9'"),
    ],
)
def test_units_that_a_layer_does_not_have_are_refused(layer, options, message):
    with pytest.raises(ValueError, match=message):
        Units.of(dense(), quadrants(), layer, **options)


def test_where_the_weights_of_the_classes_are():
    assert (last(dense()).layer, last(dense()).W.shape, last(dense()).channels) == (
        "fc1",
        (4, 12),
        False,
    )
    assert (last(convolutional()).layer, last(convolutional()).W.shape) == (
        "fire",
        (4, 10),
    )
    assert last(convolutional()).channels
    net = nn.Sequential()
    net.add_module("a", nn.Conv2d(1, 3, 3))
    net.add_module(
        "b", nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    with pytest.raises(NotApplicable, match="no layer of weights"):
        last(Target(net, name="t", classes="abcd", input_shape=(1, 8, 8)))


def test_rules_of_a_network_whose_classes_own_their_units():
    target, batch = dense(), quadrants()
    model = label_rules(target, batch, Units.of(target, batch, "fc1"))
    assert sorted((r.X, tuple(model.tails(r))) for r in model.rules) == [
        ((c,), (c, c + 4, c + 8)) for c in range(4)
    ]
    assert networks.kinds(model) == {
        "multi_class_share": 0,
        "multi_unit_share": 1,
        "classes_with_rules": 4,
        "classes_with_several_rules": 0,
    }
    assert networks.class_units(model, 2) == [2, 6, 10]
    assert networks.likeness(model.rules, model.rules) == 1
    assert networks.likeness(model.rules, ()) == 0
    assert (
        networks.likeness([Rule((0,), (4, 5))], [Rule((0,), (4,)), Rule((1,), (4, 5))])
        == 0.5
    )


# --------------------------------------------------------------------------------------------- intervention


def literal_recall(target, test, c, units):
    """Recall of class c in a copy of the network with these weights at zero."""
    changed = copy.deepcopy(target)
    module = [m for m in changed.net.modules() if isinstance(m, nn.Linear | nn.Conv2d)][
        -1
    ]
    with torch.no_grad():
        module.weight[c, list(units)] = 0
    mine = test.y == c
    return float((changed(test.x[mine]).argmax(1) == c).float().mean())


REMOVED = {0: [0, 1, 2, 5], 1: [0, 2], 3: [7]}  # units by class


@pytest.fixture(
    params=[
        (dense, {0, 1, 2, 3}),
        (convolutional, {3}),
        (lambda: convolutional(False), {3}),
    ],
    ids=["dense", "conv", "no ReLU"],
)
def intervened(request):
    """(target, images of the classes that it sees, as it sees them, those classes, the result)."""
    make, there = request.param
    target, test = make(), quadrants(80, seed=3)
    test.y = target(test).argmax(1)  # a network that is always right
    assert set(test.y.tolist()) == there
    rules = (Rule((0, 1), (4, 6)), Rule((0,), (5, 9)), Rule((3,), (4 + 7,)))
    model = Model(rules, (1.0, 1.0, 1.0), 0.0, 0.0, CLASSES)
    before = target.fingerprint()
    result = intervene(target, test, model, np.random.default_rng(0), draws=5)
    assert target.fingerprint() == before
    return target, test, there, result


def test_interventions_equal_changed_copies(intervened):
    target, test, there, result = intervened
    recalls = [1.0 if c in there else np.nan for c in range(CLASSES)]
    np.testing.assert_array_equal(result.before, recalls)
    touched = sorted(there & REMOVED.keys())
    after = [literal_recall(target, test, c, REMOVED[c]) for c in touched]
    np.testing.assert_allclose(result.after[touched], after, atol=1e-6)
    assert list(result.removed[touched]) == [len(REMOVED[c]) for c in touched]
    assert np.isnan(
        result.after[sorted(there - REMOVED.keys())]
    ).all()  # no rule names them


def test_interventions_are_compared_with_random_units(intervened):
    target, test, there, result = intervened
    draws, sizes = np.random.default_rng(0), last(target).W.shape[1]
    c = min(there & REMOVED.keys())
    units = [draws.permutation(sizes)[: len(REMOVED[c])] for _ in range(5)]
    expected = [literal_recall(target, test, c, drawn) for drawn in units]
    np.testing.assert_allclose(result.random[:, c], expected, atol=1e-6)
    np.testing.assert_allclose(
        result.quantile()[c], np.quantile(expected, 0.9), atol=1e-6
    )


def test_a_class_is_lost_without_its_rules_and_not_without_others():
    target, batch, test = dense(), quadrants(), quadrants(80, seed=3)
    model = label_rules(target, batch, Units.of(target, batch, "fc1"))
    result = intervene(target, test, model, np.random.default_rng(0))
    assert (result.before == 1).all()
    assert result.judged.all()
    assert (result.after < result.quantile()).all()
    other = Model((Rule((0,), (4 + 500,)),), (1.0,), 0.0, 0.0, CLASSES)
    with pytest.raises(ValueError, match="do not lead from the 4 classes"):
        intervene(target, test, other, np.random.default_rng(0))


# --------------------------------------------------------------------------------------------- cascades and pixels


def test_a_cascade_begins_at_channels_where_they_feed_the_classes():
    target, batch = convolutional(), quadrants(400)
    ((units, model),) = cascade(target, batch, ["fire"])
    assert units.channels and units.shape == (10,)
    expected = label_rules(
        target, batch, Units.of(target, batch, "fire", channels=True)
    )
    assert model.rules == expected.rules


def test_a_cascade_chains_tails_to_heads():
    target, batch = dense(), quadrants(400)
    (fc1, first), (conv, second) = cascade(target, batch, ["fc1", "conv"])
    assert (fc1.layer, conv.layer) == ("fc1", "conv")
    tails = {tuple(first.tails(r)) for r in first.rules}
    assert second.rules
    assert {r.X for r in second.rules} <= tails
    # Each group of fc1 leads to its own quadrant of maps 0 and 2, or to the dark of the others.
    for rule in second.rules:
        c = rule.X[0] % 4
        for k, i, j in zip(
            *np.unravel_index(second.tails(rule), conv.shape), strict=True
        ):
            assert ((i // 4, j // 4) == (c // 2, c % 2)) == (k != 1)
    with pytest.raises(ValueError, match="cyclic: conv -> fc1"):
        cascade(target, batch, ["conv", "fc1"])
    with pytest.raises(ValueError, match="cyclic: fc1 -> fc1"):
        cascade(target, batch, ["fc1", "fc1"])
    with pytest.raises(ValueError, match="no layer 'fc9'"):
        cascade(target, batch, ["fc1", "fc9"])


def test_neighbours_counts_touching_pairs():
    units = Units("conv", (2, 4, 4), 0.0)
    block = [
        0,
        1,
        4,
        5,
        16 + 3,
    ]  # a 2x2 block of filter 0: 4 of 6 pairs touch; one pixel of filter 1: no pair
    rules = (
        Rule((0,), [4 + u for u in block]),
        Rule((1,), [4 + 15, 4 + 10]),
    )  # and a pair that does not
    touching, chance = networks.neighbours(
        Model(rules, (1, 1), 0, 0, 4), units, np.random.default_rng(0)
    )
    assert touching == pytest.approx(4 / 7)
    assert 0 < chance < touching
    alone = Model((Rule((0,), (4,)),), (1.0,), 0.0, 0.0, 4)
    assert np.isnan(networks.neighbours(alone, units, np.random.default_rng(0))).all()


def test_background_filters_have_negative_correlation():
    r = networks.background(dense(), quadrants(), "conv")
    assert r[0] > 0.8
    assert r[1] < -0.8


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_that_correlation_is_numpys_whatever_the_chunk(chunk):
    target, batch = dense(), quadrants(30, chunk=chunk)
    with torch.no_grad():
        target.net.conv[0].bias[2] = 9.0  # always ON
    r = networks.background(target, batch, "conv")
    light = batch.x[:, 0].double().numpy().ravel()
    on = (target.features(batch, "conv") > 0).double().numpy()
    unbiased = 1 - 1 / light.size  # deviations are divided by N - 1, their product by N
    for k in (0, 1):
        expected = np.corrcoef(on[:, k].ravel(), light)[0, 1] * unbiased
        assert r[k] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(r[2])


# --------------------------------------------------------------------------------------------- the method


def test_contract():
    target, batch = dense(), quadrants(30, seed=9)
    method, rng = ExplaiNN(), np.random.default_rng(0)
    fingerprint = target.fingerprint()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert isinstance(method, Method)
    assert settings_of(method) == {"theta": 0.4, "mu": 1}
    assert method.fit(target, quadrants(), rng) is method
    assert isinstance(method.explain(target, batch, rng), Explanation)
    assert target.fingerprint() == fingerprint
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def explained(chunks=(50, 50)):
    rng, (first, second) = np.random.default_rng(0), chunks
    method = ExplaiNN().fit(dense(), quadrants(chunk=first), rng)
    return method, method.explain(dense(), quadrants(30, seed=9, chunk=second), rng)


def test_labels_and_maps():
    method, e = explained()
    np.testing.assert_array_equal(e.labels, dense()(quadrants(30, seed=9)).argmax(1))
    assert e.size == method.model.size
    assert e.heatmaps.shape == (30, 8, 8)
    assert (e.heatmaps.max((1, 2)) > 0).all()


def test_chunks_do_not_matter():
    (_, e), (_, again) = explained(), explained((7, 4))
    np.testing.assert_array_equal(again.labels, e.labels)
    np.testing.assert_allclose(again.heatmaps, e.heatmaps, atol=1e-5)


def test_no_rule_holds_no_label():
    target = dense()
    method = ExplaiNN().fit(target, quadrants(), np.random.default_rng(0))
    black = Batch(x=torch.zeros(2, 1, 8, 8), y=torch.zeros(2, dtype=torch.int64))
    assert method.explain(target, black, np.random.default_rng(0)).labels.tolist() == [
        -1,
        -1,
    ]


def test_labels_are_summed_confidences():
    target = dense()
    method = ExplaiNN().fit(target, quadrants(), np.random.default_rng(0))
    reference, batch = quadrants(), quadrants(20, seed=5)
    on, classes = method.hidden(target, reference), answers(target, reference).argmax(1)
    now = method.hidden(target, batch)
    for i, label in enumerate(
        method.explain(target, batch, np.random.default_rng(0)).labels
    ):
        votes = np.zeros(CLASSES)
        for rule in method.model.rules:
            tail = method.model.tails(rule)
            if now[i, tail].sum() >= rule.k:
                holds = on[:, tail].sum(1) >= rule.k
                for c in rule.X:
                    votes[c] += (holds & (classes == c)).sum() / holds.sum()
        assert label == (votes.argmax() if votes.any() else -1)


def test_a_network_without_a_rule_does_not_apply():
    words = (
        "no rule from the 4 classes to fire of convolutional saves a bit on 240 images"
    )
    with pytest.raises(NotApplicable, match=words):
        ExplaiNN(theta=0.1).fit(convolutional(), quadrants(), np.random.default_rng(0))


def test_a_layer_without_positions_has_no_maps():
    rng, reference = np.random.default_rng(0), quadrants()
    flat = (
        ExplaiNN(layer="fc1")
        .fit(dense(), reference, rng)
        .explain(dense(), reference[:5], rng)
    )
    assert flat.offers() == {"labels", "size"}


def test_too_few_images_for_a_rule_do_not_apply():
    with pytest.raises(NotApplicable, match="no rule from the 4 classes to fc1"):
        ExplaiNN().fit(dense(), quadrants(8), np.random.default_rng(0))


# --------------------------------------------------------------------------------------------- prototypes


def test_a_prototype_activates_its_units():
    target, batch = dense(), quadrants(40)
    colours, scale = (
        prototypes.Colours.of(batch),
        prototypes.scales(target, batch, "fc1"),
    )
    groups = [(0, 4), (3,)]
    fingerprint = target.fingerprint()
    x = prototypes.maximise(
        target,
        "fc1",
        groups,
        colours,
        np.random.default_rng(0),
        scale=scale,
        steps=48,
        jitter=1,
    )
    assert target.fingerprint() == fingerprint
    assert x.shape == (2, 1, 8, 8)
    assert 0 <= x.min() <= x.max() <= 1
    assert (
        x[0, 0, :4, :4].mean() > x[0, 0, 4:, 4:].mean() + 0.2
    )  # class a's units look at the first quadrant
    assert x[1, 0, 4:, 4:].mean() > x[1, 0, :4, :4].mean() + 0.2
    reached = prototypes.reached(target, "fc1", x, groups, scale)  # (images, groups)
    assert (reached.diagonal() > 0.8).all()
    z = target.features(x, "fc1")[0, list(groups[1])] / scale[list(groups[1])]
    assert reached[0, 1] == pytest.approx(float(z.mean()))
    again = prototypes.maximise(
        target,
        "fc1",
        groups,
        colours,
        np.random.default_rng(0),
        scale=scale,
        steps=48,
        jitter=1,
    )
    assert torch.equal(x, again)


def test_a_prototype_of_pooled_units_is_at_their_place():
    target, batch = dense(), quadrants(40)
    colours = prototypes.Colours.of(batch)
    corner = Units.of(target, batch, "conv", pool=4)  # 2 x 2 quadrants of 3 maps
    assert corner.shape == (3, 2, 2)
    rng = np.random.default_rng(0)
    x = prototypes.maximise(
        target, "conv", [(3,)], colours, rng, pool=4, steps=48, jitter=0
    )
    z = prototypes.reached(target, "conv", x, [(0,), (3,)], pool=4)
    assert z[0, 1] > z[0, 0] and x[0, 0, 4:, 4:].max() > 0.9
    with pytest.raises(ValueError, match=r"units 0\.\.11 of conv"):
        prototypes.maximise(target, "conv", [(12,)], colours, rng, pool=4)


def test_sharpness_and_intensity_by_hand():
    flat, edge = torch.full((3, 2, 2), 0.5), torch.zeros(3, 2, 2)
    edge[0, :, 1] = 1.0  # a red column: right differs by 1 in one of three channels
    x = torch.stack([flat, edge])
    np.testing.assert_allclose(prototypes.sharpness(x), [0, 1 / 6])
    np.testing.assert_allclose(prototypes.intensity(x), [0, 0.5])


def test_scales_colours_and_channels():
    target, batch = dense(), quadrants(40)
    z = target.features(batch, "fc1").numpy()
    np.testing.assert_allclose(
        prototypes.scales(target, batch, "fc1"),
        [c[c > 0].mean() for c in z.T],
        rtol=1e-5,
    )
    colour = Batch(
        x=torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(0)),
        y=torch.zeros(50),
    )
    stats = prototypes.Colours.of(colour)
    pixels = colour.x.transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(stats.L @ stats.L.T, np.cov(pixels), atol=1e-5)
    x = prototypes.maximise(
        convolutional(),
        "fire",
        [(0, 1)],
        prototypes.Colours.of(batch),
        np.random.default_rng(0),
        channels=True,
        side=12,
        steps=4,
    )
    assert x.shape == (1, 1, 12, 12)


@pytest.mark.parametrize("groups", [[], [()], [(12,)], [(-1,)]])
def test_bad_groups_are_refused(groups):
    with pytest.raises(ValueError, match="units 0..11 of fc1"):
        prototypes.maximise(
            dense(),
            "fc1",
            groups,
            prototypes.Colours.of(quadrants(8)),
            np.random.default_rng(0),
        )
