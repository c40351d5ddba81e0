"""CPU-seconds of the heat-map baselines against pytorch-grad-cam and captum.

Example:
    python speed/cams.py                    # 64 digits, VGG-11 (4.67 M parameters), trained first

Before anything is timed, all must give the same maps to 1e-4 after min-max scaling. pytorch-grad-cam's are ours with
``variant="library"``; captum (which knows Grad-CAM only) upsamples otherwise, so its maps are compared before that.
Each turn starts from pixels, except "psi remembered": the pipeline runs further methods on the same images in this way.
The peers run as their documentation shows, on the network as it was trained, in eval mode: parameters take gradients,
and batch norms are layers of their own; "folded" gives pytorch-grad-cam the network as ``zoo.load`` makes it, frozen.

Floor: the least that the formula needs. Grad-CAM(++): one forward pass and one backward pass through the head.
Score-CAM: one forward pass for each mask that differs (column forwards of the size), in chunks as large as ours.
"""

from __future__ import annotations

import contextlib
import copy
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark import data, zoo
from benchmark.api import Batch, Target
from benchmark.methods.registry import load_module
from benchmark.store import ROOT, read_weights
from benchmark.utils.seeds import generator
from speed import frame
from speed.frame import Row

# file: the class's name, here and in pytorch-grad-cam
METHODS = {
    "grad_cam": "GradCAM",
    "grad_cam_plusplus": "GradCAMPlusPlus",
    "score_cam": "ScoreCAM",
}


def rows(small: bool = False) -> Iterator[Row]:
    try:
        import captum  # noqa: F401
        import pytorch_grad_cam  # noqa: F401
    except ImportError as error:
        sys.exit(f"{error.name} is not installed: pip install 'glassbench[oracles]'")
    dataset = digits()
    target, net = trained(dataset, small)
    batch = dataset.batch("test", np.arange(4 if small else 64))
    n, inner = (3, 1) if small else (9, 5)
    for file, layer in (
        ("grad_cam", "conv3a"),
        ("grad_cam", "conv4a"),
        ("grad_cam_plusplus", "conv3a"),
    ):
        yield from compare(file, layer, target, net, batch, n, inner)
    few, n = (batch[:2], 1) if small else (batch[:16], 5)
    yield from compare("score_cam", "conv3a", target, net, few, n, 1)


def digits() -> data.Dataset:
    """scikit-learn's digits at 32x32, which ship with the dependencies."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float()[:, None] / 16  # (1797, 1, 8, 8)
    x = torch.nn.functional.interpolate(x, size=32, mode="bilinear")
    x = (x * 255).round().byte().numpy()
    y = bunch.target.astype(np.int64)
    splits = {
        "x_train": x[:1400],
        "y_train": y[:1400],
        "x_test": x[1400:],
        "y_test": y[1400:],
    }
    return data.Dataset("digits", splits | {"classes": np.array(list("0123456789"))})


def trained(dataset: data.Dataset, small: bool) -> tuple[Target, nn.Sequential]:
    """VGG-11 as a target and as the network for the peers.

    It is trained: random weights would give other gradients, other zeros and other masks.
    """
    options = {"width": 0.25} if small else {}
    recipe = {
        "net": "vgg11",
        "options": options,
        "epochs": 1 if small else 6,
        "batch": 64,
        "lr": 0.002,
        "schedule": "cosine",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vgg11-0.safetensors"
        zoo.train(dataset, recipe, 0, path)
        target = zoo.load(path)
        net = zoo.build("vgg11", dataset.input_shape, len(dataset.classes), options)
        net.load_state_dict(read_weights(path), assign=True)
    return target, net.eval().requires_grad_()


def compare(
    file: str,
    layer: str,
    target: Target,
    net: nn.Sequential,
    batch: Batch,
    n: int,
    inner: int,
) -> Iterator[Row]:
    """All peers of one method at one layer."""
    import pytorch_grad_cam
    from captum.attr import LayerGradCam

    cls, module = METHODS[file], load_module(ROOT / "baselines" / f"{file}.py")
    slow = file == "score_cam"
    settings = {"layer": layer}
    if file != "grad_cam":
        settings["variant"] = "library"
    x, reference = first_input(target, batch.x), image_of_mean(target, batch)
    rng, classes = generator("cams"), target(batch).argmax(1)
    warm = batch[:]  # [:] remembers nothing of the batch
    target.features(warm, layer)
    folded = copy.deepcopy(target.net)

    def theirs(network: nn.Sequential = net) -> np.ndarray:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            peer = getattr(pytorch_grad_cam, cls)(
                network, [network.get_submodule(layer)]
            )
            try:
                return peer(x.clone().requires_grad_(network is folded), None)
            finally:
                peer.activations_and_grads.release()

    def captums() -> np.ndarray:
        explainer = LayerGradCam(net, net.get_submodule(layer))
        found = explainer.attribute(x, classes, relu_attributions=True)  # (n, 1, u, v)
        maps = LayerGradCam.interpolate(found, x.shape[-2:], "bilinear")
        return maps[:, 0].detach().numpy()

    def ours(images: Batch | None = None) -> np.ndarray:
        method = getattr(module, cls)(**settings).fit(target, reference, rng)
        return method.explain(target, images or batch[:], rng).heatmaps

    name, size = getattr(module, cls).name, f"{layer}, {len(batch)} images"
    goal, bound = 2, "one forward pass and the head's backward pass"
    if slow:
        forwards = different_masks(target, batch, layer)
        size += f", {forwards:,} forwards"
        goal, bound = (
            4,
            "forward passes, one per mask: float32 arithmetic of the convolutions",
        )

    def floor() -> None:
        if slow:
            masks_forward(target, batch, forwards)
        else:
            head_gradient(target, batch[:], layer)

    peers = {
        "pytorch-grad-cam": (theirs, goal, bound, "ratio"),
        "pytorch-grad-cam, folded": (lambda: theirs(folded), None, bound, "ratio"),
    }
    mine = scaled(ours())
    check_equal(cls, layer, mine, "pytorch-grad-cam", theirs())
    if file == "grad_cam":
        check_equal(cls, layer, mine, "captum", captums())
        peers["captum"] = (captums, goal, bound, "ratio")
    peers["floor"] = (floor, None, bound, "floor")
    yield from frame.many(name, size, ours, peers, n=n, inner=inner)
    if not slow:
        yield frame.against(
            f"{name}, psi remembered",
            "pytorch-grad-cam",
            size,
            lambda: ours(warm),
            theirs,
            goal=goal,
            bound="the head's forward and backward pass",
            n=n,
            inner=inner,
        )


def check_equal(
    cls: str, layer: str, mine: np.ndarray, peer: str, theirs: np.ndarray
) -> None:
    """Stop if a peer's maps are not ours, which are scaled already.

    Raises:
        SystemExit: they differ by more than 1e-4.
    """
    apart = float(abs(mine - scaled(theirs)).max())
    if apart > 1e-4:
        sys.exit(
            f"{cls} at {layer}: {peer}'s maps differ by {apart:.2g} after scaling; "
            f"nothing was timed"
        )


@torch.inference_mode()
def masks_forward(target: Target, batch: Batch, forwards: int) -> None:
    """Score-CAM's forward passes."""
    for rows in torch.arange(forwards).split(batch.chunk):
        target(batch.x[rows % len(batch)])


def head_gradient(target: Target, batch: Batch, layer: str) -> None:
    """Grad-CAM's forward pass, and its backward pass through the head."""
    z = target.features(batch, layer).detach().requires_grad_()
    logits = target.head(z, layer)
    torch.autograd.grad(logits.amax(dim=1).sum(), z)


def different_masks(target: Target, batch: Batch, layer: str) -> int:
    """How many masks all images have; equal masks of an image count once."""
    A = target.features(batch, layer).flatten(2)  # (n, K, u v)
    low, high = A.aminmax(dim=2, keepdim=True)
    span = (high - low).where(high > low, 1)
    masks = (A - low) / span
    return sum(len(of_image.unique(dim=0)) for of_image in masks)


def first_input(target: Target, x: torch.Tensor) -> torch.Tensor:
    """The input of the target's first layer for pixels x: the peers take a network, not a target."""
    seen = []
    handle = target.net[0].register_forward_pre_hook(lambda _, z: seen.append(z[0]))
    with torch.no_grad():
        target(x)
    handle.remove()
    return seen[0]


def image_of_mean(target: Target, batch: Batch) -> Batch:
    """One image of the colour that the target maps to 0, so that all hide pixels with the same colour."""
    image = batch.x[0]
    extremes = torch.stack([torch.zeros_like(image), torch.ones_like(image)])
    black, white = first_input(target, extremes)
    mean = black / (black - white)  # m from -m/s and (1 - m)/s
    y = torch.zeros(1, dtype=torch.int64)
    return Batch(x=mean[None], y=y)


def scaled(maps: np.ndarray) -> np.ndarray:
    """Each map (n, h, w) scaled to [0, 1]."""
    low = maps.min(axis=(1, 2), keepdims=True)
    high = maps.max(axis=(1, 2), keepdims=True)
    span = np.where(high > low, high - low, 1)
    return (maps - low) / span


if __name__ == "__main__":
    frame.alone(__doc__, rows)
