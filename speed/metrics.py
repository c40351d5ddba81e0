"""CPU-seconds of deletion and insertion against Quantus' PixelFlipping, at equal curves; and what shared passes save.

Example:
    python speed/metrics.py                 # 64 grey images of 32 x 32, 32 steps, three networks

Quantus gets the same maps and classes and takes as many deletions; its curve must equal ours to 1e-5 at every step, or
nothing is timed (its area under the curve fails on numpy 2.4). It has no insertion: ours is timed against the same
number of its deletions. Maps are noise and the networks untrained: neither changes the time. Images are grey because
PixelFlipping flips features, not pixels; its warnings are off (with them it is slower). Both push 64 images at a time
through the same network. The floor is these forward passes alone.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, Target
from benchmark.metrics import masking
from benchmark.zoo import build, nets
from speed import frame
from speed.frame import Row

# From almost no computation to much.
NETS = {"linear": None, "explainn_cnn": {}, "vgg11": {"width": 0.5}}
STEPS = 32
SIDE = 32
MASKING = (
    "average_drop",
    "average_increase",
    "deletion_auc",
    "insertion_auc",
    "accuracy_top_pixels",
)


class Network(nn.Module):
    """The target as the plain module that Quantus wants."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.target(x.float())


def network(name: str) -> Target:
    if NETS[name] is None:
        net = nn.Sequential()
        net.add_module("flatten", nn.Flatten())
        net.add_module("logits", nn.Linear(SIDE**2, 10))
    else:
        net = nets.fold_norm(build(name, (1, SIDE, SIDE), 10, NETS[name], seed=0))
    return Target(net, name=name, classes="0123456789", input_shape=(1, SIDE, SIDE))


def rows(small: bool = False) -> Iterator[Row]:
    try:
        import quantus
    except ImportError:
        sys.exit("Quantus is not installed: pip install 'glassbench[oracles]'")
    images, rng = (4 if small else 64), np.random.default_rng(0)
    x = torch.from_numpy(rng.random((images, 1, SIDE, SIDE), np.float32))
    maps = rng.standard_normal((images, SIDE, SIDE)).astype(np.float32)
    flipping = functools.partial(
        quantus.PixelFlipping,
        features_in_step=SIDE**2 // STEPS,
        perturb_baseline=0.0,
        normalise=False,
        disable_warnings=True,
    )
    for name in list(NETS)[:1] if small else NETS:
        yield from compare(name, x, maps, flipping, 3 if small else 7)


def compare(
    name: str, x: torch.Tensor, maps: np.ndarray, flipping: Callable[[], Any], n: int
) -> Iterator[Row]:
    """One network; ``flipping`` makes Quantus' metric."""
    target = network(name)
    classes = target(x).argmax(1)
    plain = Network(target).eval()

    def theirs() -> list:
        return flipping()(
            plain,
            x.numpy(),
            classes.numpy(),
            a_batch=maps[:, None].copy(),
            channel_first=True,
            softmax=True,
            device="cpu",
            batch_size=64,
        )

    def ours(*names: str, together: bool = True) -> None:
        batch, e = Batch(x=x, y=classes), Explanation(heatmaps=maps)
        for metric in names:
            METRICS[metric](e, target, batch, np.random.default_rng(0))
            if not together:
                batch = Batch(x=x, y=classes)  # which remembers nothing

    @torch.inference_mode()
    def floor() -> None:
        for _ in range(STEPS + 1):
            target(x)

    batch, e = Batch(x=x, y=classes), Explanation(heatmaps=maps)
    steps = masking.steps_of(STEPS + 1, batch)[1:]
    z = masking.logits_at(e, target, batch, steps, delete=True)
    curves = masking.probability(z, classes).T
    apart = float(np.abs(curves - np.array(theirs())).max())
    if apart > 1e-5:
        sys.exit(f"{name}: the curves differ by {apart:.2g}; nothing was timed")
    bound = f"{STEPS + 1} forward passes of the network"
    size = f"{len(x)} images, {name}"
    peers = {
        "Quantus": (theirs, 5, bound, "ratio"),
        "floor": (floor, None, "forward passes alone", "floor"),
    }
    yield from frame.many("Deletion", size, lambda: ours("deletion_auc"), peers, n=n)
    yield from frame.many("Insertion", size, lambda: ours("insertion_auc"), peers, n=n)
    yield frame.against(
        "Five masking metrics, passes shared",
        "each alone",
        size,
        lambda: ours(*MASKING),
        lambda: ours(*MASKING, together=False),
        goal=None,
        bound="what they have in common: the same masks",
        n=n,
    )


if __name__ == "__main__":
    frame.alone(__doc__, rows)
