"""A realistic profile without a network: 4 methods and 2 controls on 2 data sets, 3 seeds, 64 images, with one failed
cell, one that is not applicable, one seed lost, and names that try to be markup."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark import store
from benchmark.leaderboard.board import Board
from benchmark.leaderboard.build import build
from benchmark.utils.seeds import generator

EVIL = "<script>alert(1)</script>"
METHODS = {  # method -> (paper, own setting, how good it is)
    "Grad-CAM": ("baseline", {}, 0.55),
    "Grad-CAM++": ("baseline", {"variant": "authors"}, 0.6),
    "Score-CAM": ("baseline", {"variant": "authors"}, 0.8),
    EVIL: ("user", {"layer": "conv3"}, 0.3),
    "Random map": ("control", {}, 0.1),
    "Edge map (Sobel)": ("control", {}, 0.45),
}
METRICS = {  # metric -> (settings, better, unit, scale); on `gini` the edge map is made the best
    "average_drop": ([{"keep": 0.2}], "lower", "percent", 60.0),
    "average_increase": ([{"keep": 0.2}], "higher", "percent", 100.0),
    "accuracy_top_pixels": (
        [{"pixels": 300}, {"pixels": 1000}],
        "higher",
        "percent",
        100.0,
    ),
    "insertion_auc": ([{"steps": 24}], "higher", "fraction", 1.0),
    "deletion_auc": ([{"steps": 24}], "lower", "fraction", 1.0),
    "pointing_game": ([{}], "higher", "fraction", 1.0),
    "gini": ([{}], "higher", "fraction", 1.0),
}
BOARDS = {"digits": ("cnn", "vgg11"), "toybirds": ("cnn",)}
SEEDS, IMAGES = (0, 1, 2), 64


def inputs() -> tuple[pd.DataFrame, pd.DataFrame]:
    """(rows, instances)."""
    rows, instances = [], []
    for dataset, targets in BOARDS.items():
        for target in targets:
            hard = generator("hard", dataset, target).normal(
                size=IMAGES
            )  # images differ, for all methods alike
            for seed in SEEDS:
                rows += _network(dataset, target, seed)
                for method, (paper, own, skill) in METHODS.items():
                    for metric, (settings, better, unit, scale) in METRICS.items():
                        for setting in settings:
                            key = (
                                "offline",
                                "heatmap",
                                paper,
                                dataset,
                                target,
                                method,
                                store.setting_text(own),
                                metric,
                                store.setting_text(setting),
                                seed,
                            )
                            name = (
                                "offline",
                                "heatmap",
                                paper,
                                dataset,
                                target,
                                method,
                                store.setting_text(own | setting),
                                metric,
                                seed,
                            )
                            values, status, reason = _cell(
                                name, hard, skill, better, scale
                            )
                            n = int(np.isfinite(values).sum())
                            mean = float(np.nanmean(values)) if n else np.nan
                            rows.append(
                                (*key, mean, n, better, unit, 1, status, reason)
                            )
                            instances += [
                                (*key, image, v) for image, v in enumerate(values)
                            ]
    return (
        store.tidy_rows(pd.DataFrame(rows, columns=list(store.ROW_COLUMNS))),
        pd.DataFrame(instances, columns=[*store.ROW_KEYS, "image", "value"]),
    )


def _cell(
    key: tuple, hard: np.ndarray, skill: float, better: str, scale: float
) -> tuple[np.ndarray, str, str]:
    *_, dataset, target, method, _, metric, seed = key
    if method == "Score-CAM" and (dataset, target, metric) == (
        "digits",
        "vgg11",
        "deletion_auc",
    ):
        return (
            np.empty(0),
            "failed",
            "out of memory: 8.1 GiB asked for, limit 8 GiB | see <log>",
        )
    if metric == "pointing_game" and dataset == "digits":
        return np.empty(0), "not applicable", "images have no boxes"
    if method == EVIL and dataset == "toybirds" and seed == 2:
        return np.empty(0), "failed", "time limit of 60 s"
    rng = generator(*key)
    if metric == "gini":
        skill = 0.95 if method.startswith("Edge") else skill
    if metric == "insertion_auc" and method in ("Grad-CAM", "Grad-CAM++", "Score-CAM"):
        skill = 0.7  # three methods that are hardly different
    logit = (
        2.5 * (skill - 0.5)
        + 0.8 * hard
        + 0.15 * generator("seed", target, seed).normal()
        + 0.4 * rng.normal(size=IMAGES)
    )
    value = 1 / (1 + np.exp(-logit if better == "higher" else logit))
    if metric in ("average_increase", "accuracy_top_pixels", "pointing_game"):
        value = (value > 0.5).astype(float)
    if metric == "pointing_game":
        value[:5] = np.nan  # images without the part
    return scale * value, "ok", ""


def _network(dataset: str, target: str, seed: int) -> list[tuple]:
    accuracy = 95 + 3 * generator("accuracy", dataset, target, seed).random()
    return [
        (
            "offline",
            "target",
            "",
            dataset,
            target,
            "network",
            "",
            metric,
            "",
            seed,
            value,
            n,
            "higher",
            "percent",
            1,
            "ok",
            "",
        )
        for metric, value, n in (
            ("test_accuracy", accuracy, 300),
            ("train_accuracy", 100.0, 1200),
        )
    ]


def gallery() -> dict[tuple[str, str], dict]:
    """Five images of each board: blobs, and maps that look at them."""
    out = {}
    i, j = np.mgrid[:48, :48] / 48
    for dataset, targets in BOARDS.items():
        for target in targets:
            rng = generator("gallery", dataset, target)
            centres = rng.uniform(0.25, 0.75, (5, 2))
            blob = np.exp(
                -((i - centres[:, :1, None]) ** 2 + (j - centres[:, 1:, None]) ** 2)
                / 0.03
            )  # (5, 48, 48)
            channels = 1 if dataset == "digits" else 3
            tint = rng.uniform(0.4, 1, (5, channels, 1, 1))
            images = (
                255
                * (0.7 * blob[:, None] * tint + 0.3 * rng.random((5, channels, 48, 48)))
            ).astype(np.uint8)
            labels = [
                "Grad-CAM",
                "Grad-CAM++ (authors)",
                "Score-CAM (authors)",
                EVIL,
                "Edge map (Sobel)",
                "Random map",
            ]
            maps = {
                name: (blob + 0.3 * k * rng.random(blob.shape)).astype(np.float32)
                for k, name in enumerate(labels)
            }
            maps["Random map"] = rng.random(blob.shape).astype(np.float32)
            box = (
                np.concatenate([centres[:, ::-1] - 0.2, centres[:, ::-1] + 0.2], axis=1)
                * 48
            )
            out[dataset, target] = {
                "images": images,
                "ids": [3, 17, 40, 41, 63],
                "true": list("01234"),
                "predicted": list("01284"),
                "boxes": box.astype(np.float32) if dataset == "toybirds" else None,
                "maps": maps,
            }
    return out


def cards() -> dict:
    """Keyword arguments of ``build`` besides rows and board."""
    return {
        "gallery": gallery(),
        "data_cards": {
            "digits": {
                "title": "Optical digits",
                "what": "8x8 scans of hand-written digits, upsampled to 32x32.",
                "licence": "CC BY 4.0",
                "citation": "Alpaydin and Kaynak (1998)",
                "url": "https://archive.ics.uci.edu/dataset/80",
                "counts": {"train": 1400, "test": 397},
                "size": 32,
            },
            "toybirds": {
                "title": "Toy birds",
                "what": f"Rendered birds with true parts. {EVIL}",
                "licence": "MIT",
                "url": "javascript:alert(1)",
                "counts": {"train": 1200, "test": 300},
                "size": 48,
            },
        },
        "target_cards": {
            (dataset, target, seed): {
                "name": f"{dataset}/{target}/seed={seed}",
                "net": target,
                "layer": "conv3",
                "epochs": 8,
                "parameters": 120_000,
                "train_accuracy": 1.0,
                "test_accuracy": 0.96,
                "recipe": {"epochs": 8, "lr": 0.001},
                "notes": [f"it is odd {EVIL}", "no more than guessing"],
                "at_chance": True,
            }
            for dataset, targets in BOARDS.items()
            for target in targets
            for seed in SEEDS
        },
        "papers": [],
        "glossary": {
            "gini": {
                "name": "gini",
                "title": "Gini index",
                "question": "Is the map in few pixels?",
                "formula": "1 - 2 sum",
                "range": "0 to 1, one pixel <all>",
                "weakness": "says nothing of the network",
                "better": "higher",
                "family": "complexity",
                "source": "Chalasani et al. (2020)",
            }
        },
        "provenance": {
            "profile": "offline",
            "made": {
                "date": "2026-01-02",
                "commit": "0123456789abcdef",
                "changed_files": [],
            },
            "data": {"digits": "aa", "toybirds": "bb"},
            "libraries": {"numpy": "2.4.0", "torch": "2.15"},
            "machine": {"cpu": "Some CPU", "system": "Linux x86_64", "torch": "2.15"},
        },
    }


@functools.cache
def built() -> Path:
    """The folder of a whole build, made once a process; read only."""
    folder = Path(tempfile.mkdtemp(prefix="glassbench-")) / "results" / "offline"
    atexit.register(shutil.rmtree, folder.parent.parent, ignore_errors=True)
    rows, instances = inputs()
    reported = store.ROOT / "results" / "reported"
    board = Board.of(rows, instances)
    build(rows, board, **cards(), reported=reported, out=folder)
    return folder
