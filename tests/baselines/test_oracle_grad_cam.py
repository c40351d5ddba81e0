"""The baselines against pytorch-grad-cam (extra ``oracles``) on the same network and images.

pytorch-grad-cam scales each map to [0, 1] before and after upsampling it by cv2's bilinear resize, which aligns pixel
centres as torch does; scaling commutes with that, so both are compared after min-max scaling, at full resolution.
"""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Batch, Target
from tests.helpers.places import ROOT

pytestmark = pytest.mark.oracle
LAYERS = ("conv1", "conv2", "conv3")
pytest.importorskip("pytorch_grad_cam", reason="needs the extra `oracles`")


@pytest.fixture(scope="module")
def target():
    """A trained network (bright quadrant of four, on noise), so that its gradients and masks are no white noise."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, c = nn.Sequential(), 3
        for k, maps in enumerate((8, 16, 24), 1):
            block = nn.Sequential(
                nn.Conv2d(c, maps, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(maps),
                nn.ReLU(),
            )
            net.add_module(f"conv{k}", block)
            c = maps
        net.add_module("flatten", nn.Flatten())
        net.add_module("logits", nn.Linear(24 * 16, 4))
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        for step in range(30):
            batch = quadrants(64, seed=step + 1)
            loss = nn.functional.cross_entropy(net((batch.x - 0.4) / 0.3), batch.y)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert loss < 0.2
    return Target(
        net,
        name="quadrants",
        classes="abcd",
        input_shape=(3, 32, 32),
        mean=[0.4],
        std=[0.3],
        layer="conv3",
    )


def quadrants(n, seed=0):
    rng = np.random.default_rng(seed)
    x, y = 0.6 * rng.random((n, 3, 32, 32), dtype=np.float32), rng.integers(4, size=n)
    for image, quadrant in zip(x, y):
        i, j = (
            16 * (quadrant // 2) + rng.integers(8),
            16 * (quadrant % 2) + rng.integers(8),
        )
        image[:, i : i + 8, j : j + 8] += 0.4
    return Batch(x=torch.from_numpy(x), y=torch.from_numpy(y), chunk=16)


def ours(file, cls, target, batch, **settings):
    spec = importlib.util.spec_from_file_location(
        f"oracle_{file}", ROOT / "baselines" / f"{file}.py"
    )
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    reference = Batch(
        x=torch.full((1, 3, 1, 1), 0.4), y=torch.zeros(1, dtype=torch.int64)
    )  # the mean that F subtracts
    rng = np.random.default_rng(0)
    return scaled(
        getattr(module, cls)(**settings)
        .fit(target, reference, rng)
        .explain(target, batch, rng)
        .heatmaps
    )


def theirs(cls, target, batch, layer):
    import pytorch_grad_cam

    with getattr(pytorch_grad_cam, cls)(
        target.net, [getattr(target.net, layer)]
    ) as cam:
        x = (
            (batch.x - 0.4) / 0.3
        ).requires_grad_()  # the parameters are frozen: the gradient starts at the image
        return scaled(cam(x, None))


def scaled(maps):
    low, high = (
        maps.min(axis=(1, 2), keepdims=True),
        maps.max(axis=(1, 2), keepdims=True),
    )
    return (maps - low) / np.where(high > low, high - low, 1)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("file", "cls", "peer", "settings"),
    [
        ("grad_cam", "GradCAM", "GradCAM", {}),
        (
            "grad_cam_plusplus",
            "GradCAMPlusPlus",
            "GradCAMPlusPlus",
            {"variant": "library"},
        ),
        ("score_cam", "ScoreCAM", "ScoreCAM", {"variant": "library"}),
        ("layer_cam", "LayerCAM", "LayerCAM", {}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_agrees(target, file, cls, peer, settings, layer, capsys):
    batch = quadrants(12)
    mine, other = (
        ours(file, cls, target, batch, layer=layer, **settings),
        theirs(peer, target, batch, layer),
    )
    assert (
        other.std(axis=(1, 2)) > 0.05
    ).mean() > 0.7  # there is something to agree on
    np.testing.assert_allclose(mine, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("file", "cls", "peer"),
    [
        ("grad_cam_plusplus", "GradCAMPlusPlus", "GradCAMPlusPlus"),
        ("score_cam", "ScoreCAM", "ScoreCAM"),
    ],
)
def test_the_authors_formula_is_another(target, file, cls, peer, capsys):
    """Otherwise `variant` would be an empty word, and agreement no evidence."""
    batch = quadrants(12)
    assert (
        abs(ours(file, cls, target, batch) - theirs(peer, target, batch, "conv3")).max()
        > 0.02
    )
