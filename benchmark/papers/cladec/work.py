"""What the method and the paper's experiments do, counted (``benchmark.shared.work``) on the decoders and encoders
that they train.

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

from benchmark.papers.cladec import linear as theory
from benchmark.papers.cladec import prototypes as li
from benchmark.papers.cladec.decoder import decoder, fresh
from benchmark.papers.cladec.method import VARIANTS
from benchmark.papers.cladec.training import CLASSIFYING, DECODING, STORED, Training
from benchmark.shared.work import Facts, Work, empty, measure, tensors, training_step

SQUARES = 16  # that are hidden, one after the other


def method(facts: Facts, how: Any) -> Work:
    """ClaDec: D and RefAE trained, then both decoded and D once for each hidden square.

    Args:
        how: the method with its settings.
    """
    training = Training(epochs=how.epochs, batch=how.batch, lr=how.lr)
    m, n = facts.reference, facts.images
    setup = Setup(facts, m, n, training, training, how.base, how.kernel, how.variant)
    layer = how.layer or facts.target.layer
    trained = setup.decoders(layer, [how.alpha], how.units)
    trained += setup.reference(layer)
    decoded = (2 + SQUARES) * setup.decoded(layer, how.units)
    shown = decoded + setup.rebuilt(layer) + facts.logits
    numbers = (6 * n + 3 * m) * setup.pixels
    return (trained + n * shown).beside(tensors(numbers))


def layers(
    facts: Facts,
    *,
    layers: Mapping[int, str],
    occlude: Sequence[int],
    show: int,
    **settings: Any,
) -> Work:
    """Tables 2-3 and 7-8: for each layer D, RefAE, a classifier on the images of either; Grad-CAM of those shown;
    squares hidden at some."""
    setup = Setup.of(facts, **settings)
    out = Work()
    for k, layer in layers.items():
        trained = setup.decoders(layer) + setup.reference(layer)
        shown = setup.decoded(layer) + setup.rebuilt(layer)
        out += trained + setup.n_all * shown + show * setup.cam(layer)
        if k in occlude:
            out += setup.hidden(layer)
    rebuilt = 2 * len(layers)
    return (out + setup.classifiers(rebuilt)).beside(setup.held(rebuilt))


def alphas(
    facts: Facts, *, layer: str, alphas: Sequence[float], **settings: Any
) -> Work:
    """Tables 4-5: a D for each alpha, and a classifier on its images."""
    setup = Setup.of(facts, **settings)
    k = len(alphas)
    decoded = setup.n_all * setup.decoded(layer)
    shown = decoded + setup.test * facts.logits
    out = setup.decoders(layer, alphas) + k * shown
    return (out + setup.classifiers(k)).beside(setup.held(k))


def epochs(
    facts: Facts,
    *,
    layer: str,
    epochs: Sequence[int],
    training: Mapping[str, Any] | None,
    **settings: Any,
) -> Work:
    """Table 6: a classifier trained for the most epochs, and a D after each number of them."""
    setup = Setup.of(facts, **settings)
    k = len(epochs)
    how = Training(**vars(CLASSIFYING) | dict(training or {}) | {"epochs": max(epochs)})
    out = setup.trained(fresh_of(facts, None), facts.shape, how)
    out += setup.reference(layer)
    out += setup.n_all * setup.rebuilt(layer)
    each = (
        setup.decoders(layer)
        + setup.n_all * setup.decoded(layer)
        + setup.test * facts.logits
    )
    return (out + k * each + setup.classifiers(1 + k)).beside(setup.held(1 + k))


def subsets(
    facts: Facts,
    *,
    layer: str,
    nested: Sequence[int],
    disjoint: int,
    width: int,
    **settings: Any,
) -> Work:
    """Figs. 13-14: a D for each range of units."""
    setup = Setup.of(facts, **settings)
    ranges = [range(k) for k in nested] + [range(width)] * disjoint
    out = Work()
    for units in ranges:
        shown = setup.test * setup.decoded(layer, units)
        out += setup.decoders(layer, units=units) + shown
    return out.beside(setup.held(1))


def prototypes(
    facts: Facts,
    *,
    layer: str,
    count: int,
    training: Mapping[str, Any] | None,
    **settings: Any,
) -> Work:
    """Fig. 15: the prototype network, and one D."""
    setup = Setup.of(facts, **settings)
    with torch.device("meta"):
        net = _Added(li.PrototypeNet(setup.shape, facts.classes, count))
    how = Training(**vars(li.TRAINING) | dict(training or {}))
    out = setup.trained(net, setup.shape, how)
    out += setup.n_all * _forward(net, setup.shape)
    out += setup.decoders(layer)
    return out.beside(setup.held(1))


def linear(
    facts: Facts,
    *,
    hidden: Sequence[int],
    images: int | None,
    training: Mapping[str, Any] | None,
    **_: Any,
) -> Work:
    """Sec. 4: for each number of hidden units PCA, the models, R, what each of three loses, and a linear RefAE."""
    how = Training(**vars(theory.TRAINING) | dict(training or {}))
    n, p = min(images or facts.train, facts.train), facts.pixels
    out = Work()
    for k in hidden:
        with torch.device("meta"):
            net = nn.Sequential(nn.Linear(p, k, False), nn.Linear(k, p, False))
        batch = min(how.batch, n)
        step = training_step(net, batch, p)
        out += how.epochs * n / batch * step + n * _forward(net, (p,))
        # covariances, twice; U twice, E and R; what three lose of E x, and the difference
        out += Work(passes=n * p * (2 * p + 16 * k))
    return out.beside(3 * 8 * p * p + 8 * 8 * n * p)


class _Added(nn.Module):
    """The sum of a network's outputs, for a backward pass through all of them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum(out.sum() for out in self.net(x))


@dataclass(frozen=True)
class Setup:
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
    ) -> Setup:
        """From an experiment's settings."""
        return cls(
            facts,
            train=min(images or facts.train, facts.train),
            test=min(test_images or facts.test, facts.test),
            decoding=Training(**vars(DECODING) | dict(decoding or {})),
            evaluation=Training(**vars(CLASSIFYING) | dict(evaluation or {})),
            base=base,
            kernel=kernel,
            variant=variant,
        )

    @property
    def n_all(self) -> int:
        return self.train + self.test

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of the images as the network works on them: some networks enlarge them first."""
        target = self.facts.target
        if isinstance(target.chain[0], nn.Upsample):
            return self.facts.size(target.layers[0])
        return self.facts.shape

    @property
    def pixels(self) -> int:
        return math.prod(self.shape)

    def decoder(self, layer: str, units: Sequence[int] | None = None) -> nn.Sequential:
        """D."""
        code = self.facts.size(layer)
        shape = {"base": self.base, "kernel": self.kernel, **VARIANTS[self.variant]}
        with torch.device("meta"):
            return decoder(code, self.shape, units=units, **shape)

    def decoders(
        self,
        layer: str,
        alphas: Sequence[float] = (0.0,),
        units: Sequence[int] | None = None,
    ) -> Work:
        """A D for each alpha on the codes of all images; with alpha > 0 F and its gradient at each image of a batch."""
        facts, how = self.facts, self.decoding
        code, k = facts.size(layer), len(alphas)
        size = tensors(self.train * math.prod(code))
        looks = 1 if size <= STORED else 1 + how.epochs * k
        codes = self.train * looks * facts.forward(layer)
        with_class = sum(alpha > 0 for alpha in alphas)  # networks
        weighed = with_class * self.train * how.epochs * facts.pixel_gradient()
        D = self.decoder(layer, units)
        at_once = self._at_once(k)
        trained = self.trained(D, code, how, k, at_once)
        trained += facts.at_once(weighed, how.batch)

        return codes + trained.beside(min(2 * size, STORED))

    def _at_once(self, k: int) -> int:
        """How many of k networks train side by side."""
        return 1 if self.facts.device == "cpu" else k

    def reference(self, layer: str) -> Work:
        """RefAE: the layers up to ``layer`` and D."""
        net = nn.Sequential(fresh_of(self.facts, layer), self.decoder(layer))
        return self.trained(net, self.shape, self.decoding)

    def classifiers(self, k: int) -> Work:
        """k classifiers of the network's own kind, and their accuracy."""
        net = fresh_of(self.facts, None)
        trained = self.trained(net, self.shape, self.evaluation, k, self._at_once(k))
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
        facts = self.facts
        key = (layer, units and len(units), self.base, self.kernel, self.variant)

        def count() -> Work:
            return _forward(self.decoder(layer, units), facts.size(layer))

        return facts.forward(layer) + facts.mine(key, count)

    def rebuilt(self, layer: str) -> Work:
        """X_R of one image."""
        return self.decoded(layer)

    def hidden(self, layer: str) -> Work:
        """Tables 7-8: each square hidden from D, Grad-CAM, and accuracy with two squares of each ranking hidden."""
        decoded = (1 + SQUARES) * self.decoded(layer)
        return self.test * (decoded + self.cam(layer) + 6 * self.facts.logits)

    def cam(self, layer: str) -> Work:
        """Grad-CAM of one image, at the layer or the last one before it that has maps."""
        facts = self.facts
        names = facts.target.layers
        below = names[: names.index(layer) + 1]
        maps = [name for name in below if len(facts.size(name)) == 3]
        last = maps[-1]
        return facts.forward(last) + facts.gradient(last)

    def held(self, rebuilt: int) -> float:
        """Bytes of the images, plain and standardised, and of so many rebuilt copies, plain and standardised."""
        copies = rebuilt * (self.n_all + self.train)
        return tensors(self.pixels * (3 * self.n_all + copies))


def fresh_of(facts: Facts, layer: str | None) -> nn.Sequential:
    """A new copy of the network, up to ``layer`` (None: whole)."""
    names = facts.target.layers
    last = names.index(layer or names[-1])
    return fresh(facts.target.chain[: last + 1])


def _forward(net: nn.Module, shape: Sequence[int], chunk: int = 256) -> Work:
    """Of one image; bytes of a chunk."""

    def forward() -> None:
        net.eval()
        with torch.no_grad():
            net(empty(chunk, *shape))

    found = measure(forward)
    return replace(found, passes=found.passes / chunk)
