"""The paper's experiments: Tables 2-3 and 7-8 (``layers``), 4-5 (``alphas``), 6 and Fig. 12 (``epochs``), Figs. 13-14
(``subsets``), 15 (``prototypes``), and the theory of Sec. 4 (``linear``).

Layers are named as the paper counts them, -1 the logits, each with the network's own name: ``layers: {-1: logits,
-2: conv4}``. All numbers are over the test images. ``rec_loss`` is the mean squared error per pixel and channel of
standardised images, the only unit that Tables 2 and 3 can be in. Tables 4 to 6 are in another one that the paper
does not name, so their losses are given as ``rec_loss_sum`` and ``rec_loss_l2`` (per image, standardised) and
compared with the paper's in their signs alone.

``<metric>_se`` is a number's standard error over the test images; of a difference of accuracies it is that of the
difference on the same image. What another training would give, seeds tell.

Settings that all share: ``images`` and ``test_images`` (None: all; else equally many of each class), ``base``,
``kernel``, ``variant`` of the decoder, ``decoding`` and ``evaluation``: fields of ``training.Training`` for the
decoders (and RefAE) and for C_eval; the defaults are the paper's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.cladec import linear as theory
from benchmark.papers.cladec import occlusion
from benchmark.papers.cladec import prototypes as li
from benchmark.papers.cladec.decoder import fresh
from benchmark.papers.cladec.method import VARIANTS, Variant, scale_for
from benchmark.papers.cladec.training import (
    CLASSIFYING,
    DECODING,
    Networks,
    Scale,
    Training,
    accuracy,
    descend,
    fit_classifiers,
    fit_decoders,
    fit_reference,
    right,
    run,
    seen,
    squared_error,
)
from benchmark.zoo.nets import seeded

MSE = "mean squared error, standardised"
SUM = "squared error an image, standardised"
NORM = "norm of the error, standardised"
GAP = "ClaDec-RefAE"
Settings = Mapping[str, Any]


class _Setup:
    """The images of a unit, and how its networks are trained."""

    def __init__(
        self,
        study: Study,
        rng: Generator,
        images: int | None = None,
        test_images: int | None = None,
        base: int = 64,
        kernel: int = 4,
        variant: Variant = "standardised",
        decoding: Settings | None = None,
        evaluation: Settings | None = None,
    ) -> None:
        self.target, self.rng = study.target, rng
        self.x, self.y, _ = _images(study, "train", images)
        self.x_test, self.y_test, self.ids = _images(study, "test", test_images)
        self.scale = scale_for(variant, self.x)
        self.units = Scale.of(
            self.x
        )  # of the reported losses, whatever the decoder is trained on
        self.grey = float(self.x.mean())  # the mean of all training pixels
        self.shape = {"base": base, "kernel": kernel, **VARIANTS[variant]}
        self.decoding = Training(**vars(DECODING) | dict(decoding or {}))
        self.evaluation = Training(**vars(CLASSIFYING) | dict(evaluation or {}))
        self.n = len(self.x_test)

    def decoders(
        self, layer: str, target: Target | None = None, **settings: Any
    ) -> list[nn.Sequential]:
        """ClaDec's decoders, one for each alpha among the settings (default: one)."""
        args = (
            target or self.target,
            layer,
            self.x,
            self.y,
            self.scale,
            self.decoding,
            self.rng,
        )
        return fit_decoders(*args, **settings, **self.shape)

    def reference(self, layer: str) -> nn.Sequential:
        """RefAE."""
        args = self.target, layer, self.x, self.scale, self.decoding, self.rng
        return fit_reference(*args, **self.shape)

    def decode(
        self, D: nn.Module, layer: str, x: Tensor, target: Target | None = None
    ) -> Tensor:
        """X_E, pixels, (n, c, h, w)."""
        target = target or self.target
        s = run(lambda part: D(target.features(part, layer)), x)
        return self.scale.pixels(s)

    def rebuild(self, RefAE: nn.Module, x: Tensor) -> Tensor:
        """X_R, pixels, (n, c, h, w)."""
        s = run(lambda part: RefAE(self.scale(part)), x)
        return self.scale.pixels(s)

    def decode_all(
        self, D: nn.Module, layer: str, target: Target | None = None
    ) -> tuple[Tensor, Tensor]:
        """X_E of the training and of the test images."""
        train = self.decode(D, layer, self.x, target)
        return train, self.decode(D, layer, self.x_test, target)

    def rebuild_all(self, RefAE: nn.Module) -> tuple[Tensor, Tensor]:
        """X_R of the training and of the test images."""
        train = self.rebuild(RefAE, self.x)
        return train, self.rebuild(RefAE, self.x_test)

    def errors(self, x: Tensor) -> Tensor:
        """Sum of squares between the test images and x (n, c, h, w), standardised, (n,)."""
        return squared_error(self.units(self.x_test), self.units(x))

    def loss(self, x: Tensor, which: Settings, method: str) -> list[Number]:
        """``rec_loss`` of the rebuilt test images x, as in Tables 2 and 3."""
        error = self.errors(x) / x[0].numel()
        return _with_error(error, "rec_loss", method, which, "lower", MSE)

    def losses(self, x: Tensor, which: Settings, method: str) -> list[Number]:
        """``rec_loss_sum`` and ``rec_loss_l2`` of the rebuilt test images x."""
        error = self.errors(x)
        numbers = _with_error(error, "rec_loss_sum", method, which, "lower", SUM)
        norm = error.sqrt()
        return numbers + _with_error(norm, "rec_loss_l2", method, which, "lower", NORM)

    def evaluated(self, rebuilt: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """Is C_eval right on each test image? (n,) for each (training images, test images), rebuilt, pixels."""
        images = []
        for train, _ in rebuilt:
            images.append(self.units(train))
        nets = fit_classifiers(self.target, images, self.y, self.evaluation, self.rng)
        values = []
        for net, (_, test) in zip(nets, rebuilt, strict=True):
            values.append(right(net, self.units(test), self.y_test))
        return values

    def shown(self, n: int) -> list[int]:
        """At most n test images for the pictures: one per class that the network gets right, in the order of the
        classes, then up to two that it gets wrong."""
        y = self.y_test.cpu().numpy()
        hits = right(self.target, self.x_test, self.y_test).cpu().numpy()
        first = []
        for c in np.unique(y):
            first += np.flatnonzero((hits == 1) & (y == c))[:1].tolist()
        wrong = np.flatnonzero(hits == 0)[: min(2, n)].tolist()
        return first[: n - len(wrong)] + wrong


def _with_error(
    values: Tensor, metric: str, method: str, which: Settings, better: str, unit: str
) -> list[Number]:
    """The mean over the test images of their values (n,), and its standard error."""
    n = len(values)
    number = partial(Number, method=method, setting=which, n=n, unit=unit)
    error = float(values.double().std()) / math.sqrt(n)
    mean = float(values.double().mean())
    return [
        number(metric, mean, better=better),
        number(f"{metric}_se", error, better="lower"),
    ]


def _difference_of_accuracies(
    a: Tensor, b: Tensor, metric: str, method: str, which: Settings
) -> list[Number]:
    """The mean of a - b over the test images (n,), and its standard error, paired.

    With d = a - b in {-1, 0, 1}, half an image is added to each of the four cells, so that few images that differ do
    not look certain: A. Agresti, Y. Min, Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24 (2005).
    """
    d = a - b
    n, total, square = len(d), float(d.sum()), float(d.square().sum())
    error = math.sqrt(square + 1 - total**2 / (n + 2)) / (n + 2)
    number = partial(Number, method=method, setting=which, n=n, unit="fraction")
    return [
        number(metric, total / n, better="higher"),
        number(f"{metric}_se", error, better="lower"),
    ]


def _images(
    study: Study, split: str, count: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Images as the network works on them, their classes, and their places in the split.

    Args:
        count: images, equally many of each class; None: all.
    """
    data, device = study.data, study.device
    rows = None
    if count is not None:
        rows = data.sample(split, count, "cladec", study.seed)
    batch = data.batch(split, rows)
    x, y = batch.x.to(device), batch.y.to(device)
    return seen(study.target, x), y, batch.ids


def layers(
    study: Study,
    rng: Generator,
    *,
    layers: Mapping[int, str],
    occlude: Sequence[int] = (),
    show: int = 10,
    images: int | None = None,
    test_images: int | None = None,
    base: int = 64,
    kernel: int = 4,
    variant: Variant = "standardised",
    decoding: Settings | None = None,
    evaluation: Settings | None = None,
) -> Outcome:
    """Tables 2-3: Rec Loss and Acc(C_eval) of ClaDec and RefAE at each layer; Tables 7-8 at the layers ``occlude``.

    Figs. 5-10: the images rebuilt, and Grad-CAM at each layer.
    """
    setup = _Setup(
        study, rng, images, test_images, base, kernel, variant, decoding, evaluation
    )
    rows = setup.shown(show)
    numbers, rebuilt = [], []
    arrays = _shown(setup, rows) | {"classes": np.array(study.target.classes)}
    for k, layer in layers.items():
        which = {"layer": k}
        (D,) = setup.decoders(layer)
        RefAE = setup.reference(layer)
        decoded, reference = setup.decode_all(D, layer), setup.rebuild_all(RefAE)
        rebuilt += [decoded, reference]
        (_, X_E), (_, X_R) = decoded, reference
        numbers += setup.loss(X_E, which, "ClaDec") + setup.loss(X_R, which, "RefAE")
        gap = (setup.errors(X_E) - setup.errors(X_R)) / X_E[0].numel()  # Delta Rec
        numbers += _with_error(gap, "delta_rec", GAP, which, "lower", MSE)
        arrays |= {f"decoded{k}": X_E[rows], f"reference{k}": X_R[rows]}
        arrays[f"cam{k}"] = _cam(setup, rows, layer)
        if k in occlude:
            found, pictures = _occlusion(setup, D, layer, which, rows)
            numbers += found
            arrays |= {f"{name}{k}": value for name, value in pictures.items()}
    hits = setup.evaluated(rebuilt)
    for k, ours, theirs in zip(layers, hits[::2], hits[1::2], strict=True):
        numbers += _accuracies(ours, theirs, {"layer": k})
    return Outcome(numbers, _plain(arrays))


def _shown(setup: _Setup, rows: Sequence[int]) -> dict[str, Any]:
    """The test images of the pictures, their classes, and their places in the test split."""
    return {
        "x": setup.x_test[rows],
        "y": setup.y_test[rows],
        "ids": setup.ids[rows],
    }


def _cam(setup: _Setup, rows: Sequence[int], layer: str) -> Tensor:
    """Grad-CAM of the pictures' images at a layer, each min-max scaled, (n, 1, h, w); a flat map is 0."""
    maps = occlusion.grad_cam(setup.target, setup.x_test[rows], layer)
    low = maps.amin((1, 2), keepdim=True)
    high = maps.amax((1, 2), keepdim=True)
    spread = (high - low).clamp(min=1e-12)
    scaled = (maps - low) / spread
    return scaled.unsqueeze(1)


def _accuracies(ours: Tensor, theirs: Tensor, which: Settings) -> list[Number]:
    """Acc(C_eval) of ClaDec and of RefAE from their hits (n,), and their difference."""
    number = partial(Number, setting=which, n=len(ours), unit="fraction")
    return [
        number("acc_eval", float(ours.mean()), "ClaDec"),
        number("acc_eval", float(theirs.mean()), "RefAE"),
        *_difference_of_accuracies(ours, theirs, "delta_acc", GAP, which),
    ]


def _occlusion(
    setup: _Setup, D: nn.Module, layer: str, which: Settings, rows: Sequence[int]
) -> tuple[list[Number], dict[str, Tensor]]:
    """Tables 7-8 and Fig. 16: accuracy with the least or most relevant square hidden.

    Squares are ranked by ClaDec, by Grad-CAM and at random.
    """
    x = setup.x_test
    relevance = {
        "ClaDec": _relevance(setup, D, layer),
        "GradCAM": occlusion.sums(occlusion.grad_cam(setup.target, x, layer)),
        "random": torch.from_numpy(setup.rng.random((setup.n, 16))),
    }
    numbers, pictures, gaps = [], {}, {}
    delta = "delta_acc_occl"
    for name, R in relevance.items():
        least, most = occlusion.extremes(R, setup.rng)
        low, high = _hidden_hits(setup, most), _hidden_hits(setup, least)
        number = partial(Number, method=name, setting=which, n=setup.n, unit="fraction")
        numbers += [
            number("acc_occl_max", float(low.mean()), better="lower"),
            number("acc_occl_min", float(high.mean()), better="higher"),
            *_difference_of_accuracies(high, low, delta, name, which),
        ]
        gaps[name] = high - low
        if name == "ClaDec":
            for key, square in (("least", least), ("most", most)):
                hidden = _hidden(setup, rows, square)
                pictures[f"{key}_hidden"] = hidden
                pictures[f"{key}_decoded"] = setup.decode(D, layer, hidden)
    pair = gaps["ClaDec"], gaps["GradCAM"]
    numbers += _difference_of_accuracies(*pair, delta, "ClaDec-GradCAM", which)
    return numbers, pictures


def _relevance(setup: _Setup, D: nn.Module, layer: str) -> Tensor:
    """R_ClaDec of the squares of the test images, (n, 16)."""

    def decode(images: Tensor) -> Tensor:
        return setup.scale(setup.decode(D, layer, images))

    found = []
    for part in setup.x_test.split(1000):
        found.append(occlusion.relevance(decode, part, setup.grey))
    return torch.cat(found)


def _hidden_hits(setup: _Setup, square: np.ndarray) -> Tensor:
    """Is the classifier right on each test image with its square ``square`` (n,) hidden? (n,)."""
    hits = occlusion.hits(setup.target, setup.x_test, setup.y_test, square, setup.grey)
    return torch.from_numpy(hits).double()


def _hidden(setup: _Setup, rows: Sequence[int], square: np.ndarray) -> Tensor:
    """Test images of the pictures with a square hidden."""
    places = occlusion.squares(*setup.x_test.shape[2:])
    hidden = []
    for i in rows:
        image = setup.x_test[[i]]
        hidden.append(occlusion.occlude(image, places[square[i]], setup.grey))
    return torch.cat(hidden)


def alphas(
    study: Study,
    rng: Generator,
    *,
    layer: str,
    alphas: Sequence[float] = (1, 0.999, 0.99, 0.9, 0),
    show: int = 10,
    images: int | None = None,
    test_images: int | None = None,
    base: int = 64,
    kernel: int = 4,
    variant: Variant = "standardised",
    reduction: Literal["sum", "mean"] = "sum",
    decoding: Settings | None = None,
    evaluation: Settings | None = None,
) -> Outcome:
    """Tables 4-5, Fig. 11: the trade-off between reconstruction and classification loss, Eq. 1, on test images."""
    setup = _Setup(
        study, rng, images, test_images, base, kernel, variant, decoding, evaluation
    )
    rows = setup.shown(show)
    arrays = _shown(setup, rows) | {"alphas": np.array(alphas, float)}
    numbers, rebuilt, errors = [], [], {}
    decoders = setup.decoders(layer, alphas=alphas, reduction=reduction)
    for j, (alpha, D) in enumerate(zip(alphas, decoders, strict=True)):
        which = {"alpha": float(alpha)}
        decoded = setup.decode_all(D, layer)
        rebuilt.append(decoded)
        _, X_E = decoded
        errors[alpha] = setup.errors(X_E)
        error = float(errors[alpha].mean())
        entropy = float(F.cross_entropy(run(study.target, X_E), setup.y_test))
        total = (1 - alpha) * error + alpha * entropy  # Eq. 1
        number = partial(
            Number, method="ClaDec", setting=which, n=setup.n, better="lower"
        )
        numbers += setup.losses(X_E, which, "ClaDec")
        numbers.append(number("cross_entropy", entropy, unit="nats"))
        numbers.append(number("total_loss_sum", total, unit="Eq. 1"))
        arrays[f"decoded{j}"] = X_E[rows]
    hits = dict(zip(alphas, setup.evaluated(rebuilt), strict=True))
    for alpha in alphas:
        which = {"alpha": float(alpha)}
        value = float(hits[alpha].mean())
        number = partial(Number, method="ClaDec", setting=which, n=setup.n)
        numbers.append(number("acc_eval", value, unit="fraction"))
    return Outcome(numbers + _compared(errors, hits), _plain(arrays))


def _compared(
    errors: Mapping[float, Tensor], hits: Mapping[float, Tensor]
) -> list[Number]:
    """What a larger alpha changes on the same images: the loss against the next smaller alpha, the accuracy against 0.

    Args:
        errors, hits: squared error and [C_eval is right] of each test image (n,), by alpha.
    """
    numbers = []
    for before, alpha in pairwise(sorted(errors)):
        rise, which = errors[alpha] - errors[before], {"alpha": float(alpha)}
        numbers += _with_error(rise, "rec_rise_sum", "ClaDec", which, "lower", SUM)
        if 0 in hits:
            pair = hits[alpha], hits[0]
            numbers += _difference_of_accuracies(*pair, "acc_gain", "ClaDec", which)
    return numbers


def epochs(
    study: Study,
    rng: Generator,
    *,
    layer: str,
    epochs: Sequence[int] = (0, 1, 4, 16, 64),
    training: Settings | None = None,
    show: int = 10,
    images: int | None = None,
    test_images: int | None = None,
    base: int = 64,
    kernel: int = 4,
    variant: Variant = "standardised",
    decoding: Settings | None = None,
    evaluation: Settings | None = None,
) -> Outcome:
    """Table 6: one classifier, decoded after so many epochs of its training; Fig. 12: the images of its pictures.

    RefAE does not depend on the classifier: it is trained once.
    """
    setup = _Setup(
        study, rng, images, test_images, base, kernel, variant, decoding, evaluation
    )
    how = Training(**vars(CLASSIFYING) | dict(training or {}) | {"epochs": max(epochs)})
    reference = setup.rebuild_all(setup.reference(layer))
    rebuilt = [reference]
    _, X_R = reference
    of_reference = setup.losses(X_R, {}, "RefAE")
    rows, numbers = setup.shown(show), []
    arrays = _shown(setup, rows) | {"reference": X_R[rows], "ages": np.array(epochs)}
    for age, target in _ages(setup, epochs, how):
        which = {"classifier epochs": age}
        value = accuracy(target, setup.x_test, setup.y_test)
        number = partial(Number, method="classifier", setting=which, n=setup.n)
        numbers.append(number("accuracy", value, unit="fraction"))
        (D,) = setup.decoders(layer, target)
        decoded = setup.decode_all(D, layer, target)
        rebuilt.append(decoded)
        _, X_E = decoded
        arrays[f"decoded{age}"] = X_E[rows]
        for ours, theirs in zip(
            setup.losses(X_E, which, "ClaDec"), of_reference, strict=True
        ):
            numbers += [ours, replace(theirs, setting=which)]
            if not ours.metric.endswith("_se"):
                numbers.append(_difference(ours, theirs))
    theirs, *ours = setup.evaluated(rebuilt)
    for age, hits in zip(epochs, ours, strict=True):
        numbers += _accuracies(hits, theirs, {"classifier epochs": age})
    return Outcome(numbers, _plain(arrays))


def _difference(ours: Number, theirs: Number) -> Number:
    """Delta Rec of ClaDec's and RefAE's loss."""
    return replace(
        ours,
        metric=ours.metric.replace("rec_loss", "delta_rec"),
        value=ours.value - theirs.value,
        method=GAP,
    )


def _ages(
    setup: _Setup, epochs: Sequence[int], how: Training
) -> list[tuple[int, Target]]:
    """(epochs, C) of one new classifier after so many epochs of its training."""
    target, found = setup.target, {}
    with seeded(int(setup.rng.integers(2**63 - 1)), setup.x.device):
        net = fresh(target.chain)

    def keep(age: int) -> None:
        if age in epochs:
            found[age] = Target(
                copy.deepcopy(net),
                name=f"{target.name}/epochs={age}",
                classes=target.classes,
                input_shape=target.input_shape,
                mean=target.mean.flatten().tolist(),
                std=target.std.flatten().tolist(),
                layer=target.layer,
            )

    def loss(model: Networks, rows: Tensor) -> Tensor:
        x, y = setup.x[rows], setup.y[rows]
        s = (x - target.mean) / target.std
        logits = model(s[None])[0]
        entropy = F.cross_entropy(logits.float(), y)
        return entropy[None]

    keep(0)
    descend([net], loss, len(setup.y), how, setup.rng, setup.y.device, keep)
    return [(age, found[age]) for age in epochs]


def subsets(
    study: Study,
    rng: Generator,
    *,
    layer: str,
    nested: Sequence[int] = (1, 10, 50, 512),
    disjoint: int = 5,
    width: int = 10,
    show: int = 10,
    images: int | None = None,
    test_images: int | None = None,
    base: int = 64,
    kernel: int = 4,
    variant: Variant = "standardised",
    decoding: Settings | None = None,
) -> Outcome:
    """Figs. 13-14: decoders from the first k units of a layer, and from ``disjoint`` ranges of ``width`` units."""
    setup = _Setup(study, rng, images, test_images, base, kernel, variant, decoding)
    rows = setup.shown(show)
    arrays = _shown(setup, rows)
    numbers = []
    ranges = [("nested", 0, k) for k in nested]
    ranges += [("disjoint", width * j, width) for j in range(disjoint)]
    for kind, first, k in ranges:
        (D,) = setup.decoders(layer, units=range(first, first + k))
        X_E = setup.decode(D, layer, setup.x_test)
        which = {"units": k} if kind == "nested" else {"first": first, "units": k}
        numbers += setup.loss(X_E, which, "ClaDec")
        arrays[f"{kind} {first} {k}"] = X_E[rows]
    return Outcome(numbers, _plain(arrays))


def prototypes(
    study: Study,
    rng: Generator,
    *,
    layer: str,
    count: int = 15,
    images: int | None = None,
    test_images: int | None = None,
    base: int = 64,
    kernel: int = 4,
    variant: Variant = "standardised",
    decoding: Settings | None = None,
    training: Settings | None = None,
) -> Outcome:
    """Fig. 15: the prototypes of Li et al. 2018 beside ClaDec's reconstructions of the nearest training images."""
    setup = _Setup(study, rng, images, test_images, base, kernel, variant, decoding)
    how = Training(**vars(li.TRAINING) | dict(training or {}))
    net = li.fit(setup.x, setup.y, len(study.target.classes), count, how, rng)
    drawn, nearest, weights = li.drawn(net, setup.x)
    images_near = setup.x[nearest]
    (D,) = setup.decoders(layer)

    def logits(x: Tensor) -> Tensor:
        return net(x)[0]

    value = accuracy(logits, setup.x_test, setup.y_test)
    which = {"prototypes": count}
    number = Number(
        "accuracy", value, "prototypes", which, setup.n, "higher", "fraction"
    )
    arrays = {
        "prototypes": drawn,
        "nearest": images_near,
        "decoded": setup.decode(D, layer, images_near),
        "y": setup.y[nearest],
        "shares": weights,
    }
    return Outcome([number], _plain(arrays))


def linear(
    study: Study,
    rng: Generator,
    *,
    hidden: Sequence[int] = (1, 10),
    ridge: float = 0.01,
    images: int | None = None,
    training: Settings | None = None,
) -> Outcome:
    """Sec. 4: how much of the images, and of a linear model's output, is lost by PCA, a linear RefAE and ClaDec.

    All are fitted to the training images and judged on them: the theory is about the least loss. ``hidden`` are the
    numbers of hidden units, at most the classes.
    """
    how = Training(**vars(theory.TRAINING) | dict(training or {}))
    rows = None
    if images is not None:
        rows = study.data.sample("train", images, "cladec", study.seed)
    batch = study.data.batch("train", rows)
    x, y = theory.centred(batch.x.to(study.device)), batch.y.to(study.device)
    numbers = []
    for k in hidden:
        E = theory.models(x, y, k, ridge)
        rebuilt = {
            "PCA": theory.projected(x, k),
            "RefAE": theory.autoencoded(x, k, how, rng),
            "ClaDec": theory.decoded(x, x @ E.T),
        }
        numbers += _linear(x, E, rebuilt, {"hidden units": k})
    return Outcome(numbers)


def _linear(
    x: Tensor, E: Tensor, rebuilt: Mapping[str, Tensor], which: Settings
) -> list[Number]:
    """What the rebuilt images (n, p) lose of x and of E x, as shares of their variances."""
    numbers = []
    for method, image in rebuilt.items():
        image_lost = theory.lost(x, image)
        output_lost = theory.lost(x @ E.T, image @ E.T)
        for name, values in (
            ("variance_lost", image_lost),
            ("output_lost", output_lost),
        ):
            numbers += _with_error(values, name, method, which, "lower", "share")
    ours, theirs = rebuilt["ClaDec"], rebuilt["RefAE"]
    gap = theory.lost(x, ours) - theory.lost(x, theirs)
    numbers += _with_error(gap, "variance_lost", GAP, which, "lower", "share")
    gap = theory.lost(x @ E.T, ours @ E.T) - theory.lost(x @ E.T, theirs @ E.T)
    numbers += _with_error(gap, "output_lost", GAP, which, "lower", "share")
    apart = (theirs - rebuilt["PCA"]).square().sum() / x.square().sum()
    number = partial(Number, method="RefAE", setting=which, n=len(x), better="lower")
    return [*numbers, number("distance_to_pca", float(apart), unit="share")]


def _plain(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Images as uint8, cut to [0, 1]; all else as it is."""
    out = {}
    for name, value in arrays.items():
        if isinstance(value, Tensor):
            value = value.detach().cpu().numpy()
        if value.ndim == 4:
            levels = 255 * value.clip(0, 1)
            value = np.rint(levels).astype(np.uint8)
        out[name] = value
    return out
