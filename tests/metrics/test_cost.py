"""Cost: hand-counted passes, and what is not counted."""

import numpy as np
import pytest
import torch

from benchmark.metrics.cost import passes_per_image
from tests.helpers.calling import explainer, images, network, noise, value


def forward(times):
    def method(target, batch, rng):
        for _ in range(times):
            target(batch.x)
        return batch.x.mean(1)

    return method


def multiply_adds():
    """Of a forward pass of ``network()``, per image: 8 x 8 pixels, 3 -> 4 -> 6 maps by 3 x 3, dense 384 -> 10 -> 4."""
    return 64 * (4 * 3 * 9 + 6 * 4 * 9) + 384 * 10 + 10 * 4


@pytest.mark.parametrize("times", [0, 1, 7])
def test_forward_passes_are_counted(times):
    np.testing.assert_array_equal(value(passes_per_image, forward(times)), [times] * 5)


def test_a_pass_back_to_the_layer_costs_the_layers_above():
    """The gradient of a logit at conv2: one product with the weights of each dense layer."""

    def to_layer(target, batch, rng):
        a = target.features(batch, "conv2").detach().requires_grad_()
        target.head(a, "conv2").amax(1).sum().backward()
        return a.grad.sum(1)

    got = value(passes_per_image, to_layer)
    back = 384 * 10 + 10 * 4
    np.testing.assert_allclose(got, 1 + back / multiply_adds())


def test_images_that_are_remembered_are_explained_anew():
    """``explain`` answers the same question once; another object with the same pixels is another question."""
    target, batch = network(), images()
    explain = explainer(noise, target)
    e = explain(batch)
    passes_per_image(e, target, batch, None, explain=explain)
    (first, *_), (second, *_) = explain.asked
    assert first is batch and second is not batch and torch.equal(first.x, second.x)
    assert second.memo == {}
    assert passes_per_image.calls == 1


def test_what_draws_costs_nothing():
    assert (value(passes_per_image, noise) == 0).all()
