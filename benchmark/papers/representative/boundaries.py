"""Linear boundaries of G: the hyperplanes that a region is cut from (RI, Sec. 4.1).

Idea: where G is piecewise linear, the difference of its two largest logits is linear around any t, so its gradient there
gives a hyperplane of the network's true decision boundary.

    Q = at(target, psi[rows])                         # the text: Eq. 2 at sampled reference images, one Q for all inputs
    Qs = sample(target, psi, psi_x, "boundary", 50, rng, classes=classes, classes_x=c)  # the authors' code, a Q an input
    inside = Q.sides(psi) == Q.sides(psi_x)           # (n, q) bool

Theory:  Delta G(t) = max_1 G(t) - max_2 G(t),   W = d Delta G / dt,   b = Delta G(t) - <W, t>               Eq. 2

The text takes t = psi(x') for x' drawn from R. The authors' code walks from psi(x) towards psi(x') of images x' of other
classes until it meets the decision boundary and takes t there: a Q for each input, whose pieces lie around x.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Self

import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import NotApplicable, Target

WAYS = ("boundary", "reference")
GAP, STEPS = (
    1e-3,
    40,
)  # a line search ends where the two largest logits differ by less, or after so many halvings
_PIECES = (
    nn.ReLU,
    nn.LeakyReLU,
    nn.PReLU,
    nn.RReLU,
    nn.ReLU6,
    nn.Hardtanh,
    nn.Threshold,
    nn.Hardshrink,
    nn.Softshrink,
    nn.Hardsigmoid,
)
_CURVED = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


@dataclass(frozen=True, eq=False)
class Boundaries:
    """q hyperplanes <W, t> + b = 0 in the space Omega of feature maps."""

    W: Tensor  # (q, K, u, v)
    b: Tensor  # (q,)

    def __len__(self) -> int:
        return len(self.b)

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Self:
        return Boundaries(self.W[rows], self.b[rows])

    def margins(self, psi: Tensor) -> Tensor:
        """<W, psi> + b of feature maps (n, K, u, v): (n, q), in units of logits."""
        return torch.addmm(self.b, psi.flatten(1), self.W.flatten(1).T)

    def sides(self, psi: Tensor) -> Tensor:
        """Which side each feature map lies on, (n, q) bool."""
        return self.margins(psi) > 0


def at(target: Target, t: Tensor, layer: str | None = None, chunk: int = 64) -> Boundaries:
    """The linear boundary at each feature map t (q, K, u, v), between its own two top classes.         Eq. 2

    Exact for piecewise linear G; ``warn_if_curved`` says where it is not.

    Raises:
        NotApplicable: a network of one class.
    """
    if len(target.classes) < 2:
        raise NotApplicable(f"{target.name} knows one class only: it has no decision boundary")
    W, b = [], []
    for part in t.split(chunk):
        part = part.detach().requires_grad_()
        first, second = target.head(part, layer).topk(2, dim=1).values.T  # (m,) each
        (gradient,) = torch.autograd.grad((first - second).sum(), part)
        W.append(gradient)
        b.append((first - second).detach() - (gradient * part.detach()).flatten(1).sum(1))
    return Boundaries(torch.cat(W), torch.cat(b))


def sample(
    target: Target,
    psi: Tensor,
    psi_x: Tensor,
    way: str,
    q: int,
    rng: Generator,
    *,
    classes: Tensor,
    classes_x: Tensor,
    layer: str | None = None,
    chunk: int = 64,
) -> Iterator[Boundaries]:
    """A sample Q for each of m inputs, drawn when it is asked for.

    Args:
        psi, classes: the reference images' feature maps (n, K, u, v) and predicted classes (n,).
        psi_x, classes_x: the inputs' (m, K, u, v) and (m,).
        way: "reference": Eq. 2 at q reference images, the same Q (the same object) for all inputs; "boundary": at the
            points where the lines from the input to q reference images of other classes leave its class. Where fewer
            than q are of other classes, it is as many as there are.
        chunk: feature maps that go through G together.

    Raises:
        ValueError: ``q`` below 1 or, for "reference", beyond the reference images; another way.
        NotApplicable: all reference images are predicted as one class.
    """
    if way not in WAYS:
        raise ValueError(f"boundaries are sampled at 'boundary' or 'reference', not {way!r}")
    if q < 1 or (way == "reference" and q > len(psi)):
        raise ValueError(
            f"|Q| = {q} boundaries asked for, at {len(psi)} reference images; it must lie in 1..{len(psi)}"
        )
    if len(classes.unique()) < 2:
        one = target.classes[int(classes[0])]
        raise NotApplicable(
            f"every reference image is predicted as {one!r}: there is no other class to tell it from"
        )
    if way == "reference":
        rows = torch.from_numpy(rng.choice(len(psi), q, replace=False)).to(psi.device)
        return repeat(at(target, psi[rows], layer, chunk), len(psi_x))

    def towards_others(x: Tensor, c: int) -> Boundaries:
        others = (classes != c).nonzero()[:, 0]
        rows = others[torch.from_numpy(rng.permutation(len(others))[:q]).to(psi.device)]
        return at(target, leave(target, x, psi[rows], c, layer, chunk), layer, chunk)

    return (towards_others(x, c) for x, c in zip(psi_x, classes_x.tolist()))


@torch.no_grad()
def leave(
    target: Target, x: Tensor, ends: Tensor, c: int, layer: str | None = None, chunk: int = 64
) -> Tensor:
    """Where the lines from feature map x (K, u, v), of class c, to ``ends`` (q, K, u, v) leave class c: (q, K, u, v).

    Bisection; the point kept is still of class c. It stops when its two largest logits differ by less than ``GAP``.
    """
    points = []
    for end in ends.split(chunk):
        low, high = (
            torch.full((len(end), 1, 1, 1), share, device=x.device) for share in (0.0, 1.0)
        )
        moving = torch.ones(len(end), dtype=torch.bool, device=x.device)
        for _ in range(STEPS):
            rows = moving.nonzero()[:, 0]
            middle = (low[rows] + high[rows]) / 2
            top, found = target.head(x + middle * (end[rows] - x), layer).topk(2, dim=1)  # (r, 2)
            inside = found[:, 0] == c
            low[rows[inside]], high[rows[~inside]] = middle[inside], middle[~inside]
            moving[rows] = ~(inside & (top[:, 0] - top[:, 1] < GAP))
            if not moving.any():
                break
        points.append(x + low * (end - x))
    return torch.cat(points)


def warn_if_curved(target: Target, layer: str | None = None) -> None:
    """Warns, naming them, of activations and norms in G with which it is not piecewise linear: there Eq. 2 gives the
    tangent plane of Delta G, which is no boundary of the network."""
    start = target.layers.index(layer or target.layer) + 1
    curved = {
        f"{target.layers[start + i]}: {type(module).__name__}"
        for i, child in enumerate(target.net[start:])
        for module in child.modules()
        if isinstance(module, _CURVED)
        or (
            type(module).__module__ == "torch.nn.modules.activation"
            and not isinstance(module, _PIECES)
        )
    }
    if curved:
        warnings.warn(
            f"{target.name} is not piecewise linear after {layer or target.layer} ({', '.join(sorted(curved))}): "
            "its linear boundaries are tangent planes, exact at the sampled points only",
            stacklevel=2,
        )
