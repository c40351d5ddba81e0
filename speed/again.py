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
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmark.api import Batch, CallingSpec, Explanation, Target
from benchmark.metrics.again import seed_of
from benchmark.metrics.randomisation import cascade, mprt
from benchmark.metrics.robustness import DRAWS, max_sensitivity, neighbours
from speed import frame
from speed.frame import Row
from speed.metrics import NETS, Network, network

RADIUS = 0.1
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
    pairs = {
        f"Max-sensitivity, {DRAWS} draws": (max_sensitivity, sensitivity(target, x)),
        "MPRT, top down": (mprt, randomisation(target, x)),
    }
    for label, (metric, theirs) in pairs.items():
        got, want = ours(metric, target, x), theirs()
        apart = float(np.abs(got - want).max())
        if not apart < 2e-3:
            sys.exit(f"{name}: {label} differs by {apart:.2g}; nothing was timed")
        passes = DRAWS + 1 if metric is max_sensitivity else 1 + steps(target)
        peers = {
            "Quantus": (theirs, GOALS[name], bound, "ratio"),
            "floor": (floor(target, x, passes), None, "explanations alone", "floor"),
        }
        one = metric, target, x
        yield from frame.many(label, size, lambda one=one: ours(*one), peers, n=n)


def ours(metric: CallingSpec, target: Target, x: torch.Tensor) -> np.ndarray:
    """The metric on images that it has not seen before."""
    batch = Batch(x, torch.zeros(len(x), dtype=torch.int64))
    explain = lambda batch, other=None, fit=None: saliency(other or target, batch)
    rng = np.random.default_rng(SEED)
    return metric(explain(batch), target, batch, rng, explain=explain)


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


def sensitivity(target: Target, x: torch.Tensor) -> Callable[[], np.ndarray]:
    """Quantus' max-sensitivity, on our perturbed images."""
    import quantus

    batch = Batch(x, torch.zeros(len(x)))
    drawn = neighbours(batch, np.random.default_rng(SEED), RADIUS, DRAWS)
    near = [one.x.numpy().reshape(len(x), -1) for one in drawn]

    def run() -> np.ndarray:
        images = iter(near)
        given = lambda arr, indices, **_: next(images)
        metric = quantus.MaxSensitivity(nr_samples=DRAWS, perturb_func=given, **_QUIET)
        return np.array(called(metric, target, x))

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
        return np.mean([found[str(k)] for k in range(len(models))], axis=0)

    return run


if __name__ == "__main__":
    frame.alone(__doc__, rows)
