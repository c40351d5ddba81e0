"""Networks by name with weights "from their own place": how a profile's mapping names them, as one that ``own`` reads.

    by_name({"use": "hf:google/vit-base-patch16-224"})             # or a folder: hf:photos/vit
    by_name({"use": "torchvision:resnet18", "weights": "default"})

Idea: such a network is a network of one's own whose function is in ``hub_networks.py``. Its classes, mean and std are
those that its place states, unless the mapping has others. What has been fetched is kept by the library that fetched
it; the weights are then written beside the card and hashed, as those of any network of one's own.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark import store

_HERE = Path(__file__).resolve()
DEFAULT = "default"


def by_name(mapping: Mapping[str, Any], base: Path | None = None) -> dict[str, Any]:
    """The mapping with a function in the place of ``hf:NAME``, and of a name with ``weights: default``.

    Args:
        base: what a folder after ``hf:`` is relative to (default: the project's root).

    Raises:
        ValueError: the name is not known to its library, or cannot be fetched; one line.
    """
    found = dict(mapping)
    library, _, name = str(found.get("use", "")).partition(":")
    if library == "hf" and name:
        return _of_transformers(found, name, base or store.ROOT)
    if found.get("weights") != DEFAULT:
        return found
    if library not in ("torchvision", "timm"):
        raise ValueError(
            "weights: default is for torchvision:NAME and timm:NAME; name a file of weights"
        )
    del found["weights"]
    options = {"name": name, **found.get("options", {})}
    found |= {"use": _function(f"{library}_default"), "options": options}
    return _stated(library, name) | found


def _of_transformers(found: dict[str, Any], name: str, base: Path) -> dict[str, Any]:
    folder = base / Path(name).expanduser()
    place = str(folder) if folder.is_dir() else name
    if found.get("weights") == DEFAULT:
        del found["weights"]
    options = {"name": place, "trained": "weights" not in found}
    if folder.is_dir():  # its content is part of the network's key
        files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")])
        options["sha256"] = store.sha256(*files)
    options |= found.get("options", {})
    found |= {"use": _function("transformers_classifier"), "options": options}
    config = _json(place, "config.json", needed=True)
    labels = config.get("id2label") or {}
    classes = [labels[key] for key in sorted(labels, key=int)]
    stated = _json(place, "preprocessor_config.json")
    if stated.get("do_normalize") is False:
        stated = {}
    given = {"mean": stated.get("image_mean"), "std": stated.get("image_std")}
    if not all(re.fullmatch(r"LABEL_\d+", label) for label in classes):
        given["classes"] = classes
    return {key: value for key, value in given.items() if value} | found


def _function(name: str) -> str:
    """A function of ``hub_networks.py``, as ``use`` names it: relative to the project where it is part of it."""
    path = _HERE.with_name("hub_networks.py")
    if path.is_relative_to(store.ROOT):
        path = path.relative_to(store.ROOT)
    return f"{path}:{name}"


def _stated(library: str, name: str) -> dict[str, Any]:
    """Mean, std and classes of the weights that a library has for a network."""
    try:
        if library == "timm":
            config = importlib.import_module("timm").get_pretrained_cfg(name)
            return {"mean": list(config.mean), "std": list(config.std)}
        models = importlib.import_module("torchvision.models")
        weights = models.get_model_weights(name).DEFAULT
    except ImportError:
        raise ValueError(
            f"needs {library}, which is not installed: pip install {library}"
        ) from None
    except (ValueError, AttributeError, RuntimeError):
        raise ValueError(f"{library} has no weights for a network {name!r}") from None
    images = weights.transforms()
    return {
        "mean": list(images.mean),
        "std": list(images.std),
        "classes": list(weights.meta["categories"]),
    }


def _json(place: str, file: str, needed: bool = False) -> dict[str, Any]:
    """A file of JSON of a folder, or of the model of that name on huggingface.co; empty if there is none.

    Raises:
        ValueError: it is needed.
    """
    path = Path(place) / file
    if not Path(place).is_dir():
        path = _fetched(place, file, needed)
    if path is None or not path.is_file():
        if needed:
            raise ValueError(f"use: {place} has no {file}")
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"use: {path} is no JSON: {error}") from None


def _fetched(name: str, file: str, needed: bool) -> Path | None:
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise ValueError(
            "hf: needs transformers, which is not installed: pip install 'glassbench[networks]'"
        ) from None
    known = hub.try_to_load_from_cache(name, file)
    if isinstance(known, str):
        return Path(known)
    try:
        return Path(hub.hf_hub_download(name, file))
    except (
        Exception
    ) as error:  # of many kinds: no connection, no such model, no such file
        if not needed:
            return None
        raise ValueError(
            f"use: hf:{name} is no folder here, and cannot be fetched ({type(error).__name__}); "
            "name a folder with config.json and model.safetensors, or run it once with a connection"
        ) from None
