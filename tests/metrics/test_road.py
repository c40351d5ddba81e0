"""ROAD: a hand-computed imputation, scipy.sparse as a second solver, the authors' equations, a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation, Target
from benchmark.metrics.road import imputed
from benchmark.utils.seeds import generator
from tests.helpers.masking import doubled, problem, slow_order

MORF, LERF = METRICS["road_morf"], METRICS["road_lerf"]
RNG = np.random.default_rng(0)


def filled(x, hidden):
    """A grey image (h, w) with the pixels ``hidden`` (h, w) replaced, without noise."""
    x, hidden = np.asarray(x, float), np.asarray(hidden, bool)
    none = np.zeros((1, x.size))
    return imputed(x.reshape(1, -1), hidden.ravel(), x.shape, none).reshape(x.shape)


def test_one_removed_pixel_is_the_weighted_mean_of_its_neighbours():
    x = [[1, 2, 3], [4, 100, 6], [7, 8, 9]]
    middle = (2 + 4 + 6 + 8) / 6 + (1 + 3 + 7 + 9) / 12
    assert filled(x, [[0, 0, 0], [0, 1, 0], [0, 0, 0]])[1, 1] == pytest.approx(middle)
    corner = ((2 + 4) / 6 + 100 / 12) / (2 / 6 + 1 / 12)  # of those within the image
    assert filled(x, [[1, 0, 0], [0, 0, 0], [0, 0, 0]])[0, 0] == pytest.approx(corner)


def test_two_removed_pixels_depend_on_each_other():
    """In a row a, ?, ?, b the two solve 2 u = a + v and 2 v = u + b."""
    found = filled([[3, 0, 0, 9]], [[0, 1, 1, 0]])
    np.testing.assert_allclose(found, [[3, 5, 7, 9]])


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize(("h", "w"), [(1, 9), (9, 1), (2, 2), (7, 12)])
def test_against_scipy_sparse(h, w, share):
    """The equations of the authors' code: x_i (sum of w_ij) = sum of w_ij x_j, for each removed pixel."""
    rng = np.random.default_rng(h * w)
    x, noise = rng.random((3, h * w)), rng.normal(size=(3, h * w))
    hidden = rng.permutation(h * w) < max(1, min(h * w - 1, int(share * h * w)))
    removed = np.flatnonzero(hidden)
    matrix = sparse.lil_array((len(removed), len(removed)))
    right = np.zeros((len(removed), 3))
    for row, p in enumerate(removed):
        for q in range(h * w):
            down, across = abs(p // w - q // w), abs(p % w - q % w)
            if max(down, across) != 1:
                continue
            weight = 1 / 12 if down and across else 1 / 6
            matrix[row, row] += weight
            if hidden[q]:
                matrix[row, np.searchsorted(removed, q)] -= weight
            else:
                right[row] += weight * x[:, q]
    solved = sparse.linalg.spsolve(matrix.tocsc(), right).reshape(-1, 3)
    found = imputed(x, hidden, (h, w), noise)
    np.testing.assert_allclose(found[:, hidden], solved.T + noise[:, hidden], atol=1e-9)
    np.testing.assert_array_equal(found[:, ~hidden], x[:, ~hidden])


def test_a_plane_is_restored_inside_and_a_constant_everywhere():
    y, x = np.indices((6, 7))
    hidden = np.zeros((6, 7), bool)
    hidden[2:4, 1:5] = True
    np.testing.assert_allclose(filled(2 * x - y, hidden), 2 * x - y, atol=1e-9)
    np.testing.assert_allclose(filled(0 * x + 0.3, RNG.random((6, 7)) < 0.8), 0.3)


def test_nothing_removed_and_nothing_kept():
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(filled(x, np.zeros((2, 3))), x)
    with pytest.raises(ValueError, match="no pixel is kept"):
        filled(x, np.ones((2, 3)))


@pytest.mark.parametrize("kind", ["random", "ties"])
def test_against_the_slow_twin(kind):
    target, batch, e = problem(kind=kind, chunk=4)
    twin = doubled(target)
    noise = generator("road", 3, 8, 8).standard_normal((3, 64))
    morf, lerf = [], []
    for x, y, heatmap in zip(batch.x.double(), batch.y, e.heatmaps, strict=True):
        order = slow_order(heatmap)
        for ordered, found in ((order, morf), (order[::-1], lerf)):
            hits = []
            for k in (16, 32, 48):
                hidden = np.isin(np.arange(64), ordered[:k])
                changed = imputed(x.numpy().reshape(3, 64), hidden, (8, 8), 0.3 * noise)
                z = twin(torch.from_numpy(changed).view(1, 3, 8, 8))[0]
                hits.append(int(z.argmax()) == int(y))
            found.append(np.mean(hits))
    for metric, want in ((MORF, morf), (LERF, lerf)):
        found = metric(e, target, batch, RNG, steps=3, noise=0.3)
        np.testing.assert_allclose(found, want)


def test_a_map_of_what_matters_loses_the_class_and_keeps_it():
    """The class is whether a dark image has a bright dot."""
    layer = nn.Linear(144, 2)
    layer.weight.data = torch.stack([torch.ones(144), torch.zeros(144)])
    layer.bias.data = torch.tensor([-2.0, 0])
    net = nn.Sequential(nn.Flatten(), layer)
    target = Target(net, name="dot", classes="ab", input_shape=(1, 12, 12))
    x = torch.zeros(3, 1, 12, 12)
    for i in range(3):
        x[i, 0, 3 + i : 5 + i, 4:6] = 1
    batch = Batch(x=x, y=torch.zeros(3, dtype=torch.int64))
    e = Explanation(heatmaps=x[:, 0] + torch.rand(3, 12, 12) / 10)
    assert MORF(e, target, batch, RNG, noise=0).tolist() == [0] * 3
    assert LERF(e, target, batch, RNG, noise=0).tolist() == [1] * 3


def test_noise_is_drawn_once_and_added_to_removed_pixels_alone():
    seen = []
    target, batch, e = problem(n=2)
    target.net[0].register_forward_hook(lambda m, args, out: seen.append(args[0]))
    MORF(e, target, batch, RNG, steps=1, noise=0)
    MORF(e, target, batch, RNG, steps=1, noise=0.5)
    MORF(e, target, batch, RNG, steps=1, noise=0.5)
    plain, noisy, again = ((x * target.std + target.mean) for x in seen)
    assert torch.equal(noisy, again)
    added = (noisy - plain).numpy()
    drawn = 0.5 * generator("road", 3, 8, 8).standard_normal((3, 8, 8))
    hidden = np.abs(added).max(1) > 1e-6
    assert (hidden.sum((1, 2)) == 32).all()
    for i in range(2):
        np.testing.assert_allclose(added[i], drawn * hidden[i], atol=1e-5)


@pytest.mark.parametrize("setting", [{"steps": 0}, {"noise": -1}])
@pytest.mark.parametrize("metric", [MORF, LERF])
def test_bad_settings_are_named(metric, setting):
    target, batch, e = problem()
    with pytest.raises(ValueError, match="must be at least 1, noise=.* at least 0"):
        metric(e, target, batch, RNG, **setting)
