"""What the method and the paper's experiments do, counted (``benchmark.shared.work``) on the decoders and encoders that they train.

``fits``: steps of an optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from benchmark.papers.cladec import prototypes as li
from benchmark.papers.cladec.decoder import decoder, fresh
from benchmark.papers.cladec.method import VARIANTS
from benchmark.papers.cladec.training import CLASSIFYING, DECODING, STORED, Training
from benchmark.shared.work import Facts, Work, empty, measure, tensors, training_step

SQUARES = 16  # that are hidden, one after the other


def method(facts: Facts, how: Any) -> Work:
    """ClaDec with the settings ``how``: D and RefAE trained, then both decoded and D once for each hidden square."""
    training = Training(epochs=how.epochs, batch=how.batch, lr=how.lr)
    lab = Lab(
        facts, facts.reference, facts.images, training, training, how.base, how.kernel, how.variant
    )
    layer, n = how.layer or facts.target.layer, facts.images
    trained = lab.decoders(layer, [how.alpha], how.units) + lab.reference(layer)
    shown = (2 + SQUARES) * lab.decoded(layer, how.units) + lab.rebuilt(layer) + facts.logits
    return (trained + n * shown).beside(
        tensors(6 * n * lab.pixels, 3 * facts.reference * lab.pixels)
    )


def layers(
    facts: Facts, *, layers: Mapping[int, str], occlude: Sequence[int], **settings: Any
) -> Work:
    """Tables 2-3 and 7-8: for each layer D, RefAE and a classifier on the images of either; squares hidden at some."""
    lab, out = Lab.of(facts, **settings), Work()
    for k, layer in layers.items():
        out += (
            lab.decoders(layer)
            + lab.reference(layer)
            + lab.n_all * (lab.decoded(layer) + lab.rebuilt(layer))
        )
        out += lab.hidden(layer) if k in occlude else Work()
    return (out + lab.classifiers(2 * len(layers))).beside(lab.held(2 * len(layers)))


def alphas(facts: Facts, *, layer: str, alphas: Sequence[float], **settings: Any) -> Work:
    """Tables 4-5: a D for each alpha, and a classifier on its images."""
    lab, k = Lab.of(facts, **settings), len(alphas)
    out = lab.decoders(layer, alphas) + k * (
        lab.n_all * lab.decoded(layer) + lab.test * facts.logits
    )
    return (out + lab.classifiers(k)).beside(lab.held(k))


def epochs(
    facts: Facts,
    *,
    layer: str,
    epochs: Sequence[int],
    training: Mapping[str, Any] | None,
    **settings: Any,
) -> Work:
    """Table 6: a classifier trained for the most epochs, and a D at each of its ages."""
    lab, k = Lab.of(facts, **settings), len(epochs)
    how = Training(**vars(CLASSIFYING) | dict(training or {}) | {"epochs": max(epochs)})
    out = (
        lab.trained(fresh_of(facts, None), facts.shape, how)
        + lab.reference(layer)
        + lab.n_all * lab.rebuilt(layer)
    )
    each = lab.decoders(layer) + lab.n_all * lab.decoded(layer) + lab.test * facts.logits
    return (out + k * each + lab.classifiers(1 + k)).beside(lab.held(1 + k))


def subsets(
    facts: Facts, *, layer: str, nested: Sequence[int], disjoint: int, width: int, **settings: Any
) -> Work:
    """Figs. 13-14: a D for each range of units."""
    lab = Lab.of(facts, **settings)
    ranges = [range(k) for k in nested] + [range(width)] * disjoint
    trained = [
        lab.decoders(layer, units=units) + lab.test * lab.decoded(layer, units) for units in ranges
    ]
    return sum(trained, Work()).beside(lab.held(1))


def prototypes(
    facts: Facts, *, layer: str, count: int, training: Mapping[str, Any] | None, **settings: Any
) -> Work:
    """Fig. 15: the prototype network, and one D."""
    lab = Lab.of(facts, **settings)
    with torch.device("meta"):
        net = _Added(li.PrototypeNet(lab.shape, facts.classes, count))
    trained = lab.trained(net, lab.shape, Training(**vars(li.TRAINING) | dict(training or {})))
    return (trained + lab.n_all * _forward(net, lab.shape) + lab.decoders(layer)).beside(
        lab.held(1)
    )


class _Added(nn.Module):
    """The sum of a network's outputs, for a backward pass through all of them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(out.sum() for out in self.net(x))


@dataclass(frozen=True)
class Lab:
    """The images of a unit, and how its networks are trained."""

    facts: Facts
    train: int
    test: int
    decoding: Training
    evaluation: Training
    base: int
    kernel: int
    variant: str

    @classmethod
    def of(
        cls,
        facts: Facts,
        *,
        images: int | None,
        test_images: int | None,
        base: int,
        kernel: int,
        variant: str,
        decoding: Mapping[str, Any] | None,
        evaluation: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> Lab:
        train, test = (
            min(images or facts.train, facts.train),
            min(test_images or facts.test, facts.test),
        )
        trained = (
            Training(**vars(a) | dict(b or {}))
            for a, b in ((DECODING, decoding), (CLASSIFYING, evaluation))
        )
        return cls(facts, train, test, *trained, base, kernel, variant)

    @property
    def n_all(self) -> int:
        return self.train + self.test

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the images as the network works on them: some bring them to their own size first."""
        enlarges = isinstance(self.facts.target.net[0], nn.Upsample)
        return self.facts.size(self.facts.target.layers[0]) if enlarges else self.facts.shape

    @property
    def pixels(self) -> int:
        return math.prod(self.shape)

    def decoder(self, layer: str, units: Sequence[int] | None = None) -> nn.Sequential:
        with torch.device("meta"):
            shape = {"base": self.base, "kernel": self.kernel, **VARIANTS[self.variant]}
            return decoder(self.facts.size(layer), self.shape, units=units, **shape)

    def decoders(
        self, layer: str, alphas: Sequence[float] = (0.0,), units: Sequence[int] | None = None
    ) -> Work:
        """A D for each alpha on the codes of all images; with alpha > 0 F and its gradient at each image that is drawn."""
        code, how = self.facts.size(layer), self.decoding
        size = tensors(self.train * math.prod(code))
        looks = 1 if size <= STORED else 1 + how.epochs * len(alphas)
        codes = self.train * looks * self.facts.forward(layer)
        weighed = (
            sum(alpha > 0 for alpha in alphas)
            * self.train
            * how.epochs
            * self.facts.pixel_gradient()
        )
        at_once = len(alphas) if self.facts.device != "cpu" else 1
        trained = self.trained(self.decoder(layer, units), code, how, len(alphas), at_once)
        return codes + (trained + self.facts.at_once(weighed, how.batch)).beside(
            min(2 * size, STORED)
        )

    def reference(self, layer: str) -> Work:
        """RefAE: the layers up to ``layer`` and D."""
        net = nn.Sequential(fresh_of(self.facts, layer), self.decoder(layer))
        return self.trained(net, self.shape, self.decoding)

    def classifiers(self, k: int) -> Work:
        """k classifiers of the network's own kind, and their accuracy."""
        at_once = k if self.facts.device != "cpu" else 1
        trained = self.trained(fresh_of(self.facts, None), self.shape, self.evaluation, k, at_once)
        return trained + k * self.test * self.facts.logits

    def trained(
        self,
        net: nn.Module,
        shape: Sequence[int],
        how: Training,
        networks: int = 1,
        at_once: int = 1,
    ) -> Work:
        """``networks`` of one kind, ``at_once`` of them side by side."""
        batch = min(how.batch, self.train)
        step = training_step(net, batch, *shape, copies=at_once)
        return how.epochs * self.train / batch * (networks / at_once) * step

    def decoded(self, layer: str, units: Sequence[int] | None = None) -> Work:
        """X_E of one image."""
        key = (layer, units and len(units), self.base, self.kernel, self.variant)
        D = lambda: _forward(self.decoder(layer, units), self.facts.size(layer))
        return self.facts.forward(layer) + self.facts.mine(key, D)

    def rebuilt(self, layer: str) -> Work:
        """X_R of one image."""
        return self.decoded(layer)

    def hidden(self, layer: str) -> Work:
        """Tables 7-8: each square hidden from D, Grad-CAM, and the accuracy without two squares of each of three rankings."""
        maps = [name for name in self._below(layer) if len(self.facts.size(name)) == 3]
        cam = self.facts.forward(maps[-1]) + self.facts.gradient(maps[-1])
        return self.test * ((1 + SQUARES) * self.decoded(layer) + cam + 6 * self.facts.logits)

    def _below(self, layer: str) -> Sequence[str]:
        names = self.facts.target.layers
        return names[: names.index(layer) + 1]

    def held(self, rebuilt: int) -> float:
        """Bytes of the images, standardised and as they are, and of so many rebuilt copies with their standardised ones."""
        return tensors(self.pixels * (3 * self.n_all + rebuilt * (self.n_all + self.train)))


def fresh_of(facts: Facts, layer: str | None) -> nn.Sequential:
    """A new copy of the network, up to ``layer`` (None: whole)."""
    names = facts.target.layers
    return fresh(facts.target.net[: names.index(layer or names[-1]) + 1])


def _forward(net: nn.Module, shape: Sequence[int], chunk: int = 256) -> Work:
    """Of one image; bytes of a chunk."""

    def forward() -> None:
        net.eval()
        with torch.no_grad():
            net(empty(chunk, *shape))

    found = measure(forward)
    return replace(found, passes=found.passes / chunk)
