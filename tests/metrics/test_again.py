"""What metrics that call the method again ask it with: maps without an explanation, draws by seed and image."""

import numpy as np
import pytest
import torch

from benchmark.api import Batch, Explanation
from benchmark.metrics.again import drawn, maps_of


def test_an_image_without_an_explanation_has_no_map():
    applies = np.array([True, False, True])
    e = Explanation(heatmaps=np.ones((3, 2, 2)), applies=applies)
    assert (np.isnan(maps_of(e)).all((1, 2)) == ~applies).all()
    assert (maps_of(Explanation(heatmaps=np.ones((3, 2, 2)))) == 1).all()
    with pytest.raises(ValueError, match="gave no heatmaps"):
        maps_of(Explanation(scores=np.ones(3)))


def draws(seed: int, ids=None, key=("noise", 0.1, 4)) -> np.ndarray:
    """Four numbers for each of three images, (4, 3)."""
    x, y = torch.zeros(3, 1, 2, 2), torch.zeros(3, dtype=torch.int64)
    batch = Batch(x=x, y=y, ids=None if ids is None else torch.tensor(ids))
    rng = np.random.default_rng(seed)
    draw = lambda source: source.normal(size=4)
    return drawn(batch, rng, key, draw, lambda batch, found: found.numpy())


def test_what_is_drawn_is_of_the_seed_and_of_the_image():
    one = draws(0)
    np.testing.assert_array_equal(draws(0), one)
    np.testing.assert_array_equal(draws(0, [0, 1, 2]), one)
    np.testing.assert_array_equal(draws(0, [2, 0, 1]), one[:, [2, 0, 1]])
    assert len(np.unique(np.concatenate([one, draws(1), draws(2)]))) == 36
