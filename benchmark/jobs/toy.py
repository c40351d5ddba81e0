"""Toy data for ``check``: images of noise with a bright square, whose quadrant is the class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmark.api import Batch, Explanation, Target
from benchmark.utils.seeds import generator

IMAGES, REFERENCE = 12, 32


def toy(shape: tuple[int, int, int]) -> tuple[Target, Batch, Batch]:
    """A network, images and reference images: noise, and the class is the bright quadrant. Trained for four epochs."""
    c, h, w = shape
    train = _quadrants(shape, 256, "train")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential()
        net.add_module("conv1", _relu(nn.Conv2d(c, 8, 3, stride=2, padding=1)))
        net.add_module("conv2", _relu(nn.Conv2d(8, 16, 3, stride=2, padding=1)))
        net.add_module("flatten", nn.Flatten())
        net.add_module("fc", _relu(nn.Linear(16 * (h // 4) * (w // 4), 16)))
        net.add_module("logits", nn.Linear(16, 4))
        optimiser = torch.optim.Adam(net.parameters(), 5e-3)
        for _ in range(4):
            for part in train:
                loss = nn.functional.cross_entropy(net((part.x - 0.4) / 0.3), part.y)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return _target(net, shape), _quadrants(shape, IMAGES, "test"), train[:REFERENCE]


def counted(shape: tuple[int, int, int]) -> tuple[Target, Batch, Batch]:
    """The same with a network whose weights are set by hand, so that the truth of a map is known.

    The logit of a class is the light of its quadrant: how far the mean of 3 x 3 normalised pixels exceeds thresholds
    (seven below a square's 1, and one above it that counts against the class; pixels that are normalised twice reach
    it). Elsewhere pixels do not count at all.
    """
    c, h, w = shape
    thresholds = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1.3])
    counts = torch.tensor([0.07] * 7 + [-2.0])
    k, u, v = len(thresholds), h // 2, w // 2
    conv1 = nn.Conv2d(c, k, 3, padding=1)
    conv1.weight.data.fill_(1 / (9 * c))
    conv1.bias.data = -thresholds
    conv2 = nn.Conv2d(k, k, 2, stride=2, bias=False)  # means of 2 x 2
    conv2.weight.data = torch.eye(k)[:, :, None, None].repeat(1, 1, 2, 2) / 4
    sums = torch.zeros(4, k, k, u, v)  # of each channel over each quadrant
    for quadrant in range(4):
        row, column = divmod(quadrant, 2)
        rows = slice(u // 2 * row, u // 2 * (row + 1))
        columns = slice(v // 2 * column, v // 2 * (column + 1))
        for channel in range(k):
            sums[quadrant, channel, channel, rows, columns] = 1
    fc = nn.Linear(k * u * v, 4 * k, bias=False)
    fc.weight.data = sums.view(4 * k, -1)
    logits = nn.Linear(4 * k, 4, bias=False)
    logits.weight.data = torch.kron(torch.eye(4), counts)
    net = nn.Sequential()
    net.add_module("conv1", _relu(conv1))
    net.add_module("conv2", _relu(conv2))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc", _relu(fc))
    net.add_module("logits", logits)
    images = _quadrants(shape, IMAGES, "test", darkest=1.0)
    return _target(net, shape), images, _quadrants(shape, REFERENCE, "train", 1.0)


def annotated(batch: Batch) -> Batch:
    """The same images with a box around the quadrant of the class, and a part in each quadrant; that of the class is
    the most important."""
    n, _, h, w = batch.x.shape
    size = torch.tensor([w // 2, h // 2])
    row, column = batch.y // 2, batch.y % 2
    corner = torch.stack([column, row], dim=1) * size  # (n, 2): x, y
    corners = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]) * size  # (4, 2)
    rng = generator("toy", "annotations", h, w)
    inside = torch.from_numpy(rng.random((n, 4, 2), dtype=np.float32)) * (size - 1)
    down = torch.arange(h)[:, None] // (h // 2)
    across = torch.arange(w) // (w // 2)
    quadrant = (2 * down + across).to(torch.int8)  # (h, w)
    importance = 0.1 + (torch.arange(4) == batch.y[:, None]).float()  # (n, 4)
    return replace(
        batch,
        boxes=torch.cat([corner, corner + size], dim=1).float(),
        parts=corners + inside,
        part_visible=torch.from_numpy(rng.random((n, 4)) < 0.8),
        part_masks=quadrant.repeat(n, 1, 1),
        part_importance=importance,
    )


def explanation(batch: Batch, classes: int) -> Explanation:
    """A drawn explanation of the images that offers every field. Heat maps have both signs and no two equal pixels,
    each its own scale and share of positive pixels."""
    n, c, h, w = batch.x.shape
    rng = generator("toy", "explanation", h, w)
    order = np.stack([rng.permutation(h * w).reshape(h, w) for _ in range(n)])
    below, scale = rng.uniform([[0.2], [0.01]], [[0.6], [0.1]], (2, n))
    shifted = order - np.rint(below * h * w)[:, None, None]
    return Explanation(
        heatmaps=shifted * scale[:, None, None],
        concept_maps=rng.normal(size=(n, 3, h, w)),
        labels=rng.integers(-1, classes, n),
        scores=3 * rng.normal(size=(n, classes)),
        decoded=rng.random((n, c, h, w)),
        reference=rng.random((n, c, h, w)),
        squares=rng.random((n, 16)),
        size={"rules": 3, "bits": 40},
    )


def _target(net: nn.Sequential, shape: tuple[int, int, int]) -> Target:
    return Target(
        net,
        name=f"toy/{'x'.join(map(str, shape))}",
        classes="abcd",
        input_shape=shape,
        mean=[0.4],
        std=[0.3],
        layer="conv2",
    )


def mass_in_quadrant(maps: np.ndarray, y: np.ndarray) -> float:
    """The share of the mass of maps (n, h, w) that lies in the quadrants of their classes y, a mean over the images.

    A map's mass is what exceeds its median; a map without any counts as 0.
    """
    n, h, w = maps.shape
    excess = maps - np.median(maps, axis=(1, 2), keepdims=True)
    cut = excess.clip(0)[:, : h // 2 * 2, : w // 2 * 2]
    by_quadrant = cut.reshape(n, 2, h // 2, 2, w // 2).sum(axis=(2, 4)).reshape(n, 4)
    total = by_quadrant.sum(axis=1)
    own = by_quadrant[np.arange(n), y]
    return float((own / np.where(total > 0, total, 1)).mean())


def _relu(layer: nn.Module) -> nn.Sequential:
    return nn.Sequential(layer, nn.ReLU())


def _quadrants(
    shape: tuple[int, int, int], n: int, split: str, darkest: float = 0.5
) -> Batch:
    """n images of noise with a bright square in one of the quadrants, which is the class.

    Args:
        darkest: brightness of the darkest image; that of the brightest is 1.
    """
    _, h, w = shape
    height = h // 4  # of the square
    width = w // 4
    rng = generator("toy", split, *shape)
    x = 0.6 * rng.random((n, *shape), dtype=np.float32)
    y = np.arange(n) % 4
    # the last image of the test split is the brightest
    brightness = np.linspace(darkest, 1.0, n)
    if split == "train":
        brightness = brightness[rng.permutation(n)]
    for image, quadrant, light in zip(x, y, brightness, strict=True):
        row, column = divmod(quadrant, 2)
        top = h // 2 * row + rng.integers(height)
        left = w // 2 * column + rng.integers(width)
        square = image[:, top : top + height, left : left + width]
        square += 0.4
        image *= light
    images = torch.from_numpy(x)
    labels = torch.from_numpy(y)
    return Batch(x=images, y=labels, ids=torch.arange(n), chunk=16)
