"""The paper's experiments: Tables 1, 3, .4 and .5, Sec. 4.4, Figs. 7, 8, 10 and .12, and the network of the human
study.

Every class has its own XNN; numbers are means over classes. Maps are taken on ``images`` test images of each class.
``O1_ci95`` is half of the 95 % interval of O1 over classes (Student's t). The networks of different classes start from
different seeds, so that it holds the scatter of training too. What SRAE gains over an ablation is paired by class:
``delta_O1`` of ``NN-SRAE`` is the mean over classes of O1(NN) - O1(SRAE), with ``delta_O1_ci95``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import t as student
from torch import Tensor

from benchmark.api import Array, Batch, Target
from benchmark.papers import Number, Outcome, Study
from benchmark.papers.xnn import maps, masking, measures, method_maps, srae
from benchmark.papers.xnn.measures import Split
from benchmark.papers.xnn.method_maps import ClassMaps, Mapper
from benchmark.papers.xnn.network import XNN, Setting

LOWER, HIGHER = "lower", "higher"
UNITS = {
    "F_reg": (LOWER, "logits"),
    "F_cls": (HIGHER, "percent"),
    "O1": (LOWER, ""),
    "O2": (LOWER, "nats"),
    "locality": (LOWER, "nats"),
    "class_part_share": (HIGHER, "fraction"),
    "silent_share": (LOWER, "fraction"),
    "n_weighted": (HIGHER, "x-features"),
}
FIVE = 5  # x-features in all of the paper's tables
TEST_POSITIVES, TEST_NEGATIVES = 10, 2000  # of each class, in the paper's split
COUNTED = {
    "n_singular": "classes",
    "n_dead": "maps",
}  # sums over classes, and their units
PAIRED = ("O1", "O2", "mean_correlation", "locality", "F_reg_test")
TRAININGS = {  # of Table 1: the ablation, and settings of its own
    "SRAE": ("SRAE", {}),
    "SRAE without restarts": ("SRAE", {"accept": "live"}),
    "NN": ("NN", {}),
    "SAE": ("SAE", {}),
    "CAE": ("CAE", {}),
}


# --------------------------------------------------------------------------------------------- Table 1, Figs. 7 and 8


def table1(
    study: Study,
    rng: Generator,
    *,
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    alpha: float = 2.5,
    alphas: Sequence[float] = (),
    images: int = 4,
    z_units: int = 20,
    test: int | None = None,
    layer: str | None = None,
    to: str | None = None,
    shown: int | None = None,
    pixels: Sequence[int] = (300, 500, 1000),
    runs: int = 1,
    silent: Literal["map", "zero"] = "map",
    split: Literal["data", "paper"] = "data",
    cells: Literal["voronoi", "mask"] = "voronoi",
) -> Outcome:
    """SRAE (with restarts and without), NN, SAE, CAE, Lasso, Z and the 1-Heatmap; Tables .4 and .5, Figs. 7 and 8.

    Args:
        training: settings of ``network.Setting`` that all share.
        negatives: training examples of other classes for each class; None: all.
        alpha: of the Lasso; its maps are those of its n largest contributions. alphas: of Table .4.
        images: test images of each class whose maps are measured; z_units: units of Z, drawn once.
        test: test images, equally many of each class; None: all.
        shown: so many classes have pictures; None: all.
        pixels: kept in Table .5, of 224 x 224.
        runs: trainings of each explanation network from other seeds; their mean counts for a class.
        silent: maps of x-features that are 0 on an image (``maps``).
        split: the ``data`` set's, or the ``paper``'s, for each class its own: 10 images of the class and 2,000 others
            of the whole data set (of a small one, a fifth of the others) are its test, all else its training images.
        cells: locality over Voronoi cells of parts (CUB), or over masks of objects (Places).
    """
    training = dict(training or {})
    at, train, tested = _explained(study, layer, test)
    if split == "paper":
        train = tested = _joined(train, tested, rng)
    data = srae.examples(
        train.Z,
        train.y,
        train.images.y,
        negatives,
        rng,
        study.target.classes,
        without=tested.tests,
    )
    K, n = train.y.shape[1], Setting(**training).n
    seen = _images_of_each_class(tested, K, images)
    trained = _train_all(data, training, rng.integers(2**31, size=runs))
    lassos = measures.fit_lassos(data, alpha)
    units = _drawn_units(train.Z, z_units, rng)

    numbers, per_class = [], {}
    for name, xnns in trained.items():
        numbers += _training_numbers(name, xnns, tested)
        per_class[name] = _mean_faithfulness(data, xnns, train, tested)
    per_class["Lasso"] = _faithfulness(data, lassos.predict, train, tested)
    of_lasso = {"alpha": alpha, "n": n}
    selected = float(lassos.n_features().mean())
    numbers.append(Number("n_features", selected, "Lasso", of_lasso, K, LOWER, "units"))
    numbers += _table4(alphas, data, train, tested)

    mapper = Mapper(study.target, at, to, trained, lassos, units, n, silent, cells)
    found = [mapper.maps(c, part, tested) for c, part in enumerate(seen)]
    settings = {"Lasso": of_lasso, "1-Heatmap": {}, mapper.all_z: {}}
    for name, values in method_maps.overlaps(found).items():
        per_class.setdefault(name, {}).update(values)
        numbers += _numbers(name, per_class[name], settings.get(name, {"n": n}), K)
    numbers += _gaps(per_class)
    numbers += _table5(study.target, found, pixels)
    arrays = method_maps.class_arrays(per_class)
    arrays |= method_maps.picture(study.target, found[:shown])
    if "class_part_share" in per_class["SRAE"]:
        area = float(
            np.mean([float(measures.part_region(part).mean()) for part in seen])
        )
        numbers.append(
            Number("class_part_share", area, "uniform map", {}, K, HIGHER, "fraction")
        )
        arrays |= method_maps.part_arrays(study, found)
    return Outcome(numbers, arrays)


def _explained(
    study: Study, layer: str | None, test: int | None
) -> tuple[maps.Layer, Split, Split]:
    """The explained layer, and the training and the test images with their Z and logits."""
    train = _images(study, "train", None, chunk=64)
    tested = _images(study, "test", test, chunk=64)
    at = maps.find(study.target, train.x, layer)
    return at, _split(study.target, at, train), _split(study.target, at, tested)


def _images(study: Study, split: str, count: int | None, chunk: int) -> Batch:
    """Images of a split.

    Args:
        count: images, equally many of each class; None: all.
        chunk: images that go through the network at once, fewer where they are large.
    """
    data = study.data
    rows = None if count is None else data.sample(split, count, "xnn")
    pixels = int(np.prod(data.input_shape[1:]))
    chunk = max(1, min(chunk, 2**20 // pixels))
    return data.batch(split, rows, device=study.device, chunk=chunk)


@torch.no_grad()
def _split(target: Target, at: maps.Layer, images: Batch) -> Split:
    """Images with their Z and logits, in chunks, with one pass through the network."""
    Z, y = [], []
    for x in images.x.split(images.chunk):
        output = target.features(x, at.name)
        y.append(target.head(output, at.name))
        Z.append(at.of(output))
    return Split(torch.cat(Z), torch.cat(y), images)


def _joined(train: Split, tested: Split, rng: Generator) -> Split:
    """Both splits as one, with a test of its own for each class."""
    images = _all_images(train.images, tested.images)
    tests = []
    for c in range(train.y.shape[1]):
        order = torch.from_numpy(rng.permutation(len(images)))
        order = order.to(images.y.device)
        of_class = images.y[order] == c
        others = order[~of_class]
        few = min(TEST_NEGATIVES, len(others) // 5)
        tests.append(torch.cat([order[of_class][:TEST_POSITIVES], others[:few]]))
    Z = torch.cat([train.Z, tested.Z])
    y = torch.cat([train.y, tested.y])
    return Split(Z, y, images, tests)


def _all_images(a: Batch, b: Batch) -> Batch:
    """The images of both with all that is known of them."""
    joined = {}
    for field in fields(Batch):
        values = [getattr(images, field.name) for images in (a, b)]
        if isinstance(values[0], Tensor):
            joined[field.name] = torch.cat(values)
    return replace(a, **joined, memo={})


def _images_of_each_class(tested: Split, K: int, count: int) -> list[Batch]:
    """The first test images of each class."""
    out = []
    for c in range(K):
        part = tested.images[tested.positives(c)[:count]]
        if not len(part):
            raise ValueError(f"no test image of class {c}: raise `test`")
        out.append(part)
    return out


def _train_all(
    data: srae.Examples, training: Mapping[str, Any], seeds: Array
) -> dict[str, list[XNN]]:
    """SRAE, with restarts and without, and its ablations, once for each seed: all start from the same weights."""
    trained: dict[str, list[XNN]] = {name: [] for name in TRAININGS}
    for seed in seeds:
        # The first training of SRAE is the same with restarts and without.
        done: dict[tuple[int, ...], Any] = {}
        for name, (ablation, own) in TRAININGS.items():
            setting = srae.settings_for(ablation, {**training, **own})
            shared = done if ablation == "SRAE" else None
            new = srae.fit(data, setting, np.random.default_rng(seed), done=shared)
            trained[name].append(new)
    return trained


def _drawn_units(Z: Tensor, count: int, rng: Generator) -> Tensor:
    """At most ``count`` units of Z (M, d) that are active on any image, in rising order."""
    active = torch.nonzero(Z.amax(0) > 0)[:, 0]
    active = active.cpu().numpy()
    count = min(count, len(active))
    units = rng.choice(active, count, replace=False)
    return torch.from_numpy(np.sort(units)).to(Z.device)


def _training_numbers(name: str, xnns: Sequence[XNN], tested: Split) -> list[Number]:
    """Means over runs and classes: live x-features, those that contribute to the class, and trainings."""
    K = tested.y.shape[1]
    live, positive = [], []
    for xnn, c in product(xnns, range(K)):
        live.append(xnn.live(tested.Z, c))
        positive.append(measures.n_positive(xnn, tested.Z[tested.positives(c)], c))
    number = partial(Number, method=name, setting={"n": xnns[0].setting.n}, n=K)
    trainings = float(np.mean([xnn.trained.double().mean() for xnn in xnns]))
    return [
        number("n_live", float(np.mean(live)), better=HIGHER, unit="x-features"),
        number(
            "n_positive", float(np.mean(positive)), better=HIGHER, unit="x-features"
        ),
        number("n_trainings", trainings, better=LOWER, unit="trainings"),
    ]


def _faithfulness(
    data: srae.Examples,
    predict: Callable[[Tensor], Tensor],
    train: Split,
    tested: Split,
) -> dict[str, Array]:
    """F_reg and F_cls (K,) of ``predict``: Z (M, d) -> y~ (M, K)."""
    return measures.faithfulness(
        data, train.y, predict(train.Z), tested, predict(tested.Z)
    )


def _mean_faithfulness(
    data: srae.Examples, xnns: Sequence[XNN], train: Split, tested: Split
) -> dict[str, Array]:
    """F_reg and F_cls (K,), the mean over runs."""
    runs = [_faithfulness(data, xnn.logits, train, tested) for xnn in xnns]
    return {metric: np.mean([run[metric] for run in runs], 0) for metric in runs[0]}


# --------------------------------------------------------------------------------------------- numbers of Table 1


def _numbers(
    method: str, values: Mapping[str, Array], setting: Mapping[str, Any], K: int
) -> list[Number]:
    """Means over classes, some with half of their interval.

    A class whose value is undefined is left out, and n says how many count.
    """
    out = []
    for metric, v in values.items():
        if metric in COUNTED:
            unit = COUNTED[metric]
            out.append(Number(metric, float(v.sum()), method, setting, K, LOWER, unit))
            continue
        defined = v[np.isfinite(v)]
        if len(defined):
            name = (
                metric.removesuffix("_pct").removesuffix("_train").removesuffix("_test")
            )
            better, unit = UNITS.get(name, (LOWER, ""))
            mean = float(defined.mean())
            out.append(
                Number(metric, mean, method, setting, len(defined), better, unit)
            )
        if metric in PAIRED and len(defined) > 1:
            half = _half_interval(defined)
            n = len(defined)
            out.append(Number(f"{metric}_ci95", half, method, setting, n, LOWER, unit))
    return out


def _half_interval(values: Array) -> float:
    """Half of the 95 % interval of the mean of values (n,), Student's t; n at least 2."""
    error = values.std(ddof=1) / len(values) ** 0.5
    return float(student.ppf(0.975, len(values) - 1) * error)


def _gaps(per_class: Mapping[str, Mapping[str, Array]]) -> list[Number]:
    """Method - SRAE, paired by class: mean and half of the 95 % interval."""
    out = []
    for name, values in per_class.items():
        if name == "SRAE":
            continue
        for metric in PAIRED:
            if metric in values:
                gap = values[metric] - per_class["SRAE"][metric]
                _, unit = UNITS.get(metric.removesuffix("_test"), ("", ""))
                out += _paired(f"{name}-SRAE", metric, gap, unit=unit)
    return out


def _paired(
    pair: str,
    metric: str,
    gap: Array,
    setting: Mapping[str, Any] | None = None,
    unit: str = "",
) -> list[Number]:
    """Mean and half of the 95 % interval of a gap (K,); empty where fewer than two classes have one."""
    gap = gap[np.isfinite(gap)]
    if len(gap) < 2:
        return []
    half = _half_interval(gap)
    number = partial(Number, method=pair, setting=setting or {}, n=len(gap))
    return [
        number(f"delta_{metric}", float(gap.mean()), better=HIGHER, unit=unit),
        number(f"delta_{metric}_ci95", half, better=LOWER),
    ]


def _table4(
    alphas: Sequence[float], data: srae.Examples, train: Split, tested: Split
) -> list[Number]:
    """Number of selected units and faithfulness over alpha."""
    numbers = []
    for alpha in alphas:
        lassos = measures.fit_lassos(data, alpha)
        values = _faithfulness(data, lassos.predict, train, tested)
        values["n_features"] = lassos.n_features().cpu().numpy()
        numbers += _numbers("Lasso", values, {"alpha": alpha}, len(data.rows))
    return numbers


def _table5(
    target: Target, found: Sequence[ClassMaps], pixels: Sequence[int]
) -> list[Number]:
    """Table .5: accuracy on images of which the top pixels are kept, the mean over classes.

    The gap between the two maps is paired by class.
    """
    seen = [one.images for one in found]
    merged = [one.merged for one in found]
    heat = [one.heat for one in found]
    clean = []
    for part in seen:
        right = target(part).argmax(1) == part.y
        clean.append(float(right.double().mean()))
    number = partial(
        Number, "accuracy", n=sum(map(len, seen)), better=HIGHER, unit="fraction"
    )
    numbers = [number(float(np.mean(clean)), "original image", {})]
    for count in pixels:
        setting = {"pixels kept": count}
        ours = _masked_accuracy(target, seen, merged, count)
        theirs = _masked_accuracy(target, seen, heat, count)
        numbers.append(number(float(ours.mean()), "mask by x-features", setting))
        numbers.append(number(float(theirs.mean()), "mask by 1-Heatmap", setting))
        numbers += _paired(
            "x-features-1-Heatmap", "accuracy", ours - theirs, setting, "fraction"
        )
    return numbers


def _masked_accuracy(
    target: Target, seen: Sequence[Batch], heat: Sequence[Tensor], count: int
) -> Array:
    """Accuracy (K,) on the images of each class with ``count`` pixels kept."""
    accuracies = []
    for part, ranking in zip(seen, heat, strict=True):
        accuracies.append(masking.masked_right(target, part, ranking, count).mean())
    return np.array(accuracies)


# --------------------------------------------------------------------------------------------- Table 3, Fig. 10


def convolutional(
    study: Study,
    rng: Generator,
    *,
    layers: Sequence[str] = (),
    dense: str | None = None,
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    train: int | None = None,
    test: int | None = None,
    pool: bool = True,
    shown: int | None = None,
) -> Outcome:
    """The convolutional XNN at ``layers``, and the dense one at ``dense`` beside it.

    Filters are 1x1; E is max-pooled 2x2 (``pool``) before the dense layer v, as the paper's network for MNIST.
    Features of a minibatch are computed when they are needed: those of a low layer do not fit into memory.

    Args:
        train, test: images, equally many of each class; shown: the class whose x-features are kept for the picture.
    """
    target, K = study.target, len(study.target.classes)
    seen = _images(study, "train", train, chunk=256)
    tested = _images(study, "test", test, chunk=256)
    setting = Setting(**{"accept": "live", **(training or {})})
    numbers, arrays = [], {}
    names = [*layers, dense] if dense else layers
    for name in names:
        find = maps.find if name == dense else maps.convolutional
        at = find(target, seen.x, name)
        if len(seen) * target.features(seen.x[:1], name).numel() < maps.MEMORY:
            kept = _split(target, at, seen)
            source, y = kept.Z, kept.y
        else:
            source, y = _on_the_fly(target, at, seen), _logits(target, seen)
        test_split = Split(tested.x, _logits(target, tested), tested)
        data = srae.examples(source, y, seen.y, negatives, rng, target.classes)
        pooled = pool and at.side and min(at.side) > 1
        xnn = srae.fit(data, setting, rng, at.side if pooled else None)
        y_, y_test_ = _predict(xnn, target, at, seen), _predict(xnn, target, at, tested)
        values = measures.faithfulness(data, y, y_, test_split, y_test_)
        values = {metric: values[metric] for metric in ("F_reg_train", "F_reg_test")}
        method = "SRAE" if name == dense else "conv SRAE"
        numbers += _numbers(method, values, {"layer": name}, K)
        if shown is not None and name == layers[-1]:
            one = {metric: v[shown : shown + 1] for metric, v in values.items()}
            numbers += _numbers(method, one, {"class": shown, "n": setting.n}, 1)
            arrays = _shown(target, xnn, at, tested, shown)
    return Outcome(numbers, arrays)


@torch.no_grad()
def _logits(target: Target, batch: Batch) -> Tensor:
    """Logits (M, K) of all images, in chunks."""
    return torch.cat([target(x) for x in batch.x.split(batch.chunk)])


def _on_the_fly(target: Target, at: maps.Layer, batch: Batch) -> srae.Source:
    """(K, B) images -> Z (K, B, S, d), each image once."""

    @torch.no_grad()
    def source(rows: Tensor) -> Tensor:
        unique, where = rows.unique(return_inverse=True)
        parts = unique.split(batch.chunk)
        Z = [at(target, batch.x[part]) for part in parts]
        return torch.cat(Z)[where]

    return source


@torch.no_grad()
def _predict(xnn: XNN, target: Target, at: maps.Layer, batch: Batch) -> Tensor:
    """y~ (M, K) of all images, in chunks."""
    found = []
    for x in batch.x.split(batch.chunk):
        found.append(xnn.logits(at(target, x)))
    return torch.cat(found)


def _shown(
    target: Target, xnn: XNN, at: maps.Layer, tested: Batch, c: int
) -> dict[str, Array]:
    """Fig. 10: three images of the class and three of others, with the x-features and their contributions."""
    of_class = tested.y == c
    rows = [of_class.nonzero()[:3, 0], (~of_class).nonzero()[:3, 0]]
    x = tested.x[torch.cat(rows)]
    found = maps.feature_maps(xnn, target, x, c, at, "pixels")
    found = found.movedim(0, 1)
    most = found.amax((2, 3), keepdim=True)
    found = found / most.clamp(min=1e-12)
    levels = (255 * x).round().byte()
    added = xnn.contributions(at(target, x), c)
    return {
        "conv_image": levels.cpu().numpy(),
        "conv_maps": found.cpu().numpy().astype(np.float16),
        "conv_contribution": added.cpu().numpy(),
        "conv_class": np.array(c),
    }


# --------------------------------------------------------------------------------------------- Fig. .12, n, human study


def degeneration(
    study: Study,
    rng: Generator,
    *,
    n: int = 3,
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    test: int | None = None,
    layer: str | None = None,
) -> Outcome:
    """Fig. .12: how alike the x-features of SRAE and of NN are, as activations over the test images, and how many
    contribute to the class.

    Without the authors' test that two x-features contribute (``accept: live``), which retrains what is shown here.
    """
    _, train, tested = _explained(study, layer, test)
    data = srae.examples(
        train.Z, train.y, train.images.y, negatives, rng, study.target.classes
    )
    K = train.y.shape[1]
    seed = int(rng.integers(2**31))
    pairs = ~np.eye(n, dtype=bool)
    numbers, arrays = [], {}
    alike, speaking = {}, {}
    for name in ("SRAE", "NN"):
        own = {"accept": "live", **(training or {}), "n": n}
        setting = srae.settings_for(name, own)
        xnn = srae.fit(data, setting, np.random.default_rng(seed))
        cosines, positive = [], []
        for c in range(K):
            cosines.append(measures.cosines(xnn.features(tested.Z, c)[:, 0]))
            positive.append(measures.n_positive(xnn, tested.Z[tested.images.y == c], c))
        arrays[f"cosines_{name}"] = np.stack(cosines)  # (K, n, n)
        arrays[f"speak_{name}"] = np.array(positive)
        alike[name] = arrays[f"cosines_{name}"][:, pairs].mean(1)
        speaking[name] = arrays[f"speak_{name}"]
        mean, count = float(alike[name].mean()), float(speaking[name].mean())
        number = partial(Number, method=name, setting={"n": n}, n=K)
        numbers.append(number("mean_cosine", mean, better=LOWER))
        numbers.append(number("n_speaking", count, better=HIGHER, unit="x-features"))
    setting = {"n": n}
    for metric, values in (("mean_cosine", alike), ("n_speaking", speaking)):
        gap = values["NN"] - values["SRAE"]  # (K,)
        numbers += _paired("NN-SRAE", metric, gap, setting)
    return Outcome(numbers, arrays)


def counts(
    study: Study,
    rng: Generator,
    *,
    n: Sequence[int] = (1, 2, 3, 5, 8),
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    test: int | None = None,
    layer: str | None = None,
) -> Outcome:
    """Sec. 4.1: with more than five x-features F_reg is no better, and some have no weight in v_i E_i.

    ``delta_F_reg_test`` is what F_reg falls by from 5 to n x-features, paired by class.
    """
    _, train, tested = _explained(study, layer, test)
    data = srae.examples(
        train.Z, train.y, train.images.y, negatives, rng, study.target.classes
    )
    K, seed = train.y.shape[1], int(rng.integers(2**31))
    numbers, freg = [], {}
    for count in n:
        setting = srae.settings_for("SRAE", {**(training or {}), "n": count})
        xnn = srae.fit(data, setting, np.random.default_rng(seed))
        values = _faithfulness(data, xnn.logits, train, tested)
        weighted = []
        for c in range(K):
            Z = tested.Z[tested.positives(c)]
            weighted.append(measures.n_weighted(xnn, Z, c))
        values = {key: values[key] for key in ("F_reg_train", "F_reg_test")}
        values["n_weighted"] = np.array(weighted)
        freg[count] = values["F_reg_test"]
        numbers += _numbers("SRAE", values, {"x-features": count}, K)
    for count in n:
        if count > FIVE in freg:
            gap, at = freg[FIVE] - freg[count], {"x-features": count}
            numbers += _paired("SRAE", "F_reg_test", gap, at, "logits")
    return Outcome(numbers)


def tuning(
    study: Study,
    rng: Generator,
    *,
    betas: Sequence[float] = (1, 5, 10, 15, 30),
    etas: Sequence[float] = (1, 5, 10),
    folds: int = 3,
    training: Mapping[str, Any] | None = None,
    negatives: int | None = None,
    layer: str | None = None,
) -> Outcome:
    """beta and eta of SRAE by cross-validation on the training images, as the paper says it chose them.

    ``F_reg_validation`` of each pair is the mean over folds and classes on images that it was not trained on, with half
    of the 95 % interval over classes; ``mean_cosine`` is how alike its x-features are there. The paper does not say
    which values it tried, nor what it weighed F_reg against.

    Raises:
        ValueError: fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"tuning: at least 2 folds, not {folds}")
    _, train, _ = _explained(study, layer, len(study.target.classes))
    K, seed = train.y.shape[1], int(rng.integers(2**31))
    parts = srae.folds(train.images.y, folds, rng)
    shared = [
        srae.examples(
            *(train.Z, train.y, train.images.y, negatives, rng, study.target.classes),
            without=[rows] * K,
        )
        for rows in parts
    ]
    numbers = []
    for beta, eta in product(betas, etas):
        setting = srae.settings_for(
            "SRAE", {**(training or {}), "beta": beta, "eta": eta}
        )
        f_reg, alike = np.zeros((2, folds, K))
        for fold, (rows, data) in enumerate(zip(parts, shared, strict=True)):
            xnn = srae.fit(data, setting, np.random.default_rng(seed))
            Z, y = train.Z[rows], train.y[rows]
            f_reg[fold] = (xnn.logits(Z) - y).abs().mean(0).cpu().numpy()
            alike[fold] = [
                measures.mean_cosine(xnn.features(Z, c)[:, 0]) for c in range(K)
            ]
        at = {"beta": beta, "eta": eta}
        number = partial(Number, method="SRAE", setting=at, n=K, better=LOWER)
        name, by_class = "F_reg_validation", f_reg.mean(0)
        half = _half_interval(by_class)
        numbers += [
            number(name, float(by_class.mean()), unit="logits"),
            number(f"{name}_ci95", half, unit="logits"),
            number("mean_cosine", float(alike.mean())),
        ]
    return Outcome(numbers)


def human_study(
    study: Study,
    rng: Generator,
    *,
    classes: Sequence[int] = (0, 1, 2, 3),
    n: int = 7,
    training: Mapping[str, Any] | None = None,
    layer: str | None = None,
) -> Outcome:
    """The network shown to people: one XNN for four classes with n = 7 x-features. No program replicates the people."""
    _, train, tested = _explained(study, layer, None)
    Z, y = _of_classes(train, classes)
    setting = Setting(**{"accept": "live", **(training or {}), "n": n})
    xnn = srae.fit(srae.together(Z, y), setting, rng)
    numbers = []
    for name, split in (("train", train), ("test", tested)):
        Z, y = _of_classes(split, classes)
        y_ = xnn.predict(Z)[:, 0]
        same = float((y_.argmax(1) == y.argmax(1)).double().mean())
        f_reg = float((y_ - y).abs().mean())
        number = partial(
            Number, method="SRAE (multi-class)", setting={"n": n}, n=len(Z)
        )
        numbers += [
            number(f"F_reg_{name}", f_reg, better=LOWER, unit="logits"),
            number(f"agreement_{name}_pct", 100 * same, better=HIGHER, unit="percent"),
        ]
    return Outcome(numbers)


def _of_classes(split: Split, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Z and the logits of these classes, for their images alone."""
    chosen = list(classes)
    labels = split.images.y
    wanted = torch.tensor(chosen, device=labels.device)
    rows = torch.isin(labels, wanted)
    logits = split.y[rows]
    return split.Z[rows], logits[:, chosen]
