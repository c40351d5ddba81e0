"""What the method and the paper's experiments do, counted (``benchmark.shared.work``) on the auto-encoders that they train.

A training is counted with all its epochs. Where an x-feature that fires is enough (``accept: live``) one training is; else all
restarts. ``fits``: steps of an optimiser, for each stack of classes, and what the Lasso reads in one round.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from benchmark.papers.xnn import maps
from benchmark.papers.xnn.maps import MEMORY
from benchmark.papers.xnn.network import Setting, forward, initial
from benchmark.papers.xnn.srae import HELD_OUT, STACK, STRIDE, at_once, settings_for
from benchmark.shared.excitation_backprop import class_maps, unit_maps
from benchmark.shared.work import CHUNK, Facts, Work, empty, measure, tensors

GPU = 40e9  # bytes that a stack may take there: half of 80 GB


@dataclass(frozen=True)
class Stack:
    """K auto-encoders and what they see: R examples for each, of d numbers at S positions; O outputs."""

    K: int
    R: int
    d: int
    S: int = 1
    O: int = 1  # noqa: E741
    pool: tuple[int, int] | None = None
    again: Work | None = None  # features of one image, where they are computed for each batch
    images: int = 0  # that these are taken from

    def trained(self, setting: Setting, device: str = "cpu") -> Work:
        """All trainings of all classes."""
        batch = min(setting.batch, self.R)
        step, look = self._passes(setting, batch, True), self._passes(setting, batch, False)
        parts, together = self._parts(setting, device)
        seen, held = (1 - HELD_OUT) * self.R, HELD_OUT * self.R
        learnt, looked = (
            (setting.pretrain + setting.epochs) * seen,
            setting.epochs * held + self.R / STRIDE,
        )
        times = 1 if setting.accept == "live" else 1 + setting.restarts
        passes = self.K * (learnt * step.passes + looked * look.passes) / batch
        steps = (setting.pretrain + setting.epochs) * math.ceil(seen / batch)
        features = self._again(setting, steps, parts, together, batch)
        most = (
            max(held, self.R / STRIDE) / batch
        )  # examples that are looked at together, without gradients
        alive = together * (max(step.bytes, most * look.bytes) + self._weights(setting))
        return times * (Work(passes, steps * parts, alive) + features)

    def predicted(self, n: int, setting: Setting) -> Work:
        """The outputs of all classes for n images; those of a map go through in chunks."""
        sizes = [self.d, *setting.hidden, setting.n]
        encoder = self.S * sum(a * b for a, b in itertools.pairwise(sizes))
        return Work(
            n * self.K * encoder, 0.0, tensors((n if self.S == 1 else CHUNK) * self.S * sum(sizes))
        )

    def _passes(self, setting: Setting, batch: int, learning: bool) -> Work:
        """Eq. 5 of one class on a batch, with its gradients where it learns."""
        positions = self.S if self.pool is None else (self.pool[0] // 2) * (self.pool[1] // 2)
        params = initial(self.d, positions, self.O, setting, [0], "meta")

        def loss() -> None:
            live = {name: tensor.requires_grad_(learning) for name, tensor in params.items()}
            Z = empty(1, batch, self.S, self.d)
            y, _, Z_ = forward(live, Z, self.pool)
            value = ((Z_ - Z) ** 2).mean() + (y**2).mean()
            if learning:
                torch.autograd.grad(value, list(live.values()))

        return measure(loss)

    def _weights(self, setting: Setting) -> float:
        """Bytes of the weights of one class, with gradients, moments and the best so far."""
        sizes = [self.d, *setting.hidden, setting.n]
        return tensors(5 * 2 * sum(a * b for a, b in itertools.pairwise(sizes)))

    def _parts(self, setting: Setting, device: str) -> tuple[int, int]:
        """(stacks that train one after the other, classes of a stack), as ``srae`` parts them."""
        most = at_once(self.d, self.S, self.R, setting, device, STACK if device == "cpu" else GPU)
        return math.ceil(self.K / most), min(self.K, most)

    def _again(self, setting: Setting, steps: int, parts: int, together: int, batch: int) -> Work:
        """Features of each batch, each image once; and of the held out examples after each epoch."""
        if self.again is None:
            return Work()
        unique = steps * min(self.images, together * batch)
        unique += setting.epochs * min(self.images, together * HELD_OUT * self.R)
        return parts * unique * self.again


# --------------------------------------------------------------------------------------------- the method and the experiments


def method(facts: Facts, how: Any) -> Work:
    """An SRAE for each class on the reference images, and the way down from n x-features for each image."""
    keys = ("n", "hidden", "beta", "q", "eta", "restarts", "epochs", "batch")
    setting = settings_for(how.variant, {key: getattr(how, key) for key in keys})
    at = maps.find(facts.target, facts.x(1), how.layer)
    n, m, stack = (
        facts.images,
        facts.reference,
        Stack(facts.classes, facts.reference, _width(facts, at)),
    )
    fit = (
        m * (facts.forward(at.name) + facts.logits)
        + stack.trained(setting)
        + stack.predicted(m, setting)
    )
    shown = tensors(n * (setting.n + 2) * facts.shape[1] * facts.shape[2])
    explained = n * (
        facts.forward(at.name) + facts.logits + down(facts, at, setting.n, how.to, facts.chunk)
    )
    return fit + (explained + stack.predicted(n, setting)).beside(shown)


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
    **_: Any,
) -> Work:
    """SRAE and its ablations and the Lasso on all training images; maps of all of them on a few test images of each class."""
    lab = _lab(facts, layer, negatives, test)
    names = {"SRAE": {}, "NN": {}, "SAE": {}, "CAE": {}}
    settings = [settings_for(name, {**(training or {}), **more}) for name, more in names.items()]
    out, K = lab.seen, facts.classes
    for setting in settings:
        out += lab.stack.trained(setting, facts.device) + lab.stack.predicted(
            lab.train + 2 * lab.test, setting
        )
    out += Work(fits=(1 + len(alphas)) * K * lab.stack.R * lab.stack.d)
    n = settings[0].n
    shown = (
        down(facts, lab.at, 5 * n, to, 1)
        + units_down(facts, lab.at, n + z_units, to)
        + _heat(facts, to)
    )
    return (out + K * images * (shown + 2 * len(pixels) * facts.logits)).beside(lab.held)


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
    lab = _lab(facts, layer, negatives, test)
    out = lab.seen
    for name in ("SRAE", "NN"):
        setting = settings_for(name, {**(training or {}), "n": n})
        out += lab.stack.trained(setting, facts.device) + lab.stack.predicted(2 * lab.test, setting)
    return out.beside(lab.held)


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
    lab, share = _lab(facts, layer, None, None), len(classes) / facts.classes
    stack = replace(lab.stack, K=1, R=round(share * facts.train), O=len(classes))
    setting = Setting(**{"accept": "live", **(training or {}), "n": n})
    work = stack.trained(setting, facts.device) + stack.predicted(
        round(share * (facts.train + facts.test)), setting
    )
    return (lab.seen + work).beside(lab.held)


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
    """1x1 filters on each of ``layers``. Features that are too large to be kept are computed for each batch again."""
    n, t = min(train or facts.train, facts.train), min(test or facts.test, facts.test)
    setting, out = Setting(**{"accept": "live", **(training or {})}), Work()
    for name in (*layers, *([dense] if dense else [])):
        size = facts.size(name)
        side = size[1:] if len(size) == 3 else None
        kept = n * facts.units(name) < MEMORY
        stack = Stack(
            facts.classes,
            _examples(facts, n, negatives),
            size[0],
            math.prod(size[1:]),
            pool=side if pool and side and min(side) > 1 else None,
            again=None if kept else facts.forward(name),
            images=n,
        )
        held = tensors(2 * n * facts.units(name)) if kept else 0.0
        trained = stack.trained(setting, facts.device) + stack.predicted(n + t, setting)
        out += (trained + (2 * n + 2 * t) * facts.logits + (n + t) * facts.forward(name)).beside(
            held
        )
    return out.beside(tensors((n + t) * facts.pixels))


# --------------------------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class _Lab:
    """What the experiments on a dense layer share."""

    at: maps.Layer
    stack: Stack
    train: int
    test: int
    seen: Work  # Z and logits of all images
    held: float


def _lab(facts: Facts, layer: str | None, negatives: int | None, test: int | None) -> _Lab:
    at = maps.find(facts.target, facts.x(1), layer)
    n, t, d = facts.train, min(test or facts.test, facts.test), _width(facts, at)
    held = tensors((n + t) * (facts.pixels + 2 * d))
    return _Lab(
        at,
        Stack(facts.classes, _examples(facts, n, negatives), d),
        n,
        t,
        (n + t) * facts.logits,
        held,
    )


def _width(facts: Facts, at: maps.Layer) -> int:
    """Numbers of Z: channels where it is an average over positions."""
    return facts.size(at.name)[0]


def _examples(facts: Facts, n: int, negatives: int | None) -> int:
    """R, for classes of the same size."""
    return n if negatives is None else min(n, math.ceil(n / facts.classes) + negatives)


def down(facts: Facts, at: maps.Layer, k: int, to: str | None, chunk: int) -> Work:
    """The way from k walks over Z down to a map, for one image; ``chunk`` of them at once."""
    size = (_width(facts, at),) if at.average else facts.size(at.name)
    P = empty(k, chunk, *size)
    found = measure(unit_maps, facts.target, facts.x(chunk), P, at.name, at.pool, to)
    return replace(found, passes=found.passes / chunk)


def units_down(facts: Facts, at: maps.Layer, k: int, to: str | None) -> Work:
    """The maps of k units of Z for one image."""
    linear = any(
        isinstance(module, nn.Linear) for module in getattr(facts.target.net, at.name).modules()
    )
    if at.average or not linear:
        return down(facts, at, k, to, 1)
    return measure(
        maps.z_maps,
        facts.target,
        facts.x(1),
        torch.empty(k, dtype=torch.int64, device="meta"),
        at,
        to,
    )


def _heat(facts: Facts, to: str | None) -> Work:
    """The 1-Heatmap of one image."""
    return measure(
        class_maps, facts.target, facts.x(1), torch.empty(1, dtype=torch.int64, device="meta"), to
    )
