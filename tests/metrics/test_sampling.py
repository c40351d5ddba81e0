"""The share of the images that dear metrics score."""

import numpy as np
import pytest
import torch

from benchmark.api import METRICS, Batch, Explanation
from benchmark.metrics.sampling import GOLDEN, on_share
from tests.helpers.masking import conv_target

RNG = np.random.default_rng(0)


def batch_of(ids) -> Batch:
    ids = torch.as_tensor(ids)
    x = torch.zeros(len(ids), 1, 2, 2) + ids[:, None, None, None]
    return Batch(x=x, y=ids % 3, ids=ids)


def scored(batch, images):
    """Which images are scored; their value is their id."""
    e = Explanation(heatmaps=batch.x[:, 0])

    def score(e, batch):
        np.testing.assert_array_equal(e.heatmaps, batch.x[:, 0])
        return batch.ids.double().numpy()

    return on_share(score, e, batch, images)


def test_the_share_is_kept_and_spread_over_classes():
    values = scored(batch_of(range(1000)), 0.25)
    known = np.flatnonzero(~np.isnan(values))
    assert len(known) == pytest.approx(250, abs=2)
    np.testing.assert_array_equal(values[known], known)
    for period in (2, 3, 4, 10):  # labels often repeat
        counts = np.bincount(known % period)
        assert counts.min() > 0.8 * counts.max()
    assert known[:3].tolist() == [
        0,
        2,
        5,
    ]  # 0.618 i: 0, 0.618, 0.236, 0.854, 0.472, 0.090
    assert pytest.approx(0.6180339887) == GOLDEN


@pytest.mark.parametrize("images", [0, -0.25, 1.25, np.nan])
def test_what_is_no_share_is_named(images):
    with pytest.raises(ValueError, match=f"images={images}: the share scored"):
        scored(batch_of(range(4)), images)


def test_an_image_is_scored_whatever_the_others_are():
    whole = scored(batch_of(range(64)), 0.3)
    order = np.random.default_rng(0).permutation(64)
    np.testing.assert_array_equal(scored(batch_of(order), 0.3), whole[order])
    np.testing.assert_array_equal(scored(batch_of(range(20, 64)), 0.3), whole[20:])


def test_all_are_scored_where_none_would_be_or_positions_are_unknown():
    assert not np.isnan(scored(batch_of([1, 2]), 0.1)).any()
    batch = batch_of(range(30))
    assert not np.isnan(scored(batch, 1)).any()
    batch.ids = None
    e = Explanation(heatmaps=batch.x[:, 0])
    assert (on_share(lambda e, b: np.ones(len(b)), e, batch, 0.1) == 1).all()


def test_maps_and_methods_share_the_part():
    seen = []
    batch = batch_of(range(30))
    for maps in (batch.x[:, 0], -batch.x[:, 0]):
        e = Explanation(heatmaps=maps)
        for _ in range(2):
            on_share(lambda e, b: seen.append((e, b)) or np.ones(len(b)), e, batch, 0.3)
    assert len({id(b) for _, b in seen}) == 1
    assert seen[0][0] is seen[1][0] and seen[1][0] is not seen[2][0]


@pytest.mark.parametrize("name", ["infidelity", "irof", "road_morf", "saco"])
def test_the_values_are_those_of_the_images_scored_alone(name):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((12, 3, 8, 8), np.float32))
    batch = Batch(x=x, y=torch.arange(12) % 4, ids=torch.arange(12))
    maps, target = rng.standard_normal((12, 8, 8)), conv_target(3)
    some = METRICS[name](Explanation(heatmaps=maps), target, batch, RNG, images=0.4)
    every = METRICS[name](Explanation(heatmaps=maps), target, batch, RNG, images=1)
    known = ~np.isnan(some)
    assert 0 < known.sum() < 12 and not np.isnan(every).any()
    np.testing.assert_allclose(some[known], every[known], rtol=1e-5, atol=1e-6)
