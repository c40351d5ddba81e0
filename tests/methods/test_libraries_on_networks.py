"""Other libraries on the zoo's architectures at toy size: sums, options, and nothing is left."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods import registry
from benchmark.methods.plain_networks import plain
from benchmark.methods.registry import MethodRef
from benchmark.zoo import nets

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning"
    ),
]

NETWORKS = {
    "cnn": {"maps": [4, 8, 8, 8], "hidden": 8},
    "explainn_cnn": {},
    "resnet10": {"width": 0.1},
    "vgg11": {"width": 0.1, "resize": 40},
}


def network(name, biased=False):
    """A network of the zoo with random weights, as it is explained; without biases unless ``biased``."""
    net = nets.build(name, (3, 32, 32), 4, NETWORKS[name], seed=0).eval()
    net = nets.fold_norm(net)
    for key, parameter in net.named_parameters():
        if key.endswith("bias") and not biased:
            nn.init.zeros_(parameter)
    return Target(
        net,
        name=f"toy/{name}",
        classes="abcd",
        input_shape=(3, 32, 32),
        mean=[0.4],
        std=[0.3],
        layer=nets.NETS[name].layer,
    )


@pytest.fixture(scope="module")
def batch():
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return Batch(x=x, y=torch.arange(3), ids=torch.arange(3))


def maps(entry, target, batch, seed=0):
    pytest.importorskip(entry.partition(":")[0])
    before = target.fingerprint()
    method = MethodRef.parse(entry).build()
    found = method.explain(target, batch, np.random.default_rng(seed)).heatmaps
    assert target.fingerprint() == before
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_plain_network_computes_the_same_by_torchs_own_modules(name, batch):
    target = network(name, biased=True)
    copied = plain(target.net)
    assert not any(isinstance(m, nets.Conv | nets.BasicBlock) for m in copied.modules())
    z = (batch.x - target.mean) / target.std
    torch.testing.assert_close(copied(z), target(batch.x))
    mine = {p.data_ptr() for p in target.net.parameters()}
    assert mine.isdisjoint(p.data_ptr() for p in copied.parameters())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("entry", ["captum:LRP", "zennit:EpsilonPlus"])
def test_relevance_adds_up_to_the_logit(entry, name, batch):
    target = network(name)
    logit = target(batch.x).amax(dim=1).numpy()
    total = maps(entry, target, batch).sum(axis=(1, 2))
    np.testing.assert_allclose(total, logit, rtol=0.01, atol=1e-5)


@pytest.mark.parametrize(("name", "layer"), [("cnn", "conv1"), ("resnet10", "stem")])
def test_relevance_of_a_layer_adds_up_to_the_logit(name, layer, batch):
    """A layer of the images' size, which needs no resizing."""
    target = network(name)
    logit = target(batch.x).amax(dim=1).numpy()
    total = maps(f"captum:LayerLRP?layer={layer}", target, batch).sum(axis=(1, 2))
    np.testing.assert_allclose(total, logit, rtol=0.01, atol=1e-5)


def test_captums_relevance_passes_activations_and_refuses_other_modules(batch):
    target = network("cnn")
    target.net.fc1[1] = nn.LeakyReLU()
    assert maps("captum:LRP", target, batch).any()
    target.net.fc1[1] = nn.Softmax(dim=1)
    with pytest.raises(NotApplicable, match=r"no rule for fc1\.1, a Softmax"):
        maps("captum:LRP", target, batch)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.MultiheadAttention(8, 2)

    def forward(self, z):
        tokens = z.flatten(2).permute(2, 0, 1)
        return self.heads(tokens, tokens, tokens)[0].mean(dim=0)


def test_zennit_is_not_applicable_to_attention(batch):
    net = nn.Sequential()
    net.add_module("conv", nn.Conv2d(3, 8, 4, stride=4))
    net.add_module("attention", Attention())
    target = Target(net, name="toy/a", classes="abcdefgh", input_shape=(3, 32, 32))
    with pytest.raises(NotApplicable, match=r"attention in layer attention\.heads"):
        maps("zennit:EpsilonPlus", target, batch)


@pytest.mark.parametrize("method", ["Saliency", "LRP", "LayerGradCam"])
def test_a_noise_tunnel_without_noise_is_its_method(method, batch):
    target = network("cnn")
    entry = f"captum:NoiseTunnel?attribution_method={method}&stdevs=0"
    expected = maps(f"captum:{method}", target, batch)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        maps(entry, target, batch), expected, rtol=1e-3, atol=1e-4 * scale
    )


def test_a_noise_tunnel_passes_options_to_its_method(batch):
    target = network("cnn")
    entry = "captum:NoiseTunnel?attribution_method=Saliency&stdevs=0&abs=false"
    expected = maps("captum:Saliency?abs=false", target, batch)
    np.testing.assert_allclose(maps(entry, target, batch), expected, atol=1e-6)
    assert expected.min() < 0


def test_squares_are_the_windows_of_occlusion(batch):
    target = network("cnn", biased=True)
    windows = maps("captum:Occlusion?sliding_window_shapes=8&strides=8", target, batch)
    squares = maps("captum:FeatureAblation?feature_mask=8", target, batch)
    np.testing.assert_allclose(squares, windows, atol=1e-5)
    assert squares.any()


@pytest.mark.parametrize("name", ["Lime", "KernelShap"])
def test_few_samples_perturb_squares(name, batch):
    """Five squares to a side: of 7 pixels, in an image of 32."""
    found = maps(f"captum:{name}", network("cnn", biased=True), batch)
    square = found[:, 7:14, 7:14]
    assert (square == square[:, :1, :1]).all()
    assert len(np.unique(found[0])) <= 25
    assert MethodRef.parse(f"captum:{name}").build().name == f"{name} (captum, squares)"


def test_segments_are_those_of_each_image(batch):
    image = batch.x.clone()
    image[:, :, :16], image[:, :, 16:] = 0.1, 0.9  # two halves
    halves = Batch(x=image, y=batch.y, ids=batch.ids)
    target = network("cnn", biased=True)
    found = maps("captum:FeatureAblation?segments=8", target, halves)
    assert 2 <= len(np.unique(found[0])) <= 12
    assert not np.intersect1d(found[0, :14], found[0, 18:]).size


@pytest.fixture
def opposite_signs(monkeypatch):
    """A LAPACK that returns the other of the two right answers."""
    svd = np.linalg.svd

    def other(a, **options):
        u, s, vt = svd(a, **options)
        return -u, s, -vt

    return lambda: monkeypatch.setattr(np.linalg, "svd", other)


EIGEN = ["EigenCAM", "EigenGradCAM", "GradCAM?eigen_smooth=true"]


@pytest.mark.parametrize("entry", EIGEN)
def test_the_sign_of_lapack_decides_no_oriented_map(entry, batch, opposite_signs):
    target = network("cnn", biased=True)
    entry = f"pytorch_grad_cam:{entry}"
    theirs = entry + ("&" if "?" in entry else "?") + "orient=false"
    first, raw = maps(entry, target, batch), maps(theirs, target, batch)
    opposite_signs()
    np.testing.assert_array_equal(maps(entry, target, batch), first)
    assert not np.array_equal(maps(theirs, target, batch), raw)


def test_an_oriented_map_shows_what_the_layer_responds_to(batch, opposite_signs):
    target = network("cnn", biased=True)
    z = target.features(batch.x).sum(dim=1)[:, None]
    z = nn.functional.interpolate(z, (32, 32), mode="bilinear")[:, 0].numpy()
    for _ in range(2):
        found = maps("pytorch_grad_cam:EigenCAM", target, batch)
        for one, response in zip(found, z, strict=True):
            assert np.corrcoef(one.ravel(), response.ravel())[0, 1] > 0
        opposite_signs()


def test_the_librarys_own_map_is_there(batch):
    cams = pytest.importorskip("pytorch_grad_cam")
    target = network("cnn", biased=True)
    model = nn.Sequential(plain(target.net))
    z = (batch.x - target.mean) / target.std
    expected = cams.EigenCAM(model, [model[0].conv4])(z, None)
    found = maps("pytorch_grad_cam:EigenCAM?orient=false", target, batch)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("entry", "name", "remark"),
    [
        ("pytorch_grad_cam:EigenCAM", "(pytorch-grad-cam, oriented)", "orient=false"),
        (
            "pytorch_grad_cam:EigenCAM?orient=false",
            "sign of LAPACK)",
            "on this machine",
        ),
        ("pytorch_grad_cam:LayerCAM", "LayerCAM (pytorch-grad-cam)", ""),
        ("captum:DeepLift", "DeepLift (captum)", "max pooling"),
        (
            "captum:NoiseTunnel?attribution_method=DeepLift",
            "NoiseTunnel",
            "max pooling",
        ),
        ("captum:Saliency", "Saliency (captum)", ""),
        ("zennit:EpsilonPlus", "EpsilonPlus (zennit)", ""),
    ],
)
def test_what_a_reader_should_know_is_said(entry, name, remark):
    pytest.importorskip(entry.partition(":")[0])
    ref = MethodRef.parse(entry)
    assert name in ref.build().name
    said = registry.remark(ref)
    assert remark in said and bool(said) == bool(remark)


@pytest.mark.parametrize(
    "entry",
    [
        "AblationCAM",
        "FinerCAM",
        "FinerCAM?base_method=LayerCAM",
        "FullGrad",
        "HiResCAM?eigen_smooth=true",
        "RefineCAM",
        "ScoreCAM",
        "SESS?num_scales=2",
        "ShapleyCAM",
    ],
)
def test_every_map_of_pytorch_grad_cam_works_and_prints_nothing(entry, batch, capfd):
    cams = pytest.importorskip("pytorch_grad_cam")
    if not hasattr(cams, entry.partition("?")[0]):
        pytest.skip("not in this version")
    found = maps(f"pytorch_grad_cam:{entry}", network("cnn", biased=True), batch)
    assert found.shape == (3, 32, 32) and found.std(axis=(1, 2)).min() > 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "entry",
    ["pytorch_grad_cam:AblationCAM?layer=fc1", "captum:LayerGradCam?layer=fc1"],
)
def test_a_flat_layer_is_not_applicable(entry, batch):
    with pytest.raises(NotApplicable, match="layer fc1 of toy/cnn has no spatial"):
        maps(entry, network("cnn"), batch)


def test_a_map_that_fails_leaves_neither_hooks_nor_functions(batch, monkeypatch):
    cams = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam import eigen_cam

    before = eigen_cam.get_2d_projection

    def fail(*_, **__):
        raise IndexError("swallowed by the library's own `with`")

    monkeypatch.setattr(cams.EigenCAM, "get_cam_image", fail)
    with pytest.raises(IndexError, match="swallowed"):
        maps("pytorch_grad_cam:EigenCAM", network("cnn"), batch)
    assert eigen_cam.get_2d_projection is before
