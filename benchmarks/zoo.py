"""K networks of one shape: trained as one (vmap), one by one, side by side, and one by one on two threads.

    python benchmarks/zoo.py                              # the small MLP and CNN of the offline profile, 4 seeds
    python benchmarks/zoo.py --nets mlp --seeds 8 --repeat 5
    python benchmarks/zoo.py --device cuda --images 20000

Each repetition runs all ways in turn on the same images, so that a busy machine slows all of them; printed are the median
and the range of the seconds, and the median of the ratios to `one by one` within a repetition (above 1: faster).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmark import zoo
from benchmark.data import Dataset

RECIPES = {
    "mlp": {"net": "mlp", "options": {"width": 100, "depth": 8}, "epochs": 4, "batch": 128},
    "xnn_cnn": {"net": "xnn_cnn", "epochs": 2, "batch": 128},
    "cnn": {"net": "cnn", "epochs": 1, "batch": 128},
    "vgg11": {"net": "vgg11", "options": {"width": 0.25}, "epochs": 1, "batch": 128},
}


def digits(images: int) -> Dataset:
    """scikit-learn's digits as ``images`` grey images of 32x32, repeated where there are too few."""
    x, y = load_digits(return_X_y=True)
    rows = np.arange(images) % len(x)
    x = (x.reshape(-1, 1, 8, 8)[rows] * 255 / 16).astype(np.uint8).repeat(4, axis=2).repeat(4, axis=3)
    arrays = {
        "x_train": x,
        "y_train": y[rows].astype(np.int64),
        "x_test": x[:100],
        "y_test": y[rows][:100].astype(np.int64),
    }
    return Dataset("digits", arrays | {"classes": np.array([str(c) for c in range(10)])})


def train(name: str, images: int, seeds: list[int], device: str, batched: bool, folder: str) -> None:
    jobs = [(RECIPES[name], seed, Path(folder) / f"{name}-{seed}.safetensors") for seed in seeds]
    zoo.train_many(digits(images), jobs, device=device, batched=batched)
    if device == "cuda":
        torch.cuda.synchronize()


def one_thread() -> None:
    torch.set_num_threads(1)


def measure(name: str, way: str, args: argparse.Namespace, pool: ProcessPoolExecutor) -> float:
    """Seconds of wall time for all seeds."""
    seeds = list(range(args.seeds))
    with tempfile.TemporaryDirectory() as folder:
        torch.set_num_threads(2 if way == "two threads" else 1)
        start = time.perf_counter()
        if way == "side by side":
            futures = [pool.submit(train, name, args.images, [s], args.device, False, folder) for s in seeds]
            for future in futures:
                future.result()
        else:
            train(name, args.images, seeds, args.device, way == "as one", folder)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=RECIPES, default=["mlp", "xnn_cnn", "cnn"])
    parser.add_argument("--seeds", type=int, default=4, help="networks to train (K)")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes side by side")
    args = parser.parse_args()
    gpu = args.device == "cuda"
    ways = ["one by one", "as one"] + ([] if gpu else ["side by side", "two threads"])
    hardware = torch.cuda.get_device_name() if gpu else f"{args.workers} cores"
    print(f"{args.seeds} networks, {args.images} images 32x32, {args.repeat} repetitions, {args.device} ({hardware}), "
          f"torch {torch.__version__}\n")  # fmt: skip
    print(f"{'net':8} {'way':13} {'seconds':>8} {'range':>13} {'ratio':>6}")
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(args.workers, mp_context=context, initializer=one_thread) as pool:
        for name in args.nets:
            for way in ways:  # warm up: imports, allocators, kernels
                measure(name, way, args, pool)
            times: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(args.repeat):
                for way in ways:
                    times[way].append(measure(name, way, args, pool))
            for way, seconds in times.items():
                ratio = statistics.median(a / b for a, b in zip(times["one by one"], seconds, strict=True))
                spread = f"{min(seconds):.2f}-{max(seconds):.2f}"
                print(f"{name:8} {way:13} {statistics.median(seconds):8.2f} {spread:>13} {ratio:6.2f}", flush=True)


if __name__ == "__main__":
    main()
