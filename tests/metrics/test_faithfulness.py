"""Masked images: hand-computed cases, slow literal twins in float64, and what is pushed through the network."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmark.api import METRICS, Batch, Explanation, Target
from benchmark.metrics import masking
from tests.helpers.masking import (
    conv_target,
    doubled,
    linear_target,
    problem,
    single,
    slow_logits,
    slow_order,
    slow_probability,
)

AVERAGE_DROP, AVERAGE_INCREASE = METRICS["average_drop"], METRICS["average_increase"]
INSERTION, DELETION, ACCURACY = (
    METRICS["insertion_auc"],
    METRICS["deletion_auc"],
    METRICS["accuracy_top_pixels"],
)
RNG = np.random.default_rng(0)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


# --------------------------------------------------------------------------------------------- by hand


def test_average_drop_by_hand():
    target, batch = (
        linear_target([[2, 4], [8, 0]]),
        single([[1, 0.5], [0.25, 1]]),
    )  # Y = sigmoid(2 + 2 + 2)
    e = Explanation(
        heatmaps=[[[0.1, 0.9], [-3, 0.9]]]
    )  # keeps the pixels 1 and 3: 4 * 0.5 + 0 * 1
    (drop,) = AVERAGE_DROP(e, target, batch, RNG, keep=0.5)
    assert drop == pytest.approx(100 * (sigmoid(6) - sigmoid(2)) / sigmoid(6), rel=1e-6)
    assert AVERAGE_INCREASE(e, target, batch, RNG, keep=0.5) == [0]


def test_average_increase_by_hand():
    target, batch = (
        linear_target([[3, -1], [-1, 0]]),
        single([[1, 1], [1, 1]]),
    )  # Y = sigmoid(1), kept: sigmoid(3)
    e = Explanation(heatmaps=[[[1, 0], [0, 0]]])
    assert AVERAGE_INCREASE(e, target, batch, RNG, keep=0.25) == [100]
    assert AVERAGE_DROP(e, target, batch, RNG, keep=0.25) == [0]


def test_the_same_image_is_no_increase():
    target, batch = (
        linear_target([[3, 1], [0, 0]]),
        single([[1, 0], [0, 0]]),
    )  # the hidden pixels are black already
    e = Explanation(heatmaps=[[[1, 0], [0, 0]]])
    assert AVERAGE_INCREASE(e, target, batch, RNG, keep=0.25) == [0]
    assert AVERAGE_DROP(e, target, batch, RNG, keep=0.25) == pytest.approx(
        [0], abs=1e-4
    )


def test_an_increase_counts_where_the_probability_has_saturated():
    target, batch = (
        linear_target([[60, -1], [0, 0]]),
        single([[1, 1], [1, 1]]),
    )  # Y = sigmoid(59) = 1 - 2e-26
    e = Explanation(heatmaps=[[[1, 0], [0, 0]]])
    assert AVERAGE_INCREASE(e, target, batch, RNG, keep=0.25) == [100]
    assert AVERAGE_DROP(e, target, batch, RNG, keep=0.25) == [0]


def test_black_is_zero_before_normalisation():
    target, batch = (
        linear_target([[1, 1]], mean=0.5, std=0.25),
        single([[1, 1]]),
    )  # normalised: 2 and 2, black: -2
    e = Explanation(heatmaps=[[[1, 0]]])
    (drop,) = AVERAGE_DROP(e, target, batch, RNG, keep=0.5)
    assert drop == pytest.approx(100 * (sigmoid(4) - sigmoid(0)) / sigmoid(4), rel=1e-6)


def test_deletion_by_hand():
    target, batch = linear_target([[1, 2, 4]]), single([[1, 1, 1]])
    e = Explanation(heatmaps=[[[0, 1, 2]]])  # deletes 4, 2, 1: sigmoid of 7, 3, 1, 0
    curve = [sigmoid(z) for z in (7, 3, 1, 0)]
    area = (curve[0] / 2 + curve[1] + curve[2] + curve[3] / 2) / 3
    assert DELETION(e, target, batch, RNG, steps=4) == pytest.approx([area], rel=1e-6)
    assert DELETION(e, target, batch, RNG, steps=33) == pytest.approx(
        [area], rel=1e-6
    )  # more steps than pixels
    assert DELETION(e, target, batch, RNG, steps=2) == pytest.approx(
        [(curve[0] + curve[3]) / 2], rel=1e-6
    )  # the ends


def test_insertion_by_hand():
    target, batch = (
        linear_target([[1, -3]]),
        single([[1, 0]]),
    )  # the class stays 0 all the way
    g = math.exp(-0.5 / 25)
    low, high = g / (1 + g), 1 / (1 + g)  # the blurred image is (high, low)
    first = Explanation(heatmaps=[[[1, 0]]])
    curve = [sigmoid(high - 3 * low), sigmoid(1 - 3 * low), sigmoid(1)]
    assert INSERTION(first, target, batch, RNG, steps=3) == pytest.approx(
        [np.dot(curve, [0.25, 0.5, 0.25])], rel=1e-6
    )
    last = Explanation(heatmaps=[[[0, 1]]])
    curve[1] = sigmoid(high)
    assert INSERTION(last, target, batch, RNG, steps=3) == pytest.approx(
        [np.dot(curve, [0.25, 0.5, 0.25])], rel=1e-6
    )


def test_uneven_steps_are_weighted_by_their_width():
    target, batch = linear_target([[1, 2, 4]]), single([[1, 1, 1]])
    e = Explanation(
        heatmaps=[[[0, 1, 2]]]
    )  # 3 points of 3 pixels: 0, 2 (1.5 rounds to even), 3 pixels deleted
    y = [sigmoid(z) for z in (7, 1, 0)]
    area = 2 / 3 * (y[0] + y[1]) / 2 + 1 / 3 * (y[1] + y[2]) / 2
    assert DELETION(e, target, batch, RNG, steps=3) == pytest.approx([area], rel=1e-6)


def test_accuracy_by_hand():
    target = linear_target(
        np.eye(8)[0].reshape(2, 4) - 0.5
    )  # class 0 needs pixel 0, all others speak against it
    batch = Batch(x=torch.ones(2, 1, 2, 4), y=torch.tensor([0, 1]))
    right, wrong = np.arange(8)[::-1].reshape(2, 4), np.arange(8).reshape(2, 4)
    both = Explanation(heatmaps=[right, right])
    # 224^2 / 8 pixels are 1 of 8: pixel 0 alone says class 0; inpainted, all pixels are 1 and say class 1
    assert ACCURACY(both, target, batch, RNG, pixels=6272, fill="black").tolist() == [
        1,
        0,
    ]
    assert ACCURACY(both, target, batch, RNG, pixels=6272).tolist() == [0, 1]
    assert ACCURACY(
        Explanation(heatmaps=[wrong, wrong]),
        target,
        batch,
        RNG,
        pixels=6272,
        fill="black",
    ).tolist() == [
        0,
        1,
    ]
    assert ACCURACY(both, target, batch, RNG, pixels=224**2).tolist() == [
        0,
        1,
    ]  # the image itself


@pytest.mark.parametrize(("pixels", "count"), [(300, 6), (500, 10), (1000, 20), (1, 1)])
def test_the_papers_pixels_at_another_resolution(pixels, count):
    target, batch, e = problem(side=32, n=2)
    ACCURACY(e, target, batch, RNG, pixels=pixels)
    assert ("logits", target, count, "inpaint", False) in masking.shared(e, batch)


@pytest.mark.parametrize(
    ("share", "pixels", "count"),
    [(0.2, 1024, 204), (0.2, 224**2, 10035), (0.29, 100, 29), (1, 7, 7)],
)
def test_share_of_pixels(share, pixels, count):
    assert (
        masking.pixels_of(
            share, Batch(x=torch.zeros(1, 1, 1, pixels), y=torch.zeros(1))
        )
        == count
    )


def test_blur_by_hand():
    x = torch.zeros(1, 1, 1, 14)
    x[..., 0] = 1
    g = [math.exp(-0.5 * (d / 5) ** 2) for d in range(6)]
    want = [g[i] / (sum(g) + sum(g[1 : i + 1])) for i in range(6)] + [
        0
    ] * 8  # the sum over pixels that exist
    assert masking.blur(x).flatten().tolist() == pytest.approx(want, rel=1e-6)
    assert torch.allclose(
        masking.blur(torch.full((1, 3, 9, 7), 0.3)), torch.tensor(0.3)
    )


def test_blur_grows_past_224_pixels():
    spread = [
        int((masking.blur(torch.eye(side)[side // 2].view(1, 1, 1, side)) > 0).sum())
        for side in (32, 224, 448)
    ]
    assert spread == [11, 11, 21]


def test_inpainting_uses_the_kept_pixels_alone():
    rng = np.random.default_rng(1)
    x, kept = (
        torch.from_numpy(rng.random((2, 3, 8, 8), np.float32)),
        torch.from_numpy(rng.random((2, 1, 8, 8)) < 0.1),
    )
    other = torch.where(
        kept, x, torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    )
    assert torch.equal(masking.inpaint(x, kept), masking.inpaint(other, kept))
    one = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    one[0, 0, 2, 3] = True  # a single kept pixel colours all
    assert torch.allclose(
        masking.inpaint(x[:1], one), x[:1, :, 2, 3].view(1, 3, 1, 1).expand(1, 3, 8, 8)
    )
    assert torch.equal(
        masking.inpaint(x[:1], torch.zeros_like(one)), torch.zeros(1, 3, 8, 8)
    )


# --------------------------------------------------------------------------------------------- slow twins


def slow_drop(e, target, batch, keep, fill="black"):
    drops, increases, target = [], [], doubled(target)
    for x, heatmap in zip(batch.x.double(), e.heatmaps, strict=True):
        clean = target(x[None])[0]
        c = int(clean.argmax())
        kept = slow_logits(
            target, x, slow_order(heatmap), int(keep * heatmap.size), fill
        )
        y, y_kept = slow_probability(clean, c), slow_probability(kept, c)
        drops.append(100 * max(0, y - y_kept) / y)
        increases.append(100 * (y < y_kept))
    return drops, increases


def slow_area(e, target, batch, steps, fill, delete):
    areas, target = [], doubled(target)
    for x, heatmap in zip(batch.x.double(), e.heatmaps, strict=True):
        c = int(target(x[None])[0].argmax())
        counts = sorted({round(heatmap.size * s / (steps - 1)) for s in range(steps)})
        curve = [
            slow_probability(
                slow_logits(target, x, slow_order(heatmap), k, fill, delete), c
            )
            for k in counts
        ]
        pieces = [
            (b - a) * (p + q) / 2
            for a, b, p, q in zip(counts, counts[1:], curve, curve[1:], strict=False)
        ]
        areas.append(sum(pieces) / heatmap.size)
    return areas


KINDS = ["random", "ties", "constant", "zero", "one-hot"]


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_average_drop_and_increase_against_the_slow_twin(c, kind):
    target, batch, e = problem(c, kind=kind, chunk=4)
    for keep, fill in ((0.2, "black"), (0.3, "blur"), (0.1, "inpaint")):
        drops, increases = slow_drop(e, target, batch, keep, fill)
        np.testing.assert_allclose(
            AVERAGE_DROP(e, target, batch, RNG, keep=keep, fill=fill), drops, atol=1e-3
        )
        np.testing.assert_array_equal(
            AVERAGE_INCREASE(e, target, batch, RNG, keep=keep, fill=fill), increases
        )


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_curves_against_the_slow_twin(c, kind):
    target, batch, e = problem(c, n=3, kind=kind, chunk=4)
    for metric, fill, delete in ((INSERTION, "blur", False), (DELETION, "black", True)):
        want = slow_area(e, target, batch, 5, fill, delete)
        np.testing.assert_allclose(
            metric(e, target, batch, RNG, steps=5), want, atol=1e-5
        )


@pytest.mark.parametrize("c", [1, 3])
def test_accuracy_against_the_slow_twin(c):
    target, batch, e = problem(c, n=12, chunk=5)
    twin, want = doubled(target), []
    for x, y, heatmap in zip(batch.x.double(), batch.y, e.heatmaps, strict=True):
        z = slow_logits(
            twin, x, slow_order(heatmap), round(9000 * 64 / 224**2), "inpaint"
        )
        want.append(float(int(z.argmax()) == int(y)))
    assert 0 < sum(want) < 12
    np.testing.assert_array_equal(ACCURACY(e, target, batch, RNG, pixels=9000), want)


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from([-1.5, -0.0, 0.0, 0.5, 2.0]), min_size=1, max_size=30))
def test_ranks_are_the_stable_order(values):
    e = Explanation(heatmaps=np.array(values)[None, None])
    batch = Batch(x=torch.zeros(1, 1, 1, len(values)), y=torch.zeros(1))
    rank = masking.ranks(e, batch)[0].tolist()
    assert [rank.index(k) for k in range(len(values))] == slow_order(e.heatmaps[0])


def test_ranks_tell_small_values_apart():
    e, batch = (
        Explanation(heatmaps=[[[3e-9, 1e-9, 2e-9]]]),
        Batch(x=torch.zeros(1, 1, 1, 3), y=torch.zeros(1)),
    )
    assert masking.ranks(e, batch).tolist() == [[0, 2, 1]]


# --------------------------------------------------------------------------------------------- passes and bad input


def test_metrics_that_mask_alike_share_their_passes():
    target, batch, e = problem(n=7, chunk=3)
    counter = target.net[0]

    def passes(metric, explanation=e, **setting):
        before = counter.seen
        metric(explanation, target, batch, RNG, **setting)
        return counter.seen - before

    assert passes(AVERAGE_DROP) == 2 * 7  # clean and masked
    assert passes(AVERAGE_INCREASE) == 0
    assert passes(AVERAGE_INCREASE, keep=0.5) == 7
    assert passes(AVERAGE_DROP, keep=1.0) == 0  # the image itself
    assert (
        passes(ACCURACY, pixels=0.5 * 224**2, fill="black") == 0
    )  # the same 32 pixels
    assert passes(DELETION, steps=9) == (7 + 1) * 7  # inner steps and the black image
    assert (
        passes(INSERTION, steps=9, fill="black") == 6 * 7
    )  # half of the pixels were kept above
    assert passes(INSERTION, steps=9) == (7 + 1) * 7  # the blurred image
    other = Explanation(heatmaps=-e.heatmaps)
    assert (
        passes(DELETION, other, steps=9) == passes(INSERTION, other, steps=9) == 7 * 7
    )  # the ends are known


def test_chunks_of_the_batch_bound_what_the_network_sees():
    target, batch, e = problem(n=7, chunk=3)
    sizes = []
    target.net[0].register_forward_hook(
        lambda module, args, out: sizes.append(len(out))
    )
    INSERTION(e, target, batch, RNG, steps=5)
    assert max(sizes) == 3
    assert sum(sizes) == 7 * 5


def test_shared_results_die_with_the_explanation():
    target, batch, e = problem()
    AVERAGE_DROP(e, target, batch, RNG)
    assert len(batch.memo["explanations"]) == 1
    del e
    gc.collect()
    assert len(batch.memo["explanations"]) == 0


def test_two_targets_do_not_mix():
    target, batch, e = problem()
    other = conv_target(3, seed=1)
    fresh = AVERAGE_DROP(e, other, problem()[1], RNG)
    AVERAGE_DROP(e, target, batch, RNG)
    np.testing.assert_array_equal(AVERAGE_DROP(e, other, batch, RNG), fresh)


@pytest.mark.parametrize(
    ("metric", "setting", "message"),
    [
        (AVERAGE_DROP, {"keep": 0}, "keep=0"),
        (AVERAGE_INCREASE, {"keep": 1.1}, "keep=1.1"),
        (AVERAGE_DROP, {"keep": -0.5}, "keep=-0.5"),
        (
            AVERAGE_DROP,
            {"fill": "pink"},
            "fill 'pink' is not one of black, blur, inpaint, mean",
        ),
        (ACCURACY, {"pixels": 0}, "pixels=0"),
        (ACCURACY, {"pixels": 60000}, "pixels=60000"),
        (INSERTION, {"steps": 1}, "steps=1"),
    ],
)
def test_bad_settings_are_named(metric, setting, message):
    target, batch, e = problem()
    with pytest.raises(ValueError, match=message):
        metric(e, target, batch, RNG, **setting)


def test_logits_at_refuses_counts_beyond_the_image():
    target, batch, e = problem()
    for counts in ([3, 65], [-1, 3]):
        with pytest.raises(
            ValueError,
            match=rf"pixel counts \{str(counts)[:-1]}\] must lie within 0\.\.64",
        ):
            masking.logits_at(e, target, batch, counts)
    assert masking.logits_at(e, target, batch, [0, 64]).shape == (2, 5, 4)


@pytest.mark.parametrize(
    ("pixels", "kept"),
    [(1, 1), (1175, 1), (1176, 2), (9000, 11), (49783, 63), (49784, 64), (50176, 64)],
)
def test_pixels_count_at_224_and_at_least_one_is_kept(pixels, kept):
    """A network that counts bright pixels: logit c s - c^2 / 2 is the largest where c is s. 1176
    and 49,784 of 224^2 are 1.5 and 63.5 of 8^2."""
    c = torch.arange(65.0)
    layer = nn.Linear(64, 65)
    layer.weight.data, layer.bias.data = (
        c[:, None].expand(65, 64).contiguous(),
        -(c**2) / 2,
    )
    target = Target(
        nn.Sequential(nn.Flatten(), layer),
        name="counts",
        classes=list(map(str, range(65))),
        input_shape=(1, 8, 8),
    )
    batch = Batch(x=torch.ones(1, 1, 8, 8), y=torch.tensor([kept]))
    e = Explanation(heatmaps=np.random.default_rng(0).random((1, 8, 8)))
    assert ACCURACY(e, target, batch, RNG, pixels=pixels, fill="black").tolist() == [1]


@pytest.mark.parametrize(
    ("side", "radius"), [(224, 5), (246, 5), (247, 6), (380, 8), (381, 9), (448, 10)]
)
def test_blur_reaches_as_far_as_its_radius(side, radius):
    """One row with one bright pixel: round(5 side / 224) pixels on both sides are lit, by exp(-d^2 / 2 radius^2)."""
    x = torch.zeros(1, 1, 1, side)
    x[..., 100] = 1
    row = masking.blur(x.double())[0, 0, 0]
    assert row.nonzero()[[0, -1], 0].tolist() == [100 - radius, 100 + radius]
    assert row[100 + radius] / row[100] == pytest.approx(math.exp(-0.5))


def test_one_kept_pixel_paints_the_whole_image_and_none_blackens_it():
    x = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    kept = torch.zeros(2, 1, 9, 7, dtype=torch.bool)
    kept[0, 0, 4, 2] = True
    painted = masking.inpaint(x, kept)
    torch.testing.assert_close(painted[0], x[0, :, 4:5, 2:3].expand(3, 9, 7))
    assert (painted[1] == 0).all()
