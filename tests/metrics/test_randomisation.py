"""Randomisation: hand-computed cases, slow literal twins, oracles for the similarities, and what the controls score."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from benchmark.api import METRICS, Batch, NotApplicable
from benchmark.metrics.randomisation import (
    cascade,
    efficient_mprt,
    entropy,
    mprt,
    noisy_images,
    random_logit,
    similarity,
    smooth_mprt,
    ssim,
)
from benchmark.shared.variants import modules_with_weights
from tests.helpers.calling import (
    explainer,
    grey,
    images,
    network,
    noise,
    of_class,
    saliency,
    value,
)

CORRELATIONS = [(mprt, {"order": "top"}), (mprt, {"order": "bottom"})]
CORRELATIONS += [(smooth_mprt, {"noisy": 3}), (random_logit, {})]
every_correlation = pytest.mark.parametrize(("metric", "setting"), CORRELATIONS)
MAPS = np.random.default_rng(0).integers(-5, 6, (6, 9, 9)).astype(float)  # with ties


# --------------------------------------------------------------------------------------------- similarities


def test_similarity_is_scipys_spearman():
    want = [
        spearmanr(a.ravel(), b.ravel())[0]
        for a, b in zip(MAPS, MAPS[::-1], strict=True)
    ]
    np.testing.assert_allclose(similarity(MAPS, MAPS[::-1]), want, atol=1e-12)
    of_sizes = [
        spearmanr(abs(a).ravel(), abs(b).ravel())[0]
        for a, b in zip(MAPS, MAPS[::-1], strict=True)
    ]
    got = similarity(MAPS, MAPS[::-1], absolute=True)
    np.testing.assert_allclose(got, of_sizes, atol=1e-12)


def test_similarity_to_a_flat_map():
    flat = np.full((1, 9, 9), 2.0)
    assert similarity(MAPS[:1], flat) == 0
    assert np.isnan(similarity(flat, MAPS[:1])).all()
    assert np.isnan(similarity(MAPS[:1], flat * np.nan)).all()


def test_entropy_by_hand():
    half = np.repeat([0.0, 1.0], 8).reshape(1, 4, 4)
    quarters = np.repeat([0.0, 1.0, 2.0, 3.0], 4).reshape(1, 4, 4)
    assert entropy(half, 100) == pytest.approx(np.log(2))
    assert entropy(quarters, 100) == pytest.approx(np.log(4))
    assert entropy(quarters, 2) == pytest.approx(np.log(2))
    assert entropy(np.ones((1, 4, 4)), 100) == 0


def test_ssim_is_that_of_scikit_image_on_scaled_maps():
    a, b = MAPS[0], 7 * MAPS[1]
    a_1, b_1 = a / abs(a).max(), b / abs(b).max()
    span = max(a_1.max(), b_1.max()) - min(a_1.min(), b_1.min())
    assert ssim(a, b) == pytest.approx(structural_similarity(a_1, b_1, data_range=span))
    assert ssim(a, 3 * a) == pytest.approx(1)
    assert ssim(0 * a, 0 * a) == 1


# --------------------------------------------------------------------------------------------- weights


def trained(other, target):
    """Has it the weights of the target, perhaps with another bias?"""
    return other.net.logits.weight is target.net.logits.weight


@pytest.mark.parametrize("order", ["top", "bottom"])
def test_the_slow_twin_of_mprt_agrees(order):
    """Layer after layer, image after image: the gradient of the class that the trained network predicts."""
    target, batch = network(), images()
    seed = int(np.random.default_rng(2).integers(2**63 - 1))
    networks = list(cascade(target, batch, seed, order))[::-1]
    layers = modules_with_weights(target)[:: -1 if order == "top" else 1]
    assert len(networks) == len(layers) == 4
    original = target.net.state_dict()
    for k, other in enumerate(networks, start=1):
        for name in layers:
            weight = other.net.state_dict()[f"{name}.weight"]
            assert torch.equal(weight, original[f"{name}.weight"]) == (
                name not in layers[:k]
            )

    def gradient(target, i, c):
        x = batch.x[i : i + 1].clone().requires_grad_()
        target(x)[0, c].backward()
        return x.grad.abs().sum(1)[0].numpy().ravel()

    want = []
    for i, c in enumerate(target(batch).argmax(1).tolist()):
        phi = gradient(target, i, c)
        want.append(np.mean([spearmanr(phi, gradient(f, i, c))[0] for f in networks]))
    got = value(mprt, saliency, target, batch, order=order)
    np.testing.assert_allclose(got, want, atol=2e-3)


def test_the_unrandomised_network_is_not_in_the_mean():
    """A map that each randomised network turns round has -1, not something above it."""
    target = network()
    turned = lambda other, batch, rng: (
        grey(other, batch, rng) * (1 if trained(other, target) else -1)
    )
    assert value(mprt, turned, target) == pytest.approx(-np.ones(5))
    assert value(smooth_mprt, turned, target, noisy=2) == pytest.approx(-np.ones(5))


def test_deep_networks_are_drawn_in_six_steps():
    layers = [torch.nn.Linear(192, 192) for _ in range(13)]
    net = torch.nn.Sequential(torch.nn.Flatten(), *layers, torch.nn.Linear(192, 4))
    target = type(network())(net, name="deep", classes="abcd", input_shape=(3, 8, 8))
    networks = list(cascade(target, images(), 0, "top"))
    drawn = []
    for other in networks[::-1]:
        pairs = zip(net.parameters(), other.net.parameters(), strict=True)
        drawn.append(sum(not torch.equal(a, b) for a, b in pairs) // 2)
    assert drawn == [3, 6, 8, 10, 12, 14]
    assert mprt.calls == 1 + len(networks)


def test_smooth_mprt_smooths_both_maps():
    """With a map that is linear in the image, the mean over noisy images is that of the mean image."""
    target, batch = network(), images()
    seed = int(np.random.default_rng(2).integers(2**63 - 1))
    once = lambda other, batch, rng: batch.x[:, 0 if trained(other, target) else 1]
    got = value(smooth_mprt, once, target, batch, noisy=4)
    x = np.mean(
        [p.x.numpy() for p in noisy_images(batch, seed, 4, 0.1)], axis=0, dtype=float
    )
    np.testing.assert_allclose(got, similarity(x[:, 0], x[:, 1]), atol=1e-3)


def test_noise_is_a_share_of_each_images_range():
    batch = images(2)
    batch.x[1] *= 0.1
    noisy = np.stack([p.x.numpy() for p in noisy_images(batch, 0, 200, 0.1)])
    spread = (noisy - batch.x.numpy()).std(axis=(0, 2, 3, 4))
    lows, highs = batch.x.amin((1, 2, 3)).numpy(), batch.x.amax((1, 2, 3)).numpy()
    np.testing.assert_allclose(spread, 0.1 * (highs - lows), rtol=0.02)


def test_efficient_mprt_by_hand():
    """Two values become four: the entropy doubles."""
    target, batch = network(), images()

    def method(other, images, rng):
        values = torch.arange(2 if other is target else 4).repeat_interleave(
            32 if other is target else 16
        )
        return values.float().reshape(1, 8, 8).repeat(len(images), 1, 1)

    assert value(efficient_mprt, method, target, batch) == pytest.approx(np.ones(5))
    flat = lambda other, images, rng: torch.zeros(len(images), 8, 8)
    assert np.isnan(value(efficient_mprt, flat, target, batch)).all()


@pytest.mark.parametrize("method", [grey, noise])
@every_correlation
def test_a_map_that_ignores_the_network_is_the_worst(metric, setting, method):
    np.testing.assert_allclose(value(metric, method, **setting), 1, atol=1e-9)
    assert value(efficient_mprt, method) == pytest.approx(np.zeros(5))


@every_correlation
def test_a_map_that_follows_the_network_is_better(metric, setting):
    assert value(metric, saliency, **setting).mean() < 0.95


@pytest.mark.parametrize("metric", [mprt, smooth_mprt, efficient_mprt])
def test_the_class_that_is_explained_stays_that_of_the_trained_network(metric):
    target, batch = network(), images()
    explain = explainer(of_class, target)
    rng = np.random.default_rng(2)
    setting = {"noisy": 2} if metric is smooth_mprt else {}
    values = metric(explain(batch), target, batch, rng, explain=explain, **setting)
    assert values == pytest.approx(
        np.zeros(5) if metric is efficient_mprt else np.ones(5)
    )
    for part, other, fit in explain.asked:
        if fit is not None:
            assert other.net is not target.net
            c = (other(part.x)).argmax(1)
            at = [batch.ids.tolist().index(i) for i in part.ids.tolist()]
            assert torch.equal(c, target(batch).argmax(1)[at])


def test_randomised_networks_serve_all_metrics_and_methods():
    target, batch = network(), images()
    made = []
    for method in (saliency, grey):
        for metric, setting in [*CORRELATIONS[:3], (efficient_mprt, {})]:
            explain = explainer(method, target)
            rng = np.random.default_rng(2)
            metric(explain(batch), target, batch, rng, explain=explain, **setting)
            made.append({fit for _, _, fit in explain.asked} - {None})
    assert made[:4] == made[4:]
    assert made[2] == made[3] and made[2] < made[0] and made[2] < made[1]
    assert len(set().union(*made)) == 4 + 3


# --------------------------------------------------------------------------------------------- classes


def test_random_logit_by_hand():
    """One pixel of 64 moves: SSIM of both maps."""
    target, batch = network(), images(12)
    got = value(random_logit, of_class, target, batch)
    explain = explainer(of_class, target)
    random_logit(
        explain(batch), target, batch, np.random.default_rng(2), explain=explain
    )
    y = target(batch).argmax(1)
    others = {}
    for part, other, _ in explain.asked[1:]:
        if other is not None:
            others |= dict(
                zip(part.ids.tolist(), other(part.x).argmax(1).tolist(), strict=True)
            )
    y_other = torch.tensor([others[i] for i in batch.ids.tolist()])
    assert (y_other != y).all() and len(set(y_other.tolist())) > 1
    a, b = np.zeros((12, 64)), np.zeros((12, 64))
    a[range(12), y], b[range(12), y_other] = 1, 1
    want = [
        structural_similarity(p.reshape(8, 8), q.reshape(8, 8), data_range=1)
        for p, q in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(got, want)


def test_another_class_needs_one():
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 1))
    target = type(network())(net, name="one", classes="a", input_shape=(3, 8, 8))
    with pytest.raises(NotApplicable, match="one class"):
        value(random_logit, grey, target)


# --------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize(("metric", "setting"), [*CORRELATIONS, (efficient_mprt, {})])
def test_images_in_another_order_give_the_same_values(metric, setting):
    target, batch = network(), images()
    want = value(metric, saliency, target, batch, **setting)
    order = [3, 1, 4, 0, 2]
    np.testing.assert_allclose(
        value(metric, saliency, target, batch[order], **setting), want[order], atol=5e-3
    )
    alone = [
        value(metric, saliency, target, batch[[i]], **setting)[0] for i in range(5)
    ]
    np.testing.assert_allclose(alone, want, atol=5e-3)


@pytest.mark.parametrize("metric", [mprt, smooth_mprt, efficient_mprt, random_logit])
def test_they_ask_within_what_they_declare_and_leave_the_network_alone(metric):
    target, batch = network(), images()
    mark = target.fingerprint()
    for setting in METRICS[metric.name].settings:
        explain = explainer(saliency, target)
        e, rng = explain(batch), np.random.default_rng(2)
        first = metric(e, target, batch, rng, explain=explain, **setting)
        seen = sum(len(images) for images, _, _ in explain.asked[1:])
        assert seen <= metric.calls * len(batch)
        again = Batch(batch.x, batch.y, batch.ids)
        rng = np.random.default_rng(2)
        second = metric(e, target, again, rng, explain=explain, **setting)
        assert first.tobytes() == second.tobytes()
    assert target.fingerprint() == mark
