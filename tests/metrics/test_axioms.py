"""Completeness: by hand, exact maps, and what it does not see."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Explanation
from tests.helpers.masking import conv_target, linear_target, problem, single

COMPLETENESS = METRICS["completeness"]
RNG = np.random.default_rng(0)


def test_by_hand():
    """f(x) = 1 + 1 + 3 + 4 = 9, f(black) = 0, f(mean colour 0.875) = 8.75."""
    target, batch = linear_target([[1, 2], [3, 4]]), single([[1, 0.5], [1, 1]])
    e = Explanation(heatmaps=[[[1, 2], [-1, 6]]])  # sums to 8
    for baseline, cap, want in (
        ("black", 1, 1 / 9),
        ("none", 1, 1 / 9),
        ("mean", 1, 1),
        ("mean", 99, (8 - 0.25) / 0.25),
    ):
        found = COMPLETENESS(e, target, batch, RNG, baseline=baseline, cap=cap)
        assert found == pytest.approx([want])


def test_exact_maps_are_complete_and_so_is_their_sum_spread_out():
    target, batch, _ = problem(c=1)
    maps = integrated_gradients(target, batch.x, steps=4000)
    for each in (maps, maps.mean((1, 2), keepdims=True) + 0 * maps):
        e = Explanation(heatmaps=each)
        np.testing.assert_allclose(COMPLETENESS(e, target, batch, RNG), 0, atol=0.02)
    halved = COMPLETENESS(Explanation(heatmaps=maps / 2), target, batch, RNG)
    np.testing.assert_allclose(halved, 0.5, atol=0.02)
    zero = COMPLETENESS(Explanation(heatmaps=0 * maps), target, batch, RNG)
    assert zero.tolist() == [1] * len(batch)


def integrated_gradients(target, x, steps):
    """From black, midpoint rule, (n, h, w)."""
    c, maps = target(x).argmax(1), []
    for image, k in zip(x, c):
        t = (torch.arange(steps) + 0.5) / steps
        path = (t[:, None, None, None] * image).requires_grad_()
        target(path)[:, k].sum().backward()
        maps.append((path.grad.mean(0) * image).sum(0))
    return torch.stack(maps).numpy()


def test_an_image_that_is_the_baseline_itself():
    target = conv_target(1, side=4)
    batch = single(np.zeros((4, 4)))
    for value, want in ((0, 0), (1, 1)):
        e = Explanation(heatmaps=np.full((1, 4, 4), value))
        assert COMPLETENESS(e, target, batch, RNG).tolist() == [want]


def test_an_unknown_baseline_is_named():
    target, batch, e = problem()
    with pytest.raises(ValueError, match="fill 'pink' is not one of black, blur"):
        COMPLETENESS(e, target, batch, RNG, baseline="pink")
