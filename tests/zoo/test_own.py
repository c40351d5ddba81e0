"""Networks of one's own as a profile names them: what is accepted, what is refused, and how in one line."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmark import store, zoo
from benchmark.data import Dataset
from benchmark.splits.networks import NetworkError
from benchmark.utils.near_names import UnknownName
from benchmark.zoo import own
from tests.helpers import brought_networks
from tests.helpers.places import ROOT

FILE = f"{ROOT}/tests/helpers/brought_networks.py"
COLOURS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def photos():
    """Images whose class is their brightest channel, which no network here has learnt."""
    rng = np.random.default_rng(0)
    arrays = {"classes": np.array(COLOURS)}
    for split, n in (("train", 12), ("test", 9)):
        x = rng.integers(0, 120, (n, 3, 16, 16), dtype=np.uint8)
        y = np.arange(n) % 3
        x[np.arange(n), 2 - y] += 100
        arrays |= {f"x_{split}": x, f"y_{split}": y.astype(np.int64)}
    return Dataset("photos", arrays)


@pytest.fixture
def bring(photos, tmp_path):
    def brought(use="build", **recipe):
        use = use if ":" in use else f"{FILE}:{use}"
        network = own.OwnNetwork.parse({"use": use, **recipe})
        path = tmp_path / "mine-0.safetensors"
        return own.bring(photos, network, path, "key"), path

    return brought


def weights(path, **options):
    """The file of weights of a network of seed 1."""
    torch.manual_seed(1)
    state = brought_networks.build(**options).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return state


# ---------------------------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize("file", ["w.safetensors", "w.pt"])
def test_the_target_has_the_users_weights_and_normalisation(
    file, bring, photos, tmp_path
):
    state = weights(tmp_path / file)
    card, path = bring(
        weights=str(tmp_path / file), mean=[0.4, 0.5, 0.6], std=[2.0] * 3
    )
    F, batch = zoo.load(path), photos.batch("test")
    net = brought_networks.build().eval()
    net.load_state_dict(state)
    mean = torch.tensor([0.4, 0.5, 0.6])[:, None, None]
    logits = net((batch.x - mean) / 2)
    torch.testing.assert_close(F(batch), logits)
    torch.testing.assert_close(F.head(F.features(batch)), logits)
    right = (logits.argmax(1) == batch.y).double().mean()
    assert card["test_accuracy"] == pytest.approx(float(right))
    assert card["parameters"] == sum(p.numel() for p in net.parameters())
    assert card["layer"] == F.layer == "maps"


def test_a_network_without_a_file_of_weights_keeps_those_that_it_had(bring, photos):
    _, path = bring()
    first = zoo.load(path)(photos.batch("test"))
    _, path = bring()
    assert torch.equal(zoo.load(path)(photos.batch("test")), first)


@pytest.mark.parametrize(
    ("use", "layer", "shape"),
    [
        ("UNet", "last", (5, 16, 16)),
        ("Mixer", "norm", (6, 4, 4)),
        ("Frequencies", "stem", (6, 4, 4)),
        ("Ensemble", None, None),  # no layer that all of the image goes through
    ],
)
def test_the_layer_of_other_architectures(use, layer, shape, bring):
    card, path = bring(use)
    assert card["layer"] == layer
    if layer:
        target, x = zoo.load(path), torch.rand(2, 3, 16, 16)
        z = target.features(x)
        assert z.shape == (2, *shape)
        torch.testing.assert_close(target.head(z), target(x))


def test_logits_that_hardly_differ_are_said(bring):
    card, _ = bring("hardly_differs")
    assert (
        "its logits hardly differ between images of noise: is it trained?"
        in card["notes"]
    )
    card, _ = bring("build")
    assert not any("hardly" in note for note in card["notes"])


def test_outputs_are_put_in_the_order_of_the_classes(bring, photos):
    batch = photos.batch("test")
    _, path = bring(options={"outputs": 4}, classes=["red", "grey", "green", "blue"])
    F = zoo.load(path)
    whole = F.net(batch.x)
    F.net._forward_hooks.clear()
    assert torch.equal(F.net(batch.x)[:, [3, 2, 0]], whole)
    assert F.classes == COLOURS


def test_a_chain_stays_a_chain_whatever_its_classes(photos, tmp_path):
    file = tmp_path / "chains.py"
    file.write_text(
        "from torch import nn\n"
        "def chain():\n"
        "    pool = nn.AdaptiveAvgPool2d(1)\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(4, 4))\n"
    )
    given = {"use": f"{file}:chain", "classes": ["red", "grey", "green", "blue"]}
    own.bring(photos, own.OwnNetwork.parse(given), tmp_path / "w.safetensors", "key")
    F = zoo.load(tmp_path / "w.safetensors")
    assert F.layers == ("0", "1", "2", "3", "4", "classes")
    assert F.layer == "1"
    assert F.chain is F.net
    assert F(photos.batch("test")).shape == (9, 3)


def test_a_network_of_torchvision_goes_by_name(bring):
    card, path = bring("torchvision:shufflenet_v2_x0_5", options={"num_classes": 3})
    assert card["net"] == "torchvision:shufflenet_v2_x0_5"
    assert zoo.load(path).layer == card["layer"]


def test_what_decides_the_network_decides_its_digest(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("def build(): pass\n")
    weights(tmp_path / "w.pt")
    given = {"use": f"{file}:build", "weights": str(tmp_path / "w.pt")}
    digests = [own.OwnNetwork.parse(given).digest()]
    digests.append(own.OwnNetwork.parse(given | {"mean": [0.5]}).digest())
    file.write_text("def build(): return 1\n")
    digests.append(own.OwnNetwork.parse(given).digest())
    weights(tmp_path / "w.pt", width=7)
    digests.append(own.OwnNetwork.parse(given).digest())
    assert len(set(digests)) == 4
    hidden = own.OwnNetwork.parse(given | {"explain": False})
    assert hidden.digest() == digests[-1]


def test_a_file_that_has_changed_since_is_not_used(photos, tmp_path):
    file, path = tmp_path / "net.py", tmp_path / "t.safetensors"
    text = "from tests.helpers.brought_networks import build\n"
    file.write_text(text)
    network = own.OwnNetwork.parse({"use": f"{file}:build"})
    own.bring(photos, network, path, "key")
    zoo.load(path)
    file.write_text(text + "x = 1\n")
    with pytest.raises(
        store.StoreError, match="changed; run `glassbench train photos`"
    ):
        zoo.load(path)


def test_the_key_of_the_card_is_in_the_file_of_the_weights(photos, tmp_path):
    network = own.OwnNetwork.parse({"use": f"{FILE}:build"})
    contents = []
    for key in ("a", "b", "a"):
        path = tmp_path / "t.safetensors"
        own.bring(photos, network, path, key)
        assert own.is_brought(path, key)
        assert not own.is_brought(path, "c")
        contents.append(path.read_bytes())
    assert contents[0] == contents[2] != contents[1]


# ---------------------------------------------------------------------------------------- what is said


def test_what_is_odd_about_a_usable_network_is_said_once(bring):
    card, _ = bring("returns_probabilities", options={})
    modes, probabilities, chance = card["notes"]
    assert "training mode" in modes
    assert "probabilities, not logits" in probabilities
    assert "no more than guessing (33%)" in chance


@pytest.mark.parametrize(
    ("y", "classes", "right", "said"),
    [
        ([0, 1, 2] * 10, 3, 10, True),
        ([0, 1, 2] * 10, 3, 25, False),
        ([0] * 27 + [1] * 3, 3, 27, True),  # no more than the most frequent class
        ([0] * 20, 10, 2, True),  # images of one class
        ([0] * 20, 10, 18, False),
        ([0], 3, 1, False),  # all right
        ([0], 3, 0, True),
        ([0, 1], 2, 2, False),
    ],
)
def test_what_is_no_more_than_guessing(y, classes, right, said):
    arrays = {"y_test": np.array(y), "classes": np.arange(classes)}
    notes = own._notes_on(right / len(y), Dataset("photos", arrays))
    assert bool(notes) == said


# ---------------------------------------------------------------------------------------- what is refused

BAD = [  # function, other settings, what the line says
    ("build", {"layer": "map"}, "no layer 'map'; did you mean maps?"),
    (
        "build",
        {"layer": "relu"},
        "layer relu is called 2 times .*another, such as maps or stem",
    ),
    ("build", {"layer": "branch"}, "layer branch does not dominate .*such as"),
    (
        "build",
        {"layer": "rnn"},
        "layer rnn returns a tuple, not a tensor; name another",
    ),
    ("build", {"layer": "auxiliary"}, "layer auxiliary is not called in a pass; name"),
    ("build", {"layer": "time"}, "layer time gives 16x3x6 for 3 images: its first"),
    ("build", {"options": {"outputs": 2}}, "has 2 outputs for 3 classes; name them"),
    ("build", {"options": {"outptus": 2}}, "cannot be built: TypeError.*outptus"),
    ("build", {"classes": ["a", "green", "red"]}, "no output for the class 'blue'"),
    ("build", {"mean": [0.5, 0.5], "std": [1.0, 1.0]}, "2 numbers in mean and std for"),
    ("bild", {}, "no function in brought_networks.py: 'bild'; did you mean build"),
    ("fails", {}, "fails cannot be built: RuntimeError: no such file: backbone.pt"),
    ("no_network", {}, "no_network returns a OrderedDict, no torch.nn.Module"),
    ("returns_a_dict", {}, "returns a dict of logits; write a module that returns"),
    ("returns_a_tuple", {}, "returns a tuple of 2; write a module that returns its"),
    (
        "returns_the_class",
        {},
        "returns torch.int64, not logits; do not take the argmax",
    ),
    ("returns_maps", {}, "returns 3x6x4x4 for 3 images, not a row of logits for each"),
    ("returns_nan", {}, "gives logits that are NaN or infinite"),
    ("returns_a_constant", {}, "the same logits for different images; are its weights"),
    ("needs_two_inputs", {}, "takes x, mask; write a module whose forward takes the"),
    ("takes_a_dict", {}, r"images of 3x16x16 .*: its forward must take a tensor"),
    ("takes_a_keyword", {}, r"images of 3x16x16 .*: its forward must take a tensor"),
    ("lazy", {}, "has lazy layers without weights; pass an image through it before"),
    ("experts", {}, "cannot be split at layer dark: these images do not all go thr"),
    ("normalises_by_the_batch", {}, "other logits if other images stand beside it"),
    ("exported", {}, "is an exported program, whose layers cannot be hooked; build"),
    ("has_no_gradients", {}, "logits without gradients; take no_grad, detach, Num"),
    ("has_a_frozen_backbone", {}, "logits without gradients; take no_grad, detach"),
    ("draws_at_random", {}, "other logits for the same images .*F.dropout without"),
    ("keeps_state", {}, "other logits for the same images .*keeps state between calls"),
    ("keeps_a_buffer", {}, "changes its buffer seen in eval mode: it keeps state"),
    ("compares_images", {}, "other logits if other images stand beside it .batch norm"),
    ("of_another_size", {}, "cannot take images of 3x16x16 .*is this its size"),
    ("in_half_precision", {}, "has weights of float16 .*; return net.float"),
    ("scripted", {}, "is a scripted network, whose layers cannot be hooked; build it"),
    ("torchvision:resnet81", {}, "no network of torchvision: 'resnet81'; did you mean"),
]


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize(("use", "recipe", "line"), BAD, ids=lambda v: str(v)[:40])
def test_a_network_that_cannot_be_explained_is_refused_in_a_line(
    use, recipe, line, bring
):
    with pytest.raises(NetworkError, match=line) as error:
        bring(use, **recipe)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


def test_weights_of_another_network_are_refused(bring, tmp_path):
    weights(tmp_path / "wide.pt", width=8)
    with pytest.raises(
        NetworkError, match=r"weights of another network: stem.weight is"
    ):
        bring(weights=str(tmp_path / "wide.pt"))
    torch.save({"conv.weight": torch.ones(2)}, tmp_path / "other.pt")
    with pytest.raises(NetworkError, match=r"lacks auxiliary.bias.*has conv.weight"):
        bring(weights=str(tmp_path / "other.pt"))


def test_weights_that_would_have_to_be_unpickled_are_refused(bring, tmp_path):
    torch.save(brought_networks.build(), tmp_path / "whole.pt")
    with pytest.raises(NetworkError, match="without unpickling; save net.state_dict"):
        bring(weights=str(tmp_path / "whole.pt"))
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(NetworkError, match="none.pt holds no state dict"):
        bring(weights=str(tmp_path / "none.pt"))


def test_weights_are_found_inside_a_checkpoint(bring, tmp_path):
    state = brought_networks.build().state_dict()
    inside = {f"module.{key}": value for key, value in state.items()}
    torch.save({"epoch": 3, "state_dict": inside}, tmp_path / "checkpoint.pt")
    _, path = bring(weights=str(tmp_path / "checkpoint.pt"))
    assert torch.equal(zoo.load(path).net.fc.weight, state["fc.weight"])


@pytest.mark.parametrize(
    ("recipe", "line"),
    [
        ({"use": "nothing.py:build"}, "use: there is no file .*nothing.py"),
        ({"use": "build"}, "use must be file.py:function or torchvision:name"),
        ({"use": "torchvison:resnet18"}, "did you mean torchvision"),
        ({"use": f"{FILE}:build", "weights": "no.pt"}, "weights: there is no file"),
        ({"use": f"{FILE}:build", "weight": "w.pt"}, "did you mean weights"),
        ({"use": f"{FILE}:build", "std": [0.0]}, r"std must be above 0, not \[0.0\]"),
        ({"use": f"{FILE}:build", "mean": [0.5] * 3}, "one number for each channel"),
        ({"use": f"{FILE}:build", "tokens": "14"}, "tokens must be like 14x14"),
    ],
    ids=lambda v: str(v)[-40:],
)
def test_settings_are_checked_before_anything_is_built(recipe, line):
    with pytest.raises((ValueError, UnknownName), match=line):
        own.OwnNetwork.parse(recipe)


def test_a_library_that_is_not_installed_is_named(bring, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(NetworkError, match="needs timm, which is not installed: pip"):
        bring("timm:vit_tiny_patch16_224")


@pytest.mark.parametrize(
    ("use", "line"),
    [
        ("reads_blue_before_red", "100% with blue before red: let its forward begin"),
        (
            "reads_bytes",
            r"100% with pixels in \[0, 255\]: divide its mean and std by 255",
        ),
        ("reads_imagenet", "100% normalised as ImageNet: mean and std are 0.485"),
    ],
)
def test_images_that_the_network_expects_in_another_form_are_named(use, line, bring):
    card, _ = bring(use)
    assert [note for note in card["notes"] if re.search(line, note)]


def test_a_network_that_gets_what_it_expects_has_no_note(bring):
    card, _ = bring("reads_red_before_blue")
    assert card["test_accuracy"] == 1
    assert card["notes"] == ["it was in training mode; it is explained in eval mode"]
