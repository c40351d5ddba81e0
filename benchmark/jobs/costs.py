"""Predicts how long a unit takes: its work is counted, and compared with measured units that do such work.

The work of a unit is declared by what it runs (``benchmark.shared.work``): by the method, by the experiment in its
paper's ``work.py``, or by the recipe in ``zoo/work.py``; the passes that metrics need are counted on toy images. This
module finds the settings, the data set and the network of a unit, and asks for its work. Units of one *kind* do the
same on other data, networks or settings:

    seconds = a + b passes + c fits,    a, b, c >= 0, by least squares of the relative error over the kind's measured
    units

``b`` is at most what a core needs for a multiply-add: small units take longer for other reasons, which do not grow with
the network. In a kind with fewer than four different measured units, the time that ``b`` does not explain is divided
among the fits. A kind without measured units is *guessed* from all kinds of its step, but no faster than a core
multiplies. On a GPU, ``b`` is divided by the GPU's ratio, while ``a`` and ``c`` stay: they are trees, rules and
clusters, which run on the CPU, and launches of small kernels.

Measured units are those of ``results/speeds.csv`` (written by ``glassbench plan --calibrate``), so that a plan is the
same in a fresh clone. A plan needs the right order of magnitude and the right longest units.
"""

from __future__ import annotations

import contextlib
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
from benchmark.api import Batch, CallingSpec, Explanation, NotApplicable, Target
from benchmark.engine import Unit
from benchmark.methods import registry
from benchmark.methods.metric_refs import MetricRef, declared
from benchmark.methods.registry import MethodRef
from benchmark.pipeline import replicate
from benchmark.pipeline.cells import Cell
from benchmark.pipeline.train import bring_network
from benchmark.shared.work import Facts, Work, of_method, tensors
from benchmark.store import data_scripts as scripts
from benchmark.utils.near_names import UnknownName
from benchmark.zoo import nets, own
from benchmark.zoo.following import Following
from benchmark.zoo.own import OwnNetwork
from benchmark.zoo.recipe import Recipe
from benchmark.zoo.work import training

# Billion multiply-adds per second of one core of the reference (AMD EPYC with AVX-512): measured in Score-CAM on the
# SqueezeNet of profile quick; training its VGG-11 and SqueezeNet does 22 to 41.
CORE = 26.0
LIBRARIES = 0.55  # GB that a worker holds before it loads anything (measured)


@dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        ratio: its multiply-adds per second, relative to one core. ASSUMED: a quarter of the published float32 peak
        (TF32 is
            off), for networks that fill the GPU; no unit was measured on one.
        gigabytes: its memory.
    """

    ratio: float
    gigabytes: float


# Memory and float32 peak: NVIDIA's data sheets of the T4, L4, V100 (PCIe, 32 GB), A10, A100 (80 GB), H100 (SXM, 80 GB)
# and H200 (SXM, 141 GB).
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
    """The size of a data set in a profile."""

    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int


def images(path: Path, params: Mapping[str, Any]) -> Images:
    """The size of the prepared file ``path`` if it has these parameters, else what the data set's script tells.

    Raises:
        UnknownName: neither tells how many images there are.
    """
    script = scripts.literals(scripts.known().get(path.stem, Path()))
    wanted = {**script.get("DEFAULTS", {}), **params}
    try:
        card = data.load_card(path)
        if card.get("params", wanted) == wanted:
            return _of_prepared(store.npz_shapes(path))
    except store.StoreError:
        pass
    if "FULL" not in script:
        raise UnknownName(
            f"the size of {path.stem} is known once it is prepared: run `glassbench prepare {path.stem}`"
        )
    return _of_script(script["FULL"], wanted)


def _of_prepared(shapes: Mapping[str, tuple[int, ...]]) -> Images:
    (classes,) = shapes["classes"]
    (train,) = shapes["y_train"]
    (test,) = shapes["y_test"]
    return Images(shapes["x_train"][1:], classes, train, test)


def _of_script(full: Mapping[str, int], wanted: Mapping[str, Any]) -> Images:
    """The first ``classes`` of the data set have their share of its images."""
    classes = wanted.get("classes") or full["classes"]

    def count(split: str) -> int:
        there_are = full[split] * classes // full["classes"]
        return min(there_are, wanted.get(split) or there_are)

    shape = (full["channels"], wanted["size"], wanted["size"])
    return Images(shape, classes, count("train"), count("test"))


def network(recipe: Recipe | OwnNetwork, found: Images) -> Target:
    """The network of a recipe on the device ``meta``: shapes without numbers."""
    if isinstance(recipe, OwnNetwork):
        return Following.of(own.shapes(recipe, found.shape, found.classes))
    net = nets.build(recipe.net, found.shape, found.classes, recipe.options)
    net = nets.fold_norm(net)
    classes = [str(c) for c in range(found.classes)]
    layer = recipe.layer or nets.NETS[recipe.net].layer
    channels = found.shape[0]
    kind = Following if nets.has_own_file(recipe.net) else Target
    return kind(
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
        paths: of the profile.
        params: the parameters of each data set.
        recipe: (data set, target) -> its recipe.
        gpu: the kind that units will run on; None: a CPU.
    """

    def __init__(
        self,
        paths: store.Paths,
        params: Mapping[str, Any],
        recipe: Callable[[str, str], Recipe],
        gpu: Gpu | None = None,
    ) -> None:
        self._paths = paths
        self._params = params
        self._recipe = recipe
        self._place = {"device": "cuda", "memory": 1e9 * gpu.gigabytes} if gpu else {}
        self._images: dict[str, Images] = {}
        self._without_data = Facts(**self._place)
        self._facts: dict[str, Facts] = {}
        self._counted: dict[str, Work] = {}

    def count(self, step: str, unit: Unit) -> tuple[str, Work]:
        """(kind, work) of a unit of a step. Units that differ only in seed, weights or pixels do the same work."""
        count = {
            "train": self._train,
            "explain": self._explain,
            "score": self._score,
            "again": self._again,
            "metric": self._metric,
            "replicate": self._replicate,
        }
        if unit.function is bring_network:
            return self._bring(*unit.arguments)
        return count[step](*unit.arguments)

    def facts(self, dataset: str, target: str = "") -> Facts:
        """The facts of a data set, and of a network on it; the same object for the same shapes."""
        found = self._size(dataset)
        recipe = self._recipe(dataset, target) if target else None
        architecture = (recipe.net, recipe.options, recipe.layer) if recipe else None
        key = _text(asdict(found), architecture)
        if key not in self._facts:
            net = network(recipe, found) if recipe else None
            self._facts[key] = Facts(
                **asdict(found), target=net, build=_build, **self._place
            )
        return self._facts[key]

    def _size(self, dataset: str) -> Images:
        if dataset not in self._images:
            path = self._paths.data(dataset)
            self._images[dataset] = images(path, self._params.get(dataset) or {})
        return self._images[dataset]

    def _once(self, function: Callable[[], Work], facts: Facts, *key: Any) -> Work:
        """``function()``, called once for the same facts and key."""
        text = _text(id(facts), *key)
        if text not in self._counted:
            self._counted[text] = function()
        return self._counted[text]

    def _train(
        self, path: Path, jobs: Sequence[tuple[Mapping[str, Any], int, Path]]
    ) -> tuple[str, Work]:
        mapping, _, _ = jobs[0]
        recipe = Recipe.parse(mapping)
        facts = self.facts(path.stem)

        def count() -> Work:
            return training(recipe, facts, len(jobs))

        key = asdict(replace(recipe, seeds=(), explain=True, lr=None))
        return f"train {recipe.net}", self._once(count, facts, "train", key, len(jobs))

    def _bring(self, name: str, path: Path, *_: object) -> tuple[str, Work]:
        """A network of one's own sorts the images of both splits."""
        _, target = name.split("/", 1)
        facts = self.facts(path.stem, target)
        passes = (facts.train + facts.test) * facts.logits
        return "train own", passes

    def _explain(self, cell: Cell) -> tuple[str, Work]:
        facts = self.facts(cell.dataset, cell.target)

        def count() -> Work:
            return explaining(cell.method, _with_images(facts, cell))

        return _kind("explain", cell), self._once(count, facts, "explain", *_key(cell))

    def _score(self, cell: Cell) -> tuple[str, Work]:
        facts = self.facts(cell.dataset, cell.target)
        _, explained = self._explain(cell)
        kind = _kind("score", cell)
        if explained.passes + explained.fits == 0:  # the method does not apply
            return kind, Work()

        def count() -> Work:
            return scoring(cell.method, _with_images(facts, cell))

        return kind, self._once(count, facts, "score", *_key(cell))

    def _again(self, cell: Cell) -> tuple[str, Work]:
        facts = self.facts(cell.dataset, cell.target)

        def count() -> Work:
            return calling(cell.method, _with_images(facts, cell), cell.again)

        key = _key(cell), cell.again, cell.refits
        return _kind("again", cell), self._once(count, facts, "again", *key)

    def _metric(self, cell: Cell, ref: MetricRef, _: Path) -> tuple[str, Work]:
        """A metric of the user: one that calls the method again declares how often, others are taken for one of this
        project's."""
        facts = self.facts(cell.dataset, cell.target)
        spec, settings = declared(ref).spec, len(declared(ref).settings)
        if isinstance(spec, CallingSpec):
            images = cell.again * (1 + settings * spec.calls)
            reference = min(cell.reference, facts.train)
            asked = facts.explaining(images, reference)
            count = lambda: explaining(cell.method, asked)
            key = "metric", *_key(cell), images
            return _kind("again", cell), self._once(count, facts, *key)
        _, of_all = self._score(cell)
        share = settings / _settings(offered(cell.method))
        return "score own", share * of_all

    def _replicate(self, task: replicate.Task) -> tuple[str, Work]:
        facts = self._without_data
        if task.dataset:
            facts = self.facts(task.dataset, task.target)
        kind = f"replicate {task.paper}.{task.experiment}"

        def count() -> Work:
            return experiment(task.paper, task.experiment, task.settings, facts)

        return kind, self._once(count, facts, kind, dict(task.settings))


def _build(entry: str | Mapping[str, Any]) -> Any:
    return MethodRef.parse(entry).build()


def explaining(ref: MethodRef, facts: Facts) -> Work:
    """The work of fitting a method and explaining; none if the method does not apply."""
    try:
        return of_method(ref.build(), facts).beside(_held(facts))
    except NotApplicable:
        return Work(bytes=_held(facts))


def scoring(ref: MethodRef, facts: Facts) -> Work:
    """The work of all metrics that apply to what the method offers: they rank, hide and compare pixels per image."""
    offers = offered(ref)
    maps = 0
    if "concept_maps" in offers:
        maps += 5
    if "heatmaps" in offers:
        maps += 1
    _, h, w = facts.shape
    area = h * w
    numbers_per_image = 2 * facts.pixels + 6 * area + 4 * maps * area
    arrays = tensors(facts.images * numbers_per_image)
    found = passes_per_image(offers) * facts.images * facts.logits
    found = replace(found, fits=facts.images * facts.pixels)
    return found.beside(arrays + _held(facts))


def calling(ref: MethodRef, facts: Facts, images: int) -> Work:
    """The work of the metrics that call the method again on so many images: of a fit, and of as many explanations per
    image as they declare. Fits on other networks and what metrics share are not counted; they are a method's own affair
    and a few percent."""
    offers = offered(ref)
    declared = [
        spec.calls * len(spec.settings)
        for spec in registry.calling_metrics().values()
        if spec.offered <= offers
    ]
    explained = images * (1 + sum(declared))
    return explaining(ref, facts.explaining(explained, facts.reference))


def experiment(
    paper: str, name: str, settings: Mapping[str, Any], facts: Facts
) -> Work:
    """The work of a paper's experiment, with the defaults of missing settings; none if it does not apply.

    An experiment that declares no work is assumed to send each training image through the network three times.
    """
    parameters = inspect.signature(
        replicate.experiment(paper, name)
    ).parameters.values()
    settable = [
        p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty
    ]
    defaults = {parameter.name: parameter.default for parameter in settable}
    declared = getattr(papers.part(paper, "work"), name, _three_passes)
    try:
        found = declared(facts, **defaults | dict(settings))
    except NotApplicable:
        found = Work()
    return found.beside(facts.pixels * (facts.train + facts.test))


def _three_passes(facts: Facts, **_: Any) -> Work:
    if not facts.target:
        return Work()
    return 3 * facts.train * facts.logits


def _held(facts: Facts) -> float:
    """Bytes of the data set (uint8), the images of a cell and their activations at the explained layer (float32)."""
    dataset = facts.pixels * (facts.train + facts.test)
    activations = facts.units() if facts.target.layer else 0
    images_of_cell = facts.images + facts.reference
    return dataset + tensors(images_of_cell * (facts.pixels + activations))


def offered(ref: MethodRef) -> frozenset[str]:
    """The fields of an explanation that a method declares as ``offers``; heat maps if it declares nothing."""
    return frozenset(getattr(ref.build(), "offers", ("heatmaps",)))


@functools.cache
def _settings(offers: frozenset[str]) -> int:
    """How many settings the metrics that apply to such an explanation have in all."""
    specs = registry.scoring_metrics().values()
    return sum(len(spec.settings) for spec in specs if spec.offered <= offers)


@functools.cache
def passes_per_image(offers: frozenset[str]) -> float:
    """How often the metrics that apply to such an explanation send an image through the network.

    The metrics are run on eight toy images, of which some take a quarter, and a network that counts.
    """
    n, h, C = 8, 32, 3
    rng = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.rand(*shape, generator=rng)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(h * h, C))
    target = Target(
        net, name="toy", classes="abc", input_shape=(1, h, h), mean=(0.5,), std=(0.5,)
    )
    passed = []
    net[0].register_forward_hook(lambda module, args, out: passed.append(len(out)))
    batch = Batch(draw(n, 1, h, h), torch.arange(n) % C, torch.arange(n))
    explanation = Explanation(
        labels=np.arange(n) % C,
        size={"rules": 1.0},
        heatmaps=draw(n, h, h),
        concept_maps=draw(n, 2, h, h),
        scores=draw(n, C),
        decoded=draw(n, 1, h, h),
        reference=draw(n, 1, h, h),
    )
    for spec in registry.scoring_metrics().values():
        if spec.offered <= offers and not spec.annotations:
            for setting in spec.settings:
                with contextlib.suppress(NotApplicable):  # needs masks, say
                    spec(
                        explanation, target, batch, np.random.default_rng(0), **setting
                    )
    return sum(passed) / n


def _kind(step: str, cell: Cell) -> str:
    """A kind for each method with those that its settings name, as methods differ in what they do and offer."""
    method = cell.method
    names = " of ".join(ref.label for ref in (method, *method.named))
    variant = method.settings.get("variant", "")
    return f"{step} {names} {variant}".rstrip()


def _with_images(facts: Facts, cell: Cell) -> Facts:
    """With the numbers of images that the cell explains and is fitted on, at most those that there are."""
    images = min(cell.images, facts.test)
    reference = min(cell.reference, facts.train)
    return facts.explaining(images, reference)


def _key(cell: Cell) -> tuple[Any, ...]:
    return cell.method.slug, cell.images, cell.reference


def _text(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True, default=str)


# --------------------------------------------------------------------------------------------- measured units


@dataclass(frozen=True)
class Speed:
    """A line of ``results/speeds.csv``: the mean over units of a kind that did the same work."""

    profile: str
    kind: str
    passes: float  # billions
    fits: float  # millions
    seconds: float
    gigabytes: float
    device: str = "cpu"


def read_speeds(path: Path | None = None) -> list[Speed]:
    """Every line of the file (default: that of the project, else the one beside the package).

    Raises:
        StoreError: it is missing or damaged.
    """
    path = path or _readable_speeds_file()
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
    return Speed(
        profile=row["profile"],
        kind=row["kind"],
        passes=float(row["passes"]),
        fits=float(row["fits"]),
        seconds=float(row["seconds"]),
        gigabytes=float(row["gigabytes"]),
        device=row["device"],
    )


def write_speeds(speeds: Iterable[Speed], path: Path | None = None) -> Path:
    """Write speeds; those of the same profile, kind, work and device become one line, their mean."""
    path = path or _speeds_file()
    same: dict[tuple[str, ...], list[Speed]] = {}
    for speed in speeds:
        work = _rounded(speed.passes), _rounded(speed.fits)
        same.setdefault((speed.profile, speed.kind, *work, speed.device), []).append(
            speed
        )
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow([f.name for f in fields(Speed)])
    for _, group in sorted(same.items()):
        seconds = float(np.mean([speed.seconds for speed in group]))
        gigabytes = float(np.mean([speed.gigabytes for speed in group]))
        mean = replace(group[0], seconds=seconds, gigabytes=gigabytes)
        table.writerow(map(_rounded, astuple(mean)))
    store.write_text(path, buffer.getvalue())
    return path


def _rounded(value: str | float) -> str:
    """A number with four digits; text as it is."""
    return value if isinstance(value, str) else f"{value:.4g}"


def _readable_speeds_file() -> Path:
    for path in (_speeds_file(), _speeds_file(store.PROJECT)):
        if path.exists():
            return path
    return _speeds_file()


def _speeds_file(root: Path | None = None) -> Path:
    return (root or store.ROOT) / "results" / "speeds.csv"


Measured = tuple[float, float, float]  # billions of passes, millions of fits, seconds


class Model:
    """Predicts the seconds of work, fitted to measured units."""

    def __init__(self, speeds: Iterable[Speed]) -> None:
        self._kinds: dict[str, list[Measured]] = {}
        for speed in speeds:
            seconds = max(speed.seconds, 1e-3)
            step = speed.kind.split()[0]
            for kind in (speed.kind, step):
                self._kinds.setdefault(kind, []).append(
                    (speed.passes, speed.fits, seconds)
                )

    def seconds(self, kind: str, work: Work, ratio: float = 1.0) -> tuple[float, str]:
        """(seconds, ``scaled`` or ``guessed``); ``ratio``: how much faster passes are than on one core."""
        passes = work.passes / 1e9
        fits = work.fits / 1e6
        step = kind.split()[0]
        same_kind = self._kinds.get(kind)
        measured = same_kind or self._kinds.get(step) or [(CORE, 1.0, 1.0)]
        a, b, c = fitted(tuple(measured))
        found = a + b * passes / ratio + c * fits
        if same_kind:
            return found, "scaled"
        least = passes / CORE / ratio
        return max(found, least), "guessed"


@functools.lru_cache(maxsize=512)
def fitted(measured: tuple[Measured, ...]) -> tuple[float, float, float]:
    """(a, b, c) of seconds = a + b passes + c fits, by least squares of the relative error."""
    passes, fits, seconds = np.array(measured).T
    works = {(p, f) for p, f, _ in measured}
    if len(works) < 4:
        return _fitted_to_few(passes, fits, seconds)
    # Minimise the sum over units of ((a + b passes + c fits) / seconds - 1)^2, with columns scaled to a maximum of 1.
    ones = np.ones(len(measured))
    X = np.column_stack([ones, passes, fits])
    scale = np.maximum(X.max(axis=0), 1e-12)
    relative = X / scale / seconds[:, None]
    most = np.array([np.inf, 1 / CORE, np.inf])  # of a, b and c
    largest = most * scale
    solution = lsq_linear(relative, ones, bounds=(0.0, largest)).x
    a, b, c = (solution / scale).tolist()
    return a, b, c


def _fitted_to_few(
    passes: np.ndarray, fits: np.ndarray, seconds: np.ndarray
) -> tuple[float, float, float]:
    """b: geometric mean of the seconds per pass, at most that of a core. The rest is c, or a if nothing is fitted."""
    b = 0.0
    if passes.all():
        seconds_per_pass = float(np.exp(np.log(seconds / passes).mean()))
        b = min(seconds_per_pass, 1 / CORE)
    rest = float(np.maximum(seconds - b * passes, 0.0).mean())
    if fits.any():
        return 0.0, b, rest / float(fits.mean())
    return rest, b, 0.0
