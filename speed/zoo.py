"""K networks of one shape trained as one (vmap), one by one, and side by side in processes; an MLP without autograd.

    python speed/zoo.py                              # the small MLP and CNN of the offline profile, 4 seeds
    python speed/zoo.py --device cuda --images 20000

All ways take turns on the same images; a process has one thread. Wall time; ratios are to `one by one` (above 1:
faster), and for the MLP, whose gradients are written out (``zoo/dense.py``), to autograd.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmark import zoo
from benchmark.data import Dataset
from benchmark.utils.accelerator import is_accelerator
from benchmark.zoo import dense
from speed import frame
from speed.frame import Row

RECIPES = {
    "mlp": {
        "net": "mlp",
        "options": {"width": 100, "depth": 8},
        "epochs": 4,
        "batch": 128,
    },
    "mlp-100x10": {
        "net": "mlp",
        "options": {"width": 100, "depth": 10},
        "epochs": 10,
        "batch": 128,
    },
    "mlp-20x10": {
        "net": "mlp",
        "options": {"width": 20, "depth": 10},
        "epochs": 10,
        "batch": 128,
    },
    "xnn_cnn": {"net": "xnn_cnn", "epochs": 2, "batch": 128},
    "cnn": {"net": "cnn", "epochs": 1, "batch": 128},
    "vgg11": {"net": "vgg11", "options": {"width": 0.25}, "epochs": 1, "batch": 128},
}


def digits(images: int) -> Dataset:
    """scikit-learn's digits as ``images`` grey images of 32x32, repeated where there are too few."""
    x, y = load_digits(return_X_y=True)
    rows = np.arange(images) % len(x)
    x = (x.reshape(-1, 1, 8, 8)[rows] * 255 / 16).astype(np.uint8)
    x = x.repeat(4, axis=2).repeat(4, axis=3)
    y = y[rows].astype(np.int64)
    arrays = {
        "x_train": x,
        "y_train": y,
        "x_test": x[:100],
        "y_test": y[:100],
        "classes": np.array([str(c) for c in range(10)]),
    }
    return Dataset("digits", arrays)


def train(
    name: str, images: int, seeds: list[int], device: str, batched: bool, folder: str
) -> None:
    """Train one network for each seed; here, because it is sent to other processes."""
    jobs = [
        (RECIPES[name], seed, Path(folder) / f"{name}-{seed}.safetensors")
        for seed in seeds
    ]
    zoo.train_many(digits(images), jobs, device=device, batched=batched)
    if is_accelerator(device):
        torch.accelerator.synchronize()


def one_thread() -> None:
    torch.set_num_threads(1)


def rows(small: bool = False, device: str = "cpu", images: int = 2000) -> Iterator[Row]:
    if small:
        images = 200
    yield from together(small, device, images)
    if not is_accelerator(device):
        yield from without_autograd(small, images)


def together(small: bool, device: str, images: int) -> Iterator[Row]:
    """K networks as one, and on a CPU side by side, against one by one."""
    gpu, cores = is_accelerator(device), frame.cores()
    names, seeds = (["mlp"], [0, 1]) if small else (["mlp", "xnn_cnn"], [0, 1, 2, 3])
    bounds = {
        "as one": "batched products of small matrices, slower on a CPU than one after the other",
        "side by side": f"{cores} cores, where they are free",
    }
    if gpu:
        bounds = {"as one": ""}
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=one_thread) as pool:

        def work(name: str, way: str) -> frame.Work:
            def run() -> None:
                with tempfile.TemporaryDirectory() as folder:
                    if way == "side by side":
                        started = [
                            pool.submit(
                                train, name, images, [seed], device, False, folder
                            )
                            for seed in seeds
                        ]
                        for future in started:
                            future.result()
                    else:
                        train(name, images, seeds, device, way == "as one", folder)

            return run

        for name in names:
            for way, bound in bounds.items():
                yield frame.against(
                    f"{len(seeds)} networks {way}",
                    "one by one",
                    f"{name}, {images:,} images, {device}",
                    work(name, way),
                    work(name, "one by one"),
                    goal=None,
                    bound=bound,
                    n=1 if small else 3,
                    clock=time.perf_counter,
                )


def without_autograd(small: bool, images: int) -> Iterator[Row]:
    """An MLP with its gradients written out against autograd's."""
    for name in ("mlp-100x10", "mlp-20x10"):

        def written_out(name: str = name) -> None:
            with tempfile.TemporaryDirectory() as folder:
                train(name, images, [0], "cpu", False, folder)

        def autograd(work: frame.Work = written_out) -> None:
            with mock.patch.object(dense.Chain, "of", return_value=None):
                work()

        yield frame.against(
            "an MLP's training, gradients written out",
            "autograd",
            f"{name}, {images:,} images",
            written_out,
            autograd,
            goal=None,
            bound="the products themselves",
            n=1 if small else 5,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    for row in rows(device=args.device, images=args.images):
        print(frame.line(row), flush=True)
    print(f"\nWall time, medians [quartiles]. {frame.machine()}")


if __name__ == "__main__":
    main()
