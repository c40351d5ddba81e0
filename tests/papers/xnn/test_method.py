"""XNN: Eq. 5 against a literal twin in float64, training alone and together, maps, experiments, verdicts, bad input."""

import functools
import itertools
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark.api import NotApplicable, Target
from benchmark.papers.xnn import maps, srae
from benchmark.papers.xnn import network as network_module
from benchmark.papers.xnn.method import XNN
from benchmark.papers.xnn.network import Setting, pull_away
from benchmark.shared import excitation_backprop
from benchmark.zoo import nets
from tests.helpers.xnn import SMALL, images, network


def layer(M=160, d=10, K=4, seed=0):
    """Z (M, d) >= 0, logits (M, K) that are sums of its units, labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(M) % K
    Z = np.maximum(rng.normal(size=(M, d)), 0)
    Z[np.arange(M), labels] += 2
    Z[np.arange(M), labels + K] += 1.5
    y = 2 * Z[:, :K] + Z[:, K : 2 * K]
    return (
        torch.from_numpy(Z).float(),
        torch.from_numpy(y).float(),
        torch.from_numpy(labels),
    )


def data(**kwargs):
    Z, y, labels = layer(**kwargs)
    return srae.examples(Z, y, labels, None, np.random.default_rng(1))


# --------------------------------------------------------------------------------------------- Eq. 5


def literal_loss(params, k, Z, y, w, setting, beta, eta):
    """Eq. 5 for class k, word by word: Z (M, d), y (M,), w (M,)."""

    def dense(x, W, b):
        return [
            max(0.0, sum(x[i] * float(W[i, j]) for i in range(len(x))) + float(b[0, j]))
            for j in range(W.shape[1])
        ]

    depth = len(setting.hidden) + 1
    E, rebuilt = [], []
    for z in Z.tolist():
        for i in range(depth):
            z = dense(z, params[f"W{i}"][k], params[f"b{i}"][k])
        E.append(z)
        for i in range(depth):
            z = dense(z, params[f"U{i}"][k], params[f"c{i}"][k])
        rebuilt.append(z)
    M, n, d = len(E), setting.n, Z.shape[1]
    v, b = params["v"][k, :, 0].tolist(), float(params["b"][k, 0, 0])
    y_ = [sum(v[j] * E[i][j] for j in range(n)) + b for i in range(M)]
    faithful = sum(float(w[i]) * (y_[i] - float(y[i])) ** 2 for i in range(M)) / M
    Q = [
        sum((rebuilt[i][j] - float(Z[i, j])) ** 2 for i in range(M)) / M
        for j in range(d)
    ]
    penalty = [
        math.log(1 + setting.q * q) if setting.reconstruct == "log" else q for q in Q
    ]
    if setting.pull_away == "features":
        vectors = [[E[i][j] for i in range(M)] for j in range(n)]
    else:
        vectors = [[v[j] * E[i][j] + 1e-8 for j in range(n)] for i in range(M)]
    pull = 0.0
    for a in range(len(vectors)):
        for c in range(len(vectors)):
            if a != c:
                dot = sum(p * q for p, q in zip(vectors[a], vectors[c], strict=True))
                norms = math.sqrt(
                    sum(p * p for p in vectors[a]) * sum(q * q for q in vectors[c])
                )
                pull += (dot / norms) ** 2 if norms > 0 else 0.0
    pull /= len(vectors) * (len(vectors) - 1)
    return faithful * setting.faithful + beta * sum(penalty) / d + eta * pull


@pytest.mark.parametrize("reconstruct", ["log", "mean"])
@pytest.mark.parametrize("pull_away", ["features", "images"])
def test_the_loss_is_equation_5(reconstruct, pull_away):
    setting = Setting(
        **SMALL | {"hidden": (5, 4)}, reconstruct=reconstruct, pull_away=pull_away
    )
    params = {k: v.double() for k, v in srae.initial(6, 1, 1, setting, [3, 4]).items()}
    rng = np.random.default_rng(0)
    Z, y = (
        torch.from_numpy(rng.random((2, 7, 1, 6)) * 3),
        torch.from_numpy(rng.normal(size=(2, 7, 1))),
    )
    w = torch.from_numpy(rng.random((2, 7)) + 1)
    beta, eta = torch.tensor([1.5, 0.5]).double(), torch.tensor([2.0, 1.0]).double()
    got = srae.loss(params, Z, y, w, setting, beta, eta)
    for k in range(2):
        want = literal_loss(
            params,
            k,
            Z[k, :, 0],
            y[k, :, 0],
            w[k],
            setting,
            float(beta[k]),
            float(eta[k]),
        )
        assert got[k].item() == pytest.approx(want, rel=1e-9)


def test_pull_away_by_hand():
    E = torch.tensor(
        [[[[1.0, 0.0, 1.0]], [[0.0, 2.0, 1.0]]]]
    )  # (1, 2 images, 1 position, 3 features)
    v = torch.ones(1, 3, 1)
    # features (1, 0), (0, 2), (1, 1): cosines 0, 1/sqrt 2, 1/sqrt 2
    assert pull_away(E, v).item() == pytest.approx((0.5 + 0.5) * 2 / 6)
    # images (1, 0, 1), (0, 2, 1): cosine 1 / (sqrt 2 sqrt 5)
    assert pull_away(E, v, "images").item() == pytest.approx(0.1, rel=1e-5)
    dead = E.clone()
    dead[..., 2] = 0
    assert pull_away(dead, v).item() == 0


def test_pull_away_of_images_sees_what_v_sees():
    """On a pooled map an image is the vector of v_l E_l after pooling."""
    rng = np.random.default_rng(0)
    E = torch.from_numpy(rng.random((1, 2, 4, 3)))  # 2 images, a 2 x 2 map, 3 features
    setting = Setting(**SMALL, pull_away="images")
    params = {"v": torch.from_numpy(rng.normal(size=(1, 3, 1)))}
    a, b = (E[0, i].amax(0) * params["v"][0, :, 0] for i in range(2))
    cosine = a @ b / (a.norm() * b.norm())
    seen = network_module.pooled(E, (2, 2))
    got = pull_away(seen, params["v"], setting.pull_away)
    assert got.item() == pytest.approx(cosine.item() ** 2, rel=1e-6)


@pytest.mark.parametrize("axis", ["features", "images"])
def test_a_pooled_map_trains_with_either_pull_away(axis):
    rng = np.random.default_rng(0)
    Z = torch.from_numpy(rng.random((40, 16, 5))).float()
    d = srae.examples(Z, Z[:, :2, 0] * 3, torch.arange(40) % 2, None, rng)
    xnn = srae.fit(d, Setting(**SMALL, pull_away=axis), rng, pool=(4, 4))
    assert torch.isfinite(xnn.logits(Z)).all()


def test_switched_off_terms_have_no_share():
    setting, zero = Setting(**SMALL), torch.zeros(2)
    params = srae.initial(6, 1, 1, setting, [0, 1])
    Z, y, w = (
        torch.rand(2, 5, 1, 6, generator=torch.Generator().manual_seed(0)),
        torch.ones(2, 5, 1),
        torch.ones(2, 5),
    )
    y_ = srae.forward(params, Z)[0]
    torch.testing.assert_close(
        srae.loss(params, Z, y, w, setting, zero, zero), ((y_ - y) ** 2).mean((1, 2))
    )
    cae = replace(setting, faithful=False, reconstruct="mean")
    Z_ = srae.forward(params, Z)[2]
    torch.testing.assert_close(
        srae.loss(params, Z, y, w, cae, zero + 1, zero), ((Z_ - Z) ** 2).mean((1, 2, 3))
    )


def test_weights_of_positives():
    d = data()
    assert d.positive.sum(1).tolist() == [40] * 4
    assert d.weights[d.positive].unique().tolist() == [3]  # 120 negatives, 40 positives
    assert d.weights[~d.positive].unique().tolist() == [1]
    few = replace(
        d, positive=torch.zeros_like(d.positive).index_fill(1, torch.tensor([0]), True)
    )
    assert few.weights.max() == srae.CAP


def test_examples_are_one_against_others():
    Z, y, labels = layer()
    d = srae.examples(Z, y, labels, 25, np.random.default_rng(0))
    assert d.rows.shape == (4, 65)
    for k in range(4):
        assert len(set(d.rows[k].tolist())) == 65
        assert set((labels == k).nonzero()[:, 0].tolist()) <= set(d.rows[k].tolist())
        torch.testing.assert_close(d.y[k, :, 0], y[d.rows[k], k])
        held = d.positive[k, : round(srae.HELD_OUT * 65)]
        assert held.sum() == 4  # a tenth of the positives is held out
    torch.testing.assert_close(d.Z(d.rows[:, :3]), Z[d.rows[:, :3]][:, :, None])


# --------------------------------------------------------------------------------------------- training


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_together_is_as_alone(float64):
    """Weights and epochs of each class are those of its own training; in float64, for training
    makes rounding larger."""
    Z, y, labels = (
        tensor.double() if tensor.is_floating_point() else tensor for tensor in layer()
    )
    d, setting = (
        srae.examples(Z, y, labels, None, np.random.default_rng(1)),
        Setting(**SMALL | {"patience": 1, "epochs": 15, "lr": 0.03}),
    )
    seeds, beta, eta = (
        torch.tensor([5, 6, 7, 8]),
        torch.full((4,), 1.0),
        torch.full((4,), 1.0),
    )
    together, epochs = srae._train(d, setting, seeds, 9, beta, eta, None)
    for k in range(4):
        part = d.of(torch.tensor([k]))
        alone, took = srae._train(part, setting, seeds[[k]], 9, beta[:1], eta[:1], None)
        assert took[0] == epochs[k]
        for name in together:
            torch.testing.assert_close(
                together[name][[k]], alone[name], atol=1e-7, rtol=1e-7
            )
    assert len(set(epochs.tolist())) > 1  # they stop each at their own time


@pytest.mark.parametrize("positions, most", [(1, 3), (1, 1), (2, 2)])
def test_a_stack_in_parts_is_the_stack(float64, monkeypatch, positions, most):
    """Restarts and early stops included: each class has its own seed, and all see one order of examples."""
    Z, y, labels = layer()
    Z = Z.double().reshape(len(Z), positions, -1)
    setting = Setting(
        **SMALL | {"patience": 1, "epochs": 10, "lr": 0.03, "restarts": 1}
    )
    data = srae.examples(Z, y.double(), labels, None, np.random.default_rng(1))
    whole = srae.fit(data, setting, np.random.default_rng(2))
    assert not srae._parts(data, setting)
    sizes, stacks, plain = [Z.shape[2], *setting.hidden, setting.n], [], srae._descend
    weights = sum(a * b for a, b in pairwise(sizes))
    monkeypatch.setattr(
        srae,
        "STACK",
        most * 4 * (8 * weights + 2 * sum(sizes) * positions * setting.batch),
    )
    monkeypatch.setattr(
        srae,
        "_descend",
        lambda params, *args: stacks.append(len(params["v"])) or plain(params, *args),
    )
    parts = srae.fit(data, setting, np.random.default_rng(2))
    assert max(stacks) == most and len(stacks) > 2
    assert parts.trained.equal(whole.trained) and parts.epochs.equal(whole.epochs)
    for name, tensor in whole.params.items():
        torch.testing.assert_close(parts.params[name], tensor, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_algorithm_1(decay):
    """Kingma and Ba, word by word in float64: alpha = .01, beta1 = .9, beta2 = .999; a weight
    without a gradient stays."""
    rng = np.random.default_rng(0)
    p, m, v = rng.normal(size=(4, 5)), np.zeros((4, 5)), np.zeros((4, 5))
    ours = {"W": torch.from_numpy(p.copy()), "U": torch.ones(3)}
    moments = [
        {name: torch.zeros_like(tensor) for name, tensor in ours.items()}
        for _ in range(2)
    ]
    for t in range(1, 6):
        given = rng.normal(size=(5, 4)).T  # not contiguous
        g = given + decay * p
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p = p - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        srae._adam(
            ours, {"W": torch.from_numpy(given), "U": None}, moments, t, 0.01, decay
        )
        np.testing.assert_allclose(ours["W"], p, rtol=1e-12)
    assert ours["U"].tolist() == [1, 1, 1]


@functools.cache
def fitted(name="SRAE", **more):
    setting = srae.settings_for(name, SMALL | {"epochs": 20, "lr": 0.01} | more)
    return srae.fit(data(M=160), setting, np.random.default_rng(0))


def test_ablations_are_trained_as_long_and_as_often():
    """They differ from SRAE in terms of the loss alone."""
    terms = {"beta", "eta", "reconstruct", "faithful"}
    for name in srae.ABLATIONS:
        differ = {
            key
            for key, value in vars(srae.settings_for(name, SMALL)).items()
            if value != getattr(srae.settings_for("SRAE", SMALL), key)
        }
        assert differ <= terms
    xnn = fitted("NN", restarts=0)
    assert xnn.epochs.max() <= 20 and xnn.setting.pretrain == 6


def freg(xnn):
    Z, y, _ = layer(M=80, seed=5)
    return (xnn.predict(Z)[..., 0] - y).abs().mean().item()


def test_faithful_methods_are_and_an_autoencoder_is_not():
    _, y, _ = layer(M=80, seed=5)
    constant = (y - y.mean(0)).abs().mean().item()
    values = {name: freg(fitted(name, restarts=1)) for name in srae.ABLATIONS}
    assert max(values[name] for name in ("SRAE", "NN", "SAE")) < constant / 3
    assert values["CAE"] > 1.3 * values["SRAE"]


def test_the_autoencoders_weights_are_least_squares():
    xnn, d = fitted("CAE"), data(M=160)
    for k in range(4):
        E = xnn.encode(d.Z(d.rows[[k]])[0], k)[-1][:, 0]
        residual = d.weights[k] * (
            E @ xnn.params["v"][k, :, 0] + xnn.params["b"][k, 0, 0] - d.y[k, :, 0]
        )
        assert abs(residual.mean().item()) < 1e-3
        assert (E.T @ residual / len(E)).abs().max() < 1e-2


def test_the_sparse_penalty_rebuilds_some_dimensions_only():
    d = data(M=160)
    share = {}
    for name in ("SRAE", "NN"):
        xnn = fitted(name, beta=5.0) if name == "SRAE" else fitted(name)
        Z = d.Z(d.rows)
        Q = ((srae.forward(xnn.params, Z)[2] - Z) ** 2).mean((1, 2)) / Z.var((1, 2))
        share[name] = (Q < 0.5).float().mean().item()
    assert 0.1 < share["SRAE"] < 1
    assert share["NN"] == 0


def test_contributions_add_up_to_the_logit():
    xnn = fitted()
    Z, _, _ = layer(M=20)
    for k in range(4):
        total = xnn.contributions(Z, k).sum(1) + xnn.params["b"][k, 0, 0]
        torch.testing.assert_close(total, xnn.predict(Z)[:, k, 0])


def test_restarts_train_again_what_was_not_accepted():
    once, again = fitted(), fitted(restarts=2)
    d = data(M=160)
    ok = srae.accepted(once, d)
    assert ok.tolist() == [bool(t == 1) for t in again.trained.tolist()]
    assert again.trained.max() <= 3
    for k in ok.nonzero()[:, 0].tolist():
        torch.testing.assert_close(again.params["v"][k], once.params["v"][k])
    loud = srae.XNN({**once.params, "v": once.params["v"] * 0 + 1}, once.setting)
    for k in range(4):
        means = (
            loud.contributions(d.Z(d.rows[[k]])[0][d.positive[k]], k)
            .mean(0)
            .sort(descending=True)
            .values
        )
        assert srae.accepted(loud, d)[k] == bool(
            means[1] > 0 and means[1] / means[0] >= 0.3
        )


def test_a_training_is_shared_where_only_acceptance_differs(monkeypatch):
    d, setting, done, calls = (
        data(M=160),
        Setting(**SMALL | {"epochs": 3, "pretrain": 0, "restarts": 1}),
        {},
        [],
    )
    train = srae._train
    monkeypatch.setattr(
        srae,
        "_train",
        lambda *arguments: calls.append(len(arguments[0].rows)) or train(*arguments),
    )
    srae.fit(d, setting, np.random.default_rng(0), done=done)
    live, calls[:] = replace(setting, accept="live"), []
    shared, again = srae.fit(d, live, np.random.default_rng(0), done=done), calls.copy()
    calls.clear()
    alone = srae.fit(d, live, np.random.default_rng(0))
    assert calls == [4, *again]  # the first training, of all classes, was there
    assert all(
        torch.equal(shared.params[name], alone.params[name]) for name in alone.params
    )
    assert shared.trained.tolist() == alone.trained.tolist()


def test_one_network_for_all_classes():
    Z, y, _ = layer(M=160)
    xnn = srae.fit(
        srae.together(Z, y),
        Setting(**SMALL | {"n": 7, "epochs": 60, "lr": 0.01}),
        np.random.default_rng(0),
    )
    y_ = xnn.predict(Z)
    assert y_.shape == (160, 1, 4)
    assert (y_[:, 0].argmax(1) == y.argmax(1)).float().mean() > 0.9


def test_a_convolutional_xnn_is_dense_over_positions():
    rng = np.random.default_rng(0)
    Z = torch.from_numpy(rng.random((40, 16, 5))).float()  # 4 x 4 positions, 5 maps
    y = torch.stack([Z[:, 0, 0] * 3, Z[:, 5, 1] * 3], 1)
    d = srae.examples(Z, y, torch.arange(40) % 2, None, rng)
    xnn = srae.fit(d, Setting(**SMALL), rng, pool=(4, 4))
    assert xnn.params["v"].shape == (2, 4 * 3, 1)
    W, b = xnn.layers(1)[0]
    conv = nn.Conv2d(5, 12, 1)
    conv.weight.data, conv.bias.data = W.T[:, :, None, None], b
    image = Z.mT.reshape(40, 5, 4, 4)
    torch.testing.assert_close(
        xnn.encode(Z, 1)[0].mT.reshape(40, 12, 4, 4), conv(image).relu()
    )
    E = xnn.encode(Z, 1)[-1].mT.reshape(40, 3, 4, 4)
    pooled = F.max_pool2d(E, 2).flatten(2).mT.flatten(1)  # positions first
    torch.testing.assert_close(
        xnn.predict(Z)[:, 1], pooled @ xnn.params["v"][1] + xnn.params["b"][1]
    )
    torch.testing.assert_close(
        xnn.contributions(Z, 1).sum(1) + xnn.params["b"][1, 0, 0],
        xnn.predict(Z)[:, 1, 0],
    )


def test_an_encoder_of_one_convolution():
    """Sec. 4.4: no hidden layer; an x-feature's c-MWP is that of its own weights at each position."""
    rng, t, x = np.random.default_rng(0), network(), images(3).x
    at = maps.convolutional(t, x, "pool1")
    b = images(40)
    d = srae.examples(at(t, b), t(b), b.y, None, rng)
    setting = Setting(**SMALL | {"hidden": ()})
    xnn = srae.fit(d, setting, rng, pool=at.side)
    assert setting.encoder_weights(5) == 5 * 3
    assert {name for name in xnn.params if name[0] in "WU"} == {"W0", "U0"}
    assert xnn.params["W0"].shape == (4, 5, 3)
    Z = at(t, x)  # (3, 16, 5)
    E = (Z @ xnn.params["W0"][1] + xnn.params["b0"][1]).relu()
    torch.testing.assert_close(xnn.features(Z, 1), E)
    P = maps.walkers(xnn, Z, 1, at)
    assert P.shape == (3, 3, 5, *at.side)  # x-features, images, channels
    own = excitation_backprop.contrast(xnn.params["W0"][1].T, Z[0])  # (3, 16, 5)
    start = maps._start(E.movedim(2, 0), "map")[:, 0, :, None]
    want = (own * start).mT.reshape(3, 5, *at.side)
    torch.testing.assert_close(P[:, 0], want)


# --------------------------------------------------------------------------------------------- bad input


def test_a_class_without_positives_is_named():
    Z, y, labels = layer()
    rows, names = labels != 2, ["gull", "tern", "heron", "egret"]
    with pytest.raises(
        ValueError, match="class heron has no positives among the 120 images"
    ):
        srae.examples(
            Z[rows], y[rows], labels[rows], None, np.random.default_rng(0), names
        )


def test_a_class_without_negatives_is_refused():
    Z, y, labels = layer()
    with pytest.raises(ValueError, match="no negatives"):
        srae.examples(Z, y[:, :1], labels * 0, None, np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong", [{"reconstruct": "l1"}, {"pull_away": "rows"}, {"n": 0}, {"batch": 1}]
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValueError, match="is .log. or|is .features. or|at least 1"):
        Setting(**wrong)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant is 'SRAE' or"):
        XNN(variant="PCA")


def test_a_layer_of_the_wrong_kind_is_refused():
    with pytest.raises(
        ValueError, match="conv2 of tiny is not dense: its output is 6x4x4"
    ):
        maps.find(network(), images().x, "conv2")
    with pytest.raises(ValueError, match="fc1 of tiny has no positions"):
        maps.convolutional(network(), images().x, "fc1")


def test_a_network_of_logits_alone_does_not_apply():
    linear = Target(
        nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(192, 2))),
        name="linear",
        classes="ab",
        input_shape=(3, 8, 8),
    )
    with pytest.raises(NotApplicable, match="no layer below its logits"):
        maps.find(linear, images().x)


# --------------------------------------------------------------------------------------------- maps, the plug-in


@pytest.mark.parametrize("dense", [True, False])
def test_the_plug_in(dense):
    t, method = network(dense), XNN(n=3, hidden=(12, 6), epochs=10, restarts=1)
    fingerprint, state = t.fingerprint(), torch.get_rng_state()
    e = method.fit(t, images(), np.random.default_rng(0)).explain(
        t, images(9, 1), np.random.default_rng(0)
    )
    assert e.concept_maps.shape == (9, 3, 8, 8)
    assert e.scores.shape == (9, 4)
    sums = e.concept_maps.sum((2, 3))
    assert (np.isclose(sums, 1, atol=1e-4) | (sums == 0)).all()
    np.testing.assert_array_equal(e.labels, e.scores.argmax(1))
    assert e.size["x-features"] == 3
    assert 0 <= e.size["silent share"] <= 1
    assert e.heatmaps.min() >= 0
    assert t.fingerprint() == fingerprint
    assert torch.equal(torch.get_rng_state(), state)
    again = XNN(n=3, hidden=(12, 6), epochs=10, restarts=1).fit(
        t, images(), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(
        again.explain(t, images(9, 1), np.random.default_rng(0)).scores, e.scores
    )


def test_the_plug_in_maps_every_x_feature_or_those_that_are_active():
    t, batch, rng = network(), images(9, 1), np.random.default_rng(0)
    found = {}
    for silent in ("map", "zero"):
        method = XNN(n=3, hidden=(12, 6), epochs=10, restarts=1, silent=silent)
        found[silent] = method.fit(t, images(), np.random.default_rng(0))
        found[silent] = found[silent].explain(t, batch, rng)
    share = found["map"].size["silent share"]
    empty = {k: (e.concept_maps.sum((2, 3)) == 0).mean() for k, e in found.items()}
    assert share > 0 and empty["zero"] >= share > empty["map"]
    np.testing.assert_allclose(  # a silent x-feature adds nothing
        found["map"].heatmaps, found["zero"].heatmaps, atol=1e-6
    )


def test_which_layer_is_explained():
    x = images(2).x
    assert maps.find(network(), x) == maps.Layer("fc1")
    assert maps.find(network(), x, "flatten") == maps.Layer("flatten")
    assert maps.find(network(dense=False), x) == maps.Layer("conv2", average=True)
    t, pooled = network(dense=False), maps.Layer("conv2", average=True)
    torch.testing.assert_close(pooled(t, x), t.features(x, "conv2").mean((2, 3)))


def test_squeezenet_with_a_dense_layer_is_explained_there():
    net = nets.build("squeezenet1_0", (3, 64, 64), 5, {"dense": 12}, seed=0)
    t = Target(
        net, name="squeeze", classes="abcde", input_shape=(3, 64, 64), layer="fire9"
    )
    x = torch.from_numpy(np.random.default_rng(0).random((2, 3, 64, 64))).float()
    assert t.layers[-3:] == ("pool9", "fc10", "logits") and maps.find(
        t, x
    ) == maps.Layer("fc10")
    Z = maps.find(t, x)(t, x)
    assert Z.shape == (2, 12) and Z.min() >= 0
    torch.testing.assert_close(
        t.features(x, "pool9"), t.features(x, "fire9").mean((2, 3))
    )
    torch.testing.assert_close(t(x), Z @ net.logits[-1].weight.T + net.logits[-1].bias)
    seen = maps.z_maps(t, x, torch.tensor([3, 7]), maps.find(t, x))
    assert seen.shape == (2, 2, 64, 64) and seen.min() >= 0
    plain = nets.build("squeezenet1_0", (3, 64, 64), 5, {}, seed=0)
    theirs = (
        plain.state_dict()
    )  # up to fire9 the same names and, from the same seed, weights
    assert all(
        torch.equal(v, theirs[k])
        for k, v in net.state_dict().items()
        if k.startswith(("conv1.", "fire"))
    )


def literal_winners(P, W, a):
    """Eq. 10, one layer down: each winner shares its probability among the inputs a that excite it."""
    new = torch.zeros(len(a))
    for i in range(len(P)):
        share = W[:, i].clamp(min=0) * a
        if share.sum() > 0:
            new += P[i] * share / share.sum()
    return new


def with_a_silent_feature():
    """(a network, three images, its explanation network, whose first x-feature is 0 on all of them)."""
    t, x = network(), images(3).x
    known = srae.together(t.features(images().x, "fc1"), t(images().x))
    xnn = srae.fit(known, Setting(**SMALL), np.random.default_rng(0))
    xnn.params["b2"][0, 0, 0] = -1e3
    return t, x, xnn


@pytest.mark.parametrize("silent", ["map", "zero"])
def test_maps_of_x_features_literally(silent):
    """c-MWP at the inputs of the x-layer, Eq. 10 through the encoder, then the network's own rules."""
    t, x, xnn = with_a_silent_feature()
    got = maps.feature_maps(xnn, t, x, 0, maps.Layer("fc1"), silent=silent)
    assert xnn.silent(t.features(x, "fc1"), 0)[:, 0].all()
    assert bool(got[0].any()) == (silent == "map")
    Z, ((W0, b0), (W1, b1), (W2, b2)) = t.features(x, "fc1"), xnn.layers(0)
    h0 = (Z @ W0 + b0).relu()
    h1 = (h0 @ W1 + b1).relu()
    E = (h1 @ W2 + b2).relu()
    for m, n in itertools.product(range(3), repeat=2):
        up, down = W2[:, n].clamp(min=0) * h1[m], (-W2[:, n]).clamp(min=0) * h1[m]
        P = up / up.sum().clamp(min=1e-30) - down / down.sum().clamp(min=1e-30)
        start = 1 if silent == "map" else float(E[m, n] > 0)
        P = literal_winners(P * start, W1, h0[m])
        P = literal_winners(P, W0, Z[m])
        want = excitation_backprop.unit_maps(t, x[m : m + 1], P[None, None], "fc1")[
            0, 0
        ]
        torch.testing.assert_close(got[n, m], want, atol=1e-5, rtol=1e-4)


def test_walkers_of_a_map_start_in_proportion_to_the_x_feature():
    """Where it is silent they start at all positions alike, or nowhere."""
    E = torch.tensor([[[3.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])  # 2 images, 3 positions
    assert maps._start(E, "zero").tolist() == [[[0.75, 0.25, 0], [0, 0, 0]]]
    alike = torch.tensor([[[0.75, 0.25, 0], [1 / 3] * 3]])
    torch.testing.assert_close(maps._start(E, "map"), alike)


def test_walkers_that_are_nowhere_have_no_map():
    t, x = network(), images(3).x
    P = torch.rand(4, 3, 20, generator=torch.Generator().manual_seed(0))
    P[1] = 0
    got = maps.down(t, x, P, maps.Layer("fc1"))
    assert not got[1].any()
    torch.testing.assert_close(got, excitation_backprop.unit_maps(t, x, P, "fc1"))
    assert not maps.down(t, x, P[1:2], maps.Layer("fc1")).any()


def test_maps_of_units_of_z():
    t, x = network(), images(3).x
    units = torch.tensor([2, 7])
    got = maps.z_maps(t, x, units, maps.Layer("fc1"))
    a = t.features(x, "flatten")
    P = excitation_backprop.contrast(t.net.fc1[0].weight[units], a)
    torch.testing.assert_close(got, excitation_backprop.unit_maps(t, x, P, "flatten"))
    plain = maps.z_maps(
        network(dense=False), x, units[:1], maps.Layer("conv2", average=True)
    )
    assert plain.shape == (1, 3, 8, 8)
    assert plain.max() > 0


def test_normalised_maps():
    S = maps.normalised(torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]]))
    assert S.tolist() == [[[0.25, 0.75]], [[0, 0]]]


def test_a_gpu_is_given_as_many_classes_as_it_holds():
    """Given pool1 of CUB (64 channels at 112 x 112) and an 80 GB GPU: all classes of a dense layer, few of the map."""
    setting = srae.Setting(hidden=(64, 16), batch=32)
    share = 0.7 * 80e9
    map_ = srae.at_once(64, 112 * 112, 530, setting, "cuda", share)
    dense = srae.at_once(4096, 1, 8030, srae.Setting(), "cuda", share)
    per_class = (
        4 * 2 * (64 + 64 + 64 + 16 + 5) * 112 * 112 * 132
    )  # a quarter of 530 examples, their activations and errors
    assert map_ == int(share // (per_class + 4 * 4 * 2 * (64 * 64 + 64 * 16 + 16 * 5)))
    assert 1 < map_ < 200 < dense
    assert srae.at_once(64, 112 * 112, 530, setting, "cuda", 1e6) == 1
