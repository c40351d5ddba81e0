"""ImageNet weights for torchvision's networks.

    state, source = weights("squeezenet1_0", "imagenet")

``torchvision`` is the file that torchvision's weight enum names, known by the hash in its name; ``deepcompression`` is
SqueezeNet's 8-bit release (Deep Compression, Han et al. 2016) as an npz, which only a mirror holds; ``imagenet`` is the
first of the two that can be had. A file comes from ``datasets/raw/pretrained``, else from the mirror
(``GLASSBENCH_MIRROR``: a folder or base URL), else from its official URL; nothing is used before its hash is checked.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import torch
from torch import Tensor

from benchmark import store
from benchmark.zoo.nets import from_torchvision

MEAN, STD = (
    [0.485, 0.456, 0.406],
    [0.229, 0.224, 0.225],
)  # torchvision's for ImageNet, in units of [0, 1] pixels
FOLDER = store.ROOT / "datasets" / "raw" / "pretrained"

DEEP_COMPRESSION = {  # net: (path below the mirror, sha256)
    "squeezenet1_0": (
        "squeezenet/squeezenet1_0_imagenet_deepcompression.npz",
        "9d086ed9eed10a3d5f1a93e1180c745ffe8bfe6d4798bef977f95427732c8184",
    )
}


def weights(
    net: str, which: str, folder: Path | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """ImageNet weights under the names of ``nets.build``, all but the last layer's, and where they are from.

    Args:
        which: ``imagenet``, ``torchvision`` or ``deepcompression``.
        folder: cache (default: ``FOLDER``).

    Raises:
        StoreError: no way led to the right bytes; one line with the ways out.
    """
    from torchvision import models

    problems = []
    for kind in ("deepcompression", "torchvision") if which == "imagenet" else (which,):
        if kind == "torchvision":
            url = models.get_model_weights(net).IMAGENET1K_V1.url
            path, digest = (
                f"torchvision/{Path(url).name}",
                Path(url).stem.rpartition("-")[2],
            )  # sha256, its first 8 digits
        elif net in DEEP_COMPRESSION:
            url, (path, digest) = None, DEEP_COMPRESSION[net]
        else:
            continue
        file, problem = _get(path, digest, url, folder or FOLDER)
        if file:
            return from_torchvision(net, _read(file)), {
                "source": kind,
                "file": file.name,
                "sha256": file_hash(file),
            }
        problems.append(problem)
    if not problems:
        raise store.StoreError(f"there are no {which} weights for {net}; use torchvision")
    raise store.StoreError(
        f"cannot get ImageNet weights for {net} ({'; '.join(problems)}); connect to the internet, or "
        f"set GLASSBENCH_MIRROR to a folder or base URL that holds one of these"
    )


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _get(path: str, digest: str, url: str | None, folder: Path) -> tuple[Path | None, str]:
    """The file whose sha256 begins with ``digest``, or None and why there is none."""
    mirror, cached = os.environ.get("GLASSBENCH_MIRROR", ""), folder / Path(path).name
    remote = "://" in mirror
    for place in [cached] + ([Path(mirror).expanduser() / path] if mirror and not remote else []):
        if place.is_file() and file_hash(place).startswith(digest):
            return place, ""
    problems = [f"{path} not in the mirror"] if mirror and not remote else []
    for address in ([f"{mirror.rstrip('/')}/{path}"] if remote else []) + ([url] if url else []):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(address, str(cached), hash_prefix=digest, progress=False)
            return cached, ""
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # no connection, wrong bytes, not a URL
            problems.append(f"{address}: {' '.join(str(error).split())[:120]}")
    return None, "; ".join(problems) or f"{path} is on a mirror only"


def _read(path: Path) -> dict[str, Tensor]:
    """A state dict from npz or torch's own format, without running code from the file."""
    if path.suffix == ".npz":
        return {key: torch.from_numpy(value) for key, value in store.read_npz(path).items()}
    with store.reading(path):
        return torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
