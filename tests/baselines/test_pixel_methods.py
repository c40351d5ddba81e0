"""Gradients and perturbations of pixels: each formula by hand, against a slow twin, and against captum (an extra)."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Batch, Target
from tests.baselines.test_baselines import explain, images, load, network

GradientXInput, IntegratedGradients = (
    load("gradient_x_input"),
    load("integrated_gradients"),
)
LayerCAM, Occlusion, RISE = load("layer_cam"), load("occlusion"), load("rise")
Saliency, SmoothGrad = load("saliency"), load("smooth_grad")
MEAN, STD = 0.4, 0.3  # of ``network``


def linear(weight):
    """F(x) = weight (C, c, h, w) . (x - mean) / std, and one image (c, h, w) of which class 1 is predicted."""
    weight = torch.tensor(weight)
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("logits", nn.Linear(weight[0].numel(), len(weight), bias=False))
    net.logits.weight.data = weight.flatten(1)
    return Target(
        net,
        name="linear",
        classes=range(len(weight)),
        input_shape=tuple(weight.shape[1:]),
        mean=[0.5],
        std=[0.5],
    )


def one(image):
    x = torch.tensor(image)[None]
    return Batch(x=x, y=torch.zeros(1, dtype=torch.int64))


# two colours, one row, two pixels; class 1 has 4 * 0.5 + ... = the larger logit
WEIGHT = [[[[0.0, 0.0]], [[0.0, 0.0]]], [[[4.0, -2.0]], [[1.0, -3.0]]]]
IMAGE = [[[1.0, 0.25]], [[0.75, 0.5]]]  # (x - 0.5) / 0.5 = 1, -0.5; 0.5, 0


@pytest.mark.parametrize(
    ("channels", "expected"),
    [("max_abs", [8, 6]), ("sum_abs", [10, 10]), ("sum", [10, -10])],
)
@pytest.mark.parametrize("cls", [Saliency, SmoothGrad])
def test_gradients_by_hand(cls, channels, expected):
    """The gradient at the pixels is weight / std: 8, -4 and 2, -6; noise changes no gradient of a linear network."""
    maps = explain(cls(channels=channels), linear(WEIGHT), one(IMAGE)).heatmaps
    np.testing.assert_allclose(maps, [[expected]], rtol=1e-5)


@pytest.mark.parametrize("cls", [GradientXInput, IntegratedGradients, Occlusion])
@pytest.mark.parametrize(
    ("fill", "expected"),
    # mean: 4 * 1 + 1 * 0.5 and -2 * -0.5 - 3 * 0; black: 8 * 1 + 2 * 0.75 and -4 * 0.25 - 6 * 0.5
    [("mean", [4.5, 1]), ("black", [9.5, -4])],
)
def test_contributions_to_a_linear_score_by_hand(cls, fill, expected):
    maps = explain(cls(fill=fill), linear(WEIGHT), one(IMAGE)).heatmaps
    np.testing.assert_allclose(maps, [[expected]], rtol=1e-5)


@pytest.mark.parametrize("fill", ["mean", "black"])
def test_integrated_gradients_are_complete(fill):
    """Prop. 1: they add up to F(x) - F(x'), here along a path on which units switch on and off."""
    target, batch = network(3), images(channels=3, chunk=7)
    method = IntegratedGradients(steps=300, rule="middle", fill=fill)
    maps = explain(method, target, batch).heatmaps
    blank = torch.full_like(batch.x, MEAN if fill == "mean" else 0)
    y = target(batch)
    c = y.argmax(1, keepdim=True)
    difference = (y - target(blank)).gather(1, c)[:, 0]
    np.testing.assert_allclose(maps.sum((1, 2)), difference, atol=5e-3)
    assert abs(difference).max() > 0.3


def test_the_middle_rule_is_closer_with_few_steps():
    target, batch = network(3), images(n=3, channels=3)
    exact = explain(IntegratedGradients(300, rule="middle"), target, batch).heatmaps
    off = {}
    for rule in ("right", "middle"):
        maps = explain(IntegratedGradients(16, rule=rule), target, batch).heatmaps
        off[rule] = abs(maps - exact).mean()
    assert off["middle"] < 0.75 * off["right"]


def gradient_twin(target, x, c):
    """dy^c / dx of one image (c, h, w) in float64, by a float64 copy of the network."""
    x = x.double().requires_grad_()
    net = target.net.double()
    y = net(((x - MEAN) / STD)[None])[0, c]
    (g,) = torch.autograd.grad(y, x)
    net.float()
    return g.numpy()


def test_integrated_gradients_against_the_slow_twin():
    """Eq. 3 as printed, one image and one step at a time."""
    target, batch = network(3), images(n=3, channels=3)
    maps = explain(IntegratedGradients(steps=7), target, batch).heatmaps
    for x, c, found in zip(batch.x, target(batch).argmax(1), maps):
        total = sum(gradient_twin(target, k / 7 * x, c) for k in range(1, 8))
        expected = (x.numpy() * total / 7).sum(0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_smooth_grad_against_the_slow_twin():
    target, batch = network(3), images(n=3, channels=3)
    maps = explain(SmoothGrad(samples=4, noise=0.2), target, batch, seed=3).heatmaps
    rng = np.random.default_rng(3)
    draws = torch.from_numpy(rng.standard_normal((4, 3, 8, 8), dtype=np.float32))
    for x, c, found in zip(batch.x, target(batch).argmax(1), maps):
        sigma = 0.2 * (float(x.max()) - float(x.min()))
        total = sum(gradient_twin(target, x + sigma * d, c) for d in draws)
        np.testing.assert_allclose(found, abs(total / 4).sum(0), rtol=1e-4, atol=1e-5)


def occlusion_twin(target, x, c, window, stride, blank):
    """Each window by itself, each pixel's mean over those that hold it."""
    side = x.shape[-1]
    falls = [[[] for _ in range(side)] for _ in range(side)]
    whole = float(target(x[None])[0, c])
    starts, start = [], 0
    while True:
        starts.append(start)
        if start + window >= side:
            break
        start += stride
    for top in starts:
        for left in starts:
            hidden = x.clone()
            hidden[:, top : top + window, left : left + window] = blank
            fall = whole - float(target(hidden[None])[0, c])
            for i in range(top, min(top + window, side)):
                for j in range(left, min(left + window, side)):
                    falls[i][j].append(fall)
    return np.array([[np.mean(each) for each in row] for row in falls])


@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 4), (8, 8), (2, 1)])
def test_occlusion_against_the_slow_twin(window, stride):
    target, batch = network(3), images(n=2, channels=3)
    maps = explain(Occlusion(window / 8, stride / 8), target, batch).heatmaps
    for x, c, found in zip(batch.x, target(batch).argmax(1), maps):
        expected = occlusion_twin(target, x, c, window, stride, MEAN)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_occlusion_leaves_no_pixel_out_where_strides_are_wider_than_windows():
    maps = explain(Occlusion(window=0.1, stride=1), network(), images()).heatmaps
    assert np.isfinite(maps).all()
    assert (maps != 0).mean() > 0.9


def test_rise_against_the_slow_twin():
    """Sec. 3.2: masks pixel by pixel, from the same draws."""
    target, batch = network(3), images(n=2, channels=3)
    maps = explain(RISE(masks=6, grid=3, p=0.4), target, batch, seed=3).heatmaps
    rng = np.random.default_rng(3)
    open_cells = rng.random((6, 3, 3)) < 0.4
    corners = rng.integers((3, 3), size=(6, 2))  # a cell is ceil(8 / 3) = 3 pixels
    masks = np.zeros((6, 8, 8))
    for k, i, j in np.ndindex(masks.shape):
        # place in units of cells; pixel and cell centres aligned, the border repeated
        places = [(o + d + 0.5) / 4 - 0.5 for o, d in zip((i, j), corners[k])]
        at = [min(max(place, 0), 2) for place in places]
        low = [int(place) for place in at]
        for a, b in np.ndindex(2, 2):
            row, column = min(low[0] + a, 2), min(low[1] + b, 2)
            part = [p - q if up else 1 - (p - q) for p, q, up in zip(at, low, (a, b))]
            masks[k, i, j] += part[0] * part[1] * open_cells[k, row, column]
    for x, c, found in zip(batch.x, target(batch).argmax(1), maps):
        seen = [MEAN + torch.from_numpy(m).float() * (x - MEAN) for m in masks]
        f = [float(target(each[None]).softmax(1)[0, c]) for each in seen]
        expected = sum(a * m for a, m in zip(f, masks)) / (0.4 * 6)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_rise_of_a_network_that_looks_at_one_corner():
    """A pixel on which the answer rests alone stands out, as the number of masks grows."""
    weight = np.zeros((2, 1, 8, 8), np.float32)
    weight[1, 0, 1, 1] = 8
    maps = explain(RISE(500, 4), linear(weight), one(np.ones((1, 8, 8), np.float32)))
    near, far = maps.heatmaps[0, :2, :2], maps.heatmaps[0, 5:, 5:]
    assert near.min() > far.max()


def test_layer_cam_against_the_slow_twin():
    target, batch = network(3), images(n=3, channels=3)
    maps = explain(
        LayerCAM(layer="conv1"), target, batch
    ).heatmaps  # 8 x 8, as the image
    A = target.features(batch, "conv1")
    leaf = A.clone().requires_grad_()
    (g,) = torch.autograd.grad(target.head(leaf, "conv1").amax(1).sum(), leaf)
    expected = np.zeros_like(maps)
    for n, k, i, j in np.ndindex(*A.shape):
        expected[n, i, j] += max(float(g[n, k, i, j]), 0) * float(A[n, k, i, j])
    np.testing.assert_allclose(maps, expected.clip(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Saliency(channels="mean"), "channels is 'max_abs' or"),
        (lambda: IntegratedGradients(steps=0), "steps is 0; expected at least 1"),
        (lambda: SmoothGrad(samples="5"), "samples is '5'; expected a number"),
        (lambda: SmoothGrad(noise=-1), "noise is -1; expected at least 0"),
        (lambda: Occlusion(window=0), "window is 0; expected a share"),
        (lambda: RISE(p=1.5), "p is 1.5; expected a share"),
    ],
)
def test_a_wrong_setting_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()


# --------------------------------------------------------------------------------------------- captum


def theirs(make, target, batch, **options):
    """The attribution of captum, summed over the channels."""
    attr = pytest.importorskip("captum.attr", reason="needs the extra `oracles`")
    x = batch.x.clone().requires_grad_()
    classes = target(batch).argmax(dim=1)
    out = getattr(attr, make)(target.__call__).attribute(x, target=classes, **options)
    return out.detach()


@pytest.mark.oracle
def test_gradients_agree_with_captum():
    target, batch = network(3), images(channels=3)
    g = theirs("Saliency", target, batch, abs=True)
    maps = explain(Saliency(), target, batch).heatmaps
    np.testing.assert_allclose(maps, g.amax(1), rtol=1e-5, atol=1e-6)
    maps = explain(GradientXInput(fill="black"), target, batch).heatmaps
    other = theirs("InputXGradient", target, batch).sum(1)
    np.testing.assert_allclose(maps, other, rtol=1e-5, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("rule", "peer"), [("right", "riemann_right"), ("middle", "riemann_middle")]
)
def test_integrated_gradients_agree_with_captum(rule, peer):
    target, batch = network(3), images(channels=3)
    maps = explain(IntegratedGradients(16, rule, "mean"), target, batch).heatmaps
    blank = torch.full_like(batch.x, MEAN)
    options = {"baselines": blank, "n_steps": 16, "method": peer}
    other = theirs("IntegratedGradients", target, batch, **options).sum(1)
    np.testing.assert_allclose(maps, other, rtol=1e-4, atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize(("window", "stride"), [(3, 2), (4, 4), (3, 1)])
def test_occlusion_agrees_with_captum(window, stride):
    target, batch = network(3), images(channels=3)
    maps = explain(Occlusion(window / 8, stride / 8), target, batch).heatmaps
    options = {
        "sliding_window_shapes": (3, window, window),
        "strides": (3, stride, stride),
        "baselines": torch.full_like(batch.x, MEAN),
    }
    other = theirs("Occlusion", target, batch, **options)
    assert torch.equal(other[:, 0], other[:, 2])  # the window spans the channels
    np.testing.assert_allclose(maps, other[:, 0], rtol=1e-4, atol=1e-5)
