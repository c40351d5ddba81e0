"""Robustness: a hand-computed case, a slow literal twin, what must not matter, and what the controls score."""

import numpy as np
import pytest
import torch

from benchmark.api import METRICS, Explanation
from benchmark.metrics.robustness import (
    average_sensitivity,
    max_sensitivity,
    neighbours,
    relative_output_stability,
)
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

ALL = (average_sensitivity, max_sensitivity, relative_output_stability)


def test_a_case_by_hand():
    """Phi(x) has the norm 5; every second neighbour's differs by 3 in one pixel, the others' by 1 in another."""
    target, batch = network(), images(2)
    turn = iter(range(100))

    def method(target, images, rng):
        maps = torch.zeros(len(images), 8, 8)
        maps[:, 0, 0], maps[:, 0, 1] = 3.0, 4.0
        if images is not batch:
            k = next(turn) % 2
            maps[:, 0, 0] += 3.0 * k
            maps[:, 5, 5] += 1.0 - k
        return maps

    few = {"radius": 1e-4, "draws": 4}  # too near to change the class
    assert value(max_sensitivity, method, target, batch, **few) == pytest.approx(
        [0.6, 0.6]
    )
    assert value(average_sensitivity, method, target, batch, **few) == pytest.approx(
        [0.4, 0.4]
    )
    absolute = value(max_sensitivity, method, target, batch, **few, relative=False)
    assert absolute == pytest.approx([3.0, 3.0])
    # ||(0 - 1) / eps|| = 1e6 where the pixel of 0 changes, ||3 / 3|| = 1 where the pixel of 3 does
    drawn = neighbours(batch, np.random.default_rng(2), 1e-4, 4)
    moved = np.array(
        [np.linalg.norm((target(x) - target(batch)).numpy(), axis=1) for x in drawn]
    )
    change = np.where(np.arange(4) % 2, 1.0, 1e6)[:, None]
    want = (change / np.maximum(moved, 1e-6)).max(0)
    got = value(relative_output_stability, method, target, batch, **few)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def gradient(target, x, c):
    """|d logit c / d x| summed over channels, of one image, in float64."""
    x = x.clone().requires_grad_()
    target(x)[0, c].backward()
    return np.float64(x.grad.abs().sum(1)[0])


def twin(target, batch, radius, draws):
    """All three as printed, one image and one neighbour at a time, of ``saliency``."""
    found = []
    for i in range(len(batch)):
        x, distances, ratios = batch.x[i : i + 1], [], []
        z = target(x)[0].double()
        c = int(z.argmax())
        phi = gradient(target, x, c)
        for drawn in neighbours(batch, np.random.default_rng(2), radius, draws):
            near = drawn.x[i : i + 1]
            phi_x, z_x = gradient(target, near, c), target(near)[0].double()
            distances.append(np.sqrt(((phi_x - phi) ** 2).sum() / (phi**2).sum()))
            if int(z_x.argmax()) == c:
                scaled = (phi - phi_x) / np.where(phi == 0, 1e-6, phi)
                moved = float((z - z_x).square().sum().sqrt())
                ratios.append(np.sqrt((scaled**2).sum()) / max(moved, 1e-6))
        mean = sum(distances) / draws
        found.append((mean, max(distances), max(ratios, default=np.nan)))
    return np.transpose(found)


def test_the_slow_twin_agrees():
    """Of saliency: the gradient of one class's logit, whatever the noise makes the network say."""
    target, batch = network(), images()
    for metric, want in zip(ALL, twin(target, batch, 0.1, 6), strict=True):
        got = value(metric, saliency, target, batch, radius=0.1, draws=6)
        np.testing.assert_allclose(got, want, rtol=1e-3)


@pytest.mark.parametrize("metric", ALL)
def test_a_map_that_ignores_the_image_is_perfect(metric):
    """The family's weakness: noise from the seed alone."""
    assert (value(metric, noise) == 0).all()


@pytest.mark.parametrize("metric", ALL)
def test_the_same_image_gives_the_same_map(metric):
    assert (value(metric, saliency, radius=0.0) == 0).all()


@pytest.mark.parametrize("metric", ALL)
def test_the_scale_of_the_map_does_not_matter(metric):
    for scale in (1024, -1024):
        scaled = lambda *seen, scale=scale: scale * saliency(*seen)
        np.testing.assert_allclose(
            value(metric, scaled), value(metric, saliency), rtol=1e-5
        )


@pytest.mark.parametrize("metric", ALL)
def test_images_in_another_order_give_the_same_values(metric):
    target, batch = network(), images()
    want = value(metric, saliency, target, batch)
    got = value(metric, saliency, target, batch[[3, 1, 4, 0, 2]])
    np.testing.assert_allclose(got, want[[3, 1, 4, 0, 2]], rtol=1e-3)
    alone = [value(metric, saliency, target, batch[[i]])[0] for i in range(5)]
    np.testing.assert_allclose(alone, want, rtol=1e-3)


def test_the_maximum_is_at_least_the_mean_and_grows_with_the_radius():
    worst, mean = value(max_sensitivity, grey), value(average_sensitivity, grey)
    assert (worst >= mean).all()
    assert (value(max_sensitivity, grey, radius=0.2) > worst).all()


@pytest.mark.parametrize("draws", [1, 10])
def test_the_class_that_is_explained_stays_that_of_the_image(draws):
    """Noise changes the prediction of some images; their maps are about the same class all the same."""
    target, batch, how = network(), images(20), {"radius": 1.0, "draws": draws}
    drawn = neighbours(batch, np.random.default_rng(2), **how)
    classes = torch.stack([target(x).argmax(1) for x in drawn])
    own = target(batch).argmax(1)
    assert (classes > own).all(0).any() or draws > 1
    assert (classes < own).all(0).any() or draws > 1
    assert (classes != own).any()
    assert (value(max_sensitivity, of_class, target, batch, **how) == 0).all()


def test_a_neighbour_of_another_class_does_not_count_for_stability():
    target, batch = network(), images(20)
    drawn = neighbours(batch, np.random.default_rng(2), 3.0, 2)
    kept = [(target(x).argmax(1) == target(batch).argmax(1)).numpy() for x in drawn]
    assert not np.any(kept, axis=0).all()
    got = value(relative_output_stability, grey, target, batch, radius=3.0, draws=2)
    assert (np.isnan(got) == ~np.any(kept, axis=0)).all()


def test_a_zero_map_has_no_relative_distance():
    zero = lambda target, batch, rng: torch.zeros(len(batch), 8, 8)
    assert np.isnan(value(max_sensitivity, zero)).all()
    assert (value(max_sensitivity, zero, relative=False) == 0).all()


def test_the_metrics_share_their_images_and_ask_within_what_they_declare():
    target, batch = network(), images()
    explain = explainer(saliency, target)
    for metric in ALL:
        before = len(explain.asked)
        rng = np.random.default_rng(2)
        metric(explain(batch), target, batch, rng, explain=explain, radius=0.1)
        asked = explain.asked[before + 1 :]
        seen = sum(len(images) for images, _, _ in asked)
        assert seen <= METRICS[metric.name].calls * len(batch)
        if metric is ALL[0]:
            first = [id(images) for images, _, _ in asked]
        assert [id(images) for images, _, _ in asked] == first


def test_maps_that_are_not_there_are_an_error():
    explain = lambda *seen: Explanation(scores=np.zeros(5))
    with pytest.raises(ValueError, match="no heatmaps"):
        max_sensitivity(
            explain(), network(), images(), np.random.default_rng(0), explain=explain
        )
