"""Boxes, parts and sparseness: hand-computed cases, slow literal twins, properties. No network is involved."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, NotApplicable

RNG = np.random.default_rng(0)
few = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def score(
    name: str,
    maps,
    boxes=None,
    parts=None,
    visible=None,
    importance=None,
    masks=None,
    **setting,
):
    """One metric of maps (n, h, w); the network and the pixels play no role."""
    e = Explanation(heatmaps=np.asarray(maps, np.float32))
    n, h, w = e.heatmaps.shape

    def tensor(value, dtype=torch.float32):
        return (
            None if value is None else torch.as_tensor(np.asarray(value), dtype=dtype)
        )

    batch = Batch(
        x=torch.zeros(n, 3, h, w),
        y=torch.zeros(n, dtype=torch.int64),
        boxes=tensor(boxes),
        parts=tensor(parts),
        part_visible=tensor(visible, torch.bool),
        part_importance=tensor(importance),
        part_masks=tensor(masks, torch.int8),
        chunk=2,
    )
    return METRICS[name](e, None, batch, RNG, **setting)


# --------------------------------------------------------------------------------------------- boxes


MAP = [[0, 1, 2, 0], [0, 4, -8, 0], [1, 0, 0, 0]]  # (3, 4)


@pytest.mark.parametrize(
    ("box", "energy", "hit"),
    [
        ([1, 0, 3, 2], 7 / 8, 1),  # columns 1-2, rows 0-1
        ([0, 0, 4, 3], 1, 1),  # all
        ([2, 0, 4, 3], 2 / 8, 0),
        ([1.5, 0, 3, 3], 7 / 8, 1),  # the centre 1.5 of column 1 lies on the edge: held
        ([1.6, 0, 3, 3], 2 / 8, 0),
        ([0, 0, 1.5, 3], 1 / 8, 0),  # held by one of two boxes that meet at 1.5
        ([-5, 1, 99, 2], 4 / 8, 1),  # beyond the image
    ],
)
def test_boxes_by_hand(box, energy, hit):
    assert score("energy_in_box", [MAP], boxes=[box]) == pytest.approx([energy])
    assert score("pointing_game", [MAP], boxes=[box]) == [hit]


def test_tied_maxima_count_by_their_share():
    maps = [[[5, 0, 5], [0, 5, 1]]]
    assert score("pointing_game", maps, boxes=[[0, 0, 1, 2]]) == pytest.approx([1 / 3])
    assert score("pointing_game", maps, boxes=[[0, 0, 2, 2]]) == pytest.approx([2 / 3])


MASK = [[-1, -1, 0, 0], [0, 0, -1, -1], [-1, -1, -1, -1]]


def test_masks_by_hand():
    """The mask holds 2, 0, 0 and 4 of the positive mass 8, and the maximum; nothing where it is empty."""
    maps, masks = [MAP, MAP, [[1, 1, 1, 1]] * 3], [MASK, np.full((3, 4), -1), MASK]
    energy = score("relevance_mass_accuracy", maps, masks=masks)
    np.testing.assert_allclose(energy, [6 / 8, np.nan, 4 / 12])
    hit = score("pointing_game_mask", maps, masks=masks)
    np.testing.assert_allclose(hit, [1, np.nan, 4 / 12])


@few
@given(
    maps=arrays(np.float32, (3, 5, 6), elements=st.integers(-4, 4).map(float)),
    box=st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(1, 3)),
)
def test_a_mask_of_a_box_scores_as_the_box(maps, box):
    x, y, side = box
    masks = np.full((3, 5, 6), -1)
    masks[:, y : y + side, x : x + side] = 0
    boxes = [[x, y, x + side, y + side]] * 3
    for on_masks, on_boxes in (
        ("relevance_mass_accuracy", "energy_in_box"),
        ("pointing_game_mask", "pointing_game"),
    ):
        got = score(on_masks, maps, masks=masks)
        np.testing.assert_array_equal(got, score(on_boxes, maps, boxes=boxes))


@pytest.mark.parametrize("more", [{}, {"masks": [MASK], "parts": [[[1, 1]]]}])
def test_masks_of_parts_are_not_of_objects(more):
    with pytest.raises(NotApplicable, match="images have no masks of objects"):
        score("pointing_game_mask", [MAP], **more)


@pytest.mark.parametrize("name", ["relevance_mass_accuracy", "relevance_rank_accuracy"])
def test_without_an_object_there_is_nothing_to_hit(name):
    with pytest.raises(NotApplicable, match="images have no boxes and no masks"):
        score(name, [MAP])


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.3])
def test_constant_maps_score_chance(value):
    maps, box = np.full((1, 4, 5), value), [[1, 1, 3, 4]]  # 2 x 3 of 20 pixels
    assert score("pointing_game", maps, boxes=box) == pytest.approx([6 / 20])
    assert score("energy_in_box", maps, boxes=box) == pytest.approx(
        [6 / 20 if value > 0 else 0]
    )


def test_the_maximum_of_a_negative_map_still_points():
    assert score("pointing_game", [[[-3, -1, -2]]], boxes=[[1, 0, 2, 1]]) == [1]
    assert score("energy_in_box", [[[-3, -1, -2]]], boxes=[[1, 0, 2, 1]]) == [0]


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [
        (100, 24, 0),
        (100, 25, 1),
        (100, 39, 1),
        (100, 60, 1),
        (100, 74, 1),
        (100, 75, 0),
        (79, 29, 1),
        (79, 28, 0),
    ],
)
def test_tolerance_is_15_pixels_at_224(row, column, hit):
    """A hit lies less than 15 pixels from a pixel of the box (columns 39-60, rows 90-109), as in TorchRay: the corner
    (90, 39) is sqrt(11^2 + 10^2) = 14.9 away from (79, 29) and 15.6 from (79, 28)."""
    maps = np.zeros((1, 224, 224))
    maps[0, row, column] = 1
    assert score("pointing_game", maps, boxes=[[39, 90, 61, 110]], tolerance=15) == [
        hit
    ]


def test_tolerance_scales_with_the_image():
    maps = np.zeros((3, 32, 32))
    for i, column in enumerate(
        (8, 7, 6)
    ):  # 2, 3, 4 pixels left of the box; 15 at 224 are 2.14 here
        maps[i, 10, column] = 1
    boxes = [[10, 5, 20, 20]] * 3
    assert score("pointing_game", maps, boxes=boxes, tolerance=15).tolist() == [1, 0, 0]
    assert score("pointing_game", maps, boxes=boxes, tolerance=22).tolist() == [1, 1, 0]
    assert score("pointing_game", maps, boxes=boxes).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "box",
    [
        [2, 2, 2, 4],
        [3, 1, 2, 4],
        [9, 0, 12, 4],
        [4, 0, 5.4, 4],
        [-2, 0, 0.4, 4],
        [1.6, 1.6, 2.4, 2.4],
        [math.nan, 0, 4, 4],
    ],
)
@pytest.mark.parametrize("name", ["energy_in_box", "pointing_game"])
def test_a_box_without_pixels_is_refused(name, box):
    with pytest.raises(ValueError, match="holds no pixel of its 4 x 4 image"):
        score(name, np.ones((2, 4, 4)), boxes=[[0, 0, 4, 4], box])


def test_the_first_box_without_pixels_is_named():
    with pytest.raises(ValueError, match=r"the box \[3\.0, 1\.0, 2\.0, 4\.0\] holds"):
        score(
            "energy_in_box",
            np.ones((3, 4, 4)),
            boxes=[[0, 0, 4, 4], [3, 1, 2, 4], [2, 2, 2, 4]],
        )


coordinate = st.integers(0, 12).map(lambda k: k / 2)


@few
@given(
    arrays(np.int8, (3, 5, 6), elements=st.integers(-2, 3)),
    coordinate,
    coordinate,
    st.sampled_from([0, 40, 80]),
)
def test_boxes_against_the_slow_twin(maps, x0, y0, tolerance):
    box = [x0 - 1, min(y0, 4), x0 + 2, min(y0, 4) + 1]
    box[0] = min(box[0], 4)
    inside = [
        (i, j)
        for i in range(5)
        for j in range(6)
        if box[0] <= j + 0.5 < box[2] and box[1] <= i + 0.5 < box[3]
    ]
    energies, hits = [], []
    for m in maps:
        mass = sum(max(float(v), 0) for v in m.flat)
        energies.append(sum(max(float(m[p]), 0) for p in inside) / mass if mass else 0)
        tops = [(i, j) for i in range(5) for j in range(6) if m[i, j] == m.max()]
        near = [
            p
            for p in tops
            if p in inside or min(math.dist(p, q) for q in inside) < tolerance * 6 / 224
        ]
        hits.append(len(near) / len(tops))
    np.testing.assert_allclose(
        score("energy_in_box", maps, boxes=[box] * 3), energies, atol=1e-12
    )
    np.testing.assert_allclose(
        score("pointing_game", maps, boxes=[box] * 3, tolerance=tolerance),
        hits,
        atol=1e-12,
    )


# --------------------------------------------------------------------------------------------- parts


def corners() -> np.ndarray:
    """A map (1, 20, 20): 3 at the pixel (2, 2), 1 at (2, 17), 4 at (17, 2), 2 in the middle, -9 at (17, 17)."""
    m = np.zeros((1, 20, 20))
    m[0, [2, 2, 17, 10, 17], [2, 17, 2, 10, 17]] = [3, 1, 4, 2, -9]
    return m


PARTS = [
    [[2.5, 2.5], [17.5, 2.5], [2.5, 17.5], [17.5, 17.5]]
]  # (x, y) at the values 3, 1, 4, -9


def test_energy_on_parts_by_hand():
    assert score("energy_on_parts", corners(), parts=PARTS) == pytest.approx([8 / 10])
    assert score(
        "energy_on_parts", corners(), parts=PARTS, visible=[[1, 1, 0, 1]]
    ) == pytest.approx([4 / 10])
    assert score(
        "energy_on_parts", corners(), parts=PARTS, radius=0.49
    ) == pytest.approx([8 / 10])
    assert score(
        "energy_on_parts", corners(), parts=PARTS, radius=0.5
    ) == pytest.approx([1])  # 7 sqrt 2 = 9.9 of 20


def test_energy_on_class_parts_by_hand():
    importance = [[0, 0.5, 1, 1]]
    assert score(
        "energy_on_class_parts", corners(), parts=PARTS, importance=importance
    ) == pytest.approx([5 / 10])
    seen = score(
        "energy_on_class_parts",
        corners(),
        parts=PARTS,
        importance=importance,
        visible=[[1, 1, 0, 0]],
    )
    assert seen == pytest.approx([1 / 10])


def test_overlapping_discs_count_once():
    m = np.ones((1, 10, 10))
    once = score("energy_on_parts", m, parts=[[[5, 5]]], radius=0.2)
    assert (
        score("energy_on_parts", m, parts=[[[5, 5], [5, 5]]], radius=0.2)
        == once
        == pytest.approx([12 / 100])
    )


@pytest.mark.parametrize("at", [(0, 0), (3.0, 2.0), (6, 5), (1.5, 2.5)])
def test_a_tiny_disc_holds_its_pixel(at):
    assert score("energy_on_parts", np.ones((1, 5, 6)), parts=[[at]], radius=0) > 0


def test_no_part_to_judge_is_nan_for_this_image_alone():
    two = np.concatenate([corners(), corners()])
    parts, hidden = PARTS * 2, [[0, 0, 0, 0], [1, 1, 1, 1]]
    assert np.isnan(
        score("energy_on_parts", two, parts=parts, visible=hidden)
    ).tolist() == [
        True,
        False,
    ]
    setting = {
        "parts": parts,
        "visible": [[1, 1, 0, 0], [1, 1, 1, 1]],
        "importance": [[0, 0, 1, 1]] * 2,
    }
    assert np.isnan(score("energy_on_class_parts", two, **setting)).tolist() == [
        True,
        False,
    ]
    assert np.isnan(score("part_ranking", two, **setting)).tolist() == [True, False]


def test_the_place_of_a_hidden_part_does_not_matter():
    for name in ("energy_on_parts", "energy_on_class_parts", "part_ranking"):
        values = [
            score(
                name,
                corners(),
                parts=[[*PARTS[0][:3], at]],
                visible=[[1, 1, 1, 0]],
                importance=[[1, 0, 2, 3]],
            )
            for at in ([17.5, 17.5], [-1, -1], [math.nan, math.nan], [2.5, 2.5])
        ]
        assert np.ptp(values) == 0


def test_part_ranking_by_hand():
    def ranking(*importance, **more):
        return score(
            "part_ranking", corners(), parts=PARTS, importance=[importance], **more
        ).item()

    # the map holds 3, 1, 4 and no positive mass at the last part
    assert ranking(2, 1, 3, 0) == 1
    assert ranking(1, 2, 0, 3) == 0
    assert ranking(0, 0, 1, 0) == 1
    assert ranking(1, 0, 0, 0) == pytest.approx(2 / 3)  # above 1 and 0, below 4
    assert ranking(5, 0, 4, 1) == pytest.approx(4 / 6)  # wrong: 5 above 4, 1 above 0
    assert ranking(5, 0, 4, 1, visible=[[1, 1, 0, 1]]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [-2.0, 0.0, 0.1])
def test_part_ranking_of_a_constant_map_is_chance(value):
    """Also where the discs hold different numbers of pixels: at the border, in a corner."""
    parts, maps = [[[0.2, 0.2], [9, 3], [5, 9.9]]], np.full((1, 10, 10), value)
    assert score("part_ranking", maps, parts=parts, importance=[[2, 1, 0]]) == [0.5]


def literal_disc(place, h, w, radius):
    """Pixels (i, j) whose centres are within ``radius`` widths of a place (x, y)."""
    return {
        (i, j)
        for i in range(h)
        for j in range(w)
        if math.dist((j + 0.5, i + 0.5), place) <= radius * w
    }


def literal_energy(heatmap, discs, chosen):
    """The share of positive mass on the chosen discs; NaN where none is chosen."""
    if not chosen.any():
        return math.nan
    h, w = heatmap.shape
    mass = {
        (i, j): max(float(np.float32(heatmap[i, j])), 0)
        for i in range(h)
        for j in range(w)
    }
    covered = set().union(
        *(disc for disc, take in zip(discs, chosen, strict=True) if take)
    )
    return sum(mass[q] for q in covered) / sum(mass.values())


def literal_mean(heatmap, disc):
    return sum(max(float(np.float32(heatmap[q])), 0) for q in disc) / len(disc)


def literal_ranking(mean, seen, matters):
    """The share of pairs of visible parts of unequal importance that are in order; a tie is half a win."""
    wins = []
    for a, b in itertools.permutations(range(len(mean)), 2):
        if seen[a] and seen[b] and matters[a] > matters[b]:
            wins.append(
                1.0 if mean[a] > mean[b] else 0.5 if mean[a] == mean[b] else 0.0
            )
    return sum(wins) / len(wins) if wins else math.nan


@few
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_parts_against_the_slow_twin(seed, binary):
    rng = np.random.default_rng(seed)
    n, p, h, w, radius = 3, 6, 7, 9, 0.17
    maps = np.round(rng.standard_normal((n, h, w)), 1)
    parts, visible = rng.random((n, p, 2)) * [w, h], rng.random((n, p)) < 0.7
    importance = rng.integers(0, 2 if binary else 4, (n, p))
    on_parts, on_class, ranking = [], [], []
    for m, places, seen, matters in zip(
        maps, parts.astype(np.float32), visible, importance, strict=True
    ):
        discs = [literal_disc(place, h, w, radius) for place in places.astype(float)]
        on_parts.append(literal_energy(m, discs, seen))
        on_class.append(literal_energy(m, discs, seen & (matters > 0)))
        ranking.append(
            literal_ranking([literal_mean(m, disc) for disc in discs], seen, matters)
        )
    given = {"parts": parts, "visible": visible, "radius": radius}
    found = score("energy_on_parts", maps, **given)
    np.testing.assert_allclose(found, on_parts, atol=1e-12)
    found = score("energy_on_class_parts", maps, importance=importance, **given)
    np.testing.assert_allclose(found, on_class, atol=1e-12)
    found = score("part_ranking", maps, importance=importance, **given)
    np.testing.assert_allclose(found, ranking, atol=1e-12)


@few
@given(st.integers(0, 2**32 - 1))
def test_the_ranking_of_two_levels_is_the_area_under_the_roc(seed):
    rng = np.random.default_rng(seed)
    matters = rng.permutation([0, 0, 0, 1, 1, 1])
    mean = np.round(rng.random(6), 1)  # ties happen
    found = literal_ranking(mean, np.ones(6, bool), matters)
    assert found == pytest.approx(roc_auc_score(matters, mean))


def test_a_disc_holds_what_is_exactly_as_far_as_its_radius():
    """Radius .1 of 10 pixels, a part at the centre of pixel (4, 4): its four neighbours lie on the rim."""
    maps = np.zeros((3, 10, 8))
    maps[0, 4, 5] = maps[1, 5, 4] = maps[2, 5, 5] = 1
    given = {"parts": [[[4.5, 4.5]]] * 3, "radius": 0.1}
    assert score("energy_on_parts", maps, **given).tolist() == [1, 1, 0]
    e = Explanation(concept_maps=maps[:, None])
    batch = Batch(
        x=torch.zeros(3, 1, 10, 8),
        y=torch.zeros(3, dtype=torch.int64),
        parts=torch.tensor(given["parts"]),
        part_importance=torch.ones(3, 1),
    )
    assert METRICS["concepts_on_class_parts"](
        e, None, batch, RNG, radius=0.1
    ).tolist() == [1, 1, 0]


def test_a_part_of_one_pixel_has_its_mean_and_one_beyond_the_image_none():
    """A disc of one pixel, value 1; of two, .6 each; and a part outside of the image, which has no
    pixel and no mass."""
    maps = np.zeros((1, 3, 6))
    maps[0, 0, 0], maps[0, 2, 2:4] = 1, 0.6
    given = {"parts": [[[0.5, 0.5], [3.0, 2.5], [-9, -9]]], "radius": 0.01}
    assert score("part_ranking", maps, importance=[[2, 1, 0]], **given).tolist() == [1]


@pytest.mark.parametrize(
    ("shape", "column", "hit"),
    [
        ((448, 448), 73, 1),
        ((448, 448), 72, 0),
        ((448, 300), 73, 1),
        ((300, 448), 73, 1),
    ],
)
def test_tolerance_is_in_pixels_of_the_longer_side_at_224(shape, column, hit):
    """13 rows above the box and 27 or 28 columns left of it: 29.97 and 30.87 pixels, where 30 are allowed."""
    maps = np.zeros((1, *shape))
    maps[0, 87, column] = 1
    assert score("pointing_game", maps, boxes=[[100, 100, 140, 140]], tolerance=15) == [
        hit
    ]


# --------------------------------------------------------------------------------------------- sparseness


def test_gini_by_hand():
    assert score("gini", [[[0, 0], [0, 5]]]) == pytest.approx([3 / 4])  # 1 - 1/d
    assert score("gini", [[[1, 2], [3, 4]]]) == pytest.approx([(-3 - 2 + 3 + 12) / 40])
    assert score("gini", [[[-4, 2], [3, -1]]]) == pytest.approx(
        [10 / 40]
    )  # of absolute values
    assert score("gini", [np.full((3, 3), -0.7), np.zeros((3, 3))]) == pytest.approx(
        [0, 0], abs=1e-15
    )


@few
@given(arrays(np.float32, (2, 3, 4), elements=st.floats(-1, 1, width=16)))
def test_gini_against_the_mean_absolute_difference(maps):
    """G = sum_ij |a_i - a_j| / (2 d sum_i a_i)."""
    want = []
    for m in maps:
        a = [abs(float(v)) for v in m.flat]
        pairs = sum(abs(p - q) for p in a for q in a)
        want.append(pairs / (2 * len(a) * sum(a)) if sum(a) else 0)
    np.testing.assert_allclose(score("gini", maps), want, atol=1e-12)
