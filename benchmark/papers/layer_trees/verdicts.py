"""The paper's claims (results/reported/claims.csv, LT1-LT14), judged on the rows of ``replicate.trees``.

A claim is checked on each network it is about: of width 100 (the paper's wide ones) or less (its narrow ones),
recognised by the name ``mlp-<width>x<depth>``. Networks with another activation, ``mlp-tanh-100x4``, are the
benchmark's own; they are drawn, not judged. Claims that depend on 55,000 samples (LT1, LT2, LT5, LT6, LT9, LT12, LT13,
and LT10's 4,000 split nodes) are judged only where there are that many.

What the paper draws and tabulates is judged on its own networks, those of Table 1 with 10 layers (LT8, Fig. 3) and
MNIST-100 of them (LT14, Tables 3 and 4); other networks are shown as extensions: other depths and data sets,
convolutional layers (LT8), and LT14's threshold on the networks that the tables leave out. With fewer samples LT8
allows 2 points instead of 0.5, for half a point is two of the digits' 397 test images; LT14's threshold is 100 of
55,000 samples, or the same share of fewer. The evidence states what was required.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd
from scipy.stats import spearmanr

from benchmark.papers import Check
from benchmark.papers.evidence import Evidence, Said, over_seeds
from benchmark.store import setting_pairs

FULL = 50_000  # training images from which the paper's absolute numbers apply
NAME = re.compile(r"mlp-(?:([a-z_]+)-)?(\d+)x(\d+)")  # activation, width, depth

Layer = int  # 1 = the first hidden one
Threshold = int


@dataclass
class Network:
    """What the rows say of one network and seed: numbers by layer, and by layer and threshold."""

    dataset: str
    target: str
    seed: int
    width: int
    depth: int
    activation: str = "relu"
    n: int = 0  # training samples
    train: float = 0.0  # accuracy of the network, percent
    test: float = 0.0
    u: dict[Layer, float] = field(default_factory=dict)  # unique encodings
    dup: dict[Layer, float] = field(default_factory=dict)  # duplicate encodings
    # encodings that a threshold leaves
    left: dict[tuple[Layer, Threshold], float] = field(default_factory=dict)
    splits: dict[tuple[Layer, Threshold], float] = field(default_factory=dict)
    tree_train: dict[tuple[Layer, Threshold], float] = field(
        default_factory=dict
    )  # percent
    tree_test: dict[tuple[Layer, Threshold], float] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        return self.n >= FULL

    @property
    def wide(self) -> bool:
        return self.width == 100

    @property
    def narrow(self) -> bool:
        return self.width <= 20

    @property
    def deep(self) -> bool:
        return self.depth >= 8

    @property
    def fashion(self) -> bool:
        return self.dataset == "fashion_mnist"

    def like(self, other: Network) -> bool:
        """Of the same data set, seed and depth; the width may differ."""
        mine = self.dataset, self.seed, self.depth
        return mine == (other.dataset, other.seed, other.depth)


def verdicts(rows: pd.DataFrame) -> Iterator[Check]:
    """Every check that the rows allow."""
    networks = [net for net in read(rows) if net.activation == "relu"]
    yield from over_seeds([*_looks(networks), *_named_layers(rows)])


def read(rows: pd.DataFrame) -> Iterator[Network]:
    """The networks of ``replicate.trees``, by data set, width, depth and seed."""
    rows = rows[(rows["track"] == "replication") & (rows["paper"] == "layer_trees")]
    for (dataset, target, seed), lines in rows.groupby(["dataset", "target", "seed"]):
        name = NAME.fullmatch(target)
        if not name:
            continue
        activation, width, depth = name.groups(default="relu")
        net = Network(dataset, target, int(seed), int(width), int(depth), activation)
        _fill(net, lines)
        if net.u:
            yield net


def _fill(net: Network, rows: pd.DataFrame) -> None:
    """Writes the numbers of its rows into ``net``."""
    single = {
        "network_train_accuracy_pct": "train",
        "network_test_accuracy_pct": "test",
    }
    by_layer = {"n_unique_encodings": net.u, "n_duplicate_encodings": net.dup}
    by_threshold = {
        "n_encodings": net.left,
        "n_split_nodes": net.splits,
        "train_accuracy_pct": net.tree_train,
        "test_accuracy_pct": net.tree_test,
    }
    for row in rows.itertuples():
        if row.metric in single:
            setattr(net, single[row.metric], row.value)
            continue
        setting = setting_pairs(row.setting)
        if not setting.get("layer", "").isdigit():
            continue
        layer = int(setting["layer"])
        if row.metric in by_layer:
            by_layer[row.metric][layer] = row.value
            net.n = int(row.n)
        elif row.metric in by_threshold:
            threshold = int(setting["threshold"])
            by_threshold[row.metric][layer, threshold] = row.value


def _looks(networks: list[Network]) -> Iterator[Said]:
    for net in networks:
        network = net.dataset, net.target, net.seed
        for claim, is_own in CLAIMS.items():
            say = Evidence(*network, extension=not is_own(net))
            said = claim(net, say)
            if said is not None:
                yield said
    yield from _lt3(networks)


# --------------------------------------------------------------------------------------------- Sec. 3: encodings


def _lt1(net: Network, say: Evidence) -> Said | None:
    """Wide: nearly every sample has an encoding of its own in layer 1."""
    if not (net.wide and net.full):
        return None
    u, n = net.u[1], net.n
    return say(
        "LT1", u >= 0.97 * n, "u(1) = {:,.0f} of {:,.0f} samples ({:.3f})", u, n, u / n
    )


def _lt2(net: Network, say: Evidence) -> Said | None:
    """Wide: the number of unique encodings falls sharply with depth (Table 3: Spearman -0.89)."""
    if not (net.wide and net.full and net.deep):
        return None
    L = net.depth
    first, last = net.u[1], net.u[L]
    rho = spearmanr(list(net.u), list(net.u.values())).statistic
    holds = rho <= -0.85 and last <= 0.05 * first
    words = f"u(1) = {{:,.0f}}, u({L}) = {{:,.0f}}; Spearman {{:.2f}}"
    return say("LT2", holds, words, first, last, rho)


def _lt3(networks: list[Network]) -> Iterator[Said]:
    """Narrow networks have far fewer unique encodings in layer 1 than wide ones."""
    for net in networks:
        wide = [other for other in networks if other.like(net) and other.wide]
        if not (net.narrow and wide):
            continue
        say = Evidence(net.dataset, net.target, net.seed)
        u, wide_u = net.u[1], wide[0].u[1]
        words = "u(1) = {:,.0f} against {:,.0f} at width 100 ({:.2f})"
        yield say("LT3", u < 0.3 * wide_u, words, u, wide_u, u / wide_u)


def _lt4(net: Network, say: Evidence) -> Said | None:
    """MNIST-100: no duplicates in any layer."""
    if not net.wide or net.fashion:
        return None
    most = max(net.dup.values())
    words = (
        "at most {:.3g} duplicates in a layer; network at {:.2f} % on training images"
    )
    return say("LT4", most <= 2, words, most, net.train)


def _lt5(net: Network, say: Evidence) -> Said | None:
    """Fashion-MNIST-100: few duplicates in layer 1 and almost none from layer 3 on."""
    if not (net.wide and net.fashion and net.full and net.depth >= 3):
        return None
    u, dup = net.u, net.dup
    later = range(3, net.depth + 1)
    worst = max(dup[k] / u[k] for k in later)
    holds = dup[1] > dup[3] and worst <= 0.01
    words = "dup(1) = {:.0f}, dup(3) = {:.0f}, from 3 on at most {:.1%} of u"
    return say("LT5", holds, words, dup[1], dup[3], worst)


def _lt6(net: Network, say: Evidence) -> Said | None:
    """Width below 100: many duplicates in layer 1 and few in the last one."""
    if net.width >= 100 or not (net.full and net.deep):
        return None
    L = net.depth
    first, last = net.dup[1], net.dup[L]
    words = f"dup(1) = {{:,.0f}}, dup({L}) = {{:,.0f}}"
    return say("LT6", last < 0.2 * first, words, first, last)


# --------------------------------------------------------------------------------------------- Sec. 4.2: trees


def _lt7(net: Network, say: Evidence) -> Said | None:
    """Wide: the trees classify all training images."""
    clean = [k for k in net.u if not net.dup[k]]
    if not (net.wide and clean):
        return None
    low = min(net.tree_train[k, 0] for k in clean)
    words = "lowest of {:.2g} layers without duplicates: {:.2f} %"
    return say("LT7", low >= 99.9, words, len(clean), low)


def _lt8(net: Network, say: Evidence) -> Said | None:
    """Test accuracy rises with the layer and matches the network's in the last four."""
    if not net.deep:
        return None
    L, test = net.depth, net.tree_test
    last_four = range(L - 3, L + 1)
    gap = max(abs(test[k, 0] - net.test) for k in last_four)
    rises = test[L, 0] > test[1, 0]
    allowed = 0.5 if net.full else 2.0
    words = (
        "test: layer 1 {:.2f}, last four within {:.2f} of the network's {:.2f} "
        f"(asked: {allowed:g})"
    )
    return say("LT8", gap <= allowed and rises, words, test[1, 0], gap, net.test)


def _named_layers(rows: pd.DataFrame) -> Iterator[Said]:
    """LT8's extension to networks whose layers have names, convolutional ones: the last layer asked, and the first."""
    mine = rows[(rows["track"] == "replication") & (rows["paper"] == "layer_trees")]
    for (dataset, target, seed), lines in mine.groupby(["dataset", "target", "seed"]):
        by_metric = lines.set_index("metric")["value"]
        trees = lines[lines["metric"] == "test_accuracy_pct"]
        test = {}
        for setting, value in zip(trees["setting"], trees["value"], strict=True):
            pairs = setting_pairs(setting)
            if pairs["threshold"] == "0" and not pairs["layer"].isdigit():
                test[pairs["layer"]] = value
        if len(test) < 2:
            continue
        first, *_, last = sorted(test, key=lambda name: (name.startswith("fc"), name))
        network = by_metric["network_test_accuracy_pct"]
        gap = abs(test[last] - network)
        say = Evidence(dataset, target, int(seed), extension=True)
        words = (
            f"test: {first} {{:.2f}}, {last} within {{:.2f}} of the network's {{:.2f}} "
            "(asked: 2)"
        )
        holds = gap <= 2 and test[last] > test[first]
        yield say("LT8", holds, words, test[first], gap, network)


def _lt9(net: Network, say: Evidence) -> Said | None:
    """Narrow: the training accuracy of the tree rises with the layer."""
    if not (net.narrow and net.full and net.deep):
        return None
    L = net.depth
    first, last = net.tree_train[1, 0], net.tree_train[L, 0]
    words = f"train: layer 1 {{:.1f}} %, layer {L} {{:.1f}} %"
    return say("LT9", last - first >= 10, words, first, last)


def _lt10(net: Network, say: Evidence) -> Said | None:
    """Wide: thousands of split nodes in layer 1, fewer than the layer has nodes in the last one."""
    if not (net.wide and net.deep):
        return None
    L = net.depth
    first, last = net.splits[1, 0], net.splits[L, 0]
    least, asked = 0, ""
    if net.full:
        least = 8000 if net.fashion else 4000
        asked = f" (asked: over {least:,})"
    words = f"layer 1 {{:,.0f}} splits{asked}, layer {L} {{:.0f}}"
    return say("LT10", first > least and last < net.width, words, first, last)


def _lt11(net: Network, say: Evidence) -> Said | None:
    """The smallest tree has 9 splits: all these data sets have ten classes, each with an encoding of its own."""
    if not (net.wide and net.deep):
        return None
    smallest = min(
        splits for (_, threshold), splits in net.splits.items() if threshold == 0
    )
    return say("LT11", smallest >= 9, "smallest tree: {:.3g} splits", smallest)


# --------------------------------------------------------------------------------------------- Tables 3, 4: thresholds


def _of_table_1(net: Network) -> bool:
    """One of the paper's four networks, with 10 layers as in Figs. 3 and 4."""
    kinds = {
        ("mnist", 100),
        ("mnist", 20),
        ("fashion_mnist", 100),
        ("fashion_mnist", 40),
    }
    return net.full and net.depth == 10 and (net.dataset, net.width) in kinds


def _deepest_of_mnist(net: Network) -> bool:
    """The network of Tables 3 and 4."""
    return net.full and net.wide and net.depth == 10 and net.dataset == "mnist"


def _lt12(net: Network, say: Evidence) -> Said | None:
    """Thresholds of 100 and 1,000 leave no encoding in the first layers."""
    cases = [(1, 100), (2, 100), (1, 1000), (2, 1000), (3, 1000)]
    measured = all(case in net.left for case in cases)
    if not (_deepest_of_mnist(net) and measured):
        return None
    wrong = []
    for layer, threshold in cases:
        left = net.left[layer, threshold]
        if left or net.tree_test[layer, threshold]:
            wrong.append(f"layer {layer} at {threshold}: {left:.0f}")
    if wrong:
        return say("LT12", False, ", ".join(wrong))
    words = "none is left in any of the five cases, and the accuracies are 0"
    return say("LT12", True, words)


def _lt13(net: Network, say: Evidence) -> Said | None:
    """A threshold of 1,000 leaves few encodings in the last layer, and the tree stays accurate."""
    if not _deepest_of_mnist(net) or (10, 1000) not in net.left:
        return None
    left, test = net.left[10, 1000], net.tree_test[10, 1000]
    return say(
        "LT13", left <= 30 and test >= 95, "{:.3g} encodings, test {:.2f} %", left, test
    )


def _lt14(net: Network, say: Evidence) -> Said | None:
    """From layer 4 on a threshold of 100 makes the trees smaller and costs little accuracy."""
    threshold = round(100 * net.n / 55_000)
    layers = range(4, net.depth + 1)
    measured = all((k, threshold) in net.left for k in layers)
    if not (net.deep and threshold and measured):
        return None
    lost = [net.tree_test[k, 0] - net.tree_test[k, threshold] for k in layers]
    before = sum(net.splits[k, 0] for k in layers)
    after = sum(net.splits[k, threshold] for k in layers)
    mean = sum(lost) / len(lost)
    smallest = 9 * len(layers)  # no tree for ten classes has fewer splits than 9
    smaller = after < before or before == smallest
    words = (
        "{:,.0f} split nodes to {:,.0f}, test {:.2f} points lower (at most {:.2f}), "
        f"threshold {threshold}"
    )
    return say("LT14", mean <= 2 and smaller, words, before, after, mean, max(lost))


def _any(net: Network) -> bool:
    """A claim that names its networks itself."""
    return True


CLAIMS = {  # on one network each -> whether it is one that the paper judges
    _lt1: _any,
    _lt2: _any,
    _lt4: _any,
    _lt5: _any,
    _lt6: _any,
    _lt14: _deepest_of_mnist,
    _lt12: _any,
    _lt13: _any,
    _lt7: _any,
    _lt8: _of_table_1,
    _lt9: _any,
    _lt10: _any,
    _lt11: _any,
}
