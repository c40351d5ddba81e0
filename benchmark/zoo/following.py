"""Any network as a chain, for methods that follow it from layer to layer (Excitation Backprop and what builds on it).

    F = Following.of(target)
    F.chain["layer1.0"]             # what leads there from the layer before

Idea: a network is a chain of those layers that all of the image goes through. What lies between two of them (blocks
with ways around them, branches, functions) is one link. A link is passed back by its derivative, as max pooling is, and
its derivative is the marginal winning probability (``benchmark.shared.excitation_rules``).

A network that is a plain chain of modules that have a rule (``excitation_backprop.trace``) is followed as it is.
"""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from benchmark.api import NotApplicable, Target
from benchmark.shared import excitation_backprop
from benchmark.shared.excitation_rules import PASSED_ON, Excitation, no_rule
from benchmark.splits.between import between, dominating
from benchmark.splits.hooks import noise

Run = Callable[[Tensor], Tensor]
_POOLS = (nn.MaxPool2d, nn.AvgPool2d)
_COPY = "this method trains a copy of the network's layers, which must be a plain chain (nn.Sequential)"


class Following(Target):
    """A target whose ``chain`` is there for any module. Its layers are those that dominate the output."""

    def __init__(self, net: nn.Module, **given: Any) -> None:
        super().__init__(net, **given)
        self._follow()

    @classmethod
    def of(cls, target: Target) -> Self:
        """The same target, followed."""
        found = cls.__new__(cls)
        found.__dict__.update(vars(target))
        found._follow()
        return found

    def _follow(self) -> None:
        self._chain: nn.Sequential | None = None
        if self._split is None:
            return
        self._answers = dominating(self._split, self.net)
        last = self.layers[-1]
        inner = [name for name in self._answers if name != last]
        self.layers = (*inner, last)

    @property
    def chain(self) -> nn.Sequential:
        """Its layers, each with what leads to it from the one before.

        Raises:
            NotApplicable: no layer with weights dominates the output, or it changes values in place.
        """
        if self._chain is None:
            self._chain = self._plain() if self._split is None else self._linked()
        return self._chain

    def _plain(self) -> nn.Sequential:
        """The chain itself; if a module has no rule, links for all but those with weights."""
        x = noise(self.net, 2, self.input_shape)
        try:
            with torch.no_grad():
                y, _ = excitation_backprop.trace(self.net, x)
                if x.is_meta or _close(y, self.net(x)):
                    return self.net
        except TypeError:
            pass
        links = {}
        for name, module in self.net.named_children():
            kept = type(module) in (nn.Linear, *_POOLS)
            links[name] = module if kept else Link(module)
        chain = Chain(links, lambda start, stop: self.net[start:stop])
        return self._with_stem(chain, list(links))

    def _linked(self) -> nn.Sequential:
        """A link for each layer; before a layer with weights, what leads to it."""
        weighted = [name for name in self.layers if self._weights(name)]
        if not weighted:
            raise NotApplicable(
                f"{self.name} has no layer of weights that all of the image goes through, "
                "from which it could be followed"
            )
        links: dict[str, nn.Module] = {}
        before = None
        for name in self.layers:
            module = self._weights(name)
            if module and (name == weighted[-1] or self._is_given(name, before)):
                links[name] = Weights(Link(self._run(before, name, True)), module)
            else:
                kind = PoolingLink if self._pools(name) else Link
                links[name] = kind(self._run(before, name))
            before = name
        ends = [name for name in self.layers if self._ends(name)]
        chain = Chain(links, self._between)
        return self._with_stem(chain, ends)

    def _with_stem(self, chain: Chain, ends: list[str]) -> Chain:
        """Let the first of the layers ``ends`` behind a convolution hold it: maps are taken there if nothing pools."""
        conv = None
        for name, link in chain.named_children():
            module = self.net.get_submodule(name) if name in self._named else self.net
            conv = conv or next(_convs(module), None)
            if conv and name in ends and isinstance(link, Link):
                link.held = conv
                break
        return chain

    @functools.cached_property
    def _named(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.net.named_modules())

    def _weights(self, name: str) -> nn.Module | None:
        """The dense layer or convolution that a layer is."""
        module = self.net.get_submodule(name) if name in self._named else None
        kinds = (nn.Linear.forward, nn.Conv2d.forward)
        return module if getattr(type(module), "forward", None) in kinds else None

    def _is_given(self, name: str, before: str | None) -> bool:
        """Is a dense layer given what the layer before gives, but for its shape?"""
        if before is None or not isinstance(self._weights(name), nn.Linear):
            return False
        given = self._answers[name].given
        a = self._answers[before].out.flatten(1)
        if given.shape != a.shape:
            return False
        return given.is_meta or torch.equal(given, a)

    def _pools(self, name: str) -> bool:
        """Is a layer a pooling over a neighbourhood, that leaves more than one position?"""
        if name not in self._named:
            return False
        module = self.net.get_submodule(name)
        positions = self._answers[name].out.shape[2:].numel()
        return isinstance(module, _POOLS) and positions > 1

    def _ends(self, name: str) -> bool:
        """Does more follow than a norm or an activation, which belong to the layer?"""
        answer = self._answers.get(name)
        return answer is not None and not answer.taken_by & {*PASSED_ON, "batch_norm"}

    def _run(self, start: str | None, end: str, into: bool = False) -> Run:
        last = None if end == self.layers[-1] and not into else end

        def run(a: Tensor) -> Tensor:
            try:
                return between(self._split, self.net, a, start, last, into)
            except LookupError:
                raise no_rule("attention between a class token and others") from None

        return run

    def _between(self, start: int, stop: int) -> nn.Module:
        before = self.layers[start - 1] if start else None
        return Link(self._run(before, self.layers[stop - 1]))


class Chain(nn.Sequential):
    """Links by the names of their layers. A part of it is one link, in which a norm is folded into what it follows."""

    def __init__(
        self,
        links: Mapping[str, nn.Module],
        between: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        self._modules.update(links)  # add_module refuses names with dots
        self._between = between

    def __getitem__(self, index: Any) -> nn.Module:
        if not isinstance(index, slice):
            return super().__getitem__(index)
        start, stop, _ = index.indices(len(self))
        if start >= stop:
            return nn.Sequential()
        part = self._between(start, stop)
        return nn.Sequential(part if isinstance(part, Link) else Link(part))

    def get_submodule(self, target: str) -> nn.Module:
        return self._modules[target]

    def __deepcopy__(self, memo: Any) -> nn.Sequential:
        links = {
            name: copy.deepcopy(link, memo) for name, link in self.named_children()
        }
        return nn.Sequential(OrderedDict(links))


class Weights(nn.Sequential):
    """What leads to a layer with weights, and the layer."""

    def __getitem__(self, index: Any) -> nn.Module:
        if isinstance(index, slice):
            raise NotApplicable("the last weights of a network that is no plain chain")
        return super().__getitem__(index)


class _Run:
    """A part of a network, within which the derivative is that of Excitation Backprop."""

    def __init__(self, run: Run) -> None:
        super().__init__(
            1
        )  # the arguments of a pooling layer, whose forward pass this replaces
        self._run = (run,)  # not a submodule of the link
        self.held: nn.Module | None = None

    def forward(self, a: Tensor) -> Tensor:
        with Excitation():
            return self._run[0](a)

    def __deepcopy__(self, memo: Any) -> nn.Module:
        (part,) = self._run
        if not isinstance(part, nn.Module):
            raise NotApplicable(_COPY)
        for module in part.modules():
            own = list(module.parameters(recurse=False))
            if own and not hasattr(module, "reset_parameters"):
                raise NotApplicable(
                    f"this method trains a copy from new weights, which {type(module).__name__} does not draw"
                )
        return copy.deepcopy(part, memo)


class Link(_Run, nn.AdaptiveMaxPool2d):
    """To ``excitation_backprop.trace`` a kind of max pooling: P goes back by its derivative."""


class PoolingLink(_Run, nn.MaxPool2d):
    """The same where the part is a pooling over a neighbourhood."""


def _convs(module: nn.Module) -> Iterator[nn.Module]:
    return (part for part in module.modules() if isinstance(part, nn.Conv2d))


def _close(y: Tensor, other: Tensor) -> bool:
    return y.shape == other.shape and torch.allclose(y, other, rtol=1e-4, atol=1e-5)
