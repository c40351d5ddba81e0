"""What must hold for every metric, on drawn networks, images and explanations: one table, one law a
test.

A metric that is not in ``LAWS`` fails the first test. Values of hand-computed cases and slow twins
are in the metrics' own tests; here are bounds, what must not matter, and the explanations whose
value is known beforehand.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, CallingSpec, Explanation, Target

CLASSES, PARTS, CONCEPTS = 3, 4, 3
FIELDS = (
    "heatmaps",
    "concept_maps",
    "labels",
    "scores",
    "decoded",
    "reference",
    "squares",
)


# --------------------------------------------------------------------------------------------- scenes


@dataclass(repr=False)
class Scene:
    """A network of random weights, n annotated images, and one explanation that offers everything."""

    weights: tuple[torch.Tensor, torch.Tensor]  # (hidden, c, h, w), (C, hidden)
    batch: Batch
    e: Explanation
    rng: np.random.Generator

    @property
    def target(self) -> Target:
        first, second = self.weights
        net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(first[0].numel(), len(first), bias=False),
            nn.Tanh(),  # no two logits are equal
            nn.Linear(*second.T.shape, bias=False),
        )
        net[1].weight.data, net[3].weight.data = first.flatten(1), second
        return Target(
            net,
            name="net",
            classes="abc",
            input_shape=tuple(first.shape[1:]),
            mean=[0.45],
            std=[0.3],
        )

    def value(self, metric, setting, e: Explanation | None = None) -> np.ndarray:
        fresh = replace(self.batch, memo={})
        if metric.name in OF_OBJECTS:  # masks of objects, not of parts
            fresh.parts = None
        return metric(
            e or self.e, self.target, fresh, np.random.default_rng(0), **setting
        )


def scene(seed: int, n: int, c: int, h: int, w: int) -> Scene:
    rng = np.random.default_rng(seed)

    def tensor(array, dtype=np.float32):
        return torch.from_numpy(np.ascontiguousarray(array, dtype))

    low = np.column_stack([rng.integers(0, w - 2, n), rng.integers(0, h - 2, n)])
    batch = Batch(
        x=tensor(rng.random((n, c, h, w))),
        y=tensor(rng.integers(0, CLASSES, n), np.int64),
        boxes=tensor(np.hstack([low, low + rng.integers(1, 6, (n, 2))])),
        parts=tensor(rng.random((n, PARTS, 2)) * [w, h]),
        part_visible=tensor(rng.random((n, PARTS)) < 0.8, bool),
        part_importance=tensor(rng.integers(0, 3, (n, PARTS))),
        part_masks=tensor(rng.integers(-1, PARTS, (n, h, w)), np.int8),
        chunk=64,
    )
    maps = [
        rng.permutation(h * w).reshape(h, w) - h * w // 3 for _ in range(n)
    ]  # no ties
    labels = np.where(rng.random(n) < 0.3, -1, rng.integers(0, CLASSES, n))
    e = Explanation(
        heatmaps=np.stack(maps) / 64,
        concept_maps=rng.normal(size=(n, CONCEPTS, h, w)),
        labels=labels,
        scores=3 * rng.normal(size=(n, CLASSES)),
        decoded=rng.random((n, c, h, w)),
        reference=rng.random((n, c, h, w)),
    )
    weights = (
        tensor(rng.normal(size=(8, c, h, w))),
        tensor(rng.normal(size=(CLASSES, 8))),
    )
    return Scene(weights, batch, e, rng)


scenes = st.builds(
    scene,
    st.integers(0, 2**32 - 1),
    st.integers(2, 6),
    st.sampled_from([1, 3]),
    st.integers(5, 9),
    st.integers(5, 9),
)
few = settings(max_examples=8)


def changed(e: Explanation, **values) -> Explanation:
    return Explanation(
        **({f.name: getattr(e, f.name) for f in fields(e) if f.name in FIELDS} | values)
    )


def picked(e: Explanation, rows) -> Explanation:
    here = [name for name in FIELDS if getattr(e, name) is not None]
    return changed(e, **{name: getattr(e, name)[rows] for name in here})


# --------------------------------------------------------------------------------------------- what does not matter


def scaled(s: Scene) -> Explanation:
    """Each map times a positive number of its own."""
    n = len(s.batch)
    a, b = (
        2.0 ** s.rng.integers(-9, 9, (n, 1, 1)),
        2.0 ** s.rng.integers(-9, 9, (n, CONCEPTS, 1, 1)),
    )
    return changed(s.e, heatmaps=s.e.heatmaps * a, concept_maps=s.e.concept_maps * b)


def monotone(s: Scene) -> Explanation:
    """Each pixel's value through a function that rises strictly."""
    x = s.e.heatmaps
    rising = (x**3, x - 3, np.tanh(x), np.where(x < 0, x / 4, 2 * x), np.exp(x))
    return changed(s.e, heatmaps=rising[s.rng.integers(len(rising))])


def affine(s: Scene) -> Explanation:
    return changed(s.e, heatmaps=4 * s.e.heatmaps - 2)


def no_evidence(s: Scene) -> Explanation:
    """Other negative values."""
    x, k = s.e.heatmaps, s.e.concept_maps
    return changed(
        s.e,
        heatmaps=np.where(x < 0, -s.rng.random(x.shape), x),
        concept_maps=np.where(k < 0, -s.rng.random(k.shape), k),
    )


def signs(s: Scene) -> Explanation:
    return changed(
        s.e, heatmaps=s.e.heatmaps * s.rng.choice([-1, 1], s.e.heatmaps.shape)
    )


def pixels(s: Scene) -> Explanation:
    """The same values at other places, of all images and maps alike."""
    h, w = s.e.heatmaps.shape[1:]
    order = s.rng.permutation(h * w)

    def moved(maps):
        return maps.reshape(*maps.shape[:-2], h * w)[..., order].reshape(maps.shape)

    return changed(
        s.e, heatmaps=moved(s.e.heatmaps), concept_maps=moved(s.e.concept_maps)
    )


def names(s: Scene) -> Explanation:
    """The concepts in another order."""
    return changed(s.e, concept_maps=s.e.concept_maps[:, s.rng.permutation(CONCEPTS)])


def rest(*kept: str) -> Callable[[Scene], Explanation]:
    """Whatever the metric does not need: only ``kept`` stays."""
    return lambda s: Explanation(**{name: getattr(s.e, name) for name in kept})


# --------------------------------------------------------------------------------------------- the table


@dataclass
class Law:
    """What holds for a metric."""

    track: str
    better: str
    unit: str
    low: float
    high: float | Callable[[Scene, dict], float]
    same: tuple[
        Callable[[Scene], Explanation], ...
    ]  # changes that leave every value as it is
    settings: tuple[dict, ...] = ({},)
    version: int = 1
    values: tuple[float, ...] = ()  # the only ones
    of_class: bool = (
        False  # an image's value is that of all images of its predicted class
    )
    partial: bool = False
    drawn: bool = False  # rows and columns differ: what is hidden is drawn


def heat(better, unit, high, same, **more) -> Law:
    return Law(
        "heatmap",
        better,
        unit,
        more.pop("low", 0),
        high,
        (*same, rest("heatmaps")),
        **more,
    )


def concept(better, unit, high, same, **more) -> Law:
    return Law("concept", better, unit, 0, high, (*same, rest("concept_maps")), **more)


def surrogate(better, unit, high, field, **more) -> Law:
    return Law("surrogate", better, unit, 0, high, (rest(field),), **more)


def rebuilt(better, unit, low, high, *used, **more) -> Law:
    return Law("reconstruction", better, unit, low, high, (rest(*used),), **more)


OF_OBJECTS = {"pointing_game_mask"}
KEEPS = tuple({"keep": keep} for keep in (0.1, 0.2, 0.3))
SCALES = ({"scale": "standardised"}, {"scale": "pixels"})
ORDER, MASS = (monotone, scaled), (scaled, no_evidence)
PART = {"partial": True, "settings": ({"radius": 0.08},)}
SHARE = {"partial": True, "drawn": True}
ROAD = {
    "settings": ({"steps": 4, "images": 0.25},),
    "values": (0, 0.25, 0.5, 0.75, 1),
}

LAWS = {
    "average_drop": heat("lower", "percent", 100, ORDER, settings=KEEPS),
    "average_increase": heat(
        "higher", "percent", 100, ORDER, settings=KEEPS, values=(0, 100)
    ),
    "accuracy_top_pixels": heat(
        "higher",
        "fraction",
        1,
        ORDER,
        values=(0, 1),
        settings=tuple({"pixels": k} for k in (300, 500, 1000)),
    ),
    "insertion_auc": heat("higher", "fraction", 1, ORDER, settings=({"steps": 17},)),
    "deletion_auc": heat("lower", "fraction", 1, ORDER, settings=({"steps": 17},)),
    "patch_correlation": heat(
        "higher", "correlation", 1, (scaled, affine), low=-1, settings=({"grid": 6},)
    ),
    "pointing_game": heat("higher", "fraction", 1, ORDER, settings=({"tolerance": 0},)),
    "energy_in_box": heat("higher", "fraction", 1, MASS),
    "pointing_game_mask": heat("higher", "fraction", 1, ORDER, partial=True),
    "energy_on_parts": heat("higher", "fraction", 1, MASS, **PART),
    "energy_on_class_parts": heat("higher", "fraction", 1, MASS, **PART),
    "part_ranking": heat("higher", "fraction", 1, MASS, **PART),
    "gini": heat(
        "higher",
        "fraction",
        lambda s, _: 1 - 1 / s.e.heatmaps[0].size,
        (scaled, signs, pixels),
    ),
    "entropy": heat(
        "lower",
        "nats",
        lambda s, _: math.log(s.e.heatmaps[0].size),
        (scaled, signs, pixels),
    ),
    "occlusion_delta_accuracy": heat(
        "higher", "fraction", 1, (scaled, affine), low=-1, version=2
    ),
    "infidelity": heat(
        "lower",
        "squared logits",
        math.inf,
        (scaled,),
        settings=({"draws": 32, "images": 0.25},),
        **SHARE,
    ),
    "sensitivity_n": heat(
        "higher",
        "correlation",
        1,
        (scaled, affine),
        low=-1,
        settings=({"sizes": 3, "draws": 32, "images": 0.25},),
        **SHARE,
    ),
    "faithfulness_correlation": heat(
        "higher",
        "correlation",
        1,
        (scaled, affine),
        low=-1,
        settings=({"size": 0.1, "draws": 32, "images": 0.25},),
        **SHARE,
    ),
    "monotonicity_correlation": heat(
        "higher",
        "correlation",
        1,
        (scaled,),
        low=-1,
        settings=({"grid": 4, "draws": 4, "images": 0.25},),
        **SHARE,
    ),
    "saco": heat(
        "higher",
        "fraction",
        1,
        (scaled, affine),
        low=-1,
        settings=({"groups": 10, "images": 0.25},),
        partial=True,
    ),
    "symmetric_relevance_gain": heat(
        "higher",
        "fraction",
        1,
        ORDER,
        low=-1,
        settings=({"steps": 7, "images": 0.25},),
        partial=True,
    ),
    "irof": heat(
        "higher",
        "fraction",
        1,
        (scaled, affine),
        low=1 - CLASSES,
        settings=({"segments": 16, "images": 0.25},),
        **SHARE,
    ),
    "road_morf": heat("lower", "fraction", 1, ORDER, **ROAD, **SHARE),
    "road_lerf": heat("higher", "fraction", 1, ORDER, **ROAD, **SHARE),
    "relevance_mass_accuracy": heat("higher", "fraction", 1, MASS, partial=True),
    "relevance_rank_accuracy": heat("higher", "fraction", 1, MASS, partial=True),
    "completeness": heat(
        "lower",
        "fraction",
        1,
        (),
        settings=tuple({"baseline": name} for name in ("black", "mean", "none")),
    ),
    "o1": concept(
        "lower", "", CONCEPTS - CONCEPTS**0.5, (*MASS, names, pixels), of_class=True
    ),
    "o2": concept(
        "lower",
        "nats",
        -CONCEPTS * math.log(1e-6),
        (*MASS, names, pixels),
        of_class=True,
    ),
    "mean_correlation": concept(
        "lower", "", 1, (*MASS, names, pixels), of_class=True, partial=True
    ),
    "locality": concept(
        "lower",
        "nats",
        lambda _, setting: math.log(PARTS + (setting["cells"] != "pixel")),
        (*MASS, names),
        of_class=True,
        partial=True,
        settings=({"cells": "voronoi"}, {"cells": "pixel"}, {"cells": "mask"}),
    ),
    "concepts_on_class_parts": concept("higher", "fraction", 1, (*MASS, names), **PART),
    "f_reg": surrogate("lower", "logits", math.inf, "scores"),
    "f_cls": surrogate(
        "higher",
        "percent",
        100,
        "scores",
        values=tuple(100 * k / CLASSES for k in range(CLASSES + 1)),
    ),
    "acu_gt": surrogate(
        "higher", "percent", 100, "labels", values=(0, 100), partial=True
    ),
    "acu_md": surrogate(
        "higher", "percent", 100, "labels", values=(0, 100), partial=True
    ),
    "cvr": surrogate("higher", "percent", 100, "labels", values=(0, 100)),
    "reconstruction_loss": rebuilt(
        "lower", "mean squared error", 0, math.inf, "decoded", settings=SCALES
    ),
    "delta_reconstruction": rebuilt(
        "lower",
        "mean squared error",
        -math.inf,
        math.inf,
        "decoded",
        "reference",
        settings=SCALES,
    ),
    "decoded_accuracy": rebuilt("higher", "fraction", 0, 1, "decoded", values=(0, 1)),
    "decoded_delta_accuracy": rebuilt(
        "higher", "fraction", -1, 1, "decoded", "reference", values=(-1, 0, 1)
    ),
}
CELLS = [
    pytest.param(METRICS[name], law, setting, id=f"{name}-{i}")
    for name, law in LAWS.items()
    for i, setting in enumerate(law.settings)
]
every_metric = pytest.mark.parametrize(("metric", "law", "setting"), CELLS)


def test_every_metric_has_its_laws_and_is_declared_as_they_say():
    """Also its version: whoever changes what a number means, says so here."""
    ours = {
        name: m
        for name, m in METRICS.items()
        if m.function.__module__.startswith("benchmark.")
        and not isinstance(m, CallingSpec)
        and not m.function.__module__.endswith(".parts")  # of toybirds alone
    }
    declared = {
        name: (m.track, m.better, m.unit, m.version, m.settings, m.partial)
        for name, m in ours.items()
    }
    assert declared == {
        name: (law.track, law.better, law.unit, law.version, law.settings, law.partial)
        for name, law in LAWS.items()
    }


CALLING = {  # better, unit, version, settings, partial, calls
    "average_sensitivity": ("lower", "ratio", 1, ({"radius": 0.1},), True, 11),
    "controlled_synthetic_data_check": ("higher", "fraction", 1, ({},), True, 4),
    "deletion": ("higher", "fraction", 1, ({},), False, 4),
    "distractibility": ("higher", "fraction", 1, ({},), True, 4),
    "efficient_mprt": ("higher", "ratio", 1, ({},), True, 2),
    "input_invariance": ("lower", "ratio", 1, ({"shift": -1.0},), True, 1),
    "max_sensitivity": ("lower", "ratio", 1, ({"radius": 0.1},), True, 11),
    "mprt": (
        *("lower", "correlation", 1),
        *(({"order": "top"}, {"order": "bottom"}), True, 7),
    ),
    "passes_per_image": ("lower", "forward passes", 1, ({},), True, 1),
    "preservation": ("higher", "fraction", 1, ({},), False, 4),
    "random_logit": ("lower", "fraction", 1, ({},), True, 2),
    "relative_output_stability": ("lower", "ratio", 1, ({"radius": 0.1},), True, 11),
    "smooth_mprt": ("lower", "correlation", 1, ({"noisy": 5},), True, 10),
    "target_sensitivity": ("higher", "fraction", 1, ({},), True, 2),
}


def test_metrics_that_call_the_method_are_declared_as_here():
    """Also their versions: whoever changes what a number means, says so here."""
    declared = {
        name: (m.better, m.unit, m.version, m.settings, m.partial, m.calls)
        for name, m in METRICS.items()
        if isinstance(m, CallingSpec) and m.function.__module__.startswith("benchmark.")
    }
    assert declared == CALLING
    assert {METRICS[name].track for name in CALLING} == {"heatmap"}


def test_metrics_that_call_the_method_are_declared_with_these_defaults():
    near = {"radius": 0.1, "draws": 10}
    want = {name: {} for name in CALLING}
    want |= {"relative_output_stability": near, "efficient_mprt": {"bins": 100}}
    for name in ("average_sensitivity", "max_sensitivity"):
        want[name] = near | {"relative": True}
    want["input_invariance"] = {"shift": -1.0}
    want["mprt"] = {"order": "top", "absolute": False}
    want["smooth_mprt"] = {"noisy": 50, "noise": 0.1, "absolute": False}
    for name, defaults in want.items():
        found = inspect.signature(METRICS[name].function).parameters.values()
        has_default = [p for p in found if p.default is not p.empty]
        assert {p.name: p.default for p in has_default} == defaults


@pytest.mark.parametrize(
    "name", [name for name, law in LAWS.items() if law.settings[-1]]
)
def test_what_a_metric_does_by_default_is_one_of_its_settings(name):
    parameters = inspect.signature(METRICS[name].function).parameters
    settings = LAWS[name].settings
    for key in settings[-1]:
        assert parameters[key].default in [setting[key] for setting in settings]


def assert_same(law: Law, got: np.ndarray, want: np.ndarray, tolerance=1e-5) -> None:
    scale = (
        law.high if isinstance(law.high, int | float) and math.isfinite(law.high) else 1
    )
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * scale)


# --------------------------------------------------------------------------------------------- the laws


@every_metric
@given(s=scenes)
@few
def test_one_value_an_image_within_its_bounds(metric, law, setting, s):
    got = s.value(metric, setting)
    assert got.shape == (len(s.batch),)
    assert got.dtype == np.float64
    assert law.partial or not np.isnan(got).any()
    here = got[~np.isnan(got)]
    high = law.high(s, setting) if callable(law.high) else law.high
    assert ((law.low - 1e-9 <= here) & (here <= high + 1e-9)).all()
    assert np.isfinite(here).all()


@pytest.mark.parametrize(
    ("metric", "law", "setting"), [cell for cell in CELLS if cell.values[1].values]
)
@given(s=scenes)
@few
def test_a_metric_of_few_values_takes_no_other(metric, law, setting, s):
    got = s.value(metric, setting)
    here = got[~np.isnan(got)]
    assert np.isin(here.round(9), np.round(law.values, 9)).all()


@pytest.mark.parametrize(
    ("metric", "law", "setting", "same"),
    [
        pytest.param(
            *cell.values, same, id=f"{cell.id}-{getattr(same, '__name__', '')}"
        )
        for cell in CELLS
        for same in cell.values[1].same
    ],
)
@given(s=scenes)
@few
def test_what_does_not_matter(metric, law, setting, same, s):
    assert_same(law, s.value(metric, setting, same(s)), s.value(metric, setting))


@every_metric
@given(s=scenes, chunk=st.integers(1, 4))
@few
def test_the_order_of_images_and_the_size_of_chunks_do_not_matter(
    metric, law, setting, s, chunk
):
    want, order = s.value(metric, setting), s.rng.permutation(len(s.batch))
    other = replace(
        s, batch=replace(s.batch[order.tolist()], chunk=chunk), e=picked(s.e, order)
    )
    assert_same(law, other.value(metric, setting), want[order])


@every_metric
@given(s=scenes, first=st.integers(1, 5))
@few
def test_a_batch_in_two_gives_the_same_values(metric, law, setting, s, first):
    """Split anywhere; where a value is that of a class, between the classes."""
    predicted = s.target(s.batch).argmax(1).numpy()
    part = (
        predicted == predicted[0] if law.of_class else np.arange(len(s.batch)) < first
    )
    got = np.full(len(s.batch), np.nan)
    for rows in filter(len, (np.flatnonzero(part), np.flatnonzero(~part))):
        got[rows] = replace(s, batch=s.batch[rows.tolist()], e=picked(s.e, rows)).value(
            metric, setting
        )
    want = s.value(metric, setting)
    assert_same(law, got, want)


@pytest.mark.parametrize(
    ("metric", "law", "setting"), [cell for cell in CELLS if cell.values[1].of_class]
)
@given(s=scenes)
@few
def test_a_value_of_a_class_is_that_of_all_its_images(metric, law, setting, s):
    predicted = s.target(s.batch).argmax(1).numpy()
    got = s.value(metric, setting)
    for c in np.unique(predicted):
        mine = got[predicted == c]
        assert len(np.unique(mine[~np.isnan(mine)])) <= 1


@every_metric
@given(s=scenes)
@few
def test_the_names_of_classes_do_not_matter(metric, law, setting, s):
    """Classes renumbered in network, truth, labels and scores alike."""
    new = s.rng.permutation(CLASSES)  # class k is now new[k]
    old, labels = np.argsort(new), s.e.labels
    e = changed(
        s.e, labels=np.where(labels < 0, -1, new[labels]), scores=s.e.scores[:, old]
    )
    batch = replace(s.batch, y=torch.from_numpy(new)[s.batch.y])
    weights = s.weights[0], s.weights[1][torch.from_numpy(old)]
    assert_same(
        law,
        replace(s, weights=weights, batch=batch, e=e).value(metric, setting),
        s.value(metric, setting),
    )


@pytest.mark.parametrize(
    ("metric", "law", "setting"), [cell for cell in CELLS if not cell.values[1].drawn]
)
@given(s=scenes)
@few
def test_rows_and_columns_are_treated_alike(metric, law, setting, s):
    """Everything transposed: images, network, maps, boxes and parts."""
    b = s.batch
    batch = replace(
        b,
        x=b.x.mT.contiguous(),
        boxes=b.boxes[:, [1, 0, 3, 2]],
        parts=b.parts.flip(-1),
        part_masks=b.part_masks.mT,
    )
    maps = {
        name: getattr(s.e, name).swapaxes(-1, -2)
        for name in ("heatmaps", "concept_maps", "decoded", "reference")
    }
    turned = replace(
        s, weights=(s.weights[0].mT, s.weights[1]), batch=batch, e=changed(s.e, **maps)
    )
    assert_same(law, turned.value(metric, setting), s.value(metric, setting), 1e-4)


@every_metric
def test_what_does_not_fit_is_refused(metric, law, setting):
    s = scene(0, 3, 1, 6, 7)
    for field in metric.offered:
        for wrong in (np.nan, np.inf, -np.inf):
            holed = getattr(s.e, field).astype(np.float64)
            holed.flat[-1] = wrong
            with pytest.raises(ValueError, match="NaN or infinite"):
                changed(s.e, **{field: holed})
        for rows in ([0, 1], [0, 1, 2, 2]):
            with pytest.raises(ValueError, match="for .*images|network's logits"):
                s.value(metric, setting, picked(s.e, rows))


IMAGES = "for images of shape (3, 6, 7)"


@pytest.mark.parametrize(
    ("name", "fields", "setting", "message"),
    [
        (
            "average_drop",
            {},
            {"keep": 0},
            "keep=0: the share of pixels kept must lie in (0, 1]",
        ),
        (
            "average_increase",
            {},
            {"keep": 1.01},
            "keep=1.01: the share of pixels kept must lie in (0, 1]",
        ),
        (
            "average_drop",
            {},
            {"fill": "white"},
            "fill 'white' is not one of black, blur, inpaint, mean",
        ),
        (
            "accuracy_top_pixels",
            {},
            {"pixels": 0},
            "pixels=0 must lie within 1..50176: it counts at 224 x 224",
        ),
        (
            "accuracy_top_pixels",
            {},
            {"pixels": 50177},
            "pixels=50177 must lie within 1..50176: it counts at 224 x 224",
        ),
        (
            "insertion_auc",
            {},
            {"steps": 1},
            "steps=1: a curve needs both ends, so at least 2",
        ),
        (
            "gini",
            {"heatmaps": np.zeros((3, 7, 6))},
            {},
            f"heatmaps have shape (3, 7, 6) {IMAGES}: return one map per image, upsampled to its resolution",
        ),
        ("gini", {"heatmaps": None}, {}, "the explanation has no heatmaps"),
        (
            "o1",
            {"concept_maps": np.zeros((3, 2, 7, 6))},
            {},
            f"concept_maps have shape (3, 2, 7, 6) {IMAGES}",
        ),
        (
            "o2",
            {"concept_maps": np.zeros((3, 2, 6, 6))},
            {},
            f"concept_maps have shape (3, 2, 6, 6) {IMAGES}",
        ),
        (
            "locality",
            {"concept_maps": None},
            {},
            f"concept_maps have shape None {IMAGES}",
        ),
        (
            "locality",
            {},
            {"cells": "grid"},
            "cells='grid' is not voronoi, pixel or mask",
        ),
        (
            "f_reg",
            {"scores": np.zeros((3, 4))},
            {},
            "scores have shape (3, 4), the network's logits (3, 3): return one per class, or one per image",
        ),
        ("acu_gt", {"labels": None}, {}, "0 labels for 3 images: return one per image"),
        (
            "decoded_accuracy",
            {"decoded": None},
            {},
            "decoded has nothing for images of shape (3, 1, 6, 7): return one rebuilt image for each",
        ),
        (
            "delta_reconstruction",
            {"reference": np.zeros((3, 1, 7, 6))},
            {},
            "reference has shape (3, 1, 7, 6) for images of shape (3, 1, 6, 7): return one rebuilt image for each",
        ),
        (
            "reconstruction_loss",
            {},
            {"scale": "percent"},
            "scale='percent' must be standardised or pixels, norm='mse' must be mse or l2",
        ),
        (
            "reconstruction_loss",
            {},
            {"norm": "l1"},
            "scale='standardised' must be standardised or pixels, norm='l1' must be mse or l2",
        ),
    ],
)
def test_bad_input_is_named(name, fields, setting, message):
    s = scene(0, 3, 1, 6, 7)
    with pytest.raises(ValueError) as error:
        s.value(METRICS[name], setting, changed(s.e, **fields))
    assert str(error.value) == message


def test_the_ends_of_what_is_allowed():
    s = scene(0, 3, 1, 6, 7)
    for name, setting in (
        ("average_drop", {"keep": 1}),
        ("insertion_auc", {"steps": 2}),
        ("accuracy_top_pixels", {"pixels": 1}),
        ("accuracy_top_pixels", {"pixels": 50176}),
        ("deletion_auc", {"steps": 999}),
    ):
        assert np.isfinite(s.value(METRICS[name], setting)).all()


# --------------------------------------------------------------------------------------------- known extremes: masking


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("average_drop", {"keep": 0.3}),
        ("average_increase", {"keep": 0.3}),
        ("deletion_auc", {"steps": 5}),
        ("insertion_auc", {"steps": 5, "fill": "black"}),
        ("accuracy_top_pixels", {"pixels": 9000, "fill": "black"}),
    ],
)
@given(s=scenes)
@settings(max_examples=20)
def test_no_map_beats_the_truth_on_a_linear_network(name, setting, s):
    """Logits (w x - b, 0), w of both signs: what each pixel adds to the logit, w x, is the best
    map, its negative the worst."""
    w, n = s.weights[0][0], len(s.batch)
    layer = nn.Linear(w.numel(), 2)
    layer.weight.data, layer.bias.data = (
        torch.stack([w.flatten(), 0 * w.flatten()]),
        torch.tensor([0.3, 0]),
    )
    target = Target(
        nn.Sequential(nn.Flatten(), layer),
        name="t",
        classes="ab",
        input_shape=tuple(w.shape),
    )
    b = replace(s.batch, y=torch.zeros(n, dtype=torch.int64))
    ours = (target(b).argmax(1) == 0).numpy()  # the images of class 0
    added = (w * b.x).sum(1).numpy()
    best, worst, any_map = (
        METRICS[name](
            Explanation(heatmaps=maps), target, replace(b, memo={}), s.rng, **setting
        )[ours]
        for maps in (added, -added, s.e.heatmaps)
    )
    sign = 1 if METRICS[name].better == "higher" else -1
    assert (sign * best >= sign * any_map - 1e-4).all()
    assert (sign * any_map >= sign * worst - 1e-4).all()


@given(s=scenes)
def test_all_pixels_kept_is_the_image_itself(s):
    right = (s.target(s.batch).argmax(1) == s.batch.y).numpy()
    assert s.value(METRICS["average_drop"], {"keep": 1}) == pytest.approx(0)
    assert s.value(METRICS["average_increase"], {"keep": 1}).tolist() == [0] * len(
        right
    )
    np.testing.assert_array_equal(
        s.value(METRICS["accuracy_top_pixels"], {"pixels": 224**2}), right
    )


@given(s=scenes)
@settings(max_examples=20)
def test_a_network_that_sees_nothing_gives_every_map_the_same(s):
    blind = replace(s, weights=(s.weights[0], 0 * s.weights[1]))
    for name, want in {
        "insertion_auc": 1 / CLASSES,
        "deletion_auc": 1 / CLASSES,
        "average_drop": 0,
        "average_increase": 0,
        "occlusion_delta_accuracy": 0,
        "patch_correlation": 0,
        "infidelity": 0,
        "sensitivity_n": 0,
        "faithfulness_correlation": 0,
        "monotonicity_correlation": 0,
        "saco": 1,  # ties count for the map, as printed
        "symmetric_relevance_gain": 0,
        "irof": 0,
    }.items():
        assert blind.value(METRICS[name], {}) == pytest.approx(want)


@given(s=scenes)
def test_insertion_is_deletion_backwards(s):
    """With one fill, the k most important pixels put back are the others of the negated map deleted (no ties)."""
    back = changed(s.e, heatmaps=-s.e.heatmaps)
    for fill in ("black", "blur"):
        steps = {"steps": 6, "fill": fill}
        np.testing.assert_allclose(
            s.value(METRICS["insertion_auc"], steps),
            s.value(METRICS["deletion_auc"], steps, back),
            atol=1e-5,
        )


# --------------------------------------------------------------------------------------------- known extremes: places


def spots(s: Scene, at: np.ndarray) -> np.ndarray:
    """Maps (n, h, w) that are 1 at the pixels (x, y) = at (n, 2) and 0 elsewhere."""
    maps = np.zeros_like(s.e.heatmaps)
    maps[np.arange(len(at)), at[:, 1].astype(int), at[:, 0].astype(int)] = 1
    return maps


@given(s=scenes)
def test_a_spot_in_the_box_a_spot_outside_and_a_flat_map(s):
    n, h, w = s.e.heatmaps.shape
    x0, y0, x1, y1 = s.batch.boxes.numpy().T
    inside = (np.minimum(x1, w) - x0) * (np.minimum(y1, h) - y0)
    corner = np.column_stack([np.where(x0 > 0, 0, w - 1), np.where(x0 > 0, 0, h - 1)])
    free = (x0 > 0) | (x1 < w)  # that corner lies outside
    for name in ("pointing_game", "energy_in_box"):
        value = lambda maps: s.value(METRICS[name], {}, Explanation(heatmaps=maps))  # noqa: B023
        assert value(spots(s, np.column_stack([x0, y0]))).tolist() == [1] * n
        assert (
            value(
                spots(s, np.column_stack([np.minimum(x1, w), np.minimum(y1, h)]) - 1)
            ).tolist()
            == [1] * n
        )
        assert value(spots(s, corner))[free].tolist() == [0] * free.sum()
        np.testing.assert_allclose(
            value(np.full((n, h, w), 0.7)), inside / (h * w), rtol=1e-6
        )


@dataclass
class PartScene:
    """Four parts in the corners, each with a disc of its own, of importances 0 to 3 in some order."""

    s: Scene

    def __post_init__(self):
        n, h, w = self.s.e.heatmaps.shape
        self.shape = n, h, w
        corners = np.float32(
            [[0.5, 0.5], [w - 0.5, 0.5], [0.5, h - 0.5], [w - 0.5, h - 0.5]]
        )
        places = np.tile(corners, (n, 1, 1))
        self.importance = np.stack(
            [self.s.rng.permutation([0, 1, 2, 3]) for _ in range(n)]
        )  # (n, p)
        batch = replace(
            self.s.batch,
            parts=torch.from_numpy(places),
            part_visible=None,
            part_importance=torch.from_numpy(self.importance),
        )
        self.s = replace(self.s, batch=batch)
        self.on = [spots(self.s, places[:, p]) for p in range(PARTS)]

    def painted(self, importance):
        """Maps that give each part a weight, (n, p)."""
        return sum(importance[:, p, None, None] * self.on[p] for p in range(PARTS))

    def least(self):
        """Maps of the part that means nothing."""
        return np.stack(
            [self.on[p][i] for i, p in enumerate(self.importance.argmin(1))]
        )

    def values(self, maps):
        """Of energy_on_parts, energy_on_class_parts and part_ranking."""
        names = ("energy_on_parts", "energy_on_class_parts", "part_ranking")
        e = Explanation(heatmaps=maps)
        return [self.s.value(METRICS[name], {}, e).tolist() for name in names]


@given(s=scenes)
def test_maps_on_parts_off_parts_and_flat(s):
    scene = PartScene(s)
    n, h, w = scene.shape
    off_parts = spots(scene.s, np.full((n, 2), 2))
    assert scene.values(scene.painted(scene.importance)) == [[1] * n] * 3
    assert scene.values(scene.painted(3 - scene.importance))[2] == [0] * n
    # of 6 pairs 3 are lost and 3 are even
    assert scene.values(scene.least()) == [[1] * n, [0] * n, [0.25] * n]
    assert scene.values(off_parts) == [[0] * n, [0] * n, [0.5] * n]
    assert scene.values(np.ones((n, h, w)))[2] == [0.5] * n


@given(s=scenes)
def test_concepts_on_class_parts(s):
    scene = PartScene(s)
    truth, least = scene.painted(scene.importance), scene.least()
    for concepts, want in ((truth, 1), (least, 0), ((truth > 0) + least, 0.75)):
        maps = np.stack(
            [concepts, 0 * concepts, 3 * concepts], 1
        )  # a dead one does not count
        found = scene.s.value(
            METRICS["concepts_on_class_parts"], {}, Explanation(concept_maps=maps)
        )
        assert found == pytest.approx(want)


@given(s=scenes, radius=st.sampled_from([0.01, 0.08, 0.3]))
def test_a_concept_lies_on_parts_as_a_heat_map_does(s, radius):
    """One concept, all parts important: the share of a map's mass on parts, also where a disc is less than a pixel."""
    s = replace(
        s, batch=replace(s.batch, part_importance=torch.ones(s.batch.parts.shape[:2]))
    )
    one = Explanation(heatmaps=s.e.heatmaps, concept_maps=s.e.heatmaps[:, None])
    on_parts = s.value(METRICS["energy_on_parts"], {"radius": radius}, one)
    np.testing.assert_allclose(
        s.value(METRICS["concepts_on_class_parts"], {"radius": radius}, one), on_parts
    )


@given(s=scenes)
def test_one_pixel_is_sparsest_and_a_flat_map_least(s):
    n, h, w = s.e.heatmaps.shape
    for maps, want in (
        (spots(s, np.ones((n, 2))), 1 - 1 / (h * w)),
        (np.full((n, h, w), -3), 0),
        (np.zeros((n, h, w)), 0),
    ):
        assert s.value(
            METRICS["gini"], {}, Explanation(heatmaps=maps)
        ) == pytest.approx(want, abs=1e-12)
    assert (
        s.value(
            METRICS["occlusion_delta_accuracy"],
            {},
            Explanation(heatmaps=np.full((n, h, w), 2.0)),
        ).tolist()
        == [0] * n
    )


# --------------------------------------------------------------------------------------------- known extremes: concepts


@given(s=scenes, k=st.integers(2, 4))
def test_identical_concepts_and_orthogonal_ones(s, k):
    n, h, w = s.e.heatmaps.shape
    one = s.rng.random((n, 1, h, w))
    same = Explanation(concept_maps=one.repeat(k, 1))
    np.testing.assert_allclose(s.value(METRICS["o1"], {}, same), k - k**0.5, atol=1e-6)
    want = -math.log(k + 1e-6) - (k - 1) * math.log(1e-6)
    np.testing.assert_allclose(s.value(METRICS["o2"], {}, same), want, rtol=1e-6)
    waves = np.linalg.qr(
        np.hstack([np.ones((h * w, 1)), s.rng.normal(size=(h * w, k))])
    )[0][:, 1:].T  # zero mean
    apart = np.tile((1 + waves / np.abs(waves).max()).reshape(k, h, w), (n, 1, 1, 1))
    for name in ("o1", "o2"):
        np.testing.assert_allclose(
            s.value(METRICS[name], {}, Explanation(concept_maps=apart)), 0, atol=1e-5
        )


@given(s=scenes)
def test_a_concept_on_one_part_is_most_local(s):
    n, h, w = s.e.heatmaps.shape
    pixel = np.stack(
        [s.rng.permutation(h * w)[:PARTS] for _ in range(n)]
    )  # parts in pixels of their own
    parts = torch.from_numpy(
        np.stack([pixel % w, pixel // w], -1)
        + s.rng.random((n, PARTS, 2)).astype(np.float32)
    )
    b = replace(
        s.batch,
        parts=parts.float(),
        part_visible=None,
        boxes=torch.tensor([[0.0, 0, w, h]]).repeat(n, 1),
    )
    s = replace(s, batch=b)
    on = Explanation(concept_maps=spots(s, b.parts[:, 0].numpy())[:, None])
    assert s.value(METRICS["locality"], {"cells": "pixel"}, on) == pytest.approx(
        0, abs=1e-9
    )
    # a concept outside of all boxes is all context, which is one thing as well
    away = replace(
        s, batch=replace(b, boxes=torch.tensor([[0.0, 0, 2, 2]]).repeat(n, 1))
    )
    off = Explanation(concept_maps=spots(s, np.full((n, 2), 3))[:, None])
    assert away.value(METRICS["locality"], {}, off) == pytest.approx(0, abs=1e-9)


# ---------------------------------------------------------------------- known extremes: stand-ins


@given(s=scenes, shift=st.floats(-2, 2, width=16))
def test_a_perfect_surrogate_and_one_that_is_off(s, shift):
    y = s.target(s.batch).double().numpy()
    f_reg, f_cls = METRICS["f_reg"], METRICS["f_cls"]
    for scores in (y, y.max(1)):  # all logits, or that of the predicted class
        assert s.value(f_reg, {}, Explanation(scores=scores)) == pytest.approx(
            0, abs=1e-5
        )
        assert s.value(f_cls, {}, Explanation(scores=scores)).tolist() == pytest.approx(
            [100] * len(y)
        )
        assert s.value(f_reg, {}, Explanation(scores=scores + shift)) == pytest.approx(
            abs(shift), abs=1e-5
        )
    low, high = Explanation(scores=y.max(1) - 1e3), Explanation(scores=y.max(1) + 1e3)
    assert s.value(f_cls, {}, low).tolist() == [0] * len(y)
    assert s.value(f_cls, {}, high).tolist() == [100] * len(y)


@given(s=scenes)
def test_labels_that_are_right_wrong_or_missing(s):
    y, said = s.batch.y.numpy(), s.target(s.batch).argmax(1).numpy()
    n = len(y)
    for name, truth in (("acu_gt", y), ("acu_md", said)):

        def value(labels, name=name):
            return s.value(METRICS[name], {}, Explanation(labels=labels)).tolist()

        assert value(truth) == [100] * n
        assert value((truth + 1) % CLASSES) == [0] * n
        assert np.isnan(value(np.full(n, -1))).all()
    assert (
        s.value(METRICS["cvr"], {}, Explanation(labels=np.zeros(n))).tolist()
        == [100] * n
    )
    assert (
        s.value(METRICS["cvr"], {}, Explanation(labels=np.full(n, -1))).tolist()
        == [0] * n
    )


@pytest.mark.parametrize("scale", ["standardised", "pixels"])
@given(s=scenes, k=st.integers(2, 5))
def test_perfect_images_and_ones_that_are_off(scale, s, k):
    x = s.batch.x.numpy()
    ours, swapped = (
        changed(s.e, decoded=x),
        changed(s.e, decoded=s.e.reference, reference=s.e.decoded),
    )
    loss, delta = METRICS["reconstruction_loss"], METRICS["delta_reconstruction"]
    setting = {"scale": scale}
    assert s.value(loss, setting, ours).tolist() == [0] * len(x)
    assert (s.value(delta, setting, ours) <= 0).all()
    assert s.value(delta, setting, changed(s.e, reference=s.e.decoded)).tolist() == [
        0
    ] * len(x)
    np.testing.assert_allclose(
        s.value(delta, setting, swapped), -s.value(delta, setting)
    )
    np.testing.assert_allclose(
        s.value(delta, setting),
        s.value(loss, setting) - s.value(loss, setting, swapped),
    )
    further = changed(s.e, decoded=x + k * (s.e.decoded - x))
    np.testing.assert_allclose(
        s.value(loss, setting, further), k**2 * s.value(loss, setting), rtol=1e-4
    )
    root = s.value(loss, setting | {"norm": "l2"})
    np.testing.assert_allclose(
        root, np.sqrt(x[0].size * s.value(loss, setting)), rtol=1e-9
    )


@given(s=scenes)
def test_images_that_are_rebuilt_perfectly_keep_their_class(s):
    known = (s.target(s.batch).argmax(1) == s.batch.y).double().numpy()
    x = s.batch.x.numpy()
    np.testing.assert_array_equal(
        s.value(METRICS["decoded_accuracy"], {}, changed(s.e, decoded=x)), known
    )
    delta = METRICS["decoded_delta_accuracy"]
    assert s.value(delta, {}, changed(s.e, reference=s.e.decoded)).tolist() == [
        0
    ] * len(x)
    swapped = changed(s.e, decoded=s.e.reference, reference=s.e.decoded)
    np.testing.assert_array_equal(s.value(delta, {}, swapped), -s.value(delta, {}))
