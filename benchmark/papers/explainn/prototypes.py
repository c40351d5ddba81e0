"""Rule prototypes: the image that activates all units of a rule's tail together (Figs. 4, 5, 12-15).

    stats = Colours.of(reference)
    images = maximise(target, "fc1", [(3, 7, 9), (3,), (7,), (9,)], stats, rng)     # (4, c, h, w): the tail, then each unit
    reached(target, "fc1", images, [(3, 7, 9)] * 4)                                 # what each does to the whole tail

Idea: climb the mean activation of the units from noise. Unregularised climbs end in high-frequency noise that a network
answers to and nobody can read, so, as published:
    decorrelated colours  the image is z L^T + mean with L L^T the covariance of the data's colours, so that a step changes
                          colours as they change together in the data (Olah, Mordvintsev, Schubert 2017, "Feature visualization")
    spectrum              z is the inverse Fourier transform of coefficients divided by their frequency: all scales learn
                          alike (the same)
    jitter                each step sees the image moved by a few pixels at random (Mordvintsev et al. 2015)
    blur                  every few steps the image is blurred a little (Yosinski et al. 2015)
    fading                each step the image loses a little of its contrast (the same)
    slope                 where ReLU is OFF there is nothing to climb, so a copy of the network leaks there, less and less, for
                          the first half of the steps
The paper names Øygard's method for its pictures and none of its settings; these are ours. A unit's activation is divided by
its mean over reference images (of those ON), so that no loud unit drowns the rest of its tail.

References: Olah, Mordvintsev, Schubert. Feature visualization. Distill 2017. Yosinski et al. Understanding neural networks through
deep visualization. 2015.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Array, Batch, Target, torch_rng

LEAK = 0.2  # slope of ReLU's OFF side at the first step
Groups = Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Colours:
    """How the colours of images vary: mean (c,) and L (c, c) with L L^T their covariance."""

    mean: Tensor
    L: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Self:
        pixels = batch.x.transpose(0, 1).flatten(1)  # (c, n h w)
        covariance = torch.cov(pixels).reshape(len(pixels), -1)
        return cls(
            pixels.mean(1),
            torch.linalg.cholesky(covariance + 1e-6 * torch.eye(len(pixels), device=pixels.device)),
        )


def _units(target: Target, layer: str, x: Tensor | Batch, channels: bool) -> Tensor:
    """(n, units): the flattened layer, or the means of its maps."""
    z = target.features(x, layer)
    return z.mean((2, 3)) if channels else z.flatten(1)


def scales(target: Target, batch: Batch, layer: str, channels: bool = False) -> Tensor:
    """The mean activation of each unit over the images in which it is ON; 1 where it never is. (units,)"""
    z = _units(target, layer, batch, channels)
    on = z > 0
    return torch.where(
        on.any(0), (z * on).sum(0) / on.sum(0).clamp(min=1), torch.ones(()).to(z)
    ).clamp(min=1e-6)


def maximise(
    target: Target,
    layer: str,
    groups: Groups,
    colours: Colours,
    rng: Generator,
    *,
    scale: Tensor | None = None,
    channels: bool = False,
    side: int | None = None,
    steps: int = 128,
    lr: float = 0.05,
    jitter: int = 2,
    blur_every: int = 16,
    sigma: float = 0.5,
    decay: float = 0.01,
) -> Tensor:
    """For each group of units (numbers in the flattened layer) the image that activates it most, (groups, c, h, w) in [0, 1].

    Args:
        scale: (units,) activations are divided by it (``scales``); default 1.
        channels: units are channels, by the mean of their maps.
        side: of the image in pixels (default: the target's), for fully convolutional layers.
        steps, lr: of Adam.
        jitter: pixels; blur_every: steps between blurs of width ``sigma`` pixels (0: never).
        decay: share by which the image fades to the mean each step: only what the units answer to stays.

    Raises:
        ValueError: an empty group, or a unit that the layer does not have.
    """
    c, h, w = target.input_shape if side is None else (target.input_shape[0], side, side)
    size = _units(target, layer, torch.zeros(1, c, h, w, device=target.device), channels).shape[1]
    if not groups or any(len(g) == 0 or min(g) < 0 or max(g) >= size for g in groups):
        raise ValueError(
            f"groups must name units 0..{size - 1} of {layer}, at least one each: {list(map(list, groups))[:3]}"
        )
    member = torch.zeros(len(groups), size, device=target.device)
    for g, units in enumerate(groups):
        member[g, list(units)] = 1 / len(units)
    if scale is not None:
        member = member / scale.flatten()
    frequency = torch.sqrt(
        torch.fft.fftfreq(h)[:, None] ** 2 + torch.fft.rfftfreq(w)[None] ** 2
    ).to(target.device)
    damp = 1 / frequency.clamp(min=1 / max(h, w))
    noise = 0.1 * torch.randn(len(groups), c, *frequency.shape, 2, generator=torch_rng(rng))
    z = noise.to(target.device).requires_grad_()
    leaky, rectifiers = _leaky(target)
    optimiser = torch.optim.Adam([z], lr=lr)
    for step in range(steps):
        x = _image(z, damp, colours, (h, w))
        if jitter:
            x = torch.roll(x, tuple(rng.integers(-jitter, jitter + 1, 2).tolist()), (2, 3))
        for rectifier in rectifiers:
            rectifier.negative_slope = max(0.0, LEAK * (1 - 2 * step / steps))
        loss = -(_units(leaky, layer, x, channels) * member).sum()
        (z.grad,) = torch.autograd.grad(loss, z)
        optimiser.step()
        with torch.no_grad():
            z *= 1 - decay
            if blur_every and step % blur_every == blur_every - 1:  # a Gaussian, in frequencies
                z *= torch.exp(-2 * (np.pi * sigma * frequency) ** 2)[..., None]
    return _image(z, damp, colours, (h, w)).detach()


def _leaky(target: Target) -> tuple[Target, list[nn.LeakyReLU]]:
    """A copy of the target whose ReLUs leak, and those."""
    net, rectifiers = copy.deepcopy(target.net), []
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.LeakyReLU(LEAK))
                rectifiers.append(getattr(module, name))
    copied = Target(
        net,
        name=target.name,
        classes=target.classes,
        input_shape=target.input_shape,
        mean=target.mean.flatten().tolist(),
        std=target.std.flatten().tolist(),
        layer=target.layer,
    )
    return copied, rectifiers


def _image(z: Tensor, damp: Tensor, colours: Colours, side: tuple[int, int]) -> Tensor:
    """Coefficients -> pixels in [0, 1], (g, c, h, w)."""
    space = torch.fft.irfft2(torch.view_as_complex(z) * damp, s=side, norm="ortho")
    shifted = torch.einsum("dc,gchw->gdhw", colours.L, space)
    middle = torch.logit(colours.mean.clamp(0.01, 0.99))[None, :, None, None]
    return torch.sigmoid(4 * shifted + middle)


def reached(
    target: Target,
    layer: str,
    images: Tensor,
    groups: Groups,
    scale: Tensor | None = None,
    channels: bool = False,
) -> Array:
    """Mean activation of group g, in units of ``scale``, on image g: (g,)."""
    with torch.no_grad():
        z = _units(target, layer, images, channels)
    z = z / scale.flatten() if scale is not None else z
    return np.array([float(z[g, list(units)].mean()) for g, units in enumerate(groups)])
