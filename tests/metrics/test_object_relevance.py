"""Relevance mass and rank accuracy, and entropy: by hand, slow twins, ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import benchmark.metrics  # noqa: F401  fills METRICS
from benchmark.api import METRICS, Batch, Explanation

MASS = METRICS["relevance_mass_accuracy"]
RANK = METRICS["relevance_rank_accuracy"]
ENTROPY = METRICS["entropy"]
RNG = np.random.default_rng(0)


def scene(masks=None, box=(0, 0, 2, 1)) -> Batch:
    """One image of 2 x 3; the box holds the first two pixels."""
    return Batch(
        x=torch.zeros(1, 1, 2, 3),
        y=torch.zeros(1, dtype=torch.int64),
        boxes=torch.tensor([box], dtype=torch.float32),
        part_masks=None if masks is None else torch.tensor([masks], dtype=torch.int8),
    )


@pytest.mark.parametrize(
    ("values", "mass", "rank"),
    [
        ([[3, 1, 0], [4, 0, -9]], 4 / 8, 1 / 2),  # top two: 4 and 3
        ([[0, 0, 0], [0, 0, 0]], 0, 2 / 6),  # no luck
        ([[-1, -2, -3], [-4, -5, -6]], 0, 2 / 6),
        ([[1, 1, 1], [1, 1, 1]], 2 / 6, 2 / 6),
        ([[5, 0, 0], [0, 0, 0]], 1, (1 + 1 / 5) / 2),  # one place for five zeros
        ([[0, 2, 2], [2, 0, 0]], 2 / 6, (2 * 1 / 3) / 2),
    ],
)
def test_by_hand(values, mass, rank):
    e = Explanation(heatmaps=[values])
    assert MASS(e, None, scene(), RNG) == pytest.approx([mass])
    assert RANK(e, None, scene(), RNG) == pytest.approx([rank])
    energy = METRICS["energy_in_box"](e, None, scene(), RNG)
    assert energy == pytest.approx([mass])


def test_the_objects_own_pixels_go_before_its_box():
    batch = scene([[-1, -1, 3], [0, -1, 1]])
    e = Explanation(heatmaps=[[[3, 1, 0], [4, 0, 2]]])
    assert MASS(e, None, batch, RNG) == pytest.approx([6 / 10])
    assert RANK(e, None, batch, RNG) == pytest.approx([2 / 3])
    for metric in (MASS, RANK):
        nothing = metric(e, None, scene([[-1, -1, -1], [-1, -1, -1]]), RNG)
        assert np.isnan(nothing).all()


def test_rank_accuracy_is_the_mean_over_all_orders_of_ties():
    rng = np.random.default_rng(1)
    for _ in range(20):
        values = rng.integers(-1, 3, (2, 3))
        masks = rng.integers(-1, 1, (2, 3))
        size = int((masks >= 0).sum())
        if not size:
            continue
        hits = []
        for order in itertools.permutations(range(6)):
            top = sorted(order, key=lambda p: -max(values.flat[p], 0))[:size]
            hits.append(sum(masks.flat[p] >= 0 for p in top) / size)
        e = Explanation(heatmaps=[values])
        found = RANK(e, None, scene(masks.tolist()), RNG)
        assert found == pytest.approx([np.mean(hits)])


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([[1, -1, 2], [0, 0, 0]], 2 * 0.25 * math.log(4) + 0.5 * math.log(2)),
        ([[0, 0, 7], [0, 0, 0]], 0),
        ([[3, 3, 3], [-3, -3, -3]], math.log(6)),
        ([[0, 0, 0], [0, 0, 0]], math.log(6)),
    ],
)
def test_entropy_by_hand(values, want):
    found = ENTROPY(Explanation(heatmaps=[values]), None, scene(), RNG)
    assert found == pytest.approx([want], abs=1e-12)
