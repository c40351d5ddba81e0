"""CPU-seconds of the heat-map baselines against pytorch-grad-cam and captum.

Example:
    python speed/cams.py                    # 64 digits, VGG-11 (4.67 M parameters), trained first

Before anything is timed, all must give the same maps to 1e-4 after min-max scaling: pytorch-grad-cam's are ours with
``variant="library"``; captum (which knows Grad-CAM only) upsamples otherwise, so its maps are compared before that. Each turn
starts from pixels, but for "psi remembered": how the house runs a second method on the same images. The peers run as
their documentation shows, on the network as it was trained, in eval mode: parameters take gradients and batch norms stand by
themselves; "folded" gives pytorch-grad-cam the network as ``zoo.load`` makes it, frozen.

Floor: what the formula cannot do without. Grad-CAM(++): one forward pass and one backward pass through the head.
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

METHODS = {
    "grad_cam": "GradCAM",
    "grad_cam_plusplus": "GradCAMPlusPlus",
    "score_cam": "ScoreCAM",
}  # file: class of both


def rows(small: bool = False) -> Iterator[Row]:
    try:
        import captum  # noqa: F401
        import pytorch_grad_cam  # noqa: F401
    except ImportError as error:
        sys.exit(f"{error.name} is not installed: pip install 'glassbench[oracles]'")
    dataset = digits()
    target, net = trained(dataset, small)
    batch = dataset.batch("test", np.arange(4 if small else 64))
    for file, layer in (
        ("grad_cam", "conv3a"),
        ("grad_cam", "conv4a"),
        ("grad_cam_plusplus", "conv3a"),
    ):
        yield from compare(file, layer, target, net, batch, 3 if small else 9, 1 if small else 5)
    yield from compare(
        "score_cam", "conv3a", target, net, batch[: 2 if small else 16], 1 if small else 5, 1
    )


def digits() -> data.Dataset:
    """scikit-learn's digits at 32x32: what ships with the dependencies."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float()[:, None] / 16  # (1797, 1, 8, 8)
    x = (torch.nn.functional.interpolate(x, size=32, mode="bilinear") * 255).round().byte().numpy()
    y = bunch.target.astype(np.int64)
    splits = {"x_train": x[:1400], "y_train": y[:1400], "x_test": x[1400:], "y_test": y[1400:]}
    return data.Dataset("digits", splits | {"classes": np.array(list("0123456789"))})


def trained(dataset: data.Dataset, small: bool) -> tuple[Target, nn.Sequential]:
    """VGG-11, trained (random weights would give other gradients, other zeros and other masks), and the network for the
    peers."""
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
        zoo.train(dataset, recipe, 0, Path(folder) / "vgg11-0.safetensors")
        target = zoo.load(Path(folder) / "vgg11-0.safetensors")
        net = zoo.build("vgg11", dataset.input_shape, len(dataset.classes), options)
        net.load_state_dict(read_weights(Path(folder) / "vgg11-0.safetensors"), assign=True)
    return target, net.eval().requires_grad_()


def compare(
    file: str, layer: str, target: Target, net: nn.Sequential, batch: Batch, n: int, inner: int
) -> Iterator[Row]:
    """All peers of one method at one layer."""
    import pytorch_grad_cam
    from captum.attr import LayerGradCam

    cls, module = METHODS[file], load_module(ROOT / "baselines" / f"{file}.py")
    settings = {"layer": layer} | ({} if file == "grad_cam" else {"variant": "library"})
    x, reference, rng = (
        first_input(target, batch.x),
        image_of_mean(target, batch),
        generator("cams"),
    )
    classes, warm = target(batch).argmax(1), batch[:]
    target.features(warm, layer)
    folded = copy.deepcopy(target.net)

    def theirs(network: nn.Sequential = net) -> np.ndarray:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            peer = getattr(pytorch_grad_cam, cls)(network, [network.get_submodule(layer)])
            try:
                return peer(x.clone().requires_grad_(network is folded), None)
            finally:
                peer.activations_and_grads.release()

    def captums() -> np.ndarray:
        found = LayerGradCam(net, net.get_submodule(layer)).attribute(
            x, classes, relu_attributions=True
        )  # (n, 1, u, v)
        return LayerGradCam.interpolate(found, x.shape[-2:], "bilinear")[:, 0].detach().numpy()

    def ours(images: Batch | None = None) -> np.ndarray:
        method = getattr(module, cls)(**settings).fit(target, reference, rng)
        return method.explain(target, images or batch[:], rng).heatmaps  # [:] remembers nothing

    forwards = different_masks(target, batch, layer) if file == "score_cam" else len(batch)

    def floor() -> None:
        masks_forward(target, batch, forwards) if file == "score_cam" else head_gradient(
            target, batch[:], layer
        )

    mine = scaled(ours())
    maps = {"pytorch-grad-cam": theirs()} | ({"captum": captums()} if file == "grad_cam" else {})
    for peer, found in maps.items():
        if (apart := float(abs(mine - scaled(found)).max())) > 1e-4:
            sys.exit(
                f"{cls} at {layer}: {peer}'s maps differ by {apart:.2g} after scaling; nothing was timed"
            )
    name, slow = getattr(module, cls).name, file == "score_cam"
    size = f"{layer}, {len(batch)} images" + (f", {forwards:,} forwards" if slow else "")
    goal, passes = (
        (4, "forward passes, one a mask: float32 arithmetic of the convolutions")
        if slow
        else (2, "one forward pass and the head's backward pass")
    )
    peers = {
        "pytorch-grad-cam": (theirs, goal, passes, "ratio"),
        "pytorch-grad-cam, folded": (lambda: theirs(folded), None, passes, "ratio"),
        **({"captum": (captums, goal, passes, "ratio")} if file == "grad_cam" else {}),
        "floor": (floor, None, passes, "floor"),
    }
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


@torch.inference_mode()
def masks_forward(target: Target, batch: Batch, forwards: int) -> None:
    for rows in torch.arange(forwards).split(batch.chunk):
        target(batch.x[rows % len(batch)])


def head_gradient(target: Target, batch: Batch, layer: str) -> None:
    z = target.features(batch, layer).detach().requires_grad_()
    torch.autograd.grad(target.head(z, layer).amax(dim=1).sum(), z)


def different_masks(target: Target, batch: Batch, layer: str) -> int:
    """How many masks there are in all images, equal masks of an image counted once."""
    A = target.features(batch, layer).flatten(2)  # (n, K, u v)
    low, high = A.aminmax(dim=2, keepdim=True)
    return sum(len(masks.unique(dim=0)) for masks in (A - low) / (high - low).where(high > low, 1))


def first_input(target: Target, x: torch.Tensor) -> torch.Tensor:
    """What the first layer of the target gets for pixels x: the peer takes a network, not a target."""
    seen = []
    handle = target.net[0].register_forward_pre_hook(lambda _, z: seen.append(z[0]))
    with torch.no_grad():
        target(x)
    handle.remove()
    return seen[0]


def image_of_mean(target: Target, batch: Batch) -> Batch:
    """One image of the colour that the target maps to 0, so that both hide pixels by the same colour."""
    black, white = first_input(
        target, torch.stack([torch.zeros_like(batch.x[0]), torch.ones_like(batch.x[0])])
    )
    return Batch(
        x=(black / (black - white))[None], y=torch.zeros(1, dtype=torch.int64)
    )  # -m/s and (1 - m)/s give m


def scaled(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / np.where(high > low, high - low, 1)


if __name__ == "__main__":
    frame.alone(__doc__, rows)
