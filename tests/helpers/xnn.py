"""A small network, its images and a short training for the tests of XNN."""

import numpy as np
import torch
from torch import nn

from benchmark.api import Batch, Target

SMALL = {
    "hidden": (12, 6),
    "n": 3,
    "beta": 1.0,
    "q": 10.0,
    "eta": 1.0,
    "batch": 32,
    "epochs": 12,
    "pretrain": 6,
    "restarts": 0,
    "lr": 5e-3,
}


def network(dense=True):
    net = nn.Sequential()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net.add_module("conv1", nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU()))
        net.add_module("pool1", nn.MaxPool2d(2))
        net.add_module("conv2", nn.Sequential(nn.Conv2d(5, 6, 3, padding=1), nn.ReLU()))
        if dense:
            net.add_module("flatten", nn.Flatten())
            net.add_module("fc1", nn.Sequential(nn.Linear(96, 20), nn.ReLU()))
            net.add_module("logits", nn.Linear(20, 4))
        else:
            net.add_module("conv3", nn.Conv2d(6, 4, 1))
            net.add_module(
                "logits", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            )
    return Target(
        net,
        name="tiny",
        classes="abcd",
        input_shape=(3, 8, 8),
        mean=[0.5] * 3,
        std=[0.25] * 3,
        layer="conv2",
    )


def images(n=64, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.random((n, 3, 8, 8), np.float32), np.arange(n) % 4
    for i, c in enumerate(y):
        x[i, :, 4 * (c // 2) :, 4 * (c % 2) :][:, :4, :4] += 1
    return Batch(
        x=torch.from_numpy((x / 2).astype(np.float32)), y=torch.from_numpy(y), chunk=16
    )
