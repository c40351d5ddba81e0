"""Input invariance: a hand-computed case, and which methods pass."""

import numpy as np
import pytest
import torch

from benchmark.metrics.axioms import input_invariance
from tests.helpers.calling import (
    explainer,
    grey,
    images,
    network,
    noise,
    saliency,
    value,
)


def test_gradients_pass_and_gradient_times_input_fails():
    """Phi = g x: ||g (x + c) - g x|| / ||g x|| = |c| ||g|| / ||g x||."""
    target, batch = network(1), images(c=1)

    def times_input(target, batch, rng):
        x = batch.x.detach().clone().requires_grad_()
        target(x).amax(1).sum().backward()
        return (x.grad * x).sum(1)

    assert (value(input_invariance, saliency, target, batch) == 0).all()
    assert (value(input_invariance, noise, target, batch) == 0).all()
    got = value(input_invariance, times_input, target, batch, shift=-1.0)
    g = saliency(target, batch, None).double()
    want = g.norm(dim=(1, 2)) / (g * batch.x[:, 0]).norm(dim=(1, 2))
    np.testing.assert_allclose(got, want, rtol=1e-4)
    half = value(input_invariance, times_input, target, batch, shift=-0.5)
    np.testing.assert_allclose(2 * half, got, rtol=1e-3)


def test_the_images_are_shifted_and_the_network_gives_the_same_answers():
    target, batch = network(), images()
    explain = explainer(grey, target)
    input_invariance(explain(batch), target, batch, None, explain=explain)
    (_, (shifted, other, fit)) = explain.asked
    assert torch.equal(shifted.x, batch.x - 1) and fit is None
    torch.testing.assert_close(other(shifted.x), target(batch), atol=1e-5, rtol=1e-5)
    assert input_invariance.calls == 1


def test_a_zero_map_is_not_scored():
    zero = lambda target, batch, rng: torch.zeros(len(batch), 8, 8)
    assert np.isnan(value(input_invariance, zero)).all()
    with pytest.raises(TypeError):
        value(input_invariance, grey, unknown=1)
