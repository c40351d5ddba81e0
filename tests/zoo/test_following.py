"""Networks that are no plain chain, followed from layer to layer: against a literal twin and by their laws."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from baselines.excitation_backprop import ExcitationBackprop
from baselines.layer_z import LayerZ
from benchmark.api import Batch, NotApplicable, Target
from benchmark.papers.explainn.networks import last
from benchmark.papers.xnn.method import XNN
from benchmark.shared import excitation_backprop
from benchmark.shared.excitation_rules import Excitation, NoRule
from benchmark.zoo.following import Following
from tests.helpers.own_networks import CLASSES, GOOD, SHAPE, seeded


class Residual(nn.Module):
    """A stem, a residual block with a projection, two branches side by side, a mean, dense logits: as functions."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.pool = nn.MaxPool2d(2)
        self.inner, self.inner_norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.outer, self.outer_norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.way, self.way_norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.left, self.right = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 2, 3, padding=1)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        z = self.pool(F.relu_(self.stem_norm(self.stem(x))))
        r = torch.relu(self.inner_norm(self.inner(z)))
        r = self.outer_norm(self.outer(r))
        r += self.way_norm(self.way(z))
        z = r.relu()
        z = torch.cat([self.left(z).relu(), self.right(z).relu()], dim=1)
        return self.fc(z.mean((2, 3)))


def filled(net):
    """Weights of both signs and statistics from a seed, in float64."""
    g = torch.Generator().manual_seed(3)
    net = net.double().eval()
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            value = torch.randn(tensor.shape, generator=g, dtype=torch.float64)
            tensor.copy_(value.abs() + 0.5 if "running_var" in name else value)
    return net


def followed(net, shape=(2, 8, 8), classes="abc"):
    return Following(net, name="mine", classes=classes, input_shape=shape)


def images(shape=(2, 8, 8), n=2, dtype=torch.float32):
    x = np.random.default_rng(0).random((n, *shape))
    return torch.from_numpy(x).to(dtype)


# ------------------------------------------------------------------------------------------------ a literal twin


def matrix(linear, a):
    """The matrix (outputs, inputs) of a linear map without bias, of maps (c, h, w)."""
    units = torch.eye(a.numel(), dtype=a.dtype).view(-1, *a.shape)
    zero = linear(torch.zeros_like(a)[None])
    return (linear(units) - zero).flatten(1).T


def back(linear, a, P):
    """Eq. 10 word by word: P over the outputs (i,) -> P over the inputs a (j,)."""
    w = matrix(linear, a).clamp(min=0).numpy()
    a = a.flatten().clamp(min=0).numpy()
    out = np.zeros(len(a))
    for i, p in enumerate(P):
        Z = sum(w[i, j] * a[j] for j in range(len(a)))
        if Z > 0:
            out += [p * w[i, j] * a[j] / Z for j in range(len(a))]
    return out


@torch.no_grad()
def literal(net, x, c):
    """The plain MWP of class c of one image (2, 8, 8) over the output of ``pool``, step by step."""
    norm = lambda conv, bn: lambda a: bn(conv(a))
    stem = F.relu(net.stem_norm(net.stem(x[None])))
    z0 = net.pool(stem)[0]
    inner = norm(net.inner, net.inner_norm)
    outer = norm(net.outer, net.outer_norm)
    way = norm(net.way, net.way_norm)
    h = F.relu(inner(z0[None]))[0]
    r, s = outer(h[None])[0], way(z0[None])[0]
    z1 = F.relu(r + s)
    left, right = F.relu(net.left(z1[None]))[0], F.relu(net.right(z1[None]))[0]
    both = torch.cat([left, right])
    mean = both.mean((1, 2))
    P = back(net.fc, mean, np.eye(3)[c])
    P = back(lambda a: a.mean((2, 3)), both, P)
    n = left.numel()
    P = back(net.left, z1, P[:n]) + back(net.right, z1, P[n:])
    r, s = r.flatten().clamp(min=0).numpy(), s.flatten().clamp(min=0).numpy()
    share = np.divide(r, r + s, out=np.zeros_like(r), where=r + s > 0)
    rest = np.divide(s, r + s, out=np.zeros_like(s), where=r + s > 0)
    return back(inner, z0, back(outer, h, P * share)) + back(way, z0, P * rest)


def test_a_residual_network_follows_equation_10():
    net = filled(Residual())
    x = images(n=1, dtype=torch.float64)
    c = int(net(x).argmax())
    z = net.pool(F.relu(net.stem_norm(net.stem(x)))).detach()
    target = followed(copy.deepcopy(net).float())
    top = len(target.layers)
    run = target.chain[target.layers.index("pool") + 1 : top].double()
    target.net.double()
    target._split._dummy = target._split._dummy.double()
    y, pull = torch.func.vjp(run, z)
    (P,) = pull(F.one_hot(torch.tensor([c]), 3).double())
    torch.testing.assert_close(y, net(x))
    np.testing.assert_allclose(P.flatten().numpy(), literal(net, x[0], c), atol=1e-12)


@pytest.mark.parametrize("start", ["pool", "stem_norm"])
def test_no_mass_is_lost_behind_an_excited_unit(start):
    net = filled(Residual()).float()
    for name in ("stem", "inner", "outer", "way", "left", "right", "fc"):
        getattr(net, name).weight.data.abs_()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            (
                module.weight.data.abs_(),
                module.bias.data.zero_(),
                module.running_mean.zero_(),
            )
    target = followed(net)
    x = images()
    P = torch.eye(3)[:, None].expand(-1, 2, -1)
    a = target.features(x, start)
    _, step = excitation_backprop.trace(
        target.chain[target.layers.index(start) + 1 :], a
    )
    torch.testing.assert_close(step(P).flatten(2).sum(2), torch.ones(3, 2))


class Chained(nn.Module):
    """A chain of modules, hidden in a module."""

    def __init__(self, chain):
        super().__init__()
        self.parts = chain

    def forward(self, x):
        return self.parts(x) + 0


def test_a_chain_is_followed_as_chains_always_were():
    """The rules for modules and those for operations give the same maps."""
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(6, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    )
    net = filled(net).float()
    plain = Target(net, name="plain", classes="abc", input_shape=(2, 8, 8), layer="1")
    mine = followed(Chained(net))
    batch = Batch(x=images(), y=torch.tensor([0, 1]), ids=torch.arange(2))
    for of_plain, of_mine in ((None, None), ("pixels", "pixels"), ("4", "parts.4")):
        for variant in ("contrastive", "plain"):
            a = ExcitationBackprop(variant, of_plain).explain(plain, batch, None)
            b = ExcitationBackprop(variant, of_mine).explain(mine, batch, None)
            np.testing.assert_allclose(a.heatmaps, b.heatmaps, atol=1e-6)
    a = LayerZ(2, "7").fit(plain, batch, None).explain(plain, batch, None)
    b = LayerZ(2, "parts.7").fit(mine, batch, None).explain(mine, batch, None)
    np.testing.assert_allclose(a.concept_maps, b.concept_maps, atol=1e-6)


# ------------------------------------------------------------------------------------------- any network


REFUSED = {
    "mobilenet": "no rule for hardsigmoid",
    "vit": "no rule for attention",
    "swin": "no rule for layer norm",
    "patches": "no rule for attention",
    "functional": "no layer of weights that all of the image goes through",
}


@pytest.mark.parametrize("name", GOOD)
def test_any_network_is_followed_or_refused_in_a_sentence(name):
    target = followed(seeded(GOOD[name][0]), SHAPE, CLASSES)
    before = target.fingerprint()
    batch = Batch(x=images(SHAPE), y=torch.tensor([0, 1]), ids=torch.arange(2))
    if name in REFUSED:
        with pytest.raises(NotApplicable, match=REFUSED[name]):
            ExcitationBackprop().explain(target, batch, None)
    else:
        maps = ExcitationBackprop("plain").explain(target, batch, None).heatmaps
        assert maps.shape == (2, 32, 32)
        assert (maps >= 0).all() and maps.any((1, 2)).all()
    assert target.fingerprint() == before


def test_layers_are_those_that_all_of_the_image_goes_through():
    target = followed(filled(Residual()).float())
    assert target.layers == ("stem", "stem_norm", "pool", "fc")
    assert excitation_backprop.first_map(target) == "pool"
    shapes = {
        name: tuple(target.features(images(), name).shape[1:]) for name in target.layers
    }
    z = images()
    for name, link in target.chain.named_children():
        z = link(z)
        assert tuple(z.shape[1:]) == shapes[name]
    torch.testing.assert_close(z, target(images()))


def test_what_xnn_and_explainn_need_is_there_on_a_residual_network():
    net, x = filled(Residual()).float(), images(n=60)
    net.fc.bias.data -= net(x).mean(
        0
    )  # so that each class is predicted for some images
    target = followed(net)
    y = target(x).argmax(1)
    batch = Batch(x=x, y=y, ids=torch.arange(60))
    rng = np.random.default_rng(0)
    method = XNN(hidden=[4], epochs=2, restarts=1).fit(target, batch, rng)
    maps = method.explain(target, batch[:4], rng).concept_maps
    assert maps.shape[0] == 4 and maps.any()
    assert last(target).W is target.net.fc.weight


def test_a_copy_that_would_be_trained_is_refused():
    target = followed(filled(Residual()).float())
    for part in (target.chain, target.chain[:2]):
        with pytest.raises(NotApplicable, match="must be a plain chain"):
            copy.deepcopy(part)


class Around(nn.Module):
    """z -> f(z) + z, the z through an Identity that shares its node of autograd's graph."""

    def __init__(self, own=False):
        super().__init__()
        self.residual = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.shortcut = nn.Identity()
        self.scale = nn.Parameter(torch.ones(())) if own else 1

    def forward(self, z):
        return self.residual(z) * self.scale + self.shortcut(z)


def test_a_shortcut_that_hands_on_its_input_is_no_layer_of_the_way():
    body = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Identity(), Around(), nn.Flatten(), nn.Linear(144, 3)
    )
    target = followed(Chained(filled(body).float()))
    assert target.layers[:3] == ("parts.0", "parts.1", "parts.2")
    assert not [name for name in target.layers if "shortcut" in name]
    for layer in target.layers:  # each of them can be split at
        z = target.features(images(), layer)
        torch.testing.assert_close(target.head(z, layer), target(images()))


@pytest.mark.parametrize("own", [False, True])
def test_a_plain_chain_of_blocks_is_copied_if_its_weights_can_be_drawn(own):
    body = nn.Sequential(
        nn.Conv2d(2, 4, 3), Around(own), nn.Flatten(), nn.Linear(144, 3)
    )
    chain = followed(filled(body).float()).chain
    if own:
        with pytest.raises(NotApplicable, match="which Around does not draw"):
            copy.deepcopy(chain)
        return
    for part, original in ((chain, body), (chain[:2], body[:2])):
        other = copy.deepcopy(part)
        torch.testing.assert_close(other(images()), original(images()))
        assert {id(p) for p in other.parameters()}.isdisjoint(
            map(id, body.parameters())
        )
        assert len(list(other.parameters())) == len(list(original.parameters()))


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (lambda z: z * z.sigmoid(), "sigmoid"),
        (lambda z: z * z, "a gate"),
        (lambda z: z @ z.mT, "attention"),
        (lambda z: F.layer_norm(z, z.shape[1:]), "layer norm"),
        (lambda z: F.interpolate(z, scale_factor=2, mode="bicubic"), "bicubic"),
        (lambda z: torch.add(z, z, alpha=2), "a sum with a factor"),
        (lambda z: z.clone().index_fill_(0, torch.tensor([0]), 1.0), "index_fill"),
    ],
)
def test_operations_without_a_rule_are_named(operation, reason):
    z = torch.rand(1, 2, 4, 4, requires_grad=True)
    with pytest.raises(NoRule, match=reason), Excitation():
        operation(z)


def test_operations_by_hand():
    """Sums split by positive parts, differences pass to the first, constants scale nothing."""
    a = torch.tensor([3.0, 1.0, -1.0], requires_grad=True)
    b = torch.tensor([1.0, -2.0, 2.0], requires_grad=True)
    for f, to_a, to_b in (
        (lambda: a + b, [0.75, 1, 0], [0.25, 0, 1]),
        (lambda: a - b, [1, 1, 0], [0, 0, 0]),
        (lambda: 1 - a + b, [0, 0, 0], [1, 0, 0.5]),
        (lambda: 2 * a + 5 + b * 0, [1, 1, 0], [0, 0, 0]),
        (lambda: a / torch.tensor([2.0, -2.0, 2.0]) + b * 0, [1, 0, 0], [0, 0, 0]),
        (lambda: F.leaky_relu(a) + 0 * b, [1, 1, 0], [0, 0, 0]),
    ):
        with Excitation():
            z = f()
        torch.testing.assert_close(z, f())
        P = torch.autograd.grad(z, (a, b), torch.ones(3))
        assert [p.tolist() for p in P] == [to_a, to_b]
