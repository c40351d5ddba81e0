"""The paper's experiments: Tables 2-3 and 7-8 (``layers``), 4-5 (``alphas``), 6 (``epochs``), Figs. 13-14 (``subsets``), 15
(``prototypes``).

Layers are named as the paper counts them, -1 the logits, each with the network's own name: ``layers: {-1: logits, -2: conv4}``.
All numbers are over the test images. ``rec_loss`` is the mean squared error per pixel and channel of standardised images, the
only unit that Tables 2 and 3 can be in. Tables 4 to 6 are in another one that the paper does not say, so that their losses
are given as ``rec_loss_sum`` and ``rec_loss_l2`` (per image, standardised) and held against nothing but their own signs.

Settings that all share: ``images`` and ``test_images`` (None: all; else as many of each class as there are), ``base``, ``kernel``,
``variant`` of the decoder, ``decoding`` and ``evaluation``: fields of ``training.Training`` for the decoders (and RefAE) and
for C_eval; the defaults are the paper's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from benchmark.api import Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.cladec import occlusion
from benchmark.papers.cladec import prototypes as li
from benchmark.papers.cladec.decoder import fresh
from benchmark.papers.cladec.method import VARIANTS
from benchmark.papers.cladec.training import (
    CLASSIFYING,
    DECODING,
    Scale,
    Training,
    accuracy,
    descend,
    fit_classifiers,
    fit_decoders,
    fit_reference,
    run,
    seen,
    squared_error,
)
from benchmark.zoo.nets import seeded

MSE = "mean squared error, standardised"
Settings = Mapping[str, Any]


class _Lab:
    """The images of a unit, and how its networks are trained."""

    def __init__(
        self,
        study: Study,
        rng: Generator,
        images: int | None = None,
        test_images: int | None = None,
        base: int = 64,
        kernel: int = 4,
        variant: str = "standardised",
        decoding: Settings | None = None,
        evaluation: Settings | None = None,
    ) -> None:
        data, self.target, self.rng = study.data, study.target, rng
        pick = lambda split, n: None if n is None else data.sample(split, n, "cladec", study.seed)
        train, test = (
            data.batch("train", pick("train", images)),
            data.batch("test", pick("test", test_images)),
        )
        self.x, self.y, self.x_test, self.y_test = (
            t.to(study.device) for t in (train.x, train.y, test.x, test.y)
        )
        self.x, self.x_test = seen(study.target, self.x), seen(study.target, self.x_test)
        self.scale = (
            Scale.of(self.x)
            if variant == "standardised"
            else Scale(self.x.new_tensor(0.0), self.x.new_tensor(1.0))
        )
        self.units = Scale.of(
            self.x
        )  # losses are reported in these, whatever the decoder is trained on
        self.grey = float(self.x.mean())  # the mean of all training pixels
        self.shape = {"base": base, "kernel": kernel, **VARIANTS[variant]}
        self.decoding = Training(**vars(DECODING) | dict(decoding or {}))
        self.evaluation = Training(**vars(CLASSIFYING) | dict(evaluation or {}))
        self.n = len(self.x_test)

    def decoders(
        self, layer: str, target: Target | None = None, **settings: Any
    ) -> list[nn.Sequential]:
        args = target or self.target, layer, self.x, self.y, self.scale, self.decoding, self.rng
        return fit_decoders(*args, **settings, **self.shape)

    def reference(self, layer: str) -> nn.Sequential:
        return fit_reference(
            self.target, layer, self.x, self.scale, self.decoding, self.rng, **self.shape
        )

    def decode(self, D: nn.Module, layer: str, x: Tensor, target: Target | None = None) -> Tensor:
        """X_E, pixels, (n, c, h, w)."""
        return self.scale.pixels(
            run(lambda part: D((target or self.target).features(part, layer)), x)
        )

    def rebuild(self, RefAE: nn.Module, x: Tensor) -> Tensor:
        """X_R, pixels, (n, c, h, w)."""
        return self.scale.pixels(run(lambda part: RefAE(self.scale(part)), x))

    def errors(self, x: Tensor) -> Tensor:
        """Sum of squares between the test images and x (n, c, h, w), standardised, (n,)."""
        return squared_error(self.units(self.x_test), self.units(x))

    def losses(
        self, x: Tensor, which: Settings, method: str, names: Sequence[str] = ("rec_loss",)
    ) -> Iterator[Number]:
        error = self.errors(x)
        values = {
            "rec_loss": error.mean() / x[0].numel(),
            "rec_loss_sum": error.mean(),
            "rec_loss_l2": error.sqrt().mean(),
        }
        units = {
            "rec_loss": MSE,
            "rec_loss_sum": "squared error an image, standardised",
            "rec_loss_l2": "norm of the error, standardised",
        }
        for name in names:
            yield Number(name, float(values[name]), method, which, self.n, "lower", units[name])

    def accuracies(self, rebuilt: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
        """Acc(C_eval) for each (training images, test images), rebuilt, pixels."""
        nets = fit_classifiers(
            self.target,
            [self.units(train) for train, _ in rebuilt],
            self.y,
            self.evaluation,
            self.rng,
        )
        return [
            accuracy(net, self.units(test), self.y_test)
            for net, (_, test) in zip(nets, rebuilt, strict=True)
        ]

    def shown(self, n: int) -> np.ndarray:
        """Test images for the pictures: one a class that the network knows, in the order of the classes, then two it does not."""
        right = (run(self.target, self.x_test).argmax(1) == self.y_test).cpu().numpy()
        y = self.y_test.cpu().numpy()
        first = [np.flatnonzero(right & (y == c))[:1] for c in np.unique(y)]
        wrong = np.flatnonzero(~right)[:2]
        return (
            np.concatenate([*first, [], wrong]).astype(int)[: max(0, n - len(wrong))].tolist()
            + wrong.tolist()
        )


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
    variant: str = "standardised",
    decoding: Settings | None = None,
    evaluation: Settings | None = None,
) -> Outcome:
    """Tables 2-3: Rec Loss and Acc(C_eval) of ClaDec and RefAE at each layer; Tables 7-8 at the layers ``occlude``."""
    lab = _Lab(study, rng, images, test_images, base, kernel, variant, decoding, evaluation)
    rows = lab.shown(show)
    numbers, rebuilt = [], []
    arrays = {
        "x": lab.x_test[rows],
        "y": lab.y_test[rows],
        "classes": np.array(study.target.classes),
    }
    for k, layer in layers.items():
        (D,), RefAE, which = lab.decoders(layer), lab.reference(layer), {"layer": k}
        pairs = [
            (lab.decode(D, layer, lab.x), lab.decode(D, layer, lab.x_test)),
            (lab.rebuild(RefAE, lab.x), lab.rebuild(RefAE, lab.x_test)),
        ]
        losses = [
            next(lab.losses(test, which, name))
            for (_, test), name in zip(pairs, ("ClaDec", "RefAE"), strict=True)
        ]
        delta = losses[0].value - losses[1].value
        numbers += [*losses, Number("delta_rec", delta, "ClaDec-RefAE", which, lab.n, "lower", MSE)]
        rebuilt += pairs
        arrays |= {f"decoded{k}": pairs[0][1][rows], f"reference{k}": pairs[1][1][rows]}
        if k in occlude:
            found, pictures = _occlusion(lab, D, layer, which, rows)
            numbers += found
            arrays |= {f"{name}{k}": value for name, value in pictures.items()}
    acc = lab.accuracies(rebuilt)
    for k, ours, theirs in zip(layers, acc[::2], acc[1::2], strict=True):
        for name, value in (("ClaDec", ours), ("RefAE", theirs)):
            numbers.append(
                Number("acc_eval", value, name, {"layer": k}, lab.n, "higher", "fraction")
            )
        numbers.append(
            Number(
                "delta_acc",
                ours - theirs,
                "ClaDec-RefAE",
                {"layer": k},
                lab.n,
                "higher",
                "fraction",
            )
        )
    return Outcome(numbers, _plain(arrays))


def _occlusion(
    lab: _Lab, D: nn.Module, layer: str, which: Settings, rows: Sequence[int]
) -> tuple[list[Number], dict[str, Tensor]]:
    """Tables 7-8: accuracy with the least or most relevant square hidden, by ClaDec, Grad-CAM and at random; Fig. 16."""
    x, numbers, pictures = lab.x_test, [], {}
    decode = lambda images: lab.scale(lab.decode(D, layer, images))
    relevance = {
        "ClaDec": torch.cat(
            [occlusion.relevance(decode, part, lab.grey) for part in x.split(1000)]
        ),
        "GradCAM": occlusion.sums(occlusion.grad_cam(lab.target, x, layer)),
        "random": torch.from_numpy(lab.rng.random((lab.n, 16))),
    }
    places = occlusion.squares(*x.shape[2:])
    for name, R in relevance.items():
        least, most = occlusion.extremes(R, lab.rng)
        low, high = (
            float(occlusion.hits(lab.target, x, lab.y_test, square, lab.grey).mean())
            for square in (most, least)
        )
        for metric, value, better in (
            ("acc_occl_max", low, "lower"),
            ("acc_occl_min", high, "higher"),
            ("delta_acc_occl", high - low, "higher"),
        ):
            numbers.append(Number(metric, value, name, which, lab.n, better, "fraction"))
        if name == "ClaDec":
            for key, square in (("least", least), ("most", most)):
                hidden = torch.cat(
                    [occlusion.occlude(x[[i]], places[square[i]], lab.grey) for i in rows]
                )
                pictures |= {
                    f"{key}_hidden": hidden,
                    f"{key}_decoded": lab.decode(D, layer, hidden),
                }
    return numbers, pictures


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
    variant: str = "standardised",
    reduction: str = "sum",
    decoding: Settings | None = None,
    evaluation: Settings | None = None,
) -> Outcome:
    """Tables 4-5 and Fig. 11: the trade-off between reconstruction and classification loss, Eq. 1, all on test images."""
    lab = _Lab(study, rng, images, test_images, base, kernel, variant, decoding, evaluation)
    rows, numbers, rebuilt = lab.shown(show), [], []
    arrays = {"x": lab.x_test[rows], "y": lab.y_test[rows], "alphas": np.array(alphas, float)}
    for j, (alpha, D) in enumerate(
        zip(alphas, lab.decoders(layer, alphas=alphas, reduction=reduction), strict=True)
    ):
        which, test = {"alpha": float(alpha)}, lab.decode(D, layer, lab.x_test)
        rebuilt.append((lab.decode(D, layer, lab.x), test))
        entropy = float(F.cross_entropy(run(study.target, test), lab.y_test))
        total = (1 - alpha) * float(
            lab.errors(test).mean()
        ) + alpha * entropy  #                           Eq. 1
        numbers += lab.losses(test, which, "ClaDec", ("rec_loss_sum", "rec_loss_l2"))
        numbers += [
            Number("cross_entropy", entropy, "ClaDec", which, lab.n, "lower", "nats"),
            Number("total_loss_sum", total, "ClaDec", which, lab.n, "lower", "Eq. 1"),
        ]
        arrays[f"decoded{j}"] = test[rows]
    for alpha, value in zip(alphas, lab.accuracies(rebuilt), strict=True):
        numbers.append(
            Number(
                "acc_eval", value, "ClaDec", {"alpha": float(alpha)}, lab.n, "higher", "fraction"
            )
        )
    return Outcome(numbers, _plain(arrays))


def epochs(
    study: Study,
    rng: Generator,
    *,
    layer: str,
    epochs: Sequence[int] = (0, 1, 4, 16, 64),
    training: Settings | None = None,
    images: int | None = None,
    test_images: int | None = None,
    base: int = 64,
    kernel: int = 4,
    variant: str = "standardised",
    decoding: Settings | None = None,
    evaluation: Settings | None = None,
) -> Outcome:
    """Table 6: one classifier, decoded after so many epochs of its training. RefAE does not depend on it: one for all."""
    lab = _Lab(study, rng, images, test_images, base, kernel, variant, decoding, evaluation)
    how = Training(**vars(CLASSIFYING) | dict(training or {}) | {"epochs": max(epochs)})
    RefAE = lab.reference(layer)
    rebuilt = [(lab.rebuild(RefAE, lab.x), test_R := lab.rebuild(RefAE, lab.x_test))]
    reference, numbers = list(lab.losses(test_R, {}, "RefAE", ("rec_loss_sum", "rec_loss_l2"))), []
    for age, target in _ages(lab, epochs, how):
        which = {"classifier epochs": age}
        numbers.append(
            Number(
                "accuracy",
                accuracy(target, lab.x_test, lab.y_test),
                "classifier",
                which,
                lab.n,
                "higher",
                "fraction",
            )
        )
        (D,) = lab.decoders(layer, target)
        test = lab.decode(D, layer, lab.x_test, target)
        rebuilt.append((lab.decode(D, layer, lab.x, target), test))
        for ours, theirs in zip(
            lab.losses(test, which, "ClaDec", ("rec_loss_sum", "rec_loss_l2")),
            reference,
            strict=True,
        ):
            delta = Number(
                ours.metric.replace("rec_loss", "delta_rec"),
                ours.value - theirs.value,
                "ClaDec-RefAE",
                which,
                lab.n,
                "lower",
                ours.unit,
            )
            numbers += [
                ours,
                Number(theirs.metric, theirs.value, "RefAE", which, lab.n, "lower", theirs.unit),
                delta,
            ]
    theirs, *ours = lab.accuracies(rebuilt)
    for age, value in zip(epochs, ours, strict=True):
        which = {"classifier epochs": age}
        numbers += [
            Number("acc_eval", value, "ClaDec", which, lab.n, "higher", "fraction"),
            Number("acc_eval", theirs, "RefAE", which, lab.n, "higher", "fraction"),
            Number("delta_acc", value - theirs, "ClaDec-RefAE", which, lab.n, "higher", "fraction"),
        ]
    return Outcome(numbers)


def _ages(lab: _Lab, epochs: Sequence[int], how: Training) -> list[tuple[int, Target]]:
    """(age, C) of one new classifier after so many epochs."""
    t, found = lab.target, {}
    with seeded(int(lab.rng.integers(2**63 - 1)), lab.x.device):
        net = fresh(t.net)
    s = lambda x: (x - t.mean) / t.std

    def keep(age: int) -> None:
        if age in epochs:
            found[age] = Target(
                copy.deepcopy(net),
                name=f"{t.name}/epochs={age}",
                classes=t.classes,
                input_shape=t.input_shape,
                mean=t.mean.flatten().tolist(),
                std=t.std.flatten().tolist(),
                layer=t.layer,
            )

    keep(0)
    loss = lambda model, rows: F.cross_entropy(model(s(lab.x[rows])[None])[0].float(), lab.y[rows])[
        None
    ]
    descend([net], loss, len(lab.y), how, lab.rng, lab.y.device, keep)
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
    variant: str = "standardised",
    decoding: Settings | None = None,
) -> Outcome:
    """Figs. 13-14: decoders from the first k units of a layer, and from ``disjoint`` ranges of ``width`` units."""
    lab = _Lab(study, rng, images, test_images, base, kernel, variant, decoding)
    rows, numbers = lab.shown(show), []
    arrays = {"x": lab.x_test[rows], "y": lab.y_test[rows]}
    ranges = [("nested", 0, k) for k in nested] + [
        ("disjoint", width * j, width) for j in range(disjoint)
    ]
    for kind, first, k in ranges:
        (D,) = lab.decoders(layer, units=range(first, first + k))
        test = lab.decode(D, layer, lab.x_test)
        numbers += lab.losses(
            test, {"units": k} if kind == "nested" else {"first": first, "units": k}, "ClaDec"
        )
        arrays[f"{kind} {first} {k}"] = test[rows]
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
    variant: str = "standardised",
    decoding: Settings | None = None,
    training: Settings | None = None,
) -> Outcome:
    """Fig. 15: the prototypes of Li et al. 2018 beside ClaDec's reconstructions of the training images nearest to them."""
    lab = _Lab(study, rng, images, test_images, base, kernel, variant, decoding)
    how = Training(**vars(li.TRAINING) | dict(training or {}))
    net = li.fit(lab.x, lab.y, len(study.target.classes), count, how, rng)
    drawn, nearest, shares = li.drawn(net, lab.x)
    (D,) = lab.decoders(layer)
    share = Number(
        "accuracy",
        accuracy(lambda x: net(x)[0], lab.x_test, lab.y_test),
        "prototypes",
        {"prototypes": count},
        lab.n,
        "higher",
        "fraction",
    )
    arrays = {
        "prototypes": drawn,
        "nearest": lab.x[nearest],
        "decoded": lab.decode(D, layer, lab.x[nearest]),
        "y": lab.y[nearest],
        "shares": shares,
    }
    return Outcome([share], _plain(arrays))


def _plain(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Images as uint8, cut to [0, 1]; all else as it is."""
    out = {}
    for name, value in arrays.items():
        value = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        out[name] = np.rint(255 * value.clip(0, 1)).astype(np.uint8) if value.ndim == 4 else value
    return out
