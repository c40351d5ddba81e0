"""Linear boundaries of G: the hyperplanes that a region is cut from (RI, Sec. 4.1).

Idea: where G is piecewise linear, the difference of its two largest logits is linear around any t, so its gradient
there gives a hyperplane of the network's true decision boundary.

    Q = at(target, psi[rows])                  # the text: Eq. 2 at sampled reference images, one Q for all inputs
    # the authors' code, a Q for each input
    Qs = sample(target, psi, psi_x, "boundary", 50, rng, classes=classes, classes_x=c)
    inside = Q.sides(psi) == Q.sides(psi_x)           # (n, q) bool

Theory:  Delta G(t) = max_1 G(t) - max_2 G(t),   W = d Delta G / dt,   b = Delta G(t) - <W, t>               Eq. 2

The text takes t = psi(x') for x' drawn from R. The authors' code walks from psi(x) towards psi(x') of images x' of
other classes until it meets the decision boundary and takes t there: a Q for each input, whose pieces lie around x.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal, Self, get_args

import torch
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import NotApplicable, Target

Way = Literal["boundary", "reference"]
WAYS = get_args(Way)
# a line search ends where the two largest logits differ by less, or after so many halvings
GAP, STEPS = 1e-3, 40
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


def at(
    target: Target, t: Tensor, layer: str | None = None, chunk: int = 64
) -> Boundaries:
    """The linear boundary at each feature map t (q, K, u, v), between its own two top classes.         Eq. 2

    Exact for piecewise linear G; ``warn_if_curved`` says where it is not.

    Raises:
        NotApplicable: a network of one class.
    """
    if len(target.classes) < 2:
        raise NotApplicable(
            f"{target.name} knows one class only: it has no decision boundary"
        )
    W, b = [], []
    for part in t.split(chunk):
        part = part.detach().requires_grad_()
        first, second = target.head(part, layer).topk(2, dim=1).values.T  # (m,) each
        gap = first - second
        (gradient,) = torch.autograd.grad(gap.sum(), part)
        product = (gradient * part.detach()).flatten(1).sum(1)
        W.append(gradient)
        b.append(gap.detach() - product)
    return Boundaries(torch.cat(W), torch.cat(b))


def sample(
    target: Target,
    psi: Tensor,
    psi_x: Tensor,
    way: Way,
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
        raise ValueError(
            f"boundaries are sampled at 'boundary' or 'reference', not {way!r}"
        )
    if q < 1 or (way == "reference" and q > len(psi)):
        raise ValueError(
            f"|Q| = {q}: the number of boundaries must lie in 1..{len(psi)}, the number of reference images"
        )
    if len(classes.unique()) < 2:
        one = target.classes[int(classes[0])]
        raise NotApplicable(
            f"every reference image is predicted as {one!r}: there is no other class to separate it from"
        )
    if way == "reference":
        rows = torch.from_numpy(rng.choice(len(psi), q, replace=False)).to(psi.device)
        return repeat(at(target, psi[rows], layer, chunk), len(psi_x))

    def towards_others(x: Tensor, c: int) -> Boundaries:
        """Boundaries on the lines from x, of class c, to images of other classes."""
        others = (classes != c).nonzero()[:, 0]
        drawn = torch.from_numpy(rng.permutation(len(others))[:q])
        rows = others[drawn.to(psi.device)]
        ends = psi[rows]
        points = leave(target, x, ends, c, layer, chunk)
        return at(target, points, layer, chunk)

    inputs = zip(psi_x, classes_x.tolist())
    return (towards_others(x, c) for x, c in inputs)


@torch.no_grad()
def leave(
    target: Target,
    x: Tensor,
    ends: Tensor,
    c: int,
    layer: str | None = None,
    chunk: int = 64,
) -> Tensor:
    """Where the lines from feature map x (K, u, v), of class c, to ``ends`` (q, K, u, v) leave class c: (q, K, u, v).

    Bisection; the point kept is still of class c. It stops when its two largest logits differ by less than ``GAP``.
    """
    points = []
    for end in ends.split(chunk):
        low = torch.zeros((len(end), 1, 1, 1), device=x.device)
        high = torch.ones_like(low)
        moving = torch.ones(len(end), dtype=torch.bool, device=x.device)
        for _ in range(STEPS):
            rows = moving.nonzero()[:, 0]
            middle = (low[rows] + high[rows]) / 2
            point = x + middle * (end[rows] - x)
            top, found = target.head(point, layer).topk(2, dim=1)  # (r, 2)
            inside = found[:, 0] == c
            low[rows[inside]] = middle[inside]
            high[rows[~inside]] = middle[~inside]
            close = top[:, 0] - top[:, 1] < GAP
            moving[rows] = ~(inside & close)
            if not moving.any():
                break
        points.append(x + low * (end - x))
    return torch.cat(points)


def prunes(way: Way) -> bool:
    """Whether redundant boundaries are dropped after the greedy: the authors' later code does, the text does not."""
    return way == "boundary"


def warn_if_curved(target: Target, layer: str | None = None) -> None:
    """Warns if activations or norms of G make it not piecewise linear, and names them.

    There Eq. 2 gives the tangent plane of Delta G, which is not a boundary of the network.
    """
    name = layer or target.layer
    curved = set()
    for module_name, module in target.modules_after(name):
        if _is_curved(module):
            top, *_ = module_name.split(".")
            curved.add(f"{top}: {type(module).__name__}")
    if curved:
        warnings.warn(
            f"{target.name} is not piecewise linear after {name} ({', '.join(sorted(curved))}): "
            "its linear boundaries are tangent planes, exact at the sampled points only",
            stacklevel=2,
        )


def _is_curved(module: nn.Module) -> bool:
    is_activation = type(module).__module__ == "torch.nn.modules.activation"
    return isinstance(module, _CURVED) or (
        is_activation and not isinstance(module, _PIECES)
    )
