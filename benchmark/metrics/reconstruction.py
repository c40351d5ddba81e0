"""Reconstruction: how much of the image is in what a method rebuilt from a layer?

Idea: ClaDec judges a decoded image twice. Is it close to the input (comprehensible)? Does it still carry the class
(faithful)? Both are read beside the reference auto-encoder, which has the same layers and decoder but a free encoder:
only the difference is due to the classifier. Any method that offers ``decoded`` is scored, with or without
``reference``.

Units: ``standardised`` is the squared error divided by the variance of the training pixels of its channel, mean over
pixels and channels: 0 is the image itself, about 1 a picture of the mean pixel. The paper's Tables 2 and 3 can only be
in this unit (0.374 on MNIST exceeds the pixels' variance of 0.096 in [0, 1]). The variance is that of the training
images, ``Target.pixel_std``, whatever the network normalises by; where a network of one's own does not say it, the
metric is not applicable. ``pixels`` is the same without the division; ``norm="l2"`` is ||X - X_E||_2 as printed in
Delta Rec.

Weaknesses:
- A low loss does not make a good explanation: the input itself scores 0. A high loss is due to classifier, decoder and
  the number of training images together; Delta Rec removes the last two, as far as both decoders are trained alike.
- The accuracy here is that of the explained network on rebuilt images. The paper trains a new classifier on them
  (C_eval), which needs all training images rebuilt: those numbers come from the replication. The network itself may
  fail on images that are a little off its data, and it shares its mistakes with the layer that was decoded.

Reference: J. Schneider, M. Vlachos, Explaining classifiers by constructing familiar concepts, Machine Learning 2022,
Sec. 5.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator

from benchmark.api import Array, Batch, Explanation, NotApplicable, Target, metric

SCALES = ({"scale": "standardised"}, {"scale": "pixels"})


@metric(
    needs={"decoded"},
    track="reconstruction",
    better="lower",
    unit="mean squared error",
    version=1,
    source="ClaDec Tables 2-3, Rec Loss",
    settings=SCALES,
)
def reconstruction_loss(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    scale: str = "standardised",
    norm: str = "mse",
) -> Array:
    """Loss of the reconstruction. How far is the rebuilt image from the image?

    1/(c h w) sum_i (X_i - X_E,i)^2, or sqrt(sum_i (X_i - X_E,i)^2) for ``norm="l2"``, (n,).

    Range: 0 and more.
    Weakness: The image itself would score 0, so a low loss alone explains nothing.
    """
    return _loss(e.decoded, "decoded", target, batch, scale, norm)


@metric(
    needs={"decoded", "reference"},
    track="reconstruction",
    better="lower",
    unit="mean squared error",
    version=1,
    source="ClaDec Sec. 5, Delta Rec",
    settings=SCALES,
)
def delta_reconstruction(
    e: Explanation,
    target: Target,
    batch: Batch,
    rng: Generator,
    scale: str = "standardised",
    norm: str = "mse",
) -> Array:
    """Loss beyond the reference. How much more does the layer lose than an auto-encoder of the same shape?

    Rec Loss of ``decoded`` minus that of ``reference``, (n,): what the classifier discards.

    Range: any.
    Weakness: Holds as far as both decoders were trained alike; below 0 the reference was trained too little.
    """
    decoded = _loss(e.decoded, "decoded", target, batch, scale, norm)
    reference = _loss(e.reference, "reference", target, batch, scale, norm)
    return decoded - reference


@metric(
    needs={"decoded"},
    track="reconstruction",
    better="higher",
    unit="fraction",
    version=1,
    source="ClaDec Sec. 5, with C in place of C_eval",
)
def decoded_accuracy(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Accuracy on reconstructions. How often is the network right on the rebuilt image?

    [argmax F(X_E) = true class], (n,), 0 or 1.

    Range: 0 or 1 per image.
    Weakness: The network may fail on images that are a little off its data, and shares its mistakes with the layer that
        was decoded.
    """
    right = _right(e.decoded, "decoded", target, batch)
    return right.astype(float)


@metric(
    needs={"decoded", "reference"},
    track="reconstruction",
    better="higher",
    unit="fraction",
    version=1,
    source="ClaDec Sec. 5, Delta Acc with C in place of C_eval",
)
def decoded_delta_accuracy(
    e: Explanation, target: Target, batch: Batch, rng: Generator
) -> Array:
    """Accuracy beyond the reference. Is the network more often right on the rebuilt image than on the reference's?

    [argmax F(X_E) = true class] - [argmax F(X_R) = true class], (n,), -1, 0 or 1.

    Range: -1 to 1.
    Weakness: The network may fail on both for being a little off its data.
    """
    decoded = _right(e.decoded, "decoded", target, batch)
    reference = _right(e.reference, "reference", target, batch)
    return np.subtract(decoded, reference, dtype=float)


def _loss(
    images: Array, name: str, target: Target, batch: Batch, scale: str, norm: str
) -> Array:
    """``reconstruction_loss`` of images (n, c, h, w), (n,)."""
    if scale not in ("standardised", "pixels") or norm not in ("mse", "l2"):
        raise ValueError(
            f"scale={scale!r} must be standardised or pixels, norm={norm!r} must be mse or l2"
        )
    error = batch.x.detach().double().cpu().numpy() - _checked(
        images, name, batch
    )  # (n, c, h, w)
    if scale == "standardised":
        if target.pixel_std is None:
            raise NotApplicable(
                f"the training pixels' standard deviation is not known: {target.name} takes plain pixels; "
                "pass pixel_std to its Target"
            )
        error /= target.pixel_std.double().cpu().numpy()
    square = error.reshape(len(error), -1) ** 2
    return square.mean(1) if norm == "mse" else np.sqrt(square.sum(1))


@torch.no_grad()
def _right(images: Array, name: str, target: Target, batch: Batch) -> Array:
    """[argmax F = true class] of images (n, c, h, w), (n,) bool."""
    rebuilt = torch.from_numpy(_checked(images, name, batch))
    logits = []
    for part in rebuilt.to(batch.x.device).split(batch.chunk):
        logits.append(target(part))
    right = torch.cat(logits).argmax(1) == batch.y
    return right.cpu().numpy()


def _checked(images: Array, name: str, batch: Batch) -> Array:
    """The images, which have the shape of the batch.

    Raises:
        ValueError: there are none, or they have another shape.
    """
    expected = tuple(batch.x.shape)
    if images is None or images.shape != expected:
        found = "nothing" if images is None else f"shape {images.shape}"
        raise ValueError(
            f"{name} has {found} for images of shape {expected}: return one rebuilt image for each"
        )
    return images
