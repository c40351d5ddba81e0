"""What any module must do to be explained: images in, logits out, each image by itself, the same each time."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.splits.hooks import IMAGES, noise

_ROUNDING = 1e-4  # of the largest logit


class NetworkError(ValueError):
    """A network that cannot be explained: one line with the reason and the way out."""


def unwrapped(net: nn.Module) -> nn.Module:
    """The module under torch.compile, DataParallel and DistributedDataParallel, whose hooks are seen by all passes.

    Raises:
        NetworkError: it is no module, or one whose layers cannot be hooked.
    """
    if not isinstance(net, nn.Module):
        raise NetworkError(f"is a {type(net).__name__}, not a torch.nn.Module")
    if isinstance(net, torch.jit.ScriptModule):
        raise NetworkError(
            "is a scripted network, whose layers cannot be hooked; build it in Python and load its weights"
        )
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(net, wrappers) or hasattr(net, "_orig_mod"):
        net = net.module if isinstance(net, wrappers) else net._orig_mod
    for module in net.modules():
        if getattr(module, "_compiled_call_impl", None) is not None:
            module._compiled_call_impl = None  # of ``net.compile()``
        for name, child in module.named_children():
            if hasattr(child, "_orig_mod"):
                setattr(module, name, unwrapped(child))
    return net


def is_chain(net: nn.Module) -> bool:
    """Is F the composition of the modules' children, in order?"""
    if not isinstance(net, nn.Sequential) or "forward" in vars(net):
        return False
    own_pass = type(net).forward is not nn.Sequential.forward
    names = [name for name, _ in net.named_children()]
    return not own_pass and len(names) == len(net)  # none stands there twice


def check_network(
    net: nn.Module, image: tuple[int, int, int], classes: int | None = None
) -> list[str]:
    """Check on noise that a network in eval mode can be explained.

    Args:
        image: (c, h, w).
        classes: how many logits it should have; None: any number.

    Returns:
        what its user should know, a line each.

    Raises:
        NetworkError: it cannot.
    """
    _check_module(net)
    x = noise(net, IMAGES, image)
    if x.is_meta:  # shapes alone
        return []
    before = {name: value.clone() for name, value in net.named_buffers()}
    y = _logits(net, x)
    _check_shape(y, classes)
    again = _logits(net, x)
    if not _close(again, y):
        raise NetworkError(
            "gives other logits for the same images when it is called again: it keeps state between calls, "
            "or draws at random in eval mode (F.dropout without training=self.training)"
        )
    for name, value in net.named_buffers():
        if name in before and not torch.equal(before[name], value):
            raise NetworkError(
                f"changes its buffer {name} in eval mode: it keeps state between calls"
            )
    alone = torch.cat([_logits(net, x[i : i + 1]) for i in range(len(x))])
    if not _close(alone, y):
        raise NetworkError(
            "gives an image other logits if other images stand beside it (batch norm without running statistics?)"
        )
    if torch.equal(y, y[:1].expand_as(y)):
        raise NetworkError(
            "gives the same logits for different images; are its weights loaded?"
        )
    return _notes(y)


def _check_module(net: nn.Module) -> None:
    devices = {str(p.device) for p in net.parameters()}
    if len(devices) > 1:
        raise NetworkError(f"is spread over {' and '.join(sorted(devices))}")
    for name, p in net.named_parameters():
        if p.is_floating_point() and p.dtype != torch.float32:
            kind = str(p.dtype).removeprefix("torch.")
            raise NetworkError(f"has weights of {kind} ({name}); return net.float()")
    needed = _required(net)
    if len(needed) != 1:
        takes = f"takes {', '.join(needed)}" if needed else "takes no input"
        raise NetworkError(
            f"{takes}; write a module whose forward takes the images alone"
        )


def _required(net: nn.Module) -> list[str]:
    """The arguments that its forward pass needs; ``x`` if it takes any."""
    parameters = inspect.signature(net.forward).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return ["x"]
    named = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
    needed = [p.name for p in named if p.default is p.empty]
    return needed or [p.name for p in named[:1]]


def _logits(net: nn.Module, x: Tensor) -> Tensor:
    """
    Raises:
        NetworkError: the pass fails, or what it returns is no tensor of finite numbers.
    """
    size = "x".join(map(str, x.shape[1:]))
    try:
        with torch.no_grad():
            y = net(x)
    except Exception as error:
        text = " ".join(str(error).split())[:160] or type(error).__name__
        raise NetworkError(
            f"cannot take images of {size} ({text}); is this its size (--size, or data: of the profile)?"
        ) from None
    if not isinstance(y, Tensor):
        raise NetworkError(
            f"returns a {_described(y)}; write a module that returns its logits"
        )
    if not y.is_floating_point():
        raise NetworkError(f"returns {y.dtype}, not logits; do not take the argmax")
    if not y.isfinite().all():
        raise NetworkError("gives logits that are NaN or infinite")
    return y


def _described(y: Any) -> str:
    if isinstance(y, Mapping):
        return f"{type(y).__name__} of {', '.join(map(str, y))}"
    if isinstance(y, Sequence):
        return f"{type(y).__name__} of {len(y)}"
    return type(y).__name__


def _check_shape(y: Tensor, classes: int | None) -> None:
    size = "x".join(map(str, y.shape))
    if y.ndim != 2 or len(y) != IMAGES:
        raise NetworkError(
            f"returns {size} for {IMAGES} images, not a row of logits for each; "
            "pool what it gives for positions"
        )
    if y.shape[1] < 2:
        raise NetworkError(
            "has one output; give it one for each of two classes: torch.cat([-y, y], 1)"
        )
    if classes is not None and y.shape[1] != classes:
        raise NetworkError(
            f"has {y.shape[1]} outputs for {classes} classes; name them in their order: classes: [...]"
        )


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= _ROUNDING * b.abs().max())


def _notes(y: Tensor) -> list[str]:
    """What is odd about logits that are usable."""
    ones = torch.ones(len(y), device=y.device)
    if (y >= 0).all() and torch.allclose(y.sum(1), ones, atol=1e-4):
        return ["its outputs are probabilities, not logits: leave out the last softmax"]
    if torch.allclose(y.logsumexp(1), 0 * ones, atol=1e-4):
        return ["its outputs are log-probabilities: leave out the last log_softmax"]
    return []
