"""ClaDec: an image rebuilt from what a layer kept, beside the same by an autoencoder whose encoder was free.

Idea: train a decoder D on the activations L(X) of the frozen classifier. What X_E = D(L(X)) still shows, the layer
kept; what is lost, it discarded - or the decoder cannot draw it. So a reference autoencoder RefAE, the same layers
and decoder trained jointly to rebuild X, shows which losses are the decoder's: only what X_R shows and X_E does not
is due to the classifier.

    method = ClaDec(layer="conv4", epochs=20).fit(target, reference, rng)
    e = method.explain(target, batch, rng)
    e.decoded, e.reference        # X_E and X_R, (n, c, h, w), pixels in [0, 1] but not clipped
    e.labels                      # the class that the classifier gives X_E
    e.squares                     # the occlusion relevance R(O) of Sec. 6.6, (n, 16)
    e.heatmaps                    # the same spread over the pixels (ours)

Theory: with a linear encoder y = E x and decoder R, min_R |x - R E x|^2 is smallest, over all E, for the first
principal direction; a classifier's E keeps the direction of its classes instead (Sec. 4). So X_E is further from X
than X_R is, and closer in what tells the classes apart.

Reference: Schneider, Vlachos. Explaining classifiers by constructing familiar concepts. Machine Learning 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from numpy.random import Generator
from torch import Tensor

from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.papers.cladec import occlusion
from benchmark.papers.cladec.training import (
    Scale,
    Training,
    fit_decoders,
    fit_reference,
    given,
    run,
    seen,
)
from benchmark.shared.choices import check_choices

Variant = Literal["standardised", "authors"]
VARIANTS: dict[Variant, dict[str, bool]] = {  # of the decoder and its pixels
    # Standardised pixels, batch norm, linear output.
    "standardised": {"norm": True, "sigmoid": False},
    # Pixels in [0, 1], no batch norm, sigmoid: can collapse.
    "authors": {"norm": False, "sigmoid": True},
}


def scale_for(variant: Variant, x: Tensor) -> Scale:
    """How a variant scales pixels, learnt from the images x (n, c, h, w)."""
    if variant == "standardised":
        return Scale.of(x)
    return Scale(mean=x.new_tensor(0.0), std=x.new_tensor(1.0))


@dataclass
class ClaDec:
    """ClaDec and RefAE at ``layer`` (default: the target's own choice), or at some of its ``units``.

    It is as good as its decoders, which learn from the images that ``fit`` gets: 256 are enough for digits, not for
    photographs; the paper uses 60,000.
    """

    layer: str | None = None
    units: Sequence[int] | None = (
        None  # entries of a vector, channels of maps; None: all
    )
    alpha: float = 0.0  # of the classification loss, Eq. 1
    epochs: int = 64
    batch: int = 128
    lr: float = 3e-4
    base: int = 64  # channels before the last deconvolution
    kernel: int = 4  # of the deconvolutions
    variant: Variant = "standardised"
    largest: int = 64  # images of a larger side are for a GPU
    name = "ClaDec"
    paper = "cladec"
    offers = ("decoded", "reference", "labels", "heatmaps", "squares")

    def __post_init__(self) -> None:
        check_choices(self)

    def fit(self, target: Target, reference: Batch, rng: Generator) -> Self:
        """Train D and RefAE on the images of ``reference``.

        Raises:
            NotApplicable: images larger than ``largest``, or the target has no layer with spatial extent and none is
                named.
            ValueError: alpha outside [0, 1], units that the layer does not have, a layer that no
                decoder can follow.
            Diverged: the loss is not finite.
        """
        _, h, w = target.input_shape
        if max(h, w) > self.largest:
            raise NotApplicable(
                f"trains two networks on images of {h}x{w}; set `largest` to allow it"
            )
        self._layer = self.layer or target.layer
        if self._layer is None:
            known = ", ".join(target.layers)
            raise NotApplicable(
                f"{target.name} has no layer with spatial extent; name one of {known}"
            )
        x = seen(target, reference.x)
        self._scale = scale_for(self.variant, x)
        self._grey = float(x.mean())
        how = Training(epochs=self.epochs, batch=self.batch, lr=self.lr)
        shape = {"units": self.units, "base": self.base, "kernel": self.kernel}
        shape |= VARIANTS[self.variant]
        args = target, self._layer, x
        (self._D,) = fit_decoders(
            *args, reference.y, self._scale, how, rng, [self.alpha], **shape
        )
        self._RefAE = fit_reference(*args, self._scale, how, rng, **shape)
        return self

    def explain(self, target: Target, batch: Batch, rng: Generator) -> Explanation:
        """X_E, X_R, C(X_E) and the relevance of the pixels."""
        x, size = seen(target, batch.x), batch.x.shape[2:]
        code = target.features(batch, self._layer)
        X_E = self._scale.pixels(run(self._D, code, batch.chunk))  # (n, c, h, w)
        X_R = self._scale.pixels(run(self._RefAE, self._scale(x), batch.chunk))

        def decode(images: Tensor) -> Tensor:
            return run(lambda part: self._decode(target, part), images, batch.chunk)

        R = occlusion.relevance(decode, x, self._grey)
        return Explanation(
            decoded=given(X_E, size),
            reference=given(X_R, size),
            labels=run(target, X_E, batch.chunk).argmax(1),
            heatmaps=occlusion.on_pixels(R, *size),
            squares=R,
        )

    def work(self, facts):
        """See ``benchmark.shared.work``; none where ``fit`` raises NotApplicable."""
        from benchmark.papers.cladec import work

        layer = self.layer or facts.target.layer
        if layer is None or max(facts.shape[1:]) > self.largest:
            return facts.work()
        return work.method(facts, self)

    def _decode(self, target: Target, x: Tensor) -> Tensor:
        """D(L(x)), standardised, (n, c, h, w)."""
        with torch.no_grad():
            return self._D(target.features(x, self._layer))
