"""What holds for every heat-map metric: one table, one set of invariances."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, CallingSpec, Explanation, Target

SIDE = 12

# name: (largest value, does a constant added to the map leave the value alone? None: of some maps)
TABLE = {
    "average_drop": (100, True),
    "average_increase": (100, True),
    "accuracy_top_pixels": (1, True),
    "insertion_auc": (1, True),
    "deletion_auc": (1, True),
    "patch_correlation": (1, True),
    "pointing_game": (1, True),
    "energy_in_box": (1, False),
    "pointing_game_mask": (1, True),
    "energy_on_parts": (1, False),
    "energy_on_class_parts": (1, False),
    "part_ranking": (1, None),
    "gini": (1, False),
    "entropy": (5, False),  # log(144) nats
    "occlusion_delta_accuracy": (1, True),
    "infidelity": (1e4, False),  # squared logits
    "sensitivity_n": (1, True),
    "faithfulness_correlation": (1, True),
    "monotonicity_correlation": (1, None),
    "saco": (1, True),
    "symmetric_relevance_gain": (1, True),
    "irof": (2, True),
    "road_morf": (1, True),
    "road_lerf": (1, True),
    "relevance_mass_accuracy": (1, False),
    "relevance_rank_accuracy": (1, None),
    "completeness": (1, None),
}
OF_OBJECTS = {"pointing_game_mask"}  # masks, not of parts
SIGNED = {  # may be as far below 0
    "occlusion_delta_accuracy",
    "patch_correlation",
    "sensitivity_n",
    "faithfulness_correlation",
    "monotonicity_correlation",
    "saco",
    "symmetric_relevance_gain",
    "irof",
}
OF_SCALE = {"completeness"}  # the map's own scale counts
CELLS = [
    pytest.param(METRICS[name], setting, id=f"{name}-{i}")
    for name in TABLE
    for i, setting in enumerate(METRICS[name].settings)
]
every_metric = pytest.mark.parametrize(("metric", "setting"), CELLS)
SCALED = [cell for cell in CELLS if cell.values[0].name not in OF_SCALE]
every_scaled = pytest.mark.parametrize(("metric", "setting"), SCALED)


def test_the_table_holds_every_heat_map_metric():
    ours = {
        name
        for name, m in METRICS.items()
        if m.track == "heatmap"
        and m.function.__module__.startswith("benchmark.")
        and not isinstance(m, CallingSpec)
        and not m.function.__module__.endswith(".parts")  # of toybirds alone
    }
    assert ours == set(TABLE)


def convolutional(c: int) -> Target:
    torch_rng = torch.Generator().manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(c, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 36, 3),
    )
    for p in net.parameters():
        p.data = 0.4 * torch.randn(p.shape, generator=torch_rng)
    return Target(
        net,
        name="net",
        classes="abc",
        input_shape=(c, SIDE, SIDE),
        mean=[0.5] * c,
        std=[0.3] * c,
    )


def images(c: int = 3, n: int = 7, chunk: int = 64) -> Batch:
    rng = np.random.default_rng(5)

    def tensor(value):
        return torch.from_numpy(np.ascontiguousarray(value))

    low = rng.integers(0, 5, (n, 2))
    return Batch(
        x=tensor(rng.random((n, c, SIDE, SIDE), np.float32)),
        y=tensor(np.arange(n) % 3),
        boxes=tensor(
            np.hstack([low, low + rng.integers(2, 8, (n, 2))]).astype(np.float32)
        ),
        parts=tensor((SIDE * rng.random((n, 5, 2))).astype(np.float32)),
        part_visible=tensor(np.arange(5) != np.arange(n)[:, None] % 6),
        part_importance=tensor(np.tile(np.float32([0, 0, 1, 2, 3]), (n, 1))),
        part_masks=tensor(rng.integers(-1, 1, (n, SIDE, SIDE)).astype(np.int8)),
        chunk=chunk,
    )


def maps_of(kind: str, n: int = 7) -> np.ndarray:
    rng = np.random.default_rng(6)
    return {
        "signed": lambda: (
            rng.integers(-64, 64, (n, SIDE, SIDE)) / 64
        ),  # exact under the rescalings below; with ties
        "positive": lambda: rng.integers(0, 4096, (n, SIDE, SIDE)) / 4096,
        "negative": lambda: -rng.integers(1, 64, (n, SIDE, SIDE)) / 64,
        "constant": lambda: np.full((n, SIDE, SIDE), 0.375),
        "zero": lambda: np.zeros((n, SIDE, SIDE)),
        "one-hot": lambda: np.eye(SIDE * SIDE)[rng.integers(0, SIDE * SIDE, n)].reshape(
            n, SIDE, SIDE
        ),
        "huge": lambda: 1e37 * rng.standard_normal((n, SIDE, SIDE)),
        "tiny": lambda: 1e-37 * rng.random((n, SIDE, SIDE)),
    }[kind]().astype(np.float32)


KINDS = (
    "signed",
    "positive",
    "negative",
    "constant",
    "zero",
    "one-hot",
    "huge",
    "tiny",
)


def value(metric, setting, maps, batch=None, target=None) -> np.ndarray:
    batch = images() if batch is None else batch
    target = convolutional(batch.x.shape[1]) if target is None else target
    e, rng = Explanation(heatmaps=maps), np.random.default_rng(0)
    return metric(e, target, fitting(metric, batch), rng, **setting)


def fitting(metric, batch: Batch) -> Batch:
    """The batch, whose masks are of objects for the metrics of these."""
    return replace(batch, parts=None, memo={}) if metric.name in OF_OBJECTS else batch


def assert_same(metric, got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * TABLE[metric.name][0])


@every_metric
@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_values_are_finite_and_within_bounds(metric, setting, kind, c):
    got = value(metric, setting, maps_of(kind), images(c))
    assert got.shape == (7,)
    assert got.dtype == np.float64
    finite = np.isfinite(got)
    assert finite.any() and (metric.partial or finite.all())
    assert not np.isinf(got).any()
    here = got[finite]
    assert here.min() >= (-TABLE[metric.name][0] if metric.name in SIGNED else 0)
    assert here.max() <= TABLE[metric.name][0]


@every_scaled
@pytest.mark.parametrize("kind", ["signed", "positive", "one-hot"])
def test_scale_does_not_matter(metric, setting, kind):
    maps = maps_of(kind)
    for factor in (0.25, 1024):
        assert_same(
            metric, value(metric, setting, factor * maps), value(metric, setting, maps)
        )


@every_scaled
@pytest.mark.parametrize("factor", [2.0**200, 2.0**-200, 1e60, 1e-60])
def test_a_factor_beyond_float32_does_not_matter(metric, setting, factor):
    maps = maps_of("signed").astype(np.float64)
    if factor in (1e60, 1e-60):  # rounding would break ties
        maps = np.random.default_rng(8).standard_normal(maps.shape)
    got = value(metric, setting, factor * maps)
    assert_same(metric, got, value(metric, setting, maps))


ORDINAL = [cell for cell in CELLS if TABLE[cell.values[0].name][1]]
CARDINAL = [cell for cell in CELLS if TABLE[cell.values[0].name][1] is False]
some_maps = pytest.mark.parametrize("kind", ["signed", "positive", "one-hot"])


@pytest.mark.parametrize(("metric", "setting"), ORDINAL)
@some_maps
def test_an_added_constant_does_not_matter_to_orders(metric, setting, kind):
    maps = maps_of(kind)
    before, after = (
        value(metric, setting, maps),
        value(metric, setting, maps + np.float32(2)),
    )
    assert_same(metric, after, before)


@pytest.mark.parametrize(("metric", "setting"), CARDINAL)
@some_maps
def test_an_added_constant_matters_to_shares(metric, setting, kind):
    maps = maps_of(kind)
    before, after = (
        value(metric, setting, maps),
        value(metric, setting, maps + np.float32(2)),
    )
    assert np.nanmax(np.abs(after - before)) > 0.01


@every_metric
def test_images_in_another_order_give_the_same_values(metric, setting):
    order = torch.tensor([3, 0, 6, 5, 1, 2, 4])
    maps, target = maps_of("signed"), convolutional(3)
    got = value(metric, setting, maps[order.numpy()], images()[order], target)
    assert_same(metric, got, value(metric, setting, maps, target=target)[order.numpy()])


@every_metric
@pytest.mark.parametrize("c", [1, 3])
def test_the_chunk_does_not_matter(metric, setting, c):
    want = value(metric, setting, maps_of("signed"), images(c))
    for chunk in (1, 3):
        assert_same(
            metric,
            value(metric, setting, maps_of("signed"), images(c, chunk=chunk)),
            want,
        )


@every_metric
def test_one_image_at_a_time_gives_the_same_values(metric, setting):
    maps, batch = maps_of("signed"), images()
    alone = [
        value(metric, setting, maps[i : i + 1], images()[[i]])
        for i in range(len(batch))
    ]
    assert_same(metric, np.concatenate(alone), value(metric, setting, maps, batch))


def test_metrics_do_not_depend_on_those_before_them():
    e, target = Explanation(heatmaps=maps_of("signed")), convolutional(3)

    def run(cells, batch):
        return {
            name: metric(
                e, target, fitting(metric, batch), np.random.default_rng(0), **s
            )
            for name, metric, s in cells
        }

    cells = [(p.id, *p.values) for p in CELLS]
    batch = images()
    first, again, backwards = (
        run(cells, batch),
        run(cells, batch),
        run(cells[::-1], images()),
    )
    assert first
    for name, got in first.items():
        assert got.tobytes() == again[name].tobytes()
        np.testing.assert_allclose(backwards[name], got, atol=1e-4)


@every_metric
def test_metrics_leave_everything_as_it_was(metric, setting):
    batch, target, e = (
        images(),
        convolutional(3),
        Explanation(heatmaps=maps_of("signed")),
    )
    kept = {k: v.clone() for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    maps, mark, rng = (
        e.heatmaps.tobytes(),
        target.fingerprint(),
        np.random.default_rng(0),
    )
    state = repr(
        (np.random.get_state(), random.getstate(), torch.get_rng_state().tolist())
    )
    metric(e, target, fitting(metric, batch), rng, **setting)
    assert all(torch.equal(v, getattr(batch, k)) for k, v in kept.items())
    assert e.heatmaps.tobytes() == maps
    assert target.fingerprint() == mark
    assert (
        repr((np.random.get_state(), random.getstate(), torch.get_rng_state().tolist()))
        == state
    )


@every_metric
def test_gradients_are_neither_needed_nor_kept(metric, setting):
    batch, target = images(), convolutional(3)
    batch.x.requires_grad_()
    value(metric, setting, maps_of("signed"), batch, target)
    assert batch.x.grad is None
    held = [v for v in batch.memo.values() if isinstance(v, torch.Tensor)]
    assert not any(v.requires_grad for v in held)


@every_metric
def test_maps_that_do_not_fit_are_refused(metric, setting):
    for maps in (
        np.zeros((7, 3, 3)),
        np.zeros((6, SIDE, SIDE)),
        np.zeros((7, SIDE, SIDE + 1)),
    ):
        with pytest.raises(
            ValueError, match="return one map per image, upsampled to its resolution"
        ):
            value(metric, setting, maps)
    with pytest.raises(ValueError, match="no heatmaps"):
        metric(
            Explanation(labels=np.zeros(7)),
            convolutional(3),
            images(),
            np.random.default_rng(0),
            **setting,
        )


def test_nan_never_reaches_a_metric():
    maps = maps_of("signed")
    maps[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        Explanation(heatmaps=maps)


def special_maps(shape: tuple[int, int], n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    pixels = np.zeros((n, shape[0] * shape[1]), np.float32)
    pixels[np.arange(n), rng.integers(0, pixels.shape[1], n)] = 1
    return {
        "constant": np.full((n, *shape), 0.375),
        "zero": np.zeros((n, *shape), np.float32),
        "tied": rng.integers(0, 3, (n, *shape)),
        "one pixel": pixels.reshape(n, *shape),
        "denormal": 1e-40 * rng.random((n, *shape)).astype(np.float32),
        "denormal float64": 1e-320 * rng.random((n, *shape)),
        "bool": rng.random((n, *shape)) > 0.5,
        "uint8": rng.integers(0, 256, (n, *shape), np.uint8),
    }


def special_scene(shape: tuple[int, int], n: int) -> tuple[Target, Batch]:
    """A linear network, and images with a box, two parts and their importances."""
    h, w = shape
    weights = torch.Generator().manual_seed(1)
    layer = nn.Linear(h * w, 3)
    layer.weight.data = torch.randn(3, h * w, generator=weights)
    net = nn.Sequential(nn.Flatten(), layer)
    target = Target(net, name="net", classes="abc", input_shape=(1, h, w))
    batch = Batch(
        x=torch.rand(n, 1, h, w, generator=weights),
        y=torch.arange(n) % 3,
        boxes=torch.tensor([[0.0, 0, w / 2, h / 2]]).repeat(n, 1),
        parts=torch.tensor([[[0.5, 0.5], [w - 0.5, h - 0.5]]]).repeat(n, 1, 1),
        part_visible=torch.ones(n, 2, dtype=torch.bool),
        part_importance=torch.tensor([[1.0, 0]]).repeat(n, 1),
        part_masks=torch.rand(n, h, w, generator=weights).gt(0.5).char() - 1,
    )
    return target, batch


@pytest.mark.parametrize(
    ("shape", "n"),
    [((4, 4), 1), ((5, 9), 2), ((12, 12), 7), ((9, 16), 64), ((8, 8), 65)],
)
@pytest.mark.parametrize("metric", [METRICS[name] for name in TABLE], ids=list(TABLE))
def test_special_maps_have_values_within_bounds(metric, shape, n):
    target, batch = special_scene(shape, n)
    high = TABLE[metric.name][0]
    setting = metric.settings[0]
    for kind, maps in special_maps(shape, n).items():
        got = value(metric, setting, maps, batch, target)
        known = got[~np.isnan(got)]
        assert got.shape == (n,) and (metric.partial or len(known) == n), kind
        assert (np.abs(known) <= high).all(), kind
        if metric.name not in SIGNED:
            assert (known >= 0).all(), kind


@pytest.mark.parametrize("kind", ["bool", "uint8", "denormal float64"])
@every_scaled
def test_the_type_of_maps_does_not_matter(metric, setting, kind):
    maps = special_maps((SIDE, SIDE), 7)[kind]
    as_floats = np.ldexp(maps.astype(np.float64), 1070 if "denormal" in kind else 0)
    assert_same(metric, value(metric, setting, maps), value(metric, setting, as_floats))


@pytest.fixture
def light():
    """A network that counts the light of a square, where box, parts and importance lie too: (target, batch, square)."""
    n, square = 4, np.zeros((SIDE, SIDE), np.float32)
    square[2:6, 3:7] = 1
    layer = nn.Linear(SIDE * SIDE, 2)
    layer.weight.data = torch.from_numpy(
        np.stack([square.ravel() - 0.05, np.zeros(SIDE * SIDE, np.float32)])
    )
    layer.bias.data = torch.tensor([-2.0, 0])
    target = Target(
        nn.Sequential(nn.Flatten(), layer),
        name="sum",
        classes="ab",
        input_shape=(1, SIDE, SIDE),
    )
    x = torch.from_numpy(
        0.6 + 0.4 * np.random.default_rng(0).random((n, 1, SIDE, SIDE), np.float32)
    )
    batch = Batch(
        x=x * torch.from_numpy(np.maximum(square, 0.6)),
        y=torch.zeros(n, dtype=torch.int64),
        boxes=torch.tensor([[3.0, 2, 7, 6]]).repeat(n, 1),
        parts=torch.tensor([[[5.0, 4], [10, 10]]]).repeat(n, 1, 1),
        part_importance=torch.tensor([[1.0, 0]]).repeat(n, 1),
        part_masks=torch.from_numpy(square).char().repeat(n, 1, 1) - 1,
    )
    assert (target(batch).argmax(1) == 0).all()
    return target, batch, square


# ROAD fills the square from what is around it, which keeps the class (test_road.py)
@pytest.mark.parametrize("name", sorted(TABLE.keys() - {"road_morf", "road_lerf"}))
def test_the_true_map_beats_its_negative(name, light):
    """In gini and entropy the sparse map beats a flat one."""
    target, batch, square = light
    true = square + 1e-3 * np.random.default_rng(1).random((SIDE, SIDE), np.float32)
    maps = np.tile(true, (len(batch), 1, 1))
    other = np.ones_like(maps) if name in ("gini", "entropy") else maps.max() - maps
    metric = METRICS[name]
    setting = {
        "accuracy_top_pixels": {"pixels": 0.12 * 224**2, "fill": "black"},
        "occlusion_delta_accuracy": {"fill": 0.0},
    }.get(name, {})
    good, bad = (value(metric, setting, m, batch, target).mean() for m in (maps, other))
    assert good > bad if metric.better == "higher" else good < bad
