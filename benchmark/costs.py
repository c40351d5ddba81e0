"""How long a unit takes that was not run yet: counted work, and what such work took elsewhere.

Two things are counted: *passes*, multiply-adds through the network, in billions; and *fits*, in millions, the product of
all that repeats what is fitted beside it (images x epochs x restarts x ...). Units of one kind do the same on other data,
networks or settings:

    seconds = a + b passes + c fits,    a, b, c >= 0, by least squares of the relative error over the kind's measured units

where b is what a core needs for a multiply-add at most: small units take longer for other reasons, which do not grow with the
network. In a kind of fewer than four measured units, what b leaves is the fits', in proportion; one of none is *guessed* from
all kinds of its step, but no faster than a core multiplies. On a GPU, b is divided by the GPU's ratio; a and c are not where the
fit is the CPU's (trees, rules, clusters, the launches of small kernels). Memory is what the libraries hold, the data set as
bytes, and a few float32 copies of the images at hand.

A plan needs the right order of magnitude and the right longest units; it is checked by predicting the profiles that were
run (``glassbench plan --check``).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import nn

from benchmark import replicate
from benchmark.api import settings_of
from benchmark.cells import Cell
from benchmark.concepts import RESOLUTIONS
from benchmark.engine import Unit
from benchmark.papers.xnn.srae import Setting
from benchmark.profile import Profile
from benchmark.times import Key, Time
from benchmark.zoo import nets
from benchmark.zoo.recipe import Recipe

_CORE = 26.0  # billion multiply-adds a second of one core of the reference (AMD EPYC with AVX-512): measured in Score-CAM on
# quick's SqueezeNet; in training, quick's VGG-11 and SqueezeNet do 22 to 41.
# How many times that a GPU does: ASSUMED, a quarter of the published peak of float32 (NVIDIA's data sheets; TF32 is off), for networks
# that fill the GPU. No unit was measured on one.
GPUS = {"t4": 40, "l4": 150, "v100": 75, "a100": 100, "a10": 150, "h100": 330, "h200": 330}
_SETS = {  # (channels, classes, training, test images) in full
    "mnist": (1, 10, 60_000, 10_000), "fashion_mnist": (1, 10, 60_000, 10_000), "cifar10": (3, 10, 50_000, 10_000),
    "cifar100": (3, 100, 50_000, 10_000), "asirra": (3, 2, 20_000, 5_000), "cub": (3, 200, 5_994, 5_794),
    "digits": (1, 10, 1_400, 397), "toybirds": (3, 8, 1_200, 300),
}  # fmt: skip
_REPEATS = {  # settings that repeat a fit; of a list its sum, or how many they are
    **dict.fromkeys(("epochs", "restarts", "runs", "clusters", "segments", "n_boundaries", "per_class", "base", "K", "steps", "m", "hidden"), sum),
    **dict.fromkeys(("layers", "alphas", "thresholds", "nested", "occlude"), len),
}  # fmt: skip
_SAMPLES = ("samples", "images", "test_images", "references", "unseen", "inputs", "train", "negatives", "test", "n")
_ON_THE_CPU = ("layer_trees", "explainn", "ace", "train", "score", "random_map", "edge_map")  # what their fits cost
_METRICS = 75  # passes an image by the metrics of heat maps: measured on quick's large networks (60 to 120)
_LIBRARIES = 0.55  # GB that a worker holds before it loads anything: measured


@dataclass(frozen=True)
class Work:
    """What a unit does, counted."""

    kind: str
    passes: float
    fits: float
    gigabytes: float

    @property
    def features(self) -> np.ndarray:
        return np.array([1.0, self.passes, self.fits])


# --------------------------------------------------------------------------------------------- counting


def count(profile: Profile, step: str, unit: Unit) -> Work:
    """The work of a unit of a step."""
    return {"train": _train, "explain": _explain, "score": _score, "replicate": _replicate}[step](
        profile, unit.arguments
    )


def _train(profile: Profile, arguments: tuple[Any, ...]) -> Work:
    """3 passes (forward, backward) an image and epoch, the frozen part once; ``epochs`` is the most that it may take."""
    path, jobs = arguments
    recipe, (shape, classes, n, test) = Recipe.parse(jobs[0][0]), images(profile, path.stem)
    n = min(n, recipe.train_images or n)
    frozen, rest = _multiply_adds(recipe.net, shape, classes, _text(recipe.options), recipe.freeze_until)
    layers = len(nets.build(recipe.net, shape, classes, recipe.options))
    steps = recipe.epochs * math.ceil(n / recipe.batch) * layers
    passes = recipe.epochs * n * 3 * rest + (n + test) * frozen
    memory = math.prod(shape) * (n + test + 4 * 4 * recipe.batch * 8)
    return Work(f"train {recipe.net}", len(jobs) * passes / 1e9, steps / 1e6, _LIBRARIES + memory / 1e9)


def _explain(profile: Profile, arguments: tuple[Any, ...]) -> Work:
    """Heat maps: 3 passes an image; Score-CAM: one a channel; a fit sees the reference images as well."""
    (cell,) = arguments
    shape, classes, n, test = images(profile, cell.dataset)
    macs, channels = network(profile, cell.dataset, cell.target)
    method = cell.method.build()
    settings = settings_of(method)
    each = channels if "score_cam" in _slugs(cell) else 3
    if "ace" in _slugs(cell):
        each += sum(settings["segments"])
    passes = macs * (each * cell.images + cell.reference)
    fitted = settings["images"] * classes if cell.method.stem == "ace" else cell.images + cell.reference
    fits = fitted * _repeats(settings)
    if cell.method.stem == "xnn":
        trained, fits = _srae(settings, channels, classes * cell.reference)
        passes += trained
    memory = math.prod(shape) * (n + test + 4 * 6 * (cell.images + cell.reference))
    variant = f" {settings['variant']}" if settings.get("variant") else ""
    return Work(f"explain {' of '.join(_slugs(cell))}{variant}", passes / 1e9, fits / 1e6, _LIBRARIES + memory / 1e9)


def _score(profile: Profile, arguments: tuple[Any, ...]) -> Work:
    """A kind a method, for methods differ in what they offer; of one with heat maps, so many passes an image."""
    (cell,) = arguments
    shape, _, n, test = images(profile, cell.dataset)
    macs, _ = network(profile, cell.dataset, cell.target)
    memory = math.prod(shape) * (n + test + 4 * 12 * cell.images)
    return Work(f"score {' of '.join(_slugs(cell))}", _METRICS * macs * cell.images / 1e9, math.prod(shape) * cell.images / 1e6,
                _LIBRARIES + memory / 1e9)  # fmt: skip


def _replicate(profile: Profile, arguments: tuple[Any, ...]) -> Work:
    """All settings, those that the profile leaves out by their defaults."""
    (task,) = arguments
    defaults = {p.name: p.default for p in inspect.signature(replicate.experiment(task.paper, task.experiment)).parameters.values()
                if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}  # fmt: skip
    settings = defaults | dict(task.settings)
    macs, memory, n = 0.0, 0.0, 0
    if task.dataset:
        shape, classes, n, test = images(profile, task.dataset)
        memory = math.prod(shape) * (n + test) * 2
        macs = network(profile, task.dataset, task.target)[0] if task.target else 0.0
    samples = sum(int(settings[key]) for key in _SAMPLES if isinstance(settings.get(key), (int, float))) or n or 1
    if task.paper == "xnn" and task.target:
        z = network(profile, task.dataset, task.target, settings.get("layer"))[1]
        examples = n + classes * int(settings.get("negatives") or n)
        trained, steps = _srae(settings.get("training") or {}, z, examples)
        return Work(f"replicate xnn.{task.experiment}", (macs * (n + samples) + trained) / 1e9, steps / 1e6,
                    _LIBRARIES + (memory + 8 * z * n) / 1e9)  # fmt: skip
    if task.paper == "representative":
        return _regions(task.experiment, settings, macs, classes, memory)
    nested = [value for value in settings.values() if isinstance(value, Mapping)]
    repeats = _repeats(settings) * (sum(_repeats(part) for part in nested) or 1.0)
    again = math.prod(len(settings[key]) for key in ("layers", "alphas", "epochs") if isinstance(settings.get(key), (list, tuple, Mapping)))  # fmt: skip
    return Work(f"replicate {task.paper}.{task.experiment}", macs * samples * again * 3 / 1e9, samples * repeats / 1e6,
                _LIBRARIES + (memory + 4 * samples * 64) / 1e9)  # fmt: skip


def _regions(experiment: str, settings: Mapping[str, Any], macs: float, classes: int, memory: float) -> Work:
    """Regions of each way among |R| references; ACE fits once a cluster, with a pass a segment."""
    R, seen, runs = settings["references"], settings.get("unseen") or settings.get("inputs"), settings.get("runs", 1)
    ways = len(settings["ways"]) if "ways" in settings else 1
    passes = 3 * (R + seen) * (ways + len(settings["methods"]))
    if settings["ace"] is not None:
        ace = {"segments": RESOLUTIONS, "images": 50} | dict(settings["ace"])
        centres = settings.get("per_class", 1) * classes if experiment == "unseen" else seen
        passes += centres * ace["images"] * sum(ace["segments"])
    fits = ways * (R + seen) * settings["n_boundaries"]
    return Work(
        f"replicate representative.{experiment}",
        macs * runs * passes / 1e9,
        runs * fits / 1e6,
        _LIBRARIES + memory / 1e9,
    )


def _srae(training: Mapping[str, Any], z: int, examples: int) -> tuple[float, float]:
    """(multiply-adds, steps) of XNN's stacked auto-encoders: all classes' examples, epochs and restarts; 6 for the forward
    and backward passes of encoder and decoder."""
    setting = {f.name: f.default for f in dataclasses.fields(Setting)} | dict(training)
    widths = [z, *setting["hidden"]]
    rounds = (1 + setting["restarts"]) * (setting["epochs"] + setting["pretrain"])
    return 6.0 * examples * rounds * sum(a * b for a, b in itertools.pairwise(widths)), examples * rounds / setting[
        "batch"
    ]


def _repeats(settings: Mapping[str, Any]) -> float:
    """The product of the settings that repeat a fit."""
    known = {key: settings[key] for key in _REPEATS if settings.get(key) and not isinstance(settings[key], (str, bool))}
    return math.prod(
        max(1.0, value if isinstance(value, (int, float)) else _REPEATS[key](value)) for key, value in known.items()
    )


def _slugs(cell: Cell) -> list[str]:
    """The method, and those that its settings name."""
    return [ref.stem for ref in (cell.method, *cell.method.named)]


def images(profile: Profile, dataset: str) -> tuple[tuple[int, int, int], int, int, int]:
    """(shape, classes, training, test images) of a data set as the profile cuts it."""
    cut = profile.data.get(dataset, {})
    channels, classes, train, test = _SETS.get(dataset, (3, 10, 5_000, 1_000))
    if share := cut.get("classes"):
        train, test, classes = train * share // classes, test * share // classes, share
    size = cut.get("size") or 32
    return (channels, size, size), classes, min(train, cut.get("train") or train), min(test, cut.get("test") or test)


def network(profile: Profile, dataset: str, target: str, at: str | None = None) -> tuple[float, int]:
    """(multiply-adds of a forward pass, channels of layer ``at``, default: of the one that is explained)."""
    recipe, (shape, classes, _, _) = profile.zoo[dataset][target], images(profile, dataset)
    layer = at or recipe.layer or nets.NETS[recipe.net].layer
    macs = sum(_multiply_adds(recipe.net, shape, classes, _text(recipe.options), None))
    return macs, _channels(recipe.net, shape, classes, _text(recipe.options)).get(layer, 1)


def _text(options: Mapping[str, Any]) -> str:
    return json.dumps(dict(options), sort_keys=True)


@functools.cache
def _channels(net: str, shape: tuple[int, int, int], classes: int, options: str) -> dict[str, int]:
    """Channels, or units, of each layer."""
    z, found = torch.empty(1, *shape, device="meta"), {}
    for name, layer in nets.build(net, shape, classes, json.loads(options)).eval().named_children():
        z = layer(z)
        found[name] = z.shape[1]
    return found


@functools.cache
def _multiply_adds(
    net: str, shape: tuple[int, int, int], classes: int, options: str, cut: str | None
) -> tuple[float, float]:
    """Of a forward pass of one image: (up to and with layer ``cut``, after it)."""
    whole = nets.build(net, shape, classes, json.loads(options)).eval()  # on the device meta: nothing is computed
    counts = dict.fromkeys((name for name, _ in whole.named_children()), 0.0)

    def hook(layer: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def add(module: nn.Module, _: Any, out: torch.Tensor) -> None:
            counts[layer] += out.numel() * module.weight[0].numel()

        return add

    for name, child in whole.named_children():
        for module in child.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.register_forward_hook(hook(name))
    with torch.no_grad():
        whole(torch.empty(1, *shape, device="meta"))
    first = list(counts)[: list(counts).index(cut) + 1] if cut else []
    return sum(counts[name] for name in first), sum(value for name, value in counts.items() if name not in first)


# --------------------------------------------------------------------------------------------- what such work took


class Model:
    """Seconds of work, learnt from measured units."""

    def __init__(self, measured: Iterable[tuple[Work, float]]) -> None:
        self._kinds: dict[str, list[tuple[Work, float]]] = {}
        for work, seconds in measured:
            for kind in (work.kind, work.kind.split()[0]):
                self._kinds.setdefault(kind, []).append((work, max(seconds, 1e-3)))

    def seconds(self, work: Work, gpu: float = 1.0) -> tuple[float, str]:
        """(seconds, scaled or guessed); ``gpu``: how much faster passes are than on one core."""
        known = self._kinds.get(work.kind)
        others = known or self._kinds.get(work.kind.split()[0]) or [(Work("", _CORE, 1.0, 0.0), 1.0)]
        a, b, c = self._fit(tuple(others))
        fits = 1.0 if any(name in work.kind for name in _ON_THE_CPU) else gpu
        found = a + b * work.passes / gpu + c * work.fits / fits
        return (found, "scaled") if known else (max(found, work.passes / _CORE / gpu), "guessed")

    @staticmethod
    @functools.lru_cache(maxsize=512)
    def _fit(measured: tuple[tuple[Work, float], ...]) -> np.ndarray:
        """(a, b, c) >= 0 with the least relative error; b is what a core needs at most."""
        X, s = np.stack([work.features for work, _ in measured]), np.array([seconds for _, seconds in measured])
        if len({work for work, _ in measured}) < 4:  # the rest is the fits', in proportion, else what any unit takes
            b = min(np.exp(np.mean(np.log(s / X[:, 1]))), 1 / _CORE) if X[:, 1].all() else 0.0
            rest = np.maximum(s - b * X[:, 1], 0.0).mean()
            return np.array([0.0, b, rest / X[:, 2].mean()]) if X[:, 2].any() else np.array([rest, b, 0.0])
        scale = np.maximum(X.max(axis=0), 1e-12)
        most = np.array([np.inf, 1 / _CORE, np.inf]) * scale
        return lsq_linear(X / scale / s[:, None], np.ones(len(s)), bounds=(0.0, most)).x / scale


def measured_elsewhere(
    known: Mapping[str, tuple[Profile, Mapping[Key, Time]]],
    units: Callable[[Profile], Iterable[tuple[str, Unit]]],
) -> list[tuple[Work, float]]:
    """The measured units of profiles: ``known`` has (profile, times) by name, ``units`` lists (step, unit) of a profile."""
    return [
        (count(profile, step, unit), times[step, unit.name].seconds)
        for profile, times in known.values()
        for step, unit in units(profile)
        if (step, unit.name) in times
        and times[step, unit.name].source == "measured"
        and times[step, unit.name].device == "cpu"
    ]
