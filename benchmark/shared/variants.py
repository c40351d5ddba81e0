"""Copies of a network that differ in what is named: drawn anew, asked for another class, shifted with its images.

    asking(target, batch, 3)                   # answers class 3 to each image of the batch, by a raised logit
    randomised(target, ["conv4", "fc1"], seed)    # these modules have the weights that their kind begins with
    shifted(target, -1.0)                      # gives to x - 1 the answers that target gives to x

A copy is a ``Target`` like any other; tensors that do not change are shared with the original, which stays as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Batch, Target
from benchmark.utils.seeds import generator, seed_hash

_MARGIN = 1e-3  # of the largest logit, by which a class that is asked for leads


def changed(
    target: Target, modules: Iterable[str], change: Callable[[str, nn.Module], None]
) -> Target:
    """A copy of which ``change(name, module)`` changes these modules; it replaces tensors and never writes into one, as
    the copy shares all that are not replaced."""
    net = _copy(target.net)
    for name in modules:
        change(name, net.get_submodule(name))
    return _as_target(target, net)


def _copy(net: nn.Module) -> nn.Module:
    """Modules of its own, with the tensors of ``net``."""
    tensors = (*net.parameters(), *net.buffers())
    shared = {id(tensor): tensor for tensor in tensors}
    return copy.deepcopy(net, shared)


def _as_target(target: Target, net: nn.Module, shift: float = 0.0) -> Target:
    """A network as a target like ``target``, whose images are ``shift`` brighter."""
    grid = target._split.grid if target._split else ""
    pixel_mean, pixel_std = target.pixel_mean, target.pixel_std
    return Target(
        net,
        name=target.name,
        classes=target.classes,
        input_shape=target.input_shape,
        mean=(target.mean + shift).flatten().tolist(),
        std=target.std.flatten().tolist(),
        pixel_mean=None if pixel_mean is None else _list(pixel_mean + shift),
        pixel_std=None if pixel_std is None else _list(pixel_std),
        layer=target.layer,
        tokens=grid or None,
    )


def _list(values: Tensor) -> list[float]:
    return values.flatten().tolist()


# --------------------------------------------------------------------------------------------- another class


def asking(target: Target, batch: Batch, c: int) -> Target:
    """The network whose answer to each image of ``batch`` is class ``c``: a constant is added to its logit, until it is
    the largest of each. Logits as functions of the image, and so their gradients, stay what they were.

    Methods explain the class that a network predicts, so this is how they are asked for another one. A method that
    looks at probabilities sees those of the raised logit: with one image, just above the others. The constant is
    added behind the last module, by a hook: in the bias of the last layer it would be lost where logits are rectified
    or normalised behind it, and would change activations that are averaged to logits.
    """
    z = target(batch)  # (n, C)
    if bool((z.argmax(1) == c).all()):
        return target
    margin = max(_MARGIN * float(z.abs().max()), torch.finfo(z.dtype).tiny)
    lift = torch.zeros(z.shape[1], device=z.device)
    lift[c] = (z.amax(1) - z[:, c]).max() + margin

    def raised(module: nn.Module, given: tuple[Tensor, ...], z: Tensor) -> Tensor:
        # To methods that follow operations it is a copy: no rule for sums is asked.
        y = z.clone()
        with torch.no_grad():
            y += lift
        return y

    net = _copy(target.net)
    last = net if target._split is not None else net.get_submodule(target.layers[-1])
    last.register_forward_hook(raised)
    return _as_target(target, net)


# --------------------------------------------------------------------------------------------- other weights


def modules_with_weights(target: Target) -> list[str]:
    """The modules that have parameters of their own, from the image to the logits (in the order of registration)."""
    found = []
    for name, module in target.net.named_modules():
        if any(parameter is not None for parameter in module._parameters.values()):
            found.append(name)
    return found


def randomised(target: Target, modules: Iterable[str], seed: int) -> Target:
    """The network with the weights of these modules drawn anew.

    A module's weights depend on ``seed`` and its name alone: two networks in which it is drawn have the same. They come
    from the distribution that PyTorch initialises its kind with (``reset_parameters``); where it has none (class
    tokens, positions) the values are shuffled.
    """

    def draw(name: str, module: nn.Module) -> None:
        reset = getattr(module, "reset_parameters", None)
        if reset is None and not hasattr(module, "_reset_parameters"):
            _shuffle(module, generator(seed, name))
        else:
            _replace(module, _initial(module, seed_hash(seed, name)))

    return changed(target, modules, draw)


def _shuffle(module: nn.Module, rng: Generator) -> None:
    """Shuffle the parameters of a module itself."""
    for key, parameter in module._parameters.items():
        if parameter is not None:
            order = torch.from_numpy(rng.permutation(parameter.numel()))
            values = parameter.flatten()[order.to(parameter.device)].view_as(parameter)
            module._parameters[key] = nn.Parameter(values, requires_grad=False)


def _initial(module: nn.Module, seed: int) -> nn.Module:
    """A copy of the module as PyTorch initialises it; drawn on the CPU, so that every device gets the same."""
    fresh = copy.deepcopy(module).to("cpu")
    reset = getattr(fresh, "reset_parameters", None) or fresh._reset_parameters
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        reset()
    return fresh


def _replace(module: nn.Module, fresh: nn.Module) -> None:
    """Give a module and those in it the tensors of ``fresh``."""
    for mine, other in zip(module.modules(), fresh.modules(), strict=True):
        for key, parameter in other._parameters.items():
            if parameter is not None:
                values = parameter.detach().to(mine._parameters[key].device)
                mine._parameters[key] = nn.Parameter(values, requires_grad=False)
        for key, buffer in other._buffers.items():
            if buffer is not None:
                mine._buffers[key] = buffer.to(mine._buffers[key].device)


# --------------------------------------------------------------------------------------------- shifted images


def shifted(target: Target, c: float) -> Target:
    """The network that gives to x + c what ``target`` gives to x, for one constant c: its first affine step, the
    normalisation of the image, absorbs it exactly, also at padded borders, where a convolution's bias could not."""
    return _as_target(target, target.net, c)
