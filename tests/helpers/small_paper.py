"""The profile ``paper`` as a whole, so small that one core runs it in minutes.

    made = small_paper.profile()                        # the shipped profile with other numbers, as a mapping
    small_paper.write_data(root, mirror)                # scripts and archives of its data sets
    small_paper.stand_in(monkeypatch, mirror)           # VGG-16 and VGG-19, and the files of their weights

Every data set, network, method and experiment of the profile stays, and so do the layers and encodings that it names;
what is cut are images, epochs, steps, seeds, the values of a sweep, and widths: VGG-16 and VGG-19 have an eighth of
torchvision's channels and units. Places365 with VGG-16, which ``datasets/places.py`` says how to add, is added.

Data sets are archives in the mirror's layouts. Their scripts are the project's, which expect the hashes of these
archives. An image shows its class: a bright square, at a place of its own.
"""

import gzip
import math
import shutil
import struct
import zipfile

import numpy as np
import torch
import torchvision
import yaml
from torch import nn
from torchvision.models import vgg

from benchmark.cli import main
from benchmark.zoo import nets, pretrained
from tests.data.test_datasets import (
    image,
    npz,
    packed,
    pages,
    script,
    sha,
    sources,
    tar,
)
from tests.helpers import toy_paper
from tests.helpers.places import ROOT

BIRDS = 4  # classes, of 16 images each to train on and 4 to test
SIDE = 64  # pixels of a photograph

# --------------------------------------------------------------------------------------------- the profile

CUT = {"epochs": 15, "batch": 16}
RATE = 0.01  # of VGG-16 and VGG-19, whose weights are drawn and not ImageNet's
NARROW = {"vgg11": 0.125, "resnet10": 0.125}  # widths
SAMPLES = 60  # as MNIST has here
EXPLAINED = {"images": 3, "reference": 200}  # all there are: two of each thing
AGAIN = {"images": 2, "seeds": [0], "refits": 1}
PLACES = {  # as datasets/places.py says
    "zoo": {"net": "vgg16", "pretrained": "torchvision", "explain": False},
    "table1": {
        "experiment": "table1",
        "dataset": "places",
        "target": "vgg16",
        "layer": "fc6",
        "cells": "mask",
        "negatives": 20000,
        "alpha": 15,
        "alphas": [15, 1],
    },
}
# What an experiment asks of a network, which toys have under other names.
OF_NETWORKS = {"layer", "layers", "dense", "maps", "occlude"}


def profile():
    """The mapping of the profile."""
    params = yaml.safe_load(main.profiles()["paper"].read_text())
    params["datasets"].append("places")
    params["data"] |= {"asirra": {"size": SIDE}, "cub": {"size": SIDE}}
    params["data"]["places"] = {"size": SIDE, "train": 40}
    params["zoo"]["places"] = {"vgg16": dict(PLACES["zoo"])}
    params["replicate"]["xnn"].append(PLACES["table1"])
    for recipes in params["zoo"].values():
        for recipe in recipes.values():
            _cut_recipe(recipe)
    params["explain"] |= EXPLAINED | {"again": AGAIN}
    params["explain"]["methods"] = list(toy_paper.methods())
    for paper, entries in params["replicate"].items():
        params["replicate"][paper] = [_cut_entry(paper, entry) for entry in entries]
    return params


def _cut_recipe(recipe):
    recipe.pop("train_images", None)
    recipe |= CUT
    recipe["seeds"] = recipe.get("seeds", [0])[:1]
    if "pretrained" in recipe:
        recipe |= {"optimiser": "sgd", "momentum": 0.9, "lr": RATE}
    if recipe["net"] in NARROW:
        recipe["options"] = recipe["options"] | {"width": NARROW[recipe["net"]]}


def _cut_entry(paper, entry):
    """An experiment as the profile asks for it, with a toy's numbers."""
    toy = toy_paper.EXPERIMENTS[f"{paper}.{entry['experiment']}"]
    numbers = {key: value for key, value in toy.items() if key not in OF_NETWORKS}
    if "training" in entry:
        hidden = numbers["training"]["hidden"][: len(entry["training"]["hidden"])]
        training = numbers["training"] | {"hidden": hidden}
        numbers["training"] = entry["training"] | training
    found = entry | numbers
    if "samples" in entry:
        found["samples"] = SAMPLES
    if "seeds" in entry:
        found["seeds"] = entry["seeds"][:1]
    if "sweep" in entry:
        sweep = {key: values[:2] for key, values in entry["sweep"].items()}
        if "m" in sweep:
            sweep["m"] = [found.pop("m"), 8]
        found["sweep"] = sweep
    return found


# --------------------------------------------------------------------------------------------- the data


def write_data(root, mirror):
    """Below ``root`` the scripts of the data sets, and Places, which is not downloaded; below ``mirror`` archives of
    the others."""
    (root / "datasets").mkdir(exist_ok=True)
    made = {
        "asirra": [pets()],
        "cifar100": [small_things()],
        "cub": [birds()],
        "fashion_mnist": idx_files(),
        "mnist": idx_files(),
    }
    for name, archives in made.items():
        text = (ROOT / "datasets" / f"{name}.py").read_text()
        files = sources(script(name))
        for source, archive in zip(files, archives, strict=True):
            path = mirror / source.mirror_path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive)
            expected = source.mirror_digest or source.digest
            assert text.count(expected) == 1
            text = text.replace(expected, sha(archive))
        (root / "datasets" / f"{name}.py").write_text(text)
    shutil.copy(ROOT / "datasets" / "places.py", root / "datasets")
    write_rooms(root / "datasets" / "raw" / "places")


def shown(y, classes, size):
    """Images (n, 3, size, size) of classes y (n,), and their squares' corners (n, 2): rows, columns."""
    rng = np.random.default_rng(0)
    grid = math.ceil(math.sqrt(classes))
    cell = size / grid
    side = max(2, round(0.7 * cell))
    x = rng.integers(0, 70, (len(y), 3, size, size), dtype=np.uint8)
    corners = (np.stack(np.divmod(y, grid), axis=1) * cell).astype(int)
    for image_, (row, column), c in zip(x, corners, y, strict=True):
        image_[:, row : row + side, column : column + side] = 250
        image_[c % 3, row : row + side, column : column + side] = 150
    return x, corners, side


def idx_files():
    """Images and labels of both splits, as MNIST's: gzip's files in the order of ``FILES``."""
    found = []
    for n in (60, 30):
        y = np.arange(n) % 10
        x = shown(y, 10, 28)[0][:, 0]
        images = struct.pack(">3i", *x.shape) + x.tobytes()
        labels = struct.pack(">i", n) + y.astype(np.uint8).tobytes()
        found += [b"\0\0\x08\x03" + images, b"\0\0\x08\x01" + labels]
    return [gzip.compress(raw) for raw in found]


def small_things():
    """CIFAR-100 as the mirror packs it: two images of each class in each split."""
    fine = (np.arange(200) % 100).astype(np.uint8)
    x = shown(fine.astype(int), 100, 32)[0]
    things = np.array([f"thing{i}" for i in range(100)])
    groups = np.array([f"group{i}" for i in range(20)])
    labels = {"fine_labels": fine, "coarse_labels": fine // 5}
    names = {"fine_label_names": things, "coarse_label_names": groups}
    files = {}
    for split in ("train", "test"):
        for i in range(2):
            page = pages(x[100 * i : 100 * i + 100])
            files[f"cifar100/{split}_{i:02}.webp"] = page
        files[f"cifar100/{split}.json"] = packed(x)
        files[f"cifar100/{split}.npz"] = npz(**labels, **names)
    return tar(files)


def photo(x):
    return image(x.transpose(1, 2, 0), quality=95)


def pets():
    """ASIRRA: 40 photographs of each animal to train on, 10 to test."""
    files = {}
    for split, n, first in (("train", 80, 1), ("test", 20, 4001)):
        y = np.arange(n) % 2
        for i, (x, c) in enumerate(zip(shown(y, 2, SIDE)[0], y, strict=True)):
            animal = ("cat", "dog")[c]
            files[f"dogs_vs_cats/{split}/{animal}.{first + i}.jpg"] = photo(x)
    return tar(files)


def birds():
    """CUB: the square is the bird, with three parts."""
    y = np.arange(20 * BIRDS) % BIRDS
    x, corners, side = shown(y, BIRDS, SIDE)
    kinds = [f"{c + 1:03}.Bird_{c}" for c in range(BIRDS)]
    tables = {key: [] for key in script("cub").TABLES}
    tables["classes"] = [f"{c + 1} {kind}" for c, kind in enumerate(kinds)]
    tables["parts/parts"] = ["1 back", "2 left eye", "3 tail"]
    files = {}
    for i, c in enumerate(y):
        row, column = corners[i]
        path = f"{kinds[c]}/img_{i}.jpg"
        files[f"CUB_200_2011/images/{path}"] = photo(x[i])
        tables["images"].append(f"{i + 1} {path}")
        tables["image_class_labels"].append(f"{i + 1} {c + 1}")
        tables["train_test_split"].append(f"{i + 1} {i < 16 * BIRDS:d}")
        tables["bounding_boxes"].append(f"{i + 1} {column} {row} {side} {side}")
        for p in range(3):
            at = f"{column + 4 + 6 * p} {row + side // 2}"
            tables["parts/part_locs"].append(f"{i + 1} {p + 1} {at} 1")
    for name, lines in tables.items():
        files[f"CUB_200_2011/{name}.txt"] = "\n".join(lines).encode()
    return tar(files)


def write_rooms(folder):
    """Places365 and ADE20K: four photographs of each room to train on, two to test, with two objects each."""
    module = script("places")
    rooms = module.ROOMS
    for c, room in enumerate(rooms):
        (place := folder / "data_256" / room[0] / room).mkdir(parents=True)
        for i, x in enumerate(shown(np.full(4, c), 10, SIDE)[0]):
            (place / f"{i:08d}.jpg").write_bytes(photo(x))
    y = np.arange(20) % 10
    x, corners, side = shown(y, 10, SIDE)
    scenes, files = [], {}
    for i, c in enumerate(y):
        name, (row, column) = f"ADE_val_{i:08d}", corners[i]
        scenes.append(f"{name} {rooms[c]}\n")
        objects = np.ones((SIDE, SIDE), np.uint8)  # a wall, and what stands there
        objects[row : row + side, column : column + side] = 2
        files[module.file_of(name, "images", "jpg")] = photo(x[i])
        files[module.file_of(name, "annotations", "png")] = image(objects, "PNG")
    files[f"{module.ROOT}sceneCategories.txt"] = "".join(scenes)
    objects = "Idx\tRatio\tTrain\tVal\tName\n1\t0.5\t9\t9\twall\n2\t0.5\t9\t9\ttable\n"
    files[f"{module.ROOT}objectInfo150.txt"] = objects
    with zipfile.ZipFile(folder / "ADEChallengeData2016.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


# --------------------------------------------------------------------------------------------- the weights


def eighth(plan):
    """The class of a VGG with an eighth of the channels and units, laid out as torchvision's.

    Weights are He's, as torchvision's, so that images still differ behind 16 layers."""

    def build(num_classes=1000):
        net = nn.Module()
        net.features = vgg.make_layers([c if c == "M" else c // 8 for c in plan])
        net.avgpool = nn.AdaptiveAvgPool2d(7)
        fc6 = nn.Linear(64 * 7 * 7, 512), nn.ReLU(), nn.Dropout()
        fc7 = nn.Linear(512, 512), nn.ReLU(), nn.Dropout()
        net.classifier = nn.Sequential(*fc6, *fc7, nn.Linear(512, num_classes))
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        return net

    return build


def stand_in(monkeypatch, mirror):
    """torchvision has narrow networks, and the mirror the files of weights that its enums name."""
    addresses = {}
    (folder := mirror / "torchvision").mkdir(parents=True)
    for name, plan in (("vgg16", vgg.cfgs["D"]), ("vgg19", vgg.cfgs["E"])):
        monkeypatch.setattr(torchvision.models, name, eighth(plan))
        with nets.seeded(3):
            torch.save(eighth(plan)().state_dict(), path := folder / "weights")
        named = f"{name}-{pretrained.file_hash(path)[:8]}.pth"
        path.rename(folder / named)
        addresses[name] = f"http://127.0.0.1:9/{named}"

    def weights(name):
        entry = type("Weights", (), {"url": addresses[name]})
        return type("Enum", (), {"IMAGENET1K_V1": entry})

    monkeypatch.setattr(torchvision.models, "get_model_weights", weights)
