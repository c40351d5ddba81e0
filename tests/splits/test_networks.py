"""Networks of one's own: those that can be explained agree with themselves split, the others are refused in a line."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from baselines.grad_cam import GradCAM
from baselines.grad_cam_plusplus import GradCAMPlusPlus
from baselines.score_cam import ScoreCAM
from benchmark.api import Batch, NotApplicable, Target
from benchmark.methods.plain_networks import plain
from benchmark.methods.registry import MethodRef
from benchmark.metrics.faithfulness import deletion_auc, insertion_auc
from benchmark.splits.networks import unwrapped
from benchmark.splits.tokens import Maps
from tests.helpers.own_networks import CLASSES, GOOD, SHAPE, SIDE, seeded


def target_of(net, **changes):
    given = {
        "name": "mine",
        "classes": CLASSES,
        "input_shape": SHAPE,
        "mean": [0.4, 0.5, 0.6],
        "std": [0.3, 0.3, 0.2],
    }
    return Target(net, **(given | changes))


def images(n=6):
    x = torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))
    return Batch(x=x, y=torch.arange(n) % 5, ids=torch.arange(n), chunk=4)


@pytest.fixture(scope="module")
def targets():
    """Each of the networks, made when it is first asked for."""
    made = {}

    def target(name):
        if name not in made:
            made[name] = target_of(seeded(GOOD[name][0]))
        return made[name]

    return target


@pytest.mark.parametrize("name", GOOD)
def test_a_network_agrees_with_its_split(name, targets):
    F, batch = targets(name), images()
    before = F.fingerprint()
    layer = F.layer or F.layers[0]
    z = F.features(batch, layer)
    whole = F.net((batch.x - F.mean) / F.std)
    torch.testing.assert_close(F(batch), whole)
    torch.testing.assert_close(F.head(z, layer), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(F.head(z[2:5], layer), whole[2:5], rtol=1e-4, atol=1e-5)
    assert F.fingerprint() == before


@pytest.mark.parametrize("name", GOOD)
def test_the_last_layer_with_positions_is_found(name, targets):
    _, layer, shape = GOOD[name]
    F = targets(name)
    assert F.layer == layer
    assert F.features(images(2).x).shape[1:] == shape


def gradient_in_one_pass(F, x):
    """dy/dz of the predicted class in an ordinary forward and backward pass: what the layer gives keeps its gradient.

    It is copied behind the layer, as what follows may change it in place.
    """
    kept = []

    def keep(module, args, out):
        out.requires_grad_()
        kept.append(out)
        return out.clone()

    handle = F.net.get_submodule(F.layer).register_forward_hook(keep)
    y = F.net((x - F.mean) / F.std)
    handle.remove()
    (gradient,) = torch.autograd.grad(y.amax(1).sum(), kept)
    return gradient


@pytest.mark.parametrize("name", GOOD)
def test_gradients_of_the_head_are_those_of_one_pass(name, targets):
    F, x = targets(name), images().x
    z = F.features(x).detach().requires_grad_()
    (found,) = torch.autograd.grad(F.head(z).amax(1).sum(), z)
    expected = gradient_in_one_pass(F, x)
    fold = F.fold(F.layer)
    if fold is not None:
        expected = fold(expected)
    expected = expected.as_subclass(Tensor)
    assert expected.abs().max() > 0
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize("name", GOOD)
def test_cams_and_their_metrics_run(name, targets):
    F, batch, rng = targets(name), images(), np.random.default_rng(0)
    before = F.fingerprint()
    for method in (GradCAM(), GradCAMPlusPlus(), ScoreCAM(channels=2)):
        e = method.fit(F, batch, rng).explain(F, batch, rng)
        assert e.heatmaps.shape == (6, SIDE, SIDE)
    for metric in (insertion_auc, deletion_auc):
        assert np.isfinite(metric(e, F, batch, rng, **metric.settings[0])).all()
    assert F.fingerprint() == before


@pytest.mark.parametrize("name", ["resnet", "vit", "residual"])
def test_gradients_at_the_pixels_pass_through_the_split(name, targets):
    F = targets(name)
    x = images().x
    gradients = []
    for f in (F, lambda x: F.head(F.features(x))):
        pixels = x.clone().requires_grad_()
        gradients += torch.autograd.grad(f(pixels).sum(), pixels)
    torch.testing.assert_close(*gradients)


def test_what_follows_a_layer_in_place_leaves_its_features_alone(targets):
    F, batch = targets("residual"), images()
    for layer in ("stem", "pool"):
        z = F.features(batch, layer)
        before = z.clone()
        F.head(z, layer)
        assert torch.equal(z, before)
    assert (z < 0).any()  # what ``relu_`` would have changed


def test_wrappers_are_taken_off():
    net = seeded(GOOD["unet"][0])
    compiled = torch.compile(net)
    assert unwrapped(compiled) is net
    assert unwrapped(nn.DataParallel(compiled)) is net
    inside = nn.Sequential(torch.compile(net))
    assert unwrapped(inside)[0] is net
    net.compile()
    assert net._compiled_call_impl is not None
    F = target_of(torch.compile(net), layer="out")
    assert net._compiled_call_impl is None
    assert F.net is net


def test_a_plain_copy_of_any_module_computes_the_same(targets):
    for name in ("resnet", "vit", "twice"):
        F, x = targets(name), images().x
        copied = plain(F.net)
        z = (x - F.mean) / F.std
        torch.testing.assert_close(copied(z), F(x))
        mine = {p.data_ptr() for p in F.net.parameters()}
        assert mine.isdisjoint(p.data_ptr() for p in copied.parameters())


def test_methods_that_need_a_chain_say_so(targets):
    from baselines.excitation_backprop import ExcitationBackprop
    from baselines.layer_z import LayerZ

    F, batch = targets("resnet"), images()
    for method in (ExcitationBackprop(), LayerZ()):
        with pytest.raises(NotApplicable, match="mine is no plain chain of layers"):
            method.fit(F, batch, np.random.default_rng(0)).explain(F, batch, None)


class Bare(nn.Module):
    """A network of parameters and functions alone."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.linspace(-1, 1, 15).view(5, 3))

    def forward(self, x):
        return x.mean((2, 3)) @ self.w.T


def test_a_network_without_modules_has_its_output_as_its_layer():
    F, batch = target_of(Bare()), images()
    assert F.layers == ("F(x)",)
    assert torch.equal(F.head(F.features(batch, "F(x)"), "F(x)"), F(batch))
    assert F.modules_after("F(x)") == []
    with pytest.raises(NotApplicable, match="no layer with spatial extent"):
        GradCAM().explain(F, batch, None)
    with pytest.raises(NotApplicable, match="no layer below its logits"):
        _ = F.below_logits


def test_the_last_layer_below_the_logits_is_found(targets):
    assert targets("resnet").below_logits == "avgpool"
    assert targets("residual").below_logits == "pool"
    F = targets("resnet")
    after = [name for name, _ in F.modules_after("layer4")]
    assert after == ["avgpool", "fc"]
    inside = [name for name, _ in F.modules_up_to("layer4.0")]
    assert inside[:2] == ["layer4.0", "layer4.0.conv1"]


# ---------------------------------------------------------------------------------------- tokens


def test_tokens_become_maps_in_rows(targets):
    F, x = targets("patches"), images(2).x
    z = F.features(x, "blocks.1")
    raw = F.net.blocks[0](F.net.embed((x - F.mean) / F.std).flatten(2).mT)
    torch.testing.assert_close(z[:, :, 1, 2], raw[:, 1 * 4 + 2])


def test_the_class_token_goes_with_its_image(targets):
    F, batch = targets("vit"), images()
    z, y = F.features(batch), F(batch)
    order = torch.tensor([3, 1, 5])
    rows = z[[3, 1, 5]], z[order.numpy()], z.index_select(0, order).clone()
    for picked in (z[order], *rows):
        torch.testing.assert_close(F.head(picked), y[order])
    torch.testing.assert_close(
        F.head(torch.cat(z.split(4)[::-1])), y[[4, 5, 0, 1, 2, 3]]
    )
    twice = z.repeat_interleave(2, dim=0)
    torch.testing.assert_close(F.head(twice), y.repeat_interleave(2, dim=0))
    changed = F.head(z * z)  # other patches, the image's own class token
    assert not torch.allclose(changed, y)
    tokens = F.fold(F.layer).back(z / 2)
    raw = F.fold(F.layer).back(z)
    torch.testing.assert_close(tokens[:, 0], raw[:, 0])
    torch.testing.assert_close(tokens[:, 1:], raw[:, 1:] / 2)


def test_maps_that_lost_their_class_token_are_refused(targets):
    F, batch = targets("vit"), images()
    z = F.features(batch)
    assert isinstance(z, Maps)
    first = z[z[:, 0, 0, 0] > 0]
    assert isinstance(first, Maps)
    for lost in (z.flip(0), z.exp(), z[:, :], z[0], z[z > 0], torch.stack([z, z])[0]):
        assert not isinstance(lost, Maps)
    with pytest.raises(NotApplicable, match="have lost the class token"):
        F.head(z.flip(0))


def test_the_last_block_has_no_positions_that_count():
    with pytest.raises(ValueError, match="only the class token of layer .*_2 reaches"):
        target_of(seeded(GOOD["vit"][0]), layer="encoder.layers.encoder_layer_2")


# ---------------------------------------------------------------------------------------- other libraries


def explained(entry, F, batch):
    pytest.importorskip(entry.partition(":")[0])
    before = F.fingerprint()
    method = MethodRef.parse(entry).build()
    maps = method.explain(F, batch, np.random.default_rng(0)).heatmaps
    assert F.fingerprint() == before
    return maps


@pytest.mark.parametrize("name", ["resnet", "vit", "swin", "twice"])
def test_grad_cam_is_that_of_pytorch_grad_cam(name, targets):
    """The library reads activations and gradients in one pass, by hooks of its own."""
    F, batch = targets(name), images(3)
    maps = GradCAM().explain(F, batch, None).heatmaps
    low = maps.min((1, 2), keepdims=True)
    ours = (maps - low) / (maps.max((1, 2), keepdims=True) - low + 1e-7)
    theirs = explained("pytorch_grad_cam:GradCAM", F, batch)
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_relevance_in_a_resnet_adds_up_to_the_logit_without_biases():
    net = seeded(GOOD["resnet"][0])
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d | nn.Linear):
            nn.init.zeros_(module.bias)
    F, batch = target_of(net), images(3)
    found = explained("zennit:EpsilonPlus", F, batch).sum((1, 2))
    np.testing.assert_allclose(found, F(batch).amax(1), rtol=0.05)


@pytest.mark.parametrize(
    ("entry", "name", "why"),
    [
        ("captum:LRP", "resnet", "no plain chain"),
        ("zennit:EpsilonPlus", "unet", "no plain chain"),
        ("captum:LayerGradCam", "vit", "has no tokens"),
    ],
)
def test_what_a_library_would_get_wrong_is_not_applicable(entry, name, why, targets):
    with pytest.raises(NotApplicable, match=why):
        explained(entry, targets(name), images(3))
