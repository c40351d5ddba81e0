"""Patch correlation: hand-computed cases, a slow literal twin in float64, known extremes, and what
it pushes through the network."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from benchmark.api import METRICS, Batch, Explanation
from benchmark.metrics import masking
from tests.helpers.masking import (
    doubled,
    linear_target,
    problem,
    single,
    slow_logits,
    slow_probability,
)

PATCHES = METRICS["patch_correlation"]
RNG = np.random.default_rng(0)


def test_by_hand():
    """Logits (w x, 0), so that log Y_0 / (1 - Y_0) = w x; the mean colour is .5."""
    target, batch = (
        linear_target([[1, 2], [3, 4]]),
        single([[1, 0], [0, 1]]),
    )  # falls: .5, -1, -1.5, 2 of ranks 3 2 1 4
    e = Explanation(heatmaps=[[[0.2, 0.1], [0.3, 0.4]]])  # ranks 2 1 3 4
    assert PATCHES(e, target, batch, RNG, grid=2) == pytest.approx(
        [1 - 6 * (1 + 1 + 4 + 0) / (4 * 15)]
    )
    black = [3 - 2.5, 1.5 - 2.5, 1.5 - 2.5, 4 - 2.5]  # falls 1, 0, 0, 4: two that tie
    ours = [2 - 2.5, 1 - 2.5, 3 - 2.5, 4 - 2.5]
    want = np.dot(black, ours) / math.sqrt(np.dot(black, black) * np.dot(ours, ours))
    assert PATCHES(e, target, batch, RNG, grid=2, fill="black") == pytest.approx([want])


def test_two_patches_agree_or_do_not():
    target, batch = linear_target([[1, 2]]), single([[0, 1]])  # falls -.5 and 1
    for maps, want in (([[0, 1]], 1), ([[1, 0]], -1), ([[1, 1]], 0)):
        assert PATCHES(
            Explanation(heatmaps=[maps]), target, batch, RNG
        ) == pytest.approx([want])


@pytest.mark.parametrize(
    ("h", "w", "grid", "sides"),
    [
        (4, 6, 2, ([2, 2], [3, 3])),
        (5, 9, 4, ([2, 1, 1, 1], [3, 2, 2, 2])),
        (3, 8, 6, ([1, 1, 1], [2, 1, 1, 2, 1, 1])),
        (1, 2, 9, ([1], [1, 1])),
    ],
)
def test_patches_cut_the_image(h, w, grid, sides):
    found = masking.patches(grid, Batch(x=torch.zeros(1, 1, h, w), y=torch.zeros(1)))
    assert (found.sum(0) == 1).all()  # each pixel in one
    assert found.sum(1).tolist() == [a * b for a in sides[0] for b in sides[1]]
    for patch in found.view(-1, h, w):
        assert patch.sum() == patch.any(0).sum() * patch.any(1).sum()  # a rectangle


def filled_with_mean(x, inside):
    """The image with some pixels at the mean of their channel."""
    other = x.clone()
    for channel in range(3):
        for p in inside:
            other[channel, p // 8, p % 8] = x[channel].sum() / 64
    return other


def log_odds(logits, c):
    y = slow_probability(logits, c)
    return math.log(y / (1 - y))


def slow_correlation(twin, x, heatmap, grid, fill):
    """Spearman's correlation of patches' means with the fall of the log odds, in steps of 1e-4,
    without each of them."""
    c, cells = int(twin(x[None])[0].argmax()), min(grid, 8)
    bands = [[i for i in range(8) if i * cells // 8 == band] for band in range(cells)]
    means, falls = [], []
    for rows, columns in itertools.product(bands, bands):
        inside = [i * 8 + j for i in rows for j in columns]
        outside = [p for p in range(64) if p not in inside]
        if fill == "black":
            without = slow_logits(twin, x, outside, len(outside), "black")
        else:
            without = twin(filled_with_mean(x, inside)[None])[0]
        falls.append(
            round((log_odds(twin(x[None])[0], c) - log_odds(without, c)) / 1e-4)
        )
        means.append(sum(float(heatmap.flat[p]) for p in inside) / len(inside))
    return spearmanr(np.round(means, 9), falls).statistic


@pytest.mark.parametrize("kind", ["random", "ties", "one-hot"])
@pytest.mark.parametrize(
    ("grid", "fill"), [(2, "mean"), (3, "mean"), (6, "black"), (9, "mean")]
)
def test_against_the_slow_twin(kind, grid, fill):
    target, batch, e = problem(kind=kind, chunk=4)
    twin, images = doubled(target), zip(batch.x.double(), e.heatmaps, strict=True)
    want = [slow_correlation(twin, x, heatmap, grid, fill) for x, heatmap in images]
    found = PATCHES(e, target, batch, RNG, grid=grid, fill=fill)
    np.testing.assert_allclose(found, want, atol=1e-3)


def test_the_truth_scores_1_its_negative_minus_1_and_flat_maps_0():
    target, batch, _ = problem(n=4)
    falls = masking.lost(target, batch, 4, "mean")  # (n, 16)
    painted = (
        (falls[:, :, None] * masking.patches(4, batch).numpy()).sum(1).reshape(4, 8, 8)
    )
    flat, dark = np.full((4, 8, 8), 0.7), np.zeros((4, 8, 8))
    for maps, want in ((painted, 1), (-painted, -1), (flat, 0), (dark, 0)):
        found = PATCHES(Explanation(heatmaps=maps), target, batch, RNG, grid=4)
        np.testing.assert_allclose(found, want, atol=1e-6)


def test_noise_scores_0_on_average():
    target, batch, _ = problem(n=4)
    noise = np.random.default_rng(0).standard_normal((200, 8, 8))
    many = Batch(x=batch.x[:1].expand(200, -1, -1, -1), y=batch.y[:1].expand(200))
    random = PATCHES(Explanation(heatmaps=noise), target, many, RNG)
    assert abs(random.mean()) < 4 * random.std() / math.sqrt(200)


def test_an_answer_that_no_patch_changes_beyond_rounding_has_zero():
    target, batch, e = problem()
    for p in target.net.parameters():
        p.mul_(1e-4)
    assert np.abs(masking.lost(target, batch, 6, "mean")).max() > 0
    assert PATCHES(e, target, batch, RNG).tolist() == [0] * 5


def test_all_maps_of_a_batch_share_the_passes():
    target, batch, e = problem(n=7, chunk=3)
    sizes = []
    target.net[0].register_forward_hook(
        lambda module, args, out: sizes.append(len(out))
    )
    PATCHES(e, target, batch, RNG, grid=3)
    assert max(sizes) == 3 and sum(sizes) == 7 * (9 + 1)
    PATCHES(Explanation(heatmaps=-e.heatmaps), target, batch, RNG, grid=3)
    assert sum(sizes) == 7 * (9 + 1)
    PATCHES(e, target, batch, RNG, grid=2)
    assert sum(sizes) == 7 * (9 + 1 + 4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"grid": 1},
            "grid=1: patches are compared with each other, so at least 2 a side",
        ),
        ({"fill": "pink"}, "fill 'pink' is not one of black, blur, inpaint, mean"),
    ],
)
def test_bad_settings_are_named(setting, message):
    target, batch, e = problem()
    with pytest.raises(ValueError) as error:
        PATCHES(e, target, batch, RNG, **setting)
    assert str(error.value) == message
