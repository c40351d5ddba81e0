"""What goes through a device at once, by what its memory has free; and what is ranked there."""

import gc

import numpy as np
import pytest
import torch

from benchmark.api import Batch, Target
from benchmark.papers.explainn import networks
from benchmark.papers.representative.masked import top_share
from benchmark.papers.xnn import srae
from benchmark.papers.xnn.work import Stack
from benchmark.shared.work import Facts
from tests.helpers import pretend
from tests.papers.explainn.test_networks import dense, quadrants

SETTING = srae.Setting(hidden=(16, 8), batch=8, epochs=2, pretrain=1, restarts=0)
K, M, S, D, R = 6, 120, 49, 32, 60  # classes, images, positions and channels of a map


def fitted(device):
    """XNNs of a convolutional layer, one for each class."""
    generator = torch.Generator().manual_seed(0)
    Z = torch.rand(M, S, D, generator=generator).to(device)
    y = torch.rand(M, K, generator=generator).to(device)
    labels = torch.arange(M).to(device) % K
    rng = np.random.default_rng(0)
    data = srae.examples(Z, y, labels, R - M // K, rng)
    gc.collect()
    if device == "pretend":
        torch.get_device_module(device).reset_peak_memory_stats()
    xnn = srae.fit(data, SETTING, rng)
    return {name: tensor.cpu().numpy() for name, tensor in xnn.params.items()}


@pytest.mark.parametrize("most", [1, 4])
def test_classes_train_in_stacks_that_fit_into_what_is_free(monkeypatch, most):
    one = 1 / srae.at_once(D, S, R, SETTING, "pretend", 1e18) * 1e18
    stacks, plain = [], srae._descend

    def noted(params, *args):
        stacks.append(len(params["v"]))
        return plain(params, *args)

    monkeypatch.setattr(srae, "_descend", noted)
    whole = fitted("cpu")
    with pretend.device() as device:
        held = M * (S * D + K) * 4
        device.memory = held + (most + 0.9) * one / srae.SHARE
        stacks.clear()
        parts = fitted("pretend")
        assert device.peak < device.memory
    assert max(stacks) == most
    for name, tensor in whole.items():
        np.testing.assert_allclose(parts[name], tensor, atol=1e-5)


@pytest.mark.parametrize("d, S", [(64, 12544), (256, 784), (512, 49), (4096, 1)])
def test_a_stack_is_planned_to_take_no_more_than_its_share(d, S):
    """At the layers of VGG-19 on CUB, 200 classes, on a GPU of each size."""
    setting = srae.Setting(hidden=(64, 16), batch=32)
    for gigabytes in (16, 80, 141):
        facts = Facts(device="cuda", memory=1e9 * gigabytes)
        stack = Stack(K=200, R=530, d=d, S=S)
        assert 0 < stack.trained(setting, facts).bytes < 0.7e9 * gigabytes


def test_the_largest_pixels_are_the_same_on_a_device():
    maps = np.random.default_rng(0).integers(0, 9, (70, 20, 20))
    with pretend.device() as device:
        there = top_share(maps, device="pretend")
        assert device.peak < 64 * 400 * 30  # 64 maps at once
    assert np.array_equal(there, top_share(maps))


def test_background_filters_take_a_chunk_at_a_time():
    batch = quadrants(400, chunk=20)
    here = networks.background(dense(), batch, "conv")
    with pretend.device() as device:
        how = {"classes": "abcd", "input_shape": (1, 8, 8), "layer": "conv"}
        moved = Target(dense().net.to("pretend"), name="dense", **how)
        batch = Batch(batch.x.to("pretend"), batch.y.to("pretend"), chunk=20)
        z = moved.features(batch, "conv")
        device.reset_peak_memory_stats()
        there = networks.background(moved, batch, "conv")
        grown = device.peak - device.memory_allocated()
    assert np.array_equal(here, there)
    assert (
        grown < 1.5 * z.numel() * 8
    )  # all maps in float64, and those less their mean, are 2
