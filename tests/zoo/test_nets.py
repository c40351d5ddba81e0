"""The networks: the split at every layer, the papers' shapes, and equality with torchvision's own."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from benchmark.api import Target
from benchmark.methods.registry import UnknownName
from benchmark.zoo import nets
from tests.helpers.imports import loaded

SMALL = {  # net: input shape, classes, options
    "mlp": ((1, 5, 4), 3, {"width": 7, "depth": 3}),
    "explainn_cnn": ((1, 28, 28), 10, {}),
    "xnn_cnn": ((2, 20, 18), 4, {}),
    "cnn": ((3, 24, 24), 5, {"maps": [3, 4, 5, 6], "hidden": 7}),
    "vgg11": ((3, 32, 32), 5, {"width": 0.1}),
    "resnet10": ((3, 16, 16), 5, {"width": 0.1}),
    "resnet": ((3, 16, 16), 5, {"maps": [4, 6, 8], "blocks": [1, 2, 1]}),
    "vit": ((3, 12, 12), 5, {"patch": 3, "width": 8, "heads": 2}),
    "squeezenet1_0": ((3, 64, 64), 6, {}),
    "vgg16": ((3, 32, 32), 2, {}),
    "vgg19": ((3, 32, 32), 2, {"norm": True}),
}
BIG = ("vgg16", "vgg19")  # 0.5 GB of weights


def test_every_net_is_here():
    assert SMALL.keys() == nets.NETS.keys()


def images(shape, n=3):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in BIG else ()) for n in SMALL]
)
def test_head_of_features_is_the_network_at_every_layer(name):
    shape, classes, options = SMALL[name]
    net = nets.build(name, shape, classes, options, seed=3)
    target = Target(
        net,
        name=name,
        classes=[str(c) for c in range(classes)],
        input_shape=shape,
        mean=[0.4] * shape[0],
        std=[0.3] * shape[0],
        layer=nets.NETS[name].layer,
    )
    x = images(shape)
    logits = target(x)
    assert logits.shape == (3, classes)
    assert logits.std() > 0
    assert torch.equal(logits, net((x - 0.4) / 0.3))
    assert target.layers
    dominating = []
    for layer in target.layers:
        try:
            z = target.features(x, layer)
        except ValueError:  # part of the network goes past a layer inside a block
            continue
        dominating.append(layer)
        y = target.head(z, layer)
        folded = name == "vit" and torch.allclose(y, logits, atol=1e-6)
        assert folded or torch.equal(y, logits), layer
    assert target.layer in (None, *dominating)
    assert name == "vit" or len(dominating) == len(target.layers)
    spatial = nets.spatial_layers(net, shape)
    for layer, expected in spatial.items():
        assert target.features(x, layer).shape[1:] == expected
    assert (target.layer is None) == (name == "mlp")
    assert target.layer is None or target.features(x).shape[2:].numel() > 1


def test_in_place_activations_are_off():
    net = nets.build("squeezenet1_0", (3, 64, 64), 6, seed=0)
    target = Target(
        net, name="t", classes="abcdef", input_shape=(3, 64, 64), layer="fire9"
    )
    before = target.features(x := images((3, 64, 64)), "conv1").clone()
    z = target.features(x, "conv1")
    target.head(z, "conv1")
    assert torch.equal(z, before)


# --------------------------------------------------------------------------------------------- the papers' numbers


def test_mlp_has_a_bias_in_the_first_layer_only():
    net = nets.build("mlp", (1, 28, 28), 10, {"width": 100, "depth": 10})
    assert [name for name, _ in net.named_parameters() if name.endswith("bias")] == [
        "fc1.0.bias"
    ]
    assert nets.parameter_count(net) == 784 * 100 + 100 + 9 * 100 * 100 + 100 * 10
    assert len(net) == 12
    everywhere = nets.build(
        "mlp", (1, 28, 28), 10, {"width": 100, "depth": 10, "bias": "all"}
    )
    assert nets.parameter_count(everywhere) == nets.parameter_count(net) + 9 * 100 + 10


@pytest.mark.parametrize("activation", nets.ACTIVATIONS)
def test_mlp_has_the_activation_that_is_asked_for(activation):
    net = nets.build(
        "mlp", (1, 2, 2), 3, {"width": 5, "depth": 2, "activation": activation}, seed=0
    )
    x = torch.linspace(-1, 1, 8).view(2, 1, 2, 2)
    z = net.fc2[0](net.fc1(net.flatten(x)))
    torch.testing.assert_close(net[:3](x), getattr(torch.nn.functional, activation)(z))
    if activation != "relu":  # the weights are those of the ReLU network
        torch.testing.assert_close(
            nets.build("mlp", (1, 2, 2), 3, {"width": 5, "depth": 2}, seed=0)
            .fc2[0]
            .weight,
            net.fc2[0].weight,
        )


def test_mlp_has_torchs_default_initialisation():
    weight = (
        nets.build("mlp", (1, 28, 28), 10, seed=0).fc5[0].weight.detach()
    )  # uniform, bound 1/sqrt(fan_in)
    assert 0.099 < weight.abs().max() <= 0.1
    assert weight.std() == pytest.approx(0.1 / 3**0.5, rel=0.02)


def test_cladecs_vgg11_is_table_1():
    net = nets.build("vgg11", (1, 32, 32), 10)
    convolutions = 9 * (
        1 * 32
        + 32 * 64
        + 64 * 128
        + 128 * 128
        + 128 * 256
        + 256 * 256
        + 256 * 512
        + 512 * 512
    )
    norms = 2 * (32 + 64 + 128 + 128 + 256 + 256 + 512 + 512)
    assert nets.parameter_count(net) == convolutions + norms + 512 * 10 + 10
    assert nets.parameter_count(net) / 1e6 == pytest.approx(4.66, abs=0.015)
    shapes = nets.spatial_layers(net, (1, 32, 32))
    assert shapes == {
        "conv0": (32, 16, 16),
        "conv1": (64, 8, 8),
        "conv2a": (128, 8, 8),
        "conv2": (128, 4, 4),
        "conv3a": (256, 4, 4),
        "conv3": (256, 2, 2),
        "conv4a": (512, 2, 2),
    }
    larger = nets.build("vgg11", (1, 32, 32), 10, {"first_stride": 1})
    twice = {name: (c, 2 * h, 2 * w) for name, (c, h, w) in shapes.items()}
    assert nets.spatial_layers(larger, (1, 32, 32)) == twice | {"conv4": (512, 2, 2)}
    assert nets.build("vgg11", (1, 32, 32), 10, seed=0)[:8](
        images((1, 32, 32))
    ).shape == (
        3,
        512,
        1,
        1,
    )


def test_cladecs_resnet10():
    net = nets.build("resnet10", (3, 32, 32), 100)
    stages = ((64, 64), (64, 128), (128, 256), (256, 512))
    convolutions = 9 * (3 * 64 + sum(c * d + d * d for c, d in stages))
    assert (
        nets.parameter_count(net)
        == convolutions + 2 * (64 + sum(2 * d for _, d in stages)) + 512 * 100
    )
    assert nets.spatial_layers(net, (3, 32, 32)) == {
        "stem": (64, 32, 32),
        "stage1": (64, 32, 32),
        "stage2": (128, 16, 16),
        "stage3": (256, 8, 8),
        "stage4": (512, 4, 4),
    }
    assert net.logits.bias is None


def test_a_blocks_shortcut_is_an_average_and_zeros():
    block = nets.BasicBlock(1, 2, stride=2).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    z = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])  # (1, 1, 2, 2)
    assert block(z).tolist() == [
        [[[4.0]], [[0.0]]]
    ]  # the mean of the map, and a map of zeros
    assert block(-z).tolist() == [[[[0.0]], [[0.0]]]]  # rectified after the sum


def test_explainns_cnn():
    net = nets.build("explainn_cnn", (1, 28, 28), 10)
    assert nets.spatial_layers(net, (1, 28, 28)) == {
        "conv1": (20, 26, 26),
        "pool1": (20, 13, 13),
        "conv2": (40, 11, 11),
        "pool2": (40, 5, 5),
    }  # fmt: skip  (Keras' shapes)
    assert (
        nets.parameter_count(net)
        == (9 + 1) * 20 + (9 * 20 + 1) * 40 + (1000 + 1) * 64 + 65 * 10
    )
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.25, 0.5]


def test_the_small_cnn_and_its_linear_head():
    assert nets.spatial_layers(nets.build("cnn", (3, 48, 48), 8), (3, 48, 48))[
        "conv4"
    ] == (
        64,
        6,
        6,
    )
    net = nets.build("cnn", (3, 48, 48), 8, {"hidden": 0}, seed=0).eval()
    psi, head = net[:-2], net[-2:]  # conv4 is the last layer before the average
    z = psi(images((3, 48, 48)))
    assert z.shape == (3, 64, 6, 6)
    assert torch.allclose(head(2 * z) - head(z), head(z) - net.logits.bias, atol=1e-5)


def test_representative_interpretations_omega():
    plain, normed = (
        nets.build("vgg19", (3, 224, 224), 2, {"norm": norm}) for norm in (False, True)
    )
    assert nets.spatial_layers(plain, (3, 224, 224))["conv5_4"] == (512, 14, 14)
    assert nets.spatial_layers(normed, (3, 224, 224))["conv5_4"] == (512, 14, 14)
    assert nets.parameter_count(normed) == nets.parameter_count(plain) + 2 * 100_352


def test_resize_is_the_first_layer_and_nearest():
    net = nets.build("vgg11", (1, 28, 28), 10, {"resize": 32, "width": 0.1}, seed=0)
    x = images((1, 28, 28))
    rows = torch.arange(32) * 28 // 32
    assert torch.equal(net.resize(x), x[:, :, rows][:, :, :, rows])
    assert net(x).shape == (3, 10)


# --------------------------------------------------------------------------------------------- torchvision


@pytest.mark.parametrize(
    "name", ["squeezenet1_0", *(pytest.param(n, marks=pytest.mark.slow) for n in BIG)]
)
def test_the_layers_compute_what_torchvisions_network_does(name):
    size = 64
    theirs = getattr(torchvision.models, name)(num_classes=7).eval()
    ours = nets.build(name, (3, size, size), 7)
    state = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(state, assign=True)
    x = images((3, size, size), 2)
    with torch.no_grad():
        assert torch.allclose(ours.eval()(x), theirs(x), atol=1e-5)
        cut = (
            list(dict(ours.named_children())).index(
                "fire9" if name.startswith("s") else "pool5"
            )
            + 1
        )
        assert torch.allclose(ours[:cut](x), theirs.features(x), atol=1e-5)


def test_torchvisions_weights_go_where_they_belong():
    theirs = torchvision.models.squeezenet1_0()
    state = nets.from_torchvision("squeezenet1_0", theirs.state_dict())
    ours = nets.build("squeezenet1_0", (3, 64, 64), 7, seed=0)
    missing, unexpected = ours.load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["conv10.1.weight", "conv10.1.bias"], [])
    x = images((3, 64, 64))
    assert torch.allclose(ours[:12].eval()(x), theirs.eval().features(x), atol=1e-5)


def test_another_networks_weights_are_refused():
    state = torchvision.models.squeezenet1_1().state_dict()
    with pytest.raises(
        ValueError,
        match=r"not a state dict of torchvision's squeezenet1_0: features\.0\.weight",
    ):
        nets.from_torchvision("squeezenet1_0", state)


# --------------------------------------------------------------------------------------------- building


def test_the_seed_decides_the_weights_and_the_global_state_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (
        nets.build("xnn_cnn", (1, 28, 28), 10, seed=s).state_dict() for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("vgg12", {}, "no net 'vgg12'; did you mean .*vgg11"),
        ("mlp", {"widht": 3}, "no option of mlp 'widht'; did you mean width"),
    ],
)
def test_unknown_names_suggest_near_ones(name, options, message):
    with pytest.raises(UnknownName, match=message):
        nets.build(name, (1, 28, 28), 10, options)


@pytest.mark.parametrize(
    "name, shape, options",
    [
        ("mlp", (1, 8, 8), {"bias": "second"}),
        ("mlp", (1, 8, 8), {"activation": "step"}),
        ("mlp", (1, 8, 8), {"width": "wide"}),
        ("explainn_cnn", (1, 5, 5), {}),
        ("squeezenet1_0", (1, 64, 64), {}),
        ("vgg19", (3, 16, 16), {"norm": True}),
    ],
)
def test_what_does_not_fit_is_one_line(name, shape, options):
    with pytest.raises(
        ValueError, match=f"^net {name} with options .* for images "
    ) as error:
        nets.build(name, shape, 3, options)
    assert "\n" not in str(error.value)


def test_a_dry_run_changes_nothing():
    net = nets.build("vgg11", (1, 32, 32), 3, {"width": 0.1}, seed=0)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net[0].eval()
    modes = [m.training for m in net.modules()]
    nets.spatial_layers(net, (1, 32, 32))
    assert [m.training for m in net.modules()] == modes
    assert all(
        torch.equal(value, before[key]) for key, value in net.state_dict().items()
    )


@pytest.mark.parametrize("name", ["cnn", "resnet", "vit"])
def test_building_a_network_loads_no_compiler(name):
    """torch._dynamo takes longer to import than a small method to run."""
    code = f"from benchmark.zoo import nets; nets.build({name!r}, (3, 48, 48), 8)"
    assert loaded(code, "torch._dynamo", "sympy") == set()


def test_seeded_decides_torchs_own_draws():
    with nets.seeded(4):
        a = torch.rand(3)
    with nets.seeded(4):
        b = torch.rand(3)
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("vgg11", (1, 32, 32)), ("resnet10", (3, 32, 32)), ("cnn", (3, 48, 48))],
)
def test_folded_batch_norm_equals_eval_mode_at_every_layer(name, shape):
    net = nets.build(name, shape, 10, seed=3)
    x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))
    net(x), net(x)  # running statistics that are not the initial ones
    net.eval()
    with torch.no_grad():
        expected = [x := layer(x) for layer in net]
        x = torch.rand(8, *shape, generator=torch.Generator().manual_seed(1))
        folded = nets.fold_norm(net)
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
        for layer, z in zip(folded, expected):
            x = layer(x)
            torch.testing.assert_close(x, z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("side", "stride"), [(1, 1), (2, 1), (2, 2), (3, 1)])
def test_a_convolution_on_a_map_below_its_kernel_runs_as_dense(side, stride):
    conv, plain = (
        nets.Conv(5, 7, 3, stride, padding=1),
        torch.nn.Conv2d(5, 7, 3, stride, padding=1),
    )
    plain.load_state_dict(conv.state_dict())
    z = torch.randn(4, 5, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(conv(z), plain(z), rtol=1e-5, atol=1e-6)
        assert (conv in nets._DENSE) == (side < 3)
        conv.weight[0] = (
            0  # as an intervention would: the kept matrix is of other weights now
        )
        plain.weight[0] = 0
        torch.testing.assert_close(conv(z), plain(z), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(
            copy.deepcopy(conv)(z), plain(z), rtol=1e-5, atol=1e-6
        )
        torch.testing.assert_close(
            torch.vmap(conv)(z[:, None])[:, 0], plain(z), rtol=1e-5, atol=1e-6
        )
        assert conv(z[:0]).shape == plain(z[:0]).shape
        torch.testing.assert_close(
            copy.deepcopy(conv).double()(z.double()),
            plain(z).double(),
            rtol=1e-5,
            atol=1e-6,
        )
        conv.weight = torch.nn.Parameter(2 * plain.weight)
        torch.testing.assert_close(conv(z), plain(2 * z), rtol=1e-5, atol=1e-5)
    weight = torch.zeros_like(conv.weight)
    swapped = torch.func.functional_call(conv, {"weight": weight}, (z,))
    assert torch.equal(swapped, conv.bias[:, None, None].expand_as(swapped))


def test_gradients_do_not_go_through_the_dense_matrix():
    conv, z = nets.Conv(5, 7, 3, padding=1), torch.ones(1, 5, 2, 2, requires_grad=True)
    with torch.no_grad():
        conv(z)
    (gradient,) = torch.autograd.grad(conv(z).sum(), z)
    taps = [
        [conv.weight[:, :, a : a + 2, b : b + 2].sum((0, 2, 3)) for b in (0, 1)]
        for a in (0, 1)
    ]  # that reach a pixel
    torch.testing.assert_close(
        gradient[0], torch.stack([torch.stack(row) for row in taps]).permute(2, 0, 1)
    )
