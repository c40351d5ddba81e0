"""Rules between the layers of a network: activations as tables, cascades, interventions, groups of pixels.

    units = Units.of(target, batch, "fc1")             # which activations are tail items, and when one is ON
    model = label_rules(target, batch, units)          # classes -> units of fc1
    flow = cascade(target, batch, ["fc1", "conv2"])    # classes -> fc1 -> conv2
    intervene(target, test, model, rng)                # a class before and after its rules' weights are zeroed

Theory (Sec. 2.1, 3.2, App. B). A unit is ON where its activation after ReLU is above 0. Heads of the output layer are
classes, of which one is active per sample (the network's answer), so l = 1. A cascade restricts the heads of the next
pair of layers to the tails that were found. The intervention sets w_{c,y} = 0 for all y in tails of rules with c in X.

Our own choices, where the text says nothing: where the units of a layer are hardly ever OFF (after an average), a unit
is ON above its mean; where a convolution feeds the classes through an average, the units are its channels, ON where the
mean of the map is above its mean over the images; ``pool`` takes the maximum of pool x pool positions first.

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
from benchmark.papers.explainn.planted import overlap, sides

ALLOW = (
    "constant",
    "duplicates",
)  # networks do have dead units, and pixels that always agree
DRAWS = 100  # random interventions, as in the paper


@dataclass(frozen=True, eq=False)
class Units:
    """The units of a layer as items, and the activation above which each is ON."""

    layer: str
    shape: tuple[int, ...]  # (m,) or (channels, height, width) of the map of units
    at: float | Array  # ON above it; one number, or one per unit
    pool: int = 1
    channels: bool = False  # a unit is a whole channel

    @classmethod
    def of(
        cls,
        target: Target,
        batch: Batch,
        layer: str,
        pool: int = 1,
        channels: bool = False,
    ) -> Self:
        """The units of ``layer``, their thresholds from ``batch``: 0, or each unit's mean where units are hardly ever
        OFF.

        Raises:
            ValueError: no such layer, pool < 1, or ``channels`` for a layer that has none.
        """
        if pool < 1:
            raise ValueError(f"pool = {pool} must be at least 1")
        z = values(target, batch, layer, pool, channels)
        flat = z.flatten(1)
        share_on = (flat > 0).mean(dtype=torch.float32)
        hardly_off = channels or float(share_on) > 0.95
        at = flat.mean(0).cpu().numpy() if hardly_off else 0.0
        return cls(layer, tuple(z.shape[1:]), at, pool, channels)

    def __call__(self, target: Target, batch: Batch) -> Array:
        """(n, units) bool."""
        z = values(target, batch, self.layer, self.pool, self.channels)
        return z.flatten(1).cpu().numpy() > self.at

    @property
    def blocks(self) -> Array | None:
        """The channel of each unit of a map; None for a flat layer."""
        if len(self.shape) != 3:
            return None
        channels, height, width = self.shape
        return np.repeat(np.arange(channels), height * width)


def values(
    target: Target,
    batch: Batch,
    layer: str,
    pool: int,
    channels: bool,
) -> Tensor:
    """Activations of the units: (n, m) or (n, K, u, v)."""
    z = target.features(batch, layer)
    if channels:
        if z.ndim != 4:
            raise ValueError(f"{layer} of {target.name} has no channels")
        return z.mean((2, 3))
    if z.ndim == 4 and pool > 1:
        return F.max_pool2d(z, pool, ceil_mode=True)
    return z


def answers(target: Target, batch: Batch) -> Array:
    """The output layer as a table, (n, C) bool: one ON per sample, the class that the network answers."""
    one_hot = np.eye(len(target.classes), dtype=bool)
    c = target(batch).argmax(1)
    return one_hot[c.cpu().numpy()]


@dataclass(frozen=True)
class Last:
    """The weights that lead to the classes: W (C, m) and the layer whose m units (or channels) they weight."""

    layer: str
    W: Tensor
    channels: bool  # a 1x1 convolution, followed by ReLU (or not) and the average over positions


def last(target: Target) -> Last:
    """Where the weights of the classes are: the last dense layer, or a 1x1 convolution with a map per class.

    Raises:
        NotApplicable: the network has neither.
    """
    C = len(target.classes)
    for i in range(len(target.layers) - 1, 0, -1):
        before = target.layers[i - 1]
        modules = list(target.chain[i].modules())
        for module in reversed(modules):
            if isinstance(module, nn.Linear) and module.out_features == C:
                return Last(before, module.weight, False)
            if isinstance(module, nn.Conv2d) and module.out_channels == C:
                if module.kernel_size != (1, 1):
                    break
                return Last(before, module.weight[:, :, 0, 0], True)
    raise NotApplicable(
        f"{target.name} has no layer of weights that leads to the classes"
    )


def label_rules(
    target: Target,
    batch: Batch,
    units: Units,
    *,
    theta: float = 0.4,
    mu: int = 1,
    **options: Any,
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


@dataclass(frozen=True, eq=False)
class LastRules:
    """Rules classes -> last hidden layer of a network, and what they were mined from."""

    batch: Batch
    source: Last
    units: Units
    model: Model

    @classmethod
    def of(
        cls,
        target: Target,
        batch: Batch,
        theta: float,
        mu: int,
    ) -> Self:
        source = last(target)
        units = Units.of(target, batch, source.layer, channels=source.channels)
        model = label_rules(target, batch, units, theta=theta, mu=mu)
        return cls(batch, source, units, model)


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

    A convolution that feeds the classes through an average has its channels as units.

    Returns:
        For each layer its units and the rules that end in it; the head of a rule of a later layer is the tail of a rule
        of the layer before.

    Raises:
        ValueError: a layer that does not exist, or layers that are not in the order from output to input, a cycle.
    """
    for name in layers:
        if name not in target.layers:
            raise ValueError(f"{target.name} has no layer {name!r}")
    order = [target.layers.index(name) for name in layers]
    if any(a <= b for a, b in pairwise(order)):
        chain = " -> ".join(layers)
        raise ValueError(f"cyclic: {chain} must lead from the output towards the input")
    found: list[tuple[Units, Model]] = []
    heads, groups, source = answers(target, batch), None, last(target)
    for name in layers:
        whole = source.channels and name == source.layer
        units = Units.of(target, batch, name, pool, channels=whole)
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
    after: Array  # (C,) with the weights of the rules' units zeroed
    random: Array  # (DRAWS, C) with as many random weights zeroed
    removed: Array  # (C,) number of weights zeroed
    images: Array  # (C,) number of test images
    instead: (
        Array  # (C, C) images of class c, right before, that are answered as d after
    )

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
    units: set[int] = set()
    for rule in model.rules:
        if c in rule.X:
            units.update(model.tails(rule))
    return sorted(units)


def intervene(
    target: Target,
    test: Batch,
    model: Model,
    rng: Generator,
    draws: int = DRAWS,
) -> Intervention:
    """Zeroes the weights of a class from its rules' units; and, ``draws`` times, as many random ones.

    Only the logit of class c changes, so its images are all that is needed. The target itself is not modified.

    Args:
        model: ``label_rules`` of the layer ``last(target).layer``.

    Raises:
        ValueError: the rules are not from the classes to that layer.
    """
    source = last(target)
    C, m = source.W.shape
    if model.p != C or any(max(model.tails(rule)) >= m for rule in model.rules):
        raise ValueError(
            f"these rules do not lead from the {C} classes to the {m} units of {source.layer}"
        )
    logits = target(test)
    z = target.features(test, source.layer)  # (n, m) or (n, m, u, v)
    before, after = np.full(C, np.nan), np.full(C, np.nan)
    random = np.full((draws, C), np.nan)
    removed, instead = np.zeros(C, np.int64), np.zeros((C, C), np.int64)
    for c in range(C):
        units = class_units(model, c)
        removed[c] = len(units)
        mine = torch.nonzero(test.y == c)[:, 0]  # images of the class
        if not len(mine):
            continue
        right = logits[mine].argmax(1) == c
        before[c] = float(right.float().mean())
        if not units:
            continue
        zeroed = _zeroed(units, source.W, draws, rng)  # (draws + 1, m)
        lost = zeroed * source.W[c]
        logit = _class_logit(target, source, z[mine], logits[mine, c], lost, c)
        others = logits[mine].clone()
        others[:, c] = -torch.inf
        best, other = others.max(1)
        kept = logit > best  # (draws + 1, n)
        recall = kept.float().mean(1)
        after[c] = float(recall[0])
        answer = torch.where(kept[0], c, other)[right]
        instead[c] = np.bincount(answer.cpu().numpy(), minlength=C)
        random[:, c] = recall[1:].cpu().numpy()
    images = np.bincount(test.y.cpu().numpy(), minlength=C)
    return Intervention(before, after, random, removed, images, instead)


def _zeroed(
    units: list[int],
    W: Tensor,
    draws: int,
    rng: Generator,
) -> Tensor:
    """(draws + 1, m) 1 where a weight is zeroed: first those of ``units``, then as many random ones."""
    m = W.shape[1]
    masks = torch.zeros(draws + 1, m, device=W.device)
    masks[0, units] = 1
    for d in range(draws):
        drawn = rng.permutation(m)[: len(units)]
        masks[d + 1, torch.from_numpy(drawn).to(W.device)] = 1
    return masks


def _class_logit(
    target: Target,
    source: Last,
    z: Tensor,
    logit: Tensor,
    lost: Tensor,
    c: int,
) -> Tensor:
    """The logit of class c without the weights ``lost`` (d, m), for the features z of n images: (d, n)."""
    if not source.channels:
        return logit - lost @ z.T
    head = target.chain[target.layers.index(source.layer) + 1]
    position = next(i for i, module in enumerate(head) if isinstance(module, nn.Conv2d))
    maps = head[: position + 1](z)[:, c]  # (n, u, v), before the rectifier
    changed = [maps - torch.einsum("m,nmuv->nuv", row, z) for row in lost]
    rest = head[position + 1 :]
    return rest(torch.stack(changed)).mean((2, 3))


# --------------------------------------------------------------------------------------------- facts about rules


def kinds(model: Model) -> dict[str, float]:
    """Shares of rules with several classes in the head and with several units in the tail, and the numbers of classes
    with rules and with more than one (Figs. 4, 15).
    """
    per_class = np.zeros(model.p, int)
    for rule in model.rules:
        per_class[list(rule.X)] += 1
    several_classes = [len(rule.X) > 1 for rule in model.rules]
    several_units = [len(rule.Y) > 1 for rule in model.rules]
    return {
        "multi_class_share": _share(several_classes),
        "multi_unit_share": _share(several_units),
        "classes_with_rules": int((per_class > 0).sum()),
        "classes_with_several_rules": int((per_class > 1).sum()),
    }


def _share(flags: list[bool]) -> float:
    return float(np.mean(flags)) if flags else 0.0


def neighbours(
    model: Model,
    units: Units,
    rng: Generator,
    draws: int = 20,
) -> tuple[float, float]:
    """The share of a rule's pairs of pixels, of one filter, that touch (4 neighbours); and the share expected if the
    pixels of each tail were drawn at random from the pixels of that filter that are in rules. NaN where no rule has two
    pixels of one filter.
    """
    touching, expected, pairs = 0.0, 0.0, 0
    for groups in _pixels_by_filter(model, units).values():
        in_rules = np.concatenate(groups)
        for group in groups:
            size = len(group)
            if size < 2:
                continue
            pairs += size * (size - 1) // 2
            touching += _touching(group)
            for _ in range(draws):
                drawn = in_rules[rng.permutation(len(in_rules))[:size]]
                expected += _touching(drawn) / draws
    if not pairs:
        return float("nan"), float("nan")
    return touching / pairs, expected / pairs


def _pixels_by_filter(model: Model, units: Units) -> dict[int, list[Array]]:
    """Filter -> the pixels (k, 2) of each rule that has some in it."""
    by_filter: dict[int, list[Array]] = {}
    for rule in model.rules:
        channel, row, column = np.unravel_index(model.tails(rule), units.shape)
        pixels = np.stack([row, column], axis=1)
        for k in dict.fromkeys(channel.tolist()):
            by_filter.setdefault(k, []).append(pixels[channel == k])
    return by_filter


def _touching(pixels: Array) -> int:
    """The number of pairs of ``pixels`` (k, 2) that are neighbours."""
    distance = np.abs(pixels[:, None] - pixels[None]).sum(2)
    return int((distance == 1).sum()) // 2


def background(target: Target, batch: Batch, layer: str) -> Array:
    """The correlation of each channel's ON map with the image's brightness, (K,); below 0 it responds to background.

    NaN for channels that are always ON or OFF.
    """
    z = target.features(batch, layer)  # (n, K, u, v)
    grey = batch.x.mean(1, keepdim=True)
    light = F.interpolate(grey, z.shape[-2:], mode="area").double()  # (n, 1, u, v)
    light = (light - light.mean()) / light.std()
    N = light.numel()
    on = torch.zeros(z.shape[1], dtype=torch.float64, device=z.device)  # (K,)
    lit = torch.zeros_like(on)
    for some, bright in zip(
        z.split(batch.chunk), light.split(batch.chunk), strict=True
    ):
        is_on = (some > 0).double()
        on += is_on.sum((0, 2, 3))
        lit += (is_on * bright).sum((0, 2, 3))
    share = on / N
    spread = (N / (N - 1) * share * (1 - share)).sqrt()
    r = (lit / N - share * light.mean()) / spread
    return np.where(spread.cpu().numpy() > 0, r.cpu().numpy(), np.nan)


def likeness(a: Sequence[Rule], b: Sequence[Rule]) -> float:
    """The mean, over the rules of ``a``, of the best product of Jaccards with a rule of ``b``; 0 if either is empty."""
    if not a or not b:
        return 0.0
    best = overlap(sides(a), sides(b)).max(1)
    return float(best.mean())


# --------------------------------------------------------------------------------------------- fine-tuned networks


def rules_to_last(
    network: Target,
    target: Target,
    batch: Batch,
    end: Last,
    theta: float,
    mu: int,
) -> tuple[Array, Model]:
    """(n, units) which units of ``network`` are ON, and the rules to them from the classes that ``target`` answers."""
    on = Units.of(network, batch, end.layer, channels=end.channels)(network, batch)
    heads = answers(target, batch)
    model = mine(heads, on, theta=theta, mu=mu, disjunctive=True, allow=ALLOW)
    return on, model


def share_features(
    target: Target,
    before: Target,
    batch: Batch,
    layer: str,
) -> None:
    """Caches ``before.features(batch, layer)``, computed from the last layer up to which the two networks are equal."""
    end, same = target.layers.index(layer), -1
    while same < end and _equal(target.chain[same + 1], before.chain[same + 1]):
        same += 1
    if same < 0:
        return
    with torch.no_grad():
        z = target.features(batch, target.layers[same])
        tail = before.chain[same + 1 : end + 1]
        chunks = [tail(part) for part in z.split(batch.chunk)]
        batch.memo["features", before, end] = torch.cat(chunks)


def _equal(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules of one kind have the same parameters."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(p, q) for p, q in pairs)
