"""The explanation networks of K classes and their loss: an encoder to n x-features, weights v of the logit, a
decoder of Z.

All networks have one shape, so their weights are stacked, (K, in, out), and one batched product serves them all. A
convolutional XNN has 1x1 filters, which are dense layers over positions: Z is (M, S, d) with S positions, 1 for a
dense layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.shared.choices import check_choices

# W0, b0 ... of the encoder, U0, c0 ... of the decoder, v and b of the logit; all (K, in, out) or (K, 1, out)
Params = dict[str, Tensor]
TINY = 1e-8


@dataclass(frozen=True)
class Setting:
    """What is minimised, and how. Defaults: the authors' code for pull-away over features."""

    n: int = 5  # x-features
    hidden: Sequence[int] = (800, 100)
    beta: float = 15.0
    q: float = 100.0
    eta: float = 5.0
    # The penalty on Q: log (Eq. 2) or mean (SAE, CAE).
    reconstruct: Literal["log", "mean"] = "log"
    faithful: bool = True  # False (CAE): reconstruction alone, then least squares for v
    # Cosines between features (Eq. 3), or between images (the authors' code).
    pull_away: Literal["features", "images"] = "features"
    pretrain: int = 30  # epochs of SAE first
    epochs: int = 60
    batch: int = 256
    lr: float = 1e-3
    decay_every: int = 40  # epochs between x 0.1 on lr
    weight_decay: float = 1e-4
    patience: int = 15
    restarts: int = 5
    # two: two x-features must contribute to the class; live: one that is ever active is enough.
    accept: Literal["two", "live"] = "two"

    def __post_init__(self) -> None:
        check_choices(self)
        if self.n < 1 or self.batch < 2 or min(self.hidden, default=1) < 1:
            raise ValueError(
                f"n {self.n}, hidden {tuple(self.hidden)} and batch {self.batch}: "
                "at least 1, 1 and 2"
            )

    def sizes(self, d: int) -> list[int]:
        """Numbers at a position from Z (d) to E."""
        return [d, *self.hidden, self.n]

    def encoder_weights(self, d: int) -> int:
        """Weights of the encoder, biases left out; the decoder has as many."""
        return sum(inputs * outputs for inputs, outputs in pairwise(self.sizes(d)))


@dataclass(frozen=True, eq=False)
class XNN:
    """K trained explanation networks."""

    params: Params
    setting: Setting
    # The map's side where E is max-pooled 2x2 before v (convolutional XNN).
    pool: tuple[int, int] | None = None
    trained: Tensor | None = None  # (K,) how often each was trained, restarts included
    epochs: Tensor | None = (
        None  # (K,) epochs of the last training, pre-training left out
    )

    def layers(self, c: int) -> list[tuple[Tensor, Tensor]]:
        """(W (in, out), b (out,)) of the encoder of class c, bottom up."""
        layers = []
        for i in range(_depth(self.params)):
            W, b = self.params[f"W{i}"], self.params[f"b{i}"]
            layers.append((W[c], b[c, 0]))
        return layers

    def encode(self, Z: Tensor, c: int) -> list[Tensor]:
        """Activations (M, S, .) of each encoder layer for class c; the last are E (M, S, n)."""
        Z = Z[:, None] if Z.ndim == 2 else Z
        activations = []
        for W, b in self.layers(c):
            Z = (Z @ W + b).relu()
            activations.append(Z)
        return activations

    def features(self, Z: Tensor, c: int) -> Tensor:
        """The x-features E (M, S, n) of class c."""
        return self.encode(Z, c)[-1]

    def live(self, Z: Tensor, c: int) -> float:
        """How many x-features of class c are active on any of Z."""
        return float((self.features(Z, c).amax((0, 1)) > 0).sum())

    def silent(self, Z: Tensor, c: int) -> Tensor:
        """Which x-features of class c are 0 everywhere on an image, (M, n) bool."""
        return self.features(Z, c).amax(1) == 0

    def contributions(self, Z: Tensor, c: int, output: int = 0) -> Tensor:
        """v_i E_i, (M, n): what each x-feature adds to y~; summed over positions."""
        E = self.features(Z, c)  # (M, S, n)
        E = pooled(E[None], self.pool)[0]  # (M, S', n)
        v = self.params["v"][c, :, output]
        v = v.view(-1, self.setting.n)  # (S', n)
        return (E * v).sum(1)

    @torch.no_grad()
    def predict(self, Z: Tensor) -> Tensor:
        """y~ (M, K, O) for Z (M, d) or (M, S, d)."""
        v, b = self.params["v"], self.params["b"]
        outputs = []
        for c in range(len(v)):
            E = pooled(self.features(Z, c)[None], self.pool)
            outputs.append(E.flatten(2) @ v[c] + b[c])
        return torch.cat(outputs).movedim(0, 1)

    def logits(self, Z: Tensor) -> Tensor:
        """y~ (M, K) of networks with one output."""
        return self.predict(Z)[..., 0]


def _depth(params: Params) -> int:
    return sum(name.startswith("W") for name in params)


def pooled(E: Tensor, side: tuple[int, int] | None) -> Tensor:
    """E (K, B, S, n), max-pooled 2x2 over its map where ``side`` is given: (K, B, S', n)."""
    if side is None:
        return E
    K, B, _, n = E.shape
    maps = E.reshape(K * B, *side, n).movedim(3, 1)  # (KB, n, u, v)
    return F.max_pool2d(maps, 2).flatten(2).mT.reshape(K, B, -1, n)


def positions_after(S: int, side: tuple[int, int] | None) -> int:
    """S', how many of S positions are left after pooling a map of ``side``."""
    if side is None:
        return S
    h, w = side
    return (h // 2) * (w // 2)


def forward(
    params: Params, Z: Tensor, pool: tuple[int, int] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Z (K, B, S, d) -> y~ (K, B, O), E (K, B, S, n), Z~ (K, B, S, d).

    Args:
        pool: the map's side where E is max-pooled before v.
    """
    K, B, S, _ = Z.shape
    depth = _depth(params)
    x = Z.reshape(K, B * S, -1)
    for i in range(depth):
        W, b = params[f"W{i}"], params[f"b{i}"]
        x = torch.baddbmm(b, x, W).relu()
    E = x.view(K, B, S, -1)
    for i in range(depth):
        U, c = params[f"U{i}"], params[f"c{i}"]
        x = torch.baddbmm(c, x, U).relu()
    y = torch.baddbmm(params["b"], pooled(E, pool).flatten(2), params["v"])
    return y, E, x.view_as(Z)


def initial(
    d: int,
    S: int,
    O: int,  # noqa: E741
    setting: Setting,
    seeds: Sequence[int],
    device: Any = "cpu",
) -> Params:
    """torch's default for dense layers, uniform within 1 / sqrt(inputs), from one seed per class.

    Args:
        d: numbers of Z at a position; S: positions that v sees; O: outputs.
    """
    sizes = setting.sizes(d)
    shapes = _layer_shapes(sizes, "W", "b") | _layer_shapes(sizes[::-1], "U", "c")
    shapes |= {"v": (setting.n * S, O), "b": (setting.n * S, O)}
    stacks: dict[str, list[Tensor]] = {name: [] for name in shapes}
    for seed in seeds:
        generator = torch.Generator().manual_seed(int(seed))
        for name, (inputs, outputs) in shapes.items():
            rows = 1 if name[0] in "bc" else inputs  # b, b0 ... and c0 ... are biases
            uniform = torch.rand(rows, outputs, generator=generator)
            stacks[name].append((2 * uniform - 1) / inputs**0.5)
    return {name: torch.stack(tensors).to(device) for name, tensors in stacks.items()}


def _layer_shapes(
    sizes: Sequence[int], weight: str, bias: str
) -> dict[str, tuple[int, int]]:
    """(inputs, outputs) of the layers between ``sizes``, for the weights and for the biases."""
    shapes = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes[f"{weight}{i}"] = (inputs, outputs)
        shapes[f"{bias}{i}"] = (inputs, outputs)
    return shapes


# --------------------------------------------------------------------------------------------- Eq. 5


def loss(
    params: Params,
    Z: Tensor,
    y: Tensor,
    w: Tensor,
    setting: Setting,
    beta: Tensor,
    eta: Tensor,
    pool: tuple[int, int] | None = None,
) -> Tensor:
    """Eq. 5 for each class, (K,).

    Args:
        Z: (K, B, S, d) on a minibatch of B examples; y: (K, B, O) targets; w: (K, B) weights of the examples.
        beta, eta: (K,), in the place of those of ``setting``.
        pool: the map's side where E is pooled before v.
    """
    y_, E, Z_ = forward(params, Z, pool)
    total = torch.zeros_like(beta)
    if setting.faithful:
        error = ((y_ - y) ** 2).sum(2)  # (K, B)
        total = total + (w * error).mean(1)
    if beta.any():
        Q = ((Z_ - Z) ** 2).mean((1, 2))  # Eq. 2, (K, d)
        penalty = torch.log1p(setting.q * Q) if setting.reconstruct == "log" else Q
        total = total + beta * penalty.mean(1)
    if eta.any():
        E = pooled(E, pool) if setting.pull_away == "images" else E
        total = total + eta * pull_away(E, params["v"], setting.pull_away)
    return total


def pull_away(E: Tensor, v: Tensor, axis: str = "features") -> Tensor:
    """Eq. 3: PT (K,), the mean squared cosine of pairs. A dead feature has cosine 0 with all.

    The authors' code weighs E by v before either. The cosine of two features does not depend on it; that of two
    images does.

    Args:
        E: (K, B, S, n) on a minibatch, as v sees it where ``axis`` is ``images``; v: (K, S n, O).
        axis: pairs of ``features``, or of ``images``, each a vector of its v_l E_l.
    """
    vectors = E.flatten(1, 2).mT  # (K, n, B S)
    if axis == "images":
        added = E.flatten(2) * v.mean(2)[:, None]  # v_l E_l
        vectors = added + TINY  # (K, B, S n)
    vectors = vectors / vectors.norm(dim=2, keepdim=True).clamp(min=TINY)
    cosines = (vectors @ vectors.mT) ** 2
    n = cosines.shape[1]
    total, with_itself = cosines.sum((1, 2)), cosines.diagonal(dim1=1, dim2=2).sum(1)
    return (total - with_itself) / max(1, n * (n - 1))
