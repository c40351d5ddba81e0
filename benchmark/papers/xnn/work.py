"""What the method and the paper's experiments do, counted (``benchmark.shared.work``) on the autoencoders that they
train.

A training is counted with all its epochs, and with all restarts unless one live x-feature is enough (``accept: live``).
``fits``: steps of an optimiser, for each stack of classes, and what the Lasso reads in one round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from benchmark.papers.xnn import maps
from benchmark.papers.xnn.maps import MEMORY
from benchmark.papers.xnn.network import Setting, forward, initial, positions_after
from benchmark.papers.xnn.srae import (
    ABLATIONS,
    HELD_OUT,
    SHARE,
    STACK,
    STRIDE,
    at_once,
    settings_for,
)
from benchmark.shared.excitation_backprop import class_maps, unit_maps
from benchmark.shared.work import CHUNK, Facts, Work, empty, measure, tensors


@dataclass(frozen=True)
class Stack:
    """K autoencoders and what they see: R examples for each, of d numbers at S positions; O outputs."""

    K: int
    R: int
    d: int
    S: int = 1
    O: int = 1  # noqa: E741
    pool: tuple[int, int] | None = None
    again: Work | None = (
        None  # features of one image, where they are computed for each batch
    )
    images: int = 0  # that these are taken from

    def trained(self, setting: Setting, facts: Facts) -> Work:
        """All trainings of all classes."""
        batch = min(setting.batch, self.R)
        step = self._passes(setting, batch, learning=True)
        look = self._passes(setting, batch, learning=False)
        stacks, together = self._stacks(setting, facts)
        epochs = setting.pretrain + setting.epochs
        seen, held = (1 - HELD_OUT) * self.R, HELD_OUT * self.R
        compared = self.R / STRIDE  # between trainings that were not accepted

        learnt = epochs * seen * step.passes
        looked = (setting.epochs * held + compared) * look.passes
        passes = self.K * (learnt + looked) / batch
        steps = epochs * math.ceil(seen / batch)
        evaluated = (
            max(held, compared) / batch
        )  # examples at once without gradients, in batches
        memory = max(step.bytes, evaluated * look.bytes)
        alive = together * (memory + self._weights(setting))
        work = Work(passes, steps * stacks, alive)
        work += self._again(setting, steps, stacks, together, batch)
        times = 1 if setting.accept == "live" else 1 + setting.restarts
        return times * work

    def predicted(self, n: int, setting: Setting) -> Work:
        """The outputs of all classes for n images; those of a map go through in chunks."""
        encoder = self.S * setting.encoder_weights(self.d)
        at_once = n if self.S == 1 else CHUNK
        numbers = self.S * sum(setting.sizes(self.d))
        memory = tensors(at_once * numbers)
        return Work(n * self.K * encoder, 0.0, memory)

    def _passes(self, setting: Setting, batch: int, learning: bool) -> Work:
        """Eq. 5 of one class on a batch, with its gradients where it learns."""
        positions = positions_after(self.S, self.pool)
        params = initial(self.d, positions, self.O, setting, [0], "meta")
        for tensor in params.values():
            tensor.requires_grad_(learning)

        def loss() -> None:
            Z = empty(1, batch, self.S, self.d)
            y, _, Z_ = forward(params, Z, self.pool)
            value = ((Z_ - Z) ** 2).mean() + (y**2).mean()
            if not learning:
                return
            weights = list(params.values())
            torch.autograd.grad(value, weights)

        return measure(loss)

    def _weights(self, setting: Setting) -> float:
        """Bytes of the weights of one class, with gradients, moments and the best so far."""
        weights = 2 * setting.encoder_weights(self.d)
        return tensors(5 * weights)

    def _stacks(self, setting: Setting, facts: Facts) -> tuple[int, int]:
        """(stacks that train one after the other, classes of a stack), as ``srae`` divides them."""
        device, memory = facts.device, STACK
        if device != "cpu":
            memory = SHARE * facts.memory
        most = at_once(self.d, self.S, self.R, setting, device, memory)
        return math.ceil(self.K / most), min(self.K, most)

    def _again(
        self, setting: Setting, steps: int, stacks: int, together: int, batch: int
    ) -> Work:
        """Features of each batch, each image once; and of the held-out examples after each epoch."""
        if self.again is None:
            return Work()
        unique = steps * min(self.images, together * batch)
        held = together * HELD_OUT * self.R
        unique += setting.epochs * min(self.images, held)
        return stacks * unique * self.again


# --------------------------------------------------------------------------------------------- method and experiments


def method(facts: Facts, how: Any) -> Work:
    """An SRAE for each class on the reference images, and maps of n x-features for each image.

    Args:
        how: the method with its settings.
    """
    keys = ("n", "hidden", "beta", "q", "eta", "restarts", "epochs", "batch")
    setting = settings_for(how.variant, {key: getattr(how, key) for key in keys})
    at = maps.find(facts.target, facts.x(1), how.layer)
    n, m = facts.images, facts.reference
    stack = Stack(facts.classes, m, _width(facts, at))
    seen = facts.forward(at.name) + facts.logits
    fit = m * seen + stack.trained(setting, facts) + stack.predicted(m, setting)

    found = down(facts, at, setting.n, how.to, facts.chunk)
    explained = n * (seen + found)
    explained += stack.predicted(n, setting)
    _, h, w = facts.shape
    shown = n * (setting.n + 2) * h * w
    return fit + explained.beside(tensors(shown))


def table1(
    facts: Facts,
    *,
    training: Mapping[str, Any] | None,
    negatives: int | None,
    alphas: Sequence[float],
    images: int,
    z_units: int,
    test: int | None,
    layer: str | None,
    to: str | None,
    pixels: Sequence[int],
    runs: int,
    **_: Any,
) -> Work:
    """SRAE, its ablations and the Lasso on all training images; maps of all of them on a few test images per class."""
    dense = _dense(facts, layer, negatives, test)
    stack, K = dense.stack, facts.classes
    settings = [settings_for(name, training or {}) for name in ABLATIONS]
    out = dense.seen
    for setting in settings:
        predicted = stack.predicted(dense.train + 2 * dense.test, setting)
        out += runs * (stack.trained(setting, facts) + predicted)
    lassos = (1 + len(alphas)) * K
    out += Work(fits=lassos * stack.R * stack.d)
    n = settings[0].n
    shown = down(facts, dense.at, 5 * n * runs, to, 1)
    shown += units_down(facts, dense.at, n + z_units, to)
    shown += _heat(facts, to)
    masked = 2 * len(pixels) * facts.logits
    return (out + K * images * (shown + masked)).beside(dense.held)


def degeneration(
    facts: Facts,
    *,
    n: int,
    training: Mapping[str, Any] | None,
    negatives: int | None,
    test: int | None,
    layer: str | None,
    **_: Any,
) -> Work:
    """SRAE and NN with few x-features."""
    dense = _dense(facts, layer, negatives, test)
    out = dense.seen
    for name in ("SRAE", "NN"):
        setting = settings_for(name, {"accept": "live", **(training or {}), "n": n})
        predicted = dense.stack.predicted(2 * dense.test, setting)
        out += dense.stack.trained(setting, facts) + predicted
    return out.beside(dense.held)


def counts(
    facts: Facts,
    *,
    n: Sequence[int],
    training: Mapping[str, Any] | None,
    negatives: int | None,
    test: int | None,
    layer: str | None,
    **_: Any,
) -> Work:
    """SRAE with each number of x-features."""
    dense = _dense(facts, layer, negatives, test)
    out = dense.seen
    for count in n:
        setting = settings_for("SRAE", {**(training or {}), "n": count})
        predicted = dense.stack.predicted(dense.train + dense.test, setting)
        out += dense.stack.trained(setting, facts) + predicted
    return out.beside(dense.held)


def tuning(
    facts: Facts,
    *,
    betas: Sequence[float],
    etas: Sequence[float],
    folds: int,
    training: Mapping[str, Any] | None,
    negatives: int | None,
    layer: str | None,
    **_: Any,
) -> Work:
    """SRAE with each pair of weights on all folds but one, in turn."""
    dense = _dense(facts, layer, negatives, facts.classes)
    seen = round(dense.train * (1 - 1 / folds))
    stack = replace(dense.stack, R=_examples(facts, seen, negatives))
    setting = settings_for("SRAE", training or {})
    one = stack.trained(setting, facts) + stack.predicted(dense.train - seen, setting)
    return (dense.seen + len(betas) * len(etas) * folds * one).beside(dense.held)


def human_study(
    facts: Facts,
    *,
    classes: Sequence[int],
    n: int,
    training: Mapping[str, Any] | None,
    layer: str | None,
    **_: Any,
) -> Work:
    """One network for a few classes."""
    dense = _dense(facts, layer, None, None)
    share = len(classes) / facts.classes
    stack = replace(dense.stack, K=1, R=round(share * facts.train), O=len(classes))
    setting = Setting(**{"accept": "live", **(training or {}), "n": n})
    images = round(share * (facts.train + facts.test))
    out = dense.seen
    out += stack.trained(setting, facts) + stack.predicted(images, setting)
    return out.beside(dense.held)


def convolutional(
    facts: Facts,
    *,
    layers: Sequence[str],
    dense: str | None,
    training: Mapping[str, Any] | None,
    negatives: int | None,
    train: int | None,
    test: int | None,
    pool: bool,
    **_: Any,
) -> Work:
    """1x1 filters on each of ``layers``. Features that are too large to be kept are recomputed for each batch."""
    n, t = min(train or facts.train, facts.train), min(test or facts.test, facts.test)
    setting = Setting(**{"accept": "live", **(training or {})})
    out = Work()
    names = [*layers, dense] if dense else layers
    for name in names:
        d, *side = facts.size(name)
        kept = n * facts.units(name) < MEMORY
        stack = Stack(
            facts.classes,
            _examples(facts, n, negatives),
            d,
            math.prod(side),
            pool=tuple(side) if pool and side and min(side) > 1 else None,
            again=None if kept else facts.forward(name),
            images=n,
        )
        trained = stack.trained(setting, facts) + stack.predicted(n + t, setting)
        seen = (2 * n + 2 * t) * facts.logits + (n + t) * facts.forward(name)
        held = tensors(2 * n * facts.units(name)) if kept else 0.0
        out += (trained + seen).beside(held)
    return out.beside(tensors((n + t) * facts.pixels))


# --------------------------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class _Dense:
    """What the experiments on a dense layer share."""

    at: maps.Layer
    stack: Stack
    train: int
    test: int
    seen: Work  # Z and logits of all images
    held: float


def _dense(
    facts: Facts, layer: str | None, negatives: int | None, test: int | None
) -> _Dense:
    at = maps.find(facts.target, facts.x(1), layer)
    n = facts.train
    t = min(test or facts.test, facts.test)
    d = _width(facts, at)
    R = _examples(facts, n, negatives)
    seen = (n + t) * facts.logits
    numbers = facts.pixels + 2 * d  # the image, Z, and a copy of Z
    return _Dense(
        at=at,
        stack=Stack(facts.classes, R, d),
        train=n,
        test=t,
        seen=seen,
        held=tensors((n + t) * numbers),
    )


def _width(facts: Facts, at: maps.Layer) -> int:
    """Numbers of Z: channels where it is an average over positions."""
    return facts.size(at.name)[0]


def _examples(facts: Facts, n: int, negatives: int | None) -> int:
    """R, for classes of the same size."""
    if negatives is None:
        return n
    positives = math.ceil(n / facts.classes)
    return min(n, positives + negatives)


def down(facts: Facts, at: maps.Layer, k: int, to: str | None, chunk: int) -> Work:
    """From k MWPs over Z down to maps, for one image; ``chunk`` of them at once."""
    size = facts.size(at.name)
    if at.average:
        size = (_width(facts, at),)
    P = empty(k, chunk, *size)
    x = facts.x(chunk)
    found = measure(unit_maps, facts.target, x, P, at.name, at.pool, to)
    return replace(found, passes=found.passes / chunk)


def units_down(facts: Facts, at: maps.Layer, k: int, to: str | None) -> Work:
    """The maps of k units of Z for one image."""
    target = facts.target
    linear = maps.linear_modules(target, at.name)
    if at.average or not linear:
        return down(facts, at, k, to, 1)
    units = _numbers(k)
    return measure(maps.z_maps, target, facts.x(1), units, at, to)


def _heat(facts: Facts, to: str | None) -> Work:
    """The 1-Heatmap of one image."""
    return measure(class_maps, facts.target, facts.x(1), _numbers(1), to)


def _numbers(k: int) -> Tensor:
    """k numbers of units or classes."""
    return torch.empty(k, dtype=torch.int64, device="meta")
