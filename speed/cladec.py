"""The cost of ClaDec's trainings: seconds of one epoch, two shortcuts against the plain way, an estimate for the paper.

Example:
    python speed/cladec.py                                # VGG-11, half as wide, 1,024 random images of 32 x 32
    python speed/cladec.py --net resnet10 --width 1 --layer stage4 --device cuda --images 8192
    python speed/cladec.py --estimate --rate 30           # the `paper` profile at 30 TFLOP/s

Ratios are of neighbouring turns in the same run, so that a busy machine slows both:
    stored      four epochs of a decoder, with the frozen encoder run on each batch / with its activations computed once
    together    K evaluation classifiers one after another / as one network (vmap)

The estimate counts the multiplications of one forward and backward pass of each kind of network (torch's flop counter),
times images, epochs, layers, seeds; it is arithmetic at a rate that you give, not a measurement.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from unittest import mock

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmark.api import Target
from benchmark.papers.cladec import training
from benchmark.papers.cladec.decoder import decoder, fresh
from benchmark.papers.cladec.training import Scale, Training
from benchmark.utils import devices
from benchmark.utils.accelerator import is_accelerator
from benchmark.zoo import nets
from speed import frame
from speed.frame import Row, Work

LAYERS = {
    "vgg11": ["logits", "conv4", "conv4a", "conv3", "conv3a"],
    "resnet10": ["logits", "stage4", "stage3", "stage2", "stage1"],
}


def main() -> None:
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--net", default="vgg11", choices=LAYERS)
    flags.add_argument("--width", type=float, default=0.5)
    flags.add_argument("--layer", default="conv4a")
    flags.add_argument("--base", type=int, default=16)
    flags.add_argument("--images", type=int, default=1024)
    flags.add_argument(
        "--together", type=int, default=4, help="K, evaluation classifiers"
    )
    flags.add_argument("--repeats", type=int, default=3)
    flags.add_argument("--device", default="cpu")
    flags.add_argument(
        "--estimate",
        action="store_true",
        help="only the arithmetic of the `paper` profile",
    )
    flags.add_argument(
        "--rate",
        type=float,
        default=30.0,
        help="TFLOP/s that trainings of this size are assumed to reach",
    )
    options = flags.parse_args()
    torch.set_num_threads(1)
    if options.estimate:
        estimate(options.rate)
    else:
        measure(options)


def contenders(
    options: argparse.Namespace,
) -> tuple[dict[str, Work], dict[str, tuple[Work, Work]]]:
    """(what is timed alone, pairs of the plain way and ours)."""
    device = torch.device(options.device)
    target = network(options.net, options.width, 1, device)
    gen = torch.Generator().manual_seed(0)
    x = torch.rand(options.images, 1, 32, 32, generator=gen).to(device)
    y = torch.randint(10, (options.images,), generator=gen).to(device)
    layer, base = options.layer, options.base
    scale, how = Scale.of(x), Training(epochs=1, batch=128)

    def rng() -> np.random.Generator:
        return np.random.default_rng(0)

    def decoding(stored: int, epochs: int = 4) -> Work:
        training_of = Training(epochs, 128)

        def work() -> None:
            with mock.patch.object(training, "STORED", stored):
                training.fit_decoders(
                    target, layer, x, y, scale, training_of, rng(), base=base
                )

        return work

    def classifying(groups: Callable[..., Iterator[list[int]]]) -> Work:
        def work() -> None:
            with mock.patch.object(training, "groups", groups):
                training.fit_classifiers(
                    target, [scale(x)] * options.together, y, how, rng()
                )

        return work

    def one_by_one(k: int, _: object) -> Iterator[list[int]]:
        return iter([[i] for i in range(k)])

    def all_at_once(k: int, _: object) -> Iterator[list[int]]:
        return iter([list(range(k))])

    pairs = {
        "stored": (decoding(0), decoding(2**40)),
        "together": (classifying(one_by_one), classifying(all_at_once)),
    }
    once = {
        "decoder": decoding(2**40, 1),
        "RefAE": lambda: training.fit_reference(
            target, layer, x, scale, how, rng(), base=base
        ),
        "C_eval": lambda: training.fit_classifiers(target, [scale(x)], y, how, rng()),
    }
    return once, pairs


def measure(options: argparse.Namespace) -> None:
    """Print a line for each kind of network and for each pair."""
    device = torch.device(options.device)
    gpu = is_accelerator(device)
    clock = perf_counter if gpu else process_time
    where = f"{platform.machine()} CPU, one thread"
    if gpu:
        where = devices.name(device)

    def finished(work: Work) -> Work:
        """The work, and waiting until a GPU has done it."""

        def finish() -> None:
            work()
            torch.accelerator.synchronize()

        return finish if gpu else work

    once, pairs = contenders(options)
    print(
        f"{options.net} x {options.width:g}, layer {options.layer}, base {options.base}, "
        f"{options.images} images, {where}"
    )
    for label, work in once.items():
        taken = frame.turns([finished(work)], options.repeats, clock=clock)
        each = 1000 * taken.min() / options.images
        print(
            f"  {label:10s} {each:8.3f} ms per image and epoch (least of {options.repeats})"
        )
    for label, (plain, ours) in pairs.items():
        row = pair(
            label, finished(plain), finished(ours), options, options.repeats, clock
        )
        print(f"  {frame.line(row)}")


def pair(
    label: str,
    plain: Work,
    ours: Work,
    options: argparse.Namespace,
    n: int,
    clock: Work,
) -> Row:
    """The plain way against ours."""
    name, peer, bound = {
        "stored": (
            "ClaDec's activations stored",
            "encoded in each epoch",
            "the decoder's own passes",
        ),
        "together": (
            f"{options.together} evaluation classifiers at once",
            "one by one",
            "arithmetic on a CPU; on a GPU small kernels wait less",
        ),
    }[label]
    return frame.against(
        name,
        peer,
        f"{options.net} x {options.width:g}, {options.images:,} images",
        ours,
        plain,
        goal=None,
        bound=bound,
        n=n,
        clock=clock,
    )


def rows(small: bool = False) -> Iterator[Row]:
    size = (
        {"width": 0.1, "images": 64, "together": 2}
        if small
        else {"width": 0.5, "images": 512, "together": 4}
    )
    options = argparse.Namespace(
        net="vgg11", layer="conv4a", base=16, device="cpu", **size
    )
    for label, (plain, ours) in contenders(options)[1].items():
        yield pair(label, plain, ours, options, 1 if small else 3, process_time)


def estimate(rate: float) -> None:
    """Tables 2-8 of the `paper` profile: 60,000 images (CIFAR-100: 50,000), 64 epochs, 5 seeds."""
    total = 0.0
    for net, layers in LAYERS.items():
        target = network(net, 1, 1, torch.device("cpu"))
        classify = flops(fresh(target.net), (1, 32, 32))
        decode, encode = {}, {}
        for layer in layers:
            psi = target.net[: target.layers.index(layer) + 1]
            z = target.features(torch.zeros(1, 1, 32, 32), layer)
            shape = tuple(z.shape[1:])
            decode[layer] = flops(decoder(shape, (1, 32, 32)), shape)
            encode[layer] = flops(fresh(psi), (1, 32, 32))
        # of each layer: ClaDec, RefAE, two C_eval
        each = [2 * decode[layer] + encode[layer] + 2 * classify for layer in layers]
        images = 64 * (60_000 + 60_000 + 50_000) * 5
        top = layers[1]
        alphas = 5 * (
            decode[top] + classify + classify
        )  # decoder with C behind it, C_eval
        ages = 0  # Table 6
        if net == "vgg11":
            ages = (1 + 6) * classify + encode[top] + 6 * decode[top]
        work = sum(each) * images + (alphas + ages) * 64 * 60_000 * 5
        total += work
        low, high = min(decode.values()), max(decode.values())
        print(
            f"{net:9s} {classify / 1e6:7.0f} MFLOP per image (forward and backward), decoders "
            f"{low / 1e6:.0f}-{high / 1e6:.0f}; {at_rate(work, rate)}"
        )
    print(f"all       {at_rate(total, rate)}")


def at_rate(work: float, rate: float) -> str:
    hours = work / rate / 1e12 / 3600
    return f"{work:.2g} FLOP, {hours:.1f} GPU-hours at {rate:g} TFLOP/s (estimate)"


def flops(net: torch.nn.Module, shape: tuple[int, ...]) -> float:
    """Floating-point operations of one image, forward and backward."""
    x = torch.zeros(8, *shape)
    with FlopCounterMode(display=False) as counter:
        net(x).square().sum().backward()
    return counter.get_total_flops() / 8


def network(name: str, width: float, c: int, device: torch.device) -> Target:
    net = nets.build(name, (c, 32, 32), 10, {"width": width}, seed=0).eval()
    return Target(
        nets.fold_norm(net).to(device),
        name=name,
        classes=list("0123456789"),
        input_shape=(c, 32, 32),
    )


if __name__ == "__main__":
    main()
