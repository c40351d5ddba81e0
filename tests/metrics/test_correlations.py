"""Infidelity and the correlations: hand-computed cases, slow literal twins in float64, the exact map of
a linear network, and what is pushed through the network."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation
from benchmark.metrics import masking, regions
from tests.helpers.masking import (
    conv_target,
    doubled,
    linear_target,
    problem,
    single,
    slow_probability,
)

INFIDELITY, SENSITIVITY = METRICS["infidelity"], METRICS["sensitivity_n"]
FAITHFULNESS = METRICS["faithfulness_correlation"]
MONOTONICITY = METRICS["monotonicity_correlation"]
RNG = np.random.default_rng(0)


def set_regions(monkeypatch, name, pixels, size=4):
    """What is drawn instead: the sets of pixels of each region."""
    drawn = np.zeros((len(pixels), size), bool)
    for row, inside in zip(drawn, pixels):
        row[inside] = True
    monkeypatch.setattr(regions, name, lambda *_: drawn)


# ------------------------------------------------------------------------------------ by hand


def test_infidelity_by_hand(monkeypatch):
    """Logits (w x, 0), black fill: D = sum of w x in S."""
    target, batch = linear_target([[1, 2], [3, 4]]), single([[1, 0.5], [1, 1]])
    set_regions(monkeypatch, "squares", [[0], [1, 3], [2]])  # D = 1, 1 + 4, 3
    e = Explanation(heatmaps=[[[1, 1], [0, 2]]])  # s = 1, 3, 0
    (none,) = INFIDELITY(e, target, batch, RNG, draws=3, scale="none", fill="black")
    assert none == pytest.approx((0 + 4 + 9) / 3)
    beta = (1 * 1 + 5 * 3 + 0) / (1 + 9 + 0)
    best = ((beta - 1) ** 2 + (3 * beta - 5) ** 2 + 9) / 3
    (found,) = INFIDELITY(e, target, batch, RNG, draws=3, fill="black")
    assert found == pytest.approx(best)
    (share,) = INFIDELITY(
        e, target, batch, RNG, draws=3, scale="relative", fill="black"
    )
    assert share == pytest.approx(best / ((1 + 25 + 9) / 3))


def test_faithfulness_correlation_by_hand(monkeypatch):
    target, batch = linear_target([[1, 2], [3, 4]]), single([[1, 0.5], [1, 1]])
    set_regions(monkeypatch, "subsets", [[0], [1], [2], [3]])  # D = 1, 1, 3, 4
    e = Explanation(heatmaps=[[[2, 0], [1, 5]]])
    want = pearsonr([1, 1, 3, 4], [2, 0, 1, 5]).statistic
    for metric, setting in (
        (FAITHFULNESS, {"size": 0.25}),
        (SENSITIVITY, {"sizes": 1}),
    ):
        (found,) = metric(e, target, batch, RNG, draws=4, fill="black", **setting)
        assert found == pytest.approx(want)


def test_monotonicity_correlation_by_hand():
    """Falls of the probability without pixel 0 ... 3 (black): those of 1, 1, 3 and 4 in the logit of 9."""
    target, batch = linear_target([[1, 2], [3, 4]]), single([[1, 0.5], [1, 1]])
    e = Explanation(heatmaps=[[[0.5, -3], [0.1, 2]]])  # |a| of ranks 2 4 1 3
    ranks_of_falls = [1.5, 1.5, 3, 4]
    want = spearmanr([2, 4, 1, 3], ranks_of_falls).statistic
    for output in ("logit", "probability"):
        (found,) = MONOTONICITY(
            e, target, batch, RNG, grid=2, fill="black", output=output
        )
        assert found == pytest.approx(want)


# ------------------------------------------------------------------------------------ twins


def slow_fall(twin, x, region, fill, output):
    """f(x) - f(x without the pixels of the region), pixel by pixel."""
    changed = x.clone()
    for p in np.flatnonzero(region):
        for channel in range(len(x)):
            mean = x[channel].sum() / x[channel].numel()
            changed[channel, p // 8, p % 8] = {"black": 0, "mean": mean}[fill]
    return slow_difference(twin, x, changed, output)


def slow_difference(twin, x, changed, output):
    before, after = twin(x[None])[0], twin(changed[None])[0]
    c = int(before.argmax())
    if output == "logit":
        return float(before[c] - after[c])
    return slow_probability(before, c) - slow_probability(after, c)


def falls_and_sums(target, batch, e, drawn, fill="mean", output="logit"):
    """Of each image: the lists of D_S and s_S."""
    twin = doubled(target)
    for x, heatmap in zip(batch.x.double(), e.heatmaps, strict=True):
        d = [slow_fall(twin, x, region, fill, output) for region in drawn]
        s = [
            sum(float(heatmap.flat[p]) for p in np.flatnonzero(region))
            for region in drawn
        ]
        yield d, s


@pytest.mark.parametrize(
    ("fill", "output"),
    [("mean", "logit"), ("black", "logit"), ("mean", "probability")],
)
def test_infidelity_against_the_slow_twin(fill, output):
    target, batch, e = problem(chunk=4)
    drawn, want = regions.squares(12, batch), {"optimal": [], "none": []}
    for d, s in falls_and_sums(target, batch, e, drawn, fill, output):
        beta = sum(a * b for a, b in zip(d, s)) / sum(b * b for b in s)
        for name, factor in (("optimal", beta), ("none", 1)):
            terms = [(factor * b - a) ** 2 for a, b in zip(d, s)]
            want[name].append(sum(terms) / 12)
    for name, values in want.items():
        setting = {"draws": 12, "scale": name, "fill": fill, "output": output}
        found = INFIDELITY(e, target, batch, RNG, **setting)
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("kind", ["random", "ties", "one-hot"])
def test_correlations_against_the_slow_twin(kind):
    target, batch, e = problem(kind=kind, chunk=4)
    by_size = []
    for size in (1, 6, 51):  # 1 %, 9 % and 80 % of 64
        drawn = regions.subsets(size, 12, batch)
        pairs = falls_and_sums(target, batch, e, drawn)
        by_size.append([slow_pearson(d, s) for d, s in pairs])
    found = SENSITIVITY(e, target, batch, RNG, sizes=3, draws=12)
    np.testing.assert_allclose(found, np.mean(by_size, axis=0), atol=1e-3)
    one = FAITHFULNESS(e, target, batch, RNG, size=0.1, draws=12)
    np.testing.assert_allclose(one, by_size[1], atol=1e-3)


def slow_pearson(a, b):
    flat = max(a) == min(a) or max(b) == min(b)
    return 0 if flat else pearsonr(a, b).statistic


def test_monotonicity_against_the_slow_twin():
    target, batch, e = problem(chunk=4)
    twin, want = doubled(target), []
    drawn = regions.generator("noise", 3, 2, 3, 8, 8).random((2, 3, 8, 8), np.float32)
    patches = masking.patches(3, batch).numpy().reshape(9, 8, 8)
    for x, heatmap in zip(batch.x.double(), e.heatmaps, strict=True):
        a, moved = [], []
        for inside in patches:
            a.append(abs(float(heatmap[inside].astype(float).mean())))
            squares = []
            for noise in torch.from_numpy(drawn).double():
                changed = torch.where(torch.from_numpy(inside), noise, x)
                squares.append(slow_difference(twin, x, changed, "logit") ** 2)
            moved.append(sum(squares) / 2)
        want.append(spearmanr(a, moved).statistic)
    setting = {"grid": 3, "draws": 2, "output": "logit"}
    found = MONOTONICITY(e, target, batch, RNG, **setting)
    np.testing.assert_allclose(found, want, atol=1e-9)


# ------------------------------------------------------------------------------------ known values


def linear_scene(n=4, side=8):
    """A linear network, images of its class 0, and its exact maps w (x - x_0) with x_0 the mean colour, and black."""
    rng = np.random.default_rng(3)
    w = rng.normal(size=(side, side))
    target = linear_target(w, mean=0.4, std=0.3)
    x = torch.from_numpy(rng.random((n, 1, side, side), np.float32))
    batch = Batch(x=x, y=torch.zeros(n, dtype=torch.int64))
    ours = target(x).argmax(1) == 0
    batch = batch[ours.nonzero()[:, 0].tolist()]
    w = w / 0.3  # of pixels in [0, 1]
    mean = w * (batch.x - batch.x.mean((2, 3), keepdim=True)).numpy()[:, 0]
    return target, batch, {"mean": mean, "black": w * batch.x.numpy()[:, 0]}


@pytest.mark.parametrize("fill", ["mean", "black"])
def test_the_exact_map_of_a_linear_network_is_perfect(fill):
    target, batch, exact = linear_scene()
    assert len(batch)
    for factor in (1, 100):
        e = Explanation(heatmaps=factor * exact[fill])
        for metric, setting in (
            (SENSITIVITY, {"sizes": 5}),
            (FAITHFULNESS, {"size": 0.3}),
        ):
            found = metric(e, target, batch, RNG, fill=fill, **setting)
            np.testing.assert_allclose(found, 1, atol=1e-4)
        relative = INFIDELITY(e, target, batch, RNG, fill=fill, scale="relative")
        np.testing.assert_allclose(relative, 0, atol=1e-8)
        patches = MONOTONICITY(e, target, batch, RNG, grid=4, fill=fill, output="logit")
        np.testing.assert_allclose(patches, 1, atol=1e-9)
        back = Explanation(heatmaps=-e.heatmaps)
        for metric in (SENSITIVITY, FAITHFULNESS):
            found = metric(back, target, batch, RNG, fill=fill)
            np.testing.assert_allclose(found, -1, atol=1e-4)


def test_noise_correlates_by_0_on_average():
    target, batch, _ = problem(n=4)
    noise = np.random.default_rng(0).standard_normal((200, 8, 8))
    many = Batch(x=batch.x[:1].expand(200, -1, -1, -1), y=batch.y[:1].expand(200))
    for metric in (FAITHFULNESS, MONOTONICITY):
        found = metric(Explanation(heatmaps=noise), target, many, RNG)
        assert abs(found.mean()) < 4 * found.std() / math.sqrt(200)


@pytest.mark.parametrize("value", [0, 0.7, -3])
def test_a_flat_map_says_nothing(value):
    target, batch, _ = problem()
    e = Explanation(heatmaps=np.full((5, 8, 8), value))
    for metric in (SENSITIVITY, FAITHFULNESS, MONOTONICITY):
        assert metric(e, target, batch, RNG).tolist() == [0] * 5
    zero = INFIDELITY(
        Explanation(heatmaps=np.zeros((5, 8, 8))), target, batch, RNG, scale="relative"
    )
    assert zero.tolist() == [1] * 5


def test_falls_that_are_rounding_count_for_nothing():
    target, batch, e = problem()
    target.net[-1].weight.mul_(1e-9)
    target.net[-1].bias.copy_(torch.tensor([1.0, 2, 3, 5]))
    for metric in (SENSITIVITY, FAITHFULNESS, MONOTONICITY):
        assert metric(e, target, batch, RNG).tolist() == [0] * 5


# ------------------------------------------------------------------------------------ correlations of rows


def test_pearson_by_hand():
    """(-1, 0, 1) and (-2, -1, 3) less their means: 5 / sqrt(2 * 14); nothing is more alike than equals."""
    a, b = np.array([[1.0, 2, 3], [4, 4, 4]]), np.array([[1.0, 2, 6], [1, 2, 3]])
    np.testing.assert_allclose(regions.pearson(a, b), [5 / math.sqrt(28), 0])
    rows = np.random.default_rng(0).normal(size=(1000, 7))
    assert (regions.pearson(rows, rows) <= 1).all()
    assert (regions.pearson(rows, -rows) >= -1).all()


def test_spearman_by_hand():
    """Ranks 1, 2, 3.5, 3.5 less 2.5 with those of two draws: 4.5 / sqrt(4.5 * 5), and the opposite."""
    a = np.array([[1.0, 2, 3, 3], [5, 5, 5, 5]])
    b = np.array([[1.0, 20, 21, 40], [1, 2, 3, 4]])
    rho = 4.5 / math.sqrt(4.5 * 5)
    found = regions.spearman(a, np.stack([b, -b]))
    np.testing.assert_allclose(found, [[rho, 0], [-rho, 0]])


def test_rounding_is_relative_to_answers_above_1():
    values = np.array([[1.5e-6, -1.5e-6, 0.5e-6]] * 2)
    found = regions.without_rounding(values, np.array([0.5, -2.0]))
    assert found.tolist() == [[1.5e-6, -1.5e-6, 0], [0, 0, 0]]


def test_one_draw_is_enough():
    target, batch, e = problem()
    found = MONOTONICITY(e, target, batch, RNG, draws=1)
    assert (np.abs(found) <= 1).all()


# ------------------------------------------------------------------------------------ regions


def test_sets_have_their_size_and_squares_their_sides():
    batch = Batch(x=torch.zeros(1, 1, 28, 28), y=torch.zeros(1))
    assert (regions.subsets(50, 20, batch).sum(1) == 50).all()
    sides = set()
    for square in regions.squares(2000, batch).reshape(-1, 28, 28):
        rows, columns = square.any(1).sum(), square.any(0).sum()
        assert rows == columns and square.sum() == rows * columns
        sides.add(int(rows))
    assert sides == set(range(1, 11))
    # uniformly from all positions of all sides: 784 of side 1, 361 of side 10, 5,565 in all
    sizes = regions.squares(20_000, batch).sum(1)
    for side in (1, 10):
        share = (29 - side) ** 2 / sum((29 - s) ** 2 for s in range(1, 11))
        assert (sizes == side**2).mean() == pytest.approx(share, rel=0.1)


def test_every_pixel_is_drawn_as_often():
    batch = Batch(x=torch.zeros(1, 1, 4, 5), y=torch.zeros(1))
    often = regions.subsets(5, 4000, batch).mean(0)
    np.testing.assert_allclose(often, 0.25, atol=0.03)


def test_all_methods_share_the_passes():
    target, batch, e = problem(n=7, chunk=3)
    other, sizes = Explanation(heatmaps=-e.heatmaps), []
    target.net[0].register_forward_hook(lambda m, args, out: sizes.append(len(out)))
    FAITHFULNESS(e, target, batch, RNG, draws=5)
    assert max(sizes) == 3 and sum(sizes) == 7 * (5 + 1)
    FAITHFULNESS(other, target, batch, RNG, draws=5)
    assert sum(sizes) == 7 * (5 + 1)
    for each in (e, other):
        INFIDELITY(each, target, batch, RNG, draws=6)
        MONOTONICITY(each, target, batch, RNG, grid=2, draws=3)
    assert sum(sizes) == 7 * (5 + 1 + 6 + 4 * 3)


def test_a_network_of_its_own_has_falls_of_its_own():
    _, batch, e = problem()
    values = [
        FAITHFULNESS(e, conv_target(3, seed=seed), batch, RNG) for seed in (0, 1, 0)
    ]
    assert (values[0] == values[2]).all() and (values[0] != values[1]).all()


@pytest.mark.parametrize(
    ("metric", "setting", "message"),
    [
        (INFIDELITY, {"scale": "best"}, "scale 'best' is not one of optimal, none, "),
        (INFIDELITY, {"draws": 0}, "draws=0: at least 1"),
        (SENSITIVITY, {"draws": 1}, "draws=1: at least 2"),
        (SENSITIVITY, {"sizes": 0}, "sizes=0: at least 1"),
        (FAITHFULNESS, {"size": 0}, "size=0: a share of the pixels must lie in (0, 1]"),
        (FAITHFULNESS, {"size": 1.5}, "size=1.5: a share of the pixels must lie in ("),
        (FAITHFULNESS, {"fill": "pink"}, "fill 'pink' is not one of black, blur, "),
        (FAITHFULNESS, {"output": "odds"}, "output 'odds' is not one of logit, prob"),
        (MONOTONICITY, {"fill": "pink"}, "fill 'pink' is not one of noise, black, "),
        (MONOTONICITY, {"draws": 0}, "draws=0: at least 1"),
        (MONOTONICITY, {"grid": 1}, "grid=1: patches are compared"),
        (MONOTONICITY, {"images": 0}, "images=0: the share scored must lie in (0, 1]"),
    ],
)
def test_bad_settings_are_named(metric, setting, message):
    target, batch, e = problem()
    with pytest.raises(ValueError) as error:
        metric(e, target, batch, RNG, **setting)
    assert str(error.value).startswith(message)
