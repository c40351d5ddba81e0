"""Functions that return networks with the weights of their own place, for ``benchmark.zoo.hub``. Loaded by path."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from benchmark.splits.networks import NetworkError


def torchvision_default(name: str, **options: Any) -> nn.Module:
    """A network of torchvision with its default weights."""
    models = importlib.import_module("torchvision.models")
    return _fetched(models.get_model, name, weights="DEFAULT", **options)


def timm_default(name: str, **options: Any) -> nn.Module:
    """A network of timm with its default weights."""
    timm = importlib.import_module("timm")
    return _fetched(timm.create_model, name, pretrained=True, **options)


def transformers_classifier(
    name: str, trained: bool = True, sha256: str = "", **options: Any
) -> nn.Module:
    """An image classifier of transformers that returns its logits.

    Args:
        name: of a folder, or on huggingface.co.
        trained: with its weights (safetensors alone).
        sha256: of the folder's files, so that the network's key changes with them.

    Raises:
        NetworkError: it cannot be fetched, or has no weights for a part of it, such as the classifier.
    """
    try:
        transformers = importlib.import_module("transformers")
    except ImportError:
        raise NetworkError(
            "needs transformers, which is not installed: pip install 'glassbench[networks]'"
        ) from None
    logging.getLogger("transformers").setLevel(logging.ERROR)
    local = {"local_files_only": Path(name).is_dir()}
    if Path(name).is_dir():  # bars are for what is fetched
        transformers.utils.logging.disable_progress_bar()
    kind = transformers.AutoModelForImageClassification
    if trained:
        options |= {"use_safetensors": True, "output_loading_info": True} | local
        net, info = _fetched(kind.from_pretrained, name, **options)
        if info["missing_keys"]:
            first = sorted(info["missing_keys"])[0]
            raise NetworkError(
                f"{name} holds no weights for {first}: it is not trained to classify images"
            )
    else:
        config = _fetched(transformers.AutoConfig.from_pretrained, name, **local)
        net = kind.from_config(config, **options)
    net.register_forward_hook(_logits)
    return net


def _logits(module: nn.Module, args: Any, out: Any) -> Tensor:
    return out.logits


def _fetched(function: Any, name: str, **options: Any) -> Any:
    """
    Raises:
        NetworkError: there is no connection, or no such file.
    """
    try:
        return function(name, **options)
    except (
        OSError
    ) as error:  # urllib's, requests' and huggingface_hub's are of this kind
        text = " ".join(str(error).split())[:120]
        raise NetworkError(
            f"{name} has no weights here, and they cannot be fetched ({text}); "
            "run it once with a connection, or name a file of weights"
        ) from None
