"""Rule prototypes: the image that activates all units of a rule's tail together (Figs. 4, 5, 12-15).

    colours = Colours.of(reference)
    tail = (3, 7, 9)
    images = maximise(target, "fc1", [tail, (3,), (7,), (9,)], colours, rng)    # (4, c, h, w): the tail, then each unit
    reached(target, "fc1", images, [tail])                                      # (4, 1) how much each activates it all

Idea: start from noise and maximise the mean activation of the units by gradient ascent. Without regularisation this
ends in high-frequency noise that a network responds to and nobody can read, so, as published:
    decorrelated colours  the image is z L^T + mean with L L^T the covariance of the data's colours, so that a step
                          changes colours as they vary together in the data (Olah, Mordvintsev, Schubert 2017)
    spectrum              z is the inverse Fourier transform of coefficients divided by their frequency, so that all
                          scales learn at the same rate (the same)
    jitter                each step sees the image shifted by a few random pixels (Mordvintsev et al. 2015)
    blur                  every few steps the image is blurred a little (Yosinski et al. 2015)
    fading                each step the image loses a little of its contrast (the same)
    slope                 where ReLU is OFF there is no gradient, so a copy of the network leaks there, less and less,
                          for the first half of the steps
The paper uses Øygard's method for its pictures and states none of its settings; these are ours. A unit's activation is
divided by its mean over the reference images in which it is ON, so that a strong unit does not dominate the rest of its
tail.

References: Olah, Mordvintsev, Schubert. Feature visualization. Distill 2017. Yosinski et al. Understanding neural
networks through deep visualization. 2015.
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
from benchmark.papers.explainn import networks
from benchmark.papers.explainn.mdl import Rule
from benchmark.papers.explainn.miner import Model

FEW = 500  # images that colours and scales are taken from, at most
LEAK = 0.2  # slope of ReLU's OFF side at the first step
Groups = Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Colours:
    """How the colours of images vary: mean (c,) and L (c, c) with L L^T their covariance."""

    mean: Tensor
    L: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """The colours of a batch, with a small ridge on the covariance."""
        pixels = batch.x.transpose(0, 1).flatten(1)  # (c, n h w)
        c = len(pixels)
        covariance = torch.cov(pixels).reshape(c, -1)
        ridge = 1e-6 * torch.eye(c, device=pixels.device)
        return cls(pixels.mean(1), torch.linalg.cholesky(covariance + ridge))


def _units(
    target: Target,
    layer: str,
    x: Tensor | Batch,
    channels: bool,
    pool: int,
) -> Tensor:
    """(n, units): the flattened layer, its maps pooled, or the means of its maps."""
    return networks.values(target, x, layer, pool, channels).flatten(1)


def scales(
    target: Target,
    batch: Batch,
    layer: str,
    channels: bool = False,
    pool: int = 1,
) -> Tensor:
    """(units,) the mean activation of each unit over the images in which it is ON; 1 if it never is."""
    z = _units(target, layer, batch, channels, pool)
    on = z > 0
    mean = (z * on).sum(0) / on.sum(0).clamp(min=1)
    one = torch.ones(()).to(z)
    return torch.where(on.any(0), mean, one).clamp(min=1e-6)


def maximise(
    target: Target,
    layer: str,
    groups: Groups,
    colours: Colours,
    rng: Generator,
    *,
    scale: Tensor | None = None,
    channels: bool = False,
    pool: int = 1,
    side: int | None = None,
    steps: int = 128,
    lr: float = 0.05,
    jitter: int = 2,
    blur_every: int = 16,
    sigma: float = 0.5,
    decay: float = 0.01,
) -> Tensor:
    """For each group of units the image that activates it most, (groups, c, h, w) in [0, 1].

    Args:
        groups: numbers of units in the flattened layer.
        scale: (units,) activations are divided by it (``scales``); default 1.
        channels: units are channels, by the mean of their maps.
        pool: units are the maxima of pool x pool positions.
        side: of the image in pixels (default: the target's), for fully convolutional layers.
        steps, lr: of Adam.
        jitter: pixels; blur_every: steps between blurs of width ``sigma`` pixels (0: never).
        decay: share by which the image fades to the mean in each step, so that only what the units respond to remains.

    Raises:
        ValueError: an empty group, or a unit that the layer does not have.
    """
    c, h, w = target.input_shape
    if side is not None:
        h = w = side
    blank = torch.zeros(1, c, h, w, device=target.device)
    size = _units(target, layer, blank, channels, pool).shape[1]
    member = _member(groups, size, layer).to(target.device)  # (groups, units)
    if scale is not None:
        member = member / scale.flatten()
    frequency = _frequencies(h, w).to(target.device)
    damp = 1 / frequency.clamp(min=1 / max(h, w))
    shape = len(groups), c, *frequency.shape, 2
    noise = 0.1 * torch.randn(shape, generator=torch_rng(rng))
    z = noise.to(target.device).requires_grad_()
    leaky, rectifiers = _leaky(target)
    optimiser = torch.optim.Adam([z], lr=lr)
    for step in range(steps):
        x = _image(z, damp, colours, (h, w))
        if jitter:
            shift = rng.integers(-jitter, jitter + 1, 2)
            x = torch.roll(x, tuple(shift.tolist()), (2, 3))
        for rectifier in rectifiers:
            rectifier.negative_slope = max(0.0, LEAK * (1 - 2 * step / steps))
        loss = -(_units(leaky, layer, x, channels, pool) * member).sum()
        (z.grad,) = torch.autograd.grad(loss, z)
        optimiser.step()
        with torch.no_grad():
            z *= 1 - decay
            if (
                blur_every and step % blur_every == blur_every - 1
            ):  # a Gaussian, in frequencies
                z *= torch.exp(-2 * (np.pi * sigma * frequency) ** 2)[..., None]
    return _image(z, damp, colours, (h, w)).detach()


def _member(groups: Groups, size: int, layer: str) -> Tensor:
    """(groups, size) the weight of each unit in the mean of its group."""
    valid = bool(groups)
    for units in groups:
        valid = valid and len(units) > 0 and min(units) >= 0 and max(units) < size
    if not valid:
        some = [list(units) for units in groups[:3]]
        raise ValueError(
            f"groups must name units 0..{size - 1} of {layer}, at least one each: {some}"
        )
    member = torch.zeros(len(groups), size)
    for row, units in zip(member, groups, strict=True):
        row[list(units)] = 1 / len(units)
    return member


def _frequencies(h: int, w: int) -> Tensor:
    """(h, w // 2 + 1) the frequency of each coefficient of a real Fourier transform, cycles per pixel."""
    rows = torch.fft.fftfreq(h)[:, None]
    columns = torch.fft.rfftfreq(w)[None]
    return torch.sqrt(rows**2 + columns**2)


def _leaky(target: Target) -> tuple[Target, list[nn.LeakyReLU]]:
    """A copy of the target whose ReLUs leak, and these."""
    net = copy.deepcopy(target.net)
    rectifiers = []
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                leaky = nn.LeakyReLU(LEAK)
                setattr(module, name, leaky)
                rectifiers.append(leaky)
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


def _image(
    z: Tensor,
    damp: Tensor,
    colours: Colours,
    side: tuple[int, int],
) -> Tensor:
    """Coefficients -> pixels in [0, 1], (g, c, h, w)."""
    spectrum = torch.view_as_complex(z) * damp
    space = torch.fft.irfft2(spectrum, s=side, norm="ortho")
    shifted = torch.einsum("dc,gchw->gdhw", colours.L, space)
    mean = colours.mean.clamp(0.01, 0.99)
    middle = torch.logit(mean)[None, :, None, None]
    return torch.sigmoid(4 * shifted + middle)


def reached(
    target: Target,
    layer: str,
    images: Tensor,
    groups: Groups,
    scale: Tensor | None = None,
    channels: bool = False,
    pool: int = 1,
) -> Array:
    """Mean activation of each group, in units of ``scale``, on each image: (images, groups)."""
    with torch.no_grad():
        z = _units(target, layer, images, channels, pool)
    if scale is not None:
        z = z / scale.flatten()
    means = [z[:, list(units)].mean(1) for units in groups]
    return torch.stack(means, dim=1).double().cpu().numpy()


@dataclass(frozen=True, eq=False)
class Artist:
    """Draws prototypes of units of one layer, or of its channels."""

    target: Target
    layer: str
    channels: bool
    pool: int
    colours: Colours
    scale: Tensor
    steps: int
    side: int | None

    @classmethod
    def of(
        cls,
        target: Target,
        batch: Batch,
        layer: str,
        steps: int,
        side: int | None = None,
        *,
        channels: bool = False,
        pool: int = 1,
        colours: Colours | None = None,
    ) -> Self:
        few = batch[: min(len(batch), FEW)]
        colours = colours or Colours.of(few)
        scale = scales(target, few, layer, channels, pool)
        return cls(target, layer, channels, pool, colours, scale, steps, side)

    def draw(self, groups: Groups, rng: Generator) -> Tensor:
        """(groups, c, h, w) in [0, 1]."""
        return maximise(
            self.target,
            self.layer,
            groups,
            self.colours,
            rng,
            scale=self.scale,
            channels=self.channels,
            pool=self.pool,
            steps=self.steps,
            side=self.side,
        )

    def draw_tails(
        self,
        model: Model,
        rules: Sequence[Rule],
        rng: Generator,
    ) -> Tensor:
        return self.draw([model.tails(rule) for rule in rules], rng)

    def reached(self, x: Tensor, groups: Groups) -> Array:
        """(images, groups) the mean activation of each group on each image."""
        target, layer = self.target, self.layer
        return reached(target, layer, x, groups, self.scale, self.channels, self.pool)


def sharpness(x: Tensor) -> Array:
    """(n,) the mean absolute difference of neighbouring pixels of images (n, c, h, w) in [0, 1]."""
    means = []
    for axis in (2, 3):
        step = torch.diff(x, dim=axis).abs()
        means.append(step.mean((1, 2, 3)))
    mean = sum(means) / 2
    return mean.double().cpu().numpy()


def intensity(x: Tensor) -> Array:
    """(n,) how intense the colours of images (n, c, h, w) are: the mean of the largest minus the smallest channel."""
    spread = x.amax(1) - x.amin(1)
    return spread.mean((1, 2)).double().cpu().numpy()


def pixels(x: Tensor) -> Array:
    """Images (n, c, h, w) in [0, 1] as bytes."""
    return (x * 255).round().to(torch.uint8).cpu().numpy()
