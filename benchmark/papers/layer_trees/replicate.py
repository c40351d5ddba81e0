"""The paper's experiments on one trained network: counts and trees of every layer, kinds of duplicates, drawn trees.

    trees        Figs. 1-4, Tables 3 and 4: encodings, duplicates, and for each threshold the tree's size and accuracy
    duplicates   Table 2: how many duplicates of each kind, and the images behind one of each
    drawing      Figs. 5 and 6: one tree with the heat maps of all its places

All take ``samples``, how many of the first training images count: the paper's 55,000 of MNIST's 60,000, the same that the
network was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Array, Batch, NotApplicable, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.layer_trees import duplicates as kinds_of
from benchmark.papers.layer_trees.encodings import Encodings, encode_layers, hidden_layers, unique
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
    """Every hidden layer (or ``layers``) of the network: rows with ``layer`` (1 = the first hidden one) and ``threshold``.

    Methods of the rows: ``encodings`` (counts), ``layer tree`` (each threshold's tree), ``network`` (what it is held
    against).
    """
    target, numbers = study.target, []
    names = list(layers or hidden_layers(target))
    y, y_test = _labels(study, "train", samples), _labels(study, "test")
    bits, bits_test = (
        encode_layers(target, _parts(study, split, len(labels)), names)
        for split, labels in (("train", y), ("test", y_test))
    )
    answers = {
        split: _answers(study, split, n) for split, n in (("train", len(y)), ("test", len(y_test)))
    }
    for split, labels in (("train", y), ("test", y_test)):
        pct = 100 * float((answers[split] == labels).mean())
        numbers.append(
            Number(f"network_{split}_accuracy_pct", pct, "network", n=len(labels), unit="percent")
        )
    for number, name in enumerate(names, start=1):
        where = {"layer": name if layers else number}
        encodings = unique(bits[name], y, len(target.classes))
        numbers += [
            Number(
                "n_unique_encodings",
                len(encodings),
                "encodings",
                where,
                len(y),
                "lower",
                "encodings",
            ),
            Number(
                "n_duplicate_encodings",
                encodings.duplicate.sum(),
                "encodings",
                where,
                len(y),
                "lower",
                "encodings",
            ),
        ]
        for threshold in thresholds:
            tree = grow(encodings, threshold, rng)
            setting = where | {"threshold": threshold}
            guess = tree.predict(bits_test[name])
            numbers += [
                Number(
                    "n_encodings",
                    tree.n_encodings,
                    "layer tree",
                    setting,
                    len(y),
                    "lower",
                    "encodings",
                ),
                Number(
                    "n_split_nodes",
                    tree.split_nodes,
                    "layer tree",
                    setting,
                    len(y),
                    "lower",
                    "nodes",
                ),
                Number(
                    "train_accuracy_pct",
                    accuracy_pct(tree, bits[name], y),
                    "layer tree",
                    setting,
                    len(y),
                    unit="percent",
                ),
                Number(
                    "test_accuracy_pct",
                    100 * (guess == y_test).mean(),
                    "layer tree",
                    setting,
                    len(y_test),
                    unit="percent",
                ),
                Number(
                    "test_agreement_pct",
                    100 * (guess == answers["test"]).mean(),
                    "layer tree",
                    setting,
                    len(y_test),
                    unit="percent",
                ),
            ]
    width = {"widths": np.array([bits[name].width for name in names]), "layers": np.array(names)}
    return Outcome(numbers, width)


def duplicates(study: Study, rng: Generator, *, layer: str, samples: int | None = None) -> Outcome:
    """Duplicate encodings of a layer by kind (``duplicates.KINDS``): how many, the samples of the largest example, and its
    images: of its largest class first, then of the others.
    """
    y = _labels(study, "train", samples)
    encodings = _encodings(study, layer, y)
    kind = kinds_of.kinds(encodings)
    numbers, arrays = [], {"classes": np.array(study.target.classes)}
    for k, name in enumerate(kinds_of.KINDS):
        where = {"layer": layer, "kind": name}
        numbers.append(
            Number(
                "n_duplicates_of_kind",
                (kind == k).sum(),
                "encodings",
                where,
                len(y),
                "lower",
                "encodings",
            )
        )
        one = kinds_of.example(encodings, k)
        if one is None:
            continue
        numbers.append(
            Number(
                "example_samples",
                encodings.counts[one],
                "encodings",
                where,
                len(y),
                "lower",
                "samples",
            )
        )
        members, counts = encodings.samples(one), encodings.classes[one]
        order = np.argsort(-counts, kind="stable")
        rows = np.concatenate([members[y[members] == c][:SHOWN] for c in order[:3]])
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
        maps: ``image``, the mean sample of the paper; ``gradient``, the mean share of |image * gradient of the answer's
            logit| that a pixel has, the simplest of the attributions that the paper proposes in its stead; or any method
            of the house that draws heat maps, ``path/to/file.py:Class``: the mean share of its map's positive part.
    """
    target, y = study.target, _labels(study, "train", samples)
    bits = encode_layers(target, _parts(study, "train", len(y)), [layer])[layer]
    tree = grow(unique(bits, y, len(target.classes)), threshold, rng)
    if not tree.leaves:
        raise NotApplicable(
            f"no encoding of {layer} has {threshold} samples: there is no tree to draw"
        )
    draw = {"image": _grey, "gradient": _gradient}.get(maps) or _attribution(study, maps, rng)
    values = np.concatenate(
        [draw(target, part) for part in _parts(study, "train", len(y))]
    )  # (n, h, w)
    leaf = tree.apply(bits)
    mean, count = passing(tree, leaf, values)
    members = np.zeros((len(count), len(target.classes)), np.int64)
    np.add.at(members, (leaf, y), 1)  # of each class at each leaf
    where = {"layer": layer, "threshold": threshold}
    return Outcome(
        [
            Number(
                "n_drawn_split_nodes",
                tree.split_nodes,
                "layer tree",
                where | {"maps": maps},
                len(y),
                "lower",
                "nodes",
            )
        ],
        tree.arrays()
        | {
            "mean": (mean / np.nanmax(mean)).astype(np.float16),
            "count": count,
            "members": members,
            "classes": np.array(target.classes),
            "rules": np.array(rules(tree, target.classes)),
        },
    )


# --------------------------------------------------------------------------------------------- shared


def _labels(study: Study, split: str, samples: int | None = None) -> Array:
    """(n,) classes of the first ``samples`` images of a split."""
    n = study.data.size(split)
    if samples is not None and not 0 < samples <= n:
        raise ValueError(f"samples={samples}; {study.dataset} has {n:,} {split} images")
    return study.data.arrays[f"y_{split}"][:samples]


def _parts(study: Study, split: str, n: int) -> Iterator[Batch]:
    """The first n images of a split, CHUNK at a time."""
    for start in range(0, n, CHUNK):
        yield study.data.batch(split, np.arange(start, min(start + CHUNK, n)), study.target.device)


def _encodings(study: Study, layer: str, y: Array) -> Encodings:
    bits = encode_layers(study.target, _parts(study, "train", len(y)), [layer])[layer]
    return unique(bits, y, len(study.target.classes))


@torch.no_grad()
def _answers(study: Study, split: str, n: int) -> Array:
    """(n,) the network's classes."""
    return np.concatenate(
        [study.target(part.x).argmax(1).cpu().numpy() for part in _parts(study, split, n)]
    )


def _grey(target: Target, part: Batch) -> Array:
    return part.x.mean(1).cpu().numpy()  # (b, h, w)


def _gradient(target: Target, part: Batch) -> Array:
    x = part.x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(x).amax(1).sum(), x)
    product = (gradient * x.detach()).abs().mean(1)  # (b, h, w)
    return (product / product.sum((1, 2), keepdim=True).clamp(min=1e-12)).cpu().numpy()


def _attribution(study: Study, maps: str, rng: Generator) -> Callable[[Target, Batch], Array]:
    """Shares of the heat maps of the method ``maps``, (b, h, w).

    Raises:
        ValueError: it is neither a known word nor a method's file, or the method draws no heat maps.
    """
    if ".py:" not in maps:
        raise ValueError(
            f"maps is image, gradient or a method's path/to/file.py:Class, not {maps!r}"
        )
    reference = study.data.batch("train", study.data.sample("train", 256), study.target.device)
    method = study.build(maps).fit(study.target, reference, rng)

    def draw(target: Target, part: Batch) -> Array:
        heat = method.explain(target, part, rng).heatmaps
        if heat is None:
            raise ValueError(f"{method.name} draws no heat maps")
        heat = np.maximum(heat, 0)
        return heat / np.maximum(heat.sum((1, 2), keepdims=True), 1e-12)

    return draw
