"""The metrics of rebuilt images against hand-computed cases and slow, literal twins in float64."""

import numpy as np
import pytest
import torch
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, NotApplicable, Target

RNG = np.random.default_rng(0)
NAMES = [
    name
    for name, m in METRICS.items()
    if m.track == "reconstruction" and m.function.__module__.endswith("reconstruction")
]


def network(mean=(0.5,), std=(0.25,), c=2, **pixels):
    """Says class 0 where the first channel is brighter in sum than the second."""
    layer = nn.Linear(c * 6, 2)
    layer.weight.data = torch.eye(2)[:, :c].repeat_interleave(6, dim=1)
    layer.bias.data.zero_()
    return Target(
        nn.Sequential(nn.Flatten(), layer),
        name="t",
        classes="ab",
        input_shape=(c, 2, 3),
        mean=mean,
        std=std,
        **pixels,
    )


def images(n=5, chunk=2):
    x = np.random.default_rng(1).random((n, 2, 2, 3), np.float32)
    return Batch(
        x=torch.from_numpy(x),
        y=torch.from_numpy(
            (x[:, 1].sum((1, 2)) > x[:, 0].sum((1, 2))).astype(np.int64)
        ),
        chunk=chunk,
    )


def value(name, e, target=None, batch=None, **setting):
    return METRICS[name](e, target or network(), batch or images(), RNG, **setting)


def test_all_four_are_there():
    assert set(NAMES) == {
        "reconstruction_loss",
        "delta_reconstruction",
        "decoded_accuracy",
        "decoded_delta_accuracy",
    }


def test_the_loss_of_a_shifted_image_by_hand():
    batch = images()
    e = Explanation(decoded=batch.x + 0.5, reference=batch.x - 0.25)
    assert value("reconstruction_loss", e) == pytest.approx([4.0] * 5)  # (.5 / .25)^2
    assert value("reconstruction_loss", e, scale="pixels") == pytest.approx([0.25] * 5)
    assert value("reconstruction_loss", e, norm="l2", scale="pixels") == pytest.approx(
        [np.sqrt(12 * 0.25)] * 5
    )
    assert value("delta_reconstruction", e) == pytest.approx(
        [3.0] * 5
    )  # 4 - (.25 / .25)^2
    assert value("delta_reconstruction", e, scale="pixels") == pytest.approx(
        [0.25 - 0.0625] * 5
    )


def test_channels_are_standardised_each_by_its_own():
    batch = images()
    target = network(mean=(0.1, 0.2), std=(0.5, 0.25))
    e = Explanation(decoded=batch.x + 0.5)
    assert value("reconstruction_loss", e, target) == pytest.approx([(1 + 4) / 2] * 5)


def test_against_a_literal_twin():
    batch, rng = images(), np.random.default_rng(2)
    decoded, reference = rng.random((2, 5, 2, 2, 3), np.float32)
    e = Explanation(decoded=decoded, reference=reference)
    for scale, s in (("standardised", 0.25), ("pixels", 1.0)):
        for norm in ("mse", "l2"):
            want = {"decoded": [], "reference": []}
            for name, made in (("decoded", decoded), ("reference", reference)):
                for x, z in zip(
                    batch.x.numpy().astype(float), made.astype(float), strict=True
                ):
                    total = 0.0
                    for a, b in zip(x.flat, z.flat, strict=True):
                        total += ((a - b) / s) ** 2
                    want[name].append(total / 12 if norm == "mse" else total**0.5)
            got = value("reconstruction_loss", e, scale=scale, norm=norm)
            np.testing.assert_allclose(got, want["decoded"], rtol=1e-12)
            delta = value("delta_reconstruction", e, scale=scale, norm=norm)
            np.testing.assert_allclose(
                delta, np.subtract(want["decoded"], want["reference"]), atol=1e-12
            )


def test_accuracy_of_the_network_on_rebuilt_images():
    batch = images()
    swapped = batch.x.flip(
        1
    )  # the channels change places, so the network answers the other class
    same, other = (
        Explanation(decoded=batch.x, reference=swapped),
        Explanation(decoded=swapped, reference=batch.x),
    )
    assert value("decoded_accuracy", same).tolist() == [1] * 5
    assert value("decoded_accuracy", other).tolist() == [0] * 5
    assert value("decoded_delta_accuracy", same).tolist() == [1] * 5
    assert value("decoded_delta_accuracy", other).tolist() == [-1] * 5


def test_the_image_itself_is_without_loss():
    e = Explanation(decoded=images().x, reference=images().x)
    for name in ("reconstruction_loss", "delta_reconstruction"):
        assert value(name, e).tolist() == [0] * 5


def test_a_picture_of_the_mean_pixel_has_standardised_loss_1():
    x = images(200).x
    mean, std = x.mean((0, 2, 3)), x.std((0, 2, 3), unbiased=False)
    e = Explanation(decoded=mean.view(1, 2, 1, 1).expand_as(x))
    got = value(
        "reconstruction_loss", e, network(mean.tolist(), std.tolist()), images(200)
    )
    assert got.mean() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_order_and_chunk_do_not_matter(name):
    rng = np.random.default_rng(3)
    decoded, reference = rng.random((2, 5, 2, 2, 3), np.float32)
    e, order = Explanation(decoded=decoded, reference=reference), [4, 0, 3, 1, 2]
    want = value(name, e)
    np.testing.assert_allclose(value(name, e, batch=images(chunk=5)), want)
    mixed = Explanation(decoded=decoded[order], reference=reference[order])
    np.testing.assert_allclose(value(name, mixed, batch=images()[order]), want[order])


def test_the_unit_is_that_of_the_training_pixels_whatever_the_network_normalises_by():
    shifted = Explanation(decoded=images().x + 0.5)
    for std in ((1.0,), (0.3,)):
        target = network(mean=(0.0,), std=std, pixel_std=(0.5, 0.25))
        got = value("reconstruction_loss", shifted, target)
        assert got == pytest.approx([(1 + 4) / 2] * 5)


def test_a_network_on_plain_pixels_that_does_not_say_has_no_standard_deviation():
    plain, e = network(mean=(0.0,), std=(1.0,)), Explanation(decoded=images().x)
    with pytest.raises(NotApplicable, match="takes plain pixels"):
        value("reconstruction_loss", e, plain)
    assert value("reconstruction_loss", e, plain, scale="pixels").tolist() == [0] * 5
    shifted = Explanation(decoded=images().x + 0.5)
    for std, loss in (
        ((2.0,), 1 / 16),
        ((1.0, 0.5), (1 / 4 + 1) / 2),
        ((0.5, 2.0), (1 + 1 / 16) / 2),
    ):
        assert value("reconstruction_loss", shifted, network(std=std)) == pytest.approx(
            [loss] * 5
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(5, 1, 2, 3), (4, 2, 2, 3), (5, 2, 3, 2)])
def test_images_that_do_not_fit_are_refused(name, shape):
    e = Explanation(decoded=np.zeros(shape), reference=np.zeros(shape))
    with pytest.raises(ValueError, match="return one rebuilt image for each"):
        value(name, e)


def test_unknown_units_are_refused():
    with pytest.raises(ValueError, match="must be standardised or pixels"):
        value("reconstruction_loss", Explanation(decoded=images().x), scale="percent")
