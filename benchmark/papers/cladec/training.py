"""Trains decoders, reference autoencoders and evaluation classifiers.

    ClaDec     D on stored activations:  (1 - alpha) sum_i (X_i - X_E,i)^2 + alpha CE(C(X_E), Y),  X_E = D(S(X))   Eq. 1
    RefAE      fresh encoder and D, jointly:  sum_i (X_i - X_R,i)^2
    C_eval     a fresh classifier of C's architecture on reconstructions of the training images

C is frozen, so L(X) is computed once (in eval mode) and the decoder never runs the encoder. Images are standardised
by the training pixels' mean and standard deviation of each channel; C gets them back as pixels in [0, 1], not
clipped. The sum in Eq. 1 runs over pixels and channels as printed (the authors' code takes the mean: with 32 x 32
pixels alpha then means 1,024 times as much); both losses are means over the images of a batch.

K networks of one shape train as one on a GPU (``vmap``: parameters (K, ...), one product for all), where small
networks wait for kernel launches; on a CPU they train one after another. The five values of alpha and the
evaluation classifiers do so.

Reference: Schneider, Vlachos, Sec. 3, 5, 6; the learning rates of the decoders and the decay are the authors' code's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from benchmark.api import Target, torch_rng
from benchmark.papers.cladec.decoder import decoder, fresh
from benchmark.shared.choices import check_choices
from benchmark.utils.accelerator import bfloat16, is_accelerator
from benchmark.zoo.nets import seeded

STORED = 2**32  # bytes of activations that are kept; more are recomputed batch by batch


class Diverged(RuntimeError):
    """A loss that is not finite."""


@dataclass(frozen=True)
class Training:
    """How a network is trained; the defaults are the decoders' in the authors' code."""

    epochs: int = 64
    batch: int = 128
    optimiser: Literal["adam", "sgd"] = "adam"  # sgd: with momentum 0.9
    lr: float = 3e-4
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        check_choices(self)
        if not (self.epochs >= 0 and self.batch >= 2 and self.lr > 0):
            raise ValueError(f"{self}: epochs at least 0, batch at least 2, lr above 0")

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch: x 0.1 every E//3 + E//10 + 2 epochs, after 29 and 58 of 64."""
        every = self.epochs // 3 + self.epochs // 10 + 2
        return self.lr * 0.1 ** (epoch // every)

    def optimiser_for(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        """Adam or SGD for these parameters."""
        settings = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        if self.optimiser == "adam":
            return torch.optim.Adam(parameters, **settings)
        return torch.optim.SGD(parameters, momentum=0.9, **settings)


DECODING = Training()
CLASSIFYING = Training(optimiser="sgd", lr=0.1, weight_decay=1e-4)


@dataclass(frozen=True, eq=False)
class Scale:
    """Pixels in [0, 1] to standardised ones and back. mean, std: (1, c, 1, 1)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, x: Tensor) -> Scale:
        """From the images x (n, c, h, w), each channel by itself."""
        mean = x.mean((0, 2, 3), keepdim=True)
        std = x.std((0, 2, 3), keepdim=True)
        return cls(mean, std.clamp(min=1e-6))

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def pixels(self, s: Tensor) -> Tensor:
        return s * self.std + self.mean


def seen(target: Target, x: Tensor) -> Tensor:
    """Images as the network works on them, which is what the paper rebuilds.

    Where its first layer enlarges them to a size of its own (28 -> 32), enlarged; that layer leaves images of this size
    as they are.
    """
    first = target.chain[0]
    return first(x) if isinstance(first, nn.Upsample) else x


def given(x: Tensor, size: Sequence[int]) -> Tensor:
    """Undo a nearest-neighbour enlargement from ``size`` (h, w) exactly: one of the copies of each pixel."""
    h, w = size
    H, W = x.shape[-2:]
    rows = _one_copy(h, H, x.device)[:, None]
    columns = _one_copy(w, W, x.device)
    return x[..., rows, columns]


def _one_copy(old: int, new: int, device: torch.device) -> Tensor:
    """Where each of ``old`` pixels of a side first is among the ``new`` ones, (old,)."""
    return (torch.arange(old, device=device) * new + old - 1) // old


# --------------------------------------------------------------------------------------------- many networks as one


class Networks:
    """K networks of one shape as one: (K, b, ...) -> (K, b, ...). With K = 1 the network itself."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        self.members, self.first, self.k = members, members[0], len(members)
        if self.k > 1:
            self.parameters, self.buffers = stack_module_state(list(members))
        else:
            self.parameters = dict(self.first.named_parameters())
            self.buffers = dict(self.first.named_buffers())

    def __call__(self, x: Tensor) -> Tensor:
        if self.k == 1:
            return self.first(x[0])[None]
        call = torch.vmap(self._one, randomness="different")
        return call(self.parameters, self.buffers, x)

    def _one(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor
    ) -> Tensor:
        """One of the networks on x (b, ...)."""
        return functional_call(self.first, (parameters, buffers), (x,))

    @torch.no_grad()
    def finish(self) -> None:
        """Hand the trained weights back to the members, in eval mode."""
        stacked = self.parameters | self.buffers
        for k, net in enumerate(self.members):
            if self.k > 1:
                own = {name: tensor[k] for name, tensor in stacked.items()}
                net.load_state_dict(own, strict=False)
            net.eval().requires_grad_(False)


def groups(k: int, device: torch.device) -> Iterator[list[int]]:
    """Which of K networks train together: all on an accelerator, each by itself on a CPU."""
    networks = list(range(k))
    if is_accelerator(device):
        yield networks
    else:
        for one in networks:
            yield [one]


def descend(
    members: Sequence[nn.Module],
    loss: Callable[[Networks, Tensor], Tensor],
    n: int,
    how: Training,
    rng: Generator,
    device: torch.device,
    each_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train K networks of one shape together, in the same order of the images.

    Args:
        loss: (networks, rows (b,)) -> (K,).
        n: images.
        each_epoch: called after each epoch with the number of epochs done; the members are up to date if K = 1.

    Raises:
        Diverged: the loss, or a weight, is not finite.
    """
    model = Networks(members)
    draw = torch_rng(rng)
    optimiser = how.optimiser_for(list(model.parameters.values()))
    with seeded(int(rng.integers(2**63 - 1)), device):  # dropout
        for epoch in range(how.epochs):
            for group in optimiser.param_groups:
                group["lr"] = how.rate(epoch)
            order = torch.randperm(n, generator=draw).to(device)
            total = _train_epoch(model, loss, optimiser, order, how.batch)
            if not all(map(math.isfinite, total.tolist())):
                losses = (total / n).tolist()
                raise Diverged(
                    f"the loss is {losses} in epoch {epoch + 1}; lower lr ({how.lr:g})"
                )
            if each_epoch:
                each_epoch(epoch + 1)
    if not all(bool(tensor.isfinite().all()) for tensor in model.parameters.values()):
        raise Diverged(
            f"weights are not finite after {how.epochs} epochs; lower lr ({how.lr:g})"
        )
    model.finish()


def _train_epoch(
    model: Networks,
    loss: Callable[[Networks, Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    order: Tensor,
    batch: int,
) -> Tensor:
    """One pass over the images in this order: the sum of their losses, (K,)."""
    model.first.train()
    total = torch.zeros(model.k, device=order.device)
    batches = list(order.split(batch))
    if len(batches[-1]) == 1 and len(batches) > 1:  # batch norm needs two
        batches[-2:] = [torch.cat(batches[-2:])]
    for rows in batches:
        with bfloat16(order.device):
            value = loss(model, rows)  # (K,)
        optimiser.zero_grad()
        value.sum().backward()  # the sum keeps the networks' gradients apart
        optimiser.step()
        total += value.detach() * len(rows)
    return total


@torch.no_grad()
def run(net: Callable[[Tensor], Tensor], x: Tensor, chunk: int = 256) -> Tensor:
    """net(x), a chunk at a time, without gradients."""
    outputs = []
    for part in x.split(chunk):
        outputs.append(net(part).float())
    return torch.cat(outputs)


# --------------------------------------------------------------------------------------------- three kinds of network


def fit_decoders(
    target: Target,
    layer: str,
    x: Tensor,
    y: Tensor,
    scale: Scale,
    how: Training,
    rng: Generator,
    alphas: Sequence[float] = (0.0,),
    reduction: str = "sum",
    **shape: object,
) -> list[nn.Sequential]:
    """ClaDec: a decoder for each alpha; L(X) -> standardised images.

    Args:
        x: (n, c, h, w) pixels in [0, 1]; y: (n,) classes, used where alpha > 0.
        reduction: of the squared errors of an image in Eq. 1, sum or mean.
        shape: ``units``, ``base``, ``kernel``, ``norm``, ``sigmoid`` of ``decoder``.

    Raises:
        ValueError: an alpha outside [0, 1], or see ``decoder``.
        Diverged: see ``descend``.
    """
    bad = [alpha for alpha in alphas if not 0 <= alpha <= 1]
    if bad:
        raise ValueError(f"alpha={bad[0]} must lie in [0, 1]")
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction={reduction!r} is sum or mean")
    code = codes(target, layer, x)
    z = code(slice(1000))
    gain = 1 / max(
        float(z.std()), 1e-12
    )  # an untrained network's last layers are next to 0
    with seeded(int(rng.integers(2**63 - 1))):
        made = [decoder(z.shape[1:], x.shape[1:], gain=gain, **shape) for _ in alphas]
    s = scale(x)
    weights = torch.tensor(alphas, device=x.device)
    for group in groups(len(alphas), x.device):

        def loss(
            model: Networks, rows: Tensor, alpha: Tensor = weights[group]
        ) -> Tensor:
            """Eq. 1, (K,): alpha (K,) of the networks."""
            K = len(alpha)
            z = code(rows)
            out = model(z.expand(K, *z.shape)).float()  # (K, b, c, h, w)
            error = squared_error(s[rows], out, reduction).mean(1)
            total = (1 - alpha) * error
            if alpha.any():
                decoded = scale.pixels(out.flatten(0, 1))  # (K b, c, h, w)
                logits = target(decoded).float()
                entropy = _cross_entropy(logits, y[rows], K)
                total = total + alpha * entropy
            return total

        descend([made[k].to(x.device) for k in group], loss, len(x), how, rng, x.device)
    return made


def _cross_entropy(logits: Tensor, y: Tensor, k: int) -> Tensor:
    """The mean cross entropy of each of k networks, (k,): logits (k b, C), y (b,)."""
    entropy = F.cross_entropy(logits, y.repeat(k), reduction="none")
    return entropy.view(k, -1).mean(1)


def fit_reference(
    target: Target,
    layer: str,
    x: Tensor,
    scale: Scale,
    how: Training,
    rng: Generator,
    **shape: object,
) -> nn.Sequential:
    """RefAE: standardised images -> standardised images, through a fresh copy of the layers up to ``layer``."""
    psi = target.chain[: target.layers.index(layer) + 1]
    code = codes(target, layer, x[:2])(slice(2)).shape[1:]
    with seeded(int(rng.integers(2**63 - 1)), x.device):
        net = nn.Sequential(
            fresh(psi), decoder(code, x.shape[1:], **shape).to(x.device)
        )
    s = scale(x)

    def loss(model: Networks, rows: Tensor) -> Tensor:
        x = s[rows]
        decoded = model(x[None]).float()
        return squared_error(x, decoded).mean(1)

    descend([net], loss, len(x), how, rng, x.device)
    return net


def fit_classifiers(
    target: Target, images: Sequence[Tensor], y: Tensor, how: Training, rng: Generator
) -> list[nn.Sequential]:
    """C_eval: a fresh classifier for each set of standardised images (n, c, h, w); all share the classes y (n,)."""
    with seeded(int(rng.integers(2**63 - 1)), y.device):
        made = [fresh(target.chain) for _ in images]
    for group in groups(len(images), y.device):

        def loss(model: Networks, rows: Tensor, group: Sequence[int] = group) -> Tensor:
            """The cross entropy, (K,)."""
            inputs = torch.stack([images[k][rows] for k in group])
            logits = model(inputs).float()  # (K, b, C)
            logits = logits.flatten(0, 1)
            return _cross_entropy(logits, y[rows], len(group))

        descend([made[k] for k in group], loss, len(y), how, rng, y.device)
    return made


def codes(target: Target, layer: str, x: Tensor) -> Callable[[Tensor | slice], Tensor]:
    """rows -> L(X), (b, ...): looked up, or recomputed where all would be too large."""

    def psi(part: Tensor) -> Tensor:
        return target.features(part, layer).detach()

    one = run(psi, x[:2])[0]
    if one.numel() * 4 * len(x) > STORED:
        return lambda rows: psi(x[rows])
    z = run(psi, x)
    return lambda rows: z[rows]


def squared_error(x: Tensor, decoded: Tensor, reduction: str = "sum") -> Tensor:
    """sum_i (X_i - X'_i)^2 or its mean over the pixels: x (n, c, h, w), decoded (..., n, c, h, w) -> (..., n)."""
    error = (decoded - x).square()
    pixels = (-3, -2, -1)
    if reduction == "sum":
        return error.sum(pixels)
    return error.mean(pixels)


def right(net: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Does ``net`` put an image of x (n, c, h, w) into its class y (n,)? (n,), 0 or 1, double."""
    hits = run(net, x).argmax(1) == y
    return hits.double()


def accuracy(net: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """The share of images (n, c, h, w) that ``net`` puts into their class y (n,)."""
    return float(right(net, x, y).mean())
