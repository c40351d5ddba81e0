"""CPU-seconds of max-sensitivity and MPRT against Quantus, at equal scores.

Example:
    python speed/again.py                   # 64 grey images of 32 x 32, saliency, three networks

Both explain by the gradient of the logit of the predicted class: Quantus by its own ``quantus.explain`` (captum's
Saliency), ours as below. Quantus gets our perturbed images and randomised networks, drawn before, while ours draws them
in its turn; the scores must be equal, or nothing is timed. Our metrics also ask whether noise changes the prediction:
one more forward pass for each perturbed image. Networks are untrained, which does not change the time. The floor is the
forward and backward passes of the explanations alone.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmark.api import Batch, CallingSpec, Explanation, Target
from benchmark.metrics.again import seed_of
from benchmark.metrics.randomisation import cascade, mprt
from benchmark.metrics.robustness import (
    DRAWS,
    average_sensitivity,
    max_sensitivity,
    neighbours,
)
from speed import frame
from speed.frame import Row
from speed.metrics import NETS, Network, network

RADIUS = 0.01  # so small that noise hardly changes what an untrained network predicts
SEED = 0  # of the metrics' draws
GOALS = {"linear": 5, "explainn_cnn": 5, "vgg11": 2}
SIDE = 32


def saliency(target: Target, batch: Batch) -> Explanation:
    """|gradient| of the largest logit at the pixels."""
    maps = []
    for part in batch:
        x = part.x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(target(x).amax(1).sum(), x)
        maps.append(gradient.abs().sum(1))
    return Explanation(heatmaps=torch.cat(maps))


def rows(small: bool = False) -> Iterator[Row]:
    try:
        import quantus  # noqa: F401
    except ImportError:
        sys.exit("Quantus is not installed: pip install 'glassbench[oracles]'")
    images, rng = (4 if small else 64), np.random.default_rng(0)
    x = torch.from_numpy(rng.random((images, 1, SIDE, SIDE), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Quantus warns about its own parameters
        for name in list(NETS)[:1] if small else NETS:
            yield from compare(name, x, 2 if small else 5)


def compare(name: str, x: torch.Tensor, n: int) -> Iterator[Row]:
    target = network(name)
    size, bound = f"{len(x)} images, {name}", "the same explanations"
    most = f"Max-sensitivity, {DRAWS} draws"
    both = "Max- and average-sensitivity, same draws"
    sensitive = (max_sensitivity, average_sensitivity)
    pairs = {
        most: (sensitive[:1], sensitivity(target, x, "MaxSensitivity")),
        both: (sensitive, sensitivity(target, x, "MaxSensitivity", "AvgSensitivity")),
        "MPRT, top down": ((mprt,), randomisation(target, x)),
    }
    for label, (metrics, theirs) in pairs.items():
        got, want = ours(metrics, target, x), theirs()
        apart = float(np.abs(got - want).max())
        if not apart < 2e-3:
            sys.exit(f"{name}: {label} differs by {apart:.2g}; nothing was timed")
        passes = 1 + steps(target) if metrics == (mprt,) else 1 + DRAWS
        peers = {
            "Quantus": (theirs, GOALS[name], bound, "ratio"),
            "floor": (floor(target, x, passes), None, "explanations alone", "floor"),
        }
        one = metrics, target, x
        yield from frame.many(label, size, lambda one=one: ours(*one), peers, n=n)


def ours(metrics: Sequence[CallingSpec], target: Target, x: torch.Tensor) -> np.ndarray:
    """The metrics on images that they have not seen before, (m, n); as in the pipeline, the same question is asked
    once."""
    batch, answers = Batch(x, torch.zeros(len(x), dtype=torch.int64)), {}

    def explain(
        batch: Batch, other: Target | None = None, fit: Target | None = None
    ) -> Explanation:
        question = id(batch), other
        if question not in answers:
            answers[question] = saliency(other or target, batch)
        return answers[question]

    found = []
    for metric in metrics:
        rng = np.random.default_rng(SEED)
        setting = {"radius": RADIUS} if metric is not mprt else {}
        e = explain(batch)
        found.append(metric(e, target, batch, rng, explain=explain, **setting))
    return np.array(found)


def steps(target: Target) -> int:
    return len(drawn_networks(target, torch.zeros(1, *target.input_shape)))


def floor(target: Target, x: torch.Tensor, passes: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(passes):
            saliency(target, Batch(x, torch.zeros(len(x))))

    return run


# --------------------------------------------------------------------------------------------- Quantus

_QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False}


def called(metric: Callable, target: Target, x: torch.Tensor) -> object:
    """A metric of Quantus, explained by its own saliency."""
    import quantus

    return metric(
        model=Network(target).eval(),
        x_batch=x.numpy(),
        y_batch=target(x).argmax(1).numpy(),
        channel_first=True,
        explain_func=quantus.explain,
        explain_func_kwargs={"method": "Saliency"},
        device="cpu",
        batch_size=64,
    )


def sensitivity(
    target: Target, x: torch.Tensor, *names: str
) -> Callable[[], np.ndarray]:
    """Metrics of Quantus on our perturbed images."""
    import quantus

    batch = Batch(x, torch.zeros(len(x)))
    drawn = neighbours(batch, np.random.default_rng(SEED), RADIUS, DRAWS)
    near = [one.x.numpy().reshape(len(x), -1) for one in drawn]

    def run() -> np.ndarray:
        found = []
        for name in names:
            images = iter(near)
            given = lambda arr, indices, images=images, **_: next(images)
            kind = getattr(quantus, name)
            metric = kind(nr_samples=DRAWS, perturb_func=given, **_QUIET)
            found.append(called(metric, target, x))
        return np.array(found)

    return run


def drawn_networks(target: Target, x: torch.Tensor) -> list[Target]:
    batch = Batch(x, torch.zeros(len(x)))
    seed = seed_of(np.random.default_rng(SEED))
    return list(cascade(target, batch, seed, "top"))[::-1]


def randomisation(target: Target, x: torch.Tensor) -> Callable[[], np.ndarray]:
    """Quantus' MPRT, on our randomised networks; the mean over these, without the trained one."""
    import quantus
    from quantus.helpers.model.pytorch_model import PyTorchModel

    models = [Network(one).eval() for one in drawn_networks(target, x)]
    given = lambda *_, **__: ((str(k), model) for k, model in enumerate(models))

    def run() -> np.ndarray:
        metric = quantus.MPRT(abs=False, skip_layers=False, **_QUIET)
        with mock.patch.object(PyTorchModel, "get_random_layer_generator", given):
            found = called(metric, target, x)
        return np.mean([found[str(k)] for k in range(len(models))], axis=0)[None]

    return run


if __name__ == "__main__":
    frame.alone(__doc__, rows)
