"""A board of one's own: a user's network on a user's images, for ``glassbench evaluate --network``.

    profile, card = own_profile({"use": "net.py:build", "weights": "w.safetensors"}, Path("photos"), size=64)

The images are a folder of classes (``data.folders``). The board has no known rows, so the controls and the CAMs that
cost one backward pass stand on it too. Its files lie under the profile name ``own``; params.yaml and the results of
other profiles are not touched.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark import data, store
from benchmark.data import folders
from benchmark.data.download import ParamsError
from benchmark.pipeline.profile import Profile
from benchmark.pipeline.train import bring_network
from benchmark.utils.errors import UsageError
from benchmark.utils.near_names import UnknownName
from benchmark.zoo import hub
from benchmark.zoo.own import NetworkError, OwnNetwork
from benchmark.zoo.recipe import mapping_of

NAME = "own"
IMAGES, REFERENCE = 64, 256
_BASELINES = Path(__file__).resolve().parents[2] / "baselines"
BESIDES = (  # of baselines/
    "grad_cam.py:GradCAM",
    "grad_cam_plusplus.py:GradCAMPlusPlus",
    "edge_map.py:EdgeMap",
    "random_map.py:RandomMap",
)


def own_profile(
    network: Mapping[str, Any], images: Path, size: int
) -> tuple[Profile, dict[str, Any]]:
    """The profile of one network on one folder of images, and the network's card; images and network are made ready.

    Args:
        network: as under ``zoo:`` of a profile; files absolute or relative to the working directory.
        images: the folder, one subfolder per class.
        size: side of the images in pixels.

    Raises:
        UsageError: the folder or the network cannot be used; one line with the reason.
    """
    try:
        recipe = OwnNetwork.parse(hub.by_name(_absolute(network), Path.cwd()))
        dataset = _images(images, size)
        place, _, function = str(network["use"]).rpartition(":")
        target = _name(place if place.endswith(".py") else function)
        profile = _profile(dataset, target, recipe)
        paths = store.Paths(NAME)
        path = paths.target(dataset, target, 0)
        unit = f"{dataset}/{target}"
        with store.exclusive(paths.targets(dataset), wait=True):
            bring_network(unit, paths.data(dataset), mapping_of(recipe), path)
    except NetworkError as error:
        why = " ".join(str(error).split())
        raise UsageError(f"{network['use']} {why}") from None
    except (ParamsError, UnknownName, ValueError) as error:
        raise UsageError(" ".join(str(error).split())) from None
    return profile, store.read_json(path.with_suffix(".json"))


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


def _images(folder: Path, size: int) -> str:
    """Prepare the images of a folder, if it or the size has changed; returns the data set's name."""
    folder = Path(folder).expanduser().absolute()
    name = _name(folder.name).lower() or "images"
    if size < 1:
        raise UsageError(f"--size {size} must be at least 1")
    state = _state(folder)
    file = store.Paths(NAME).data(name)
    with store.exclusive(file.parent, wait=True):
        made = data.load_card(file) if file.exists() else {}
        params = {"size": size, "fit": "squash", "path": str(folder)}
        if (made.get("params"), made.get("state")) == (params, state):
            return name
        arrays, card = folders.prepare(params, name, folder)
        about = {
            "name": name,
            "params": params,
            "state": state,
            "counts": {split: len(arrays[f"y_{split}"]) for split in data.SPLITS},
            "size": size,
            "classes": len(arrays["classes"]),
        }
        data.save(file, arrays, {**about, **card})
    return name


def _state(folder: Path) -> str:
    """Hash of the names, sizes and times of a folder's files."""
    if not folder.is_dir():
        raise UsageError(f"--images: {folder} is not a folder")
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            facts = path.stat()
            digest.update(f"{path} {facts.st_size} {facts.st_mtime_ns}".encode())
    return digest.hexdigest()


def _profile(dataset: str, target: str, recipe: OwnNetwork) -> Profile:
    whole: dict[str, Any] = {
        "profile": NAME,
        "datasets": [],
        "papers": [],
        "data": {},
        "zoo": {},
        "replicate": {},
    }
    here = Path("baselines")
    home = here if (store.ROOT / here).is_dir() else _BASELINES
    whole["explain"] = {
        "images": IMAGES,
        "reference": REFERENCE,
        "methods": [f"{home}/{name}" for name in BESIDES],
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
    return [first, *(f"{card['name']}: {note}" for note in card["notes"])]
