"""What metrics that call a method again are tested with: a small network, methods in three lines, and ``explain``."""

import numpy as np
import torch
from torch import nn

from benchmark.api import Batch, Explanation, Target

SIDE, CLASSES = 8, 4


def network(c=3, seed=0):
    """Two convolutions and two dense layers, of fixed weights."""
    drawn = torch.Generator().manual_seed(seed)
    net = nn.Sequential()
    net.add_module("conv1", nn.Sequential(nn.Conv2d(c, 4, 3, padding=1), nn.ReLU()))
    net.add_module("conv2", nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()))
    net.add_module("flatten", nn.Flatten())
    net.add_module("fc", nn.Sequential(nn.Linear(6 * SIDE**2, 10), nn.Tanh()))
    net.add_module("logits", nn.Linear(10, CLASSES))
    for p in net.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=drawn)
    return Target(
        net,
        name="net",
        classes="abcd",
        input_shape=(c, SIDE, SIDE),
        mean=[0.4] * c,
        std=[0.2] * c,
        layer="conv2",
    )


def images(n=5, c=3):
    x = np.random.default_rng(1).random((n, c, SIDE, SIDE), np.float32)
    return Batch(torch.from_numpy(x), torch.arange(n) % CLASSES, torch.arange(n) + 10)


def saliency(target, batch, rng):
    """The gradient of the predicted class's logit, absolute, summed over channels."""
    x = batch.x.detach().clone().requires_grad_()
    target(x).amax(1).sum().backward()
    return x.grad.abs().sum(1)


def grey(target, batch, rng):
    return batch.x.mean(1)


def noise(target, batch, rng):
    return rng.random((len(batch), SIDE, SIDE))


def of_class(target, batch, rng):
    """1 at the pixel whose number is the predicted class, 0 elsewhere."""
    c = target(batch.x).argmax(1)
    maps = torch.zeros(len(batch), SIDE**2)
    return maps.scatter(1, c[:, None], 1.0).view(-1, SIDE, SIDE)


def explainer(method, target):
    """``explain`` as a metric is handed it, with the batches that it was asked about."""
    asked = []

    def explain(batch, network=None, fit=None):
        asked.append((batch, network, fit))
        maps = method(network or target, batch, np.random.default_rng(3))
        return Explanation(heatmaps=maps)

    explain.asked = asked
    return explain


def value(metric, method, target=None, batch=None, **setting):
    """The metric's values, with as few parts of the pipeline as possible."""
    target, batch = target or network(), batch or images()
    explain = explainer(method, target)
    e, rng = explain(batch), np.random.default_rng(2)
    return metric(e, target, batch, rng, explain=explain, **setting)
