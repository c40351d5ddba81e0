"""What a recipe's training does, counted on the network that it would train (``benchmark.shared.work``)."""

from __future__ import annotations

import math

from torch import nn

from benchmark.shared.work import Facts, Work, empty, measure, tensors, training_step
from benchmark.zoo import nets
from benchmark.zoo.recipe import Recipe


def training(recipe: Recipe, facts: Facts, networks: int = 1) -> Work:
    """Every epoch that the recipe allows: networks that reach ``stop_at_train_accuracy`` sooner take less.

    Args:
        facts: of the data set; its network is not looked at.
        networks: seeds that train as one (on a GPU).

    Raises:
        UnknownName, ValueError: a network that cannot be.
    """
    net = nets.build(recipe.net, facts.shape, facts.classes, recipe.options)
    n, cut = min(facts.train, recipe.train_images or facts.train), _cut(recipe, net)
    frozen, rest = net[:cut], net[cut:]
    code = _output(frozen, facts)
    batch = min(recipe.batch, n)
    step = training_step(rest, batch, *code, copies=networks)
    steps = recipe.epochs * math.ceil(n / batch)
    trained = Work(recipe.epochs * n / batch * step.passes, steps * len(net), step.bytes)
    checked = networks * (_checked(recipe, n) + facts.test) * _passes(rest, code)
    held = facts.pixels * (facts.train + facts.test)  # the images as bytes
    if not cut:
        return (trained + checked).beside(held + tensors(batch * facts.pixels))
    once = (n + facts.test) * _passes(frozen, facts.shape)
    return (once + trained + checked).beside(held + tensors((n + facts.test) * math.prod(code)))


def _cut(recipe: Recipe, net: nn.Sequential) -> int:
    """How many layers stay frozen."""
    names = [name for name, _ in net.named_children()]
    return names.index(recipe.freeze_until) + 1 if recipe.freeze_until else 0


def _checked(recipe: Recipe, n: int) -> int:
    """Images that the checks of the training accuracy look at, the last one included."""
    every = recipe.check_every if recipe.stop_at_train_accuracy is not None else recipe.epochs
    return n * math.ceil(recipe.epochs / max(1, every))


def _output(net: nn.Sequential, facts: Facts) -> tuple[int, ...]:
    """Shape of what the trained part gets for one image."""
    return tuple(net(empty(2, *facts.shape)).shape[1:])


def _passes(net: nn.Sequential, shape: tuple[int, ...]) -> Work:
    """A forward pass of one image."""

    def forward() -> None:
        net.eval().requires_grad_(False)
        net(empty(1, *shape))

    return measure(forward)
