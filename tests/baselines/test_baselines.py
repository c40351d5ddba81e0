"""The heat-map baselines: one contract for every file in baselines/, then each formula against a
hand-computed case and a slow, literal twin in float64."""

import ast
import importlib.util
import math
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from benchmark.api import Batch, Explanation, Method, NotApplicable, Target, settings_of
from tests.helpers.places import ROOT

FILES = sorted((ROOT / "baselines").glob("*.py"))
REFERENCE = Batch(x=torch.full((2, 1, 2, 2), 0.25), y=torch.zeros(2, dtype=torch.int64))


def load(name):
    """The method class of baselines/<name>.py, loaded by path as a user's file is."""
    spec = importlib.util.spec_from_file_location(
        f"plugin_{name}", ROOT / "baselines" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    (cls,) = (
        v
        for v in vars(module).values()
        if isinstance(v, type) and v.__module__ == spec.name
    )
    return cls


GradCAM, GradCAMPlusPlus, ScoreCAM = (
    load("grad_cam"),
    load("grad_cam_plusplus"),
    load("score_cam"),
)
EdgeMap, RandomMap = load("edge_map"), load("random_map")
CAMS = [
    GradCAM(),
    *(
        c(variant=v)
        for c in (GradCAMPlusPlus, ScoreCAM)
        for v in ("authors", "library")
    ),
]
cams = pytest.mark.parametrize("method", CAMS, ids=repr)


def network(channels=1, seed=0, size=8):
    """conv1 (6 maps), conv2 (5 maps, half the side), dense; random weights, logits well apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential()
        net.add_module(
            "conv1",
            nn.Sequential(
                nn.Conv2d(channels, 6, 3, padding=1),
                nn.BatchNorm2d(6),
                nn.ReLU(inplace=True),
            ),
        )
        net.add_module(
            "conv2", nn.Sequential(nn.Conv2d(6, 5, 3, stride=2, padding=1), nn.ReLU())
        )
        net.add_module("flatten", nn.Flatten())
        net.add_module("logits", nn.Linear(5 * (size // 2) ** 2, 4))
        nn.init.normal_(net.conv2[0].bias, std=0.3)
        nn.init.normal_(net.logits.weight, std=0.5)
    return Target(
        net,
        name="tiny",
        classes="abcd",
        input_shape=(channels, size, size),
        mean=[0.4],
        std=[0.3],
        layer="conv2",
    )


class Patches(nn.Module):
    """A layer of attention among patches of 2x2 pixels and a class token."""

    def __init__(self, channels):
        super().__init__()
        self.embed = nn.Conv2d(channels, 6, 2, 2)
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.block = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True)
        self.logits = nn.Linear(6, 4)

    def forward(self, x):
        z = self.embed(x).flatten(2).mT
        z = torch.cat([self.token.expand(len(z), -1, -1), z], 1)
        return self.logits(self.block(z)[:, 0])


def network_for(name, channels):
    """A network that the method explains."""
    if name != "attention_rollout":
        return network(channels)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Patches(channels)
    shape = (channels, 8, 8)
    return Target(net, name="tokens", classes="abcd", input_shape=shape, layer="embed")


def images(n=7, channels=1, size=8, chunk=3):
    x = np.random.default_rng(5).random((n, channels, size, size), dtype=np.float32)
    return Batch(
        x=torch.from_numpy(x), y=torch.zeros(n, dtype=torch.int64), chunk=chunk
    )


def explain(method, target, batch, seed=3):
    reference = images(4, *target.input_shape[:2])
    return method.fit(target, reference, np.random.default_rng(1)).explain(
        target, batch, np.random.default_rng(seed)
    )


# --------------------------------------------------------------------------------------------- the contract


OFFERS = {
    "ace": {"heatmaps", "concept_maps"},
    "layer_z": {"concept_maps"},
}  # the others: heat maps
SIGNED = {
    "gradient_x_input",
    "integrated_gradients",
    "kernel_shap",
    "lime",
    "occlusion",
}
SMALL = {  # passes, and segments of more than a pixel, for images of 8 x 8
    "integrated_gradients": {"steps": 5},
    "kernel_shap": {"segments": 9, "samples": 40},
    "lime": {"segments": 9, "samples": 40},
    "rise": {"masks": 20},
    "smooth_grad": {"samples": 5},
}
every_baseline = pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)


def small(name):
    """The method of baselines/<name>.py, with settings for tiny images."""
    return load(name)(**SMALL.get(name, {}))


def heat_maps(method, target, batch):
    """Layer Z has maps of units alone: their sum stands for a heat map here."""
    e = explain(method, target, batch)
    return e.heatmaps if "heatmaps" in e.offers() else e.concept_maps.sum(1)


@pytest.mark.parametrize("channels", [1, 3])
@every_baseline
def test_contract(path, channels):
    method, target, batch = (
        small(path.stem),
        network_for(path.stem, channels),
        images(channels=channels),
    )
    assert isinstance(method, Method)
    assert method.kind in ("baseline", "control")
    assert method.fit(target, images(4, channels), np.random.default_rng(1)) is method
    e = explain(method, target, batch)
    assert isinstance(e, Explanation)
    assert e.offers() == OFFERS.get(path.stem, {"heatmaps"})
    maps = heat_maps(method, target, batch)
    assert maps.shape == (7, 8, 8)
    assert maps.dtype == np.float32
    assert (maps.min() < 0) == (path.stem in SIGNED)


@pytest.mark.parametrize("channels", [1, 3])
@every_baseline
def test_target_and_global_random_states_stay(path, channels):
    method, target = small(path.stem), network_for(path.stem, channels)
    fingerprint = target.fingerprint()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    explain(method, target, images(channels=channels))
    assert target.fingerprint() == fingerprint
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


@pytest.mark.parametrize("channels", [1, 3])
@every_baseline
def test_maps_depend_neither_on_chunks_nor_on_other_images(path, channels):
    method, target = small(path.stem), network_for(path.stem, channels)
    maps = heat_maps(method, target, images(channels=channels))
    again = heat_maps(method, target, images(channels=channels))
    np.testing.assert_array_equal(again, maps)
    for chunk in (1, 64):
        other = heat_maps(method, target, images(channels=channels, chunk=chunk))
        np.testing.assert_allclose(other, maps, rtol=1e-5, atol=1e-5)
    first = heat_maps(method, target, images(channels=channels)[:1])
    np.testing.assert_allclose(first, maps[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [path.stem for path in FILES if path.stem != "ace"])
def test_most_images_have_something_to_show(name, channels):
    """Four images have no concepts in common: tests/baselines/test_ace.py has enough for ACE."""
    maps = heat_maps(
        small(name), network_for(name, channels), images(channels=channels)
    )
    assert (maps.std(axis=(1, 2)) > 0).mean() > 0.5


@every_baseline
def test_a_baseline_is_a_short_plug_in_that_names_its_source(path):
    text = path.read_text()
    tree = ast.parse(text)
    outside = {
        a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names
    }
    outside |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    ours = {name for name in outside if name.startswith("benchmark")}
    # what papers and baselines share
    own = {name for name in ours if not name.startswith("benchmark.shared")}
    assert own == {"benchmark.api"}
    assert {n.split(".")[0] for n in outside} - set(sys.stdlib_module_names) <= {
        "benchmark",
        "numpy",
        "torch",
    }
    assert len(text.splitlines()) < 130
    docstring = ast.get_docstring(tree)
    for word in ("Idea:", "Theory", "Reference:"):
        assert word in docstring
    assert "arXiv:" in docstring or "doi:" in docstring


def test_the_board_shows_name_and_settings():
    assert [load(p.stem).name for p in FILES] == [
        "ACE",
        "Attention Rollout",
        "Edge map (Sobel)",
        "Excitation Backprop",
        "Grad-CAM",
        "Grad-CAM++",
        "Gradient x input",
        "Integrated gradients",
        "KernelSHAP",
        "LayerCAM",
        "Layer Z",
        "LIME",
        "Occlusion",
        "Random map",
        "RISE",
        "Saliency",
        "Score-CAM",
        "SmoothGrad",
    ]
    assert settings_of(ScoreCAM()) == {"variant": "authors", "fill": "mean"}
    assert settings_of(GradCAMPlusPlus(layer="conv1")) == {
        "layer": "conv1",
        "variant": "authors",
    }
    assert (
        settings_of(GradCAM())
        == settings_of(RandomMap())
        == settings_of(EdgeMap())
        == {}
    )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: GradCAMPlusPlus(variant="paper"), "variant is 'authors'"),
        (lambda: ScoreCAM(variant="x"), "variant is 'authors'"),
        (lambda: ScoreCAM(fill="red"), "fill is 'mean'"),
    ],
)
def test_an_unknown_setting_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()


@cams
def test_dead_layer_gives_zero_maps(method):
    target = network()
    target.net.conv2[0].bias.fill_(-1e3)
    maps = explain(method, target, images()).heatmaps
    assert maps.shape == (7, 8, 8)
    assert not maps.any()


@cams
def test_a_layer_without_positions_does_not_apply(method):
    target = network()
    with pytest.raises(NotApplicable, match="flatten of tiny"):
        explain(type(method)(layer="flatten"), target, images())
    target.layer = None
    with pytest.raises(NotApplicable, match="no layer with spatial extent"):
        explain(method, target, images())
    with pytest.raises(ValueError, match="has no layer 'conv9'"):
        explain(type(method)(layer="conv9"), target, images())


@cams
def test_a_named_layer_is_explained_with_its_own_weights(method):
    target, batch = network(), images()
    named = type(method)(**settings_of(method) | {"layer": "conv1"})
    maps = explain(named, target, batch).heatmaps
    weights, A = named.channel_weights(target, batch), target.features(batch, "conv1")
    assert weights.shape == (7, 6)
    assert not weights.requires_grad
    # conv1 has the image's own resolution: no upsampling between Eq. 9 and the map
    np.testing.assert_allclose(
        maps, torch.einsum("nk,nkuv->nuv", weights, A).relu(), rtol=1e-5, atol=1e-6
    )
    assert abs(maps - explain(method, target, batch).heatmaps).max() > 1e-3


@cams
def test_the_memory_layout_of_the_network_does_not_matter(method):
    target, batch = network(3), images(channels=3)
    expected = explain(method, target, batch).heatmaps
    target.net.to(memory_format=torch.channels_last)
    again = images(channels=3)
    assert target.features(again).is_contiguous()  # so that view works for every author
    np.testing.assert_allclose(
        explain(method, target, again).heatmaps, expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("method", CAMS[:3], ids=repr)
def test_gradient_methods_run_the_head_alone(method):
    target, batch = network(), images()
    psi = target.features(batch)  # remembered by the batch
    assert not psi.requires_grad
    expected = explain(method, target, images()).heatmaps

    def forbidden(*_):
        raise AssertionError("psi was run again")

    target.net.conv1.forward = target.net.conv2.forward = forbidden
    np.testing.assert_array_equal(explain(method, target, batch).heatmaps, expected)


@pytest.mark.parametrize("first", CAMS, ids=repr)
def test_what_one_method_leaves_in_the_memo_serves_the_next(first):
    target, batch = network(), images()
    explain(first, target, batch)
    for method in CAMS:
        np.testing.assert_array_equal(
            explain(method, target, batch).heatmaps,
            explain(method, target, images()).heatmaps,
        )


# --------------------------------------------------------------------------------------------- Grad-CAM, Grad-CAM++

A = torch.tensor(
    [[[1.0, 0.0], [0.0, 2.0]], [[0.0, 3.0], [0.0, 0.0]]]
)  # (K=2, u=2, v=2)


def plain(weight, maps=A):
    """psi copies a (1, K u, v) image into K maps; a linear head with the weight (C, K, u, v)."""
    K, u, v = maps.shape
    net = nn.Sequential()
    net.add_module("maps", nn.Unflatten(2, (K, u)))  # (n, 1, K u, v) -> (n, 1, K, u, v)
    net.add_module("psi", nn.Flatten(1, 2))  # (n, K, u, v)
    net.add_module("flatten", nn.Flatten())
    net.add_module("head", nn.Linear(K * u * v, len(weight), bias=False))
    net.head.weight.data = torch.from_numpy(np.array(weight, dtype=np.float32)).flatten(
        1
    )
    target = Target(
        net,
        name="plain",
        classes=range(len(weight)),
        input_shape=(1, K * u, v),
        layer="psi",
    )
    return target, Batch(
        x=maps.reshape(1, 1, K * u, v), y=torch.zeros(1, dtype=torch.int64)
    )


def test_grad_cam_by_hand():
    one = [
        [[4.0, 0.0], [0.0, 4.0]],
        [[-1.0, -1.0], [-1.0, -1.0]],
    ]  # g; y = 4 + 8 - 3 = 9
    target, batch = plain([np.zeros((2, 2, 2)), one])
    alpha = GradCAM().channel_weights(target, batch)
    assert alpha.tolist() == [[2.0, -1.0]]  # means of g
    maps = (
        GradCAM().explain(target, batch, None).heatmaps
    )  # ReLU(2 A1 - A2) = [[2, 0], [0, 4]], upsampled to 4x2
    np.testing.assert_allclose(maps, [[[2, 0], [1.5, 1], [0.5, 3], [0, 4]]], rtol=1e-6)


def test_grad_cam_explains_the_predicted_class():
    weight = np.stack([np.ones((2, 2, 2)), -np.ones((2, 2, 2))])
    target, batch = plain(weight)
    assert GradCAM().channel_weights(target, batch).tolist() == [[1.0, 1.0]]
    flipped, batch = plain(weight[::-1])
    assert GradCAM().channel_weights(flipped, batch).tolist() == [[1.0, 1.0]]


def test_grad_cam_plusplus_by_hand():
    g = [[[4.0, 0.0], [0.0, 4.0]], [[-1.0, 1.0], [0.0, 0.0]]]  # sum A = 3, 3
    target, batch = plain([np.zeros((2, 2, 2)), g])
    # channel 1: alpha = 16 / (32 + 3 64) = 1/14 twice, normalised 1/2
    # channel 2: alpha(1) = 1/5, normalised 1 (g = -1 does not count)
    np.testing.assert_allclose(
        GradCAMPlusPlus().channel_weights(target, batch), [[4.0, 1.0]], rtol=1e-6
    )
    # Eq. 19 as printed: 2 * 4 / 14 and 1 / 5
    library = GradCAMPlusPlus(variant="library").channel_weights(target, batch)
    np.testing.assert_allclose(library, [[4 / 7, 0.2]], rtol=1e-5)


def test_grad_cam_plusplus_under_an_averaging_head_by_hand():
    weight = np.broadcast_to(np.array([3.0, -2.0])[:, None, None], (2, 2, 2))
    target, batch = plain([weight * 0 - 9, weight])
    np.testing.assert_allclose(
        GradCAMPlusPlus().channel_weights(target, batch), [[3.0, 0.0]], rtol=1e-6
    )


def test_grad_cam_plusplus_zero_denominator_becomes_one():
    maps = torch.tensor([[[-4.0, 2.0]]])  # sum A = -2
    target, batch = plain(
        [[[[9.0, 9.0]]], [[[1.0, 3.0]]]], maps
    )  # below = 2 - 2 = 0 -> 1;  18 - 54 = -36
    # alpha = 1, 9 / -36; total .75;  w = (1 * 1 - .25 * 3) / .75
    np.testing.assert_allclose(
        GradCAMPlusPlus().channel_weights(target, batch), [[1 / 3]], rtol=1e-6
    )


def gradient_twin(target, x, layer):
    """A and dy^c / dA of one image (1, c, h, w), float64, by autograd through a float64 copy of the head."""
    z = target.features(x, layer).double().requires_grad_()
    head = nn.Sequential(*list(target.net)[target.layers.index(layer) + 1 :]).double()
    y = head(z)[0]
    (g,) = torch.autograd.grad(y[int(y.argmax())], z)
    head.float()
    return z.detach()[0].numpy(), g[0].numpy()


def plusplus_twin(A, g, variant):
    w = []
    for Ak, gk in zip(A, g):
        total, alphas = Ak.sum(), np.zeros_like(gk)
        for i, j in np.ndindex(*gk.shape):
            above, below = gk[i, j] ** 2, 2 * gk[i, j] ** 2 + total * gk[i, j] ** 3
            if variant == "authors":
                alphas[i, j] = above / (below if below != 0 else 1)
            elif gk[i, j] != 0:
                alphas[i, j] = above / (below + 1e-6)
        if variant == "authors":
            norm = sum(alphas[i, j] for i, j in np.ndindex(*gk.shape) if gk[i, j] > 0)
            alphas /= norm if norm != 0 else 1
        w.append(sum(alphas[i, j] * max(gk[i, j], 0) for i, j in np.ndindex(*gk.shape)))
    return np.array(w)


def bilinear(A, h, w, corners=False):
    """Up(A) by its definition: one output pixel at a time."""

    def where(i, n, m):
        s = i * (n - 1) / (m - 1) if corners else (i + 0.5) * n / m - 0.5
        s = min(max(s, 0.0), n - 1.0)
        low = min(math.floor(s), n - 1)
        return low, min(low + 1, n - 1), s - low

    out = np.zeros((h, w))
    for i, j in np.ndindex(h, w):
        a, b, p = where(i, A.shape[0], h)
        c, d, q = where(j, A.shape[1], w)
        out[i, j] = (1 - p) * ((1 - q) * A[a, c] + q * A[a, d]) + p * (
            (1 - q) * A[b, c] + q * A[b, d]
        )
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("method", CAMS[:3], ids=repr)
def test_gradient_methods_against_the_literal_twin(method, layer, channels):
    target, batch = network(channels, seed=2), images(channels=channels)
    method = type(method)(**settings_of(method) | {"layer": layer})
    maps = explain(method, target, batch).heatmaps
    for n in range(len(batch)):
        A, g = gradient_twin(target, batch.x[n : n + 1], layer)
        w = (
            g.mean(axis=(1, 2))
            if isinstance(method, GradCAM)
            else plusplus_twin(A, g, method.variant)
        )
        L = np.maximum(sum(wk * Ak for wk, Ak in zip(w, A)), 0)
        np.testing.assert_allclose(maps[n], bilinear(L, 8, 8), rtol=1e-4, atol=1e-6)


# --------------------------------------------------------------------------------------------- Score-CAM


def score_twin(target, x, layer, variant, colour):
    """Score-CAM of one image (1, c, h, w), a forward pass a channel, in float64 but for the network."""
    h, w = x.shape[-2:]
    A = target.features(x, layer)[0].double().numpy()
    c = int(target(x)[0].argmax())
    weights = []
    for Ak in A:
        up = bilinear(Ak, h, w, corners=variant == "library")
        flat = Ak.max() == Ak.min()
        if flat and variant == "authors":
            weights.append(0.0)
            continue
        H = np.zeros_like(up) if flat else (up - up.min()) / (up.max() - up.min())
        masked = colour + (x.double() - colour) * torch.from_numpy(H)
        f = target(masked.float())[0].double()
        weights.append(float(f[c] if variant == "library" else f.softmax(0)[c]))
    if variant == "library":
        e = np.exp(np.array(weights) - max(weights))
        L = np.maximum(sum(a * Ak for a, Ak in zip(e / e.sum(), A)), 0)
        return bilinear(L, h, w)
    return np.maximum(sum(a * bilinear(Ak, h, w) for a, Ak in zip(weights, A)), 0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fill", ["mean", "black"])
@pytest.mark.parametrize("variant", ["authors", "library"])
def test_score_cam_against_the_literal_twin(variant, fill, channels):
    target, batch = network(channels, seed=4), images(channels=channels)
    target.net.conv2[0].weight[0] = 0  # a flat channel, not zero
    target.net.conv2[0].bias[0] = 0.7
    target.net.conv2[0].weight[2] = (
        2 * target.net.conv2[0].weight[1]
    )  # two channels with the same mask
    target.net.conv2[0].bias[2] = 2 * target.net.conv2[0].bias[1]
    maps = explain(ScoreCAM(variant=variant, fill=fill), target, batch).heatmaps
    mean = target.mean[0].double()
    assert (mean > 0).all()
    for n in range(len(batch)):
        twin = score_twin(
            target, batch.x[n : n + 1], "conv2", variant, mean * (fill == "mean")
        )
        np.testing.assert_allclose(maps[n], twin, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["authors", "library"])
def test_score_cam_gives_signed_layers_their_sign(variant):
    target, batch = network(seed=4), images()
    target.net.conv2[1] = (
        nn.Identity()
    )  # before the ReLU: ReLU and Up no longer commute
    maps = explain(ScoreCAM(variant=variant), target, batch).heatmaps
    colour = target.mean[0].double()
    for n in range(len(batch)):
        twin = score_twin(target, batch.x[n : n + 1], "conv2", variant, colour)
        np.testing.assert_allclose(maps[n], twin, rtol=1e-4, atol=1e-5)


def test_score_cam_by_hand():
    # Image and map are the same 1x4 row; H = (0, 1/3, 2/3, 1); logits: (sum of the masked row, 0)
    net = nn.Sequential()
    net.add_module("psi", nn.Identity())
    net.add_module("flatten", nn.Flatten())
    net.add_module("head", nn.Linear(4, 2, bias=False))
    net.head.weight.data = torch.tensor([[1.0] * 4, [0.0] * 4])
    target = Target(
        net, name="row", classes="ab", input_shape=(1, 1, 4), mean=[0.25], layer="psi"
    )
    x = torch.tensor([0.0, 0.3, 0.6, 0.9])
    batch = Batch(x=x.view(1, 1, 1, 4), y=torch.zeros(1, dtype=torch.int64))
    black = 0.1 + 0.4 + 0.9 - 4 * 0.25  # the target takes .25 off every pixel
    method = ScoreCAM(fill="black").fit(target, REFERENCE, None)
    p = 1 / (1 + math.exp(-black))
    np.testing.assert_allclose(method.channel_weights(target, batch), [[p]], rtol=1e-6)
    np.testing.assert_allclose(
        method.explain(target, batch, None).heatmaps[0, 0],
        p * (x - 0.25).relu(),
        rtol=1e-6,
    )
    method = ScoreCAM().fit(
        target, REFERENCE, None
    )  # hidden pixels turn to .25: adds .25 (1 + 2/3 + 1/3)
    p = 1 / (1 + math.exp(-black - 0.5))
    np.testing.assert_allclose(method.channel_weights(target, batch), [[p]], rtol=1e-6)


@pytest.mark.parametrize(("variant", "masks"), [("authors", 4), ("library", 4)])
def test_score_cam_scores_equal_masks_once(variant, masks):
    target, batch = network(), images(1)
    conv = target.net.conv2[0]
    conv.weight[1], conv.bias[1] = (
        4 * conv.weight[0],
        4 * conv.bias[0],
    )  # the same mask; 4 is exact in floats
    conv.weight[2], conv.bias[2] = 0, 1  # flat
    conv.bias[[3, 4]] = 1  # alive
    seen, whole = [], target.net[0].forward
    target(batch), target.features(batch)
    target.net[0].forward = lambda z: (seen.append(len(z)), whole(z))[1]
    weights = (
        ScoreCAM(variant=variant)
        .fit(target, images(4), None)
        .channel_weights(target, batch)[0]
    )
    assert sum(seen) == masks  # channels 0 = 1, 3, 4 and the empty mask
    assert seen == [3, 1]  # chunks of 3, whatever channel they belong to
    assert weights[0] == weights[1]
    assert (weights[2] == 0) == (variant == "authors")


# --------------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize("channels", [1, 3])
def test_edge_map_is_sobel_of_the_grey_image(channels):
    batch = images(channels=channels)
    maps = explain(EdgeMap(), network(channels), batch).heatmaps
    for x, edges in zip(batch.x.double().numpy(), maps):
        grey = x.mean(axis=0)
        gx, gy = (ndimage.sobel(grey, axis=a, mode="mirror") / 8 for a in (1, 0))
        np.testing.assert_allclose(edges, np.hypot(gx, gy), atol=1e-6)


def test_edge_map_of_a_ramp_is_its_slope():
    x = (torch.arange(8.0) / 10).expand(1, 1, 8, 8)
    edges = (
        EdgeMap()
        .explain(network(), Batch(x=x, y=torch.zeros(1, dtype=torch.int64)), None)
        .heatmaps[0]
    )
    np.testing.assert_allclose(edges[:, 1:-1], 0.1, rtol=1e-5)
    np.testing.assert_allclose(edges[:, [0, -1]], 0, atol=1e-7)


def test_random_map_knows_neither_target_nor_image():
    one = explain(RandomMap(), network(), images(500)).heatmaps
    x = Batch(x=torch.zeros(500, 3, 8, 8), y=torch.zeros(500, dtype=torch.int64))
    np.testing.assert_array_equal(
        one, explain(RandomMap(), network(3, seed=9), x).heatmaps
    )
    assert (
        abs(explain(RandomMap(), network(), images(), seed=4).heatmaps - one[:7]).max()
        > 0.1
    )
    counts = np.histogram(one, bins=10, range=(0, 1))[0]
    assert abs(counts - one.size / 10).max() < 5 * math.sqrt(one.size / 10)
