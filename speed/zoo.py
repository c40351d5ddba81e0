"""K networks of one shape: trained as one (vmap), one by one, and side by side in processes of one thread; and one MLP with
its gradients written out against autograd's.

    python speed/zoo.py                              # the small MLP and CNN of the offline profile, 4 seeds
    python speed/zoo.py --device cuda --images 20000

All ways take turns on the same images. Wall time; ratios are to `one by one` (above 1: faster).
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
from benchmark.zoo import dense
from speed import frame
from speed.frame import Row

RECIPES = {
    "mlp": {"net": "mlp", "options": {"width": 100, "depth": 8}, "epochs": 4, "batch": 128},
    "mlp-100x10": {
        "net": "mlp",
        "options": {"width": 100, "depth": 10},
        "epochs": 10,
        "batch": 128,
    },
    "mlp-20x10": {"net": "mlp", "options": {"width": 20, "depth": 10}, "epochs": 10, "batch": 128},
    "xnn_cnn": {"net": "xnn_cnn", "epochs": 2, "batch": 128},
    "cnn": {"net": "cnn", "epochs": 1, "batch": 128},
    "vgg11": {"net": "vgg11", "options": {"width": 0.25}, "epochs": 1, "batch": 128},
}


def digits(images: int) -> Dataset:
    """scikit-learn's digits as ``images`` grey images of 32x32, repeated where there are too few."""
    x, y = load_digits(return_X_y=True)
    rows = np.arange(images) % len(x)
    x = (
        (x.reshape(-1, 1, 8, 8)[rows] * 255 / 16)
        .astype(np.uint8)
        .repeat(4, axis=2)
        .repeat(4, axis=3)
    )
    arrays = {
        "x_train": x,
        "y_train": y[rows].astype(np.int64),
        "x_test": x[:100],
        "y_test": y[rows][:100].astype(np.int64),
    }
    return Dataset("digits", arrays | {"classes": np.array([str(c) for c in range(10)])})


def train(
    name: str, images: int, seeds: list[int], device: str, batched: bool, folder: str
) -> None:
    jobs = [(RECIPES[name], seed, Path(folder) / f"{name}-{seed}.safetensors") for seed in seeds]
    zoo.train_many(digits(images), jobs, device=device, batched=batched)
    if device == "cuda":
        torch.cuda.synchronize()


def one_thread() -> None:
    torch.set_num_threads(1)


def rows(small: bool = False, device: str = "cpu", images: int = 2000) -> Iterator[Row]:
    gpu, cores = device == "cuda", len(os.sched_getaffinity(0))
    nets, seeds, images = (["mlp"], 2, 200) if small else (["mlp", "xnn_cnn"], 4, images)
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=one_thread) as pool:
        for name in nets:

            def run(way: str, name: str = name) -> None:
                with tempfile.TemporaryDirectory() as folder:
                    each, batched = (name, images), way == "as one"
                    if way == "side by side":
                        list(
                            pool.map(
                                train,
                                *zip(
                                    *(
                                        (*each, [seed], device, False, folder)
                                        for seed in range(seeds)
                                    )
                                ),
                            )
                        )
                    else:
                        train(*each, list(range(seeds)), device, batched, folder)

            bounds = {
                "as one": "batched products of small matrices, slower on a CPU than one after the other",
                "side by side": f"{cores} cores, where they are free",
            }
            for way in ["as one"] if gpu else bounds:
                yield frame.against(
                    f"{seeds} networks {way}",
                    "one by one",
                    f"{name}, {images:,} images, {device}",
                    lambda way=way: run(way),
                    lambda: run("one by one"),
                    goal=None,
                    bound="" if gpu else bounds[way],
                    n=1 if small else 3,
                    clock=time.perf_counter,
                )

    for name in () if gpu else ["mlp-100x10", "mlp-20x10"]:

        def alone(name: str = name) -> None:
            with tempfile.TemporaryDirectory() as folder:
                train(name, images, [0], device, False, folder)

        def autograd(alone: frame.Work = alone) -> None:
            with mock.patch.object(dense.Chain, "of", return_value=None):
                alone()

        yield frame.against(
            "an MLP's training, gradients written out",
            "autograd",
            f"{name}, {images:,} images",
            alone,
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
