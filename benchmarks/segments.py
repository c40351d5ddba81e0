"""Do heat maps know which pieces of an image a network leans on? Segment by segment, for every method of a profile.

    python benchmarks/segments.py [PROFILE] [--segments N]       # reads the explanations that `make leaderboard` left

Each explained image is cut into about N segments (SLIC). What a segment is worth to the network: how far the log-odds of the
predicted class fall when it is filled with the image's mean colour. What it is worth to a method: the mean of its map there.
Printed for each data set (its first network) and method: Spearman's correlation of the two within an image, averaged over the
images, with its standard error; and, where parts are known by the pixel (toybirds), the correlation of the method's worth with
the share of the segment that lies on the bird. An image on which a map is flat counts as 0.

Segments are large and connected, so nothing here rewards scattered pixels, as keeping or inserting single ones does; and all
of an image counts, not only what a map ranks first. What a hidden segment does to a network is still an answer off its data.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from scipy.stats import rankdata

from benchmark import cells, commands, engine, run, store
from benchmark.cells import Cell
from benchmark.concepts import segment
from benchmark.leaderboard import tables


@torch.no_grad()
def worth(cell: Cell, segments: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """For each image its segments (s, h, w), the log-odds (s,) that each one carries, and its share (s,) on the bird."""
    batch, target = cells.load_batch(cell), cells.load_target(cell)
    found = []
    for i, x in enumerate(batch.x):
        masks = segment(x.permute(1, 2, 0).cpu().numpy(), (segments,))
        without = torch.where(torch.from_numpy(masks)[:, None].to(x.device), x.mean(dim=(1, 2))[:, None, None], x)
        z = torch.cat([target(part) for part in torch.cat([x[None], without]).split(64)])  # (1 + s, C)
        c = z[0].argmax()
        others = z.masked_fill(torch.arange(z.shape[1], device=z.device) == c, -torch.inf).logsumexp(dim=1)
        odds = (z[:, c] - others).cpu().numpy()
        bird = None if batch.part_masks is None else (batch.part_masks[i] > 0).cpu().numpy()
        share = None if bird is None else (masks & bird).sum((1, 2)) / masks.sum((1, 2))
        found.append((masks, odds[0] - odds[1:], share))
    return found


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """0 where one of them is constant."""
    a, b = (rankdata(v) - (len(v) + 1) / 2 for v in (a, b))
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size else 0.0


def lines(params: Mapping[str, Any], dataset: str, segments: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(method, its correlations with the network's worth, and with the bird), an image each; of the first network."""
    todo = list(run.cells(params, dataset))
    todo = [c for c in todo if (c.target, c.seed) == (todo[0].target, todo[0].seed)]
    images = worth(todo[0], segments)
    for cell in todo:
        try:
            maps = cells.read_explanation(cell.explanation)[0].heatmaps
        except store.StoreError:
            continue  # it failed, or does not apply
        if maps is None:
            continue
        means = [
            (masks * m).sum((1, 2)) / masks.sum((1, 2))
            for (masks, _, _), m in zip(images, np.asarray(maps), strict=True)
        ]
        name, _, setting = cells.describe(cell.method)
        name = tables.label(name, setting)
        lean = np.array([spearman(m, odds) for m, (_, odds, _) in zip(means, images, strict=True)])
        bird = np.array(
            [spearman(m, share) for m, (_, _, share) in zip(means, images, strict=True) if share is not None]
        )
        yield name, lean, bird


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", nargs="?", default="offline")
    parser.add_argument("--segments", type=int, default=30)
    parser.add_argument("--datasets", nargs="+", help="default: those of the profile")
    options = parser.parse_args()
    engine.single_thread()
    params = commands.load_profile(options.profile)
    for dataset in options.datasets or params["datasets"]:
        print(f"\n{dataset:<40} {'network':>16} {'bird':>16}")
        for name, *both in sorted(lines(params, dataset, options.segments), key=lambda found: -found[1].mean()):
            shown = [f"{v.mean():.2f} +- {v.std(ddof=1) / np.sqrt(len(v)):.2f}" if len(v) > 1 else "" for v in both]
            print(f"{name[:40]:<40} {shown[0]:>16} {shown[1]:>16}")


if __name__ == "__main__":
    main()
