"""The split of a module that is no plain chain, by forward hooks, checked where it is used.

    split = Split(net, input_shape=(3, 64, 64))
    z = split.features(net, x, "layer4")       # psi: the pass stops as soon as the layer has answered
    y = split.head(net, z, "layer4")           # G: the pass of a dummy input, with z for the layer's output

Theory: G is F with the output of a layer replaced by z. It is a function of z alone if all paths from the input to the
logits pass through the layer (the layer *dominates* the output) and it is called once in a pass. Then the input does
not matter, and one dummy image is enough, whatever the number of z. Both is checked on noise before a layer is used:
``head(features(x)) == F(x)``, where the dummy differs from the x. A network that needs as many images as z has rows
(because it looks at their number on the way) gets so many.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.splits.tokens import Fold, Maps, fold_of
from benchmark.utils.near_names import near

IMAGES = 3  # of noise, for the checks
OUTPUT = "F(x)"  # the name of the output where no layer gives it
_ROUNDING = 1e-5  # of the largest logit
_SHARE = 1e-3  # of the difference between two images' logits


class LayerError(ValueError):
    """A layer at which a network cannot be split: one line with the reason and other names."""


class _Answered(BaseException):
    """Ends a forward pass; no network catches it."""


@dataclass
class _Calls:
    """What a module did in one forward pass."""

    count: int = 0
    kind: str = ""  # of a result that is no tensor
    shape: tuple[int, ...] = ()


class Split:
    """F = G o psi at the layers of a module; ``layers`` are those at which it could be split, in the order of answers.

    Args:
        net: in eval mode.
        image: (c, h, w).
        grid: of tokens, such as ``14x14``; default: found from their number.
        dtype: of the images.
    """

    def __init__(self, net: nn.Module, image: tuple[int, int, int], grid: str = ""):
        self.image = tuple(image)
        self.grid = grid
        x = noise(net, IMAGES + 1, image)
        self._x = x[:IMAGES]
        self._dummy = x[IMAGES:]
        self._calls: dict[str, _Calls] = {}
        with torch.no_grad():
            self._y = self._record(net)
        names = [name for name in self._calls if not self._flaw(name)]
        if not names or not self._is_output(net, names[-1]):
            names.append(OUTPUT)
        self.layers = tuple(names)
        self._dummies: dict[str, int] = {}  # of each layer that was checked
        self.folds: dict[str, Fold | None] = {}

    # ------------------------------------------------------------------------------------ psi and G

    def features(self, net: nn.Module, x: Tensor, layer: str) -> Tensor:
        """psi(x) of normalised images; maps where the layer gives tokens.

        Raises:
            LayerError: the network cannot be split there.
        """
        if layer == self.layers[-1]:
            return net(x)
        self.check(net, layer)
        z = _answer(net, x, layer)
        fold = self.folds[layer]
        return z if fold is None else fold(z)

    def head(self, net: nn.Module, z: Tensor, layer: str) -> Tensor:
        """G(z).

        Raises:
            LayerError: the network cannot be split there.
            LookupError: maps without the class token that G needs.
        """
        if layer == self.layers[-1]:
            return z
        self.check(net, layer)
        fold = self.folds[layer]
        z = z if fold is None else fold.back(z)
        n = self._dummies[layer] or len(z)
        return _replaced(net, self._dummy.expand(n, *self.image), layer, z)

    # ------------------------------------------------------------------------------------ checks

    def check(self, net: nn.Module, layer: str) -> None:
        """Check once that the network can be split at ``layer``.

        Raises:
            LayerError: it cannot.
        """
        if layer in self._dummies or layer == self.layers[-1]:
            return
        if layer not in self.layers:
            raise LayerError(self._why(net, layer))
        with torch.no_grad():
            z = _answer(net, self._x, layer)
            dummies = self._dummies_for(net, layer, z)
        if dummies is None:
            raise LayerError(
                f"layer {layer} does not dominate the output: part of the network goes past it, so that the logits "
                f"are no function of what it gives{self._others(net, layer)}"
            )
        self._dummies[layer] = dummies
        try:
            self.folds[layer] = fold_of(z, self.image, self.grid)
        except ValueError as error:
            raise LayerError(f"layer {layer} {error}") from None

    def default(self, net: nn.Module) -> str | None:
        """The last layer with channels and positions that reach the logits; None if there is none."""
        for layer in reversed(self.layers[:-1]):
            calls = self._calls[layer]
            if len(calls.shape) not in (3, 4) or self._splits(net, layer) is None:
                continue
            self.check(net, layer)
            z = self.features(net, self._x, layer)
            if z.ndim == 4 and math.prod(z.shape[2:]) > 1 and self.matters(net, layer):
                return layer
        return None

    def below_logits(self, net: nn.Module) -> str | None:
        """The last layer below those that give the logits at which the network can be split; None if there is none."""
        for layer in reversed(self.layers[:-1]):
            if self._is_output(net, layer) or self._splits(net, layer) is None:
                continue
            return layer
        return None

    def after(self, layer: str) -> set[str]:
        """The modules that answer last after ``layer``."""
        names = list(self._calls)
        if layer == self.layers[-1]:
            return set()
        return set(names[names.index(layer) + 1 :])

    def matters(self, net: nn.Module, layer: str) -> bool:
        """Do the logits depend on the maps of a layer, or on its class token alone?"""
        if self._x.is_meta:
            return True
        z = self.features(net, self._x, layer)
        if not isinstance(z, Maps):
            return True
        with torch.no_grad():
            changed = Maps.of(z.as_subclass(Tensor).flip(0), z.leading)
            y = self.head(net, changed, layer)
        return not self._agree(y)

    def _splits(self, net: nn.Module, layer: str) -> int | None:
        with torch.no_grad():
            return self._dummies_for(net, layer, _answer(net, self._x, layer))

    def _dummies_for(self, net: nn.Module, layer: str, z: Tensor) -> int | None:
        """How many dummy images G needs: 1, or 0 for as many as z has; None if its logits are not those of F."""
        if layer in self._dummies:
            return self._dummies[layer]
        if z.is_meta:
            return 0
        for dummies in (1, 0):
            x = self._dummy.expand(dummies or len(z), *self.image)
            try:
                y = _replaced(net, x, layer, z)
            except Exception:  # what a network does with another number of images
                continue
            if self._agree(y):
                return dummies
        return None

    def _agree(self, y: Tensor) -> bool:
        """Are these the logits of the noise, but for rounding?"""
        if y.shape != self._y.shape:
            return False
        spread = (self._y - self._y.roll(1, 0)).abs().max()
        largest = self._y.abs().max()
        apart = (y - self._y).abs().max()
        return bool(apart <= max(_SHARE * spread, _ROUNDING * largest))

    # ------------------------------------------------------------------------------------ what a pass does

    def _record(self, net: nn.Module) -> Tensor:
        """The logits of the noise; notes on the way what each module gives."""
        handles = []

        def note(name: str) -> Any:
            def noted(module: nn.Module, args: Any, out: Any) -> None:
                calls = self._calls.pop(name, _Calls())  # the last answer counts
                calls.count += 1
                if isinstance(out, Tensor):
                    calls.shape = tuple(out.shape)
                else:
                    calls.kind = type(out).__name__
                self._calls[name] = calls

            return noted

        for name, module in net.named_modules():
            if name:
                handles.append(module.register_forward_hook(note(name)))
        try:
            return net(self._x)
        finally:
            for handle in handles:
                handle.remove()

    def _flaw(self, name: str) -> str:
        """Why a network cannot be split at a module that it called; empty if nothing speaks against it."""
        calls = self._calls[name]
        if calls.count > 1:
            return (
                f"is called {calls.count} times in a pass, so that it has no one output"
            )
        if calls.kind:
            return f"returns a {calls.kind}, not a tensor"
        if not calls.shape or calls.shape[0] != IMAGES:
            size = "x".join(map(str, calls.shape))
            return f"gives {size} for {IMAGES} images: its first axis is not the images"
        return ""

    def _is_output(self, net: nn.Module, name: str) -> bool:
        """Does the network return what this layer gives?"""
        if self._calls[name].shape != tuple(self._y.shape):
            return False
        if self._y.is_meta:
            return True
        with torch.no_grad():
            return torch.equal(_answer(net, self._x, name), self._y)

    def _why(self, net: nn.Module, layer: str) -> str:
        """Why there is no such layer, and others."""
        if layer in self._calls:
            return f"layer {layer} {self._flaw(layer)}{self._others(net, layer)}"
        if layer in dict(net.named_modules()):
            return f"layer {layer} is not called in a pass{self._others(net, layer)}"
        return str(near(layer, self.layers, "layer"))

    def _others(self, net: nn.Module, layer: str) -> str:
        """Layers around this one at which the network can be split, as the end of a sentence."""
        around = []
        parts = layer.split(".")
        for k in range(len(parts) - 1, 0, -1):
            around.append(".".join(parts[:k]))
        tops = [name for name in self.layers if "." not in name]
        fit = []
        for name in dict.fromkeys([*around, *reversed(tops)]):
            usable = name in self.layers[:-1] and name != layer
            if usable and self._splits(net, name) is not None:
                fit.append(name)
        return f"; name another, such as {' or '.join(fit[:3])}" if fit else ""


def noise(net: nn.Module, n: int, image: tuple[int, int, int]) -> Tensor:
    """n images of noise with mean 0 and deviation 1, on the device of the network."""
    device = torch.device("cpu")
    for parameter in net.parameters():
        device = parameter.device
        break
    if device.type == "meta":
        return torch.empty(n, *image, device=device)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, *image, generator=generator).to(device)


def _answer(net: nn.Module, x: Tensor, layer: str) -> Tensor:
    """What a layer gives in the forward pass of x, which ends there."""
    found: list[Tensor] = []

    def answered(module: nn.Module, args: Any, out: Tensor) -> None:
        found.append(out)
        raise _Answered

    with _hooked(net, layer, answered):
        try:
            net(x)
        except _Answered:
            return found[0]
    raise LayerError(f"layer {layer} is not called in this pass")


def _replaced(net: nn.Module, x: Tensor, layer: str, z: Tensor) -> Tensor:
    """The logits of x with z for what a layer gives; z stays as it is, whatever is done in place behind the layer."""
    with _hooked(net, layer, lambda module, args, out: z.clone()):
        return net(x)


@contextmanager
def _hooked(net: nn.Module, layer: str, hook: Any) -> Iterator[None]:
    handle = net.get_submodule(layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
