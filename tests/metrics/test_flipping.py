"""SaCo, SRG and IROF: hand-computed cases, slow literal twins in float64, known values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from skimage.segmentation import slic

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation
from benchmark.metrics import flipping
from tests.helpers.masking import (
    doubled,
    linear_target,
    problem,
    single,
    slow_order,
    slow_probability,
)

SACO, SRG, IROF = (
    METRICS[name] for name in ("saco", "symmetric_relevance_gain", "irof")
)
RNG = np.random.default_rng(0)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


# ------------------------------------------------------------------------------------ by hand


def test_saco_by_hand():
    """Three groups of one pixel, in the order 0, 2, 1 of the map; without them the logit falls by 1, 3, 2."""
    target, batch = linear_target([[1, 2, 3]]), single([[1, 1, 1]])
    e = Explanation(heatmaps=[[[8, 1, 5]]])
    # (0, 2): 1 < 3, against; (0, 1): 1 < 2, against; (2, 1): 3 >= 2, as said
    (found,) = SACO(e, target, batch, RNG, groups=3, fill="black")
    assert found == pytest.approx((-(8 - 5) - (8 - 1) + (5 - 1)) / (3 + 7 + 4))


def test_srg_by_hand():
    target, batch = linear_target([[1, 2]]), single([[1, 1]])
    e = Explanation(heatmaps=[[[0, 1]]])
    most = [sigmoid(3), sigmoid(1), sigmoid(0)]
    least = [sigmoid(3), sigmoid(2), sigmoid(0)]
    want = np.trapezoid(least, dx=0.5) - np.trapezoid(most, dx=0.5)
    (found,) = SRG(e, target, batch, RNG, steps=3, fill="black")
    assert found == pytest.approx(want, rel=1e-5)
    (back,) = SRG(
        Explanation(heatmaps=[[[1, 0]]]), target, batch, RNG, steps=3, fill="black"
    )
    assert back == pytest.approx(-want, rel=1e-5)


def test_irof_by_hand(monkeypatch):
    """Segments 0 and 1, of two pixels and one; 1 has the larger mean though the smaller sum."""
    target, batch = linear_target([[1, 2, 3]]), single([[1, 1, 1]])
    monkeypatch.setattr(flipping, "_segments", lambda *_: np.array([[0, 0, 1]]))
    e = Explanation(heatmaps=[[[3, 3, 4]]])
    over = [0, 1 - sigmoid(3) / sigmoid(6), 1 - sigmoid(0) / sigmoid(6)]
    (found,) = IROF(e, target, batch, RNG, fill="black")
    assert found == pytest.approx((over[0] / 2 + over[1] + over[2] / 2) / 2)


# ------------------------------------------------------------------------------------ twins


def slow_odds(twin, x, hidden):
    """Y of the class predicted for x, of x with the pixels ``hidden`` at the mean colour, in float64."""
    c = int(twin(x[None])[0].argmax())
    changed = x.clone()
    for p in hidden:
        for channel in range(len(x)):
            changed[channel, p // 8, p % 8] = x[channel].sum() / 64
    return slow_probability(twin(changed[None])[0], c)


def images(target, batch, e):
    return doubled(target), zip(batch.x.double(), e.heatmaps, strict=True)


@pytest.mark.parametrize("kind", ["random", "ties", "one-hot", "constant"])
@pytest.mark.parametrize("groups", [4, 10])
def test_saco_against_the_slow_twin(kind, groups):
    target, batch, e = problem(kind=kind, chunk=4)
    twin, pairs = images(target, batch, e)
    want = []
    for x, heatmap in pairs:
        order = slow_order(heatmap)
        parts = [
            [p for rank, p in enumerate(order) if rank * groups // 64 == k]
            for k in range(groups)
        ]
        s = [np.mean([float(heatmap.flat[p]) for p in part]) for part in parts]
        y = [slow_odds(twin, x, part) for part in parts]
        weight = total = 0
        for i in range(groups):
            for j in range(i + 1, groups):
                gap = s[i] - s[j]
                weight += gap if y[i] <= y[j] else -gap
                total += abs(gap)
        want.append(weight / total if total > 1e-9 else 0)
    found = SACO(e, target, batch, RNG, groups=groups)
    np.testing.assert_allclose(found, want, atol=1e-4)


@pytest.mark.parametrize("kind", ["random", "ties", "constant"])
def test_srg_against_the_slow_twin(kind):
    target, batch, e = problem(kind=kind, chunk=4)
    twin, pairs = images(target, batch, e)
    want = []
    for x, heatmap in pairs:
        order, counts = slow_order(heatmap), [0, 16, 32, 48, 64]
        most = [slow_odds(twin, x, order[:k]) for k in counts]
        least = [slow_odds(twin, x, order[64 - k :]) for k in counts]
        gain = [a - b for a, b in zip(least, most)]
        want.append(sum((a + b) / 2 * 0.25 for a, b in itertools.pairwise(gain)))
    found = SRG(e, target, batch, RNG, steps=5)
    np.testing.assert_allclose(found, want, atol=1e-5)


@pytest.mark.parametrize("kind", ["random", "one-hot"])
@pytest.mark.parametrize("c", [1, 3])
def test_irof_against_the_slow_twin(kind, c):
    target, batch, e = problem(c=c, kind=kind, chunk=4)
    twin, pairs = images(target, batch, e)
    want = []
    for x, heatmap in pairs:
        image = x.float().expand(3, -1, -1).permute(1, 2, 0).numpy()
        labels = slic(image, 9, compactness=20, sigma=1, start_label=0).ravel()
        means = {
            k: heatmap.ravel()[labels == k].astype(float).mean() for k in set(labels)
        }
        order = sorted(means, key=lambda k: (-means[k], k))
        y = []
        for count in range(len(order) + 1):
            gone = np.flatnonzero(np.isin(labels, order[:count]))
            y.append(slow_odds(twin, x, gone))
        over = [1 - value / y[0] for value in y]
        area = sum((a + b) / 2 for a, b in itertools.pairwise(over))
        want.append(area / len(order))
    found = IROF(e, target, batch, RNG, segments=9)
    np.testing.assert_allclose(found, want, atol=1e-5)


# ------------------------------------------------------------------------------------ known values


@pytest.mark.parametrize("fill", ["black", "mean"])
def test_the_exact_map_of_a_linear_network_is_best(fill):
    rng = np.random.default_rng(1)
    w = rng.normal(size=(8, 8))
    target = linear_target(w)
    x = torch.from_numpy(rng.random((9, 1, 8, 8), np.float32))
    x = x[target(x).argmax(1) == 0]
    batch = Batch(x=x, y=torch.zeros(len(x), dtype=torch.int64))
    less = x - (x.mean((2, 3), keepdim=True) if fill == "mean" else 0)
    exact = w * less.numpy()[:, 0]
    noise = Explanation(heatmaps=rng.normal(size=exact.shape))
    for metric in (SACO, SRG):
        best, worst = (
            metric(Explanation(heatmaps=sign * exact), target, batch, RNG, fill=fill)
            for sign in (1, -1)
        )
        drawn = metric(noise, target, batch, RNG, fill=fill)
        np.testing.assert_allclose(worst, -best, atol=1e-5)
        assert (best >= drawn).all() and (best > 0).all()
    assert SACO(
        Explanation(heatmaps=exact), target, batch, RNG, fill=fill
    ) == pytest.approx(1)


def test_noise_gains_nothing_from_both_ends():
    target, batch, _ = problem(n=4)
    noise = np.random.default_rng(0).standard_normal((300, 8, 8))
    many = Batch(x=batch.x[:1].expand(300, -1, -1, -1), y=batch.y[:1].expand(300))
    found = SRG(Explanation(heatmaps=noise), target, many, RNG)
    assert abs(found.mean()) < 4 * found.std() / math.sqrt(300)


def test_two_segments_are_enough():
    target, batch, e = problem()
    assert (IROF(e, target, batch, RNG, segments=2) <= 1).all()


def test_segments_are_cut_once():
    _, batch, _ = problem()
    labels = flipping._segments(batch, 9)
    assert labels is flipping._segments(batch, 9)
    for row in labels:
        assert set(row) == set(range(row.max() + 1))
        assert 2 <= row.max() + 1 <= 16


@pytest.mark.parametrize(
    ("metric", "setting", "message"),
    [
        (SACO, {"groups": 1}, "groups=1 must lie within 2..64, the pixels"),
        (SACO, {"groups": 65}, "groups=65 must lie within 2..64, the pixels"),
        (SRG, {"steps": 1}, "steps=1: a curve needs both ends, so at least 2"),
        (SRG, {"fill": "pink"}, "fill 'pink' is not one of black, blur, inpaint, mean"),
        (
            SACO,
            {"fill": "pink"},
            "fill 'pink' is not one of black, blur, inpaint, mean",
        ),
        (
            IROF,
            {"fill": "pink"},
            "fill 'pink' is not one of black, blur, inpaint, mean",
        ),
        (IROF, {"segments": 1}, "segments=1: at least 2"),
    ],
)
def test_bad_settings_are_named(metric, setting, message):
    target, batch, e = problem()
    with pytest.raises(ValueError) as error:
        metric(e, target, batch, RNG, **setting)
    assert str(error.value) == message
