"""The work of a recipe's training, counted on the network that it would train (``benchmark.shared.work``)."""

from __future__ import annotations

import math

from torch import nn

from benchmark.shared.work import Facts, Work, empty, measure, tensors, training_step
from benchmark.zoo import nets
from benchmark.zoo.recipe import Recipe


def training(recipe: Recipe, facts: Facts, networks: int = 1) -> Work:
    """All epochs that the recipe allows; networks that reach ``stop_at_train_accuracy`` sooner take less.

    Args:
        facts: of the data set; its network is not used.
        networks: seeds that train as one (on a GPU).

    Raises:
        UnknownName, ValueError: a network that cannot be built.
    """
    net = nets.build(recipe.net, facts.shape, facts.classes, recipe.options)
    n, cut = (
        min(facts.train, recipe.train_images or facts.train),
        recipe.frozen_layers(net),
    )
    frozen, rest = net[:cut], net[cut:]
    code = _output(frozen, facts)
    batch = min(recipe.batch, n)
    step = training_step(rest, batch, *code, copies=networks)
    steps = recipe.epochs * math.ceil(n / batch)
    trained = Work(
        recipe.epochs * n / batch * step.passes, steps * len(net), step.bytes
    )
    checked = networks * (_checked(recipe, n) + facts.test) * _passes(rest, code)
    held = facts.pixels * (facts.train + facts.test)  # the images, as bytes
    if not cut:
        return (trained + checked).beside(held + tensors(batch * facts.pixels))
    once = (n + facts.test) * _passes(frozen, facts.shape)
    features = tensors((n + facts.test) * math.prod(code))
    return (once + trained + checked).beside(held + features)


def _checked(recipe: Recipe, n: int) -> int:
    """How many images the checks of the training accuracy look at, including the last check."""
    every = (
        recipe.check_every
        if recipe.stop_at_train_accuracy is not None
        else recipe.epochs
    )
    return n * math.ceil(recipe.epochs / max(1, every))


def _output(net: nn.Sequential, facts: Facts) -> tuple[int, ...]:
    """Shape of one image's input to the trained part."""
    z = net(empty(2, *facts.shape))
    return tuple(z.shape[1:])


def _passes(net: nn.Sequential, shape: tuple[int, ...]) -> Work:
    """A forward pass of one image."""

    def forward() -> None:
        net.eval().requires_grad_(False)
        net(empty(1, *shape))

    return measure(forward)
