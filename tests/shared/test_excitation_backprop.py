"""Excitation Backprop: every rule against a slow, literal twin in float64, its mass layer by layer,
hand-computed cases."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from benchmark import zoo
from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods.registry import load_module
from benchmark.shared import excitation_backprop as ex
from benchmark.store import ROOT
from benchmark.zoo.nets import BasicBlock

ExcitationBackprop = load_module(
    ROOT / "baselines" / "excitation_backprop.py"
).ExcitationBackprop


def rand(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def fill(module, seed=1):
    """Weights of both signs, float64, from a seed."""
    g = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            positive = "running_var" in name
            value = torch.randn(tensor.shape, generator=g, dtype=torch.float64)
            tensor.copy_(value.abs() + 0.5 if positive else value)
    return module


def literal(w, a, P):
    """Eq. 10 word by word for a dense layer: w (i, j), a (j,), P (i,) -> (j,)."""
    out = [0.0] * len(a)
    for i in range(len(P)):
        Z = sum(max(w[i][j], 0) * max(a[j], 0) for j in range(len(a)))
        for j in range(len(a)):
            if Z > 0:
                out[j] += float(P[i]) * max(w[i][j], 0) * max(a[j], 0) / Z
    return torch.tensor(out, dtype=torch.float64)


def matrix(f, shape):
    """The matrix (outputs, inputs) of a linear map of arrays of ``shape``."""
    columns = [
        f(e.reshape(1, *shape)).flatten()
        for e in torch.eye(int(np.prod(shape)), dtype=torch.float64)
    ]
    return torch.stack(columns, 1)


LINEAR = {
    "dense": (nn.Linear(12, 5), (12,)),
    "conv": (nn.Conv2d(2, 3, 3, padding=1, stride=2), (2, 5, 4)),
    "conv without bias": (nn.Conv2d(2, 3, (2, 3), bias=False), (2, 4, 4)),
    "grouped conv": (nn.Conv2d(4, 4, 3, groups=2), (4, 4, 4)),
    "average": (nn.AvgPool2d(2, ceil_mode=True), (2, 5, 4)),
    "global average": (nn.AdaptiveAvgPool2d(1), (3, 3, 2)),
    "upsampling": (nn.Upsample(size=(5, 5)), (1, 3, 3)),
}


@pytest.mark.parametrize("kind", LINEAR)
def test_linear_layers_follow_equation_10(kind):
    module, shape = LINEAR[kind]
    module, a = (
        fill(copy.deepcopy(module)),
        rand(1, *shape) - 0.2,
    )  # some inputs below 0 excite nothing
    free = copy.deepcopy(module)
    if getattr(free, "bias", None) is not None:
        free.bias.data.zero_()
    z, step = ex.trace(module, a)
    torch.testing.assert_close(z, module(a))
    P = torch.randn(
        3, *z.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    with torch.no_grad():
        w = matrix(free, shape)
        got = step(P)
    assert got.shape == (3, *a.shape)
    for k in range(3):
        expected = literal(w.tolist(), a.flatten().tolist(), P[k].flatten().tolist())
        torch.testing.assert_close(got[k].flatten(), expected)


def test_hand_computed():
    layer = nn.Linear(3, 2)
    layer.weight.data, layer.bias.data = (
        torch.tensor([[1.0, 2.0, -1.0], [0.0, -1.0, 3.0]]),
        torch.tensor([9.0, -9.0]),
    )
    a = torch.tensor([[2.0, 1.0, 1.0]])
    P = ex.trace(layer, a)[1](torch.tensor([[[0.25, 0.75]]]))
    torch.testing.assert_close(
        P, torch.tensor([[[0.125, 0.125, 0.75]]])
    )  # 1/4 (2/4, 2/4, 0) + 3/4 (0, 0, 1)
    c = ex.contrast(
        layer.weight.data, a
    )  # unit 0: (1/2, 1/2, 0) - (0, 0, 1); unit 1: (0, 0, 1) - (0, 1, 0)
    torch.testing.assert_close(
        c, torch.tensor([[[0.5, 0.5, -1.0]], [[0.0, -1.0, 1.0]]])
    )


def test_max_pooling_passes_to_the_winner():
    a = torch.tensor([[[[1.0, 2.0, 0.0, 0.0], [4.0, 3.0, 0.0, 5.0]]]])
    P = ex.trace(nn.MaxPool2d(2), a)[1](torch.tensor([[[[[0.25, 0.75]]]]]))
    assert P.flatten().tolist() == [0, 0, 0, 0, 0.25, 0, 0, 0.75]


def network(name, **options):
    side = {"squeezenet1_0": 64}.get(name, 32)
    net = zoo.build(name, (3, side, side), 4, options, seed=0)
    net = fill(net)
    for module in (
        net.modules()
    ):  # He's scale and small biases: every layer has units that are excited
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.weight.data *= (2 / module.weight[0].numel()) ** 0.5
    return net, rand(2, 3, side, side, seed=5)


NETS = {
    "cnn": {},
    "explainn_cnn": {},
    "xnn_cnn": {},
    "vgg11": {"width": 0.1, "resize": 32},
    "resnet10": {"width": 0.1},
    "squeezenet1_0": {},
    "mlp": {"width": 20, "depth": 3},
}


@pytest.mark.parametrize("name", NETS)
def test_mass_is_conserved_layer_by_layer(name):
    """Where all units are excited (weights above 0), the sum of P stays, for positive and signed P;
    with weights of both signs none is gained."""
    net, a = network(name, **NETS[name])
    b = a.clone()
    excited = copy.deepcopy(net)
    for key, tensor in excited.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(0 if "running_mean" in key else tensor.abs() / 4)
    for i, (own, layer) in enumerate(zip(net, excited, strict=True)):
        z, step = ex.trace(layer, a)
        torch.testing.assert_close(z, layer(a))
        P = rand(2, *z.shape, seed=i)
        P[1] -= 0.4
        Q = step(P)
        assert Q.shape == (2, *a.shape)
        torch.testing.assert_close(
            Q.flatten(2).sum(2), P.flatten(2).sum(2), atol=1e-9, rtol=1e-9
        )
        a = z
        y, step = ex.trace(own, b)
        torch.testing.assert_close(y, own(b))
        Q = step(P)[:1]
        assert (Q >= 0).all()
        assert (Q.flatten(2).sum(2) <= P[:1].flatten(2).sum(2) + 1e-9).all()
        assert Q.sum() > 0
        b = y


def test_a_unit_that_nothing_excites_loses_its_mass():
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[-1.0, -2.0], [1.0, 1.0]])
    P = ex.trace(layer, torch.ones(1, 2))[1](torch.tensor([[[0.5, 0.5]]]))
    assert P.flatten().tolist() == [0.25, 0.25]
    assert not ex.contrast(torch.zeros(1, 2), torch.ones(1, 2)).any()


def test_fire_modules_send_each_branch_its_own():
    net, x = network("squeezenet1_0")
    a, fire = net[:3](x), net.fire3  # conv1, pool1, fire2
    z, step = ex.trace(fire, a)
    torch.testing.assert_close(z, fire(a))
    half = z.shape[1] // 2
    P = rand(1, *z.shape)
    left, right = P.clone(), P.clone()
    left[:, :, half:], right[:, :, :half] = 0, 0
    torch.testing.assert_close(step(left) + step(right), step(P))
    only = nn.Sequential(fire.squeeze, nn.ReLU(), fire.expand1x1)
    torch.testing.assert_close(step(left), ex.trace(only, a)[1](P[:, :, :half]))


def test_a_residual_sum_splits_in_proportion():
    block = fill(BasicBlock(3, 5, stride=2))
    a = rand(2, 3, 6, 6)
    z, step = ex.trace(block, a)
    torch.testing.assert_close(z, block(a))
    r = block.residual(a)
    s = F.pad(block.shrink(a), (0, 0, 0, 0, 0, 2))
    P = rand(1, *z.shape)
    share = P * r.clamp(min=0) / (r.clamp(min=0) + s).clamp(min=1e-300)
    below = ex.trace(nn.Sequential(*block.residual), a)[1](share)
    below = below + ex.trace(block.shrink, a)[1](
        torch.where(s > 0, P - share, 0)[:, :, :3]
    )
    torch.testing.assert_close(step(P), below)


def test_batch_norm_is_folded_and_the_network_left_alone():
    norm = fill(
        nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU())
    )
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    a = rand(2, 2, 6, 6)
    z, step = ex.trace(norm, a)
    torch.testing.assert_close(z, norm(a))
    scale = norm[1].weight / (norm[1].running_var + norm[1].eps).sqrt()
    plain = nn.Conv2d(2, 3, 3, bias=False).double()
    plain.weight.data = norm[0].weight.data * scale.detach()[:, None, None, None]
    P = rand(1, *z.shape)
    torch.testing.assert_close(step(P), ex.trace(plain, a)[1](P))
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())


def test_a_batch_norm_by_itself_passes_where_it_excites():
    norm = fill(nn.BatchNorm1d(3))
    norm.weight.data = torch.tensor([2.0, -1.0, 1.0], dtype=torch.float64)
    a = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    assert ex.trace(norm, a)[1](torch.ones(1, 1, 3).double()).tolist() == [[[1, 0, 0]]]


def test_a_module_without_a_rule_is_named():
    with pytest.raises(TypeError, match="no rule for Sigmoid"):
        ex.trace(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()), torch.ones(1, 2))


# --------------------------------------------------------------------------------------------- maps


def target(name="cnn", side=32, **options):
    net, _ = network(name, **options)
    return Target(
        net.float(),
        name="tiny",
        classes="abcd",
        input_shape=(3, side, side),
        mean=[0.5] * 3,
        std=[0.25] * 3,
    )


def images(n=5, chunk=2, side=32):
    return Batch(
        x=rand(n, 3, side, side, seed=9).float(),
        y=torch.zeros(n, dtype=torch.int64),
        chunk=chunk,
    )


def explain(method, target, batch):
    rng = np.random.default_rng(0)
    return method.fit(target, batch, rng).explain(target, batch, rng).heatmaps


@pytest.mark.parametrize("name", NETS)
def test_every_network_of_the_zoo_has_maps(name):
    side = 64 if name == "squeezenet1_0" else 32
    t, batch = target(name, side, **NETS[name]), images(3, side=side)
    for method in (
        ExcitationBackprop(),
        ExcitationBackprop(variant="plain"),
        ExcitationBackprop(to="pixels"),
    ):
        maps = explain(method, t, batch)
        assert maps.shape == (3, side, side)
        assert maps.min() >= 0
        assert (maps.std((1, 2)) > 0).all()


def test_the_whole_network_against_the_chain_of_its_matrices():
    """Two dense layers, pixels in [0, 1]: c-MWP of a logit, written out."""
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Sequential(nn.Linear(9, 6), nn.ReLU()))
    net.add_module("logits", nn.Linear(6, 3))
    fill(net)
    net.fc1[0].bias.data += 4
    t = Target(
        net, name="dense", classes="abc", input_shape=(1, 3, 3), mean=[0.5], std=[0.25]
    )
    t.mean, t.std = t.mean.double(), t.std.double()
    x, c = rand(4, 1, 3, 3), torch.tensor([0, 1, 2, 0])
    got = ex.class_maps(t, x, c)
    for i in range(4):
        h = t.features(x[i : i + 1], "fc1")[0].tolist()
        top = net.logits.weight[c[i]].tolist()
        P = literal([top], h, [1.0]) - literal([[-v for v in top]], h, [1.0])
        expected = literal(
            net.fc1[0].weight.tolist(), x[i].flatten().tolist(), P.tolist()
        )
        torch.testing.assert_close(got[i].flatten(), expected.clamp(min=0))


def test_the_plain_map_keeps_all_its_mass_down_to_the_layer():
    t, batch = target(), images()
    for p in t.net.parameters():
        p.data.abs_()  # every unit that is on is excited
    P = F.one_hot(torch.arange(5) % 4, 4).float()[None]
    pool1 = t.features(batch.x, "pool1")
    Q = ex.trace(t.net[2:], pool1)[1](P)
    torch.testing.assert_close(Q.flatten(2).sum(2), torch.ones(1, 5))


def test_the_contrast_tells_classes_apart_better():
    t, x = target(), images(8).x
    maps = {
        c: torch.stack(
            [
                ex.class_maps(t, x, torch.full((8,), k), contrastive=c).flatten(1)
                for k in range(4)
            ]
        )
        for c in (True, False)
    }
    similar = {
        c: F.cosine_similarity(m[:1], m[1:], dim=2).mean().item()
        for c, m in maps.items()
    }
    assert similar[True] < similar[False] - 0.1


def test_unit_maps_of_a_pooled_layer():
    t, x = target(), images(3).x
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    P = rand(2, 3, 64, seed=2).float()
    maps = ex.unit_maps(t, x, P, "conv4", pool=pool)
    assert maps.shape == (2, 3, 32, 32)
    torch.testing.assert_close(ex.unit_maps(t, x, 2 * P, "conv4", pool=pool), 2 * maps)


def test_where_maps_are_taken():
    assert ex.first_map(target()) == "pool1"
    assert ex.first_map(target("resnet10", width=0.1)) == "stem"
    assert ex.first_map(target("vgg11", width=0.1, resize=32)) == "conv0"
    assert ex.first_map(target("mlp", width=5, depth=1)) == "pixels"
    t, batch = target(), images(2)
    at = {
        to: explain(ExcitationBackprop(to=to), t, batch)
        for to in (None, "pool1", "pool2")
    }
    np.testing.assert_array_equal(at[None], at["pool1"])
    assert abs(at["pool2"] - at["pool1"]).max() > 0


def test_a_network_without_rules_does_not_apply_and_settings_are_checked():
    net = nn.Sequential()
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc1", nn.Sequential(nn.Linear(3072, 4), nn.Sigmoid()))
    net.add_module("logits", nn.Linear(4, 2))
    t = Target(net, name="sigmoid", classes="ab", input_shape=(3, 32, 32))
    with pytest.raises(NotApplicable, match="no rule for Sigmoid"):
        explain(ExcitationBackprop(), t, images(2))
    with pytest.raises(ValueError, match="variant is 'contrastive'"):
        ExcitationBackprop(variant="c-MWP")
