"""ImageNet weights for torchvision's networks.

    state, source = weights("squeezenet1_0", "imagenet")

``torchvision`` is the file that torchvision's weight enum names; its name holds the first digits of its hash.
``deepcompression`` is SqueezeNet's 8-bit release (Deep Compression, Han et al. 2016) as an npz, which only a mirror
holds. ``imagenet`` is ``deepcompression`` where it is available, else ``torchvision``. A file comes from
``datasets/raw/pretrained``, else from the mirror (``GLASSBENCH_MIRROR``: a folder or base URL), else from its official
URL; nothing is used before its hash is checked.

``data.download.fetch`` does the same for data sets. It is not used here because all code that a network's training
reaches is part of the network's key: a change to how a download is retried would train every network again.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmark import store
from benchmark.zoo.nets import from_torchvision

# torchvision's statistics of ImageNet, in units of [0, 1] pixels.
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
FOLDER = store.ROOT / "datasets" / "raw" / "pretrained"

DEEP_COMPRESSION = {  # net: (path below the mirror, sha256)
    "squeezenet1_0": (
        "squeezenet/squeezenet1_0_imagenet_deepcompression.npz",
        "9d086ed9eed10a3d5f1a93e1180c745ffe8bfe6d4798bef977f95427732c8184",
    )
}


@dataclass(frozen=True)
class _File:
    """A file of weights."""

    path: str  # below the mirror's root
    digest: str  # sha256, or its first digits
    url: str | None  # None: only a mirror holds it


def weights(
    net: str, which: str, folder: Path | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """ImageNet weights under the names of ``nets.build``, all but the last layer's, and where they come from.

    Args:
        which: ``imagenet``, ``torchvision`` or ``deepcompression``.
        folder: cache (default: ``FOLDER``).

    Raises:
        StoreError: no way led to the right bytes; the message is one line that says what to do.
    """
    kinds = ("deepcompression", "torchvision") if which == "imagenet" else (which,)
    problems = []
    for kind in kinds:
        file = _file(net, kind)
        if file is None:
            continue
        path, problem = _get(file, folder or FOLDER)
        if path:
            source = {"source": kind, "file": path.name, "sha256": file_hash(path)}
            return from_torchvision(net, _read(path)), source
        problems.append(problem)
    if not problems:
        raise store.StoreError(
            f"there are no {which} weights for {net}; use torchvision"
        )
    raise store.StoreError(
        f"cannot get ImageNet weights for {net} ({'; '.join(problems)}); connect to the internet, "
        f"or set GLASSBENCH_MIRROR to a folder or base URL that holds one of these"
    )


def _file(net: str, kind: str) -> _File | None:
    """The file of a network's weights; None if there is none of this kind."""
    if kind == "torchvision":
        from torchvision import models

        url = models.get_model_weights(net).IMAGENET1K_V1.url
        digest = Path(url).stem.rpartition("-")[2]  # the first 8 digits of the sha256
        return _File(f"torchvision/{Path(url).name}", digest, url)
    if net in DEEP_COMPRESSION:
        path, digest = DEEP_COMPRESSION[net]
        return _File(path, digest, None)
    return None


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _get(file: _File, folder: Path) -> tuple[Path | None, str]:
    """The path of a file with the right hash, or None and the reason."""
    mirror = os.environ.get("GLASSBENCH_MIRROR", "")
    cached = folder / Path(file.path).name
    places, addresses, problems = [cached], [], []
    if "://" in mirror:
        addresses.append(f"{mirror.rstrip('/')}/{file.path}")
    elif mirror:
        places.append(Path(mirror).expanduser() / file.path)
        problems.append(f"{file.path} not in the mirror")
    for place in places:
        if place.is_file() and file_hash(place).startswith(file.digest):
            return place, ""
    if file.url:
        addresses.append(file.url)
    for address in addresses:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                address, str(cached), hash_prefix=file.digest, progress=False
            )
            return cached, ""
        except (OSError, RuntimeError, ValueError) as error:
            # no connection, wrong bytes, or not a URL
            why = " ".join(str(error).split())[:120]
            problems.append(f"{address}: {why}")
    return None, "; ".join(problems) or f"{file.path} is on a mirror only"


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict from npz or torch's own format, without running code from the file."""
    if path.suffix == ".npz":
        return {
            key: torch.from_numpy(value) for key, value in store.read_npz(path).items()
        }
    with store.reading(path):
        return torch.load(
            io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True
        )
