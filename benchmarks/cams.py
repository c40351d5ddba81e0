"""CPU-seconds of the heat-map baselines against pytorch-grad-cam, in the same run.

Example:
    python benchmarks/cams.py                                  # 64 digits, VGG-11 (4.67 M parameters), trained first
    python benchmarks/cams.py --layers conv4a --methods grad_cam --repeats 21
    python benchmarks/cams.py --data datasets/processed/quick/fashion_mnist.npz --epochs 3 --train-images 10000

Before anything is timed, both must give the same maps (``variant="library"``) to 1e-4 after min-max scaling. Then they
take turns, on one thread; a ratio is theirs / ours of neighbouring turns, so that a busy machine slows both. Each turn
starts from pixels, but for "psi remembered": how the house runs a second method on the same images. The peer runs as
its documentation shows, on the network as it was trained: parameters take gradients (``--frozen-peer`` spares it those)
and batch norms stand by themselves (``--folded-peer`` gives it the network as ``zoo.load`` makes it).

Floor: what the formula cannot do without. Grad-CAM(++): one forward pass and one backward pass through the head.
Score-CAM: one forward pass, in chunks as large as ours, for each mask that differs (column forwards).
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from time import process_time

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark import data, zoo
from benchmark.api import Batch, Target
from benchmark.registry import load_module
from benchmark.seeds import generator
from benchmark.store import ROOT, StoreError, read_weights

METHODS = {
    "grad_cam": "GradCAM",
    "grad_cam_plusplus": "GradCAMPlusPlus",
    "score_cam": "ScoreCAM",
}  # file: class of both


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--images", type=int, default=64)
    flags.add_argument("--layers", nargs="+", default=["conv3a", "conv3", "conv4a"])
    flags.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    flags.add_argument("--repeats", type=int, default=9, help="turns of Grad-CAM(++); Score-CAM takes a third")
    flags.add_argument(
        "--chunk", type=int, default=64, help="images or masks that we push through the network together"
    )
    flags.add_argument("--frozen-peer", action="store_true", help="see above")
    flags.add_argument("--folded-peer", action="store_true", help="see above")
    flags.add_argument("--data", type=Path, help="a prepared data set (npz); default: scikit-learn's digits")
    flags.add_argument("--epochs", type=int, default=6)
    flags.add_argument("--train-images", type=int, help="only the first so many")
    options = flags.parse_args()
    torch.set_num_threads(1)
    try:
        import pytorch_grad_cam  # noqa: F401
    except ImportError:
        sys.exit("pytorch-grad-cam is not installed: pip install 'glassbench[oracles]'")
    try:
        dataset = data.load(options.data) if options.data else digits()
        target, net = trained(dataset, options)
        batch = dataset.batch("test", np.arange(min(options.images, dataset.size("test"))), chunk=options.chunk)
        for layer in options.layers:
            if target.features(batch, layer).ndim != 4:
                raise ValueError(f"layer {layer} has no positions; take one of {', '.join(target.layers)}")
    except (StoreError, ValueError) as error:
        sys.exit(str(error))
    print("method      layer   maps            forwards    theirs      ours     floor  theirs/ours (range) agree")
    for file in options.methods:
        for layer in options.layers:
            turns = max(1, options.repeats // 3) if file == "score_cam" else options.repeats
            compare(file, layer, target, net, batch, turns, options.frozen_peer)
    print(f"\nCPU-seconds for {len(batch)} images, medians. {machine()}")


def digits() -> data.Dataset:
    """scikit-learn's digits at 32x32: what ships with the dependencies."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float()[:, None] / 16  # (1797, 1, 8, 8)
    x = (torch.nn.functional.interpolate(x, size=32, mode="bilinear") * 255).round().byte().numpy()
    y = bunch.target.astype(np.int64)
    splits = {"x_train": x[:1400], "y_train": y[:1400], "x_test": x[1400:], "y_test": y[1400:]}
    return data.Dataset("digits", splits | {"classes": np.array(list("0123456789"))})


def trained(dataset: data.Dataset, options: argparse.Namespace) -> tuple[Target, nn.Sequential]:
    """VGG-11 at full width, trained (random weights would give other gradients, other zeros and other masks), and the
    network for the peer."""
    recipe = {"net": "vgg11", "epochs": options.epochs, "batch": 64, "lr": 0.002, "schedule": "cosine"}
    recipe |= {"train_images": options.train_images} if options.train_images else {}
    start = process_time()
    with tempfile.TemporaryDirectory() as folder:
        zoo.train(dataset, recipe, 0, Path(folder) / "vgg11-0.safetensors")
        target = zoo.load(Path(folder) / "vgg11-0.safetensors")
        net = zoo.build("vgg11", dataset.input_shape, len(dataset.classes))
        net.load_state_dict(read_weights(Path(folder) / "vgg11-0.safetensors"), assign=True)
    net = copy.deepcopy(target.net) if options.folded_peer else net.eval()
    parameters, test = sum(p.numel() for p in target.net.parameters()), dataset.batch("test")
    accuracy = (target(test).argmax(dim=1) == test.y).float().mean()
    print(f"{dataset.name}: VGG-11 with {parameters / 1e6:.2f} M parameters, test accuracy {accuracy:.3f}, "
          f"trained and tested in {process_time() - start:.0f} CPU-s\n")  # fmt: skip
    return target, net


def compare(
    file: str, layer: str, target: Target, net: nn.Sequential, batch: Batch, repeats: int, frozen: bool
) -> None:
    import pytorch_grad_cam

    cls, module = METHODS[file], load_module(ROOT / "baselines" / f"{file}.py")
    settings = {"layer": layer} | ({} if file == "grad_cam" else {"variant": "library"})
    x, reference, rng = first_input(target, batch.x), image_of_mean(target, batch), generator("cams")
    net.requires_grad_(not frozen)
    peer = getattr(pytorch_grad_cam, cls)(net, [net.get_submodule(layer)])

    def theirs() -> np.ndarray:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
            return peer(x.requires_grad_(frozen), None)

    def ours(images: Batch | None = None) -> np.ndarray:
        method = getattr(module, cls)(**settings).fit(target, reference, rng)
        return method.explain(target, images or batch[:], rng).heatmaps  # [:] remembers nothing

    agreement = float(abs(scaled(ours()) - scaled(theirs())).max())
    if agreement > 1e-4:
        sys.exit(f"{cls} at {layer}: the maps differ by {agreement:.2g} after scaling; nothing was timed")
    if file == "score_cam":
        forwards = different_masks(target, batch, layer)
        rows: dict[str, Callable] = {"from pixels": ours}
    else:
        forwards, warm = len(batch), batch[:]
        target.features(warm, layer)
        rows = {"from pixels": ours, "psi remembered": lambda: ours(warm)}

    def floor() -> None:
        if file == "score_cam":
            masks_forward(target, batch, forwards)
        else:
            head_gradient(target, batch[:], layer)

    for row, mine in rows.items():
        inner = 1 if file == "score_cam" else 5
        turns = np.array([[seconds(f, inner) for f in (theirs, mine, floor)] for _ in range(repeats)])
        ratio, (t, o, b) = turns[:, 0] / turns[:, 1], np.median(turns, axis=0)
        spread = f"{np.median(ratio):.2f} ({ratio.min():.2f}-{ratio.max():.2f})"
        name = f"{getattr(module, cls).name:11} {layer:7} {row:15}"
        print(f"{name} {forwards:8d} {t:9.4f} {o:9.4f} {b:9.4f}  {spread:19} {agreement:.0e}", flush=True)


def seconds(f: Callable[[], object], inner: int) -> float:
    start = process_time()
    for _ in range(inner):
        f()
    return (process_time() - start) / inner


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
    black, white = first_input(target, torch.stack([torch.zeros_like(batch.x[0]), torch.ones_like(batch.x[0])]))
    return Batch(x=(black / (black - white))[None], y=torch.zeros(1, dtype=torch.int64))  # -m/s and (1 - m)/s give m


def scaled(maps: np.ndarray) -> np.ndarray:
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / np.where(high > low, high - low, 1)


def machine() -> str:
    info = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in info if "model name" in line), platform.processor())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "grad-cam", "numpy"))
    return f"{libraries}, Python {platform.python_version()}; {cpu}, one thread, {platform.system()}."


if __name__ == "__main__":
    main()
