"""The contract between plug-ins and glassbench: targets, batches, explanations, the declaration of metrics."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import api
from benchmark.api import (
    METRICS,
    Batch,
    Explanation,
    Method,
    NotApplicable,
    Target,
    metric,
    settings_of,
    torch_rng,
)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential()
        net.add_module(
            "conv1",
            nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
            ),
        )
        net.add_module(
            "conv2", nn.Sequential(nn.Conv2d(4, 5, 3, stride=2), nn.ReLU(inplace=True))
        )
        net.add_module("flatten", nn.Flatten())
        net.add_module("logits", nn.Sequential(nn.Dropout(0.5), nn.Linear(45, 6)))
    return net.train()


def target(**changes):
    arguments = {
        "name": "tiny",
        "classes": "abcdef",
        "input_shape": (3, 8, 8),
        "mean": [0.4, 0.5, 0.6],
        "std": [0.2, 0.3, 0.4],
    }
    return Target(network(), **(arguments | {"layer": "conv2"} | changes))


def batch(n=7, **changes):
    x = torch.from_numpy(
        np.random.default_rng(0).random((n, 3, 8, 8), dtype=np.float32)
    )
    return Batch(**({"x": x, "y": torch.arange(n), "chunk": 3} | changes))


# --------------------------------------------------------------------------------------------- Target


def test_target_is_in_eval_mode_frozen_and_without_in_place_activations():
    F = target()
    assert not any(m.training for m in F.net.modules())
    assert not any(p.requires_grad for p in F.net.parameters())
    assert not any(getattr(m, "inplace", False) for m in F.net.modules())
    assert F.layers == ("conv1", "conv2", "flatten", "logits")
    assert F.device == torch.device("cpu")


def test_target_normalises_by_itself():
    x = batch().x
    mean, std = (
        torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1),
        torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1),
    )
    torch.testing.assert_close(target()(x), network().eval()((x - mean) / std))
    assert not torch.equal(target()(x), target(mean=(0.0,), std=(1.0,))(x))


@pytest.mark.parametrize("layer", ["conv1", "conv2", "flatten", "logits", None])
def test_head_after_features_is_the_whole(layer):
    F, images = target(), batch()
    for x in (images.x, images):
        torch.testing.assert_close(
            F.head(F.features(x, layer), layer), F(images.x), rtol=1e-6, atol=1e-6
        )
    assert F.features(images).shape == (7, 5, 3, 3)


def test_gradients_reach_pixels_and_features_but_not_the_memo():
    F, images = target(), batch()
    x = images.x.clone().requires_grad_()
    F(x).sum().backward()
    assert x.grad.abs().sum() > 0
    z = F.features(images).detach().requires_grad_()
    F.head(z).sum().backward()
    assert z.grad.abs().sum() > 0
    assert not F.features(images).requires_grad
    assert not F(images).requires_grad


def test_features_of_a_batch_are_computed_once_a_layer_and_target():
    F, G, images, calls = target(), target(), batch(), []
    forward = F.net.conv1.forward
    F.net.conv1.forward = lambda x: (calls.append(len(x)), forward(x))[1]
    first = F.features(images)
    assert calls == [3, 3, 1]  # in chunks
    assert F.features(images) is first
    assert F.features(images, "conv2") is first
    assert calls == [3, 3, 1]
    F(images)
    assert len(calls) == 6
    assert G.features(images) is not first  # the same images under another target
    assert F.features(images.x) is not first  # plain pixels are never remembered


def test_unknown_layer_lists_the_known_ones():
    with pytest.raises(
        ValueError,
        match="tiny has no layer 'conv9'; it has conv1, conv2, flatten, logits",
    ):
        target().features(batch(), "conv9")
    with pytest.raises(ValueError, match="no layer 'conv9'"):
        target(layer="conv9")


def test_a_target_without_a_spatial_layer_needs_one_named():
    F = target(layer=None)
    for call in (lambda: F.features(batch()), lambda: F.head(torch.zeros(1, 5, 3, 3))):
        with pytest.raises(
            NotApplicable, match="no layer with spatial extent; name one of conv1"
        ):
            call()
    assert F.features(batch(), "conv2").shape == (7, 5, 3, 3)
    assert F(batch()).shape == (7, 6)


CHANGES = {
    "a weight": lambda net: net.conv1[0].weight[0, 0, 0].mul_(1 + 1e-6),
    "a bias": lambda net: net.logits[1].bias[0].add_(1e-3),
    "a buffer": lambda net: net.conv1[1].running_mean[0].add_(1e-3),
    "the mode": lambda net: net.train(),
    "one module's mode": lambda net: net.conv1[1].train(),
    "requires_grad": lambda net: net.conv2.requires_grad_(),
    "an in-place flag": lambda net: setattr(net.conv2[1], "inplace", True),
    "a forward hook": lambda net: net.conv1.register_forward_hook(lambda *a: None),
    "a forward pre-hook": lambda net: net.conv1[0].register_forward_pre_hook(
        lambda *a: None
    ),
    "a backward hook": lambda net: net.conv1.register_full_backward_hook(
        lambda *a: None
    ),
    "an activation": lambda net: setattr(net.conv2, "1", nn.LeakyReLU()),
    "a layer more": lambda net: net.add_module("extra", nn.Identity()),
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_sees(change):
    F = target()
    before = F.fingerprint()
    F(batch())
    assert F.fingerprint() == before == target().fingerprint()
    with torch.no_grad():
        CHANGES[change](F.net)
    assert F.fingerprint() != before


def test_training_pixels_are_what_the_network_normalises_by_unless_given():
    F = target()
    assert torch.equal(F.pixel_mean, F.mean)
    assert torch.equal(F.pixel_std, F.std)
    given = target(pixel_mean=[0.1], pixel_std=[0.3])
    assert given.pixel_mean.shape == given.pixel_std.shape == (1, 1, 1, 1)
    assert given.pixel_std.item() == pytest.approx(0.3)
    plain = target(mean=[0.0], std=[1.0])
    assert plain.pixel_mean is None
    assert plain.pixel_std is None
    assert len({F.fingerprint(), given.fingerprint(), plain.fingerprint()}) == 3


# --------------------------------------------------------------------------------------------- Batch

ANNOTATED = {
    "boxes": torch.rand(7, 4),
    "parts": torch.rand(7, 5, 2),
    "part_visible": torch.ones(7, 5, dtype=torch.bool),
}


def test_batch_iterates_in_chunks_in_order_and_keeps_them():
    images = batch(**ANNOTATED, ids=torch.arange(7) + 100)
    chunks = list(images)
    assert [len(c) for c in chunks] == [3, 3, 1]
    for name in ("x", "y", "ids", *ANNOTATED):
        assert torch.equal(
            torch.cat([getattr(c, name) for c in chunks]), getattr(images, name)
        )
    assert all(c.part_importance is None and c.chunk == 3 for c in chunks)
    # so that what a chunk remembers is found again
    assert all(a is b for a, b in zip(images, chunks, strict=True))
    chunks[0].memo["seen"] = 1
    assert "seen" not in images.memo


@pytest.mark.parametrize("rows", [slice(2, 5), [4, 0], torch.tensor([6, 6, 1])])
def test_batch_rows(rows):
    images = batch(**ANNOTATED)
    images.memo["psi"] = 1
    some = images[rows]
    assert torch.equal(some.x, images.x[rows])
    assert torch.equal(some.parts, images.parts[rows])
    assert some.memo == {}  # what was remembered belongs to other images
    assert len(some) == len(images.x[rows])


def test_batch_says_which_annotations_it_has():
    assert batch().annotations() == frozenset()
    assert batch(**ANNOTATED).annotations() == {"boxes", "parts"}
    assert batch(part_importance=torch.rand(7, 5)).annotations() == {"part_importance"}


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_batch_refuses_unplaced_parts_and_invalid_importances(wrong):
    """NaN compares false with everything: such a part would have no pixels, and nobody would be told."""
    parts, importance, visible = (
        torch.rand(7, 5, 2),
        torch.rand(7, 5),
        torch.ones(7, 5, dtype=torch.bool),
    )
    parts[3, 1, 0] = importance[6, 0] = wrong
    for given in (
        {"parts": parts},
        {"parts": parts, "part_visible": visible},
        {"part_importance": importance},
    ):
        with pytest.raises(ValueError, match="holds 1 values that are NaN or infinite"):
            batch(**given)
    visible[3, 1] = False
    assert batch(parts=parts, part_visible=visible).annotations() == {"parts"}


# --------------------------------------------------------------------------------------------- Explanation


def test_explanation_stores_float32_and_int64_copies_off_the_graph():
    maps = torch.rand(3, 4, 4, dtype=torch.float64, requires_grad=True) * 2
    e = Explanation(
        heatmaps=maps,
        labels=torch.tensor([0, 1, -1], dtype=torch.int8),
        scores=[1, 2, 3],
        size={"bits": 3},
    )
    assert isinstance(e.heatmaps, np.ndarray)
    assert (e.heatmaps.dtype, e.labels.dtype, e.scores.dtype) == (
        np.float32,
        np.int64,
        np.float32,
    )
    np.testing.assert_allclose(e.heatmaps, maps.detach(), rtol=1e-6)
    assert e.heatmaps.flags.c_contiguous
    assert e.size == {"bits": 3.0}
    assert e.offers() == {"heatmaps", "labels", "scores", "size"}
    assert Explanation().offers() == frozenset()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"heatmaps": np.full((2, 3, 3), np.nan)},
            r"heatmaps holds 18 values that are NaN or infinite",
        ),
        ({"decoded": np.array([[[[1.0, np.inf]]]])}, r"decoded holds 1 values"),
        ({"scores": torch.tensor([-torch.inf])}, r"scores holds 1 values"),
        (
            {"heatmaps": np.zeros((2, 1, 3, 3))},
            r"heatmaps has shape \(2, 1, 3, 3\); expected 3 axes",
        ),
        ({"heatmaps": np.zeros((3, 3))}, r"heatmaps has shape \(3, 3\)"),
        ({"concept_maps": np.zeros((2, 3, 3))}, r"concept_maps .* expected 4 axes"),
        ({"labels": np.zeros((2, 1))}, r"labels .* expected 1 axes"),
        ({"scores": np.zeros((2, 2, 2))}, r"scores .* expected 1 or 2 axes"),
        (
            {"labels": [0, 1], "scores": [1.0]},
            r"disagree on the number of images: {'labels': 2, 'scores': 1}",
        ),
        ({"size": {"bits": "many"}}, r"could not convert"),
    ],
)
def test_explanation_refuses(fields, message):
    with pytest.raises(ValueError, match=message):
        Explanation(**fields)


def some_maps(dtype):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((3, 4, 5)) * [[[1]], [[1e-3]], [[1e5]]]).astype(dtype)


@pytest.mark.parametrize("factor", [1e60, 1e-60, 1e300, 1e-300, 2.0**200, 1e-42, 1e-36])
@pytest.mark.parametrize("field", ["heatmaps", "concept_maps"])
def test_maps_beyond_float32_keep_their_ratios(field, factor):
    maps = some_maps(np.float64)
    shape = maps.shape if field == "heatmaps" else (3, 2, 2, 5)
    maps = maps.reshape(shape)
    found = getattr(Explanation(**{field: maps * factor}), field)
    for one, given in zip(found, maps, strict=True):
        largest = np.abs(given).max()
        np.testing.assert_allclose(one / np.abs(one).max(), given / largest, rtol=1e-6)


def test_only_the_image_that_float32_cannot_hold_is_scaled():
    maps = some_maps(np.float64)
    mixed = maps * [[[1]], [[1e60]], [[1]]]
    found = Explanation(heatmaps=mixed).heatmaps
    want = maps.astype(np.float32)
    assert found[[0, 2]].tobytes() == want[[0, 2]].tobytes()
    assert np.array_equal(np.argsort(found[1].ravel()), np.argsort(want[1].ravel()))


@pytest.mark.parametrize("factor", [1.0, 1e-25, 1e30, 3e33])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_maps_in_range_are_stored_bit_for_bit(factor, dtype):
    maps = (some_maps(np.float64)[:2] * factor).astype(dtype)
    maps[0, 0, :2] = 0, 1e-40
    stored = Explanation(heatmaps=maps).heatmaps
    assert stored.tobytes() == maps.astype(np.float32).tobytes()


@pytest.mark.parametrize("field", ["scores", "decoded"])
def test_what_is_no_map_and_overflows_is_refused(field):
    shape = (2, 3) if field == "scores" else (2, 3, 4, 4)
    message = "values that are NaN or infinite in float32"
    with pytest.raises(ValueError, match=message):
        Explanation(**{field: np.full(shape, 1e60)})


@pytest.mark.parametrize("strict", [False, True])
def test_every_kind_of_tensor_is_taken(monkeypatch, strict):
    monkeypatch.setattr(Explanation, "strict", strict)
    maps = torch.tensor(some_maps(np.float32)).bfloat16()
    want = maps.float().numpy()
    kinds = {
        "bfloat16": maps,
        "float16": maps[:2].half(),
        "sparse": maps.float().to_sparse(),
        "sparse bfloat16": maps.to_sparse(),
        "negative bit": torch.complex(maps.float(), -maps.float()).conj().imag,
    }
    for name, tensor in kinds.items():
        stored = Explanation(heatmaps=tensor).heatmaps
        np.testing.assert_allclose(stored, want[: len(stored)], rtol=1e-3, err_msg=name)
        assert stored.dtype == np.float32


def test_an_explanation_may_apply_to_some_images():
    maps = np.arange(12.0).reshape(3, 2, 2)
    e = Explanation(heatmaps=maps, applies=torch.tensor([True, False, True]))
    assert e.offers() == {"heatmaps"} and e.applies.dtype == bool
    some = e[e.applies]
    np.testing.assert_array_equal(some.heatmaps, maps[[0, 2]])
    assert some.applies.tolist() == [True, True]
    with pytest.raises(ValueError, match="expected one bool per image"):
        Explanation(heatmaps=maps, applies=[1, 0, 1])
    with pytest.raises(ValueError, match="disagree on the number of images"):
        Explanation(heatmaps=maps, applies=[True])


def test_explanation_is_frozen():
    with pytest.raises(AttributeError):
        Explanation().heatmaps = np.zeros((1, 2, 2))


# --------------------------------------------------------------------------------------------- methods and metrics


def test_a_class_with_name_fit_and_explain_is_a_method():
    class Mine:
        name = "mine"

        def fit(self, target, reference, rng):
            return self

        def explain(self, target, batch, rng):
            return Explanation()

    class NoFit:
        name = "mine"
        explain = Mine.explain

    assert isinstance(Mine(), Method)
    assert not isinstance(NoFit(), Method)
    assert settings_of(Mine()) == {}


def test_settings_are_the_public_fields_that_are_set():
    @dataclass
    class Mine:
        depth: int = 3
        layer: str | None = None
        soft: bool = False
        _cache: int = 1
        learned: int = field(default=0, init=False)
        name = "mine"

    assert settings_of(Mine()) == {"depth": 3, "soft": False}
    assert settings_of(Mine(layer="conv1")) == {
        "depth": 3,
        "layer": "conv1",
        "soft": False,
    }


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(api, "METRICS", {})
    return api.METRICS


GOOD = {
    "needs": {"heatmaps", "boxes"},
    "track": "heatmap",
    "better": "lower",
    "unit": "fraction",
    "version": 1,
    "source": "me",
}


def test_metric_declaration(registry):
    @metric(**GOOD, settings=[{"top": 5}, {"top": 9}], partial=True)
    def size_of_map(e, target, batch, rng, top):
        return np.full(len(e.heatmaps), top)

    assert registry == {"size_of_map": size_of_map}
    assert (size_of_map.offered, size_of_map.annotations) == ({"heatmaps"}, {"boxes"})
    assert size_of_map.settings == ({"top": 5}, {"top": 9})
    assert size_of_map.partial
    e = Explanation(heatmaps=np.zeros((2, 3, 3)))
    assert size_of_map(e, None, None, None, top=9).tolist() == [9, 9]


@pytest.mark.parametrize(
    "wrong", [{"track": "maps"}, {"better": "smaller"}, {"needs": {"heatmap"}}]
)
def test_wrong_declarations_are_refused(registry, wrong):
    with pytest.raises(ValueError, match="metric 'f': track"):

        @metric(**GOOD | wrong)
        def f(e, target, batch, rng):
            return np.zeros(1)

    assert registry == {}


def test_a_name_belongs_to_one_module(registry):
    def declared_in(module):
        def f(e, target, batch, rng):
            return np.zeros(1)

        f.__module__ = module
        return metric(**GOOD)(f)

    declared_in("here")
    again = declared_in("here")  # a module that is loaded again
    with pytest.raises(ValueError, match="'f' exists already, in here"):
        declared_in("elsewhere")
    assert registry == {"f": again}


def test_the_fixture_left_the_registry_alone():
    assert "size_of_map" not in METRICS


def test_torch_rng_follows_the_generator_and_nothing_else():
    before = torch.get_rng_state()
    draw = lambda seed: torch.rand(3, generator=torch_rng(np.random.default_rng(seed)))
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.get_rng_state(), before)
