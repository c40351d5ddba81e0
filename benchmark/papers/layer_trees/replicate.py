"""The paper's experiments on one trained network: counts and trees of every layer, kinds of duplicates, drawn trees.

    trees        Figs. 1-4, Tables 3 and 4: encodings, duplicates, and for each threshold the tree's size and accuracy
    duplicates   Table 2: the number of duplicates of each kind, and the images of one of each
    drawing      Figs. 5 and 6: one tree with the heat maps of all its places

All take ``samples``: only the first so many training images are used, as the paper uses 55,000 of MNIST's 60,000, the
same that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Array, Batch, NotApplicable, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.layer_trees import duplicates as kinds_of
from benchmark.papers.layer_trees.encodings import (
    Encodings,
    encode_layers,
    hidden_layers,
    unique,
)
from benchmark.papers.layer_trees.trees import accuracy_pct, grow, passing, rules

CHUNK = 1000  # images that go through the network together
SHOWN = 6  # images of each class in the example of a duplicate


def trees(
    study: Study,
    rng: Generator,
    *,
    thresholds: Sequence[int] = (0,),
    layers: Sequence[str] | None = None,
    samples: int | None = None,
) -> Outcome:
    """Every hidden layer (or ``layers``) of the network: rows with ``layer`` (1: the first hidden one), ``threshold``.

    The rows' methods are ``encodings`` (counts), ``layer tree`` (the tree of each threshold) and ``network`` (what the
    tree is compared with).
    """
    target = study.target
    names = list(layers or hidden_layers(target))
    y, y_test = _labels(study, "train", samples), _labels(study, "test")
    bits = encode_layers(target, _parts(study, "train", len(y)), names)
    bits_test = encode_layers(target, _parts(study, "test", len(y_test)), names)
    answers = _answers(study, "train", len(y))
    answers_test = _answers(study, "test", len(y_test))
    numbers = [
        _percent("network_train_accuracy_pct", answers == y, "network"),
        _percent("network_test_accuracy_pct", answers_test == y_test, "network"),
    ]
    for position, name in enumerate(names, start=1):
        where = {"layer": name if layers else position}
        encodings = unique(bits[name], y, len(target.classes))
        duplicate = encodings.duplicate.sum()
        numbers += [
            _count("n_unique_encodings", len(encodings), "encodings", where, len(y)),
            _count("n_duplicate_encodings", duplicate, "encodings", where, len(y)),
        ]
        for threshold in thresholds:
            tree = grow(encodings, threshold, rng)
            at = where | {"threshold": threshold}
            guess = tree.predict(bits_test[name])
            accuracy = accuracy_pct(tree, bits[name], y)
            numbers += [
                _count("n_encodings", tree.n_encodings, "layer tree", at, len(y)),
                _count(
                    "n_split_nodes", tree.split_nodes, "layer tree", at, len(y), "nodes"
                ),
                Number(
                    "train_accuracy_pct",
                    accuracy,
                    "layer tree",
                    at,
                    len(y),
                    unit="percent",
                ),
                _percent("test_accuracy_pct", guess == y_test, "layer tree", at),
                _percent("test_agreement_pct", guess == answers_test, "layer tree", at),
            ]
    widths = np.array([bits[name].width for name in names])
    return Outcome(numbers, {"widths": widths, "layers": np.array(names)})


def duplicates(
    study: Study,
    rng: Generator,
    *,
    layer: str,
    samples: int | None = None,
) -> Outcome:
    """Duplicate encodings of a layer by kind (``duplicates.KINDS``): their number, the number of samples of the
    clearest example, and its images: those of its largest class first, then those of the others.
    """
    y = _labels(study, "train", samples)
    encodings = _encodings(study, layer, y)
    kind = kinds_of.kinds(encodings)
    numbers, arrays = [], {"classes": np.array(study.target.classes)}
    for k, name in enumerate(kinds_of.KINDS):
        where = {"layer": layer, "kind": name}
        of_kind = (kind == k).sum()
        numbers.append(
            _count("n_duplicates_of_kind", of_kind, "encodings", where, len(y))
        )
        one = kinds_of.example(encodings, k)
        if one is None:
            continue
        size = encodings.counts[one]
        numbers.append(
            _count("example_samples", size, "encodings", where, len(y), "samples")
        )
        members, counts = encodings.samples(one), encodings.classes[one]
        by_size = np.argsort(-counts, kind="stable")
        rows = np.concatenate([members[y[members] == c][:SHOWN] for c in by_size[:3]])
        arrays |= {
            f"images_{k}": study.data.batch("train", rows).x.numpy(),
            f"of_{k}": y[rows],
            f"counts_{k}": counts,
        }
    return Outcome(numbers, arrays)


def drawing(
    study: Study,
    rng: Generator,
    *,
    layer: str,
    threshold: int = 0,
    samples: int | None = None,
    maps: str = "image",
) -> Outcome:
    """One tree with what ``drawing.draw`` shows: at each place the mean over the samples that pass, and their classes.

    Args:
        maps: ``image``, the mean sample, as in the paper; ``gradient``, the mean share of each pixel in |image *
            gradient of the answer's logit|, the simplest of the attributions that the paper proposes as alternatives;
            or any method that draws heat maps, ``path/to/file.py:Class`` or of a library, such as the paper's others
            ``captum:DeepLift``, ``captum:GradientShap`` and ``zennit:EpsilonPlus``: the mean share of the positive
            part of its map.
    """
    target, y = study.target, _labels(study, "train", samples)
    bits = encode_layers(target, _parts(study, "train", len(y)), [layer])[layer]
    tree = grow(unique(bits, y, len(target.classes)), threshold, rng)
    if not tree.leaves:
        raise NotApplicable(
            f"no encoding of {layer} has {threshold} samples: there is no tree to draw"
        )
    known = {"image": _grey, "gradient": _gradient}
    draw = known.get(maps) or _attribution(study, maps, rng)
    drawn = [draw(target, part) for part in _parts(study, "train", len(y))]
    heat_maps = np.concatenate(drawn)  # (n, h, w)
    leaf = tree.apply(bits)
    mean, count = passing(tree, leaf, heat_maps)
    members = np.zeros((len(count), len(target.classes)), np.int64)
    np.add.at(members, (leaf, y), 1)  # samples of each class at each leaf
    at = {"layer": layer, "threshold": threshold, "maps": maps}
    splits = _count(
        "n_drawn_split_nodes", tree.split_nodes, "layer tree", at, len(y), "nodes"
    )
    shown = {
        "mean": (mean / np.nanmax(mean)).astype(np.float16),
        "count": count,
        "members": members,
        "classes": np.array(target.classes),
        "rules": np.array(rules(tree, target.classes)),
    }
    return Outcome([splits], tree.arrays() | shown)


# --------------------------------------------------------------------------------------------- shared


def _count(
    metric: str,
    value: float,
    method: str,
    setting: dict,
    n: int,
    unit: str = "encodings",
) -> Number:
    return Number(
        metric,
        value,
        method,
        setting,
        n,
        better="lower",
        unit=unit,
    )


def _percent(
    metric: str,
    right: Array,
    method: str,
    setting: dict | None = None,
) -> Number:
    """The share of samples that are ``right`` (n,) bool."""
    return Number(
        metric,
        100 * right.mean(),
        method,
        setting or {},
        n=len(right),
        unit="percent",
    )


def _labels(study: Study, split: str, samples: int | None = None) -> Array:
    """(n,) classes of the first ``samples`` images of a split.

    Raises:
        ValueError: ``samples`` is not positive, or more than the split has.
    """
    n = study.data.size(split)
    if samples is not None and not 0 < samples <= n:
        raise ValueError(f"samples={samples}; {study.dataset} has {n:,} {split} images")
    return study.data.arrays[f"y_{split}"][:samples]


def _parts(study: Study, split: str, n: int) -> Iterator[Batch]:
    """The first n images of a split, CHUNK at a time."""
    for start in range(0, n, CHUNK):
        ids = np.arange(start, min(start + CHUNK, n))
        yield study.data.batch(split, ids, study.target.device)


def _encodings(study: Study, layer: str, y: Array) -> Encodings:
    target = study.target
    parts = _parts(study, "train", len(y))
    bits = encode_layers(target, parts, [layer])[layer]
    return unique(bits, y, len(target.classes))


@torch.no_grad()
def _answers(study: Study, split: str, n: int) -> Array:
    """(n,) the classes that the network answers."""
    answers = []
    for part in _parts(study, split, n):
        logits = study.target(part.x)
        answers.append(logits.argmax(1).cpu().numpy())
    return np.concatenate(answers)


def _grey(target: Target, part: Batch) -> Array:
    """The images without their colours, (b, h, w)."""
    return part.x.mean(1).cpu().numpy()


def _gradient(target: Target, part: Batch) -> Array:
    """Each pixel's share in |image * gradient of the answer's logit|, (b, h, w)."""
    x = part.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(x).amax(1).sum(), x)
    product = (gradient * x.detach()).abs().mean(1)  # (b, h, w)
    total = product.sum((1, 2), keepdim=True).clamp(min=1e-12)
    return (product / total).cpu().numpy()


def _attribution(
    study: Study, maps: str, rng: Generator
) -> Callable[[Target, Batch], Array]:
    """A function that gives each pixel's share in the heat maps of the method ``maps``, (b, h, w).

    Raises:
        ValueError: ``maps`` is neither a known word nor a method, or the method draws no heat maps.
    """
    if ":" not in maps:
        raise ValueError(
            "maps is image, gradient or a method's path/to/file.py:Class "
            f"or library:Class, not {maps!r}"
        )
    ids = study.data.sample("train", 256)
    reference = study.data.batch("train", ids, study.target.device)
    method = study.build(maps).fit(study.target, reference, rng)

    def draw(target: Target, part: Batch) -> Array:
        heat = method.explain(target, part, rng).heatmaps
        if heat is None:
            raise ValueError(f"{method.name} draws no heat maps")
        heat = np.maximum(heat, 0)
        total = heat.sum((1, 2), keepdims=True)
        return heat / np.maximum(total, 1e-12)

    return draw
