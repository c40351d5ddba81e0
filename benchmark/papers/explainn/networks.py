"""Rules between the layers of a network: activations as tables, cascades, interventions, groups of pixels.

    units = Units.of(target, batch, "fc1")                             # which activations are tail items, and when one is ON
    model = label_rules(target, batch, units)                          # classes -> units of fc1
    flow = cascade(target, batch, ["fc1", "conv2"])                    # classes -> fc1 -> conv2
    intervene(target, test, model, rng)                                # a class before and after its rules' weights are zeroed

Theory (Sec. 2.1, 3.2, App. B). A unit is ON where its activation after ReLU is above 0. Heads of the output layer are
classes, of which one is active a sample (the network's answer), so l = 1. A cascade restricts the heads of the next pair of
layers to the tails that were found. The intervention sets w_{c,y} = 0 for all y in tails of rules with c in X.

Ours, where the text does not reach: layers whose units are hardly ever OFF (after an average) count a unit as ON above its mean;
a convolution that feeds the classes through an average has channels for units, ON where the mean of the map is above its mean
over the images; ``pool`` takes the maximum of pool x pool positions first.

Reference: What's in the box? Exploring the inner life of neural networks with robust rules. Sec. 3.2, App. B.1, B.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Array, Batch, NotApplicable, Target
from benchmark.papers.explainn.mdl import Rule
from benchmark.papers.explainn.miner import Model, mine
from benchmark.papers.explainn.planted import overlap

ALLOW = (
    "constant",
    "duplicates",
)  # dead units, and pixels that always agree, are facts of a network
DRAWS = 100  # random interventions, as in the paper


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a layer as items: which there are, and from which activation on they are ON."""

    layer: str
    shape: tuple[int, ...]  # (m,) or (channels, height, width) of the map of units
    at: float | Array  # ON above it; a number, or one a unit
    pool: int = 1
    channels: bool = False  # a unit is a whole channel

    @classmethod
    def of(
        cls, target: Target, batch: Batch, layer: str, pool: int = 1, channels: bool = False
    ) -> Self:
        """The units of ``layer``, their thresholds from ``batch``: 0, or the unit's mean where hardly any is ever OFF.

        Raises:
            ValueError: no such layer, pool < 1, or channels of a layer that has none.
        """
        if pool < 1:
            raise ValueError(f"pool = {pool} must be at least 1")
        z = _values(target, batch, layer, pool, channels)
        flat = z.flatten(1)
        never_off = channels or float((flat > 0).mean(dtype=torch.float32)) > 0.95
        at = flat.mean(0).cpu().numpy() if never_off else 0.0
        return cls(layer, tuple(z.shape[1:]), at, pool, channels)

    def __call__(self, target: Target, batch: Batch) -> Array:
        """(n, units) bool."""
        z = _values(target, batch, self.layer, self.pool, self.channels).flatten(1).cpu().numpy()
        return z > self.at

    @property
    def blocks(self) -> Array | None:
        """The channel of each unit of a map; None for a flat layer."""
        return (
            np.repeat(np.arange(self.shape[0]), self.shape[1] * self.shape[2])
            if len(self.shape) == 3
            else None
        )


def _values(target: Target, batch: Batch, layer: str, pool: int, channels: bool) -> Tensor:
    z = target.features(batch, layer)
    if z.ndim == 4 and channels:
        return z.mean((2, 3))
    if channels:
        raise ValueError(f"{layer} of {target.name} has no channels")
    return F.max_pool2d(z, pool, ceil_mode=True) if z.ndim == 4 and pool > 1 else z


def answers(target: Target, batch: Batch) -> Array:
    """The output layer as a table, (n, C) bool: one ON a sample, the class that the network answers."""
    return np.eye(len(target.classes), dtype=bool)[target(batch).argmax(1).cpu().numpy()]


@dataclass(frozen=True)
class Last:
    """The weights that lead to the classes: W (C, m) and the layer whose m units (or channels) they weigh."""

    layer: str
    W: Tensor
    channels: bool  # a 1x1 convolution, followed by ReLU (or not) and the average over positions


def last(target: Target) -> Last:
    """Where the classes' weights are: the last dense layer, or a 1x1 convolution with a map a class.

    Raises:
        NotApplicable: neither is there.
    """
    for i in range(len(target.layers) - 1, 0, -1):
        for module in reversed(list(target.net[i].modules())):
            if isinstance(module, nn.Linear) and module.out_features == len(target.classes):
                return Last(target.layers[i - 1], module.weight, False)
            if isinstance(module, nn.Conv2d) and module.weight.shape[0] == len(target.classes):
                if module.kernel_size != (1, 1):
                    break
                return Last(target.layers[i - 1], module.weight[:, :, 0, 0], True)
    raise NotApplicable(f"{target.name} has no layer of weights that leads to the classes")


def label_rules(
    target: Target, batch: Batch, units: Units, *, theta: float = 0.4, mu: int = 1, **options: Any
) -> Model:
    """Rules classes -> units: class c is column c, unit j column C + j."""
    return mine(
        answers(target, batch),
        units(target, batch),
        theta=theta,
        mu=mu,
        disjunctive=True,
        allow=ALLOW,
        **options,
    )


def cascade(
    target: Target,
    batch: Batch,
    layers: Sequence[str],
    *,
    theta: float = 0.4,
    mu: int = 1,
    pool: int = 1,
    **options: Any,
) -> list[tuple[Units, Model]]:
    """Classes -> layers[0] -> layers[1] -> ..., from the output towards the input; heads are the tails found before.

    Returns:
        for each layer its units and the rules that end in it; the head of rule s of a later layer is the tail of a rule of
        the layer before.

    Raises:
        ValueError: layers that are not in the order from output to input, which would be a cycle.
    """
    order = [target.layers.index(name) for name in layers if name in target.layers]
    if len(order) < len(layers):
        raise ValueError(
            f"{target.name} has no layer {next(n for n in layers if n not in target.layers)!r}"
        )
    if any(a <= b for a, b in pairwise(order)):
        raise ValueError(
            f"cyclic: {' -> '.join(layers)} must lead from the output towards the input"
        )
    found: list[tuple[Units, Model]] = []
    heads, groups = answers(target, batch), None
    for name in layers:
        units = Units.of(target, batch, name, pool)
        tails = units(target, batch)
        model = mine(
            heads,
            tails,
            theta=theta,
            mu=mu,
            disjunctive=groups is None,
            groups=groups,
            allow=ALLOW,
            **options,
        )
        found.append((units, model))
        groups = [model.tails(rule) for rule in model.rules]
        heads = tails
    return found


# --------------------------------------------------------------------------------------------- intervention


@dataclass(frozen=True, eq=False)
class Intervention:
    """Recall of each class, fractions; NaN where the class has no rule or no test image."""

    before: Array  # (C,)
    after: Array  # (C,) weights of the rules' units zeroed
    random: Array  # (DRAWS, C) as many others zeroed, drawn anew
    removed: Array  # (C,) how many weights
    images: Array  # (C,) test images

    def quantile(self, q: float = 0.9) -> Array:
        """Of the random interventions, (C,)."""
        out = np.full(self.before.shape, np.nan)
        out[self.judged] = np.quantile(self.random[:, self.judged], q, axis=0)
        return out

    @property
    def judged(self) -> Array:
        return ~np.isnan(self.after)


def class_units(model: Model, c: int) -> list[int]:
    """All tail units of rules with class c in the head."""
    return sorted({y for rule in model.rules if c in rule.X for y in model.tails(rule)})


def intervene(
    target: Target, test: Batch, model: Model, rng: Generator, draws: int = DRAWS
) -> Intervention:
    """Zero the class's incoming weights from its rules' units; and, ``draws`` times, from as many random ones.

    Only the logit of class c changes, so its images are all that is needed. The target itself is left alone.

    Args:
        model: ``label_rules`` of the layer ``last(target).layer``.
    """
    source, C = last(target), len(target.classes)
    W, logits, y = source.W, target(test), test.y
    z = target.features(test, source.layer)  # (n, m) or (n, m, u, v)
    if model.p != C or any(max(model.tails(r)) >= W.shape[1] for r in model.rules):
        raise ValueError(
            f"these rules do not lead from the {C} classes to the {W.shape[1]} units of {source.layer}"
        )
    before, after, removed = np.full(C, np.nan), np.full(C, np.nan), np.zeros(C, np.int64)
    random, images = np.full((draws, C), np.nan), np.bincount(y.cpu().numpy(), minlength=C)
    for c in range(C):
        units, mine = class_units(model, c), torch.nonzero(y == c)[:, 0]
        removed[c] = len(units)
        if not len(mine):
            continue
        before[c] = float((logits[mine].argmax(1) == c).float().mean())
        if not units:
            continue
        masks = torch.zeros(draws + 1, W.shape[1], device=W.device)  # 1: this weight is zeroed
        masks[0, units] = 1
        for d in range(draws):
            masks[
                d + 1, torch.from_numpy(rng.permutation(W.shape[1])[: len(units)]).to(W.device)
            ] = 1
        others = logits[mine].clone()
        others[:, c] = -torch.inf
        recall = (
            (
                _class_logit(target, source, z[mine], logits[mine, c], masks * W[c], c)
                > others.amax(1)
            )
            .float()
            .mean(1)
        )
        after[c], random[:, c] = float(recall[0]), recall[1:].cpu().numpy()
    return Intervention(before, after, random, removed, images)


def _class_logit(
    target: Target, source: Last, z: Tensor, logit: Tensor, lost: Tensor, c: int
) -> Tensor:
    """The logit of class c without the weights ``lost`` (d, m), for the features z of n images: (d, n)."""
    if not source.channels:
        return logit - lost @ z.T
    head = target.net[target.layers.index(source.layer) + 1]
    position = next(i for i, m in enumerate(head) if isinstance(m, nn.Conv2d))
    maps = head[: position + 1](z)[:, c]  # (n, u, v), before the rectifier
    out = torch.stack([maps - torch.einsum("m,nmuv->nuv", row, z) for row in lost])  # (d, n, u, v)
    return head[position + 1 :](out).mean((2, 3))


# --------------------------------------------------------------------------------------------- what rules say


def kinds(model: Model) -> dict[str, float]:
    """Shares of rules with several classes in the head, and of classes with more than one rule (Fig. 4, 15)."""
    per_class = np.bincount([c for rule in model.rules for c in rule.X], minlength=model.p)
    return {
        "multi_class_share": float(np.mean([len(r.X) > 1 for r in model.rules]))
        if model.rules
        else 0.0,
        "multi_unit_share": float(np.mean([len(r.Y) > 1 for r in model.rules]))
        if model.rules
        else 0.0,
        "classes_with_rules": int((per_class > 0).sum()),
        "classes_with_several_rules": int((per_class > 1).sum()),
    }


def neighbours(model: Model, units: Units, rng: Generator, draws: int = 20) -> tuple[float, float]:
    """Share of a rule's pairs of pixels, of one filter, that touch (4 neighbours); and the same if the tail's places among
    the pixels of that filter that are in rules were drawn at random. NaN where no rule has two pixels of one filter.
    """
    per_channel: dict[int, list[list[tuple[int, int]]]] = {}
    for rule in model.rules:
        here: dict[int, list[tuple[int, int]]] = {}
        for k, i, j in zip(*np.unravel_index(model.tails(rule), units.shape), strict=True):
            here.setdefault(int(k), []).append((int(i), int(j)))
        for k, pixels in here.items():
            per_channel.setdefault(k, []).append(pixels)
    touching, expected, pairs = 0.0, 0.0, 0
    for groups in per_channel.values():
        every = [pixel for group in groups for pixel in group]
        for group in groups:
            if len(group) < 2:
                continue
            pairs += len(group) * (len(group) - 1) // 2
            touching += _touching(np.array(group))
            for _ in range(draws):
                expected += (
                    _touching(np.array(every)[rng.permutation(len(every))[: len(group)]]) / draws
                )
    return (touching / pairs, expected / pairs) if pairs else (float("nan"), float("nan"))


def _touching(pixels: Array) -> int:
    return int((np.abs(pixels[:, None] - pixels[None]).sum(2) == 1).sum()) // 2


def background(target: Target, batch: Batch, layer: str) -> Array:
    """Correlation of each channel's ON map with how bright the image is there, (K,); below 0: it answers to background.

    NaN for channels that are always ON or OFF.
    """
    z = target.features(batch, layer)  # (n, K, u, v)
    light = (
        F.interpolate(batch.x.mean(1, keepdim=True), z.shape[-2:], mode="area")[:, 0]
        .flatten()
        .double()
    )
    light = (light - light.mean()) / light.std()
    on = (z > 0).transpose(0, 1).flatten(1).double()  # (K, n u v)
    spread = on.std(1)
    r = ((on - on.mean(1, keepdim=True)) @ light / light.numel() / spread).cpu().numpy()
    return np.where(spread.cpu().numpy() > 0, r, np.nan)


def likeness(a: Sequence[Rule], b: Sequence[Rule]) -> float:
    """Mean over the rules of ``a`` of the best product of Jaccards with one of ``b``; 0 where either is empty."""
    if not a or not b:
        return 0.0
    return float(overlap([(r.X, r.Y) for r in a], [(r.X, r.Y) for r in b]).max(1).mean())
