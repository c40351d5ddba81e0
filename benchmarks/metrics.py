"""CPU-seconds of deletion and insertion curves against Quantus' PixelFlipping, at equal steps in the same run.

Example:
    python benchmarks/metrics.py                                    # 64 images of 32 x 32, half-width VGG-11, 32 steps
    python benchmarks/metrics.py --net explainn_cnn --images 256 --side 28 --steps 28

Each round runs all contenders once, in turn, on one thread, from nothing (no results of an earlier run); printed are the
medians and how many times faster than PixelFlipping. It gets the same maps and classes and as many deletions. Maps are
noise and the network is untrained: neither changes the time. Images are grey because PixelFlipping flips features, not
pixels. Its warnings are off (with them it is slower).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, Target
from benchmark.zoo import build

PEER = "Quantus PixelFlipping"


class Network(nn.Module):
    """The target as the plain module that Quantus wants."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.target = target

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.target(x.float())


def contenders(target: Target, x: torch.Tensor, maps: np.ndarray, steps: int, chunk: int) -> dict[str, Callable]:
    import quantus

    classes = target(Batch(x=x, y=torch.zeros(len(x)), chunk=chunk)).argmax(1)
    flipping = quantus.PixelFlipping(
        features_in_step=maps[0].size // steps, perturb_baseline=0.0, normalise=False, disable_warnings=True
    )

    def theirs():
        given = {"channel_first": True, "softmax": True, "device": "cpu", "batch_size": chunk}
        return flipping(Network(target).eval(), x.numpy(), classes.numpy(), a_batch=maps[:, None].copy(), **given)

    def ours(name: str) -> Callable:
        def run():
            batch, e = Batch(x=x, y=classes, chunk=chunk), Explanation(heatmaps=maps)
            return METRICS[name](e, target, batch, np.random.default_rng(0), steps=steps + 1)

        return run

    return {PEER: theirs} | {name: ours(name) for name in ("deletion_auc", "insertion_auc")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="vgg11", help="a network of benchmark.zoo (default: %(default)s)")
    parser.add_argument("--options", type=json.loads, help='its options as JSON (default: {"width": 0.5} for vgg11)')
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--side", type=int, default=32, help="of the image in pixels (default: %(default)s)")
    parser.add_argument(
        "--steps", type=int, default=32, help="deletions; must divide the pixels (default: %(default)s)"
    )
    parser.add_argument("--chunk", type=int, default=64, help="images a forward pass (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.side**2 % args.steps:
        parser.error(f"--steps {args.steps} does not divide the {args.side**2} pixels, as PixelFlipping asks for")
    torch.set_num_threads(1)

    shape, rng = (1, args.side, args.side), np.random.default_rng(0)
    options = {"width": 0.5} if args.options is None and args.net == "vgg11" else args.options
    net = build(args.net, shape, 10, options, seed=0)
    target = Target(net, name=args.net, classes=[str(k) for k in range(10)], input_shape=shape)
    x = torch.from_numpy(rng.random((args.images, *shape), np.float32))
    maps = rng.standard_normal((args.images, args.side, args.side)).astype(np.float32)

    runs = contenders(target, x, maps, args.steps, args.chunk)
    seconds = {name: [] for name in runs}
    for _ in range(args.rounds + 1):  # the first round warms up
        for name, run in runs.items():
            start = process_time()
            run()
            seconds[name].append(process_time() - start)
    print(f"{args.net} {options or ''}, {args.images} images of {args.side} x {args.side}, {args.steps} steps")
    print(f"{'':30} {'CPU-s':>8} {'x faster':>9}")
    peer = median(seconds[PEER][1:])
    for name, times in seconds.items():
        print(f"{name:30} {median(times[1:]):8.3f} {peer / median(times[1:]):9.2f}")


if __name__ == "__main__":
    main()
