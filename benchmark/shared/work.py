"""What a unit does, counted before it runs: multiply-adds, repeats of all other work, and bytes.

    facts.images * (facts.forward("conv4") + facts.gradient("conv4"))  # Grad-CAM: Work(passes=..., fits=..., bytes=...)

Methods, experiments and recipes declare their work in these terms: a method by ``work(self, facts)``, a paper's
experiments in its ``work.py``, recipes in ``zoo/work.py``. Networks are never written down as formulas. Their tensors
lie on torch's device ``meta``, which knows shapes and computes nothing, and ``measure`` watches the very operations
that a CPU or GPU would run.

``passes`` are the multiply-adds of torch's products and convolutions, forward and backward; ``fits`` are all other
repeats (steps of an optimiser, pixels that are sorted, samples x nodes of a tree ...), in a unit that each kind of
work chooses for itself, since fits are compared only within a kind; ``bytes`` are those of the largest tensors that
are alive at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmark.api import Target
from benchmark.shared.meter import Meter

FLOAT = 4  # bytes
CHUNK_PIXELS, CHUNK = (
    2**20,
    64,
)  # pixels, and images, that go through a network together at most


@dataclass(frozen=True)
class Work:
    """Counted work. ``a + b`` is one after the other, ``n * a`` the same n times; memory is then that of the larger."""

    passes: float = 0.0  # multiply-adds
    fits: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Work) -> Work:
        passes = self.passes + other.passes
        fits = self.fits + other.fits
        return Work(passes, fits, max(self.bytes, other.bytes))

    def __rmul__(self, n: float) -> Work:
        return Work(n * self.passes, n * self.fits, self.bytes if n else 0.0)

    def beside(self, held: float) -> Work:
        """The same work while ``held`` more bytes are alive."""
        return replace(self, bytes=self.bytes + held)


def measure(function: Callable[..., Any], *args: Any) -> Work:
    """The passes of ``function(*args)`` and the most bytes that tensors made in it hold at once."""
    with Meter() as meter:
        function(*args)
    return Work(meter.passes, 0.0, meter.peak)


def empty(*shape: int) -> Tensor:
    return torch.empty(*shape, device="meta")


def parameter_bytes(net: nn.Module) -> int:
    return sum(parameter.numel() * FLOAT for parameter in net.parameters())


def training_step(net: nn.Module, *shape: int, copies: int = 1) -> Work:
    """A step of an optimiser on a batch of inputs ``shape`` (b, ...): forward, backward, weights with gradients and two
    moments; ``copies`` networks at once."""

    def step() -> None:
        net.train().requires_grad_(True)
        net(empty(*shape)).sum().backward()
        net.zero_grad(set_to_none=True)

    found = measure(step)
    held = found.bytes + 3 * parameter_bytes(net)
    return Work(copies * found.passes, 1.0, copies * held)


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known about a unit before it runs.

    Attributes:
        shape: (c, h, w) of the images; train, test: how many there are of each split.
        images, reference: how many a method explains, and how many it is fitted on.
        target: the network, with tensors on the device ``meta``; None where a unit has none.
        device: ``cpu`` or ``cuda``: where the unit will run.
        build: a method as a profile names it -> the method.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    classes: int = 0
    train: int = 0
    test: int = 0
    images: int = 0
    reference: int = 0
    target: Target | None = None
    device: str = "cpu"
    build: Callable[[str | Mapping[str, Any]], Any] | None = None
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    # for methods, which see nothing but their arguments: facts.work(passes=..., fits=...)
    work = Work

    def explaining(self, images: int, reference: int = 0) -> Self:
        """The same network and data set, with other numbers of images."""
        return replace(self, images=images, reference=reference)

    @property
    def pixels(self) -> int:
        """Values of an image, c h w."""
        return math.prod(self.shape)

    @property
    def chunk(self) -> int:
        """Images that go through the network together."""
        area = self.shape[1] * self.shape[2]
        fitting = CHUNK_PIXELS // max(1, area)
        return min(CHUNK, max(8, fitting))

    def x(self, n: int) -> Tensor:
        """n images on the device ``meta``."""
        return empty(n, *self.shape)

    def size(self, layer: str | None = None) -> tuple[int, ...]:
        """Shape of the output of ``layer`` (default: the one that is explained) for one image."""

        def shape() -> tuple[int, ...]:
            z = self.target.features(self.x(2), layer)
            return tuple(z.shape[1:])

        return self._once(("size", layer), shape)

    def units(self, layer: str | None = None) -> int:
        return math.prod(self.size(layer))

    def forward(self, layer: str | None = None) -> Work:
        """psi of one image, up to ``layer`` (default: the one that is explained); bytes of a chunk."""

        def run() -> None:
            self.target.features(self.x(self.chunk), layer)

        return self._each(("forward", layer), run)

    @property
    def logits(self) -> Work:
        """F of one image; bytes of a chunk."""
        return self.forward(self.target.layers[-1])

    def head(self, layer: str | None = None) -> Work:
        """G of the output of ``layer`` for one image; bytes of a chunk."""

        def run() -> None:
            z = empty(self.chunk, *self.size(layer))
            self.target.head(z, layer)

        return self._each(("head", layer), run)

    def gradient(self, layer: str | None = None) -> Work:
        """G and the gradient of a logit at ``layer``, for one image; bytes of a chunk."""

        def pull() -> None:
            z = empty(self.chunk, *self.size(layer)).requires_grad_()
            y = self.target.head(z, layer)
            torch.autograd.grad(y.amax(1).sum(), z)

        return self._each(("gradient", layer), pull, gradients=True)

    def pixel_gradient(self, layer: str | None = None) -> Work:
        """psi up to ``layer`` (default: F) and the gradient of one of its units at the pixels, for one image; bytes of
        a chunk."""
        layer = layer or self.target.layers[-1]

        def pull() -> None:
            x = self.x(self.chunk).requires_grad_()
            y = self.target.features(x, layer).flatten(1).amax(1).sum()
            torch.autograd.grad(y, x)

        return self._each(("pixels", layer), pull, gradients=True)

    def at_once(self, work: Work, n: int) -> Work:
        """Work of one image, where n go through the network together instead of a chunk."""
        return replace(work, bytes=work.bytes * n / self.chunk)

    def each(self, function: Callable[..., Any], *args: Any) -> Work:
        """Work of a function that is called with a chunk of images: the passes of one image, the bytes of the chunk."""
        return self._divided(measure(function, *args))

    def _each(
        self, key: Hashable, function: Callable[[], Any], gradients: bool = False
    ) -> Work:
        def counted() -> Work:
            with torch.set_grad_enabled(gradients):
                return self._divided(measure(function))

        return self._once(key, counted)

    def _divided(self, work: Work) -> Work:
        return replace(work, passes=work.passes / self.chunk)

    def _once(self, key: Hashable, function: Callable[[], Any]) -> Any:
        if key not in self._known:
            self._known[key] = function()
        return self._known[key]

    def mine(self, key: Hashable, function: Callable[[], Any]) -> Any:
        """``function()``, once for this network and data set: for counts that take a while."""
        return self._once(("mine", key), function)


def of_method(method: Any, facts: Facts) -> Work:
    """What a method declares by ``work(facts)``; a method that declares nothing counts three passes per image that is
    explained and one per image that it is fitted on."""
    declared = getattr(method, "work", None)
    if callable(declared):
        return declared(facts)
    passes = 3 * facts.images + facts.reference
    return passes * facts.logits


def tensors(*counts: float) -> float:
    """Bytes of float32 tensors, given the number of elements of each."""
    return FLOAT * sum(counts)


def shapes(layers: Sequence[str], facts: Facts) -> int:
    """Number of units of several layers together."""
    return sum(facts.units(layer) for layer in layers)
