"""The part of a module between two of its layers, for methods that follow a network from one to the next.

    z = between(split, net, a, "layer1", "layer2")      # what layer2 gives if layer1 gives a
    names = dominating(split, net)                      # the layers that all of the image goes through

Theory: a layer dominates the output if no way leads from the image to the logits past it. The ways are those of
autograd's graph of one pass: without the node of the layer's output, the image is no longer reached from the logits.
A module that hands on what it is given (``nn.Identity``) has no node of its own. It may stand on one of several ways
from there, and is asked by its hook instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmark.splits.hooks import Split, _answer, _Answered, _hooked


def between(
    split: Split,
    net: nn.Module,
    a: Tensor,
    start: str | None,
    end: str | None,
    into: bool = False,
) -> Tensor:
    """What the layer ``end`` gives (or, with ``into``, is given), if ``start`` gives a.

    Args:
        a: (n, ...) as ``split.features`` gives it, tokens folded; normalised images where ``start`` is None.
        end: None for the logits.

    Raises:
        LookupError: a has lost the class tokens of its images.
    """
    x = a
    with ExitStack() as hooks:
        if start is not None:
            split.check(net, start)
            fold = split.folds[start]
            given = a if fold is None else fold.back(a)
            n = split._dummies[start] or len(given)
            x = split._dummy.expand(n, *split.image)
            put = lambda module, args, out: given.clone()
            hooks.enter_context(_hooked(net, start, put))
        if end is None or end == split.layers[-1]:
            return _input(net, x, end) if into else net(x)
        if into:
            return _input(net, x, end)
        z = _answer(net, x, end)
    split.check(net, end)
    fold = split.folds[end]
    return z if fold is None else fold(z)


def _input(net: nn.Module, x: Tensor, layer: str) -> Tensor:
    """What a layer is given in the forward pass of x, which ends there."""
    found: list[Tensor] = []

    def asked(module: nn.Module, args: Any) -> None:
        found.append(args[0])
        raise _Answered

    handle = net.get_submodule(layer).register_forward_pre_hook(asked)
    try:
        net(x)
    except _Answered:
        return found[0]
    finally:
        handle.remove()
    raise LookupError(f"layer {layer} is not called in this pass")


@dataclass(eq=False)
class Answer:
    """What a module was given and gave in a pass, and the functions that took it from there."""

    given: Any
    out: Tensor
    node: Any  # of autograd's graph
    taken_by: set[str]


class _Takers(TorchFunctionMode):
    """Notes the functions that take the answers of modules."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        super().__init__()
        self.answers = answers

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for answer in self.answers.values():
            if any(value is answer.out for value in args):
                answer.taken_by.add(getattr(function, "__name__", ""))
        return function(*args, **(kwargs or {}))


def dominating(split: Split, net: nn.Module) -> dict[str, Answer]:
    """The layers that dominate the output, in the order of their answers, and what each was given and gave."""
    answers: dict[str, Answer] = {}

    def note(name: str) -> Any:
        def noted(module: nn.Module, args: Any, out: Any) -> None:
            if not isinstance(out, Tensor) or out.grad_fn is None:
                return
            given = args[0] if args else None
            answers[name] = Answer(given, out, out.grad_fn, set())

        return noted

    x = split._x.detach().requires_grad_()
    with ExitStack() as hooks, torch.enable_grad(), _Takers(answers):
        for name in split.layers:
            if name in split._calls:
                hooks.enter_context(_hooked(net, name, note(name)))
        y = net(x)
    found = {}
    for name in split.layers:
        answer = answers.get(name)
        if answer is None or _reaches(y.grad_fn, x, answer.node):
            continue
        if not _hands_on(answer) or (
            not x.is_meta and split._splits(net, name) is not None
        ):
            found[name] = answer
    return found


def _hands_on(answer: Answer) -> bool:
    """Did a module give what it was given?"""
    given = answer.given
    return isinstance(given, Tensor) and given.grad_fn is answer.node


def _reaches(node: Any, x: Tensor, removed: Any) -> bool:
    """Does a way lead back from a node of autograd's graph to x, if another is removed?"""
    waiting, seen = [node], {removed, None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if getattr(node, "variable", None) is x:
            return True
        waiting += [before for before, _ in node.next_functions]
    return False
