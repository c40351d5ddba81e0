"""Networks by name with weights from their own place, without a connection: torch's folder of what it has fetched, and
a stand-in for transformers."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.splits.networks import NetworkError
from benchmark.zoo import hub
from benchmark.zoo.own import OwnNetwork


def built(mapping, **given):
    recipe = OwnNetwork.parse(hub.by_name(mapping, **given))
    return recipe, recipe.build(recipe.classes or ["a", "b"])


# ------------------------------------------------------------------------------------------------- torchvision


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """The folder in which torch keeps what it has fetched, and no connection."""

    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def test_default_weights_come_with_their_classes_and_normalisation(fetched):
    torch.manual_seed(1)
    state = torchvision.models.squeezenet1_1().state_dict()
    torch.save(state, fetched / "squeezenet1_1-b8a52dc0.pth")
    recipe, net = built({"use": "torchvision:squeezenet1_1", "weights": "default"})
    torch.testing.assert_close(net.state_dict(), state)
    assert (len(recipe.classes), recipe.classes[1]) == (1000, "goldfish")
    assert (recipe.mean[0], recipe.std[0]) == (0.485, 0.229)
    mapping = {"use": "torchvision:squeezenet1_1", "weights": "default", "mean": [0.1]}
    assert hub.by_name(mapping)["mean"] == [0.1]


def test_without_a_connection_it_is_one_line(fetched):
    with pytest.raises(NetworkError, match="no route to host.*name a file of weights"):
        built({"use": "torchvision:squeezenet1_1", "weights": "default"})


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ({"use": "torchvision:resnet17"}, "no weights for a network 'resnet17'"),
        ({"use": "net.py:build"}, "is for torchvision:NAME and timm:NAME"),
    ],
)
def test_what_has_no_default_weights_is_refused(mapping, line):
    with pytest.raises(ValueError, match=line):
        hub.by_name(mapping | {"weights": "default"})


# ------------------------------------------------------------------------------------------------ transformers


class Classifier(nn.Module):
    """What transformers' classifiers look like from outside."""

    def __init__(self, width):
        super().__init__()
        self.embed = nn.Conv2d(3, width, 4, 4)
        self.classifier = nn.Linear(width, 3)

    def forward(self, pixel_values=None, labels=None):
        z = self.embed(pixel_values).relu().mean((2, 3))
        return SimpleNamespace(logits=self.classifier(z))

    @classmethod
    def from_pretrained(cls, name, *, use_safetensors, output_loading_info, **given):
        assert use_safetensors and given == {"local_files_only": True}
        net = cls(json.loads(Path(name, "config.json").read_text())["width"])
        found = net.load_state_dict(
            load_file(f"{name}/model.safetensors"), strict=False
        )
        return net, {"missing_keys": found.missing_keys}

    @classmethod
    def from_config(cls, config):
        return cls(config["width"])


class Config:
    @staticmethod
    def from_pretrained(name, local_files_only):
        return json.loads(Path(name, "config.json").read_text())


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder as transformers writes it."""
    library = ModuleType("transformers")
    library.AutoModelForImageClassification, library.AutoConfig = Classifier, Config
    silence = SimpleNamespace(disable_progress_bar=lambda: None)
    library.utils = SimpleNamespace(logging=silence)
    monkeypatch.setitem(sys.modules, "transformers", library)
    folder = tmp_path / "model"
    folder.mkdir()
    labels = {"0": "cat", "1": "dog", "2": "owl"}
    (folder / "config.json").write_text(json.dumps({"width": 6, "id2label": labels}))
    images = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    torch.manual_seed(2)
    save_file(Classifier(6).state_dict(), folder / "model.safetensors")
    return folder


def test_a_folder_of_transformers_is_a_network(model):
    recipe, net = built({"use": "hf:model"}, base=model.parent)
    assert recipe.classes == ["cat", "dog", "owl"]
    assert (list(recipe.mean), list(recipe.std)) == ([0.5] * 3, [0.25] * 3)
    state = load_file(model / "model.safetensors")
    torch.testing.assert_close(dict(net.state_dict()), state)
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    before = recipe.digest()
    save_file({k: v + 1 for k, v in state.items()}, model / "model.safetensors")
    again = OwnNetwork.parse(hub.by_name({"use": "hf:model"}, base=model.parent))
    assert again.digest() != before


def test_a_folder_that_says_that_pixels_are_not_normalised(model):
    images = {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (model / "preprocessor_config.json").write_text(json.dumps(images))
    recipe, _ = built({"use": f"hf:{model}"})
    assert (list(recipe.mean), list(recipe.std)) == ([0.0], [1.0])


def test_a_file_of_weights_takes_the_place_of_the_folders(model, tmp_path):
    torch.manual_seed(3)
    state = Classifier(6).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    (model / "model.safetensors").unlink()
    mapping = {"use": f"hf:{model}", "weights": str(tmp_path / "w.safetensors")}
    _, net = built(mapping)
    torch.testing.assert_close(dict(net.state_dict()), dict(state))


def test_a_classifier_without_weights_is_refused(model):
    state = load_file(model / "model.safetensors")
    kept = {k: v for k, v in state.items() if "classifier" not in k}
    save_file(kept, model / "model.safetensors")
    with pytest.raises(NetworkError, match="holds no weights for classifier.bias"):
        built({"use": f"hf:{model}"})


def test_a_model_that_cannot_be_fetched_is_one_line(monkeypatch):
    library = ModuleType("huggingface_hub")
    library.try_to_load_from_cache = lambda name, file: None

    def refuse(name, file):
        raise ConnectionError("no route to host")

    library.hf_hub_download = refuse
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    with pytest.raises(
        ValueError, match="hf:some/model is no folder here.*ConnectionErr"
    ):
        hub.by_name({"use": "hf:some/model"})
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="not installed: pip install"):
        hub.by_name({"use": "hf:some/model"})
