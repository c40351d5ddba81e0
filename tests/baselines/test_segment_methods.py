"""LIME and KernelSHAP: by hand, against scikit-learn, Shapley values by their definition, and captum."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from benchmark.shared.segments import answers, filled, spread, superpixels
from tests.baselines.test_baselines import explain, images, load, network
from tests.baselines.test_pixel_methods import linear, one

LIME, KernelSHAP = load("lime"), load("kernel_shap")
QUARTERS = np.kron(np.arange(4).reshape(2, 2), np.ones((4, 4), int))  # of 8 x 8


@pytest.fixture
def quarters(monkeypatch):
    """Every image has four segments, its quarters."""
    for cls in (LIME, KernelSHAP):
        names = cls.explain.__globals__
        monkeypatch.setitem(names, "superpixels", lambda x, n: torch.tensor(QUARTERS))


def test_segments_are_numbered_from_0_and_follow_the_image():
    x = torch.zeros(3, 32, 32)
    x[:, :, 16:] = 1
    segments = superpixels(x, 8).numpy()
    assert np.array_equal(np.unique(segments), np.arange(segments.max() + 1))
    assert 4 <= segments.max() + 1 <= 12
    left, right = np.unique(segments[:, :15]), np.unique(segments[:, 17:])
    assert not np.intersect1d(left, right).size


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grainy_image_is_cut_into_about_as_many_segments_as_asked(channels):
    grain = torch.from_numpy(np.random.default_rng(0).random((channels, 32, 32)))
    assert 10 <= superpixels(grain.float(), 16).max() + 1 <= 22


def test_what_hides_a_segment_by_hand():
    target = network()  # mean 0.4
    x = torch.tensor([[[0.0, 0.2], [0.6, 1.0]]])
    segments = torch.tensor([[0, 0], [1, 1]])
    assert filled(target, x, segments, "black").tolist() == [[[0, 0], [0, 0]]]
    mean = filled(target, x, segments, "mean").numpy()
    np.testing.assert_allclose(mean, np.full((1, 2, 2), 0.4))
    own = filled(target, x, segments, "segment").numpy()
    np.testing.assert_allclose(own, [[[0.1, 0.1], [0.8, 0.8]]])


def test_answers_to_an_image_with_segments_hidden_by_hand():
    weight = np.zeros((2, 1, 8, 8), np.float32)
    weight[1] = 1  # F = sum (x - 0.5) / 0.5
    target, x = linear(weight), torch.ones(1, 8, 8)
    segments = torch.tensor(QUARTERS)
    hidden = filled(target, x, segments, "mean")
    z = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    given = target, x, hidden, segments, z, torch.tensor(1)
    assert answers(*given, "logit", chunk=2).tolist() == [64, 16, 0]
    probability = 1 / (1 + np.exp(-np.array([64, 16, 0])))
    np.testing.assert_allclose(answers(*given, "probability"), probability)
    assert spread([5, 6, 7, 8], segments)[[0, 0, 7], [0, 7, 7]].tolist() == [5, 6, 8]


# --------------------------------------------------------------------------------------------- LIME


def test_lime_agrees_with_scikit_learn():
    """Eqs. 1 and 2 with the authors' kernel, by the estimator that their code calls."""
    rng = np.random.default_rng(0)
    z = rng.random((80, 7)) < 0.5
    z[0], z[1] = True, False
    f = rng.random(80)
    cosine = np.array([row.sum() / max(np.sqrt(row.sum() * 7), 1e-300) for row in z])
    pi = np.sqrt(np.exp(-((1 - cosine) ** 2) / 0.25**2))
    model = Ridge(alpha=1.0).fit(z, f, sample_weight=pi)
    np.testing.assert_allclose(LIME().weights(z, f), model.coef_, rtol=1e-9)


def test_lime_finds_the_segment_that_the_answer_rests_on(quarters):
    weight = np.zeros((2, 1, 8, 8), np.float32)
    weight[1, 0, :4, :4], weight[1, 0, 4:, 4:] = 1, -0.5
    settings = {"samples": 200, "ridge": 0, "fill": "mean", "output": "logit"}
    image = one(np.ones((1, 8, 8), np.float32))
    maps = explain(LIME(**settings), linear(weight), image).heatmaps
    expected = spread([16, 0, 0, -8], torch.tensor(QUARTERS))
    np.testing.assert_allclose(maps, [expected], atol=1e-4)


def test_segments_of_one_colour_are_not_hidden_by_their_own(quarters):
    """The authors' default says nothing about an image whose segments are uniform."""
    image = np.kron([[0.1, 0.4], [0.7, 1.0]], np.ones((4, 4)))[None].astype(np.float32)
    maps = explain(LIME(samples=50), network(), one(image)).heatmaps
    assert abs(maps).max() < 1e-6
    maps = explain(LIME(samples=50, fill="mean"), network(), one(image)).heatmaps
    assert abs(maps).max() > 1e-3


@pytest.mark.oracle
def test_lime_agrees_with_captum_on_the_same_samples(quarters):
    attr = pytest.importorskip("captum.attr", reason="needs the extra `oracles`")
    models = pytest.importorskip("captum._utils.models.linear_model")
    target, batch = network(3), images(n=1, channels=3)
    c = int(target(batch).argmax())
    rng = np.random.default_rng(int(np.random.default_rng(3).integers(2**63)))
    z = rng.random((60, 4)) < 0.5
    z[0] = True
    rows = iter(torch.from_numpy(z).float())

    def similarity(_, __, row, **___):
        D = 1 - torch.sqrt(row.mean())
        return torch.sqrt(torch.exp(-(D**2) / 0.25**2))

    lime = attr.Lime(
        lambda x: target(x).softmax(1),
        interpretable_model=models.SkLearnRidge(alpha=1.0),
        similarity_func=similarity,
        perturb_func=lambda x, **_: next(rows)[None],
    )
    other = lime.attribute(
        batch.x,
        target=c,
        feature_mask=torch.tensor(QUARTERS)[None, None],
        baselines=torch.full_like(batch.x, 0.4),
        n_samples=60,
    )
    maps = explain(LIME(samples=60, fill="mean"), target, batch, seed=3).heatmaps
    np.testing.assert_allclose(maps, other[:, 0], rtol=1e-3, atol=1e-5)


# --------------------------------------------------------------------------------------------- KernelSHAP


def shapley(value, M):
    """Shapley values (M,) by their definition: the mean marginal contribution over all orders."""
    phi = np.zeros(M)
    orders = list(permutations(range(M)))
    for order in orders:
        present = np.zeros(M, bool)
        for i in order:
            before = value(present)
            present[i] = True
            phi[i] += value(present) - before
    return phi / len(orders)


def test_kernel_shap_is_the_shapley_value_where_all_coalitions_are_taken(quarters):
    target, batch = network(3), images(n=2, channels=3)
    maps = explain(KernelSHAP(samples=14), target, batch).heatmaps  # 2^4 - 2
    segments = torch.tensor(QUARTERS)
    for x, c, found in zip(batch.x, target(batch).argmax(1), maps):
        hidden = filled(target, x, segments, "mean")

        def value(present):
            kept = torch.from_numpy(present)[segments]
            seen = torch.where(kept, x, hidden)  # noqa: B023
            return float(target(seen[None])[0, c])  # noqa: B023

        expected = spread(shapley(value, 4), segments)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("M", [2, 3, 7])
def test_kernel_shap_of_games_by_hand(M):
    """The glove game of three, and games in which everyone is alike."""
    rng = np.random.default_rng(0)
    method = KernelSHAP(samples=200)
    z, pi = method.coalitions(M, rng)
    assert len(z) == 2**M - 2
    every = np.concatenate([np.zeros((1, M)), np.ones((1, M)), z]).astype(bool)
    majority = every.sum(1) > M / 2
    np.testing.assert_allclose(method.values(z, pi, majority * 1.0), 1 / M)
    if M == 3:  # a pair needs the left glove (0) and one of two right ones
        pairs = every[:, 0] & every[:, 1:].any(1)
        values = method.values(z, pi, pairs * 1.0)
        np.testing.assert_allclose(values, [2 / 3, 1 / 6, 1 / 6])


def test_kernel_shap_of_a_single_segment_is_the_whole_difference():
    method = KernelSHAP()
    z, pi = method.coalitions(1, np.random.default_rng(0))
    assert z.shape == (0, 1)
    assert method.values(z, pi, np.array([1.0, 4.0])).tolist() == [3]


def test_kernel_shap_from_samples_comes_close_and_adds_up():
    M, rng = 12, np.random.default_rng(0)
    weight = rng.normal(size=M)

    def game(z):
        return z @ weight + 3 * (z[:, 0] & z[:, 1]) - 2 * (z[:, 2] & z[:, 3])

    pairs = np.array([1.5, 1.5, -1, -1, *[0] * 8])
    ends = np.repeat([[False], [True]], M, axis=1)
    method = KernelSHAP(samples=2000)
    z, pi = method.coalitions(M, rng)
    assert len(z) == 2000
    assert z.sum(1).min() > 0
    assert z.sum(1).max() < M
    found = method.values(z, pi, game(np.concatenate([ends, z])))
    assert found.sum() == pytest.approx(game(ends)[1])
    np.testing.assert_allclose(found, weight + pairs, atol=0.15)


def test_sampled_coalitions_have_the_sizes_of_the_shapley_kernel():
    z, _ = KernelSHAP(samples=20000).coalitions(20, np.random.default_rng(0))
    size = np.arange(1, 20)
    mass = 1 / (size * (20 - size))
    share = np.bincount(z.sum(1), minlength=20)[1:] / len(z)
    np.testing.assert_allclose(share, mass / mass.sum(), atol=0.01)
    np.testing.assert_allclose(z.mean(0), 0.5, atol=1e-12)  # each with its complement


@pytest.mark.oracle
def test_kernel_shap_agrees_with_captum(quarters):
    """captum gives the two ends a large weight in place of the constraint, and draws: so only about."""
    attr = pytest.importorskip("captum.attr", reason="needs the extra `oracles`")
    target, batch = network(3), images(n=1, channels=3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        other = attr.KernelShap(target.__call__).attribute(
            batch.x,
            target=int(target(batch).argmax()),
            feature_mask=torch.tensor(QUARTERS)[None, None],
            baselines=torch.full_like(batch.x, 0.4),
            n_samples=400,
        )
    maps = explain(KernelSHAP(samples=14), target, batch).heatmaps
    np.testing.assert_allclose(maps, other[:, 0], atol=0.05)
    assert abs(maps).max() > 0.2
