"""Networks that are asked for another class, drawn anew or shifted: what changes, what is shared, what stays."""

import pytest
import torch
from torch import nn

from benchmark.api import Batch, Target
from benchmark.shared.excitation_backprop import class_maps
from benchmark.shared.variants import asking, modules_with_weights, randomised, shifted
from benchmark.zoo.following import Following
from tests.helpers import own_networks
from tests.helpers.calling import images, network


def test_a_class_that_is_asked_for_is_predicted_by_a_constant():
    target, batch = network(), images()
    mark = target.fingerprint()
    for c in range(4):
        other = asking(target, batch, c)
        apart = other(batch.x) - target(batch)
        assert (other(batch.x).argmax(1) == c).all()
        assert (apart[:, [k for k in range(4) if k != c]] == 0).all()
        torch.testing.assert_close(
            apart[:, c], apart[:1, c].expand(5), atol=1e-5, rtol=0
        )
        x = batch.x.clone().requires_grad_()
        (mine,) = torch.autograd.grad(other(x)[:, c].sum(), x)
        (theirs,) = torch.autograd.grad(target(x)[:, c].sum(), x)
        assert torch.equal(mine, theirs)
    assert target.fingerprint() == mark


def test_with_one_image_the_class_is_just_above_the_others():
    target, batch = network(), images(1)
    other = asking(target, batch, int(target(batch).argmin()))
    first, second = other(batch.x)[0].topk(2).values
    assert 0 < first - second < 0.01 * target(batch).abs().max()


def test_a_network_that_predicts_it_already_is_returned():
    target, batch = network(), images(1)
    assert asking(target, batch, int(target(batch).argmax())) is target


def convolutional(*last):
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), *last, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return Target(net, name="pooled", classes="abcd", input_shape=(3, 8, 8))


@pytest.mark.parametrize(
    "last",
    [
        [nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()],  # as in SqueezeNet
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.BatchNorm1d(4)],
        [nn.Flatten(), nn.Linear(144, 4, bias=False)],
        [nn.Flatten(), nn.Linear(144, 4), nn.Softplus()],
    ],
)
def test_whatever_ends_a_network_it_can_be_asked(last):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), *last)
    target = Target(net, name="ends", classes="abcd", input_shape=(3, 8, 8))
    batch = images()
    for c in range(4):
        other = asking(target, batch, c)
        assert (other(batch.x).argmax(1) == c).all()
        assert other.layers == target.layers and net[-1] is last[-1]
        torch.testing.assert_close(
            other.head(other.features(batch.x, "0"), "0"), other(batch.x)
        )


def test_activations_that_are_averaged_to_logits_stay_and_with_them_where_they_excite():
    """A constant in the bias before the mean would spread what excites evenly over the image."""
    net = own_networks.seeded(own_networks.UNet)
    shape = (3, own_networks.SIDE, own_networks.SIDE)
    target = Target(net, name="unet", classes="abcde", input_shape=shape)
    batch = Batch(torch.rand(3, *shape), torch.zeros(3, dtype=torch.long))
    for c in range(5):
        other = asking(target, batch, c)
        assert (other(batch.x).argmax(1) == c).all()
        classes = torch.full((3,), c)
        theirs = class_maps(Following.of(target), batch.x, classes)
        assert torch.equal(class_maps(Following.of(other), batch.x, classes), theirs)


def test_only_the_named_layers_are_drawn_and_by_their_names():
    target = network()
    mark, state = target.fingerprint(), torch.random.get_rng_state()
    one = randomised(target, ["fc.0", "logits"], seed=5)
    other = randomised(target, ["logits", "conv1.0"], seed=5)
    third = randomised(target, ["logits"], seed=6)
    weights = [each.net.state_dict() for each in (target, one, other, third)]
    mine, first, second, third = weights
    assert torch.equal(first["logits.weight"], second["logits.weight"])
    assert not torch.equal(first["logits.weight"], third["logits.weight"])
    for name in mine:
        drawn = name.startswith(("fc.0", "logits"))
        assert torch.equal(mine[name], first[name]) != drawn
        assert (mine[name].data_ptr() == first[name].data_ptr()) != drawn
    bound = 1 / 10**0.5  # of nn.Linear(10, 4)
    assert first["logits.weight"].abs().max() <= bound
    assert target.fingerprint() == mark
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(p.requires_grad for p in one.net.parameters())


class Tokens(nn.Module):
    """A class token, attention, and a norm with running statistics before it."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.arange(8.0).view(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        z = self.patches(self.norm(x)).flatten(2).transpose(1, 2)
        z = torch.cat([self.token.expand(len(z), -1, -1), z], 1)
        return self.head(self.attention(z, z, z)[0][:, 0])


def test_modules_without_an_initialisation_of_their_own_are_shuffled():
    net = own_networks.seeded(Tokens)
    net.norm.running_mean.fill_(0.5)
    target = Target(net, name="tokens", classes="abcd", input_shape=(3, 8, 8))
    mark = target.fingerprint()
    names = modules_with_weights(target)
    assert set(names) == {
        "",
        "norm",
        "patches",
        "attention",
        "attention.out_proj",
        "head",
    }
    other = randomised(target, names, seed=1).net
    assert sorted(other.token.flatten().tolist()) == list(range(8))
    assert other.token.flatten().tolist() != list(range(8))
    assert (other.norm.running_mean == 0).all()
    assert not torch.equal(other.attention.in_proj_weight, net.attention.in_proj_weight)
    only = randomised(target, ["attention"], seed=1).net
    assert torch.equal(only.attention.in_proj_weight, other.attention.in_proj_weight)
    assert target.fingerprint() == mark


def test_a_shifted_network_gives_the_same_answers():
    target, batch = network(), images()
    mark = target.fingerprint()
    for c in (-1.0, 0.25):
        other = shifted(target, c)
        y = other(batch.x + c)
        torch.testing.assert_close(y, target(batch), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(other.pixel_mean, target.pixel_mean + c)
        assert other.net is target.net
    assert target.fingerprint() == mark
