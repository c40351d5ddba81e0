"""The paper's claims (results/reported/claims.csv, LT1-LT14), judged on the rows of ``replicate.trees``.

A claim is checked on each network that it speaks of: of width 100 (the paper's wide ones) or less (its narrow ones), by
the networks' names ``mlp-<width>x<depth>`` (networks with another activation, ``mlp-tanh-100x4``, are the benchmark's own and
are drawn, not judged). What belongs to 55,000 samples (LT1, LT2, LT5, LT6, LT9, LT12, LT13, and
LT10's 4,000 split nodes) is judged where there are that many. On less, LT8 asks for 2 points in place of 0.5, for half a
point is two of the digits' 397 test images; LT14's threshold is 100 of 55,000 samples, or as large a share of fewer; the
evidence says what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from scipy.stats import spearmanr

from benchmark.papers import Check
from benchmark.papers.evidence import Evidence, Said, over_seeds
from benchmark.store import setting_pairs

FULL = 50_000  # training images from which on the paper's absolute numbers are asked for


@dataclass
class Network:
    """What the rows say of one network and seed: layer -> number, and (layer, threshold) -> number."""

    dataset: str
    target: str
    seed: int
    width: int
    depth: int
    activation: str = "relu"
    n: int = 0  # training samples
    train: float = 0.0  # accuracies of the network, percent
    test: float = 0.0
    u: dict[int, float] = field(default_factory=dict)  # unique encodings
    dup: dict[int, float] = field(default_factory=dict)
    left: dict[tuple[int, int], float] = field(
        default_factory=dict
    )  # encodings that a threshold leaves
    splits: dict[tuple[int, int], float] = field(default_factory=dict)
    tree_train: dict[tuple[int, int], float] = field(default_factory=dict)  # percent
    tree_test: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return self.n >= FULL


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """Every check that the rows allow."""
    networks = [net for net in read(rows) if net.activation == "relu"]
    yield from over_seeds(_looks(networks))


def _looks(networks: list[Network]) -> Iterator[Said]:
    for net in networks:
        say = Evidence(net.dataset, net.target, net.seed)
        for claims in (_encodings, _thresholds, _trees):
            for claim in claims(net):
                yield say(*claim)
    for net in networks:  # LT3 compares two networks
        wide = [
            o
            for o in networks
            if (o.dataset, o.seed, o.depth) == (net.dataset, net.seed, net.depth) and o.width == 100
        ]
        if net.width <= 20 and wide:
            u, wide_u = net.u[1], wide[0].u[1]
            words = "u(1) = {:,.0f} against {:,.0f} at width 100 ({:.2f})"
            yield Evidence(net.dataset, net.target, net.seed)(
                "LT3", u < 0.3 * wide_u, words, u, wide_u, u / wide_u
            )


def read(rows: pd.DataFrame) -> Iterator[Network]:
    """The networks of ``replicate.trees``, by data set, width, depth and seed."""
    rows = rows[(rows["track"] == "replication") & (rows["paper"] == "layer_trees")]
    for (dataset, target, seed), mine in rows.groupby(["dataset", "target", "seed"]):
        name = re.fullmatch(r"mlp-(?:([a-z_]+)-)?(\d+)x(\d+)", target)
        if not name:
            continue
        activation, width, depth = name.groups(default="relu")
        net = Network(dataset, target, int(seed), int(width), int(depth), activation)
        single = {"network_train_accuracy_pct": "train", "network_test_accuracy_pct": "test"}
        layered = {"n_unique_encodings": net.u, "n_duplicate_encodings": net.dup}
        pruned = {
            "n_encodings": net.left,
            "n_split_nodes": net.splits,
            "train_accuracy_pct": net.tree_train,
            "test_accuracy_pct": net.tree_test,
        }
        for row in mine.itertuples():
            setting = setting_pairs(row.setting)
            if row.metric in single:
                setattr(net, single[row.metric], row.value)
            elif row.metric in layered and setting["layer"].isdigit():
                layered[row.metric][int(setting["layer"])] = row.value
                net.n = int(row.n)
            elif row.metric in pruned and setting["layer"].isdigit():
                pruned[row.metric][int(setting["layer"]), int(setting["threshold"])] = row.value
        if net.u:
            yield net


Claim = tuple[Any, ...]  # id, holds, evidence, and the numbers in it


def _encodings(net: Network) -> Iterator[Claim]:
    """Sec. 3: LT1, LT2, LT4, LT5, LT6."""
    u, dup, L = net.u, net.dup, net.depth
    if net.width == 100 and net.full:
        yield (
            "LT1",
            u[1] >= 0.97 * net.n,
            "u(1) = {:,.0f} of {:,.0f} samples ({:.3f})",
            u[1],
            net.n,
            u[1] / net.n,
        )
        if L >= 8:
            rho = spearmanr(list(u), list(u.values())).statistic
            words = f"u(1) = {{:,.0f}}, u({L}) = {{:,.0f}}; Spearman {{:.2f}}"
            yield "LT2", rho <= -0.9 and u[L] <= 0.05 * u[1], words, u[1], u[L], rho
    if net.width == 100 and net.dataset != "fashion_mnist":
        words = "at most {:.3g} duplicates in a layer; network at {:.2f} % on training images"
        yield "LT4", max(dup.values()) <= 2, words, max(dup.values()), net.train
    if net.width == 100 and net.dataset == "fashion_mnist" and net.full and L >= 3:
        worst = max(dup[k] / u[k] for k in range(3, L + 1))
        words = "dup(1) = {:.0f}, dup(3) = {:.0f}, from 3 on at most {:.1%} of u"
        yield "LT5", dup[1] > dup[3] and worst <= 0.01, words, dup[1], dup[3], worst
    if net.width < 100 and net.full and L >= 8:
        yield (
            "LT6",
            dup[L] < 0.2 * dup[1],
            f"dup(1) = {{:,.0f}}, dup({L}) = {{:,.0f}}",
            dup[1],
            dup[L],
        )


def _trees(net: Network) -> Iterator[Claim]:
    """Sec. 4.2, threshold 0: LT7-LT11. LT11 counts on ten classes, as all data sets of these networks have."""
    L, train, test = net.depth, net.tree_train, net.tree_test
    smallest = min(splits for (_, t), splits in net.splits.items() if t == 0)
    if net.width == 100:
        clean = [k for k in net.u if not net.dup[k]]
        if clean:
            low = min(train[k, 0] for k in clean)
            yield (
                "LT7",
                low >= 99.9,
                "lowest of {:.2g} layers without duplicates: {:.2f} %",
                len(clean),
                low,
            )
    if L >= 8:
        gap = max(abs(test[k, 0] - net.test) for k in range(L - 3, L + 1))
        rises, near = test[L, 0] > test[1, 0], 0.5 if net.full else 2.0
        words = f"test: layer 1 {{:.2f}}, last four within {{:.2f}} of the network's {{:.2f}} (asked: {near:g})"
        yield "LT8", gap <= near and rises, words, test[1, 0], gap, net.test
    if net.width <= 20 and net.full and L >= 8:
        first, last = train[1, 0], train[L, 0]
        yield (
            "LT9",
            last - first >= 10,
            f"train: layer 1 {{:.1f}} %, layer {L} {{:.1f}} %",
            first,
            last,
        )
    if net.width == 100 and L >= 8:
        first, last = net.splits[1, 0], net.splits[L, 0]
        at_least = (8000 if net.dataset == "fashion_mnist" else 4000) if net.full else 0
        asked = f" (asked: over {at_least:,})" if net.full else ""
        yield (
            "LT10",
            first > at_least and last < net.width,
            f"layer 1 {{:,.0f}} splits{asked}, layer {L} {{:.0f}}",
            first,
            last,
        )
    if net.width == 100 and L >= 8:  # every class has an encoding of its own
        yield "LT11", smallest >= 9, "smallest tree: {:.3g} splits", smallest


def _thresholds(net: Network) -> Iterator[Claim]:
    """Tables 3 and 4: LT14, and of MNIST-100 at depth 10 LT12 and LT13."""
    L, t = net.depth, round(100 * net.n / 55_000)
    deep = range(4, L + 1)
    if L >= 8 and t and all((k, t) in net.left for k in deep):
        lost = [net.tree_test[k, 0] - net.tree_test[k, t] for k in deep]
        before, after = (sum(net.splits[k, at] for k in deep) for at in (0, t))
        mean = sum(lost) / len(lost)
        words = f"{{:,.0f}} split nodes to {{:,.0f}}, test {{:.2f}} points lower (at most {{:.2f}}), threshold {t}"
        smaller = after < before or before == 9 * len(deep)  # with ten classes no tree is smaller
        yield "LT14", mean <= 2 and smaller, words, before, after, mean, max(lost)
    if not (net.full and net.width == 100 and net.depth == 10 and net.dataset == "mnist"):
        return
    asked = [(1, 100), (2, 100), (1, 1000), (2, 1000), (3, 1000)]
    if all(key in net.left for key in asked):
        found = [key for key in asked if net.left[key] or net.tree_test[key]]
        words = ", ".join(f"layer {k} at {t}: {net.left[k, t]:.0f}" for k, t in found)
        yield (
            "LT12",
            not found,
            words or "none is left in any of the five cases, and the accuracies are 0",
        )
    if (10, 1000) in net.left:
        left, test = net.left[10, 1000], net.tree_test[10, 1000]
        yield "LT13", left <= 30 and test >= 95, "{:.3g} encodings, test {:.2f} %", left, test
