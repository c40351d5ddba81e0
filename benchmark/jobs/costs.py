"""How long a unit takes that was not run yet: its counted work, and what such work took elsewhere.

What a unit does is declared by what it runs (``benchmark.shared.work``): by the method, by the experiment in its paper's ``work.py``, by
the recipe in ``zoo/work.py``; what metrics ask of a network is counted on a toy image. This module finds the settings, the data
set and the network of a unit, and asks. Units of one kind do the same on other data, networks or settings:

    seconds = a + b passes + c fits,    a, b, c >= 0, by least squares of the relative error over the kind's measured units

``b`` is at most what a core needs for a multiply-add: small units take longer for other reasons, which do not grow with the
network. In a kind of fewer than four measured units, what ``b`` leaves is the fits', in proportion; a kind without any is
*guessed* from all kinds of its step, but no faster than a core multiplies. On a GPU ``b`` is divided by the GPU's ratio, while ``a``
and ``c`` stay: they are trees, rules and clusters, which stay on the CPU, and launches of small kernels.

Measured units are those of ``results/speeds.csv`` (``glassbench plan --calibrate`` makes it), so that a plan is the same in a
fresh clone. It needs the right order of magnitude and the right longest units.
"""

from __future__ import annotations

import csv
import functools
import inspect
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import lsq_linear

from benchmark import data, papers, store
from benchmark.api import Batch, Explanation, NotApplicable, Target
from benchmark.data import scripts
from benchmark.engine import Unit
from benchmark.methods import registry
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import replicate
from benchmark.pipeline.cells import Cell
from benchmark.shared.work import Facts, Work, of_method, tensors
from benchmark.utils.near_names import UnknownName
from benchmark.zoo import nets
from benchmark.zoo.recipe import Recipe
from benchmark.zoo.work import training

CORE = 26.0  # billion multiply-adds a second of one core of the reference (AMD EPYC with AVX-512): measured in Score-CAM on
# quick's SqueezeNet; in training, quick's VGG-11 and SqueezeNet do 22 to 41.
SHIPPED = Path(__file__).resolve().parent.parent.parent  # the folder of the package
LIBRARIES = 0.55  # GB that a worker holds before it loads anything: measured


@dataclass(frozen=True)
class Gpu:
    """``ratio``: how many times the multiply-adds of one core it does. ASSUMED, a quarter of the published peak of float32 (TF32 is
    off), for networks that fill the GPU; no unit was measured on one. ``gigabytes``: of its memory."""

    ratio: float
    gigabytes: float


# Memory and float32 peak: NVIDIA's data sheets of the T4, L4, V100 (PCIe, 32 GB), A10, A100 (80 GB), H100 (SXM, 80 GB) and
# H200 (SXM, 141 GB).
GPUS = {
    "t4": Gpu(40, 16),
    "l4": Gpu(150, 24),
    "v100": Gpu(75, 32),
    "a10": Gpu(150, 24),
    "a100": Gpu(100, 80),
    "h100": Gpu(330, 80),
    "h200": Gpu(330, 141),
}


# --------------------------------------------------------------------------------------------- data sets


@dataclass(frozen=True)
class Images:
    """A data set as a profile cuts it."""

    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int


def images(path: Path, params: Mapping[str, Any]) -> Images:
    """Of the prepared file ``path``, where it was made with these parameters; else of what the data set's script says.

    Raises:
        UnknownName: neither says how many images there are.
    """
    script = scripts.literals(store.ROOT / "datasets" / f"{path.stem}.py")
    wanted = {**script.get("DEFAULTS", {}), **params}
    try:
        if data.load_card(path).get("params", wanted) == wanted:
            return _prepared(store.npz_shapes(path))
    except store.StoreError:
        pass
    if "FULL" not in script:
        raise UnknownName(
            f"how large {path.stem} is shows once it is prepared: run `glassbench prepare {path.stem}`"
        )
    return _cut(script["FULL"], wanted)


def _prepared(shapes: Mapping[str, tuple[int, ...]]) -> Images:
    return Images(shapes["x_train"][1:], *shapes["classes"], *shapes["y_train"], *shapes["y_test"])


def _cut(full: Mapping[str, int], wanted: Mapping[str, Any]) -> Images:
    """The first ``classes`` of the data set have their share of its images."""
    classes = wanted.get("classes") or full["classes"]
    counts = [full[split] * classes // full["classes"] for split in ("train", "test")]
    train, test = (
        min(n, wanted.get(split) or n) for n, split in zip(counts, ("train", "test"), strict=True)
    )
    return Images((full["channels"], wanted["size"], wanted["size"]), classes, train, test)


def network(recipe: Recipe, found: Images) -> Target:
    """The network of a recipe on the device ``meta``: shapes, and no numbers."""
    net = nets.fold_norm(nets.build(recipe.net, found.shape, found.classes, recipe.options))
    classes = [str(c) for c in range(found.classes)]
    layer = recipe.layer or nets.NETS[recipe.net].layer
    channels = found.shape[0]
    return Target(
        net,
        name=recipe.net,
        classes=classes,
        input_shape=found.shape,
        mean=[0.0] * channels,
        std=[1.0] * channels,
        layer=layer,
    )


# --------------------------------------------------------------------------------------------- counting


class Counter:
    """Counts the units of one profile.

    Args:
        paths: the profile's.
        cuts: the parameters of each data set.
        recipe: (data set, target) -> its recipe.
        device: ``cpu`` or ``cuda``: where units will run.
    """

    def __init__(
        self,
        paths: store.Paths,
        cuts: Mapping[str, Any],
        recipe: Callable[[str, str], Recipe],
        device: str = "cpu",
    ) -> None:
        self._paths, self._cuts, self._recipe, self._device = paths, cuts, recipe, device
        self._images: dict[str, Images] = {}
        self._facts: dict[str, Facts] = {
            "": Facts(device=device)
        }  # "": of a unit without a data set
        self._counted: dict[str, Work] = {}

    def count(self, step: str, unit: Unit) -> tuple[str, Work]:
        """(kind, work) of a unit of a step. What differs in its seed, weights or pixels alone does the same work."""
        counted = {
            "train": self._train,
            "explain": self._explain,
            "score": self._score,
            "replicate": self._replicate,
        }
        return counted[step](*unit.arguments)

    def facts(self, dataset: str, target: str = "") -> Facts:
        """Of a data set, and of a network on it; the same object for the same shapes."""
        if dataset not in self._images:
            self._images[dataset] = images(self._paths.data(dataset), self._cuts.get(dataset) or {})
        found, recipe = self._images[dataset], self._recipe(dataset, target) if target else None
        key = _text(asdict(found), recipe and (recipe.net, recipe.options, recipe.layer))
        if key not in self._facts:
            build = lambda entry: MethodRef.parse(entry).build()
            net = network(recipe, found) if recipe else None
            self._facts[key] = Facts(**asdict(found), target=net, device=self._device, build=build)
        return self._facts[key]

    def _once(self, function: Callable[[], Work], facts: Facts, *key: Any) -> Work:
        text = _text(id(facts), *key)
        if text not in self._counted:
            self._counted[text] = function()
        return self._counted[text]

    def _train(
        self, path: Path, jobs: Sequence[tuple[Mapping[str, Any], int, Path]]
    ) -> tuple[str, Work]:
        recipe, facts = Recipe.parse(jobs[0][0]), self.facts(path.stem)
        trained = lambda: training(recipe, facts, len(jobs))
        key = asdict(replace(recipe, seeds=(), explain=True, lr=None))
        return f"train {recipe.net}", self._once(trained, facts, "train", key, len(jobs))

    def _explain(self, cell: Cell) -> tuple[str, Work]:
        facts = self.facts(cell.dataset, cell.target)
        explained = lambda: explaining(cell.method, _cut_to(facts, cell))
        return _kind("explain", cell), self._once(explained, facts, "explain", *_asked(cell))

    def _score(self, cell: Cell) -> tuple[str, Work]:
        facts, explained = self.facts(cell.dataset, cell.target), self._explain(cell)[1]
        applies = bool(explained.passes + explained.fits)
        scored = lambda: scoring(cell.method, _cut_to(facts, cell)) if applies else Work()
        return _kind("score", cell), self._once(scored, facts, "score", *_asked(cell))

    def _replicate(self, task: replicate.Task) -> tuple[str, Work]:
        facts = self.facts(task.dataset, task.target) if task.dataset else self._facts[""]
        done = lambda: experiment(task.paper, task.experiment, task.settings, facts)
        kind = f"replicate {task.paper}.{task.experiment}"
        return kind, self._once(done, facts, kind, dict(task.settings))


def explaining(ref: MethodRef, facts: Facts) -> Work:
    """A method fitted and explaining; none where it does not apply."""
    try:
        return of_method(ref.build(), facts).beside(_held(facts))
    except NotApplicable:
        return Work(bytes=_held(facts))


def scoring(ref: MethodRef, facts: Facts) -> Work:
    """All metrics that apply to what the method offers. Pixels are ranked, hidden and compared for each image."""
    offers = offered(ref)
    maps = sum({"concept_maps": 5, "heatmaps": 1}.get(name, 0) for name in offers)
    area = facts.shape[1] * facts.shape[2]
    arrays = tensors(facts.images * (2 * facts.pixels + 6 * area + 4 * maps * area))
    found = passes_per_image(offers) * facts.images * facts.logits
    return replace(found, fits=facts.images * facts.pixels).beside(arrays + _held(facts))


def experiment(paper: str, name: str, settings: Mapping[str, Any], facts: Facts) -> Work:
    """A paper's experiment, with the settings that a profile leaves out by their defaults; none where it does not apply. One that
    declares no work is taken to look three times at each training image."""
    function = replicate.experiment(paper, name)
    parameters = inspect.signature(function).parameters.values()
    defaults = {
        p.name: p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    }
    declared = getattr(papers.part(paper, "work"), name, _three_passes)
    try:
        found = declared(facts, **defaults | dict(settings))
    except NotApplicable:
        found = Work()
    return found.beside(facts.pixels * (facts.train + facts.test))


def _three_passes(facts: Facts, **_: Any) -> Work:
    return 3 * facts.train * facts.logits if facts.target else Work()


def _held(facts: Facts) -> float:
    """Bytes of the data set, of the images of a cell and of what the explained layer makes of them."""
    cell = facts.images + facts.reference
    code = facts.units() if facts.target.layer else 0
    return facts.pixels * (facts.train + facts.test) + tensors(cell * (facts.pixels + code))


def offered(ref: MethodRef) -> frozenset[str]:
    """The fields of an explanation that a method declares by ``offers``; heat maps where it says nothing."""
    return frozenset(getattr(ref.build(), "offers", ("heatmaps",)))


@functools.cache
def passes_per_image(offers: frozenset[str]) -> float:
    """How often the metrics that apply to such an explanation send an image through the network: they are run on two toy images
    and a network that counts."""
    n, h, C = 2, 32, 3
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.rand(*shape, generator=rng)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(h * h, C))
    target = Target(net, name="toy", classes="abc", input_shape=(1, h, h), mean=(0.5,), std=(0.5,))
    passed = []
    net[0].register_forward_hook(lambda module, args, out: passed.append(len(out)))
    batch = Batch(draw(n, 1, h, h), torch.arange(n))
    made = {
        "heatmaps": (n, h, h),
        "concept_maps": (n, 2, h, h),
        "scores": (n, C),
        "decoded": (n, 1, h, h),
        "reference": (n, 1, h, h),
    }
    e = Explanation(
        labels=np.arange(n),
        size={"rules": 1.0},
        **{name: draw(*shape) for name, shape in made.items()},
    )
    for spec in registry.metrics().values():
        for setting in spec.settings if spec.offered <= offers and not spec.annotations else ():
            spec(e, target, batch, np.random.default_rng(0), **setting)
    return sum(passed) / n


def _kind(step: str, cell: Cell) -> str:
    """The method and those that its settings name: a kind for each, for methods differ in what they do and offer."""
    names = " of ".join(ref.stem for ref in (cell.method, *cell.method.named))
    variant = cell.method.settings.get("variant", "")
    return f"{step} {names} {variant}".rstrip()


def _cut_to(facts: Facts, cell: Cell) -> Facts:
    """The images that the cell explains and is fitted on, as far as there are so many."""
    return facts.explaining(min(cell.images, facts.test), min(cell.reference, facts.train))


def _asked(cell: Cell) -> tuple[Any, ...]:
    return cell.method.slug, cell.images, cell.reference


def _text(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, default=str)


# --------------------------------------------------------------------------------------------- what such work took


@dataclass(frozen=True)
class Speed:
    """A line of ``results/speeds.csv``: what units of a kind that did the same work took, on average."""

    profile: str
    kind: str
    passes: float  # billions
    fits: float  # millions
    seconds: float
    gigabytes: float
    device: str = "cpu"


def read_speeds(path: Path | None = None) -> list[Speed]:
    """Every line of the file (default: the project's, else the one beside the package).

    Raises:
        StoreError: it is missing or damaged.
    """
    path = path or next((p for p in (_speeds(), _speeds(SHIPPED)) if p.exists()), _speeds())
    try:
        with open(path, newline="") as lines:
            speeds = [_speed(row) for row in csv.DictReader(lines)]
    except (OSError, KeyError, ValueError, TypeError):
        speeds = []
    if not speeds:
        raise store.StoreError(
            f"{path} is missing or damaged; run `git checkout results/{path.name}`"
        )
    return speeds


def _speed(row: Mapping[str, str]) -> Speed:
    numbers = (float(row[name]) for name in ("passes", "fits", "seconds", "gigabytes"))
    return Speed(row["profile"], row["kind"], *numbers, row["device"])


def write_speeds(speeds: Iterable[Speed], path: Path | None = None) -> Path:
    """Speeds of the same profile, kind, work and device become one line, their mean."""
    same: dict[tuple[Any, ...], list[Speed]] = {}
    for speed in speeds:
        key = (speed.profile, speed.kind, f"{speed.passes:.4g}", f"{speed.fits:.4g}", speed.device)
        same.setdefault(key, []).append(speed)
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow([f.name for f in fields(Speed)])
    for _, group in sorted(same.items()):
        seconds, gigabytes = (
            float(np.mean([getattr(s, key) for s in group])) for key in ("seconds", "gigabytes")
        )
        row = astuple(replace(group[0], seconds=seconds, gigabytes=gigabytes))
        table.writerow([f"{value:.4g}" if isinstance(value, float) else value for value in row])
    store.write_text(path or _speeds(), buffer.getvalue())
    return path or _speeds()


def _speeds(root: Path | None = None) -> Path:
    return (root or store.ROOT) / "results" / "speeds.csv"


Measured = tuple[float, float, float]  # billions of passes, millions of fits, seconds


class Model:
    """Seconds of work, learnt from measured units."""

    def __init__(self, speeds: Iterable[Speed]) -> None:
        self._kinds: dict[str, list[Measured]] = {}
        for speed in speeds:
            measured = (speed.passes, speed.fits, max(speed.seconds, 1e-3))
            for kind in (speed.kind, speed.kind.split()[0]):
                self._kinds.setdefault(kind, []).append(measured)

    def seconds(self, kind: str, work: Work, ratio: float = 1.0) -> tuple[float, str]:
        """(seconds, scaled or guessed); ``ratio``: how much faster passes are than on one core."""
        passes, fits = work.passes / 1e9, work.fits / 1e6
        known = self._kinds.get(kind)
        others = known or self._kinds.get(kind.split()[0]) or [(CORE, 1.0, 1.0)]
        a, b, c = fitted(tuple(others))
        found = a + b * passes / ratio + c * fits
        return (found, "scaled") if known else (max(found, passes / CORE / ratio), "guessed")


@functools.lru_cache(maxsize=512)
def fitted(measured: tuple[Measured, ...]) -> tuple[float, float, float]:
    """(a, b, c) of seconds = a + b passes + c fits."""
    passes, fits, seconds = np.array(measured).T
    if len({line[:2] for line in measured}) < 4:
        return _of_few(passes, fits, seconds)
    X = np.column_stack([np.ones(len(passes)), passes, fits])
    scale = np.maximum(X.max(axis=0), 1e-12)
    largest = np.array([np.inf, 1 / CORE, np.inf]) * scale
    found = (
        lsq_linear(X / scale / seconds[:, None], np.ones(len(X)), bounds=(0.0, largest)).x / scale
    )
    return tuple(map(float, found))


def _of_few(
    passes: np.ndarray, fits: np.ndarray, seconds: np.ndarray
) -> tuple[float, float, float]:
    """Passes at their own mean speed, no slower than a core; the rest is the fits', else what any unit takes."""
    b = min(float(np.exp(np.log(seconds / passes).mean())), 1 / CORE) if passes.all() else 0.0
    rest = float(np.maximum(seconds - b * passes, 0.0).mean())
    return (0.0, b, rest / float(fits.mean())) if fits.any() else (rest, b, 0.0)
