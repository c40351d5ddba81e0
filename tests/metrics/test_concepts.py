"""Attention maps and the concept metrics: hand-computed cases, slow literal twins in float64,
invariances, bad input."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, NotApplicable, Target
from benchmark.shared import attention_maps

CONCEPT = [
    name
    for name, m in METRICS.items()
    if m.function.__module__ == "benchmark.metrics.concepts"
]
SIDE = 10


def target(classes=3, bias=None):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, classes))
    g = torch.Generator().manual_seed(1)
    net[1].weight.data = torch.randn(net[1].weight.shape, generator=g)
    net[1].bias.data = torch.zeros(classes) if bias is None else torch.tensor(bias)
    return Target(
        net,
        name="net",
        classes="abcdef"[:classes],
        input_shape=(3, SIDE, SIDE),
        mean=[0.5] * 3,
    )


def batch(n=9, chunk=4):
    rng = np.random.default_rng(2)
    low = rng.integers(0, 3, (n, 2))
    return Batch(
        x=torch.from_numpy(rng.random((n, 3, SIDE, SIDE), np.float32)),
        y=torch.arange(n) % 3,
        boxes=torch.from_numpy(np.hstack([low, low + 6]).astype(np.float32)),
        parts=torch.from_numpy((SIDE * rng.random((n, 4, 2))).astype(np.float32)),
        part_visible=torch.from_numpy(np.arange(4) != np.arange(n)[:, None] % 5),
        part_importance=torch.from_numpy(np.tile(np.float32([0, 0, 1, 2]), (n, 1))),
        chunk=chunk,
    )


def concept_maps(n=9, k=3, seed=3):
    return np.random.default_rng(seed).random((n, k, SIDE, SIDE)).astype(np.float32)


def value(name, e, t=None, b=None, **setting):
    return METRICS[name](
        e,
        t or target(),
        b if b is not None else batch(),
        np.random.default_rng(0),
        **setting,
    )


# --------------------------------------------------------------------------------------------- orthogonality


def test_correlation_by_hand():
    S = np.zeros((1, 2, 1, 4))
    S[0, 0, 0], S[0, 1, 0] = [0, 1, 2, 3], [3, 2, 1, 0]
    P, dead = attention_maps.correlation(S)
    np.testing.assert_allclose(P, [[1, -1], [-1, 1]], atol=1e-12)
    assert not dead.any()
    assert attention_maps.o1(P) == pytest.approx(2 - math.sqrt(2))
    value, singular = attention_maps.o2(P)
    assert singular
    assert value == pytest.approx(-math.log(2 + 1e-6) - math.log(1e-6))
    P = np.array([[1, 0.5], [0.5, 1]])
    assert attention_maps.o1(P) == pytest.approx(math.sqrt(2.5) - math.sqrt(2))
    assert attention_maps.o2(P) == (pytest.approx(-math.log(0.75)), False)


def test_correlation_literally():
    S = attention_maps.normalised(concept_maps())
    P, _ = attention_maps.correlation(S)
    vectors = [[float(v) for m in range(9) for v in S[m, k].ravel()] for k in range(3)]
    for a, b in itertools.product(range(3), repeat=2):
        p, q = vectors[a], vectors[b]
        mp, mq = sum(p) / len(p), sum(q) / len(q)
        cov = sum((u - mp) * (v - mq) for u, v in zip(p, q, strict=True))
        spread = math.sqrt(
            sum((u - mp) ** 2 for u in p) * sum((v - mq) ** 2 for v in q)
        )
        assert P[a, b] == pytest.approx(cov / spread, abs=1e-12)


def test_dead_maps_are_uncorrelated_and_counted():
    S = attention_maps.normalised(concept_maps(k=4))
    S[:, 2] = 0
    S[:, 3] = 1 / SIDE**2  # constant over the image
    P, dead = attention_maps.correlation(S)
    assert dead.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(P[2:], np.eye(4)[2:])
    assert np.isfinite(attention_maps.o2(P)[0])
    live = abs(P[0, 1])
    assert attention_maps.mean_correlation(P, dead) == pytest.approx(live)
    assert math.isnan(
        attention_maps.mean_correlation(P[1:, 1:], dead[1:])
    )  # one live map has no pair


def test_mean_correlation_depends_neither_on_k_nor_on_dead_maps():
    maps = concept_maps(k=2)
    base = value("mean_correlation", Explanation(concept_maps=maps))
    padded = np.concatenate([maps, np.zeros_like(maps), np.zeros_like(maps)], axis=1)
    np.testing.assert_allclose(
        value("mean_correlation", Explanation(concept_maps=padded)), base
    )
    same = Explanation(concept_maps=maps[:, :1].repeat(4, 1))
    np.testing.assert_allclose(value("mean_correlation", same), 1)
    predicted = target()(batch()).argmax(1).numpy()
    rows = predicted == predicted[0]
    one, two = (attention_maps.normalised(maps[rows])[:, k].ravel() for k in (0, 1))
    assert base[0] == pytest.approx(abs(np.corrcoef(one, two)[0, 1]))
    assert np.isnan(
        value("mean_correlation", Explanation(concept_maps=maps[:, :1]))
    ).all()


def test_the_bounds_of_o1_and_o2():
    one = concept_maps(k=1)
    same = value("o1", Explanation(concept_maps=one.repeat(4, 1)))
    np.testing.assert_allclose(same, 4 - 2, atol=1e-6)
    assert value("o2", Explanation(concept_maps=one.repeat(4, 1))).min() > 30
    disjoint = np.zeros((9, 2, SIDE, SIDE), np.float32)
    disjoint[:, 0, ::2, ::2] = concept_maps(k=1)[:, 0, ::2, ::2]
    disjoint[:, 1, 1::2, 1::2] = 1
    assert abs(value("o1", Explanation(concept_maps=disjoint))).max() < 0.2


def test_each_image_carries_the_value_of_its_predicted_class():
    t, b, maps = target(), batch(), concept_maps()
    predicted = t(b).argmax(1).numpy()
    assert len(set(predicted)) > 1
    got = value("o1", Explanation(concept_maps=maps), t, b)
    for c in set(predicted):
        P, _ = attention_maps.correlation(
            attention_maps.normalised(maps[predicted == c])
        )
        np.testing.assert_allclose(got[predicted == c], attention_maps.o1(P))


# --------------------------------------------------------------------------------------------- locality


def test_voronoi_by_hand():
    """One row of five pixels, box over the first four, parts at pixels 0 and 2: Algorithm 1."""
    parts, box = np.array([[0.5, 0.5], [2.5, 0.5], [9, 9]]), (0, 0, 4, 1)
    got = attention_maps.voronoi(parts, np.array([True, True, False]), box, 1, 5)
    # pixel 1 ties and goes to part 0; the largest distance in both cells is 1
    np.testing.assert_allclose(
        got[:, 0],
        [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0] * 5, [0, 0, 0, 0, 1]],
        atol=1e-12,
    )
    got = attention_maps.voronoi(
        parts, np.array([True, True, False]), box, 1, 5, scale="image"
    )
    np.testing.assert_allclose(got[0, 0, 1], 1 - 1 / math.hypot(1, 5))
    none = attention_maps.voronoi(parts, np.zeros(3, bool), box, 1, 5)
    assert not none[:3].any()
    assert none[3, 0].tolist() == [0, 0, 0, 0, 1]


def test_object_masks_by_hand():
    """Two parts and context; the map's mass in each is its share."""
    labels = np.array([[0, 0, 1], [-1, 1, 1]], np.int8)
    got = attention_maps.mask(labels, 2)
    np.testing.assert_array_equal(
        got, [[[1, 1, 0], [0, 0, 0]], [[0, 0, 1], [0, 1, 1]], [[0, 0, 0], [1, 0, 0]]]
    )
    S = np.array([[[[4.0, 2, 1], [3, 0, 0]]]]) / 10
    np.testing.assert_allclose(
        attention_maps.histogram(S, got[None])[0, 0], [0.6, 0.1, 0.3]
    )


@pytest.fixture
def masked():
    """A batch whose pixels belong to parts, or to none (-1)."""
    b = batch()
    masks = np.random.default_rng(8).integers(-1, 4, (9, SIDE, SIDE)).astype(np.int8)
    b.part_masks = torch.from_numpy(masks)
    return b


def literal_entropy(maps, b, rows):
    """The entropy of the mass of one concept's maps over the parts of some images; those without a
    part are left out."""
    bars = np.zeros(5)
    for m in rows:
        if b.part_visible[m].any():
            share = maps[m].astype(np.float64) / maps[m].sum(dtype=np.float64)
            for part in range(-1, 4):
                bars[part] += share[b.part_masks[m].numpy() == part].sum()
    return -sum(x * math.log(x) for x in bars / bars.sum() if x > 0)


def test_locality_by_masks(masked):
    e = Explanation(concept_maps=concept_maps())
    got, predicted = (
        value("locality", e, b=masked, cells="mask"),
        target()(masked).argmax(1).numpy(),
    )
    for c in np.unique(predicted):
        rows = np.flatnonzero(predicted == c)
        entropies = [
            literal_entropy(e.concept_maps[:, k], masked, rows) for k in range(3)
        ]
        np.testing.assert_allclose(got[rows], np.mean(entropies), atol=1e-6)


def test_a_concept_on_the_pixels_of_one_part_is_local(masked):
    one = Explanation(concept_maps=(masked.part_masks == 2).float()[:, None].numpy())
    np.testing.assert_allclose(
        value("locality", one, b=masked, cells="mask"), 0, atol=1e-12
    )


def test_locality_by_masks_needs_masks():
    with pytest.raises(NotApplicable, match="no part_masks"):
        value("locality", Explanation(concept_maps=concept_maps()), cells="mask")


def test_voronoi_literally():
    b, h, w = batch(), SIDE, SIDE
    for m in range(5):
        parts, visible, box = (
            b.parts[m].double().numpy(),
            b.part_visible[m].numpy(),
            b.boxes[m].numpy(),
        )
        got = attention_maps.voronoi(parts, visible, box, h, w)
        owner, d = {}, {}
        for i, j in itertools.product(range(h), range(w)):
            if box[0] <= j + 0.5 < box[2] and box[1] <= i + 0.5 < box[3]:
                away = [
                    math.dist((j + 0.5, i + 0.5), parts[p]) if visible[p] else math.inf
                    for p in range(4)
                ]
                owner[i, j] = min(range(4), key=lambda p: away[p])
                d[i, j] = away[owner[i, j]]
        for i, j in itertools.product(range(h), range(w)):
            for p in range(4):
                expected = 0.0
                if owner.get((i, j)) == p:
                    expected = 1 - d[i, j] / max(
                        d[key] for key in owner if owner[key] == p
                    )
                assert got[p, i, j] == pytest.approx(expected, abs=1e-9)
            assert got[4, i, j] == ((i, j) not in owner)


def test_histogram_and_entropy_by_hand():
    S = np.array([[[[0.5, 0.5]]], [[[1.0, 0.0]]]])  # two images, one map
    masks = np.array(
        [[[[1, 0]], [[0, 1]]]] * 2
    )  # two objects, a pixel each: object masks in place of cells
    np.testing.assert_allclose(
        attention_maps.histogram(S, masks).mean(0), [[0.75, 0.25]]
    )
    H = attention_maps.entropy(np.array([[1.0, 1.0], [3.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(H[:2], [math.log(2), 0])
    assert math.isnan(H[2])


def test_a_map_on_one_part_is_local_and_a_flat_one_is_not():
    b = batch()
    b.part_visible[:] = True
    maps = np.zeros((9, 2, SIDE, SIDE), np.float32)
    for m in range(9):
        j, i = b.parts[m, 0].int().tolist()
        maps[m, 0, i, j] = 1
    maps[:, 1] = 1
    one, flat = (
        value("locality", Explanation(concept_maps=maps[:, [k]]), b=b, cells="pixel")
        for k in range(2)
    )
    np.testing.assert_allclose(one, 0, atol=1e-12)
    np.testing.assert_allclose(flat, math.log(4))
    with pytest.raises(ValueError, match="is not voronoi, pixel or mask"):
        value("locality", Explanation(concept_maps=maps), b=b, cells="grid")


def test_images_without_visible_parts_are_left_out():
    t, b, maps = target(), batch(), concept_maps()
    predicted = t(b).argmax(1)
    c = int(predicted[0])
    mine = (predicted == c).nonzero()[:, 0]
    b.part_visible[mine[0]] = (
        False  # one image of the class without parts: the others decide
    )
    rest = value("locality", Explanation(concept_maps=maps), t, b)
    assert np.isfinite(rest).all()
    smaller = b[mine[1:].tolist()]
    alone = value(
        "locality", Explanation(concept_maps=maps[mine[1:].numpy()]), t, smaller
    )
    np.testing.assert_allclose(rest[mine[1].item()], alone[0])
    b.part_visible[mine] = False  # none left: the class has no value
    gone = value("locality", Explanation(concept_maps=maps), t, b)
    assert np.isnan(gone[mine.numpy()]).all()
    assert np.isfinite(gone).sum() == 9 - len(mine)


def test_concepts_on_class_parts_by_hand():
    b = batch(2)
    b.parts[:] = torch.tensor([[2.5, 2.5], [7.5, 2.5], [2.5, 7.5], [7.5, 7.5]])
    b.part_visible[:] = torch.tensor([True, True, True, False])
    maps = np.zeros((2, 3, SIDE, SIDE), np.float32)
    maps[0, 0, 7, 2] = maps[0, 1, 2, 2] = (
        1  # on the class's visible part; on another; the third map is dead
    )
    maps[1, 0, 7, 7] = 1  # on the class's hidden part
    got = value("concepts_on_class_parts", Explanation(concept_maps=maps), b=b)
    np.testing.assert_allclose(got, [0.5, 0])
    b.part_visible[:] = torch.tensor([True, True, False, False])
    assert np.isnan(
        value("concepts_on_class_parts", Explanation(concept_maps=maps), b=b)
    ).all()


# --------------------------------------------------------------------------------------------- faithfulness


def test_faithfulness_by_hand():
    t = target()
    b = batch(1)
    y = t(b).double().numpy()[0]
    order = np.argsort(-y)
    scores = y.copy()
    scores[order[1]] = y[order[0]] + 1  # put back alone, the second class now wins
    scores[order[2]] += 0.25 if y[order[2]] + 0.25 < y[order[0]] else 0
    e = Explanation(scores=scores[None].astype(np.float32))
    np.testing.assert_allclose(
        value("f_reg", e, t, b), np.abs(scores - y).mean(), rtol=1e-5
    )
    np.testing.assert_allclose(value("f_cls", e, t, b), 100 * 2 / 3)
    one = Explanation(
        scores=np.float32([y[order[1]] - 1])
    )  # one number an image: that of the predicted class
    np.testing.assert_allclose(
        value("f_reg", one, t, b), y[order[0]] - y[order[1]] + 1, rtol=1e-5
    )
    assert value("f_cls", one, t, b).tolist() == [0]
    exact = Explanation(scores=t(b))
    assert value("f_reg", exact, t, b).tolist() == [0]
    assert value("f_cls", exact, t, b).tolist() == [100]


def test_scores_of_another_shape_are_refused():
    for name in ("f_reg", "f_cls"):
        with pytest.raises(ValueError, match="one per class, or one per image"):
            value(name, Explanation(scores=np.zeros((9, 2), np.float32)))


# --------------------------------------------------------------------------------------------- invariances


@pytest.mark.parametrize("name", [n for n in CONCEPT if METRICS[n].track == "concept"])
def test_scale_order_and_chunks_do_not_matter(name):
    maps = concept_maps()
    base = value(name, Explanation(concept_maps=maps))
    assert base.shape == (9,)
    assert np.isfinite(base).any()
    scale = np.random.default_rng(4).random((9, 3, 1, 1)).astype(np.float32) + 0.5
    for other in (maps * scale, maps[:, ::-1], 1e30 * maps, 1e-30 * maps):
        np.testing.assert_allclose(
            value(name, Explanation(concept_maps=other)), base, rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(
        value(name, Explanation(concept_maps=maps), b=batch(chunk=1)), base
    )
    back = value(
        name, Explanation(concept_maps=maps[::-1]), b=batch()[list(range(8, -1, -1))]
    )
    np.testing.assert_allclose(back, base[::-1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", [n for n in CONCEPT if METRICS[n].track == "concept"])
def test_maps_that_do_not_fit_the_images_are_refused(name):
    with pytest.raises(ValueError, match="concept_maps have shape"):
        value(name, Explanation(concept_maps=concept_maps()[:, :, :5]))


@pytest.mark.parametrize("name", [n for n in CONCEPT if METRICS[n].track == "concept"])
def test_zero_maps_are_finite_or_without_a_value(name):
    got = value(
        name, Explanation(concept_maps=np.zeros((9, 3, SIDE, SIDE), np.float32))
    )
    want = 0 if name in ("o1", "o2") else np.nan  # dead maps are uncorrelated
    np.testing.assert_allclose(got, want, atol=1e-9)
