"""A board of one's own: a user's network on a user's images, for ``glassbench evaluate --network``.

    found = Images(Path("photos"), size=64)     # a folder of classes, a CSV, COCO's JSON, Pascal VOC's XML files
    profile, card = own_profile({"use": "net.py:build", "weights": "w.safetensors"}, found)

The network is taken as it is: its outputs are matched to the classes of the images (``_outputs``), and none is left
out. The board has no known rows, so the controls and the CAMs that cost one backward pass stand on it too. Its files
lie under the profile name ``own``; params.yaml and the results of other profiles are not touched.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmark import data, store
from benchmark.data import folders, listings
from benchmark.data.download import ParamsError
from benchmark.data.listings import Listing
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.train import bring_network
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import UnknownName
from benchmark.utils.seeds import generator
from benchmark.zoo import hub
from benchmark.zoo.own import LIBRARIES, NetworkError, OwnNetwork, frozen
from benchmark.zoo.recipe import mapping_of

NAME = "own"
IMAGES, REFERENCE = 64, 256
FEW = 5  # images, of which none is kept apart to fit methods on
MOST = 1000  # images that are read of each split
BESIDES = (
    "baselines/grad_cam.py:GradCAM",
    "baselines/grad_cam_plusplus.py:GradCAMPlusPlus",
    "baselines/edge_map.py:EdgeMap",
    "baselines/random_map.py:RandomMap",
)


@dataclass(frozen=True)
class Images:
    """A user's images.

    Attributes:
        path: a folder of classes, a CSV, COCO's JSON, or a folder with Pascal VOC's XML files.
        size: side of the squares in pixels.
        fit: "squash" both sides to it, or "crop" the centre.
        channels: 3, or 1 for grey.
        masks: the folder of the masks of a folder of classes.
    """

    path: Path
    size: int = 224
    fit: str = "squash"
    channels: int = 3
    masks: Path | None = None

    def params(self, classes: Sequence[str]) -> dict[str, Any]:
        """What decides the pixels, labels and annotations, besides the files."""
        return {
            "size": self.size,
            "fit": self.fit,
            "channels": self.channels,
            "path": str(self.path),
            "masks": str(self.masks or ""),
            "classes": list(classes),
        }


def own_profile(
    network: Mapping[str, Any], images: Images
) -> tuple[Profile, dict[str, Any]]:
    """The profile of one network on a user's images, and the network's card; images and network are made ready.

    Args:
        network: as under ``zoo:`` of a profile; files absolute or relative to the working directory. ``classes`` may
            also be one file with a name per line, or the number of outputs that have no names.

    Raises:
        UsageError: the images or the network cannot be used; one line with the reason.
    """
    if images.size < 1:
        raise UsageError(f"--size {images.size} must be at least 1")
    try:
        recipe = OwnNetwork.parse(hub.by_name(_absolute(network), Path.cwd()))
        images = dataclasses.replace(
            images,
            path=_whole_path(images.path),
            masks=_whole_path(images.masks) if images.masks else None,
        )
        listing = listings.read(images.path, images.masks)
        shape = (images.channels, images.size, images.size)
        classes, said = _outputs(recipe, listing, shape)
        recipe = dataclasses.replace(recipe, classes=None)
        dataset = _prepared(images, listing, classes)
        place, _, function = str(network["use"]).rpartition(":")
        target = _name(place if place.endswith(".py") else function)
        profile = _profile(dataset, target, recipe)
        paths = store.Paths(NAME)
        path = paths.target(dataset, target, 0)
        unit = f"{dataset}/{target}"
        with store.exclusive(paths.targets(dataset), wait=True):
            bring_network(unit, paths.data(dataset), mapping_of(recipe), path)
    except NetworkError as error:
        why, use = " ".join(str(error).split()), str(network["use"])
        named = use.endswith(why.partition(" ")[0])
        raise UsageError(why if named else f"{use} {why}") from None
    except (ParamsError, UnknownName, ValueError) as error:
        raise UsageError(" ".join(str(error).split())) from None
    card = store.read_json(path.with_suffix(".json"))
    about = data.load_card(paths.data(dataset))
    said = [*said, *folders.what_to_know(about)]
    return profile, card | {"of_images": [f"{dataset}: {line}" for line in said]}


def _whole_path(path: Path) -> Path:
    return Path(path).expanduser().absolute()


# --------------------------------------------------------------------------------------------- outputs and classes


def _outputs(
    recipe: OwnNetwork, found: Listing, shape: tuple[int, int, int]
) -> tuple[list[str], list[str]]:
    """The names of the network's outputs, in order, and what to know about them.

    Without ``classes``, labels that are numbers are the indices of the outputs. Other classes are the outputs in their
    order, if there are as many.

    Raises:
        UsageError: it is not clear which output is which class, or the network takes images of one channel.
    """
    names = _given(recipe.classes) if recipe.classes else found.classes
    count = _count(recipe, names, shape)
    if recipe.classes and count not in (None, len(names)):
        raise UsageError(
            f"{recipe.use} has {count} outputs for {len(names)} classes: --classes names each of them, in order"
        )
    if recipe.classes or count in (None, 1):  # the network's own check says why
        return names, []
    if all(map(str.isdecimal, names)):
        return _numbered(names, count, found)
    for classes in (names, found.declared):
        if len(classes) == count:
            shown = ", ".join(classes[:4]) + (", ..." if count > 4 else "")
            return classes, [
                f"outputs 0 to {count - 1} are taken as {shown} (--classes)"
            ]
    listed = f", of {len(found.declared)} that it names" if found.declared else ""
    classes = "one class" if len(names) == 1 else f"{len(names)} classes"
    raise UsageError(
        f"the network has {count} outputs, the images are of {classes}{listed} ({', '.join(names[:4])}): "
        "name those of the outputs in order, --classes NAME NAME ... or a file with a name per line"
    )


def _given(classes: Sequence[str]) -> list[str]:
    """The classes of ``--classes``: names, one file with a name per line, or a number of outputs.

    Raises:
        UsageError: a name stands there twice.
    """
    names = list(classes)
    if len(names) == 1:
        (only,) = names
        if only.isdecimal():
            return [str(k) for k in range(int(only))]
        file = _whole_path(Path(only))
        if file.is_file():
            lines = file.read_text(encoding="utf-8-sig").splitlines()
            names = [line.strip() for line in lines if line.strip()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--classes: {twice!r} stands there twice")
    return names


def _count(
    recipe: OwnNetwork, classes: Sequence[str], shape: tuple[int, int, int]
) -> int | None:
    """How many outputs a network has; None if that is not to be found. One that is built by name has as many as there
    are ``classes``."""
    place, _, _ = recipe.use.rpartition(":")
    if place in LIBRARIES:
        return len(classes)
    net = frozen(recipe.build(classes, load=False))
    count = _logits(net, shape)
    if count is None and shape[0] == 3 and _logits(net, (1, *shape[1:])):
        raise UsageError(f"{recipe.use} takes images of one channel: --grey")
    return count


def _logits(net: torch.nn.Module, shape: tuple[int, ...]) -> int | None:
    """How many logits a network gives for images of a shape; None if it cannot take them."""
    try:
        with torch.no_grad():
            return net(torch.zeros(1, *shape)).shape[1]
    except Exception:
        return None


def _numbered(
    names: Sequence[str], count: int, found: Listing
) -> tuple[list[str], list[str]]:
    """The outputs for labels that are numbers."""
    largest = max(map(int, names))
    if largest < count and len({int(name) for name in names}) == len(names):
        by_index = {int(name): name for name in names}
        said = []
        if found.kind == "folder" and sorted(names) != list(names):
            said = [
                "folders are numbers: folder 10 is taken as output 10, not in alphabetical order as torchvision's "
                f"ImageFolder; if it was trained so: --classes {' '.join(sorted(names)[:3])} ..."
            ]
        return [by_index.get(k, str(k)) for k in range(count)], said
    if len(names) == count:
        order = f"{names[0]} to {names[-1]} are taken as outputs 0 to {count - 1}"
        return list(names), [f"labels {order} (--classes)"]
    raise UsageError(
        f"label {largest} is beyond the network's {count} outputs, 0 to {count - 1}: "
        "correct the labels, or name the classes of the outputs by --classes"
    )


def _absolute(network: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping with its files as absolute paths."""
    found = dict(network)
    place, _, function = str(found["use"]).rpartition(":")
    if place.endswith(".py"):
        found["use"] = f"{Path(place).expanduser().absolute()}:{function}"
    if found.get("weights") not in (None, hub.DEFAULT):
        found["weights"] = str(Path(found["weights"]).expanduser().absolute())
    return found


def _name(path: str) -> str:
    """A name for a network or a data set."""
    return re.sub(r"\W+", "_", Path(path).stem).strip("_")


def _prepared(images: Images, found: Listing, classes: Sequence[str]) -> str:
    """Prepare the images, if they or the settings have changed; returns the data set's name."""
    name = _name(images.path.name).lower() or "images"
    params, state = images.params(classes), listings.state(found)
    file = store.Paths(NAME).data(name)
    with store.exclusive(file.parent, wait=True):
        made = data.load_card(file) if file.exists() else {}
        if (made.get("params"), made.get("state")) == (params, state):
            return name
        splits, said = _splits(found, name)
        arrays, card = folders.arrays_of(found, splits, classes, params)
        source = {"file": images.path.name, "origin": found.kind}
        digest = {"sha256": card.pop("sha256")}
        card["remarks"] = [*said, *card["remarks"]]
        about = {
            "name": name,
            "title": name,
            "what": f"a user's images ({found.kind})",
            "licence": "the owner's",
            "params": params,
            "state": state,
            "counts": {split: len(arrays[f"y_{split}"]) for split in data.SPLITS},
            "size": images.size,
            "classes": len(classes),
            "provenance": {"files": [source | digest], "changes": "none"},
        }
        data.save(file, arrays, {**about, **card})
    return name


def _splits(found: Listing, name: str) -> tuple[folders.Splits, list[str]]:
    """The images that are explained, half of each class, and those that methods are fitted on; and what to know.

    Where each class has a single image, they are drawn from all together; of very few, all are both.

    Raises:
        UsageError: there is no image.
    """
    items, n = found.items, len(found.items)
    if not items:
        raise UsageError(f"--images: there is no image in this {found.kind}")
    splits = folders.drawn(items, name, share=2)
    if n >= FEW and not all(splits.values()):
        same_class = [dataclasses.replace(item, label="") for item in items]
        drawn = folders.drawn(same_class, name, share=2)
        chosen = {item.name for item in drawn["test"]}
        splits["test"] = [item for item in items if item.name in chosen]
        splits["train"] = [item for item in items if item.name not in chosen]
    if n >= FEW and all(splits.values()):
        return _at_most(MOST, splits, name)
    said = f"methods are fitted on the images that they explain: there are {n}, none kept apart"
    return dict.fromkeys(data.SPLITS, items), [said]


def _at_most(
    most: int, splits: folders.Splits, name: str
) -> tuple[folders.Splits, list[str]]:
    """So many images of each split, drawn by a seed, in their order; and what to know."""
    found, said = {}, []
    for split, items in splits.items():
        drawn = generator("own", name, split).permutation(len(items))[:most]
        found[split] = [items[i] for i in sorted(drawn)]
        if len(items) > most:
            of_all = f"{most:,} of {len(items):,} images of {split}"
            said.append(f"{of_all} were read, drawn by a seed")
    return found, said


def _profile(dataset: str, target: str, recipe: OwnNetwork) -> Profile:
    whole: dict[str, Any] = {
        "profile": NAME,
        "datasets": [],
        "papers": [],
        "data": {},
        "zoo": {},
        "replicate": {},
    }
    whole["explain"] = {
        "images": IMAGES,
        "reference": REFERENCE,
        "methods": list(BESIDES),
    }
    found = Profile.parse(whole, "--network")
    return found.replace(datasets=(dataset,), zoo={dataset: {target: recipe}})


def lines(card: Mapping[str, Any]) -> list[str]:
    """What to know about the network, a line each."""
    first = (
        f"{card['name']}: {card['parameters']:,} weights, "
        f"{card['test_accuracy']:.1%} of {card['images']['test']} test images right, "
        f"explained at {card['layer'] or 'no layer'}, {card['digest'][:12]}"
    )
    notes = [f"{card['name']}: {note}" for note in card["notes"]]
    return [first, *card.get("of_images", ()), *notes]
