"""The gradients of dense chains against autograd's."""

import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmark import engine, store
from benchmark.zoo import nets
from benchmark.zoo.dense import Chain

OPTIONS = [
    {"width": 20, "depth": 1},
    {"width": 7, "depth": 10},
    {"width": 30, "depth": 3, "bias": "all"},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 4)])
def test_gradients_are_autograds(options, shape):
    net = nets.build("mlp", shape, 10, options, seed=3)
    rng = torch.Generator().manual_seed(0)
    x, y = (
        torch.rand(13, *shape, generator=rng),
        torch.randint(0, 10, (13,), generator=rng),
    )
    x = x.to(memory_format=torch.channels_last)
    expected = F.cross_entropy(net(x), y)
    gradients = torch.autograd.grad(expected, list(net.parameters()))
    chain = Chain.of(net)
    for _ in range(2):  # the second call overwrites, it does not add
        assert chain.gradients(x, y) == pytest.approx(expected.item(), rel=1e-6)
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


def test_the_chain_sees_the_parameters_move():
    net = nets.build("mlp", (1, 4, 4), 3, {"width": 32, "depth": 2}, seed=0)
    x, y = (
        torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(1)),
        torch.tensor([0, 1, 2, 0, 1, 2]),
    )
    chain, optimiser = Chain.of(net), torch.optim.SGD(net.parameters(), lr=0.5)
    losses = []
    for _ in range(300):
        losses.append(chain.gradients(x, y))
        assert losses[-1] == pytest.approx(F.cross_entropy(net(x), y).item(), rel=1e-3)
        optimiser.step()
    assert losses[-1] < losses[0] / 2


def test_large_logits_lose_nothing():
    net = nets.build("mlp", (1, 2, 2), 2, {"width": 3, "depth": 1}, seed=0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.full_like(parameter, 30.0))
        net.logits.weight[1] = -30.0
    x, y = torch.ones(1, 1, 2, 2), torch.tensor([1])
    assert (
        Chain.of(net).gradients(x, y)
        == pytest.approx(F.cross_entropy(net(x), y).item())
        == pytest.approx(27000)
    )


@pytest.mark.parametrize(
    "name, options",
    [
        ("mlp", {"width": 5, "depth": 2, "activation": "tanh"}),
        ("xnn_cnn", {}),
        ("vgg11", {"width": 0.1}),
    ],
)
def test_other_networks_are_left_to_autograd(name, options):
    shape = (1, 32, 32) if name == "vgg11" else (1, 28, 28)
    assert Chain.of(nets.build(name, shape, 10, options, seed=0)) is None


def test_other_precisions_are_left_to_autograd():
    net = nets.build("mlp", (1, 4, 4), 3, {"width": 5, "depth": 2}, seed=0)
    assert Chain.of(net) is not None and Chain.of(net.double()) is None


@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="kernels of x86"
)
@pytest.mark.parametrize(
    "chosen, expected", [(None, "Haswell"), ("Nehalem", "Nehalem")]
)
def test_products_round_alike_on_any_cpu(chosen, expected):
    """numpy's BLAS takes the kernels that the engine asks for, unless the user asked for others."""
    if "openblas" not in engine.blas():
        pytest.skip(
            f"numpy computes with {engine.blas() or 'a library that threadpoolctl does not know'}"
        )
    env = {
        key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"
    }
    env |= {"OPENBLAS_CORETYPE": chosen} if chosen else {}
    code = "from benchmark import engine; print(engine.blas())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=store.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["openblas", expected]
