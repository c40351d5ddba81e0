"""A small network and its images for the tests of Representative Interpretations."""

import numpy as np
import torch
from torch import nn

from benchmark.api import Batch, Target

SIDE, K = 10, 5


def network(seed=0, classes=3, activation=nn.ReLU, dtype=torch.float32):
    """conv (5 maps of 4x4), flatten, 12 hidden units, logits; random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential()
        net.add_module("conv", nn.Sequential(nn.Conv2d(1, K, 3, stride=2), nn.ReLU()))
        net.add_module("flatten", nn.Flatten())
        net.add_module("hidden", nn.Sequential(nn.Linear(K * 16, 12), activation()))
        net.add_module("logits", nn.Linear(12, classes))
        nn.init.normal_(net.logits.weight)
        nn.init.normal_(net.hidden[0].weight, std=0.5)
    names = "abcdefgh"[:classes]
    return Target(
        net.to(dtype),
        name="tiny",
        classes=names,
        input_shape=(1, SIDE, SIDE),
        layer="conv",
    )


def images(n=60, seed=5, chunk=16):
    """Dark, with a bright square somewhere: the random network sees several classes."""
    rng = np.random.default_rng(seed)
    x = 0.3 * rng.random((n, 1, SIDE, SIDE), np.float32)
    for image in x[:, 0]:
        i, j = rng.integers(0, SIDE - 4, 2)
        image[i : i + 4, j : j + 4] += 0.7
    return Batch(
        x=torch.from_numpy(x), y=torch.from_numpy(np.arange(n) % 3), chunk=chunk
    )
